//! Moves: a run goes on at another place, in a new generation; and who owns a project.
//!
//! A Move raises the generation and leaves `since` as it is, so whoever takes the run over carries
//! an outcome that is there already along. What was decided against it stays decided. What is at the
//! wanted place already stays as it is, so that a command can be given again.

use schemas::ids::{ProjectName, RunId, RunnerId, StateId, ThreadId};
use schemas::record::Record;
use schemas::request::Author;
use schemas::streams::Place;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::acts::{NewAct, note_act};
use super::asks::close_all;
use super::orders::By;
use super::outbox::insert_rows;
use super::places::{place_text, read_place};
use super::runs::asked;
use super::{Result, Store, StoreError, Tx, id, lock_for_many, number};
use crate::crash;
use crate::outbox::Row;
use crate::render;

/// A run that was moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Moved {
    /// The run, in its new generation.
    pub(crate) run: RunId,
    /// Who held it, by its record: claude may still be at work there.
    pub(crate) from: Option<RunnerId>,
}

/// A released run, as a Move finds it.
struct Found {
    place: render::Place,
    /// Where it was put.
    put: Option<Place>,
    /// Who holds it, by its record.
    held: Option<(RunnerId, StateId)>,
}

impl Found {
    /// Whether it is at the runner already: held there, or put there and held by nobody.
    fn is_at(&self, runner: &RunnerId, state_id: StateId) -> bool {
        match &self.held {
            Some((_, holder)) => *holder == state_id,
            None => self.put.as_ref().is_some_and(|put| *put == Place::At(runner.clone())),
        }
    }
}

impl Store {
    /// Lets what comes in a thread, and what is released in it, go on at a runner, which `by` wants. `rows`
    /// says what is owed for each run that was moved. `None`: nobody knows the thread.
    pub(crate) async fn move_thread(
        &self,
        thread: ThreadId,
        to: (&RunnerId, StateId),
        by: (By, &Author),
        rows: impl Fn(&render::Place, &Moved) -> Vec<Row>,
        now_ms: i64,
    ) -> Result<Option<Vec<Moved>>> {
        let mut tx = self.begin_write().await?;
        let known = sqlx::query(
            "UPDATE threads SET changes = changes + 1, home = $2
              WHERE thread = $1 AND thread <> channel",
        )
        .bind(number(thread.get()))
        .bind(to.0.as_str())
        .execute(&mut *tx)
        .await?;
        if known.rows_affected() == 0 {
            return Ok(None);
        }
        let moved = raise_all(&mut tx, thread, to, rows, now_ms).await?;
        let row = sqlx::query("SELECT project FROM threads WHERE thread = $1")
            .bind(number(thread.get()))
            .fetch_one(&mut *tx)
            .await?;
        let project: ProjectName = row.try_get::<String, _>("project")?.parse()?;
        note(&mut tx, "move", (&project, Some(thread)), to.0, by, now_ms).await?;
        crash::point("move.written");
        tx.commit().await?;
        crash::point("move.stored");
        Ok(Some(moved))
    }

    /// Makes a runner the owner of a project, as `by` wants, and lets what is released of it go on there, all
    /// at once. `rows` says what is owed for each run.
    pub(crate) async fn give(
        &self,
        project: &ProjectName,
        to: (&RunnerId, StateId),
        by: (By, &Author),
        rows: impl Fn(&render::Place, &Moved) -> Vec<Row>,
        now_ms: i64,
    ) -> Result<Vec<Moved>> {
        let mut tx = self.begin_write().await?;
        lock_for_many(&mut tx).await?;
        sqlx::query(
            "INSERT INTO owners (project, runner, state_id, since_ms) VALUES ($1, $2, $3, $4)
             ON CONFLICT (project) DO UPDATE
                SET runner = excluded.runner, state_id = excluded.state_id,
                    since_ms = excluded.since_ms",
        )
        .bind(project.as_str())
        .bind(to.0.as_str())
        .bind(to.1.to_string())
        .bind(now_ms)
        .execute(&mut *tx)
        .await?;
        let threads = sqlx::query(
            "SELECT DISTINCT thread FROM runs
              WHERE project = $1 AND state = 'released' ORDER BY thread",
        )
        .bind(project.as_str())
        .fetch_all(&mut *tx)
        .await?;
        let mut moved = Vec::new();
        for row in threads {
            let thread = id(row.try_get("thread")?, ThreadId::new)?;
            sqlx::query("UPDATE threads SET changes = changes + 1, home = $2 WHERE thread = $1")
                .bind(number(thread.get()))
                .bind(to.0.as_str())
                .execute(&mut *tx)
                .await?;
            moved.extend(raise_all(&mut tx, thread, to, &rows, now_ms).await?);
        }
        note(&mut tx, "owner", (project, None), to.0, by, now_ms).await?;
        crash::point("give.written");
        tx.commit().await?;
        crash::point("give.stored");
        Ok(moved)
    }

