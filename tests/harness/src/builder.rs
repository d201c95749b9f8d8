//! How a world is set up, before it is started.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use discord_sim::Discord;
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::ending::QUIET_WITHIN;
use crate::folder::Folder;
use crate::otlp::Otlp;
use crate::parts::Part;
use crate::ports::free_port;
use crate::service::Environment;
use crate::settings::{ClaudeSettings, DiscordSettings, ProjectSettings, Settings};
use crate::stack::{Environments, Ports, Stack};
use crate::sweeper::Reach;
use crate::world::{Keep, World};
use crate::{programs, project};

/// The project of a world, and the name of its channel.
pub(crate) const PROJECT: &str = "app";

/// Which claude runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claude {
    /// The pinned one, against anthropic-sim.
    Real,
    /// The pinned one, without a key.
    LoggedOut,
    /// claude-sim.
    Sim,
    /// Some program, which may be missing.
    Program(PathBuf),
}

/// What is in the project's directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// A git repository with one commit.
    Repository,
    /// The same files without git.
    Plain,
    /// There is no such directory.
    Missing,
}

/// Who may use the project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum People {
    /// Everyone.
    Everyone,
    /// Who has the role of this name.
    Role(String),
    /// The person of this name.
    User(String),
}

/// How many runners serve the project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Runners {
    One,
    Several,
}

/// What the bus is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bus {
    /// One server that asks nobody for a key.
    Plain,
    /// One server with keys and TLS.
    Secured,
    /// The same, and it asks for certificates.
    Verifying,
    /// One server that knows accounts and asks for credentials.
    Accounts,
    /// Three servers with keys and TLS.
    SecuredCluster,
    /// Three servers.
    Cluster,
}

/// Settings of a world; [`Builder::start`] starts it.
#[derive(Clone, Debug)]
#[must_use = "nothing is started yet"]
pub struct Builder {
    pub(crate) claude: Claude,
    content: Content,
    directory: Option<PathBuf>,
    people: People,
    tools: Option<Vec<String>>,
    slots: u16,
    discord: discord_sim::Options,
    more_gateway: String,
    more_runner: String,
    more_project: String,
    /// What `gateway.toml` says of status messages.
    status: &'static str,
    runners: Runners,
    env: Environment,
    gateway_env: Environment,
    runner_env: Environment,
    claude_env: BTreeMap<String, String>,
    with_gateway: bool,
    with_runner: bool,
    strict: bool,
    bus: Bus,
    quiet_within: Duration,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            claude: Claude::Sim,
            content: Content::Repository,
            directory: None,
            people: People::Everyone,
            tools: None,
            slots: 2,
            discord: discord_sim::Options { rate_limits: false, ..Default::default() },
            more_gateway: String::new(),
            more_runner: String::new(),
            more_project: String::new(),
            status: "\n[status]\nshow = false\n",
            runners: Runners::One,
            env: Environment::new(),
            gateway_env: Environment::new(),
            runner_env: Environment::new(),
            claude_env: BTreeMap::new(),
            with_gateway: true,
            with_runner: true,
            strict: true,
            bus: Bus::Plain,
            quiet_within: QUIET_WITHIN,
        }
    }
}

impl Builder {
    /// Which claude runs; otherwise claude-sim.
    pub fn claude(self, claude: Claude) -> Self {
        Self { claude, ..self }
    }

    /// What is in the project's directory; otherwise a git repository.
    pub fn content(self, content: Content) -> Self {
        Self { content, ..self }
    }

    /// A directory outside the world that claude works in, instead of one with that content.
    pub fn directory(self, directory: PathBuf) -> Self {
        Self { directory: Some(directory), ..self }
    }

    /// Who may use the project; otherwise everyone.
    pub fn people(self, people: People) -> Self {
        Self { people, ..self }
    }

    /// What claude may use; otherwise the runner's default.
    pub fn tools(self, tools: &[&str]) -> Self {
        let tools = tools.iter().map(|tool| (*tool).to_owned()).collect();
        Self { tools: Some(tools), ..self }
    }

