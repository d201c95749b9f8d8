//! Deaths on command: a service kills itself at a named point, just as `kill -9` would.
//!
//! A service passes a point wherever something durable has just been done, or is about to be. When
//! the variable [`VARIABLE`] names that point, the process sends itself SIGKILL there: nothing is
//! flushed and nothing is dropped, which is the only way to be dead between two given lines. It is
//! for the tests; in a build without debug assertions a point is nothing and the variable is not
//! looked at.
//!
//! The one state of a process that is global here, since a death is as well: a point is a line of
//! its own anywhere, without an argument that is handed down to it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Signal, getpid, kill_process};
use thiserror::Error;

/// The variable: `NAME`, or `NAME:N` to die at the N-th passing.
pub const VARIABLE: &str = "HOLDFAST_CRASH_AT";

/// Where this process is to die.
static ARMED: OnceLock<Armed> = OnceLock::new();

#[derive(Debug)]
struct Armed {
    name: String,
    /// How often it is still to be passed, this time included.
    left: AtomicU32,
}

/// There is no such point: the start is refused, since what was to be tried would not happen.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{VARIABLE}={at}: write NAME or NAME:N, N from 1; the names are {names}")]
pub struct NoSuchPoint {
    at: String,
    names: String,
}

/// Notes where this process is to die, before it does anything; `at` is the value of [`VARIABLE`],
/// `names` are all points of the service.
///
/// # Errors
///
/// [`NoSuchPoint`].
pub fn arm(at: Option<&str>, names: &[&str]) -> Result<(), NoSuchPoint> {
    if let Some(at) = at.filter(|_| cfg!(debug_assertions)) {
        let armed = Armed::parse(at, names)?;
        // Only the first one counts; main arms once.
        let _ = ARMED.set(armed);
    }
    Ok(())
}

/// A point. Does not return if this is where the process is to die.
#[inline]
pub fn point(name: &str) {
    if cfg!(debug_assertions) && ARMED.get().is_some_and(|armed| armed.is_due(name)) {
        die();
    }
}

fn die() -> ! {
    // It cannot fail: the process is there, and may signal itself.
    let _ = kill_process(getpid(), Signal::KILL);
    loop {
        std::thread::park();
    }
}

impl Armed {
    fn parse(at: &str, names: &[&str]) -> Result<Self, NoSuchPoint> {
        let unknown = || NoSuchPoint { at: at.to_owned(), names: names.join(", ") };
        let (name, count) = at.split_once(':').unwrap_or((at, "1"));
        let left = count.parse().ok().filter(|count| 0 < *count).ok_or_else(unknown)?;
        if !names.contains(&name) {
            return Err(unknown());
        }
        Ok(Self { name: name.to_owned(), left: AtomicU32::new(left) })
    }

    /// Passes a point, and says whether this was the passing to die at.
    fn is_due(&self, name: &str) -> bool {
        self.name == name && self.left.fetch_sub(1, Ordering::Relaxed) == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: &[&str] = &["claim.fetched", "claim.written"];

    #[test]
    fn the_passing_that_was_named_is_the_one() {
        let armed = Armed::parse("claim.written:2", NAMES).unwrap();
        let passed = ["claim.written", "claim.fetched", "claim.written", "claim.written"];
        assert_eq!(passed.map(|name| armed.is_due(name)), [false, false, true, false]);
        assert!(Armed::parse("claim.fetched", NAMES).unwrap().is_due("claim.fetched"));
    }

    #[test]
    fn a_point_that_is_not_there_is_refused_and_all_that_are_there_are_named() {
        for at in ["claim", "claim.written:0", "claim.written:x", "claim.written:1:1", ""] {
            let error = arm(Some(at), NAMES).unwrap_err().to_string();
            assert!(error.contains("claim.fetched, claim.written"), "{error}");
        }
        assert_eq!(arm(None, NAMES), Ok(()));
    }
}
