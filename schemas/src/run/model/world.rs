//! The whole system as one value, and the words of the model.
//!
//! Small numbers stand for what is random or long outside: a token is the smallest number that
//! nothing in the world remembers, so that two histories which differ by names alone are one state.

use std::sync::LazyLock;

use super::super::{Fact, Phase, Run};
use crate::ids::{Attempt, Generation, OwnerToken};

/// Attempts of a generation that start claude. A claim beyond them writes Failed and starts nothing.
pub(super) const ATTEMPTS: Attempt = Attempt(2);

/// The runners, by number.
pub(super) const RUNNERS: [usize; 2] = [0, 1];

/// One holding of a run; its token is its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Held {
    pub(super) generation: Generation,
    pub(super) attempt: Attempt,
    pub(super) token: u8,
}

/// How a generation ended, and who made it so: two outcomes are the same if both are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Outcome {
    /// By the claude of that holding.
    Answered(Held),
    /// By that holding, whose attempts were used up.
    Failed(Held),
    /// By an End, which is that generation.
    Ended(Generation),
}

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum State {
    Claimed,
    Running,
    Ended(Outcome),
}

/// One revision of the run record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Record {
    pub(super) runner: usize,
    pub(super) held: Held,
    pub(super) state: State,
}

/// What a person decided. Each raises the generation by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Decision {
    /// Do it anew, at the same place.
    Retry,
    /// Go on elsewhere.
    Move,
    /// Let it be over.
    End,
}

/// The gateway: its database, and what Discord was told.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Gateway {
    /// The newest record that counts.
    pub(super) run: Run,
    /// The outcome of the present generation.
    pub(super) outcome: Option<Outcome>,
    /// What was decided; the present generation is one more than there are of these.
    pub(super) decisions: Vec<Decision>,
    /// The outbox: a row for each outcome that was ever stored. Not keyed, as the real one is: a
    /// second row of a generation is to be seen.
    pub(super) rows: Vec<(Generation, Outcome)>,
    /// Those of them that Discord shows.
    pub(super) heard: Vec<(Generation, Outcome)>,
}

/// A compare-and-set that a runner is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Write {
    pub(super) record: Record,
    /// The revision to replace.
    pub(super) over: usize,
    /// It timed out: nobody knows.
    pub(super) unsure: bool,
    /// The message that will be acked when the record is terminal.
    pub(super) handle: Generation,
}

/// What the runner's process has in mind. A `kill -9` leaves [`Process::Down`] and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Process {
    Down,
    /// Up, with nothing of this run.
    Idle,
    /// Waits for a compare-and-set.
    Writing(Write),
    /// Holds the run by this revision.
    Holding { held: Held, revision: usize, handle: Generation },
    /// The terminal record stands; the message is to be acked.
    Finishing { handle: Generation },
}

/// Whether a spool had its keeper. A spool has one, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Keeper {
    /// tmux may have been asked for one, which may still come.
    Unused,
    Alive,
    Gone,
}

/// The spool of one attempt, on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Spool {
    pub(super) held: Held,
    pub(super) keeper: Keeper,
    /// The outcome, once it is on disk.
    pub(super) result: Option<Outcome>,
}

/// A runner and its host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Runner {
    pub(super) process: Process,
    pub(super) spool: Option<Spool>,
    /// The claudes that really live here, whatever anybody believes.
    pub(super) alive: Vec<Held>,
    /// Shared projects: `fence_s` and `takeover_s` went by since the last renewal of its record.
    pub(super) lease_over: bool,
}

/// The whole system.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) gateway: Gateway,
    /// WORK: the generations whose message is stored.
    pub(super) work: Vec<Generation>,
    /// RUNS: every revision that there was. The last is the record; their number is its revision.
    pub(super) runs: Vec<Record>,
    /// Compare-and-sets that timed out and may yet arrive. One that arrives over another revision
    /// than it names is refused, so only those over the present one are kept.
    pub(super) late: Vec<Record>,
    pub(super) runners: [Runner; 2],
    /// A message was acked while its generation had no terminal record and RUNS no higher one.
    pub(super) bad_ack: bool,
}

impl Outcome {
    /// The generation whose work it is.
    pub(super) fn made_in(self) -> Generation {
        match self {
            Outcome::Answered(held) | Outcome::Failed(held) => held.generation,
            Outcome::Ended(generation) => generation,
        }
    }
}

