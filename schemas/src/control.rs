//! What a person decided about a run that is released: in the KV bucket `CONTROL`.
//!
//! The gateway writes all controls of a run whole, in order, by compare-and-set; the holder applies
//! each once, by its id, and says in its record which it has applied. Nothing here decides.

use serde::{Deserialize, Serialize};

use crate::ids::{Generation, RunId};
use crate::wire::VERSION;

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
}

impl Controls {
    /// The version that this program writes.
    pub const VERSION: u16 = VERSION;

    /// Who asked for a stop first, if somebody did.
    pub fn stop(&self) -> Option<&str> {
        self.items
            .iter()
            .map(|item| match &item.what {
                What::Stop { by } => by.as_str(),
            })
            .next()
    }
}
