//! The times that a shared project's runners hold each other to, and a few of the gateway's own, and their
//! scale in tests.
//!
//! In use they are constants, most of `schemas::streams`, one set for everybody. A test that waits for
//! a take-over cannot wait for minutes, so each has a variable of the environment that gives it in
//! milliseconds; all programs of one bus must be given the same. What does not fit together is
//! refused at start. Nothing here waits or asks for the time.

use std::time::Duration;

use schemas::streams;

use crate::config::{Environment, Problems};

/// Sets [`Times::ack_wait`], for tests.
pub const ACK_WAIT_MS: &str = "HOLDFAST_ACK_WAIT_MS";
/// Sets [`Times::renew`], for tests.
pub const RENEW_MS: &str = "HOLDFAST_RENEW_MS";
/// Sets [`Times::fence`], for tests.
pub const FENCE_MS: &str = "HOLDFAST_FENCE_MS";
/// Sets [`Times::kill_grace`], for tests.
pub const KILL_GRACE_MS: &str = "HOLDFAST_KILL_GRACE_MS";
/// Sets [`Times::takeover`], for tests.
pub const TAKEOVER_MS: &str = "HOLDFAST_TAKEOVER_MS";
/// Sets [`Times::given_up`], for tests.
pub const GIVEN_UP_MS: &str = "HOLDFAST_GIVEN_UP_MS";

/// Sets [`Times::fresh`], for tests.
pub const FRESH_MS: &str = "HOLDFAST_STATUS_FRESH_MS";

/// See [`Times::fresh`].
const FRESH: Duration = Duration::from_secs(50 * 60);

/// How long what may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// See [`streams::ACK_WAIT`]; of the consumers of `WORK` alone.
    pub ack_wait: Duration,
    /// See [`streams::RENEW`].
    pub renew: Duration,
    /// See [`streams::FENCE`].
    pub fence: Duration,
    /// See [`streams::KILL_GRACE`]; of a fence alone.
    pub kill_grace: Duration,
    /// See [`streams::TAKEOVER`].
    pub takeover: Duration,
    /// See [`streams::GIVEN_UP`].
    pub given_up: Duration,
    /// How old a status message gets before there is a fresh one: Discord limits edits of messages that
    /// are older than an hour (code 30046).
    pub fresh: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            ack_wait: streams::ACK_WAIT,
            renew: streams::RENEW,
            fence: streams::FENCE,
            kill_grace: streams::KILL_GRACE,
            takeover: streams::TAKEOVER,
            given_up: streams::GIVEN_UP,
            fresh: FRESH,
        }
    }
}

impl Times {
    /// The constants, or what a test has in its environment instead; notes what does not fit
    /// together.
    pub fn read(env: &Environment, problems: &mut Problems) -> Self {
        let mut time = |name: &str, default: Duration| {
            let Some(text) = env.get(name).filter(|text| !text.is_empty()) else { return default };
            let given = problems.take(name, text.parse::<u64>());
            problems.check(given != Some(0), name, || "must be at least 1".into());
            given.map_or(default, Duration::from_millis)
        };
        let own = Self::default();
        let times = Self {
            ack_wait: time(ACK_WAIT_MS, own.ack_wait),
            renew: time(RENEW_MS, own.renew),
            fence: time(FENCE_MS, own.fence),
            kill_grace: time(KILL_GRACE_MS, own.kill_grace),
            takeover: time(TAKEOVER_MS, own.takeover),
            given_up: time(GIVEN_UP_MS, own.given_up),
            fresh: time(FRESH_MS, own.fresh),
        };
        times.check(problems);
        times
    }

    fn check(&self, problems: &mut Problems) {
        let Self { ack_wait, renew, fence, kill_grace, takeover, given_up, fresh: _ } = *self;
        problems.check(fence + kill_grace < takeover, TAKEOVER_MS, || {
            format!(
                "must be more than the fence and the kill grace together ({fence:?} and \
                 {kill_grace:?}), is {takeover:?}: the claude of before would still be at work"
            )
        });
        problems.check(takeover < given_up, GIVEN_UP_MS, || {
            format!("must be more than a take-over takes ({takeover:?}), is {given_up:?}")
        });
        let longest = ack_wait.min(fence);
        problems.check(renew * 3 <= longest, RENEW_MS, || {
            format!("must be at most a third of {longest:?}, is {renew:?}")
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> (Times, String) {
        let mut problems = Problems::default();
        let env = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let times = Times::read(&env, &mut problems);
        (times, problems.to_string())
    }

    #[test]
    fn without_a_word_the_times_are_those_of_the_protocol_and_fit() {
        assert_eq!(read(&[]), (Times::default(), String::new()));
    }

    #[test]
    fn a_take_over_before_the_fence_is_refused() {
        let (_, problems) = read(&[(TAKEOVER_MS, "70000")]);
        assert!(problems.contains(TAKEOVER_MS), "{problems}");
        let (times, problems) = read(&[(TAKEOVER_MS, "70001")]);
        assert_eq!((times.takeover.as_millis(), problems.as_str()), (70_001, ""));
    }

    #[test]
    fn a_runner_is_not_given_up_before_it_could_be_taken_over_from() {
        let (_, problems) = read(&[(GIVEN_UP_MS, "90000")]);
        assert!(problems.contains(GIVEN_UP_MS), "{problems}");
        let (times, problems) = read(&[(GIVEN_UP_MS, "90001")]);
        assert_eq!((times.given_up.as_millis(), problems.as_str()), (90_001, ""));
    }

    #[test]
    fn a_renewal_that_leaves_no_room_for_two_lost_ones_is_refused() {
        let (_, problems) = read(&[(RENEW_MS, "20001")]);
        assert!(problems.contains(RENEW_MS), "{problems}");
        let (_, problems) = read(&[(ACK_WAIT_MS, "3000"), (RENEW_MS, "2000")]);
        assert!(problems.contains("a third of 3s"), "{problems}");
        let (_, problems) = read(&[(RENEW_MS, "soon")]);
        assert!(problems.contains("invalid digit"), "{problems}");
    }
}
