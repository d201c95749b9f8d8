//! What is told of the system, what is written about it, and what alarms somebody fit together.
//!
//! Every metric has a row in `docs/observe.md`; every alert has a section in `docs/alerts.md` and asks
//! for metrics and labels that there are. Lines are matched, no YAML is read: the rules are written in
//! one form, which the first test holds them to.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use schemas::names::metrics::{ALL, Kind, Metric, Teller};

const RULES: &str = "deploy/prometheus/holdfast.rules.yml";

fn file(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// An alert: its name and its lines.
fn alerts(rules: &str) -> Vec<(String, Vec<String>)> {
    let mut all: Vec<(String, Vec<String>)> = Vec::new();
    for line in rules.lines() {
        if let Some(name) = line.strip_prefix("      - alert: ") {
            all.push((name.to_owned(), Vec::new()));
        } else if line.starts_with("  - name: ") {
            // The next group: its lines are no alert's.
        } else if let Some((_, lines)) = all.last_mut()
            && line.starts_with("        ")
        {
            lines.push(line.trim().to_owned());
        }
    }
    all
}

/// The names on the page of a metric.
fn on_the_page(metric: &Metric) -> Vec<String> {
    let name = metric.prometheus();
    match metric.kind {
        Kind::Counter | Kind::Gauge => vec![name],
        Kind::Histogram => ["bucket", "sum", "count"].map(|part| format!("{name}_{part}")).into(),
    }
}

/// The words of a text that name a metric of ours.
fn metrics_in(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("holdfast_")).collect()
}

#[test]
fn every_alert_is_whole_and_has_a_section_of_its_own() {
    let (rules, book) = (file(RULES), file("docs/alerts.md"));
    let alerts = alerts(&rules);
    assert_eq!(rules.matches("- alert:").count(), alerts.len(), "an alert is indented otherwise");
    assert!(10 < alerts.len(), "{alerts:?}");
    let names: Vec<&str> = alerts.iter().map(|(name, _)| name.as_str()).collect();
    let sections: Vec<&str> = book.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    assert_eq!(sections, names, "docs/alerts.md has a section for each alert, in the rules' order");
    for (name, lines) in &alerts {
        for key in ["expr: ", "labels: { severity: ", "summary: \"", "runbook: "] {
            assert!(lines.iter().any(|line| line.starts_with(key)), "{name} has no {key:?}");
        }
        let runbook = format!("runbook: docs/alerts.md#{}", name.to_lowercase());
        assert!(lines.contains(&runbook), "{name}: {runbook}");
    }
}

#[test]
fn an_alert_asks_for_metrics_that_there_are() {
    let there: BTreeSet<String> = ALL.iter().flat_map(|metric| on_the_page(metric)).collect();
    for (name, lines) in alerts(&file(RULES)) {
        for metric in metrics_in(&lines.join("\n")) {
            assert!(there.contains(metric), "{name} asks for {metric}");
        }
    }
    // What the book shows can be asked as well.
    for metric in metrics_in(&file("docs/alerts.md")) {
        assert!(there.contains(metric), "docs/alerts.md speaks of {metric}");
    }
}

/// Of the store every gateway tells the same, so two of them must not make two alerts, nor twice as much.
#[test]
fn what_is_of_the_store_is_taken_once_over_all_gateways() {
    for (name, lines) in alerts(&file(RULES)) {
        let text = lines.join(" ");
        for metric in ALL.iter().filter(|metric| metric.teller == Teller::Store) {
            let page = metric.prometheus();
            for (at, _) in text.match_indices(&page) {
                let before = &text[..at];
                let once = before.ends_with("max by (project) (")
                    || before.ends_with("max by (project) (increase(")
                    || before.ends_with("unless on (job, instance) ");
                assert!(once, "{name}: {page} behind {before:?}");
            }
        }
    }
}

fn row(metric: &Metric) -> String {
    let kind = match metric.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    };
    let teller = match metric.teller {
        Teller::Gateway => "gateway",
        Teller::Store => "gateway, of the store",
        Teller::Runner => "runner",
        Teller::Both => "both",
    };
    let labels: Vec<String> =
        metric.labels.iter().map(|label| format!("`{}`", label.replace('.', "_"))).collect();
    let Metric { name, unit, says, .. } = metric;
    format!(
        "| `{}`<br>`{name}` | {kind}, {unit} | {} | {teller} | {says} |",
        metric.prometheus(),
        labels.join(", ")
    )
}

#[test]
fn every_metric_has_its_row_and_no_other_has_one() {
    let page = file("docs/observe.md");
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `holdfast_")).collect();
    let wanted: Vec<String> = ALL.iter().map(|metric| row(metric)).collect();
    assert_eq!(rows, wanted, "the table of docs/observe.md is to be:\n{}\n", wanted.join("\n"));
}

#[test]
fn the_reader_of_rules_finds_what_is_there() {
    let rules = "groups:\n  - name: one\n    rules:\n      - alert: A\n        expr: holdfast_x > 1\n  \
                 - name: two\n    rules:\n      - alert: B\n        expr: up == 0\n";
    let alerts = alerts(rules);
    let names: Vec<&str> = alerts.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["A", "B"]);
    assert_eq!(alerts[0].1, ["expr: holdfast_x > 1"]);
    assert_eq!(
        metrics_in("max(holdfast_x{a=\"b\"}) > holdfast_y_total"),
        ["holdfast_x", "holdfast_y_total"].into()
    );
}
