//! What a service counts and measures, and the page that tells of it.
//!
//! The metrics are those of `schemas::names::metrics`, made with OpenTelemetry and shown as text for
//! Prometheus on `/metrics`. A service counts events where they happen ([`Counter`], [`Durations`]), and
//! hangs out a [`Board`] of what it finds when it looks; the page shows what hangs there and asks nobody,
//! so that being scraped costs next to nothing. Where a collector is named, it is sent them too (`sent`).
//! The only place that names the exporters.
//!
//! It never shows a label that a metric does not have, nor more than [`SERIES_MAX`] values of one.

mod sent;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{self as otel, AsyncInstrument, Meter, MeterProvider as _};
use opentelemetry_sdk::error::OTelSdkError;
use opentelemetry_sdk::metrics::{
    Aggregation, Instrument, InstrumentKind, SdkMeterProvider, Stream,
};
use prometheus::{Registry, TextEncoder};
use schemas::names::metrics::{
    BUILD, DURATIONS, FINDINGS, Kind, Metric, NATS_CONNECTS, NATS_DISCONNECTS, NATS_ERRORS, PART,
    READY, RUNNER, SERVICE, VERSION,
};
use thiserror::Error;

use crate::health::Readiness;
use crate::nats::Link;
use crate::telemetry::{Collector, ExportError, FLUSH_MAX, Settings, resource};

/// The most combinations of labels that a metric has; what is beyond is counted together, under
/// `otel_metric_overflow`. Room for a hundred projects with five outcomes each.
pub const SERIES_MAX: usize = 512;

/// The media type of the page (Prometheus, "Text-based format").
pub const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Labels and their values.
pub type Labels<'a> = &'a [(&'static str, &'a str)];

/// Why there are no metrics.
#[derive(Debug, Error)]
pub enum MetricsError {
    /// They cannot be set up.
    #[error("metrics cannot be set up")]
    Setup(#[from] OTelSdkError),
    /// They cannot be written as text.
    #[error("metrics cannot be written")]
    Text(#[from] prometheus::Error),
    /// They cannot be sent where they are to be.
    #[error("metrics cannot be sent")]
    Export(#[from] ExportError),
}

/// The metrics of the process. Cheap to clone.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    meter: Meter,
    provider: SdkMeterProvider,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Err(error) = self.provider.shutdown_with_timeout(FLUSH_MAX) {
            tracing::debug!(%error, "metrics did not end cleanly");
        }
    }
}

/// Whose metrics they are.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    /// The program.
    pub service: &'static str,
    /// What tells it from others of its kind.
    pub instance: &'a str,
    /// The runner's name, empty for a gateway.
    pub runner: &'a str,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics(..)")
    }
}

impl Metrics {
    /// Metrics of a process, of which nothing is counted yet but that it is there; sent to a collector
    /// where one is named. To be called, and at last dropped, outside of any runtime, after `main` chose
    /// the provider of TLS; the last of it sends what was not sent yet.
    ///
    /// # Errors
    ///
    /// [`MetricsError::Setup`], and [`MetricsError::Export`] when a collector is named that can never be
    /// reached.
    pub fn start(identity: Identity<'_>, settings: &Settings) -> Result<Self, MetricsError> {
        let Identity { service, instance, runner } = identity;
        let registry = Registry::new();
        let page = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .scope_info_enabled(false)
            .without_target_info()
            .build()?;
        let mut provider = SdkMeterProvider::builder()
            .with_resource(resource(service, instance.to_owned()))
            .with_reader(page)
            .with_view(bounded);
        if let Some(collector) = Collector::of(settings)? {
            provider = provider.with_reader(sent::reader(&collector)?);
        }
        let provider = provider.build();
        let meter = provider.meter("holdfast");
        let metrics = Self(Arc::new(Inner { registry, meter, provider }));
        let labels = [(SERVICE, service), (VERSION, env!("CARGO_PKG_VERSION")), (RUNNER, runner)];
        metrics.board(&[BUILD]).show(vec![Sample::count(BUILD, &labels, 1)]);
        Ok(metrics)
    }

