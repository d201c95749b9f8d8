//! The run record: the one message from a runner to the gateway, in the KV bucket `RUNS`.
//!
//! Every revision is the whole state and replaces the one before, so a reader that missed some
//! has missed nothing. It is written by compare-and-set alone, by the holder of its owner token.
//! [`crate::run`] says which record may follow which; nothing here decides.

use serde::{Deserialize, Serialize};

use crate::ask::Ask;
use crate::carried::{Carried, Remark};
use crate::files::{Given, Withheld};
use crate::ids::{Attempt, Generation, OwnerToken, RunId, RunnerId, SessionId, StateId};
use crate::run::claim::Toll;
use crate::run::{Fact, Phase, Run, Step};
use crate::wire::VERSION;

/// The most bytes of a record. What is larger is a digest of a file in FILES.
pub const RECORD_MAX: usize = 64 * 1024;

/// The most bytes of an answer inside a record; the rest of [`RECORD_MAX`] is for all else, and
/// JSON may escape each byte.
pub const INLINE_MAX: usize = 24 * 1024;

/// The most refused tools a record names.
pub const DENIALS_MAX: usize = 20;

/// The most bytes of a notice: two lines, with a path in them.
pub const NOTICE_MAX: usize = 600;

/// The most remarks of a record: two when a run begins, two when it ends.
pub const REMARKS_MAX: usize = 4;

/// The most bytes of each line of [`Whereabouts`].
pub const WHEREABOUTS_MAX: usize = 400;

/// The most applied controls that a record names: more than can be decided between two revisions.
pub const APPLIED_MAX: usize = 16;

/// Where a run stands, as its holder sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Record {
    /// Version of this type.
    pub v: u16,
    /// The run.
    pub run: RunId,
    /// The generation that this record belongs to.
    pub generation: Generation,
    /// The holding that this record belongs to.
    pub attempt: Attempt,
    /// How many holdings of this generation before this one ended with claude's death under a living
    /// holder; the others were lost.
    #[serde(default, skip_serializing_if = "is_none")]
    pub deaths: u32,
    /// The holder's name, for people.
    pub runner: RunnerId,
    /// The holder.
    pub state_id: StateId,
    /// The holding's secret: who knows it may write the next revision.
    pub owner: OwnerToken,
    /// claude's session.
    pub session: SessionId,
    /// What the holder is at.
    pub state: State,
    /// Since when claude has said nothing, in milliseconds since 1970, if that is long enough for a
    /// person to be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet_since_ms: Option<i64>,
    /// When claude was first started in this generation, in milliseconds since 1970, less what the run
    /// waited for others since: how long it may take counts from then, over all holdings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<i64>,
    /// A sentence for the thread about where claude works, of at most [`NOTICE_MAX`] bytes. It stands
    /// in every revision from the one on in which it was known, and is told once a thread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice: Option<String>,
    /// A sentence for the thread about what the run was to be allowed and is not by this runner, of at
    /// most [`NOTICE_MAX`] bytes. Told once a thread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub narrowed: Option<String>,
    /// What claude waits for, oldest first: at most [`crate::ask::ASKS_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asks: Vec<Ask>,
    /// How often an ask was opened or settled in this attempt: of two records of an attempt, the one
    /// with the higher number knows better what is open.
    #[serde(default, skip_serializing_if = "is_none")]
    pub asked: u32,
    /// The controls that claude has taken, the newest last: at most [`APPLIED_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub applied: Vec<String>,
    /// What did not come along, or could not be put into FILES: sentences for the thread, at most
    /// [`REMARKS_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<Remark>,
    /// What the conversation left for whoever has its next run; only with an outcome.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carried: Option<Carried>,
    /// Where claude is at work, for a person who wants to go there; known when it is started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whereabouts: Option<Whereabouts>,
    /// The runs whose words were sent into this one and have become part of it, at most
    /// [`crate::control::STEERS_MAX`]; only with an outcome. What was sent and is not named here is asked
    /// by itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steered: Vec<RunId>,
    /// The files that go with the answer, at most [`crate::files::GIVEN_MAX`]; only with an outcome. All
    /// of them are in FILES before this is written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<Given>,
    /// The files that should go with it and do not, at most [`crate::files::WITHHELD_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub withheld: Vec<Withheld>,
    /// The W3C `traceparent` of the holder's span, so that the gateway's work on this record
    /// belongs to the same trace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
}

