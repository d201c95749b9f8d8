//! What is shown of the fleet: runs, threads, runners, what was decided by whom, what it took.
//!
//! One shape of each, for `--json` and for the HTTP API. Times are milliseconds since 1970, ids are
//! texts (JavaScript would round Discord's numbers), money is US dollars. Values alone: `wanted` says
//! what is asked for, `tables` how a person sees it, the store fills them. What people asked and what claude
//! answered is in none of them.

mod tables;
mod wanted;

use schemas::ids::{ChannelId, ProjectName, RunId, RunnerId, StateId, ThreadId, UserId};
use serde::Serialize;
use utoipa::ToSchema;

pub(crate) use tables::Shown;
pub(crate) use wanted::{
    AuditWanted, By, Cursor, Limit, Person, RunnersWanted, RunsWanted, StateIs, ThreadsWanted,
    UsageWanted,
};

/// How many millionths a dollar has.
const MICRO: f64 = 1_000_000.0;

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// It waits for others of its thread.
    Waiting,
    /// It is released, and no runner has taken it.
    Released,
    /// A runner has taken it; claude was not seen yet.
    Claimed,
    /// claude is at work.
    Running,
    /// claude waits for a person.
    Asking,
    /// claude answered.
    Answered,
    /// There is no answer.
    Failed,
    /// Somebody stopped or ended it.
    Stopped,
    /// It was dropped before its turn.
    Dropped,
    /// It failed or was stopped, and somebody let it be.
    Discarded,
    /// It is part of another run.
    Merged,
}

impl State {
    /// Every state with its name.
    pub(crate) const ALL: [(&'static str, State); 11] = [
        ("waiting", State::Waiting),
        ("released", State::Released),
        ("claimed", State::Claimed),
        ("running", State::Running),
        ("asking", State::Asking),
        ("answered", State::Answered),
        ("failed", State::Failed),
        ("stopped", State::Stopped),
        ("dropped", State::Dropped),
        ("discarded", State::Discarded),
        ("merged", State::Merged),
    ];

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        let found = Self::ALL.iter().find(|(_, state)| *state == self);
        found.map(|(name, _)| *name).unwrap_or_default()
    }
}

/// Runs, the newest first.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(example = json!({"runs": [{"run": "m1307", "project": "app", "channel": "1201", "thread": "1307", "person": {"id": "1102", "name": "ada"}, "task": "ask", "state": "failed", "generation": 1, "attempt": 1, "runner": "host-1", "accepted_ms": 1_795_452_005_000_i64, "released_ms": 1_795_452_005_000_i64, "ended_ms": 1_795_452_065_000_i64, "cost_usd": 0.0123, "took": {"duration_ms": 58_000, "turns": 3, "input_tokens": 5200, "output_tokens": 310, "model": "claude-opus-5-5"}, "why": "claude ended with code 1"}], "next": "1795452005000.m1307"}))]
pub(crate) struct Runs {
    /// The runs.
    pub(crate) runs: Vec<Run>,
    /// Where the next page begins; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(crate) next: Option<Cursor>,
}

/// A run: a question, and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "these are the names of the JSON")]
pub(crate) struct Run {
    /// Its id.
    #[schema(value_type = String)]
    pub(crate) run: RunId,
    /// Its project.
    #[schema(value_type = String)]
    pub(crate) project: ProjectName,
    /// The channel that its thread is in.
    #[schema(value_type = String)]
    pub(crate) channel: ChannelId,
    /// Its conversation.
    #[schema(value_type = String)]
    pub(crate) thread: ThreadId,
    /// Who asked.
    pub(crate) person: Asker,
    /// What the runner is to do: `ask` (claude), `diff` (say what has changed).
    pub(crate) task: String,
    /// Where it stands.
    pub(crate) state: State,
    /// Which generation of it that is: a retry, a move and an end raise it.
    pub(crate) generation: u32,
    /// Which holding of the generation was seen last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) attempt: Option<u32>,
    /// Who holds or held it, or where it waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(crate) runner: Option<RunnerId>,
    /// When it was accepted.
    pub(crate) accepted_ms: i64,
    /// When it was released in this generation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) released_ms: Option<i64>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ended_ms: Option<i64>,
    /// What all its generations cost.
    pub(crate) cost_usd: f64,
    /// What it took, if it has ended and claude said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) took: Option<Took>,
    /// Why it failed, or who stopped it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
    /// Its W3C `traceparent`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trace: Option<String>,
}

