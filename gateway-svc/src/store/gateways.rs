//! Gateways on one store: each says again and again that it is there, and what a dead one held is
//! given back.
//!
//! Only the leases of threads hang on it, and they would run out by themselves: this is for speed.

use sqlx::Row as _;

use super::{Result, Store, lock_for_many};

impl Store {
    /// Whether other gateways may use it at the same time.
    pub(crate) fn is_shared(&self) -> bool {
        self.pool.connect_options().database_url.scheme() != "sqlite"
    }

    /// This gateway is there.
    pub(crate) async fn beat(&self, gateway: &str, beat: i64) -> Result<()> {
        sqlx::query(
            "INSERT INTO gateways (gateway, beat) VALUES ($1, $2)
             ON CONFLICT (gateway) DO UPDATE SET beat = excluded.beat",
        )
        .bind(gateway)
        .bind(beat)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Every gateway that said so, with its newest beat.
    pub(crate) async fn beats(&self) -> Result<Vec<(String, i64)>> {
        let rows = sqlx::query("SELECT gateway, beat FROM gateways ORDER BY gateway")
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(|row| Ok((row.try_get("gateway")?, row.try_get("beat")?))).collect()
    }

    /// A gateway has not changed since this beat: gives back the threads that it leased. False when
    /// somebody was faster, or it is there after all.
    pub(crate) async fn bury(&self, gateway: &str, beat: i64) -> Result<bool> {
        let mut tx = self.begin_write().await?;
        lock_for_many(&mut tx).await?;
        let gone = sqlx::query("DELETE FROM gateways WHERE gateway = $1 AND beat = $2")
            .bind(gateway)
            .bind(beat)
            .execute(&mut *tx)
            .await?;
        if gone.rows_affected() == 0 {
            return Ok(false);
        }
        sqlx::query(
            "UPDATE threads SET lease_owner = '', lease_until_ms = 0 WHERE lease_owner LIKE $1",
        )
        .bind(format!("{gateway}/%"))
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(true)
    }

    /// This gateway ends, and holds nothing any more.
    pub(crate) async fn leave(&self, gateway: &str) -> Result<()> {
        sqlx::query("DELETE FROM gateways WHERE gateway = $1")
            .bind(gateway)
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}
