//! A page of `/metrics`, read as strictly as Prometheus reads it, and more so: what a page must not
//! have is an error, and so is a metric or a label that `schemas::names` does not know.
//!
//! Text-based format, version 0.0.4. Timestamps, summaries and comments beside HELP and TYPE are not
//! understood: no page of ours has them.

mod sent;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use schemas::names::metrics::{ALL, Kind, Metric};
use tokio::time::{Instant, sleep};

use crate::http;
use crate::second_gateway::SecondGateway;
use crate::waiting::LOOK_EVERY;
use crate::world::{PATIENCE, World};

pub use sent::Sending;

/// A value: its name, its labels, how much.
#[derive(Clone, Debug, PartialEq)]
struct Value {
    name: String,
    labels: BTreeMap<String, String>,
    much: f64,
}

/// A page of `/metrics`.
#[derive(Clone, Debug, Default)]
pub struct Exposition {
    values: Vec<Value>,
}

/// A metric of the page, from its TYPE on.
struct Family {
    metric: &'static Metric,
    name: String,
    of: Vec<Value>,
}

impl Exposition {
    /// Reads a page.
    ///
    /// # Errors
    ///
    /// The line that Prometheus, or a reader of `docs/observe.md`, would not understand.
    pub fn read(text: &str) -> Result<Self> {
        ensure!(text.ends_with('\n'), "the last line has no end");
        let mut page = Self::default();
        let (mut seen, mut helped): (BTreeSet<String>, _) = (BTreeSet::new(), None);
        let mut family: Option<Family> = None;
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                page.take(family.take())?;
                let (name, says) = help.split_once(' ').context("a HELP without words")?;
                ensure!(!says.is_empty(), "{name} has no help");
                helped = Some(name.to_owned());
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').context("a TYPE without a type")?;
                ensure!(helped.take().as_deref() == Some(name), "{name} has a TYPE and no HELP");
                ensure!(seen.insert(name.to_owned()), "{name} is there twice");
                let metric = known(name)?;
                ensure!(kind == kind_of(metric.kind), "{name} is a {kind}");
                family = Some(Family { metric, name: name.to_owned(), of: Vec::new() });
            } else {
                let value = value(line).with_context(|| format!("cannot read {line:?}"))?;
                let family = family.as_mut().context("a value before any TYPE")?;
                family.check(&value).with_context(|| line.to_owned())?;
                family.of.push(value);
            }
        }
        page.take(family)?;
        Ok(page)
    }

    fn take(&mut self, family: Option<Family>) -> Result<()> {
        let Some(family) = family else { return Ok(()) };
        family.is_whole().with_context(|| family.name.clone())?;
        self.values.extend(family.of);
        Ok(())
    }

    /// The value of a name with at least these labels; `None`: there is none, or there are several.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let mut found = self.values.iter().filter(|value| {
            let has =
                |(label, is): &(&str, &str)| value.labels.get(*label).is_some_and(|it| it == is);
            value.name == name && labels.iter().all(has)
        });
        let value = found.next()?;
        found.next().is_none().then_some(value.much)
    }

    /// The names there are.
    pub fn names(&self) -> BTreeSet<&str> {
        self.values.iter().map(|value| value.name.as_str()).collect()
    }

    /// All that is said of a name, as text.
    pub fn of(&self, name: &str) -> Vec<String> {
        let mut all: Vec<String> = self
            .values
            .iter()
            .filter(|value| value.name == name)
            .map(|value| format!("{:?} {}", value.labels, value.much))
            .collect();
        all.sort_unstable();
        all
    }
}

impl Family {
    fn check(&self, value: &Value) -> Result<()> {
        let part = value.name.strip_prefix(&self.name).context("it is of another metric")?;
        let mut labels: Vec<&str> = value.labels.keys().map(String::as_str).collect();
        match (self.metric.kind, part) {
            (Kind::Counter, "") => ensure!(0.0 <= value.much, "a counter below 0"),
            (Kind::Gauge, "") | (Kind::Histogram, "_sum" | "_count") => {}
            (Kind::Histogram, "_bucket") => {
                ensure!(value.labels.contains_key("le"), "a bucket without its bound");
                labels.retain(|label| *label != "le");
            }
            _ => bail!("a {:?} has no {part:?}", self.metric.kind),
        }
        let mut wanted: Vec<String> =
            self.metric.labels.iter().map(|label| label.replace('.', "_")).collect();
        wanted.sort_unstable();
        ensure!(labels == wanted, "its labels are {labels:?} and not {wanted:?}");
        let is_again = |it: &Value| it.name == value.name && it.labels == value.labels;
        ensure!(!self.of.iter().any(is_again), "it is said twice");
        Ok(())
    }

