//! Two runners that share the world's project, each as on a host of its own: a name, a home, a state
//! directory, a tmux and a clone of the project for each.
//!
//! The first is the world's own runner, the second is a [`Colleague`], which reaches NATS through a
//! proxy of its own. The times that they hold each other to are scaled for tests, and all of them
//! set before anything is started.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use anyhow::{Context as _, Result};
use rustix::process::Signal;
use tokio::task::block_in_place;

use crate::builder::{Builder, PROJECT};
use crate::ports::free_port;
use crate::processes::{self, Process};
use crate::project::git;
use crate::proxy::Proxy;
use crate::ready::until_ready;
use crate::service::Service;
use crate::stack::STOP_WITHIN;
use crate::twin::copy_folder;
use crate::world::World;

/// The name of the second runner, and of its log.
pub const COLLEAGUE: &str = "build-2";

/// The times of tests: a twelfth of those of the protocol, and enough for a busy machine to renew
/// in.
const TIMES: [(&str, &str); 5] = [
    ("HOLDFAST_ACK_WAIT_MS", "6000"),
    ("HOLDFAST_RENEW_MS", "1500"),
    ("HOLDFAST_FENCE_MS", "6000"),
    ("HOLDFAST_KILL_GRACE_MS", "1000"),
    ("HOLDFAST_TAKEOVER_MS", "9000"),
];

impl Builder {
    /// A project that several runners share.
    pub fn shared(mut self) -> Self {
        self.share();
        for (name, value) in TIMES {
            self = self.env(name, value);
        }
        self
    }
}

/// The second runner. Dropping it kills it.
#[derive(Debug)]
pub struct Colleague {
    service: Service,
    port: u16,
    root: PathBuf,
    /// Its network.
    pub proxy: Proxy,
}

impl World {
    /// A second runner of the project, not started.
    ///
    /// # Errors
    ///
    /// When something of its host cannot be made.
    pub async fn colleague(&self) -> Result<Colleague> {
        let folder = self.folder();
        let root = folder.root().join(COLLEAGUE);
        let (home, project, tmux) = (root.join("home"), root.join("project"), root.join("tmux"));
        for dir in [&home, &tmux] {
            fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        }
        copy_folder(&folder.project(), &project)?;
        // What the first runner's worktrees left in it is none of this one's.
        git(&project, &["worktree", "prune", "--expire=now"])?;
        let mut text = fs::read_to_string(folder.runner_toml()).context("no configuration")?;
        let paths = [(folder.runner_state(), root.join("state")), (folder.project(), project)];
        for (first, second) in paths {
            let (first, second) = (first.display().to_string(), second.display().to_string());
            text = text.replacen(&format!("\"{first}\""), &format!("\"{second}\""), 1);
        }
        let mut stack = self.stack.lock().await;
        text = text.replacen(&format!("\"{}\"", stack.runner_name()), &format!("{COLLEAGUE:?}"), 1);
        let config = root.join("runner.toml");
        fs::write(&config, text).context("cannot write a configuration")?;
        stack.provision_for(COLLEAGUE)?;
        let proxy = Proxy::before(stack.nats_address()?).await?;
        let mut plan = stack.runner().plan_mut().clone();
        let port = free_port()?;
        plan.name = COLLEAGUE;
        plan.args = ["--config".into(), config.into(), "serve".into()].into();
        let url = format!("nats://{}", proxy.address());
        plan.env.extend([
            ("HTTP_LISTEN".into(), format!("127.0.0.1:{port}").into()),
            ("NATS_URL".into(), url.into()),
            ("HOME".into(), home.into()),
            ("TMUX_TMPDIR".into(), tmux.into()),
        ]);
        plan.log = folder.logs().join(format!("{COLLEAGUE}.log"));
        Ok(Colleague { service: Service::new(plan), port, root, proxy })
    }

    /// Every process of the first runner's host but the service itself: keepers, claude, tmux.
    pub fn beside_the_runner(&self) -> Vec<Process> {
        beside(&self.folder().runner_state(), None)
    }

    /// The worktree of a thread at the first runner's, and at its colleague's.
    pub fn worktrees_of(&self, colleague: &Colleague, thread: &str) -> [PathBuf; 2] {
        [self.folder().runner_state(), colleague.root.join("state")]
            .map(|state| state.join("worktrees").join(PROJECT).join(thread))
    }
}

fn beside(state: &Path, service: Option<u32>) -> Vec<Process> {
    let found = processes::naming(state).into_iter();
    found.filter(|process| Some(process.pid) != service).collect()
}

impl Colleague {
    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    ///
    /// What kept it from it.
    pub async fn start(&mut self) -> Result<()> {
        self.service.start()?;
        until_ready(&mut self.service, SocketAddr::from(([127, 0, 0, 1], self.port))).await
    }

    /// Ends it by SIGTERM.
    ///
    /// # Errors
    ///
    /// When it does not end.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        block_in_place(|| self.service.stop(STOP_WITHIN))
    }

    /// Kills the service and nothing else.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub fn kill(&mut self) -> Result<()> {
        block_in_place(|| self.service.kill())
    }

    /// Makes the service stand still, and nothing else.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub fn freeze(&mut self) -> Result<()> {
        self.service.signal(Signal::STOP)
    }

    /// Lets the service go on.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub fn thaw(&mut self) -> Result<()> {
        self.service.signal(Signal::CONT)
    }

    /// Every other process of its host: keepers, claude, tmux.
    pub fn beside(&self) -> Vec<Process> {
        beside(&self.root, self.service.pid())
    }
}
