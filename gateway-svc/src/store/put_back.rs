//! A store that was put back from a copy: it knows nothing of what came after the copy was made.
//!
//! Somebody says so once (`accept-store`), which notes how far the store was and the moment. Whatever is
//! about something older than that moment may have been done by the store that is gone, and is looked
//! for before it is done.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use schemas::ids::{ChannelId, Generation, MessageId, ProjectName, ThreadId};
use schemas::run::Run;
use schemas::streams::RunKey;
use sqlx::Row as _;

use super::runs::asked;
use super::{Result, Store, StoreError, Tx, id};
use crate::outbox::Row;

/// Under which the time that is lost is noted.
const PUT_BACK: &str = "put_back";

/// The time of which a store that was put back knows nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lost {
    /// When somebody last listened, as far as the copy knows.
    from_ms: i64,
    /// When somebody said that it was put back.
    to_ms: i64,
}

/// A run of the copy that has no outcome there.
#[derive(Clone, Debug)]
pub(crate) struct Unfinished {
    /// Its key.
    pub(crate) key: RunKey,
    /// Its generation.
    pub(crate) generation: Generation,
    /// The message that asked for it, and where that is.
    pub(crate) asked: (ChannelId, MessageId),
}

impl Store {
    /// The store, with the time that it lost if it was ever put back.
    pub(super) async fn remembering(self) -> Result<Self> {
        let noted = self.noted(PUT_BACK).await?;
        let lost = noted.as_deref().and_then(|text| text.split_once(' '));
        let lost = lost.and_then(|(from, to)| {
            Some(Lost { from_ms: from.parse().ok()?, to_ms: to.parse().ok()? })
        });
        Ok(Self { lost, ..self })
    }

    /// Copies a store in a file to a new one, closed to others, as it is at this moment. What was there
    /// of the copy is on disk when this returns.
    pub(crate) async fn copy(&self, to: &Path) -> Result<()> {
        let unusable = |source| StoreError::Folder { folder: to.display().to_string(), source };
        // SQLite fills an empty file, and would make one that others can read.
        let mut new = OpenOptions::new();
        let file = new.write(true).create_new(true).mode(0o600).open(to).map_err(unusable)?;
        sqlx::query("VACUUM INTO $1").bind(to.display().to_string()).execute(&self.pool).await?;
        file.sync_all().map_err(unusable)
    }

    /// When somebody last listened, in milliseconds since 1970; `None`: nobody ever did.
    pub(crate) async fn heard_ms(&self) -> Result<Option<i64>> {
        let row = sqlx::query("SELECT heard_ms FROM listening WHERE who = 'gateway'")
            .fetch_optional(&self.pool)
            .await?;
        Ok(row.map(|row| row.try_get("heard_ms")).transpose()?)
    }

    /// Notes that it was put back before `to_ms`, having listened until `from_ms`. It counts from the next
    /// opening on.
    pub(crate) async fn was_put_back(&self, from_ms: i64, to_ms: i64) -> Result<()> {
        self.note(PUT_BACK, &format!("{from_ms} {to_ms}")).await
    }

    /// Until when it may have been put back, in milliseconds since 1970.
    pub(crate) fn put_back_ms(&self) -> Option<i64> {
        self.lost.map(|lost| lost.to_ms)
    }

    /// Whether a message is so old that a store that is gone may have dealt with it.
    pub(crate) fn may_be_done(&self, message: MessageId) -> bool {
        self.lost.is_some_and(|lost| message < MessageId::first_of(lost.to_ms))
    }

    /// From when on a row may have been done already, by what it is about; `None`: it was not.
    pub(super) fn may_be_done_since(&self, row: &Row) -> Option<i64> {
        let is_old = row.about().is_some_and(|message| self.may_be_done(message));
        self.lost.filter(|_| is_old).map(|lost| lost.from_ms)
    }

    /// The runs without outcome that a message asked for, oldest first.
    pub(crate) async fn unfinished(&self) -> Result<Vec<Unfinished>> {
        let rows = sqlx::query(
            "SELECT run, project, thread, generation, asked_in, asked_by FROM runs
              WHERE state <> 'ended' ORDER BY accepted_ms, run",
        )
        .fetch_all(&self.pool)
        .await?;
        let mut found = Vec::new();
        for row in &rows {
            let Some(asked) = asked(row)? else { continue };
            let key = RunKey {
                project: row.try_get::<String, _>("project")?.parse::<ProjectName>()?,
                thread: id(row.try_get("thread")?, ThreadId::new)?,
                run: row.try_get::<String, _>("run")?.parse()?,
            };
            let generation = row.try_get::<i64, _>("generation")?.to_string().parse()?;
            found.push(Unfinished { key, generation, asked });
        }
        Ok(found)
    }
}

/// Takes over the generation of a record that is later than ours. A generation is raised in the store before
/// it is published, so a store that is gone has raised this one. The caller holds the thread's lock.
pub(super) async fn take_generation(tx: &mut Tx, key: &RunKey, later: Generation) -> Result<Run> {
    sqlx::query(
        "UPDATE runs SET generation = $2, since = $2, place = NULL, attempt = NULL, owner = NULL,
                         phase = NULL
          WHERE run = $1",
    )
    .bind(key.run.as_str())
    .bind(i64::from(later.0))
    .execute(&mut **tx)
    .await?;
    tracing::warn!(run = %key.run, generation = %later, "the streams know of a later generation");
    Ok(Run::Released(later))
}
