//! What claude asks, what was decided about it, and what is allowed for a whole thread.
//!
//! Everything happens under the thread's row: a record opens and settles asks, a click decides a part
//! of one, whoever inserts first. A record of an attempt that knows less than what was folded before
//! changes nothing. What claude is to be told stands in the controls until it has taken it.

use schemas::ask::{Ask, AskId, Decision, Wanted, control_id};
use schemas::control::What;
use schemas::ids::{Attempt, Generation, RunId, ThreadId};
use schemas::record::Record;
use schemas::request::Author;
use schemas::run::{Phase, Run};
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::instead::offers_over;
use super::orders::put_control;
use super::outbox::insert_rows;
use super::{Result, Store, StoreError, Tx, number, text};
use crate::asks::{self, Click, Decided, Key};
use crate::outbox::Row;
use crate::render::Place;

/// What is said under an ask that ended without a decision.
const OVER: &str = "Nobody decided; it is over.";
/// What stands in the audit for a decision that a grant made.
const BY_GRANT: &str = "grant";

/// What became of a click.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Clicked {
    /// It decided: the line says what.
    Now(String),
    /// Somebody else was faster: the line says who, and what.
    Before(String),
    /// Nobody waits for it any more.
    Over,
    /// It does not fit what was asked.
    Unfit,
}

/// An ask that is not over.
pub(super) struct Standing {
    pub(super) key: Key,
    pub(super) wanted: Wanted,
    is_open: bool,
}

impl Store {
    /// Decides a part of an ask, if nobody did before; `judge` says what the click means for it. `id` is
    /// what it came by: a click that is heard twice is one.
    pub(crate) async fn decide_ask(
        &self,
        click: &Click,
        thread: ThreadId,
        by: &Author,
        id: &str,
        judge: impl FnOnce(&Wanted) -> Option<Decided>,
        now_ms: i64,
    ) -> Result<Clicked> {
        let key = &click.key;
        let mut tx = self.begin_write().await?;
        lock(&mut tx, thread).await?;
        if let Some((line, by_id)) = decided_before(&mut tx, key).await? {
            return Ok(if by_id == id { Clicked::Now(line) } else { Clicked::Before(line) });
        }
        let Some(wanted) = open_ask(&mut tx, key, thread).await? else { return Ok(Clicked::Over) };
        let Some(decided) = judge(&wanted) else { return Ok(Clicked::Unfit) };
        let row = Audit { key, decided: &decided, by, id, now_ms };
        row.insert(&mut tx).await?;
        let place = place_of(key, thread);
        let mut rows = vec![asks::over(&place, key, &decided.line)];
        if let Some(rule) = &decided.grant {
            grant(&mut tx, thread, rule, by, now_ms).await?;
        }
        let parts = parts(&mut tx, key).await?;
        let is_no = matches!(decided.decision, Decision::Deny { .. });
        if is_no || parts.len() == wanted.parts() {
            // One no is a no to all of it.
            let open = close_parts(&mut tx, &place, key, &wanted, &decided.line).await?;
            rows.extend(open.into_iter().map(|(_, row)| row));
            let parts = parts.into_iter().map(|(_, decision)| decision).collect();
            if let Some(decision) = Decision::of_parts(parts) {
                answer(&mut tx, key, decision, by, now_ms).await?;
            }
        }
        insert_rows(&mut tx, thread, &rows, now_ms).await?;
        offers_over(&mut tx, thread, now_ms).await?;
        tx.commit().await?;
        Ok(Clicked::Now(decided.line))
    }
}

