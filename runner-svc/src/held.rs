//! What an attempt's spool says of the run it belongs to, so that a runner that starts again knows
//! without asking anybody.
//!
//! Two files of the runner's own in the spool: [`HELD`], written with the spool, and [`RESULT`],
//! written when there is an outcome and before anybody is told. Pure values and their JSON; the
//! spool does the writing.

use schemas::ask::{Ask, waited_ms};
use schemas::ids::{Generation, OwnerToken, RunId};
use schemas::record::{Record, State};
use schemas::request::Request;
use schemas::streams::RunKey;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::claims::Toll;

/// The file that says what is held.
pub(crate) const HELD: &str = "held.json";
/// The file that says how it ended: a [`State::Ended`] with its answer in full.
pub(crate) const RESULT: &str = "result.json";

/// One holding of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Held {
    /// What was asked.
    pub(crate) request: Request,
    /// The record as it was claimed.
    pub(crate) record: Record,
    /// The prompt of this attempt.
    pub(crate) prompt: Prompt,
    /// When the run was first claimed in this generation, in milliseconds since 1970.
    pub(crate) since_ms: i64,
    /// The `traceparent` of the span of this holding, which is told when it is over.
    pub(crate) trace: Option<String>,
    /// What that span begins with.
    #[serde(default)]
    pub(crate) begun: Begun,
}

/// What the span of a holding begins with. It lies in the spool, since the life of the runner that
/// tells the span may be another one than that which claimed the run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Begun {
    /// The `traceparent` that the work brought.
    pub(crate) parent: Option<String>,
    /// When the work was taken, in milliseconds since 1970.
    pub(crate) at_ms: i64,
    /// The `traceparent` of the holding before this one, of whatever runner.
    pub(crate) held_before: Option<String>,
    /// Whether the work had been delivered before.
    pub(crate) redelivered: bool,
    /// The owner token of the claude before this one in the same holding.
    pub(crate) claude_before: Option<String>,
}

/// The line that claude is told first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Prompt {
    /// The uuid that comes back as its echo.
    pub(crate) uuid: Uuid,
    /// Whether an earlier attempt was cut after claude had read the request.
    pub(crate) after_cut: bool,
}

/// What is said before the request when an earlier attempt was cut.
const CUT: &str = "Your work on the request below was cut off before you answered it. Look at what \
                   is done already, then finish it and answer.\n\n";

impl Held {
    /// The key of the run's record.
    pub(crate) fn key(&self) -> RunKey {
        let Request { project, thread, run, .. } = &self.request;
        RunKey { project: project.clone(), thread: *thread, run: run.clone() }
    }

    /// Takes over what its record says of the asks that are open, and since when its time counts.
    pub(crate) fn goes_on_from(&mut self, read: &Record) {
        self.record.asks.clone_from(&read.asks);
        self.record.asked = read.asked;
        self.record.applied.clone_from(&read.applied);
        self.record.since_ms = read.since_ms.or(self.record.since_ms);
        self.since_ms = read.since_ms.unwrap_or(self.since_ms);
    }

    /// The record of the next attempt. Its claude asks anew; until it does, nobody is waited for.
    pub(crate) fn next(&mut self, toll: Toll, now_ms: i64) -> Record {
        self.waited(&[], now_ms);
        let last = self.record.clone();
        Record {
            attempt: toll.attempt,
            deaths: toll.deaths,
            owner: OwnerToken::random(),
            state: State::Claimed,
            quiet_since_ms: None,
            since_ms: last.since_ms.map(|_| self.since_ms),
            asks: Vec::new(),
            asked: 0,
            applied: Vec::new(),
            steered: Vec::new(),
            ..last
        }
    }

    /// Leaves out of the run's time what it waited for people, with these asks still open.
    pub(crate) fn waited(&mut self, open: &[Ask], now_ms: i64) {
        self.since_ms += waited_ms(&self.record.asks, open, now_ms);
    }

    /// The words that claude is told for a prompt.
    pub(crate) fn text(&self, prompt: &Prompt) -> String {
        let cut = if prompt.after_cut { CUT } else { "" };
        format!("{cut}{}", self.request.prompt)
    }
}

impl Prompt {
    /// The first prompt of a generation: the same however often it is put.
    pub(crate) fn first(run: &RunId, generation: Generation) -> Self {
        Self { uuid: uuid_of(&format!("{run}/{generation}")), after_cut: false }
    }

    /// The prompt of an attempt that follows one which ended without outcome. A request that claude
    /// never echoed is put again as it was; one that it did needs a uuid of its own, since claude
    /// swallows a line whose uuid the session has answered.
    pub(crate) fn after(&self, run: &RunId, record: &Record, echoed: bool) -> Self {
        if !echoed {
            return self.clone();
        }
        let name = format!("{run}/{}/{}", record.generation, record.attempt);
        Self { uuid: uuid_of(&name), after_cut: true }
    }
}

/// A uuid that is the same whenever the name is.
pub(crate) fn uuid_of(name: &str) -> Uuid {
    let digest = Sha256::digest(name.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    // Version 8: made from something of our own (RFC 9562, section 5.8).
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// The end of a run as [`RESULT`] keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ended {
    /// The state to be written.
    pub(crate) state: State,
    /// The runs whose words have become part of this one.
    #[serde(default)]
    pub(crate) steered: Vec<RunId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_that_claude_never_saw_is_put_again_as_it_was() {
        let run: RunId = "m7".parse().unwrap();
        let first = Prompt::first(&run, Generation(1));
        assert_eq!(first, Prompt::first(&run, Generation(1)));
        assert_ne!(first.uuid, Prompt::first(&run, Generation(2)).uuid);
        assert_eq!(first.uuid.get_version_num(), 8);
    }
}
