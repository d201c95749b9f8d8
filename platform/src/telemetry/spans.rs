//! Spans that are told when they are over, with the times that somebody has kept.
//!
//! A run outlives the process that began it, and claude outlives its runner: what a span says must
//! not be in memory alone. So [`Ids`] are made from names and travel as a `traceparent` (in a header,
//! a record, the store, a spool), whoever needs a parent makes one before it is told, and a [`Span`]
//! is handed over in one piece, by whichever life comes to its end.
//!
//! Nothing here waits: a span goes into the exporter's queue or is dropped. Without a collector
//! there are ids, and spans cost nothing.

use std::borrow::Cow;
use std::cell::Cell;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::context::FutureExt as _;
use opentelemetry::trace::{
    Link, Span as _, SpanContext, SpanId, Status, TraceContextExt as _, TraceFlags, TraceId,
    TraceState, Tracer as _,
};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::trace::{
    IdGenerator, RandomIdGenerator, Sampler, SamplingDecision, SdkTracer, ShouldSample as _,
};
use sha2::{Digest as _, Sha256};

pub use opentelemetry::trace::SpanKind as Kind;

/// The version of a `traceparent` (W3C Trace Context, Level 1).
const VERSION: &str = "00";
/// The most bytes of a text of somebody's in a span, where texts are wanted at all.
const TEXT_MAX: usize = 4096;

/// What this process does with spans.
#[derive(Debug)]
pub(super) struct Process {
    /// Where they go; `None`: nowhere.
    pub(super) tracer: Option<SdkTracer>,
    /// The share of traces that are kept.
    pub(super) sample: f64,
    /// Whether texts of people are told.
    pub(super) texts: bool,
}

/// Set once, by the start of telemetry.
static PROCESS: OnceLock<Process> = OnceLock::new();

/// From now on spans go where this says. Called once.
pub(super) fn begin(process: Process) {
    // A second start would be a mistake of `main`; the first one holds.
    let _ = PROCESS.set(process);
}

/// Whether spans are sent anywhere: what is costly to find out need not be looked for otherwise.
pub fn is_sent() -> bool {
    PROCESS.get().is_some_and(|process| process.tracer.is_some())
}

/// Whether the operator wants texts of people in telemetry.
fn wants_texts() -> bool {
    PROCESS.get().is_some_and(|process| process.texts)
}

/// The ids of a span, as its `traceparent` says them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ids(SpanContext);

impl Ids {
    /// The first span of a new trace. Whether the trace is kept is decided here, for all of it.
    pub fn root() -> Self {
        let random = RandomIdGenerator::default();
        let sample = PROCESS.get().map_or(1.0, |process| process.sample);
        let trace = random.new_trace_id();
        let share = Sampler::TraceIdRatioBased(sample);
        let decided = share.should_sample(None, trace, "", &Kind::Internal, &[], &[]).decision;
        Self::new(trace, random.new_span_id(), decided == SamplingDecision::RecordAndSample)
    }

    fn new(trace: TraceId, span: SpanId, is_kept: bool) -> Self {
        let flags = TraceFlags::default().with_sampled(is_kept);
        // Remote: whoever refers to it is, as a rule, another process or another life of this one.
        Self(SpanContext::new(trace, span, flags, true, TraceState::default()))
    }

    /// What a `traceparent` says; `None` where it says nothing of use.
    pub fn parse(traceparent: &str) -> Option<Self> {
        let mut parts = traceparent.split('-');
        let (version, trace, span) = (parts.next()?, parts.next()?, parts.next()?);
        let flags = parts.next().filter(|flags| flags.len() == 2)?;
        // A later version may have more parts behind; this one may not.
        let is_whole = version != VERSION || parts.next().is_none();
        if version.len() != 2 || trace.len() != 32 || span.len() != 16 || !is_whole {
            return None;
        }
        let flags = u8::from_str_radix(flags, 16).ok()?;
        let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
        let ids = Self::new(trace, span, TraceFlags::new(flags).is_sampled());
        ids.0.is_valid().then_some(ids)
    }