    /// A histogram's buckets grow, and the last of them has all.
    fn is_whole(&self) -> Result<()> {
        ensure!(!self.of.is_empty(), "it has no value");
        let mut buckets: BTreeMap<BTreeMap<String, String>, Vec<(f64, f64)>> = BTreeMap::new();
        for value in self.of.iter().filter(|value| value.name.ends_with("_bucket")) {
            let mut labels = value.labels.clone();
            let bound: f64 = labels.remove("le").context("no bound")?.parse()?;
            buckets.entry(labels).or_default().push((bound, value.much));
        }
        for (labels, buckets) in buckets {
            let grow = buckets.is_sorted_by(|one, next| one.0 < next.0 && one.1 <= next.1);
            ensure!(grow, "buckets that do not grow: {buckets:?}");
            let last = buckets.last().context("no bucket")?;
            ensure!(last.0 == f64::INFINITY, "no bucket has all");
            let count =
                self.of.iter().find(|it| it.name.ends_with("_count") && it.labels == labels);
            let count = count.context("no count")?.much;
            ensure!((last.1 - count).abs() < 0.5, "{count} in all, {} in the last bucket", last.1);
        }
        Ok(())
    }
}

fn kind_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    }
}

fn known(name: &str) -> Result<&'static Metric> {
    let found = ALL.iter().find(|metric| metric.prometheus() == name);
    found.copied().with_context(|| format!("{name} is not among the names"))
}

fn is_name(text: &str) -> bool {
    let first = text.chars().next();
    first.is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn value(line: &str) -> Result<Value> {
    let (series, value) = line.rsplit_once(' ').context("no value")?;
    let much = value.parse().context("no number")?;
    let (name, labels) = match series.split_once('{') {
        Some((name, rest)) => (name, labels(rest)?),
        None => (series, BTreeMap::new()),
    };
    ensure!(is_name(name), "{name:?} is no name");
    Ok(Value { name: name.to_owned(), labels, much })
}

/// What is behind a `{`.
fn labels(mut rest: &str) -> Result<BTreeMap<String, String>> {
    let mut labels = BTreeMap::new();
    while let Some((name, more)) = rest.split_once("=\"") {
        ensure!(is_name(name), "{name:?} is no label");
        let mut value = String::new();
        let mut chars = more.char_indices();
        let end = loop {
            match chars.next().context("a label without an end")? {
                (at, '"') => break at,
                (_, '\\') => match chars.next().map(|(_, c)| c) {
                    Some('n') => value.push('\n'),
                    Some(c @ ('\\' | '"')) => value.push(c),
                    c => bail!("{c:?} behind a backslash"),
                },
                (_, c) => value.push(c),
            }
        };
        let before = labels.insert(name.to_owned(), value);
        ensure!(before.is_none(), "{name} is there twice");
        rest = &more[end + 1..];
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
    ensure!(rest == "}", "{rest:?} behind the labels");
    Ok(labels)
}

impl World {
    /// What the gateway's `/metrics` says.
    ///
    /// # Errors
    ///
    /// When nobody answers, or Prometheus could not read it.
    pub async fn gateway_numbers(&self) -> Result<Exposition> {
        page(self.gateway_page("/metrics").await?)
    }

    /// What the runner's `/metrics` says.
    ///
    /// # Errors
    ///
    /// As for [`World::gateway_numbers`].
    pub async fn runner_numbers(&self) -> Result<Exposition> {
        page(self.runner_page("/metrics").await?)
    }

    /// What the second gateway's `/metrics` says.
    ///
    /// # Errors
    ///
    /// As for [`World::gateway_numbers`].
    pub async fn second_numbers(&self, second: &SecondGateway) -> Result<Exposition> {
        page(http::get(second.health(), "/metrics").await?)
    }

    /// Waits until the gateway's numbers are as wanted.
    ///
    /// # Errors
    ///
    /// When they do not become so, or the page cannot be read.
    pub async fn gateway_counts(
        &self,
        what: &str,
        holds: impl Fn(&Exposition) -> bool,
    ) -> Result<()> {
        self.counts(what, || self.gateway_numbers(), holds).await
    }

    /// Waits until the runner's numbers are as wanted.
    ///
    /// # Errors
    ///
    /// As for [`World::gateway_counts`].
    pub async fn runner_counts(
        &self,
        what: &str,
        holds: impl Fn(&Exposition) -> bool,
    ) -> Result<()> {
        self.counts(what, || self.runner_numbers(), holds).await
    }

    /// Waits until the second gateway's numbers are as wanted.
    ///
    /// # Errors
    ///
    /// As for [`World::gateway_counts`].
    pub async fn second_counts(
        &self,
        second: &SecondGateway,
        what: &str,
        holds: impl Fn(&Exposition) -> bool,
    ) -> Result<()> {
        self.counts(what, || self.second_numbers(second), holds).await
    }

    async fn counts<F: Future<Output = Result<Exposition>>>(
        &self,
        what: &str,
        look: impl Fn() -> F,
        holds: impl Fn(&Exposition) -> bool,
    ) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            let page = match look().await {
                Ok(page) => page,
                Err(error) => return Err(self.fail(error).await),
            };
            if holds(&page) {
                return Ok(());
            }
            if end < Instant::now() {
                let said: Vec<_> =
                    page.values.iter().filter(|it| !it.name.ends_with("_bucket")).collect();
                return Err(self.fail(anyhow!("{what} is not counted: {said:#?}")).await);
            }
            sleep(LOOK_EVERY).await;
        }
    }
}

