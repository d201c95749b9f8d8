//! How far a place may be called read: pages of history → where its cursor goes.
//!
//! Pure. Discord does not show messages everywhere at once and in the order of their ids: one may
//! become visible up to [`BEHIND_MS`] after its id was made. So a cursor goes only to messages that
//! are that much older than the moment *at which the reading began*: whatever is older than it was
//! visible to every page of the reading. It never goes back, and never over what no page returned.

use schemas::ids::MessageId;

/// How far a cursor stays behind the moment at which a reading began.
pub(crate) const BEHIND_MS: i64 = 2 * 60 * 1000;

/// One reading of a place, from its cursor to its end, page by page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    after: MessageId,
    settled_ms: i64,
    page_max: usize,
}

/// What a page means for its place, once all of it is in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    /// Where the cursor goes; `None`: it stays.
    pub(crate) cursor: Option<MessageId>,
    /// Whether the place was read to its end.
    pub(crate) is_last: bool,
}

impl Reading {
    /// A reading from a cursor on, of pages of at most `page_max` messages, that begins now: before
    /// the first page is asked for.
    pub(crate) fn begin(read_to: MessageId, page_max: usize, now_ms: i64) -> Self {
        Self { after: read_to, settled_ms: now_ms - BEHIND_MS, page_max }
    }

    /// The message after which the next page begins.
    pub(crate) fn after(&self) -> MessageId {
        self.after
    }

    /// Turns a page, whose messages come oldest first.
    pub(crate) fn turn(&mut self, page: &[MessageId]) -> Turn {
        let began = self.after;
        let is_settled = |id: &MessageId| id.created_at_ms() <= self.settled_ms;
        let cursor = page.iter().rev().copied().find(is_settled).filter(|id| began < *id);
        if let Some(last) = page.last() {
            self.after = began.max(*last);
        }
        // A page that does not go on would be asked for again and again.
        Turn { cursor, is_last: page.len() < self.page_max || self.after == began }
    }
}

#[cfg(test)]
mod tests;
