//! One attempt, from its claim to its outcome: start or adopt, follow, finish.
//!
//! The order is what makes a death at any line harmless: the record by compare-and-set → the place to
//! work in → the spool on disk → the keeper in tmux → … → the result in the spool → a long answer in
//! FILES → the record with its outcome → the ack → claude's end → the spool swept. What stands on
//! disk is looked at before anything is done again, so each step may be the last one before a
//! `kill -9`.
//!
//! It never starts claude while an older one of its thread may live, and never acks before it wrote
//! or read a terminal record. Leaving at shutdown leaves claude at work in its keeper.

mod adopt;
mod again;
mod ask;
mod asking;
mod carry;
mod changes;
mod diff;
mod ending;
mod files;
mod follow;
mod lease;
mod place;
mod refused;
mod steering;
mod telling;
mod traced;
mod unbegun;
mod whereabouts;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use platform::clock::now_ms;
use platform::telemetry::{self, Ids};
use schemas::names::link;
use schemas::record::{Outcome, Record, State};
use schemas::request::{Request, Task};
use schemas::streams::RunKey;
use thiserror::Error;
use tokio::sync::mpsc;
use tracing::Instrument;
use uuid::Uuid;

use crate::bus::Delivery;
use crate::candidates::{self, Sight};
use crate::claims::{self, Claim, Cut, Toll};
use crate::crash;
use crate::directories::{Seat, Slot};
use crate::held::{Begun, Ended, HELD, Held, Prompt, RESULT};
use crate::host::Host;
use crate::keeper;
use crate::keeper::record::LEASE;
use crate::live::line_of;
use crate::spool::{Closing, KeeperState, Spool, SpoolError};
use crate::verdict::{self, After, failed};
use adopt::stay;
pub(crate) use adopt::{adopt, find};
use ask::{record, stopped_by};
use ending::{end, stop, sweep};
use follow::{Follow, Followed};
use lease::Lease;
use refused::{Next, Refused};
pub(crate) use unbegun::{begin, unbegun};
pub(crate) use whereabouts::session_name;

/// The pause before the second attempt; each later one waits that much longer. The longest, after
/// as many as there may be, is well within the time in which a sign of life is awaited.
const PAUSE_AGAIN: Duration = Duration::from_secs(1);
/// The number of the first line that claude is told.
const FIRST_SEQ: u32 = crate::spool::FIRST_SEQ;

