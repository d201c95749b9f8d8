//! What is finished is kept for a while and then taken away; what was never finished is ended.

use schemas::ids::ThreadId;
use sqlx::Row as _;

use super::orders::{end, end_now, stop};
use super::outbox::insert_rows;
use super::runs::{asked, release};
use super::steers;
use super::{Result, Store, Tx, id, lock_for_many, number};
use crate::outbox::Row;
use crate::render::Place;

impl Store {
    /// Takes away what was finished before `before_ms`: runs, decisions, rows, verdicts, and threads
    /// that nothing is left of. Returns how many rows went.
    ///
    /// A verdict may go because no cursor ever goes back to its message.
    pub(crate) async fn forget(&self, before_ms: i64) -> Result<u64> {
        let mut tx = self.begin_write().await?;
        lock_for_many(&mut tx).await?;
        // Threads before what is in them, as everybody does: whoever holds one may want its runs.
        sqlx::query("UPDATE threads SET changes = changes + 1 WHERE active_ms < $1")
            .bind(before_ms)
            .execute(&mut *tx)
            .await?;
        let mut gone = 0;
        for text in [
            "DELETE FROM runs WHERE state = 'ended' AND ended_ms < $1",
            "DELETE FROM controls WHERE at_ms < $1",
            "DELETE FROM acts WHERE at_ms < $1",
            "DELETE FROM decisions WHERE at_ms < $1",
            "DELETE FROM forks WHERE at_ms < $1",
            "DELETE FROM steers WHERE at_ms < $1 AND state <> 'open'",
            "DELETE FROM rights WHERE at_ms < $1
                AND NOT EXISTS (SELECT 1 FROM runs WHERE runs.run = rights.run)",
            "DELETE FROM unsafe_words WHERE at_ms < $1",
            "DELETE FROM costs WHERE at_ms < $1",
            "DELETE FROM asks WHERE made_ms < $1 AND state NOT IN ('open', 'decided')",
            "DELETE FROM outbox WHERE state <> 'due' AND COALESCE(done_ms, due_ms) < $1",
            "DELETE FROM messages WHERE judged_ms < $1",
            "DELETE FROM runners WHERE seen_ms < $1",
            // What somebody wants to be run stays until it is.
            "DELETE FROM missed WHERE found_ms < $1 AND state <> 'due'",
            "DELETE FROM missed_lists WHERE made_ms < $1",
            "DELETE FROM threads WHERE active_ms < $1
                AND NOT EXISTS (SELECT 1 FROM runs WHERE runs.thread = threads.thread)
                AND NOT EXISTS (SELECT 1 FROM outbox WHERE outbox.thread = threads.thread)",
        ] {
            gone += sqlx::query(text).bind(before_ms).execute(&mut *tx).await?.rows_affected();
        }
        let sessions = sqlx::query(
            "DELETE FROM sessions
              WHERE NOT EXISTS (SELECT 1 FROM threads WHERE threads.thread = sessions.thread)",
        );
        gone += sessions.execute(&mut *tx).await?.rows_affected();
        let grants = sqlx::query(
            "DELETE FROM grants
              WHERE NOT EXISTS (SELECT 1 FROM threads WHERE threads.thread = grants.thread)",
        );
        gone += grants.execute(&mut *tx).await?.rows_affected();
        tx.commit().await?;
        Ok(gone)
    }

    /// Ends every run that was accepted before `before_ms` and has no outcome: one that is released in
    /// a new generation, and the one before is to be stopped, as when a person ends it. `rows` says
    /// what is owed for one. Returns how many there were.
    pub(crate) async fn expire(
        &self,
        before_ms: i64,
        rows: impl Fn(&Place) -> Vec<Row>,
        now_ms: i64,
    ) -> Result<usize> {
        // The newest first: the end of an older one would release it for a moment.
        let found = sqlx::query(
            "SELECT run, thread, generation, asked_in, asked_by FROM runs
              WHERE state <> 'ended' AND accepted_ms < $1 ORDER BY ord DESC, run",
        )
        .bind(before_ms)
        .fetch_all(&self.pool)
        .await?;
        for row in &found {
            let place = Place {
                run: row.try_get::<String, _>("run")?.parse()?,
                generation: row.try_get::<i64, _>("generation")?.to_string().parse()?,
                thread: id(row.try_get("thread")?, ThreadId::new)?,
                asked: asked(row)?,
                spent: 0,
            };
            let mut tx = self.begin_write().await?;
            sqlx::query("UPDATE threads SET changes = changes + 1 WHERE thread = $1")
                .bind(number(place.thread.get()))
                .execute(&mut *tx)
                .await?;
            if let Some(place) = expire_one(&mut tx, place, now_ms).await? {
                insert_rows(&mut tx, place.thread, &rows(&place), now_ms).await?;
                release(&mut tx, place.thread, now_ms).await?;
            }
            tx.commit().await?;
        }
        Ok(found.len())
    }
}

/// Who says so when a run is stopped because it is too old.
const WHO: (u64, &str) = (0, "the gateway: it is too old");

/// Ends a run that is too old, and says in which generation it is now; `None`: it has ended, or
/// began again, meanwhile. The caller holds the thread's lock.
async fn expire_one(tx: &mut Tx, place: Place, now_ms: i64) -> Result<Option<Place>> {
    let row = sqlx::query(
        "SELECT r.state, r.record, o.runner FROM runs r LEFT JOIN owners o ON o.project = r.project
          WHERE r.run = $1 AND r.state <> 'ended' AND r.generation = $2",
    )
    .bind(place.run.as_str())
    .bind(i64::from(place.generation.0))
    .fetch_optional(&mut **tx)
    .await?;
    let Some(row) = row else { return Ok(None) };
    if row.try_get::<String, _>("state")? == "queued" {
        end(tx, &place.run, "failed", now_ms).await?;
        let parted = steers::part(tx, &place).await?;
        insert_rows(tx, place.thread, &parted, now_ms).await?;
        return Ok(Some(place));
    }
    let record: Option<String> = row.try_get("record")?;
    let owner: Option<String> = row.try_get("runner")?;
    let is_heard_of = record.is_some() || owner.is_some();
    stop(tx, &place, "expired", WHO, now_ms).await?;
    end_now(tx, &place, "failed", is_heard_of, now_ms).await?;
    Ok(Some(Place { generation: place.generation.next(), ..place }))
}
