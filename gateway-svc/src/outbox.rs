//! What Discord is still owed: rows, written in the transaction that made them due.
//!
//! A row is named from its content, `(run, generation, part)` or `(thread, part)`, so writing it
//! twice is writing it once, and its nonce is the same for ever. These are the values; the store
//! keeps them and the poster carries them out.

use schemas::ids::{ChannelId, Generation, MessageId, RunId, ThreadId};
use serde::{Deserialize, Serialize};

/// One thing to do in Discord.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// Its name: unique, and the same whenever the same thing is owed.
    pub(crate) name: String,
    /// What to do.
    pub(crate) action: Action,
}

/// What to do in Discord. Stored as JSON: a variant is never changed, only added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(crate) enum Action {
    /// Put our reaction under a message.
    React {
        /// Where the message is.
        channel: ChannelId,
        /// The message.
        message: MessageId,
        /// The emoji.
        emoji: Mark,
    },
    /// Take our reaction away.
    Unreact {
        /// Where the message is.
        channel: ChannelId,
        /// The message.
        message: MessageId,
        /// The emoji.
        emoji: Mark,
    },
    /// Start a thread from a message.
    Thread {
        /// Where the message is.
        channel: ChannelId,
        /// The message, whose id the thread will have.
        message: MessageId,
        /// The thread's name, 1 to 100 characters.
        name: String,
    },
    /// Write a message.
    Post {
        /// Where.
        channel: ChannelId,
        /// The message it answers, if that is in the same place.
        reply_to: Option<MessageId>,
        /// At most 2,000 characters.
        content: String,
        /// The buttons under it, at most five.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        buttons: Vec<Button>,
    },
    /// Take the buttons away from what was said about a thing, and write under it what was decided.
    Edit {
        /// Where.
        channel: ChannelId,
        /// How the ids of its buttons end: `/<run>/<generation>`, `/<list>`.
        about: String,
        /// One line.
        line: String,
    },
}

impl Action {
    /// The channel or thread that it is about.
    pub(crate) fn channel(&self) -> ChannelId {
        match self {
            Action::React { channel, .. }
            | Action::Unreact { channel, .. }
            | Action::Thread { channel, .. }
            | Action::Post { channel, .. }
            | Action::Edit { channel, .. } => *channel,
        }
    }
}

/// A button under a post.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Button {
    /// What comes back when it is pressed: at most 100 characters.
    pub(crate) id: String,
    /// What it says: at most 80 characters.
    pub(crate) label: String,
}

/// Our reactions, each with one meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mark {
    /// 👀: it is stored and will be answered.
    Seen,
    /// ✅: it is answered.
    Answered,
    /// ⚠️: it failed.
    Failed,
    /// ⏹️: it was stopped.
    Stopped,
}

impl Mark {
    /// The emoji.
    pub(crate) fn emoji(self) -> &'static str {
        match self {
            Mark::Seen => "👀",
            Mark::Answered => "✅",
            Mark::Failed => "⚠️",
            Mark::Stopped => "⏹️",
        }
    }
}

impl Row {
    /// A row that belongs to a generation of a run.
    pub(crate) fn of(run: &RunId, generation: Generation, part: &str, action: Action) -> Self {
        Self { name: format!("{run}/{generation}/{part}"), action }
    }

    /// A row that belongs to a conversation, whichever of its runs makes it due.
    pub(crate) fn of_thread(thread: ThreadId, part: &str, action: Action) -> Self {
        Self { name: format!("t{thread}/{part}"), action }
    }

    /// A row that belongs to a message which is no run.
    pub(crate) fn of_message(message: MessageId, part: &str, action: Action) -> Self {
        Self { name: format!("{message}/{part}"), action }
    }
}
