//! What a person can tell us besides a prompt: by a word, a button or a reaction.
//!
//! Pure: text → order, button id ↔ order, and what the person is told about it. A word that is none
//! of ours is a prompt: claude has commands of its own.

use schemas::ids::{Generation, RunId};

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
}

impl Order {
    /// The order that a message is, if it is one: the word alone, in any case.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text.trim().to_ascii_lowercase().as_str() {
            "!stop" => Some(Order::Stop),
            "!retry" => Some(Order::Retry),
            "!discard" => Some(Order::Discard),
            _ => None,
        }
    }
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
            _ => return None,
        };
        let run = parts.next()?.parse().ok()?;
        let generation = parts.next()?.parse().ok()?;
        parts.next().is_none().then_some(Self { order, run, generation })
    }
}

/// What became of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// The run will be interrupted.
    Stopping,
    /// It was waiting, and is dropped.
    Dropped,
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
    pub(crate) fn line(&self, order: Order) -> &'static str {
        match (self, order) {
            (Done::Stopping, _) => "Stopping it.",
            (Done::Dropped, _) => "It was still waiting; it is dropped.",
            (Done::Again, _) => "Trying again.",
            (Done::Discarded, _) => "Discarded.",
            (Done::TooLate, _) => "That is decided already.",
            (Done::Nothing, Order::Stop) => "Nothing runs in this thread.",
            (Done::Nothing, Order::Retry | Order::Discard) => {
                "Nothing in this thread failed or was stopped."
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_word_alone_is_an_order() {
        assert_eq!(Order::parse(" !STOP "), Some(Order::Stop));
        assert_eq!(Order::parse("!retry"), Some(Order::Retry));
        for text in ["!ls", "stop", "!stop it", "/cost", "!", ""] {
            assert_eq!(Order::parse(text), None, "{text:?} is a prompt");
        }
    }

    #[test]
    fn a_button_says_again_what_it_is_about() {
        for order in [Order::Stop, Order::Retry, Order::Discard] {
            let press = Press { order, run: "m7".parse().unwrap(), generation: Generation(2) };
            assert_eq!(Press::parse(&press.custom_id()), Some(press));
        }
        for text in ["", "retry", "retry/m7", "retry/m7/0", "retry/m7/1/x", "erase/m7/1"] {
            assert_eq!(Press::parse(text), None, "{text:?}");
        }
    }
}
