//! The state of one claude process, folded from what it was told and what it said.
//!
//! [`Progress::told`] takes each line that is put into the spool, [`Progress::fold`] each event of
//! the journal. A runner that adopts a spool tells it all lines of `in/` first, in order, and then
//! folds the journal from its first byte: it comes to the same state as one that was there.
//!
//! The outcome is the first result that is no compaction and no task notification, once every line
//! written has its echo. An echo comes late (when the model begins to answer), so a line without
//! one may still be under way; [`LineState`] says how far it came.
//!
//! It never forgets an open ask and never changes an outcome.

use std::collections::VecDeque;

use uuid::Uuid;

use super::told::{INITIALIZE, Told};
use super::{Ask, Block, ControlResponse, Event, Init, Lifecycle, TurnKind, TurnResult};

/// How much of claude's words is kept: twice what a person reads in one thread's answer. The
/// journal has all of them.
const TEXTS_MAX_BYTES: usize = 64 * 1024;

/// How far a line that we wrote has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LineState {
    /// In the spool; claude has not shown that it read it.
    Written,
    /// claude has read it.
    Queued,
    /// claude works on it.
    Started,
    /// It is part of the conversation.
    Echoed,
    /// The session had answered this uuid before: no result will come for it. The request has to
    /// be put again under a new uuid.
    AnsweredBefore,
}

/// One line that we wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Line {
    uuid: Uuid,
    state: LineState,
    started: bool,
}

/// An ask that is not settled.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Open {
    /// What claude asks.
    pub(crate) ask: Ask,
    /// Whether an answer of ours is on its way.
    pub(crate) answered: bool,
}

/// The state of one claude process.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Progress {
    init: Option<Init>,
    lines: Vec<Line>,
    /// Answers of ours, also to asks that the journal has yet to show.
    answers: Vec<String>,
    asks: Vec<Open>,
    /// The asks that claude waits for no more.
    settled: Vec<String>,
    /// Requests that we do not serve and have not refused yet.
    strange: Vec<String>,
    /// The last message of claude's.
    said: Option<Uuid>,
    texts: VecDeque<String>,
    texts_bytes: usize,
    outcome: Option<TurnResult>,
    /// Answers that came while a line was under way that was sent into the work: it is answered too.
    before: Vec<TurnResult>,
    /// The lines that were part of the conversation when a turn was interrupted for the first time.
    aborted: Option<Vec<Uuid>>,
    /// The last result that was no outcome.
    passed_over: Option<TurnResult>,
}

impl Progress {
    /// Nothing told, nothing said.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A line was put into the spool.
    pub(crate) fn told(&mut self, line: &str) {
        match Told::parse(line) {
            Told::User(uuid) => {
                if self.line(uuid).is_none() {
                    self.lines.push(Line { uuid, state: LineState::Written, started: false });
                }
            }
            Told::Answer(request_id) => {
                for open in &mut self.asks {
                    open.answered |= open.ask.request_id == request_id;
                }
                self.strange.retain(|id| *id != request_id);
                self.answers.push(request_id);
            }
            Told::Request(_) | Told::Strange => {}
        }
    }

    /// Takes the next event of the journal. Returns whether this one made the outcome.
    pub(crate) fn fold(&mut self, event: &Event) -> bool {
        match event {
            Event::Init(init) => self.init = Some(init.clone()),
            Event::Lifecycle { uuid, state } => self.lifecycle(*uuid, *state),
            Event::Echo { uuid, .. } => {
                if let Some(line) = self.line(*uuid) {
                    line.state = LineState::Echoed;
                }
            }
            Event::Said { blocks, within: None, uuid, .. } => {
                self.said = uuid.or(self.said);
                for block in blocks {
                    self.hear(block);
                }
            }
            Event::Ask(ask) => self.open(ask),
            Event::OtherRequest { request_id, .. } => {
                if !self.answers.contains(request_id) {
                    self.strange.push(request_id.clone());
                }
            }
            Event::AskCancelled { request_id } => self.settle(request_id),
            Event::ControlResponse(response) => self.response(response),
            Event::Result(result) => return self.result(result),
            Event::Said { within: Some(_), .. }
            | Event::ToolResults(_)
            | Event::RateLimit { .. }
            | Event::ApiRetry { .. }
            | Event::Compacted
            | Event::Other { .. }
            | Event::NotJson => {}
        }
        false
    }

    fn line(&mut self, uuid: Uuid) -> Option<&mut Line> {
        self.lines.iter_mut().find(|line| line.uuid == uuid)
    }

    fn lifecycle(&mut self, uuid: Uuid, state: Lifecycle) {
        let Some(line) = self.line(uuid) else { return };
        line.started |= state == Lifecycle::Started;
        line.state = match (state, line.state) {
            (Lifecycle::Completed, _) if !line.started => LineState::AnsweredBefore,
            (Lifecycle::Queued, LineState::Written) => LineState::Queued,
            (Lifecycle::Started, LineState::Written | LineState::Queued) => LineState::Started,
            (
                Lifecycle::Queued
                | Lifecycle::Started
                | Lifecycle::Completed
                | Lifecycle::Cancelled,
                other,
            ) => other,
        };
    }

