//! A program that is started, stopped, killed and started again, always with the same settings.
//!
//! It runs in a process group of its own, so that Ctrl+C reaches us and not it; what it prints is
//! appended to its log. Dropping it kills its group: nothing is waited for that would not come.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::contained::{Contained, Wanted};
use crate::processes::wait_until;

/// How long a container may take to be gone that was killed.
const GONE_WITHIN: Duration = Duration::from_secs(30);
/// How many lines of a log are shown when something went wrong.
const TAIL_LINES: usize = 40;

/// The environment of a child: all of it.
pub type Environment = BTreeMap<OsString, OsString>;

/// How a program is started.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What people call it; also the name of its log.
    pub name: &'static str,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Its whole environment.
    pub env: Environment,
    /// Where it runs.
    pub dir: PathBuf,
    /// Where what it prints is appended.
    pub log: PathBuf,
}

impl Plan {
    /// The command, not started.
    ///
    /// # Errors
    ///
    /// When its log cannot be opened.
    pub fn command(&self) -> Result<Command> {
        let log = File::options().create(true).append(true).open(&self.log);
        let log = log.with_context(|| format!("cannot open {}", self.log.display()))?;
        let twin = log.try_clone().context("cannot open a log twice")?;
        let mut command = Command::new(&self.program);
        command.args(&self.args).current_dir(&self.dir).env_clear().envs(&self.env);
        command.stdin(Stdio::null()).stdout(log).stderr(twin).process_group(0);
        Ok(command)
    }
}

/// A program that runs, or did, or will.
#[derive(Debug)]
pub struct Service {
    plan: Plan,
    /// What its next start has in its environment besides, and no later one.
    once: Environment,
    /// The container that it runs in; else it is a process of ours.
    wanted: Option<Wanted>,
    child: Option<Body>,
}

/// What runs.
#[derive(Debug)]
enum Body {
    Process(Child),
    Container(Contained),
}

impl Body {
    fn pid(&self) -> u32 {
        match self {
            Self::Process(child) => child.id(),
            Self::Container(contained) => contained.pid(),
        }
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        match self {
            Self::Process(child) => child.try_wait().ok().flatten(),
            Self::Container(contained) => contained.ended(),
        }
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        match self {
            Self::Process(child) => Ok(kill_process(Pid::from_child(child), signal)?),
            Self::Container(contained) => contained.signal(signal),
        }
    }

    /// Waits until it is gone that was killed.
    fn wait(&mut self) -> Result<()> {
        match self {
            Self::Process(child) => {
                child.wait()?;
            }
            Self::Container(contained) => {
                ensure!(wait_until(GONE_WITHIN, || contained.ended().is_some()), "it stays");
            }
        }
        Ok(())
    }
}

impl Service {
    /// A program that does not run yet.
    pub fn new(plan: Plan) -> Self {
        Self { plan, once: Environment::new(), wanted: None, child: None }
    }

    /// A server that runs in a container, and does not yet. Of its plan only the name and the log count.
    pub(crate) fn contained(plan: Plan, wanted: Wanted) -> Self {
        Self { plan, once: Environment::new(), wanted: Some(wanted), child: None }
    }

    /// How it is started; a change counts from the next start.
    pub fn plan_mut(&mut self) -> &mut Plan {
        &mut self.plan
    }

    /// Sets a variable of its environment for the next start alone.
    pub fn once(&mut self, name: &str, value: impl Into<OsString>) {
        self.once.insert(name.into(), value.into());
    }

    /// What people call it.
    pub fn name(&self) -> &'static str {
        self.plan.name
    }

    /// Starts it.
    ///
    /// # Errors
    ///
    /// When it runs already, or cannot be started.
    pub fn start(&mut self) -> Result<u32> {
        if self.is_running() {
            bail!("{} runs already", self.plan.name);
        }
        if let Some(wanted) = &self.wanted {
            let body = match self.child.take() {
                Some(Body::Container(mut before)) => {
                    before.start_again()?;
                    before
                }
                Some(Body::Process(_)) | None => Contained::start(wanted)?,
            };
            let pid = body.pid();
            self.child = Some(Body::Container(body));
            return Ok(pid);
        }
        let started = self.plan.command()?.envs(std::mem::take(&mut self.once)).spawn();
        let child =
            started.with_context(|| format!("cannot start {}", self.plan.program.display()))?;
        let pid = child.id();
        self.child = Some(Body::Process(child));
        Ok(pid)
    }

    /// Its process id, while it runs or was not waited for.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Body::pid)
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        self.ended().is_none() && self.child.is_some()
    }

    /// How it ended, if it was started and did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut().and_then(Body::ended)
    }

    /// Sends a signal to it alone.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        let name = self.plan.name;
        let running = self.is_running();
        let child = self.child.as_ref().filter(|_| running);
        let child = child.with_context(|| format!("{name} does not run"))?;
        child.signal(signal).with_context(|| format!("cannot send a signal to {name}"))
    }

    /// Does to it what Ctrl+C does (SIGINT).
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub fn interrupt(&mut self) -> Result<()> {
        self.signal(Signal::INT)
    }

    /// Asks it to end (SIGTERM) and waits; blocks the thread.
    ///
    /// # Errors
    ///
    /// When it does not run, or is still there after `within`.
    pub fn stop(&mut self, within: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        let name = self.plan.name;
        let status = self.wait(within);
        status.with_context(|| format!("{name} did not end within {within:?} of SIGTERM"))
    }

    /// Kills it (SIGKILL) and waits until it is gone; blocks the thread.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub fn kill(&mut self) -> Result<()> {
        self.signal(Signal::KILL)?;
        let name = self.plan.name;
        let child = self.child.as_mut().with_context(|| format!("{name} does not run"))?;
        child.wait().with_context(|| format!("cannot wait for {name}"))
    }

    /// Waits for its end; `None` when it is still there after `within`. Blocks the thread.
    pub fn wait(&mut self, within: Duration) -> Option<ExitStatus> {
        let mut status = None;
        wait_until(within, || {
            status = self.ended();
            status.is_some() || self.child.is_none()
        });
        status
    }

    /// Starts it, waits until it has ended by itself as a failure, and returns what it said. Blocks the
    /// thread.
    ///
    /// # Errors
    ///
    /// When it does not start, is still there after `within`, or ended as a success.
    pub fn is_refused(&mut self, within: Duration) -> Result<String> {
        self.start()?;
        let status = self.wait(within);
        let said = self.tail();
        let status = status.with_context(|| format!("it goes on\n{said}"))?;
        ensure!(!status.success(), "it ended as if all were well\n{said}");
        Ok(said)
    }

    /// The end of what it printed, with a headline.
    pub fn tail(&self) -> String {
        tail(self.plan.name, &self.plan.log)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if self.is_running()
            && let Some(Body::Process(child)) = &mut self.child
        {
            // It may have ended this very moment; then there is nothing to kill or to wait for.
            let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
            let _ = child.wait();
        }
    }
}

/// The last lines of a log, with a headline.
pub(crate) fn tail(name: &str, log: &Path) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    // nats-server introduces itself at length.
    let lines: Vec<&str> = text.lines().filter(|line| !line.contains(" [INF] ")).collect();
    let from = lines.len().saturating_sub(TAIL_LINES);
    let shown = if lines.is_empty() { "(nothing)".to_owned() } else { lines[from..].join("\n") };
    format!("--- {name} ({}):\n{shown}\n", log.display())
}
