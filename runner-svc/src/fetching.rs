//! Free slots → fetches → attempts.
//!
//! What is fetched is held, so no more fetches wait at the server than slots are free. The runner's
//! own consumer comes first, then those of the projects that it shares, in turn; where there is more
//! than one, a fetch waits for a moment only, so that no free slot is kept at one of them while work
//! lies at another. A run that another held and that is to be looked at again comes before all of
//! them.
//!
//! It looks into no delivery.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use platform::health::Readiness;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::attempt;
use crate::bus::{BusError, Delivery};
use crate::crash;
use crate::directories::Slot;
use crate::draining;
use crate::host::Host;

/// How long a fetch waits where the runner has one consumer.
const ALONE: Duration = Duration::from_secs(30);
/// How long it waits where it has more.
const IN_TURN: Duration = Duration::from_secs(1);
/// The longest pause after a fetch that failed.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// How often it is seen that work is still waited for, or a slot.
const TURN: Duration = Duration::from_secs(30);
/// The number of the runner's own consumer.
const OWN: usize = 0;

/// Which consumer is asked next.
#[derive(Debug)]
struct Turns {
    idle: VecDeque<usize>,
    last: Option<usize>,
}

impl Turns {
    fn new(count: usize) -> Self {
        Self { idle: (0..count).collect(), last: None }
    }

    /// The next one, which is not asked by anybody until it is back.
    fn next(&mut self) -> Option<usize> {
        let own = self.idle.iter().position(|one| *one == OWN);
        let other = self.idle.iter().position(|one| *one != OWN);
        let at = if self.last == Some(OWN) { other.or(own) } else { own.or(other) };
        self.last = self.idle.remove(at?);
        self.last
    }

    fn back(&mut self, one: usize) {
        self.idle.push_back(one);
    }
}

/// A consumer that may be asked again.
struct Came {
    from: usize,
    /// What a fetch came to; `None`: the pause after one is over.
    fetched: Option<(Slot, Result<Option<Delivery>, BusError>)>,
}

/// Those that cannot be asked, and the pauses before they are asked again.
#[derive(Debug, Default)]
struct Failing(BTreeMap<usize, ExponentialBackoff>);

impl Failing {
    fn pause(&mut self, one: usize) -> Duration {
        let pauses = || {
            let all = ExponentialBuilder::new().with_max_delay(PAUSE_MAX);
            all.without_max_times().with_jitter().build()
        };
        self.0.entry(one).or_insert_with(pauses).next().unwrap_or(PAUSE_MAX)
    }

    /// Whether none fails any more.
    fn is_over(&mut self, one: usize) -> bool {
        self.0.remove(&one);
        self.0.is_empty()
    }
}

/// Asks for work until the runner is to end.
pub(crate) async fn run(
    host: &Arc<Host>,
    slots: &Arc<Semaphore>,
    readiness: &Readiness,
    attempts: &mut JoinSet<()>,
) {
    let consumers = host.bus.consumers();
    let wait = if consumers == 1 { ALONE } else { IN_TURN };
    let mut turns = Turns::new(consumers);
    let mut failing = Failing::default();
    let mut coming: FuturesUnordered<BoxFuture<'_, Came>> = FuturesUnordered::new();
    let mut spare: Option<Slot> = None;
    loop {
        readiness.turns("fetching");
        while let Some(ended) = attempts.try_join_next() {
            report(ended);
        }
        let is_draining = draining::is_on(&host.config.state_dir);
        spare = spare.filter(|_| !is_draining);
        while !is_draining
            && let Some(slot) = spare.take().or_else(|| Arc::clone(slots).try_acquire_owned().ok())
        {
            if let Some(ripe) = host.candidates.ripe() {
                let sight = Some(ripe.sight);
                crash::point("watch.ripe");
                attempts.spawn(attempt::take(Arc::clone(host), ripe.delivery, slot, sight));
            } else if let Some(from) = turns.next() {
                let bus = &host.bus;
                let fetch = async move {
                    Came { from, fetched: Some((slot, bus.fetch(from, wait).await)) }
                };
                coming.push(Box::pin(fetch));
            } else {
                break;
            }
        }
        let came = tokio::select! {
            () = host.stop.cancelled() => return,
            Some(came) = coming.next() => came,
            free = Arc::clone(slots).acquire_owned(), if !is_draining && !turns.idle.is_empty() => {
                spare = free.ok();
                continue;
            }
            () = host.candidates.ripened(), if !is_draining => continue,
            () = draining::is_over(&host.watcher, &host.config.state_dir), if is_draining => continue,
            () = tokio::time::sleep(TURN) => continue,
        };
        let Came { from, fetched } = came;
        match fetched {
            None => turns.back(from),
            Some((slot, Ok(delivery))) => {
                turns.back(from);
                if failing.is_over(from) {
                    readiness.ready("nats");
                }
                // While it drains: it comes again, to whoever asks then.
                if let Some(delivery) =
                    delivery.filter(|_| !draining::is_on(&host.config.state_dir))
                {
                    attempts.spawn(attempt::take(Arc::clone(host), delivery, slot, None));
                }
            }
            Some((slot, Err(error))) => {
                drop(slot);
                // What is missing may be made again at any time: this goes on asking.
                let why = host.bus.why_not(error).await;
                tracing::warn!(why, "no work can be asked for");
                readiness.not_ready("nats", why);
                let pause = failing.pause(from);
                coming.push(Box::pin(async move {
                    tokio::time::sleep(pause).await;
                    Came { from, fetched: None }
                }));
            }
        }
    }
}

/// Says how an attempt ended that did not end by itself.
pub(crate) fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "an attempt ended before its work; it is taken up again");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_consumer_comes_first_and_the_others_in_turn() {
        let mut turns = Turns::new(3);
        let all: Vec<_> = std::iter::from_fn(|| turns.next()).collect();
        assert_eq!(all, [0, 1, 2]);
        let mut turns = Turns::new(3);
        let mut asked = Vec::new();
        for _ in 0..8 {
            let one = turns.next().unwrap();
            asked.push(one);
            turns.back(one);
        }
        assert_eq!(asked, [0, 1, 0, 2, 0, 1, 0, 2], "one slot");
    }

    #[test]
    fn a_runner_with_one_consumer_asks_that() {
        let mut turns = Turns::new(1);
        assert_eq!((turns.next(), turns.next()), (Some(0), None));
        turns.back(0);
        assert_eq!(turns.next(), Some(0));
    }
}
