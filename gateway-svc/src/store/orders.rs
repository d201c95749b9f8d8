//! Orders: stop, retry, discard, end; each in one transaction under the thread's row.

use schemas::control::{Control, Controls, What};
use schemas::ids::{ChannelId, Generation, MessageId, ProjectName, RunId, ThreadId, UserId};
use schemas::record::Record;
use schemas::request::Author;
use schemas::run::{Fact, Phase};
use schemas::streams::RunKey;
use sqlx::Row as _;
use uuid::Uuid;

use super::acts::{NewAct, act_of, note_act};
use super::asks::close_all;
use super::outbox::insert_rows;
use super::runs::{judge, release};
use super::steers;
use super::tally;
use super::{Result, Store, StoreError, Tx, id, lock_thread, number, text};
use crate::commands::{Done, Holder, Left, Order};
use crate::outbox::{Mark, Row};
use crate::render::Place;

/// An order, and who gave it.
#[derive(Clone, Debug)]
pub(crate) struct Ordered {
    /// What is to be done.
    pub(crate) order: Order,
    /// To what.
    pub(crate) about: About,
    /// In which thread.
    pub(crate) thread: ThreadId,
    /// The channel that the thread is in.
    pub(crate) channel: ChannelId,
    /// Its project.
    pub(crate) project: ProjectName,
    /// What it came by: an order is carried out once.
    pub(crate) by: By,
    /// Who gave it.
    pub(crate) author: Author,
}

/// What an order came by.
#[derive(Clone, Copy, Debug)]
pub(crate) enum By {
    /// A message in the thread.
    Message(MessageId),
    /// A reaction under the message that asked.
    Reaction(MessageId),
    /// The press of a button.
    Interaction(u64),
    /// A command of the operator's, made up for it.
    Operator(Uuid),
    /// A request with a token of the HTTP API, made up for it.
    Token(Uuid),
}

impl By {
    /// As it is stored.
    pub(super) fn id(self) -> String {
        match self {
            By::Message(message) | By::Reaction(message) => message.to_string(),
            By::Interaction(interaction) => interaction.to_string(),
            By::Operator(command) => format!("operator-{command}"),
            By::Token(request) => format!("token-{request}"),
        }
    }
}

/// What an order is about.
#[derive(Clone, Debug)]
pub(crate) enum About {
    /// Whatever is newest in the thread.
    Newest,
    /// This generation of this run.
    Run(RunId, Generation),
}

/// A run as an order finds it.
struct Found {
    place: Place,
    state: String,
    outcome: String,
    /// The newest record of this generation.
    record: Option<Record>,
}

/// A run that somebody may order about.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    /// Its conversation.
    pub(crate) thread: ThreadId,
    /// The channel that the conversation is in.
    pub(crate) channel: ChannelId,
    /// The generation it is in.
    pub(crate) generation: Generation,
    /// Who asked for it.
    pub(crate) author: UserId,
}

/// A run of which a generation was ended by a person while somebody may be at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stopping {
    /// The key of its record.
    pub(crate) key: RunKey,
    /// The newest generation that was ended.
    pub(crate) ended: Generation,
    /// The generation that it is in.
    pub(crate) now: Generation,
}

impl Stopping {
    /// Whether nobody is at what was ended any more, by the newest record: it has its outcome, or
    /// a later generation has begun, which happens when the earlier one is gone.
    pub(crate) fn is_over(&self, fact: Fact) -> bool {
        self.ended < fact.generation || self.ended == fact.generation && fact.phase == Phase::Ended
    }
}

impl Store {
    /// Carries out an order. `rows` says what Discord is owed: for what was done, and for the run
    /// that begins again. `None`: it came by a message that was judged before.
    pub(crate) async fn order(
        &self,
        ordered: &Ordered,
        rows: impl FnOnce(&Done, Option<&Place>) -> Vec<Row>,
        now_ms: i64,
    ) -> Result<Option<Done>> {
        let Ordered { thread, channel, .. } = *ordered;
        let mut tx = self.begin_write().await?;
        lock_thread(&mut tx, thread, channel, &ordered.project, now_ms).await?;
        if let By::Message(message) = ordered.by
            && !judge(&mut tx, (thread.into(), message), "order", now_ms).await?
        {
            return Ok(None);
        }
        let found = find(&mut tx, ordered).await?;
        let done = match &found {
            Some(found) => carry_out(&mut tx, ordered, found, now_ms).await?,
            None => match (&ordered.about, ordered.order) {
                (About::Newest, Order::Stop) => nothing_runs(&mut tx, thread).await?,
                (About::Newest, Order::Retry | Order::Discard | Order::End) => Done::Nothing,
                (About::Run(..), _) => Done::TooLate,
            },
        };
        if let (Some(found), Some(act)) = (&found, act_of(ordered.order, &done)) {
            let act = NewAct {
                act,
                run: Some((&found.place.run, found.place.generation)),
                project: &ordered.project,
                thread: Some(thread),
                by: ordered.by,
                who: (ordered.author.id, &ordered.author.name),
                detail: "",
            };
            note_act(&mut tx, &act, now_ms).await?;
        }
        let place = found.map(|found| match done {
            Done::Again | Done::Ended(_) => {
                Place { generation: found.place.generation.next(), ..found.place }
            }
            Done::Stopping
            | Done::StoppingLater(_)
            | Done::Waiting(_)
            | Done::Dropped
            | Done::Discarded
            | Done::TooLate
            | Done::Nothing => found.place,
        });
        insert_rows(&mut tx, thread, &rows(&done, place.as_ref()), now_ms).await?;
        release(&mut tx, thread, now_ms).await?;
        tx.commit().await?;
        Ok(Some(done))
    }

