//! The run protocol as a value, walked through in every order.
//!
//! ```text
//!  gateway                 NATS                          runner 0, runner 1
//!  ───────                 ────                          ──────────────────
//!  decisions ─ Publish ─►  WORK: a message a generation ─ Deliver ─►  idle ◄────── Sweep, Ack
//!  Retry Move End          at any time, as often as it                 │ claim        ▲
//!     │                    likes, while it is stored                   ▼              │
//!     ▼                                                             writing ◄──► holding
//!  store: Run ◄─ Fold ───  RUNS: the record, CAS       ◄─ Answer ──  │  ▲  ReadBack  │
//!     │     any revision,  late: CAS that timed out    ◄─ Silence ───┘  │            │ GoOn
//!     │     late, again       └─ Arrive, or never                       │            ▼
//!     ▼                                                 host: spool on disk, keeper, claude
//!  rows ─ Post ─► Discord                                KeeperStarts ClaudeAnswers ClaudeDies
//! ```
//!
//! Between any two of these steps any other may happen. So a process that is paused is one whose
//! steps do not come, and a fault is one more step: `Kill` (-9; the spool and claude stay), `Wipe` (the
//! host comes back with nothing), `Silence` (nobody knows whether a compare-and-set was applied, and
//! it may be applied later), a delivery of what is at work or over, a publication of what is
//! old, a revision that the feed brings late. After an End the publisher puts a `Stop` into CONTROL,
//! whenever it comes to it; a holder must read it before claude is started, and does so
//! at some time while it holds (`Heed`). In a shared project `LeaseRunsOut` is the time after
//! which others take over.
//!
//! The gateway folds with [`Run::step`] as the store does; a runner decides on a delivery with
//! [`super::claim::decide`], as the runner's own claims do.
//!
//! | what | where |
//! |---|---|
//! | the world and its words | `world` |
//! | publisher, feed, decisions, poster | `gateway` |
//! | claims, holding, finishing, restarts | `runner` |
//! | what always holds, what can happen | `properties` |
//! | that everything can end | `reach` |
//! | the bounds, and a broken rule for each property | `tests` |
//!
//! **Not modelled:** several runs and their order; asks, steers and a person's stop (of what CONTROL
//! says, only that an End followed); FILES; reads from a replica that lags; the lock of a spool (one
//! keeper, once); clocks (that a keeper has ended claude after its fence's deadline and before others
//! take over is an assumption here: fence + kill grace < takeover is checked when a service starts;
//! that a keeper which comes late starts none is a step of its own); the nonce of a post (a row put
//! twice is there once); NATS or a database that lost what it had confirmed (`accept-bus`).

mod gateway;
mod properties;
mod reach;
mod runner;
mod tests;
mod world;

use stateright::{Model, Property};

use crate::ids::{Attempt, Generation};
use crate::run::Run;
use crate::run::claim::Bounds;
use world::{Decision, Gateway, Held, Outcome, RUNNERS, Record, Runner, Runs, State, World};

/// What happens next. The numbers name a runner, or a revision of RUNS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Action {
    /// The publisher, or a late one, publishes the work of a generation.
    Publish(Generation),
    /// The publisher tells the holder of a generation, in CONTROL, that an End followed it.
    Stop(Generation),
    /// The feed brings a revision.
    Fold(usize),
    /// The poster posts the next row.
    Post,
    /// A person decides.
    Decide(Decision),
    /// The queue delivers, whatever it delivered before.
    Deliver(usize, Generation),
    /// A compare-and-set that timed out arrives.
    Arrive(usize),
    /// A compare-and-set is carried out, or refused, and answered.
    Answer(usize),
    /// A compare-and-set times out.
    Silence(usize),
    /// A runner reads the record after a time-out.
    ReadBack(usize),
    /// A holder writes that claude runs.
    SayRunning(usize),
    /// A holder reads in CONTROL that it is to stop, and tells claude.
    Heed(usize),
    /// A holder does what it has to do next.
    GoOn(usize),
    /// The terminal record stands: the message is acked.
    Ack(usize),
    /// The terminal record stands, and the ack is lost.
    Sweep(usize),
    /// The keeper comes up.
    KeeperStarts(usize),
    /// claude says its result.
    ClaudeAnswers(usize),
    /// claude ends, or the keeper, or the host is rebooted.
    ClaudeDies(usize),
    /// A record was not renewed for `fence_s`, then `takeover_s`.
    LeaseRunsOut(usize),
    /// `kill -9` of the runner.
    Kill(usize),
    /// The host loses its disk.
    Wipe(usize),
    /// The runner starts, and takes up its spool.
    Restart(usize),
}

/// One rule broken, to see that a property tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mutation {
    /// The protocol as it is.
    None,
    /// The message is acked when the result is on disk, before the record says so.
    AckBeforeCas,
    /// A record of the same generation and attempt is taken for one's own.
    SkipOwnerToken,
    /// The attempt is taken from the delivery count, which falls back to 1.
    TrustDeliveryCount,
    /// A run with an outcome is claimed again, and the store takes the outcome of that.
    FirstOutcomeNotFinal,
    /// The feed folds what comes, whatever the store knows.
    FoldWithoutStep,
    /// A compare-and-set that timed out is taken for done.
    TimeoutIsWon,
    /// A delivery of any generation replaces the ack handle of the attempt at work.
    HandleOfAnyGeneration,
    /// A runner asks for work before it took up its spool.
    WorkBeforeAdoption,
    /// A higher generation is started beside the claude of the lower one.
    SpawnBesideOld,
    /// A Move carries an outcome from before the last Retry.
    MoveCarriesAnything,
    /// Others take over before the keeper ended claude.
    TakeoverBeforeFence,
    /// A keeper that comes late starts claude without a look at its fence's deadline.
    SpawnAfterFence,
    /// A claude that was lost with its runner or its host counts as one that died.
    LossIsDeath,
    /// A holder starts claude without a look into CONTROL.
    SpawnUnasked,
    /// A runner that starts lets a claude be started without a look into CONTROL.
    AdoptUnasked,
}