fn page((status, text): (u16, String)) -> Result<Exposition> {
    ensure!(status == 200, "/metrics says {status}: {text}");
    Exposition::read(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# HELP holdfast_queue_depth Runs\n# TYPE holdfast_queue_depth gauge\n\
        holdfast_queue_depth{project=\"api\",state=\"held\"} 1\n\
        holdfast_queue_depth{project=\"a\\\"b\",state=\"held\"} 2\n";

    const HISTOGRAM: &str = "# HELP holdfast_run_duration_seconds It\n\
        # TYPE holdfast_run_duration_seconds histogram\n\
        holdfast_run_duration_seconds_bucket{outcome=\"a\",project=\"b\",le=\"1\"} 1\n\
        holdfast_run_duration_seconds_bucket{outcome=\"a\",project=\"b\",le=\"+Inf\"} 2\n\
        holdfast_run_duration_seconds_sum{outcome=\"a\",project=\"b\"} 7.5\n\
        holdfast_run_duration_seconds_count{outcome=\"a\",project=\"b\"} 2\n";

    #[test]
    fn what_prometheus_reads_is_read() {
        let page = Exposition::read(&(PAGE.to_owned() + HISTOGRAM)).unwrap();
        let held = |project| page.value("holdfast_queue_depth", &[("project", project)]);
        assert_eq!((held("api"), held("a\"b"), held("none")), (Some(1.0), Some(2.0), None));
        assert_eq!(page.value("holdfast_queue_depth", &[("state", "held")]), None, "two of them");
        assert_eq!(page.value("holdfast_run_duration_seconds_sum", &[]), Some(7.5));
    }

    #[test]
    fn what_prometheus_refuses_is_refused() {
        for (what, page) in [
            ("no end of the last line", PAGE.trim_end().to_owned()),
            ("no type", PAGE.replace("# TYPE holdfast_queue_depth gauge\n", "")),
            ("no help", PAGE.replace("# HELP holdfast_queue_depth Runs\n", "")),
            ("another type", PAGE.replace(" gauge", " counter")),
            ("an unknown metric", PAGE.replace("queue_depth", "queue_width")),
            ("a label that is not its own", PAGE.replace("state=", "thread=")),
            ("a label less", PAGE.replace(",state=\"held\"", "")),
            ("the same twice", PAGE.replace("a\\\"b", "api")),
            ("no number", PAGE.replace("} 1", "} one")),
            ("a bad escape", PAGE.replace("a\\\"b", "a\\qb")),
            ("a metric twice", PAGE.to_owned() + PAGE),
            (
                "a metric without a value",
                PAGE.to_owned()
                    + &HISTOGRAM[..HISTOGRAM.find("holdfast_run_duration_seconds_bucket").unwrap()],
            ),
            ("buckets that shrink", HISTOGRAM.replace("le=\"1\"} 1", "le=\"1\"} 3")),
            ("no last bucket", HISTOGRAM.replace("+Inf", "2")),
            (
                "another count",
                HISTOGRAM.replace(
                    "_count{outcome=\"a\",project=\"b\"} 2",
                    "_count{outcome=\"a\",project=\"b\"} 3",
                ),
            ),
        ] {
            assert!(Exposition::read(&page).is_err(), "{what}:\n{page}");
        }
    }
}
