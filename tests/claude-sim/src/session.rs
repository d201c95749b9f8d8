//! Sessions on disk, where the real one keeps them:
//! `<config>/projects/<directory, each odd character as ->/<session>.jsonl`.
//!
//! Only what is needed to go on is written: the person's lines, claude's messages, the cost.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use thiserror::Error;
use uuid::Uuid;

use crate::clock;

/// A session that cannot be opened.
#[derive(Debug, Error)]
pub(crate) enum SessionError {
    #[error("Error: Session ID {0} is already in use.")]
    InUse(Uuid),
    #[error("No conversation found with session ID: {0}")]
    Unknown(Uuid),
    #[error("cannot use {path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
}

/// What an earlier part of a session left.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct History {
    /// What the person said, oldest first.
    pub(crate) earlier: Vec<String>,
    /// The lines that something followed: sent again, they are swallowed.
    pub(crate) settled: HashSet<String>,
    /// How many tools were called.
    pub(crate) tools: usize,
    /// What it has cost.
    pub(crate) cost: f64,
}

/// An open session.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: Uuid,
    path: PathBuf,
    cwd: PathBuf,
    file: Option<File>,
}

/// The name of a directory's folder under `projects`.
pub(crate) fn encode(cwd: &Path) -> String {
    cwd.to_string_lossy().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect()
}

impl Session {
    /// A new session; nothing is written before its first line.
    pub(crate) fn create(config: &Path, cwd: &Path, id: Uuid) -> Result<Self, SessionError> {
        let path = config.join("projects").join(encode(cwd)).join(format!("{id}.jsonl"));
        if path.exists() {
            return Err(SessionError::InUse(id));
        }
        Ok(Self { id, path, cwd: cwd.to_owned(), file: None })
    }

    /// An earlier session, of this directory or any other.
    pub(crate) fn resume(
        config: &Path,
        cwd: &Path,
        id: Uuid,
    ) -> Result<(Self, History), SessionError> {
        let projects = config.join("projects");
        let name = format!("{id}.jsonl");
        let here = projects.join(encode(cwd)).join(&name);
        let elsewhere = || {
            let folders = std::fs::read_dir(&projects).ok()?;
            folders.flatten().map(|folder| folder.path().join(&name)).find(|path| path.exists())
        };
        let path =
            if here.exists() { here } else { elsewhere().ok_or(SessionError::Unknown(id))? };
        let text = std::fs::read_to_string(&path)
            .map_err(|source| SessionError::Io { path: path.clone(), source })?;
        Ok((Self { id, path, cwd: cwd.to_owned(), file: None }, History::read(&text)))
    }

    /// Appends one message.
    pub(crate) fn write(
        &mut self,
        kind: &str,
        uuid: &str,
        message: &Value,
    ) -> Result<(), SessionError> {
        self.append(&json!({
            "type": kind,
            "message": message,
            "uuid": uuid,
            "timestamp": clock::timestamp(),
            "sessionId": self.id,
            "cwd": self.cwd,
            "version": crate::VERSION,
        }))
    }

    /// Notes what the session has cost so far.
    pub(crate) fn write_cost(&mut self, cost: f64) -> Result<(), SessionError> {
        self.append(&json!({"type": "cost-state", "sessionId": self.id, "totalCostUSD": cost}))
    }

    fn append(&mut self, entry: &Value) -> Result<(), SessionError> {
        let failed = |source| SessionError::Io { path: self.path.clone(), source };
        if self.file.is_none() {
            if let Some(folder) = self.path.parent() {
                std::fs::create_dir_all(folder).map_err(failed)?;
            }
            let file =
                OpenOptions::new().create(true).append(true).open(&self.path).map_err(failed)?;
            self.file = Some(file);
        }
        match &mut self.file {
            Some(file) => file.write_all(format!("{entry}\n").as_bytes()).map_err(failed),
            None => Ok(()),
        }
    }
}

