//! A delivery and a record → what a runner does about it.
//!
//! A delivery never means that its holder died: JetStream delivers again after a restart, with any
//! count. Only the record says who holds a run. An ack is sent only when the record is terminal or
//! of a higher generation ([`Claim::Done`], or once what follows [`Claim::Carry`] and
//! [`Claim::GiveUp`] stands); silence costs only a redelivery.
//!
//! A holding that came to no outcome was either *cut by a death*, of claude while its holder lived,
//! or *lost*: its host was rebooted, its runner was not there, another took over. Both are tried
//! again, each up to its own bound ([`Bounds`]), so that no run is tried for ever and no reboot
//! counts against claude.
//!
//! Pure. The runner calls it with what it read, the model (`run/model.rs`) with what it made up.

use std::cmp::Ordering;

use super::{Fact, Phase};
use crate::ids::{Attempt, Generation};

/// What a work message says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Work {
    /// The generation that it asks for.
    pub generation: Generation,
    /// The generation of the last Retry: an outcome of an older one is none of this work.
    pub since: Generation,
}

/// Who holds what a record says is held, as seen by the one who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Holder {
    /// The asker, and it is at work on it.
    Here,
    /// The asker, who is not at work on it. Every spool was adopted before work was asked for, so
    /// without one nothing of it runs.
    Own,
    /// Somebody else, who may be at work on it.
    Another,
    /// Somebody else, whose claude was fenced and whose time to renew is over.
    Silent,
}

/// A record as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Seen {
    /// What it says.
    pub fact: Fact,
    /// How many holdings of its generation were cut by a death.
    pub deaths: u32,
    /// Whose it is.
    pub holder: Holder,
}

/// What a generation has cost when a holding begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Toll {
    /// The holding that begins.
    pub attempt: Attempt,
    /// How many of those before were cut by a death; the others were lost.
    pub deaths: u32,
}

/// How a holding ended that came to no outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cut {
    /// claude died while its holder lived.
    Death,
    /// Whatever else: a reboot, a runner that was not there, a fence, a take-over.
    Loss,
}

/// How often a generation is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bounds {
    /// Holdings that a death may cut.
    pub deaths: u32,
    /// Holdings that may be lost.
    pub losses: u32,
}

/// What a runner does about a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Claim {
    /// Take it out of the queue: it has its outcome, or a newer generation took its place.
    Done,
    /// Hold on: it is at work here. The delivery only replaces the older one.
    Ours,
    /// Another holds it: neither ack nor nak.
    Anothers,
    /// Write the record as this holding, and start.
    Take(Toll),
    /// It was lost too often: write the record as this holding with that outcome, start nothing.
    GiveUp(Toll),
    /// A Move of what has its outcome: write that into the new generation, start nothing.
    Carry,
}

impl Toll {
    /// The first holding of a generation.
    pub const FIRST: Self = Self { attempt: Attempt::FIRST, deaths: 0 };

    /// The next holding after one that ended so.
    #[must_use]
    pub fn after(self, cut: Cut) -> Self {
        let deaths = match cut {
            Cut::Death => self.deaths.saturating_add(1),
            Cut::Loss => self.deaths,
        };
        Self { attempt: self.attempt.next(), deaths }
    }

    /// How many of the holdings before were lost.
    pub fn losses(self) -> u32 {
        self.attempt.0.saturating_sub(1).saturating_sub(self.deaths)
    }

    /// Which bound was reached, if one was: then this holding starts nothing.
    pub fn reached(self, bounds: Bounds) -> Option<Cut> {
        if bounds.deaths <= self.deaths {
            return Some(Cut::Death);
        }
        (bounds.losses <= self.losses()).then_some(Cut::Loss)
    }
}

