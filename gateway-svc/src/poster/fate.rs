//! What a failure means for a row: whether it is tried again, when, and what is said instead.
//!
//! Pure: a refusal's status and code, by Discord's reference ("JSON Error Codes", as of 2026-08).

use std::time::Duration;

use uuid::Uuid;

use crate::discord::DiscordError;
use crate::outbox::{Action, PLAIN, Row};
use crate::render::{names, with_line};

/// The first and the longest pause before a row is tried again.
pub(super) const PAUSE: (Duration, Duration) =
    (Duration::from_millis(500), Duration::from_secs(30));

/// What a refusal means for a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// What was wanted is so.
    Done,
    /// It may go well later.
    Again,
    /// Nothing goes well until the operator acts: the token, or what stands in front of Discord.
    Locked,
    /// No thread can be started: the conversation goes on in its channel.
    Threadless,
    /// It goes well when somebody gives the bot a right there, or opens the thread.
    Parked,
    /// It never will.
    Never,
    /// The place is gone: it never will, in no form.
    Gone,
}

/// Codes of Discord's.
pub(super) mod code {
    pub(super) const UNKNOWN_CHANNEL: i64 = 10_003;
    pub(super) const UNKNOWN_MESSAGE: i64 = 10_008;
    pub(in crate::poster) const MISSING_ACCESS: i64 = 50_001;
    pub(in crate::poster) const MISSING_PERMISSIONS: i64 = 50_013;
    pub(super) const WRONG_CHANNEL_TYPE: i64 = 50_024;
    /// Archived and locked: a message into a thread that is only archived wakes it.
    pub(in crate::poster) const THREAD_ARCHIVED: i64 = 50_083;
    pub(super) const OVERLOADED: i64 = 130_000;
    pub(in crate::poster) const THREAD_LOCKED: i64 = 160_005;
    pub(in crate::poster) const TOO_MANY_THREADS: i64 = 160_006;
}

/// What is counted of a row that waits because Discord wants fewer requests.
pub(super) const LIMITED: &str = "limited";

impl Fate {
    /// Its name among what is counted.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Again => "again",
            Self::Locked => "locked",
            Self::Parked => "parked",
            Self::Threadless | Self::Never | Self::Gone => "refused",
        }
    }

    /// What an error means for the row with this action.
    pub(super) fn of(error: &DiscordError, action: &Action) -> Self {
        match error {
            DiscordError::Refused { status, code, .. } => Self::of_refusal(action, *status, *code),
            DiscordError::Unknown(_) | DiscordError::Hidden | DiscordError::ShutOut(_) => {
                Self::Again
            }
            DiscordError::BadId(_)
            | DiscordError::Fetch(_)
            | DiscordError::TooLarge(_)
            | DiscordError::TooLate
            | DiscordError::Client(_) => Self::Never,
        }
    }

    fn of_refusal(action: &Action, status: u16, code: i64) -> Self {
        let is_mark = match action {
            Action::React { .. }
            | Action::Unreact { .. }
            | Action::Edit { .. }
            | Action::Status { .. }
            | Action::Delete { .. }
            | Action::Rename { .. } => true,
            Action::Thread { .. }
            | Action::Post { .. }
            | Action::Ask { .. }
            | Action::Upload { .. }
            | Action::Files { .. } => false,
        };
        let is_thread = matches!(action, Action::Thread { .. });
        match (status, code) {
            (_, code::UNKNOWN_MESSAGE) => match action {
                // The post was made, and somebody deleted it; a mark went with its message.
                Action::Post { .. }
                | Action::Ask { .. }
                | Action::Upload { .. }
                | Action::Files { .. }
                | Action::Status { .. }
                | Action::Delete { .. }
                | Action::Unreact { .. }
                | Action::Edit { .. } => Self::Done,
                Action::React { .. } | Action::Thread { .. } | Action::Rename { .. } => Self::Never,
            },
            // 401 is a token that was replaced, 403 without a code an access list in front of
            // Discord.
            (401, _) | (403, ..=0) => Self::Locked,
            // What is said has another place.
            (
                _,
                code::MISSING_ACCESS
                | code::MISSING_PERMISSIONS
                | code::WRONG_CHANNEL_TYPE
                | code::TOO_MANY_THREADS,
            ) if is_thread => Self::Threadless,
            // The words behind a mark matter more than the mark, and they would wait for it.
            (_, code::MISSING_PERMISSIONS | code::THREAD_ARCHIVED | code::THREAD_LOCKED)
                if is_mark =>
            {
                Self::Never
            }
            (
                _,
                code::MISSING_ACCESS
                | code::MISSING_PERMISSIONS
                | code::THREAD_ARCHIVED
                | code::THREAD_LOCKED,
            ) => Self::Parked,
            (_, code::UNKNOWN_CHANNEL) => Self::Gone,
            // Discord gives a code with each refusal. What has none that can be read was said by
            // something in between, or is no refusal at all: nobody knows.
            (_, code::OVERLOADED | ..0) | (..=399 | 408 | 429 | 500.., _) => Self::Again,
            (_, _) => Self::Never,
        }
    }
}