    /// The span of this name below this one: the same whenever the name is, so whoever knows the name
    /// knows the span, before and after it is told.
    #[must_use]
    pub fn named(&self, name: &str) -> Self {
        let mut digest = Sha256::new_with_prefix(self.0.span_id().to_bytes());
        digest.update(name.as_bytes());
        let digest = digest.finalize();
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&digest[..8]);
        // No span has the id 0, and no digest that is ever met begins so.
        bytes[7] |= 1;
        Self::new(self.0.trace_id(), SpanId::from_bytes(bytes), self.is_kept())
    }

    /// A span of the same trace that nobody else can name.
    #[must_use]
    pub fn fresh(&self) -> Self {
        let span = RandomIdGenerator::default().new_span_id();
        Self::new(self.0.trace_id(), span, self.is_kept())
    }

    /// The `traceparent`, to be handed on.
    pub fn traceparent(&self) -> String {
        let (trace, span, flags) = (self.0.trace_id(), self.0.span_id(), self.0.trace_flags());
        format!("{VERSION}-{trace}-{span}-{flags:02x}")
    }

    /// The trace, in 32 hexadecimal digits.
    pub fn trace_id(&self) -> String {
        self.0.trace_id().to_string()
    }

    /// Whether the trace is kept.
    pub fn is_kept(&self) -> bool {
        self.0.is_sampled()
    }
}

/// Lets what `future` logs carry these ids.
pub fn within<F: Future>(ids: Option<&Ids>, future: F) -> impl Future<Output = F::Output> {
    let none = Context::new();
    future.with_context(ids.map_or_else(|| none.clone(), |ids| context(&none, ids)))
}

fn context(around: &Context, ids: &Ids) -> Context {
    around.with_remote_span_context(ids.0.clone())
}

/// A span that is over as soon as it is told.
#[derive(Debug)]
#[must_use = "nobody hears of a span before `tell`"]
pub struct Span {
    name: Cow<'static, str>,
    ids: Ids,
    parent: Option<Ids>,
    kind: Kind,
    begin_ms: i64,
    end_ms: i64,
    attributes: Vec<KeyValue>,
    links: Vec<Link>,
    status: Status,
}

impl Span {
    /// A span of these times, in milliseconds since 1970. One that would end before it began, since
    /// two clocks are apart, takes no time.
    pub fn new(
        name: impl Into<Cow<'static, str>>,
        ids: Ids,
        parent: Option<&Ids>,
        (begin_ms, end_ms): (i64, i64),
    ) -> Self {
        Self {
            name: name.into(),
            ids,
            parent: parent.cloned(),
            kind: Kind::Internal,
            begin_ms,
            end_ms: end_ms.max(begin_ms),
            attributes: Vec::new(),
            links: Vec::new(),
            status: Status::Unset,
        }
    }

    /// Its kind; otherwise something inside.
    pub fn kind(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }

    /// One more attribute.
    pub fn with(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        self.attributes.push(KeyValue::new(key, value));
        self
    }

