//! What a command tells a person at a terminal: tables, moments, texts without what a terminal obeys.
//!
//! Pure but for [`say`]. Columns are as wide as a terminal shows them. Nothing is cut here but what the
//! caller asks for, and nothing that others wrote reaches the terminal unclean.

use std::fmt;
use std::io::{self, Write as _};

use unicode_width::UnicodeWidthStr as _;

/// What stands between two columns.
const GAP: &str = "  ";
/// How long a day is, in seconds.
const DAY_S: i64 = 86_400;

/// Says on stdout what was asked for, as it is: line breaks are the caller's. Whoever has read enough, as
/// `head` has, is told no more, and the command goes on.
///
/// # Errors
///
/// When it cannot be written, as into a file on a full disk.
pub fn say(text: impl fmt::Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match write!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        said => said,
    }
}

/// Rows under a head, in columns.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// The head first.
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    pub fn new(head: &[&str]) -> Self {
        Self { rows: vec![head.iter().map(|&name| name.to_owned()).collect()] }
    }

    /// Adds a row: a cell for each column of the head. Every cell becomes one clean line.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| line(&cell)).collect());
    }
}

impl fmt::Display for Table {
    /// A line a row, without a line break behind the last.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row: &Vec<String>| row.get(column));
            cells.map(|cell: &String| cell.width()).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for (number, row) in self.rows.iter().enumerate() {
            let mut shown = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                shown.push_str(cell);
                shown.extend(std::iter::repeat_n(' ', width - cell.width()));
                shown.push_str(GAP);
            }
            let end = if number + 1 < self.rows.len() { "\n" } else { "" };
            write!(f, "{}{end}", shown.trim_end())?;
        }
        Ok(())
    }
}

/// Without anything that a terminal obeys; line breaks and tabs stay.
pub fn clean(text: &str) -> String {
    // Marks that turn the direction of what follows.
    let turns = |char: char| matches!(char, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars()
        .filter(|&char| char == '\n' || char == '\t' || !(char.is_control() || turns(char)))
        .collect()
}

/// The same in one line.
pub fn line(text: &str) -> String {
    clean(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A moment of UTC, given in milliseconds since 1970, as people read it: `2026-11-23 16:40:05`.
pub fn moment(ms: i64) -> String {
    let seconds = ms.div_euclid(1000);
    let of_day = seconds.rem_euclid(DAY_S);
    let (hours, minutes, seconds) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{} {hours:02}:{minutes:02}:{seconds:02}", day(ms))
}

/// The day of UTC that a moment is in: `2026-11-23`.
pub fn day(ms: i64) -> String {
    let (year, month, day) = civil(ms.div_euclid(1000).div_euclid(DAY_S));
    format!("{year:04}-{month:02}-{day:02}")
}

/// When a day of UTC began that is written as [`day`] writes it, in milliseconds since 1970; `None`: there
/// is no such day.
pub fn day_began(text: &str) -> Option<i64> {
    let mut parts = text.split('-').map(str::parse::<i64>);
    let (year, month, of_month) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
    if parts.next().is_some() || !(1970..=9999).contains(&year) {
        return None;
    }
    let days = days_to(year, month, of_month);
    let ms = days.checked_mul(DAY_S * 1000)?;
    // There is no 30th of February: it would be another day.
    (civil(days) == (year, month, of_month)).then_some(ms)
}

/// Year, month and day of a day counted from 1970-01-01 ("`civil_from_days`" of Howard Hinnant's
/// "chrono-Compatible Low-Level Date Algorithms").
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The way back ("`days_from_civil`" of the same).
fn days_to(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let from_march = if 2 < month { month - 3 } else { month + 9 };
    let of_year = (153 * from_march + 2) / 5 + day - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    era * 146_097 + of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_a_terminal_shows_them() {
        let mut table = Table::new(&["WHO", "WHAT"]);
        table.row(["日本".to_owned(), "a\u{1b}[31m b\nc".to_owned()]);
        table.row(["é".to_owned(), String::new()]);
        assert_eq!(table.to_string(), "WHO   WHAT\n日本  a[31m b c\né");
    }

    #[test]
    fn a_moment_is_told_in_utc() {
        assert_eq!(moment(0), "1970-01-01 00:00:00");
        assert_eq!(moment(1_795_452_005_999), "2026-11-23 16:40:05");
        assert_eq!(day(951_782_400_000), "2000-02-29");
    }

    #[test]
    fn a_day_begins_where_it_is_written() {
        for days in (0..40_000).step_by(17) {
            let ms = days * DAY_S * 1000;
            assert_eq!(day_began(&day(ms)), Some(ms), "{}", day(ms));
        }
        for wrong in ["", "2026", "2026-02-30", "2026-13-01", "2026-1-1-1", "x-1-1", "1969-12-31"] {
            assert_eq!(day_began(wrong), None, "{wrong}");
        }
    }
}
