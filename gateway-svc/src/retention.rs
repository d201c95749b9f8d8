//! Takes away what is old enough, and ends, visibly, what was never finished.
//!
//! A reconciler with a timer alone: nothing waits for it.

use std::time::Duration;

use platform::clock::now_ms;
use schemas::record::Outcome;
use schemas::streams::KEEP;
use tokio_util::sync::CancellationToken;

use crate::crash;
use crate::render;
use crate::signals::Signals;
use crate::store::{Store, StoreError};

/// How often it looks.
const EVERY: Duration = Duration::from_secs(6 * 60 * 60);

/// Looks at the start and every few hours, until `stop`.
pub(crate) async fn run(store: Store, signals: Signals, stop: CancellationToken) {
    loop {
        match look(&store, now_ms()).await {
            Ok((0, 0)) => {}
            Ok((gone, expired)) => {
                tracing::info!(gone, expired, "what was old was taken away");
                signals.stored();
            }
            Err(error) => tracing::warn!(error = ?error, "what is old stays"),
        }
        if stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_none() {
            return;
        }
    }
}

async fn look(store: &Store, now_ms: i64) -> Result<(u64, usize), StoreError> {
    let before_ms = now_ms - i64::try_from(KEEP.as_millis()).expect("30 days fit");
    let days = KEEP.as_secs() / 86_400;
    let why = format!("Nobody answered this within {days} days; it was given up.");
    let outcome = Outcome::Failed { why, denied: Vec::new() };
    let rows = |place: &render::Place| render::ended(place, &outcome, &render::Told::of(""));
    let expired = store.expire(before_ms, rows, now_ms).await?;
    crash::point("retention.expired");
    let gone = store.forget(before_ms).await?;
    crash::point("retention.forgot");
    Ok((gone, expired))
}
