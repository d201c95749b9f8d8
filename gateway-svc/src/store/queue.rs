//! What waits in a thread: listed, sent, dropped, changed and merged by command, each in one transaction
//! under the thread's row.
//!
//! What was merged into a question shares its fate: it is marked with it, and waits again by itself when
//! that one is dropped. Nothing is released by any of it that was not due.

use schemas::ids::{RunId, ThreadId, UserId};
use schemas::request::PROMPT_MAX;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::commands::Spoken;
use super::orders::end;
use super::outbox::insert_rows;
use super::runs::{asked, release};
use super::{Result, Store, Tx, files, id, number, steers, text};
use crate::attached::Files;
use crate::outbox::Row;
use crate::queue::{Done, Waits, Wanted};
use crate::render::{self, Place};

/// The most questions of a thread that are looked at: whoever has more waiting drops some first.
const LOOK_MAX: i64 = 200;

/// A question that waits, as the store has it.
struct Found {
    waits: Waits,
    author: UserId,
    place: Place,
    files: Files,
}

impl Store {
    /// Carries out what somebody wants of a thread's queue. `rows` says what is owed for what was done;
    /// `None`: the message was judged before.
    pub(crate) async fn queue(
        &self,
        spoken: &Spoken,
        thread: ThreadId,
        wanted: &Wanted,
        rows: impl FnOnce(&Done) -> Vec<Row>,
        now_ms: i64,
    ) -> Result<Option<Done>> {
        let Some(mut tx) = self.hear(spoken, thread, "order", now_ms).await? else {
            return Ok(None);
        };
        let (done, owed) = carry_out(&mut tx, spoken, thread, wanted, now_ms).await?;
        insert_rows(&mut tx, thread, &rows(&done), now_ms).await?;
        insert_rows(&mut tx, thread, &owed, now_ms).await?;
        release(&mut tx, thread, now_ms).await?;
        tx.commit().await?;
        Ok(Some(done))
    }
}

async fn carry_out(
    tx: &mut Tx,
    spoken: &Spoken,
    thread: ThreadId,
    wanted: &Wanted,
    now_ms: i64,
) -> Result<(Done, Vec<Row>)> {
    let all = waiting(tx, thread).await?;
    let mut named = Vec::new();
    for number in wanted.named() {
        let Some(found) = all.iter().find(|found| found.waits.number == *number) else {
            let all = all.into_iter().map(|found| found.waits).collect();
            return Ok((Done::NotThere(*number, all), Vec::new()));
        };
        named.push(found);
    }
    match (wanted, named.as_slice()) {
        (Wanted::Send(_), [found]) => {
            let (run, by, id) = (&found.waits.run, &spoken.author, spoken.asked.1.to_string());
            let (sent, rows) = steers::send(tx, run, thread, by, &id, now_ms).await?;
            Ok((Done::Sent(sent), rows))
        }
        (Wanted::Drop(_), named) => drop_all(tx, named, now_ms).await,
        (Wanted::Edit(_, words), [found]) => edit(tx, spoken, found, words).await,
        (Wanted::Merge(_), [first, rest @ ..]) => merge(tx, spoken, first, rest, now_ms).await,
        (Wanted::List | Wanted::Send(_) | Wanted::Edit(..) | Wanted::Merge(_), _) => {
            Ok((Done::List(all.into_iter().map(|found| found.waits).collect()), Vec::new()))
        }
    }
}

async fn drop_all(tx: &mut Tx, named: &[&Found], now_ms: i64) -> Result<(Done, Vec<Row>)> {
    let mut rows = Vec::new();
    for found in named {
        end(tx, &found.waits.run, "dropped", now_ms).await?;
        rows.extend(render::dropped(&found.place));
        rows.extend(steers::part(tx, &found.place).await?);
    }
    Ok((Done::Dropped(named.iter().map(|found| found.waits.clone()).collect()), rows))
}

