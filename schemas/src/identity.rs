//! Who has a runner's name: a record in `RUNS` that never ages, written by compare-and-set.
//!
//! A runner's work comes by its name, and "itself" is the id in its state directory. Both can be
//! there twice: two hosts with one name, or a state directory that was copied. The record names the
//! one that has the name; whoever else starts under it is a [`Twin`] and gets nothing. Plain values;
//! the runner decides.

use serde::{Deserialize, Serialize};

use crate::ids::{InstanceId, RunnerId, StateId};
use crate::wire::VERSION;

/// One start of one runner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Identity {
    /// Version of this type.
    pub v: u16,
    /// The name.
    pub runner: RunnerId,
    /// The state directory's id.
    pub state_id: StateId,
    /// The start. The state directory remembers its own ones, and a copy of it does not know those
    /// that came after.
    pub instance: InstanceId,
    /// The host's own name, for people.
    pub host: String,
}

/// One that was started under a name which another has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Twin {
    /// Version of this type.
    pub v: u16,
    /// The one that was refused.
    pub refused: Identity,
    /// The one that has the name.
    pub holder: Identity,
}

impl Identity {
    /// The version that this program writes.
    pub const VERSION: u16 = VERSION;
}

impl Twin {
    /// The version that this program writes.
    pub const VERSION: u16 = VERSION;

    /// Whether the refused one has the holder's own state directory, or a copy of it.
    pub fn is_copy(&self) -> bool {
        self.refused.state_id == self.holder.state_id
    }
}
