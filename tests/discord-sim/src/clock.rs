//! The simulator's only source of time, which a test can move forward.
//!
//! It is the wall clock plus an offset, which may be negative at the beginning. Nonce windows, rate
//! limits, snowflakes and the life of a gateway session follow it; socket time-outs and delays do
//! not.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

/// A clock whose copies move together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clock {
    ahead_ms: Arc<AtomicI64>,
}

impl Clock {
    /// A clock that is behind the wall clock.
    pub(crate) fn behind(by: Duration) -> Self {
        Self { ahead_ms: Arc::new(AtomicI64::new(-signed(by))) }
    }

    /// Unix time in milliseconds.
    pub(crate) fn now_ms(&self) -> u64 {
        let wall = UNIX_EPOCH.elapsed().unwrap_or_default();
        millis(wall).saturating_add_signed(self.ahead_ms.load(Ordering::SeqCst))
    }

    /// Moves this clock and its copies forward.
    pub(crate) fn advance(&self, by: Duration) {
        self.ahead_ms.fetch_add(signed(by), Ordering::SeqCst);
    }
}

fn signed(duration: Duration) -> i64 {
    i64::try_from(millis(duration)).unwrap_or(i64::MAX)
}

/// A duration in whole milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Unix milliseconds as the ISO 8601 text that Discord writes.
pub(crate) fn iso8601(unix_ms: u64) -> String {
    let (days, ms) = (unix_ms / 86_400_000, unix_ms % 86_400_000);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    let micros = ms % 1000 * 1000;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}+00:00")
}

/// The Unix milliseconds of a moment in UTC as Discord writes it; none for anything else.
pub(crate) fn from_iso8601(text: &str) -> Option<u64> {
    let text = text.strip_suffix('Z').or_else(|| text.strip_suffix("+00:00"))?;
    let (date, time) = text.split_once('T')?;
    let mut date = date.splitn(3, '-').map(str::parse::<u64>);
    let [year, month, day] = [date.next()?.ok()?, date.next()?.ok()?, date.next()?.ok()?];
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut time = time.splitn(3, ':').map(str::parse::<u64>);
    let [hour, minute, second] = [time.next()?.ok()?, time.next()?.ok()?, time.next()?.ok()?];
    let ms: u64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    let known = (1970..10_000).contains(&year) && (1..=12).contains(&month);
    if !known || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = days_of(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    Some(seconds * 1000 + ms)
}

/// A date of the Gregorian calendar as days since 1970 (Howard Hinnant's `days_from_civil`).
fn days_of(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year / 400, year % 400);
    let march_month = (month + 9) % 12;
    let of_year = (153 * march_month + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Days since 1970 as a date of the Gregorian calendar (Howard Hinnant's `civil_from_days`).
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_as_discord_writes_it() {
        assert_eq!(iso8601(0), "1970-01-01T00:00:00.000000+00:00");
        assert_eq!(iso8601(951_827_696_007), "2000-02-29T12:34:56.007000+00:00");
        assert_eq!(iso8601(1_735_689_599_999), "2024-12-31T23:59:59.999000+00:00");
    }

    #[test]
    fn a_moment_that_was_written_is_read_back() {
        for moment in [0, 951_827_696_007, 1_735_689_599_999, 1_772_323_200_000] {
            assert_eq!(from_iso8601(&iso8601(moment)), Some(moment));
        }
        assert_eq!(from_iso8601("2000-02-29T12:34:56Z"), Some(951_827_696_000));
        for wrong in ["", "1700000000", "2000-02-29", "2000-13-01T00:00:00Z", "2000-02-29T12:34Z"] {
            assert_eq!(from_iso8601(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_clock_that_is_behind_can_be_brought_up() {
        let clock = Clock::behind(Duration::from_secs(3600));
        let before = Clock::default().now_ms();
        assert!(clock.now_ms() < before);
        clock.advance(Duration::from_secs(3600));
        assert!(clock.now_ms() >= before);
    }

    #[test]
    fn copies_of_a_clock_move_together() {
        let clock = Clock::default();
        let before = clock.now_ms();
        clock.clone().advance(Duration::from_secs(3600));
        assert!(clock.now_ms() >= before + 3_600_000);
    }
}
