//! What claude asks of people: it is listed in the record, waited for without a slot, and answered by
//! what the controls say.
//!
//! The record is written before anybody can decide, and a decision is a line in the spool before it
//! counts, so any step may be the last one before a `kill -9`: the asks are folded from the journal
//! again, those that claude was told about are known by the lines in the spool, and the record says
//! since when somebody is waited for. A claude that was left alone is asked what it still waits for.
//!
//! Where nobody can be asked, what is outside the allow list is denied at once; claude reads why and
//! goes on. What is on a list of what is denied is denied without a question, also where somebody has
//! allowed its like for the thread. Nothing else here decides anything about an ask that a person could
//! be asked, unless somebody with the right to has made the conversation unsafe: then leave is given
//! without a question, until that time is over or somebody makes it safe again.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use platform::clock::now_ms;
use schemas::ask::{ASKS_MAX, Ask, control_id};
use schemas::record::{APPLIED_MAX, Record};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Result;
use super::follow::Follow;
use crate::claude::Ask as Asked;
use crate::claude::told;
use crate::claude::wanted::id_of;
use crate::crash;
use crate::directories::{Seat, Slot};
use crate::host::Host;
use crate::policy::is_denied;

/// What claude is told about a tool that is outside the allow list.
const NOT_ALLOWED: &str = "This tool call is not on the list of what this project allows, and \
                           nobody can be asked for leave here. Go on without it, and say in your \
                           answer what you could not do.";
/// What claude is told about a tool that is denied for good.
const DENIED: &str = "This tool call is denied in this project, and nobody can give leave for it. Go on \
                      without it, and say in your answer what you could not do.";
/// What claude is told when no further run may wait for a person.
const TOO_MANY: &str = "This tool call is not on the list of what this project allows. Too many runs \
                        wait for a person's word on this host already, so nobody is asked. Go on \
                        without it, and say in your answer what you could not do.";

type Coming = Pin<Box<dyn Future<Output = Option<Slot>> + Send>>;

/// A run's waiting for people: its place among those who do, and its slot.
pub(super) struct Waiting {
    slots: Arc<Semaphore>,
    seat: Seat,
    /// The place among those that wait, while it waits.
    place: Option<OwnedSemaphorePermit>,
    /// The slot that it gave up and is to have again.
    coming: Option<Coming>,
    /// Whether what is open was looked at before.
    looked: bool,
}

impl Waiting {
    pub(super) fn new(host: &Host, seat: &Seat) -> Self {
        let (slots, seat) = (Arc::clone(&host.slots), seat.clone());
        let mut waiting = Self { slots, seat, place: None, coming: None, looked: false };
        waiting.end();
        waiting
    }

    /// Takes a place among those that wait, and gives the slot up. False when there is none.
    fn begin(&mut self, host: &Host) -> bool {
        if self.place.is_none() {
            self.place = Arc::clone(&host.patience).try_acquire_owned().ok();
        }
        if self.place.is_some() {
            self.coming = None;
            self.seat.lend();
        }
        self.place.is_some()
    }

    /// Gives the place up, and asks for the slot again. claude goes on at once: it has waited long
    /// enough, and nothing new is begun here until the slot is there.
    fn end(&mut self) {
        self.place = None;
        if self.seat.has_lent() && self.coming.is_none() {
            let slot = Arc::clone(&self.slots).acquire_owned();
            self.coming = Some(Box::pin(async move { slot.await.ok() }));
        }
    }

    /// Returns when the slot is there again; never, if none is waited for.
    pub(super) async fn is_over(&mut self) {
        let Some(coming) = &mut self.coming else { return std::future::pending().await };
        let slot = coming.await;
        self.coming = None;
        if let Some(slot) = slot {
            self.seat.take_back(slot);
        }
    }
}

