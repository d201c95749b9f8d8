//! The gateway's memory: verdicts, runs, owners and the outbox, in SQL. The only place with SQL.
//!
//! One portable text ([`sqlx::Any`]). Every transaction that accepts, folds or releases raises its
//! thread's `changes` first; that row is the thread's lock, here and across gateways. A function
//! returns when its transaction is committed and on disk. Nothing here decides what a person sees:
//! rows come in ready-made.

mod acts;
mod alone;
mod asks;
mod census;
mod commands;
mod conversation;
mod costs;
mod files;
mod fleet;
mod forks;
mod gateways;
mod instead;
mod listening;
mod missed;
mod moves;
mod open;
mod orders;
mod outbox;
mod places;
mod put_back;
mod queue;
mod retention;
mod rights;
mod runs;
mod status;
mod steers;
pub(crate) mod tally;
mod threads;
mod traces;
mod twin;
mod unsafe_words;
mod waiting;

use std::error::Error;

use schemas::ids::{ChannelId, IdError, MessageId, ProjectName, ThreadId};
use schemas::presence::Presence;
use schemas::streams::PRESENCE_EVERY;
use sqlx::{Any, AnyPool, Row as _, Transaction};
use thiserror::Error;

pub(crate) use alone::Alone;
pub(crate) use asks::Clicked;
pub(crate) use census::{Counted, What};
pub(crate) use commands::Spoken;
pub(crate) use costs::Accepted;
pub(crate) use files::Bringing;
pub(crate) use instead::Sent;
pub(crate) use missed::DueMissed;
pub(crate) use moves::Moved;
pub(crate) use open::{StoreUrl, StoreUrlError, patiently};
pub(crate) use orders::{About, By, Known, Ordered, Stopping};
pub(crate) use outbox::{Due, Lease, Troubled};
pub(crate) use put_back::Unfinished;
pub(crate) use rights::Why;
pub(crate) use runs::{Folded, NewRun, Released};
#[cfg(test)]
pub(crate) use status::Shown;
pub(crate) use status::Watched;

/// Why the store did not do what it was asked.
#[derive(Debug, Error)]
pub(crate) enum StoreError {
    /// The database said so. Trying again may help.
    #[error("the store failed")]
    Database(#[from] sqlx::Error),
    /// It is away, or not ready yet. Waiting helps.
    #[error("the store at {place} is away")]
    Away {
        /// Where it should be.
        place: String,
        /// What came instead of a greeting.
        source: Box<dyn Error + Send + Sync>,
    },
    /// It is there, and cannot be used as it is.
    #[error("cannot open the store at {place}")]
    CannotOpen {
        /// Where it is.
        place: String,
        /// What it said.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A row holds what we never wrote.
    #[error("the store holds a bad id")]
    BadId(#[from] IdError),
    /// A row holds what we never wrote.
    #[error("the store holds a bad {what}")]
    BadJson {
        /// What it should have been.
        what: &'static str,
        /// Where it goes wrong.
        source: serde_json::Error,
    },
    /// It is in a file, and another gateway has it.
    #[error("another gateway has the store {place}; for several gateways use PostgreSQL")]
    Taken {
        /// The file.
        place: String,
    },
    /// There is no such file.
    #[error(
        "there is no store at {place}; say where the gateway keeps it (`database_url`, DATABASE_URL)"
    )]
    Missing {
        /// Where it should be.
        place: String,
    },
    /// The folder of the database, or a file in it, cannot be made.
    #[error("cannot make {folder}")]
    Folder {
        /// The folder, or the file.
        folder: String,
        /// What the operating system said.
        source: std::io::Error,
    },
}

type Result<T, E = StoreError> = std::result::Result<T, E>;
type Tx = Transaction<'static, Any>;

/// The store. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    pool: AnyPool,
    /// What it knows nothing of, if it was put back from a copy.
    lost: Option<put_back::Lost>,
}

/// How far a channel or thread was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// Where.
    pub(crate) place: ChannelId,
    /// The last message that was read over REST and is in the store.
    pub(crate) read_to: MessageId,
}

impl Store {
    /// Begins a transaction that writes. SQLite takes its write lock at once: a transaction that
    /// first reads and then writes would fail where another wrote in between. On PostgreSQL the
    /// first statement takes the thread's row, and each later one sees what was there by then.
    async fn begin_write(&self) -> Result<Tx> {
        let begin = if self.is_shared() { "BEGIN" } else { "BEGIN IMMEDIATE" };
        Ok(self.pool.begin_with(begin).await?)
    }