    /// Takes one run away from where it was put, to be put anew. False when it is not there, in this
    /// generation, any more.
    pub(crate) async fn unplace(
        &self,
        thread: ThreadId,
        run: (&RunId, schemas::ids::Generation),
        rows: impl Fn(&render::Place, &Moved) -> Vec<Row>,
        now_ms: i64,
    ) -> Result<bool> {
        let mut tx = self.begin_write().await?;
        sqlx::query("UPDATE threads SET changes = changes + 1 WHERE thread = $1")
            .bind(number(thread.get()))
            .execute(&mut *tx)
            .await?;
        let found = released_of(&mut tx, thread).await?.into_iter();
        let mut found = found.filter(|it| it.place.run == *run.0 && it.place.generation == run.1);
        let Some(found) = found.next() else { return Ok(false) };
        raise(&mut tx, found, None, &rows, now_ms).await?;
        crash::point("unplace.written");
        tx.commit().await?;
        crash::point("unplace.stored");
        Ok(true)
    }

    /// Owes a row for a released run of which no record was seen in this generation. False when that
    /// is otherwise by now, or the row was owed before.
    pub(crate) async fn tell_waiting(
        &self,
        place: &render::Place,
        row: &Row,
        now_ms: i64,
    ) -> Result<bool> {
        let known = sqlx::query("SELECT name FROM outbox WHERE name = $1")
            .bind(&row.name)
            .fetch_optional(&self.pool)
            .await?;
        if known.is_some() {
            return Ok(false);
        }
        let mut tx = self.begin_write().await?;
        let still = sqlx::query(
            "UPDATE threads SET changes = changes + 1
              WHERE thread = $1
                AND EXISTS (SELECT 1 FROM runs WHERE run = $2 AND generation = $3
                               AND state = 'released' AND attempt IS NULL)",
        )
        .bind(number(place.thread.get()))
        .bind(place.run.as_str())
        .bind(i64::from(place.generation.0))
        .execute(&mut *tx)
        .await?;
        if still.rows_affected() == 0 {
            return Ok(false);
        }
        let new = insert_rows(&mut tx, place.thread, std::slice::from_ref(row), now_ms).await?;
        tx.commit().await?;
        Ok(0 < new)
    }

    /// The project of a thread, if it is known.
    pub(crate) async fn project_of(&self, thread: ThreadId) -> Result<Option<ProjectName>> {
        let row =
            sqlx::query("SELECT project FROM threads WHERE thread = $1 AND thread <> channel")
                .bind(number(thread.get()))
                .fetch_optional(&self.pool)
                .await?;
        row.map(|row| Ok(row.try_get::<String, _>("project")?.parse()?)).transpose()
    }

    /// Who owns a project.
    pub(crate) async fn owner(&self, project: &ProjectName) -> Result<Option<(RunnerId, StateId)>> {
        let row = sqlx::query("SELECT runner, state_id FROM owners WHERE project = $1")
            .bind(project.as_str())
            .fetch_optional(&self.pool)
            .await?;
        row.map(|row| {
            let runner = row.try_get::<String, _>("runner")?.parse()?;
            Ok((runner, row.try_get::<String, _>("state_id")?.parse()?))
        })
        .transpose()
    }
}

