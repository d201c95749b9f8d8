//! The servers that are measured, between simulators in this very process, and what people do there.
//!
//! The services are the built ones, started as a person would start them. The simulated Discord limits
//! nothing, since its limits are not ours to measure, unless a part of the bench is about them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use harness::builder::base;
use harness::discord_sim::{self, BOT_ID, ChannelId, Discord, Draft, MessageId, View};
use harness::sweeper::Reach;
use harness::{
    ClaudeSettings, DiscordSettings, Environments, Folder, Noted, Plan, Ports, ProjectSettings,
    Settings, Stack, built, free_port, processes, project, said,
};
use tempfile::TempDir;
use tokio::task::block_in_place;
use tokio::time::{Instant, sleep};

use crate::samples::now_ns;

/// How long anything may take before the bench gives up; thousands of runs are waited for in parts.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// How often that is looked at which nothing tells of.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// How many runs the runner works on at once, unless a part of the bench says otherwise: four for
/// each of two cores.
pub(crate) const SLOTS: u16 = 8;
/// Who asks.
const PERSON: &str = "alice";
/// What they say. claude-sim answers at once.
const QUESTION: &str = "[[say Done.]]";

/// What is set up.
#[derive(Clone, Debug)]
pub(crate) struct Scene {
    /// The projects, each with a channel of its own.
    projects: Vec<String>,
    /// Whether the runner is started, which serves them all.
    with_runner: bool,
    /// Whether requests are limited as Discord limits them.
    limited: bool,
}

impl Scene {
    /// One project, and the runner.
    pub(crate) fn one_runner() -> Self {
        Self { projects: vec!["app".to_owned()], with_runner: true, limited: false }
    }

    /// The same at a Discord with limits.
    pub(crate) fn limited() -> Self {
        Self { limited: true, ..Self::one_runner() }
    }

    /// Projects of runners that are simulated.
    pub(crate) fn simulated(projects: Vec<String>) -> Self {
        Self { projects, with_runner: false, limited: false }
    }
}

/// A running system.
#[derive(Debug)]
pub(crate) struct Place {
    /// The servers.
    pub(crate) stack: Stack,
    /// Where all of it lies.
    pub(crate) folder: Folder,
    settings: Settings,
    sim: discord_sim::Sim,
    channels: Vec<ChannelId>,
    /// How far claude-sim's ledger was read.
    read_to: u64,
    _temp: TempDir,
}

impl Place {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// What kept a part from starting.
    pub(crate) async fn start(scene: &Scene) -> Result<Self> {
        let temp = tempfile::Builder::new().prefix("holdfast-").tempdir();
        let temp = temp.context("no temporary folder")?;
        let folder = Folder::make(temp.path())?;
        project::repository(&folder.project())?;
        let options = discord_sim::Options { rate_limits: scene.limited, ..Default::default() };
        let sim = discord_sim::Sim::start(options).await?;
        sim.write_ca(&folder.ca_file()).context("cannot write the certificate")?;
        let channels: Vec<ChannelId> =
            scene.projects.iter().map(|name| sim.discord().channel(name)).collect();
        let settings = settings(scene, &folder, &sim, &channels)?;
        let configs = settings.write(&folder)?;
        let ports = Ports { nats: free_port()?, gateway: free_port()?, runner: free_port()? };
        let token = discord_sim::DEFAULT_TOKEN;
        let environments = Environments {
            all: base(&folder),
            gateway: [("DISCORD_TOKEN".into(), token.into())].into(),
            runner: BTreeMap::new(),
        };
        let mut stack = Stack::new(&folder, configs, ports, environments, Reach::Everything)?;
        stack.start_nats().await?;
        stack.provision()?;
        stack.start_gateway().await?;
        if scene.with_runner {
            stack.start_runner().await?;
        }
        Ok(Self { stack, folder, settings, sim, channels, read_to: 0, _temp: temp })
    }

