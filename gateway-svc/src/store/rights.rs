//! What each generation of a run may do: decided once, under the thread's row, before it is published.
//!
//! Whichever gateway comes first decides, by what was spent and said at that moment; a Move takes along what
//! was decided before. A run that may spend nothing is ended here, and the next of its thread released.

use schemas::ids::{Generation, RunId};
use schemas::request::Request;
use schemas::rights::Rights;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::asks::lock;
use super::costs::spent;
use super::orders::end_now;
use super::outbox::insert_rows;
use super::runs::{asked, release};
use super::unsafe_words::newest;
use super::{Result, Store, StoreError, Tx};
use crate::limits::{Given, Limits};
use crate::outbox::Row;
use crate::render::Place;
use crate::unsafe_mode::Word;

/// Why something is owed for what a run is given.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Why<'a> {
    /// Nobody is asked for leave in it, by this word.
    Unsafe(&'a Word),
    /// It may spend nothing: this line says why.
    UsedUp(&'a str),
}

impl Store {
    /// Decides what a released run may do, unless that was decided before. `rows` says what Discord is owed
    /// by it. `None`: it was ended because it may spend nothing, or is released no more.
    pub(crate) async fn give_rights(
        &self,
        request: &Request,
        limits: &Limits,
        rows: impl Fn(&Place, Why<'_>) -> Vec<Row>,
        now_ms: i64,
    ) -> Result<Option<Rights>> {
        let Request { run, generation, thread, project, channel, author, .. } = request;
        let mut tx = self.begin_write().await?;
        lock(&mut tx, *thread).await?;
        let row = sqlx::query(
            "SELECT since, attempt, place, asked_in, asked_by FROM runs
              WHERE run = $1 AND generation = $2 AND state = 'released'",
        )
        .bind(run.as_str())
        .bind(i64::from(generation.0))
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let since = row.try_get::<i64, _>("since")?;
        if let Some((of, rights)) = decided(&mut tx, run, *generation, since).await? {
            if of != *generation {
                insert(&mut tx, run, *generation, &rights, now_ms).await?;
                tx.commit().await?;
            }
            return Ok(Some(rights));
        }
        let word = newest(&mut tx, *thread, *channel).await?;
        let spent = spent(&mut tx, project, author.id, now_ms).await?;
        let asked = asked(&row)?;
        let place =
            |generation| Place { run: run.clone(), generation, thread: *thread, asked, spent: 0 };
        let rights = match limits.give(spent, word.as_ref(), project, now_ms) {
            Given::Rights(rights) => rights,
            Given::UsedUp(line) if is_unheard_of(&row)? => {
                end_now(&mut tx, &place(*generation), "failed", false, now_ms).await?;
                let rows = rows(&place(generation.next()), Why::UsedUp(&line));
                insert_rows(&mut tx, *thread, &rows, now_ms).await?;
                release(&mut tx, *thread, now_ms).await?;
                tx.commit().await?;
                return Ok(None);
            }
            // It was published before anybody set limits: what has begun goes on.
            Given::UsedUp(_) => Rights::default(),
        };
        if let Some(word) = word.filter(|_| rights.unasked.is_some()) {
            let rows = rows(&place(*generation), Why::Unsafe(&word));
            insert_rows(&mut tx, *thread, &rows, now_ms).await?;
        }
        insert(&mut tx, run, *generation, &rights, now_ms).await?;
        tx.commit().await?;
        Ok(Some(rights))
    }

    /// Whether leave is to be asked for after all in a generation of a run.
    pub(super) async fn is_safe_again(&self, run: &RunId, generation: Generation) -> Result<bool> {
        let row = sqlx::query("SELECT safe_by FROM rights WHERE run = $1 AND generation = $2")
            .bind(run.as_str())
            .bind(i64::from(generation.0))
            .fetch_optional(&self.pool)
            .await?;
        let by = row.map(|row| row.try_get::<Option<String>, _>("safe_by")).transpose()?;
        Ok(by.flatten().is_some())
    }
}

/// Whether no runner can have heard of a generation.
fn is_unheard_of(row: &AnyRow) -> Result<bool> {
    let (attempt, place): (Option<i64>, Option<String>) =
        (row.try_get("attempt")?, row.try_get("place")?);
    Ok(attempt.is_none() && place.is_none())
}

/// What was decided for a generation, or for the one that a Move went on from: since `since`.
async fn decided(
    tx: &mut Tx,
    run: &RunId,
    generation: Generation,
    since: i64,
) -> Result<Option<(Generation, Rights)>> {
    let row = sqlx::query(
        "SELECT generation, rights, safe_by FROM rights
          WHERE run = $1 AND generation <= $2 AND generation >= $3
          ORDER BY generation DESC LIMIT 1",
    )
    .bind(run.as_str())
    .bind(i64::from(generation.0))
    .bind(since)
    .fetch_optional(&mut **tx)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let of: Generation = row.try_get::<i64, _>("generation")?.to_string().parse()?;
    let mut rights = read(&row.try_get::<String, _>("rights")?)?;
    if of != generation && row.try_get::<Option<String>, _>("safe_by")?.is_some() {
        rights.unasked = None;
    }
    Ok(Some((of, rights)))
}

/// Rights out of their row.
pub(super) fn read(text: &str) -> Result<Rights> {
    serde_json::from_str(text).map_err(|source| StoreError::BadJson { what: "rights", source })
}

async fn insert(
    tx: &mut Tx,
    run: &RunId,
    generation: Generation,
    rights: &Rights,
    now_ms: i64,
) -> Result<()> {
    let text = serde_json::to_string(rights)
        .map_err(|source| StoreError::BadJson { what: "rights", source })?;
    sqlx::query(
        "INSERT INTO rights (run, generation, rights, at_ms) VALUES ($1, $2, $3, $4)
         ON CONFLICT (run, generation) DO NOTHING",
    )
    .bind(run.as_str())
    .bind(i64::from(generation.0))
    .bind(super::text(&text))
    .bind(now_ms)
    .execute(&mut **tx)
    .await?;
    Ok(())
}