/// Who asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Asker {
    /// Their number in Discord.
    #[schema(value_type = String)]
    pub(crate) id: UserId,
    /// What they were called when they asked.
    pub(crate) name: String,
}

/// What the last generation of a run took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Took {
    /// From the first line to the result.
    pub(crate) duration_ms: u64,
    /// Turns of the model.
    pub(crate) turns: u32,
    /// Tokens read, without those from the cache.
    pub(crate) input_tokens: u64,
    /// Tokens written.
    pub(crate) output_tokens: u64,
    /// The model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) model: Option<String>,
}

/// Conversations, those begun last first.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(example = json!({"threads": [{"thread": "1307", "channel": "1201", "project": "app", "runner": "host-1", "active_ms": 1_795_452_065_000_i64, "in_channel": false, "runs": 3, "open": 1, "cost_usd": 0.0411}]}))]
pub(crate) struct Threads {
    /// The conversations.
    pub(crate) threads: Vec<Thread>,
    /// Where the next page begins; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(crate) next: Option<Cursor>,
}

/// A conversation.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "these are the names of the JSON")]
pub(crate) struct Thread {
    /// Its id, which is its first message's.
    #[schema(value_type = String)]
    pub(crate) thread: ThreadId,
    /// The channel that it is in.
    #[schema(value_type = String)]
    pub(crate) channel: ChannelId,
    /// Its project.
    #[schema(value_type = String)]
    pub(crate) project: ProjectName,
    /// Who has it, if anybody.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(crate) runner: Option<RunnerId>,
    /// When something happened in it last.
    pub(crate) active_ms: i64,
    /// Whether no thread could be started for it: it goes on in its channel.
    pub(crate) in_channel: bool,
    /// How many runs it has,
    pub(crate) runs: i64,
    /// and how many of them have no outcome.
    pub(crate) open: i64,
    /// What all of them cost.
    pub(crate) cost_usd: f64,
}

/// Runners, by their state directories' ids.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(example = json!({"runners": [{"runner": "host-1", "state_id": "2f5a7c7e-0e27-4f5d-8a51-5b6f2a6d3e02", "there": true, "seen_ms": 1_795_452_065_000_i64, "draining": false, "busy": 1, "slots": 4, "projects": ["app"], "shared": [], "labels": ["gpu"], "version": "0.1.0"}]}))]
pub(crate) struct Runners {
    /// The runners.
    pub(crate) runners: Vec<Runner>,
    /// Where the next page begins; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(crate) next: Option<Cursor>,
}

/// A runner, as it was seen last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "these are the names of the JSON")]
pub(crate) struct Runner {
    /// Its name.
    #[schema(value_type = String)]
    pub(crate) runner: RunnerId,
    /// Its state directory's id: two runners of one name differ here.
    #[schema(value_type = String)]
    pub(crate) state_id: StateId,
    /// Whether it has shown itself lately.
    pub(crate) there: bool,
    /// When it was seen last.
    pub(crate) seen_ms: i64,
    /// Whether it takes no new work.
    pub(crate) draining: bool,
    /// How many runs it works on,
    pub(crate) busy: u16,
    /// and how many it can at once.
    pub(crate) slots: u16,
    /// The projects it serves.
    #[schema(value_type = Vec<String>)]
    pub(crate) projects: Vec<ProjectName>,
    /// Those of them that it shares with others.
    #[schema(value_type = Vec<String>)]
    pub(crate) shared: Vec<ProjectName>,
    /// What its host has, in the operator's words.
    pub(crate) labels: Vec<String>,
    /// The program's version.
    pub(crate) version: String,
}

/// What was decided, the newest first.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(example = json!({"acts": [{"at_ms": 1_795_452_065_000_i64, "act": "retry", "by": {"kind": "token", "name": "ops"}, "run": "m1307", "generation": 1, "project": "app", "thread": "1307"}]}))]
pub(crate) struct Audit {
    /// What was decided.
    pub(crate) acts: Vec<Act>,
    /// Where the next page begins; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(crate) next: Option<Cursor>,
}

