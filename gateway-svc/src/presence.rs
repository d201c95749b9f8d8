//! RUNNERS → owners and sights: the first runner that shows itself with an exclusive project becomes
//! its owner; and what each runner said last, and when.
//!
//! Presence is a hint: nothing is concluded from its absence, and who owns a project is a row of
//! the store. A second claimant is named loudly and changes nothing; so is a runner that is not what
//! the project asks for, in `/readyz` too for as long as it shows itself.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use futures_util::StreamExt;
use platform::clock::now_ms;
use platform::health::Readiness;
use platform::reload::Current;
use platform::version;
use schemas::ids::{ProjectName, StateId};
use schemas::presence::{Presence, RUNNER_VERSION_MIN};
use schemas::streams::{PRESENCE_AGE, PRESENCE_EVERY};
use tokio_util::sync::CancellationToken;

use crate::bus::Bus;
use crate::config::Config;
use crate::crash;
use crate::placement::{self, Sharing};
use crate::signals::Signals;
use crate::store::{Ownership, Store};

/// The pause before the watch is asked for again.
const PAUSE: Duration = Duration::from_secs(2);
/// The part of `/readyz` that names runners which are too old, or not what their projects ask for.
const RUNNERS: &str = "runners";

/// What watching the runners needs.
pub(crate) struct Watching {
    /// What is served, and on what terms.
    pub(crate) config: Current<Config>,
    /// Where owners and sights are kept.
    pub(crate) store: Store,
    /// Where runners show themselves.
    pub(crate) bus: Bus,
    /// Who is to know.
    pub(crate) signals: Signals,
    /// Where a runner is named that gets no work of its project.
    pub(crate) readiness: Readiness,
}

/// What was told already, so that it is told once.
#[derive(Default)]
struct Told {
    /// Runners that are too old: why, and until when that is said.
    outdated: BTreeMap<StateId, (String, i64)>,
    /// Second claimants.
    claimants: HashSet<String>,
    /// Runners that are not what a project asks for: why, and until when that is said.
    misfits: BTreeMap<(ProjectName, StateId), (String, i64)>,
}

/// Watches the runners until `stop`.
pub(crate) async fn run(watching: Watching, stop: CancellationToken) {
    let mut told = Told::default();
    loop {
        match watching.bus.presences().await {
            Ok(mut presences) => {
                let mut known = HashSet::new();
                loop {
                    let next = tokio::time::timeout(PRESENCE_EVERY, presences.next());
                    match stop.run_until_cancelled(next).await {
                        Some(Err(_)) => {}
                        Some(Ok(Some(Ok((presence, got_ms))))) => {
                            // The first one of a runner may be from before; its age is told by
                            // the clock of NATS. Our own says when the others come.
                            let is_news = !known.insert(presence.state_id);
                            let now_ms = now_ms();
                            let seen_ms = if is_news { now_ms } else { now_ms.min(got_ms) };
                            note(&watching.store, &presence, seen_ms).await;
                            seen(&watching, &presence, &mut told).await;
                        }
                        Some(Ok(Some(Err(error)))) => {
                            tracing::warn!(error = ?error, "the runners are watched anew");
                            break;
                        }
                        Some(Ok(None)) | None => break,
                    }
                    say_wrong(&watching.readiness, &mut told);
                }
            }
            Err(error) => tracing::warn!(error = ?error, "the runners cannot be watched"),
        }
        if stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await.is_none() {
            return;
        }
    }
}

async fn note(store: &Store, presence: &Presence, seen_ms: i64) {
    if let Err(error) = store.saw(presence, seen_ms).await {
        // The next one is seconds away.
        tracing::debug!(error = ?error, "a sight of a runner was not noted");
    }
}

async fn seen(watching: &Watching, presence: &Presence, told: &mut Told) {
    let Watching { config, store, signals, .. } = watching;
    let age_ms = i64::try_from(PRESENCE_AGE.as_millis()).expect("some seconds fit");
    let until_ms = now_ms() + age_ms;
    match outdated(presence) {
        Some(line) => {
            let said = (line.clone(), until_ms);
            let before = told.outdated.insert(presence.state_id, said);
            if before.is_none_or(|(said, _)| said != line) {
                tracing::error!(runner = %presence.runner, "a runner is too old: {line}");
            }
        }
        None => drop(told.outdated.remove(&presence.state_id)),
    }
    let config = config.now();
    for project in presence.projects.iter().filter_map(|name| config.routes.project(name)) {
        let (name, terms) = (&project.name, &project.terms);
        if let Some(misfit) = placement::misfit(name, terms, presence) {
            let runner = &presence.runner;
            let line = format!("{runner} gets no work of {name}: {misfit}");
            let said = (line.clone(), until_ms);
            let before = told.misfits.insert((name.clone(), presence.state_id), said);
            if before.is_none_or(|(said, _)| said != line) {
                tracing::error!(project = %name, %runner, %misfit, "a runner gets no work of a project");
            }
            continue;
        }
        told.misfits.remove(&(name.clone(), presence.state_id));
        match terms.sharing {
            Sharing::Exclusive => {
                claimed(store, signals, name, presence, &mut told.claimants).await;
            }
            Sharing::Shared => {}
        }
    }
}

/// Why a runner is too old for this gateway, if it is. It gets work all the same: it may understand it.
pub(crate) fn outdated(presence: &Presence) -> Option<String> {
    let Presence { runner, version, .. } = presence;
    version::is_older(version, RUNNER_VERSION_MIN).then(|| {
        let needed = version::shown(RUNNER_VERSION_MIN);
        format!(
            "{runner} is runner-svc {version}, and {needed} or newer is needed: update it; it works on, \
             as far as it understands what it is given"
        )
    })
}

/// Says in `/readyz` which runners are too old, or not what their projects ask for; those that showed
/// themselves no more are forgotten.
fn say_wrong(readiness: &Readiness, told: &mut Told) {
    let now = now_ms();
    told.outdated.retain(|_, (_, until_ms)| now <= *until_ms);
    told.misfits.retain(|_, (_, until_ms)| now <= *until_ms);
    let lines = told.outdated.values().chain(told.misfits.values());
    let lines: Vec<_> = lines.map(|(line, _)| line.as_str()).collect();
    if lines.is_empty() {
        readiness.ready(RUNNERS);
    } else {
        readiness.not_ready(RUNNERS, lines.join("; "));
    }
}

/// A runner shows itself with an exclusive project.
async fn claimed(
    store: &Store,
    signals: &Signals,
    project: &ProjectName,
    presence: &Presence,
    told: &mut HashSet<String>,
) {
    match store.claim_project(project, presence, now_ms()).await {
        Ok(Ownership::New) => {
            crash::point("owner.stored");
            tracing::info!(%project, runner = %presence.runner, "has an owner");
            signals.released.notify_one();
        }
        Ok(Ownership::Known) => {}
        Ok(Ownership::Accepted) => {
            tracing::info!(%project, runner = %presence.runner, "has its owner's new state");
        }
        Ok(Ownership::Other(owner)) => {
            if told.insert(format!("{project} {}", presence.state_id)) {
                tracing::error!(
                    %project, %owner, claimant = %presence.runner,
                    "a second runner claims an exclusive project and gets no work of it"
                );
            }
        }
        Err(error) => tracing::warn!(error = ?error, "a runner was not noted"),
    }
}
