//! One request at a time of what many threads ask of one channel: reactions under its messages, and threads
//! that begin at them.
//!
//! serenity lets all who wait for such a limit go when it is open again: one is served, and the others are
//! told to wait, one behind the other, so that the more of them wait, the fewer are served. Whoever waits
//! here goes in order, when the one before has its answer. Nothing is kept over a start.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use schemas::ids::ChannelId;
use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

/// The most turns that are remembered while nobody waits for them; each is a few dozen bytes.
const IDLE_MAX: usize = 1000;

/// Whose turn it is. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Turns(Arc<Mutex<All>>);

type All = HashMap<(What, ChannelId), Arc<Turn<()>>>;

/// What is asked: Discord limits each by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum What {
    /// A reaction that comes or goes.
    Reaction,
    /// A thread that begins.
    Thread,
}

impl Turns {
    /// Waits for a turn, and holds it until what is returned is dropped.
    pub(super) async fn turn(&self, what: What, channel: ChannelId) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if IDLE_MAX <= turns.len() {
                turns.retain(|_, turn| 1 < Arc::strong_count(turn));
            }
            Arc::clone(turns.entry((what, channel)).or_default())
        };
        turn.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn who_asks_the_same_of_a_channel_goes_one_after_another() {
        let turns = Turns::default();
        let [five, six]: [ChannelId; 2] = ["5", "6"].map(|id| id.parse().unwrap());
        let first = turns.turn(What::Reaction, five).await;
        let mut second = Box::pin(turns.turn(What::Reaction, five));
        assert!(second.as_mut().now_or_never().is_none(), "it waits");
        assert!(turns.turn(What::Thread, five).now_or_never().is_some(), "another kind");
        assert!(turns.turn(What::Reaction, six).now_or_never().is_some(), "another channel");
        drop(first);
        assert!(second.now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_turn_that_somebody_has_is_not_forgotten() {
        let turns = Turns::default();
        let channel = |number: usize| number.to_string().parse::<ChannelId>().unwrap();
        let held = turns.turn(What::Reaction, channel(1)).await;
        for number in 2..=2 * IDLE_MAX {
            drop(turns.turn(What::Reaction, channel(number)).await);
        }
        assert!(turns.0.lock().unwrap().len() <= IDLE_MAX);
        assert!(turns.turn(What::Reaction, channel(1)).now_or_never().is_none());
        drop(held);
    }
}
