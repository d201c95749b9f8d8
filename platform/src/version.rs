//! Versions of programs, as they say them, and as they are compared: `2.15.1`, with whatever stands behind.

/// The three numbers of a version; what stands behind them does not count. `None`: it is none.
pub fn parse(text: &str) -> Option<(u64, u64, u64)> {
    let core = text.split_once(['-', '+', ' ']).map_or(text, |(core, _)| core);
    let mut parts = core.split('.').map(str::parse::<u64>);
    Some((parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?))
}

/// Whether a version is not known, or older than what is needed.
pub fn is_older(text: &str, needed: (u64, u64, u64)) -> bool {
    parse(text).is_none_or(|found| found < needed)
}

/// A version for a person.
pub fn shown((major, minor, patch): (u64, u64, u64)) -> String {
    format!("{major}.{minor}.{patch}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_compared_by_its_numbers() {
        assert_eq!(parse("2.15.1"), Some((2, 15, 1)));
        assert_eq!(parse("2.15.0-RC.1"), Some((2, 15, 0)));
        assert_eq!(parse("2.1.330 (Claude Code)"), Some((2, 1, 330)));
        assert_eq!((parse("2.15"), parse("")), (None, None));
        assert!(is_older("2.9.20", (2, 15, 1)) && is_older("new", (0, 1, 0)));
        assert!(!is_older("2.15.1", (2, 15, 1)) && !is_older("10.0.0", (2, 15, 1)));
        assert_eq!(shown((2, 15, 1)), "2.15.1");
    }
}
