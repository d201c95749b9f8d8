//! The gateway: publisher, feed, poster, and what a person decides.

use super::super::{Fact, Phase, Run, Step};
use super::world::{Decision, Outcome, World};
use super::{Action, Mutation, Protocol};
use crate::ids::Generation;

impl Protocol {
    /// What the gateway may do now. A late second gateway is one that publishes an old generation.
    pub(super) fn gateway_actions(&self, world: &World, actions: &mut Vec<Action>) {
        let gateway = &world.gateway;
        let now = gateway.generation();
        for generation in (1..=now.0).map(Generation) {
            let has_message = gateway.maker(generation) != Some(Decision::End);
            if has_message && !world.work.contains(&generation) {
                actions.push(Action::Publish(generation));
            }
        }
        actions.extend((0..world.runs.len()).map(Action::Fold));
        actions.extend((gateway.heard.len()..gateway.rows.len()).map(|_| Action::Post));
        if now.0 < self.generations {
            if matches!(gateway.outcome, None | Some(Outcome::Failed(_))) {
                actions.push(Action::Decide(Decision::Retry));
            }
            if gateway.outcome.is_none() {
                actions.push(Action::Decide(Decision::Move));
                actions.push(Action::Decide(Decision::End));
            }
        }
    }

    /// Whether a record from the feed would change the store.
    fn follows(&self, run: Run, fact: Fact) -> bool {
        let run = match run {
            Run::Held(held)
                if self.mutation == Mutation::FirstOutcomeNotFinal
                    && held.phase == Phase::Ended =>
            {
                Run::Held(Fact { phase: Phase::Running, ..held })
            }
            Run::Released(_) | Run::Held(_) => run,
        };
        self.mutation == Mutation::FoldWithoutStep || matches!(run.step(fact), Step::Moved(_))
    }

    /// Folds one revision of RUNS, as the feed brings it: any, at any time, any number of times.
    pub(super) fn fold(&self, world: &mut World, revision: usize) {
        let record = world.runs[revision];
        let fact = record.fact();
        let gateway = &mut world.gateway;
        let released = gateway.outcome.is_none()
            || matches!(
                self.mutation,
                Mutation::FirstOutcomeNotFinal | Mutation::FoldWithoutStep
            );
        if !released || gateway.run.generation() != fact.generation {
            return;
        }
        if !self.follows(gateway.run, fact) {
            return;
        }
        gateway.run = Run::Held(fact);
        gateway.outcome = record.outcome();
        if let Some(outcome) = record.outcome() {
            put_row(world, outcome);
        }
    }
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
    let row = (gateway.run.generation(), outcome);
    if !gateway.rows.contains(&row) {
        gateway.rows.push(row);
    }
}