impl Follow<'_> {
    /// Whether anybody can be asked: the runner's own word is the ceiling.
    fn may_ask(&self) -> bool {
        let request = &self.work.held.request;
        let project = self.work.host.config.projects.get(&request.project);
        request.asking && project.is_some_and(|project| project.ask)
    }

    /// Whether nobody is to be asked for leave, by somebody's word that still holds.
    fn is_unsafe(&self, now_ms: i64) -> bool {
        let is_safe_again = self.controls.as_ref().is_some_and(|controls| controls.safe);
        self.given.unasked_until_ms.is_some_and(|until_ms| now_ms < until_ms) && !is_safe_again
    }

    /// Lists in the record what claude waits for, and denies what nobody can be asked about.
    pub(super) async fn see_to_asks(&mut self) -> Result<()> {
        let listed = |asked: &Asked, asks: &[Ask]| {
            let id = id_of(&asked.request_id);
            asks.iter().find(|ask| ask.id == id).cloned()
        };
        let now = now_ms();
        let before = self.work.held.record.asks.clone();
        let mut asks = Vec::new();
        let mut answers = Vec::new();
        for open in self.progress.asks() {
            let asked = &open.ask;
            if open.answered || self.is_stopping() {
                // It was answered, or claude is to end.
                asks.extend(listed(asked, &before));
            } else if is_denied(&self.given.deny, &asked.tool_name, &asked.whole_object()) {
                tracing::info!(tool = asked.tool_name, "denied: on the list of what is");
                answers.push(told::deny(&asked.request_id, DENIED));
            } else if let Some(ask) = listed(asked, &before) {
                asks.push(ask);
            } else if asked.is_for_leave() && self.is_unsafe(now) {
                tracing::warn!(tool = asked.tool_name, object = asked.object(), "allowed: unsafe");
                answers.push(told::allow(&asked.request_id, &asked.input));
            } else if !self.may_ask() {
                tracing::info!(tool = asked.tool_name, "denied: not on the allow list");
                answers.push(told::deny(&asked.request_id, NOT_ALLOWED));
            } else if asks.len() < ASKS_MAX {
                if !self.waiting.begin(&self.work.host) {
                    tracing::warn!(tool = asked.tool_name, "denied: too many wait for a person");
                    answers.push(told::deny(&asked.request_id, TOO_MANY));
                    continue;
                }
                tracing::info!(tool = asked.tool_name, "asks a person");
                asks.push(self.work.host.bus.redactor().ask(asked).shown(now));
            }
        }
        for line in answers {
            self.tell(&line)?;
        }
        self.ask_what_is_open()?;
        self.list(asks, now).await?;
        if self.work.held.record.asks.is_empty() {
            self.waiting.end();
        } else {
            // What was listed before has its place, or keeps its slot.
            self.waiting.begin(&self.work.host);
        }
        Ok(())
    }

    /// Writes the open asks into the record, if others are there.
    async fn list(&mut self, asks: Vec<Ask>, now_ms: i64) -> Result<()> {
        let record = &self.work.held.record;
        if record.asks == asks {
            return Ok(());
        }
        let attempt = record.attempt;
        let taken = self.progress.settled().iter();
        let taken = taken.filter(|id| self.progress.is_answered(id)).map(|id| id_of(id));
        let mut applied: Vec<_> = taken.map(|ask| control_id(attempt, &ask)).collect();
        applied.drain(..applied.len().saturating_sub(APPLIED_MAX));
        self.work.held.waited(&asks, now_ms);
        let held = &self.work.held;
        let before = held.record.asks.clone();
        let record = Record {
            asks,
            asked: self.progress.asked(),
            applied,
            since_ms: held.record.since_ms.map(|_| held.since_ms),
            ..held.record.clone()
        };
        crash::point("ask.seen");
        self.work.write(&record).await?;
        crash::point("ask.written");
        self.work.held.record = record;
        let held = &self.work.held;
        let is_open = |ask: &Ask| held.record.asks.iter().any(|open| open.id == ask.id);
        held.trace_asks(before.iter().filter(|ask| !is_open(ask)));
        Ok(())
    }

    /// Asks a claude that an earlier life of this runner left what it still waits for: what is open by
    /// the journal alone may not be any more.
    fn ask_what_is_open(&mut self) -> Result<()> {
        let first = !std::mem::replace(&mut self.waiting.looked, true);
        if first && self.progress.unanswered().next().is_some() {
            let id = format!("{}-{}", told::INITIALIZE, self.next_seq);
            self.tell(&told::initialize(&id))?;
        }
        Ok(())
    }

    /// Tells claude what was decided about what it asks, each ask once.
    pub(super) fn tell_decided(&mut self) -> Result<()> {
        let Some(controls) = self.controls.as_ref().filter(|_| !self.is_stopping()) else {
            return Ok(());
        };
        let record = &self.work.held.record;
        let answer = |asked: &Asked| {
            let id = id_of(&asked.request_id);
            let is_listed = record.asks.iter().any(|ask| ask.id == id);
            let decision = controls.answer_to(record.generation, record.attempt, &id);
            decision.filter(|_| is_listed).map(|decision| asked.decided(decision))
        };
        let lines: Vec<_> = self.progress.unanswered().filter_map(answer).collect();
        for line in lines {
            crash::point("ask.decided");
            self.tell(&line)?;
            crash::point("ask.told");
        }
        Ok(())
    }
}
