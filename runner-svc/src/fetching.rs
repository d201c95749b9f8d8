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
use platform::reload::Current;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::attempt;
use crate::bus::{Bus, BusError, Delivery};
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

/// Which consumer is asked next, by name.
#[derive(Debug)]
struct Turns {
    /// All there are, the runner's own first.
    all: Vec<String>,
    idle: VecDeque<String>,
    was_own: bool,
}

impl Turns {
    fn new(all: Vec<String>) -> Self {
        Self { idle: all.iter().cloned().collect(), all, was_own: false }
    }

    /// The next one, which is not asked by anybody until it is back.
    fn next(&mut self) -> Option<String> {
        let own = self.idle.iter().position(|one| self.is_own(one));
        let other = self.idle.iter().position(|one| !self.is_own(one));
        let at = if self.was_own { other.or(own) } else { own.or(other) };
        let next = self.idle.remove(at?)?;
        self.was_own = self.is_own(&next);
        Some(next)
    }

    /// One may be asked again, if there still is work for this runner there.
    fn back(&mut self, one: String) {
        if self.has(&one) && !self.idle.contains(&one) {
            self.idle.push_back(one);
        }
    }

    /// Others are asked from now on. Whatever is being asked this moment comes back by itself.
    fn change(&mut self, all: Vec<String>) {
        let before = std::mem::replace(&mut self.all, all);
        let new = self.all.iter().filter(|one| !before.contains(one)).cloned();
        self.idle.extend(new);
        self.idle.retain(|one| self.all.contains(one));
    }

    fn has(&self, one: &String) -> bool {
        self.all.contains(one)
    }

    fn is_own(&self, one: &String) -> bool {
        self.all.first() == Some(one)
    }

    /// How long a fetch waits.
    fn wait(&self) -> Duration {
        if self.all.len() == 1 { ALONE } else { IN_TURN }
    }
}

/// A consumer that may be asked again.
struct Came {
    from: String,
    /// What a fetch came to; `None`: the pause after one is over.
    fetched: Option<(Slot, Result<Option<Delivery>, BusError>)>,
}

/// Those that cannot be asked, and the pauses before they are asked again.
#[derive(Debug, Default)]
struct Failing(BTreeMap<String, ExponentialBackoff>);

impl Failing {
    fn pause(&mut self, one: &str) -> Duration {
        let pauses = || {
            let all = ExponentialBuilder::new().with_max_delay(PAUSE_MAX);
            all.without_max_times().with_jitter().build()
        };
        self.0.entry(one.to_owned()).or_insert_with(pauses).next().unwrap_or(PAUSE_MAX)
    }

    /// Whether none fails any more.
    fn is_over(&mut self, one: &str) -> bool {
        self.0.remove(one);
        self.0.is_empty()
    }

    /// Forgets those that are not asked any more. Whether that was all of them.
    fn keep(&mut self, all: &[String]) -> bool {
        let failed = !self.0.is_empty();
        self.0.retain(|one, _| all.contains(one));
        failed && self.0.is_empty()
    }
}

/// What is asked, and what cannot be.
struct Asking {
    turns: Turns,
    failing: Failing,
    coming: FuturesUnordered<BoxFuture<'static, Came>>,
}

impl Asking {
    /// Asks others from now on.
    fn change(&mut self, host: &Host) {
        self.turns.change(host.bus.consumers());
        if self.failing.keep(&self.turns.all) {
            host.readiness.ready("nats");
        }
    }

    /// What came, if it is for this runner, and its slot.
    async fn take(&mut self, came: Came, host: &Host) -> Option<(Delivery, Slot)> {
        let Came { from, fetched } = came;
        match fetched {
            None => {
                self.turns.back(from);
                None
            }
            Some((slot, Ok(delivery))) => {
                if self.failing.is_over(&from) {
                    host.readiness.ready("nats");
                }
                // While it drains, or serves that project no more: it comes again, to whoever asks then.
                let is_for_us = self.turns.has(&from) && !draining::is_on(&host.config.state_dir);
                self.turns.back(from);
                Some((delivery.filter(|_| is_for_us)?, slot))
            }
            Some((_, Err(_))) if !self.turns.has(&from) => None,
            Some((slot, Err(error))) => {
                drop(slot);
                // What is missing may be made again at any time: this goes on asking.
                let why = host.bus.why_not(error).await;
                tracing::warn!(why, "no work can be asked for");
                host.readiness.not_ready("nats", why);
                self.coming.push(after(self.failing.pause(&from), from));
                None
            }
        }
    }
}