/// Why an attempt was left. None of these is an outcome: the work is delivered again, or the next
/// start of the runner goes on.
#[derive(Debug, Error)]
pub(crate) enum Left {
    /// The runner is to end. claude goes on.
    #[error("the runner ends")]
    Stopping,
    /// The record is somebody else's now.
    #[error("the record was taken over")]
    TakenOver,
    /// Something that should work does not.
    #[error("the attempt cannot go on")]
    Trouble(#[from] anyhow::Error),
}

type Result<T, E = Left> = std::result::Result<T, E>;

/// A piece of work that is ours.
struct Work {
    host: Arc<Host>,
    held: Held,
    revision: u64,
    /// The newest delivery of it. An adopted attempt has none until it is delivered again.
    delivery: Option<Delivery>,
    /// Later deliveries of it.
    again: mpsc::Receiver<Delivery>,
    /// Its slot, and the directory that it is at work in.
    seat: Seat,
    /// How long it is ours without another word, in a shared project.
    lease: Option<Lease>,
    /// The last message of claude's in this life of the runner.
    said: Option<Uuid>,
}

/// Takes a delivery: starts the run, or does what its record says. Returns when this runner has
/// nothing more to do with it. The slot is used for as long as something is done. `sight` is what was
/// seen of its record while another held it.
pub(crate) async fn take(host: Arc<Host>, delivery: Delivery, slot: Slot, sight: Option<Sight>) {
    let request = match delivery.request() {
        Ok(request) => request,
        Err(error) => {
            // Left in the queue: a newer version of this program can read it.
            return tracing::error!(error = ?error, "work that cannot be read");
        }
    };
    let span = tracing::info_span!("run", run.id = %request.run);
    let ids = delivery.trace().as_deref().and_then(Ids::parse);
    let key = key_of(&request);
    let seat = Seat::new(Some(slot));
    let taking = async {
        if let Err(left) = claim(&host, request, delivery, seat.clone(), sight).await {
            again::left(&host, &key, left, &seat).await;
        }
    };
    Box::pin(telemetry::within(ids.as_ref(), taking.instrument(span))).await;
}

fn report(left: &Left) {
    match left {
        Left::Stopping => tracing::info!("claude goes on; the next start takes it up"),
        Left::TakenOver => tracing::warn!("the record was taken over; claude was stopped"),
        Left::Trouble(error) => tracing::error!("{error:#}"),
    }
}

async fn claim(
    host: &Arc<Host>,
    request: Request,
    delivery: Delivery,
    seat: Seat,
    sight: Option<Sight>,
) -> Result<()> {
    let (key, began_ms) = (key_of(&request), now_ms());
    let Some(delivery) = host.live.pass_on(&request.run, request.generation, delivery) else {
        host.numbers.redelivered(&key.project);
        return Ok(());
    };
    let again = host.live.hold(&request.run, request.generation);
    let _alone = host.live.line_up(line_of(&request)).await;
    let (read, over) = record(host, &key).await?.unzip();
    let here = left_here(host, &request, read.as_ref(), &seat).await?;
    if let (Some((mut held, spool)), Some(revision)) = (here, over) {
        if let Some(read) = &read {
            held.goes_on_from(read);
        }
        held.trace_adoption(began_ms, link::REDELIVERY);
        let lease = Lease::found(host, &key.project, &spool);
        let (host, delivery) = (Arc::clone(host), Some(delivery));
        return Work { host, held, revision, delivery, again, seat, lease, said: None }
            .resume(spool)
            .await;
    }
    let (claim, is_taken_over) = host.decide(&request, read.as_ref(), over, sight);
    let (toll, end) = match claim {
        Claim::Take(toll) => (toll, None),
        Claim::GiveUp(toll) => (toll, Some(verdict::lost(toll.losses(), &host.config.name))),
        Claim::Carry => (Toll::FIRST, read.as_ref().map(|record| record.state.clone())),
        Claim::Done => {
            delivery.done().await;
            return Ok(());
        }
        Claim::Ours => return Ok(()),
        Claim::Anothers => {
            candidates::watch(host, key, request.generation, delivery, read.zip(over));
            return Ok(());
        }
    };
    let prompt = Prompt::first(&request.run, request.generation);
    let begun = Begun::by(&delivery, read.as_ref(), (&request, began_ms));
    let trace = begun.trace(&request, toll.attempt);
    let since_ms = claims::began_ms(&request, read.as_ref(), now_ms());
    let mut record = Record { since_ms, ..host.claimed(&request, toll, trace.clone()) };
    // What an outcome that is brought along has left.
    if let (Some(_), Some(read)) = (&end, &read) {
        files::bring_along(&mut record, read);
    }
    let since_ms = since_ms.unwrap_or_else(now_ms);
    let held = Held { request, record, prompt, since_ms, trace, begun };
    let (revision, delivery) = (over.unwrap_or(0), Some(delivery));
    let host_of = Arc::clone(host);
    let mut work =
        Work { host: host_of, held, revision, delivery, again, seat, lease: None, said: None };
    if let Some(state) = end {
        tracing::info!(run = %key.run, "is over without a claude of this generation");
        return work.tell_alone(&state).await;
    }
    host.pause(PAUSE_AGAIN * (toll.attempt.0 - 1)).await?;
    crash::point("claim.fetched");
    work.lease = Lease::begun(host, &key.project, keeper::now());
    work.revision = unbegun::write(host, &work.held, revision).await?;
    crash::point("claim.written");
    work.held.trace_claim();
    host.numbers.claimed(&key.project, is_taken_over);
    work.start().await
}

/// The attempt at this generation that was left in trouble, with its spool. Whatever else of the run
/// lies here is ended: its claude may live.
async fn left_here(
    host: &Host,
    request: &Request,
    read: Option<&Record>,
    seat: &Seat,
) -> Result<Option<(Held, Spool)>> {
    let Some(spool) = again::spool_of(host, read) else { return Ok(None) };
    stay(host, &spool, seat)?;
    let at_work = read.is_some_and(|record| record.outcome().is_none());
    match read_json::<Held>(&spool, HELD)? {
        Some(held) if at_work && held.request.generation == request.generation => {
            Ok(Some((held, spool)))
        }
        Some(_) | None => {
            stop(host, &spool).await?;
            sweep(host, spool).await?;
            seat.leave();
            Ok(None)
        }
    }
}

impl Work {
    /// Starts claude for the record that was just claimed.
    async fn start(mut self) -> Result<()> {
        // Boxed, as below: every way to an attempt would carry it.
        let started = Box::pin(self.begin()).await;
        self.or_give_way(started).await
    }

