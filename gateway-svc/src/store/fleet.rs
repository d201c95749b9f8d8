//! Lists of what is there: runs, conversations, usage. Nothing here changes anything.
//!
//! Each page begins where the one before ended, by what its list is sorted by, so that what comes meanwhile
//! neither hides a row nor shows one twice.

use platform::terminal::day;
use schemas::ids::{ChannelId, ProjectName, RunId, ThreadId, UserId};
use schemas::record::{Outcome, Record};
use schemas::streams::Place;
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, Row as _};

use super::places::{read_place, runner};
use super::{Result, Store, StoreError, id, number};
use crate::fleet::{
    self, Asker, By, Cursor, Person, Run, RunsWanted, Share, State, StateIs, Taken, Thread,
    ThreadsWanted, Took, UsageWanted,
};
use crate::limits::DAY_MS;

/// Conditions of a `WHERE`, and what is bound in them.
#[derive(Default)]
pub(super) struct Conditions {
    texts: Vec<String>,
    bound: Vec<Value>,
}

/// What can be bound.
enum Value {
    Number(i64),
    Text(String),
}

impl Conditions {
    /// Adds a condition without a value.
    pub(super) fn holds(&mut self, text: &str) {
        self.texts.push(text.to_owned());
    }

    /// Adds a condition about a number, whose place in it is `?`.
    pub(super) fn number(&mut self, text: &str, value: i64) {
        self.bound.push(Value::Number(value));
        self.texts.push(text.replace('?', &format!("${}", self.bound.len())));
    }

    /// Adds a condition about a text, whose place in it is `?`.
    pub(super) fn text(&mut self, text: &str, value: &str) {
        self.bound.push(Value::Text(super::text(value)));
        self.texts.push(text.replace('?', &format!("${}", self.bound.len())));
    }

    /// Adds that what is listed comes behind a cursor, the greatest number and key first.
    pub(super) fn behind(&mut self, cursor: Option<&Cursor>, at: &str, key: &str) {
        let Some(cursor) = cursor else { return };
        self.bound.push(Value::Number(cursor.at));
        self.bound.push(Value::Text(cursor.key.clone()));
        let (number, text) = (self.bound.len() - 1, self.bound.len());
        self.texts.push(format!("({at} < ${number} OR {at} = ${number} AND {key} < ${text})"));
    }

    /// Adds that a person is the one who is asked for.
    pub(super) fn person(&mut self, person: Option<&Person>, number: &str, name: &str) {
        match person {
            Some(Person::Id(id)) => self.number(&format!("{number} = ?"), super::number(id.get())),
            Some(Person::Name(text)) => self.text(&format!("{name} = ?"), text),
            None => {}
        }
    }

    /// All of them in one `WHERE`.
    pub(super) fn sql(&self) -> String {
        if self.texts.is_empty() {
            return String::new();
        }
        format!("WHERE {}", self.texts.join(" AND "))
    }

    /// A query of this text with all that is bound.
    pub(super) fn query(self, text: String) -> Query<'static, Any, AnyArguments> {
        let query = sqlx::query(sqlx::AssertSqlSafe(text));
        self.bound.into_iter().fold(query, |query, value| match value {
            Value::Number(number) => query.bind(number),
            Value::Text(text) => query.bind(text),
        })
    }
}

/// What a run is listed with.
const RUN: &str = "
    SELECT r.run, r.project, r.channel, r.thread, r.author, r.author_name, r.task, r.state, r.outcome,
           r.generation, r.attempt, r.phase, r.accepted_ms, r.released_ms, r.ended_ms, r.place, r.record,
           r.trace, (SELECT CAST(COALESCE(SUM(c.micro), 0) AS BIGINT) FROM costs c WHERE c.run = r.run) AS micro,
           (SELECT COUNT(*) FROM asks a WHERE a.run = r.run AND a.state = 'open') AS asks
      FROM runs r";

