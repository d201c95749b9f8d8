//! A runner: what it does about a delivery, how it holds and finishes, what a restart finds.

use super::super::Phase;
use super::super::claim::{Claim, Cut, Holder, Seen, Toll, Work, decide};
use super::world::{Held, Holding, Keeper, Outcome, Process, Record, Spool, State, World, Write};
use super::{Action, Mutation, Protocol};
use crate::ids::Generation;

impl Protocol {
    /// Decides on a delivery, by the record that is read for it.
    fn claim(&self, world: &World, me: usize, generation: Generation) -> Claim {
        let since = if self.breaks(Mutation::MoveCarriesAnything) {
            Generation::FIRST
        } else {
            world.gateway.since(generation)
        };
        let seen = world.runs.record.as_ref().map(|record| self.see(world, me, record));
        decide(Work { generation, since }, seen, self.bounds)
    }

    /// A record as this runner sees it.
    fn see(&self, world: &World, me: usize, record: &Record) -> Seen {
        let at_work = matches!(world.runners[me].process, Process::Holding(holding)
            if holding.held.generation == record.held.generation);
        let holder = match record.runner == me {
            true if at_work => Holder::Here,
            true => Holder::Own,
            false if self.shared && world.runners[record.runner].lease_over => Holder::Silent,
            false => Holder::Another,
        };
        let mut fact = record.fact();
        if self.breaks(Mutation::FirstOutcomeNotFinal) {
            fact.phase = fact.phase.min(Phase::Running);
        }
        Seen { fact, deaths: record.deaths, holder }
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
                let at_work = |spool: Spool| works(spool) && spool.keeper == Keeper::Alive;
                if world.stops(held) && runner.spool.is_some_and(at_work) {
                    actions.push(Action::Heed(me));
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
            Claim::Carry => {
                let outcome = world.runs.record.and_then(|record| record.outcome());
                let outcome = outcome.expect("what is carried was read");
                ended(world, me, generation, Toll::FIRST, |_| outcome)
            }
            Claim::GiveUp(toll) => ended(world, me, generation, toll, Outcome::Failed),
            Claim::Take(_) if self.breaks(Mutation::TrustDeliveryCount) => {
                claimed(world, me, generation, Toll::FIRST)
            }
            Claim::Take(toll) => claimed(world, me, generation, toll),
        };
        let write = Write { record, lost: false, fresh: true, unsure: false, handle: generation };
        world.runners[me].process = Process::Writing(write);
    }

    /// The next thing that a holder has to do.
    pub(super) fn go_on(&self, world: &mut World, me: usize) {
        let Process::Holding(holding) = world.runners[me].process else { return };
        let Holding { held, deaths, lost, fresh, handle, .. } = holding;
        let write =
            |record| Process::Writing(Write { record, lost: false, fresh, unsure: false, handle });
        match world.runners[me].spool {
            None if world.stops(held) && !self.breaks(Mutation::SpawnUnasked) => {
                let state = State::Ended(Outcome::Stopped(held));
                world.runners[me].process = write(Record { runner: me, held, deaths, state });
            }
            None => prepare(world, me, held),
            Some(spool) if spool.held != held && self.overlooks_spools() => {
                prepare(world, me, held);
            }
            Some(spool) if spool.held != held => world.runners[me].clear(),
            Some(Spool { result: Some(outcome), .. }) => {
                if self.breaks(Mutation::AckBeforeCas) {
                    world.ack(handle);
                }
                let record = Record { runner: me, held, deaths, state: State::Ended(outcome) };
                world.runners[me].process = write(record);
            }
            Some(Spool { keeper: Keeper::Gone, .. }) => {
                let cut = self.cut(world, me, lost);
                let next = Toll { attempt: held.attempt, deaths }.after(cut);
                if next.reached(self.bounds).is_none() {
                    let record = claimed(world, me, held.generation, next);
                    world.runners[me].process = write(record);
                } else {
                    let result = Some(Outcome::Failed(held));
                    world.runners[me].spool =
                        Some(Spool { held, keeper: Keeper::Gone, result, stopped: false });
                }
            }
            Some(Spool { keeper: Keeper::Unused | Keeper::Alive, .. }) => {}
        }
    }

    /// How a claude that is gone without outcome counts.
    fn cut(&self, world: &World, me: usize, lost: bool) -> Cut {
        let lost = lost || world.runners[me].lease_over;
        if lost && !self.breaks(Mutation::LossIsDeath) { Cut::Loss } else { Cut::Death }
    }