    /// Ends it: the services as a person would, all else by force.
    ///
    /// # Errors
    ///
    /// When a service does not end as it should.
    pub(crate) async fn end(mut self) -> Result<()> {
        let problems = block_in_place(|| self.stack.stop());
        processes::end_tmux(&self.folder.tmux());
        let sweeper = self.stack.sweeper_pid();
        block_in_place(|| processes::kill_naming(self.folder.root(), &[sweeper]));
        drop(self.stack);
        self.sim.stop().await?;
        ensure!(problems.is_empty(), "{}", problems.join("\n"));
        Ok(())
    }

    /// The simulated Discord.
    pub(crate) fn discord(&self) -> Discord {
        self.sim.discord()
    }

    /// The channel of a project, by its number.
    pub(crate) fn channel(&self, project: usize) -> ChannelId {
        self.channels[project % self.channels.len()]
    }

    /// Where Discord's REST is answered for.
    pub(crate) fn rest(&self) -> std::net::SocketAddr {
        self.sim.rest_addr
    }

    /// How the gateway is started; its last argument is the command.
    pub(crate) fn gateway_plan(&mut self) -> Plan {
        self.stack.gateway().plan_mut().clone()
    }

    /// The processes of gateway, runner (if there is one) and nats-server.
    ///
    /// # Errors
    ///
    /// When gateway or nats-server does not run.
    pub(crate) fn pids(&mut self) -> Result<(u32, Option<u32>, u32)> {
        let gateway = self.stack.gateway().pid().context("the gateway does not run")?;
        let nats = self.stack.nats().pid().context("nats-server does not run")?;
        Ok((gateway, self.stack.runner().pid(), nats))
    }

    /// Starts the runner anew with other slots.
    ///
    /// # Errors
    ///
    /// When it does not end or start.
    pub(crate) async fn set_slots(&mut self, slots: u16) -> Result<()> {
        self.settings.slots = slots;
        self.settings.write(&self.folder)?;
        let ended = block_in_place(|| self.stack.runner().stop(PATIENCE))?;
        ensure!(ended.success(), "the runner ended with {ended}");
        self.stack.start_runner().await
    }

    /// Somebody asks, in a channel or a thread.
    ///
    /// # Errors
    ///
    /// When Discord refuses the message.
    pub(crate) fn ask(&self, place: ChannelId) -> Result<MessageId> {
        self.say(place, QUESTION)
    }

    /// Somebody says something.
    ///
    /// # Errors
    ///
    /// When Discord refuses the message.
    pub(crate) fn say(&self, place: ChannelId, text: &str) -> Result<MessageId> {
        let discord = self.discord();
        let draft = Draft { content: text.to_owned(), ..Draft::default() };
        let said = discord.post(place, discord.user(PERSON), draft);
        said.map_err(|error| anyhow!("Discord refuses the message: {error:?}"))
    }

