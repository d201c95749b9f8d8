//! Released runs → WORK. A reconciler: no input, idempotent, woken by a signal and by a timer.
//!
//! It looks at every released run without outcome: reads its record and folds it, so that a lost
//! feed heals, and publishes the run again, which is harmless while the message is stored and
//! mends the loss when it is not. What a person ended is to be stopped as well: its controls are
//! written until a record says that nobody is at it. It never decides that a run is over.
//!
//! Where a run goes is decided once for each generation and stored before it is published
//! (`placement`), whichever gateway does it.

use std::time::Duration;

use platform::clock::now_ms;
use platform::health::Readiness;
use platform::reload::Current;
use platform::telemetry;
use schemas::control::Controls;
use schemas::request::{Request, Task};
use schemas::rights::Rights;
use schemas::streams::{Place, WorkSubject};
use tokio_util::sync::CancellationToken;

use crate::bus::Bus;
use crate::config::Config;
use crate::crash;
use crate::feed::Folder;
use crate::limits::Limits;
use crate::placement::{self, Asked, Decision, SAID_AFTER, Sight, Taken};
use crate::render;
use crate::routes::Routes;
use crate::signals::Signals;
use crate::store::{Moved, Released, Stopping, Store, Why};
use crate::traced;
use crate::unsafe_mode;

/// How long a lost signal or a lost message can go unnoticed.
const EVERY: Duration = Duration::from_secs(15);

/// What the watchdog knows it by.
const LOOP: &str = "publishing";