impl Record {
    /// The outcome, if there is one.
    pub(super) fn outcome(&self) -> Option<Outcome> {
        match self.state {
            State::Ended(outcome) => Some(outcome),
            State::Claimed | State::Running => None,
        }
    }

    /// What [`Run::step`] is told.
    pub(super) fn fact(&self) -> Fact {
        Fact {
            generation: self.held.generation,
            attempt: self.held.attempt,
            owner: owner(self.held.token),
            phase: match self.state {
                State::Claimed => Phase::Claimed,
                State::Running => Phase::Running,
                State::Ended(_) => Phase::Ended,
            },
        }
    }
}

fn owner(token: u8) -> OwnerToken {
    static OWNERS: LazyLock<Vec<OwnerToken>> = LazyLock::new(|| {
        let name = |n| format!("00000000-0000-4000-8000-0000000000{n:02x}");
        (0..=u8::MAX).map(|n| name(n).parse().expect("it is a UUID")).collect()
    });
    OWNERS[usize::from(token)]
}

impl Runner {
    pub(super) fn new() -> Self {
        Self { process: Process::Idle, spool: None, alive: Vec::new(), lease_over: false }
    }

    /// Stops the spool's claude until nothing of it is left, and sweeps the spool. A keeper that
    /// comes late finds it closed, or gone.
    pub(super) fn clear(&mut self) {
        if let Some(spool) = self.spool.take() {
            self.alive.retain(|held| *held != spool.held);
        }
    }
}

impl Gateway {
    /// The generation after the decisions so far.
    pub(super) fn generation(&self) -> Generation {
        after(&self.decisions)
    }

    /// The generation of the last Retry that is not later than this one: its work message says so,
    /// and an older outcome is none of it.
    pub(super) fn since(&self, generation: Generation) -> Generation {
        let made = made_by(generation).min(self.decisions.len());
        let retry = self.decisions[..made].iter().rposition(|one| *one == Decision::Retry);
        retry.map_or(Generation::FIRST, |at| after(&self.decisions[..=at]))
    }

    /// The decision that made a generation; none made the first.
    pub(super) fn maker(&self, generation: Generation) -> Option<Decision> {
        made_by(generation).checked_sub(1).and_then(|at| self.decisions.get(at)).copied()
    }

    /// How often the run was moved, up to a generation.
    pub(super) fn moves(&self, generation: Generation) -> usize {
        let made = &self.decisions[..made_by(generation)];
        made.iter().filter(|one| **one == Decision::Move).count()
    }
}

fn after(decisions: &[Decision]) -> Generation {
    let count = u32::try_from(decisions.len()).expect("decisions are few");
    Generation(1 + count)
}

/// How many decisions made a generation.
fn made_by(generation: Generation) -> usize {
    usize::try_from(generation.0 - 1).expect("generations are few")
}

impl World {
    /// The record as it is now.
    pub(super) fn record(&self) -> Option<&Record> {
        self.runs.last()
    }

    /// Its revision; 0: there is none.
    pub(super) fn revision(&self) -> usize {
        self.runs.len()
    }

    /// Stores a revision. What is on its way over the one before will be refused.
    pub(super) fn store(&mut self, record: Record) {
        self.runs.push(record);
        self.late.clear();
    }

    /// Takes a message out of the queue, and notes if that was not allowed.
    pub(super) fn ack(&mut self, generation: Generation) {
        let allowed = self.record().is_some_and(|record| {
            let held = record.held.generation;
            generation < held || generation == held && record.outcome().is_some()
        });
        self.bad_ack |= !allowed;
        self.work.retain(|stored| *stored != generation);
    }

    /// A token that nobody remembers.
    pub(super) fn fresh_token(&self) -> u8 {
        let mut used = 0_u64;
        let mut note = |held: Held| used |= 1 << held.token;
        for record in self.runs.iter().chain(&self.late) {
            note(record.held);
        }
        for runner in &self.runners {
            match runner.process {
                Process::Writing(write) => note(write.record.held),
                Process::Holding { held, .. } => note(held),
                Process::Down | Process::Idle | Process::Finishing { .. } => {}
            }
            runner.spool.iter().for_each(|spool| note(spool.held));
            runner.alive.iter().copied().for_each(&mut note);
        }
        u8::try_from(used.trailing_ones()).expect("it is at most 64")
    }
}