impl Store {
    /// A page of runs, the newest first.
    pub(crate) async fn runs(&self, wanted: &RunsWanted, now_ms: i64) -> Result<fleet::Runs> {
        let mut conditions = Conditions::default();
        if let Some(project) = &wanted.project {
            conditions.text("r.project = ?", project.as_str());
        }
        if let Some(thread) = wanted.thread {
            conditions.number("r.thread = ?", number(thread.get()));
        }
        if let Some(state) = wanted.state {
            conditions.holds(&is_in(state));
        }
        conditions.person(wanted.person.as_ref(), "r.author", "r.author_name");
        if let Some(since) = wanted.since {
            conditions.number("r.accepted_ms >= ?", since.ms(now_ms));
        }
        conditions.behind(wanted.after.as_ref(), "r.accepted_ms", "r.run");
        let text = format!(
            "{RUN} {} ORDER BY r.accepted_ms DESC, r.run DESC LIMIT {}",
            conditions.sql(),
            wanted.limit.and_one()
        );
        let rows = conditions.query(text).fetch_all(&self.pool).await?;
        let runs = rows.iter().map(run).collect::<Result<Vec<_>>>()?;
        let at = |run: &Run| Cursor { at: run.accepted_ms, key: run.run.to_string() };
        let (runs, next) = fleet::page(runs, wanted.limit, at);
        Ok(fleet::Runs { runs, next })
    }

    /// One run.
    pub(crate) async fn run(&self, run_id: &RunId) -> Result<Option<Run>> {
        let text = format!("{RUN} WHERE r.run = $1");
        let query = sqlx::query(sqlx::AssertSqlSafe(text)).bind(run_id.as_str());
        query.fetch_optional(&self.pool).await?.as_ref().map(run).transpose()
    }

    /// A page of conversations, those begun last first.
    pub(crate) async fn threads(
        &self,
        wanted: &ThreadsWanted,
        now_ms: i64,
    ) -> Result<fleet::Threads> {
        let mut conditions = Conditions::default();
        conditions.holds("t.thread <> t.channel");
        if let Some(project) = &wanted.project {
            conditions.text("t.project = ?", project.as_str());
        }
        if let Some(since) = wanted.since {
            conditions.number("t.active_ms >= ?", since.ms(now_ms));
        }
        if let Some(after) = &wanted.after {
            conditions.number("t.thread < ?", after.at);
        }
        let text = format!(
            "SELECT t.thread, t.channel, t.project, t.home, t.active_ms, t.said_in,
                    (SELECT COUNT(*) FROM runs r WHERE r.thread = t.thread) AS runs,
                    (SELECT COUNT(*) FROM runs r WHERE r.thread = t.thread AND r.state <> 'ended') AS opened,
                    (SELECT CAST(COALESCE(SUM(c.micro), 0) AS BIGINT)
                       FROM costs c JOIN runs r ON r.run = c.run WHERE r.thread = t.thread) AS micro
               FROM threads t {} ORDER BY t.thread DESC LIMIT {}",
            conditions.sql(),
            wanted.limit.and_one()
        );
        let rows = conditions.query(text).fetch_all(&self.pool).await?;
        let threads = rows.iter().map(thread).collect::<Result<Vec<_>>>()?;
        let at = |thread: &Thread| Cursor { at: number(thread.thread.get()), key: String::new() };
        let (threads, next) = fleet::page(threads, wanted.limit, at);
        Ok(fleet::Threads { threads, next })
    }

