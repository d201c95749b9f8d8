//! What is said of each key of a configuration file, out of the types that read it.
//!
//! The written form of a file derives [`JsonSchema`], so that the comment of a key is at hand. It has
//! sentences for whoever writes the file, then an empty line, then one line each:
//!
//! * `Default:` a value of TOML in backticks, or words. Every key has it.
//! * `Bounds:` of every number, with its unit: `1 to 9 pages`, `at least 1 second`, `more than 0 and at
//!   most 9 US dollars`; what follows in brackets explains it.
//! * `Environment:` the variable that wins over the file, in backticks.
//! * `Type:` where the type of the field tells nothing.
//!
//! What lacks a line is named, and nothing is made of the rest. [`untrue`] holds what is said against what
//! a service makes of it, and [`wrong_in_example`] against the example. Never reads a file.

mod example;
mod untrue;

use std::fmt;

use schemars::{JsonSchema, Schema, schema_for};
use serde_json::{Map, Value};

pub use example::wrong_in_example;
pub use untrue::untrue;

/// A table of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name, with dots; empty: the top of the file. `NAME` stands for a name of the reader's,
    /// `[]` behind it says that there may be several.
    pub name: String,
    /// What it is for.
    pub says: String,
    /// Its keys, in order of their names, without those that are tables.
    pub keys: Vec<Key>,
}

/// A key and its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its name.
    pub name: String,
    /// What it says.
    pub says: String,
    /// Of which type its value is, in words.
    pub kind: String,
    /// What holds without it: a value in backticks, or words.
    pub default: String,
    /// Between what a number lies, with its unit.
    pub bounds: Option<String>,
    /// The variable that wins over it.
    pub environment: Option<String>,
}

/// The keys that lack a line of their comment, and which.
#[derive(Debug, PartialEq, Eq)]
pub struct Undescribed(Vec<String>);

impl fmt::Display for Undescribed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "keys of the configuration lack lines in their comments:\n  {}",
            self.0.join("\n  ")
        )
    }
}

impl std::error::Error for Undescribed {}

/// The tables of a file, the top first.
///
/// # Errors
///
/// [`Undescribed`] names all that is missing.
pub fn tables<T: JsonSchema>() -> Result<Vec<Table>, Undescribed> {
    let schema = schema_for!(T);
    let none = Map::new();
    let defs = schema.get("$defs").and_then(Value::as_object).unwrap_or(&none);
    let mut walk = Walk { defs, tables: Vec::new(), lacks: Vec::new() };
    walk.table(String::new(), String::new(), schema.as_value());
    if walk.lacks.is_empty() { Ok(walk.tables) } else { Err(Undescribed(walk.lacks)) }
}

/// Puts the keys of another type among those of a schema. serde knows of no unknown key where a table is
/// flattened, so a file repeats such fields; what is said of them stands in one place.
pub fn join<T: JsonSchema>(schema: &mut Schema) {
    let others = schema_for!(T);
    let others = others.get("properties").and_then(Value::as_object).cloned();
    let own = schema.ensure_object().entry("properties").or_insert_with(|| Map::new().into());
    if let (Value::Object(own), Some(others)) = (own, others) {
        own.extend(others);
    }
}

/// The tables as a part of a page in Markdown.
pub fn page(tables: &[Table]) -> String {
    let mut parts = Vec::new();
    for table in tables {
        parts.push(match table.name.as_str() {
            "" => "### The top".to_owned(),
            name => format!("### `[{name}]`"),
        });
        parts.extend((!table.says.is_empty()).then(|| table.says.clone()));
        if !table.keys.is_empty() {
            let head = "| key | what it says | value | without it | variable over it |\n\
                        |---|---|---|---|---|";
            let rows = table.keys.iter().map(row);
            let lines: Vec<String> = std::iter::once(head.to_owned()).chain(rows).collect();
            parts.push(lines.join("\n"));
        }
    }
    parts.join("\n\n")
}