/// Folds what a record says of its asks; `known` and `asked` are what was folded before. Returns what
/// Discord is owed by it. The caller holds the thread's lock.
pub(super) async fn fold(
    tx: &mut Tx,
    place: &Place,
    record: &Record,
    (known, asked): (Run, i64),
    now_ms: i64,
) -> Result<Vec<Row>> {
    if record.fact().phase == Phase::Ended {
        let rows = close(tx, place, |_| false).await?;
        offers_over(tx, place.thread, now_ms).await?;
        return Ok(rows);
    }
    let attempt = match known {
        Run::Released(_) => None,
        Run::Held(fact) => Some(fact.attempt),
    };
    if attempt == Some(record.attempt) && i64::from(record.asked) <= asked {
        return Ok(Vec::new());
    }
    sqlx::query("UPDATE runs SET asked = $2 WHERE run = $1")
        .bind(place.run.as_str())
        .bind(i64::from(record.asked))
        .execute(&mut **tx)
        .await?;
    let of_this = |key: &Key| {
        let is_listed = record.asks.iter().any(|ask| ask.id == key.ask);
        (key.generation, key.attempt) == (record.generation, record.attempt) && is_listed
    };
    let mut rows = close(tx, place, of_this).await?;
    for ask in &record.asks {
        rows.extend(open(tx, place, record.attempt, ask, now_ms).await?);
    }
    offers_over(tx, place.thread, now_ms).await?;
    Ok(rows)
}

/// Ends all asks of a run, with what Discord is owed by that. The caller holds the thread's lock.
pub(super) async fn close_all(tx: &mut Tx, place: &Place, now_ms: i64) -> Result<()> {
    let rows = close(tx, place, |_| false).await?;
    insert_rows(tx, place.thread, &rows, now_ms).await?;
    offers_over(tx, place.thread, now_ms).await
}

/// Ends the asks of a run that are not to be kept.
async fn close(tx: &mut Tx, place: &Place, keep: impl Fn(&Key) -> bool) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for Standing { key, wanted, is_open } in standing(tx, &place.run).await? {
        if keep(&key) {
            continue;
        }
        if is_open {
            let open = close_parts(tx, place, &key, &wanted, OVER).await?;
            rows.extend(open.into_iter().map(|(_, row)| row));
        }
        set_state(tx, &key, if is_open { "over" } else { "settled" }).await?;
        // Nobody is to be told any more.
        sqlx::query("DELETE FROM controls WHERE run = $1 AND generation = $2 AND id = $3")
            .bind(key.run.as_str())
            .bind(i64::from(key.generation.0))
            .bind(control_id(key.attempt, &key.ask))
            .execute(&mut **tx)
            .await?;
    }
    Ok(rows)
}

/// The parts of an ask that nobody has decided, each with what is owed when it is over.
pub(super) async fn close_parts(
    tx: &mut Tx,
    place: &Place,
    key: &Key,
    wanted: &Wanted,
    line: &str,
) -> Result<Vec<(usize, Row)>> {
    let decided = parts(tx, key).await?;
    let open = (0..wanted.parts()).filter(|part| !decided.iter().any(|(it, _)| it == part));
    Ok(open.map(|part| (part, asks::over(place, &Key { part, ..key.clone() }, line))).collect())
}

/// Opens an ask that was not known, or decides it by what was allowed for the thread.
async fn open(
    tx: &mut Tx,
    place: &Place,
    attempt: Attempt,
    ask: &Ask,
    now_ms: i64,
) -> Result<Vec<Row>> {
    let wanted = serde_json::to_string(&ask.wanted)
        .map_err(|source| StoreError::BadJson { what: "ask", source })?;
    let new = sqlx::query(
        "INSERT INTO asks (run, generation, attempt, ask, thread, wanted, state, made_ms)
         VALUES ($1, $2, $3, $4, $5, $6, 'open', $7)
         ON CONFLICT (run, generation, attempt, ask) DO NOTHING",
    )
    .bind(place.run.as_str())
    .bind(i64::from(place.generation.0))
    .bind(i64::from(attempt.0))
    .bind(ask.id.as_str())
    .bind(number(place.thread.get()))
    .bind(text(&wanted))
    .bind(now_ms)
    .execute(&mut **tx)
    .await?;
    if new.rows_affected() == 0 {
        return Ok(Vec::new());
    }
    let Some((rule, by)) = granted(tx, place.thread, &ask.wanted).await? else {
        return Ok(asks::shown(place, attempt, ask));
    };
    let (run, generation) = (place.run.clone(), place.generation);
    let key = Key { run, generation, attempt, ask: ask.id.clone(), part: 0 };
    let line = format!("Allowed for this thread by {}.", by.name);
    let decided = Decided { decision: Decision::Allow, line, grant: None };
    Audit { key: &key, decided: &decided, by: &by, id: BY_GRANT, now_ms }.insert(tx).await?;
    answer(tx, &key, Decision::Allow, &by, now_ms).await?;
    Ok(vec![asks::granted(place, ask, &rule, &by.name)])
}

