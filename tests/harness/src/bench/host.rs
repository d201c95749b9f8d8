//! The machine, as far as figures depend on it, and what its processes use: read from `/proc`.
//!
//! It names no path and no host.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

/// What the figures of a run depend on.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    /// Processors that may be used.
    pub(crate) cores: usize,
    /// Memory in GiB.
    pub(crate) memory_gib: u64,
    /// The kernel's version.
    pub(crate) kernel: String,
    /// How many processes wanted a processor in the last minute, before the first figure.
    pub(crate) load: String,
}

impl Host {
    /// Looks.
    ///
    /// # Errors
    ///
    /// Where there is no `/proc`.
    pub(crate) fn look() -> Result<Self> {
        let read =
            |file: &str| fs::read_to_string(file).with_context(|| format!("cannot read {file}"));
        let memory = field(&read("/proc/meminfo")?, "MemTotal:");
        let first = |text: String| text.split(' ').next().unwrap_or_default().trim().to_owned();
        Ok(Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gib: (memory + 512 * 1024) / (1024 * 1024),
            kernel: first(read("/proc/sys/kernel/osrelease")?),
            load: first(read("/proc/loadavg")?),
        })
    }
}

/// The number behind a name, in `/proc`'s kilobytes; 0 where there is none.
fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

/// What a process has in memory, in MB (10^6 bytes); 0 when it is gone.
pub(crate) fn resident_mb(pid: u32) -> f64 {
    let status = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status"));
    let kib = field(&status.unwrap_or_default(), "VmRSS:");
    f64::from(u32::try_from(kib).unwrap_or(u32::MAX)) * 1024.0 / 1e6
}

/// The processor time that a process has used, with the children that it waited for, in
/// milliseconds; 0 when it is gone.
pub(crate) fn used_ms(pid: u32) -> f64 {
    let stat = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"));
    f64::from(ticks(&stat.unwrap_or_default())) * 1000.0 / TICKS_A_SECOND
}

/// Linux tells times in hundredths of a second, whatever its own clock is (`USER_HZ`).
const TICKS_A_SECOND: f64 = 100.0;

/// User and system time of a process and of its children, out of its `stat`.
fn ticks(stat: &str) -> u32 {
    // The name may hold anything, brackets too: what is numbered begins behind the last one. There,
    // `utime`, `stime`, `cutime` and `cstime` are the 12th to 15th.
    let numbers = stat.rsplit(") ").next().unwrap_or_default().split(' ');
    numbers.skip(11).take(4).filter_map(|number| number.parse::<u32>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_a_past() {
        assert!(0.5 < resident_mb(std::process::id()));
        assert_eq!(resident_mb(u32::MAX).to_string(), "0");
        assert_eq!(ticks("7 (a) b) R 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15"), 11 + 12 + 13 + 14);
        assert_eq!(field("VmPeak: 1 kB\nVmRSS:\t  2048 kB\n", "VmRSS:"), 2048);
    }
}
