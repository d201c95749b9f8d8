//! Runs that another runner holds, and that this one may take over: what was seen of their records,
//! and since when.
//!
//! A delivery of such a run is kept, neither acked nor said to be in progress; it uses no slot. The
//! record is read again every few seconds. Once its revision was the same for as long as a take-over
//! takes, by this process's own monotonic clock (which suspend only makes slower), or once
//! the record says something else, the delivery is ripe: it is looked at again as one that has just
//! come, with what was seen. Whether the run is taken over then is decided there, and by
//! compare-and-set over the very revision that was seen.
//!
//! A hint and never the truth: what is forgotten is delivered again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use platform::reload::Current;
use schemas::ids::{Generation, StateId};
use schemas::record::Record;
use schemas::streams::RunKey;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::bus::Delivery;
use crate::host::Host;

/// How many are remembered. Each holds a request; what does not fit is delivered again.
const MAX: usize = 1024;
/// How often a record is read again, at most.
const LOOK_EVERY: Duration = Duration::from_secs(3);
/// In so many looks a take-over is due, when it comes sooner than that.
const LOOKS: u32 = 10;

/// What was seen of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sight {
    /// Its revision.
    pub(crate) revision: u64,
    /// When that revision was seen first.
    pub(crate) since: Instant,
}

impl Sight {
    /// Whether the record is still at this revision, and has been for so long.
    pub(crate) fn is_silent(&self, revision: u64, now: Instant, takeover: Duration) -> bool {
        self.revision == revision && takeover <= now.saturating_duration_since(self.since)
    }
}

/// A delivery that is to be looked at again.
#[derive(Debug)]
pub(crate) struct Ripe<D = Delivery> {
    /// The delivery.
    pub(crate) delivery: D,
    /// What was seen of its record.
    pub(crate) sight: Sight,
}

#[derive(Debug)]
struct Candidate<D> {
    delivery: D,
    sight: Sight,
    is_ripe: bool,
}

/// The runs that others hold.
#[derive(Debug)]
pub(crate) struct Candidates<D = Delivery> {
    all: Mutex<HashMap<(RunKey, Generation), Candidate<D>>>,
    ripened: Notify,
}

impl<D> Default for Candidates<D> {
    fn default() -> Self {
        Self { all: Mutex::default(), ripened: Notify::default() }
    }
}