/// Stores what claude is to be told.
pub(super) async fn answer(
    tx: &mut Tx,
    key: &Key,
    decision: Decision,
    by: &Author,
    now_ms: i64,
) -> Result<()> {
    let (ask, attempt, by_name) = (key.ask.clone(), key.attempt, by.name.clone());
    let what = What::Answer { ask, attempt, decision, by: by_name };
    let (of, id) = ((&key.run, key.generation), control_id(key.attempt, &key.ask));
    put_control(tx, of, &id, &what, (by.id.get(), &by.name), now_ms).await?;
    set_state(tx, key, "decided").await
}

/// One row of the audit.
pub(super) struct Audit<'a> {
    pub(super) key: &'a Key,
    pub(super) decided: &'a Decided,
    pub(super) by: &'a Author,
    pub(super) id: &'a str,
    pub(super) now_ms: i64,
}

impl Audit<'_> {
    pub(super) async fn insert(&self, tx: &mut Tx) -> Result<()> {
        let Self { key, decided, by, id, now_ms } = *self;
        let decision = serde_json::to_string(&decided.decision)
            .map_err(|source| StoreError::BadJson { what: "decision", source })?;
        sqlx::query(
            "INSERT INTO decisions (run, generation, attempt, ask, part, decision, line, by_user,
                                    by_name, by_id, at_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        )
        .bind(key.run.as_str())
        .bind(i64::from(key.generation.0))
        .bind(i64::from(key.attempt.0))
        .bind(key.ask.as_str())
        .bind(part_number(key.part))
        .bind(text(&decision))
        .bind(text(&decided.line))
        .bind(number(by.id.get()))
        .bind(text(&by.name))
        .bind(id)
        .bind(now_ms)
        .execute(&mut **tx)
        .await?;
        Ok(())
    }
}

