//! The model, walked through: what holds, what can happen, and that each property tells.

use std::collections::BTreeSet;

use stateright::{Checker, Expectation, HasDiscoveries, Model};

use super::properties::{
    ACK_LAST, DEATHS_WERE_SEEN, EACH_FOLLOWS, GENERATION_GROWS, HEARD_ONCE, NOT_AFTER_END,
    ONE_ANSWER, ONE_CLAUDE, ONE_OUTCOME_IN_RUNS, ONE_OUTCOME_IN_STORE, ONE_PLACE, OUTCOME_STAYS,
    POSTED_IS_FINISHED, RETRY_ANEW,
};
use super::reach::{
    ACKED_AGAIN, ACKED_LOWER, ADOPTED, GIVEN_UP, Graph, HAD_BEEN_APPLIED, LOST, Mark, TAKEN_OVER,
};
use super::world::Decision;
use super::{Action, Mutation, Protocol, Start};
use crate::ids::Generation;
use crate::run::claim::Bounds;

/// Nothing is tried again.
const ONCE: Bounds = Bounds { deaths: 1, losses: 1 };
/// Nothing is tried again but what was lost, and that once.
const TAKEN_OVER_ONCE: Bounds = Bounds { deaths: 1, losses: 2 };
/// One generation in an exclusive project.
const ONE: Protocol = Protocol {
    shared: false,
    generations: 1,
    bounds: Bounds { deaths: 2, losses: 1 },
    late: 2,
    running: true,
    start: Start::Released,
    mutation: Mutation::None,
};
/// The same, where a loss is tried again as well.
const LOSSES: Protocol = Protocol { bounds: TAKEN_OVER_ONCE, late: 1, running: false, ..ONE };
/// Two generations: a Retry, a Move or an End at any moment.
const TWO: Protocol = Protocol { generations: 2, late: 1, running: false, ..ONE };
/// A failed run, and two decisions about it.
const AFTER_FAILURE: Protocol =
    Protocol { generations: 3, bounds: ONCE, start: Start::Failed, ..TWO };
/// One generation in a project of two runners.
const SHARED: Protocol = Protocol { shared: true, bounds: TAKEN_OVER_ONCE, generations: 1, ..TWO };

/// What is broken, in which world, and which properties tell.
const BROKEN: [(Mutation, Protocol, &[&str]); 15] = [
    (Mutation::AckBeforeCas, ONE, &[ACK_LAST]),
    (Mutation::SkipOwnerToken, SHARED, &[EACH_FOLLOWS, ONE_PLACE]),
    (Mutation::TrustDeliveryCount, LOSSES, &[EACH_FOLLOWS]),
    (
        Mutation::FirstOutcomeNotFinal,
        LOSSES,
        &[EACH_FOLLOWS, ONE_OUTCOME_IN_RUNS, ONE_OUTCOME_IN_STORE, HEARD_ONCE, ONE_ANSWER],
    ),
    (Mutation::FoldWithoutStep, TWO, &[OUTCOME_STAYS, GENERATION_GROWS, POSTED_IS_FINISHED]),
    (Mutation::TimeoutIsWon, ONE, &[ACK_LAST]),
    (Mutation::HandleOfAnyGeneration, TWO, &[ACK_LAST]),
    (Mutation::WorkBeforeAdoption, LOSSES, &[ONE_CLAUDE]),
    (Mutation::SpawnBesideOld, TWO, &[ONE_CLAUDE]),
    (Mutation::MoveCarriesAnything, AFTER_FAILURE, &[RETRY_ANEW]),
    (Mutation::TakeoverBeforeFence, SHARED, &[ONE_PLACE]),
    (Mutation::SpawnAfterFence, SHARED, &[ONE_PLACE]),
    (Mutation::LossIsDeath, ONE, &[DEATHS_WERE_SEEN]),
    (Mutation::SpawnUnasked, TWO, &[NOT_AFTER_END]),
    (Mutation::AdoptUnasked, TWO, &[NOT_AFTER_END]),
];

/// Discord has heard how it ended.
const IS_OVER: fn(&Mark) -> bool = |mark| mark.over;

/// As many as the smallest machine has cores that this is built on.
const THREADS: usize = 2;

#[expect(clippy::print_stdout, reason = "how much was looked at belongs to the test's output")]
fn say(what: &str, model: Protocol, states: usize) {
    println!("{what}: {states} states of {model:?}");
}

/// Every property holds in every state, and each thing that should be able to happen can.
fn holds(model: Protocol) {
    let checker = model.checker().threads(THREADS).spawn_bfs().join();
    say("checked", model, checker.unique_state_count());
    checker.assert_properties();
}