    /// The spool's claude ends, by whatever: itself, its keeper, a reboot.
    pub(super) fn claude_dies(&self, world: &mut World, me: usize) {
        let runner = &mut world.runners[me];
        if let Some(spool) = &mut runner.spool
            && spool.keeper == Keeper::Alive
        {
            spool.keeper = Keeper::Gone;
            runner.alive.retain(|held| *held != spool.held);
            if runner.process != Process::Down && self.generations == 1 {
                world.died = self.bounds.deaths.min(world.died + 1);
            }
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
        let stops = world.runners[me].spool.is_some_and(|spool| world.stops(spool.held));
        let runner = &mut world.runners[me];
        runner.process = Process::Idle;
        let Some(spool) = &mut runner.spool else { return };
        if stops && spool.keeper == Keeper::Unused {
            // It is closed, so that nothing can start, or claude may be started against the End.
            if self.breaks(Mutation::AdoptUnasked) {
                spool.stopped = true;
            } else {
                spool.keeper = Keeper::Gone;
                spool.result = Some(Outcome::Stopped(spool.held));
            }
        }
        let Spool { held, keeper, result, .. } = *spool;
        let own = |record: &Record| {
            record.held == held
                || self.breaks(Mutation::SkipOwnerToken) && record.held.same_attempt(held)
        };
        match world.runs.record.filter(own) {
            Some(_) if self.breaks(Mutation::WorkBeforeAdoption) => {}
            Some(Record { state: State::Ended(_), .. }) | None => runner.clear(),
            Some(Record { state, deaths, .. }) => {
                let told = state == State::Running;
                let handle = held.generation;
                let lost = keeper == Keeper::Gone && result.is_none();
                let held = Holding { held, deaths, lost, fresh: true, told, handle };
                runner.process = Process::Holding(held);
            }
        }
    }

    /// A keeper comes up, and starts claude, unless it finds its deadline passed.
    pub(super) fn keeper_starts(&self, world: &mut World, me: usize) {
        let looks =
            !self.breaks(Mutation::TakeoverBeforeFence) && !self.breaks(Mutation::SpawnAfterFence);
        let runner = &mut world.runners[me];
        let Some(spool) = &mut runner.spool else { return };
        if runner.lease_over && looks {
            spool.keeper = Keeper::Gone;
        } else {
            spool.keeper = Keeper::Alive;
            runner.alive.push(spool.held);
        }
    }

    /// Nobody renewed the record for long: what lives of it was ended by its keeper, and the others
    /// may take over. A keeper that is yet to come is not stopped by anybody else.
    pub(super) fn lease_runs_out(&self, world: &mut World, me: usize) {
        let runner = &mut world.runners[me];
        runner.lease_over = true;
        if self.breaks(Mutation::TakeoverBeforeFence) {
            return;
        }
        if let Some(spool) = &mut runner.spool
            && spool.keeper == Keeper::Alive
        {
            spool.keeper = Keeper::Gone;
        }
        runner.alive.clear();
    }
}

/// Writes the spool of a holding.
fn prepare(world: &mut World, me: usize, held: Held) {
    let stopped = world.stops(held);
    let spool = Spool { held, keeper: Keeper::Unused, result: None, stopped };
    world.runners[me].spool = Some(spool);
}

/// What was written stands.
fn won(world: &mut World, me: usize, write: Write, fresh: bool) {
    let Write { record, lost, handle, .. } = write;
    let Record { held, deaths, .. } = record;
    let told = record.state == State::Running;
    world.runners[me].process = match record.state {
        State::Claimed | State::Running => {
            Process::Holding(Holding { held, deaths, lost, fresh, told, handle })
        }
        State::Ended(_) => Process::Finishing { handle },
    };
}

/// Reads that the run is to stop: claude is interrupted, and ended with the spool.
pub(super) fn heed(world: &mut World, me: usize) {
    if let Some(spool) = &mut world.runners[me].spool {
        spool.result = Some(Outcome::Stopped(spool.held));
    }
}

/// Tells RUNS that claude was seen.
pub(super) fn say_running(world: &mut World, me: usize) {
    if let Process::Holding(Holding { held, deaths, lost, fresh, handle, .. }) =
        world.runners[me].process
    {
        let record = Record { runner: me, held, deaths, state: State::Running };
        let write = Write { record, lost, fresh, unsure: false, handle };
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

/// claude says its result.
pub(super) fn claude_answers(world: &mut World, me: usize) {
    if let Some(spool) = &mut world.runners[me].spool {
        spool.result = Some(Outcome::Answered(spool.held));
    }
}

/// The record that claims a run as a new holding.
fn claimed(world: &World, runner: usize, generation: Generation, toll: Toll) -> Record {
    let held = world.fresh(generation, toll.attempt);
    Record { runner, held, deaths: toll.deaths, state: State::Claimed }
}

/// The record that ends a run in a new holding which starts nothing.
fn ended(
    world: &World,
    runner: usize,
    generation: Generation,
    toll: Toll,
    outcome: impl FnOnce(Held) -> Outcome,
) -> Record {
    let held = world.fresh(generation, toll.attempt);
    Record { runner, held, deaths: toll.deaths, state: State::Ended(outcome(held)) }
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
