//! When somebody was last known to listen to Discord, and the times in which nobody did.
//!
//! Each time away is kept from the moment a session begins until its channels were told, so that a
//! crash while the missed messages are being read changes neither the time nor what is said of it.
//! What was missed is not counted here as it comes: it is asked of the runs, which say when they
//! were written (by their message's id) and when they were accepted.

use schemas::ids::{ChannelId, MessageId, ProjectName, ThreadId};
use sqlx::Row as _;

use super::outbox::insert_rows;
use super::{Result, Store, id, lock_thread, number};
use crate::away::Away;
use crate::outbox::Row;

/// How many runs of a channel were written while nobody listened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answered {
    /// The mapped channel; its threads count for it.
    pub(crate) channel: ChannelId,
    /// Its project.
    pub(crate) project: ProjectName,
    /// How many.
    pub(crate) count: i64,
}

impl Store {
    /// Somebody listens again. Nobody did since `since_ms`, or since the last time that the store
    /// knows of; that time is kept until its channels were told.
    pub(crate) async fn listen_again(&self, since_ms: Option<i64>, now_ms: i64) -> Result<()> {
        let mut tx = self.begin_write().await?;
        // The row is locked by this, and its old value comes back.
        let row = sqlx::query(
            "UPDATE listening SET heard_ms = heard_ms WHERE who = 'gateway' RETURNING heard_ms",
        )
        .fetch_optional(&mut *tx)
        .await?;
        let known = row.map(|row| row.try_get::<i64, _>("heard_ms")).transpose()?;
        if let Some(from_ms) = since_ms.or(known).filter(|from_ms| *from_ms < now_ms) {
            sqlx::query(
                "INSERT INTO away (from_ms, to_ms) VALUES ($1, $2)
                 ON CONFLICT (from_ms) DO NOTHING",
            )
            .bind(from_ms)
            .bind(now_ms)
            .execute(&mut *tx)
            .await?;
        }
        sqlx::query(HEARD).bind(now_ms).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Somebody listened at this moment.
    pub(crate) async fn listened(&self, at_ms: i64) -> Result<()> {
        sqlx::query(HEARD).bind(at_ms).execute(&self.pool).await?;
        Ok(())
    }

    /// The times away of which not all channels were told, oldest first.
    pub(crate) async fn aways(&self) -> Result<Vec<Away>> {
        let rows = sqlx::query("SELECT from_ms, to_ms FROM away ORDER BY from_ms")
            .fetch_all(&self.pool)
            .await?;
        rows.iter()
            .map(|row| Ok(Away { from_ms: row.try_get("from_ms")?, to_ms: row.try_get("to_ms")? }))
            .collect()
    }

    /// The channels in which something was written while nobody listened that was accepted since.
    /// What somebody had to press a button for is not among it.
    pub(crate) async fn answered_late(&self, away: Away) -> Result<Vec<Answered>> {
        let rows = sqlx::query(
            "SELECT channel, project, COUNT(*) AS answered FROM runs
              WHERE asked_by >= $1 AND asked_by < $2 AND accepted_ms >= $3
                AND NOT EXISTS (SELECT 1 FROM missed WHERE missed.message = runs.asked_by)
              GROUP BY channel, project ORDER BY channel",
        )
        .bind(number(MessageId::first_of(away.from_ms).get()))
        .bind(number(MessageId::first_of(away.to_ms).get()))
        .bind(away.to_ms)
        .fetch_all(&self.pool)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(Answered {
                    channel: id(row.try_get("channel")?, ChannelId::new)?,
                    project: row.try_get::<String, _>("project")?.parse()?,
                    count: row.try_get("answered")?,
                })
            })
            .collect()
    }

    /// What is to be said in a channel, once by its name.
    pub(crate) async fn tell_channel(
        &self,
        channel: ChannelId,
        project: &ProjectName,
        row: Row,
        now_ms: i64,
    ) -> Result<()> {
        let mut tx = self.begin_write().await?;
        let thread = id(number(channel.get()), ThreadId::new)?;
        lock_thread(&mut tx, thread, channel, project, now_ms).await?;
        insert_rows(&mut tx, thread, &[row], now_ms).await?;
        tx.commit().await?;
        Ok(())
    }

    /// All channels were told of a time away.
    pub(crate) async fn away_is_told(&self, away: Away) -> Result<()> {
        sqlx::query("DELETE FROM away WHERE from_ms = $1")
            .bind(away.from_ms)
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}

const HEARD: &str = "INSERT INTO listening (who, heard_ms) VALUES ('gateway', $1)
     ON CONFLICT (who) DO UPDATE SET heard_ms = excluded.heard_ms
      WHERE listening.heard_ms < excluded.heard_ms";
