//! A runner's sign of life in `RUNNERS`: a hint, never a proof.
//!
//! It is put again before the bucket forgets it; nothing may be concluded from its absence but
//! what a person is told.

use serde::{Deserialize, Serialize};

use crate::ids::{ProjectName, RunnerId, StateId};
use crate::wire::VERSION;

/// The oldest runner that knows what this version asks of runners; an older one is named, and works on as
/// far as it understands. To be raised with what is asked.
pub const RUNNER_VERSION_MIN: (u64, u64, u64) = (0, 1, 0);

/// What a runner says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Presence {
    /// Version of this type.
    pub v: u16,
    /// Its name.
    pub runner: RunnerId,
    /// Its state directory's id: two runners of one name differ here.
    pub state_id: StateId,
    /// The program's version.
    pub version: String,
    /// The projects it can serve.
    pub projects: Vec<ProjectName>,
    /// How many runs it works on at once.
    pub slots: u16,
    /// How many it works on now.
    pub busy: u16,
    /// Whether it takes no new work.
    #[serde(default)]
    pub draining: bool,
    /// Those of [`Self::projects`] that it shares with other runners; the others are its alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shared: Vec<ProjectName>,
    /// What its host has, in the operator's own words: what a project may require.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
}

impl Presence {
    /// The version that this program writes.
    pub const VERSION: u16 = VERSION;
}
