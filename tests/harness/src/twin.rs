//! A second runner beside the one of a world: the same name, the same projects, a state directory
//! of its own choice. Or a second gateway.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};

use anyhow::{Context as _, Result, ensure};
use tokio::task::block_in_place;

use crate::ports::free_port;
use crate::processes;
use crate::ready::until_ready;
use crate::service::{Plan, Service};
use crate::stack::STOP_WITHIN;
use crate::world::{PATIENCE, World};

/// The name of its log.
const NAME: &str = "second-runner";

/// A second runner, or gateway. Dropping it kills it.
#[derive(Debug)]
pub struct Twin {
    service: Service,
    port: u16,
}

impl World {
    /// A second runner on this state directory, not started.
    ///
    /// # Errors
    ///
    /// When its configuration cannot be written.
    pub async fn twin(&self, state_dir: &Path) -> Result<Twin> {
        let folder = self.folder();
        let text = fs::read_to_string(folder.runner_toml()).context("no configuration")?;
        let (first, second) = (folder.runner_state(), state_dir.display().to_string());
        let config = folder.root().join("second-runner.toml");
        fs::write(&config, text.replacen(&first.display().to_string(), &second, 1))
            .context("cannot write a configuration")?;
        let mut plan = self.stack.lock().await.runner().plan_mut().clone();
        let port = free_port()?;
        plan.name = NAME;
        plan.args = ["--config".into(), config.into(), "serve".into()].into();
        plan.env.insert("HTTP_LISTEN".into(), format!("127.0.0.1:{port}").into());
        plan.log = folder.logs().join(format!("{NAME}.log"));
        Ok(Twin { service: Service::new(plan), port })
    }

    /// A second gateway with the configuration of the first, on its store; not started.
    ///
    /// # Errors
    ///
    /// When there is no port for it.
    pub async fn second_gateway(&self) -> Result<Twin> {
        let mut plan = self.stack.lock().await.gateway().plan_mut().clone();
        let port = free_port()?;
        plan.name = "second-gateway";
        plan.env.insert("HTTP_LISTEN".into(), format!("127.0.0.1:{port}").into());
        plan.log = self.folder().logs().join("second-gateway.log");
        Ok(Twin { service: Service::new(plan), port })
    }

    /// Waits until nothing is left beside the servers and this second runner.
    ///
    /// # Errors
    ///
    /// When something stays.
    pub async fn is_quiet_besides(&self, twin: &Twin) -> Result<()> {
        let mut ours = self.stack.lock().await.pids();
        ours.extend(twin.service.pid());
        let root = self.folder().root();
        let quiet = || processes::naming(root).iter().all(|found| ours.contains(&found.pid));
        self.until("the end of claude, keeper and tmux", quiet).await
    }

    /// Copies the runner's state directory, as `cp -a` does.
    ///
    /// # Errors
    ///
    /// When it cannot be copied.
    pub fn copy_of_state(&self) -> Result<PathBuf> {
        let copy = self.folder().root().join("copy-of-runner");
        copy_folder(&self.folder().runner_state(), &copy)?;
        Ok(copy)
    }
}

/// Copies a folder, with all that is in it, to a place where nothing is.
///
/// # Errors
///
/// When it cannot be copied.
pub fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    let mut command = Command::new("cp");
    let copied = command.arg("-a").arg(from).arg(to).stdin(Stdio::null()).status();
    let copied = copied.context("cp does not start")?;
    ensure!(copied.success(), "cannot copy {}", from.display());
    Ok(())
}

impl Twin {
    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    ///
    /// What kept it from it.
    pub async fn start(&mut self) -> Result<()> {
        self.service.start()?;
        let health = std::net::SocketAddr::from(([127, 0, 0, 1], self.port));
        until_ready(&mut self.service, health).await
    }

    /// Starts it, waits until it has ended by itself, and returns what it said.
    ///
    /// # Errors
    ///
    /// When it goes on.
    pub fn is_refused(&mut self) -> Result<String> {
        block_in_place(|| self.service.is_refused(PATIENCE))
    }

    /// Ends it by SIGTERM.
    ///
    /// # Errors
    ///
    /// When it does not end.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        block_in_place(|| self.service.stop(STOP_WITHIN))
    }

    /// Runs another command with its configuration.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub fn command(&mut self, words: &[&str]) -> Result<Output> {
        let mut plan: Plan = self.service.plan_mut().clone();
        plan.args.pop();
        plan.args.extend(words.iter().map(OsString::from));
        let mut command = plan.command()?;
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        block_in_place(|| command.output()).context("the command does not start")
    }
}
