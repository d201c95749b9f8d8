//! When claude is asked to end and when it is made to: a value, no clock and no process.
//!
//! ```text
//! Running ──end──► Closing ──its grace──► Terminating ──its grace──► Killed
//!    └──────────────kill───────────────────────▲
//! ```
//!
//! Each edge is an [`Act`] that the keeper carries out on claude's process group. It only moves
//! forward. A fence (`lease.rs`) is one more caller of [`Stop::kill`]; times are read from a clock that
//! counts suspend.
//!
//! It never decides that claude *has* ended: that is its pidfd's word.

use std::time::Duration;

/// How long claude has to end by itself once its stdin is closed, if the runner does not say.
/// A claude that is done ends in well under a second; a slow one may still write its transcript.
const CLOSE_GRACE: Duration = Duration::from_secs(10);
/// How long claude has between TERM and KILL, if the runner does not say: the kill grace of
/// `docs/protocol.md`.
const KILL_GRACE: Duration = Duration::from_secs(10);
/// No grace is longer, whatever a file says: a day, far over any run's limit.
const GRACE_MAX: Duration = Duration::from_secs(86_400);

/// How much time claude gets to end by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Graces {
    /// From the closing of its stdin to TERM.
    pub(crate) close: Duration,
    /// From TERM to KILL.
    pub(crate) kill: Duration,
}

impl Graces {
    /// Reads what [`Graces::to_text`] made. Whatever is missing or strange takes its default: an
    /// end that was asked for must come.
    pub(crate) fn parse(text: &str) -> Self {
        let ms = |key: &str, default| {
            text.lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix('=')?.parse().ok())
                .map_or(default, Duration::from_millis)
                .min(GRACE_MAX)
        };
        Graces { close: ms("close_ms", CLOSE_GRACE), kill: ms("kill_ms", KILL_GRACE) }
    }

    /// The content of an `end` or `kill` file.
    pub(crate) fn to_text(self) -> String {
        format!("close_ms={}\nkill_ms={}\n", self.close.as_millis(), self.kill.as_millis())
    }
}

impl Default for Graces {
    fn default() -> Self {
        Graces { close: CLOSE_GRACE, kill: KILL_GRACE }
    }
}

/// What is to be done to claude's process group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Nothing yet.
    Nothing,
    /// Send TERM.
    Terminate,
    /// Send KILL.
    Kill,
}

/// How far the stopping of claude has come. Instants count from boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Nobody asked.
    #[default]
    Running,
    /// Its stdin is closed.
    Closing {
        /// When TERM is due.
        term_at: Duration,
        /// The grace after it.
        kill_grace: Duration,
    },
    /// TERM was sent.
    Terminating {
        /// When KILL is due.
        kill_at: Duration,
    },
    /// KILL was sent.
    Killed,
}

impl Stop {
    /// Claude's stdin was closed.
    pub(crate) fn end(&mut self, now: Duration, graces: Graces) {
        match *self {
            Stop::Running => {
                *self = Stop::Closing { term_at: now + graces.close, kill_grace: graces.kill };
            }
            Stop::Closing { .. } | Stop::Terminating { .. } | Stop::Killed => {}
        }
    }

    /// Claude is to go now. A second call can shorten the time until KILL, and never lengthen it.
    #[must_use]
    pub(crate) fn kill(&mut self, now: Duration, graces: Graces) -> Act {
        let asked = now + graces.kill;
        match *self {
            Stop::Running | Stop::Closing { .. } => {
                *self = Stop::Terminating { kill_at: asked };
                Act::Terminate
            }
            Stop::Terminating { kill_at } => {
                *self = Stop::Terminating { kill_at: kill_at.min(asked) };
                Act::Nothing
            }
            Stop::Killed => Act::Nothing,
        }
    }

    /// What the clock alone asks for.
    #[must_use]
    pub(crate) fn tick(&mut self, now: Duration) -> Act {
        match *self {
            Stop::Closing { term_at, kill_grace } if term_at <= now => {
                *self = Stop::Terminating { kill_at: now + kill_grace };
                Act::Terminate
            }
            Stop::Terminating { kill_at } if kill_at <= now => {
                *self = Stop::Killed;
                Act::Kill
            }
            Stop::Running | Stop::Closing { .. } | Stop::Terminating { .. } | Stop::Killed => {
                Act::Nothing
            }
        }
    }

    /// When [`Stop::tick`] has something to do next.
    pub(crate) fn due_at(&self) -> Option<Duration> {
        match *self {
            Stop::Closing { term_at, .. } => Some(term_at),
            Stop::Terminating { kill_at } => Some(kill_at),
            Stop::Running | Stop::Killed => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACES: Graces = Graces { close: Duration::from_secs(10), kill: Duration::from_secs(5) };

    fn at(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn an_end_becomes_term_and_then_kill() {
        let mut stop = Stop::Running;
        stop.end(at(100), GRACES);
        assert_eq!((stop.tick(at(109)), stop.due_at()), (Act::Nothing, Some(at(110))));
        assert_eq!((stop.tick(at(111)), stop.due_at()), (Act::Terminate, Some(at(116))));
        assert_eq!((stop.tick(at(116)), stop.due_at()), (Act::Kill, None));
        assert_eq!(stop.tick(at(999)), Act::Nothing);
    }

    #[test]
    fn a_kill_does_not_wait_for_the_end() {
        let mut stop = Stop::Running;
        stop.end(at(100), GRACES);
        assert_eq!(stop.kill(at(101), GRACES), Act::Terminate);
        assert_eq!(stop.due_at(), Some(at(106)));
    }

    #[test]
    fn a_second_kill_never_gives_more_time() {
        let mut stop = Stop::Running;
        assert_eq!(stop.kill(at(100), GRACES), Act::Terminate);
        assert_eq!(stop.kill(at(104), GRACES), Act::Nothing);
        assert_eq!(stop.due_at(), Some(at(105)));
        assert_eq!(stop.kill(at(104), Graces { kill: at(0), ..GRACES }), Act::Nothing);
        assert_eq!(stop.tick(at(104)), Act::Kill);
    }

    #[test]
    fn graces_read_back_and_strange_ones_take_the_default() {
        assert_eq!(Graces::parse(&GRACES.to_text()), GRACES);
        assert_eq!(Graces::parse(""), Graces::default());
        let odd = Graces::parse("close_ms=-1\nkill_ms=99999999999999\n");
        assert_eq!(odd, Graces { close: CLOSE_GRACE, kill: GRACE_MAX });
    }
}