async fn edit(
    tx: &mut Tx,
    spoken: &Spoken,
    found: &Found,
    words: &str,
) -> Result<(Done, Vec<Row>)> {
    if found.author != spoken.author.id {
        return Ok((Done::NotYours(found.waits.clone()), Vec::new()));
    }
    if PROMPT_MAX < words.len() {
        return Ok((Done::TooLong, Vec::new()));
    }
    reword(tx, &found.waits.run, words).await?;
    Ok((Done::Edited(Waits { words: words.to_owned(), ..found.waits.clone() }), Vec::new()))
}

async fn merge(
    tx: &mut Tx,
    spoken: &Spoken,
    first: &Found,
    rest: &[&Found],
    now_ms: i64,
) -> Result<(Done, Vec<Row>)> {
    if rest.iter().any(|found| found.author != first.author) {
        return Ok((Done::OfSeveral, Vec::new()));
    }
    let all = [&[first], rest].concat();
    let words = all.iter().map(|found| found.waits.words.as_str());
    let words = words.filter(|words| !words.trim().is_empty()).collect::<Vec<_>>().join("\n\n");
    if PROMPT_MAX < words.len() {
        return Ok((Done::TooLong, Vec::new()));
    }
    // Where the address of a file has run out, the message of its own run says another.
    if rest.iter().any(|found| found.files.are_due()) {
        return Ok((Done::FilesOnTheirWay, Vec::new()));
    }
    let Some(files) = Files::joined(all.iter().map(|found| &found.files)) else {
        return Ok((Done::TooManyFiles, Vec::new()));
    };
    reword(tx, &first.waits.run, &words).await?;
    sqlx::query("UPDATE runs SET files = $2 WHERE run = $1 AND state = 'queued'")
        .bind(first.waits.run.as_str())
        .bind(files::written(&files)?)
        .execute(&mut **tx)
        .await?;
    for found in rest {
        end(tx, &found.waits.run, "merged", now_ms).await?;
        steers::join(tx, found.waits.run.as_str(), &first.place, spoken, now_ms).await?;
    }
    Ok((Done::Merged(all.iter().map(|found| found.waits.clone()).collect()), Vec::new()))
}

/// Gives a question that waits other words; its message does not count any more.
async fn reword(tx: &mut Tx, run: &RunId, words: &str) -> Result<()> {
    sqlx::query("UPDATE runs SET prompt = $2, reworded = 1 WHERE run = $1 AND state = 'queued'")
        .bind(run.as_str())
        .bind(text(words))
        .execute(&mut **tx)
        .await?;
    Ok(())
}

async fn waiting(tx: &mut Tx, thread: ThreadId) -> Result<Vec<Found>> {
    let rows = sqlx::query(
        "SELECT r.run, r.generation, r.author, r.author_name, r.prompt, r.files, r.asked_in, r.asked_by,
                (SELECT COUNT(*) FROM runs b WHERE b.thread = r.thread
                    AND b.task <> 'diff'
                    AND (b.ord < r.ord OR b.ord = r.ord AND b.run <= r.run)) AS number
           FROM runs r WHERE r.thread = $1 AND r.state = 'queued' AND r.task <> 'diff'
          ORDER BY r.ord, r.run LIMIT $2",
    )
    .bind(number(thread.get()))
    .bind(LOOK_MAX)
    .fetch_all(&mut **tx)
    .await?;
    rows.iter().map(|row| found(row, thread)).collect()
}

fn found(row: &AnyRow, thread: ThreadId) -> Result<Found> {
    let run: RunId = row.try_get::<String, _>("run")?.parse()?;
    let generation = row.try_get::<i64, _>("generation")?.to_string().parse()?;
    let number = u32::try_from(row.try_get::<i64, _>("number")?).unwrap_or(u32::MAX);
    Ok(Found {
        waits: Waits {
            number,
            run: run.clone(),
            author: row.try_get("author_name")?,
            words: row.try_get("prompt")?,
        },
        author: id(row.try_get("author")?, UserId::new)?,
        place: Place { run, generation, thread, asked: asked(row)?, spent: 0 },
        files: files::read(row)?,
    })
}
