//! A runner: what it does about a delivery, how it holds and finishes, what a restart finds.

use super::world::{
    ATTEMPTS, Decision, Held, Keeper, Outcome, Process, Record, Runner, Spool, State, World, Write,
};
use super::{Action, Mutation, Protocol};
use crate::ids::{Attempt, Generation};

/// What a runner does about a delivery: the cases of the runner's own `claims::decide`, and those
/// that come with Retry, Move and shared projects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claim {
    /// Over, or superseded: ack.
    Done,
    /// At work here: hold on.
    Ours,
    /// Claim it as this attempt.
    Take(Attempt),
    /// A Move of what has its outcome: take that along and start nothing.
    Carry(Outcome),
    /// Another holds it: neither ack nor nak.
    Anothers,
}

impl Protocol {
    /// Decides on a delivery, by the record that was read.
    fn claim(&self, world: &World, me: usize, generation: Generation) -> Claim {
        let Some(record) = world.record() else { return Claim::Take(Attempt::FIRST) };
        if generation < record.held.generation {
            return Claim::Done;
        }
        if record.held.generation < generation {
            return self.supersede(world, record, generation);
        }
        if record.outcome().is_some() && self.mutation != Mutation::FirstOutcomeNotFinal {
            return Claim::Done;
        }
        let holds = matches!(world.runners[me].process, Process::Holding { held, .. }
            if held.generation == generation);
        match record.runner == me {
            true if holds => Claim::Ours,
            true => Claim::Take(record.held.attempt.next()),
            false if self.shared && world.runners[record.runner].lease_over => {
                Claim::Take(record.held.attempt.next())
            }
            false => Claim::Anothers,
        }
    }

    /// Decides on a delivery of a higher generation than the record's.
    fn supersede(&self, world: &World, record: &Record, generation: Generation) -> Claim {
        let moved = world.gateway.maker(generation) == Some(Decision::Move);
        let since = match self.mutation {
            Mutation::MoveCarriesAnything => Generation::FIRST,
            _ => world.gateway.since(generation),
        };
        match record.outcome() {
            Some(outcome) if moved && since <= record.held.generation => Claim::Carry(outcome),
            Some(_) | None => Claim::Take(Attempt::FIRST),
        }
    }

    /// Whether a message can come to this runner: a Move addresses it to the other one.
    fn reaches(&self, world: &World, to: usize, generation: Generation) -> bool {
        let gateway = &world.gateway;
        let moves = gateway.moves(generation);
        world.work.contains(&generation) && (moves % 2 == to || self.shared && moves == 0)
    }

    /// What one runner and its host may do now.
    pub(super) fn runner_actions(&self, world: &World, me: usize, actions: &mut Vec<Action>) {
        let runner = &world.runners[me];
        match runner.process {
            Process::Down => actions.push(Action::Restart(me)),
            Process::Idle => {}
            Process::Writing(write) if write.unsure => actions.push(Action::ReadBack(me)),
            Process::Writing(_) => actions.extend([Action::Answer(me), Action::Silence(me)]),
            Process::Holding { .. } => actions.push(Action::GoOn(me)),
            Process::Finishing { .. } => actions.extend([Action::Ack(me), Action::Sweep(me)]),
        }
        if matches!(runner.process, Process::Idle | Process::Holding { .. }) {
            let now = world.gateway.generation();
            let generations = (1..=now.0).map(Generation);
            let here = generations.filter(|generation| self.reaches(world, me, *generation));
            actions.extend(here.map(|generation| Action::Deliver(me, generation)));
        }
        if !matches!(runner.process, Process::Down | Process::Idle) {
            actions.push(Action::Kill(me));
        }
        if runner.spool.is_some() {
            actions.push(Action::Wipe(me));
        }
        match runner.spool {
            Some(Spool { keeper: Keeper::Unused, .. }) => actions.push(Action::KeeperStarts(me)),
            Some(Spool { keeper: Keeper::Alive, result, .. }) => {
                actions.push(Action::ClaudeDies(me));
                if result.is_none() {
                    actions.push(Action::ClaudeAnswers(me));
                }
            }
            Some(Spool { keeper: Keeper::Gone, .. }) | None => {}
        }
        self.lease_actions(world, me, actions);
    }
}