    fn hear(&mut self, block: &Block) {
        match block {
            Block::Text(text) => {
                self.texts_bytes += text.len();
                self.texts.push_back(text.clone());
                while TEXTS_MAX_BYTES < self.texts_bytes && 1 < self.texts.len() {
                    let first = self.texts.pop_front();
                    self.texts_bytes -= first.map_or(0, |it| it.len());
                }
            }
            Block::Thinking(_) | Block::ToolUse { .. } | Block::Other => {}
        }
    }

    /// An ask may be shown again (to an `initialize`), also after it was answered.
    fn open(&mut self, ask: &Ask) {
        let is_known = self.asks.iter().any(|open| open.ask.request_id == ask.request_id);
        if !is_known && !self.settled.contains(&ask.request_id) {
            let answered = self.answers.contains(&ask.request_id);
            self.asks.push(Open { ask: ask.clone(), answered });
        }
    }

    fn settle(&mut self, request_id: &str) {
        if self.asks.iter().any(|open| open.ask.request_id == request_id) {
            self.asks.retain(|open| open.ask.request_id != request_id);
            self.settled.push(request_id.to_owned());
        }
        self.strange.retain(|id| id != request_id);
    }

    /// claude sends our own answers back: then it has taken them.
    fn response(&mut self, response: &ControlResponse) {
        self.settle(&response.request_id);
        response.pending.iter().for_each(|ask| self.open(ask));
        if response.request_id.starts_with(INITIALIZE) && response.outcome.is_ok() {
            let waits = |id: &str| response.pending.iter().any(|ask| ask.request_id == id);
            let gone = self.asks.iter().filter(|open| !open.answered);
            let gone: Vec<_> = gone.map(|open| open.ask.request_id.clone()).collect();
            gone.iter().filter(|id| !waits(id)).for_each(|id| self.settle(id));
        }
    }

    fn result(&mut self, result: &TurnResult) -> bool {
        let is_answer = match result.kind {
            TurnKind::Answer => true,
            TurnKind::Compaction | TurnKind::TaskNotification => false,
        };
        if is_answer && result.is_interrupted() && self.aborted.is_none() {
            let echoed = self.lines.iter().filter(|line| line.state == LineState::Echoed);
            self.aborted = Some(echoed.map(|line| line.uuid).collect());
        }
        if self.outcome.is_none() && is_answer && self.is_all_echoed() {
            self.outcome = Some(result.clone().behind(&self.before));
            return true;
        }
        if is_answer && !result.is_error && !self.lines.is_empty() {
            self.before.push(result.clone());
        }
        self.passed_over = Some(result.clone());
        false
    }

    fn is_all_echoed(&self) -> bool {
        !self.lines.is_empty()
            && self.lines.iter().all(|line| match line.state {
                // The one that was answered before gets no result; the one put in its place does.
                LineState::Echoed | LineState::AnsweredBefore => true,
                LineState::Written | LineState::Queued | LineState::Started => false,
            })
    }

    /// The outcome, once there is one.
    pub(crate) fn outcome(&self) -> Option<&TurnResult> {
        self.outcome.as_ref()
    }

    /// The last result that was no outcome: why a claude died that left none.
    pub(crate) fn passed_over(&self) -> Option<&TurnResult> {
        self.passed_over.as_ref()
    }

    /// The lines that were part of the conversation when a turn was interrupted, if one was: what claude
    /// did after it was of itself.
    pub(crate) fn aborted(&self) -> Option<&[Uuid]> {
        self.aborted.as_deref()
    }

    /// What claude last said of itself.
    pub(crate) fn init(&self) -> Option<&Init> {
        self.init.as_ref()
    }

    /// The id of the last message of claude's in the conversation itself.
    pub(crate) fn said(&self) -> Option<Uuid> {
        self.said
    }

    /// How far the line with this uuid has come; `None` if it was never written.
    pub(crate) fn line_state(&self, uuid: Uuid) -> Option<LineState> {
        self.lines.iter().find(|line| line.uuid == uuid).map(|line| line.state)
    }

    /// The lines that the session had answered before: no result will come for them.
    #[cfg_attr(not(test), expect(dead_code, reason = "trying again asks"))]
    pub(crate) fn answered_before(&self) -> impl Iterator<Item = Uuid> {
        self.lines
            .iter()
            .filter(|line| line.state == LineState::AnsweredBefore)
            .map(|line| line.uuid)
    }

    /// The asks that are not settled, oldest first.
    pub(crate) fn asks(&self) -> &[Open] {
        &self.asks
    }

    /// How often an ask was opened or settled so far: it only grows.
    pub(crate) fn asked(&self) -> u32 {
        let count = self.asks.len() + 2 * self.settled.len();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Whether claude was told an answer to this.
    pub(crate) fn is_answered(&self, request_id: &str) -> bool {
        self.answers.iter().any(|id| id == request_id)
    }

    /// The requests that claude waits for no more, in the order in which it let go of them.
    pub(crate) fn settled(&self) -> &[String] {
        &self.settled
    }

    /// The asks that nobody has answered, oldest first.
    pub(crate) fn unanswered(&self) -> impl Iterator<Item = &Ask> {
        self.asks.iter().filter(|open| !open.answered).map(|open| &open.ask)
    }

    /// Requests of claude's that we do not serve and that must be refused.
    pub(crate) fn to_refuse(&self) -> &[String] {
        &self.strange
    }

    /// claude's words so far, oldest first; of very many the last.
    pub(crate) fn texts(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.texts.iter().map(String::as_str)
    }
}