impl History {
    /// Reads a transcript; a last line that was cut is skipped.
    fn read(text: &str) -> Self {
        let mut history = Self::default();
        // The last message, as long as nothing follows it.
        let mut open: Option<String> = None;
        for entry in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            let kind = entry["type"].as_str().unwrap_or_default();
            match kind {
                "user" | "assistant" => {
                    history.settled.extend(open.take());
                    open = entry["uuid"].as_str().map(str::to_owned);
                    history.tools += entry["message"]["content"].as_array().map_or(0, |blocks| {
                        blocks.iter().filter(|block| block["type"] == "tool_use").count()
                    });
                    if kind == "user" {
                        history.earlier.extend(said(&entry["message"]["content"]));
                    }
                }
                "cost-state" => {
                    history.cost = entry["totalCostUSD"].as_f64().unwrap_or(history.cost);
                }
                _ => {}
            }
        }
        history
    }
}

/// The words of a person in a message, if there are any.
fn said(content: &Value) -> Option<String> {
    let blocks = content.as_array().map(Vec::as_slice).unwrap_or_default();
    let last = blocks
        .iter()
        .rev()
        .find(|block| block["type"] == "text")
        .and_then(|block| block["text"].as_str());
    let words = content.as_str().or(last)?;
    (!words.starts_with("[Request interrupted by user")).then(|| words.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CWD: &str = "/tmp/my.project_x";

    fn text(text: &str) -> Value {
        json!({"role": "user", "content": [{"type": "text", "text": text}]})
    }

    #[test]
    fn a_directory_is_encoded_as_the_real_one_does() {
        assert_eq!(encode(Path::new(CWD)), "-tmp-my-project-x");
    }

    #[test]
    fn a_session_is_found_again_from_any_directory() {
        let config = tempfile::tempdir().unwrap();
        let id = Uuid::new_v4();
        let mut session = Session::create(config.path(), Path::new(CWD), id).unwrap();
        session.write("user", "u1", &text("first")).unwrap();
        session.write("assistant", "a1", &json!({"content": [{"type": "tool_use"}]})).unwrap();
        session.write_cost(0.5).unwrap();
        session.write("user", "u2", &text("second")).unwrap();
        for cwd in [CWD, "/elsewhere"] {
            let (_, history) = Session::resume(config.path(), Path::new(cwd), id).unwrap();
            assert_eq!(history.earlier, ["first", "second"]);
            assert_eq!((history.tools, history.cost), (1, 0.5));
            assert!(history.settled.contains("u1") && !history.settled.contains("u2"));
        }
    }

    #[test]
    fn an_id_is_new_until_something_was_written() {
        let config = tempfile::tempdir().unwrap();
        let id = Uuid::new_v4();
        let mut session = Session::create(config.path(), Path::new(CWD), id).unwrap();
        assert!(Session::create(config.path(), Path::new(CWD), id).is_ok());
        session.write("user", "u1", &text("first")).unwrap();
        let error = Session::create(config.path(), Path::new(CWD), id).unwrap_err();
        assert_eq!(error.to_string(), format!("Error: Session ID {id} is already in use."));
    }

    #[test]
    fn an_unknown_session_is_told_in_the_words_of_the_real_one() {
        let config = tempfile::tempdir().unwrap();
        let id = Uuid::new_v4();
        let error = Session::resume(config.path(), Path::new(CWD), id).unwrap_err();
        assert_eq!(error.to_string(), format!("No conversation found with session ID: {id}"));
    }

    #[test]
    fn a_cut_line_and_an_interruption_are_not_words() {
        let interrupted =
            json!({"type": "user", "uuid": "i", "message": text("[Request interrupted by user]")});
        let said = json!({"type": "user", "uuid": "u", "message": text("hi")});
        let history = History::read(&format!("{said}\n{interrupted}\n{{\"type\":\"us"));
        assert_eq!(history.earlier, ["hi"]);
        assert!(history.settled.contains("u"));
    }
}
