//! `!unsafe`, its second word and `!safe`: rows that only come, the newest of which holds.
//!
//! Nothing has to happen when its time is over: whoever gives a run its rights looks at the newest word.

use std::time::Duration;

use schemas::ids::{ChannelId, MessageId, ThreadId};
use schemas::request::Author;
use sqlx::Row as _;

use super::commands::Spoken;
use super::outbox::insert_rows;
use super::{Result, Store, Tx, id, number, text};
use crate::limits::Limits;
use crate::outbox::Row;
use crate::unsafe_mode::{Confirmed, Word};

/// An `!unsafe` that asks for a second word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    /// The message, and where it was written.
    pub(crate) asked: (ChannelId, MessageId),
    /// What it is about.
    pub(crate) place: ChannelId,
    /// The mapped channel.
    pub(crate) channel: ChannelId,
    /// When it was stored, in milliseconds since 1970.
    at_ms: i64,
}

/// A word as it is stored.
struct Said<'a> {
    id: String,
    place: ChannelId,
    channel: ChannelId,
    written_in: ChannelId,
    project: &'a str,
    word: &'static str,
    by: &'a Author,
    until_ms: Option<i64>,
}

impl Store {
    /// Stores an `!unsafe` about a place, with what Discord is owed. False when the message was judged
    /// before.
    pub(crate) async fn wish_unsafe(
        &self,
        spoken: &Spoken,
        place: ChannelId,
        rows: &[Row],
        now_ms: i64,
    ) -> Result<bool> {
        let said_in = id(number(spoken.asked.0.get()), ThreadId::new)?;
        let Some(mut tx) = self.hear(spoken, said_in, "order", now_ms).await? else {
            return Ok(false);
        };
        said(spoken, place, "asked").insert(&mut tx, now_ms).await?;
        insert_rows(&mut tx, said_in, rows, now_ms).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Stores a `!safe` about a place: leave is asked for again, in runs at work as well. `rows` says what
    /// Discord is owed, by whether it was unsafe and how many runs are at work. False when the message was
    /// judged before.
    pub(crate) async fn make_safe(
        &self,
        spoken: &Spoken,
        place: ChannelId,
        rows: impl FnOnce(bool, u64) -> Vec<Row>,
        now_ms: i64,
    ) -> Result<bool> {
        let said_in = id(number(spoken.asked.0.get()), ThreadId::new)?;
        let Some(mut tx) = self.hear(spoken, said_in, "order", now_ms).await? else {
            return Ok(false);
        };
        let was = is_unsafe(&mut tx, place, spoken.channel, now_ms).await?;
        said(spoken, place, "safe").insert(&mut tx, now_ms).await?;
        let changed = sqlx::query(
            "UPDATE rights SET safe_by = $1
              WHERE safe_by IS NULL AND rights LIKE '%\"unasked\":%'
                AND EXISTS (SELECT 1 FROM runs WHERE runs.run = rights.run
                               AND runs.generation = rights.generation AND runs.state = 'released'
                               AND (runs.thread = $2 OR runs.channel = $2))",
        )
        .bind(text(&spoken.author.name))
        .bind(number(place.get()))
        .execute(&mut *tx)
        .await?;
        insert_rows(&mut tx, said_in, &rows(was, changed.rows_affected()), now_ms).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// An `!unsafe`, by its message.
    pub(crate) async fn unsafe_wish(&self, asked: MessageId) -> Result<Option<Wish>> {
        let row = sqlx::query(
            "SELECT place, channel, said_in, at_ms FROM unsafe_words WHERE id = $1 AND word = 'asked'",
        )
        .bind(asked.to_string())
        .fetch_optional(&self.pool)
        .await?;
        row.map(|row| {
            Ok(Wish {
                asked: (id(row.try_get("said_in")?, ChannelId::new)?, asked),
                place: id(row.try_get("place")?, ChannelId::new)?,
                channel: id(row.try_get("channel")?, ChannelId::new)?,
                at_ms: row.try_get("at_ms")?,
            })
        })
        .transpose()
    }

    /// The second word about an `!unsafe`: it counts for a minute, once, and not after a `!safe`. `rows` says
    /// what Discord is owed.
    pub(crate) async fn confirm_unsafe(
        &self,
        wish: &Wish,
        by: &Author,
        limits: &Limits,
        rows: impl FnOnce(&Confirmed) -> Option<Row>,
        now_ms: i64,
    ) -> Result<Confirmed> {
        let said_in = id(number(wish.asked.0.get()), ThreadId::new)?;
        let mut tx = self.begin_write().await?;
        super::asks::lock(&mut tx, said_in).await?;
        let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        let within = limits.unsafe_confirm;
        let until_ms = now_ms.saturating_add(millis(limits.unsafe_max));
        let confirmed = if is_confirmed(&mut tx, wish.asked.1).await? {
            Confirmed::Before
        } else if wish.at_ms.saturating_add(millis(within)) < now_ms {
            Confirmed::Late(within)
        } else if is_taken_back(&mut tx, wish).await? {
            Confirmed::TakenBack
        } else {
            let project = project(&mut tx, wish.asked.1).await?;
            let said = Said {
                id: confirming(wish.asked.1),
                place: wish.place,
                channel: wish.channel,
                written_in: wish.asked.0,
                project: &project,
                word: "unsafe",
                by,
                until_ms: Some(until_ms),
            };
            said.insert(&mut tx, now_ms).await?;
            Confirmed::Now(until_ms)
        };
        let row = rows(&confirmed);
        insert_rows(&mut tx, said_in, row.as_slice(), now_ms).await?;
        tx.commit().await?;
        Ok(confirmed)
    }
}

/// The id of the second word about an `!unsafe`.
fn confirming(asked: MessageId) -> String {
    format!("confirm/{asked}")
}

fn said<'a>(spoken: &'a Spoken, place: ChannelId, word: &'static str) -> Said<'a> {
    Said {
        id: spoken.asked.1.to_string(),
        place,
        channel: spoken.channel,
        written_in: spoken.asked.0,
        project: spoken.project.as_str(),
        word,
        by: &spoken.author,
        until_ms: None,
    }
}

impl Said<'_> {
    async fn insert(&self, tx: &mut Tx, now_ms: i64) -> Result<()> {
        sqlx::query(
            "INSERT INTO unsafe_words (id, place, channel, said_in, project, word, by_user, by_name,
                                       at_ms, until_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (id) DO NOTHING",
        )
        .bind(&self.id)
        .bind(number(self.place.get()))
        .bind(number(self.channel.get()))
        .bind(number(self.written_in.get()))
        .bind(self.project)
        .bind(self.word)
        .bind(number(self.by.id.get()))
        .bind(text(&self.by.name))
        .bind(now_ms)
        .bind(self.until_ms)
        .execute(&mut **tx)
        .await?;
        Ok(())
    }
}

async fn project(tx: &mut Tx, asked: MessageId) -> Result<String> {
    let row = sqlx::query("SELECT project FROM unsafe_words WHERE id = $1")
        .bind(asked.to_string())
        .fetch_one(&mut **tx)
        .await?;
    Ok(row.try_get("project")?)
}

async fn is_confirmed(tx: &mut Tx, asked: MessageId) -> Result<bool> {
    let row = sqlx::query("SELECT id FROM unsafe_words WHERE id = $1")
        .bind(confirming(asked))
        .fetch_optional(&mut **tx)
        .await?;
    Ok(row.is_some())
}

/// Whether somebody made the place, or its channel, safe since the first word.
async fn is_taken_back(tx: &mut Tx, wish: &Wish) -> Result<bool> {
    let row = sqlx::query(
        "SELECT id FROM unsafe_words
          WHERE place IN ($1, $2) AND word = 'safe' AND at_ms >= $3 LIMIT 1",
    )
    .bind(number(wish.place.get()))
    .bind(number(wish.channel.get()))
    .bind(wish.at_ms)
    .fetch_optional(&mut **tx)
    .await?;
    Ok(row.is_some())
}

/// Whether a place is unsafe, or, of a channel, one of its threads.
async fn is_unsafe(tx: &mut Tx, place: ChannelId, channel: ChannelId, now_ms: i64) -> Result<bool> {
    if place != channel {
        let thread = id(number(place.get()), ThreadId::new)?;
        return Ok(newest(tx, thread, channel).await?.is_some_and(|it| it.is_unsafe_at(now_ms)));
    }
    let row = sqlx::query(
        "SELECT u.id FROM unsafe_words u
          WHERE u.channel = $1 AND u.word = 'unsafe' AND u.until_ms > $2
            AND NOT EXISTS (SELECT 1 FROM unsafe_words s
                             WHERE s.place IN (u.place, u.channel) AND s.word = 'safe'
                               AND s.at_ms >= u.at_ms) LIMIT 1",
    )
    .bind(number(channel.get()))
    .bind(now_ms)
    .fetch_optional(&mut **tx)
    .await?;
    Ok(row.is_some())
}

/// The newest word about a thread or its channel. Of two of one moment, the one for safety.
pub(super) async fn newest(
    tx: &mut Tx,
    thread: ThreadId,
    channel: ChannelId,
) -> Result<Option<Word>> {
    let row = sqlx::query(
        "SELECT word, by_name, until_ms FROM unsafe_words
          WHERE place IN ($1, $2) AND word IN ('unsafe', 'safe')
          ORDER BY at_ms DESC, CASE WHEN word = 'safe' THEN 0 ELSE 1 END, id LIMIT 1",
    )
    .bind(number(thread.get()))
    .bind(number(channel.get()))
    .fetch_optional(&mut **tx)
    .await?;
    row.map(|row| {
        let is_unsafe = row.try_get::<String, _>("word")? == "unsafe";
        let until_ms: Option<i64> = row.try_get("until_ms")?;
        Ok(Word { until_ms: until_ms.filter(|_| is_unsafe), by: row.try_get("by_name")? })
    })
    .transpose()
}