/// The row of a key.
fn row(key: &Key) -> String {
    let Key { name, says, kind, default, bounds, environment } = key;
    let bounds = bounds.as_ref().map(|it| format!(": {it}")).unwrap_or_default();
    let over = environment.as_deref().unwrap_or_default();
    let cells = [&format!("`{name}`"), says, &format!("{kind}{bounds}"), default, over];
    format!("| {} |", cells.map(|cell| cell.replace('|', "\\|")).join(" | "))
}

/// A way through a schema.
struct Walk<'a> {
    defs: &'a Map<String, Value>,
    tables: Vec<Table>,
    lacks: Vec<String>,
}

/// What stands behind a key.
enum Shape<'a> {
    /// A table of its own, with what is put behind its name.
    Table(&'static str, &'a Value),
    /// A value, of this type where that tells anything.
    Value(Option<String>),
}

impl<'a> Walk<'a> {
    fn table(&mut self, name: String, says: String, schema: &'a Value) {
        let at = |key: &str| if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") };
        let mut below = Vec::new();
        let mut keys = Vec::new();
        for (key, property) in properties(schema) {
            let (says, lines) = lines(property);
            if says.is_empty() {
                self.lacks.push(format!("{}: what it says", at(key)));
            }
            match self.shape(property) {
                Shape::Table(behind, inner) => below.push((at(key) + behind, says, inner)),
                Shape::Value(kind) => {
                    let taken = self.key(&at(key), kind, &lines);
                    keys.extend(taken.map(|taken| Key { name: key.clone(), says, ..taken }));
                }
            }
        }
        self.tables.push(Table { name, says, keys });
        for (name, says, inner) in below {
            self.table(name, says, inner);
        }
    }

    /// The lines of a key, or `None` where one is missing.
    fn key(&mut self, at: &str, kind: Option<String>, lines: &[(&str, String)]) -> Option<Key> {
        let line = |name: &str| {
            let found = lines.iter().find(|(found, _)| *found == name);
            found.map(|(_, text)| text.clone())
        };
        let is_number = kind.as_deref().is_some_and(|kind| kind.ends_with("number"));
        let (kind, default, bounds) = (line("Type").or(kind), line("Default"), line("Bounds"));
        for (is_missing, name) in [
            (kind.is_none(), "Type"),
            (default.is_none(), "Default"),
            (is_number && bounds.is_none(), "Bounds"),
        ] {
            if is_missing {
                self.lacks.push(format!("{at}: a line `{name}: …`"));
            }
        }
        let (kind, default) = (kind?, default?);
        let environment = line("Environment");
        Some(Key { name: String::new(), says: String::new(), kind, default, bounds, environment })
    }

    fn shape(&self, property: &'a Value) -> Shape<'a> {
        let schema = self.resolved(property);
        let is_table = |schema: &Value| schema["properties"].is_object();
        if is_table(schema) {
            return Shape::Table("", schema);
        }
        for (inner, behind) in [("additionalProperties", ".NAME"), ("items", "[]")] {
            let inner = schema.get(inner).map(|inner| self.resolved(inner));
            if let Some(inner) = inner.filter(|inner| is_table(inner)) {
                return Shape::Table(behind, inner);
            }
        }
        Shape::Value(kind(schema))
    }

    /// What a reference, or a choice between something and nothing, leads to.
    fn resolved(&self, schema: &'a Value) -> &'a Value {
        let choice = schema["anyOf"].as_array().and_then(|all| all.first());
        let schema = choice.unwrap_or(schema);
        let name = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next());
        name.and_then(|name| self.defs.get(name)).unwrap_or(schema)
    }
}

fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema["properties"].as_object().into_iter().flatten()
}

/// The sentences of a comment as one paragraph, and its lines by their names.
fn lines(property: &Value) -> (String, Vec<(&str, String)>) {
    let text = property["description"].as_str().unwrap_or_default();
    let (mut says, mut named) = (Vec::new(), Vec::new());
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match line.split_once(": ") {
            Some((name @ ("Default" | "Bounds" | "Environment" | "Type"), value)) => {
                named.push((name, value.to_owned()));
            }
            Some(_) | None => says.push(line),
        }
    }
    (says.join(" "), named)
}

