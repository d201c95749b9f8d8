//! An attempt that was left in trouble is taken up again, from its spool.
//!
//! Trouble is the disk's: it is full, or fails. claude lives through it in its keeper, so a run whose
//! spool is here must never be begun anew because its attempt was left. As long as the state
//! directory takes no bytes, `/readyz` says so and nothing is tried.

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use schemas::record::Record;
use schemas::streams::RunKey;

use super::adopt::{adopt_spool, find};
use super::ask::{PAUSE_MAX, record};
use super::{Left, Result, report};
use crate::directories::Seat;
use crate::host::Host;
use crate::spool::Spool;
use crate::state;

/// The part of `/readyz`.
const DISK: &str = "disk";

/// Reports why an attempt was left, and goes on with it after trouble. Without a spool nothing was
/// started, and the work is delivered again.
pub(super) async fn left(host: &Arc<Host>, key: &RunKey, mut left: Left, seat: &Seat) {
    let mut pauses = pauses();
    loop {
        report(&left);
        match left {
            Left::Stopping | Left::TakenOver => return,
            Left::Trouble(_) => {}
        }
        left = match go_on(host, key, &mut pauses, seat).await {
            Ok(()) => return,
            Err(left) => left,
        };
    }
}

async fn go_on(
    host: &Arc<Host>,
    key: &RunKey,
    pauses: &mut impl Iterator<Item = Duration>,
    seat: &Seat,
) -> Result<()> {
    room(host, pauses).await?;
    let read = record(host, key).await?;
    match spool_of(host, read.as_ref().map(|(record, _)| record)) {
        Some(spool) => adopt_spool(host, find(host, spool, seat.clone())?).await,
        None => Ok(()),
    }
}

/// The pauses between two tries after trouble.
pub(super) fn pauses() -> impl Iterator<Item = Duration> {
    ExponentialBuilder::new().with_max_delay(PAUSE_MAX).without_max_times().with_jitter().build()
}

/// Waits a while, and until the state directory takes bytes.
pub(super) async fn room(host: &Host, pauses: &mut impl Iterator<Item = Duration>) -> Result<()> {
    host.pause(pauses.next().unwrap_or(PAUSE_MAX)).await?;
    while let Err(error) = state::probe(&host.config.state_dir) {
        let dir = host.config.state_dir.display();
        host.readiness.not_ready(DISK, format!("{dir} takes nothing ({error}); make room there"));
        host.pause(pauses.next().unwrap_or(PAUSE_MAX)).await?;
    }
    host.readiness.ready(DISK);
    Ok(())
}

/// The spool of the attempt that a record tells of, if it is here.
pub(super) fn spool_of(host: &Host, record: Option<&Record>) -> Option<Spool> {
    let record = record.filter(|record| record.state_id == host.state_id)?;
    Spool::open(&host.spools, &record.owner.to_string())
}
