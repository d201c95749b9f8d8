//! `up` without a token: a Discord of its own, and the pinned claude on a simulated Anthropic.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsStr;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use harness::builder::{against, base};
use harness::sweeper::Reach;
use harness::{
    ClaudeSettings, DiscordSettings, Environments, Folder, Ports, ProjectSettings, Settings, Stack,
};
use harness::{anthropic_sim, claude, discord_sim};

use crate::project;
use crate::running::Running;
use crate::say;
use crate::state::State;

/// Who writes on the page, unless somebody says another name.
const PERSON: &str = "you";

/// The simulated Discord and Anthropic.
#[derive(Debug)]
pub(crate) struct Simulators {
    discord: discord_sim::Sim,
    anthropic: anthropic_sim::Sim,
}

impl Simulators {
    async fn start(folder: &Folder, state: &mut State) -> Result<Self> {
        let options = discord_sim::Options {
            dir: Some(folder.root().join("discord")),
            rest_port: state.port("discord-rest")?,
            gateway_port: state.port("discord-gateway")?,
            page_port: state.port("page")?,
            ..Default::default()
        };
        let discord = discord_sim::Sim::start(options).await?;
        discord.write_ca(&folder.ca_file()).context("cannot write the certificate")?;
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, state.port("anthropic")?));
        let options = anthropic_sim::Options { listen, ..Default::default() };
        let anthropic = anthropic_sim::Sim::start(options).await?;
        Ok(Self { discord, anthropic })
    }

    /// Saves and ends both.
    pub(crate) async fn stop(self) {
        self.anthropic.stop().await;
        if let Err(error) = self.discord.stop().await {
            say(&format!("the simulated Discord was not saved: {error:#}"));
        }
    }
}

/// Makes everything ready to be started.
///
/// # Errors
///
/// What is missing.
pub(crate) async fn prepare(place: &Path, named: Option<PathBuf>) -> Result<Running> {
    let folder = Folder::make(place)?;
    let mut state = State::load(folder.root())?;
    let (chosen, directory) = project::choose(named, &folder, &state.projects)?;
    state.projects.insert(chosen.clone(), directory.clone());
    let simulators = Simulators::start(&folder, &mut state).await?;
    let people = simulators.discord.discord();
    people.user(PERSON);

    // A run of an earlier `up` may belong to any of them.
    let there = state.projects.iter().filter(|(_, directory)| directory.is_dir());
    let projects = there.map(|(name, directory)| ProjectSettings {
        name: name.clone(),
        channels: vec![people.channel(name).to_string()],
        people: "\"everyone\"".to_owned(),
        directory: directory.clone(),
        tools: None,
        more_runner: String::new(),
        shared: false,
    });
    let settings = Settings {
        runner: "here".to_owned(),
        slots: 4,
        discord: DiscordSettings {
            connect_to: Some(simulators.discord.rest_addr),
            ca_file: Some(folder.ca_file()),
        },
        claude: claude_settings(&simulators.anthropic.url())?,
        projects: projects.collect(),
        more_gateway: String::new(),
        more_runner: String::new(),
    };
    let ports = Ports {
        nats: state.port("nats")?,
        gateway: state.port("gateway")?,
        runner: state.port("runner")?,
    };
    state.save()?;
    let configs = settings.write(&folder)?;
    let stack = Stack::new(&folder, configs, ports, environments(&folder), Reach::Children)?;
    let page = simulators.discord.page_url.clone();
    let begin = vec![
        ("chat", format!("{page}   (write in #{chosen})")),
        ("project", directory.display().to_string()),
    ];
    Ok(Running { stack, simulators: Some(simulators), folder, begin })
}

fn claude_settings(url: &str) -> Result<ClaudeSettings> {
    let mut env: BTreeMap<String, String> = against(url);
    // A claude in tmux asks again until the next `up` brings its API back.
    env.remove("CLAUDE_CODE_MAX_RETRIES");
    Ok(ClaudeSettings { program: claude()?.display().to_string(), env })
}

fn environments(folder: &Folder) -> Environments {
    let mut all = base(folder);
    // Whoever attaches finds tmux where their own is.
    let name = OsStr::new("TMUX_TMPDIR");
    match env::var_os(name) {
        Some(own) => all.insert(name.to_owned(), own),
        None => all.remove(name),
    };
    let token = discord_sim::DEFAULT_TOKEN.into();
    Environments { all, gateway: [("DISCORD_TOKEN".into(), token)].into(), runner: BTreeMap::new() }
}
