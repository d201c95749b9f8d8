//! The life of a run, as a value: no clock, no network, no database.
//!
//! ```text
//! Released ──► Claimed(a) ──► Running(a) ──► Ended(a)
//!                  ▲  └──────────┬─┘ a higher attempt
//!                  └─────────────┘
//!        whatever ──► anything of a higher generation
//! ```
//!
//! A runner writes records, and the gateway folds each into the run with [`Run::step`]. A record
//! may be read twice, late, or after its holder was superseded. Three rules make that harmless:
//!
//! 1. A higher generation wins over all of a lower one.
//! 2. Within a generation the first outcome is final.
//! 3. Until there is one, the higher attempt wins, and within an attempt its one owner only moves
//!    forward.
//!
//! What a runner does about a delivery of such a run is [`claim`]'s to say.
//!
//! What follows from them for the whole way round, with every fault that we know of, is checked by
//! the model in `run/model.rs`.
//!
//! **Invariant:** nothing here is serializable and nothing here asks for the time. The wire form
//! is [`crate::record`], the stored form is the gateway's.

pub mod claim;

use crate::ids::{Attempt, Generation, OwnerToken};

/// How far a holding has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Held; claude was not seen yet.
    Claimed,
    /// claude runs.
    Running,
    /// There is an outcome.
    Ended,
}

/// What one record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fact {
    /// The generation that it belongs to.
    pub generation: Generation,
    /// The holding that it belongs to.
    pub attempt: Attempt,
    /// Who wrote it.
    pub owner: OwnerToken,
    /// How far the holding has come.
    pub phase: Phase,
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Run {
    /// Released in this generation; no runner has spoken for it.
    Released(Generation),
    /// The newest record that counts.
    Held(Fact),
}

/// What a record did to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The run moved; the new state is to be stored with what it entails.
    Moved(Run),
    /// Known, superseded, or from somebody who does not hold the run: it changes nothing.
    Stale,
}

impl Run {
    /// The generation that the run is in.
    pub fn generation(self) -> Generation {
        match self {
            Run::Released(generation) => generation,
            Run::Held(fact) => fact.generation,
        }
    }

    /// Folds one record into the run.
    #[must_use]
    pub fn step(self, fact: Fact) -> Step {
        let follows = match self {
            Run::Released(generation) => generation <= fact.generation,
            Run::Held(held) if held.generation != fact.generation => {
                held.generation < fact.generation
            }
            Run::Held(held) => match held.phase {
                Phase::Ended => false,
                Phase::Claimed | Phase::Running if held.attempt == fact.attempt => {
                    held.owner == fact.owner && held.phase < fact.phase
                }
                Phase::Claimed | Phase::Running => held.attempt < fact.attempt,
            },
        };
        if follows { Step::Moved(Run::Held(fact)) } else { Step::Stale }
    }
}

#[cfg(test)]
mod model;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn owner(n: u8) -> OwnerToken {
        format!("00000000-0000-4000-8000-0000000000{n:02x}").parse().unwrap()
    }

    fn fact(generation: u32, attempt: u32, phase: Phase) -> Fact {
        Fact {
            generation: Generation(generation),
            attempt: Attempt(attempt),
            owner: owner(u8::try_from(attempt).unwrap()),
            phase,
        }
    }

    #[test]
    fn the_first_outcome_of_a_generation_is_final() {
        let ended = Run::Held(fact(1, 1, Phase::Ended));
        assert_eq!(ended.step(fact(1, 2, Phase::Claimed)), Step::Stale);
        assert_eq!(ended.step(fact(1, 2, Phase::Ended)), Step::Stale);
        assert_eq!(ended.step(fact(1, 1, Phase::Ended)), Step::Stale);
    }

    #[test]
    fn a_higher_generation_starts_anew_after_an_outcome() {
        let ended = Run::Held(fact(1, 3, Phase::Ended));
        let again = fact(2, 1, Phase::Claimed);
        assert_eq!(ended.step(again), Step::Moved(Run::Held(again)));
    }

    #[test]
    fn an_attempt_has_one_owner() {
        let held = Run::Held(fact(1, 1, Phase::Claimed));
        let stranger = Fact { owner: owner(99), ..fact(1, 1, Phase::Running) };
        assert_eq!(held.step(stranger), Step::Stale);
    }

    fn any_fact() -> impl Strategy<Value = Fact> {
        (1..4u32, 1..4u32, 0..3u8, 1..3u8).prop_map(|(generation, attempt, phase, who)| Fact {
            generation: Generation(generation),
            attempt: Attempt(attempt),
            owner: owner(who),
            phase: [Phase::Claimed, Phase::Running, Phase::Ended][usize::from(phase)],
        })
    }

    fn rank(run: Run) -> (Generation, bool, Attempt, Option<Phase>) {
        match run {
            Run::Released(generation) => (generation, false, Attempt(0), None),
            Run::Held(fact) => {
                (fact.generation, fact.phase == Phase::Ended, fact.attempt, Some(fact.phase))
            }
        }
    }

    proptest! {
        #[test]
        fn a_run_only_moves_forward(facts in prop::collection::vec(any_fact(), 0..40)) {
            let mut run = Run::Released(Generation::FIRST);
            for fact in facts {
                if let Step::Moved(to) = run.step(fact) {
                    prop_assert!(rank(run) < rank(to), "{run:?} went back to {to:?}");
                    run = to;
                }
            }
        }

        /// So that whoever saw a record change nothing may forget it.
        #[test]
        fn what_is_stale_stays_stale(
            facts in prop::collection::vec((any_fact(), any::<bool>()), 1..40),
        ) {
            let mut run = Run::Released(Generation::FIRST);
            let mut stale = Vec::new();
            for (fact, raise) in facts {
                if raise && run.generation() < fact.generation {
                    run = Run::Released(fact.generation);
                }
                match run.step(fact) {
                    Step::Moved(to) => run = to,
                    Step::Stale => stale.push(fact),
                }
                for old in &stale {
                    prop_assert_eq!(run.step(*old), Step::Stale);
                }
            }
        }

        #[test]
        fn a_repeated_record_changes_nothing(facts in prop::collection::vec(any_fact(), 1..40)) {
            let mut run = Run::Released(Generation::FIRST);
            for fact in facts {
                if let Step::Moved(to) = run.step(fact) {
                    run = to;
                }
                prop_assert_eq!(run.step(fact), Step::Stale);
            }
        }
    }
}
