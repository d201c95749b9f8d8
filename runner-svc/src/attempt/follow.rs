//! Follows one claude: reads its journal, answers what it asks, says that the work goes on.
//!
//! All that is known of claude is folded from the journal's first byte and from the lines that were
//! put into the spool, so an adopted attempt comes to the same state as one that was there. What
//! claude asks is seen to in `asking.rs`.

use std::time::Duration;

use platform::clock::now_ms;
use schemas::control::Controls;
use schemas::record::{Record, State, Usage};
use schemas::streams::KILL_GRACE;
use tokio::time::Instant;

use super::ask::{controls, hints};
use super::asking::Waiting;
use super::ending::{GRACES, next_seq};
use super::telling::Telling;
use super::{Left, Result, Work, on_disk, trouble};
use crate::bus::Hints;
use crate::claude::told::{self, Told};
use crate::claude::{Event, LineState, Progress, TurnResult};
use crate::crash;
use crate::policy::Given;
use crate::spool::{Ending, EntryKind, Journal, KeeperState, Line, Spool, Subscription};
use crate::verdict::{self, Death};

/// How long a keeper has from tmux's word that it starts to its taking the spool's lock. It takes
/// milliseconds; a host that swaps takes seconds.
const KEEPER_MAX: Duration = Duration::from_secs(30);
/// The id of our request to stop.
const STOP: &str = "holdfast-stop";
/// What claude is told about a request that nobody here serves.
const NOT_SERVED: &str = "not served here";

/// How claude ended, as far as it was followed.
pub(super) enum Followed {
    /// It has answered, or said why not.
    Result(Box<TurnResult>),
    /// It was stopped, by this person; with what it took, as far as claude said.
    Stopped(String, Option<Usage>),
    /// It took longer than any run may, and was ended.
    TooLong(Option<Usage>),
    /// It ended without.
    Death(Box<Dead>),
}

/// What is known of a claude that ended without an outcome.
pub(super) struct Dead {
    ending: Ending,
    result: Option<TurnResult>,
    stderr: String,
    spoke: bool,
    /// Whether it had read the request.
    pub(super) echoed: bool,
}

impl Dead {
    /// Whether it was a claude at all.
    pub(super) fn began(&self) -> bool {
        match self.ending {
            Ending::Code(_) | Ending::Signal(_) | Ending::KeeperDied(_) | Ending::Fenced => true,
            Ending::NotStarted(_) => false,
        }
    }

    /// Whether its keeper ended it, because the record was not renewed.
    pub(super) fn was_fenced(&self) -> bool {
        self.ending == Ending::Fenced
    }

    pub(super) fn view(&self) -> Death<'_> {
        Death {
            ending: &self.ending,
            result: self.result.as_ref(),
            stderr: &self.stderr,
            spoke: self.spoke,
        }
    }
}

/// The following of one spool.
pub(super) struct Follow<'a> {
    pub(super) work: &'a mut Work,
    spool: &'a Spool,
    changes: Subscription,
    journal: Journal,
    pub(super) progress: Progress,
    telling: Telling,
    pub(super) next_seq: u32,
    renew_at: Instant,
    /// When the keeper must have been seen.
    keeper_by: Instant,
    hints: Hints,
    /// Whether the controls are to be read.
    look: bool,
    /// What they said when they were read last.
    pub(super) controls: Option<Controls>,
    /// What claude may do, by this host's configuration as it is now.
    pub(super) given: Given,
    /// Waiting for people.
    pub(super) waiting: Waiting,
    /// Whether claude was told to stop, by this life of the runner or an earlier one.
    interrupted: bool,
    stopping: Option<Stopping>,
}

/// Why claude is to end before it has answered.
#[derive(Clone)]
enum Why {
    Person(String),
    TooLong,
}

/// A stop that is under way.
struct Stopping {
    why: Why,
    /// When claude is ended if it does not stop by itself.
    kill_at: Instant,
    killed: bool,
}

impl Why {
    fn into_end(self, result: Option<&TurnResult>) -> Followed {
        let usage = result.map(verdict::usage);
        match self {
            Why::Person(by) => Followed::Stopped(by, usage),
            Why::TooLong => Followed::TooLong(usage),
        }
    }
}

impl<'a> Follow<'a> {
    /// Begins at the journal's first byte, with what was told claude so far.
    pub(super) async fn new(work: &'a mut Work, spool: &'a Spool) -> Result<Self> {
        let changes = work.host.watcher.watch(spool.dir()).map_err(trouble)?;
        let mut progress = Progress::new();
        let mut interrupted = false;
        let entries = spool.entries().map_err(trouble)?;
        for entry in entries.iter().filter(|entry| entry.kind == EntryKind::Line) {
            if let Some(line) = spool.line(entry.seq).map_err(trouble)? {
                interrupted |= Told::parse(&line) == Told::Request(STOP.to_owned());
                progress.told(&line);
            }
        }
        // Before the first look, so that no decision falls between the two.
        let hints = hints(&work.host, &work.held.key()).await?;
        Ok(Self {
            spool,
            changes,
            progress,
            telling: Telling::default(),
            next_seq: next_seq(spool)?,
            journal: spool.journal(0),
            renew_at: Instant::now() + work.host.config.times.renew,
            keeper_by: Instant::now() + KEEPER_MAX,
            hints,
            look: true,
            controls: None,
            given: work.host.given(&work.held.request),
            waiting: Waiting::new(&work.host, &work.seat),
            interrupted,
            stopping: None,
            work,
        })
    }

