//! Files of runs that are on their way from Discord to FILES.
//!
//! They are a column of their run, replaced by compare-and-set: whoever read something older changes
//! nothing.

use schemas::ids::{ChannelId, Generation, MessageId, ProjectName, RunId, ThreadId};
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::outbox::insert_rows;
use super::runs::asked;
use super::{Result, Store, StoreError, id, number};
use crate::attached::Files;
use crate::outbox::Row;
use crate::render::Place;

/// The most runs that are looked at together; the others come with the next look.
const LOOK_MAX: i64 = 100;

/// A run some of whose files are on their way.
#[derive(Clone, Debug)]
pub(crate) struct Bringing {
    /// The run.
    pub(crate) run: RunId,
    /// Its project.
    pub(crate) project: ProjectName,
    /// The conversation.
    pub(crate) thread: ThreadId,
    /// The message that the files came with, and where it is.
    pub(crate) asked: (ChannelId, MessageId),
    /// The files.
    pub(crate) files: Files,
    /// How often Discord did not give the next of them.
    pub(crate) tries: i64,
    /// When that is due.
    pub(crate) due_ms: i64,
}

/// What became of them.
#[derive(Clone, Debug)]
pub(crate) struct Brought<'a> {
    run: &'a RunId,
    thread: ThreadId,
    before: &'a Files,
    after: &'a Files,
    due_ms: Option<i64>,
    tries: i64,
}

impl Bringing {
    /// The run's place in Discord.
    pub(crate) fn place(&self) -> Place {
        let (run, thread) = (self.run.clone(), self.thread);
        Place { run, generation: Generation::FIRST, thread, asked: Some(self.asked), spent: 0 }
    }

    /// A step from what was read: `due_ms` is when the next one is due, if there is one.
    pub(crate) fn becomes<'a>(
        &'a self,
        before: &'a Files,
        due_ms: Option<i64>,
        tries: i64,
    ) -> Brought<'a> {
        Brought { run: &self.run, thread: self.thread, before, after: &self.files, due_ms, tries }
    }
}

impl Store {
    /// The runs some of whose files are on their way, those first whose next try is due first.
    pub(crate) async fn to_bring(&self) -> Result<Vec<Bringing>> {
        let rows = sqlx::query(
            "SELECT run, project, thread, asked_in, asked_by, files, files_due, files_tries
               FROM runs WHERE files_due IS NOT NULL AND state <> 'ended'
              ORDER BY files_due, run LIMIT $1",
        )
        .bind(LOOK_MAX)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().filter_map(|row| bringing(row).transpose()).collect()
    }

    /// Stores a step, with what is owed by it. False when somebody else was there since.
    pub(crate) async fn brought(
        &self,
        step: &Brought<'_>,
        rows: &[Row],
        now_ms: i64,
    ) -> Result<bool> {
        let mut tx = self.begin_write().await?;
        sqlx::query("UPDATE threads SET changes = changes + 1 WHERE thread = $1")
            .bind(number(step.thread.get()))
            .execute(&mut *tx)
            .await?;
        let done = sqlx::query(
            "UPDATE runs SET files = $2, files_due = $3, files_tries = $4
              WHERE run = $1 AND files = $5 AND files_due IS NOT NULL",
        )
        .bind(step.run.as_str())
        .bind(written(step.after)?)
        .bind(step.due_ms)
        .bind(step.tries)
        .bind(written(step.before)?)
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        insert_rows(&mut tx, step.thread, rows, now_ms).await?;
        tx.commit().await?;
        Ok(true)
    }
}

fn bringing(row: &AnyRow) -> Result<Option<Bringing>> {
    let Some(asked) = asked(row)? else { return Ok(None) };
    Ok(Some(Bringing {
        run: row.try_get::<String, _>("run")?.parse()?,
        project: row.try_get::<String, _>("project")?.parse()?,
        thread: id(row.try_get("thread")?, ThreadId::new)?,
        asked,
        files: read(row)?,
        tries: row.try_get("files_tries")?,
        due_ms: row.try_get("files_due")?,
    }))
}

/// The files of a run's row.
pub(super) fn read(row: &AnyRow) -> Result<Files> {
    let text: Option<String> = row.try_get("files")?;
    let read = text.map(|text| serde_json::from_str(&text)).transpose();
    let read = read.map_err(|source| StoreError::BadJson { what: "list of files", source })?;
    Ok(read.unwrap_or_default())
}

/// Files as their column has them; none have none.
pub(super) fn written(files: &Files) -> Result<Option<String>> {
    if files.is_empty() {
        return Ok(None);
    }
    let text = serde_json::to_string(files);
    text.map(Some).map_err(|source| StoreError::BadJson { what: "list of files", source })
}