/// Decides on a delivery, by the record that was read for it.
#[must_use]
pub fn decide(work: Work, seen: Option<Seen>, bounds: Bounds) -> Claim {
    let Some(Seen { fact, deaths, holder }) = seen else { return Claim::Take(Toll::FIRST) };
    let over = match fact.phase {
        Phase::Claimed | Phase::Running => false,
        Phase::Ended => true,
    };
    match (work.generation.cmp(&fact.generation), holder) {
        (Ordering::Less, _) => Claim::Done,
        (Ordering::Greater, _) if over && work.since <= fact.generation => Claim::Carry,
        (Ordering::Greater, _) => Claim::Take(Toll::FIRST),
        (Ordering::Equal, _) if over => Claim::Done,
        (Ordering::Equal, Holder::Here) => Claim::Ours,
        (Ordering::Equal, Holder::Another) => Claim::Anothers,
        (Ordering::Equal, Holder::Own | Holder::Silent) => {
            let toll = Toll { attempt: fact.attempt, deaths }.after(Cut::Loss);
            match toll.reached(bounds) {
                None => Claim::Take(toll),
                Some(Cut::Death | Cut::Loss) => Claim::GiveUp(toll),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::OwnerToken;
    use crate::run::{Run, Step};
    use proptest::prelude::*;

    const BOUNDS: Bounds = Bounds { deaths: 3, losses: 4 };

    fn work(generation: u32, since: u32) -> Work {
        Work { generation: Generation(generation), since: Generation(since) }
    }

    fn seen(generation: u32, phase: Phase, holder: Holder) -> Seen {
        let generation = Generation(generation);
        let fact = Fact { generation, attempt: Attempt(2), owner: OwnerToken::random(), phase };
        Seen { fact, deaths: 1, holder }
    }

    fn on(work: Work, seen: Seen) -> Claim {
        decide(work, Some(seen), BOUNDS)
    }

    #[test]
    fn a_run_without_record_is_taken() {
        assert_eq!(decide(work(3, 2), None, BOUNDS), Claim::Take(Toll::FIRST));
    }

    #[test]
    fn what_is_over_or_superseded_is_taken_out_of_the_queue() {
        assert_eq!(on(work(1, 1), seen(1, Phase::Ended, Holder::Own)), Claim::Done);
        assert_eq!(on(work(1, 1), seen(1, Phase::Ended, Holder::Another)), Claim::Done);
        assert_eq!(on(work(1, 1), seen(2, Phase::Running, Holder::Here)), Claim::Done);
    }

    #[test]
    fn what_is_at_work_starts_nothing() {
        assert_eq!(on(work(1, 1), seen(1, Phase::Running, Holder::Here)), Claim::Ours);
        assert_eq!(on(work(1, 1), seen(1, Phase::Running, Holder::Another)), Claim::Anothers);
    }

    #[test]
    fn what_was_lost_is_the_next_attempt_and_no_death() {
        let next = Claim::Take(Toll { attempt: Attempt(3), deaths: 1 });
        assert_eq!(on(work(1, 1), seen(1, Phase::Claimed, Holder::Own)), next);
        assert_eq!(on(work(1, 1), seen(1, Phase::Running, Holder::Silent)), next);
    }

    #[test]
    fn what_was_lost_too_often_is_given_up() {
        let mut lost = seen(1, Phase::Claimed, Holder::Own);
        lost.fact.attempt = Attempt(4);
        assert!(matches!(on(work(1, 1), lost), Claim::Take(_)), "three were lost");
        lost.fact.attempt = Attempt(5);
        let over = Toll { attempt: Attempt(6), deaths: 1 };
        assert_eq!(on(work(1, 1), lost), Claim::GiveUp(over));
        assert_eq!(over.reached(BOUNDS), Some(Cut::Loss));
    }

    #[test]
    fn a_move_carries_an_outcome_that_is_not_older_than_the_last_retry() {
        let over = |generation| seen(generation, Phase::Ended, Holder::Another);
        assert_eq!(on(work(2, 1), over(1)), Claim::Carry);
        assert_eq!(on(work(3, 2), over(2)), Claim::Carry);
        let anew = Claim::Take(Toll::FIRST);
        assert_eq!(on(work(3, 2), over(1)), anew, "the failure that was retried stays gone");
        assert_eq!(on(work(2, 2), over(1)), anew, "a Retry");
        assert_eq!(on(work(2, 1), seen(1, Phase::Running, Holder::Another)), anew);
    }

    #[test]
    fn deaths_and_losses_have_bounds_of_their_own() {
        let mut toll = Toll::FIRST;
        for cut in [Cut::Loss, Cut::Death, Cut::Loss, Cut::Death, Cut::Loss] {
            toll = toll.after(cut);
            assert_eq!(toll.reached(BOUNDS), None, "{toll:?}");
        }
        assert_eq!((toll.attempt, toll.deaths, toll.losses()), (Attempt(6), 2, 3));
        assert_eq!(toll.after(Cut::Death).reached(BOUNDS), Some(Cut::Death));
        assert_eq!(toll.after(Cut::Loss).reached(BOUNDS), Some(Cut::Loss));
    }

    fn any_seen() -> impl Strategy<Value = Seen> {
        let phases = [Phase::Claimed, Phase::Running, Phase::Ended];
        let holders = [Holder::Here, Holder::Own, Holder::Another, Holder::Silent];
        let any = (1..5u32, 1..9u32, 0..4u32, 0..phases.len(), 0..holders.len());
        any.prop_map(move |(generation, attempt, deaths, phase, holder)| Seen {
            fact: Fact {
                generation: Generation(generation),
                attempt: Attempt(attempt),
                owner: OwnerToken::random(),
                phase: phases[phase],
            },
            deaths: deaths.min(attempt - 1),
            holder: holders[holder],
        })
    }

    /// No Retry is later than the work that it is said in.
    fn any_work() -> impl Strategy<Value = Work> {
        (1..5u32, 1..5u32).prop_map(|(generation, since)| work(generation, since.min(generation)))
    }

    /// What the runner writes on a claim.
    fn written(work: Work, claim: Claim) -> Option<Fact> {
        let fact = |attempt, phase| {
            let owner = OwnerToken::random();
            Some(Fact { generation: work.generation, attempt, owner, phase })
        };
        match claim {
            Claim::Done | Claim::Ours | Claim::Anothers => None,
            Claim::Take(toll) => fact(toll.attempt, Phase::Claimed),
            Claim::GiveUp(toll) => fact(toll.attempt, Phase::Ended),
            Claim::Carry => fact(Attempt::FIRST, Phase::Ended),
        }
    }

    proptest! {
        #[test]
        fn nothing_is_written_over_an_outcome_of_its_generation(
            work in any_work(), seen in any_seen(),
        ) {
            let fact = Fact { generation: work.generation, phase: Phase::Ended, ..seen.fact };
            prop_assert_eq!(on(work, Seen { fact, ..seen }), Claim::Done);
        }

        #[test]
        fn nothing_is_acked_before_its_record_is_final_or_newer(
            work in any_work(), seen in any_seen(),
        ) {
            let Fact { generation, phase, .. } = seen.fact;
            let may = work.generation < generation
                || work.generation == generation && phase == Phase::Ended;
            prop_assert_eq!(on(work, seen) == Claim::Done, may);
        }

        #[test]
        fn within_a_generation_the_attempt_grows(work in any_work(), seen in any_seen()) {
            match on(work, seen) {
                Claim::Take(toll) | Claim::GiveUp(toll)
                    if work.generation == seen.fact.generation =>
                {
                    prop_assert!(seen.fact.attempt < toll.attempt);
                    prop_assert!(toll.deaths < toll.attempt.0);
                }
                Claim::Take(toll) | Claim::GiveUp(toll) => prop_assert_eq!(toll, Toll::FIRST),
                Claim::Done | Claim::Ours | Claim::Anothers | Claim::Carry => {}
            }
        }

        #[test]
        fn only_an_outcome_since_the_last_retry_is_carried(
            work in any_work(), seen in any_seen(),
        ) {
            let Fact { generation, phase, .. } = seen.fact;
            let may = generation < work.generation
                && work.since <= generation
                && phase == Phase::Ended;
            prop_assert_eq!(on(work, seen) == Claim::Carry, may);
        }

        #[test]
        fn what_is_written_may_follow_what_was_read(work in any_work(), seen in any_seen()) {
            if let Some(fact) = written(work, on(work, seen)) {
                prop_assert_ne!(Run::Held(seen.fact).step(fact), Step::Stale);
            }
        }

        /// Whatever cuts it, a generation is not tried for ever.
        #[test]
        fn a_bound_is_reached(cuts in prop::collection::vec(any::<bool>(), 8)) {
            let mut toll = Toll::FIRST;
            for died in cuts {
                toll = toll.after(if died { Cut::Death } else { Cut::Loss });
            }
            prop_assert!(toll.reached(BOUNDS).is_some(), "{toll:?}");
        }
    }
}
