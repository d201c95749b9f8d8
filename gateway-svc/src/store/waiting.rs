//! Runs that wait: gates of threads that were not read yet, and what becomes of a message that is
//! edited or deleted before its release.

use schemas::ids::{ChannelId, Generation, MessageId, RunId, ThreadId};
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::outbox::insert_rows;
use super::runs::{asked, release};
use super::{Result, Store, files, id, lock_for_many, number, steers, tally, text};
use crate::attached::Files;
use crate::render::Place;

/// A run that waits, and the message that asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// The run.
    pub(crate) run: RunId,
    /// Where the message is.
    pub(crate) channel: ChannelId,
    /// The message.
    pub(crate) message: MessageId,
    /// What claude would be told.
    pub(crate) prompt: String,
    /// Whether that was given by command, and not by the message.
    pub(crate) is_reworded: bool,
    /// What was attached.
    pub(crate) files: Files,
}

impl Store {
    /// Releases nothing in any thread until `until_ms`, or until its gate is opened.
    pub(crate) async fn close_gates(&self, until_ms: i64) -> Result<()> {
        let mut tx = self.begin_write().await?;
        lock_for_many(&mut tx).await?;
        sqlx::query("UPDATE threads SET gate_until_ms = $1 WHERE gate_until_ms <> $1")
            .bind(until_ms)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    /// The thread was read: what is due in it is released.
    pub(crate) async fn open_gate(&self, thread: ThreadId, now_ms: i64) -> Result<()> {
        let mut tx = self.begin_write().await?;
        sqlx::query(
            "UPDATE threads SET changes = changes + 1, gate_until_ms = 0 WHERE thread = $1",
        )
        .bind(number(thread.get()))
        .execute(&mut *tx)
        .await?;
        release(&mut tx, thread, now_ms).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Releases what is due in every thread: whatever a transaction left behind.
    pub(crate) async fn release_due(&self, now_ms: i64) -> Result<()> {
        let rows = sqlx::query(
            "SELECT DISTINCT r.thread FROM runs r JOIN threads t ON t.thread = r.thread
              WHERE r.state = 'queued' AND t.gate_until_ms <= $1
                AND NOT EXISTS (SELECT 1 FROM runs other
                                 WHERE other.thread = r.thread AND other.state = 'released'
                                   AND (other.task <> 'diff' OR r.task = 'diff')
                                   AND other.agent = r.agent)",
        )
        .bind(now_ms)
        .fetch_all(&self.pool)
        .await?;
        for row in rows {
            let thread = id(row.try_get("thread")?, ThreadId::new)?;
            let mut tx = self.begin_write().await?;
            sqlx::query("UPDATE threads SET changes = changes + 1 WHERE thread = $1")
                .bind(number(thread.get()))
                .execute(&mut *tx)
                .await?;
            release(&mut tx, thread, now_ms).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    /// Every run that waits, with its message.
    pub(crate) async fn waiting(&self) -> Result<Vec<Waiting>> {
        let rows = sqlx::query(
            "SELECT run, asked_in, asked_by, prompt, reworded, files FROM runs
              WHERE state = 'queued' AND asked_by IS NOT NULL ORDER BY ord",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.iter().filter_map(|row| waiting(row).transpose()).collect()
    }

    /// A run, if it waits.
    pub(crate) async fn waiting_run(&self, run: &RunId) -> Result<Option<Waiting>> {
        let row = sqlx::query(
            "SELECT run, asked_in, asked_by, prompt, reworded, files FROM runs
              WHERE run = $1 AND state = 'queued' AND asked_by IS NOT NULL",
        )
        .bind(run.as_str())
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.as_ref().map(waiting).transpose()?.flatten())
    }

    /// Changes what a run that waits will tell claude, and what it will give it. False when it waits no
    /// more, or has words that were given by command: release freezes both.
    pub(crate) async fn rewrite(
        &self,
        run: &RunId,
        prompt: &str,
        files: &Files,
        now_ms: i64,
    ) -> Result<bool> {
        let done = sqlx::query(
            "UPDATE runs SET prompt = $2, files = $3, files_due = $4, files_tries = 0
              WHERE run = $1 AND state = 'queued' AND reworded = 0 AND task <> 'diff'",
        )
        .bind(run.as_str())
        .bind(text(prompt))
        .bind(files::written(files)?)
        .bind(files.are_due().then_some(now_ms))
        .execute(&self.pool)
        .await?;
        Ok(0 < done.rows_affected())
    }

    /// Drops a run that waits, and releases what is due in its thread. False when it waits no more.
    pub(crate) async fn drop_waiting(&self, run: &RunId, now_ms: i64) -> Result<bool> {
        let mut tx = self.begin_write().await?;
        let row = sqlx::query(
            "UPDATE threads SET changes = changes + 1
              WHERE thread = (SELECT thread FROM runs WHERE run = $1) RETURNING thread",
        )
        .bind(run.as_str())
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = row else { return Ok(false) };
        let done = sqlx::query(
            "UPDATE runs SET state = 'ended', outcome = 'dropped', ended_ms = $2
              WHERE run = $1 AND state = 'queued'",
        )
        .bind(run.as_str())
        .bind(now_ms)
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        tally::given(&mut tx, run, "dropped").await?;
        let thread = id(row.try_get("thread")?, ThreadId::new)?;
        let place = Place {
            run: run.clone(),
            generation: Generation::FIRST,
            thread,
            asked: None,
            spent: 0,
        };
        let parted = steers::part(&mut tx, &place).await?;
        insert_rows(&mut tx, thread, &parted, now_ms).await?;
        release(&mut tx, thread, now_ms).await?;
        tx.commit().await?;
        Ok(true)
    }
}

/// A run out of its row; `None`: no message asked for it.
fn waiting(row: &AnyRow) -> Result<Option<Waiting>> {
    let Some((channel, message)) = asked(row)? else { return Ok(None) };
    let run = row.try_get::<String, _>("run")?.parse()?;
    let is_reworded = row.try_get::<i64, _>("reworded")? != 0;
    let (prompt, files) = (row.try_get("prompt")?, files::read(row)?);
    Ok(Some(Waiting { run, channel, message, prompt, is_reworded, files }))
}
