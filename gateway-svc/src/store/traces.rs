//! What a trace asks of the store: whose it is, and what the store is.

use schemas::ids::RunId;
use sqlx::Row as _;

use super::{Result, Store};

impl Store {
    /// What the store is, as OpenTelemetry calls it: `sqlite` or `postgresql`.
    pub(crate) fn system(&self) -> &'static str {
        let options = self.pool.connect_options();
        if options.database_url.scheme() == "sqlite" { "sqlite" } else { "postgresql" }
    }

    /// The `traceparent` that a run was accepted with.
    pub(crate) async fn trace_of(&self, run: &RunId) -> Result<Option<String>> {
        let row = sqlx::query("SELECT trace FROM runs WHERE run = $1")
            .bind(run.as_str())
            .fetch_optional(&self.pool)
            .await?;
        Ok(row.map(|row| row.try_get("trace")).transpose()?.flatten())
    }
}
