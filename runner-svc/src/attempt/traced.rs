//! What an attempt tells the trace of its message: the run, its claudes, their tools, its waiting.
//!
//! Every span is made of what lies in the spool and in the record (`held.json` has where the run's
//! span begins, the journal has when a tool was called), and is told when it is over, by whichever
//! life of the runner is there then. All of it is told right before a spool is swept: what a `kill
//! -9` keeps from being told is told by the next life. Nothing here waits or decides, and nothing
//! fails that anybody would have to know of.

use platform::clock::now_ms;
use platform::telemetry::{self, Ids, Kind, Span};
use schemas::ask::{Ask, Wanted};
use schemas::ids::Attempt;
use schemas::names::{attribute as is, link, span};
use schemas::record::{Outcome, Record, State, Text};
use schemas::request::Request;
use schemas::streams::WORK;

use super::Work;
use crate::bus::Delivery;
use crate::claude::{Call, Calls};
use crate::held::{Begun, Held, RESULT};
use crate::redact::Redactor;
use crate::spool::{Line, Spool};

/// How a claude is known to whoever looks at a trace.
const AGENT: &str = "Claude Code";

impl Begun {
    /// A holding begins with a delivery. `read` is what the record said before.
    pub(super) fn by(
        delivery: &Delivery,
        read: Option<&Record>,
        (request, at_ms): (&Request, i64),
    ) -> Self {
        let read = read.filter(|record| record.generation == request.generation);
        Self {
            parent: delivery.trace(),
            at_ms,
            held_before: read.and_then(|record| record.trace.clone()),
            redelivered: delivery.is_again(),
            claude_before: None,
        }
    }

    /// The `traceparent` of the holding's span: one for each attempt that is claimed.
    pub(super) fn trace(&self, request: &Request, attempt: Attempt) -> Option<String> {
        let parent = Ids::parse(self.parent.as_deref()?)?;
        let name = format!("run/{}/{attempt}", request.generation);
        Some(parent.named(&name).traceparent())
    }
}

impl Held {
    /// The span of the run's holding.
    pub(super) fn ids(&self) -> Option<Ids> {
        Ids::parse(self.trace.as_deref()?)
    }

    /// The span of the claude of a spool of this name.
    pub(super) fn claude_ids(&self, owner: &str) -> Option<Ids> {
        Some(self.ids()?.named(&format!("claude/{owner}")))
    }

    fn parent(&self) -> Option<Ids> {
        Ids::parse(self.begun.parent.as_deref()?)
    }

    /// The run is held since now.
    pub(super) fn trace_claim(&self) {
        let Some(run) = self.ids() else { return };
        let times = (self.begun.at_ms, now_ms());
        self.about(Span::new(span::CLAIM, run.named("claim"), Some(&run), times)).tell();
    }

    /// claude is started since now.
    pub(super) fn trace_start(&self, began_ms: i64) {
        let Some(run) = self.ids() else { return };
        let ids = run.named(&format!("start/{}", self.record.owner));
        self.about(Span::new(span::START, ids, Some(&run), (began_ms, now_ms()))).tell();
    }

    /// A later life of the runner goes on with it. The life before may have told nothing, so this is
    /// no child of what that did, but linked to it.
    pub(super) fn trace_adoption(&self, began_ms: i64, why: &'static str) {
        let Some(run) = self.ids() else { return };
        let times = (began_ms, now_ms());
        let span = Span::new(span::ADOPT, run.fresh(), self.parent().as_ref(), times);
        self.about(span).link(Some(&run), link::WHY, why).tell();
    }

