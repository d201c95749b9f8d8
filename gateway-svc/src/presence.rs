//! RUNNERS → owners: the first runner that shows itself with a project becomes its owner; and when
//! each was seen last.
//!
//! Presence is a hint: nothing is concluded from its absence, and who owns a project is a row of
//! the store. A second claimant is named loudly and changes nothing.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::StreamExt;
use platform::clock::now_ms;
use schemas::presence::Presence;
use tokio_util::sync::CancellationToken;

use crate::bus::Bus;
use crate::crash;
use crate::routes::Routes;
use crate::signals::Signals;
use crate::store::{Ownership, Store};

/// The pause before the watch is asked for again.
const PAUSE: Duration = Duration::from_secs(2);

/// Watches the runners until `stop`.
pub(crate) async fn run(
    routes: std::sync::Arc<Routes>,
    store: Store,
    bus: Bus,
    signals: Signals,
    stop: CancellationToken,
) {
    let mut told = HashSet::new();
    loop {
        match bus.presences().await {
            Ok(mut presences) => {
                let mut known = HashSet::new();
                while let Some(Some(next)) = stop.run_until_cancelled(presences.next()).await {
                    match next {
                        Ok((presence, got_ms)) => {
                            // The first one of a runner may be from before; its age is told by
                            // the clock of NATS. Our own says when the others come.
                            let is_news = !known.insert(presence.state_id);
                            let now_ms = now_ms();
                            let seen_ms = if is_news { now_ms } else { now_ms.min(got_ms) };
                            note(&store, &presence, seen_ms).await;
                            seen(&routes, &store, &signals, &presence, &mut told).await;
                        }
                        Err(error) => {
                            tracing::warn!(error = ?error, "the runners are watched anew");
                            break;
                        }
                    }
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

async fn seen(
    routes: &Routes,
    store: &Store,
    signals: &Signals,
    presence: &Presence,
    told: &mut HashSet<String>,
) {
    for project in presence.projects.iter().filter(|project| routes.has(project)) {
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
}
