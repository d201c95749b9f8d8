//! Metrics to a collector: all of them every minute, by OTLP, from a thread of the SDK's own.
//!
//! Nothing waits in a queue: what was not sent once is in the next sending, as each is a count since the
//! start of the process or what is so now. `OTEL_METRIC_EXPORT_INTERVAL` (OpenTelemetry's own variable,
//! in milliseconds) says how often else.

use std::time::Duration;

use opentelemetry_otlp::MetricExporter;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{PeriodicReader, Temporality};

use crate::telemetry::{Collector, ExportError, Heard};

/// Sends metrics, and tells only of changes: the SDK would say so each time that it fails.
#[derive(Debug)]
pub(super) struct Sent {
    exporter: MetricExporter,
    heard: Heard,
}

/// What sends metrics to this collector again and again.
pub(super) fn reader(collector: &Collector) -> Result<PeriodicReader<Sent>, ExportError> {
    let (exporter, heard) = collector.metrics()?;
    Ok(PeriodicReader::builder(Sent { exporter, heard }).build())
}

impl PushMetricExporter for Sent {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let count = metrics.scope_metrics().map(|scope| scope.metrics().count()).sum();
        self.heard.tell(&self.exporter.export(metrics).await, count);
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }
}
