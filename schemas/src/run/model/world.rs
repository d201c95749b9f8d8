//! The whole system as one value, and the words of the model.
//!
//! What nobody can tell apart is one state here, which keeps the states few: a token is the smallest
//! number that no other holding of its attempt has; of the revision that somebody remembers only
//! counts whether it is still the present one; and a revision that cannot change the store any more
//! is forgotten (`what_is_stale_stays_stale` says that none of these comes to count again).

use std::sync::LazyLock;

use super::super::{Fact, Phase, Run, Step};
use crate::ids::{Attempt, Generation, OwnerToken};

/// Generations, attempts and tokens are below eight each.
const OWNERS_MAX: u32 = 8 * 8 * 8;

/// The runners, by number.
pub(super) const RUNNERS: [usize; 2] = [0, 1];

/// One holding of a run. The token tells holdings of the same attempt apart, and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Held {
    pub(super) generation: Generation,
    pub(super) attempt: Attempt,
    pub(super) token: u32,
}

/// How a generation ended, and who made it so: two outcomes are the same if both are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Outcome {
    /// By the claude of that holding.
    Answered(Held),
    /// By that holding, whose attempts were used up.
    Failed(Held),
    /// By that holding, which read that it is to stop.
    Stopped(Held),
    /// By an End, which is that generation.
    Ended(Generation),
}

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum State {
    Claimed,
    Running,
    Ended(Outcome),
}

/// One revision of the run record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Record {
    pub(super) runner: usize,
    pub(super) held: Held,
    /// How many holdings of its generation were cut by a death.
    pub(super) deaths: u32,
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

/// The bucket RUNS.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Runs {
    /// The record as it is now.
    pub(super) record: Option<Record>,
    /// The revisions that the feed may still bring and that would change the store.
    pub(super) feed: Vec<Record>,
    /// Every outcome that a record ever had.
    pub(super) outcomes: Vec<(Generation, Outcome)>,
    /// A revision was stored that [`Run::step`] does not let follow the one before.
    pub(super) torn: bool,
}

/// A compare-and-set that a runner is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Write {
    pub(super) record: Record,
    /// The holder's own [`Holding::lost`].
    pub(super) lost: bool,
    /// The revision that it names is the present one; else it will be refused.
    pub(super) fresh: bool,
    /// It timed out: nobody knows.
    pub(super) unsure: bool,
    /// The message that will be acked when the record is terminal.
    pub(super) handle: Generation,
}

/// What the runner's process has in mind. A `kill -9` leaves [`Process::Down`] and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Process {
    Down,
    /// Up, with nothing of this run.
    Idle,
    /// Waits for a compare-and-set.
    Writing(Write),
    /// Holds the run.
    Holding(Holding),
    /// The terminal record stands; the message is to be acked.
    Finishing {
        handle: Generation,
    },
}

/// What a holder knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Holding {
    pub(super) held: Held,
    /// What its record says of deaths.
    pub(super) deaths: u32,
    /// The keeper was gone before this life of the runner began.
    pub(super) lost: bool,
    /// The revision that it remembers is the present one.
    pub(super) fresh: bool,
    /// The record says that claude runs.
    pub(super) told: bool,
    /// The message that is to be acked.
    pub(super) handle: Generation,
}

/// Whether a spool had its keeper. A spool has one, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Keeper {
    /// tmux may have been asked for one, which may still come.
    Unused,
    Alive,
    Gone,
}

/// The spool of one attempt, on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Spool {
    pub(super) held: Held,
    pub(super) keeper: Keeper,
    /// The outcome, once it is on disk.
    pub(super) result: Option<Outcome>,
    /// CONTROL said that the run is to stop when its runner last had to look there before claude
    /// could be started.
    pub(super) stopped: bool,
}

/// A runner and its host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    pub(super) runs: Runs,
    /// CONTROL: the generations that are to stop.
    pub(super) controls: Vec<Generation>,
    /// Compare-and-sets that timed out and may yet arrive. One that arrives over another revision
    /// than it names is refused, so only those over the present one are kept.
    pub(super) late: Vec<Record>,
    pub(super) runners: [Runner; 2],
    /// A message was acked while its generation had no terminal record and RUNS no higher one.
    pub(super) bad_ack: bool,
    /// How many claudes died under a living holder, where there is one generation alone.
    pub(super) died: u32,
}

impl Outcome {
    /// The generation whose work it is.
    pub(super) fn made_in(self) -> Generation {
        match self {
            Outcome::Answered(held) | Outcome::Failed(held) | Outcome::Stopped(held) => {
                held.generation
            }
            Outcome::Ended(generation) => generation,
        }
    }

