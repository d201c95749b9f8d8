//! Taking parts of a world down and up again: the same ports, the same state.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::{ExitStatus, Output, Stdio};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use tokio::task::block_in_place;

use crate::cgroup::Cgroup;
use crate::measure::Happened::{Killed, Started, Stopped};
use crate::proxy::Proxy;
use crate::service::{Plan, Service};
use crate::stack::{STOP_WITHIN, Stack};
use crate::terminal::Terminal;
use crate::world::{PATIENCE, World};

impl World {
    /// Starts nats-server, on the port that it had.
    ///
    /// # Errors
    ///
    /// What kept it from starting.
    pub async fn start_nats(&self) -> Result<()> {
        self.measure.note(Started("nats-server"));
        self.stack.lock().await.start_nats().await
    }

    /// A network of its own between the gateway and the bus, from the gateway's next start on until
    /// the bus itself is started again.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub async fn proxy_of_gateway(&self) -> Result<Proxy> {
        self.stack.lock().await.proxy_of_gateway().await
    }

    /// The same of the runner.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub async fn proxy_of_runner(&self) -> Result<Proxy> {
        self.stack.lock().await.proxy_of_runner().await
    }

    /// Makes the streams.
    ///
    /// # Errors
    ///
    /// What kept them from being made.
    pub async fn provision(&self) -> Result<()> {
        self.stack.lock().await.provision()
    }

    /// How a part is started.
    pub async fn plan(&self, part: Part) -> Plan {
        service(&mut *self.stack.lock().await, part).plan_mut().clone()
    }

    /// The process of a part, while it runs.
    pub async fn pid(&self, part: Part) -> Option<u32> {
        service(&mut *self.stack.lock().await, part).pid()
    }

    /// Starts the gateway, and waits until it is ready.
    ///
    /// # Errors
    ///
    /// What kept it from it.
    pub async fn start_gateway(&self) -> Result<()> {
        self.measure.note(Started("the gateway"));
        let started = self.stack.lock().await.start_gateway().await;
        self.noting(started)
    }

    /// Starts the runner, and waits until it is ready.
    ///
    /// # Errors
    ///
    /// What kept it from it.
    pub async fn start_runner(&self) -> Result<()> {
        self.measure.note(Started("the runner"));
        let started = self.stack.lock().await.start_runner().await;
        self.noting(started)
    }

    /// Ends the gateway by SIGTERM.
    ///
    /// # Errors
    ///
    /// When it does not end well.
    pub async fn stop_gateway(&self) -> Result<()> {
        self.measure.note(Stopped("the gateway"));
        let mut stack = self.stack.lock().await;
        let status = block_in_place(|| stack.gateway().stop(STOP_WITHIN));
        self.noting(status.and_then(|status| {
            ensure!(status.success(), "the gateway ended with {status}");
            Ok(())
        }))
    }

    /// Ends the runner by SIGTERM.
    ///
    /// # Errors
    ///
    /// When it does not end well.
    pub async fn stop_runner(&self) -> Result<()> {
        self.measure.note(Stopped("the runner"));
        let mut stack = self.stack.lock().await;
        let status = block_in_place(|| stack.runner().stop(STOP_WITHIN));
        self.noting(status.and_then(|status| {
            ensure!(status.success(), "the runner ended with {status}");
            Ok(())
        }))
    }

    /// Kills the gateway.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub async fn kill_gateway(&self) -> Result<()> {
        self.measure.note(Killed("the gateway".to_owned()));
        let mut stack = self.stack.lock().await;
        self.noting(block_in_place(|| stack.gateway().kill()))
    }

    /// Kills the runner.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub async fn kill_runner(&self) -> Result<()> {
        self.measure.note(Killed("the runner".to_owned()));
        let mut stack = self.stack.lock().await;
        self.noting(block_in_place(|| stack.runner().kill()))
    }

    /// Kills nats-server.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub async fn kill_nats(&self) -> Result<()> {
        self.measure.note(Killed("nats-server".to_owned()));
        let mut stack = self.stack.lock().await;
        self.noting(block_in_place(|| stack.nats().kill()))
    }

    /// Starts the runner, and waits until its health pages answer, ready or not.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub async fn launch_runner(&self) -> Result<()> {
        self.measure.note(Started("the runner"));
        let started = self.stack.lock().await.launch_runner().await;
        self.noting(started)
    }

    /// Starts the gateway, and waits until its health pages answer, ready or not.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub async fn launch_gateway(&self) -> Result<()> {
        self.measure.note(Started("the gateway"));
        let started = self.stack.lock().await.launch_gateway().await;
        self.noting(started)
    }

    /// Starts a part, which is to end by itself as a failure, and returns what it said.
    ///
    /// # Errors
    ///
    /// When it does not start, goes on, or ends as if all were well.
    pub async fn is_refused(&self, part: Part) -> Result<String> {
        let mut stack = self.stack.lock().await;
        let service = service(&mut stack, part);
        self.noting(block_in_place(|| service.is_refused(PATIENCE)))
    }

    /// Sets a variable of the gateway's environment, from its next start on. Returns what it was.
    pub async fn set_gateway_env(&self, name: &str, value: impl Into<OsString>) -> OsString {
        let mut stack = self.stack.lock().await;
        let before = stack.gateway().plan_mut().env.insert(name.into(), value.into());
        before.unwrap_or_default()
    }

    /// Sets a variable of the runner's environment, from its next start on.
    pub async fn set_runner_env(&self, name: &str, value: impl Into<OsString>) {
        let mut stack = self.stack.lock().await;
        stack.runner().plan_mut().env.insert(name.into(), value.into());
    }

    /// Has the runner started in a cgroup, from its next start on.
    pub async fn runner_in(&self, cgroup: &Cgroup) {
        let mut stack = self.stack.lock().await;
        let plan = stack.runner().plan_mut();
        *plan = cgroup.start_in(plan.clone());
    }

    /// A variable of the runner's environment; empty if it has none.
    pub async fn runner_env(&self, name: &str) -> OsString {
        let mut stack = self.stack.lock().await;
        stack.runner().plan_mut().env.get(OsStr::new(name)).cloned().unwrap_or_default()
    }

    /// Lets more runners into the bus, and reloads nothing: the server must be started again.
    ///
    /// # Errors
    ///
    /// When their keys cannot be made.
    pub async fn more_keys(&self, runners: &[&str]) -> Result<()> {
        let keys = self.seed_file("admin");
        let keys = keys.parent().context("a key lies in a folder")?.display().to_string();
        let mut words = vec!["provision", "--out", &keys];
        words.extend(runners.iter().flat_map(|runner| ["--runner", runner]));
        self.stack.lock().await.gateway_once("provision", &words)
    }

    /// Makes the streams, and the consumers of more runners.
    ///
    /// # Errors
    ///
    /// What kept them from being made.
    pub async fn provision_more(&self, runners: &[&str]) -> Result<()> {
        let mut words = vec!["provision"];
        words.extend(runners.iter().flat_map(|runner| ["--runner", runner]));
        self.stack.lock().await.gateway_once("provision", &words)
    }

    /// Whether the bus speaks TLS, from its next start on.
    pub async fn speak_tls(&self, tls: bool) {
        self.stack.lock().await.speak_tls(tls);
    }

    /// Runs another command of the gateway, with the environment and the configuration of this one.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub async fn gateway_command(&self, words: &[&str]) -> Result<Output> {
        let mut plan = self.stack.lock().await.gateway().plan_mut().clone();
        plan.args.pop();
        plan.args.extend(words.iter().map(OsString::from));
        let mut command = plan.command()?;
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        block_in_place(|| command.output()).context("the command does not start")
    }

    /// Where the gateway keeps its store, from its next start on.
    pub async fn store_at(&self, file: &Path) {
        let mut stack = self.stack.lock().await;
        let url = format!("sqlite://{}", file.display());
        stack.gateway().plan_mut().env.insert("DATABASE_URL".into(), url.into());
    }

    /// Runs another command of the runner, with the environment and the configuration of this one.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub async fn runner_command(&self, words: &[&str]) -> Result<Output> {
        let mut plan = self.stack.lock().await.runner().plan_mut().clone();
        plan.args.pop();
        plan.args.extend(words.iter().map(OsString::from));
        let mut command = plan.command()?;
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        block_in_place(|| command.output()).context("the command does not start")
    }

    /// Runs another command of the runner in a terminal of its own, as somebody at the host does.
    ///
    /// # Errors
    ///
    /// When there is no terminal.
    pub async fn runner_terminal(&self, words: &[&str]) -> Result<Terminal> {
        let plan = self.stack.lock().await.runner().plan_mut().clone();
        Terminal::open(self.folder(), plan, words)
    }

    /// Makes a part stand still (SIGSTOP): it answers nobody, and nobody is told.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub async fn freeze(&self, part: Part) -> Result<()> {
        self.signal(part, Signal::STOP).await
    }

    /// Lets a part go on that stood still (SIGCONT).
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub async fn thaw(&self, part: Part) -> Result<()> {
        self.signal(part, Signal::CONT).await
    }

    /// Asks a part to end (SIGTERM), and waits for nothing.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub async fn ask_to_end(&self, part: Part) -> Result<()> {
        self.signal(part, Signal::TERM).await
    }

    /// Waits until a part has ended, however it does.
    ///
    /// # Errors
    ///
    /// When it is still there when a service must have ended.
    pub async fn has_ended(&self, part: Part) -> Result<ExitStatus> {
        let mut stack = self.stack.lock().await;
        let service = service(&mut stack, part);
        let status = block_in_place(|| service.wait(STOP_WITHIN));
        let tail = service.tail();
        self.noting(status.with_context(|| format!("{part:?} does not end\n{tail}")))
    }

    pub(crate) async fn signal(&self, part: Part, signal: Signal) -> Result<()> {
        let mut stack = self.stack.lock().await;
        self.noting(service(&mut stack, part).signal(signal))
    }
}

/// One of the three servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// nats-server.
    Nats,
    /// The gateway.
    Gateway,
    /// The runner.
    Runner,
}

fn service(stack: &mut Stack, part: Part) -> &mut Service {
    match part {
        Part::Nats => stack.nats(),
        Part::Gateway => stack.gateway(),
        Part::Runner => stack.runner(),
    }
}
