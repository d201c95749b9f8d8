//! The numbers as a collector was sent them, read as strictly as a page of `/metrics`, and in its form: so
//! that a story can say that both are the same.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Histogram, HistogramDataPoint, Metric as Sent, NumberDataPoint,
    ResourceMetrics,
};
use prost::Message as _;
use schemas::names::metrics::{ALL, Kind};

use super::{Exposition, Family, Value};
use crate::otlp::{Otlp, texts};

/// What a service sent at once.
#[derive(Clone, Debug)]
pub struct Sending {
    /// Who says it: the attributes of the resource.
    pub resource: BTreeMap<String, String>,
    /// What it says, as its page would.
    pub numbers: Exposition,
    /// When it was so, in nanoseconds since 1970: the earliest that is said of a value.
    pub at: u64,
}

impl Otlp {
    /// What a service said of its numbers, oldest first.
    ///
    /// # Errors
    ///
    /// When something that came is no metric of ours, or is not as `schemas::names` has it.
    pub fn numbers(&self, service: &str) -> Result<Vec<Sending>> {
        let sendings = self.bodies("metrics");
        let sendings = sendings.iter().map(|body| read(body)).collect::<Result<Vec<_>>>()?;
        let all = sendings.into_iter().flatten();
        let is_its = |it: &Sending| it.resource.get("service.name").is_some_and(|it| it == service);
        Ok(all.filter(is_its).collect())
    }
}

fn read(body: &[u8]) -> Result<Vec<Sending>> {
    let sent = ExportMetricsServiceRequest::decode(body).context("no metrics of OTLP")?;
    let one = |sent: &ResourceMetrics| {
        let resource = sent.resource.as_ref().map(|it| texts(&it.attributes)).unwrap_or_default();
        let (mut numbers, mut at) = (Exposition::default(), u64::MAX);
        for metric in sent.scope_metrics.iter().flat_map(|scope| &scope.metrics) {
            let (family, since) = family(metric).with_context(|| metric.name.clone())?;
            numbers.take(Some(family))?;
            at = at.min(since);
        }
        Ok(Sending { resource, numbers, at })
    };
    sent.resource_metrics.iter().map(one).collect()
}

/// A metric as the page has it, and when it was so.
fn family(sent: &Sent) -> Result<(Family, u64)> {
    let metric = ALL.iter().find(|metric| metric.name == sent.name).context("it is unknown")?;
    ensure!(sent.unit == metric.unit, "its unit is {:?} and not {:?}", sent.unit, metric.unit);
    ensure!(!sent.description.is_empty(), "it has no help");
    let name = metric.prometheus();
    let (of, at) = match (metric.kind, sent.data.as_ref().context("it has no data")?) {
        (Kind::Gauge, Data::Gauge(gauge)) => numbers(&name, &gauge.data_points)?,
        (Kind::Counter, Data::Sum(sum)) => {
            ensure!(sum.is_monotonic, "a counter that may shrink");
            is_cumulative(sum.aggregation_temporality)?;
            numbers(&name, &sum.data_points)?
        }
        (Kind::Histogram, Data::Histogram(histogram)) => buckets(&name, histogram)?,
        (kind, data) => bail!("a {kind:?} is sent as {data:?}"),
    };
    let mut family = Family { metric, name, of: Vec::new() };
    for value in of {
        family.check(&value)?;
        family.of.push(value);
    }
    Ok((family, at))
}

fn is_cumulative(temporality: i32) -> Result<()> {
    let is = temporality == AggregationTemporality::Cumulative as i32;
    ensure!(is, "what is missed once would be missing for good");
    Ok(())
}

fn numbers(name: &str, points: &[NumberDataPoint]) -> Result<(Vec<Value>, u64)> {
    let one = |point: &NumberDataPoint| {
        let much = match point.value.context("no value")? {
            Number::AsDouble(much) => much,
            Number::AsInt(much) => i32::try_from(much).context("more than a story counts")?.into(),
        };
        Ok(Value { name: name.to_owned(), labels: labels(&point.attributes), much })
    };
    let at = points.iter().map(|point| point.time_unix_nano).min().unwrap_or(u64::MAX);
    Ok((points.iter().map(one).collect::<Result<_>>()?, at))
}

fn buckets(name: &str, histogram: &Histogram) -> Result<(Vec<Value>, u64)> {
    is_cumulative(histogram.aggregation_temporality)?;
    let points = &histogram.data_points;
    let at = points.iter().map(|point| point.time_unix_nano).min().unwrap_or(u64::MAX);
    let all = points.iter().map(|point| of_point(name, point)).collect::<Result<Vec<_>>>()?;
    Ok((all.concat(), at))
}

/// A point of a histogram: each bucket with all below it, the sum and the count.
fn of_point(name: &str, point: &HistogramDataPoint) -> Result<Vec<Value>> {
    let labels = labels(&point.attributes);
    let count = |count: u64| u32::try_from(count).map(f64::from).context("a count too large");
    let bounds = point.explicit_bounds.iter().map(ToString::to_string);
    let bounds = bounds.chain(["+Inf".to_owned()]);
    let (mut all, mut below) = (Vec::new(), 0);
    for (bound, more) in bounds.zip(&point.bucket_counts) {
        below += more;
        let mut labels = labels.clone();
        labels.insert("le".to_owned(), bound);
        all.push(Value { name: format!("{name}_bucket"), labels, much: count(below)? });
    }
    let sum = point.sum.context("no sum")?;
    all.push(Value { name: format!("{name}_sum"), labels: labels.clone(), much: sum });
    all.push(Value { name: format!("{name}_count"), labels, much: count(point.count)? });
    Ok(all)
}

/// Labels, as Prometheus calls them.
fn labels(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    texts(attributes).into_iter().map(|(name, value)| (name.replace('.', "_"), value)).collect()
}
