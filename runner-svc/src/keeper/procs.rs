//! Finds and ends the processes that belong to a run, by `/proc`.
//!
//! Guard and keeper are subreapers: whatever claude starts, in whatever session or group, stays
//! below them in the tree, however often it forks. So "what is left of claude" is "my descendants",
//! and [`stop_descendants`] asks them to end, then ends them, until there is none. Only when guard
//! and keeper are killed in the same instant is the tree lost; then [`kill_marked`] finds what is
//! left by the mark in its environment.
//!
//! A pid is never signalled from memory: it is pinned by a pidfd and looked at again first, so a
//! pid that was given to somebody else in between is left alone.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, getpid, pidfd_open, pidfd_send_signal, wait,
};

use super::now;
use super::record::MARK;

/// How long leftovers of claude have between TERM and KILL: enough for git to take its locks away.
pub(crate) const LEFTOVER_GRACE: Duration = Duration::from_secs(2);

/// The first pause between two looks at the process table; each next one is twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(2);
/// The longest pause between two looks.
const PAUSE_MAX: Duration = Duration::from_millis(200);
/// How often [`kill_marked`] looks before it says that something does not die: 10 s in all.
const MARKED_LOOKS: u32 = 50;

/// One process, as `/proc/<pid>/stat` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Process {
    pid: Pid,
    parent: i32,
    /// It has ended, and waits to be reaped.
    ended: bool,
    /// When it started, in ticks since boot: with the pid, its identity.
    born: u64,
}

impl Process {
    /// Reads the text of a `stat` file. The name in parentheses may hold anything, so the fields
    /// are counted from the last parenthesis (proc(5), fields 3, 4 and 22).
    fn parse(text: &[u8]) -> Option<Self> {
        let close = text.iter().rposition(|byte| *byte == b')')?;
        let open = text.iter().position(|byte| *byte == b'(')?;
        let pid = std::str::from_utf8(text.get(..open)?).ok()?.trim().parse().ok()?;
        let rest = std::str::from_utf8(text.get(close + 1..)?).ok()?;
        let mut fields = rest.split_ascii_whitespace();
        let state = fields.next()?;
        let parent = fields.next()?.parse().ok()?;
        let born = fields.nth(17)?.parse().ok()?;
        Some(Process { pid: Pid::from_raw(pid)?, parent, ended: matches!(state, "Z" | "X"), born })
    }

    fn read(pid: &OsStr) -> Option<Self> {
        Self::parse(&fs::read(Path::new("/proc").join(pid).join("stat")).ok()?)
    }

    /// Signals this very process, or nobody.
    fn signal(self, signal: Signal) {
        let Ok(pidfd) = pidfd_open(self.pid, PidfdFlags::empty()) else { return };
        let name = self.pid.as_raw_nonzero().to_string();
        if Self::read(OsStr::new(&name)).is_some_and(|it| it.born == self.born) {
            // It may end in between; then there is nobody to signal, which is the aim.
            let _ = pidfd_send_signal(&pidfd, signal);
        }
    }
}

fn table() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .map(|entry| entry.file_name())
        .filter(|name| name.as_bytes().first().is_some_and(u8::is_ascii_digit))
        .filter_map(|name| Process::read(&name))
        .collect()
}

/// Returns everything below `root`, without `root`.
fn below(root: Pid, table: &[Process]) -> Vec<Process> {
    let mut children: HashMap<i32, Vec<Process>> = HashMap::new();
    for process in table {
        children.entry(process.parent).or_default().push(*process);
    }
    let mut found = Vec::new();
    let mut parents = vec![root.as_raw_nonzero().get()];
    while let Some(parent) = parents.pop() {
        // `remove`: a table read while it changes may hold a circle.
        for child in children.remove(&parent).unwrap_or_default() {
            parents.push(child.pid.as_raw_nonzero().get());
            found.push(child);
        }
    }
    found
}

/// What a look at this process's children came to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reaped {
    /// This one had ended.
    One(Pid, WaitStatus),
    /// There are children, and none of them has ended.
    NoneYet,
    /// There is no child: with a subreaper, no descendant.
    NoChild,
}

