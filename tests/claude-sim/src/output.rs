//! stdout: whole lines, each written and flushed at once.

use std::io::Write as _;

use serde_json::Value;

/// Prints one event.
pub(crate) fn line(event: &Value) -> std::io::Result<()> {
    raw(&event.to_string())
}

/// Prints one line of anything.
pub(crate) fn raw(text: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.write_all(b"\n")?;
    stdout.flush()
}
