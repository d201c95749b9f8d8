//! A cgroup (version 2), as systemd makes one for a unit: whoever is started in it stays, with all its
//! children, until somebody moves them.
//!
//! It needs the right to make one, which root has on most machines. Where there is none, the caller says
//! so and does without. Dropping it ends what is left in it and takes it away.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::processes::{self, Process, wait_until};
use crate::service::Plan;

/// Where version 2 is found: alone, or beside version 1.
const ROOTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
/// How long the kernel may take to end what is in one.
const ENDS_WITHIN: Duration = Duration::from_secs(10);

/// A cgroup of our own.
#[derive(Debug)]
pub struct Cgroup(PathBuf);

impl Cgroup {
    /// Makes one; the error says why none can be made here.
    ///
    /// # Errors
    ///
    /// When version 2 is not there, or may not be written.
    pub fn make(name: &str) -> Result<Self> {
        let is_v2 = |root: &&Path| root.join("cgroup.controllers").is_file();
        let root = ROOTS.iter().map(Path::new).find(is_v2).context("there is no cgroup v2")?;
        let path = root.join(format!("holdfast-{}-{name}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The same start, in here.
    pub fn start_in(&self, plan: Plan) -> Plan {
        let enter = "echo $$ > \"$1/cgroup.procs\" && shift && exec \"$@\"";
        let mut args = vec!["-c".into(), enter.into(), "sh".into(), self.0.clone().into()];
        args.push(plan.program.into());
        args.extend(plan.args);
        Plan { program: "/bin/sh".into(), args, ..plan }
    }

    /// Who is in here.
    pub fn processes(&self) -> Vec<Process> {
        let list = fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default();
        let pids = list.lines().filter_map(|line| line.parse().ok());
        pids.map(|pid| Process { pid, command: processes::command(pid) }).collect()
    }

    /// Ends all who are in here, as systemd does with `KillMode=control-group` when its patience is over,
    /// and waits until they are gone. Blocks the thread.
    ///
    /// # Errors
    ///
    /// When they stay.
    pub fn kill(&self) -> Result<()> {
        let file = self.0.join("cgroup.kill");
        fs::write(&file, "1").with_context(|| format!("cannot write {}", file.display()))?;
        let is_empty = wait_until(ENDS_WITHIN, || self.processes().is_empty());
        anyhow::ensure!(is_empty, "still there: {:?}", self.processes());
        Ok(())
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // A kernel before 5.14 has no such file; then who is left keeps the cgroup, and is told of.
        let _ = self.kill();
        let _ = fs::remove_dir(&self.0);
    }
}
