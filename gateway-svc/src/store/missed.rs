//! Messages that were found too late: kept with their verdict, listed once, and run when somebody
//! decides so.
//!
//! A message goes from found to listed to due to run, each step in one transaction under a thread's
//! row; whoever was killed in between leaves a state from which the next one goes on. Nothing here
//! runs a message without a decision, and a decision is made once.

use schemas::ids::{ChannelId, MessageId, ProjectName, ThreadId, UserId};
use schemas::request::Author;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::outbox::insert_rows;
use super::runs::{insert_run, judge, release};
use super::{NewRun, Result, Store, Tx, id, lock_thread, number, text};
use crate::missed::{Choice, Decided, Missed};
use crate::outbox::Row;

/// A list of messages, as somebody finds it who wants to decide about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Where it was posted.
    pub(crate) place: ChannelId,
    /// The mapped channel.
    pub(crate) channel: ChannelId,
}

/// A message that somebody wants to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DueMissed {
    /// The message.
    pub(crate) message: MessageId,
    /// Where it was written.
    pub(crate) place: ChannelId,
    /// The mapped channel.
    pub(crate) channel: ChannelId,
    /// Its project.
    pub(crate) project: ProjectName,
}

impl Store {
    /// Stores that a message was found too late. False when it was judged before.
    pub(crate) async fn miss(&self, missed: &Missed, now_ms: i64) -> Result<bool> {
        let mut tx = self.begin_write().await?;
        let Missed { message, place, channel, .. } = *missed;
        lock_thread(&mut tx, thread(place)?, channel, &missed.project, now_ms).await?;
        if !judge(&mut tx, (place, message), "missed", now_ms).await? {
            return Ok(false);
        }
        sqlx::query(
            "INSERT INTO missed (message, place, channel, project, author, words, list, state,
                                 found_ms)
             VALUES ($1, $2, $3, $4, $5, $6, 0, 'found', $7)",
        )
        .bind(number(message.get()))
        .bind(number(place.get()))
        .bind(number(channel.get()))
        .bind(missed.project.as_str())
        .bind(number(missed.author.get()))
        .bind(text(&missed.words))
        .bind(now_ms)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Whether something was found too late in a place and is in no list.
    pub(crate) async fn is_unlisted(&self, place: ChannelId) -> Result<bool> {
        let row = sqlx::query("SELECT 1 FROM missed WHERE place = $1 AND state = 'found' LIMIT 1")
            .bind(number(place.get()))
            .fetch_optional(&self.pool)
            .await?;
        Ok(row.is_some())
    }

    /// Makes a list of all that was found too late in a place and is in none; `render` says what
    /// Discord is owed for it. Returns how many there were.
    pub(crate) async fn list_missed(
        &self,
        place: ChannelId,
        render: impl FnOnce(&[Missed]) -> Option<Row>,
        now_ms: i64,
    ) -> Result<usize> {
        let mut tx = self.begin_write().await?;
        lock_known(&mut tx, thread(place)?).await?;
        let rows = sqlx::query(
            "SELECT message, place, channel, project, author, words FROM missed
              WHERE place = $1 AND state = 'found' ORDER BY message",
        )
        .bind(number(place.get()))
        .fetch_all(&mut *tx)
        .await?;
        let found = rows.iter().map(missed).collect::<Result<Vec<_>>>()?;
        let Some(newest) = found.last() else { return Ok(0) };
        sqlx::query(
            "INSERT INTO missed_lists (list, place, channel, project, state, made_ms)
             VALUES ($1, $2, $3, $4, 'open', $5)",
        )
        .bind(number(newest.message.get()))
        .bind(number(place.get()))
        .bind(number(newest.channel.get()))
        .bind(newest.project.as_str())
        .bind(now_ms)
        .execute(&mut *tx)
        .await?;
        sqlx::query(
            "UPDATE missed SET state = 'listed', list = $2 WHERE place = $1 AND state = 'found'",
        )
        .bind(number(place.get()))
        .bind(number(newest.message.get()))
        .execute(&mut *tx)
        .await?;
        insert_rows(&mut tx, thread(place)?, render(&found).as_slice(), now_ms).await?;
        tx.commit().await?;
        Ok(found.len())
    }

    /// A list, if it is one.
    pub(crate) async fn missed_list(&self, list: MessageId) -> Result<Option<Listed>> {
        let row = sqlx::query("SELECT place, channel FROM missed_lists WHERE list = $1")
            .bind(number(list.get()))
            .fetch_optional(&self.pool)
            .await?;
        row.map(|row| {
            Ok(Listed {
                place: id(row.try_get("place")?, ChannelId::new)?,
                channel: id(row.try_get("channel")?, ChannelId::new)?,
            })
        })
        .transpose()
    }