    /// Follows until claude has answered or ended.
    pub(super) async fn run(mut self) -> Result<Followed> {
        // Before anything is read: an interrupt may be in the journal, and so may its result.
        self.stop().await?;
        loop {
            // Asked before the journal is read to its end: claude says nothing after its exit.
            let exit = self.exit()?;
            self.read().await?;
            if let Some(end) = self.end() {
                self.work.said = self.progress.said();
                self.work.held.record.steered = self.steered();
                return Ok(end);
            }
            if let Some(ending) = exit {
                self.work.held.record.steered = self.steered();
                return Ok(match self.stopping {
                    Some(stopping) => stopping.why.into_end(self.progress.passed_over()),
                    None => Followed::Death(Box::new(self.dead(ending)?)),
                });
            }
            self.stop().await?;
            self.tell_decided()?;
            self.tell_sent()?;
            self.say_quiet().await?;
            self.tell_live().await;
            self.wait().await?;
        }
    }

    /// The end that claude's own words make.
    fn end(&self) -> Option<Followed> {
        let outcome = self.progress.outcome();
        // What was sent into the run may have begun a turn of its own since: it is over all the same.
        if let Some(stopping) = &self.stopping
            && self.progress.aborted().is_some()
        {
            let result = outcome.or(self.progress.passed_over());
            return Some(stopping.why.clone().into_end(result));
        }
        outcome.map(|result| {
            let model = self.progress.init().map(|init| init.model.clone());
            let budget = self.work.held.request.rights.budget.as_ref();
            let told = verdict::over_budget(result, budget, self.progress.texts().next_back());
            let result = self.work.host.bus.redactor().result(told.as_ref().unwrap_or(result));
            Followed::Result(Box::new(TurnResult { model, ..result }))
        })
    }

    /// Looks whether somebody asked for a stop, or the run takes too long, and sees to it.
    async fn stop(&mut self) -> Result<()> {
        if self.stopping.is_none()
            && let Some(why) = self.why_stop().await?
        {
            if !std::mem::replace(&mut self.interrupted, true) {
                tracing::info!(run = %self.work.held.request.run, "is stopped");
                self.tell(&told::interrupt(STOP))?;
                crash::point("stop.told");
            }
            let kill_at = Instant::now() + KILL_GRACE;
            self.stopping = Some(Stopping { why, kill_at, killed: false });
        }
        if let Some(stopping) = &mut self.stopping
            && stopping.kill_at <= Instant::now()
            && !std::mem::replace(&mut stopping.killed, true)
        {
            on_disk(|| self.spool.put_kill(self.next_seq, GRACES))?;
            self.next_seq += 1;
        }
        Ok(())
    }

    async fn why_stop(&mut self) -> Result<Option<Why>> {
        let held = &self.work.held;
        let max_ms = i64::try_from(self.work.host.config.run_max.as_millis()).unwrap_or(i64::MAX);
        let waits = !held.record.asks.is_empty();
        if !waits && held.since_ms.saturating_add(max_ms) <= now_ms() {
            return Ok(Some(Why::TooLong));
        }
        if std::mem::take(&mut self.look) {
            self.controls = controls(&self.work.host, held).await?;
        }
        let stop = self.controls.as_ref().and_then(|it| it.stop_of(held.record.generation));
        Ok(stop.map(|by| Why::Person(by.to_owned())))
    }

    /// Writes into the record that claude says nothing, or that it speaks again.
    async fn say_quiet(&mut self) -> Result<()> {
        let spoke_ms = self.spool.journal_written_ms().map_err(trouble)?;
        let max =
            i64::try_from(self.work.host.config.silent_notice.as_millis()).unwrap_or(i64::MAX);
        let quiet = spoke_ms.filter(|spoke_ms| spoke_ms.saturating_add(max) <= now_ms());
        let work = &mut *self.work;
        // Whoever waits for a person has nothing to say.
        let quiet = quiet.filter(|_| work.held.record.asks.is_empty());
        if quiet == work.held.record.quiet_since_ms || work.held.record.state != State::Running {
            return Ok(());
        }
        let record = Record { quiet_since_ms: quiet, ..work.held.record.clone() };
        work.write(&record).await?;
        work.held.record = record;
        Ok(())
    }