    async fn begin(&mut self) -> Result<()> {
        let mut pauses = again::pauses();
        loop {
            if let Some(by) = stopped_by(&self.host, &self.held).await? {
                return self.tell_alone(&verdict::stopped(by)).await;
            }
            match self.spawn().await {
                Ok(spool) => return self.follow(spool, Cut::Death).await,
                Err(Refused::Never(why)) => return self.tell_alone(&failed(why)).await,
                Err(Refused::Over(state)) => return self.tell_alone(&state).await,
                Err(Refused::Left(Left::Trouble(error)))
                    if again::spool_of(&self.host, Some(&self.held.record)).is_none() =>
                {
                    tracing::error!("{error:#}");
                    again::room(&self.host, &mut pauses).await?;
                }
                Err(Refused::Left(left)) => return Err(left),
            }
        }
    }

    /// The place, then the spool, then the keeper.
    async fn spawn(&mut self) -> Result<Spool, Refused> {
        match self.held.request.task {
            Task::Ask => {}
            Task::Diff => return Err(Refused::Over(Box::pin(self.changes_shown()).await?)),
        }
        let began_ms = now_ms();
        let project = self.project()?.clone();
        let cwd = self.place(&project).await?;
        // Boxed: what asks NATS is large, and every attempt would carry it.
        Box::pin(self.bring_changes(&project)).await?;
        let session = Box::pin(self.conversation(&cwd)).await?;
        Box::pin(self.bring_files()).await?;
        self.renew_surely().await?;
        let owner = self.held.record.owner.to_string();
        let trace = self.held.claude_ids(&owner).map(|ids| ids.traceparent());
        let spec = self.host.spec(&self.held.request, session, (cwd, trace), &self.folder());
        self.say_where(&spec);
        let held = serde_json::to_vec(&self.held).map_err(Refused::trouble)?;
        let lease = self.lease_text();
        let files = [Some((HELD, &*held)), lease.as_ref().map(|lease| (LEASE, lease.as_bytes()))];
        let files: Vec<_> = files.into_iter().flatten().collect();
        let make = || Spool::create(&self.host.spools, &owner, &spec, &files);
        let spool = on_disk(make)?;
        crash::point("claim.spooled");
        self.host.intents.forget(&self.held.request.run);
        self.open(&spool).await?;
        self.held.trace_start(began_ms);
        Ok(spool)
    }

    /// Tells claude the request and starts its keeper.
    async fn open(&self, spool: &Spool) -> Result<(), Refused> {
        let line = self.line(&self.held.prompt)?;
        on_disk(|| spool.put_line(FIRST_SEQ, &line))?;
        crash::point("claim.told");
        let name = session_name(&self.held);
        let tmux = &self.host.tmux;
        let opened = match tmux.version().await {
            Ok(_) => tmux.new_session(&name, spool.dir()).await,
            Err(error) => Err(error),
        };
        if let Err(error) = opened {
            let why = format!("{:#}", anyhow::Error::new(error));
            // What was not started must not start later.
            let Closing::Closed = spool.close_if_dead().map_err(Refused::trouble)? else {
                return Ok(());
            };
            return Err(Refused::Never(format!(
                "tmux did not start claude on {}: {why}.",
                self.host.config.name
            )));
        }
        crash::point("claim.started");
        tracing::info!(attach = tmux.attach_line(&name), "claude starts");
        Ok(())
    }