/// One thing that somebody decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "these are the names of the JSON")]
pub(crate) struct Act {
    /// When.
    pub(crate) at_ms: i64,
    /// What: `stop`, `retry`, `discard`, `end`, `drop`, `move`, `owner`, `decide`, `send`, `unsafe`, `safe`,
    /// `fork`, `run missed`, `leave missed`.
    pub(crate) act: String,
    /// Who.
    pub(crate) by: Actor,
    /// About which run,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(crate) run: Option<RunId>,
    /// in which generation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) generation: Option<u32>,
    /// In which project.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(crate) project: Option<ProjectName>,
    /// In which thread or channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(crate) thread: Option<ThreadId>,
    /// More of it, in a line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<String>,
}

/// Who decided something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Actor {
    /// What they are: `person`, `operator` (of the command line), `token` (of the HTTP API).
    pub(crate) kind: String,
    /// A person's number in Discord.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(crate) id: Option<UserId>,
    /// What they are called.
    pub(crate) name: String,
}

/// What was taken, in parts.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "these are the names of the JSON")]
#[schema(example = json!({"by": "person", "usage": [{"key": "1102", "name": "ada", "outcomes": 3, "cost_usd": 0.0411, "input_tokens": 15_600, "output_tokens": 930, "duration_ms": 174_000}], "total": {"outcomes": 3, "cost_usd": 0.0411, "input_tokens": 15_600, "output_tokens": 930, "duration_ms": 174_000}}))]
pub(crate) struct Usage {
    /// What the parts are: `project`, `person` or `day`.
    pub(crate) by: By,
    /// The parts.
    pub(crate) usage: Vec<Share>,
    /// All of them together, on whatever page.
    pub(crate) total: Taken,
    /// Where the next page begins; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(crate) next: Option<Cursor>,
}

/// One part of what was taken.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct Share {
    /// A project, a person's number, or a day of UTC.
    pub(crate) key: String,
    /// What the person is called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// What was taken.
    #[serde(flatten)]
    pub(crate) taken: Taken,
}

/// What outcomes took.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub(crate) struct Taken {
    /// How many outcomes said what they took: one a try.
    pub(crate) outcomes: i64,
    /// What they cost.
    pub(crate) cost_usd: f64,
    /// Tokens read, without those from the cache.
    pub(crate) input_tokens: i64,
    /// Tokens written.
    pub(crate) output_tokens: i64,
    /// How long claude took.
    pub(crate) duration_ms: i64,
}

/// What became of an act.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(example = json!({"run": "m1307", "generation": 2, "state": "released", "now": true}))]
pub(crate) struct Acted {
    /// The run.
    #[schema(value_type = String)]
    pub(crate) run: RunId,
    /// The generation that it is in now.
    pub(crate) generation: u32,
    /// Where it stands now.
    pub(crate) state: State,
    /// Whether it was this request that did it; else an earlier one had.
    pub(crate) now: bool,
}

/// Millionths of a dollar as dollars.
#[expect(clippy::cast_precision_loss, reason = "nobody spends 2^52 millionths")]
pub(crate) fn dollars(micro: i64) -> f64 {
    micro as f64 / MICRO
}

/// Cuts a list to a page, of which one more was asked for than it holds; and where the next one begins.
pub(crate) fn page<T>(
    mut rows: Vec<T>,
    limit: Limit,
    cursor: impl Fn(&T) -> Cursor,
) -> (Vec<T>, Option<Cursor>) {
    let more = limit.get() < rows.len();
    rows.truncate(limit.get());
    let next = if more { rows.last().map(cursor) } else { None };
    (rows, next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_called_alike_everywhere() {
        for (name, state) in State::ALL {
            assert_eq!(state.name(), name);
            assert_eq!(serde_json::to_value(state).unwrap(), name);
        }
    }

    #[test]
    fn a_page_says_where_the_next_one_begins_if_there_is_one() {
        let limit: Limit = "2".parse().unwrap();
        let cursor = |at: &i64| Cursor { at: *at, key: "k".into() };
        assert_eq!(page(vec![3, 2], limit, cursor), (vec![3, 2], None));
        let (rows, next) = page(vec![3, 2, 1], limit, cursor);
        assert_eq!((rows, next.unwrap().to_string()), (vec![3, 2], "2.k".to_owned()));
    }
}
