//! Whether a question and its answer are one trace: what Jaeger has of it, or what a collector printed.
//! Pure.
//!
//! A stand-in for Jaeger has no pages to ask; the collector that stands in beside it prints every span as
//! the debug exporter of the OpenTelemetry Collector does.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use serde_json::Value;

/// Both have to be in a trace.
const SERVICES: [&str; 2] = ["gateway-svc", "runner-svc"];

/// What is looked at of a span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    trace: String,
    service: String,
    values: BTreeSet<String>,
}

/// The spans of Jaeger's `/api/traces`.
pub(super) fn of_jaeger(answer: &Value) -> Vec<Span> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let traces = list(&answer["data"]).into_iter();
    traces
        .flat_map(|trace| {
            let processes = trace["processes"].clone();
            list(&trace["spans"]).into_iter().map(move |span| {
                let process = span["processID"].as_str().unwrap_or_default();
                Span {
                    trace: text(&span["traceID"]),
                    service: text(&processes[process]["serviceName"]),
                    values: list(&span["tags"]).iter().map(|tag| text(&tag["value"])).collect(),
                }
            })
        })
        .collect()
}

/// What the lines of a collector are about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum About {
    /// Who sends the spans that follow.
    Resource,
    Span,
    /// Lines of logs, which have ids of traces as well, and figures.
    Other,
}

/// The spans that a collector printed.
pub(super) fn of_log(log: &str) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let (mut service, mut about) = (String::new(), About::Other);
    for line in log.lines().map(str::trim) {
        if line.starts_with("ResourceSpans #") {
            (service, about) = (String::new(), About::Resource);
        } else if line.starts_with("ResourceLog") || line.starts_with("ResourceMetric") {
            about = About::Other;
        } else if line.starts_with("Span #") {
            about = About::Span;
        } else if about == About::Span
            && let Some(id) = line.strip_prefix("Trace ID")
        {
            let trace = id.trim_start_matches([' ', ':']).to_owned();
            spans.push(Span { trace, service: service.clone(), values: BTreeSet::new() });
        } else if let Some((key, value)) = attribute(line) {
            match (about, spans.last_mut()) {
                (About::Resource, _) if key == "service.name" => value.clone_into(&mut service),
                (About::Span, Some(span)) => drop(span.values.insert(value.to_owned())),
                (About::Resource | About::Span | About::Other, _) => {}
            }
        }
    }
    spans
}

/// `-> key: Str(value)`.
fn attribute(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.strip_prefix("-> ")?.split_once(": ")?;
    Some((key, value.strip_prefix("Str(")?.strip_suffix(')')?))
}

/// The one trace of a run, with spans of both services; `None` while spans may still come.
///
/// # Errors
///
/// When there are several.
pub(super) fn of_run(spans: &[Span], run: &str) -> Result<Option<String>> {
    let mut traces: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for span in spans.iter().filter(|span| span.values.contains(run)) {
        traces.entry(&span.trace).or_default();
    }
    for span in spans {
        if let Some(services) = traces.get_mut(span.trace.as_str()) {
            services.insert(&span.service);
        }
    }
    let mut found = traces.iter();
    match (found.next(), found.next()) {
        (Some(_), Some(_)) => bail!("{run} is in {} traces: {traces:?}", traces.len()),
        (Some((trace, services)), None) if SERVICES.iter().all(|it| services.contains(it)) => {
            Ok(Some((*trace).to_owned()))
        }
        (Some(_), None) | (None, _) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const LOG: &str = "Starting\nResourceSpans #0\nResource SchemaURL: \nResource attributes:\n     \
        -> service.name: Str(gateway-svc)\nScopeSpans #0\nSpan #0\n    Trace ID       : 5b8e\n    \
        Name           : process\nAttributes:\n     -> holdfast.run: Str(m1)\n     -> n: Int(5)\n\
        Span #1\n    Trace ID       : ffff\nAttributes:\n     -> holdfast.run: Str(m2)\n\
        ResourceLog #0\nLogRecord #0\nAttributes:\n     -> run: Str(m1)\n    Trace ID       : eeee\n\
        ResourceSpans #1\nResource attributes:\n     -> service.name: Str(runner-svc)\nSpan #0\n    \
        Trace ID       : 5b8e\n";

    #[test]
    fn a_run_is_one_trace_of_both_services() {
        let printed = of_log(LOG);
        assert_eq!(printed.len(), 3);
        assert_eq!(of_run(&printed, "m1").unwrap().as_deref(), Some("5b8e"));
        assert_eq!(of_run(&printed, "m2").unwrap(), None, "the runner's part is missing");
        assert_eq!(of_run(&printed, "m3").unwrap(), None);
        let two = format!("{LOG}ResourceSpans #2\nSpan #0\n Trace ID : aaaa\n -> run: Str(m1)\n");
        assert!(of_run(&of_log(&two), "m1").unwrap_err().to_string().contains("2 traces"));
    }

    #[test]
    fn jaeger_and_a_log_say_the_same() {
        let span = |trace: &str, process: &str, run: &str| {
            json!({ "traceID": trace,
            "processID": process, "tags": [{ "key": "holdfast.run", "value": run }] })
        };
        let answer = json!({ "data": [{
            "spans": [span("5b8e", "p1", "m1"), span("5b8e", "p2", "m1")],
            "processes": { "p1": { "serviceName": "gateway-svc" },
                "p2": { "serviceName": "runner-svc" } },
        }] });
        assert_eq!(of_run(&of_jaeger(&answer), "m1").unwrap().as_deref(), Some("5b8e"));
        assert!(of_jaeger(&json!({ "errors": [] })).is_empty());
    }
}
