//! What claude says, one line of its stream-json at a time.
//!
//! [`Event::parse`] turns a line of the journal into what it means; the builders in [`told`] make
//! the lines that claude is told; [`Progress`] folds events into the state of one claude process.
//! Shapes are those of `claude` 2.1.330, recorded in `testdata/claude/`. A line is read tolerantly:
//! fields that are missing or of another type are left out, unknown kinds are [`Event::Other`], and
//! what is no JSON at all is [`Event::NotJson`], because claude's own children can write there too.
//!
//! It is pure: no clock, no file, no process. It never fails and never panics, whatever the bytes.

mod activity;
mod calls;
mod parse;
mod progress;
pub(crate) mod told;
pub(crate) mod wanted;

pub(crate) use activity::Activity;
pub(crate) use calls::{Call, Calls};
pub(crate) use progress::{LineState, Progress};

use schemas::live::{Point, PointState};
use serde_json::Value;
use uuid::Uuid;

/// What one line means.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    /// A turn begins (this line comes with every prompt).
    Init(Init),
    /// How far a line that we wrote has come.
    Lifecycle {
        /// The uuid that we gave the line.
        uuid: Uuid,
        /// How far.
        state: Lifecycle,
    },
    /// A line that we wrote has become part of the conversation. Comes when the model begins to
    /// answer, not at once.
    Echo {
        /// The uuid that we gave the line.
        uuid: Uuid,
        /// Its text, as claude understood it.
        text: String,
    },
    /// claude's own words and calls.
    Said {
        /// In order.
        blocks: Vec<Block>,
        /// The call that a sub-agent works for; `None` in the conversation itself.
        within: Option<String>,
        /// Its id, which the transcript has too.
        uuid: Option<Uuid>,
        /// How many tokens the model read and wrote for it.
        tokens: Option<u64>,
    },
    /// What tools gave back.
    ToolResults(Vec<ToolResult>),
    /// claude waits for leave to use a tool, or for an answer to its question.
    Ask(Ask),
    /// claude asks something that we did not offer (a hook, an MCP server of ours).
    OtherRequest {
        /// What the answer must name.
        request_id: String,
        /// What it asks.
        subtype: String,
    },
    /// claude does not wait for this any more; nothing may be answered.
    AskCancelled {
        /// Which request.
        request_id: String,
    },
    /// Either claude's answer to a request of ours, or our own answer to it, sent back. The id
    /// tells them apart.
    ControlResponse(ControlResponse),
    /// A turn has ended.
    Result(Box<TurnResult>),
    /// The account's limit: where it stands.
    RateLimit {
        /// For instance `allowed`, `allowed_warning`, `rejected`.
        status: String,
        /// When it is lifted, in seconds since 1970.
        resets_at: Option<i64>,
    },
    /// The API failed and will be asked again.
    ApiRetry {
        /// Counts from 1.
        attempt: u64,
        /// How many there will be.
        max_retries: u64,
        /// How long claude waits before.
        delay_ms: u64,
        /// The HTTP status, if there was an answer.
        status: Option<u64>,
        /// For instance `overloaded`.
        error: String,
    },
    /// The conversation was summed up to make room.
    Compacted,
    /// A line of a kind that nobody here needs.
    Other {
        /// Its `type`, with its `subtype`.
        kind: String,
    },
    /// No JSON object: not claude, or not whole.
    NotJson,
}

/// What claude says of itself at the beginning of a turn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Init {
    /// The session.
    pub(crate) session_id: String,
    /// The model it will use.
    pub(crate) model: String,
    /// Its version.
    pub(crate) version: String,
    /// What it can do beyond the protocol's first form.
    pub(crate) capabilities: Vec<String>,
}

/// How far a line that we wrote has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifecycle {
    /// claude has read it.
    Queued,
    /// claude works on it.
    Started,
    /// The turn is over. Without `Started` before it: the session had answered this uuid already,
    /// and no result will come.
    Completed,
    /// The turn was ended by an error or an interrupt.
    Cancelled,
}

/// A part of what claude says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Block {
    /// Words.
    Text(String),
    /// What it thinks; the text may be hidden.
    Thinking(String),
    /// A call of a tool.
    ToolUse {
        /// The call's id.
        id: String,
        /// The tool.
        name: String,
        /// What it is called with, in a line: the command, the file, the pattern.
        object: String,
        /// What it does to claude's own list of what is to be done, if that is what it is for.
        list: Option<ListChange>,
    },
    /// Something else.
    Other,
}

/// A change of claude's own list of what is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ListChange {
    /// This is all of it.
    All(Vec<Point>),
    /// One more, with this text.
    Add(String),
    /// One changes.
    Set {
        /// Which.
        id: String,
        /// Its new text.
        text: Option<String>,
        /// Its new state.
        state: Option<PointState>,
    },
    /// One goes.
    Drop(String),
}

