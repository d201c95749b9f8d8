//! Versions as programs print them.
//!
//! Each tool has its own way to say it (`tmux 3.3a`, `nats-server: v2.15.1`), so the first thing
//! that looks like a version counts. Letters behind the numbers are ignored.

use std::fmt;

/// Three numbers, compared in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    major: u32,
    minor: u32,
    patch: u32,
}

impl Version {
    pub(crate) const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self { major, minor, patch }
    }

    /// The first version in what a program printed.
    pub(crate) fn find_in(text: &str) -> Option<Self> {
        text.split_whitespace().find_map(Self::from_word)
    }

    /// `v2.15.1`, `3.3a` and `next-3.6` are versions; `8` is a number.
    fn from_word(word: &str) -> Option<Self> {
        let digits = word.trim_start_matches(|c: char| !c.is_ascii_digit());
        let mut numbers = digits.split('.').map_while(leading_number);
        let (major, minor) = (numbers.next()?, numbers.next()?);
        Some(Self::new(major, minor, numbers.next().unwrap_or(0)))
    }
}

fn leading_number(text: &str) -> Option<u32> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_found_in_what_each_tool_prints() {
        for (text, version) in [
            ("nats-server: v2.15.1", Version::new(2, 15, 1)),
            ("tmux 3.3a", Version::new(3, 3, 0)),
            ("tmux next-3.6", Version::new(3, 6, 0)),
            ("git version 2.47.3", Version::new(2, 47, 3)),
            ("git version 2.39.5 (Apple Git-154)", Version::new(2, 39, 5)),
            ("2.1.330 (Claude Code)", Version::new(2, 1, 330)),
            ("cargo-nextest 0.9.143 (60fa45f63 2026-08-04)", Version::new(0, 9, 143)),
            ("2.16.0-RC.1", Version::new(2, 16, 0)),
        ] {
            assert_eq!(Version::find_in(text), Some(version), "{text}");
        }
    }

    #[test]
    fn what_has_no_version_has_none() {
        for text in ["", "usage: tmux", "release 8", "99999999999.1"] {
            assert_eq!(Version::find_in(text), None, "{text}");
        }
    }

    #[test]
    fn versions_compare_by_number_not_by_text() {
        assert!(Version::new(2, 9, 10) < Version::new(2, 15, 1));
        assert!(Version::new(2, 15, 1) <= Version::new(2, 15, 1));
    }
}
