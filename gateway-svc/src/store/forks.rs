//! Threads that begin with what was said elsewhere: in another thread, or in a terminal.
//!
//! A fork has what its first thread's last run left in FILES, under a session of its own, so what goes on
//! in one of them is not known in the other. It is known to the store in the transaction that learns the id
//! of the message that it begins with: whoever writes in the new thread finds it.

use schemas::ids::{ChannelId, MessageId, ProjectName, SessionId, ThreadId};
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::commands::Spoken;
use super::outbox::insert_rows;
use super::runs::{carried, judge};
use super::{Result, Store, Tx, id, lock_for_many, lock_thread, number, text};
use crate::forks::{self, Bringing, Forking};
use crate::outbox::Row;

impl Store {
    /// Begins another thread with what was said in one. `rows` says what is owed to whoever asked; `None`:
    /// the message was judged before.
    pub(crate) async fn fork(
        &self,
        spoken: &Spoken,
        thread: ThreadId,
        rows: impl FnOnce(Forking) -> Vec<Row>,
        now_ms: i64,
    ) -> Result<Option<Forking>> {
        let Spoken { asked, channel, project, author } = spoken;
        let mut tx = self.begin_write().await?;
        lock_for_many(&mut tx).await?;
        let in_channel = id(number(channel.get()), ThreadId::new)?;
        lock_thread(&mut tx, in_channel, *channel, project, now_ms).await?;
        lock_thread(&mut tx, thread, *channel, project, now_ms).await?;
        if !judge(&mut tx, *asked, "order", now_ms).await? {
            return Ok(None);
        }
        let forking = if begin_fork(&mut tx, spoken, thread, now_ms).await? {
            let base = forks::base(asked.1, *channel, thread, &author.name);
            insert_rows(&mut tx, in_channel, &[base], now_ms).await?;
            Forking::Begins
        } else {
            Forking::Nothing
        };
        insert_rows(&mut tx, thread, &rows(forking), now_ms).await?;
        tx.commit().await?;
        Ok(Some(forking))
    }

