//! What is said of keys, held against what a service makes of them: the tests of both services call it.
//!
//! It writes files: the smallest one with one key more, set to what is said to be its default, its
//! bounds, and what lies beyond them. A table of which there may be several is left out, since its keys
//! need each other.

use std::fmt::{Debug, Display};

use super::{Key, Table};

/// A name of the reader's in a table's name, and the project of the smallest file.
const NAME: (&str, &str) = ("NAME", "app");

/// What is said and does not hold, a line each. `smallest` is a file that ends in the table of a project
/// called `app`; `load` reads a file, with a variable set.
pub fn untrue<C: Debug, E: Display>(
    tables: &[Table],
    smallest: &str,
    load: impl Fn(&str, Option<(&str, &str)>) -> Result<C, E>,
) -> Vec<String> {
    let load = |text: &str, variable: Option<(&str, &str)>| {
        load(text, variable).map(|config| format!("{config:?}")).map_err(|error| error.to_string())
    };
    let usual = load(smallest, None);
    let mut found: Vec<String> = usual.clone().err().into_iter().collect();
    let singles = tables.iter().filter(|table| !table.name.contains("[]"));
    for (table, key) in singles.flat_map(|table| table.keys.iter().map(move |key| (table, key))) {
        let at = format!("{}.{}", table.name, key.name);
        let with = |value: &str| load(&file(table, key, smallest, value), None);
        if let Some(value) = value_of(&key.default)
            && with(value) != usual
        {
            found.push(format!(
                "{at}: its default is said to be {value}, and that makes a difference"
            ));
        }
        if let Some(bounds) = &key.bounds {
            let trials = trials(bounds);
            if trials.is_empty() {
                found.push(format!("{at}: its bounds cannot be read: {bounds}"));
            }
            for (value, fits) in trials {
                let taken = with(&value);
                let is_told = taken.as_ref().err().is_some_and(|error| error.contains(&key.name));
                if fits != taken.is_ok() || !fits && !is_told {
                    found.push(format!("{at}: is said to be {bounds}; with {value}: {taken:?}"));
                }
            }
        }
        let variable = key.environment.as_deref().and_then(|text| text.split('`').nth(1));
        let counts = |variable| {
            ["nonsense", ""].iter().any(|value| load(smallest, Some((variable, value))) != usual)
        };
        if variable.is_some_and(|variable| !counts(variable)) {
            found.push(format!("{at}: the variable {variable:?} makes no difference"));
        }
    }
    found
}

/// The value in a text that is nothing but a value.
fn value_of(default: &str) -> Option<&str> {
    let inside = default.strip_prefix('`')?.strip_suffix('`')?;
    (!inside.contains('`') && !inside.starts_with('$')).then_some(inside)
}

/// The smallest file with this key.
fn file(table: &Table, key: &Key, smallest: &str, value: &str) -> String {
    let line = format!("{} = {value}", key.name);
    let table = table.name.replace(NAME.0, NAME.1);
    match table.as_str() {
        "" => format!("{line}\n{smallest}"),
        _ if smallest.contains(&format!("[{table}]")) => format!("{smallest}\n{line}"),
        _ => format!("{smallest}\n[{table}]\n{line}"),
    }
}

/// What lies within these bounds, and what beyond; nothing where they cannot be read.
fn trials(bounds: &str) -> Vec<(String, bool)> {
    let words: Vec<&str> = bounds.split(' ').collect();
    let number = |at: usize| words.get(at).and_then(|word| word.parse::<i64>().ok());
    let (lowest, highest) = match words.as_slice() {
        [_, "to", ..] => (number(0).zip(number(0).map(|it| it - 1)), number(2)),
        ["at", "least", ..] => (number(2).zip(number(2).map(|it| it - 1)), None),
        ["more", "than", _, "and", "at", "most", ..] => (number(6).zip(number(2)), number(6)),
        _ => (None, None),
    };
    let Some((lowest, too_low)) = lowest else { return Vec::new() };
    let highest = highest.into_iter().flat_map(|it| [(it, true), (it + 1, false)]);
    let all = [(lowest, true), (too_low, false)].into_iter().chain(highest);
    // A negative number is of another type.
    all.filter(|(value, _)| 0 <= *value).map(|(value, fits)| (value.to_string(), fits)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(default: &str, bounds: &str) -> Vec<Table> {
        let key = Key {
            name: "slots".into(),
            says: "How many.".into(),
            kind: "whole number".into(),
            default: default.into(),
            bounds: Some(bounds.into()),
            environment: Some("`SLOTS`, as a number".into()),
        };
        vec![Table { name: "projects.NAME".into(), says: String::new(), keys: vec![key] }]
    }

    fn load(text: &str, variable: Option<(&str, &str)>) -> Result<u32, String> {
        let own = text.rsplit("slots = ").next().and_then(|it| it.parse().ok()).unwrap_or(4);
        match (variable, own) {
            (Some(("SLOTS", text)), _) => Err(format!("slots: {text}")),
            (_, 1..=9) => Ok(own),
            _ => Err(format!("slots: must be 1 to 9, is {own}")),
        }
    }

    #[test]
    fn what_holds_is_not_told_and_what_does_not_is() {
        let told = |default, bounds| untrue(&table(default, bounds), "[projects.app]", load);
        assert_eq!(told("`4`", "1 to 9 slots (a few)"), [""; 0]);
        assert_eq!(told("some words, and `5`", "1 to 9 slots"), [""; 0]);
        for (default, bounds, part) in [
            ("`5`", "1 to 9 slots", "its default is said to be 5"),
            ("`4`", "1 to 8 slots", "with 9: Ok"),
            ("`4`", "2 to 9 slots", "with 1: Ok"),
            ("`4`", "1 to 10 slots", "with 10: Err"),
            ("`4`", "at least 0 slots", "with 0: Err"),
            ("`4`", "more than 1 and at most 9 slots", "with 1: Ok"),
            ("`4`", "some", "cannot be read"),
        ] {
            let told = told(default, bounds);
            assert!(told.iter().any(|line| line.contains(part)), "{default} {bounds}: {told:?}");
        }
    }

    #[test]
    fn a_variable_that_changes_nothing_is_told() {
        let deaf = |text: &str, _: Option<(&str, &str)>| load(text, None);
        let told = untrue(&table("`4`", "1 to 9 slots"), "[projects.app]", deaf);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("the variable Some(\"SLOTS\") makes no difference"), "{told:?}");
    }
}
