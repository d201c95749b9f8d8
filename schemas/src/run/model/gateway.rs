//! The gateway: publisher, feed, poster, and what a person decides.

use super::super::{Fact, Phase, Run, Step};
use super::world::{Decision, Gateway, Outcome, Record, World};
use super::{Action, Mutation, Protocol};
use crate::ids::Generation;

impl Protocol {
    /// What the gateway may do now. A publisher that is late publishes an old generation.
    pub(super) fn gateway_actions(&self, world: &World, actions: &mut Vec<Action>) {
        let gateway = &world.gateway;
        let now = gateway.generation();
        for generation in (1..=now.0).map(Generation) {
            let has_message = gateway.maker(generation) != Some(Decision::End);
            if has_message && !world.work.contains(&generation) {
                actions.push(Action::Publish(generation));
            }
        }
        let ended = |generation: &Generation| {
            gateway.maker(generation.next()) == Some(Decision::End)
                && !world.controls.contains(generation)
        };
        actions.extend((1..now.0).map(Generation).filter(ended).map(Action::Stop));
        actions.extend((0..world.runs.feed.len()).map(Action::Fold));
        if gateway.heard.len() < gateway.rows.len() {
            actions.push(Action::Post);
        }
        if now.0 < self.generations {
            if matches!(gateway.outcome, None | Some(Outcome::Failed(_) | Outcome::Stopped(_))) {
                actions.push(Action::Decide(Decision::Retry));
            }
            if gateway.outcome.is_none() {
                actions.push(Action::Decide(Decision::Move));
                actions.push(Action::Decide(Decision::End));
            }
        }
    }

    /// Whether a record from the feed changes the store: the rule of the store's own `fold`.
    pub(super) fn counts(&self, gateway: &Gateway, record: &Record) -> bool {
        let fact = record.fact();
        let run = match (self.mutation, gateway.run) {
            (Mutation::FoldWithoutStep, run) => return run != Run::Held(fact),
            (Mutation::FirstOutcomeNotFinal, Run::Held(held)) if held.phase == Phase::Ended => {
                Run::Held(Fact { phase: Phase::Running, ..held })
            }
            (_, run) if gateway.outcome.is_none() => run,
            _ => return false,
        };
        run.generation() == fact.generation && matches!(run.step(fact), Step::Moved(_))
    }

    /// Forgets what the feed cannot change anything with any more.
    pub(super) fn forget(&self, world: &mut World) {
        let World { gateway, runs, .. } = world;
        if !self.breaks(Mutation::FoldWithoutStep) {
            runs.feed.retain(|record| self.counts(gateway, record));
        }
    }

    /// Folds one revision of RUNS, as the feed brings it: any, at any time, any number of times.
    pub(super) fn fold(&self, world: &mut World, revision: usize) {
        let record = world.runs.feed[revision];
        if self.counts(&world.gateway, &record) {
            world.gateway.run = Run::Held(record.fact());
            world.gateway.outcome = record.outcome();
            if let Some(outcome) = record.outcome() {
                put_row(world, outcome);
            }
        }
    }
}

/// Puts the next row into Discord. A row that is put twice is there once, by its nonce.
pub(super) fn post(world: &mut World) {
    let gateway = &mut world.gateway;
    let next = gateway.rows[gateway.heard.len()];
    gateway.heard.push(next);
}

/// A new generation, in one transaction.
pub(super) fn decide(world: &mut World, decision: Decision) {
    let gateway = &mut world.gateway;
    gateway.decisions.push(decision);
    let generation = gateway.generation();
    gateway.run = Run::Released(generation);
    gateway.outcome = None;
    if decision == Decision::End {
        let outcome = Outcome::Ended(generation);
        gateway.outcome = Some(outcome);
        put_row(world, outcome);
    }
}

/// The row of an outcome, unless it is there.
fn put_row(world: &mut World, outcome: Outcome) {
    let gateway = &mut world.gateway;
    let row = (gateway.generation(), outcome);
    if !gateway.rows.contains(&row) {
        gateway.rows.push(row);
    }
}
