//! The real systemd, as the manager of a person's services, over the folder of a world.
//!
//! It is started in a mount namespace of its own, where `/run` says that the machine runs systemd, and
//! in cgroups of its own; it knows the units in the home of the folder and no others, and nothing of
//! the machine's own systemd. That takes root, util-linux, and a systemd that is installed, running or
//! not. Where one of them is missing, [`Systemd::start`] says which.
//!
//! Dropping it ends its services and itself.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use crate::folder::Folder;
use crate::processes::wait_until;
use crate::programs::on_path;

/// Where a systemd that manages services lies.
const PROGRAMS: [&str; 2] = ["/usr/lib/systemd/systemd", "/lib/systemd/systemd"];
/// How long it may take to start, and to end with all its services.
const WITHIN: Duration = Duration::from_secs(30);
/// Its cgroups lie below these: version 2, alone or beside the hierarchy of version 1 that it marks.
const HIERARCHIES: [&str; 3] =
    ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"];

/// Goes into its cgroups, makes `/run` look as on a machine that runs systemd, and becomes it.
const BEGIN: &str = "set -e; program=$1; shift; \
    for cgroup in \"$@\"; do echo $$ > \"$cgroup/cgroup.procs\"; done; \
    mount -t tmpfs tmpfs /run; mkdir -p /run/systemd/system; \
    exec \"$program\" --user --log-target=console";

/// A systemd of our own.
#[derive(Debug)]
pub struct Systemd {
    manager: Child,
    home: PathBuf,
    runtime: PathBuf,
    cgroups: Vec<PathBuf>,
}

impl Systemd {
    /// Starts one for the units of this folder's home, and waits until it answers. Blocks the thread.
    ///
    /// # Errors
    ///
    /// What is missing on this machine, or what kept it from starting.
    pub fn start(folder: &Folder) -> Result<Self> {
        let program = PROGRAMS.into_iter().find(|it| Path::new(it).is_file());
        let program = program.context("systemd is not installed")?;
        for tool in ["unshare", "systemctl", "systemd-run"] {
            on_path(tool).with_context(|| format!("{tool} is not on PATH"))?;
        }
        ensure!(rustix::process::geteuid().is_root(), "only root may make a mount namespace");
        let runtime = folder.root().join("run");
        fs::create_dir_all(&runtime).context("cannot make its runtime directory")?;
        let cgroups = make_cgroups(folder)?;
        let log = File::create(folder.logs().join("systemd.log")).context("no log")?;
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "/bin/sh", "-c", BEGIN, "sh"]);
        command.arg(program).args(&cgroups).env_clear();
        command.envs([("HOME", folder.home()), ("XDG_RUNTIME_DIR", runtime.clone())]);
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        let twin = log.try_clone().context("cannot open a log twice")?;
        command.stdin(Stdio::null()).stdout(twin).stderr(log);
        let manager = command.spawn().context("unshare does not start")?;
        let mut systemd = Self { manager, home: folder.home(), runtime, cgroups };
        let is_up = wait_until(WITHIN, || {
            systemd.manager.try_wait().is_ok_and(|ended| ended.is_some())
                || systemd.ctl(&["list-jobs"]).is_ok_and(|said| said.status.success())
        });
        if !is_up || systemd.manager.try_wait()?.is_some() {
            let said = fs::read_to_string(folder.logs().join("systemd.log")).unwrap_or_default();
            bail!("systemd does not start here: {said}");
        }
        Ok(systemd)
    }

    /// Where it looks for units.
    pub fn units(&self) -> PathBuf {
        self.home.join(".config/systemd/user")
    }

    /// `systemctl --user` with these words. Blocks the thread.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub fn ctl(&self, words: &[&str]) -> Result<Output> {
        let mut command = Command::new("systemctl");
        command.arg("--user").args(words).env_clear();
        command.envs([("HOME", &self.home), ("XDG_RUNTIME_DIR", &self.runtime)]);
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.stdin(Stdio::null()).output().context("systemctl does not start")
    }

    /// The same, which has to succeed. Returns what it printed.
    ///
    /// # Errors
    ///
    /// When it fails: with what it said.
    pub fn does(&self, words: &[&str]) -> Result<String> {
        let output = self.ctl(words)?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let why = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "systemctl {words:?}: {said}{why}");
        Ok(said)
    }

    /// A property of a unit.
    ///
    /// # Errors
    ///
    /// When it cannot be asked.
    pub fn property(&self, unit: &str, name: &str) -> Result<String> {
        let said = self.does(&["show", "--value", "--property", name, unit])?;
        Ok(said.trim().to_owned())
    }
}

/// Makes a cgroup in each hierarchy that there is.
fn make_cgroups(folder: &Folder) -> Result<Vec<PathBuf>> {
    let name = folder.root().file_name().context("the folder has no name")?.to_owned();
    let is_there = |root: &&&str| Path::new(root).join("cgroup.procs").is_file();
    let mut made = Vec::new();
    for root in HIERARCHIES.iter().filter(is_there) {
        let path = Path::new(root).join(&name);
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        made.push(path);
    }
    ensure!(!made.is_empty(), "there are no cgroups");
    Ok(made)
}

/// Takes a cgroup away, and those below it. Who is still in one keeps it.
fn remove_cgroup(path: &Path) {
    for below in fs::read_dir(path).into_iter().flatten().flatten() {
        if below.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_cgroup(&below.path());
        }
    }
    let _ = fs::write(path.join("cgroup.kill"), "1");
    wait_until(WITHIN, || fs::remove_dir(path).is_ok() || !path.exists());
}

impl Drop for Systemd {
    fn drop(&mut self) {
        // It ends all its services first, and what is left of them.
        let _ = self.ctl(&["exit"]);
        if !wait_until(WITHIN, || self.manager.try_wait().is_ok_and(|ended| ended.is_some())) {
            let _ = self.manager.kill();
            let _ = self.manager.wait();
        }
        for cgroup in &self.cgroups {
            remove_cgroup(cgroup);
        }
    }
}
