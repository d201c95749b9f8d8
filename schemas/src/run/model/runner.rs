//! A runner: what it does about a delivery, how it holds and finishes, what a restart finds.

use super::world::{
    Decision, Held, Holding, Keeper, Outcome, Process, Record, Spool, State, World, Write,
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
        let Some(record) = &world.runs.record else { return Claim::Take(Attempt::FIRST) };
        if generation < record.held.generation {
            return Claim::Done;
        }
        if record.held.generation < generation {
            return self.supersede(world, record, generation);
        }
        if record.outcome().is_some() && !self.breaks(Mutation::FirstOutcomeNotFinal) {
            return Claim::Done;
        }
        let holds = matches!(world.runners[me].process, Process::Holding(holding)
            if holding.held.generation == generation);
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
        let since = if self.breaks(Mutation::MoveCarriesAnything) {
            Generation::FIRST
        } else {
            world.gateway.since(generation)
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

    /// Whether a delivery is left alone: of what is at work here, or held by another.
    fn changes_nothing(&self, world: &World, me: usize, generation: Generation) -> bool {
        matches!(self.claim(world, me, generation), Claim::Ours | Claim::Anothers)
    }

    /// What one runner and its host may do now.
    pub(super) fn runner_actions(&self, world: &World, me: usize, actions: &mut Vec<Action>) {
        let runner = &world.runners[me];
        match runner.process {
            Process::Down => actions.push(Action::Restart(me)),
            Process::Idle => {}
            Process::Writing(write) if write.unsure => actions.push(Action::ReadBack(me)),
            Process::Writing(_) => actions.extend([Action::Answer(me), Action::Silence(me)]),
            Process::Holding(Holding { held, told, .. }) => {
                let works = |spool: Spool| {
                    spool.held == held && spool.keeper != Keeper::Gone && spool.result.is_none()
                };
                if !runner.spool.is_some_and(works) {
                    actions.push(Action::GoOn(me));
                }
                let seen = |spool: Spool| spool.held == held && spool.keeper != Keeper::Unused;
                if self.running && !told && runner.spool.is_some_and(seen) {
                    actions.push(Action::SayRunning(me));
                }
            }
            Process::Finishing { .. } => actions.extend([Action::Ack(me), Action::Sweep(me)]),
        }
        if matches!(runner.process, Process::Idle | Process::Holding(_)) {
            let now = world.gateway.generation();
            let generations = (1..=now.0).map(Generation);
            let here = generations.filter(|generation| self.reaches(world, me, *generation));
            let here = here.filter(|generation| !self.changes_nothing(world, me, *generation));
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
            Some(Spool { keeper: Keeper::Alive, result: None, .. }) => {
                actions.extend([Action::ClaudeAnswers(me), Action::ClaudeDies(me)]);
            }
            Some(Spool { keeper: Keeper::Alive | Keeper::Gone, .. }) | None => {}
        }
        let unfinished = |record: Record| record.runner == me && record.outcome().is_none();
        if self.shared && world.runs.record.is_some_and(unfinished) && !runner.lease_over {
            actions.push(Action::LeaseRunsOut(me));
        }
    }

    /// A delivery, and the record that is read for it.
    pub(super) fn deliver(&self, world: &mut World, me: usize, generation: Generation) {
        let process = &mut world.runners[me].process;
        if let Process::Holding(holding) = process
            && self.breaks(Mutation::HandleOfAnyGeneration)
            && holding.held.generation < generation
        {
            holding.handle = generation;
            return;
        }
        let record = match self.claim(world, me, generation) {
            Claim::Ours | Claim::Anothers => return,
            Claim::Done => return world.ack(generation),
            Claim::Carry(outcome) => {
                let held = world.fresh(generation, Attempt::FIRST);
                Record { runner: me, held, state: State::Ended(outcome) }
            }
            Claim::Take(_) if self.breaks(Mutation::TrustDeliveryCount) => {
                self.claimed(me, world.fresh(generation, Attempt::FIRST))
            }
            Claim::Take(attempt) => self.claimed(me, world.fresh(generation, attempt)),
        };
        let write = Write { record, fresh: true, unsure: false, handle: generation };
        world.runners[me].process = Process::Writing(write);
    }

    /// The next thing that a holder has to do.
    pub(super) fn go_on(&self, world: &mut World, me: usize) {
        let Process::Holding(Holding { held, fresh, handle, .. }) = world.runners[me].process
        else {
            return;
        };
        let write = |record| Process::Writing(Write { record, fresh, unsure: false, handle });
        match world.runners[me].spool {
            None => self.prepare(world, me, held),
            Some(spool) if spool.held != held && self.overlooks_spools() => {
                self.prepare(world, me, held);
            }
            Some(spool) if spool.held != held => world.runners[me].clear(),
            Some(Spool { result: Some(outcome), .. }) => {
                if self.breaks(Mutation::AckBeforeCas) {
                    world.ack(handle);
                }
                let record = Record { runner: me, held, state: State::Ended(outcome) };
                world.runners[me].process = write(record);
            }
            Some(Spool { keeper: Keeper::Gone, .. }) if held.attempt < self.attempts => {
                let next = world.fresh(held.generation, held.attempt.next());
                world.runners[me].process = write(self.claimed(me, next));
            }
            Some(Spool { keeper: Keeper::Gone, .. }) => {
                let result = Some(Outcome::Failed(held));
                world.runners[me].spool = Some(Spool { held, keeper: Keeper::Gone, result });
            }
            Some(Spool { keeper: Keeper::Unused | Keeper::Alive, .. }) => {}
        }
    }

    /// Whether a spool that is there is not looked at before another one is written.
    fn overlooks_spools(&self) -> bool {
        self.breaks(Mutation::SpawnBesideOld) || self.breaks(Mutation::WorkBeforeAdoption)
    }

    /// The compare-and-set reaches RUNS, and its answer reaches the runner.
    pub(super) fn answer(&self, world: &mut World, me: usize) {
        let Process::Writing(write) = world.runners[me].process else { return };
        if write.fresh {
            world.store(write.record);
            // The deadline is counted from the start of this write.
            world.runners[me].lease_over = false;
        }
        self.settle(world, me);
    }

    /// The compare-and-set times out. It is on its way, or was refused.
    pub(super) fn silence(&self, world: &mut World, me: usize) {
        let Process::Writing(write) = world.runners[me].process else { return };
        let World { late, .. } = world;
        if write.fresh && late.len() < self.late && !late.contains(&write.record) {
            late.push(write.record);
        }
        world.runners[me].process = Process::Writing(Write { unsure: true, ..write });
        if self.breaks(Mutation::TimeoutIsWon) {
            won(world, me, write, false);
        }
    }

    /// Reads the record to learn what became of a compare-and-set.
    pub(super) fn settle(&self, world: &mut World, me: usize) {
        let Process::Writing(write) = world.runners[me].process else { return };
        let wanted = |found: Record| {
            if self.breaks(Mutation::SkipOwnerToken) {
                found.fact().phase == write.record.fact().phase
                    && found.held.same_attempt(write.record.held)
            } else {
                found == write.record
            }
        };
        if write.fresh {
            // Not there, or not yet: the same write again is harmless.
            world.runners[me].process = Process::Writing(Write { unsure: false, ..write });
        } else if world.runs.record.is_some_and(wanted) {
            won(world, me, write, true);
        } else {
            world.runners[me].clear();
            world.runners[me].process = Process::Idle;
        }
    }

    /// A runner starts: its spool first, then work.
    pub(super) fn restart(&self, world: &mut World, me: usize) {
        let runner = &mut world.runners[me];
        runner.process = Process::Idle;
        let Some(Spool { held, .. }) = runner.spool else { return };
        let own = |record: &Record| {
            record.held == held
                || self.breaks(Mutation::SkipOwnerToken) && record.held.same_attempt(held)
        };
        match world.runs.record.filter(own) {
            Some(_) if self.breaks(Mutation::WorkBeforeAdoption) => {}
            Some(Record { state: State::Ended(_), .. }) | None => runner.clear(),
            Some(Record { state, .. }) => {
                let told = state == State::Running;
                let handle = held.generation;
                runner.process = Process::Holding(Holding { held, fresh: true, told, handle });
            }
        }
    }

    /// The record that claims a run; beyond the last attempt it says that nothing more is tried.
    fn claimed(&self, runner: usize, held: Held) -> Record {
        let over = self.attempts < held.attempt;
        let state = if over { State::Ended(Outcome::Failed(held)) } else { State::Claimed };
        Record { runner, held, state }
    }

    /// Writes the spool of a holding. A keeper that finds its deadline passed starts nothing.
    fn prepare(&self, world: &mut World, me: usize, held: Held) {
        let runner = &mut world.runners[me];
        let fenced = runner.lease_over && !self.breaks(Mutation::TakeoverBeforeFence);
        let keeper = if fenced { Keeper::Gone } else { Keeper::Unused };
        runner.spool = Some(Spool { held, keeper, result: None });
    }

    /// Nobody renewed the record for long: what lives of it was ended by its keeper, what comes
    /// late finds its deadline passed, and the others may take over.
    pub(super) fn lease_runs_out(&self, world: &mut World, me: usize) {
        let runner = &mut world.runners[me];
        runner.lease_over = true;
        if self.breaks(Mutation::TakeoverBeforeFence) {
            return;
        }
        if let Some(spool) = &mut runner.spool {
            spool.keeper = Keeper::Gone;
        }
        runner.alive.clear();
    }
}

/// What was written stands.
fn won(world: &mut World, me: usize, write: Write, fresh: bool) {
    let Write { record, handle, .. } = write;
    let told = record.state == State::Running;
    world.runners[me].process = match record.state {
        State::Claimed | State::Running => {
            Process::Holding(Holding { held: record.held, fresh, told, handle })
        }
        State::Ended(_) => Process::Finishing { handle },
    };
}

/// Tells RUNS that claude was seen.
pub(super) fn say_running(world: &mut World, me: usize) {
    if let Process::Holding(Holding { held, fresh, handle, .. }) = world.runners[me].process {
        let record = Record { runner: me, held, state: State::Running };
        let write = Write { record, fresh, unsure: false, handle };
        world.runners[me].process = Process::Writing(write);
    }
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

/// The runner is killed. One that is down without a spool is one that is idle and does nothing.
pub(super) fn kill(world: &mut World, me: usize) {
    let runner = &mut world.runners[me];
    runner.process = if runner.spool.is_some() { Process::Down } else { Process::Idle };
}

/// The host loses its disk, and all that ran on it.
pub(super) fn wipe(world: &mut World, me: usize) {
    let runner = &mut world.runners[me];
    runner.process = Process::Idle;
    runner.spool = None;
    runner.alive.clear();
}