    /// Goes on with a spool that an earlier life of this runner made.
    async fn resume(mut self, spool: Spool) -> Result<()> {
        let resumed = Box::pin(self.go_on(spool)).await;
        self.or_give_way(resumed).await
    }

    async fn go_on(&mut self, spool: Spool) -> Result<()> {
        self.renew_surely().await?;
        if let Some(ended) = read_json::<Ended>(&spool, RESULT)? {
            return self.finish(spool, &ended).await;
        }
        match spool.state().map_err(trouble)? {
            KeeperState::Unused => {
                if let Some(by) = stopped_by(&self.host, &self.held).await?
                    && spool.close_if_dead().map_err(trouble)? == Closing::Closed
                {
                    return self.over(spool, verdict::stopped(by)).await;
                }
                // Its keeper was never seen. Should it be starting this moment, it has the lock or
                // gets none: a spool takes one keeper.
                self.open(&spool).await.map_err(Refused::into_left)?;
                self.follow(spool, Cut::Death).await
            }
            KeeperState::Alive => self.follow(spool, Cut::Death).await,
            // It ended while nobody held the run: with its host, or after its runner.
            KeeperState::Gone | KeeperState::Closed => self.follow(spool, Cut::Loss).await,
        }
    }

    /// Keeps how the run ended, then finishes.
    async fn over(&mut self, spool: Spool, state: State) -> Result<()> {
        let ended = Ended { state, steered: self.held.record.steered.clone() };
        let text = serde_json::to_vec(&ended).map_err(trouble)?;
        crash::point("finish.seen");
        on_disk(|| spool.write_file(RESULT, &text))?;
        crash::point("finish.kept");
        self.finish(spool, &ended).await
    }

    /// Follows claude to its outcome, through as many attempts as it takes. `cut` says how the end
    /// of this first claude counts if it comes without.
    async fn follow(&mut self, mut spool: Spool, mut cut: Cut) -> Result<()> {
        loop {
            match self.next(&spool, cut).await {
                Ok(Next::Over(state)) => return self.over(spool, state).await,
                Ok(Next::Again { toll, echoed }) => match self.again(spool, toll, echoed).await {
                    Ok(next) => (spool, cut) = (next, Cut::Death),
                    Err(Refused::Never(why)) => return self.tell_alone(&failed(why)).await,
                    Err(Refused::Over(state)) => return self.tell_alone(&state).await,
                    Err(Refused::Left(left)) => return Err(left),
                },
                Err(left) => return Err(left),
            }
        }
    }

    /// Follows one claude to its end, and says what comes next.
    async fn next(&mut self, spool: &Spool, cut: Cut) -> Result<Next> {
        let death = match Follow::new(self, spool).await?.run().await? {
            Followed::Result(result) => return Ok(Next::Over(verdict::of_result(&result))),
            Followed::Stopped(by, usage) => {
                return Ok(Next::Over(verdict::with_usage(verdict::stopped(by), usage)));
            }
            Followed::TooLong(usage) => {
                let state = verdict::too_long(self.host.config.run_max);
                return Ok(Next::Over(verdict::with_usage(state, usage)));
            }
            Followed::Death(death) => death,
        };
        let program = &self.host.config.claude.program;
        let last = self.held.record.toll();
        if death.began() {
            // A host that goes down ends claude and this runner, in whatever order: if it is the
            // runner's turn by now, the next one finds a loss and no death.
            self.host.pause(PAUSE_AGAIN * last.attempt.0).await?;
        }
        let cut = if death.was_fenced() { Cut::Loss } else { cut };
        let toll = last.after(cut);
        match verdict::after(cut, toll, program, &self.host.config.name, death.view()) {
            After::Over(state) => Ok(Next::Over(state)),
            After::Again => {
                let why = verdict::describe(1, program, death.view());
                tracing::warn!(run = %self.held.request.run, ?toll, why, "claude is started again");
                self.host.numbers.restarted(&self.held.request.project);
                Ok(match stopped_by(&self.host, &self.held).await? {
                    Some(by) => Next::Over(verdict::stopped(by)),
                    None => Next::Again { toll, echoed: death.echoed },
                })
            }
        }
    }

