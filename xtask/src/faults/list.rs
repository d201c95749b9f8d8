//! The list of faults: groups of rows, each with what becomes of it and the tests that show it.
//! Pure.

use std::collections::BTreeSet;
use std::fmt;

use anyhow::{Context, ensure};
use serde::Deserialize;

use super::junit::Passed;

/// All faults.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct List {
    pub(super) group: Vec<Group>,
}

/// Faults of one kind.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Group {
    pub(super) title: String,
    pub(super) fault: Vec<Fault>,
}

/// One fault.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fault {
    pub(super) id: String,
    /// What happens.
    #[serde(rename = "fault")]
    pub(super) what: String,
    /// What becomes of it here.
    pub(super) here: Option<String>,
    /// What shows it: `module::story`, or `crate path::of::test`.
    #[serde(default)]
    pub(super) stories: Vec<String>,
    /// Why it cannot happen here.
    pub(super) impossible: Option<String>,
    /// Why no test makes it happen.
    pub(super) unshown: Option<String>,
}

/// A test, as a row or a sentence names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Test {
    /// The crate that it is in.
    pub(crate) krate: String,
    /// Its path in its program.
    pub(crate) name: String,
}

impl Test {
    /// Reads `module::story` or `crate path::of::test`; none when it is neither.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (krate, name) = match text.split_once(' ') {
            Some(both) => both,
            None if text.contains("::") => ("stories", text),
            None => return None,
        };
        let is_name = |it: &str| !it.is_empty() && !it.contains(' ');
        (is_name(krate) && is_name(name))
            .then(|| Self { krate: krate.to_owned(), name: name.to_owned() })
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.krate.as_str() {
            "stories" => write!(f, "{}", self.name),
            krate => write!(f, "{krate} {}", self.name),
        }
    }
}

impl List {
    /// Reads the list.
    ///
    /// # Errors
    ///
    /// The first row that says too little, too much, or what a table cannot hold.
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        let list: Self = toml::from_str(text)?;
        let mut ids = BTreeSet::new();
        for fault in list.faults() {
            fault.check().with_context(|| format!("the row {}", fault.id))?;
            ensure!(ids.insert(fault.id.clone()), "there are two rows {}", fault.id);
        }
        Ok(list)
    }

    fn faults(&self) -> impl Iterator<Item = &Fault> {
        self.group.iter().flat_map(|group| &group.fault)
    }

    /// The tests that did not pass, each with its row.
    pub(super) fn missing(&self, passed: &Passed) -> Vec<String> {
        let named = self.faults().flat_map(|row| row.stories.iter().map(|it| (&row.id, it)));
        named
            .filter(|(_, test)| Test::parse(test).is_none_or(|test| !passed.contains(&test)))
            .map(|(id, test)| format!("{id}: {test}"))
            .collect()
    }

    /// How many faults there are, and how many tests show what becomes of them.
    pub(super) fn summary(&self) -> String {
        let impossible = self.faults().filter(|fault| fault.impossible.is_some()).count();
        let unshown = self.faults().filter(|fault| fault.unshown.is_some()).count();
        let tests: BTreeSet<_> = self.faults().flat_map(|fault| &fault.stories).collect();
        format!(
            "{} faults, {} shown by {} tests that passed, {impossible} that cannot happen here, \
             {unshown} that no test makes happen",
            self.faults().count(),
            self.faults().count() - impossible - unshown,
            tests.len()
        )
    }
}

impl Fault {
    fn check(&self) -> anyhow::Result<()> {
        ensure!(
            self.here.is_some() != self.stories.is_empty(),
            "`here` and `stories` belong together"
        );
        let kinds = [&self.here, &self.impossible, &self.unshown];
        ensure!(
            kinds.into_iter().flatten().count() == 1,
            "it has either `here` and `stories`, or `impossible`, or `unshown`"
        );
        for test in &self.stories {
            ensure!(Test::parse(test).is_some(), "`{test}` is no name of a test");
        }
        for text in kinds.into_iter().flatten().chain([&self.id, &self.what]) {
            ensure!(!text.contains(['|', '\n']) && !text.is_empty(), "`{text}` is no cell");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(rows: &str) -> anyhow::Result<List> {
        List::parse(&format!("[[group]]\ntitle = \"Lost\"\n{rows}"))
    }

    fn row(more: &str) -> String {
        format!("[[group.fault]]\nid = \"A1\"\nfault = \"it dies\"\n{more}\n")
    }

    #[test]
    fn a_row_is_shown_by_tests_or_cannot_happen() {
        let shown = row("here = \"it lives\"\nstories = [\"kills::a\", \"schemas run::tests::b\"]");
        assert!(parsed(&shown).is_ok());
        assert!(parsed(&row("impossible = \"there is none\"")).is_ok());
        assert!(parsed(&row("unshown = \"it takes a volcano\"")).is_ok());
        for wrong in [
            "",
            "here = \"it lives\"",
            "stories = [\"kills::a\"]",
            "here = \"a\"\nstories = [\"kills::a\"]\nimpossible = \"b\"",
            "unshown = \"a\"\nimpossible = \"b\"",
            "here = \"a\"\nstories = [\"kills\"]",
            "impossible = \"a | b\"",
            "impossible = \"a\"\nnote = \"b\"",
        ] {
            assert!(parsed(&row(wrong)).is_err(), "{wrong}");
        }
        let twice = row("impossible = \"a\"").repeat(2);
        assert_eq!(parsed(&twice).unwrap_err().to_string(), "there are two rows A1");
    }

    #[test]
    fn what_did_not_pass_is_named_with_its_row() {
        let list = parsed(&row("here = \"it lives\"\nstories = [\"kills::a\"]")).unwrap();
        assert_eq!(list.missing(&Passed::default()), ["A1: kills::a"]);
    }
}
