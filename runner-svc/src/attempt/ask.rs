//! What an attempt asks NATS: again and again until there is an answer, or until the runner is to
//! end.
//!
//! It never gives up on a bus that is away, and never decides anything: what an answer means is
//! said in `attempt.rs`.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use schemas::control::Controls;
use schemas::ids::ProjectName;
use schemas::record::Record;
use schemas::streams::RunKey;

use super::{Left, Result, trouble};
use crate::bus::{BusError, Cas, Hints};
use crate::held::Held;
use crate::host::Host;

/// The longest pause while NATS is away.
pub(super) const PAUSE_MAX: Duration = Duration::from_secs(10);

/// Asks NATS until it answers, or until the runner is to end.
pub(super) async fn patiently<T, F>(host: &Host, ask: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T, BusError>>,
{
    let pauses =
        ExponentialBuilder::new().with_max_delay(PAUSE_MAX).without_max_times().with_jitter();
    let asking = ask.retry(pauses).when(|error| matches!(error, BusError::Request { .. })).notify(
        |error, pause| {
            tracing::warn!(error = ?error, pause_ms = pause.as_millis(), "trying again");
        },
    );
    // Boxed: what asks NATS is large, and every attempt would carry it.
    match host.stop.run_until_cancelled(Box::pin(asking)).await {
        Some(answer) => answer.map_err(trouble),
        None => Err(Left::Stopping),
    }
}

/// Listens for decisions about a run.
pub(super) async fn hints(host: &Host, key: &RunKey) -> Result<Hints> {
    let listen = || {
        let (bus, key) = (host.bus.clone(), key.clone());
        async move { bus.control_hints(&key).await }
    };
    patiently(host, listen).await
}

/// Who asked for a stop, or decided that a later generation takes this one's place.
pub(super) async fn stopped_by(host: &Host, held: &Held) -> Result<Option<String>> {
    let generation = held.record.generation;
    let controls = controls(host, held).await?;
    Ok(controls.and_then(|controls| controls.stop_of(generation).map(str::to_owned)))
}

/// What people decided about a run so far.
pub(super) async fn controls(host: &Host, held: &Held) -> Result<Option<Controls>> {
    let key = held.key();
    let read = || {
        let (bus, key) = (host.bus.clone(), key.clone());
        async move { bus.controls(&key).await }
    };
    patiently(host, read).await
}

/// Reads a record and its revision.
pub(super) async fn record(host: &Host, key: &RunKey) -> Result<Option<(Record, u64)>> {
    let read = || {
        let (bus, key) = (host.bus.clone(), key.clone());
        async move { bus.record(&key).await }
    };
    patiently(host, read).await
}

/// Waits until somebody leads the FILES of a project.
pub(super) async fn files(host: &Host, project: &ProjectName) -> Result<()> {
    let look = || {
        let (bus, project) = (host.bus.clone(), project.clone());
        async move { bus.files_answer(&project).await }
    };
    patiently(host, look).await
}

/// Writes a record until it is known to stand or to be lost.
pub(super) async fn cas(host: &Host, key: &RunKey, record: &Record, over: u64) -> Result<u64> {
    let write = || {
        let (bus, key, record) = (host.bus.clone(), key.clone(), record.clone());
        async move { bus.cas(&key, &record, over).await }
    };
    match patiently(host, write).await? {
        Cas::Won(revision) => Ok(revision),
        Cas::Lost => Err(Left::TakenOver),
    }
}
