//! Services that kill themselves at a named point, and what is looked at afterwards: is anything
//! left in the queue or on the disk?
//!
//! A point counts for one start. That the service got there is part of the story: one that goes on
//! or ends otherwise fails it.

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, anyhow, ensure};
use schemas::streams::{self, bucket_stream};
use tokio::task::block_in_place;
use tokio::time::{Instant, sleep};

use crate::jetstream;
use crate::service::Service;
use crate::waiting::LOOK_EVERY;
use crate::world::{PATIENCE, World};

/// The variable that names the point.
const CRASH_AT: &str = "HOLDFAST_CRASH_AT";
/// The signal of `kill -9`.
const SIGKILL: i32 = 9;

impl World {
    /// Starts the runner, which is to kill itself when it passes this point (`NAME:N`: at the N-th
    /// passing), and waits until it is ready or dead.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub async fn start_runner_to_die_at(&self, point: &str) -> Result<()> {
        let mut stack = self.stack.lock().await;
        stack.runner().once(CRASH_AT, point);
        let started = stack.start_runner().await;
        self.noting(or_dead(started, stack.runner()))
    }

    /// As [`World::start_runner_to_die_at`], for the gateway.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub async fn start_gateway_to_die_at(&self, point: &str) -> Result<()> {
        let mut stack = self.stack.lock().await;
        stack.gateway().once(CRASH_AT, point);
        let started = stack.start_gateway().await;
        self.noting(or_dead(started, stack.gateway()))
    }

    /// Runs a command of the gateway that is to kill itself at this point. Returns whether it did; else
    /// it came to its end before.
    ///
    /// # Errors
    ///
    /// When it does not start, or ends by another signal.
    pub async fn gateway_command_dies_at(&self, words: &[&str], point: &str) -> Result<bool> {
        let mut plan = self.stack.lock().await.gateway().plan_mut().clone();
        plan.args.pop();
        plan.args.extend(words.iter().map(OsString::from));
        plan.env.insert(CRASH_AT.into(), point.into());
        let mut command = plan.command()?;
        let status = block_in_place(|| command.status()).context("the command does not start")?;
        let died = status.signal() == Some(SIGKILL);
        ensure!(died || status.code().is_some(), "{words:?} ended with {status} at {point}");
        Ok(died)
    }

    /// Waits until the runner has killed itself.
    ///
    /// # Errors
    ///
    /// When it does not, or ends otherwise.
    pub async fn runner_dies(&self) -> Result<()> {
        let died = dies(self.stack.lock().await.runner());
        self.or_fail(died).await
    }

    /// Waits until the gateway has killed itself.
    ///
    /// # Errors
    ///
    /// When it does not, or ends otherwise.
    pub async fn gateway_dies(&self) -> Result<()> {
        let died = dies(self.stack.lock().await.gateway());
        self.or_fail(died).await
    }

    /// Lets JetStream forget whom it has given what: all that is still in WORK is delivered again
    /// at once, and not after its time has run out.
    ///
    /// # Errors
    ///
    /// What kept it from that.
    pub async fn deliver_again(&self) -> Result<()> {
        let mut stack = self.stack.lock().await;
        let runner = stack.runner_name().parse().context("the runner's name")?;
        let consumer = streams::runner_consumer(&runner);
        let subject = format!("$JS.API.CONSUMER.DELETE.{}.{}", consumer.stream, consumer.name);
        jetstream::ask(&stack.door(), &subject).await?;
        let made = stack.provision();
        self.noting(made)
    }

    /// Takes every record of a run away, as an operator's accident would.
    ///
    /// # Errors
    ///
    /// When JetStream refuses.
    pub async fn forget_records(&self) -> Result<()> {
        let door = self.stack.lock().await.door();
        let subject = format!("$JS.API.STREAM.PURGE.{}", bucket_stream(streams::RUNS));
        jetstream::ask(&door, &subject).await.map(|_| ())
    }

    /// Waits until WORK holds no message and the runner no spool.
    ///
    /// # Errors
    ///
    /// When something stays.
    pub async fn nothing_is_left(&self) -> Result<()> {
        let door = self.stack.lock().await.door();
        let subject = format!("$JS.API.STREAM.INFO.{}", streams::WORK);
        let end = Instant::now() + PATIENCE;
        loop {
            let info = jetstream::ask(&door, &subject).await?;
            let messages = info["state"]["messages"].as_u64().context("no number of messages")?;
            let spools = self.spools()?;
            if messages == 0 && spools.is_empty() {
                return Ok(());
            }
            if end < Instant::now() {
                let error = anyhow!("{messages} messages stay in WORK, and the spools {spools:?}");
                return Err(self.fail(error).await);
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// The spools of the runner that are there, hidden ones too.
    ///
    /// # Errors
    ///
    /// When no runner was ever at work.
    pub fn spools(&self) -> Result<Vec<PathBuf>> {
        let folder = self.folder().runner_state().join("spools");
        let entries = fs::read_dir(&folder).with_context(|| format!("no {}", folder.display()))?;
        Ok(entries.flatten().map(|entry| entry.path()).collect())
    }

    async fn or_fail(&self, result: Result<()>) -> Result<()> {
        match result {
            Ok(()) => Ok(()),
            Err(error) => Err(self.fail(error).await),
        }
    }
}

/// A service that is dead before it is ready has been where it was to die; whether it died of that,
/// is asked later.
fn or_dead(started: Result<()>, service: &mut Service) -> Result<()> {
    if service.ended().is_some() { Ok(()) } else { started }
}

fn dies(service: &mut Service) -> Result<()> {
    let name = service.name();
    let ended = block_in_place(|| service.wait(PATIENCE));
    let status =
        ended.with_context(|| format!("{name} never came to the point it is to die at"))?;
    ensure!(status.signal() == Some(SIGKILL), "{name} ended with {status} and not by SIGKILL");
    Ok(())
}
