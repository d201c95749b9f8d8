//! Released runs → WORK. A reconciler: no input, idempotent, woken by a signal and by a timer.
//!
//! It looks at every released run without outcome: reads its record and folds it, so that a lost
//! feed heals, and publishes the run again, which is harmless while the message is stored and
//! mends the loss when it is not. What a person ended is to be stopped as well: its controls are
//! written until a record says that nobody is at it. It never decides that a run is over.

use std::time::Duration;

use anyhow::Context as _;
use platform::clock::now_ms;
use schemas::ids::RunnerId;
use schemas::streams::{Place, WorkSubject};
use tokio_util::sync::CancellationToken;

use crate::bus::Bus;
use crate::crash;
use crate::feed::Folder;
use crate::signals::Signals;
use crate::store::{Released, Stopping, Store};

/// How long a lost signal or a lost message can go unnoticed.
const EVERY: Duration = Duration::from_secs(15);

/// Publishes what is released, until `stop`.
pub(crate) async fn run(
    store: Store,
    bus: Bus,
    folder: Folder,
    signals: Signals,
    stop: CancellationToken,
) {
    loop {
        if let Err(error) = reconcile(&store, &bus, &folder).await {
            tracing::warn!(error = format!("{error:#}"), "publishing waits");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = signals.released.notified() => {}
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

async fn reconcile(store: &Store, bus: &Bus, folder: &Folder) -> anyhow::Result<()> {
    store.release_due(now_ms()).await?;
    for released in store.released().await? {
        let run = released.request.run.clone();
        if let Err(error) = one(store, bus, folder, &released).await {
            // One run that cannot be published must not keep the others.
            tracing::warn!(%run, error = format!("{error:#}"), "a run waits to be published");
        }
    }
    for stopping in store.stopping().await? {
        let run = stopping.key.run.clone();
        if let Err(error) = stop(store, bus, &stopping).await {
            tracing::warn!(%run, error = format!("{error:#}"), "an ended run waits to be stopped");
        }
    }
    Ok(())
}

/// Sees to it that whoever holds an ended generation hears of it.
async fn stop(store: &Store, bus: &Bus, stopping: &Stopping) -> anyhow::Result<()> {
    let key = &stopping.key;
    if bus.record(key).await?.is_some_and(|record| stopping.is_over(record.fact())) {
        tracing::info!(run = %key.run, generation = %stopping.ended, "is over at its runner too");
        return Ok(store.stopped(stopping).await?);
    }
    // Controls of a later generation say as much, and are written with that.
    if store.controls(key, stopping.now).await?.is_none()
        && let Some(controls) = store.controls(key, stopping.ended).await?
    {
        bus.control(key, &controls).await?;
    }
    Ok(())
}

async fn one(store: &Store, bus: &Bus, folder: &Folder, released: &Released) -> anyhow::Result<()> {
    let request = &released.request;
    let key = released.key();
    if let Some(record) = bus.record(&key).await? {
        folder.fold(&key, &record, now_ms()).await?;
        if record.generation == request.generation && record.outcome().is_some() {
            return Ok(());
        }
    }
    let Some(owner) = &released.owner else {
        tracing::info!(run = %request.run, project = %request.project, "waits for a runner");
        return Ok(());
    };
    let runner: RunnerId = owner.parse().context("the owner's name")?;
    let subject = WorkSubject {
        project: request.project.clone(),
        place: Place::At(runner),
        run: request.run.clone(),
        generation: request.generation,
    };
    crash::point("publish.read");
    bus.publish(&subject, request, released.trace.as_deref()).await?;
    crash::point("publish.sent");
    if let Some(controls) = store.controls(&key, request.generation).await? {
        bus.control(&key, &controls).await?;
        crash::point("publish.controlled");
    }
    Ok(())
}