    /// How many runs go on at once; otherwise two.
    pub fn slots(self, slots: u16) -> Self {
        Self { slots, ..self }
    }

    /// Limits requests as the real Discord does; otherwise they are not limited.
    pub fn rate_limits(mut self) -> Self {
        self.discord.rate_limits = true;
        self
    }

    /// Another Discord: what a bot is told at the beginning, how long things are remembered.
    pub fn discord(mut self, change: impl FnOnce(&mut discord_sim::Options)) -> Self {
        change(&mut self.discord);
        self
    }

    /// How far Discord's clock is behind at the beginning: what is written is that old, until
    /// somebody brings the clock up ([`Discord::advance`]).
    pub fn discord_behind(mut self, by: Duration) -> Self {
        self.discord.behind = by;
        self
    }

    /// More of `gateway.toml`, above its tables: keys, then tables.
    pub fn gateway_toml(self, more: &str) -> Self {
        Self { more_gateway: more.to_owned(), ..self }
    }

    /// Shows what claude does while a run lasts, as a gateway does by itself; otherwise a story has only
    /// the messages that it is about.
    pub fn status(self) -> Self {
        Self { status: "", ..self }
    }

    /// More of `runner.toml`, above its first table.
    pub fn runner_toml(self, more: &str) -> Self {
        Self { more_runner: more.to_owned(), ..self }
    }

    /// More of the project's table in `runner.toml`: `worktree = false`, `setup = "make"`.
    pub fn project_toml(self, more: &str) -> Self {
        Self { more_project: more.to_owned(), ..self }
    }

