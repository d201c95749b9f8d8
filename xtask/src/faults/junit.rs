//! Which tests of a run passed: nextest's report in the usual XML of test reports. Pure but for the reading.
//!
//! It looks for the elements `testcase` and what stands in them, and takes no other XML than
//! nextest writes: attributes in double quotes, text escaped. Never trusts an unknown element: only
//! a case without `failure`, `error` and `skipped` has passed.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::Context;

use super::list::Test;

/// The tests that passed, each with the id of its program.
#[derive(Debug, Default)]
pub(super) struct Passed(BTreeSet<(String, String)>);

impl Passed {
    /// Reads a report.
    ///
    /// # Errors
    ///
    /// There is none.
    pub(super) fn read(file: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(file);
        Ok(Self::parse(&text.with_context(|| format!("there is no report {}", file.display()))?))
    }

    fn parse(text: &str) -> Self {
        Self(text.split("<testcase ").skip(1).filter_map(case).collect())
    }

    /// Whether a test passed, whichever program of its crate it is in.
    pub(super) fn contains(&self, test: &Test) -> bool {
        let of_crate = |program: &str| {
            let rest = program.strip_prefix(&test.krate);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        };
        self.0.iter().any(|(program, name)| *name == test.name && of_crate(program))
    }
}

/// The program and the name of a case that passed; `text` begins behind `<testcase`.
fn case(text: &str) -> Option<(String, String)> {
    let (head, rest) = text.split_once('>')?;
    let body = match head.strip_suffix('/') {
        Some(_) => "",
        None => rest.split("</testcase>").next().unwrap_or_default(),
    };
    let failed = ["<failure", "<error", "<skipped"].iter().any(|element| body.contains(element));
    let attribute = |name: &str| {
        let (_, value) = head.split_once(&format!("{name}=\""))?;
        Some(value.split('"').next()?.to_owned())
    };
    // `name` is also the end of `classname`.
    let name = attribute(" name").or_else(|| {
        head.strip_prefix("name=\"").and_then(|it| it.split('"').next()).map(str::to_owned)
    })?;
    (!failed).then_some((attribute("classname")?, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="nextest-run" tests="4">
    <testsuite name="stories::stories" tests="2">
        <testcase name="kills::a_run" classname="stories::stories" time="1.1">
        </testcase>
        <testcase name="kills::another" classname="stories::stories" time="1.1">
            <failure message="left" type="test failure">&lt;testcase </failure>
        </testcase>
    </testsuite>
    <testsuite name="schemas" tests="1">
        <testcase name="run::tests::a_fact" classname="schemas" time="0.0"/>
    </testsuite>
</testsuites>"#;

    #[test]
    fn a_test_passed_when_its_case_has_no_failure() {
        let passed = Passed::parse(REPORT);
        let passed = |text: &str| passed.contains(&Test::parse(text).unwrap());
        assert!(passed("kills::a_run") && passed("schemas run::tests::a_fact"));
        assert!(!passed("kills::another") && !passed("kills::a_ru"));
        assert!(!passed("schema run::tests::a_fact"), "another crate");
        assert!(!passed("harness kills::a_run"));
    }
}
