//! Who is to hear that a runner exists twice: the threads whose runs are with it.

use schemas::ids::{Generation, RunId, RunnerId, ThreadId};
use sqlx::Row as _;

use super::outbox::insert_rows;
use super::runs::asked;
use super::{Result, Store, id, number};
use crate::outbox::Row;
use crate::render::Place;

impl Store {
    /// Owes a row in the thread of each run that is released and waits for this runner, or is at
    /// work there. A row that was owed before is not owed again. Returns how many runs there are.
    pub(crate) async fn tell_runs_of(
        &self,
        runner: &RunnerId,
        row: impl Fn(&Place) -> Row,
        now_ms: i64,
    ) -> Result<usize> {
        let found = sqlx::query(
            "SELECT r.run, r.generation, r.thread, r.asked_in, r.asked_by
               FROM runs r JOIN owners o ON o.project = r.project
              WHERE r.state = 'released' AND o.runner = $1",
        )
        .bind(runner.as_str())
        .fetch_all(&self.pool)
        .await?;
        for each in &found {
            let run: RunId = each.try_get::<String, _>("run")?.parse()?;
            let generation: Generation =
                each.try_get::<i64, _>("generation")?.to_string().parse()?;
            let thread = id(each.try_get("thread")?, ThreadId::new)?;
            let mut tx = self.begin_write().await?;
            let still = sqlx::query(
                "UPDATE threads SET changes = changes + 1
                  WHERE thread = $1
                    AND EXISTS (SELECT 1 FROM runs WHERE run = $2 AND state = 'released')",
            )
            .bind(number(thread.get()))
            .bind(run.as_str())
            .execute(&mut *tx)
            .await?;
            if 0 < still.rows_affected() {
                let place = Place { run, generation, thread, asked: asked(each)?, spent: 0 };
                insert_rows(&mut tx, thread, &[row(&place)], now_ms).await?;
            }
            tx.commit().await?;
        }
        Ok(found.len())
    }
}
