//! Who ends our children when we cannot: `holdfast-up sweep`, a small process beside us.
//!
//! It reads our words from a pipe. When the pipe ends without a farewell, we were killed, and it
//! ends the children that it was told of, SIGTERM first. For a test it ends all that names the
//! folder as well, tmux and claude included, and removes the folder; for `up` these live on, since
//! they are what outlives everything.
//!
//! It is in a group of its own, so that what ends a test's group does not end it. It does nothing
//! while we live.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::Signal;

use crate::disk;
use crate::processes;
use crate::programs;

/// How long a child may take to end by itself: as long as a service gives itself.
const CHILD_GRACE: Duration = Duration::from_secs(10);
/// What we say when there is nothing to sweep.
const FAREWELL: &str = "farewell";

/// What is swept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The children that were told of.
    Children,
    /// They, all that names the folder, and the folder.
    Everything,
}

/// Our end of the pipe.
#[derive(Debug)]
pub struct Sweeper {
    process: Child,
    pipe: Option<ChildStdin>,
}

impl Sweeper {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// When `holdfast-up` was not built or does not start.
    pub fn start(folder: &Path, reach: Reach) -> Result<Self> {
        let mut command = Command::new(programs::built("holdfast-up")?);
        command.args(["sweep".as_ref(), folder.as_os_str()]).process_group(0);
        if reach == Reach::Everything {
            command.arg("--everything");
        }
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut process = command.spawn().context("cannot start the sweeper")?;
        let pipe = process.stdin.take();
        Ok(Self { process, pipe })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Tells it of a child.
    ///
    /// # Errors
    ///
    /// When it is gone.
    pub fn child(&mut self, pid: u32) -> Result<()> {
        let pipe = self.pipe.as_mut().context("the sweeper was sent away")?;
        writeln!(pipe, "{pid}").context("the sweeper is gone")
    }

    /// Sends it away: there is nothing to sweep.
    pub fn farewell(&mut self) {
        if let Some(mut pipe) = self.pipe.take() {
            // If it is gone, it sweeps nothing either.
            let _ = writeln!(pipe, "{FAREWELL}");
        }
        let _ = self.process.wait();
    }
}

/// The life of the sweeper: waits for the end of `words`, and sweeps unless they end well.
pub fn sweep(folder: &Path, reach: Reach, words: impl Read) {
    let mut children = Vec::new();
    for word in BufReader::new(words).lines().map_while(Result::ok) {
        if word == FAREWELL {
            return;
        }
        children.extend(word.parse::<u32>());
    }
    let is_there = |pid: &u32| processes::is_alive(*pid);
    for pid in &children {
        processes::signal(*pid, Signal::TERM);
    }
    processes::wait_until(CHILD_GRACE, || !children.iter().any(is_there));
    for pid in children.iter().filter(|pid| is_there(pid)) {
        processes::signal(*pid, Signal::KILL);
    }
    if reach == Reach::Everything {
        processes::kill_naming(folder, &[]);
        disk::unmount_below(folder);
        // Nobody is left to be told.
        let _ = std::fs::remove_dir_all(folder);
    }
}
