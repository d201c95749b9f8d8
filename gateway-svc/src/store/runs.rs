//! Verdicts and runs: accepting, releasing, folding records.

use schemas::carried::Carried;
use schemas::ids::{
    ChannelId, Generation, MessageId, ProjectName, RunId, RunnerId, SessionId, ThreadId,
};
use schemas::record::{Outcome, Record};
use schemas::request::{Author, Request, Task};
use schemas::rights::Rights;
use schemas::run::{Fact, Phase, Run, Step};
use schemas::streams::{Place, RunKey};
use sqlx::any::AnyRow;
use sqlx::{Any, Row as _};

use super::asks;
use super::instead;
use super::outbox::insert_rows;
use super::places::{read_place, runner};
use super::put_back::take_generation;
use super::rights;
use super::steers;
use super::tally;
use super::threads::prefaced;
use super::{Result, Store, StoreError, Tx, id, lock_thread, number, text};
use super::{conversation, files};
use crate::attached::Files;
use crate::outbox::{Mark, Row};
use crate::placement::Taken;
use crate::release::{Gate, LOOK_MAX, Open, Standing, due};
use crate::render;

/// A message that was accepted.
#[derive(Clone, Debug)]
pub(crate) struct NewRun {
    /// The run.
    pub(crate) run: RunId,
    /// Its project.
    pub(crate) project: ProjectName,
    /// The mapped channel.
    pub(crate) channel: ChannelId,
    /// The conversation.
    pub(crate) thread: ThreadId,
    /// The message, and where it was written.
    pub(crate) asked: (ChannelId, MessageId),
    /// Who asked.
    pub(crate) author: Author,
    /// What claude is to be told.
    pub(crate) prompt: String,
    /// What the runner is to do.
    pub(crate) task: Task,
    /// What was attached.
    pub(crate) files: Files,
    /// The W3C `traceparent` of the accepting span.
    pub(crate) trace: Option<String>,
}

/// A run that is to be published, and where.
#[derive(Clone, Debug)]
pub(crate) struct Released {
    /// The work message.
    pub(crate) request: Request,
    /// The project's owner, if it has one yet.
    pub(crate) owner: Option<RunnerId>,
    /// The runner that held its thread's last run, or was chosen for the next.
    pub(crate) home: Option<RunnerId>,
    /// Where it was put in this generation, if that is decided.
    pub(crate) place: Option<Place>,
    /// Whether a record of it was seen in this generation.
    pub(crate) taken: Taken,
    /// What it may do in this generation, if that is decided.
    pub(crate) rights: Option<Rights>,
    /// When it was released.
    pub(crate) since_ms: i64,
    /// The W3C `traceparent` of the accepting span.
    pub(crate) trace: Option<String>,
}

impl Released {
    /// The key of the run's record.
    pub(crate) fn key(&self) -> RunKey {
        let Request { project, thread, run, .. } = self.request.clone();
        RunKey { project, thread, run }
    }
}

/// What a record did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Folded {
    /// The run moved; rows may be due and another run may be released.
    Moved,
    /// Known or superseded: nothing changed.
    Stale,
    /// The store knows no such run in that thread.
    Unknown,
}

impl Store {
    /// Whether a verdict on the message is stored.
    pub(crate) async fn is_judged(&self, message: MessageId) -> Result<bool> {
        let row = sqlx::query("SELECT verdict FROM messages WHERE message = $1")
            .bind(number(message.get()))
            .fetch_optional(&self.pool)
            .await?;
        Ok(row.is_some())
    }

    /// Stores a run with what Discord is owed, and releases what is due in its thread. False when
    /// the message was judged before: then nothing changes.
    pub(crate) async fn accept(&self, new: &NewRun, rows: &[Row], now_ms: i64) -> Result<bool> {
        let Some(tx) = self.begin_accept(new, now_ms).await? else { return Ok(false) };
        Self::end_accept(tx, new, rows, now_ms).await?;
        Ok(true)
    }