impl<D> Candidates<D> {
    fn lock(&self) -> MutexGuard<'_, HashMap<(RunKey, Generation), Candidate<D>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a delivery of what another holds. What is known of the same revision stays known.
    pub(crate) fn wait(&self, key: RunKey, generation: Generation, delivery: D, sight: Sight) {
        let mut all = self.lock();
        let place = (key, generation);
        let known = all.get(&place).map(|known| known.sight);
        if known.is_none() && MAX <= all.len() {
            return tracing::warn!("too many runs of others: this one comes again");
        }
        let sight = known.filter(|known| known.revision == sight.revision).unwrap_or(sight);
        all.insert(place, Candidate { delivery, sight, is_ripe: false });
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    /// Takes one that is to be looked at again.
    pub(crate) fn ripe(&self) -> Option<Ripe<D>> {
        let mut all = self.lock();
        let key = all.iter().find(|(_, one)| one.is_ripe).map(|(key, _)| key.clone())?;
        let Candidate { delivery, sight, .. } = all.remove(&key)?;
        Some(Ripe { delivery, sight })
    }

    /// Returns when one has become ripe since the last call.
    pub(crate) async fn ripened(&self) {
        self.ripened.notified().await;
    }

    fn unripe(&self) -> Vec<(RunKey, Generation)> {
        self.lock().iter().filter(|(_, one)| !one.is_ripe).map(|(key, _)| key.clone()).collect()
    }

    /// Notes what a record says now.
    fn saw(
        &self,
        place: &(RunKey, Generation),
        held: Option<u64>,
        now: Instant,
        takeover: Duration,
    ) {
        let mut all = self.lock();
        let Some(one) = all.get_mut(place) else { return };
        match held {
            Some(revision) if one.sight.revision != revision => {
                one.sight = Sight { revision, since: now };
            }
            Some(revision) => one.is_ripe = one.sight.is_silent(revision, now, takeover),
            None => one.is_ripe = true,
        }
        if one.is_ripe {
            self.ripened.notify_one();
        }
    }
}

/// Leaves a run to the one that holds it, and looks again in a while if the project is shared.
pub(crate) fn watch(
    host: &Host,
    key: RunKey,
    generation: Generation,
    delivery: Delivery,
    read: Option<(Record, u64)>,
) {
    let Some((record, revision)) = read else { return };
    let holder = record.runner;
    if host.config.shared().any(|shared| *shared == key.project) {
        tracing::info!(run = %key.run, %holder, "another runner holds this run; it is watched");
        let sight = Sight { revision, since: Instant::now() };
        host.candidates.wait(key, generation, delivery, sight);
    } else {
        tracing::error!(run = %key.run, %holder, "another runner holds this run");
    }
}

/// The revision at which another holds this generation, if another does.
fn held_by_another(
    record: Option<&(Record, u64)>,
    generation: Generation,
    me: StateId,
) -> Option<u64> {
    let (record, revision) = record?;
    let another =
        record.generation == generation && record.outcome().is_none() && record.state_id != me;
    another.then_some(*revision)
}

/// Reads the records again and again, until the runner is to end.
pub(crate) async fn run(current: Current<Host>) -> anyhow::Result<()> {
    // What it asks of the host is the same in every configuration.
    let host = current.now();
    let takeover = host.config.times.takeover;
    let every = LOOK_EVERY.min(takeover / LOOKS);
    while host.stop.run_until_cancelled(tokio::time::sleep(every)).await.is_some() {
        for place in host.candidates.unripe() {
            let reading = host.bus.record(&place.0);
            let Some(read) = host.stop.run_until_cancelled(reading).await else { return Ok(()) };
            match read {
                Ok(record) => {
                    let held = held_by_another(record.as_ref(), place.1, host.state_id);
                    host.candidates.saw(&place, held, Instant::now(), takeover);
                }
                // Nothing was seen, so nothing is known.
                Err(error) => tracing::debug!(?error, "a record of another was not read"),
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAKEOVER: Duration = Duration::from_secs(90);

    fn place(run: u64) -> (RunKey, Generation) {
        (format!("api.7.m{run}").parse().unwrap(), Generation::FIRST)
    }

    fn sight(revision: u64, since: Instant) -> Sight {
        Sight { revision, since }
    }

    #[test]
    fn what_is_unchanged_for_long_is_ripe_and_a_renewal_begins_anew() {
        let candidates = Candidates::default();
        let (begin, one) = (Instant::now(), place(1));
        let at = |secs| begin + Duration::from_secs(secs);
        candidates.wait(one.0.clone(), one.1, 'a', sight(5, begin));
        candidates.saw(&one, Some(5), at(89), TAKEOVER);
        assert!(candidates.ripe().is_none());
        candidates.saw(&one, Some(6), at(90), TAKEOVER);
        candidates.saw(&one, Some(6), at(179), TAKEOVER);
        assert!(candidates.ripe().is_none());
        candidates.saw(&one, Some(6), at(180), TAKEOVER);
        let ripe = candidates.ripe().unwrap();
        assert_eq!((ripe.delivery, ripe.sight), ('a', sight(6, at(90))));
        assert!(ripe.sight.is_silent(6, at(180), TAKEOVER));
        assert!(!ripe.sight.is_silent(7, at(180), TAKEOVER), "it was renewed this moment");
        assert!(candidates.ripe().is_none(), "it is looked at once");
    }

    #[test]
    fn a_later_delivery_replaces_the_older_one_and_no_time_is_lost() {
        let candidates = Candidates::default();
        let (begin, one) = (Instant::now(), place(1));
        let later = begin + Duration::from_secs(60);
        candidates.wait(one.0.clone(), one.1, 'a', sight(5, begin));
        candidates.wait(one.0.clone(), one.1, 'b', sight(5, later));
        candidates.saw(&one, Some(5), begin + TAKEOVER, TAKEOVER);
        let ripe = candidates.ripe().unwrap();
        assert_eq!((ripe.delivery, ripe.sight.since), ('b', begin));
    }

    #[test]
    fn what_another_no_longer_holds_is_looked_at_again_at_once() {
        let candidates = Candidates::default();
        let one = place(1);
        candidates.wait(one.0.clone(), one.1, 'a', sight(5, Instant::now()));
        candidates.saw(&one, None, Instant::now(), TAKEOVER);
        let ripe = candidates.ripe().unwrap();
        assert!(!ripe.sight.is_silent(5, Instant::now(), TAKEOVER));
    }

    #[test]
    fn no_more_are_remembered_than_fit() {
        let candidates = Candidates::default();
        for run in 0..=MAX {
            let (key, generation) = place(run as u64 + 1);
            candidates.wait(key, generation, run, sight(1, Instant::now()));
        }
        assert_eq!(candidates.unripe().len(), MAX);
    }

    #[test]
    fn only_a_live_record_of_another_is_waited_for() {
        let text = include_bytes!("../../schemas/golden/record-1-claimed.json");
        let record: Record = schemas::from_json(text).unwrap();
        let (me, generation) = (StateId::random(), record.generation);
        let found = (record.clone(), 7);
        assert_eq!(held_by_another(Some(&found), generation, me), Some(7));
        assert_eq!(held_by_another(Some(&found), generation.next(), me), None);
        assert_eq!(held_by_another(Some(&found), generation, record.state_id), None);
        assert_eq!(held_by_another(None, generation, me), None);
    }
}