    /// Notes what a row of the channel's became, if a fork begins with it, and knows its thread from then
    /// on. False: it is no such row.
    pub(super) async fn forked(&self, name: &str, message: MessageId, now_ms: i64) -> Result<bool> {
        if !name.ends_with("/fork") {
            return Ok(false);
        }
        let mut tx = self.begin_write().await?;
        lock_for_many(&mut tx).await?;
        let row = sqlx::query(
            "SELECT from_thread, channel, project, asked_in, asked_by, carried, spent, first, by_name
               FROM forks WHERE name = $1 AND thread IS NULL",
        )
        .bind(name)
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = row else { return Ok(false) };
        let from = id(row.try_get("from_thread")?, ThreadId::new)?;
        let channel = id(row.try_get("channel")?, ChannelId::new)?;
        let project: ProjectName = row.try_get::<String, _>("project")?.parse()?;
        let thread: ThreadId = message.into();
        lock_thread(&mut tx, thread, channel, &project, now_ms).await?;
        lock_thread(&mut tx, from, channel, &project, now_ms).await?;
        sqlx::query("UPDATE outbox SET state = 'sent', message = $2, done_ms = $3 WHERE name = $1")
            .bind(name)
            .bind(number(message.get()))
            .bind(now_ms)
            .execute(&mut *tx)
            .await?;
        sqlx::query("UPDATE forks SET thread = $2 WHERE name = $1")
            .bind(name)
            .bind(number(message.get()))
            .execute(&mut *tx)
            .await?;
        know_fork(&mut tx, thread, from, &row).await?;
        let (first, by): (String, String) = (row.try_get("first")?, row.try_get("by_name")?);
        let begun = forks::begun(thread, channel, from, &first, &by);
        insert_rows(&mut tx, thread, &begun, now_ms).await?;
        let asked_in = id(row.try_get("asked_in")?, ChannelId::new)?;
        let asked_by = id(row.try_get("asked_by")?, MessageId::new)?;
        let told = forks::told((asked_in, asked_by), thread);
        insert_rows(&mut tx, from, &[told], now_ms).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Lets a thread go on with a session that was begun in a terminal. In a channel, the message begins
    /// the thread. `rows` says what is owed; `None`: the message was judged before.
    pub(crate) async fn bring(
        &self,
        spoken: &Spoken,
        thread: ThreadId,
        session: SessionId,
        rows: impl FnOnce(Bringing) -> Vec<Row>,
        now_ms: i64,
    ) -> Result<Option<Bringing>> {
        let Some(mut tx) = self.hear(spoken, thread, "order", now_ms).await? else {
            return Ok(None);
        };
        let session = session.to_string();
        let other = sqlx::query(
            "SELECT thread FROM sessions WHERE (session = $1 OR next = $1) AND thread <> $2 LIMIT 1",
        )
        .bind(&session)
        .bind(number(thread.get()))
        .fetch_optional(&mut *tx)
        .await?;
        let at_work =
            sqlx::query("SELECT 1 FROM runs WHERE thread = $1 AND state = 'released' AND task <> 'diff' LIMIT 1")
                .bind(number(thread.get()))
                .fetch_optional(&mut *tx)
                .await?;
        let bringing = match (other, at_work) {
            (Some(other), _) => Bringing::Anothers(id(other.try_get("thread")?, ThreadId::new)?),
            (None, Some(_)) => Bringing::AfterThis,
            (None, None) => Bringing::Next,
        };
        match bringing {
            Bringing::Anothers(_) => {}
            Bringing::Next | Bringing::AfterThis => {
                sqlx::query(
                    "INSERT INTO sessions (thread, agent, session, brought) VALUES ($1, '', $2, 1)
                     ON CONFLICT (thread, agent) DO UPDATE SET next = excluded.session",
                )
                .bind(number(thread.get()))
                .bind(&session)
                .execute(&mut *tx)
                .await?;
            }
        }
        insert_rows(&mut tx, thread, &rows(bringing), now_ms).await?;
        tx.commit().await?;
        Ok(Some(bringing))
    }
}

/// Notes what a fork of a thread begins with. False: nothing was answered there that it could know.
async fn begin_fork(tx: &mut Tx, spoken: &Spoken, thread: ThreadId, now_ms: i64) -> Result<bool> {
    let row = sqlx::query(
        "SELECT s.carried, COALESCE((SELECT MAX(r.spent) FROM runs r WHERE r.session = s.session),
                                    s.spent) AS spent,
                (SELECT r.prompt FROM runs r WHERE r.thread = s.thread ORDER BY r.ord LIMIT 1)
                    AS prompt
           FROM sessions s WHERE s.thread = $1 AND s.agent = ''",
    )
    .bind(number(thread.get()))
    .fetch_optional(&mut **tx)
    .await?;
    let Some(row) = row else { return Ok(false) };
    if carried(&row)?.is_none_or(|left| left.transcript.is_none()) {
        return Ok(false);
    }
    let Spoken { asked, channel, project, author } = spoken;
    sqlx::query(
        "INSERT INTO forks (name, from_thread, channel, project, asked_in, asked_by, carried,
                            spent, first, by_user, by_name, at_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
    )
    .bind(forks::base_name(asked.1))
    .bind(number(thread.get()))
    .bind(number(channel.get()))
    .bind(project.as_str())
    .bind(number(asked.0.get()))
    .bind(number(asked.1.get()))
    .bind(row.try_get::<String, _>("carried")?)
    .bind(row.try_get::<Option<i64>, _>("spent")?)
    .bind(row.try_get::<Option<String>, _>("prompt")?.unwrap_or_default())
    .bind(number(author.id.get()))
    .bind(text(&author.name))
    .bind(now_ms)
    .execute(&mut **tx)
    .await?;
    Ok(true)
}

/// Gives a new thread a session that begins with what another's has left, and the other's place.
async fn know_fork(tx: &mut Tx, thread: ThreadId, from: ThreadId, row: &AnyRow) -> Result<()> {
    sqlx::query(
        "INSERT INTO sessions (thread, agent, session, carried, spent) VALUES ($1, '', $2, $3, $4)
         ON CONFLICT (thread, agent) DO NOTHING",
    )
    .bind(number(thread.get()))
    .bind(SessionId::random().to_string())
    .bind(row.try_get::<String, _>("carried")?)
    .bind(row.try_get::<Option<i64>, _>("spent")?)
    .execute(&mut **tx)
    .await?;
    sqlx::query(
        "UPDATE threads SET files_of = $2,
                model = (SELECT f.model FROM threads f WHERE f.thread = $2),
                home = (SELECT f.home FROM threads f WHERE f.thread = $2),
                ran_at = (SELECT f.ran_at FROM threads f WHERE f.thread = $2)
          WHERE thread = $1",
    )
    .bind(number(thread.get()))
    .bind(number(from.get()))
    .execute(&mut **tx)
    .await?;
    Ok(())
}
