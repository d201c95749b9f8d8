//! Messages that waited and are sent into the run at work.
//!
//! A message that is sent has ended as a run of its own in the same transaction, so it is never told and
//! asked as well. When the run ends that it was sent into, the record says what has become part of it; what
//! has not waits again, in its old place. Until then the words are part of that run's controls, in whichever
//! generation that is.

use schemas::control::{STEERS_BYTES_MAX, STEERS_MAX, Steer};
use schemas::ids::{RunId, ThreadId};
use schemas::request::Author;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::asks::lock;
use super::commands::Spoken;
use super::orders::end;
use super::outbox::insert_rows;
use super::runs::{asked, release};
use super::threads::prefaced;
use super::{Result, Store, Tx, files, number, text};
use crate::asks::offer_over;
use crate::outbox::{Mark, Row};
use crate::render::{self, Place};
use crate::steer::{self, Sent};

impl Store {
    /// Sends what a waiting run would have asked into the run that is at work in its thread. `id` is what
    /// the order came by.
    pub(crate) async fn send_now(
        &self,
        run: &RunId,
        thread: ThreadId,
        by: &Author,
        id: &str,
        now_ms: i64,
    ) -> Result<Sent> {
        let mut tx = self.begin_write().await?;
        lock(&mut tx, thread).await?;
        let (sent, rows) = send(&mut tx, run, thread, by, id, now_ms).await?;
        insert_rows(&mut tx, thread, &rows, now_ms).await?;
        release(&mut tx, thread, now_ms).await?;
        tx.commit().await?;
        Ok(sent)
    }

    /// What is to be told the claude of a run, in the order in which it was sent.
    pub(super) async fn steers(&self, into: &RunId) -> Result<Vec<Steer>> {
        let rows = sqlx::query(
            "SELECT run, words, by_name FROM steers WHERE sent_into = $1 AND state = 'open'
              ORDER BY at_ms, run",
        )
        .bind(into.as_str())
        .fetch_all(&self.pool)
        .await?;
        rows.iter()
            .map(|row| {
                let run = row.try_get::<String, _>("run")?.parse()?;
                Ok(Steer { run, text: row.try_get("words")?, by: row.try_get("by_name")? })
            })
            .collect()
    }
}

/// Sends a waiting run's words; what Discord is owed by it. The caller holds the thread's lock.
pub(super) async fn send(
    tx: &mut Tx,
    run: &RunId,
    thread: ThreadId,
    by: &Author,
    id: &str,
    now_ms: i64,
) -> Result<(Sent, Vec<Row>)> {
    let waiting = sqlx::query(
        "SELECT w.generation, w.prompt, w.files, w.asked_in, w.asked_by, r.run AS sent_into
           FROM runs w LEFT JOIN runs r ON r.thread = w.thread AND r.agent = w.agent
                                       AND r.state = 'released' AND r.task <> 'diff'
          WHERE w.run = $1 AND w.thread = $2 AND w.state = 'queued' AND w.task <> 'diff'",
    )
    .bind(run.as_str())
    .bind(number(thread.get()))
    .fetch_optional(&mut **tx)
    .await?;
    let Some(row) = waiting else {
        // Heard twice, it was this press that sent it.
        let before = sqlx::query("SELECT 1 FROM steers WHERE run = $1 AND id = $2")
            .bind(run.as_str())
            .bind(id)
            .fetch_optional(&mut **tx)
            .await?;
        return Ok((if before.is_some() { Sent::Now } else { Sent::Gone }, Vec::new()));
    };
    let Some(into) = row.try_get::<Option<String>, _>("sent_into")? else {
        return Ok((Sent::Alone, Vec::new()));
    };
    if !files::read(&row)?.taken.is_empty() {
        return Ok((Sent::HasFiles, Vec::new()));
    }
    let preface = prefaced(tx, thread, run).await?.unwrap_or_default();
    let words = preface + &row.try_get::<String, _>("prompt")?;
    if !has_room(tx, &into, words.len()).await? {
        return Ok((Sent::TooMuch, Vec::new()));
    }
    let new = sqlx::query(
        "INSERT INTO steers (run, sent_into, thread, id, words, state, by_user, by_name, at_ms)
         VALUES ($1, $2, $3, $4, $5, 'open', $6, $7, $8) ON CONFLICT (run, id) DO NOTHING",
    )
    .bind(run.as_str())
    .bind(&into)
    .bind(number(thread.get()))
    .bind(id)
    .bind(text(&words))
    .bind(number(by.id.get()))
    .bind(text(&by.name))
    .bind(now_ms)
    .execute(&mut **tx)
    .await?;
    if new.rows_affected() == 0 {
        // This press sent it before, into a run that ended without it.
        return Ok((Sent::Now, Vec::new()));
    }
    end(tx, run, "merged", now_ms).await?;
    let place = place(run.clone(), thread, &row)?;
    let line = format!("{} sent it.", render::plain(&by.name));
    Ok((Sent::Now, vec![steer::sent(&place, &by.name), offer_over(&place, &line)]))
}

/// Whether so many bytes more may be sent into a run.
async fn has_room(tx: &mut Tx, into: &str, bytes: usize) -> Result<bool> {
    let row = sqlx::query(
        "SELECT COUNT(*) AS many, SUM(LENGTH(words)) AS chars FROM steers
          WHERE sent_into = $1 AND state <> 'back'",
    )
    .bind(into)
    .fetch_one(&mut **tx)
    .await?;
    let many = usize::try_from(row.try_get::<i64, _>("many")?).unwrap_or(usize::MAX);
    // A character has four bytes at most.
    let chars = row.try_get::<Option<i64>, _>("chars")?.unwrap_or_default();
    let before = usize::try_from(chars).unwrap_or(usize::MAX).saturating_mul(4);
    Ok(many < STEERS_MAX && before.saturating_add(bytes) <= STEERS_BYTES_MAX)
}

