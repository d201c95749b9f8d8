//! Samples of one thing, and their percentiles: all are kept and sorted, none is estimated.
//!
//! Also the clock that they are taken by, which claude-sim's ledger has as well.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds since the machine started: comparable between processes.
pub(crate) fn now_ns() -> i64 {
    let now = clock_gettime(ClockId::Boottime);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

/// A count to reckon with.
pub(crate) fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// How long something took, again and again, in milliseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    /// Takes one more, from one moment to another.
    pub(crate) fn between(&mut self, from_ns: i64, to_ns: i64) {
        let nanoseconds = u64::try_from(to_ns - from_ns).unwrap_or(0);
        self.0.push(Duration::from_nanos(nanoseconds).as_secs_f64() * 1e3);
    }

    /// Takes one more, from a moment until now.
    pub(crate) fn since(&mut self, from_ns: i64) {
        self.between(from_ns, now_ns());
    }

    /// Takes these, too.
    pub(crate) fn add(&mut self, more: Self) {
        self.0.extend(more.0);
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The sample that this share of all of them does not exceed (nearest rank); 0 without samples.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (sorted.len() * percent).div_ceil(100).max(1);
        sorted.get(rank - 1).copied().unwrap_or_default()
    }

    /// The largest.
    pub(crate) fn most(&self) -> f64 {
        self.percentile(100)
    }

    /// The one in the middle.
    pub(crate) fn median(&self) -> f64 {
        self.percentile(50)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_samples() {
        let samples = Samples((1..=200).rev().map(f64::from).collect());
        let found = [0, 50, 95, 99, 100].map(|percent| samples.percentile(percent).to_string());
        assert_eq!(found, ["1", "100", "190", "198", "200"]);
        assert_eq!(Samples(vec![3.0]).percentile(99).to_string(), "3");
        assert_eq!(Samples::default().median().to_string(), "0");
    }

    #[test]
    fn a_sample_is_in_milliseconds() {
        let mut samples = Samples::default();
        samples.between(1_000_000, 3_500_000);
        assert_eq!(samples.median().to_string(), "2.5");
        samples.between(0, 60_000_000_000);
        assert_eq!(samples.percentile(100).to_string(), "60000");
    }
}
