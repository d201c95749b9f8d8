//! The gateways of one store watch each other: what a dead one leased is given back within seconds.
//!
//! Each writes a number that grows. Who has not changed for [`DEAD`], by the watcher's own clock,
//! is dead for it: the threads that it was posting in are free for others, and everything is looked
//! at anew. A gateway that only stood still finds its lease gone and stops after the row in flight,
//! whose nonce Discord knows. Nothing but speed hangs on this: leases also run out. A store in a file
//! has one gateway, and none of this.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::signals::Signals;
use crate::store::{Store, StoreError};

/// How often a gateway says that it is there.
const BEAT_EVERY: Duration = Duration::from_millis(500);
/// How long a gateway may say nothing: four beats, so that a slow commit is no death.
const DEAD: Duration = Duration::from_secs(2);

/// Beats and watches until `stop`.
pub(crate) async fn run(store: Store, gateway: String, signals: Signals, stop: CancellationToken) {
    if !store.is_shared() {
        return;
    }
    let mut seen = HashMap::new();
    for beat in 1.. {
        if let Err(error) = look(&store, &gateway, beat, &mut seen, &signals).await {
            tracing::debug!(error = ?error, "the other gateways were not looked at");
        }
        if stop.run_until_cancelled(tokio::time::sleep(BEAT_EVERY)).await.is_none() {
            break;
        }
    }
    if let Err(error) = store.leave(&gateway).await {
        tracing::debug!(error = ?error, "the others will miss this gateway");
    }
}

async fn look(
    store: &Store,
    own: &str,
    beat: i64,
    seen: &mut HashMap<String, (i64, Instant)>,
    signals: &Signals,
) -> Result<(), StoreError> {
    store.beat(own, beat).await?;
    let now = Instant::now();
    let beats = store.beats().await?;
    seen.retain(|gateway, _| beats.iter().any(|(there, _)| there == gateway));
    for (gateway, beat) in beats.into_iter().filter(|(gateway, _)| gateway != own) {
        let (known, since) = *seen.entry(gateway.clone()).or_insert((beat, now));
        if known != beat {
            seen.insert(gateway, (beat, now));
        } else if DEAD <= now.duration_since(since) && store.bury(&gateway, beat).await? {
            tracing::warn!(gateway, "another gateway died; its threads are taken over");
            signals.stored();
        }
    }
    Ok(())
}
