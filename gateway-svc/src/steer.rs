//! Sending a message that waits into the run at work: what the button is, and what people are told.
//!
//! Pure. Whose words reach claude is said by the store and the runner; nothing here decides it.

use schemas::ids::RunId;

use crate::outbox::{Action, Button, Row};
use crate::render::{Place, plain};

/// How the id of the button begins.
const NOW: &str = "now/";

/// What became of a message that somebody sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// claude is told.
    Now,
    /// It does not wait any more: it runs, was sent, or was dropped.
    Gone,
    /// Nothing runs that it could be sent into.
    Alone,
    /// It is too long to be told in the middle of a run, or too much was sent into it already.
    TooMuch,
    /// Files came with it, which a claude at work cannot be given.
    HasFiles,
}

impl Sent {
    /// What the person is told.
    pub(crate) fn line(self) -> &'static str {
        match self {
            Sent::Now => "Sent: claude is told this at its next step.",
            Sent::Gone => "It does not wait any more; nothing was done.",
            Sent::Alone => "Nothing runs that this could be sent into; it is answered in its turn.",
            Sent::TooMuch => {
                "This is too much to be sent into a run at work; it is answered in its turn."
            }
            Sent::HasFiles => {
                "Files came with this, which a run at work cannot be given; it is answered in its turn."
            }
        }
    }
}

/// The button that sends a waiting run's message.
pub(crate) fn button(run: &RunId) -> Button {
    Button { id: format!("{NOW}{run}"), label: "Send now".to_owned() }
}

/// The run whose message is to be sent, if a press says so.
pub(crate) fn to_send(custom_id: &str) -> Option<RunId> {
    custom_id.strip_prefix(NOW)?.parse().ok()
}

/// What is owed when a message is sent: a line under it.
pub(crate) fn sent(place: &Place, by: &str) -> Row {
    line(place, "sent", format!("-# ↪️ {} sent this into the run at work.", plain(by)))
}

/// What is owed when the run ended before claude took a message that was sent into it: a line.
pub(crate) fn back(place: &Place) -> Row {
    let content = "-# The run ended before claude read this; it is answered in its turn.";
    line(place, "back", content.to_owned())
}

/// What is owed when a message was part of one that is dropped: a line.
pub(crate) fn parted(place: &Place) -> Row {
    let content = "-# What this was merged into is dropped; this waits by itself again.";
    line(place, "parted", content.to_owned())
}

/// A line of ours, as a reply to the message.
fn line(place: &Place, part: &str, content: String) -> Row {
    let reply_to = place.asked.map(|(_, message)| message);
    let channel = place.thread.into();
    let post = Action::Post { channel, reply_to, content, buttons: Vec::new() };
    Row::of(&place.run, place.generation, part, post)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_button_says_again_whose_message_it_sends() {
        let run: RunId = "m7".parse().unwrap();
        assert_eq!(to_send(&button(&run).id), Some(run));
        for text in ["now/", "now/x", "now/m7/1", "send/m7", "now/m7 ", "now/../m7"] {
            assert_eq!(to_send(text), None, "{text:?}");
        }
    }
}