/// Whatever happened, the system comes to an outcome by itself, and Discord hears it.
fn can_end(model: Protocol, seen: &[&'static str]) -> Graph {
    let graph = Graph::of(&model);
    say("walked", model, graph.marks.len());
    assert_eq!(graph.stuck(IS_OVER, |_| true, |_, own| own), None);
    assert_eq!(graph.seen, seen.iter().copied().collect());
    graph
}

/// The checker finds what a broken rule leads to.
fn is_found(mutation: Mutation) {
    let (_, model, names) = BROKEN.iter().find(|(one, ..)| *one == mutation).unwrap();
    let model = Protocol { mutation, ..*model };
    let all = HasDiscoveries::AllOf(names.iter().copied().collect());
    let checker = model.checker().finish_when(all).spawn_bfs().join();
    say("searched", model, checker.unique_state_count());
    for name in *names {
        assert!(checker.discovery(name).is_some(), "{mutation:?} does not break {name:?}");
    }
}

#[test]
fn one_generation_holds() {
    holds(ONE);
}

#[test]
fn a_run_that_is_lost_holds() {
    holds(LOSSES);
}

#[test]
fn retry_move_and_end_hold() {
    holds(TWO);
}

#[test]
fn two_decisions_after_a_failure_hold() {
    holds(AFTER_FAILURE);
}

#[test]
fn two_runners_of_a_shared_project_hold() {
    holds(SHARED);
}

#[test]
fn a_run_can_always_end() {
    can_end(ONE, &[ACKED_AGAIN, ADOPTED, GIVEN_UP, HAD_BEEN_APPLIED, LOST]);
}

#[test]
fn a_run_can_always_end_whatever_was_decided_and_wherever_its_runner_is() {
    let graph =
        can_end(TWO, &[ACKED_AGAIN, ACKED_LOWER, ADOPTED, GIVEN_UP, HAD_BEEN_APPLIED, LOST]);
    // The owner does nothing ever again: a Move is enough.
    let first = Generation::FIRST;
    let moved = Action::Decide(Decision::Move);
    let others = |action: Action, own| (own || action == moved) && !action.is_of(0);
    assert_eq!(graph.stuck(IS_OVER, |mark| mark.generation == first, others), None);
    // Nobody does anything ever again: an End is enough.
    let ended = |action, _| matches!(action, Action::Decide(Decision::End) | Action::Post);
    let undecided = |mark: &Mark| mark.generation == first;
    assert_eq!(graph.stuck(IS_OVER, undecided, ended), None);
    // After an End no claude lives for ever, even one that never answers.
    let is_gone = |mark: &Mark| mark.alive == 0;
    let is_ended = |mark: &Mark| mark.ended;
    let waits = |action, own| own && !matches!(action, Action::ClaudeAnswers(_));
    assert_eq!(graph.stuck(is_gone, is_ended, waits), None);
    let untold = |action, own| waits(action, own) && !matches!(action, Action::Stop(_));
    assert!(graph.stuck(is_gone, is_ended, untold).is_some(), "it is CONTROL that ends it");
}

#[test]
fn a_shared_run_can_always_end_with_one_runner_down() {
    // A write that timed out and comes late leads nowhere that a slow answer does not lead to.
    let model = Protocol { late: 0, ..SHARED };
    let graph = can_end(model, &[ACKED_AGAIN, ADOPTED, GIVEN_UP, LOST, TAKEN_OVER]);
    let without_start = |action, own| own && !matches!(action, Action::Restart(_));
    assert_eq!(graph.stuck(IS_OVER, |mark| mark.down < 2, without_start), None);
}

#[test]
fn a_run_whose_owner_is_not_asked_for_can_hang() {
    let model = Protocol { mutation: Mutation::SkipOwnerToken, ..ONE };
    let graph = Graph::of(&model);
    assert!(graph.stuck(IS_OVER, |_| true, |_, own| own).is_some());
}

#[test]
fn an_ack_before_the_record_is_found() {
    is_found(Mutation::AckBeforeCas);
}

#[test]
fn an_owner_who_is_not_asked_for_is_found() {
    is_found(Mutation::SkipOwnerToken);
}

#[test]
fn an_attempt_from_the_delivery_count_is_found() {
    is_found(Mutation::TrustDeliveryCount);
}

#[test]
fn a_second_outcome_is_found() {
    is_found(Mutation::FirstOutcomeNotFinal);
}

#[test]
fn a_fold_of_whatever_comes_is_found() {
    is_found(Mutation::FoldWithoutStep);
}

#[test]
fn a_time_out_taken_for_success_is_found() {
    is_found(Mutation::TimeoutIsWon);
}

#[test]
fn an_ack_by_another_generation_is_found() {
    is_found(Mutation::HandleOfAnyGeneration);
}

#[test]
fn work_before_adoption_is_found() {
    is_found(Mutation::WorkBeforeAdoption);
}

#[test]
fn two_claudes_side_by_side_are_found() {
    is_found(Mutation::SpawnBesideOld);
}

#[test]
fn an_old_failure_in_place_of_a_retry_is_found() {
    is_found(Mutation::MoveCarriesAnything);
}

#[test]
fn a_take_over_before_the_fence_is_found() {
    is_found(Mutation::TakeoverBeforeFence);
}

#[test]
fn a_claude_that_is_started_after_the_fence_is_found() {
    is_found(Mutation::SpawnAfterFence);
}

#[test]
fn a_reboot_that_counts_as_a_death_is_found() {
    is_found(Mutation::LossIsDeath);
}

#[test]
fn a_claude_that_is_started_after_an_end_is_found() {
    is_found(Mutation::SpawnUnasked);
    is_found(Mutation::AdoptUnasked);
}

#[test]
fn every_property_is_broken_by_some_mutation() {
    let broken: BTreeSet<&str> = BROKEN.iter().flat_map(|(_, _, names)| *names).copied().collect();
    let all = ONE.properties().into_iter().chain(TWO.properties());
    let always = all.filter(|one| one.expectation == Expectation::Always);
    assert_eq!(broken, always.map(|one| one.name).collect());
}
