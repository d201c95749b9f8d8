//! Status messages: which run has one, and who keeps them.
//!
//! A run names the outbox row of its present one, in the transaction that writes the row, so there is
//! never a second. What it says by now is in Discord alone: edits are not kept.

use schemas::ids::{
    Attempt, ChannelId, Generation, MessageId, ProjectName, RunId, RunnerId, ThreadId,
};
use schemas::streams::Place;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::outbox::insert_rows;
use super::places::{read_place, runner};
use super::{Result, Store, id, number};
use crate::outbox::{Action, Button, Row};

/// A run that a person may be watching.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Watched {
    /// The run.
    pub(crate) run: RunId,
    /// Its project.
    pub(crate) project: ProjectName,
    /// Its thread.
    pub(crate) thread: ThreadId,
    /// Its generation.
    pub(crate) generation: Generation,
    /// Its place in the thread's queue.
    pub(crate) ord: i64,
    /// When it was stored.
    pub(crate) accepted_ms: i64,
    /// When it was released; `None`: it waits.
    pub(crate) released_ms: Option<i64>,
    /// Where it was put.
    pub(crate) place: Option<Place>,
    /// Which holding of it was seen last; `None`: none.
    pub(crate) attempt: Option<Attempt>,
    /// Whether its claude was seen.
    pub(crate) began: bool,
    /// Who holds its thread's runs.
    pub(crate) home: Option<RunnerId>,
    /// Where its thread is said in, if no thread could be started.
    pub(crate) said_in: Option<ChannelId>,
    /// Whether it has ended.
    pub(crate) ended: bool,
    /// Its status message.
    pub(crate) shown: Option<Shown>,
}

/// A status message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    /// The row that posts it.
    pub(crate) row: String,
    /// When that was written.
    pub(crate) made_ms: i64,
    /// The message, once it was posted.
    pub(crate) message: Option<MessageId>,
}

impl Store {
    /// Every run without outcome, and each that has one and a status message.
    pub(crate) async fn watched(&self) -> Result<Vec<Watched>> {
        // Two parts, each with an index of its own.
        let rows = sqlx::query(
            "SELECT r.run, r.project, r.thread, r.generation, r.ord, r.state, r.accepted_ms,
                    r.released_ms, r.place, r.attempt, r.phase, r.status, t.home, t.said_in, o.message, o.made_ms
               FROM (SELECT * FROM runs WHERE state <> 'ended'
                     UNION ALL SELECT * FROM runs WHERE state = 'ended' AND status IS NOT NULL) r
                    LEFT JOIN threads t ON t.thread = r.thread
                    LEFT JOIN outbox o ON o.name = r.status",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(watched).collect()
    }

    /// Whether this gateway does, until `until_ms`, what only one is to do. A store in a file has one.
    pub(crate) async fn leads(
        &self,
        what: &str,
        gateway: &str,
        now_ms: i64,
        until_ms: i64,
    ) -> Result<bool> {
        if !self.is_shared() {
            return Ok(true);
        }
        let leads = sqlx::query(
            "INSERT INTO leads (what, gateway, until_ms) VALUES ($1, $2, $3)
             ON CONFLICT (what) DO UPDATE SET gateway = excluded.gateway, until_ms = excluded.until_ms
              WHERE leads.gateway = excluded.gateway OR leads.until_ms <= $4",
        )
        .bind(what)
        .bind(gateway)
        .bind(until_ms)
        .bind(now_ms)
        .execute(&self.pool)
        .await?;
        Ok(0 < leads.rows_affected())
    }

    /// Gives a run without outcome a status message in the place of the one that it has by now. False
    /// when it has ended, or has another by now.
    pub(crate) async fn show_status(
        &self,
        run: &Watched,
        content: &str,
        buttons: Vec<Button>,
        now_ms: i64,
    ) -> Result<bool> {
        let part = format!("status/{now_ms}");
        let (channel, content) = (run.thread.into(), content.to_owned());
        let status = Action::Status { channel, content, buttons };
        let row = Row::of(&run.run, run.generation, &part, status);
        self.replace_status(run, Some(row), now_ms).await
    }

    /// Takes away the status message of a run that has ended.
    pub(crate) async fn end_status(&self, run: &Watched, now_ms: i64) -> Result<bool> {
        self.replace_status(run, None, now_ms).await
    }

    async fn replace_status(&self, run: &Watched, new: Option<Row>, now_ms: i64) -> Result<bool> {
        let mut tx = self.begin_write().await?;
        sqlx::query("UPDATE threads SET changes = changes + 1 WHERE thread = $1")
            .bind(number(run.thread.get()))
            .execute(&mut *tx)
            .await?;
        let before = run.shown.as_ref().map(|shown| shown.row.as_str());
        let changed = sqlx::query(
            "UPDATE runs SET status = $2
              WHERE run = $1 AND COALESCE(status, '') = $3 AND (state = 'ended') = ($4 = 'ended')",
        )
        .bind(run.run.as_str())
        .bind(new.as_ref().map(|row| row.name.as_str()))
        .bind(before.unwrap_or_default())
        .bind(if new.is_none() { "ended" } else { "open" })
        .execute(&mut *tx)
        .await?;
        if changed.rows_affected() == 0 {
            return Ok(false);
        }
        let gone = before.map(|before| Row {
            name: format!("{before}/gone"),
            action: Action::Delete { channel: run.thread.into(), of: before.to_owned() },
        });
        let rows: Vec<Row> = new.into_iter().chain(gone).collect();
        insert_rows(&mut tx, run.thread, &rows, now_ms).await?;
        tx.commit().await?;
        Ok(true)
    }
}

fn watched(row: &AnyRow) -> Result<Watched> {
    let status: Option<String> = row.try_get("status")?;
    let message: Option<i64> = row.try_get("message")?;
    let shown = match status {
        None => None,
        Some(name) => Some(Shown {
            row: name,
            // A row that was forgotten is one of long ago.
            made_ms: row.try_get::<Option<i64>, _>("made_ms")?.unwrap_or_default(),
            message: message.map(|message| id(message, MessageId::new)).transpose()?,
        }),
    };
    let attempt: Option<i64> = row.try_get("attempt")?;
    let said_in: Option<i64> = row.try_get("said_in")?;
    Ok(Watched {
        run: row.try_get::<String, _>("run")?.parse()?,
        project: row.try_get::<String, _>("project")?.parse()?,
        thread: id(row.try_get("thread")?, ThreadId::new)?,
        generation: row.try_get::<i64, _>("generation")?.to_string().parse()?,
        ord: row.try_get("ord")?,
        accepted_ms: row.try_get("accepted_ms")?,
        released_ms: row.try_get("released_ms")?,
        place: read_place(row)?,
        attempt: attempt.map(|attempt| attempt.to_string().parse()).transpose()?,
        began: row.try_get::<Option<String>, _>("phase")?.as_deref() == Some("running"),
        home: runner(row, "home")?,
        said_in: said_in.map(|said_in| id(said_in, ChannelId::new)).transpose()?,
        ended: row.try_get::<String, _>("state")? == "ended",
        shown,
    })
}
