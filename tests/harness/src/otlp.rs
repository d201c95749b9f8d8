//! A collector of a story's own: takes OTLP over HTTP, and keeps what came.
//!
//! Spans are kept as a story reads them, and every body as it came, so that a story can look for
//! what must not be in it. One that is [`Otlp::silent`] takes connections and never answers, and one that
//! [`Otlp::refuses`] answers that it takes nothing now. With TLS it has an authority of its own.

mod tls;

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::header::CONTENT_ENCODING;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use flate2::read::GzDecoder;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span as Sent};
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// The most bytes that are kept: a story sends some hundred kilobytes.
const KEPT_MAX: usize = 64 * 1024 * 1024;

/// What a span says.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// The service's name.
    pub service: String,
    /// The span's name.
    pub name: String,
    /// The trace, in hexadecimal digits.
    pub trace: String,
    /// The span's id, in hexadecimal digits.
    pub id: String,
    /// Its parent's id; empty for a root.
    pub parent: String,
    /// Its kind, by OTLP's number.
    pub kind: i32,
    /// When it began and ended, in nanoseconds since 1970.
    pub times: (u64, u64),
    /// Its attributes, as text.
    pub attributes: BTreeMap<String, String>,
    /// The ids of the spans that it is linked to, each with why.
    pub links: Vec<(String, String)>,
    /// Whether it failed.
    pub failed: bool,
}

impl Span {
    /// An attribute, if it has it.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.attributes.get(key).map(String::as_str)
    }
}

#[derive(Debug, Default)]
struct Kept {
    spans: Vec<Span>,
    /// Each body, with the signal that it was sent for.
    bodies: Vec<(String, Bytes)>,
    bytes: usize,
    is_refusing: bool,
    /// How often each signal was refused.
    refused: BTreeMap<String, usize>,
}

/// A collector.
#[derive(Debug)]
pub struct Otlp {
    address: SocketAddr,
    kept: Arc<Mutex<Kept>>,
    tls: Option<tls::Tls>,
    /// It ends with the collector.
    _server: JoinSet<()>,
}

impl Otlp {
    /// A collector that takes what comes.
    ///
    /// # Errors
    ///
    /// When there is no port for it.
    pub async fn start() -> Result<Self> {
        let (listener, address) = listen().await?;
        let (app, kept) = app();
        let mut server = JoinSet::new();
        server.spawn(async move {
            // It ends with the story.
            let _ = axum::serve(listener, app).await;
        });
        Ok(Self { address, kept, tls: None, _server: server })
    }

    /// A collector that takes what comes by https, with a certificate of an authority of its own.
    ///
    /// # Errors
    ///
    /// When there is no port for it, or no certificate can be made.
    pub async fn secured() -> Result<Self> {
        let (listener, address) = listen().await?;
        let (app, kept) = app();
        let tls = tls::Tls::make()?;
        let listener = tls.listener(listener)?;
        let mut server = JoinSet::new();
        server.spawn(async move {
            // It ends with the story.
            let _ = axum::serve(listener, app).await;
        });
        Ok(Self { address, kept, tls: Some(tls), _server: server })
    }

    /// A collector that takes connections and never answers.
    ///
    /// # Errors
    ///
    /// When there is no port for it.
    pub async fn silent() -> Result<Self> {
        let (listener, address) = listen().await?;
        let mut server = JoinSet::new();
        server.spawn(async move {
            let mut taken = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                taken.push(stream);
            }
        });
        Ok(Self { address, kept: Arc::default(), tls: None, _server: server })
    }

    /// From now on takes nothing, and says so; or takes all again.
    pub fn refuses(&self, is_refusing: bool) {
        lock(&self.kept).is_refusing = is_refusing;
    }

    /// How often this signal was refused.
    pub fn refused(&self, signal: &str) -> usize {
        lock(&self.kept).refused.get(signal).copied().unwrap_or_default()
    }

    /// The base of its URLs.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// The file of the authority that signed its certificate; `None`: it speaks no TLS.
    pub fn authority(&self) -> Option<PathBuf> {
        self.tls.as_ref().map(tls::Tls::authority)
    }

    /// All spans that came, in the order of their beginnings.
    pub fn spans(&self) -> Vec<Span> {
        let mut spans = lock(&self.kept).spans.clone();
        spans.sort_by_key(|span| span.times);
        spans
    }

    /// The lines of the log that came: what each says, and the id of its trace, which may be empty.
    pub fn lines(&self) -> Vec<(String, String)> {
        let sent = self.bodies("logs");
        let sent = sent.iter().filter_map(|body| ExportLogsServiceRequest::decode(&**body).ok());
        let scopes = sent.flat_map(|sent| sent.resource_logs).flat_map(|it| it.scope_logs);
        let line = |body: Option<AnyValue>| body.as_ref().map(text).unwrap_or_default();
        scopes.flat_map(|it| it.log_records).map(|it| (line(it.body), hex(&it.trace_id))).collect()
    }

    /// Whether something that came holds this text, as it is or in a text of JSON.
    pub fn holds(&self, text: &str) -> bool {
        let holds = |body: &Bytes| body.windows(text.len()).any(|part| part == text.as_bytes());
        lock(&self.kept).bodies.iter().any(|(_, body)| holds(body))
    }

    /// How many bodies came for this signal: `traces`, `logs`, `metrics`.
    pub fn count(&self, signal: &str) -> usize {
        lock(&self.kept).bodies.iter().filter(|(sent, _)| sent == signal).count()
    }

    /// The bodies that came for this signal.
    pub fn bodies(&self, signal: &str) -> Vec<Bytes> {
        let kept = lock(&self.kept);
        let of = kept.bodies.iter().filter(|(sent, _)| sent == signal);
        of.map(|(_, body)| body.clone()).collect()
    }
}