    /// Begins to store a run: its verdict. `None`: the message was judged before.
    pub(super) async fn begin_accept(&self, new: &NewRun, now_ms: i64) -> Result<Option<Tx>> {
        let mut tx = self.begin_write().await?;
        lock_thread(&mut tx, new.thread, new.channel, &new.project, now_ms).await?;
        let is_new = judge(&mut tx, new.asked, "run", now_ms).await?;
        Ok(is_new.then_some(tx))
    }

    /// Stores the rest of a run, and releases what is due in its thread.
    pub(super) async fn end_accept(
        mut tx: Tx,
        new: &NewRun,
        rows: &[Row],
        now_ms: i64,
    ) -> Result<()> {
        insert_run(&mut tx, new, now_ms).await?;
        insert_rows(&mut tx, new.thread, rows, now_ms).await?;
        if new.task == Task::Ask {
            let offer = instead::offer(&mut tx, new).await?;
            insert_rows(&mut tx, new.thread, offer.as_slice(), now_ms).await?;
        }
        release(&mut tx, new.thread, now_ms).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Stores that a message is no run, with what Discord is owed: said in `place`, a thread or the
    /// channel itself. False when the message was judged before.
    pub(crate) async fn decline(
        &self,
        asked: (ChannelId, MessageId),
        channel: ChannelId,
        project: &ProjectName,
        rows: &[Row],
        now_ms: i64,
    ) -> Result<bool> {
        let mut tx = self.begin_write().await?;
        let place = id(number(asked.0.get()), ThreadId::new)?;
        let verdict = if rows.is_empty() { "not_for_us" } else { "refused" };
        if !rows.is_empty() {
            lock_thread(&mut tx, place, channel, project, now_ms).await?;
        }
        if !judge(&mut tx, asked, verdict, now_ms).await? {
            return Ok(false);
        }
        insert_rows(&mut tx, place, rows, now_ms).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Every run that is released and has no outcome, and all of whose files are there.
    pub(crate) async fn released(&self) -> Result<Vec<Released>> {
        let rows = sqlx::query(
            "SELECT r.run, r.project, r.channel, r.thread, r.asked_by, r.author, r.author_name,
                    r.preface, r.model, r.prompt, r.session, r.trace, r.generation, r.since, r.place, r.attempt, r.released_ms,
                    r.files, r.task, o.runner, t.home, t.files_of, s.carried, s.brought,
                    (SELECT g.rights FROM rights g
                      WHERE g.run = r.run AND g.generation = r.generation) AS rights
               FROM runs r LEFT JOIN owners o ON o.project = r.project
                    LEFT JOIN threads t ON t.thread = r.thread
                    LEFT JOIN sessions s ON s.thread = r.thread AND s.agent = r.agent
                                        AND s.session = r.session
              WHERE r.state = 'released' AND r.files_due IS NULL ORDER BY r.accepted_ms, r.run",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(released).collect()
    }

    /// Folds a record into its run, under the thread's lock. `rows` says what is owed by it, which is
    /// stored in the same transaction; when the run has its outcome, what is due in the thread is
    /// released.
    pub(crate) async fn fold(
        &self,
        key: &RunKey,
        record: &Record,
        rows: impl FnOnce(&render::Place) -> Vec<Row>,
        now_ms: i64,
    ) -> Result<Folded> {
        let mut tx = self.begin_write().await?;
        sqlx::query("UPDATE threads SET changes = changes + 1 WHERE thread = $1")
            .bind(number(key.thread.get()))
            .execute(&mut *tx)
            .await?;
        let row = sqlx::query(
            "SELECT r.state, r.thread, r.generation, r.attempt, r.owner, r.phase, r.asked, r.asked_in, r.asked_by,
                    COALESCE((SELECT MAX(s.spent) FROM runs s WHERE s.session = r.session
                                 AND s.spent IS NOT NULL),
                             (SELECT MAX(b.spent) FROM sessions b WHERE b.thread = r.thread
                                 AND b.session = r.session)) AS spent
               FROM runs r WHERE r.run = $1 AND r.thread = $2",
        )
        .bind(key.run.as_str())
        .bind(number(key.thread.get()))
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = row else { return Ok(Folded::Unknown) };
        let state: String = row.try_get("state")?;
        let (mut known, fact) = (stored_run(&row)?, record.fact());
        if state == "released" && known.generation() < fact.generation {
            known = take_generation(&mut tx, key, fact.generation).await?;
        }
        if state != "released" || known.generation() != fact.generation {
            return Ok(Folded::Stale);
        }
        let moved = known.step(fact) != Step::Stale;
        // The same holding, no further: it may still have something to say.
        let says_more = record.quiet_since_ms.is_some()
            || record.notice.is_some()
            || record.narrowed.is_some()
            || 0 < record.asked
            || !record.remarks.is_empty();
        if !moved && (known != Run::Held(fact) || !says_more) {
            return Ok(Folded::Stale);
        }
        if moved {
            store_fact(&mut tx, key, record, now_ms).await?;
        }
        let before = if moved { comes_home(&mut tx, key, record).await? } else { None };
        let place = render::Place {
            run: key.run.clone(),
            generation: fact.generation,
            thread: key.thread,
            asked: asked(&row)?,
            spent: row.try_get::<Option<i64>, _>("spent")?.unwrap_or_default(),
        };
        let asked = (known, row.try_get::<i64, _>("asked")?);
        let asked = asks::fold(&mut tx, &place, record, asked, now_ms).await?;
        let resumed = before.map(|_| render::resumed(&place, fact.attempt, &record.runner));
        let rows: Vec<Row> = resumed.into_iter().chain(asked).chain(rows(&place)).collect();
        let new = insert_rows(&mut tx, key.thread, &rows, now_ms).await?;
        if fact.phase == Phase::Ended {
            let mark = record.outcome().map_or(Mark::Stopped, Mark::of);
            let sent = steers::settle(&mut tx, &place, &record.steered, mark).await?;
            insert_rows(&mut tx, key.thread, &sent, now_ms).await?;
            keep_carried(&mut tx, key, record).await?;
            release(&mut tx, key.thread, now_ms).await?;
            tally::told(&mut tx, key, record, place.spent, now_ms).await?;
        }
        tx.commit().await?;
        // What was said before wakes nobody: whoever folds because it is woken would never sleep.
        Ok(if moved || 0 < new { Folded::Moved } else { Folded::Stale })
    }

    /// Where people wait for a released run which a runner was seen to work on, which waits for
    /// nobody, and which has no status message.
    pub(crate) async fn busy_places(&self) -> Result<Vec<ChannelId>> {
        let rows = sqlx::query(
            "SELECT DISTINCT COALESCE(t.said_in, r.thread) AS place
               FROM runs r LEFT JOIN threads t ON t.thread = r.thread
              WHERE r.state = 'released' AND r.phase IS NOT NULL
                AND NOT EXISTS (SELECT 1 FROM asks WHERE asks.run = r.run AND asks.state = 'open')
                AND r.status IS NULL",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(|row| id(row.try_get("place")?, ChannelId::new)).collect()
    }
}

/// Stores a verdict; false when there is one.
pub(super) async fn judge(
    tx: &mut Tx,
    asked: (ChannelId, MessageId),
    verdict: &str,
    now_ms: i64,
) -> Result<bool> {
    let stored = sqlx::query(
        "INSERT INTO messages (message, channel, verdict, judged_ms) VALUES ($1, $2, $3, $4)
         ON CONFLICT (message) DO NOTHING",
    )
    .bind(number(asked.1.get()))
    .bind(number(asked.0.get()))
    .bind(verdict)
    .bind(now_ms)
    .execute(&mut **tx)
    .await?;
    Ok(0 < stored.rows_affected())
}

/// Puts a run at its place in its thread's queue. The caller holds the thread's lock.
pub(super) async fn insert_run(tx: &mut Tx, new: &NewRun, now_ms: i64) -> Result<()> {
    let session = session(tx, new.thread).await?;
    sqlx::query(
        "INSERT INTO runs (run, project, channel, thread, ord, asked_in, asked_by, author,
                           author_name, prompt, session, trace, generation, state, accepted_ms,
                           files, files_due, task)
         VALUES ($1, $2, $3, $4, $5, $6, $5, $7, $8, $9, $10, $11, 1, 'queued', $12, $13, $14, $15)",
    )
    .bind(new.run.as_str())
    .bind(new.project.as_str())
    .bind(number(new.channel.get()))
    .bind(number(new.thread.get()))
    .bind(number(new.asked.1.get()))
    .bind(number(new.asked.0.get()))
    .bind(number(new.author.id.get()))
    .bind(text(&new.author.name))
    .bind(text(&new.prompt))
    .bind(session)
    .bind(&new.trace)
    .bind(now_ms)
    .bind(files::written(&new.files)?)
    .bind(new.files.are_due().then_some(now_ms))
    .bind(task_name(new.task))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

fn task_name(task: Task) -> &'static str {
    match task {
        Task::Ask => "ask",
        Task::Diff => "diff",
    }
}

/// The session of a conversation, made when it is first asked for.
async fn session(tx: &mut Tx, thread: ThreadId) -> Result<String> {
    sqlx::query(
        "INSERT INTO sessions (thread, agent, session) VALUES ($1, '', $2)
         ON CONFLICT (thread, agent) DO NOTHING",
    )
    .bind(number(thread.get()))
    .bind(SessionId::random().to_string())
    .execute(&mut **tx)
    .await?;
    let row = sqlx::query("SELECT session FROM sessions WHERE thread = $1 AND agent = ''")
        .bind(number(thread.get()))
        .fetch_one(&mut **tx)
        .await?;
    Ok(row.try_get("session")?)
}

/// Releases what is due in a thread. The caller holds the thread's lock.
pub(super) async fn release(tx: &mut Tx, thread: ThreadId, now_ms: i64) -> Result<()> {
    let row = sqlx::query("SELECT family, gate_until_ms FROM threads WHERE thread = $1")
        .bind(number(thread.get()))
        .fetch_optional(&mut **tx)
        .await?;
    let Some(row) = row else { return Ok(()) };
    let gate =
        if row.try_get::<i64, _>("gate_until_ms")? <= now_ms { Gate::Open } else { Gate::Closed };
    if gate == Gate::Open {
        // What only looks waits for nobody, and nobody for it.
        sqlx::query(
            "UPDATE runs SET state = 'released', released_ms = $2
              WHERE thread = $1 AND state = 'queued' AND task = 'diff'",
        )
        .bind(number(thread.get()))
        .bind(now_ms)
        .execute(&mut **tx)
        .await?;
    }
    let family: String = row.try_get("family")?;
    let open = open_runs(tx, thread, &family).await?;
    let family = if family.is_empty() { None } else { Some(family.parse()?) };
    let Some(due) = due(gate, family.as_ref(), &open) else { return Ok(()) };
    for open in due.runs {
        conversation::begin(tx, thread, &open.agent, &open.run).await?;
        let preface = prefaced(tx, thread, &open.run).await?;
        sqlx::query(
            "UPDATE runs SET state = 'released', released_ms = $2, preface = $3
              WHERE run = $1 AND state = 'queued'",
        )
        .bind(open.run.as_str())
        .bind(now_ms)
        .bind(preface)
        .execute(&mut **tx)
        .await?;
    }
    sqlx::query("UPDATE threads SET family = $2 WHERE thread = $1")
        .bind(number(thread.get()))
        .bind(due.family.as_str())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// The runs of a thread without outcome that ask claude, those first that `family` has to say about.
async fn open_runs(tx: &mut Tx, thread: ThreadId, family: &str) -> Result<Vec<Open>> {
    // An underscore in a family's name may bring a stranger forward, which does no harm.
    let rows = sqlx::query(
        "SELECT run, ord, agent, state FROM runs
          WHERE thread = $1 AND state <> 'ended' AND task <> 'diff'
          ORDER BY CASE WHEN state = 'released' THEN 0
                        WHEN run = $2 OR run LIKE $3 THEN 1 ELSE 2 END, ord, run
          LIMIT $4",
    )
    .bind(number(thread.get()))
    .bind(family)
    .bind(format!("h%-{family}"))
    .bind(LOOK_MAX)
    .fetch_all(&mut **tx)
    .await?;
    rows.iter()
        .map(|row| {
            let is_released = row.try_get::<String, _>("state")? == "released";
            Ok(Open {
                run: row.try_get::<String, _>("run")?.parse()?,
                ord: row.try_get("ord")?,
                agent: row.try_get("agent")?,
                state: if is_released { Standing::Released } else { Standing::Queued },
            })
        })
        .collect()
}

/// Notes who holds the thread's run, wherever it was to be. Returns who held its last one, if that
/// is another.
async fn comes_home(tx: &mut Tx, key: &RunKey, record: &Record) -> Result<Option<RunnerId>> {
    let row = sqlx::query("SELECT home, ran_at FROM threads WHERE thread = $1")
        .bind(number(key.thread.get()))
        .fetch_optional(&mut **tx)
        .await?;
    let named = |column| row.as_ref().map(|row| runner(row, column)).transpose();
    let (home, before) = (named("home")?.flatten(), named("ran_at")?.flatten());
    let here = Some(&record.runner);
    if before.as_ref() == here && home.as_ref() == here {
        return Ok(None);
    }
    sqlx::query("UPDATE threads SET home = $2, ran_at = $2 WHERE thread = $1")
        .bind(number(key.thread.get()))
        .bind(record.runner.as_str())
        .execute(&mut **tx)
        .await?;
    Ok(before.filter(|before| *before != record.runner))
}

/// Keeps what a run left for the next one of its session. The caller holds the thread's lock.
async fn keep_carried(tx: &mut Tx, key: &RunKey, record: &Record) -> Result<()> {
    let Some(left) = &record.carried else { return Ok(()) };
    let (thread, session) = (number(key.thread.get()), record.session.to_string());
    let row = sqlx::query("SELECT carried FROM sessions WHERE thread = $1 AND session = $2")
        .bind(thread)
        .bind(&session)
        .fetch_optional(&mut **tx)
        .await?;
    // A session that was reset meanwhile has no next run.
    let Some(row) = row else { return Ok(()) };
    let text = carried_text(&left.clone().after(carried(&row)?))?;
    sqlx::query("UPDATE sessions SET carried = $3 WHERE thread = $1 AND session = $2")
        .bind(thread)
        .bind(&session)
        .bind(text)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

pub(super) fn carried_text(carried: &Carried) -> Result<String> {
    serde_json::to_string(carried)
        .map_err(|source| StoreError::BadJson { what: "transcript", source })
}

pub(super) fn carried(row: &AnyRow) -> Result<Option<Carried>> {
    let text: Option<String> = row.try_get("carried")?;
    let read = text.map(|text| serde_json::from_str(&text)).transpose();
    read.map_err(|source| StoreError::BadJson { what: "transcript", source })
}

async fn store_fact(tx: &mut Tx, key: &RunKey, record: &Record, now_ms: i64) -> Result<()> {
    let fact = record.fact();
    let (state, ended_ms) = match fact.phase {
        Phase::Claimed | Phase::Running => ("released", None),
        Phase::Ended => ("ended", Some(now_ms)),
    };
    let text = serde_json::to_string(record)
        .map_err(|source| StoreError::BadJson { what: "record", source })?;
    sqlx::query::<Any>(
        "UPDATE runs SET state = $2, ended_ms = $3, attempt = $4, owner = $5, phase = $6,
                         record = $7, outcome = $8, spent = COALESCE($9, spent)
          WHERE run = $1",
    )
    .bind(key.run.as_str())
    .bind(state)
    .bind(ended_ms)
    .bind(i64::from(fact.attempt.0))
    .bind(fact.owner.to_string())
    .bind(phase_name(fact.phase))
    .bind(text)
    .bind(record.outcome().map(outcome_name))
    .bind(record.usage().map(render::spent))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(crate) fn outcome_name(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Answered { .. } => "answered",
        Outcome::Failed { .. } => "failed",
        Outcome::Stopped { .. } => "stopped",
    }
}

fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Claimed => "claimed",
        Phase::Running => "running",
        Phase::Ended => "ended",
    }
}

/// The run as the newest record of its generation left it.
fn stored_run(row: &AnyRow) -> Result<Run> {
    let generation: Generation = row.try_get::<i64, _>("generation")?.to_string().parse()?;
    let attempt: Option<i64> = row.try_get("attempt")?;
    let owner: Option<String> = row.try_get("owner")?;
    let phase: Option<String> = row.try_get("phase")?;
    let (Some(attempt), Some(owner), Some(phase)) = (attempt, owner, phase) else {
        return Ok(Run::Released(generation));
    };
    let phase = match phase.as_str() {
        "claimed" => Phase::Claimed,
        "running" => Phase::Running,
        _ => Phase::Ended,
    };
    let attempt = attempt.to_string().parse()?;
    Ok(Run::Held(Fact { generation, attempt, owner: owner.parse()?, phase }))
}

pub(super) fn asked(row: &AnyRow) -> Result<Option<(ChannelId, MessageId)>> {
    let channel: Option<i64> = row.try_get("asked_in")?;
    let message: Option<i64> = row.try_get("asked_by")?;
    match (channel, message) {
        (Some(channel), Some(message)) => {
            Ok(Some((id(channel, ChannelId::new)?, id(message, MessageId::new)?)))
        }
        (None, _) | (_, None) => Ok(None),
    }
}

fn released(row: &AnyRow) -> Result<Released> {
    let message: Option<i64> = row.try_get("asked_by")?;
    let files_of: Option<i64> = row.try_get("files_of")?;
    let files = files::read(row)?;
    let is_diff = row.try_get::<String, _>("task")? == task_name(Task::Diff);
    let request = Request {
        v: Request::VERSION,
        run: row.try_get::<String, _>("run")?.parse()?,
        generation: row.try_get::<i64, _>("generation")?.to_string().parse()?,
        since: Some(row.try_get::<i64, _>("since")?.to_string().parse()?),
        project: row.try_get::<String, _>("project")?.parse()?,
        channel: id(row.try_get("channel")?, ChannelId::new)?,
        thread: id(row.try_get("thread")?, ThreadId::new)?,
        session: row.try_get::<String, _>("session")?.parse()?,
        carried: carried(row)?,
        author: Author {
            id: id(row.try_get("author")?, schemas::ids::UserId::new)?,
            name: row.try_get("author_name")?,
        },
        message: message.map(|message| id(message, MessageId::new)).transpose()?,
        prompt: match row.try_get::<Option<String>, _>("preface")? {
            Some(preface) => preface + &row.try_get::<String, _>("prompt")?,
            None => row.try_get("prompt")?,
        },
        model: conversation::model(row)?,
        files_of: files_of.map(|thread| id(thread, ThreadId::new)).transpose()?,
        brought: row.try_get::<Option<i64>, _>("brought")?.is_some_and(|brought| brought != 0),
        task: if is_diff { Task::Diff } else { Task::Ask },
        files: files.attached(),
        withheld: files.withheld,
        // Whoever publishes it knows.
        asking: false,
        rights: Rights::default(),
    };
    let attempt: Option<i64> = row.try_get("attempt")?;
    Ok(Released {
        request,
        owner: runner(row, "runner")?,
        home: runner(row, "home")?,
        place: read_place(row)?,
        taken: if attempt.is_some() { Taken::Yes } else { Taken::No },
        rights: row
            .try_get::<Option<String>, _>("rights")?
            .map(|text| rights::read(&text))
            .transpose()?,
        since_ms: row.try_get::<Option<i64>, _>("released_ms")?.unwrap_or_default(),
        trace: row.try_get("trace")?,
    })
}
