//! A terminal that a person sits at: a program in a tmux of its own, whose screen can be read.
//!
//! It is no tmux of a runner's: its socket lies elsewhere. Dropping it ends it.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::folder::Folder;
use crate::processes::tmux;
use crate::service::Plan;

/// A terminal, and what runs in it.
#[derive(Debug)]
pub struct Terminal {
    socket: PathBuf,
}

impl Terminal {
    /// Runs a command of a program in a terminal of its own.
    pub(crate) fn open(folder: &Folder, mut plan: Plan, words: &[&str]) -> Result<Self> {
        let socket = folder.root().join("terminal");
        plan.args.pop();
        let mut command = Command::new("tmux");
        command.env_clear().envs(&plan.env).current_dir(&plan.dir).process_group(0);
        command.arg("-S").arg(&socket).args(["-f", "/dev/null", "set-option", "-g"]);
        // What it ended with is still to be read.
        command.args(["remain-on-exit", "on", ";", "new-session", "-d", "-x", "160", "-y", "48"]);
        command.arg("--").arg(&plan.program).args(&plan.args).args(words);
        let output = command.stdin(Stdio::null()).output().context("tmux does not start")?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "no terminal: {said}");
        Ok(Self { socket })
    }

    /// What stands on its screen.
    pub fn screen(&self) -> String {
        let screen = tmux(&self.socket, &["capture-pane", "-p", "-J"]).unwrap_or_default();
        String::from_utf8_lossy(&screen).into_owned()
    }

    /// The exit code of what ran in it; `None`: it runs.
    pub fn ended(&self) -> Option<i32> {
        let words = ["list-panes", "-F", "#{pane_dead} #{pane_dead_status}"];
        let said = String::from_utf8(tmux(&self.socket, &words)?).ok()?;
        let (is_dead, code) = said.trim().split_once(' ')?;
        if is_dead == "1" { code.parse().ok() } else { None }
    }

    /// Presses keys, as tmux calls them, so fast that they come at once.
    pub fn press(&self, keys: &[&str]) {
        // A terminal that is gone takes no keys.
        let _ = tmux(&self.socket, &[&["send-keys"], keys].concat());
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A server that is not there any more needs no end.
        let _ = tmux(&self.socket, &["kill-server"]);
    }
}