/// Publishes what is released, until `stop`. `given_up`: when a runner that shows itself no more is.
pub(crate) async fn run(
    mut config: Current<Config>,
    folder: Folder,
    (signals, readiness): (Signals, Readiness),
    given_up: Duration,
    stop: CancellationToken,
) {
    loop {
        if let Err(error) = reconcile(&config.now().routes, &folder, &readiness, given_up).await {
            tracing::warn!(error = format!("{error:#}"), "publishing waits");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = signals.released.notified() => {}
            () = config.changed() => {}
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

async fn reconcile(
    routes: &Routes,
    folder: &Folder,
    readiness: &Readiness,
    given_up: Duration,
) -> anyhow::Result<()> {
    let Folder { store, bus, .. } = folder;
    store.release_due(now_ms()).await?;
    let sights = store.sights().await?;
    readiness.turns(LOOP);
    for released in store.released().await? {
        // Each may wait for a NATS that does not answer.
        readiness.turns(LOOP);
        let run = released.request.run.clone();
        let known = routes.project(&released.request.project);
        let terms = known.map_or(&placement::USUAL, |project| &project.terms);
        let asking = known.is_some_and(|project| project.asking.is_on);
        let request = Request { asking, ..released.request };
        let released = Released { request, ..released };
        let asked = Asked {
            project: &released.request.project,
            terms,
            owner: released.owner.as_ref(),
            home: released.home.as_ref(),
            given_up,
        };
        let limits = known.map(|project| &project.limits);
        let publishing = one(folder, &released, (asked, limits), &sights);
        let ids = traced::publishing(&released);
        if let Err(error) = telemetry::within(ids.as_ref(), publishing).await {
            // One run that cannot be published must not keep the others.
            tracing::warn!(%run, error = format!("{error:#}"), "a run waits to be published");
        }
    }
    for stopping in store.stopping().await? {
        readiness.turns(LOOP);
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
    let fact = bus.record(key).await?.map(|record| record.fact());
    if let Some(fact) = fact.filter(|fact| stopping.is_over(*fact)) {
        if stopping.ended < fact.generation {
            // Another holds it now. Whoever held it before may not have heard: it reads its controls.
            let (v, run, generation) = (Controls::VERSION, key.run.clone(), stopping.now);
            let (items, steers) = (Vec::new(), Vec::new());
            let quiet = Controls { v, run, generation, items, steers, safe: false };
            let controls = store.controls(key, stopping.now).await?.unwrap_or(quiet);
            bus.control(key, &controls).await?;
        }
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

async fn one(
    folder: &Folder,
    released: &Released,
    (asked, limits): (Asked<'_>, Option<&Limits>),
    sights: &[Sight],
) -> anyhow::Result<()> {
    let Folder { store, bus, .. } = folder;
    let request = &released.request;
    let key = released.key();
    if let Some(record) = bus.record(&key).await? {
        folder.fold(&key, &record, now_ms()).await?;
        let is_over = record.generation == request.generation && record.outcome().is_some();
        // A later generation is ours from now on, and is looked at in its turn.
        if is_over || request.generation < record.generation {
            return Ok(());
        }
    }
    say_waiting(folder, released, asked, sights).await?;
    if leaves(folder, released, asked, sights).await? {
        return Ok(());
    }
    let Some(rights) = rights(folder, released, limits).await? else { return Ok(()) };
    let request = &Request { rights, ..request.clone() };
    let Some(place) = place(store, released, asked, sights).await? else { return Ok(()) };
    let subject = WorkSubject {
        project: request.project.clone(),
        place,
        run: request.run.clone(),
        generation: request.generation,
    };
    crash::point("publish.read");
    let (trace, began_ms) = (traced::publishing(released), now_ms());
    let trace = trace.map(|ids| ids.traceparent());
    let is_new = bus.publish(&subject, request, trace.as_deref()).await?;
    crash::point("publish.sent");
    if is_new {
        traced::published(released, began_ms);
    }
    if let Some(controls) = store.controls(&key, request.generation).await? {
        bus.control(&key, &controls).await?;
        crash::point("publish.controlled");
    }
    Ok(())
}

/// What a run may do, as it was decided or is now; `None`: it may not begin.
async fn rights(
    folder: &Folder,
    released: &Released,
    limits: Option<&Limits>,
) -> anyhow::Result<Option<Rights>> {
    if let Some(rights) = &released.rights {
        return Ok(Some(rights.clone()));
    }
    // What only looks costs nothing and asks for nothing.
    let limits = limits.filter(|limits| released.request.task == Task::Ask && !limits.are_usual());
    let Some(limits) = limits else { return Ok(Some(Rights::default())) };
    let rows = |place: &render::Place, why: Why<'_>| match why {
        Why::Unsafe(word) => vec![unsafe_mode::said(place, word)],
        Why::UsedUp(line) => render::used_up(place, line),
    };
    let request = &released.request;
    let given = folder.store.give_rights(request, limits, rows, now_ms()).await?;
    crash::point("publish.allowed");
    if given.is_none() {
        tracing::info!(run = %request.run, "may spend nothing, and is ended");
        folder.signals.stored();
    } else if given.as_ref().is_some_and(|rights| rights.unasked.is_some()) {
        folder.signals.due.notify_one();
    }
    Ok(given)
}

/// Says in the thread, once, that nobody is there who could take a run.
async fn say_waiting(
    folder: &Folder,
    released: &Released,
    asked: Asked<'_>,
    sights: &[Sight],
) -> anyhow::Result<()> {
    let patience_ms = i64::try_from(SAID_AFTER.as_millis()).expect("some seconds fit");
    if released.taken == Taken::Yes || now_ms() < released.since_ms + patience_ms {
        return Ok(());
    }
    let put = released.place.as_ref();
    let Some(awaited) = placement::awaited(asked, put, sights, now_ms()) else { return Ok(()) };
    let (place, project) = (place_of(released), &released.request.project);
    let row = render::waiting(&place, project, &awaited);
    if folder.store.tell_waiting(&place, &row, now_ms()).await? {
        folder.signals.due.notify_one();
    }
    Ok(())
}

/// Takes a run away from a runner that will not take it, or is gone; true if it was.
async fn leaves(
    folder: &Folder,
    released: &Released,
    asked: Asked<'_>,
    sights: &[Sight],
) -> anyhow::Result<bool> {
    let Some(Place::At(at)) = &released.place else { return Ok(false) };
    if !placement::is_stranded(asked, at, released.taken, sights, now_ms()) {
        return Ok(false);
    }
    let request = &released.request;
    let rows = |place: &render::Place, moved: &Moved| {
        vec![render::moved(place, None, moved.from.as_ref().map(|from| (from, false)))]
    };
    let run = (&request.run, request.generation);
    let left = folder.store.unplace(request.thread, run, rows, now_ms()).await?;
    if left {
        tracing::warn!(run = %request.run, runner = %at, "is taken away from its runner");
        folder.signals.stored();
    }
    Ok(left)
}

fn place_of(released: &Released) -> render::Place {
    let Request { run, generation, thread, .. } = released.request.clone();
    render::Place { run, generation, thread, asked: None, spent: 0 }
}

/// Where a run is, or is put now; `None`: nowhere yet.
async fn place(
    store: &Store,
    released: &Released,
    asked: Asked<'_>,
    sights: &[Sight],
) -> anyhow::Result<Option<Place>> {
    if let Some(place) = &released.place {
        return Ok(Some(place.clone()));
    }
    let request = &released.request;
    let (run, project) = (&request.run, &request.project);
    match placement::place(asked, sights, now_ms()) {
        Decision::Put(place) => {
            let stored = store
                .put((run, request.generation), (project, asked.terms.sharing), &place)
                .await?;
            crash::point("publish.placed");
            Ok(stored)
        }
        Decision::Wait(why) => {
            tracing::info!(%run, %project, ?why, "waits for a runner");
            Ok(None)
        }
    }
}
