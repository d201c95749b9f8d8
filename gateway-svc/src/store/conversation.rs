//! What a thread's next run begins with: its session, fresh or not, and its model. Chosen by command, and
//! frozen when the run is released.

use schemas::carried::Carried;
use schemas::ids::{ModelName, RunId, SessionId, ThreadId};
use schemas::record::Record;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::commands::Spoken;
use super::outbox::insert_rows;
use super::places::runner;
use super::runs::{carried, carried_text};
use super::{Result, Store, StoreError, Tx, number};
use crate::conversation::{AtWork, Conversation, Model};
use crate::outbox::Row;

impl Store {
    /// Lets the next run of a thread begin a fresh session. `rows` says what is owed by it: whether
    /// something is at work, or `None` where nothing was asked yet. False when the message was judged
    /// before.
    pub(crate) async fn restart(
        &self,
        spoken: &Spoken,
        thread: ThreadId,
        rows: impl FnOnce(Option<AtWork>) -> Vec<Row>,
        now_ms: i64,
    ) -> Result<bool> {
        let Some(mut tx) = self.hear(spoken, thread, "order", now_ms).await? else {
            return Ok(false);
        };
        let known = sqlx::query("UPDATE sessions SET next = '' WHERE thread = $1")
            .bind(number(thread.get()))
            .execute(&mut *tx)
            .await?;
        let at_work = at_work(&mut tx, thread).await?;
        let rows = rows((0 < known.rows_affected()).then_some(at_work));
        insert_rows(&mut tx, thread, &rows, now_ms).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Sets a thread's model, where that is wanted. `rows` says what is owed by it: the model that it has
    /// then, and whether something is at work. False when the message was judged before.
    pub(crate) async fn set_model(
        &self,
        spoken: &Spoken,
        thread: ThreadId,
        wanted: &Model,
        rows: impl FnOnce(Option<&ModelName>, AtWork) -> Vec<Row>,
        now_ms: i64,
    ) -> Result<bool> {
        let Some(mut tx) = self.hear(spoken, thread, "order", now_ms).await? else {
            return Ok(false);
        };
        let model = match wanted {
            Model::Tell => {
                let row = sqlx::query("SELECT model FROM threads WHERE thread = $1")
                    .bind(number(thread.get()))
                    .fetch_one(&mut *tx)
                    .await?;
                model(&row)?
            }
            Model::Set(_) | Model::Default => {
                let model = if let Model::Set(model) = wanted { Some(model.clone()) } else { None };
                sqlx::query("UPDATE threads SET model = $2 WHERE thread = $1")
                    .bind(number(thread.get()))
                    .bind(model.as_ref().map(ModelName::as_str))
                    .execute(&mut *tx)
                    .await?;
                model
            }
        };
        let at_work = at_work(&mut tx, thread).await?;
        insert_rows(&mut tx, thread, &rows(model.as_ref(), at_work), now_ms).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// A thread's session, and where it is; `None`: nothing was asked there.
    pub(crate) async fn conversation(&self, thread: ThreadId) -> Result<Option<Conversation>> {
        let row = sqlx::query(
            "SELECT s.session, s.next, t.model, t.ran_at,
                    (SELECT COUNT(*) FROM runs w WHERE w.thread = t.thread
                        AND w.state = 'released' AND w.task <> 'diff') AS released
               FROM threads t JOIN sessions s ON s.thread = t.thread AND s.agent = ''
              WHERE t.thread = $1",
        )
        .bind(number(thread.get()))
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let session: String = row.try_get("session")?;
        let last = sqlx::query(
            "SELECT record FROM runs WHERE thread = $1 AND session = $2 AND record IS NOT NULL AND task <> 'diff'
              ORDER BY ord DESC, run DESC LIMIT 1",
        )
        .bind(number(thread.get()))
        .bind(&session)
        .fetch_optional(&self.pool)
        .await?;
        let whereabouts = match last {
            None => None,
            Some(last) => {
                let text: String = last.try_get("record")?;
                let record: Record = serde_json::from_str(&text)
                    .map_err(|source| StoreError::BadJson { what: "record", source })?;
                record.whereabouts
            }
        };
        let is_at_work = 0 < row.try_get::<i64, _>("released")?;
        Ok(Some(Conversation {
            session: session.parse()?,
            is_left: row.try_get::<Option<String>, _>("next")?.is_some(),
            runner: runner(&row, "ran_at")?,
            model: model(&row)?,
            whereabouts,
            at_work: if is_at_work { AtWork::Yes } else { AtWork::No },
        }))
    }
}

/// Gives a run that is released its session and its model; a session that is to be another is made so, and
/// what was left for the old one stays with it, but for the files. The caller holds the thread's lock.
pub(super) async fn begin(tx: &mut Tx, thread: ThreadId, agent: &str, run: &RunId) -> Result<()> {
    let row = sqlx::query(
        "SELECT s.session, s.next, s.carried, t.model
           FROM sessions s JOIN threads t ON t.thread = s.thread
          WHERE s.thread = $1 AND s.agent = $2",
    )
    .bind(number(thread.get()))
    .bind(agent)
    .fetch_optional(&mut **tx)
    .await?;
    let Some(row) = row else { return Ok(()) };
    let mut session: String = row.try_get("session")?;
    if let Some(next) = row.try_get::<Option<String>, _>("next")? {
        let brought = i64::from(!next.is_empty());
        session = if next.is_empty() { SessionId::random().to_string() } else { next };
        let left = carried(&row)?.map(|left| Carried { transcript: None, ..left });
        sqlx::query(
            "UPDATE sessions SET session = $3, carried = $4, brought = $5, next = NULL, spent = NULL
              WHERE thread = $1 AND agent = $2",
        )
        .bind(number(thread.get()))
        .bind(agent)
        .bind(&session)
        .bind(left.as_ref().map(carried_text).transpose()?)
        .bind(brought)
        .execute(&mut **tx)
        .await?;
    }
    sqlx::query("UPDATE runs SET session = $2, model = $3 WHERE run = $1")
        .bind(run.as_str())
        .bind(session)
        .bind(row.try_get::<Option<String>, _>("model")?)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

async fn at_work(tx: &mut Tx, thread: ThreadId) -> Result<AtWork> {
    let row = sqlx::query(
        "SELECT run FROM runs WHERE thread = $1 AND state = 'released' AND task <> 'diff' LIMIT 1",
    )
    .bind(number(thread.get()))
    .fetch_optional(&mut **tx)
    .await?;
    Ok(if row.is_some() { AtWork::Yes } else { AtWork::No })
}

/// The model of a row, if one was chosen.
pub(super) fn model(row: &AnyRow) -> Result<Option<ModelName>> {
    let name: Option<String> = row.try_get("model")?;
    Ok(name.map(|name| name.parse()).transpose()?)
}