impl Protocol {
    /// Shared projects: what nobody renewed for long enough can be taken over.
    fn lease_actions(&self, world: &World, me: usize, actions: &mut Vec<Action>) {
        let unfinished = |record: &&Record| record.runner == me && record.outcome().is_none();
        let holder = world.record().filter(unfinished).is_some();
        if self.shared && holder && !world.runners[me].lease_over {
            actions.push(Action::LeaseRunsOut(me));
        }
        let told = |revision: usize| world.runs[revision - 1].state != State::Claimed;
        if let Runner { process: Process::Holding { held, revision, .. }, spool: Some(spool), .. } =
            world.runners[me]
            && spool.held == held
            && spool.keeper != Keeper::Unused
            && !told(revision)
        {
            actions.push(Action::SayRunning(me));
        }
    }

    /// A delivery, and the record that is read for it.
    pub(super) fn deliver(&self, world: &mut World, me: usize, generation: Generation) {
        let process = &mut world.runners[me].process;
        if let Process::Holding { held, handle, .. } = process
            && self.mutation == Mutation::HandleOfAnyGeneration
            && held.generation < generation
        {
            *handle = generation;
            return;
        }
        let over = world.revision();
        let held = |attempt| Held { generation, attempt, token: world.fresh_token() };
        let record = match self.claim(world, me, generation) {
            Claim::Ours | Claim::Anothers => return,
            Claim::Done => return world.ack(generation),
            Claim::Carry(outcome) => {
                let held = held(Attempt::FIRST);
                Record { runner: me, held, state: State::Ended(outcome) }
            }
            Claim::Take(attempt) => {
                let attempt = match self.mutation {
                    Mutation::TrustDeliveryCount => Attempt::FIRST,
                    _ => attempt,
                };
                claimed(me, held(attempt))
            }
        };
        let write = Write { record, over, unsure: false, handle: generation };
        world.runners[me].process = Process::Writing(write);
    }

    /// The next thing that a holder has to do; nothing while claude works.
    pub(super) fn go_on(&self, world: &mut World, me: usize) {
        let Process::Holding { held, revision, handle } = world.runners[me].process else {
            return;
        };
        let write = |state| {
            let record = Record { runner: me, held, state };
            Process::Writing(Write { record, over: revision, unsure: false, handle })
        };
        match world.runners[me].spool {
            None => self.prepare(world, me, held),
            Some(spool) if spool.held != held && self.mutation == Mutation::SpawnBesideOld => {
                self.prepare(world, me, held);
            }
            Some(spool) if spool.held != held => world.runners[me].clear(),
            Some(Spool { result: Some(outcome), .. }) => {
                if self.mutation == Mutation::AckBeforeCas {
                    world.ack(handle);
                }
                world.runners[me].process = write(State::Ended(outcome));
            }
            Some(Spool { keeper: Keeper::Gone, .. }) if held.attempt < ATTEMPTS => {
                let attempt = held.attempt.next();
                let next = Held { attempt, token: world.fresh_token(), ..held };
                let record = claimed(me, next);
                let write = Write { record, over: revision, unsure: false, handle };
                world.runners[me].process = Process::Writing(write);
            }
            Some(Spool { keeper: Keeper::Gone, .. }) => {
                let result = Some(Outcome::Failed(held));
                world.runners[me].spool = Some(Spool { held, keeper: Keeper::Gone, result });
            }
            Some(Spool { keeper: Keeper::Unused | Keeper::Alive, .. }) => {}
        }
    }

    /// The compare-and-set reaches RUNS, and its answer reaches the runner.
    pub(super) fn answer(&self, world: &mut World, me: usize) {
        let Process::Writing(write) = world.runners[me].process else { return };
        if write.over == world.revision() {
            world.store(write.record);
            // The deadline is counted from the start of this write.
            world.runners[me].lease_over = false;
        }
        self.settle(world, me);
    }

    /// The compare-and-set times out. It is on its way, or was refused.
    pub(super) fn silence(&self, world: &mut World, me: usize) {
        let Process::Writing(mut write) = world.runners[me].process else { return };
        if write.over == world.revision()
            && world.late.len() < self.late
            && !world.late.contains(&write.record)
        {
            world.late.push(write.record);
        }
        write.unsure = true;
        world.runners[me].process = Process::Writing(write);
        if self.mutation == Mutation::TimeoutIsWon {
            won(world, me, write, write.over + 1);
        }
    }

    /// Reads the record to learn what became of a compare-and-set.
    pub(super) fn settle(&self, world: &mut World, me: usize) {
        let Process::Writing(write) = world.runners[me].process else { return };
        let revision = world.revision();
        let wanted = |found: &Record| match self.mutation {
            Mutation::SkipOwnerToken => {
                let wanted = write.record;
                found.fact().phase == wanted.fact().phase && same_attempt(found.held, wanted.held)
            }
            _ => *found == write.record,
        };
        if write.over == revision {
            // Not there, or not yet: the same write again is harmless.
            world.runners[me].process = Process::Writing(Write { unsure: false, ..write });
        } else if world.record().is_some_and(wanted) {
            won(world, me, write, revision);
        } else {
            world.runners[me].clear();
            world.runners[me].process = Process::Idle;
        }
    }