    /// The controls of a run in its generation, in the order in which they were decided.
    pub(crate) async fn controls(
        &self,
        key: &RunKey,
        generation: Generation,
    ) -> Result<Option<Controls>> {
        let rows = sqlx::query(
            "SELECT id, what FROM controls WHERE run = $1 AND generation = $2 ORDER BY at_ms, id",
        )
        .bind(key.run.as_str())
        .bind(i64::from(generation.0))
        .fetch_all(&self.pool)
        .await?;
        let items = rows
            .iter()
            .map(|row| {
                let text: String = row.try_get("what")?;
                let what = serde_json::from_str(&text)
                    .map_err(|source| StoreError::BadJson { what: "control", source })?;
                Ok(Control { id: row.try_get("id")?, what })
            })
            .collect::<Result<Vec<_>>>()?;
        let (run, steers) = (key.run.clone(), self.steers(&key.run).await?);
        let safe = self.is_safe_again(&run, generation).await?;
        let is_quiet = items.is_empty() && steers.is_empty() && !safe;
        let controls = Controls { v: Controls::VERSION, run, generation, items, steers, safe };
        Ok((!is_quiet).then_some(controls))
    }

    /// Every run of which a generation was ended by a person and is to be stopped yet.
    pub(crate) async fn stopping(&self) -> Result<Vec<Stopping>> {
        let rows = sqlx::query(
            "SELECT run, project, thread, generation, stopping FROM runs
              WHERE stopping IS NOT NULL ORDER BY run",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(Stopping {
                    key: RunKey {
                        project: row.try_get::<String, _>("project")?.parse()?,
                        thread: id(row.try_get("thread")?, ThreadId::new)?,
                        run: row.try_get::<String, _>("run")?.parse()?,
                    },
                    ended: row.try_get::<i64, _>("stopping")?.to_string().parse()?,
                    now: row.try_get::<i64, _>("generation")?.to_string().parse()?,
                })
            })
            .collect()
    }

    /// Notes that nothing is left of a generation that was ended.
    pub(crate) async fn stopped(&self, stopping: &Stopping) -> Result<()> {
        sqlx::query("UPDATE runs SET stopping = NULL WHERE run = $1 AND stopping = $2")
            .bind(stopping.key.run.as_str())
            .bind(i64::from(stopping.ended.0))
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// A run, if it is one.
    pub(crate) async fn known(&self, run: &RunId) -> Result<Option<Known>> {
        let row =
            sqlx::query("SELECT thread, channel, generation, author FROM runs WHERE run = $1")
                .bind(run.as_str())
                .fetch_optional(&self.pool)
                .await?;
        row.map(|row| {
            Ok(Known {
                thread: id(row.try_get("thread")?, ThreadId::new)?,
                channel: id(row.try_get("channel")?, ChannelId::new)?,
                generation: row.try_get::<i64, _>("generation")?.to_string().parse()?,
                author: id(row.try_get("author")?, UserId::new)?,
            })
        })
        .transpose()
    }
}