/// Where the run is when the model begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// Just released.
    Released,
    /// The first generation failed, which Discord has heard.
    Failed,
}

/// The run protocol within bounds.
#[derive(Clone, Copy, Debug)]
struct Protocol {
    /// Two runners serve the project; else the first one owns it.
    shared: bool,
    /// The last generation: one more than there are decisions.
    generations: u32,
    /// How often a generation is tried again; beyond that it ends as failed.
    bounds: Bounds,
    /// Whether holders say that claude runs, which is a write more for each attempt.
    running: bool,
    /// Compare-and-sets that may be on their way at once.
    late: usize,
    /// Where it begins.
    start: Start,
    /// Which rule is broken.
    mutation: Mutation,
}

impl Action {
    /// Whether it is a runner's, or happens on its host.
    fn is_of(self, runner: usize) -> bool {
        match self {
            Action::Publish(_)
            | Action::Stop(_)
            | Action::Fold(_)
            | Action::Post
            | Action::Decide(_)
            | Action::Arrive(_) => false,
            Action::Deliver(me, _)
            | Action::Answer(me)
            | Action::Silence(me)
            | Action::ReadBack(me)
            | Action::SayRunning(me)
            | Action::Heed(me)
            | Action::GoOn(me)
            | Action::Ack(me)
            | Action::Sweep(me)
            | Action::KeeperStarts(me)
            | Action::ClaudeAnswers(me)
            | Action::ClaudeDies(me)
            | Action::LeaseRunsOut(me)
            | Action::Kill(me)
            | Action::Wipe(me)
            | Action::Restart(me) => me == runner,
        }
    }
}

impl Protocol {
    /// Whether a rule is the broken one.
    fn breaks(&self, rule: Mutation) -> bool {
        self.mutation == rule
    }

    /// Whether the runners can be exchanged: nothing is addressed to one of them.
    fn alike(&self) -> bool {
        self.shared && self.generations == 1
    }
}

impl Model for Protocol {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let mut world = World {
            gateway: Gateway {
                run: Run::Released(Generation::FIRST),
                outcome: None,
                decisions: Vec::new(),
                rows: Vec::new(),
                heard: Vec::new(),
            },
            work: Vec::new(),
            runs: Runs { record: None, feed: Vec::new(), outcomes: Vec::new(), torn: false },
            controls: Vec::new(),
            late: Vec::new(),
            runners: RUNNERS.map(|_| Runner::new()),
            bad_ack: false,
            died: 0,
        };
        if self.start == Start::Failed {
            let held = Held { generation: Generation::FIRST, attempt: Attempt::FIRST, token: 0 };
            let state = State::Ended(Outcome::Failed(held));
            world.store(Record { runner: 0, held, deaths: 0, state });
            self.fold(&mut world, 0);
            gateway::post(&mut world);
            self.forget(&mut world);
        }
        vec![world]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        self.gateway_actions(world, actions);
        actions.extend((0..world.late.len()).map(Action::Arrive));
        for me in RUNNERS {
            self.runner_actions(world, me, actions);
        }
    }

    fn next_state(&self, before: &World, action: Action) -> Option<World> {
        let mut world = before.clone();
        let it = &mut world;
        match action {
            Action::Publish(generation) => {
                it.work.push(generation);
                it.work.sort();
            }
            Action::Stop(generation) => {
                it.controls.push(generation);
                it.controls.sort();
            }
            Action::Fold(revision) => self.fold(it, revision),
            Action::Post => gateway::post(it),
            Action::Decide(decision) => gateway::decide(it, decision),
            Action::Deliver(me, generation) => self.deliver(it, me, generation),
            Action::Arrive(late) => {
                let record = it.late[late];
                it.store(record);
            }
            Action::Answer(me) => self.answer(it, me),
            Action::Silence(me) => self.silence(it, me),
            Action::ReadBack(me) => self.settle(it, me),
            Action::SayRunning(me) => runner::say_running(it, me),
            Action::Heed(me) => runner::heed(it, me),
            Action::GoOn(me) => self.go_on(it, me),
            Action::Ack(me) => runner::finish(it, me, true),
            Action::Sweep(me) => runner::finish(it, me, false),
            Action::KeeperStarts(me) => self.keeper_starts(it, me),
            Action::ClaudeAnswers(me) => runner::claude_answers(it, me),
            Action::ClaudeDies(me) => self.claude_dies(it, me),
            Action::LeaseRunsOut(me) => self.lease_runs_out(it, me),
            Action::Kill(me) => runner::kill(it, me),
            Action::Wipe(me) => runner::wipe(it, me),
            Action::Restart(me) => self.restart(it, me),
        }
        self.forget(it);
        it.settle_names(self.alike());
        (world != *before).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all(self)
    }
}