/// Where claude is at work on its host: each of at most [`WHEREABOUTS_MAX`] bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Whereabouts {
    /// The directory.
    pub dir: String,
    /// The command line that takes the session up in a terminal there.
    pub resume: String,
    /// The command line that shows claude at work, while it is.
    pub attach: String,
}

/// What the holder is at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum State {
    /// The run is held; claude was not seen yet.
    Claimed,
    /// claude runs.
    Running,
    /// There is an outcome. Nothing follows in this generation.
    Ended {
        /// The outcome.
        outcome: Outcome,
        /// What it took, as far as claude said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        usage: Option<Usage>,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_none(count: &u32) -> bool {
    *count == 0
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Outcome {
    /// claude answered.
    Answered {
        /// What it said last.
        answer: Text,
        /// Tools that it asked for and was refused, at most [`DENIALS_MAX`].
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        denied: Vec<Denial>,
    },
    /// There is no answer.
    Failed {
        /// Why, in one or a few lines for the person who asked.
        why: String,
        /// Tools that it asked for and was refused, at most [`DENIALS_MAX`].
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        denied: Vec<Denial>,
    },
    /// Somebody stopped it.
    Stopped {
        /// The name of whoever did.
        by: String,
    },
}

/// A text, or where it lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Text {
    /// The text, of at most [`INLINE_MAX`] bytes.
    Inline(String),
    /// A UTF-8 file in the project's FILES bucket.
    File {
        /// Its name there: the SHA-256 of its bytes in hexadecimal.
        digest: String,
        /// Its size in bytes.
        bytes: u64,
    },
}

/// A tool that claude asked for and was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Denial {
    /// The tool, as claude names it.
    pub tool: String,
    /// What it was to be used on: a command, a path. One line.
    pub object: String,
}

/// What a run took, as claude's result line says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Usage {
    /// From the first line to the result, in milliseconds.
    pub duration_ms: u64,
    /// In US dollars, of the session so far.
    pub cost_usd: f64,
    /// Turns of the model.
    pub turns: u32,
    /// Tokens read, without those from the cache.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// The model, as claude calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

impl Record {
    /// The version that this program writes.
    pub const VERSION: u16 = VERSION;

    /// What the generation has cost up to this holding.
    pub fn toll(&self) -> Toll {
        Toll { attempt: self.attempt, deaths: self.deaths }
    }

    /// Whether this may be written over an older record that turned up again: NATS can forget what
    /// it kept, or be put back to what it was.
    pub fn follows(&self, older: &Record) -> bool {
        let goes_on = older.outcome().is_none() && older.owner == self.owner;
        goes_on || Run::Held(older.fact()).step(self.fact()) != Step::Stale
    }

    /// What [`crate::run::Run::step`] needs to know of this record.
    pub fn fact(&self) -> Fact {
        Fact {
            generation: self.generation,
            attempt: self.attempt,
            owner: self.owner,
            phase: match self.state {
                State::Claimed => Phase::Claimed,
                State::Running => Phase::Running,
                State::Ended { .. } => Phase::Ended,
            },
        }
    }

    /// What the run took, if it has ended and claude said so.
    pub fn usage(&self) -> Option<&Usage> {
        match &self.state {
            State::Ended { usage, .. } => usage.as_ref(),
            State::Claimed | State::Running => None,
        }
    }

    /// The outcome, if there is one.
    pub fn outcome(&self) -> Option<&Outcome> {
        match &self.state {
            State::Ended { outcome, .. } => Some(outcome),
            State::Claimed | State::Running => None,
        }
    }
}