/// Settles what was sent into a run that has ended: these runs' words have become part of it, the others
/// wait again. Returns what Discord is owed. The caller holds the thread's lock, and releases.
pub(super) async fn settle(
    tx: &mut Tx,
    ended: &Place,
    steered: &[RunId],
    mark: Mark,
) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (run, row) in of(tx, &ended.run, "open").await? {
        let place = place(run.clone(), ended.thread, &row)?;
        if steered.contains(&run) {
            set_state(tx, &run, &ended.run, "taken").await?;
            rows.extend(render::marked(&place, mark));
            rows.extend(joined(tx, &place, mark).await?);
            continue;
        }
        set_state(tx, &run, &ended.run, "back").await?;
        wait_again(tx, &place).await?;
        rows.push(steer::back(&place));
    }
    rows.extend(joined(tx, ended, mark).await?);
    Ok(rows)
}

/// Notes that a run's words are part of another that waits, by a command.
pub(super) async fn join(
    tx: &mut Tx,
    run: &str,
    into: &Place,
    spoken: &Spoken,
    now_ms: i64,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO steers (run, sent_into, thread, id, words, state, by_user, by_name, at_ms)
         VALUES ($1, $2, $3, $4, '', 'joined', $5, $6, $7)",
    )
    .bind(run)
    .bind(into.run.as_str())
    .bind(number(into.thread.get()))
    .bind(spoken.asked.1.to_string())
    .bind(number(spoken.author.id.get()))
    .bind(text(&spoken.author.name))
    .bind(now_ms)
    .execute(&mut **tx)
    .await?;
    // What was part of it before comes along.
    sqlx::query("UPDATE steers SET sent_into = $2 WHERE sent_into = $1 AND state = 'joined'")
        .bind(run)
        .bind(into.run.as_str())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Lets what was joined to a run that is dropped wait by itself again. Returns what Discord is owed.
pub(super) async fn part(tx: &mut Tx, dropped: &Place) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (run, row) in of(tx, &dropped.run, "joined").await? {
        let place = place(run.clone(), dropped.thread, &row)?;
        set_state(tx, &run, &dropped.run, "back").await?;
        wait_again(tx, &place).await?;
        rows.push(steer::parted(&place));
    }
    Ok(rows)
}

/// The mark of a run that has ended, for what was joined to it.
pub(super) async fn joined(tx: &mut Tx, ended: &Place, mark: Mark) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (run, row) in of(tx, &ended.run, "joined").await? {
        rows.extend(render::marked(&place(run, ended.thread, &row)?, mark));
    }
    Ok(rows)
}

/// Puts a run back into its thread's queue, in its old place.
async fn wait_again(tx: &mut Tx, place: &Place) -> Result<()> {
    sqlx::query(
        "UPDATE runs SET state = 'queued', outcome = NULL, ended_ms = NULL, generation = $2, since = $2
          WHERE run = $1 AND state = 'ended' AND outcome = 'merged'",
    )
    .bind(place.run.as_str())
    .bind(i64::from(place.generation.next().0))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Sends once more what had become part of a run that is tried again. Returns what Discord is owed. The
/// caller holds the thread's lock.
pub(super) async fn again(tx: &mut Tx, retried: &Place) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut all = of(tx, &retried.run, "joined").await?;
    for (run, row) in of(tx, &retried.run, "taken").await? {
        set_state(tx, &run, &retried.run, "open").await?;
        all.extend(of(tx, &run, "joined").await?);
        all.push((run, row));
    }
    for (run, row) in all {
        let before = place(run.clone(), retried.thread, &row)?;
        let place = Place { generation: before.generation.next(), ..before };
        sqlx::query("UPDATE runs SET generation = $2 WHERE run = $1")
            .bind(run.as_str())
            .bind(i64::from(place.generation.0))
            .execute(&mut **tx)
            .await?;
        rows.extend(render::again(&place));
    }
    Ok(rows)
}

/// The runs whose words were sent into one and are in this state.
async fn of(tx: &mut Tx, into: &RunId, state: &str) -> Result<Vec<(RunId, AnyRow)>> {
    let rows = sqlx::query(
        "SELECT s.run, r.generation, r.asked_in, r.asked_by
           FROM steers s JOIN runs r ON r.run = s.run
          WHERE s.sent_into = $1 AND s.state = $2 ORDER BY s.at_ms, s.run",
    )
    .bind(into.as_str())
    .bind(state)
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter().map(|row| Ok((row.try_get::<String, _>("run")?.parse()?, row))).collect()
}

async fn set_state(tx: &mut Tx, run: &RunId, into: &RunId, state: &str) -> Result<()> {
    sqlx::query(
        "UPDATE steers SET state = $3 WHERE run = $1 AND sent_into = $2 AND state <> 'back'",
    )
    .bind(run.as_str())
    .bind(into.as_str())
    .bind(state)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

fn place(run: RunId, thread: ThreadId, row: &AnyRow) -> Result<Place> {
    let generation = row.try_get::<i64, _>("generation")?.to_string().parse()?;
    Ok(Place { run, generation, thread, asked: asked(row)?, spent: 0 })
}
