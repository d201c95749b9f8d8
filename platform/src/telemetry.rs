//! Logs, spans and the W3C trace context that ties the two services together.
//!
//! Lines are those of `tracing`, whose own spans only say on a line what it is about. The spans of a
//! trace are told in one piece when they are over (`spans.rs`): what they say lies in the store, in
//! records and in spools, and outlives a process. What people wrote is never put into a log, and
//! into a span only where the operator has said so.

mod export;
mod lines;
mod settings;
mod spans;

use std::io::IsTerminal as _;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

pub use export::ExportError;
pub use settings::{Authority, CERTIFICATE, ENDPOINT, LogFormat, Settings, TelemetryFile};
pub use spans::{Ids, Kind, Span, is_sent, within};

pub(crate) use export::{Collector, Heard};

/// The header, and the key, of the trace context (W3C Trace Context, Level 1).
pub const TRACEPARENT: &str = "traceparent";

/// What is logged when `RUST_LOG` does not say: our own news, and only warnings of the libraries.
const DEFAULT_FILTER: &str = "warn,gateway_svc=info,runner_svc=info,platform=info";
/// What is written and not sent: lines of what sends them would bring forth lines of what sends them.
const NOT_SENT: &str = ",hyper=off,hyper_util=off,reqwest=off,opentelemetry=off,\
                        opentelemetry_sdk=off,opentelemetry_otlp=off";
/// How long the end of a process waits until what is queued is sent.
pub(crate) const FLUSH_MAX: Duration = Duration::from_secs(3);

/// Ends telemetry when dropped, with what is queued sent, as far as the collector takes it within
/// three seconds for spans and three for lines; to be held by `main`.
#[derive(Debug)]
#[must_use = "nothing is sent once this is dropped"]
pub struct Telemetry {
    spans: SdkTracerProvider,
    lines: Option<SdkLoggerProvider>,
}

/// Starts telemetry for the process: lines on standard error, and lines and spans to the collector where
/// one is named. `service` is the program, `instance` tells it from others of its
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
    let resource = resource(service, instance.into());
    // What is not kept does not come this far.
    let mut provider = SdkTracerProvider::builder()
        .with_sampler(Sampler::AlwaysOn)
        .with_id_generator(spans::Given::default())
        .with_resource(resource.clone());
    let mut sent = None;
    if let Some(collector) = Collector::of(settings)? {
        provider = provider.with_span_processor(collector.spans()?);
        let lines = SdkLoggerProvider::builder().with_resource(resource);
        sent = Some(lines.with_log_processor(collector.lines()?).build());
    }
    let provider = provider.build();
    let lines = lines::layer(settings.log_format, std::io::stderr, std::io::stderr().is_terminal());
    spans::begin(spans::Process {
        tracer: settings.otlp_url.is_some().then(|| provider.tracer(service)),
        sample: settings.sample,
        texts: settings.texts,
    });
    tracing_subscriber::registry()
        .with(lines.with_filter(filter("")))
        .with(
            sent.as_ref()
                .map(|sent| OpenTelemetryTracingBridge::new(sent).with_filter(filter(NOT_SENT))),
        )
        .init();
    Ok(Telemetry { spans: provider, lines: sent })
}

/// Which lines there are, and `more` about it.
fn filter(more: &str) -> EnvFilter {
    let wanted = EnvFilter::try_from_default_env().map(|filter| filter.to_string());
    let wanted = wanted.unwrap_or_else(|_| DEFAULT_FILTER.to_owned());
    EnvFilter::new(wanted + more)
}

/// Who says it (OpenTelemetry's semantic conventions for services). `OTEL_RESOURCE_ATTRIBUTES` adds
/// what the operator wants to know.
pub(crate) fn resource(service: &'static str, instance: String) -> Resource {
    Resource::builder()
        .with_service_name(service)
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attribute(KeyValue::new("service.instance.id", instance))
        .build()
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Err(error) = self.spans.shutdown_with_timeout(FLUSH_MAX) {
            tracing::debug!(%error, "the last spans were not sent");
        }
        // Last: what ended before it may have had something to say.
        if let Some(Err(error)) = self.lines.as_ref().map(|it| it.shutdown_with_timeout(FLUSH_MAX))
        {
            tracing::debug!(%error, "the last lines were not sent");
        }
    }
}