    /// Waits until each of these threads has as many posts of the bot; gives the moment.
    ///
    /// # Errors
    ///
    /// When they do not come.
    pub(crate) async fn posted(&mut self, wanted: &[(ChannelId, usize)]) -> Result<i64> {
        let mut left = wanted.to_vec();
        let find = |view: &View<'_>| {
            left.retain(|(thread, count)| posts(view, *thread) < *count);
            left.is_empty().then(now_ns)
        };
        match self.discord().wait_for("answers", PATIENCE, find).await {
            Ok(moment) => Ok(moment),
            Err(_) => bail!("{} answers did not come\n{}", left.len(), self.stack.tails()),
        }
    }

    /// Waits until each of these messages has its mark: it is taken.
    ///
    /// # Errors
    ///
    /// When they do not get one.
    pub(crate) async fn marked(&self, messages: &[MessageId]) -> Result<()> {
        let are_marked = |view: &View<'_>| {
            messages.iter().all(|message| !view.guild.reactions(*message).is_empty()).then_some(())
        };
        let marked = self.discord().wait_for("marks", PATIENCE, are_marked).await;
        marked.ok().with_context(|| format!("a message has no mark\n{}", self.stack.tails()))
    }

    /// How many posts of the bot a thread has.
    pub(crate) fn posts(&self, thread: ChannelId) -> usize {
        self.discord().view(|view| posts(view, thread))
    }

    /// Waits until the runner has swept everything of the runs before.
    ///
    /// # Errors
    ///
    /// When it does not.
    pub(crate) async fn is_swept(&self) -> Result<()> {
        let spools = self.folder.runner_state().join("spools");
        let end = Instant::now() + PATIENCE;
        while std::fs::read_dir(&spools)?.next().is_some() {
            ensure!(Instant::now() < end, "a spool stays\n{}", self.stack.tails());
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Waits until so many claude-sims are held by a gate since the ledger was last read.
    ///
    /// # Errors
    ///
    /// When they do not come.
    pub(crate) async fn until_waiting(&mut self, count: usize) -> Result<()> {
        self.until_noted("wait", count).await.map(drop)
    }

    /// Waits until something was noted so often since the ledger was last read; gives the last one.
    ///
    /// # Errors
    ///
    /// When it is not.
    pub(crate) async fn until_noted(&mut self, event: &str, count: usize) -> Result<Noted> {
        let end = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        while seen.len() < count {
            seen.extend(self.noted()?.into_iter().filter(|noted| noted.event == event));
            ensure!(
                Instant::now() < end,
                "{} of {count} times {event}\n{}",
                seen.len(),
                self.stack.tails()
            );
            sleep(LOOK_EVERY * 10).await;
        }
        seen.pop().context("nothing was waited for")
    }

    /// Lets those go on whom a gate holds.
    ///
    /// # Errors
    ///
    /// When it cannot be opened.
    pub(crate) fn open_gate(&self, gate: &str) -> Result<()> {
        std::fs::write(self.folder.gates().join(gate), "").context("cannot open a gate")
    }

    /// What every claude-sim noted since the last time; a line that is being written is left for the
    /// next.
    ///
    /// # Errors
    ///
    /// When the ledger cannot be read.
    pub(crate) fn noted(&mut self) -> Result<Vec<Noted>> {
        let mut file = match File::open(self.folder.ledger()) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).context("cannot open the ledger"),
        };
        file.seek(SeekFrom::Start(self.read_to))?;
        let mut text = String::new();
        file.read_to_string(&mut text).context("cannot read the ledger")?;
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        self.read_to += u64::try_from(whole)?;
        text[..whole]
            .lines()
            .map(|line| serde_json::from_str(line).context("the ledger has a bad line"))
            .collect()
    }
}

/// How many posts of the bot a thread has that say something. A status message, which comes while a run
/// waits for a slot, and goes, is none.
pub(crate) fn posts(view: &View<'_>, thread: ChannelId) -> usize {
    let by_bot = view.guild.messages(thread).filter(|message| message.author == BOT_ID);
    by_bot.filter(|message| said(message).is_some()).count()
}

fn settings(
    scene: &Scene,
    folder: &Folder,
    sim: &discord_sim::Sim,
    channels: &[ChannelId],
) -> Result<Settings> {
    let program: PathBuf = built("claude-sim")?;
    let variables = [
        ("CLAUDE_SIM_DIR", folder.gates().display().to_string()),
        ("CLAUDE_SIM_LEDGER", folder.ledger().display().to_string()),
        ("ANTHROPIC_API_KEY", "simulated".to_owned()),
    ];
    let env = variables.map(|(name, value)| (name.to_owned(), value)).into();
    let projects = scene.projects.iter().zip(channels).map(|(name, channel)| ProjectSettings {
        shared: false,
        name: name.clone(),
        channels: vec![channel.to_string()],
        people: "\"everyone\"".to_owned(),
        directory: folder.project(),
        tools: None,
        more_runner: String::new(),
    });
    Ok(Settings {
        runner: "host".to_owned(),
        slots: SLOTS,
        discord: DiscordSettings {
            connect_to: Some(sim.rest_addr),
            ca_file: Some(folder.ca_file()),
        },
        claude: ClaudeSettings { program: program.display().to_string(), env },
        projects: projects.collect(),
        more_gateway: String::new(),
        more_runner: String::new(),
    })
}