/// What a tool gave back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ToolResult {
    /// The call's id.
    pub(crate) id: String,
    /// Whether it failed or was denied.
    pub(crate) is_error: bool,
    /// The beginning of its text.
    pub(crate) text: String,
}

/// A request for leave.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ask {
    /// What the answer must name.
    pub(crate) request_id: String,
    /// The tool; `AskUserQuestion` and `ExitPlanMode` are such tools.
    pub(crate) tool_name: String,
    /// The call's id.
    pub(crate) tool_use_id: String,
    /// What it would be called with: an answer that allows sends it back.
    pub(crate) input: Value,
    /// claude's own words about the call.
    pub(crate) description: Option<String>,
    /// The path that is at fault.
    pub(crate) blocked_path: Option<String>,
    /// What claude would remember if it were allowed for good: its rules, and the directories that
    /// they reach into.
    pub(crate) suggested: Option<String>,
}

impl Ask {
    /// What the tool would be used on, in a line.
    pub(crate) fn object(&self) -> String {
        parse::object(&self.input)
    }

    /// What the tool would be used on, however long that is.
    pub(crate) fn whole_object(&self) -> String {
        parse::whole_object(&self.input)
    }
}

/// An answer to a request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ControlResponse {
    /// The request.
    pub(crate) request_id: String,
    /// `Err` with the reason if it was refused.
    pub(crate) outcome: Result<(), String>,
    /// What waits for an answer; only in answers to `initialize`.
    pub(crate) pending: Vec<Ask>,
    /// Lines that were not begun; only in answers to `interrupt`.
    pub(crate) still_queued: Vec<Uuid>,
}

/// The end of a turn.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct TurnResult {
    /// What kind of turn.
    pub(crate) kind: TurnKind,
    /// Whether it failed: this decides, not the subtype.
    pub(crate) is_error: bool,
    /// For instance `success`, `error_during_execution`, `error_max_turns`.
    pub(crate) subtype: String,
    /// The answer (the last text of the last message), or what went wrong.
    pub(crate) text: String,
    /// The session.
    pub(crate) session_id: String,
    /// Of the session so far, resumed parts included.
    pub(crate) total_cost_usd: f64,
    /// How long the turn took.
    pub(crate) duration_ms: u64,
    /// How many steps it took; 0 when the model was not asked.
    pub(crate) turns: u64,
    /// Its tokens.
    pub(crate) usage: Usage,
    /// What was not allowed.
    pub(crate) denials: Vec<Denial>,
    /// Why it ended: `completed`, `api_error`, `aborted_streaming`, `aborted_tools`, …
    pub(crate) terminal_reason: Option<String>,
    /// The HTTP status of an API error.
    pub(crate) api_error_status: Option<u64>,
    /// The lines that it answers.
    pub(crate) user_uuids: Vec<Uuid>,
    /// The model, as the turn's first line called it.
    pub(crate) model: Option<String>,
}

impl TurnResult {
    /// This result with the answers before it that belong to the same run: all words, and all time.
    fn behind(mut self, before: &[Self]) -> Self {
        if self.is_error {
            return self;
        }
        let texts = before.iter().map(|it| it.text.as_str()).chain([self.text.as_str()]);
        let texts: Vec<_> = texts.filter(|text| !text.trim().is_empty()).collect();
        self.text = texts.join("\n\n");
        for it in before {
            self.duration_ms = self.duration_ms.saturating_add(it.duration_ms);
            self.turns = self.turns.saturating_add(it.turns);
            for denial in &it.denials {
                if !self.denials.contains(denial) {
                    self.denials.push(denial.clone());
                }
            }
        }
        self
    }

    /// Whether it was ended by an interrupt (or a denial that interrupts).
    pub(crate) fn is_interrupted(&self) -> bool {
        self.terminal_reason.as_deref().is_some_and(|reason| reason.starts_with("aborted"))
    }
}

/// What kind of turn a result ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum TurnKind {
    /// One that we asked for.
    #[default]
    Answer,
    /// The summing up of a full conversation; the turn goes on.
    Compaction,
    /// One that a background task of claude's began.
    TaskNotification,
}

/// Tokens of a turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Read, not from the cache.
    pub(crate) input: u64,
    /// Written.
    pub(crate) output: u64,
    /// Put into the cache.
    pub(crate) cache_creation: u64,
    /// Read from the cache.
    pub(crate) cache_read: u64,
}

impl Usage {
    /// All of them.
    fn all(self) -> u64 {
        let Self { input, output, cache_creation, cache_read } = self;
        [input, output, cache_creation, cache_read].into_iter().fold(0, u64::saturating_add)
    }
}

/// A call that was not allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Denial {
    /// The tool.
    pub(crate) tool_name: String,
    /// What it was to be used on, in a line.
    pub(crate) object: String,
}

#[cfg(test)]
mod tests;