    /// What outcomes took, in parts: by name, by number, or the newest day first.
    pub(crate) async fn usage(&self, wanted: &UsageWanted, now_ms: i64) -> Result<fleet::Usage> {
        let total = {
            let conditions = used(wanted, now_ms);
            let text = format!("SELECT {SUMS} FROM {COSTS} {}", conditions.sql());
            taken(&conditions.query(text).fetch_one(&self.pool).await?)?
        };
        let mut conditions = used(wanted, now_ms);
        let (key, order) = match wanted.by {
            By::Project => ("c.project", "ASC"),
            By::Person => ("c.author", "ASC"),
            By::Day => ("c.at_ms / 86400000", "DESC"),
        };
        match (wanted.by, &wanted.after) {
            (_, None) => {}
            (By::Project, Some(after)) => conditions.text("c.project > ?", &after.key),
            (By::Person, Some(after)) => conditions.number("c.author > ?", after.at),
            (By::Day, Some(after)) => conditions.number("c.at_ms / 86400000 < ?", after.at),
        }
        let text = format!(
            "SELECT {key} AS part, MAX(COALESCE(r.author_name, '')) AS name, {SUMS} FROM {COSTS} {}
              GROUP BY {key} ORDER BY {key} {order} LIMIT {}",
            conditions.sql(),
            wanted.limit.and_one()
        );
        let rows = conditions.query(text).fetch_all(&self.pool).await?;
        let shares = rows.iter().map(|row| share(row, wanted.by)).collect::<Result<Vec<_>>>()?;
        let at = |(cursor, _): &(Cursor, Share)| cursor.clone();
        let (shares, next) = fleet::page(shares, wanted.limit, at);
        let usage = shares.into_iter().map(|(_, share)| share).collect();
        Ok(fleet::Usage { by: wanted.by, usage, total, next })
    }
}

/// Where costs are, with who asked.
const COSTS: &str = "costs c LEFT JOIN runs r ON r.run = c.run";
/// What is summed of them.
const SUMS: &str = "COUNT(*) AS outcomes, CAST(COALESCE(SUM(c.micro), 0) AS BIGINT) AS micro,
    CAST(COALESCE(SUM(c.input_tokens), 0) AS BIGINT) AS input_tokens,
    CAST(COALESCE(SUM(c.output_tokens), 0) AS BIGINT) AS output_tokens,
    CAST(COALESCE(SUM(c.duration_ms), 0) AS BIGINT) AS duration_ms";

fn used(wanted: &UsageWanted, now_ms: i64) -> Conditions {
    let mut conditions = Conditions::default();
    if let Some(project) = &wanted.project {
        conditions.text("c.project = ?", project.as_str());
    }
    conditions.person(wanted.person.as_ref(), "c.author", "r.author_name");
    if let Some(since) = wanted.since {
        conditions.number("c.at_ms >= ?", since.ms(now_ms));
    }
    conditions
}

/// A state as a condition.
fn is_in(state: StateIs) -> String {
    let asks = "EXISTS (SELECT 1 FROM asks a WHERE a.run = r.run AND a.state = 'open')";
    let state = match state {
        StateIs::Open => return "r.state <> 'ended'".to_owned(),
        StateIs::Ended => return "r.state = 'ended'".to_owned(),
        StateIs::Just(state) => state,
    };
    match state {
        State::Waiting => "r.state = 'queued'".to_owned(),
        State::Released => "r.state = 'released' AND r.phase IS NULL".to_owned(),
        State::Claimed => format!("r.state = 'released' AND r.phase = 'claimed' AND NOT {asks}"),
        State::Running => format!("r.state = 'released' AND r.phase = 'running' AND NOT {asks}"),
        State::Asking => format!("r.state = 'released' AND r.phase IS NOT NULL AND {asks}"),
        State::Answered
        | State::Failed
        | State::Stopped
        | State::Dropped
        | State::Discarded
        | State::Merged => format!("r.state = 'ended' AND r.outcome = '{}'", state.name()),
    }
}

/// Where a run stands, by its columns.
fn state(row: &AnyRow) -> Result<State> {
    let phase: Option<String> = row.try_get("phase")?;
    let outcome: Option<String> = row.try_get("outcome")?;
    let is_asking = 0 < row.try_get::<i64, _>("asks")?;
    let state: String = row.try_get("state")?;
    Ok(match (state.as_str(), phase.as_deref()) {
        ("queued", _) => State::Waiting,
        ("released", None) => State::Released,
        ("released", Some(_)) if is_asking => State::Asking,
        ("released", Some("claimed")) => State::Claimed,
        ("released", Some(_)) => State::Running,
        (_, _) => {
            let name = outcome.unwrap_or_default();
            let found = State::ALL.into_iter().find(|(known, _)| *known == name);
            // Before outcomes were kept, whatever ended was answered or failed.
            found.map_or(State::Answered, |(_, state)| state)
        }
    })
}

