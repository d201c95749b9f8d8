//! What a person can tell us besides a prompt: by a word, a button or a reaction.
//!
//! Pure: button id ↔ order, and what the person is told about it. `table` has the words that are
//! commands; a word that is none of ours is a prompt: claude has commands of its own.

mod table;

use std::borrow::Cow;

use schemas::ids::{Generation, RunId};
use schemas::streams::PRESENCE_AGE;

pub(crate) use table::{Command, help};

/// The reaction that stops a run, on the message that asked for it.
pub(crate) const STOP_EMOJI: &str = "⏹";

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Interrupt what runs in the thread.
    Stop,
    /// Run again what failed or was stopped last.
    Retry,
    /// Let it be.
    Discard,
    /// End what runs or waits, whether its runner answers or not.
    End,
}

/// A button under a message of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Press {
    /// What it does.
    pub(crate) order: Order,
    /// To which run,
    pub(crate) run: RunId,
    /// in which generation.
    pub(crate) generation: Generation,
}

impl Press {
    /// The button's `custom_id`, of at most 100 characters for every run a person began.
    pub(crate) fn custom_id(&self) -> String {
        let order = match self.order {
            Order::Stop => "stop",
            Order::Retry => "retry",
            Order::Discard => "discard",
            Order::End => "end",
        };
        format!("{order}/{}/{}", self.run, self.generation)
    }

    /// What a `custom_id` of ours means.
    pub(crate) fn parse(custom_id: &str) -> Option<Self> {
        let mut parts = custom_id.split('/');
        let order = match parts.next()? {
            "stop" => Order::Stop,
            "retry" => Order::Retry,
            "discard" => Order::Discard,
            "end" => Order::End,
            _ => return None,
        };
        let run = parts.next()?.parse().ok()?;
        let generation = parts.next()?.parse().ok()?;
        parts.next().is_none().then_some(Self { order, run, generation })
    }
}

/// The runner that a decision about a run has to reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    /// Its name.
    pub(crate) runner: String,
    /// When it was seen last, in milliseconds since 1970, if anybody remembers.
    pub(crate) seen_ms: Option<i64>,
}

impl Holder {
    /// Whether it has shown itself lately.
    pub(crate) fn is_there(&self, now_ms: i64) -> bool {
        let age_ms = i64::try_from(PRESENCE_AGE.as_millis()).expect("half a minute fits");
        self.seen_ms.is_some_and(|seen_ms| now_ms <= seen_ms + age_ms)
    }
}

/// What may be left of a run that was ended while it was released.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// No runner was seen to begin it.
    Nothing,
    /// claude, until this runner, which answers, has stopped it.
    Stopping(String),
    /// claude, until this runner is back.
    Away(String),
}

/// What became of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// The run will be interrupted.
    Stopping,
    /// It will be interrupted when this runner is back; `None`: when there is one at all.
    StoppingLater(Option<Holder>),
    /// Nothing runs, and so many runs wait.
    Waiting(i64),
    /// It was waiting, and is dropped.
    Dropped,
    /// It is ended, whoever holds it.
    Ended(Left),
    /// It will run again.
    Again,
    /// It is let be.
    Discarded,
    /// Somebody was faster, or it went on without.
    TooLate,
    /// There is nothing that the order could be about.
    Nothing,
}

impl Done {
    /// What the person is told.
    pub(crate) fn line(&self, order: Order) -> Cow<'static, str> {
        let line = match (self, order) {
            (Done::StoppingLater(holder), _) => return later(holder.as_ref()).into(),
            (Done::Waiting(1), _) => "Nothing runs; 1 waits. Delete its message to drop it.",
            (Done::Waiting(n), _) => {
                return format!("Nothing runs; {n} wait. Delete a message to drop it.").into();
            }
            (Done::Stopping, _) => "Stopping it.",
            (Done::Dropped, _) => "It was still waiting; it is dropped.",
            (Done::Ended(_), _) => "Ended.",
            (Done::Again, _) => "Trying again.",
            (Done::Discarded, _) => "Discarded.",
            (Done::TooLate, Order::Stop) => "It is not at work any more; nothing was done.",
            (Done::TooLate, Order::Retry | Order::Discard | Order::End) => {
                "That is decided already."
            }
            (Done::Nothing, Order::Stop) => "Nothing runs in this thread.",
            (Done::Nothing, Order::End) => "Nothing runs or waits in this thread.",
            (Done::Nothing, Order::Retry | Order::Discard) => {
                "Nothing in this thread failed or was stopped."
            }
        };
        line.into()
    }
}

/// What is said to a stop that nobody hears now.
fn later(holder: Option<&Holder>) -> String {
    let Some(Holder { runner, seen_ms }) = holder else {
        return "Stopping it. No runner has shown itself with this project yet; it stops when one \
                does, or end it now."
            .to_owned();
    };
    let away = match seen_ms {
        Some(seen_ms) => format!("was last seen at <t:{}:t>", seen_ms.div_euclid(1000)),
        None => "does not answer".to_owned(),
    };
    format!(
        "Stopping it. **{runner}** {away}; it stops when that is back, or end it now: claude may \
         still be at work there."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_button_says_again_what_it_is_about() {
        for order in [Order::Stop, Order::Retry, Order::Discard, Order::End] {
            let press = Press { order, run: "m7".parse().unwrap(), generation: Generation(2) };
            assert_eq!(Press::parse(&press.custom_id()), Some(press));
        }
        for text in ["", "retry", "retry/m7", "retry/m7/0", "retry/m7/1/x", "erase/m7/1"] {
            assert_eq!(Press::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_runner_is_away_when_its_presence_is_too_old_to_be_kept() {
        let seen = |seen_ms| Holder { runner: "host".into(), seen_ms };
        assert!(seen(Some(1_000)).is_there(31_000));
        assert!(!seen(Some(1_000)).is_there(31_001));
        assert!(!seen(None).is_there(0));
    }

    #[test]
    fn a_stop_that_nobody_hears_says_who_is_away_since_when() {
        let holder = Holder { runner: "host".into(), seen_ms: Some(60_999) };
        let line = Done::StoppingLater(Some(holder)).line(Order::Stop);
        assert!(line.starts_with("Stopping it. **host** was last seen at <t:60:t>; "), "{line}");
        let line = Done::StoppingLater(None).line(Order::Stop);
        assert!(line.contains("No runner"), "{line}");
    }
}
