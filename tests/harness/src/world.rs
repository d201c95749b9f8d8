//! A world: everything that is between a person's message and claude's answer, in one folder.
//!
//! It acts as people in the simulated Discord and looks at what they see. Waiting is in `waiting.rs`,
//! taking parts down and up again in `parts.rs`; what must not be left behind is checked when the
//! world is dropped (`ending.rs`).

use std::fs;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use discord_sim::{ChannelId, Discord, Draft, Message, MessageId, NewFile};
use tempfile::TempDir;
use tokio::sync::Mutex as AsyncMutex;

use crate::builder::{Builder, Claude, PROJECT};
use crate::ending::QUIET_WITHIN;
use crate::folder::Folder;
use crate::http;
use crate::ledger::Ledger;
use crate::measure::{Happened, Measure};
use crate::processes::{self, Process};
use crate::question::Question;
use crate::stack::Stack;

/// How long anything in a story may take: seconds on an idle machine, and a test machine is not.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// The folder, and what removes it.
#[derive(Debug)]
pub(crate) struct Keep {
    pub(crate) folder: Folder,
    pub(crate) temp: TempDir,
}

/// A running world.
#[derive(Debug)]
pub struct World {
    pub(crate) keep: Keep,
    pub(crate) claude: Claude,
    pub(crate) discord: discord_sim::Sim,
    anthropic: anthropic_sim::Sim,
    pub(crate) stack: AsyncMutex<Stack>,
    channel: ChannelId,
    pub(crate) asked: Mutex<Vec<MessageId>>,
    told: Mutex<Vec<MessageId>>,
    pub(crate) measure: Measure,
    /// Whether it is asked at the end what was left behind; not after a failure.
    pub(crate) strict: AtomicBool,
    /// How long the last answer and claude's end may take when it ends.
    pub(crate) quiet_within: Duration,
}

/// The beginning.
impl World {
    /// A world with claude-sim.
    ///
    /// # Errors
    ///
    /// What kept a part from starting.
    pub async fn start() -> Result<Self> {
        Builder::default().start().await
    }

    /// A world with the real claude.
    ///
    /// # Errors
    ///
    /// What kept a part from starting.
    pub async fn start_real() -> Result<Self> {
        Builder::default().claude(Claude::Real).start().await
    }

    /// A world of other settings.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn new(
        keep: Keep,
        claude: Claude,
        discord: discord_sim::Sim,
        anthropic: anthropic_sim::Sim,
        stack: Stack,
    ) -> Self {
        let channel = discord.discord().channel(PROJECT);
        let measure = Measure::begin(&discord.discord());
        Self {
            keep,
            claude,
            discord,
            anthropic,
            stack: AsyncMutex::new(stack),
            channel,
            asked: Mutex::default(),
            told: Mutex::default(),
            measure,
            strict: AtomicBool::new(true),
            quiet_within: QUIET_WITHIN,
        }
    }
}

/// What people do.
impl World {
    /// Alice asks in the project's channel.
    ///
    /// # Errors
    ///
    /// When Discord refuses the message.
    pub fn say(&self, text: &str) -> Result<Question<'_>> {
        self.say_as("alice", text)
    }

    /// Somebody asks in the project's channel.
    ///
    /// # Errors
    ///
    /// When Discord refuses the message.
    pub fn say_as(&self, who: &str, text: &str) -> Result<Question<'_>> {
        self.write(self.channel, who, text, Vec::new())
    }

    /// Alice asks, with files.
    ///
    /// # Errors
    ///
    /// When Discord refuses the message.
    pub fn say_with(&self, text: &str, files: Vec<NewFile>) -> Result<Question<'_>> {
        self.write(self.channel, "alice", text, files)
    }

    /// Somebody asks by a reply to a message, in the place where that is.
    ///
    /// # Errors
    ///
    /// When Discord refuses the message.
    pub fn reply(&self, who: &str, to: &Message, text: &str) -> Result<Question<'_>> {
        let discord = self.discord();
        let message = discord.reply(to.channel, discord.user(who), to.id, text);
        let message = message.map_err(|error| anyhow!("Discord refuses the message: {error:?}"))?;
        lock(&self.asked).push(message);
        self.measure.note(Happened::Asked);
        Ok(Question::new(self, message, to.channel))
    }

    /// Somebody asks in a thread that the bot did not start, or in another channel.
    ///
    /// # Errors
    ///
    /// When Discord refuses the message.
    pub fn say_in(&self, thread: ChannelId, who: &str, text: &str) -> Result<Question<'_>> {
        self.write(thread, who, text, Vec::new())
    }

    /// A question that somebody wrote in the project's channel by other means, as at the page.
    pub fn asked(&self, message: MessageId) -> Question<'_> {
        lock(&self.asked).push(message);
        self.measure.note(Happened::Asked);
        Question::new(self, message, self.channel)
    }

    pub(crate) fn write(
        &self,
        channel: ChannelId,
        who: &str,
        text: &str,
        files: Vec<NewFile>,
    ) -> Result<Question<'_>> {
        let discord = self.discord();
        let draft = Draft { content: text.to_owned(), files, ..Draft::default() };
        let message = discord.post(channel, discord.user(who), draft);
        let message = message.map_err(|error| anyhow!("Discord refuses the message: {error:?}"))?;
        lock(&self.asked).push(message);
        self.measure.note(Happened::Asked);
        Ok(Question::new(self, message, channel))
    }

    /// Opens a gate of a script, for claude-sim and the real claude.
    ///
    /// # Errors
    ///
    /// When the file that is the gate cannot be written.
    pub fn release(&self, gate: &str) -> Result<()> {
        self.measure.note(Happened::Released);
        self.anthropic.release(gate);
        fs::write(self.folder().gates().join(gate), "").context("cannot open a gate")
    }
}

