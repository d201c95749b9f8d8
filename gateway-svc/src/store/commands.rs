//! Commands that somebody wrote: the verdict on the message is what makes each of them happen once.

use schemas::ids::{ChannelId, MessageId, ProjectName, ThreadId};
use schemas::request::Author;

use super::outbox::insert_rows;
use super::runs::judge;
use super::{Result, Store, Tx, id, lock_thread, number};
use crate::outbox::Row;

/// A command, as the store keeps it.
#[derive(Clone, Debug)]
pub(crate) struct Spoken {
    /// The message, and where it was written.
    pub(crate) asked: (ChannelId, MessageId),
    /// The mapped channel.
    pub(crate) channel: ChannelId,
    /// Its project.
    pub(crate) project: ProjectName,
    /// Who wrote it.
    pub(crate) author: Author,
}

impl Store {
    /// Stores a command that changes nothing, with what Discord is owed. False when the message was
    /// judged before.
    pub(crate) async fn tell(
        &self,
        spoken: &Spoken,
        verdict: &str,
        rows: &[Row],
        now_ms: i64,
    ) -> Result<bool> {
        let place = id(number(spoken.asked.0.get()), ThreadId::new)?;
        let Some(mut tx) = self.hear(spoken, place, verdict, now_ms).await? else {
            return Ok(false);
        };
        insert_rows(&mut tx, place, rows, now_ms).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Begins to carry out a command in a conversation, whose lock it takes; `None`: the message was judged
    /// before.
    pub(super) async fn hear(
        &self,
        spoken: &Spoken,
        thread: ThreadId,
        verdict: &str,
        now_ms: i64,
    ) -> Result<Option<Tx>> {
        let mut tx = self.begin_write().await?;
        lock_thread(&mut tx, thread, spoken.channel, &spoken.project, now_ms).await?;
        let is_new = judge(&mut tx, spoken.asked, verdict, now_ms).await?;
        Ok(is_new.then_some(tx))
    }
}
