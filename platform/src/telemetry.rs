//! Logs, spans and the W3C trace context that ties the two services together.
//!
//! A span of `tracing` gets its ids from OpenTelemetry, so that the `traceparent` it hands on is
//! one that any collector understands. What people wrote is never put into a log or a span.

use std::collections::HashMap;
use std::io::IsTerminal as _;

use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

/// The header, and the key, of the trace context (W3C Trace Context, Level 1).
pub const TRACEPARENT: &str = "traceparent";

/// What is logged when `RUST_LOG` does not say: our own news, and only warnings of the libraries.
const DEFAULT_FILTER: &str = "warn,gateway_svc=info,runner_svc=info,platform=info";

/// Ends telemetry when dropped; to be held by `main`.
#[derive(Debug)]
#[must_use = "spans lose their ids once this is dropped"]
pub struct Telemetry(SdkTracerProvider);

/// Starts telemetry for the process: lines on standard error, spans with ids.
pub fn start(service: &'static str) -> Telemetry {
    let provider = SdkTracerProvider::builder().build();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| DEFAULT_FILTER.into());
    let lines = fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .with(tracing_opentelemetry::layer().with_tracer(provider.tracer(service)))
        .init();
    Telemetry(provider)
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Err(error) = self.0.shutdown() {
            tracing::debug!(%error, "telemetry did not end cleanly");
        }
    }
}

/// The `traceparent` of a span, to be handed on; `None` when the span is not recorded.
pub fn traceparent(span: &Span) -> Option<String> {
    let mut carrier = HashMap::new();
    TraceContextPropagator::new().inject_context(&span.context(), &mut carrier);
    carrier.remove(TRACEPARENT)
}

/// Makes `span` a child of the span that `traceparent` names. Text that names none leaves it a
/// root. To be called before the span is entered.
pub fn set_parent(span: &Span, traceparent: Option<&str>) {
    let Some(text) = traceparent else { return };
    let carrier = HashMap::from([(TRACEPARENT.to_owned(), text.to_owned())]);
    let context = TraceContextPropagator::new().extract(&carrier);
    if let Err(error) = span.set_parent(context) {
        tracing::debug!(%error, "the span has no parent");
    }
}
