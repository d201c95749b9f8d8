//! The way to the collector: OTLP over HTTP, from threads of the SDK's own.
//!
//! What is to be sent waits in a queue with a bound, and what finds it full is dropped: a collector
//! that is gone, slow or never answers costs its telemetry and nothing else. A span that ends is
//! only put into the queue, and so is a line. That the collector is away is one line of the log, and
//! that it is back another; nothing here fails a caller.

use std::error::Error as _;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{
    ExporterBuildError, MetricExporter, Protocol, WithExportConfig, WithHttpConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{
    BatchConfigBuilder as LogConfigBuilder, BatchLogProcessor, LogBatch, LogExporter,
};
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanExporter as Export,
};
use reqwest::Certificate;
use reqwest::blocking::Client;
use reqwest::redirect::Policy;
use thiserror::Error;

use super::settings::Settings;
use crate::chain::Chain;

/// The most ended spans that wait to be sent: a minute of a busy service, and a few megabytes.
const QUEUE_MAX: usize = 4096;
/// The most that are sent at once, as the SDK has it.
const BATCH_MAX: usize = 512;
/// How long an ended span waits at most before it is sent: what a `kill -9` may lose.
const SEND_EVERY: Duration = Duration::from_secs(1);
/// How long one sending may take, the SDK's tries within it included.
const SEND_MAX: Duration = Duration::from_secs(5);

/// Why nothing can be sent.
#[derive(Debug, Error)]
pub enum ExportError {
    /// The client does not come up: for https there are no certificates to trust.
    #[error("no connection to the collector can be made")]
    Client(#[source] reqwest::Error),
    /// The exporter was refused.
    #[error("the exporter was refused")]
    Exporter(#[source] ExporterBuildError),
}

/// Where telemetry is sent.
#[derive(Clone, Debug)]
pub(crate) struct Collector {
    client: Client,
    url: String,
}

impl Collector {
    /// The collector that the settings name, if they name one. Connects to nobody yet.
    pub(crate) fn of(settings: &Settings) -> Result<Option<Self>, ExportError> {
        let Some(url) = settings.otlp_url.clone() else { return Ok(None) };
        let builder = Client::builder().timeout(SEND_MAX).redirect(Policy::none());
        let builder = match &settings.otlp_ca {
            Some(ca) => {
                let trusted = Certificate::from_pem_bundle(&ca.pem).map_err(ExportError::Client)?;
                builder.tls_certs_only(trusted)
            }
            None if url.starts_with("https:") => builder,
            // Without TLS nobody's certificates are looked for, which a small container has none of.
            None => builder.tls_certs_only([]),
        };
        let client = builder.build().map_err(ExportError::Client)?;
        Ok(Some(Self { client, url }))
    }

    /// What sends spans, in batches.
    pub(super) fn spans(&self) -> Result<BatchSpanProcessor, ExportError> {
        let builder = opentelemetry_otlp::SpanExporter::builder().with_http();
        let (builder, heard) = self.set(builder, "spans", "traces");
        let exporter = builder.build().map_err(ExportError::Exporter)?;
        let config = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE_MAX)
            .with_max_export_batch_size(BATCH_MAX)
            .with_scheduled_delay(SEND_EVERY)
            .build();
        let spans = Spans { exporter, heard };
        Ok(BatchSpanProcessor::builder(spans).with_batch_config(config).build())
    }

    /// What sends metrics, and what is to be told of each sending.
    pub(crate) fn metrics(&self) -> Result<(MetricExporter, Heard), ExportError> {
        let builder = MetricExporter::builder().with_http();
        let (builder, heard) = self.set(builder, "metrics", "metrics");
        Ok((builder.build().map_err(ExportError::Exporter)?, heard))
    }

    /// What sends lines of the log, in batches.
    pub(super) fn lines(&self) -> Result<BatchLogProcessor, ExportError> {
        let builder = opentelemetry_otlp::LogExporter::builder().with_http();
        let (builder, heard) = self.set(builder, "lines", "logs");
        let exporter = builder.build().map_err(ExportError::Exporter)?;
        let config = LogConfigBuilder::default()
            .with_max_queue_size(QUEUE_MAX)
            .with_max_export_batch_size(BATCH_MAX)
            .with_scheduled_delay(SEND_EVERY)
            .build();
        let lines = Lines { exporter, heard };
        Ok(BatchLogProcessor::builder(lines).with_batch_config(config).build())
    }

    /// What all exporters are told: this one sends `what`, to the path of its signal.
    fn set<B: WithHttpConfig + WithExportConfig>(
        &self,
        builder: B,
        what: &'static str,
        signal: &str,
    ) -> (B, Heard) {
        let heard = Heard { what, away: AtomicBool::new(false), why: Arc::default() };
        let asking = Asking { client: self.client.clone(), why: Arc::clone(&heard.why) };
        let builder = builder
            .with_http_client(asking)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{}/v1/{signal}", self.url))
            .with_timeout(SEND_MAX);
        (builder, heard)
    }
}

/// Why the last request came to nothing, in the client's own words.
type Why = Arc<Mutex<Option<String>>>;

/// The client, which keeps why a request failed: the exporter says "network error" of all that can be.
#[derive(Debug)]
struct Asking {
    client: Client,
    why: Why,
}

impl HttpClient for Asking {
    // As `async_trait` writes it, which the trait was made with.
    fn send_bytes<'a, 'out>(
        &'a self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'out>>
    where
        'a: 'out,
        Self: 'out,
    {
        Box::pin(async move {
            let sent = self.client.send_bytes(request).await;
            let why = match sent.as_ref().map_err(|error| error.downcast_ref::<reqwest::Error>()) {
                Ok(_) => None,
                // Its own words hold the URL, and with it a password that may be in there.
                Err(Some(error)) => error.source().map(|error| Chain(error).to_string()),
                Err(None) => Some("no request, or no answer of HTTP".to_owned()),
            };
            *self.why.lock().unwrap_or_else(PoisonError::into_inner) = why;
            sent
        })
    }
}

/// Sends lines of the log, as [`Spans`] does spans.
#[derive(Debug)]
struct Lines {
    exporter: opentelemetry_otlp::LogExporter,
    heard: Heard,
}

impl LogExporter for Lines {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        let count = batch.iter().count();
        self.heard.tell(&self.exporter.export(batch).await, count);
        Ok(())
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// Sends spans, and tells only of changes: the SDK would say so of each batch that fails.
#[derive(Debug)]
struct Spans {
    exporter: opentelemetry_otlp::SpanExporter,
    heard: Heard,
}

impl Export for Spans {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        self.heard.tell(&self.exporter.export(batch).await, count);
        Ok(())
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// Whether the collector took the last batch.
#[derive(Debug)]
pub(crate) struct Heard {
    what: &'static str,
    away: AtomicBool,
    why: Why,
}

impl Heard {
    /// Says what came of a batch, if that is news.
    pub(crate) fn tell(&self, result: &OTelSdkResult, count: usize) {
        let what = self.what;
        match result {
            Ok(()) => {
                if self.away.swap(false, Ordering::Relaxed) {
                    tracing::info!("the collector takes {what} again");
                }
            }
            Err(error) => {
                if !self.away.swap(true, Ordering::Relaxed) {
                    let why = self.why.lock().unwrap_or_else(PoisonError::into_inner).take();
                    let error = why.map_or(error.to_string(), |why| format!("{error}: {why}"));
                    tracing::warn!(
                        error,
                        count,
                        "the collector takes no {what}: they are dropped until it does"
                    );
                }
            }
        }
    }
}
