//! What must always hold, and what must be able to happen.

use stateright::Property;

use super::world::{Decision, Held, Outcome, Process, Runner, World};
use super::{Protocol, Start};
use crate::ids::Generation;

pub(super) const ONE_OUTCOME_IN_RUNS: &str = "a generation has one outcome in RUNS";
pub(super) const ONE_OUTCOME_IN_STORE: &str = "a generation has one outcome in the store";
pub(super) const OUTCOME_STAYS: &str = "an outcome in the store stays";
pub(super) const EACH_FOLLOWS: &str = "each revision may follow the one before";
pub(super) const ACK_LAST: &str = "a message is acked after the record is final or newer";
pub(super) const HEARD_ONCE: &str = "Discord hears one outcome of a generation";
pub(super) const ONE_ANSWER: &str = "a person sees one answer";
pub(super) const POSTED_IS_FINISHED: &str = "what is posted is what was finished";
pub(super) const RETRY_ANEW: &str = "what was asked for again is done again";
pub(super) const ONE_CLAUDE: &str = "a runner has one claude of a run";
pub(super) const ONE_PLACE: &str = "a generation is worked on in one place";
pub(super) const DEATHS_WERE_SEEN: &str = "a death that counts was under a living holder";
pub(super) const NOT_AFTER_END: &str = "no claude is started that is known to be stopped";
pub(super) const GENERATION_GROWS: &str = "the store's generation is what was decided";

/// The properties of a model.
pub(super) fn all(model: &Protocol) -> Vec<Property<Protocol>> {
    let mut all = always();
    if model.generations == 1 {
        all.push(Property::always(DEATHS_WERE_SEEN, |_, world: &World| {
            world.runs.record.is_none_or(|record| record.deaths <= world.died)
        }));
    }
    if model.start == Start::Released {
        all.extend(sometimes());
    }
    if 1 < model.generations {
        all.extend(sometimes_after_decisions());
    }
    all
}

fn always() -> Vec<Property<Protocol>> {
    vec![
        Property::always(ONE_OUTCOME_IN_RUNS, |_, world: &World| one_each(&world.runs.outcomes)),
        Property::always(ONE_OUTCOME_IN_STORE, |_, world: &World| one_each(&world.gateway.rows)),
        Property::always(OUTCOME_STAYS, |_, world: &World| {
            let now = world.gateway.generation();
            let stored = world.gateway.rows.iter().find(|(generation, _)| *generation == now);
            stored.is_none_or(|(_, outcome)| world.gateway.outcome == Some(*outcome))
        }),
        Property::always(EACH_FOLLOWS, |_, world: &World| !world.runs.torn),
        Property::always(ACK_LAST, |_, world: &World| !world.bad_ack),
        Property::always(HEARD_ONCE, |_, world: &World| one_each(&world.gateway.heard)),
        Property::always(ONE_ANSWER, |_, world: &World| heard(world, is_answer) <= 1),
        Property::always(POSTED_IS_FINISHED, |_, world: &World| {
            world
                .gateway
                .heard
                .iter()
                .all(|(generation, outcome)| finished(world, *generation, *outcome))
        }),
        Property::always(RETRY_ANEW, |_, world: &World| {
            let anew = |(generation, outcome): &(Generation, Outcome)| {
                world.gateway.since(*generation) <= outcome.made_in()
            };
            world.gateway.heard.iter().all(anew)
        }),
        Property::always(ONE_CLAUDE, |_, world: &World| {
            world.runners.iter().all(|runner| runner.alive.len() <= 1)
        }),
        Property::always(ONE_PLACE, |_, world: &World| {
            let [one, other] = &world.runners;
            let both = |held: &&Held| {
                other.alive.iter().any(|theirs| theirs.generation == held.generation)
            };
            one.alive.iter().find(both).is_none()
        }),
        Property::always(NOT_AFTER_END, |_, world: &World| {
            let against = |runner: &Runner| {
                let spool = runner.spool.filter(|spool| spool.stopped);
                spool.is_some_and(|spool| runner.alive.contains(&spool.held))
            };
            !world.runners.iter().any(against)
        }),
        Property::always(GENERATION_GROWS, |_, world: &World| {
            world.gateway.run.generation() == world.gateway.generation()
        }),
    ]
}

fn sometimes() -> Vec<Property<Protocol>> {
    vec![
        Property::sometimes("an answer is read", |_, world: &World| 0 < heard(world, is_answer)),
        Property::sometimes("a failure is read", |_, world: &World| 0 < heard(world, is_failure)),
    ]
}

fn sometimes_after_decisions() -> Vec<Property<Protocol>> {
    vec![
        Property::sometimes("a retry after a failure is answered", |_, world: &World| {
            0 < heard(world, is_failure) && 0 < heard(world, is_answer)
        }),
        Property::sometimes("a run goes on elsewhere and is answered there", |_, world: &World| {
            world.gateway.heard.iter().any(|(generation, outcome)| {
                world.gateway.maker(*generation) == Some(Decision::Move)
                    && is_answer(outcome)
                    && outcome.made_in() == *generation
            })
        }),
        Property::sometimes("a moved run brings its outcome along", |_, world: &World| {
            world.gateway.heard.iter().any(|(generation, outcome)| outcome.made_in() < *generation)
        }),
        Property::sometimes("an end is read while claude is at work", |_, world: &World| {
            let at_work = world.runners.iter().any(|runner| !runner.alive.is_empty());
            let ended = |outcome: &Outcome| matches!(outcome, Outcome::Ended(_));
            at_work && 0 < heard(world, ended)
        }),
        Property::sometimes("a claude is stopped after an End", |_, world: &World| {
            world.runs.outcomes.iter().any(|(_, outcome)| matches!(outcome, Outcome::Stopped(_)))
        }),
        Property::sometimes("an old runner speaks while a new one works", |_, world: &World| {
            let Some(record) = world.runs.record else { return false };
            let speaks = |process: Process| {
                matches!(process, Process::Writing(write)
                    if write.record.held.generation < record.held.generation)
            };
            world.runners[record.runner].alive.contains(&record.held)
                && world.runners.iter().any(|runner| speaks(runner.process))
        }),
    ]
}

fn is_answer(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Answered(_))
}

fn is_failure(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Failed(_))
}

/// How many of such outcomes Discord shows.
fn heard(world: &World, such: fn(&Outcome) -> bool) -> usize {
    world.gateway.heard.iter().filter(|(_, outcome)| such(outcome)).count()
}

/// Whether no generation has two outcomes.
fn one_each(outcomes: &[(Generation, Outcome)]) -> bool {
    let differs = |(generation, first): &(Generation, Outcome)| {
        outcomes.iter().any(|(other, outcome)| other == generation && outcome != first)
    };
    !outcomes.iter().any(differs)
}

/// Whether somebody brought that generation to that outcome: its End, or a record; and whether the
/// generation that the outcome names had it first.
fn finished(world: &World, generation: Generation, outcome: Outcome) -> bool {
    match outcome {
        Outcome::Ended(by) => by == generation && world.gateway.maker(by) == Some(Decision::End),
        Outcome::Answered(_) | Outcome::Failed(_) | Outcome::Stopped(_) => {
            let recorded = |generation| world.runs.outcomes.contains(&(generation, outcome));
            recorded(generation) && recorded(outcome.made_in())
        }
    }
}