/// What can be seen.
impl World {
    /// The simulated Discord.
    pub fn discord(&self) -> Discord {
        self.discord.discord()
    }

    /// Where people may read along.
    pub fn page_url(&self) -> &str {
        &self.discord.page_url
    }

    /// The simulated Anthropic.
    pub fn anthropic(&self) -> &anthropic_sim::Sim {
        &self.anthropic
    }

    /// The project's channel.
    pub fn channel(&self) -> ChannelId {
        self.channel
    }

    /// The folder of it all.
    pub fn folder(&self) -> &Folder {
        &self.keep.folder
    }

    /// What every claude-sim did so far.
    pub fn ledger(&self) -> Ledger {
        Ledger::read(&self.folder().ledger())
    }

    /// The prompts of claude's requests to Anthropic, in order.
    pub fn requested(&self) -> Vec<String> {
        let turns = self.anthropic.requests().into_iter();
        let turns = turns.filter(|request| request.kind == anthropic_sim::Kind::Turn);
        turns.map(|request| request.prompt).collect()
    }

    /// Everything of this world that runs besides the three servers: keepers, claude, tmux.
    pub async fn processes(&self) -> Vec<Process> {
        let ours = self.stack.lock().await.pids();
        let all = processes::naming(self.folder().root()).into_iter();
        all.filter(|process| !ours.contains(&process.pid)).collect()
    }

    /// What a log says, by the name of its program: `gateway-svc`, `runner-svc`, `nats-server`.
    pub fn log(&self, name: &str) -> String {
        let file = self.folder().logs().join(format!("{name}.log"));
        fs::read(file).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// What is shown in the window of this name, in every tmux session there is.
    pub fn screens(&self, window: &str) -> Vec<String> {
        processes::tmux_screens(&self.folder().tmux(), window)
    }

    /// The status and the text of a health page of the gateway.
    ///
    /// # Errors
    ///
    /// When nobody answers.
    pub async fn gateway_page(&self, path: &str) -> Result<(u16, String)> {
        let address: SocketAddr = self.stack.lock().await.gateway_health();
        http::get(address, path).await
    }

    /// Asks the gateway's HTTP API: the status and the text of what it says.
    ///
    /// # Errors
    ///
    /// When nobody answers.
    pub async fn api(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: &str,
    ) -> Result<(u16, String)> {
        let address = self.stack.lock().await.gateway_health();
        http::request(address, (method, path), token, body).await
    }

    /// Where NATS listens.
    pub async fn nats_address(&self) -> SocketAddr {
        self.stack.lock().await.nats_address()
    }

    /// The status and the text of a health page of the runner.
    ///
    /// # Errors
    ///
    /// When nobody answers.
    pub async fn runner_page(&self, path: &str) -> Result<(u16, String)> {
        let address: SocketAddr = self.stack.lock().await.runner_health();
        http::get(address, path).await
    }
}

/// What the parts of the harness share.
impl World {
    /// The messages that were given as an answer before, and from now on these as well.
    pub(crate) fn told(&self) -> MutexGuard<'_, Vec<MessageId>> {
        lock(&self.told)
    }

    /// Notes that the story failed, and tells all there is to know about it.
    pub(crate) async fn fail(&self, error: anyhow::Error) -> anyhow::Error {
        self.strict.store(false, Ordering::SeqCst);
        let tails = self.stack.lock().await.tails();
        anyhow!("{error:#}\n{tails}")
    }

    /// Notes it if the story failed.
    pub(crate) fn noting<T>(&self, result: Result<T>) -> Result<T> {
        if result.is_err() {
            self.strict.store(false, Ordering::SeqCst);
        }
        result
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
