//! A terminal that a person sits at: a program in a tmux of its own, whose screen can be read.
//!
//! It is no tmux of a runner's: its socket lies elsewhere. Dropping it ends it.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use crate::folder::Folder;
use crate::processes::tmux;
use crate::service::Plan;

/// Runs what is given, and writes down what it ended with. A shell does it and not `remain-on-exit`:
/// tmux 3.3a misses the end of a child at times, and then never tells its exit code.
const AND_TELL: &str = "\"$@\"; echo $? > \"$0\"";

/// The socket of its tmux, in its folder.
const SOCKET: &str = "tmux";
/// The exit code of what ran in it, in its folder, as soon as there is one.
const CODE: &str = "code";

/// A terminal, and what runs in it.
#[derive(Debug)]
pub struct Terminal {
    /// Its own, so that no tmux of an earlier terminal that is just going is taken for its own.
    folder: TempDir,
}

impl Terminal {
    /// Runs a command of a program in a terminal of its own.
    pub(crate) fn open(folder: &Folder, mut plan: Plan, words: &[&str]) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("terminal-").tempdir_in(folder.root())?;
        plan.args.pop();
        let mut command = Command::new("tmux");
        command.env_clear().envs(&plan.env).current_dir(&plan.dir).process_group(0);
        command.arg("-S").arg(folder.path().join(SOCKET)).args(["-f", "/dev/null"]);
        command.args(["new-session", "-d", "-x", "160", "-y", "48", "--"]);
        command.args(["sh", "-c", AND_TELL]).arg(folder.path().join(CODE));
        command.arg(&plan.program).args(&plan.args).args(words);
        let output = command.stdin(Stdio::null()).output().context("tmux does not start")?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "no terminal: {said}");
        Ok(Self { folder })
    }

    /// What stands on its screen.
    pub fn screen(&self) -> String {
        let screen = self.tmux(&["capture-pane", "-p", "-J"]).unwrap_or_default();
        String::from_utf8_lossy(&screen).into_owned()
    }

    /// The exit code of what ran in it; `None`: it runs.
    pub fn ended(&self) -> Option<i32> {
        fs::read_to_string(self.folder.path().join(CODE)).ok()?.trim().parse().ok()
    }

    /// Presses keys, as tmux calls them, so fast that they come at once.
    pub fn press(&self, keys: &[&str]) {
        // A terminal that is gone takes no keys.
        let _ = self.tmux(&[&["send-keys"], keys].concat());
    }

    fn tmux(&self, words: &[&str]) -> Option<Vec<u8>> {
        tmux(&self.folder.path().join(SOCKET), words)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A server that is not there any more needs no end.
        let _ = self.tmux(&["kill-server"]);
    }
}
