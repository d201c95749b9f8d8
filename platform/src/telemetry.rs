//! Logs, spans and the W3C trace context that ties the two services together.
//!
//! A span of `tracing` gets its ids from OpenTelemetry, so that the `traceparent` it hands on is
//! one that any collector understands; it has them also when nothing is sent anywhere. What people
//! wrote is never put into a log, and into a span only where the operator has said so.

mod export;
mod lines;
mod settings;

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tracing::{Level, Metadata, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

pub use export::ExportError;
pub use settings::{ENDPOINT, LogFormat, Settings, TelemetryFile};

use export::Collector;

/// The header, and the key, of the trace context (W3C Trace Context, Level 1).
pub const TRACEPARENT: &str = "traceparent";

/// What is logged when `RUST_LOG` does not say: our own news, and only warnings of the libraries.
const DEFAULT_FILTER: &str = "warn,gateway_svc=info,runner_svc=info,platform=info";
/// Whose spans are part of a trace: ours. Libraries have spans of every request, and the exporter's
/// own would be telemetry about telemetry.
const OURS: [&str; 3] = ["gateway_svc", "runner_svc", "platform"];
/// How long the end of a process waits until what is queued is sent.
const FLUSH_MAX: Duration = Duration::from_secs(3);

/// Ends telemetry when dropped, with what is queued sent, as far as the collector takes it within
/// three seconds; to be held by `main`.
#[derive(Debug)]
#[must_use = "spans lose their ids once this is dropped"]
pub struct Telemetry(SdkTracerProvider);

/// Starts telemetry for the process: lines on standard error, spans with ids, and spans to the
/// collector where one is named. `service` is the program, `instance` tells it from others of its
/// kind. To be called outside of any runtime, after `main` chose the provider of TLS.
///
/// # Errors
///
/// [`ExportError`] when a collector is named that can never be reached. One that is away is no
/// error.
pub fn start(
    service: &'static str,
    instance: impl Into<String>,
    settings: &Settings,
) -> Result<Telemetry, ExportError> {
    let root = Sampler::TraceIdRatioBased(settings.sample);
    let mut provider = SdkTracerProvider::builder()
        .with_sampler(Sampler::ParentBased(Box::new(root)))
        .with_resource(resource(service, instance.into()));
    if let Some(url) = &settings.otlp_url {
        provider = provider.with_span_processor(Collector::new(url)?.spans()?);
    }
    let provider = provider.build();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| DEFAULT_FILTER.into());
    let lines = lines::layer(settings.log_format, std::io::stderr, std::io::stderr().is_terminal());
    let spans = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer(service))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false);
    tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .with(spans.with_filter(filter_fn(is_our_span).with_max_level_hint(LevelFilter::INFO)))
        .init();
    Ok(Telemetry(provider))
}

/// Who says it (OpenTelemetry's semantic conventions for services). `OTEL_RESOURCE_ATTRIBUTES` adds
/// what the operator wants to know.
fn resource(service: &'static str, instance: String) -> Resource {
    Resource::builder()
        .with_service_name(service)
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attribute(KeyValue::new("service.instance.id", instance))
        .build()
}

/// Events are lines and no part of a span: they are sent as logs, with the ids of their span.
fn is_our_span(metadata: &Metadata<'_>) -> bool {
    let krate = metadata.target().split("::").next().unwrap_or_default();
    metadata.is_span() && *metadata.level() <= Level::INFO && OURS.contains(&krate)
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Err(error) = self.0.shutdown_with_timeout(FLUSH_MAX) {
            tracing::debug!(%error, "telemetry did not end cleanly");
        }
    }
}

/// The `traceparent` of a span, to be handed on; `None` when the span has no ids.
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
