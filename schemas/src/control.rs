//! What a person decided about a run that is released: in the KV bucket `CONTROL`.
//!
//! The gateway writes all controls of a run whole, in order, by compare-and-set; the holder applies
//! each once, by its id, and says in its record which it has applied. Controls of a generation say
//! of every earlier one that it is over.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::ask::{AskId, Decision};
use crate::ids::{Attempt, Generation, RunId};
use crate::wire::VERSION;

/// The most waiting messages that are sent into a run.
pub const STEERS_MAX: usize = 16;

/// The most bytes of all words that are sent into a run: with every byte escaped sixfold they stay below
/// NATS' `max_payload`.
pub const STEERS_BYTES_MAX: usize = 128 * 1024;

/// All controls of one run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Controls {
    /// Version of this type.
    pub v: u16,
    /// The run.
    pub run: RunId,
    /// The generation that they are for.
    pub generation: Generation,
    /// In the order in which they were decided.
    pub items: Vec<Control>,
    /// Words that are to reach claude at its work, in the order in which they were sent: at most
    /// [`STEERS_MAX`]. They stand beside the items because a runner that knows nothing of them must
    /// still read those; it takes none, and they are asked as questions of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steers: Vec<Steer>,
    /// Whether leave is asked for again in a run in which nobody was to be asked.
    #[serde(default, skip_serializing_if = "is_false")]
    pub safe: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

/// A message that waited, sent into the run that is at work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Steer {
    /// The run that the message would have been.
    pub run: RunId,
    /// What claude is told, unchanged.
    pub text: String,
    /// The name of whoever sent it.
    pub by: String,
}

/// One decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Control {
    /// Its id: the message or the interaction that it came by.
    pub id: String,
    /// What is to be done.
    #[serde(flatten)]
    pub what: What,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum What {
    /// Interrupt claude; the session stays usable.
    Stop {
        /// The name of whoever decided it.
        by: String,
    },
    /// Tell claude what was decided about an ask.
    Answer {
        /// The ask.
        ask: AskId,
        /// The attempt whose claude asked: no other one is told.
        attempt: Attempt,
        /// What was decided.
        decision: Decision,
        /// The name of whoever decided it.
        by: String,
    },
}

impl Controls {
    /// The version that this program writes.
    pub const VERSION: u16 = VERSION;

    /// Who stops this generation, if somebody does: whoever asked for it first, or decided that a
    /// later one takes its place.
    pub fn stop_of(&self, generation: Generation) -> Option<&str> {
        match self.generation.cmp(&generation) {
            Ordering::Less => None,
            Ordering::Equal => self.stop(),
            Ordering::Greater => Some(self.stop().unwrap_or("a later decision")),
        }
    }

    /// Who asked for a stop first, if somebody did.
    pub fn stop(&self) -> Option<&str> {
        self.items.iter().find_map(|item| match &item.what {
            What::Stop { by } => Some(by.as_str()),
            What::Answer { .. } => None,
        })
    }

    /// What was decided about an ask of this attempt, if somebody did.
    pub fn answer_to(
        &self,
        generation: Generation,
        attempt: Attempt,
        ask: &AskId,
    ) -> Option<&Decision> {
        if self.generation != generation {
            return None;
        }
        self.items.iter().find_map(|item| match &item.what {
            What::Answer { ask: about, attempt: of, decision, .. }
                if about == ask && *of == attempt =>
            {
                Some(decision)
            }
            What::Answer { .. } | What::Stop { .. } => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controls_of_a_generation_stop_every_earlier_one() {
        let run: RunId = "m7".parse().unwrap();
        let generation = Generation(3);
        let quiet = Controls {
            v: Controls::VERSION,
            run,
            generation,
            items: Vec::new(),
            steers: Vec::new(),
            safe: false,
        };
        let what = What::Stop { by: "Ada".into() };
        let stop = Controls { items: vec![Control { id: "1".into(), what }], ..quiet.clone() };
        assert_eq!(stop.stop_of(Generation(4)), None);
        assert_eq!(stop.stop_of(Generation(3)), Some("Ada"));
        assert_eq!(stop.stop_of(Generation(2)), Some("Ada"));
        assert_eq!(quiet.stop_of(Generation(3)), None);
        assert!(quiet.stop_of(Generation(1)).is_some());
    }

    #[test]
    fn an_answer_is_for_the_attempt_whose_claude_asked() {
        let (ask, generation) = (AskId::new(7), Generation(3));
        let by = "Ada".to_owned();
        let what =
            What::Answer { ask: ask.clone(), attempt: Attempt(2), decision: Decision::Allow, by };
        let items = vec![Control { id: "a".into(), what }];
        let run = "m7".parse().unwrap();
        let (v, steers) = (Controls::VERSION, Vec::new());
        let controls = Controls { v, run, generation, items, steers, safe: false };
        assert_eq!(controls.answer_to(generation, Attempt(2), &ask), Some(&Decision::Allow));
        assert_eq!(controls.answer_to(generation, Attempt(3), &ask), None);
        assert_eq!(controls.answer_to(Generation(2), Attempt(2), &ask), None);
        assert_eq!(controls.answer_to(generation, Attempt(2), &AskId::new(8)), None);
        assert_eq!(controls.stop(), None);
    }
}