    /// What `/metrics` shows.
    ///
    /// # Errors
    ///
    /// [`MetricsError::Text`].
    pub fn page(&self) -> Result<String, MetricsError> {
        Ok(TextEncoder::new().encode_to_string(&self.0.registry.gather())?)
    }

    /// A counter.
    pub fn counter(&self, metric: &'static Metric) -> Counter {
        let counter = self.0.meter.u64_counter(metric.name);
        let counter = counter.with_unit(metric.unit).with_description(metric.says).build();
        Counter(Some((metric, counter)))
    }

    /// A counter of seconds.
    pub fn seconds(&self, metric: &'static Metric) -> Seconds {
        let counter = self.0.meter.f64_counter(metric.name);
        let counter = counter.with_unit(metric.unit).with_description(metric.says).build();
        Seconds(Some((metric, counter)))
    }

    /// A histogram of durations.
    pub fn durations(&self, metric: &'static Metric) -> Durations {
        let histogram = self.0.meter.f64_histogram(metric.name);
        let histogram = histogram.with_unit(metric.unit).with_description(metric.says).build();
        Durations(Some((metric, histogram)))
    }

    /// A board for these metrics, with nothing on it.
    pub fn board(&self, metrics: &[&'static Metric]) -> Board {
        let board = Board::default();
        let shown = board.clone();
        self.observe(metrics, move || shown.shown());
        board
    }

    /// Shows from now on what is ready and what is not.
    pub fn readiness(&self, readiness: &Readiness) {
        let readiness = readiness.clone();
        self.observe(&[READY, FINDINGS], move || {
            let (parts, findings) = readiness.state();
            let one = |(part, is_ready): &(&str, bool)| {
                Sample::count(READY, &[(PART, part)], i64::from(*is_ready))
            };
            let findings = i64::try_from(findings).unwrap_or(i64::MAX);
            let all = parts.iter().map(one).chain([Sample::count(FINDINGS, &[], findings)]);
            all.collect()
        });
    }

    /// Shows from now on what becomes of a connection.
    pub fn nats(&self, link: &Link) {
        let link = link.clone();
        self.observe(&[NATS_CONNECTS, NATS_DISCONNECTS, NATS_ERRORS], move || {
            let (lost, errors) = link.troubles();
            let counts = [
                (NATS_CONNECTS, *link.connects.borrow()),
                (NATS_DISCONNECTS, lost),
                (NATS_ERRORS, errors),
            ];
            let one = |(metric, count): (_, u64)| {
                Sample::count(metric, &[], i64::try_from(count).unwrap_or(i64::MAX))
            };
            counts.into_iter().map(one).collect()
        });
    }

    /// Shows of each metric what `look` finds at that moment. It must not wait for anything.
    fn observe(
        &self,
        metrics: &[&'static Metric],
        look: impl Fn() -> Arc<[Sample]> + Send + Sync + 'static,
    ) {
        let look = Arc::new(look);
        for metric in metrics {
            let (metric, look) = (*metric, Arc::clone(&look));
            let tell = move |observer: &dyn AsyncInstrument<f64>| {
                for sample in look().iter().filter(|sample| sample.metric == metric) {
                    observer.observe(sample.value, &sample.labels);
                }
            };
            let meter = &self.0.meter;
            match metric.kind {
                Kind::Counter => {
                    let counter = meter.f64_observable_counter(metric.name);
                    let counter = counter.with_unit(metric.unit).with_description(metric.says);
                    counter.with_callback(tell).build();
                }
                Kind::Gauge | Kind::Histogram => {
                    let gauge = meter.f64_observable_gauge(metric.name);
                    let gauge = gauge.with_unit(metric.unit).with_description(metric.says);
                    gauge.with_callback(tell).build();
                }
            }
        }
    }
}

/// Every metric has a bound; a histogram has our buckets.
fn bounded(instrument: &Instrument) -> Option<Stream> {
    let stream = Stream::builder().with_cardinality_limit(SERIES_MAX);
    let stream = if instrument.kind() == InstrumentKind::Histogram {
        let boundaries = DURATIONS.to_vec();
        stream.with_aggregation(Aggregation::ExplicitBucketHistogram {
            boundaries,
            record_min_max: false,
        })
    } else {
        stream
    };
    stream.build().ok()
}

fn key_values(metric: &Metric, labels: Labels<'_>) -> Vec<KeyValue> {
    debug_assert!(labels.iter().map(|(name, _)| name).eq(metric.labels), "{metric:?}: {labels:?}");
    labels.iter().map(|(name, value)| KeyValue::new(*name, (*value).to_owned())).collect()
}

/// Counts events. The default counts none: for a command that no page tells of.
#[derive(Clone, Debug, Default)]
pub struct Counter(Option<(&'static Metric, otel::Counter<u64>)>);

impl Counter {
    /// So many more.
    pub fn add(&self, count: u64, labels: Labels<'_>) {
        if let Some((metric, counter)) = &self.0 {
            counter.add(count, &key_values(metric, labels));
        }
    }
}

/// Counts time. The default counts none.
#[derive(Clone, Debug, Default)]
pub struct Seconds(Option<(&'static Metric, otel::Counter<f64>)>);

impl Seconds {
    /// So much more.
    pub fn add(&self, time: Duration, labels: Labels<'_>) {
        if let Some((metric, counter)) = &self.0 {
            counter.add(time.as_secs_f64(), &key_values(metric, labels));
        }
    }
}

/// Notes how long things took. The default notes nothing.
#[derive(Clone, Debug, Default)]
pub struct Durations(Option<(&'static Metric, otel::Histogram<f64>)>);

impl Durations {
    /// It took so long.
    pub fn took(&self, time: Duration, labels: Labels<'_>) {
        if let Some((metric, histogram)) = &self.0 {
            histogram.record(time.as_secs_f64(), &key_values(metric, labels));
        }
    }
}

/// A value of a metric, as it was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    metric: &'static Metric,
    labels: Vec<KeyValue>,
    value: f64,
}

impl Sample {
    /// A number of things.
    #[expect(
        clippy::cast_precision_loss,
        reason = "beyond 2^53 of anything, the last one is no matter"
    )]
    pub fn count(metric: &'static Metric, labels: Labels<'_>, count: i64) -> Self {
        Self { metric, labels: key_values(metric, labels), value: count as f64 }
    }

    /// Millionths, as the whole.
    pub fn micro(metric: &'static Metric, labels: Labels<'_>, micro: i64) -> Self {
        let millions = Self::count(metric, labels, micro);
        Self { value: millions.value / 1e6, ..millions }
    }

    /// Milliseconds, as seconds; none are below 0, as two clocks may have it.
    pub fn millis(metric: &'static Metric, labels: Labels<'_>, millis: i64) -> Self {
        let thousands = Self::count(metric, labels, millis.max(0));
        Self { value: thousands.value / 1e3, ..thousands }
    }
}

impl fmt::Display for Sample {
    /// As on the page: `name{label="value"} 1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let labels: Vec<String> = self
            .labels
            .iter()
            .map(|label| format!("{}={:?}", label.key, label.value.as_str()))
            .collect();
        write!(f, "{}{{{}}} {}", self.metric.prometheus(), labels.join(","), self.value)
    }
}

/// What was found at the last look. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Board(Arc<Mutex<Arc<[Sample]>>>);

impl Board {
    /// Shows this, and nothing of what was there before.
    pub fn show(&self, samples: Vec<Sample>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = samples.into();
    }

    /// Shows nothing: what was found is too old to be told.
    pub fn clear(&self) {
        self.show(Vec::new());
    }

    fn shown(&self) -> Arc<[Sample]> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::names::metrics::{COST, RECORDS, RUNS_ENDED};
    use schemas::names::metrics::{OUTCOME, PROJECT, QUEUE_AGE, QUEUE_DEPTH, RUN_DURATION, STATE};

    fn line<'a>(page: &'a str, beginning: &str) -> Vec<&'a str> {
        page.lines().filter(|line| line.starts_with(beginning)).collect()
    }

    fn started() -> Metrics {
        let gateway = Identity { service: "gateway-svc", instance: "one", runner: "" };
        Metrics::start(gateway, &Settings::default()).unwrap()
    }

    #[test]
    fn what_is_counted_stands_on_the_page_with_its_unit_and_help() {
        let metrics = started();
        let (records, took) = (metrics.counter(RECORDS), metrics.durations(RUN_DURATION));
        records.add(2, &[(OUTCOME, "moved")]);
        took.took(Duration::from_secs(40), &[(PROJECT, "api"), (OUTCOME, "answered")]);
        let page = metrics.page().unwrap();
        assert_eq!(
            line(&page, "holdfast_records"),
            ["holdfast_records_total{outcome=\"moved\"} 2"]
        );
        let buckets = line(&page, "holdfast_run_duration_seconds_bucket");
        assert_eq!(buckets.len(), DURATIONS.len() + 1, "{buckets:?}");
        let has = |text: &str| assert!(page.contains(text), "{text} is not in\n{page}");
        has("holdfast_run_duration_seconds_sum{outcome=\"answered\",project=\"api\"} 40");
        has("outcome=\"answered\",project=\"api\",le=\"60\"} 1");
        has("outcome=\"answered\",project=\"api\",le=\"30\"} 0");
        has("# TYPE holdfast_run_duration_seconds histogram");
        has("# HELP holdfast_records_total Records of runners");
        has("holdfast_build_info{runner=\"\",service=\"gateway-svc\",version=\"");
    }

    #[test]
    fn a_board_shows_what_was_found_last_and_nothing_of_before() {
        let metrics = started();
        let board = metrics.board(&[QUEUE_DEPTH, QUEUE_AGE, RUNS_ENDED, COST]);
        let of = |project: &str, count| {
            Sample::count(QUEUE_DEPTH, &[(PROJECT, project), (STATE, "queued")], count)
        };
        board.show(vec![of("api", 3), of("web", 1)]);
        let both = ["api\",state=\"queued\"} 3", "web\",state=\"queued\"} 1"];
        let both = both.map(|it| format!("holdfast_queue_depth{{project=\"{it}"));
        assert_eq!(line(&metrics.page().unwrap(), "holdfast_queue_depth"), both);
        board.show(vec![
            of("web", 0),
            Sample::micro(COST, &[(PROJECT, "web")], 1_500_000),
            Sample::millis(QUEUE_AGE, &[(PROJECT, "web"), (STATE, "queued")], -5),
            Sample::count(RUNS_ENDED, &[(PROJECT, "web"), (OUTCOME, "answered")], 7),
        ]);
        let page = metrics.page().unwrap();
        assert_eq!(
            line(&page, "holdfast_queue"),
            [
                "holdfast_queue_age_seconds{project=\"web\",state=\"queued\"} 0",
                "holdfast_queue_depth{project=\"web\",state=\"queued\"} 0",
            ]
        );
        assert_eq!(line(&page, "holdfast_cost"), ["holdfast_cost_usd_total{project=\"web\"} 1.5"]);
        assert!(page.contains("# TYPE holdfast_runs_ended_total counter"), "{page}");
        board.clear();
        assert_eq!(line(&metrics.page().unwrap(), "holdfast_queue"), [""; 0]);
    }

    #[test]
    fn what_is_not_ready_is_shown_by_its_part() {
        let metrics = started();
        let readiness = Readiness::new(&["nats", "store"]);
        metrics.readiness(&readiness);
        readiness.ready("store");
        let page = metrics.page().unwrap();
        let of_parts = ["nats\"} 0", "store\"} 1"].map(|it| format!("holdfast_ready{{part=\"{it}"));
        assert_eq!(line(&page, "holdfast_ready"), of_parts);
        assert_eq!(line(&page, "holdfast_findings"), ["holdfast_findings 0"]);
    }

    #[test]
    fn a_metric_has_no_more_series_than_its_bound() {
        let metrics = started();
        let records = metrics.counter(RECORDS);
        for number in 0..2 * SERIES_MAX {
            records.add(1, &[(OUTCOME, &number.to_string())]);
        }
        let page = metrics.page().unwrap();
        assert_eq!(line(&page, "holdfast_records").len(), SERIES_MAX + 1);
        assert!(page.contains("holdfast_records_total{otel_metric_overflow=\"true\"}"), "{page}");
    }

    #[test]
    fn what_counts_for_nobody_counts_nothing() {
        Counter::default().add(1, &[]);
        Seconds::default().add(Duration::from_secs(1), &[]);
        Durations::default().took(Duration::from_secs(1), &[]);
    }
}
