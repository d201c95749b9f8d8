//! Shows in each thread that claude is at work. May be lost: nothing waits for it.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::discord::Discord;
use crate::store::Store;

/// Discord shows it for ten seconds (reference, "Trigger Typing Indicator").
const EVERY: Duration = Duration::from_secs(8);
/// The most threads that it is shown in, so that it never fills Discord's limits.
const THREADS_MAX: usize = 20;

/// Shows it until `stop`.
pub(crate) async fn run(store: Store, discord: Discord, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
        let Ok(busy) = store.busy_places().await else { continue };
        for place in busy.into_iter().take(THREADS_MAX) {
            if let Err(error) = discord.typing(place).await {
                tracing::debug!(%error, "typing is not shown");
            }
        }
    }
}
