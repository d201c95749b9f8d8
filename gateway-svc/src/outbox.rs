//! What Discord is still owed: rows, written in the transaction that made them due.
//!
//! A row is named from its content, `(run, generation, part)` or `(thread, part)`, so writing it
//! twice is writing it once, and its nonce is the same for ever. These are the values; the store
//! keeps them and the poster carries them out.

use schemas::files::Given;
use schemas::ids::{ChannelId, Generation, MessageId, ProjectName, RunId, ThreadId};
use schemas::record::Outcome;
use serde::{Deserialize, Serialize};

/// How the name of a row ends that says plainly what Discord took in no other form.
pub(crate) const PLAIN: &str = "/plain";

/// The most bytes of a file: what a bot may upload (10 MiB), less the form around it.
pub(crate) const UPLOAD_MAX: usize = 9 * 1024 * 1024;

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
        /// The message it answers. It is left out where that is in another place: a thread's first
        /// message is in its channel.
        reply_to: Option<MessageId>,
        /// At most 2,000 characters.
        content: String,
        /// The buttons under it, at most five.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        buttons: Vec<Button>,
    },
    /// Write a message that waits for somebody's word.
    Ask {
        /// Where.
        channel: ChannelId,
        /// The message it answers, where there is no thread.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reply_to: Option<MessageId>,
        /// At most 2,000 characters.
        content: String,
        /// The buttons under it, at most five; none where there is a menu.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        buttons: Vec<Button>,
        /// The menu under it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        menu: Option<Menu>,
    },
    /// Write a message with a file.
    Upload {
        /// Where.
        channel: ChannelId,
        /// The message it answers, if that is in the same place.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reply_to: Option<MessageId>,
        /// At most 2,000 characters.
        content: String,
        /// The file's name.
        name: String,
        /// What is in it, at most [`UPLOAD_MAX`] bytes.
        text: String,
    },
    /// Write a message with files that lie in FILES.
    Files {
        /// Where.
        channel: ChannelId,
        /// The message it answers, where there is no thread.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reply_to: Option<MessageId>,
        /// At most 2,000 characters.
        content: String,
        /// The project, in whose FILES they lie.
        project: ProjectName,
        /// The files, at most as many as a message has.
        files: Vec<Given>,
    },
    /// Write a status message, which notifies nobody.
    Status {
        /// Where.
        channel: ChannelId,
        /// What it says at first.
        content: String,
        /// The buttons under it at first.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        buttons: Vec<Button>,
    },
    /// Take away the message that a row became.
    Delete {
        /// Where.
        channel: ChannelId,
        /// The row's name.
        of: String,
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
    /// Give a thread another name, unless a person has named it.
    Rename {
        /// The thread.
        channel: ChannelId,
        /// The name, 1 to 100 characters.
        name: String,
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
            | Action::Ask { channel, .. }
            | Action::Upload { channel, .. }
            | Action::Files { channel, .. }
            | Action::Status { channel, .. }
            | Action::Delete { channel, .. }
            | Action::Edit { channel, .. }
            | Action::Rename { channel, .. } => *channel,
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

/// A menu under a post.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Menu {
    /// What comes back when something is chosen: at most 100 characters.
    pub(crate) id: String,
    /// What can be chosen, 1 to 25.
    pub(crate) options: Vec<MenuOption>,
    /// How many may be chosen at once.
    pub(crate) most: u8,
}

/// What can be chosen in a menu.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MenuOption {
    /// What comes back.
    pub(crate) value: String,
    /// What it says: at most 100 characters.
    pub(crate) label: String,
    /// What it means: at most 100 characters.
    pub(crate) description: Option<String>,
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
    /// The mark of an outcome.
    pub(crate) fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Answered { .. } => Mark::Answered,
            Outcome::Failed { .. } => Mark::Failed,
            Outcome::Stopped { .. } => Mark::Stopped,
        }
    }

    /// Whether an emoji of ours says that what was asked has its outcome.
    pub(crate) fn is_outcome(emoji: &str) -> bool {
        // With or without the sign that it is to be shown in colour.
        let plain = |emoji: &str| emoji.trim_end_matches('\u{fe0f}').to_owned();
        let outcomes = [Mark::Answered, Mark::Failed, Mark::Stopped];
        outcomes.iter().any(|mark| plain(mark.emoji()) == plain(emoji))
    }

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
    /// What is to be done for this row of a conversation, which goes on in `said_in` when no thread
    /// could be started for it. There, each post is a reply: its question is one, or else the
    /// conversation's first message.
    pub(crate) fn placed(self, thread: ThreadId, said_in: Option<ChannelId>) -> Self {
        let (own, first) = (ChannelId::from(thread), MessageId::from(thread));
        let Row { name, action } = self;
        let action = match (action, said_in) {
            (Action::Post { channel, reply_to, content, buttons }, None) if channel == own => {
                let reply_to = reply_to.filter(|asked| *asked != first);
                Action::Post { channel, reply_to, content, buttons }
            }
            (Action::Post { channel, reply_to, content, buttons }, Some(said_in))
                if channel == own =>
            {
                // What is said plainly is so because Discord did not take it otherwise.
                let reply_to = reply_to.or((!name.ends_with(PLAIN)).then_some(first));
                Action::Post { channel: said_in, reply_to, content, buttons }
            }
            (Action::Ask { channel, content, buttons, menu, .. }, Some(said_in))
                if channel == own =>
            {
                Action::Ask { channel: said_in, reply_to: Some(first), content, buttons, menu }
            }
            (Action::Upload { channel, reply_to, content, name, text }, None) if channel == own => {
                let reply_to = reply_to.filter(|asked| *asked != first);
                Action::Upload { channel, reply_to, content, name, text }
            }
            (Action::Upload { channel, reply_to, content, name, text }, Some(said_in))
                if channel == own =>
            {
                let reply_to = reply_to.or(Some(first));
                Action::Upload { channel: said_in, reply_to, content, name, text }
            }
            (Action::Files { channel, content, project, files, .. }, Some(said_in))
                if channel == own =>
            {
                Action::Files { channel: said_in, reply_to: Some(first), content, project, files }
            }
            (Action::Status { channel, content, buttons }, Some(said_in)) if channel == own => {
                Action::Status { channel: said_in, content, buttons }
            }
            (Action::Delete { channel, of }, Some(said_in)) if channel == own => {
                Action::Delete { channel: said_in, of }
            }
            (Action::Edit { channel, about, line }, Some(said_in)) if channel == own => {
                Action::Edit { channel: said_in, about, line }
            }
            (action, None | Some(_)) => action,
        };
        Self { name, action }
    }

    /// The message that it is about, by its name: its run's, its conversation's first, or one that is no
    /// run; `None`: something else.
    pub(crate) fn about(&self) -> Option<MessageId> {
        let first = self.name.split('/').next()?;
        first.trim_start_matches(['m', 'i', 't']).parse().ok()
    }

    /// A row that belongs to a generation of a run.
    pub(crate) fn of(run: &RunId, generation: Generation, part: &str, action: Action) -> Self {
        Self { name: format!("{run}/{generation}/{part}"), action }
    }

    /// The name of the row that started a thread, or was to.
    pub(crate) fn starts_thread(thread: ThreadId) -> String {
        format!("{}/{}/thread", RunId::from(MessageId::from(thread)), Generation::FIRST)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn post(channel: &str, reply_to: Option<&str>, name: &str) -> Row {
        let (channel, reply_to) =
            (channel.parse().unwrap(), reply_to.map(|it| it.parse().unwrap()));
        let action = Action::Post { channel, reply_to, content: "hm".into(), buttons: Vec::new() };
        Row { name: name.into(), action }
    }

    fn placed(row: Row, said_in: Option<&str>) -> Row {
        row.placed("7".parse().unwrap(), said_in.map(|it| it.parse().unwrap()))
    }

    #[test]
    fn what_is_stored_has_no_outcome_yet() {
        assert!(["✅", "⚠️", "⚠", "⏹"].into_iter().all(Mark::is_outcome));
        assert!(!["👀", "🎉"].into_iter().any(Mark::is_outcome));
    }

    #[test]
    fn a_row_is_about_the_message_that_its_name_has() {
        let about = |name: &str| post("7", None, name).about().map(MessageId::get);
        assert_eq!(about("m12/1/answer/2"), Some(12));
        assert_eq!(about("t13/narrowed"), Some(13));
        assert_eq!(about("14/refused"), Some(14));
        assert_eq!(about("away/15/16"), None);
    }

    #[test]
    fn in_a_thread_what_answers_its_first_message_is_no_reply() {
        assert_eq!(placed(post("7", Some("7"), "a"), None), post("7", None, "a"));
        assert_eq!(placed(post("7", Some("8"), "a"), None), post("7", Some("8"), "a"));
        assert_eq!(placed(post("5", Some("7"), "a"), None), post("5", Some("7"), "a"));
    }

    #[test]
    fn without_a_thread_everything_is_a_reply_in_the_channel() {
        assert_eq!(placed(post("7", Some("8"), "a"), Some("5")), post("5", Some("8"), "a"));
        assert_eq!(placed(post("7", None, "a"), Some("5")), post("5", Some("7"), "a"));
        assert_eq!(placed(post("7", None, "a/plain"), Some("5")), post("5", None, "a/plain"));
    }
}