/// Reaps one child that has ended, if there is one. Never waits.
pub(crate) fn reap_one() -> Reaped {
    match wait(WaitOptions::NOHANG) {
        Ok(Some((pid, status))) => Reaped::One(pid, status),
        Err(rustix::io::Errno::CHILD) => Reaped::NoChild,
        Ok(None) | Err(_) => Reaped::NoneYet,
    }
}

/// Ends every descendant of this process, and returns when none is left: TERM, [`LEFTOVER_GRACE`]
/// later KILL, again and again for what is born in between. Reaps all children, so the caller must
/// have taken the status it wants before.
///
/// That none is left is what `wait` says, not the table: a process whose first thread has ended
/// looks ended there, while its other threads still run.
///
/// A process that even KILL does not end (it waits for a dead disk) keeps the caller here: as long
/// as it is there, the run is not over.
pub(crate) fn stop_descendants() {
    let kill_at = now() + LEFTOVER_GRACE;
    let mut asked: Vec<(Pid, u64)> = Vec::new();
    let mut pause = PAUSE_MIN;
    loop {
        match reap_one() {
            Reaped::One(..) => continue,
            Reaped::NoChild => return,
            Reaped::NoneYet => {}
        }
        let kill = kill_at <= now();
        for process in below(getpid(), &table()) {
            let id = (process.pid, process.born);
            if kill {
                process.signal(Signal::KILL);
            } else if !asked.contains(&id) {
                asked.push(id);
                process.signal(Signal::TERM);
            }
        }
        thread::sleep(pause);
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Kills everything of this user whose environment carries the mark of the spool `name`.
///
/// # Errors
///
/// [`io::ErrorKind::TimedOut`] if something is still there after ten seconds of KILL.
pub(crate) fn kill_marked(name: &OsStr) -> io::Result<()> {
    let mark = [MARK.as_bytes(), b"=", name.as_bytes()].concat();
    let mut pause = PAUSE_MIN;
    for _ in 0..MARKED_LOOKS {
        let left = marked(&mark);
        if left.is_empty() {
            return Ok(());
        }
        for process in left {
            process.signal(Signal::KILL);
        }
        thread::sleep(pause);
        pause = (pause * 2).min(PAUSE_MAX);
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "a process of the run does not die"))
}

fn marked(mark: &[u8]) -> Vec<Process> {
    let has_mark = |process: &Process| {
        let path = format!("/proc/{}/environ", process.pid.as_raw_nonzero());
        fs::read(path).is_ok_and(|environ| environ.split(|byte| *byte == 0).any(|it| it == mark))
    };
    table().into_iter().filter(|process| !process.ended).filter(has_mark).collect()
}

/// Returns the id of this boot of the kernel, or an empty text where there is none.
pub(crate) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn process(pid: i32, parent: i32) -> Process {
        Process { pid: Pid::from_raw(pid).expect("a pid"), parent, ended: false, born: 0 }
    }

    #[test]
    fn a_stat_line_with_a_strange_name_is_read() {
        let line = b"42 (a) b (c\n) Z 7 42 42 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 991 0 0 18446744073709551615";
        let found = Process::parse(line).expect("it parses");
        assert_eq!(found, Process { ended: true, born: 991, ..process(42, 7) });
    }

    #[test]
    fn our_own_line_is_in_the_table() {
        let me = getpid();
        assert!(table().iter().any(|it| it.pid == me && !it.ended));
    }

    #[test]
    fn only_what_is_below_is_found() {
        let table = [process(2, 1), process(3, 2), process(4, 3), process(5, 1), process(6, 4)];
        let found = below(Pid::from_raw(2).expect("a pid"), &table);
        let mut found: Vec<_> = found.iter().map(|it| it.pid.as_raw_nonzero().get()).collect();
        found.sort_unstable();
        assert_eq!(found, [3, 4, 6]);
    }

    proptest! {
        #[test]
        fn no_stat_text_panics(text in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = Process::parse(&text);
        }

        #[test]
        fn no_tree_hangs(edges in prop::collection::vec((1..9i32, 1..9i32), 0..20)) {
            let table: Vec<_> = edges.into_iter().map(|(pid, parent)| process(pid, parent)).collect();
            prop_assert!(below(Pid::INIT, &table).len() <= table.len());
        }
    }
}
