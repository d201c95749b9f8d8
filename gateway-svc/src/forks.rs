//! Another thread with what was said in this one, and a thread with what was said in a terminal.
//!
//! Pure: what Discord is owed for a fork, and what people are told. A fork begins with a message of ours in
//! the channel, from which its thread is started; the store knows the new thread in the transaction that
//! learns that message's id.

use schemas::ids::{ChannelId, MessageId, SessionId, ThreadId};

use crate::names::thread_name;
use crate::outbox::{Action, Row};
use crate::render::plain;

/// The most characters of a session's id that are told back.
const TOLD_MAX: usize = 40;

/// How to bring a session in: told to whoever did otherwise.
fn resume_usage(rest: &str) -> String {
    let told: String = plain(rest).replace('`', "'").chars().take(TOLD_MAX).collect();
    let what = if told.is_empty() {
        "No session is named".to_owned()
    } else {
        format!("`{told}` is no session's id")
    };
    format!(
        "{what}; nothing was done. `!resume` takes the whole id, as `claude --resume` lists it: \
         `!resume 0c6f8d1e-4a57-4c7b-9a50-9d2ad0a1c111`."
    )
}

/// Reads the id of a session.
///
/// # Errors
///
/// A line for the person.
pub(crate) fn session_id(rest: &str) -> Result<SessionId, String> {
    // Only the form with hyphens: a uuid has others, which are no file's name.
    let is_whole = rest.len() == 36 && rest.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    let parsed = if is_whole { rest.to_ascii_lowercase().parse().ok() } else { None };
    parsed.ok_or_else(|| resume_usage(rest))
}

/// What becomes of a wish to fork.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forking {
    /// A new thread begins.
    Begins,
    /// Nothing was answered in the thread that a fork could know.
    Nothing,
}

/// What becomes of a wish to bring a session in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bringing {
    /// The thread's next question goes on with it.
    Next,
    /// The same, after the run that is at work.
    AfterThis,
    /// It is another thread's.
    Anothers(ThreadId),
}

impl Forking {
    /// What the person is told.
    pub(crate) fn line(self, channel: ChannelId) -> String {
        match self {
            Forking::Begins => format!(
                "The fork begins as a thread of its own in <#{channel}>, with what was answered here so \
                 far and the files as they are. Both go on by themselves."
            ),
            Forking::Nothing => {
                "Nothing was answered in this thread yet that a fork could know; nothing was done."
                    .to_owned()
            }
        }
    }
}

impl Bringing {
    /// What the person is told.
    pub(crate) fn line(self, session: SessionId) -> String {
        match self {
            Bringing::Next => format!(
                "The next question here goes on with the session `{session}`, if this project's runner \
                 has it. End it in the terminal first, or each would lose what the other says."
            ),
            Bringing::AfterThis => format!(
                "What runs now goes on to its end. The next question after it goes on with the session \
                 `{session}`, if this project's runner has it."
            ),
            Bringing::Anothers(thread) => format!(
                "That session is the one of <#{thread}>; nothing was done. `!fork` there begins another \
                 thread with what it knows."
            ),
        }
    }
}

/// The name of the row that begins a fork, by the message that asked for it.
pub(crate) fn base_name(message: MessageId) -> String {
    format!("{message}/fork")
}

/// The message that a fork begins with, in the channel.
pub(crate) fn base(message: MessageId, channel: ChannelId, from: ThreadId, by: &str) -> Row {
    let content =
        format!("🍴 {} forked <#{from}>: claude knows here what was said there.", plain(by));
    let post = Action::Post { channel, reply_to: None, content, buttons: Vec::new() };
    Row { name: base_name(message), action: post }
}

/// What is owed in the new thread: the thread itself, and what it is.
pub(crate) fn begun(
    thread: ThreadId,
    channel: ChannelId,
    from: ThreadId,
    first: &str,
    by: &str,
) -> Vec<Row> {
    let message = MessageId::from(thread);
    let name = thread_name(&format!("Fork: {}", first.trim_start()), by);
    let start = Action::Thread { channel, message, name };
    let content = format!("-# claude knows what was said in <#{from}>. Ask on.");
    let channel = thread.into();
    let post = Action::Post { channel, reply_to: None, content, buttons: Vec::new() };
    vec![
        Row { name: Row::starts_thread(thread), action: start },
        Row::of_thread(thread, "forked", post),
    ]
}

/// What is owed where the fork was asked for: where it is.
pub(crate) fn told(asked: (ChannelId, MessageId), thread: ThreadId) -> Row {
    let (channel, message) = asked;
    let content = format!("-# Forked: <#{thread}>");
    let post = Action::Post { channel, reply_to: Some(message), content, buttons: Vec::new() };
    Row::of_message(message, "forked", post)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_id_names_a_session() {
        let id = "0c6f8d1e-4a57-4c7b-9a50-9d2ad0a1c111";
        assert_eq!(session_id(id).unwrap().to_string(), id);
        assert_eq!(session_id(&id.to_uppercase()).unwrap().to_string(), id);
        for text in [
            "",
            "0c6f8d1e",
            "../../etc/passwd",
            "--help",
            "*",
            &id.replace('-', ""),
            &"a".repeat(4000),
            "{0c6f8d1e-4a57-4c7b-9a50-9d2ad0a1c1}",
            "0c6f8d1e-4a57-4c7b-9a50-9d2ad0a1c11\u{661}",
        ] {
            let line = session_id(text).unwrap_err();
            assert!(line.contains("nothing was done") && line.len() < 300, "{line}");
        }
    }
}