async fn carry_out(tx: &mut Tx, ordered: &Ordered, found: &Found, now_ms: i64) -> Result<Done> {
    let run = &found.place.run;
    let may_decide = is_open(&found.outcome);
    match (ordered.order, found.state.as_str()) {
        (Order::Stop, "released") => {
            control(tx, &found.place, ordered, now_ms).await?;
            let holder = holder(tx, ordered, found).await?;
            let is_there = holder.as_ref().is_some_and(|holder| holder.is_there(now_ms));
            Ok(if is_there { Done::Stopping } else { Done::StoppingLater(holder) })
        }
        (Order::End, "released") => {
            control(tx, &found.place, ordered, now_ms).await?;
            let holder = holder(tx, ordered, found).await?;
            end_now(tx, &found.place, "stopped", holder.is_some(), now_ms).await?;
            Ok(Done::Ended(left(found, holder, now_ms)))
        }
        (Order::Stop | Order::End, "queued") => {
            end(tx, run, "dropped", now_ms).await?;
            let parted = steers::part(tx, &found.place).await?;
            insert_rows(tx, ordered.thread, &parted, now_ms).await?;
            Ok(Done::Dropped)
        }
        (Order::Retry, "ended") if may_decide => {
            // It may have been forgotten at this very moment.
            let again = requeue(tx, run, found.place.generation.next()).await?;
            let sent = steers::again(tx, &found.place).await?;
            insert_rows(tx, ordered.thread, &sent, now_ms).await?;
            Ok(if again { Done::Again } else { Done::TooLate })
        }
        (Order::Discard, "ended") if may_decide => {
            end(tx, run, "discarded", now_ms).await?;
            Ok(Done::Discarded)
        }
        (Order::Stop | Order::Retry | Order::Discard | Order::End, _) => Ok(Done::TooLate),
    }
}

/// What may be left of a run that is ended.
fn left(found: &Found, holder: Option<Holder>, now_ms: i64) -> Left {
    match holder {
        Some(holder) if found.record.is_some() => {
            let is_there = holder.is_there(now_ms);
            if is_there { Left::Stopping(holder.runner) } else { Left::Away(holder.runner) }
        }
        Some(_) | None => Left::Nothing,
    }
}

/// What a stop is told where nothing is released.
async fn nothing_runs(tx: &mut Tx, thread: ThreadId) -> Result<Done> {
    let row =
        sqlx::query("SELECT COUNT(*) AS waiting FROM runs WHERE thread = $1 AND state = 'queued'")
            .bind(number(thread.get()))
            .fetch_one(&mut **tx)
            .await?;
    let waiting = row.try_get("waiting")?;
    Ok(if waiting == 0 { Done::Nothing } else { Done::Waiting(waiting) })
}

/// Who has a released run: the one who wrote its record, or else the project's owner.
async fn holder(tx: &mut Tx, ordered: &Ordered, found: &Found) -> Result<Option<Holder>> {
    let (runner, state_id) = if let Some(record) = &found.record {
        (record.runner.to_string(), record.state_id.to_string())
    } else {
        let row = sqlx::query("SELECT runner, state_id FROM owners WHERE project = $1")
            .bind(ordered.project.as_str())
            .fetch_optional(&mut **tx)
            .await?;
        let Some(row) = row else { return Ok(None) };
        (row.try_get("runner")?, row.try_get("state_id")?)
    };
    let row = sqlx::query("SELECT seen_ms FROM runners WHERE state_id = $1")
        .bind(state_id)
        .fetch_optional(&mut **tx)
        .await?;
    let seen_ms = row.map(|row| row.try_get("seen_ms")).transpose()?;
    Ok(Some(Holder { runner, seen_ms }))
}

/// Ends a released run in a new generation. The one before is to be stopped, if anybody can have
/// heard of it: without an owner, nothing was published.
pub(super) async fn end_now(
    tx: &mut Tx,
    place: &Place,
    outcome: &str,
    is_heard_of: bool,
    now_ms: i64,
) -> Result<()> {
    close_all(tx, place, now_ms).await?;
    let back = steers::settle(tx, place, &[], Mark::Stopped).await?;
    insert_rows(tx, place.thread, &back, now_ms).await?;
    let Place { run, generation, .. } = place;
    let stopping = is_heard_of.then_some(i64::from(generation.0));
    sqlx::query(
        "UPDATE runs SET state = 'ended', outcome = $5, ended_ms = $2, generation = $3,
                         stopping = CASE WHEN place IS NOT NULL THEN generation
                                         ELSE COALESCE($4, stopping) END, attempt = NULL, owner = NULL,
                         phase = NULL, record = NULL
          WHERE run = $1",
    )
    .bind(run.as_str())
    .bind(now_ms)
    .bind(i64::from(generation.next().0))
    .bind(stopping)
    .bind(outcome)
    .execute(&mut **tx)
    .await?;
    tally::given(tx, run, outcome).await
}

/// Whether a person may still decide about an outcome.
fn is_open(outcome: &str) -> bool {
    outcome == "failed" || outcome == "stopped"
}

