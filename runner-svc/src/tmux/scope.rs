//! A home for tmux outside the runner's own unit of systemd.
//!
//! Whoever starts the tmux server hands on its cgroup, and systemd ends and counts by cgroup. So the
//! call that may start it goes through `systemd-run --user --scope`, which moves itself into a new
//! scope of the person's systemd and becomes tmux. A server that is there already is found as ever, and
//! the scope of that call is gone with the call.
//!
//! It never keeps a run from starting: where no scope can be made, tmux is started without one, in the
//! runner's unit, which ends nothing but the runner itself.

use std::ffi::{OsStr, OsString};
use std::process::Output;

/// Who makes the scope.
pub(super) const PROGRAM: &str = "systemd-run";

/// The variable by which it finds the person's systemd.
pub(super) const RUNTIME_DIR: &str = "XDG_RUNTIME_DIR";

/// A slice of a person's systemd in which scopes are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slice {
    name: OsString,
    runtime_dir: OsString,
}

impl Slice {
    /// The slice of this name; `None` where no systemd of a person can be asked.
    pub(super) fn new(name: Option<&OsStr>, runtime_dir: Option<&OsStr>) -> Option<Self> {
        let set = |value: Option<&OsStr>| value.filter(|it| !it.is_empty()).map(OsStr::to_owned);
        Some(Self { name: set(name)?, runtime_dir: set(runtime_dir)? })
    }

    /// The variable that the call needs beside tmux's own.
    pub(super) fn env(&self) -> (&OsStr, &OsStr) {
        (OsStr::new(RUNTIME_DIR), &self.runtime_dir)
    }

    /// The words before `tmux` and its own.
    pub(super) fn words(&self) -> Vec<OsString> {
        let mut slice = OsString::from("--slice=");
        slice.push(&self.name);
        // Scopes that end badly are forgotten all the same. A scope whose cgroup is delegated goes on
        // when the kernel ends one of its processes for its memory; otherwise systemd 253 and newer
        // would end them all, tmux and every other claude.
        let words = ["--user", "--scope", "--quiet", "--collect", "--property=Delegate=yes"];
        let mut words: Vec<OsString> = words.map(OsString::from).to_vec();
        words.extend([slice, "--description=claude of Holdfast".into(), "--".into()]);
        words
    }
}

/// Whether no scope was made, as opposed to a tmux that said no in one. systemd's words are English; tmux
/// has none that begin so.
pub(super) fn failed(output: &Output) -> bool {
    let said = String::from_utf8_lossy(&output.stderr);
    let of_systemd = ["Failed to ", "Unknown assignment", "System has not been booted"];
    !output.status.success() && of_systemd.iter().any(|it| said.trim_start().starts_with(it))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_needs_a_slice_and_a_systemd() {
        let (slice, dir) = (Some(OsStr::new("a.slice")), Some(OsStr::new("/run/user/1")));
        assert!(Slice::new(None, dir).is_none() && Slice::new(slice, None).is_none());
        assert!(Slice::new(slice, Some(OsStr::new(""))).is_none());
        let slice = Slice::new(slice, dir).unwrap();
        assert!(slice.words().contains(&"--slice=a.slice".into()));
        assert_eq!(slice.words().last().unwrap(), "--");
    }
}