/// The names of a trace's spans as a tree: a line each, indented below its parent, in the order of
/// their beginnings. A span whose parent did not come stands at the left with `?` before it.
pub fn tree(spans: &[Span]) -> String {
    let mut lines = String::new();
    let has = |id: &str| spans.iter().any(|span| span.id == id);
    for span in spans.iter().filter(|span| span.parent.is_empty() || !has(&span.parent)) {
        if !span.parent.is_empty() {
            lines.push_str("? ");
        }
        write(spans, span, 0, &mut lines);
    }
    lines
}

fn write(spans: &[Span], span: &Span, depth: usize, lines: &mut String) {
    lines.push_str(&"  ".repeat(depth));
    lines.push_str(&span.name);
    lines.push('\n');
    for child in spans.iter().filter(|child| child.parent == span.id && child.id != span.id) {
        write(spans, child, depth + 1, lines);
    }
}

/// The pages of a collector, and what they keep.
fn app() -> (Router, Arc<Mutex<Kept>>) {
    let kept = Arc::new(Mutex::new(Kept::default()));
    let app = Router::new().route("/v1/{signal}", post(take)).with_state(Arc::clone(&kept));
    (app, kept)
}

async fn listen() -> Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("no port for a collector")?;
    let address = listener.local_addr().context("a collector has no address")?;
    Ok((listener, address))
}

async fn take(
    State(kept): State<Arc<Mutex<Kept>>>,
    Path(signal): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let Ok(body) = unpacked(&headers, body) else { return StatusCode::BAD_REQUEST };
    let mut kept = lock(&kept);
    if kept.is_refusing {
        *kept.refused.entry(signal).or_default() += 1;
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    kept.bytes += body.len();
    if KEPT_MAX < kept.bytes {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    if signal == "traces" {
        let Ok(sent) = ExportTraceServiceRequest::decode(body.clone()) else {
            return StatusCode::BAD_REQUEST;
        };
        kept.spans.extend(sent.resource_spans.iter().flat_map(of_resource));
    }
    kept.bodies.push((signal, body));
    StatusCode::OK
}

/// What was sent: ours comes as it is, and what another collector hands on is packed.
fn unpacked(headers: &HeaderMap, body: Bytes) -> io::Result<Bytes> {
    if headers.get(CONTENT_ENCODING).is_none_or(|encoding| encoding != "gzip") {
        return Ok(body);
    }
    let mut whole = Vec::new();
    let most = u64::try_from(KEPT_MAX).unwrap_or(u64::MAX);
    GzDecoder::new(&*body).take(most).read_to_end(&mut whole)?;
    Ok(whole.into())
}

fn of_resource(sent: &ResourceSpans) -> Vec<Span> {
    let resource = sent.resource.as_ref().map(|it| texts(&it.attributes)).unwrap_or_default();
    let service = resource.get("service.name").cloned().unwrap_or_default();
    let all = sent.scope_spans.iter().flat_map(|scope| &scope.spans);
    all.map(|span| read(&service, span)).collect()
}

fn read(service: &str, sent: &Sent) -> Span {
    let link = |link: &opentelemetry_proto::tonic::trace::v1::span::Link| {
        let why = texts(&link.attributes).into_values().next().unwrap_or_default();
        (hex(&link.span_id), why)
    };
    Span {
        service: service.to_owned(),
        name: sent.name.clone(),
        trace: hex(&sent.trace_id),
        id: hex(&sent.span_id),
        parent: hex(&sent.parent_span_id),
        kind: sent.kind,
        times: (sent.start_time_unix_nano, sent.end_time_unix_nano),
        attributes: texts(&sent.attributes),
        links: sent.links.iter().map(link).collect(),
        failed: sent.status.as_ref().is_some_and(|status| status.code == 2),
    }
}

/// Attributes as text.
pub(crate) fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let one = |it: &KeyValue| (it.key.clone(), it.value.as_ref().map(text).unwrap_or_default());
    attributes.iter().map(one).collect()
}

fn text(value: &AnyValue) -> String {
    match &value.value {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::BoolValue(flag)) => flag.to_string(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::DoubleValue(number)) => number.to_string(),
        Some(other) => format!("{other:?}"),
        None => String::new(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |all, byte| all + &format!("{byte:02x}"))
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(name: &str, id: &str, parent: &str) -> Span {
        Span {
            service: "gateway-svc".into(),
            name: name.into(),
            trace: "t".into(),
            id: id.into(),
            parent: parent.into(),
            kind: 1,
            times: (1, 2),
            attributes: BTreeMap::new(),
            links: Vec::new(),
            failed: false,
        }
    }

    #[test]
    fn a_tree_shows_who_is_whose_child() {
        let spans = [span("a", "1", ""), span("c", "3", "2"), span("b", "2", "1")];
        assert_eq!(tree(&spans), "a\n  b\n    c\n");
        assert_eq!(tree(&spans[1..2]), "? c\n");
    }
}
