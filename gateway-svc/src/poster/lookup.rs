//! Looks whether a post of unknown fate was made, once Discord may have forgotten its nonce.
//!
//! One row of a thread is in flight at a time, so an own message that is newer than the thread's
//! last recorded one and than the row's first try, says the same and belongs to no row is this
//! row's. So it is with a row that a store may have done which is gone since; there, what is a reply
//! answers the same message as well. Nothing is ever posted or changed here.

use std::time::Duration;

use schemas::ids::MessageId;

use super::{Trouble, millis};
use crate::discord::{Discord, Own};
use crate::outbox::Action;
use crate::store::{Due, Store};

/// How far Discord's clock and ours may be apart.
const CLOCKS_APART: Duration = Duration::from_secs(300);
/// The most pages that are looked through: 10,000 messages since the first try. Beyond that the row
/// is posted, since what was made would stand right at the beginning.
const PAGES_MAX: usize = 100;

/// The message that a row became, if it was tried before `forgotten_ms`, or may have been by a store that
/// is gone, and became one.
pub(super) async fn found(
    store: &Store,
    discord: &Discord,
    due: &Due,
    forgotten_ms: i64,
) -> Result<Option<MessageId>, Trouble> {
    let (channel, content, reply_to) = match &due.row.action {
        Action::Post { channel, content, reply_to, .. }
        | Action::Ask { channel, content, reply_to, .. }
        | Action::Upload { channel, content, reply_to, .. }
        | Action::Files { channel, content, reply_to, .. } => (channel, content, *reply_to),
        Action::Status { channel, content, .. } => (channel, content, None),
        Action::React { .. }
        | Action::Unreact { .. }
        | Action::Thread { .. }
        | Action::Delete { .. }
        | Action::Rename { .. }
        | Action::Edit { .. } => return Ok(None),
    };
    let since_ms = match due.lost_ms {
        Some(lost_ms) => lost_ms.min(due.first_ms),
        None if forgotten_ms < due.first_ms => return Ok(None),
        None => due.first_ms,
    };
    let answers_it =
        |own: &Own| due.lost_ms.is_none() || own.reply_to.is_none() || own.reply_to == reply_to;
    let tried = MessageId::first_of(since_ms - millis(CLOCKS_APART));
    let recorded = store.last_recorded(&due.row.name).await.map_err(Trouble::Store)?;
    let mut after = recorded.map_or(tried, |recorded| recorded.max(tried));
    for _ in 0..PAGES_MAX {
        let page = discord.own_after(*channel, after).await.map_err(Trouble::Discord)?;
        let same = page.own.iter().filter(|own| own.content.trim() == content.trim());
        let same = same.filter(|own| answers_it(own));
        let same: Vec<MessageId> = same.map(|own| own.message).collect();
        if let Some(found) = store.unowned(&same).await.map_err(Trouble::Store)?.first() {
            tracing::info!(row = %due.row.name, "was posted already");
            return Ok(Some(*found));
        }
        let Some(next) = page.next else { return Ok(None) };
        after = next;
    }
    tracing::warn!(row = %due.row.name, "was not found among too many messages");
    Ok(None)
}