    /// Whether the database answers.
    pub(crate) async fn answers(&self) -> Result<()> {
        sqlx::query("SELECT value FROM meta LIMIT 1").fetch_optional(&self.pool).await?;
        Ok(())
    }

    /// What time it is in the database, in milliseconds since 1970; `None`: it has no clock but ours.
    pub(crate) async fn clock_ms(&self) -> Result<Option<i64>> {
        if !self.is_shared() {
            return Ok(None);
        }
        let now = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT) AS now_ms";
        let row = sqlx::query(now).fetch_one(&self.pool).await?;
        Ok(Some(row.try_get("now_ms")?))
    }

    /// What was noted under a key, if something was.
    pub(crate) async fn noted(&self, key: &str) -> Result<Option<String>> {
        let row = sqlx::query("SELECT value FROM meta WHERE key = $1")
            .bind(key)
            .fetch_optional(&self.pool)
            .await?;
        Ok(row.map(|row| row.try_get("value")).transpose()?)
    }

    /// Notes a value under a key, in place of an older one.
    pub(crate) async fn note(&self, key: &str, value: &str) -> Result<()> {
        sqlx::query(
            "INSERT INTO meta (key, value) VALUES ($1, $2)
             ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        )
        .bind(key)
        .bind(value)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// How far each channel was read. A channel that was never read is not there.
    pub(crate) async fn channel_cursor(&self, channel: ChannelId) -> Result<Option<MessageId>> {
        let row = sqlx::query("SELECT cursor FROM channels WHERE channel = $1")
            .bind(number(channel.get()))
            .fetch_optional(&self.pool)
            .await?;
        row.map(|row| id(row.try_get("cursor")?, MessageId::new)).transpose()
    }

    /// Threads in which something happened since `since_ms`, and how far each was read. What goes on
    /// in a channel is read with that.
    pub(crate) async fn thread_cursors(&self, since_ms: i64) -> Result<Vec<(Cursor, ProjectName)>> {
        let rows = sqlx::query(
            "SELECT thread, project, cursor FROM threads
              WHERE thread <> channel AND active_ms >= $1 AND said_in IS NULL ORDER BY thread",
        )
        .bind(since_ms)
        .fetch_all(&self.pool)
        .await?;
        rows.iter()
            .map(|row| {
                let place = id(row.try_get("thread")?, ChannelId::new)?;
                let read_to = id(row.try_get("cursor")?, MessageId::new)?;
                Ok((Cursor { place, read_to }, row.try_get::<String, _>("project")?.parse()?))
            })
            .collect()
    }

    /// Notes that a channel was read up to a message, which is in the store. Never goes back.
    pub(crate) async fn read_channel(&self, cursor: Cursor) -> Result<()> {
        sqlx::query(
            "INSERT INTO channels (channel, cursor) VALUES ($1, $2)
             ON CONFLICT (channel) DO UPDATE SET cursor = excluded.cursor
              WHERE channels.cursor < excluded.cursor",
        )
        .bind(number(cursor.place.get()))
        .bind(number(cursor.read_to.get()))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Notes that a thread was read up to a message, which is in the store. Never goes back.
    pub(crate) async fn read_thread(&self, cursor: Cursor) -> Result<()> {
        sqlx::query("UPDATE threads SET cursor = $2 WHERE thread = $1 AND cursor < $2")
            .bind(number(cursor.place.get()))
            .bind(number(cursor.read_to.get()))
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// The channel that a thread we know was started in.
    pub(crate) async fn channel_of(&self, thread: ThreadId) -> Result<Option<ChannelId>> {
        let row = sqlx::query("SELECT channel FROM threads WHERE thread = $1")
            .bind(number(thread.get()))
            .fetch_optional(&self.pool)
            .await?;
        row.map(|row| id(row.try_get("channel")?, ChannelId::new)).transpose()
    }

    /// Notes that a runner was seen, and what it says. Never goes back, and writes no more often than
    /// it must to tell who is away.
    pub(crate) async fn saw(&self, presence: &Presence, seen_ms: i64) -> Result<()> {
        let said = serde_json::to_string(presence)
            .map_err(|source| StoreError::BadJson { what: "presence", source })?;
        let step_ms = i64::try_from(PRESENCE_EVERY.as_millis() / 2).expect("some seconds fit");
        sqlx::query(
            "INSERT INTO runners (state_id, runner, seen_ms, presence) VALUES ($1, $2, $3, $5)
             ON CONFLICT (state_id) DO UPDATE
                SET runner = excluded.runner, seen_ms = excluded.seen_ms,
                    presence = excluded.presence
              WHERE runners.seen_ms + $4 <= excluded.seen_ms
                 OR runners.seen_ms <= excluded.seen_ms
                    AND COALESCE(runners.presence, '') <> excluded.presence",
        )
        .bind(presence.state_id.to_string())
        .bind(presence.runner.as_str())
        .bind(seen_ms)
        .bind(step_ms)
        .bind(said)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Makes the first runner that shows itself with a project its owner. Returns the owner's name
    /// when that is somebody else.
    pub(crate) async fn claim_project(
        &self,
        project: &ProjectName,
        presence: &Presence,
        now_ms: i64,
    ) -> Result<Ownership> {
        let made = sqlx::query(
            "INSERT INTO owners (project, runner, state_id, since_ms) VALUES ($1, $2, $3, $4)
             ON CONFLICT (project) DO NOTHING",
        )
        .bind(project.as_str())
        .bind(presence.runner.as_str())
        .bind(presence.state_id.to_string())
        .bind(now_ms)
        .execute(&self.pool)
        .await?;
        if 0 < made.rows_affected() {
            return Ok(Ownership::New);
        }
        let row = sqlx::query("SELECT runner, state_id FROM owners WHERE project = $1")
            .bind(project.as_str())
            .fetch_one(&self.pool)
            .await?;
        let state_id: String = row.try_get("state_id")?;
        if state_id == presence.state_id.to_string() {
            return Ok(Ownership::Known);
        }
        let runner: String = row.try_get("runner")?;
        if runner != presence.runner.as_str() {
            return Ok(Ownership::Other(runner));
        }
        // One state directory has a name, and a person can give it to another.
        sqlx::query("UPDATE owners SET state_id = $2 WHERE project = $1 AND runner = $3")
            .bind(project.as_str())
            .bind(presence.state_id.to_string())
            .bind(runner)
            .execute(&self.pool)
            .await?;
        Ok(Ownership::Accepted)
    }
}

/// Whose a project is, as seen by a runner that shows itself with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ownership {
    /// The runner's, from now on.
    New,
    /// The runner's, as before.
    Known,
    /// The runner's by its name, which was given to another state directory.
    Accepted,
    /// Another's, of this name.
    Other(String),
}

/// A number of Discord's as SQL keeps it. Ids are below 2^63 by construction.
fn number(id: u64) -> i64 {
    i64::try_from(id).expect("ids are below 2^63")
}

/// A person's text as SQL keeps it: PostgreSQL takes no zero byte, and nobody would see one.
fn text(text: &str) -> String {
    text.replace('\0', "\u{FFFD}")
}

/// An id out of a row.
fn id<T>(number: i64, make: impl Fn(u64) -> Result<T, IdError>) -> Result<T> {
    Ok(make(number.try_into().unwrap_or_default())?)
}

/// Locks a thread's row, making it if it is new.
async fn lock_thread(
    tx: &mut Tx,
    thread: ThreadId,
    channel: ChannelId,
    project: &ProjectName,
    now_ms: i64,
) -> Result<()> {
    // A new thread was read as far as its first message, whose id it has.
    sqlx::query(
        "INSERT INTO threads (thread, channel, project, changes, cursor, active_ms, lease_owner,
                              lease_until_ms)
         VALUES ($1, $2, $3, 1, $1, $4, '', 0)
         ON CONFLICT (thread) DO UPDATE
            SET changes = threads.changes + 1, active_ms = excluded.active_ms",
    )
    .bind(number(thread.get()))
    .bind(number(channel.get()))
    .bind(project.as_str())
    .bind(now_ms)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Before a transaction that locks many threads: there is one of these at a time, since two, each
/// in an order of its own, would wait for each other. Who locks one thread waits for no second.
async fn lock_for_many(tx: &mut Tx) -> Result<()> {
    sqlx::query(
        "INSERT INTO meta (key, value) VALUES ('many', '')
         ON CONFLICT (key) DO UPDATE SET value = excluded.value",
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests;