    /// One more attribute, where there is a value.
    pub fn with_some(self, key: &'static str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    /// A text of somebody's, which is told only where the operator wants texts; cut at 4 KiB.
    pub fn with_text(self, key: &'static str, text: &str) -> Self {
        if wants_texts() { self.with(key, cut(text).to_owned()) } else { self }
    }

    /// A text that somebody has told a model, or a model somebody, in the form of the conventions for
    /// generative AI; as [`Span::with_text`].
    pub fn with_message(self, key: &'static str, role: &'static str, text: &str) -> Self {
        if !wants_texts() {
            return self;
        }
        let part = serde_json::json!({"type": "text", "content": cut(text)});
        let message = serde_json::json!([{"role": role, "parts": [part]}]);
        self.with(key, message.to_string())
    }

    /// A link to another span, with an attribute that says what it is to this one.
    pub fn link(mut self, to: Option<&Ids>, key: &'static str, why: &'static str) -> Self {
        if let Some(to) = to {
            self.links.push(Link::new(to.0.clone(), vec![KeyValue::new(key, why)], 0));
        }
        self
    }

    /// It failed, in this way: a word of ours, and nobody's text.
    pub fn failed(self, how: &'static str) -> Self {
        Self { status: Status::error(how), ..self.with("error.type", how) }
    }

    /// Hands it to the exporter, where there is one and the trace is kept.
    pub fn tell(self) {
        let tracer = PROCESS.get().and_then(|process| process.tracer.as_ref());
        let Some(tracer) = tracer.filter(|_| self.ids.is_kept()) else { return };
        let parent = self.parent.map_or_else(Context::new, |ids| context(&Context::new(), &ids));
        let builder = tracer
            .span_builder(self.name)
            .with_kind(self.kind)
            .with_start_time(at(self.begin_ms))
            .with_attributes(self.attributes)
            .with_links(self.links);
        NEXT.set(Some(self.ids.0));
        let mut span = tracer.build_with_context(builder, &parent);
        NEXT.set(None);
        span.set_status(self.status);
        span.end_with_timestamp(at(self.end_ms));
    }
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(TEXT_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn at(ms: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(u64::try_from(ms).unwrap_or_default())
}

thread_local! {
    /// The ids of the span that is being made on this thread.
    static NEXT: Cell<Option<SpanContext>> = const { Cell::new(None) };
}

/// Gives each span the ids that it was told with.
#[derive(Debug, Default)]
pub(super) struct Given(RandomIdGenerator);

impl Given {
    fn next<T>(take: impl FnOnce(&SpanContext) -> T) -> Option<T> {
        let next = NEXT.take();
        let taken = next.as_ref().map(take);
        NEXT.set(next);
        taken
    }
}

impl IdGenerator for Given {
    fn new_trace_id(&self) -> TraceId {
        Self::next(SpanContext::trace_id).unwrap_or_else(|| self.0.new_trace_id())
    }

    fn new_span_id(&self) -> SpanId {
        Self::next(SpanContext::span_id).unwrap_or_else(|| self.0.new_span_id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_says_what_was_said() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let ids = Ids::parse(text).unwrap();
        assert_eq!(ids.traceparent(), text);
        assert_eq!(ids.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert!(ids.is_kept());
        let not_kept = Ids::parse(&text.replace("-01", "-00")).unwrap();
        assert!(!not_kept.is_kept() && !not_kept.named("a").is_kept());
        let later = text.replace("00-4b", "01-4b") + "-more";
        assert_eq!(Ids::parse(&later).unwrap().traceparent(), text);
        for bad in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-4bf92f3577b34da6a3ce929d0e0e473x-00f067aa0ba902b7-01",
        ] {
            assert_eq!(Ids::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_name_makes_the_same_span_in_any_process() {
        let (one, two) = (Ids::root(), Ids::root());
        assert_eq!(one.named("run/7"), one.named("run/7"));
        assert_ne!(one.named("a").named("run/7"), one.named("run/7"));
        assert_ne!(one.fresh(), one.fresh());
        assert_ne!(one.named("run/7"), one.named("run/8"));
        assert_ne!(one.named("run/7"), two.named("run/7"));
        assert_eq!(one.named("run/7").trace_id(), one.trace_id());
        let again = Ids::parse(&one.named("run/7").traceparent()).unwrap();
        assert_eq!(again, one.named("run/7"));
    }

    #[test]
    fn a_text_is_cut_between_its_letters() {
        assert_eq!(cut("short"), "short");
        let long = format!("{}ä", "x".repeat(TEXT_MAX - 1));
        assert_eq!(cut(&long).len(), TEXT_MAX - 1);
    }

    #[test]
    fn without_telemetry_a_span_is_told_to_nobody() {
        assert!(!is_sent() && !wants_texts());
        let ids = Ids::root();
        Span::new("a", ids.named("a"), Some(&ids), (2, 1)).with_text("t", "secret").tell();
    }
}
