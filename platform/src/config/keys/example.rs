//! An example of a configuration file: it has every key, those that nobody needs in comments.
//!
//! A line that is commented out is a comment mark, a blank, and a key with its value or the name of a
//! table; every other comment is for people.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use toml::{Table as Toml, Value};

use super::{Key, tables};

/// What is wrong with an example of the file that `T` is read from, a line each: it is no such file with
/// all that is commented out, lacks a key, or shows another default than the one that is said. What is
/// off or empty by default may be shown as something else.
pub fn wrong_in_example<T: JsonSchema + DeserializeOwned>(text: &str) -> Vec<String> {
    let full = in_full(text);
    if let Err(error) = toml::from_str::<T>(&full) {
        return vec![format!("with all that is commented out it does not parse: {error}")];
    }
    let parsed = full.parse::<Toml>().map_err(|error| error.to_string());
    let (tables, parsed) = match (tables::<T>(), parsed) {
        (Ok(tables), Ok(parsed)) => (tables, parsed),
        (Err(lacks), _) => return vec![lacks.to_string()],
        (_, Err(error)) => return vec![error],
    };
    let mut found = Vec::new();
    for table in &tables {
        let inside = inside(&parsed, &table.name);
        for Key { name, default, .. } in &table.keys {
            let at = format!("[{}] {name}", table.name);
            let Some(shown) = inside.and_then(|inside| inside.get(name)) else {
                found.push(format!("{at}: is not shown"));
                continue;
            };
            let said = default.strip_prefix('`').and_then(|it| it.strip_suffix('`'));
            let said = said.and_then(|said| format!("it = {said}").parse::<Toml>().ok());
            let said = said.and_then(|mut said| said.remove("it")).filter(|said| !is_nothing(said));
            if said.as_ref().is_some_and(|said| said != shown) {
                found.push(format!("{at}: is shown as {shown}, and its default is {default}"));
            }
        }
    }
    found
}

/// The example with all that is commented out.
fn in_full(text: &str) -> String {
    let line = |line: &str| match line.strip_prefix("# ").filter(|rest| is_toml(rest)) {
        Some(rest) => format!("{rest}\n"),
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

/// Whether a line is a key with its value, or the name of a table.
fn is_toml(line: &str) -> bool {
    let is_name = |c: char| c.is_ascii_lowercase() || "_-.[]".contains(c) || c.is_ascii_digit();
    let is_table = line.starts_with('[') && line.ends_with(']') && line.chars().all(is_name);
    let key = line.split_once(" = ").map(|(key, _)| key);
    is_table || key.is_some_and(|key| !key.is_empty() && key.chars().all(is_name))
}

/// The table of this name; where a name is the reader's, or there are several, the first.
fn inside<'a>(top: &'a Toml, name: &str) -> Option<&'a Toml> {
    let mut at = top;
    for part in name.split('.').filter(|part| !part.is_empty()) {
        let value = match part.trim_end_matches("[]") {
            "NAME" => at.values().next()?,
            key => at.get(key)?,
        };
        at = match value {
            Value::Table(table) => table,
            Value::Array(all) => all.first()?.as_table()?,
            Value::String(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Boolean(_)
            | Value::Datetime(_) => return None,
        };
    }
    Some(at)
}

/// Whether a default is that something is off, or empty.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Boolean(is_on) => !is_on,
        Value::Array(all) => all.is_empty(),
        Value::Table(all) => all.is_empty(),
        Value::String(_) | Value::Integer(_) | Value::Float(_) | Value::Datetime(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use std::collections::BTreeMap;

    #[derive(Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "its keys alone are looked at")]
    struct File {
        /// How many.
        ///
        /// Default: `4`
        /// Bounds: at least 1 slot
        slots: Option<u16>,
        /// The rooms.
        #[serde(default)]
        rooms: BTreeMap<String, Room>,
    }

    #[derive(Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "its keys alone are looked at")]
    struct Room {
        /// Whether it is shut.
        ///
        /// Default: `false`
        shut: Option<bool>,
    }

    #[test]
    fn an_example_with_every_key_and_the_true_defaults_is_right() {
        let right = "# How many = some.\n# slots = 4\n\n[rooms.small]\n# shut = true\n";
        assert_eq!(wrong_in_example::<File>(right), [""; 0]);
        for (text, part) in [
            (right.replace("slots = 4", "slots = 5"), "is shown as 5"),
            (right.replace("# slots = 4", ""), "[] slots: is not shown"),
            (right.replace("# shut = true", ""), "[rooms.NAME] shut: is not shown"),
            (right.replace("shut", "shot"), "does not parse"),
        ] {
            let told = wrong_in_example::<File>(&text);
            assert!(told.len() == 1 && told[0].contains(part), "{part}: {told:?}");
        }
    }
}
