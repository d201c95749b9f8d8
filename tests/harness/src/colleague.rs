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
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use rustix::time::{ClockId, clock_gettime};
use schemas::streams;
use tokio::task::block_in_place;

use crate::builder::{Builder, PROJECT};
use crate::jetstream;
use crate::ports::free_port;
use crate::processes::{self, Process};
use crate::project::git;
use crate::proxy::Proxy;
use crate::ready::{until_lives, until_ready};
use crate::service::{Plan, Service};
use crate::stack::STOP_WITHIN;
use crate::twin::copy_folder;
use crate::world::{PATIENCE, World};

/// The name of the second runner, and of its log.
pub const COLLEAGUE: &str = "build-2";

/// `AckWait` where times are scaled.
pub const SCALED_ACK_WAIT: Duration = Duration::from_secs(6);

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
        self.scaled()
    }

    /// A project that several runners share, with the times that they hold each other to in use: a
    /// take-over takes minutes.
    pub fn shared_as_in_use(mut self) -> Self {
        self.share();
        self
    }

    /// The times that services hold each other to are those of tests.
    pub fn scaled(self) -> Self {
        TIMES.into_iter().fold(self, |world, (name, value)| world.every_env(name, value))
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
    /// A second runner of the project, not started. With a key of its own on a bus that asks for
    /// keys: see [`World::more_keys`].
    ///
    /// # Errors
    ///
    /// When something of its host cannot be made.
    pub async fn colleague(&self) -> Result<Colleague> {
        self.stack.lock().await.provision_for(COLLEAGUE)?;
        self.host_of(COLLEAGUE).await
    }

    /// The host of a further runner of this name, whose consumer somebody else makes.
    ///
    /// # Errors
    ///
    /// When something of it cannot be made.
    pub async fn host_of(&self, name: &'static str) -> Result<Colleague> {
        let folder = self.folder();
        let root = folder.root().join(name);
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
        text = text.replacen(&format!("\"{}\"", stack.runner_name()), &format!("{name:?}"), 1);
        let config = root.join("runner.toml");
        fs::write(&config, text).context("cannot write a configuration")?;
        let proxy = Proxy::before(stack.nats_address()).await?;
        let mut plan = stack.runner().plan_mut().clone();
        let port = free_port()?;
        plan.name = name;
        plan.args = ["--config".into(), config.into(), "serve".into()].into();
        let mut scheme = "nats";
        if let Some((keys, _)) = stack.door().keys {
            let seed = keys.seed_file(&format!("runner-{name}"));
            plan.env.insert("NATS_NKEY_FILE".into(), seed.into());
            scheme = "tls";
        }
        let url = format!("{scheme}://{}", proxy.address());
        plan.env.extend([
            ("HTTP_LISTEN".into(), format!("127.0.0.1:{port}").into()),
            ("NATS_URL".into(), url.into()),
            ("HOME".into(), home.into()),
            ("TMUX_TMPDIR".into(), tmux.into()),
        ]);
        plan.log = folder.logs().join(format!("{name}.log"));
        Ok(Colleague { service: Service::new(plan), port, root, proxy })
    }

    /// Lets JetStream forget whom it has given what of the shared project: all that is still in WORK
    /// is delivered again at once.
    ///
    /// # Errors
    ///
    /// What kept it from that.
    pub async fn deliver_shared_again(&self) -> Result<()> {
        self.forget_shared_consumer().await?;
        self.provision().await
    }

    /// Takes the consumer of the shared project away.
    ///
    /// # Errors
    ///
    /// When JetStream refuses.
    pub async fn forget_shared_consumer(&self) -> Result<()> {
        let consumer = streams::project_consumer(&PROJECT.parse().context("the project")?);
        let subject = format!("$JS.API.CONSUMER.DELETE.{}.{}", consumer.stream, consumer.name);
        let door = self.stack.lock().await.door();
        jetstream::ask(&door, &subject).await.map(drop)
    }

    /// The worktree of a thread at the first runner's, and at its colleague's.
    pub fn worktrees_of(&self, colleague: &Colleague, thread: &str) -> [PathBuf; 2] {
        [self.folder().runner_state(), colleague.root.join("state")]
            .map(|state| state.join("worktrees").join(PROJECT).join(thread))
    }
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

    /// Kills all of its host: the service, keepers, claude, tmux.
    ///
    /// # Errors
    ///
    /// When the service does not run.
    pub fn is_lost(&mut self) -> Result<()> {
        self.kill()?;
        let left = block_in_place(|| processes::kill_naming(&self.root, &[]));
        ensure!(left.is_empty(), "does not go away: {left:?}");
        Ok(())
    }

    /// Tells it to take no new work, or to take it again, whether it is there or not.
    ///
    /// # Errors
    ///
    /// When the command fails.
    pub fn drain(&mut self, on: bool) -> Result<()> {
        let mut plan = self.service.plan_mut().clone();
        plan.args.pop();
        plan.args.extend(["drain".into()].into_iter().chain((!on).then(|| "--off".into())));
        let mut command = plan.command()?;
        let status = block_in_place(|| command.status()).context("the command does not start")?;
        ensure!(status.success(), "drain ended with {status}");
        Ok(())
    }

    /// Starts it, and waits until its health pages answer, ready or not.
    ///
    /// # Errors
    ///
    /// When it ends instead.
    pub async fn launch(&mut self) -> Result<()> {
        self.service.start()?;
        until_lives(&mut self.service, SocketAddr::from(([127, 0, 0, 1], self.port))).await
    }

    /// Starts it, waits until it has ended by itself, and returns what it said.
    ///
    /// # Errors
    ///
    /// When it goes on.
    pub fn is_refused(&mut self) -> Result<String> {
        block_in_place(|| self.service.is_refused(PATIENCE))
    }

    /// When its last claude was gone, in nanoseconds since boot: its keeper wrote that down then, and
    /// the runner has not swept it yet.
    ///
    /// # Errors
    ///
    /// When there is no such record.
    pub fn claude_gone_ns(&self) -> Result<u128> {
        let spools = self.root.join("state").join("spools");
        let entries = fs::read_dir(&spools).context("no spools")?;
        let written = |spool: fs::DirEntry| {
            fs::metadata(spool.path().join("exit")).and_then(|exit| exit.modified()).ok()
        };
        let written = entries.flatten().filter_map(written).max().context("no exit record")?;
        let ago = SystemTime::now().duration_since(written).unwrap_or_default();
        let now = Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default();
        Ok(now.saturating_sub(ago).as_nanos())
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

    /// How its service is started, and where its health pages are.
    pub fn plan(&mut self) -> (Plan, SocketAddr) {
        (self.service.plan_mut().clone(), SocketAddr::from(([127, 0, 0, 1], self.port)))
    }

    /// The folder of its host.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Every other process of its host: keepers, claude, tmux.
    pub fn beside(&self) -> Vec<Process> {
        let found = processes::naming(&self.root).into_iter();
        found.filter(|process| Some(process.pid) != self.service.pid()).collect()
    }
}