async fn find(tx: &mut Tx, ordered: &Ordered) -> Result<Option<Found>> {
    let thread = ordered.thread;
    // The run that the order would be about if nobody said which.
    let newest = match ordered.order {
        Order::Stop => "state = 'released'",
        Order::Retry | Order::Discard => "state = 'ended' AND outcome IN ('failed', 'stopped')",
        Order::End => "state <> 'ended'",
    };
    // What asks claude is meant, where something looks besides.
    let looks = "state = 'released' AND task = 'diff'";
    let columns = "run, generation, state, outcome, record, asked_in, asked_by";
    let row = match &ordered.about {
        About::Newest => {
            let text = format!(
                "SELECT {columns} FROM runs WHERE thread = $1 AND {newest}
                  ORDER BY CASE WHEN state = 'queued' THEN 2 WHEN {looks} THEN 1 ELSE 0 END, ord DESC
                  LIMIT 1"
            );
            let query = sqlx::query(sqlx::AssertSqlSafe(text)).bind(number(thread.get()));
            query.fetch_optional(&mut **tx).await?
        }
        About::Run(run, generation) => {
            let text = format!(
                "SELECT {columns} FROM runs WHERE thread = $1 AND run = $2 AND generation = $3"
            );
            let query = sqlx::query(sqlx::AssertSqlSafe(text))
                .bind(number(thread.get()))
                .bind(run.as_str())
                .bind(i64::from(generation.0));
            query.fetch_optional(&mut **tx).await?
        }
    };
    let Some(row) = row else { return Ok(None) };
    let place = Place {
        run: row.try_get::<String, _>("run")?.parse()?,
        generation: row.try_get::<i64, _>("generation")?.to_string().parse()?,
        thread,
        asked: super::runs::asked(&row)?,
        spent: 0,
    };
    let outcome: Option<String> = row.try_get("outcome")?;
    let record: Option<String> = row.try_get("record")?;
    let record = record.map(|text| serde_json::from_str(&text)).transpose();
    Ok(Some(Found {
        place,
        state: row.try_get("state")?,
        outcome: outcome.unwrap_or_default(),
        record: record.map_err(|source| StoreError::BadJson { what: "record", source })?,
    }))
}

async fn control(tx: &mut Tx, place: &Place, ordered: &Ordered, now_ms: i64) -> Result<()> {
    let by = (ordered.author.id.get(), ordered.author.name.as_str());
    stop(tx, place, &ordered.by.id(), by, now_ms).await
}

/// Stores that a generation of a run is to be stopped, once by this id; `by` is a person's number,
/// 0 for nobody's, and what they are called.
pub(super) async fn stop(
    tx: &mut Tx,
    place: &Place,
    id: &str,
    by: (u64, &str),
    now_ms: i64,
) -> Result<()> {
    let what = What::Stop { by: by.1.to_owned() };
    put_control(tx, (&place.run, place.generation), id, &what, by, now_ms).await
}

/// Stores what a generation of a run is to be told, once by this id; `by` as for [`stop`].
pub(super) async fn put_control(
    tx: &mut Tx,
    (run, generation): (&RunId, Generation),
    id: &str,
    what: &What,
    by: (u64, &str),
    now_ms: i64,
) -> Result<()> {
    let what = serde_json::to_string(what)
        .map_err(|source| StoreError::BadJson { what: "control", source })?;
    sqlx::query(
        "INSERT INTO controls (run, generation, id, what, by_user, by_name, at_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (run, generation, id) DO NOTHING",
    )
    .bind(run.as_str())
    .bind(i64::from(generation.0))
    .bind(id)
    .bind(what)
    .bind(number(by.0))
    .bind(text(by.1))
    .bind(now_ms)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn end(tx: &mut Tx, run: &RunId, outcome: &str, now_ms: i64) -> Result<()> {
    sqlx::query("UPDATE runs SET state = 'ended', outcome = $2, ended_ms = $3 WHERE run = $1")
        .bind(run.as_str())
        .bind(outcome)
        .bind(now_ms)
        .execute(&mut **tx)
        .await?;
    tally::given(tx, run, outcome).await
}

/// Puts a run back into its thread's queue, in a new generation of which nobody has spoken yet.
/// False when it is not there any more.
async fn requeue(tx: &mut Tx, run: &RunId, generation: Generation) -> Result<bool> {
    let done = sqlx::query(
        "UPDATE runs SET state = 'queued', generation = $2, since = $2, outcome = NULL, released_ms = NULL,
                         ended_ms = NULL, attempt = NULL, owner = NULL, phase = NULL, record = NULL,
                         place = NULL
          WHERE run = $1",
    )
    .bind(run.as_str())
    .bind(i64::from(generation.0))
    .execute(&mut **tx)
    .await?;
    Ok(0 < done.rows_affected())
}