/// The type of a value, in words.
fn kind(schema: &Value) -> Option<String> {
    let choices = schema["enum"].as_array().cloned().or_else(|| {
        let all = schema["oneOf"].as_array()?;
        all.iter().map(|one| one.get("const").cloned()).collect()
    });
    if let Some(choices) = choices {
        let texts: Vec<_> = choices.iter().map(|choice| format!("`{choice}`")).collect();
        return Some(texts.join(" or "));
    }
    let of = &schema["type"];
    let named = of.as_array().and_then(|all| all.iter().find(|name| *name != "null"));
    let word = match named.unwrap_or(of).as_str()? {
        "string" => "text",
        "integer" => "whole number",
        "number" => "number",
        "boolean" => "`true` or `false`",
        "array" if schema["items"]["type"] == "string" => "list of texts",
        "object" if schema["additionalProperties"]["type"] == "string" => "table of texts",
        _ => return None,
    };
    Some(word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "its schema alone is looked at")]
    struct File {
        /// How many.
        /// Of all.
        ///
        /// Default: `4`
        /// Bounds: 1 to 9 slots (a few)
        /// Environment: `SLOTS`
        slots: Option<u16>,
        /// The rooms.
        #[serde(default)]
        rooms: BTreeMap<String, Room>,
    }

    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "its schema alone is looked at")]
    struct Room {
        /// Who is in | out.
        ///
        /// Type: a word, or a list
        /// Default: none
        who: Option<Value>,
        /// Its doors.
        doors: Vec<Door>,
    }

    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "its schema alone is looked at")]
    struct Door {
        /// Whether it is shut.
        ///
        /// Default: `false`
        shut: bool,
    }

    #[test]
    fn tables_within_tables_have_their_keys() {
        let tables = tables::<File>().unwrap();
        let names: Vec<_> = tables.iter().map(|table| table.name.as_str()).collect();
        assert_eq!(names, ["", "rooms.NAME", "rooms.NAME.doors[]"]);
        assert_eq!(tables[1].says, "The rooms.");
        let slots = &tables[0].keys[0];
        assert_eq!((&*slots.says, &*slots.kind), ("How many. Of all.", "whole number"));
        assert_eq!((&*slots.default, slots.environment.as_deref()), ("`4`", Some("`SLOTS`")));
        let page = page(&tables);
        let row =
            "| `slots` | How many. Of all. | whole number: 1 to 9 slots (a few) | `4` | `SLOTS` |";
        assert!(page.contains(row), "{page}");
        assert!(page.contains("Who is in \\| out. | a word, or a list | none |  |"), "{page}");
        assert!(page.contains("### `[rooms.NAME.doors[]]`"), "{page}");
    }

    #[test]
    fn a_key_without_its_lines_is_named_with_what_it_lacks() {
        #[derive(JsonSchema)]
        #[expect(dead_code, reason = "its schema alone is looked at")]
        struct Bare {
            /// How long.
            ///
            /// Default: `1`
            time_s: u64,
            who: Option<Value>,
            table: Door,
        }
        let error = tables::<Bare>().unwrap_err().to_string();
        for lack in [
            "time_s: a line `Bounds: …`",
            "who: what it says",
            "who: a line `Type: …`",
            "who: a line `Default: …`",
            "table: what it says",
        ] {
            assert!(error.contains(lack), "{lack} is not in\n{error}");
        }
        assert!(!error.contains("shut"), "{error}");
    }

    #[test]
    fn the_keys_of_another_type_come_among_ones_own() {
        #[derive(JsonSchema)]
        #[schemars(transform = join::<Door>)]
        #[expect(dead_code, reason = "its schema alone is looked at")]
        struct Own {
            #[schemars(skip)]
            shut: bool,
            /// Mine.
            ///
            /// Default: none
            mine: Option<String>,
        }
        let tables = tables::<Own>().unwrap();
        let names: Vec<_> = tables[0].keys.iter().map(|key| key.name.as_str()).collect();
        assert_eq!(names, ["mine", "shut"]);
        assert_eq!(tables[0].keys[1].says, "Whether it is shut.");
    }
}