pub(super) async fn lock(tx: &mut Tx, thread: ThreadId) -> Result<()> {
    sqlx::query("UPDATE threads SET changes = changes + 1 WHERE thread = $1")
        .bind(number(thread.get()))
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// What was said when this part was decided, and what that came by.
async fn decided_before(tx: &mut Tx, key: &Key) -> Result<Option<(String, String)>> {
    let row = sqlx::query(
        "SELECT line, by_id FROM decisions
          WHERE run = $1 AND generation = $2 AND attempt = $3 AND ask = $4 AND part = $5",
    )
    .bind(key.run.as_str())
    .bind(i64::from(key.generation.0))
    .bind(i64::from(key.attempt.0))
    .bind(key.ask.as_str())
    .bind(part_number(key.part))
    .fetch_optional(&mut **tx)
    .await?;
    row.map(|row| Ok((row.try_get("line")?, row.try_get("by_id")?))).transpose()
}

/// What is asked, if its run is still in the attempt that asks it.
async fn open_ask(tx: &mut Tx, key: &Key, thread: ThreadId) -> Result<Option<Wanted>> {
    let row = sqlx::query(
        "SELECT a.wanted FROM asks a JOIN runs r ON r.run = a.run
          WHERE a.run = $1 AND a.generation = $2 AND a.attempt = $3 AND a.ask = $4
            AND a.thread = $5 AND a.state = 'open' AND r.state = 'released'
            AND r.generation = $2 AND r.attempt = $3",
    )
    .bind(key.run.as_str())
    .bind(i64::from(key.generation.0))
    .bind(i64::from(key.attempt.0))
    .bind(key.ask.as_str())
    .bind(number(thread.get()))
    .fetch_optional(&mut **tx)
    .await?;
    row.map(|row| wanted(&row)).transpose()
}

/// The asks of a run that are not over, oldest first.
async fn standing(tx: &mut Tx, run: &RunId) -> Result<Vec<Standing>> {
    let rows = sqlx::query(
        "SELECT run, generation, attempt, ask, wanted, state FROM asks
          WHERE run = $1 AND state IN ('open', 'decided') ORDER BY made_ms, ask",
    )
    .bind(run.as_str())
    .fetch_all(&mut **tx)
    .await?;
    rows.iter().map(read_standing).collect()
}

/// The asks of a thread that nobody has decided, oldest first.
pub(super) async fn standing_in(tx: &mut Tx, thread: ThreadId) -> Result<Vec<Standing>> {
    let rows = sqlx::query(
        "SELECT run, generation, attempt, ask, wanted, state FROM asks
          WHERE thread = $1 AND state = 'open' ORDER BY made_ms, ask",
    )
    .bind(number(thread.get()))
    .fetch_all(&mut **tx)
    .await?;
    rows.iter().map(read_standing).collect()
}

fn read_standing(row: &AnyRow) -> Result<Standing> {
    let key = Key {
        run: row.try_get::<String, _>("run")?.parse()?,
        generation: row.try_get::<i64, _>("generation")?.to_string().parse()?,
        attempt: row.try_get::<i64, _>("attempt")?.to_string().parse()?,
        ask: row.try_get::<String, _>("ask")?.parse::<AskId>()?,
        part: 0,
    };
    let is_open = row.try_get::<String, _>("state")? == "open";
    Ok(Standing { key, wanted: wanted(row)?, is_open })
}

/// What was decided about an ask so far, part by part.
async fn parts(tx: &mut Tx, key: &Key) -> Result<Vec<(usize, Decision)>> {
    let rows = sqlx::query(
        "SELECT part, decision FROM decisions
          WHERE run = $1 AND generation = $2 AND attempt = $3 AND ask = $4 ORDER BY part",
    )
    .bind(key.run.as_str())
    .bind(i64::from(key.generation.0))
    .bind(i64::from(key.attempt.0))
    .bind(key.ask.as_str())
    .fetch_all(&mut **tx)
    .await?;
    rows.iter()
        .map(|row| {
            let decision: String = row.try_get("decision")?;
            let decision = serde_json::from_str(&decision)
                .map_err(|source| StoreError::BadJson { what: "decision", source })?;
            let part: i64 = row.try_get("part")?;
            Ok((usize::try_from(part).unwrap_or(usize::MAX), decision))
        })
        .collect()
}

async fn set_state(tx: &mut Tx, key: &Key, state: &str) -> Result<()> {
    sqlx::query(
        "UPDATE asks SET state = $5
          WHERE run = $1 AND generation = $2 AND attempt = $3 AND ask = $4",
    )
    .bind(key.run.as_str())
    .bind(i64::from(key.generation.0))
    .bind(i64::from(key.attempt.0))
    .bind(key.ask.as_str())
    .bind(state)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn grant(tx: &mut Tx, thread: ThreadId, rule: &str, by: &Author, now_ms: i64) -> Result<()> {
    sqlx::query(
        "INSERT INTO grants (thread, rule, by_user, by_name, at_ms) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (thread, rule) DO NOTHING",
    )
    .bind(number(thread.get()))
    .bind(text(rule))
    .bind(number(by.id.get()))
    .bind(text(&by.name))
    .bind(now_ms)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Who has allowed this for the whole thread, and by which rule.
async fn granted(
    tx: &mut Tx,
    thread: ThreadId,
    wanted: &Wanted,
) -> Result<Option<(String, Author)>> {
    let Wanted::Permission { rule, .. } = wanted else { return Ok(None) };
    let row = sqlx::query("SELECT by_user, by_name FROM grants WHERE thread = $1 AND rule = $2")
        .bind(number(thread.get()))
        .bind(text(rule))
        .fetch_optional(&mut **tx)
        .await?;
    row.map(|row| {
        let id = super::id(row.try_get("by_user")?, schemas::ids::UserId::new)?;
        Ok((rule.clone(), Author { id, name: row.try_get("by_name")? }))
    })
    .transpose()
}

fn wanted(row: &AnyRow) -> Result<Wanted> {
    let text: String = row.try_get("wanted")?;
    serde_json::from_str(&text).map_err(|source| StoreError::BadJson { what: "ask", source })
}

fn place_of(key: &Key, thread: ThreadId) -> Place {
    let generation: Generation = key.generation;
    Place { run: key.run.clone(), generation, thread, asked: None, spent: 0 }
}

fn part_number(part: usize) -> i64 {
    i64::try_from(part).unwrap_or(i64::MAX)
}
