//! The time of day, for whoever stands at the edge, and whether the clocks of others agree with it. Decisions
//! get it as an argument.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970, by the wall clock. For rows and logs; nothing that must be safe
/// relies on it running forward.
#[expect(clippy::disallowed_methods, reason = "this is the one clock")]
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// How far the clocks of two programs may be apart. Leases of gateways on one store are seconds long, and a
/// post takes half of one (20 s): a quarter of that is left to the clocks.
pub const APART_MAX: Duration = Duration::from_secs(5);

/// Holds another's clock against ours. `theirs` is the earliest and the latest moment that it may have meant,
/// `ours` when it was asked and when its answer was there; all in milliseconds since 1970.
///
/// # Errors
///
/// How far they are surely apart, and what to do, when that is more than [`APART_MAX`].
pub fn agree(whose: &str, theirs: (i64, i64), ours: (i64, i64)) -> Result<String, String> {
    let ahead_ms = theirs.0.saturating_sub(ours.1);
    let behind_ms = ours.0.saturating_sub(theirs.1);
    let apart_ms = ahead_ms.max(behind_ms);
    let max_ms = i64::try_from(APART_MAX.as_millis()).unwrap_or(i64::MAX);
    if apart_ms <= max_ms {
        return Ok(format!("agrees with that of {whose}"));
    }
    let (seconds, borne) = (apart_ms / 1000, APART_MAX.as_secs());
    let how = if behind_ms < ahead_ms { "ahead of" } else { "behind" };
    Err(format!(
        "the clock of {whose} is {seconds} s {how} that of this host; set both by NTP, {borne} s are \
         borne"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_agree_within_the_time_that_asking_took_and_some_seconds() {
        let ours = (100_000, 103_000);
        for theirs in [95_000, 100_000, 103_000, 108_000] {
            assert!(agree("NATS", (theirs, theirs), ours).is_ok(), "{theirs}");
        }
        let behind = agree("NATS", (94_000, 94_999), ours).unwrap_err();
        assert!(
            behind.starts_with("the clock of NATS is 5 s behind that of this host"),
            "{behind}"
        );
        let ahead = agree("Discord", (120_000, 120_999), ours).unwrap_err();
        assert!(ahead.starts_with("the clock of Discord is 17 s ahead of that"), "{ahead}");
    }
}