    /// A variable of the environment of every program.
    pub fn every_env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Lets every program send its telemetry to this collector.
    pub fn otlp(self, collector: &Otlp) -> Self {
        let sending = self.every_env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url());
        match collector.authority() {
            Some(file) => sending.every_env("OTEL_EXPORTER_OTLP_CERTIFICATE", file),
            None => sending,
        }
    }

    /// Says of the project that several runners serve it.
    pub(crate) fn share(&mut self) {
        self.runners = Runners::Several;
    }

    /// A variable of the runner's environment.
    pub fn runner_env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.runner_env.insert(name.into(), value.into());
        self
    }

    /// A variable of the environment of one of the two services.
    pub(crate) fn part_env(mut self, part: Part, name: &str, value: impl Into<OsString>) -> Self {
        let env = match part {
            Part::Gateway => &mut self.gateway_env,
            Part::Runner | Part::Nats => &mut self.runner_env,
        };
        env.insert(name.into(), value.into());
        self
    }

    /// A variable of claude's own environment (`claude.env` of `runner.toml`).
    pub fn claude_env(mut self, name: &str, value: &str) -> Self {
        self.claude_env.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Does not start the gateway; [`World::start_gateway`] does.
    pub fn without_gateway(self) -> Self {
        Self { with_gateway: false, ..self }
    }

    /// Does not start the runner; [`World::start_runner`] does.
    pub fn without_runner(self) -> Self {
        Self { with_runner: false, ..self }
    }

    /// A bus with keys and TLS, and for each service the least that it needs.
    pub fn secured(self) -> Self {
        Self { bus: Bus::Secured, ..self }
    }

    /// A bus of three servers, each stream on all of them.
    ///
    /// A delivery that is on its way while its server ends comes again after `AckWait`: the times are
    /// scaled.
    pub fn cluster(self) -> Self {
        Self { bus: Bus::Cluster, ..self }.scaled()
    }

    /// A bus in operator mode: it knows accounts, and the services have credentials.
    pub fn accounts(self) -> Self {
        Self { bus: Bus::Accounts, ..self }
    }

    /// As [`Builder::secured`], and the server asks each service for a certificate.
    pub fn verifying(self) -> Self {
        Self { bus: Bus::Verifying, ..self }
    }

    /// As [`Builder::cluster`], with keys and TLS.
    pub fn secured_cluster(self) -> Self {
        Self { bus: Bus::SecuredCluster, ..self }.scaled()
    }

    /// Only takes everything away at the end, and does not ask what was left behind.
    pub fn lenient(self) -> Self {
        Self { strict: false, ..self }
    }

    /// How long the last answer and claude's end may take when the world ends.
    pub fn quiet_within(self, quiet_within: Duration) -> Self {
        Self { quiet_within, ..self }
    }

    /// Starts all that is wanted, and waits until it is ready.
    ///
    /// # Errors
    ///
    /// What kept a part from starting, with the end of its log.
    pub async fn start(self) -> Result<World> {
        // Ending a world blocks the thread, while the simulators must go on.
        let flavor = Handle::current().runtime_flavor();
        ensure!(
            flavor == RuntimeFlavor::MultiThread,
            "a story needs #[tokio::test(flavor = \"multi_thread\")]"
        );
        let temp = tempfile::Builder::new().prefix("holdfast-").tempdir();
        let temp = temp.context("no temporary folder")?;
        let folder = Folder::make(temp.path())?;
        self.make_project(&folder)?;
        let discord = discord_sim::Sim::start(self.discord.clone()).await?;
        discord.write_ca(&folder.ca_file()).context("cannot write the certificate")?;
        let anthropic = anthropic_sim::Sim::start(anthropic_sim::Options::default()).await?;
        let settings = self.settings(&folder, &discord, &anthropic)?;
        let ports = Ports { nats: free_port()?, gateway: free_port()?, runner: free_port()? };
        let configs = settings.write(&folder)?;
        let mut stack = Stack::new(&folder, configs, ports, self.env(&folder), Reach::Everything)?;
        match self.bus {
            Bus::Plain => {}
            Bus::Secured => stack.secure(false)?,
            Bus::Verifying => stack.secure(true)?,
            Bus::Accounts => stack.credit()?,
            Bus::Cluster => stack.cluster()?,
            Bus::SecuredCluster => {
                stack.cluster()?;
                stack.secure(false)?;
            }
        }
        let Self { with_gateway, with_runner, strict, quiet_within, .. } = self;
        let keep = Keep { folder, temp };
        let mut world = World::new(keep, self.claude, discord, anthropic, stack);
        world.strict.store(strict, Ordering::SeqCst);
        world.quiet_within = quiet_within;
        world.start_nats().await?;
        world.provision().await?;
        if with_gateway {
            world.start_gateway().await?;
        }
        if with_runner {
            world.start_runner().await?;
        }
        Ok(world)
    }

    fn make_project(&self, folder: &Folder) -> Result<()> {
        if self.directory.is_some() {
            return Ok(());
        }
        match self.content {
            Content::Repository => project::repository(&folder.project()),
            Content::Plain => project::plain(&folder.project()),
            Content::Missing => Ok(()),
        }
    }

    fn settings(
        &self,
        folder: &Folder,
        discord: &discord_sim::Sim,
        anthropic: &anthropic_sim::Sim,
    ) -> Result<Settings> {
        let people = discord.discord();
        let project = ProjectSettings {
            name: PROJECT.to_owned(),
            channels: vec![people.channel(PROJECT).to_string()],
            people: self.people.toml(&people),
            directory: self.directory.clone().unwrap_or_else(|| folder.project()),
            tools: self.tools.clone(),
            more_runner: self.more_project.clone(),
            shared: self.runners == Runners::Several,
        };
        Ok(Settings {
            runner: "host".to_owned(),
            slots: self.slots,
            discord: DiscordSettings {
                connect_to: Some(discord.rest_addr),
                ca_file: Some(folder.ca_file()),
            },
            claude: self.claude_settings(folder, anthropic)?,
            projects: vec![project],
            more_gateway: format!("{}{}", self.more_gateway, self.status),
            more_runner: self.more_runner.clone(),
        })
    }

    fn claude_settings(
        &self,
        folder: &Folder,
        anthropic: &anthropic_sim::Sim,
    ) -> Result<ClaudeSettings> {
        let (program, mut env) = match &self.claude {
            Claude::Real => (programs::claude()?, against(&anthropic.url())),
            Claude::LoggedOut => {
                let mut env = against(&anthropic.url());
                env.remove(KEY);
                (programs::claude()?, env)
            }
            Claude::Sim => (programs::built("claude-sim")?, simulated(folder)),
            Claude::Program(program) => (program.clone(), BTreeMap::new()),
        };
        env.extend(self.claude_env.clone());
        Ok(ClaudeSettings { program: program.display().to_string(), env })
    }

    fn env(&self, folder: &Folder) -> Environments {
        let token = discord_sim::DEFAULT_TOKEN;
        let mut all = base(folder);
        all.extend(self.env.clone());
        let mut gateway = self.gateway_env.clone();
        gateway.insert("DISCORD_TOKEN".into(), token.into());
        Environments { all, gateway, runner: self.runner_env.clone() }
    }
}