    /// The next attempt after a death: a record of its own, then a spool of its own.
    async fn again(&mut self, dead: Spool, toll: Toll, echoed: bool) -> Result<Spool, Refused> {
        self.held.trace_asks(self.held.record.asks.iter());
        let next = self.held.next(toll, now_ms());
        crash::point("again.died");
        let began = keeper::now();
        self.write(&next).await?;
        crash::point("again.written");
        self.lease = Lease::begun(&self.host, &self.held.request.project, began);
        self.held.prompt = self.held.prompt.after(&self.held.request.run, &next, echoed);
        self.trace_dead(&dead);
        self.held.record = next;
        tokio::task::block_in_place(|| self.host.intents.remember(&self.held));
        sweep(&self.host, dead).await?;
        crash::point("again.swept");
        if let Some(by) = stopped_by(&self.host, &self.held).await? {
            return Err(Refused::Over(verdict::stopped(by)));
        }
        self.spawn().await
    }

    /// The outcome is on disk: tells it, ends claude, sweeps.
    async fn finish(&mut self, spool: Spool, ended: &Ended) -> Result<()> {
        let left = Box::pin(self.leave_behind(&spool)).await?;
        self.held.record.carried.clone_from(&left);
        self.held.record.steered.clone_from(&ended.steered);
        Box::pin(self.give(&spool, &ended.state)).await?;
        self.tell(&ended.state).await?;
        let told_ms = now_ms();
        self.given();
        self.left_behind(left.as_ref());
        end(&self.host, &spool).await?;
        crash::point("finish.ended");
        let name = session_name(&self.held);
        if let Err(error) = self.host.tmux.kill_session(&name).await {
            tracing::debug!(%error, "the tmux session stays");
        }
        crash::point("finish.closed");
        self.held.trace_all(&spool, told_ms, self.host.bus.redactor());
        sweep(&self.host, spool).await?;
        crash::point("finish.swept");
        Ok(())
    }

    /// Writes the terminal record, then acks.
    async fn tell(&mut self, state: &State) -> Result<()> {
        let state = self.stored(state).await?;
        let record = Record { state, asks: Vec::new(), ..self.held.record.clone() };
        self.write(&record).await?;
        crash::point("finish.written");
        self.host.numbers.told(&self.held, &record, now_ms());
        self.held.trace_asks(self.held.record.asks.iter());
        self.held.record = record;
        self.host.intents.forget(&self.held.request.run);
        self.noticed();
        self.delivery = last(&mut self.again).or(self.delivery.take());
        if let Some(delivery) = &self.delivery {
            delivery.done().await;
        }
        crash::point("finish.acked");
        let run = &self.held.request.run;
        match self.held.record.outcome() {
            Some(Outcome::Failed { why, .. }) => tracing::warn!(%run, why, "failed"),
            Some(Outcome::Answered { denied, .. }) => {
                tracing::info!(%run, denied = denied.len(), "answered");
            }
            Some(Outcome::Stopped { .. }) => tracing::info!(%run, "stopped"),
            None => {}
        }
        Ok(())
    }
}

/// The newest delivery that came for an attempt, which takes no more of them: each later one is
/// looked at by itself and finds what the record says.
fn last(again: &mut mpsc::Receiver<Delivery>) -> Option<Delivery> {
    again.close();
    std::iter::from_fn(|| again.try_recv().ok()).last()
}

fn trouble(error: impl Into<anyhow::Error>) -> Left {
    Left::Trouble(error.into())
}

/// Writes to a spool, which waits for the disk: not at the cost of the other attempts.
fn on_disk<T>(write: impl FnOnce() -> Result<T, SpoolError>) -> Result<T> {
    tokio::task::block_in_place(write).map_err(trouble)
}

fn key_of(request: &Request) -> RunKey {
    let Request { project, thread, run, .. } = request;
    RunKey { project: project.clone(), thread: *thread, run: run.clone() }
}

fn read_json<T: serde::de::DeserializeOwned>(spool: &Spool, name: &str) -> Result<Option<T>> {
    let Some(bytes) = spool.read_file(name).map_err(trouble)? else { return Ok(None) };
    let read = serde_json::from_slice(&bytes).with_context(|| format!("cannot read {name}"));
    Ok(Some(read?))
}