    /// Whether claude is to end before it has answered.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.is_some()
    }

    pub(super) fn tell(&mut self, line: &str) -> Result<()> {
        on_disk(|| self.spool.put_line(self.next_seq, line))?;
        self.next_seq += 1;
        self.progress.told(line);
        Ok(())
    }

    /// How claude ended, also when nobody was left to write it down.
    fn exit(&self) -> Result<Option<Ending>> {
        if let Some(ending) = self.spool.exit().map_err(trouble)? {
            return Ok(Some(ending));
        }
        match self.spool.state().map_err(trouble)? {
            KeeperState::Alive => Ok(None),
            KeeperState::Unused if Instant::now() < self.keeper_by => Ok(None),
            KeeperState::Unused => {
                self.spool.close_if_dead().map_err(trouble)?;
                Ok(Some(Ending::KeeperDied("its keeper never came up in tmux".into())))
            }
            KeeperState::Gone | KeeperState::Closed => {
                self.spool.close_if_dead().map_err(trouble)?;
                let written = self.spool.exit().map_err(trouble)?;
                let lost =
                    || Ending::KeeperDied("the keeper was killed, and claude with it".into());
                Ok(Some(written.unwrap_or_else(lost)))
            }
        }
    }

    /// Reads the journal to its present end, and answers what is asked in it.
    async fn read(&mut self) -> Result<()> {
        while let Some(line) = self.journal.next_line().map_err(trouble)? {
            match line {
                Line::Whole(bytes) => {
                    let event = Event::parse(&bytes);
                    self.telling.heard(&event);
                    self.progress.fold(&event);
                }
                Line::TooLong { bytes } => {
                    tracing::warn!(bytes, "claude said a line that is too long");
                }
            }
            if self.progress.outcome().is_some() {
                break;
            }
        }
        self.refuse()?;
        self.ask_again()?;
        if self.progress.init().is_some() {
            self.say_running().await?;
        }
        self.see_to_asks().await
    }

    fn refuse(&mut self) -> Result<()> {
        let refused = self.progress.to_refuse().iter().map(|id| told::refuse(id, NOT_SERVED));
        for line in refused.collect::<Vec<_>>() {
            self.tell(&line)?;
        }
        Ok(())
    }

    /// Puts the request again when the session had answered its uuid before: claude swallows such a
    /// line. It happens when an attempt was lost together with its spool.
    fn ask_again(&mut self) -> Result<()> {
        let held = &self.work.held;
        if self.progress.line_state(held.prompt.uuid) != Some(LineState::AnsweredBefore) {
            return Ok(());
        }
        let again = held.prompt.after(&held.request.run, &held.record, true);
        if self.progress.line_state(again.uuid).is_some() {
            return Ok(());
        }
        tracing::warn!(run = %held.request.run, "claude has seen this before; it is asked again");
        let line = self.work.line(&again)?;
        self.tell(&line)
    }

    /// Writes once that claude was seen.
    async fn say_running(&mut self) -> Result<()> {
        let work = &mut *self.work;
        if work.held.record.state != State::Claimed {
            return Ok(());
        }
        let since_ms = Some(work.held.since_ms);
        let record = Record { state: State::Running, since_ms, ..work.held.record.clone() };
        crash::point("follow.seen");
        work.write(&record).await?;
        crash::point("follow.running");
        work.held.record = record;
        Ok(())
    }

    /// Tells whoever watches what claude does, if that is due.
    async fn tell_live(&mut self) {
        let asks = self.progress.unanswered().next().is_some();
        let model = self.progress.init().map(|init| init.model.as_str());
        let held = &self.work.held;
        if let Some(live) = self.telling.due(&held.record, model, asks) {
            self.work.host.bus.tell_live(&held.key(), &live).await;
        }
    }

    fn dead(&self, ending: Ending) -> Result<Dead> {
        let state = self.progress.line_state(self.work.held.prompt.uuid);
        let redactor = self.work.host.bus.redactor();
        Ok(Dead {
            ending,
            result: self.progress.passed_over().map(|result| redactor.result(result)),
            stderr: redactor.text(&self.spool.stderr().map_err(trouble)?).into_owned(),
            spoke: self.progress.init().is_some() || self.progress.passed_over().is_some(),
            echoed: matches!(state, Some(LineState::Echoed | LineState::AnsweredBefore)),
        })
    }

    /// Waits for the next change, saying every so often that the work goes on.
    async fn wait(&mut self) -> Result<()> {
        /// How long a change that nobody told of can stay unseen.
        const LOOK_ANYWAY: Duration = Duration::from_secs(2);
        let stop = self.work.host.stop.clone();
        tokio::select! {
            () = stop.cancelled() => Err(Left::Stopping),
            () = self.changes.changed() => Ok(()),
            () = self.hints.next() => {
                self.look = true;
                Ok(())
            }
            Some(delivery) = self.work.again.recv() => {
                self.work.delivery = Some(delivery);
                Ok(())
            }
            () = self.waiting.is_over() => Ok(()),
            () = tokio::time::sleep_until(self.renew_at) => {
                self.renew_at = Instant::now() + self.work.host.config.times.renew;
                self.look = true;
                self.work.go_on_holding().await
            }
            () = tokio::time::sleep(LOOK_ANYWAY) => Ok(()),
        }
    }
}
