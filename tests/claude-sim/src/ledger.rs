//! The ledger: what each process did, for a checker that looks at it afterwards.
//!
//! One JSON line an event, appended with a single write, so that many processes share one file.
//! Every line has `event`, `pid`, `session` and `time_ns` (since boot); besides:
//!
//! | event | fields |
//! |---|---|
//! | `begin` | `argv`, `env` (names only), `cwd`, `resumed`, `started_ns` (the first line of `main`) |
//! | `prompt` | `uuid`, `prompt`, `steer` (said while a tool was at work), `swallowed` (known already) |
//! | `tool` | `name`, `input`: it is about to run |
//! | `wait` | `name`: a gate is not open yet |
//! | `result` | `is_error`, `result`; `total_cost_usd` (of the session) and `usage` (of the turn), as they are said |
//! | `end` | `code`; missing if it was killed |

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::clock;

/// The ledger of one process; without a file it writes nothing.
#[derive(Debug)]
pub(crate) struct Ledger {
    file: Option<File>,
    session: Uuid,
}

impl Ledger {
    /// Opens the ledger; `None` as path makes one that writes nothing.
    pub(crate) fn open(path: Option<&Path>, session: Uuid) -> std::io::Result<Self> {
        let open = |path| OpenOptions::new().create(true).append(true).open(path);
        Ok(Self { file: path.map(open).transpose()?, session })
    }

    /// Appends one event.
    pub(crate) fn note(&mut self, event: &str, fields: Value) -> std::io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let mut line = json!({
            "event": event,
            "pid": std::process::id(),
            "session": self.session,
            "time_ns": i64::try_from(clock::boot_ns()).unwrap_or(i64::MAX),
        });
        if let (Value::Object(line), Value::Object(fields)) = (&mut line, fields) {
            line.extend(fields);
        }
        file.write_all(format!("{line}\n").as_bytes())
    }
}