/// Moves every released run of a thread that is elsewhere. The caller holds the thread's lock.
async fn raise_all(
    tx: &mut Tx,
    thread: ThreadId,
    to: (&RunnerId, StateId),
    rows: impl Fn(&render::Place, &Moved) -> Vec<Row>,
    now_ms: i64,
) -> Result<Vec<Moved>> {
    let place = Place::At(to.0.clone());
    let mut moved = Vec::new();
    for found in released_of(tx, thread).await?.into_iter().filter(|it| !it.is_at(to.0, to.1)) {
        moved.push(raise(tx, found, Some(&place), &rows, now_ms).await?);
    }
    Ok(moved)
}

async fn released_of(tx: &mut Tx, thread: ThreadId) -> Result<Vec<Found>> {
    let rows = sqlx::query(
        "SELECT run, generation, place, record, asked_in, asked_by FROM runs
          WHERE thread = $1 AND state = 'released' ORDER BY ord, run",
    )
    .bind(number(thread.get()))
    .fetch_all(&mut **tx)
    .await?;
    rows.iter().map(|row| found(row, thread)).collect()
}

fn found(row: &AnyRow, thread: ThreadId) -> Result<Found> {
    let record: Option<String> = row.try_get("record")?;
    let record = record.map(|text| serde_json::from_str::<Record>(&text)).transpose();
    let record = record.map_err(|source| StoreError::BadJson { what: "record", source })?;
    let place = render::Place {
        run: row.try_get::<String, _>("run")?.parse()?,
        generation: row.try_get::<i64, _>("generation")?.to_string().parse()?,
        thread,
        asked: asked(row)?,
        spent: 0,
    };
    let held = record.map(|record| (record.runner, record.state_id));
    Ok(Found { place, put: read_place(row)?, held })
}

/// Raises a run's generation. The one before is to be stopped, whoever holds it.
async fn raise(
    tx: &mut Tx,
    found: Found,
    to: Option<&Place>,
    rows: &impl Fn(&render::Place, &Moved) -> Vec<Row>,
    now_ms: i64,
) -> Result<Moved> {
    let Found { place, held, .. } = found;
    close_all(tx, &place, now_ms).await?;
    let (before, after) = (i64::from(place.generation.0), i64::from(place.generation.next().0));
    sqlx::query(
        "UPDATE runs SET generation = $3, stopping = $2, place = $4, attempt = NULL, owner = NULL,
                         phase = NULL, record = NULL
          WHERE run = $1 AND generation = $2",
    )
    .bind(place.run.as_str())
    .bind(before)
    .bind(after)
    .bind(to.map(place_text))
    .execute(&mut **tx)
    .await?;
    sqlx::query(
        "INSERT INTO controls (run, generation, id, what, by_user, by_name, at_ms)
         SELECT run, $3, id, what, by_user, by_name, at_ms FROM controls
          WHERE run = $1 AND generation = $2 AND what LIKE '{\"do\":\"stop\"%'
         ON CONFLICT (run, generation, id) DO NOTHING",
    )
    .bind(place.run.as_str())
    .bind(before)
    .bind(after)
    .execute(&mut **tx)
    .await?;
    let place = render::Place { generation: place.generation.next(), ..place };
    let moved = Moved { run: place.run.clone(), from: held.map(|(runner, _)| runner) };
    insert_rows(tx, place.thread, &rows(&place, &moved), now_ms).await?;
    Ok(moved)
}

/// Notes that something was given to a runner.
async fn note(
    tx: &mut Tx,
    act: &'static str,
    (project, thread): (&ProjectName, Option<ThreadId>),
    to: &RunnerId,
    (by, who): (By, &Author),
    now_ms: i64,
) -> Result<()> {
    let detail = format!("to {to}");
    let who = (who.id, who.name.as_str());
    let new = NewAct { act, run: None, project, thread, by, who, detail: &detail };
    note_act(tx, &new, now_ms).await
}
