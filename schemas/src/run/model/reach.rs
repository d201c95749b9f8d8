//! Every state and every step of a model, to ask what can be reached from where.
//!
//! stateright's own `eventually` does not look at cycles, and in a world where anything may come
//! again nearly every path has one. This asks more: from *every* state that can be come to, by
//! whatever faults, an outcome must be reachable by the steps of the system alone.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher as _};

use stateright::Model as _;

use super::world::{Decision, Outcome, Process, Runner, State, World};
use super::{Action, Protocol};
use crate::ids::Generation;

/// One step between two states, by their numbers.
struct Step {
    from: u32,
    to: u32,
    action: Action,
    /// Whether the system takes it by itself: no fault, no decision of a person.
    own: bool,
}

/// What is asked about a state.
#[derive(Clone, Copy)]
pub(super) struct Mark {
    /// Discord has heard the outcome of the present generation.
    pub(super) over: bool,
    /// The present generation is an End.
    pub(super) ended: bool,
    /// Claudes that live.
    pub(super) alive: usize,
    /// The present generation.
    pub(super) generation: Generation,
    /// Runners that are down.
    pub(super) down: usize,
    /// The state and step that led here first.
    first: Option<(u32, Action)>,
}

/// The graph of a model.
pub(super) struct Graph {
    pub(super) marks: Vec<Mark>,
    steps: Vec<Step>,
    /// What was seen to happen, of the things that a state alone does not tell.
    pub(super) seen: BTreeSet<&'static str>,
}

impl Graph {
    /// Walks through all of a model. States are told apart by their hash, as stateright does.
    pub(super) fn of(model: &Protocol) -> Self {
        let mut graph = Self { marks: Vec::new(), steps: Vec::new(), seen: BTreeSet::new() };
        let mut numbers = HashMap::new();
        let mut queue = VecDeque::new();
        for world in model.init_states() {
            numbers.insert(hash(&world), graph.add(&world, None));
            queue.push_back((0, world));
        }
        let mut actions = Vec::new();
        while let Some((from, world)) = queue.pop_front() {
            model.actions(&world, &mut actions);
            for action in actions.drain(..) {
                let Some(next) = model.next_state(&world, action) else { continue };
                graph.seen.extend(told(&world, action, &next));
                let to = *numbers.entry(hash(&next)).or_insert_with(|| {
                    let number = graph.add(&next, Some((from, action)));
                    queue.push_back((number, next));
                    number
                });
                graph.steps.push(Step { from, to, action, own: is_own(&world, action) });
            }
        }
        graph
    }

    fn add(&mut self, world: &World, first: Option<(u32, Action)>) -> u32 {
        let number = u32::try_from(self.marks.len()).expect("the bounds keep the states few");
        let generation = world.gateway.generation();
        let down = |runner: &&Runner| runner.process == Process::Down;
        self.marks.push(Mark {
            ended: world.gateway.maker(generation) == Some(Decision::End),
            alive: alive(world),
            over: world.gateway.heard.iter().any(|(heard, _)| *heard == generation),
            generation,
            down: world.runners.iter().filter(down).count(),
            first,
        });
        number
    }

    /// Of the states that `must` come to a `goal`, one that cannot by the steps that `may` be
    /// taken, told by the actions that lead to it. A step comes with whether it is the system's own.
    pub(super) fn stuck(
        &self,
        goal: impl Fn(&Mark) -> bool,
        must: impl Fn(&Mark) -> bool,
        may: impl Fn(Action, bool) -> bool,
    ) -> Option<Vec<Action>> {
        let mut before = vec![Vec::new(); self.marks.len()];
        for step in self.steps.iter().filter(|step| may(step.action, step.own)) {
            before[at(step.to)].push(step.from);
        }
        let mut ends: Vec<bool> = self.marks.iter().map(goal).collect();
        let mut queue: Vec<usize> = (0..ends.len()).filter(|state| ends[*state]).collect();
        while let Some(state) = queue.pop() {
            for earlier in before[state].iter().copied().map(at) {
                if !ends[earlier] {
                    ends[earlier] = true;
                    queue.push(earlier);
                }
            }
        }
        let stuck = |state: &usize| !ends[*state] && must(&self.marks[*state]);
        (0..ends.len()).find(stuck).map(|state| self.way_to(state))
    }

