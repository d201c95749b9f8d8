//! What each claude-sim did, read from the file to which all of them append.

use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

/// All that was noted so far.
#[derive(Clone, Debug, Default)]
pub struct Ledger(Vec<Noted>);

/// One thing that a claude-sim noted.
#[derive(Clone, Debug, Deserialize)]
pub struct Noted {
    /// What happened: `begin`, `prompt`, `tool`, `wait`, `result`, `end`.
    pub event: String,
    /// Which process.
    pub pid: u32,
    /// Which session.
    pub session: String,
    /// The rest.
    #[serde(flatten)]
    pub fields: Map<String, Value>,
}

impl Noted {
    /// A field that is a text; empty if there is none.
    pub fn text(&self, name: &str) -> &str {
        self.fields.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// A field that is a list of texts; empty if there is none.
    pub fn texts(&self, name: &str) -> Vec<&str> {
        let list = self.fields.get(name).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).collect()
    }
}

impl Ledger {
    /// Reads the file; a line that is being written is left for the next time.
    pub fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        Self(whole.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }

    /// Everything, in the order in which it happened.
    pub fn iter(&self) -> impl Iterator<Item = &Noted> {
        self.0.iter()
    }

    /// All events of a name, in order.
    pub fn all(&self, event: &str) -> Vec<&Noted> {
        self.0.iter().filter(|noted| noted.event == event).collect()
    }

    /// How often an event happened.
    pub fn count(&self, event: &str) -> usize {
        self.all(event).len()
    }

    /// The prompts that reached a claude, in order.
    pub fn prompts(&self) -> Vec<&str> {
        self.all("prompt").into_iter().map(|noted| noted.text("prompt")).collect()
    }
}
