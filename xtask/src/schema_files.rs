//! `cargo xtask schemas`: the JSON Schemas of the wire types, generated and checked in.
//!
//! `schemas/json/` holds one `NAME.schema.json` for each type and nothing else. The text does not
//! depend on how the build was configured: keys are sorted.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde_json::Value;

use crate::process::say;
use crate::workspace::Workspace;

/// Writes every schema and removes those of types that are gone.
pub(crate) fn write(workspace: &Workspace) -> anyhow::Result<()> {
    let folder = folder(workspace);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let (wanted, present) = (wanted()?, present(&folder)?);
    let stale = differences(&wanted, &present);
    for (name, difference) in &stale {
        let path = folder.join(name);
        match difference {
            Difference::Missing(text) | Difference::Other(text) => fs::write(&path, text),
            Difference::Unknown => fs::remove_file(&path),
        }
        .with_context(|| format!("cannot change {}", path.display()))?;
        say(&format!("schemas: {name}: {}", difference.past()));
    }
    say(&format!("schemas: {} changed", stale.len()));
    Ok(())
}

/// Compares the files with the types.
///
/// # Errors
///
/// Every file that is missing, different or unknown, and the command that puts it right.
pub(crate) fn check(workspace: &Workspace) -> anyhow::Result<()> {
    let (wanted, present) = (wanted()?, present(&folder(workspace))?);
    let stale = differences(&wanted, &present);
    if stale.is_empty() {
        return Ok(());
    }
    let lines: Vec<_> =
        stale.iter().map(|(name, difference)| format!("{name}: {}", difference.state())).collect();
    bail!(
        "schemas/json is not what the types say; run `cargo xtask schemas` and look at the \
         change:\n  {}",
        lines.join("\n  ")
    )
}

/// How a file differs from the types; where there is one, the text it should have.
#[derive(Debug, PartialEq, Eq)]
enum Difference<'a> {
    Missing(&'a str),
    Other(&'a str),
    Unknown,
}

impl Difference<'_> {
    fn state(&self) -> &'static str {
        match self {
            Self::Missing(_) => "is missing",
            Self::Other(_) => "differs",
            Self::Unknown => "belongs to no type",
        }
    }

    fn past(&self) -> &'static str {
        match self {
            Self::Missing(_) => "made",
            Self::Other(_) => "changed",
            Self::Unknown => "removed",
        }
    }
}

fn differences<'a>(
    wanted: &'a BTreeMap<String, String>,
    present: &'a BTreeMap<String, String>,
) -> BTreeMap<&'a str, Difference<'a>> {
    let unknown = present
        .keys()
        .filter(|name| !wanted.contains_key(*name))
        .map(|name| (name.as_str(), Difference::Unknown));
    wanted
        .iter()
        .filter_map(|(name, text)| match present.get(name) {
            None => Some((name.as_str(), Difference::Missing(text))),
            Some(old) if old != text => Some((name.as_str(), Difference::Other(text))),
            Some(_) => None,
        })
        .chain(unknown)
        .collect()
}

fn folder(workspace: &Workspace) -> PathBuf {
    workspace.root().join("schemas/json")
}

/// What the types say: file name and text.
fn wanted() -> anyhow::Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    for (stem, schema) in schemas::json_schemas() {
        let text = serde_json::to_string_pretty(&sorted(schema))?;
        if files.insert(format!("{stem}.schema.json"), text + "\n").is_some() {
            bail!("two types have the schema name {stem}");
        }
    }
    Ok(files)
}

/// What is in the folder; a folder that is not there is empty.
fn present(folder: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    if !folder.exists() {
        return Ok(files);
    }
    let context = || format!("cannot read {}", folder.display());
    for entry in fs::read_dir(folder).with_context(context)? {
        let entry = entry.with_context(context)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let text =
            fs::read_to_string(entry.path()).with_context(|| format!("cannot read {name}"))?;
        files.insert(name, text);
    }
    Ok(files)
}

/// The same value with the keys of every object in order, whichever map the build chose.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let ordered: BTreeMap<_, _> =
                map.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            Value::Object(ordered.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(list: &[(&str, &str)]) -> BTreeMap<String, String> {
        list.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn a_missing_a_changed_and_an_unknown_file_are_each_told() {
        let wanted = files(&[("a", "1"), ("b", "2"), ("c", "3")]);
        let present = files(&[("b", "2"), ("c", "old"), ("d", "4")]);
        let told: Vec<_> = differences(&wanted, &present).into_iter().collect();
        assert_eq!(
            told,
            [
                ("a", Difference::Missing("1")),
                ("c", Difference::Other("3")),
                ("d", Difference::Unknown),
            ]
        );
    }

    #[test]
    fn keys_are_sorted_at_every_depth() {
        let value: Value = serde_json::from_str(r#"{"b":[{"z":1,"a":2}],"a":null}"#).unwrap();
        assert_eq!(sorted(value).to_string(), r#"{"a":null,"b":[{"a":2,"z":1}]}"#);
    }
}
