//! What is known of threads: those that could not be started, what they were called, who writes in
//! them.
//!
//! A conversation without a thread keeps its number, which is its first message's, and says in its
//! row where it goes on. What was due in it then is posted there: rows stay as they are, and are
//! placed when they are read.

use schemas::ids::{ChannelId, MessageId, RunId, ThreadId};
use schemas::request::Author;
use sqlx::Row as _;

use super::outbox::{insert_at, leave_place};
use super::{Result, Store, StoreError, Tx, id, number};
use crate::crash;
use crate::names::{is_command, preface};
use crate::outbox::{Action, Row};

/// The most people that a name is compared with.
const PEOPLE_MAX: i64 = 100;
/// The most rows that are taken up at once; the others come with the next look.
const TAKE_UP_MAX: i64 = 50;

impl Store {
    /// No thread can be started for a conversation: it goes on in its channel. `line` is said there in
    /// place of the row that was to start it, unless it was said before.
    pub(crate) async fn goes_on_in_channel(
        &self,
        thread: ThreadId,
        name: &str,
        why: &str,
        line: &Row,
        now_ms: i64,
    ) -> Result<()> {
        let mut tx = self.begin_write().await?;
        sqlx::query(
            "UPDATE threads SET changes = changes + 1, said_in = channel
              WHERE thread = $1 AND thread <> channel",
        )
        .bind(number(thread.get()))
        .execute(&mut *tx)
        .await?;
        let Some(place) = leave_place(&mut tx, thread, name, why, now_ms).await? else {
            return Ok(());
        };
        insert_at(&mut tx, thread, place, line, now_ms).await?;
        crash::point("threadless.written");
        tx.commit().await?;
        crash::point("threadless.stored");
        Ok(())
    }

    /// The conversation without a thread that a message of a channel belongs to, if it does: a question
    /// of it, or what was said to one.
    pub(crate) async fn threadless(
        &self,
        channel: ChannelId,
        message: MessageId,
    ) -> Result<Option<ThreadId>> {
        let row = sqlx::query(
            "SELECT t.thread FROM threads t JOIN runs r ON r.thread = t.thread
              WHERE r.run = $1 AND t.said_in = $2
             UNION
             SELECT t.thread FROM threads t JOIN outbox o ON o.thread = t.thread
              WHERE o.message = $3 AND t.said_in = $2",
        )
        .bind(RunId::from(message).as_str())
        .bind(number(channel.get()))
        .bind(number(message.get()))
        .fetch_optional(&self.pool)
        .await?;
        row.map(|row| id(row.try_get("thread")?, ThreadId::new)).transpose()
    }

    /// A channel was read: what is due in its conversations without a thread is released. Returns how
    /// many gates were closed.
    pub(crate) async fn open_gates_in(&self, channel: ChannelId, now_ms: i64) -> Result<usize> {
        let rows =
            sqlx::query("SELECT thread FROM threads WHERE said_in = $1 AND gate_until_ms > 0")
                .bind(number(channel.get()))
                .fetch_all(&self.pool)
                .await?;
        for row in &rows {
            self.open_gate(id(row.try_get("thread")?, ThreadId::new)?, now_ms).await?;
        }
        Ok(rows.len())
    }

    /// What we called a thread when we started it; `None`: somebody else did.
    pub(crate) async fn called(&self, thread: ThreadId) -> Result<Option<String>> {
        let first = Row::starts_thread(thread);
        let row = sqlx::query("SELECT action FROM outbox WHERE name = $1 AND state = 'sent'")
            .bind(first)
            .fetch_optional(&self.pool)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let action: String = row.try_get("action")?;
        let action = serde_json::from_str(&action)
            .map_err(|source| StoreError::BadJson { what: "action", source })?;
        Ok(if let Action::Thread { name, .. } = action { Some(name) } else { None })
    }

    /// Leaves a row for later, and with it nothing else of its thread.
    pub(crate) async fn put_aside(&self, name: &str, due_ms: i64, error: &str) -> Result<()> {
        self.later(name, due_ms, error, ("later", false)).await
    }

    /// Makes due again what was put aside, behind what is due in its thread. Returns how much.
    pub(crate) async fn take_up(&self, now_ms: i64) -> Result<usize> {
        let rows = sqlx::query(
            "SELECT name, thread FROM outbox WHERE state = 'later' AND due_ms <= $1 LIMIT $2",
        )
        .bind(now_ms)
        .bind(TAKE_UP_MAX)
        .fetch_all(&self.pool)
        .await?;
        for row in &rows {
            let (name, thread): (String, i64) = (row.try_get("name")?, row.try_get("thread")?);
            let mut tx = self.begin_write().await?;
            sqlx::query("UPDATE threads SET changes = changes + 1 WHERE thread = $1")
                .bind(thread)
                .execute(&mut *tx)
                .await?;
            sqlx::query(
                "UPDATE outbox SET state = 'due',
                        seq = (SELECT MAX(last.seq) + 1 FROM outbox last WHERE last.thread = $2)
                  WHERE name = $1 AND state = 'later'",
            )
            .bind(name)
            .bind(thread)
            .execute(&mut *tx)
            .await?;
            tx.commit().await?;
        }
        Ok(rows.len())
    }
}

/// What claude is told before a question that is released now: who asks, where others have asked in
/// the thread too. The caller holds the thread's lock.
pub(super) async fn prefaced(tx: &mut Tx, thread: ThreadId, run: &RunId) -> Result<Option<String>> {
    let row = sqlx::query("SELECT author, author_name, prompt FROM runs WHERE run = $1")
        .bind(run.as_str())
        .fetch_one(&mut **tx)
        .await?;
    if is_command(&row.try_get::<String, _>("prompt")?) {
        return Ok(None);
    }
    let author: i64 = row.try_get("author")?;
    let others = sqlx::query(
        "SELECT author, MAX(author_name) AS author_name FROM runs
          WHERE thread = $1 AND (author < $2 OR $2 < author)
            AND (outcome IS NULL OR outcome <> 'dropped')
          GROUP BY author LIMIT $3",
    )
    .bind(number(thread.get()))
    .bind(author)
    .bind(PEOPLE_MAX)
    .fetch_all(&mut **tx)
    .await?;
    if others.is_empty() {
        return Ok(None);
    }
    let read = |row: &sqlx::any::AnyRow| -> Result<Author> {
        let id = id(row.try_get("author")?, schemas::ids::UserId::new)?;
        Ok(Author { id, name: row.try_get("author_name")? })
    };
    let others = others.iter().map(read).collect::<Result<Vec<_>>>()?;
    Ok(Some(preface(&read(&row)?, &others)))
}