/// What can be said instead of a post that Discord takes in no form.
pub(super) fn plainer(row: &Row) -> Option<Row> {
    let (channel, content) = match &row.action {
        Action::Post { channel, content, .. } => (channel, content.clone()),
        // Nobody can click at it; whoever asked can still stop the run.
        Action::Ask { channel, content, .. } => {
            (channel, with_line(content, "The buttons cannot be shown. `!stop` ends it."))
        }
        Action::Upload { channel, content, .. } => {
            (channel, with_line(content, "Discord did not take the file."))
        }
        Action::Files { channel, files, .. } => {
            (channel, format!("-# 📎 Discord did not take {}.", names(files)))
        }
        Action::React { .. }
        | Action::Unreact { .. }
        | Action::Thread { .. }
        | Action::Status { .. }
        | Action::Delete { .. }
        | Action::Rename { .. }
        | Action::Edit { .. } => return None,
    };
    if row.name.ends_with(PLAIN) {
        return None;
    }
    let content: String = content.chars().filter(|c| *c == '\n' || !c.is_control()).collect();
    let post = Action::Post { channel: *channel, reply_to: None, content, buttons: Vec::new() };
    Some(Row { name: format!("{}{PLAIN}", row.name), action: post })
}

/// The pause after `tries` failures: doubling, with a part that differs from row to row.
pub(super) fn pause(tries: i64) -> Duration {
    let doubled = PAUSE.0 * 2_u32.saturating_pow(u32::try_from(tries.clamp(0, 16)).unwrap_or(16));
    let full = doubled.min(PAUSE.1);
    full / 2 + full.mul_f64(f64::from(Uuid::new_v4().as_fields().1) / f64::from(u16::MAX) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::Mark;

    fn post() -> Action {
        Action::Post {
            channel: "5".parse().unwrap(),
            reply_to: None,
            content: "a\u{1}b".into(),
            buttons: Vec::new(),
        }
    }

    fn fate(action: &Action, status: u16, code: i64) -> Fate {
        Fate::of_refusal(action, status, code)
    }

    fn mark() -> Action {
        let (channel, message) = ("5".parse().unwrap(), "7".parse().unwrap());
        Action::React { channel, message, emoji: Mark::Answered }
    }

    #[test]
    fn a_post_that_somebody_deleted_was_posted() {
        assert_eq!(fate(&post(), 404, 10_008), Fate::Done);
    }

    #[test]
    fn an_outage_is_waited_for_and_a_lost_thread_is_not() {
        for status in [500, 502, 503, 429] {
            assert_eq!(fate(&post(), status, 0), Fate::Again, "{status}");
        }
        assert_eq!(fate(&post(), 404, 10_003), Fate::Gone);
    }

    #[test]
    fn what_discord_did_not_say_is_not_believed() {
        for status in [200, 302, 400, 404, 408, 413] {
            assert_eq!(fate(&post(), status, -1), Fate::Again, "{status}, a page of a proxy");
        }
        assert_eq!(fate(&post(), 400, 50_035), Fate::Never, "Discord's own word");
    }

    #[test]
    fn a_thread_that_takes_no_word_is_waited_for_and_a_mark_waits_for_nothing() {
        for code in [50_013, 50_083, 160_005] {
            assert_eq!(fate(&post(), 403, code), Fate::Parked, "{code}");
            assert_eq!(fate(&mark(), 403, code), Fate::Never, "{code}");
        }
        assert_eq!(fate(&mark(), 403, 50_001), Fate::Parked, "what is behind it waits as well");
        let channel = "5".parse().unwrap();
        let status = Action::Status { channel, content: "hm".into(), buttons: Vec::new() };
        assert_eq!(fate(&status, 403, 50_013), Fate::Never, "an answer is behind it");
        let gone = Action::Delete { channel, of: "m7/1/status/5".into() };
        assert_eq!(fate(&gone, 404, 10_008), Fate::Done, "somebody was faster");
    }

    #[test]
    fn without_a_thread_a_conversation_goes_on_in_its_channel() {
        let (channel, message) = ("5".parse().unwrap(), "7".parse().unwrap());
        let thread = Action::Thread { channel, message, name: "hm".into() };
        for code in [50_001, 50_013, 50_024, 160_006] {
            assert_eq!(fate(&thread, 403, code), Fate::Threadless, "{code}");
        }
        assert_eq!(fate(&thread, 403, 0), Fate::Locked);
        let rename = Action::Rename { channel, name: "hm".into() };
        assert_eq!(fate(&rename, 403, 50_013), Fate::Never, "the words behind it matter more");
    }

    #[test]
    fn what_somebody_has_to_mend_first_stays_due() {
        assert_eq!(fate(&post(), 401, 0), Fate::Locked);
        assert_eq!(fate(&post(), 403, 0), Fate::Locked, "no code: it was not Discord that said so");
        assert_eq!(fate(&post(), 403, 50_001), Fate::Parked);
        assert_eq!(fate(&post(), 403, 50_013), Fate::Parked);
    }

    #[test]
    fn what_discord_takes_in_no_form_is_said_plainly_once() {
        let row = Row { name: "m7/1/answer/1".into(), action: post() };
        let plain = plainer(&row).unwrap();
        assert_eq!(plain.name, "m7/1/answer/1/plain");
        assert!(matches!(&plain.action, Action::Post { content, .. } if content == "ab"));
        assert_eq!(plainer(&plain), None);
    }

    #[test]
    fn pauses_grow_and_end_growing() {
        for tries in 0..40 {
            let pause = pause(tries);
            assert!(PAUSE.0 / 2 <= pause && pause <= PAUSE.1, "{tries}: {pause:?}");
        }
    }
}
