//! The list of mutations: what is changed where, and which test is to tell. Pure but for reading it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};
use serde::{Deserialize, Deserializer};

use crate::faults::Test;

/// Where it lies in the repository.
const LIST: &str = "xtask/mutants.toml";

/// All mutations.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct List {
    mutant: Vec<Mutant>,
}

/// One rule broken.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mutant {
    /// What people call it.
    pub(super) name: String,
    /// The number of the rule in `docs/protocol.md`.
    pub(super) rule: u8,
    /// What it does, in a sentence.
    pub(super) breaks: String,
    /// The test that is to turn red: `module::story`, or `crate path::of::test`.
    #[serde(deserialize_with = "test")]
    pub(super) test: Test,
    /// What is changed.
    pub(super) edit: Vec<Edit>,
}

/// A change of one file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Edit {
    /// The file, from the root of the repository.
    pub(super) file: String,
    /// What stands there once.
    find: String,
    /// What stands there instead.
    replace: String,
}

fn test<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Test, D::Error> {
    let text = String::deserialize(deserializer)?;
    Test::parse(&text).ok_or_else(|| serde::de::Error::custom(format!("{text} names no test")))
}

impl List {
    /// Reads it.
    ///
    /// # Errors
    ///
    /// When it is not there, or says too little or too much.
    pub(super) fn read(root: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(root.join(LIST)).with_context(|| format!("no {LIST}"))?;
        let list: Self = toml::from_str(&text).with_context(|| format!("{LIST} is not right"))?;
        let names: BTreeSet<&str> = list.mutant.iter().map(|it| it.name.as_str()).collect();
        ensure!(names.len() == list.mutant.len(), "{LIST} has two mutants of one name");
        Ok(list)
    }

    /// Those of these names; without names, all.
    ///
    /// # Errors
    ///
    /// A name that none has.
    pub(super) fn choose(&self, names: &[String]) -> anyhow::Result<Vec<&Mutant>> {
        let all = || self.mutant.iter();
        if names.is_empty() {
            return Ok(all().collect());
        }
        let find = |name: &String| {
            let all_names = || all().map(|it| it.name.as_str()).collect::<Vec<_>>().join("\n  ");
            let found = all().find(|it| it.name == *name);
            found.with_context(|| format!("there is no `{name}`, but:\n  {}", all_names()))
        };
        names.iter().map(find).collect()
    }
}

impl Edit {
    /// The file's text with the change.
    ///
    /// # Errors
    ///
    /// When what is to be replaced does not stand there exactly once.
    pub(super) fn apply(&self, text: &str) -> anyhow::Result<String> {
        let Self { file, find, replace } = self;
        let times = text.matches(find.as_str()).count();
        ensure!(times == 1, "in {file} this stands {times} times and not once:\n{find}");
        Ok(text.replacen(find, replace, 1))
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn root() -> PathBuf {
        let folder = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs the tests");
        Path::new(&folder).parent().expect("xtask lies in the root").to_path_buf()
    }

    /// The edits of a mutant one after the other; each must find what it changes.
    #[test]
    fn each_mutation_still_finds_what_it_changes() {
        let list = List::read(&root()).unwrap();
        assert!(12 <= list.mutant.len());
        for mutant in &list.mutant {
            assert!((1..=13).contains(&mutant.rule), "{}", mutant.name);
            let mut texts = std::collections::BTreeMap::new();
            for edit in &mutant.edit {
                let read = || fs::read_to_string(root().join(&edit.file)).unwrap();
                let text = texts.entry(&edit.file).or_insert_with(read);
                match edit.apply(text) {
                    Ok(changed) => *text = changed,
                    Err(error) => panic!("`{}`: {error}", mutant.name),
                }
            }
        }
    }

    #[test]
    fn what_stands_twice_or_nowhere_is_not_replaced() {
        let edit =
            |find: &str| Edit { file: "a.rs".into(), find: find.into(), replace: "c".into() };
        assert_eq!(edit("b").apply("a b").unwrap(), "a c");
        assert!(edit("b").apply("b b").is_err());
        assert!(edit("d").apply("a b").is_err());
    }
}
