//! A message that is sent to claude in place of a yes: it was written while claude waited for a word.
//!
//! The no and the end of the waiting run are one transaction: what was sent is never run as well, and what
//! is run was never sent.

use schemas::ask::{Decision, WORDS_MAX};
use schemas::ids::{RunId, ThreadId};
use schemas::request::Author;
use sqlx::Row as _;

use super::asks::{Audit, Standing, answer, close_parts, lock, standing_in};
use super::files;
use super::orders::end;
use super::outbox::insert_rows;
use super::runs::{asked, release};
use super::steers;
use super::{NewRun, Result, Store, Tx, number};
use crate::asks::{self, Decided};
use crate::outbox::{Mark, Row};
use crate::render::{self, Place};

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// claude is told.
    Now,
    /// It does not wait any more: it runs, or was dropped.
    Runs,
    /// claude waits for nothing any more.
    Over,
    /// It is too long to be told in a no.
    TooLong,
    /// It has files, which cannot be told in a no.
    Files,
}

impl Store {
    /// Denies what is asked in a thread, and tells claude instead what a waiting run would have. `id`
    /// is what the click came by.
    pub(crate) async fn send_instead(
        &self,
        run: &RunId,
        thread: ThreadId,
        by: &Author,
        id: &str,
        now_ms: i64,
    ) -> Result<Sent> {
        let mut tx = self.begin_write().await?;
        lock(&mut tx, thread).await?;
        let row = sqlx::query(
            "SELECT prompt, generation, asked_in, asked_by, files FROM runs
              WHERE run = $1 AND thread = $2 AND state = 'queued'",
        )
        .bind(run.as_str())
        .bind(number(thread.get()))
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = row else {
            // Heard twice, it was this click that sent it.
            let before = sqlx::query("SELECT 1 FROM decisions WHERE by_id = $1 LIMIT 1")
                .bind(id)
                .fetch_optional(&mut *tx)
                .await?;
            return Ok(if before.is_some() { Sent::Now } else { Sent::Runs });
        };
        let prompt: String = row.try_get("prompt")?;
        let open = standing_in(&mut tx, thread).await?;
        if open.is_empty() {
            return Ok(Sent::Over);
        }
        if WORDS_MAX < prompt.chars().count() {
            return Ok(Sent::TooLong);
        }
        if !files::read(&row)?.is_empty() {
            return Ok(Sent::Files);
        }
        let mut words = Some(prompt);
        let mut rows = Vec::new();
        for Standing { key, wanted, .. } in &open {
            // All that was asked is denied; the words are said once.
            let decision = Decision::Deny { words: words.take() };
            let line = format!("Denied by {}, who wrote something else.", render::plain(&by.name));
            let decided = Decided { decision: decision.clone(), line, grant: None };
            let place = Place {
                run: key.run.clone(),
                generation: key.generation,
                thread,
                asked: None,
                spent: 0,
            };
            let parts = close_parts(&mut tx, &place, key, wanted, &decided.line).await?;
            let Some(part) = parts.first().map(|(part, _)| *part) else { continue };
            let key = asks::Key { part, ..key.clone() };
            Audit { key: &key, decided: &decided, by, id, now_ms }.insert(&mut tx).await?;
            answer(&mut tx, &key, decision, by, now_ms).await?;
            rows.extend(parts.into_iter().map(|(_, row)| row));
        }
        end(&mut tx, run, "merged", now_ms).await?;
        let place = Place {
            run: run.clone(),
            generation: row.try_get::<i64, _>("generation")?.to_string().parse()?,
            thread,
            asked: asked(&row)?,
            spent: 0,
        };
        rows.push(asks::offer_over(&place, &format!("{} sent it.", render::plain(&by.name))));
        rows.extend(render::marked(&place, Mark::Answered));
        rows.extend(steers::joined(&mut tx, &place, Mark::Answered).await?);
        insert_rows(&mut tx, thread, &rows, now_ms).await?;
        offers_over(&mut tx, thread, now_ms).await?;
        release(&mut tx, thread, now_ms).await?;
        tx.commit().await?;
        Ok(Sent::Now)
    }
}

/// What is offered under a message that was written while claude waits for a word, if it does.
pub(super) async fn offer(tx: &mut Tx, new: &NewRun) -> Result<Option<Row>> {
    let is_asked = !standing_in(tx, new.thread).await?.is_empty();
    Ok(is_asked.then(|| asks::offer(&new.run, new.thread)))
}

/// Takes the offers of a thread away when nothing is asked in it any more.
pub(super) async fn offers_over(tx: &mut Tx, thread: ThreadId, now_ms: i64) -> Result<()> {
    if !standing_in(tx, thread).await?.is_empty() {
        return Ok(());
    }
    let rows = sqlx::query(
        "SELECT r.run, r.generation FROM runs r JOIN outbox o ON o.name = r.run || '/1/offer'
          WHERE r.thread = $1 AND r.state = 'queued' ORDER BY r.ord",
    )
    .bind(number(thread.get()))
    .fetch_all(&mut **tx)
    .await?;
    let mut over = Vec::new();
    for row in &rows {
        let run = row.try_get::<String, _>("run")?.parse()?;
        let generation = row.try_get::<i64, _>("generation")?.to_string().parse()?;
        let place = Place { run, generation, thread, asked: None, spent: 0 };
        over.push(asks::offer_over(&place, asks::IN_ITS_TURN));
    }
    insert_rows(tx, thread, &over, now_ms).await?;
    Ok(())
}