fn run(row: &AnyRow) -> Result<Run> {
    let record: Option<String> = row.try_get("record")?;
    let record: Option<Record> = record
        .map(|text| serde_json::from_str(&text))
        .transpose()
        .map_err(|source| StoreError::BadJson { what: "record", source })?;
    let placed = match read_place(row)? {
        Some(Place::At(runner)) => Some(runner),
        Some(Place::Any) | None => None,
    };
    let attempt: Option<i64> = row.try_get("attempt")?;
    Ok(Run {
        run: row.try_get::<String, _>("run")?.parse()?,
        project: row.try_get::<String, _>("project")?.parse()?,
        channel: id(row.try_get("channel")?, ChannelId::new)?,
        thread: id(row.try_get("thread")?, ThreadId::new)?,
        person: Asker {
            id: id(row.try_get("author")?, UserId::new)?,
            name: row.try_get("author_name")?,
        },
        task: row.try_get("task")?,
        state: state(row)?,
        generation: count(row.try_get("generation")?),
        attempt: attempt.map(count),
        runner: record.as_ref().map(|record| record.runner.clone()).or(placed),
        accepted_ms: row.try_get("accepted_ms")?,
        released_ms: row.try_get("released_ms")?,
        ended_ms: row.try_get("ended_ms")?,
        cost_usd: fleet::dollars(row.try_get("micro")?),
        took: record.as_ref().and_then(Record::usage).map(|usage| Took {
            duration_ms: usage.duration_ms,
            turns: usage.turns,
            input_tokens: usage.input_tokens,
            output_tokens: usage.output_tokens,
            model: usage.model.clone(),
        }),
        why: record.as_ref().and_then(Record::outcome).and_then(why),
        trace: row.try_get("trace")?,
    })
}

fn why(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Answered { .. } => None,
        Outcome::Failed { why, .. } => Some(why.clone()),
        Outcome::Stopped { by } => Some(format!("stopped by {by}")),
    }
}

fn thread(row: &AnyRow) -> Result<Thread> {
    Ok(Thread {
        thread: id(row.try_get("thread")?, ThreadId::new)?,
        channel: id(row.try_get("channel")?, ChannelId::new)?,
        project: row.try_get::<String, _>("project")?.parse()?,
        runner: runner(row, "home")?,
        active_ms: row.try_get("active_ms")?,
        in_channel: row.try_get::<Option<i64>, _>("said_in")?.is_some(),
        runs: row.try_get("runs")?,
        open: row.try_get("opened")?,
        cost_usd: fleet::dollars(row.try_get("micro")?),
    })
}

fn share(row: &AnyRow, by: By) -> Result<(Cursor, Share)> {
    let taken = taken(row)?;
    let (at, key, name) = match by {
        By::Project => {
            let project: ProjectName = row.try_get::<String, _>("part")?.parse()?;
            (0, project.to_string(), None)
        }
        By::Person => {
            let person: i64 = row.try_get("part")?;
            let name: String = row.try_get("name")?;
            (person, person.to_string(), Some(name).filter(|name| !name.is_empty()))
        }
        By::Day => {
            let days: i64 = row.try_get("part")?;
            (days, day(days.saturating_mul(DAY_MS)), None)
        }
    };
    Ok((Cursor { at, key: key.clone() }, Share { key, name, taken }))
}

fn taken(row: &AnyRow) -> Result<Taken> {
    Ok(Taken {
        outcomes: row.try_get("outcomes")?,
        cost_usd: fleet::dollars(row.try_get("micro")?),
        input_tokens: row.try_get("input_tokens")?,
        output_tokens: row.try_get("output_tokens")?,
        duration_ms: row.try_get("duration_ms")?,
    })
}

/// A counter out of a column.
pub(super) fn count(number: i64) -> u32 {
    u32::try_from(number).unwrap_or_default()
}
