//! What claude does this second: on core NATS, `live.<project>.<thread>.<run>`.
//!
//! A hint that may be lost, and that nothing is decided by: what a person is shown while a run lasts.
//! Every message is the whole of it. It is bounded in size and in rate, and has no secrets in it: the
//! runner sees to both.

use serde::{Deserialize, Serialize};

use crate::ids::{Attempt, Generation, RunnerId};
use crate::wire::VERSION;

/// The most characters of each text: a line of a screen.
pub const TEXT_CHARS_MAX: usize = 120;
/// The most steps that are told by name; the others are a number.
pub const STEPS_MAX: usize = 3;
/// The most points of a list that are told.
pub const POINTS_MAX: usize = 20;

/// What claude does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Live {
    /// Version of this type.
    pub v: u16,
    /// The generation that it belongs to.
    pub generation: Generation,
    /// The holding that it belongs to.
    pub attempt: Attempt,
    /// The holder.
    pub runner: RunnerId,
    /// The model, as claude calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// What it does now.
    pub doing: Doing,
    /// For how long, in milliseconds.
    pub for_ms: u64,
    /// How many steps it has finished.
    #[serde(default)]
    pub done: u32,
    /// The last of them, newest last, at most [`STEPS_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
    /// Its own list of what is to be done, at most [`POINTS_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub list: Vec<Point>,
    /// The tokens that the model read and wrote for its last message; 0: it said nothing yet.
    #[serde(default)]
    pub tokens: u64,
}

/// What claude does now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Doing {
    /// It was started, and has said nothing yet.
    Starting,
    /// The model is at work.
    Thinking,
    /// A tool is at work.
    Tool {
        /// The tool, and what it is used on.
        step: Step,
        /// What the sub-agent is for that uses it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        agent: Option<String>,
        /// How many others are at work beside it.
        #[serde(default)]
        others: u32,
    },
    /// It waits for a person.
    Asking,
    /// The API failed, and is asked again.
    Retrying {
        /// Why.
        why: String,
    },
}

/// A call of a tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Step {
    /// The tool, as claude names it.
    pub tool: String,
    /// What it is used on.
    pub object: String,
    /// Whether it failed, or was refused.
    #[serde(default)]
    pub failed: bool,
}

/// A point of claude's list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Point {
    /// What is to be done.
    pub text: String,
    /// How far it is.
    pub state: PointState,
}

/// How far a point is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum PointState {
    /// Not begun.
    Open,
    /// At hand.
    Begun,
    /// Done.
    Done,
}

impl Live {
    /// The version that this program writes.
    pub const VERSION: u16 = VERSION;
}
