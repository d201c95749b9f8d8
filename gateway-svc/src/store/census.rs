//! What the store holds, counted: what is open and since when, and what was counted for good.
//!
//! One statement for all of it, over what is open and never over what is kept. It is asked every few
//! seconds, whoever looks.

use std::time::Duration;

use schemas::ids::RunId;
use sqlx::Row as _;

use super::{Result, Store};

/// What a line of the census is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// Runs without outcome, by where they stand.
    Runs,
    /// Rows that Discord is owed, by where they stand.
    Rows,
    /// Open asks.
    Asks,
    /// What was spent today, in millionths of a US dollar.
    Spent,
    /// What was counted for good (`tally`), by its name.
    Tally,
}

/// A line of the census.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    /// What is counted.
    pub(crate) what: What,
    /// The project.
    pub(crate) project: String,
    /// Which of them.
    pub(crate) which: String,
    /// How many, or how much.
    pub(crate) count: i64,
    /// Since when the oldest of them has been so, in milliseconds since 1970.
    pub(crate) since_ms: Option<i64>,
}

impl Store {
    /// Counts. `day_ms` is when the day began, in milliseconds since 1970.
    pub(crate) async fn census(&self, day_ms: i64) -> Result<Vec<Counted>> {
        // What waits behind a parked row of its thread waits for the same. Each part of the outbox has
        // an index of its own.
        let rows = sqlx::query(
            "SELECT 'runs' AS what, project,
                    CASE WHEN state = 'queued' THEN 'queued'
                         WHEN attempt IS NULL THEN 'released' ELSE 'held' END AS which,
                    COUNT(*) AS n, MIN(COALESCE(released_ms, accepted_ms)) AS since_ms
               FROM runs WHERE state <> 'ended' GROUP BY 2, 3
             UNION ALL
             SELECT 'rows', t.project,
                    CASE WHEN EXISTS (SELECT 1 FROM outbox p WHERE p.thread = o.thread
                                         AND p.state = 'due' AND p.parked = 1)
                         THEN 'parked' ELSE 'due' END,
                    COUNT(*), MIN(o.made_ms)
               FROM outbox o JOIN threads t ON t.thread = o.thread
              WHERE o.state = 'due' GROUP BY 2, 3
             UNION ALL
             SELECT 'rows', t.project, 'later', COUNT(*), MIN(o.made_ms)
               FROM outbox o JOIN threads t ON t.thread = o.thread
              WHERE o.state = 'later' GROUP BY 2
             UNION ALL
             SELECT 'asks', r.project, '', COUNT(*), MIN(a.made_ms)
               FROM asks a JOIN runs r ON r.run = a.run WHERE a.state = 'open' GROUP BY 2
             UNION ALL
             SELECT 'spent', project, '', CAST(SUM(micro) AS BIGINT), CAST(NULL AS BIGINT)
               FROM costs WHERE at_ms >= $1 GROUP BY 2
             UNION ALL
             SELECT 'tally', project, what, n, CAST(NULL AS BIGINT) FROM tallies",
        )
        .bind(day_ms)
        .fetch_all(&self.pool)
        .await?;
        let counted = rows.iter().filter_map(|row| {
            let what = match row.try_get::<String, _>("what") {
                Ok(what) => known(&what)?,
                Err(error) => return Some(Err(error.into())),
            };
            let read = || {
                Ok(Counted {
                    what,
                    project: row.try_get("project")?,
                    which: row.try_get("which")?,
                    count: row.try_get("n")?,
                    since_ms: row.try_get("since_ms")?,
                })
            };
            Some(read())
        });
        counted.collect()
    }

    /// How long a run took from its release to its outcome; `None`: it has none, or never was released.
    pub(crate) async fn took(&self, run: &RunId) -> Result<Option<Duration>> {
        let row = sqlx::query(
            "SELECT ended_ms - released_ms AS took_ms FROM runs
              WHERE run = $1 AND state = 'ended' AND released_ms IS NOT NULL",
        )
        .bind(run.as_str())
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let took_ms: i64 = row.try_get("took_ms")?;
        // Clocks of two gateways may differ.
        Ok(Some(Duration::from_millis(u64::try_from(took_ms).unwrap_or_default())))
    }
}

fn known(what: &str) -> Option<What> {
    match what {
        "runs" => Some(What::Runs),
        "rows" => Some(What::Rows),
        "asks" => Some(What::Asks),
        "spent" => Some(What::Spent),
        "tally" => Some(What::Tally),
        _ => None,
    }
}