    fn way_to(&self, mut state: usize) -> Vec<Action> {
        let mut way = Vec::new();
        while let Some((from, action)) = self.marks[state].first {
            way.push(action);
            state = at(from);
        }
        way.reverse();
        way
    }
}

fn at(number: u32) -> usize {
    usize::try_from(number).expect("32 bits fit")
}

fn hash(world: &World) -> u64 {
    let mut hasher = DefaultHasher::new();
    world.hash(&mut hasher);
    hasher.finish()
}

/// Whether the system takes a step by itself. The publisher publishes what has no outcome.
fn is_own(world: &World, action: Action) -> bool {
    match action {
        Action::Publish(generation) => {
            world.gateway.outcome.is_none() && generation == world.gateway.generation()
        }
        Action::Stop(_)
        | Action::Fold(_)
        | Action::Post
        | Action::Deliver(..)
        | Action::Answer(_)
        | Action::ReadBack(_)
        | Action::SayRunning(_)
        | Action::Heed(_)
        | Action::GoOn(_)
        | Action::Ack(_)
        | Action::KeeperStarts(_)
        | Action::ClaudeAnswers(_)
        | Action::LeaseRunsOut(_)
        | Action::Restart(_) => true,
        Action::Decide(_)
        | Action::Arrive(_)
        | Action::Silence(_)
        | Action::Sweep(_)
        | Action::ClaudeDies(_)
        | Action::Kill(_)
        | Action::Wipe(_) => false,
    }
}

pub(super) const ACKED_AGAIN: &str = "a delivery after the outcome is acked";
pub(super) const ACKED_LOWER: &str = "a delivery of a lower generation is acked";
pub(super) const GIVEN_UP: &str = "a run that was lost too often is given up";
pub(super) const ADOPTED: &str = "a runner that starts takes up a claude at work";
pub(super) const LOST: &str = "a runner that starts finds its run taken over and stops claude";
pub(super) const HAD_BEEN_APPLIED: &str = "a write that timed out had been applied";
pub(super) const TAKEN_OVER: &str = "a silent holder's run is taken over";

/// What a step is an example of. `next` may have the runners exchanged.
fn told(world: &World, action: Action, next: &World) -> Option<&'static str> {
    let record = world.runs.record?;
    match action {
        Action::Deliver(me, generation) if next.work.len() < world.work.len() => {
            let lower = generation < record.held.generation;
            let idle = world.runners[me].process == Process::Idle;
            idle.then_some(if lower { ACKED_LOWER } else { ACKED_AGAIN })
        }
        Action::Deliver(..) if next.runners.iter().any(gives_up) => Some(GIVEN_UP),
        Action::Deliver(me, generation) => {
            let others = record.runner != me && record.held.generation == generation;
            others.then_some(TAKEN_OVER)
        }
        Action::Restart(me) => {
            let stopped = alive(next) < alive(world);
            let adopted = !world.runners[me].alive.is_empty() && !stopped;
            adopted.then_some(ADOPTED).or(stopped.then_some(LOST))
        }
        Action::ReadBack(me) => match world.runners[me].process {
            Process::Writing(write) if write.record == record => Some(HAD_BEEN_APPLIED),
            Process::Down
            | Process::Idle
            | Process::Writing(_)
            | Process::Holding(_)
            | Process::Finishing { .. } => None,
        },
        Action::Publish(_)
        | Action::Stop(_)
        | Action::Fold(_)
        | Action::Post
        | Action::Decide(_)
        | Action::Arrive(_)
        | Action::Answer(_)
        | Action::Silence(_)
        | Action::SayRunning(_)
        | Action::Heed(_)
        | Action::GoOn(_)
        | Action::Ack(_)
        | Action::Sweep(_)
        | Action::KeeperStarts(_)
        | Action::ClaudeAnswers(_)
        | Action::ClaudeDies(_)
        | Action::LeaseRunsOut(_)
        | Action::Kill(_)
        | Action::Wipe(_) => None,
    }
}

/// Whether a runner is about to write that nothing more is tried.
fn gives_up(runner: &Runner) -> bool {
    matches!(runner.process, Process::Writing(write)
        if matches!(write.record.state, State::Ended(Outcome::Failed(held))
            if held == write.record.held)
            && runner.spool.is_none())
}

/// The claudes that live.
fn alive(world: &World) -> usize {
    world.runners.iter().map(|runner| runner.alive.len()).sum()
}