    /// A runner starts: its spool first, then work.
    pub(super) fn restart(&self, world: &mut World, me: usize) {
        let revision = world.revision();
        let record = world.record().copied();
        let runner = &mut world.runners[me];
        runner.process = Process::Idle;
        let Some(spool) = runner.spool else { return };
        let own = |record: &Record| match self.mutation {
            Mutation::SkipOwnerToken => same_attempt(record.held, spool.held),
            _ => record.held == spool.held,
        };
        match record.filter(own) {
            Some(_) if self.mutation == Mutation::WorkBeforeAdoption => {}
            Some(record) if record.outcome().is_none() => {
                let handle = spool.held.generation;
                runner.process = Process::Holding { held: spool.held, revision, handle };
            }
            Some(_) | None => runner.clear(),
        }
    }

    /// Writes the spool of a holding. A keeper that finds its deadline passed starts nothing.
    fn prepare(&self, world: &mut World, me: usize, held: Held) {
        let runner = &mut world.runners[me];
        let fenced = runner.lease_over && self.mutation != Mutation::TakeoverBeforeFence;
        let keeper = if fenced { Keeper::Gone } else { Keeper::Unused };
        runner.spool = Some(Spool { held, keeper, result: None });
    }

    /// Nobody renewed the record for long: what lives of it was ended by its keeper, what comes
    /// late finds its deadline passed, and the others may take over.
    pub(super) fn lease_runs_out(&self, world: &mut World, me: usize) {
        let runner = &mut world.runners[me];
        runner.lease_over = true;
        if self.mutation == Mutation::TakeoverBeforeFence {
            return;
        }
        if let Some(spool) = &mut runner.spool {
            spool.keeper = Keeper::Gone;
        }
        runner.alive.clear();
    }
}

/// The record that claims a run; beyond the last attempt it says that nothing more is tried.
fn claimed(runner: usize, held: Held) -> Record {
    let state = if held.attempt <= ATTEMPTS {
        State::Claimed
    } else {
        State::Ended(Outcome::Failed(held))
    };
    Record { runner, held, state }
}

fn same_attempt(one: Held, other: Held) -> bool {
    (one.generation, one.attempt) == (other.generation, other.attempt)
}

fn won(world: &mut World, me: usize, write: Write, revision: usize) {
    let Write { record, handle, .. } = write;
    world.runners[me].process = match record.state {
        State::Claimed | State::Running => Process::Holding { held: record.held, revision, handle },
        State::Ended(_) => Process::Finishing { handle },
    };
}

/// Tells RUNS that claude was seen.
pub(super) fn say_running(world: &mut World, me: usize) {
    let Process::Holding { held, revision, handle } = world.runners[me].process else { return };
    let record = Record { runner: me, held, state: State::Running };
    let write = Write { record, over: revision, unsure: false, handle };
    world.runners[me].process = Process::Writing(write);
}

/// The terminal record stands: claude is ended and the spool swept, with the ack or without.
pub(super) fn finish(world: &mut World, me: usize, ack: bool) {
    let Process::Finishing { handle } = world.runners[me].process else { return };
    if ack {
        world.ack(handle);
    }
    world.runners[me].clear();
    world.runners[me].process = Process::Idle;
}

/// A keeper comes up, and starts claude.
pub(super) fn keeper_starts(world: &mut World, me: usize) {
    let runner = &mut world.runners[me];
    if let Some(spool) = &mut runner.spool {
        spool.keeper = Keeper::Alive;
        runner.alive.push(spool.held);
    }
}

/// claude says its result.
pub(super) fn claude_answers(world: &mut World, me: usize) {
    if let Some(spool) = &mut world.runners[me].spool {
        spool.result = Some(Outcome::Answered(spool.held));
    }
}

/// The spool's claude ends, by whatever: itself, its keeper, a reboot.
pub(super) fn claude_dies(world: &mut World, me: usize) {
    let runner = &mut world.runners[me];
    if let Some(spool) = &mut runner.spool
        && spool.keeper == Keeper::Alive
    {
        spool.keeper = Keeper::Gone;
        runner.alive.retain(|held| *held != spool.held);
    }
}

/// The host loses its disk, and all that ran on it.
pub(super) fn wipe(world: &mut World, me: usize) {
    let runner = &mut world.runners[me];
    runner.process = Process::Down;
    runner.spool = None;
    runner.alive.clear();
}
