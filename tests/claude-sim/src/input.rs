//! stdin: one line of JSON → what the host says.
//!
//! A thread reads, because a turn must hear an interruption while it waits. The thread ends with
//! stdin or with the process.

use std::io::BufRead as _;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How many lines are read ahead; a host that writes more waits in its pipe, as with the real one.
const LINES_AHEAD: usize = 256;

/// One thing that the host says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Said {
    /// A prompt.
    User(Line),
    /// A request to us.
    Request {
        /// Its id.
        id: String,
        /// What it wants.
        request: Value,
    },
    /// The answer to a request of ours: the whole line.
    Response(Value),
    /// A kind of line that is ignored.
    Unknown,
    /// Not a line of JSON; how many characters it had.
    Broken(usize),
}

/// A prompt.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Line {
    /// Its uuid, if the host gave one.
    pub(crate) uuid: Option<String>,
    /// `message`, as it came.
    pub(crate) message: Value,
    /// Its words: the last block of text.
    pub(crate) text: String,
}

/// What is heard from stdin.
#[derive(Debug)]
pub(crate) struct Input {
    lines: Receiver<Said>,
    ended: bool,
}

/// What comes next.
#[derive(Debug, PartialEq)]
pub(crate) enum Next {
    /// This.
    Said(Said),
    /// Nothing within the time.
    Nothing,
    /// Nothing ever: stdin has ended.
    End,
}

impl Input {
    /// Begins to listen.
    pub(crate) fn listen() -> std::io::Result<Self> {
        let (tell, lines) = sync_channel(LINES_AHEAD);
        std::thread::Builder::new().name("stdin".to_owned()).spawn(move || {
            for line in std::io::stdin().lock().split(b'\n') {
                let Ok(line) = line else { return };
                let said = (!line.is_empty()).then(|| read(&line));
                if said.is_some_and(|said| tell.send(said).is_err()) {
                    return;
                }
            }
        })?;
        Ok(Self { lines, ended: false })
    }

    /// Waits for the next line.
    pub(crate) fn next(&mut self) -> Next {
        if let Ok(said) = self.lines.recv() {
            return Next::Said(said);
        }
        self.ended = true;
        Next::End
    }

    /// Waits for the next line until `deadline`.
    pub(crate) fn next_until(&mut self, deadline: Instant) -> Next {
        let left = deadline.saturating_duration_since(Instant::now());
        if self.ended {
            std::thread::sleep(left);
            return Next::Nothing;
        }
        match self.lines.recv_timeout(left) {
            Ok(said) => Next::Said(said),
            Err(RecvTimeoutError::Timeout) => Next::Nothing,
            Err(RecvTimeoutError::Disconnected) => {
                self.ended = true;
                Next::End
            }
        }
    }

    /// What was already said, without waiting.
    pub(crate) fn heard(&mut self) -> Next {
        if self.ended { Next::Nothing } else { self.next_until(Instant::now() + Duration::ZERO) }
    }

    /// True once stdin has ended.
    pub(crate) fn ended(&self) -> bool {
        self.ended
    }
}

/// Reads one line.
fn read(line: &[u8]) -> Said {
    let Ok(value) = serde_json::from_slice::<Value>(line) else { return Said::Broken(line.len()) };
    match value["type"].as_str() {
        Some("user") => Said::User(Line {
            uuid: value["uuid"].as_str().map(str::to_owned),
            text: words(&value["message"]["content"]),
            message: value["message"].clone(),
        }),
        Some("control_request") => Said::Request {
            id: value["request_id"].as_str().unwrap_or_default().to_owned(),
            request: value["request"].clone(),
        },
        Some("control_response") => Said::Response(value),
        _ => Said::Unknown,
    }
}

/// The words of a prompt: as `anthropic-sim` reads them, its last block of text.
fn words(content: &Value) -> String {
    let blocks = content.as_array().map(Vec::as_slice).unwrap_or_default();
    let last = blocks
        .iter()
        .rev()
        .find(|block| block["type"] == "text")
        .and_then(|block| block["text"].as_str());
    content.as_str().or(last).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_may_be_a_text_or_blocks() {
        for content in [r#""hi""#, r#"[{"type":"image"},{"type":"text","text":"hi"}]"#] {
            let line = format!(r#"{{"type":"user","uuid":"u","message":{{"content":{content}}}}}"#);
            let Said::User(line) = read(line.as_bytes()) else { panic!("a prompt") };
            assert_eq!((line.uuid.as_deref(), line.text.as_str()), (Some("u"), "hi"));
        }
    }

    #[test]
    fn what_is_no_json_is_broken() {
        assert_eq!(read(b"garbage"), Said::Broken(7));
        assert_eq!(read(br#"{"type":"keep_alive"}"#), Said::Unknown);
    }
}
