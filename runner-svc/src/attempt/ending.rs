//! The end of a claude and of its spool.
//!
//! Nothing here returns before claude is gone for good, and no spool is removed before that.

use std::time::Duration;

use super::{FIRST_SEQ, Result, on_disk, trouble};
use crate::host::Host;
use crate::spool::{Closing, Graces, KeeperState, Spool};

/// How long claude has to end once it has answered. Its transcript is written by then.
pub(super) const GRACES: Graces =
    Graces { close: Duration::from_secs(5), kill: schemas::streams::KILL_GRACE };

/// Ends a claude that has answered: stdin, TERM, KILL. Returns when nothing of it is left.
pub(super) async fn end(host: &Host, spool: &Spool) -> Result<()> {
    let seq = next_seq(spool)?;
    on_disk(|| spool.put_end(seq, GRACES))?;
    gone(host, spool).await
}

/// Ends a claude that is not to answer any more: TERM, so that its session can be resumed, KILL.
pub(super) async fn stop(host: &Host, spool: &Spool) -> Result<()> {
    let seq = next_seq(spool)?;
    on_disk(|| spool.put_kill(seq, GRACES))?;
    gone(host, spool).await
}

/// Waits until the exit record stands or nobody is left to write one.
async fn gone(host: &Host, spool: &Spool) -> Result<()> {
    let changes = host.watcher.watch(spool.dir()).map_err(trouble)?;
    loop {
        if spool.exit().map_err(trouble)?.is_some() {
            return Ok(());
        }
        if spool.state().map_err(trouble)? != KeeperState::Alive {
            let Closing::Closed = spool.close_if_dead().map_err(trouble)? else { continue };
            return Ok(());
        }
        host.changed(&changes).await?;
    }
}

/// The number of the next line or order for a keeper.
pub(super) fn next_seq(spool: &Spool) -> Result<u32> {
    let entries = spool.entries().map_err(trouble)?;
    Ok(entries.last().map_or(FIRST_SEQ, |last| last.seq + 1))
}

/// Removes a spool whose claude is gone for good.
pub(super) async fn sweep(host: &Host, spool: Spool) -> Result<()> {
    gone(host, &spool).await?;
    on_disk(|| spool.remove())
}