    /// The holding whose work it is.
    fn maker(self) -> Option<Held> {
        match self {
            Outcome::Answered(held) | Outcome::Failed(held) | Outcome::Stopped(held) => Some(held),
            Outcome::Ended(_) => None,
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
            owner: self.held.owner(),
            phase: match self.state {
                State::Claimed => Phase::Claimed,
                State::Running => Phase::Running,
                State::Ended(_) => Phase::Ended,
            },
        }
    }
}

impl Held {
    /// The owner token. A table, because a UUID takes long to parse a million times.
    fn owner(self) -> OwnerToken {
        static OWNERS: LazyLock<Vec<OwnerToken>> = LazyLock::new(|| {
            let name = |n| format!("00000000-0000-4000-8000-00000000{n:04x}");
            (0..OWNERS_MAX).map(|n| name(n).parse().expect("it is a UUID")).collect()
        });
        let n = (self.generation.0 * 8 + self.attempt.0) * 8 + self.token;
        OWNERS[usize::try_from(n).expect("it is small")]
    }

    /// Whether both are of one attempt, by whomever.
    pub(super) fn same_attempt(self, other: Held) -> bool {
        (self.generation, self.attempt) == (other.generation, other.attempt)
    }
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
    /// Stores a revision. Whatever names the one before will be refused, also what is on its way.
    pub(super) fn store(&mut self, record: Record) {
        let runs = &mut self.runs;
        let before = runs.record.map_or(Run::Released(Generation::FIRST), |r| Run::Held(r.fact()));
        runs.torn |= before.step(record.fact()) == Step::Stale;
        runs.record = Some(record);
        runs.feed.push(record);
        runs.outcomes.extend(record.outcome().map(|outcome| (record.held.generation, outcome)));
        self.late.clear();
        for runner in &mut self.runners {
            match &mut runner.process {
                Process::Writing(write) => write.fresh = false,
                Process::Holding(holding) => holding.fresh = false,
                Process::Down | Process::Idle | Process::Finishing { .. } => {}
            }
        }
    }

    /// Makes one state of those that nobody can tell apart: `alike` says that the runners are.
    pub(super) fn settle_names(&mut self, alike: bool) {
        let holder = self.runs.record.map(|record| record.runner);
        for me in RUNNERS {
            let runner = &mut self.runners[me];
            let holds = matches!(runner.process, Process::Holding(_)) || holder == Some(me);
            runner.lease_over &= runner.spool.is_some() || holds;
        }
        if alike && self.runners[1] < self.runners[0] {
            self.runners.swap(0, 1);
            let Runs { record, feed, .. } = &mut self.runs;
            for record in record.iter_mut().chain(feed).chain(&mut self.late) {
                record.runner = 1 - record.runner;
            }
            for runner in &mut self.runners {
                if let Process::Writing(write) = &mut runner.process {
                    write.record.runner = 1 - write.record.runner;
                }
            }
        }
    }

    /// Whether CONTROL says that a holding is to stop.
    pub(super) fn stops(&self, held: Held) -> bool {
        self.controls.contains(&held.generation)
    }

    /// Takes a message out of the queue, and notes if that was not allowed.
    pub(super) fn ack(&mut self, generation: Generation) {
        let allowed = self.runs.record.is_some_and(|record| {
            let held = record.held.generation;
            generation < held || generation == held && record.outcome().is_some()
        });
        self.bad_ack |= !allowed;
        self.work.retain(|stored| *stored != generation);
    }

    /// A holding whose token nobody else remembers.
    pub(super) fn fresh(&self, generation: Generation, attempt: Attempt) -> Held {
        let mut used = 0_u32;
        let mut note = |held: Held| {
            if (held.generation, held.attempt) == (generation, attempt) {
                used |= 1 << held.token;
            }
        };
        let runs = &self.runs;
        for record in runs.record.iter().chain(&runs.feed).chain(&self.late) {
            note(record.held);
        }
        for (_, outcome) in runs.outcomes.iter().chain(&self.gateway.rows) {
            outcome.maker().into_iter().for_each(&mut note);
        }
        for runner in &self.runners {
            match runner.process {
                Process::Writing(write) => note(write.record.held),
                Process::Holding(holding) => note(holding.held),
                Process::Down | Process::Idle | Process::Finishing { .. } => {}
            }
            runner.spool.iter().for_each(|spool| note(spool.held));
            runner.alive.iter().copied().for_each(&mut note);
        }
        Held { generation, attempt, token: used.trailing_ones() }
    }
}
