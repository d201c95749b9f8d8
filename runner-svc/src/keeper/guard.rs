//! The guard: takes the spool, starts the keeper, and outlives it by as long as it takes to end
//! whatever the keeper left.
//!
//! It does nothing while all is well: it waits for its one child. As a subreaper it inherits claude
//! and everything below when the keeper is killed, so nothing of a run can outlive both the lock
//! and the record that says so.
//!
//! It never touches claude while the keeper lives.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, WaitOptions, WaitStatus, getpid, set_child_subreaper, setsid, wait};

use super::Verdict;
use super::procs::{boot_id, kill_marked, stop_descendants};
use super::record::{CLOSED, EXIT, Ending, LOCK, USED, write_whole};

/// How often a taken lock is tried again. A runner that only looks whether a keeper lives holds the
/// lock for an instant; a keeper holds it for ever.
const LOCK_TRIES: u32 = 20;
/// The pause between two tries: one second in all.
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// Guards a spool until nothing of its run is left.
pub(super) fn guard(spool: &Path) -> Verdict {
    // Fails only for a group leader, which a child of the pane's process is not; then a lost
    // terminal could end it, and the keeper would clean up.
    let _ = setsid();
    let lock = match take(spool) {
        Ok(lock) => lock,
        Err(verdict) => return verdict,
    };
    if set_child_subreaper(Some(getpid())).is_err() {
        return Verdict::Trouble;
    }
    if write_whole(spool, USED, format!("guard={}\nboot={}\n", getpid(), boot_id()).as_bytes())
        .is_err()
    {
        return Verdict::Trouble;
    }
    let ending = match start_keeper(spool, &lock) {
        Ok((keeper, life)) => {
            let status = wait_for(keeper);
            drop(life);
            stop_descendants();
            Ending::KeeperDied(describe(status))
        }
        Err(error) => Ending::NotStarted(format!("the keeper does not start: {error}")),
    };
    leave(spool, &ending)
}

/// Takes the lock and finds out whether there is work for a keeper.
fn take(spool: &Path) -> Result<File, Verdict> {
    let lock = OpenOptions::new()
        .read(true)
        .write(true)
        .open(spool.join(LOCK))
        .map_err(|_| Verdict::NoSpool)?;
    let mut tries = 1;
    while flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        if LOCK_TRIES <= tries {
            return Err(Verdict::Taken);
        }
        tries += 1;
        thread::sleep(LOCK_PAUSE);
    }
    if spool.join(CLOSED).exists() {
        return Err(Verdict::Closed);
    }
    if spool.join(USED).exists() {
        // Guard and keeper of an earlier start were killed together. A spool has one claude.
        let left = spool.file_name().map_or(Ok(()), kill_marked);
        if left.is_ok() {
            leave(spool, &Ending::KeeperDied("guard and keeper were killed".into()));
        }
        return Err(Verdict::Used);
    }
    Ok(lock)
}

/// Starts the keeper with the lock as its stdin and the guard's life line as its stdout: only
/// descriptors 0 to 2 can be handed on and taken up without `unsafe`.
#[expect(clippy::disallowed_methods, reason = "the guard starts the keeper")]
fn start_keeper(spool: &Path, lock: &File) -> io::Result<(Pid, io::PipeWriter)> {
    let (ends_with_us, life) = io::pipe()?;
    let keeper = Command::new(super::OURSELVES)
        .arg0(super::Stage::Keeper.name())
        .arg("keep")
        .arg(spool)
        .stdin(Stdio::from(lock.try_clone()?))
        .stdout(Stdio::from(ends_with_us))
        .stderr(Stdio::null())
        .spawn()?;
    Ok((Pid::from_child(&keeper), life))
}

/// Waits until the keeper has ended. What else is reaped here is of no interest.
fn wait_for(keeper: Pid) -> Option<WaitStatus> {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == keeper => return Some(status),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return None,
        }
    }
}

fn describe(status: Option<WaitStatus>) -> String {
    let signal = status.and_then(WaitStatus::terminating_signal);
    let code = status.and_then(WaitStatus::exit_status);
    match (signal, code) {
        (Some(signal), _) => format!("the keeper was killed by signal {signal}"),
        (None, Some(code)) => format!("the keeper ended with code {code}"),
        (None, None) => "the keeper is gone".to_owned(),
    }
}

/// Sees to it that there is an exit record: the keeper's own, if it came to write it.
fn leave(spool: &Path, ending: &Ending) -> Verdict {
    let mut patience = super::outlet::Patience::new();
    while !spool.join(EXIT).exists() {
        match write_whole(spool, EXIT, ending.to_string().as_bytes()) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Verdict::NoSpool,
            Err(_) => thread::sleep(patience.next()),
        }
    }
    Verdict::Done
}
