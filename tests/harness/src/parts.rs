//! Taking parts of a world down and up again: the same ports, the same state.

use std::ffi::OsString;
use std::process::{Output, Stdio};

use anyhow::{Context as _, Result, ensure};
use tokio::task::block_in_place;

use crate::measure::Happened::{Killed, Started, Stopped};
use crate::stack::STOP_WITHIN;
use crate::world::World;

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

    /// Makes the streams.
    ///
    /// # Errors
    ///
    /// What kept them from being made.
    pub async fn provision(&self) -> Result<()> {
        self.stack.lock().await.provision()
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

    /// Sets a variable of the runner's environment, from its next start on.
    pub async fn set_runner_env(&self, name: &str, value: impl Into<OsString>) {
        let mut stack = self.stack.lock().await;
        stack.runner().plan_mut().env.insert(name.into(), value.into());
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
}
