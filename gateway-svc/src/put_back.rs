//! A store that was put back from a copy is older than the streams, and than Discord.
//!
//! The streams keep how far a store was that worked with them: the moment at which it last heard Discord.
//! A store that is behind that is refused until somebody says `accept-store`; then whatever may have been
//! done in between is looked for before it is done. Runs of the copy that Discord shows as answered are
//! ended by that command, before any gateway is at work.

use std::path::Path;

use anyhow::Context as _;
use platform::clock::now_ms;
use platform::nats;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::acts;
use crate::bus::Bus;
use crate::config::{Books, Config};
use crate::discord;
use crate::numbers::Numbers;
use crate::signals::Signals;
use crate::store::{By, Store, Unfinished};

/// Who ends what is answered already, as the store keeps it.
const NAME: &str = "accept-store";

/// Whether it is.
fn is_behind(ours: Option<i64>, theirs: Option<i64>, put_back: Option<i64>) -> bool {
    // A store that never heard anything is new, and takes nothing that is older.
    let (Some(ours), Some(theirs)) = (ours, theirs) else { return false };
    ours < theirs && put_back.is_none_or(|put_back| put_back < theirs)
}

/// Refuses a store that is behind: when it last heard Discord, when the furthest that worked with these
/// streams did, and until when ours is known to have been put back.
///
/// # Errors
///
/// That it is, and what to do.
pub(crate) fn check(
    ours: Option<i64>,
    theirs: Option<i64>,
    put_back: Option<i64>,
) -> anyhow::Result<()> {
    let behind_s = theirs.unwrap_or_default().saturating_sub(ours.unwrap_or_default()) / 1000;
    anyhow::ensure!(
        !is_behind(ours, theirs, put_back),
        "the store is an older copy: the one that worked with these streams last heard Discord \
         {behind_s} s later, and what it did since would be done again. Put the newest copy back, or \
         run `gateway-svc accept-store`: then it is looked for before anything is done"
    );
    Ok(())
}

/// Keeps in the streams how far the store is, each time that it notes it, until `stop`.
pub(crate) async fn keep(store: Store, bus: Bus, signals: Signals, stop: CancellationToken) {
    let mut kept = None;
    loop {
        match note(&store, &bus, kept).await {
            Ok(noted) => kept = noted,
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "how far the store is was not kept");
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = signals.heard.notified() => {}
        }
    }
}

async fn note(store: &Store, bus: &Bus, kept: Option<i64>) -> anyhow::Result<Option<i64>> {
    let heard = store.heard_ms().await?;
    // Of several gateways one may be a little behind; nobody goes back.
    if let Some(heard) = heard.filter(|heard| kept.is_none_or(|kept| kept < *heard))
        && bus.heard_ms().await?.is_none_or(|theirs| theirs < heard)
    {
        bus.note_heard(heard).await?;
    }
    Ok(heard)
}

/// Copies a store that is in a file. A gateway may be at work in it meanwhile.
///
/// # Errors
///
/// When it is on a server, or the copy cannot be made.
pub(crate) async fn copy(books: &Books, to: &Path) -> anyhow::Result<String> {
    let store = Store::open_existing(&books.database_url).await?;
    anyhow::ensure!(!store.is_shared(), "the store is on a server: copy it with pg_dump");
    store.copy(to).await.with_context(|| format!("cannot copy the store to {}", to.display()))?;
    Ok(format!("the store is copied to {}", to.display()))
}

/// Takes the store as it is, though it was put back from a copy. No gateway may be at work in it.
///
/// # Errors
///
/// When the store is in use, or something cannot be reached: then nothing is noted.
pub(crate) async fn accept(config: &Config) -> anyhow::Result<String> {
    let store = Store::open_existing(&config.database_url).await?;
    let _alone = store.take(&config.database_url).await?;
    let from_ms = store.heard_ms().await?.context(
        "nobody ever listened with this store, so there is nothing in it to be accepted; start the \
         gateway",
    )?;
    let link = nats::connect(&config.nats, "holdfast-accept-store").await?;
    let bus = Bus::attach(link).await?;
    let theirs = bus.heard_ms().await?;
    let (hands, _) = discord::open(&config.discord, &Numbers::default())?;
    let unfinished = store.unfinished().await?;
    let mut answered = 0;
    for Unfinished { key, generation, asked: (channel, message) } in &unfinished {
        let heard = hands.message(*channel, *message).await;
        let heard = heard.with_context(|| format!("cannot look at the message of {}", key.run))?;
        if !heard.is_some_and(|heard| heard.is_settled) {
            continue;
        }
        // What a record tells is folded as ever, and looked for row by row.
        let record = bus.record(key).await?;
        if record.is_none_or(|it| it.generation < *generation || it.outcome().is_none()) {
            let by = By::Operator(Uuid::new_v4());
            acts::end_quietly(&store, &key.run, (by, NAME)).await?;
            answered += 1;
        }
    }
    let to_ms = theirs.map_or(now_ms(), |theirs| theirs.max(now_ms()));
    store.was_put_back(from_ms, to_ms).await?;
    let lost_s = to_ms.saturating_sub(from_ms) / 1000;
    Ok(format!(
        "accepted: what may have been done in the {lost_s} s that this store does not know is looked for \
         before it is done; of its {} runs without outcome, Discord shows {answered} as answered, and \
         they are ended",
        unfinished.len()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_behind_until_somebody_says_that_it_was_put_back() {
        assert!(is_behind(Some(1), Some(2), None));
        assert!(is_behind(Some(1), Some(3), Some(2)), "it was put back once more");
        for (ours, theirs, put_back) in [
            (Some(2), Some(2), None),
            (Some(3), Some(2), None),
            (Some(1), None, None),
            (None, Some(2), None),
            (Some(1), Some(2), Some(2)),
        ] {
            assert!(!is_behind(ours, theirs, put_back), "{ours:?} {theirs:?} {put_back:?}");
        }
    }
}
