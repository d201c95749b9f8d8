//! A thread that takes no word → a line in its channel, so that people see why nothing comes.
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
    let why = why(code);
    let (reply_to, content) = if let Action::Thread { message, .. } = action {
        let content = format!("-# ⚠️ I can't start a thread here: {why}. The answer waits for it.");
        (Some(*message), content)
    } else if action.channel() == thread.into() && channel != thread.into() {
        let content = format!(
            "-# ⚠️ I can't post in <#{thread}>: {why}. Its answers wait, and come when that is changed."
        );
        (None::<MessageId>, content)
    } else {
        return None;
    };
    let post = Action::Post { channel, reply_to, content, buttons: Vec::new() };
    Some(Row::of_thread(thread, PART, post))
}

/// Whether a row is such a line.
pub(super) fn is_line(row: &Row) -> bool {
    row.name.starts_with('t') && row.name.ends_with("/parked")
}

fn why(code: i64) -> &'static str {
    match code {
        code::THREAD_LOCKED | code::THREAD_ARCHIVED => "it is locked",
        code::MISSING_PERMISSIONS => "I have no permission for that",
        code::MISSING_ACCESS => "I can't see it",
        code::TOO_MANY_THREADS => "there are too many threads",
        _ => "Discord refuses it",
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
    fn whoever_asked_hears_that_no_thread_can_be_started() {
        let (channel, message) = ("5".parse().unwrap(), "7".parse().unwrap());
        let thread = Action::Thread { channel, message, name: "hm".into() };
        let row = line("7".parse().unwrap(), channel, &thread, 50_013).unwrap();
        let Action::Post { reply_to, content, .. } = row.action else { panic!("no post") };
        assert_eq!(reply_to, Some(message));
        assert!(content.contains("start a thread here: I have no permission"), "{content}");
    }
}
