//! `runner-svc keep DIR`: claude's parent, which outlives the runner service.
//!
//! ```text
//! tmux server
//!  └─ pane     runner-svc keep DIR   what tmux shows; waits, and may die with tmux at any time
//!      └─ guard    own session, subreaper, holds the lock; waits for the keeper
//!          └─ keeper   subreaper, holds the lock; the one poll loop        ◄── in/, bell
//!              └─ claude   leader of its own group; three pipes            ──► journal, stderr
//!                  └─ whatever claude starts, in any session or group
//! ```
//!
//! All four are this program; `ps` tells them apart by name ([`Stage::name`]). Who dies is survived
//! by somebody who cleans up:
//!
//! * the *runner*, the *pane*, the *tmux server*: nobody else notices. The guard has a session of its
//!   own, so the hang-up of the pane's terminal does not reach it.
//! * *claude*: the keeper ends whatever claude left, empties its pipes, writes the exit record.
//! * the *keeper*: its children become the guard's, which ends them all and writes the record.
//! * the *guard*: the keeper sees its life line break, ends claude and writes the record.
//! * *guard and keeper in one instant*: claude's pipes break. Whoever takes the lock next ends what is
//!   left, which it finds by the mark in its environment, before the attempt counts as dead.
//!
//! The lock belongs to an open file that guard and keeper share and claude does not get, so a free
//! lock says that both are gone: with the exit record, that nothing of claude is left. Each spool
//! sees one claude: the first guard marks it as used.
//!
//! Standard library and `rustix` only, one thread each, a few buffers of 64 KiB. It never talks to
//! NATS, never reads a line that claude says, and never starts claude a second time.

mod guard;
mod inbox;
pub(crate) mod lease;
mod outlet;
pub(crate) mod procs;
pub(crate) mod record;
pub(crate) mod stop;
mod tend;

use std::ffi::OsStr;
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// This very program, even if an upgrade has put another one in its place.
const OURSELVES: &str = "/proc/self/exe";

/// Which of the processes in the picture this one is: its `argv[0]` says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The one that tmux starts, under whatever name.
    Pane,
    /// The keeper's parent.
    Guard,
    /// Claude's parent.
    Keeper,
}

impl Stage {
    fn name(self) -> &'static str {
        match self {
            Stage::Pane => "holdfast-pane",
            Stage::Guard => "holdfast-guard",
            Stage::Keeper => "holdfast-keeper",
        }
    }

    fn of(name: Option<&OsStr>) -> Self {
        let is = |stage: Stage| name == Some(OsStr::new(stage.name()));
        if is(Stage::Keeper) {
            Stage::Keeper
        } else if is(Stage::Guard) {
            Stage::Guard
        } else {
            Stage::Pane
        }
    }
}

/// How `keep` ended; its exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// There is an exit record.
    Done,
    /// Something kept it from starting, and from saying so in the spool.
    Trouble,
    /// Another keeper holds the spool.
    Taken,
    /// The runner has closed the spool.
    Closed,
    /// A keeper was here before.
    Used,
    /// There is no such spool (any more).
    NoSpool,
}

impl Verdict {
    /// Every verdict.
    const ALL: [Verdict; 6] = [
        Verdict::Done,
        Verdict::Trouble,
        Verdict::Taken,
        Verdict::Closed,
        Verdict::Used,
        Verdict::NoSpool,
    ];

    fn code(self) -> u8 {
        match self {
            Verdict::Done => 0,
            Verdict::Trouble => 10,
            Verdict::Taken => 11,
            Verdict::Closed => 12,
            Verdict::Used => 13,
            Verdict::NoSpool => 14,
        }
    }

    fn message(self) -> &'static str {
        match self {
            Verdict::Done => "claude has ended; the spool holds its exit record",
            Verdict::Trouble => "the keeper could not do its work here",
            Verdict::Taken => "another keeper holds this spool",
            Verdict::Closed => "the runner has closed this spool",
            Verdict::Used => "this spool has had its keeper",
            Verdict::NoSpool => "there is no spool here",
        }
    }
}

/// Keeps the spool in `dir`: returns when its claude has ended and the exit record is written, or
/// at once when there is nothing to keep.
///
/// It must be called before anything in the process has started a thread or a runtime.
pub(crate) fn run(dir: &Path) -> ExitCode {
    let verdict = match Stage::of(std::env::args_os().next().as_deref()) {
        Stage::Pane => pane(dir),
        Stage::Guard => guard::guard(dir),
        Stage::Keeper => keeper(dir),
    };
    ExitCode::from(verdict.code())
}

/// The process that tmux sees: starts the guard, says what it is there for, and waits.
#[expect(clippy::disallowed_methods, reason = "the pane starts the guard")]
fn pane(dir: &Path) -> Verdict {
    say(&format!("holdfast keeps {}\nwhat claude does is in the other window", dir.display()));
    let guard = Command::new(OURSELVES)
        .arg0(Stage::Guard.name())
        .arg("keep")
        .arg(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let code = match guard.and_then(|mut guard| guard.wait()) {
        Ok(status) => status.code(),
        Err(error) => {
            say(&format!("the guard does not start: {error}"));
            None
        }
    };
    let verdict = Verdict::ALL
        .into_iter()
        .find(|verdict| Some(i32::from(verdict.code())) == code)
        .unwrap_or(Verdict::Trouble);
    say(verdict.message());
    verdict
}

/// A terminal that is gone is no reason to stop.
fn say(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

/// The keeper's stdin is the lock, which it holds by being alive; its stdout is the life line.
fn keeper(dir: &Path) -> Verdict {
    match tend::tend(dir, io::stdout()) {
        Ok(()) => Verdict::Done,
        Err(_) => Verdict::NoSpool,
    }
}

/// The time since boot, which counts suspend.
pub(crate) fn now() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    Duration::try_from(now).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_knows_its_own_name_and_every_other_name_is_the_pane() {
        for stage in [Stage::Pane, Stage::Guard, Stage::Keeper] {
            assert_eq!(Stage::of(Some(OsStr::new(stage.name()))), stage);
        }
        assert_eq!(Stage::of(Some(OsStr::new("/usr/bin/runner-svc"))), Stage::Pane);
        assert_eq!(Stage::of(None), Stage::Pane);
    }

    #[test]
    fn every_verdict_has_a_code_of_its_own() {
        let mut codes = Verdict::ALL.map(Verdict::code);
        codes.sort_unstable();
        assert!(codes.windows(2).all(|pair| pair[0] < pair[1]), "{codes:?}");
    }

    #[test]
    fn the_clock_since_boot_goes() {
        assert!(Duration::ZERO < now());
    }
}