/// Asks for work until the runner is to end.
pub(crate) async fn run(
    mut current: Current<Host>,
    slots: &Arc<Semaphore>,
    attempts: &mut JoinSet<()>,
) {
    let mut host = current.now();
    let turns = Turns::new(host.bus.consumers());
    let coming = FuturesUnordered::new();
    let mut asking = Asking { turns, failing: Failing::default(), coming };
    let mut spare: Option<Slot> = None;
    loop {
        host.readiness.turns("fetching");
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
                attempts.spawn(attempt::take(Arc::clone(&host), ripe.delivery, slot, sight));
            } else if let Some(from) = asking.turns.next() {
                asking.coming.push(fetch(host.bus.clone(), from, asking.turns.wait(), slot));
            } else {
                break;
            }
        }
        let none_is_idle = asking.turns.idle.is_empty();
        let came = tokio::select! {
            () = host.stop.cancelled() => return,
            Some(came) = asking.coming.next() => came,
            free = Arc::clone(slots).acquire_owned(), if !is_draining && !none_is_idle => {
                spare = free.ok();
                continue;
            }
            () = current.changed() => {
                host = current.now();
                asking.change(&host);
                continue;
            }
            () = host.candidates.ripened(), if !is_draining => continue,
            () = draining::is_over(&host.watcher, &host.config.state_dir), if is_draining => continue,
            () = tokio::time::sleep(TURN) => continue,
        };
        if let Some((delivery, slot)) = asking.take(came, &host).await {
            attempts.spawn(attempt::take(Arc::clone(&host), delivery, slot, None));
        }
    }
}

/// Asks a consumer, with a slot at hand.
fn fetch(bus: Bus, from: String, wait: Duration, slot: Slot) -> BoxFuture<'static, Came> {
    Box::pin(async move {
        let fetched = bus.fetch(&from, wait).await;
        Came { from, fetched: Some((slot, fetched)) }
    })
}

/// Waits before a consumer is asked again.
fn after(pause: Duration, from: String) -> BoxFuture<'static, Came> {
    Box::pin(async move {
        tokio::time::sleep(pause).await;
        Came { from, fetched: None }
    })
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

    fn of(names: &[&str]) -> Turns {
        Turns::new(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn the_own_consumer_comes_first_and_the_others_in_turn() {
        let mut turns = of(&["own", "a", "b"]);
        let all: Vec<_> = std::iter::from_fn(|| turns.next()).collect();
        assert_eq!(all, ["own", "a", "b"]);
        let mut turns = of(&["own", "a", "b"]);
        let mut asked = Vec::new();
        for _ in 0..8 {
            let one = turns.next().unwrap();
            asked.push(one.clone());
            turns.back(one);
        }
        assert_eq!(asked, ["own", "a", "own", "b", "own", "a", "own", "b"], "one slot");
    }

    #[test]
    fn a_runner_with_one_consumer_asks_that() {
        let mut turns = of(&["own"]);
        assert_eq!((turns.next(), turns.next()), (Some("own".into()), None));
        turns.back("own".into());
        assert_eq!((turns.next(), turns.wait()), (Some("own".into()), ALONE));
    }

    #[test]
    fn what_is_served_from_now_on_is_asked_and_what_is_served_no_more_is_not() {
        let mut turns = of(&["own", "a", "b"]);
        assert_eq!((turns.next(), turns.next()), (Some("own".into()), Some("a".into())));
        turns.change(vec!["own".into(), "c".into()]);
        assert!(!turns.has(&"a".into()), "what comes from there now is left to others");
        turns.back("a".into());
        turns.back("own".into());
        let all: Vec<_> = std::iter::from_fn(|| turns.next()).collect();
        assert_eq!(all, ["own", "c"], "the last one asked was none of its own");
        assert_eq!(turns.wait(), IN_TURN);
    }
}