    /// Decides about a list, if nobody did before, with what Discord is owed then; `at` is where it
    /// was posted, and its project. `None`: there is no such list.
    pub(crate) async fn decide_missed(
        &self,
        list: MessageId,
        choice: Choice,
        at: (Listed, &ProjectName),
        by: &Author,
        row: Row,
        now_ms: i64,
    ) -> Result<Option<Decided>> {
        let mut tx = self.begin_write().await?;
        let (Listed { place, channel }, project) = at;
        lock_thread(&mut tx, thread(place)?, channel, project, now_ms).await?;
        let decided = sqlx::query(
            "UPDATE missed_lists SET state = $2, by_user = $3, by_name = $4, decided_ms = $5
              WHERE list = $1 AND state = 'open'",
        )
        .bind(number(list.get()))
        .bind(choice_name(choice))
        .bind(number(by.id.get()))
        .bind(text(&by.name))
        .bind(now_ms)
        .execute(&mut *tx)
        .await?;
        if decided.rows_affected() == 0 {
            let row = sqlx::query("SELECT state, by_name FROM missed_lists WHERE list = $1")
                .bind(number(list.get()))
                .fetch_optional(&mut *tx)
                .await?;
            return row.map(|row| decided_before(&row)).transpose();
        }
        let state = match choice {
            Choice::Run => "due",
            Choice::Leave => "left",
        };
        let moved =
            sqlx::query("UPDATE missed SET state = $2 WHERE list = $1 AND state = 'listed'")
                .bind(number(list.get()))
                .bind(state)
                .execute(&mut *tx)
                .await?;
        insert_rows(&mut tx, thread(place)?, &[row], now_ms).await?;
        tx.commit().await?;
        Ok(Some(Decided::Now(moved.rows_affected())))
    }

    /// Of each place, the oldest message that somebody wants to be run.
    pub(crate) async fn due_missed(&self) -> Result<Vec<DueMissed>> {
        let rows = sqlx::query(
            "SELECT message, place, channel, project FROM missed
              WHERE state = 'due'
                AND message = (SELECT MIN(first.message) FROM missed first
                                WHERE first.place = missed.place AND first.state = 'due')
              ORDER BY message",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(DueMissed {
                    message: id(row.try_get("message")?, MessageId::new)?,
                    place: id(row.try_get("place")?, ChannelId::new)?,
                    channel: id(row.try_get("channel")?, ChannelId::new)?,
                    project: row.try_get::<String, _>("project")?.parse()?,
                })
            })
            .collect()
    }

    /// Makes a run of a message that is due, with what Discord is owed, and releases what is due in
    /// its thread. False when it is not due any more.
    pub(crate) async fn run_missed(&self, new: &NewRun, rows: &[Row], now_ms: i64) -> Result<bool> {
        let mut tx = self.begin_write().await?;
        lock_thread(&mut tx, new.thread, new.channel, &new.project, now_ms).await?;
        if !settle(&mut tx, new.asked.1, "run").await? {
            return Ok(false);
        }
        insert_run(&mut tx, new, now_ms).await?;
        insert_rows(&mut tx, new.thread, rows, now_ms).await?;
        release(&mut tx, new.thread, now_ms).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Stores that a message that was due cannot be run, with what Discord is owed: nothing, when it
    /// is gone. False when it is not due any more.
    pub(crate) async fn drop_missed(
        &self,
        due: &DueMissed,
        rows: &[Row],
        now_ms: i64,
    ) -> Result<bool> {
        let mut tx = self.begin_write().await?;
        lock_thread(&mut tx, thread(due.place)?, due.channel, &due.project, now_ms).await?;
        let state = if rows.is_empty() { "gone" } else { "refused" };
        if !settle(&mut tx, due.message, state).await? {
            return Ok(false);
        }
        insert_rows(&mut tx, thread(due.place)?, rows, now_ms).await?;
        tx.commit().await?;
        Ok(true)
    }
}

/// Ends the waiting of a message that is due, and makes this its verdict.
async fn settle(tx: &mut Tx, message: MessageId, state: &str) -> Result<bool> {
    let settled = sqlx::query("UPDATE missed SET state = $2 WHERE message = $1 AND state = 'due'")
        .bind(number(message.get()))
        .bind(state)
        .execute(&mut **tx)
        .await?;
    if settled.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query("UPDATE messages SET verdict = $2 WHERE message = $1")
        .bind(number(message.get()))
        .bind(state)
        .execute(&mut **tx)
        .await?;
    Ok(true)
}

/// Locks the row of a thread that is there.
async fn lock_known(tx: &mut Tx, thread: ThreadId) -> Result<()> {
    sqlx::query("UPDATE threads SET changes = changes + 1 WHERE thread = $1")
        .bind(number(thread.get()))
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// A place as the thread whose rows are posted there; a channel has such a row, too.
fn thread(place: ChannelId) -> Result<ThreadId> {
    id(number(place.get()), ThreadId::new)
}

fn choice_name(choice: Choice) -> &'static str {
    match choice {
        Choice::Run => "run",
        Choice::Leave => "left",
    }
}

fn decided_before(row: &AnyRow) -> Result<Decided> {
    let state: String = row.try_get("state")?;
    let choice = if state == choice_name(Choice::Run) { Choice::Run } else { Choice::Leave };
    let name: Option<String> = row.try_get("by_name")?;
    Ok(Decided::Before(choice, name.unwrap_or_default()))
}

fn missed(row: &AnyRow) -> Result<Missed> {
    Ok(Missed {
        message: id(row.try_get("message")?, MessageId::new)?,
        place: id(row.try_get("place")?, ChannelId::new)?,
        channel: id(row.try_get("channel")?, ChannelId::new)?,
        project: row.try_get::<String, _>("project")?.parse()?,
        author: id(row.try_get("author")?, UserId::new)?,
        words: row.try_get("words")?,
    })
}
