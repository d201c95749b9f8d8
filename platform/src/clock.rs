//! The time of day, for whoever stands at the edge. Decisions get it as an argument.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970, by the wall clock. For rows and logs; nothing that must be safe
/// relies on it running forward.
#[expect(clippy::disallowed_methods, reason = "this is the one clock")]
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