impl People {
    fn toml(&self, discord: &Discord) -> String {
        match self {
            People::Everyone => "\"everyone\"".to_owned(),
            People::Role(name) => format!("{{ roles = [\"{}\"] }}", discord.role(name)),
            People::User(name) => format!("{{ users = [\"{}\"] }}", discord.user(name)),
        }
    }
}

const KEY: &str = "ANTHROPIC_API_KEY";

/// What all programs of a folder have in their environment: no more than they need, and nothing of
/// the user's own but PATH.
pub fn base(folder: &Folder) -> Environment {
    let path = env::var_os("PATH").unwrap_or_default();
    [
        ("HOME", folder.home().into_os_string()),
        ("PATH", path),
        ("LANG", "C.UTF-8".into()),
        // The logs are files.
        ("NO_COLOR", "1".into()),
        ("TERM", "xterm-256color".into()),
        ("TMPDIR", folder.temporary().into_os_string()),
        ("TMUX_TMPDIR", folder.tmux().into_os_string()),
    ]
    .map(|(name, value)| (name.into(), value))
    .into()
}

/// What makes the real claude talk to an anthropic-sim and to nothing else.
pub fn against(url: &str) -> BTreeMap<String, String> {
    [
        ("ANTHROPIC_BASE_URL", url),
        (KEY, "simulated"),
        ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
        // Otherwise it tries again for three minutes.
        ("CLAUDE_CODE_MAX_RETRIES", "0"),
        ("DISABLE_AUTOUPDATER", "1"),
        ("DISABLE_ERROR_REPORTING", "1"),
        ("DISABLE_TELEMETRY", "1"),
        // It otherwise refuses some modes to root, which a container's user is.
        ("IS_SANDBOX", "1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

fn simulated(folder: &Folder) -> BTreeMap<String, String> {
    let gates = folder.gates().display().to_string();
    let ledger = folder.ledger().display().to_string();
    [
        ("CLAUDE_SIM_DIR", gates),
        ("CLAUDE_SIM_LEDGER", ledger),
        ("CLAUDE_CODE_MAX_RETRIES", "0".to_owned()),
        // What it logs in with.
        (KEY, "simulated".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// A PATH that has some programs and no other: what a story takes away is not found elsewhere.
///
/// # Errors
///
/// When one of them is not on our own PATH, or a link cannot be made.
pub fn path_of(folder: &Folder, names: &[&str]) -> Result<OsString> {
    let bin = folder.root().join("bin");
    fs::create_dir_all(&bin).with_context(|| format!("cannot make {}", bin.display()))?;
    for name in names {
        let program = programs::on_path(name).with_context(|| format!("{name} is not on PATH"))?;
        std::os::unix::fs::symlink(program, bin.join(name))
            .with_context(|| format!("cannot link {name}"))?;
    }
    Ok(bin.into())
}
