//! A thread that takes no word → a line in its channel, so that people see why nothing comes.
//!
//! Where no thread can be started at all, the conversation goes on in the channel, which is told so once.
//!
//! Pure. It is said once a thread, by its row's name, and only where the channel takes it: a line
//! that the channel refuses as well is given up and not parked itself.

use schemas::ids::{ChannelId, MessageId, ThreadId};

use super::fate::code;
use crate::outbox::{Action, Row};

/// The part of such a row's name.
const PART: &str = "parked";

/// What is to be said in `channel` about its thread, in which this could not be done for that code
/// of Discord's; `None`: it is the channel itself that refuses, and nothing can be said there.
pub(super) fn line(
    thread: ThreadId,
    channel: ChannelId,
    action: &Action,
    code: i64,
) -> Option<Row> {
    if action.channel() != thread.into() || channel == thread.into() {
        return None;
    }
    let why = why(code);
    let content = format!(
        "-# ⚠️ I can't post in <#{thread}>: {why}. Its answers wait, and come when that is changed."
    );
    let post = Action::Post { channel, reply_to: None, content, buttons: Vec::new() };
    Some(Row::of_thread(thread, PART, post))
}

/// What is said where a conversation goes on without a thread: once in a channel.
pub(super) fn threadless(channel: ChannelId, question: MessageId, code: i64) -> Row {
    let content = format!(
        "-# ⚠️ I can't start a thread here: {}. So the answer comes here. To go on with it, reply to it.",
        why(code)
    );
    let post = Action::Post { channel, reply_to: Some(question), content, buttons: Vec::new() };
    Row { name: format!("t{channel}/threadless"), action: post }
}

/// Whether a row is such a line.
pub(super) fn is_line(row: &Row) -> bool {
    row.name.starts_with('t')
        && (row.name.ends_with("/parked") || row.name.ends_with("/threadless"))
}

fn why(code: i64) -> &'static str {
    match code {
        code::THREAD_LOCKED | code::THREAD_ARCHIVED => "it is locked",
        code::MISSING_PERMISSIONS => "I have no permission for that",
        code::MISSING_ACCESS => "I can't see it",
        code::TOO_MANY_THREADS => "there are too many threads",
        _ => "Discord does not allow it",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(action: &Action, code: i64) -> Option<(String, String)> {
        let row = line("7".parse().unwrap(), "5".parse().unwrap(), action, code)?;
        assert!(is_line(&row), "{row:?}");
        let Action::Post { channel, content, .. } = row.action else { panic!("no post") };
        assert_eq!(channel, "5".parse().unwrap());
        Some((row.name, content))
    }

    fn post(channel: &str) -> Action {
        let channel = channel.parse().unwrap();
        Action::Post { channel, reply_to: None, content: "hm".into(), buttons: Vec::new() }
    }

    #[test]
    fn a_channel_is_told_once_of_each_thread_that_takes_no_word() {
        let (name, content) = said(&post("7"), 160_005).unwrap();
        assert_eq!(name, "t7/parked");
        assert!(content.contains("<#7>: it is locked."), "{content}");
        assert_eq!(said(&post("7"), 50_013).unwrap().0, name);
    }

    #[test]
    fn a_channel_that_refuses_itself_is_told_nothing() {
        assert_eq!(said(&post("5"), 50_013), None);
    }

    #[test]
    fn a_channel_is_told_once_that_no_thread_can_be_started_in_it() {
        let (channel, question) = ("5".parse().unwrap(), "7".parse().unwrap());
        let row = threadless(channel, question, 50_013);
        assert!(is_line(&row) && row.name == "t5/threadless", "{row:?}");
        let Action::Post { reply_to, content, .. } = row.action else { panic!("no post") };
        assert_eq!(reply_to, Some(question));
        assert!(content.contains("start a thread here: I have no permission"), "{content}");
    }
}