    /// These asks are open no more.
    pub(super) fn trace_asks<'a>(&self, asks: impl Iterator<Item = &'a Ask>) {
        let Some(claude) = self.claude_ids(&self.record.owner.to_string()) else { return };
        for ask in asks {
            let ids = claude.named(&format!("ask/{}", ask.id));
            let (kind, tool) = match &ask.wanted {
                Wanted::Permission { tool, .. } => ("leave", Some(tool.clone())),
                Wanted::Question { .. } => ("question", None),
                Wanted::Plan { .. } => ("plan", None),
            };
            Span::new(span::ASK, ids, Some(&claude), (ask.since_ms, now_ms()))
                .with(is::RUN, self.request.run.to_string())
                .with(is::ASK, kind)
                .with_some(is::TOOL, tool)
                .tell();
        }
    }

    /// The run is over, and its work acknowledged since `told_ms`.
    pub(super) fn trace_run(&self, told_ms: i64) {
        let Some(run) = self.ids() else { return };
        let before = self.begun.held_before.as_deref().and_then(Ids::parse);
        // The work that came again is told of the publishing, whose child this is in any case.
        let again = self.parent().filter(|_| self.begun.redelivered);
        let span = Span::new(span::RUN, run, self.parent().as_ref(), (self.begun.at_ms, told_ms));
        let span = self
            .about(span)
            .kind(Kind::Consumer)
            .with(is::MESSAGING_SYSTEM, "nats")
            .with(is::MESSAGING_TYPE, "process")
            .with(is::MESSAGING_NAME, "process")
            .with(is::DESTINATION, WORK)
            .link(before.as_ref(), link::WHY, link::TAKE_OVER)
            .link(again.as_ref(), link::WHY, link::REDELIVERY);
        match self.record.outcome() {
            Some(Outcome::Answered { .. }) => span.with(is::OUTCOME, "answered").tell(),
            Some(Outcome::Stopped { .. }) => span.with(is::OUTCOME, "stopped").tell(),
            Some(Outcome::Failed { .. }) => {
                span.with(is::OUTCOME, "failed").failed("failed").tell();
            }
            None => span.failed("lost").tell(),
        }
    }

    /// The claude of a spool is gone: tells of it and of all that it used. `state` is how the run
    /// ended, if it did with this claude. Reads the journal.
    pub(super) fn trace_claude(&self, spool: &Spool, state: Option<&State>, redactor: &Redactor) {
        if !telemetry::is_sent() {
            return;
        }
        let Some((run, claude)) = self.ids().zip(self.claude_ids(spool.name())) else { return };
        if !run.is_kept() {
            return;
        }
        let calls = calls(spool);
        let said = calls.times();
        let begin = spool.started_ms().or(said.map(|(first, _)| first));
        let begin_ms = begin.unwrap_or(self.begun.at_ms);
        let end_ms = spool.ended_ms().or(said.map(|(_, last)| last)).unwrap_or_else(now_ms);
        for call in calls.all() {
            tool(&claude, call, end_ms, redactor);
        }
        let before = self.begun.claude_before.as_deref();
        let before = before.map(|owner| run.named(&format!("claude/{owner}")));
        let span = Span::new(span::CLAUDE, claude, Some(&run), (begin_ms, end_ms));
        let span = self
            .about(span)
            .with(is::OPERATION, "invoke_agent")
            .with(is::PROVIDER, "anthropic")
            .with(is::AGENT, AGENT)
            .with(is::CONVERSATION, self.record.session.to_string())
            .with_message(is::QUESTION, "user", &redactor.text(&self.request.prompt))
            .link(before.as_ref(), link::WHY, link::AGAIN);
        let Some(State::Ended { outcome, usage }) = state else {
            return span.failed("died").tell();
        };
        let span = match usage {
            Some(usage) => span
                .with_some(is::MODEL, usage.model.clone())
                .with(is::INPUT, i64::try_from(usage.input_tokens).unwrap_or(i64::MAX))
                .with(is::OUTPUT, i64::try_from(usage.output_tokens).unwrap_or(i64::MAX))
                .with(is::COST, usage.cost_usd),
            None => span,
        };
        match outcome {
            Outcome::Answered { answer: Text::Inline(text), .. } => {
                span.with_message(is::ANSWER, "assistant", text).tell();
            }
            Outcome::Answered { answer: Text::File { .. }, .. } | Outcome::Stopped { .. } => {
                span.tell();
            }
            Outcome::Failed { .. } => span.failed("failed").tell(),
        }
    }

    /// The outcome is told since `told_ms`, after it had been seen when this spool says.
    fn trace_finish(&self, spool: &Spool, told_ms: i64) {
        let Some(run) = self.ids() else { return };
        let seen_ms = spool.written_ms(RESULT).unwrap_or(told_ms);
        self.about(Span::new(span::FINISH, run.named("finish"), Some(&run), (seen_ms, told_ms)))
            .tell();
    }

    /// Everything that a spool knows, right before it is swept.
    pub(super) fn trace_all(&self, spool: &Spool, told_ms: i64, redactor: &Redactor) {
        if telemetry::is_sent() {
            // A journal may be long.
            tokio::task::block_in_place(|| {
                self.trace_claude(spool, Some(&self.record.state), redactor);
            });
            self.trace_finish(spool, told_ms);
            self.trace_run(told_ms);
        }
    }

    /// Another holds the run by now: what this holding was is told as far as it went.
    pub(super) fn trace_lost(&self, spool: &Spool, redactor: &Redactor) {
        if telemetry::is_sent() {
            tokio::task::block_in_place(|| self.trace_claude(spool, None, redactor));
            self.trace_run(now_ms());
        }
    }

    fn about(&self, span: Span) -> Span {
        span.with(is::RUN, self.request.run.to_string())
            .with(is::PROJECT, self.request.project.to_string())
            .with(is::GENERATION, i64::from(self.request.generation.0))
            .with(is::ATTEMPT, i64::from(self.record.attempt.0))
            .with(is::RUNNER, self.record.runner.to_string())
    }
}

fn tool(claude: &Ids, call: &Call, claude_end_ms: i64, redactor: &Redactor) {
    let name = |id: &str| claude.named(&format!("call/{id}"));
    let parent = call.within.as_deref().map_or_else(|| claude.clone(), name);
    let times = (call.begin_ms, call.end_ms.unwrap_or(claude_end_ms));
    let title = format!("{} {}", span::TOOL, call.tool);
    let span = Span::new(title, name(&call.id), Some(&parent), times)
        .with(is::OPERATION, "execute_tool")
        .with(is::TOOL, call.tool.clone())
        .with(is::CALL, call.id.clone())
        .with_text(is::ARGUMENTS, &redactor.text(&call.object));
    match call.end_ms {
        None => span.failed("cut").tell(),
        Some(_) if call.failed => span.failed("failed").tell(),
        Some(_) => span.tell(),
    }
}

/// The calls that a spool's journal tells of; those that can be read.
fn calls(spool: &Spool) -> Calls {
    let (mut calls, mut journal) = (Calls::default(), spool.journal(0));
    while let Ok(Some(line)) = journal.next_line() {
        match line {
            Line::Whole(bytes) => calls.fold(&bytes),
            Line::TooLong { .. } => {}
        }
    }
    calls
}

impl Work {
    /// The claude of a spool has died, and another comes in its place.
    pub(super) fn trace_dead(&mut self, dead: &Spool) {
        if telemetry::is_sent() {
            let redactor = self.host.bus.redactor();
            tokio::task::block_in_place(|| self.held.trace_claude(dead, None, redactor));
        }
        self.held.begun.claude_before = Some(dead.name().to_owned());
    }

    /// Tells an outcome for which no spool is left, or none was made.
    pub(super) async fn tell_alone(&mut self, state: &State) -> super::Result<()> {
        self.tell(state).await?;
        self.held.trace_run(now_ms());
        Ok(())
    }
}
