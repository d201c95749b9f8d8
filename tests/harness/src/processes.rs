//! Who is still there: processes that name a folder, and the tmux servers whose sockets lie in it.
//!
//! A process belongs to a world if its command line, its environment or its working directory
//! names the world's folder: all children are started with a HOME inside it and hand that on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::measure;

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long a killed process may take to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(5);

/// A process that belongs to a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its command line.
    pub command: String,
}

/// Every process that names `folder`, but not this one. A process that has ended and was not
/// waited for yet is none.
pub fn naming(folder: &Path) -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| *pid != std::process::id() && names(*pid, folder))
        .map(|pid| Process { pid, command: command(pid) })
        .collect()
}

fn names(pid: u32, folder: &Path) -> bool {
    let wanted = folder.as_os_str().as_encoded_bytes();
    let holds = |bytes: &[u8]| bytes.windows(wanted.len()).any(|window| window == wanted);
    // What cannot be read belongs to somebody else, or has just ended.
    let file = |name: &str| fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let is_inside =
        || fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(folder));
    holds(&file("cmdline")) || holds(&file("environ")) || is_inside()
}

/// The command line of a process; empty when it has ended.
pub(crate) fn command(pid: u32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words = bytes.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    words.collect::<Vec<_>>().join(" ").trim_end().to_owned()
}

/// Whether there is a process of this number that has not ended.
pub fn is_alive(pid: u32) -> bool {
    // `pid (name) state …`, where the name may hold anything, brackets too.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['Z', 'X']))
}

/// Kills a process. One that is gone already stays so.
pub fn kill(pid: u32) {
    measure::note_kill(&command(pid));
    signal(pid, Signal::KILL);
}

/// Makes a process stand still.
pub fn freeze(pid: u32) {
    signal(pid, Signal::STOP);
}

/// Lets a process go on that stood still.
pub fn thaw(pid: u32) {
    signal(pid, Signal::CONT);
}

/// Sends a signal to a process of this number. One that is gone already gets none.
pub(crate) fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    // It may have ended since it was found; then all is as it should be.
    let _ = pid.map(|pid| kill_process(pid, signal));
}

/// Waits until `holds`; `false` when `within` is over. Blocks the thread, and looks again and again:
/// of the processes of others nothing tells.
pub fn wait_until(within: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let since = Instant::now();
    loop {
        if holds() {
            return true;
        }
        if within <= since.elapsed() {
            return false;
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// Kills all that names `folder`, except `spared`, until nothing of it is left. Returns what does
/// not go away. Blocks the thread.
pub fn kill_naming(folder: &Path, spared: &[u32]) -> Vec<Process> {
    let left = || -> Vec<Process> {
        naming(folder).into_iter().filter(|process| !spared.contains(&process.pid)).collect()
    };
    let mut seen = left();
    wait_until(GONE_WITHIN, || {
        for process in &seen {
            signal(process.pid, Signal::KILL);
        }
        seen = left();
        seen.is_empty()
    });
    seen
}

/// The sockets of tmux servers below a `TMUX_TMPDIR`.
fn sockets(tmux_dir: &Path) -> Vec<PathBuf> {
    let folders = fs::read_dir(tmux_dir).into_iter().flatten().flatten();
    let files = folders.filter_map(|folder| fs::read_dir(folder.path()).ok()).flatten().flatten();
    files.map(|file| file.path()).collect()
}

/// The sessions of all tmux servers below a `TMUX_TMPDIR`.
pub fn tmux_sessions(tmux_dir: &Path) -> Vec<String> {
    let list = |socket: PathBuf| {
        let output = tmux(&socket, &["list-sessions", "-F", "#{session_name}"])?;
        Some(String::from_utf8_lossy(&output).lines().map(str::to_owned).collect::<Vec<_>>())
    };
    sockets(tmux_dir).into_iter().filter_map(list).flatten().collect()
}

/// What the window of this name shows, in every session of all tmux servers below a `TMUX_TMPDIR`.
pub fn tmux_screens(tmux_dir: &Path, window: &str) -> Vec<String> {
    let capture = |socket: &Path| {
        let sessions = tmux(socket, &["list-sessions", "-F", "#{session_name}"])?;
        let sessions = String::from_utf8_lossy(&sessions).into_owned();
        let screen = |session: &str| {
            let target = format!("={session}:{window}");
            tmux(socket, &["capture-pane", "-p", "-J", "-S", "-", "-t", &target])
        };
        let screens = sessions.lines().filter_map(screen);
        Some(screens.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).collect::<Vec<_>>())
    };
    sockets(tmux_dir).iter().filter_map(|socket| capture(socket)).flatten().collect()
}

/// Ends all tmux servers below a `TMUX_TMPDIR`.
pub fn end_tmux(tmux_dir: &Path) {
    for socket in sockets(tmux_dir) {
        // A server that is not there any more needs no end.
        let _ = tmux(&socket, &["kill-server"]);
    }
}

/// What tmux prints, if it is content.
pub(crate) fn tmux(socket: &Path, words: &[&str]) -> Option<Vec<u8>> {
    let mut command = Command::new("tmux");
    command.env_remove("TMUX").arg("-S").arg(socket).args(words);
    let output = command.stdin(Stdio::null()).output().ok()?;
    output.status.success().then_some(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_environment_and_ended() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sleep");
        let mut child = command.arg("60").env("HOME", folder.path().join("home")).spawn().unwrap();
        assert!(wait_until(GONE_WITHIN, || !naming(folder.path()).is_empty()));
        let found = naming(folder.path());
        assert_eq!(found, [Process { pid: child.id(), command: "sleep 60".into() }]);
        assert_eq!(kill_naming(folder.path(), &[child.id()]), []);
        assert_eq!(naming(folder.path()).len(), 1, "it was spared");
        assert_eq!(kill_naming(folder.path(), &[]), []);
        child.wait().unwrap();
    }
}
