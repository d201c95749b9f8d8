//! One message of a person, and all that becomes of it in Discord.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};
use discord_sim::{BOT_ID, ChannelId, Message, MessageId, NewFile, View};

use crate::builder::PROJECT;
use crate::world::World;

/// What the bot puts under a message that it took.
const SEEN: &str = "👀";
/// What it puts under a message whose run has ended.
pub(crate) const MARKS: [&str; 3] = ["✅", "⚠️", "⏹️"];

/// A message that somebody wrote to the bot.
#[derive(Clone, Copy, Debug)]
pub struct Question<'w> {
    world: &'w World,
    message: MessageId,
    channel: ChannelId,
    is_in_thread: bool,
}

impl<'w> Question<'w> {
    pub(crate) fn new(world: &'w World, message: MessageId, channel: ChannelId) -> Self {
        let is_thread = |view: &View<'_>| {
            view.guild.channel(channel).is_ok_and(|channel| channel.thread.is_some())
        };
        let is_in_thread = world.discord().view(is_thread);
        Self { world, message, channel, is_in_thread }
    }

    /// The message.
    pub fn message(&self) -> MessageId {
        self.message
    }

    /// The thread that it begins, or was written in.
    pub fn thread(&self) -> ChannelId {
        if self.is_in_thread { self.channel } else { ChannelId::from(self.message) }
    }

    /// The worktree that its thread has, if it has one.
    pub fn worktree(&self) -> PathBuf {
        let all = self.world.folder().runner_state().join("worktrees").join(PROJECT);
        all.join(self.thread().to_string())
    }

    /// Waits for 👀.
    ///
    /// # Errors
    ///
    /// When it does not come.
    pub async fn is_seen(&self) -> Result<()> {
        let has_eyes = |view: &View<'_>| {
            let message = view.guild.message(self.message)?;
            message.has_reaction(BOT_ID, SEEN).then_some(())
        };
        self.world.sees("👀", has_eyes).await
    }

    /// Waits for the thread that it begins, and gives its name.
    ///
    /// # Errors
    ///
    /// When it does not come.
    pub async fn thread_name(&self) -> Result<String> {
        let find = |view: &View<'_>| view.guild.thread_of(self.message).map(|it| it.name.clone());
        self.world.sees("a thread", find).await
    }

    /// Waits for the mark of its end, and until it is the only one.
    ///
    /// # Errors
    ///
    /// When none comes.
    pub async fn mark(&self) -> Result<&'static str> {
        self.world.sees("a mark", |view| mark(view, self.message)).await
    }

    /// Waits for the answer, all pages joined by line breaks. With several questions in a thread,
    /// ask for the answers in the order of the questions.
    ///
    /// # Errors
    ///
    /// When none comes, or the run failed.
    pub async fn answer(&self) -> Result<String> {
        self.pages().await.map(|pages| pages.join("\n"))
    }

    /// Waits for the answer, a text for each message that it takes.
    ///
    /// # Errors
    ///
    /// When none comes, or the run failed.
    pub async fn pages(&self) -> Result<Vec<String>> {
        self.ended_with("✅").await
    }

    /// Waits for the reason of a failure.
    ///
    /// # Errors
    ///
    /// When none comes, or the run was answered.
    pub async fn failure(&self) -> Result<String> {
        self.ended_with("⚠️").await.map(|pages| pages.join("\n"))
    }

    async fn ended_with(&self, expected: &str) -> Result<Vec<String>> {
        let mark = self.mark().await?;
        let texts = self.texts();
        if mark == expected {
            return Ok(texts);
        }
        let error = anyhow!("ended with {mark} and not {expected}:\n{}", texts.join("\n"));
        Err(self.world.fail(error).await)
    }

    /// What the bot said in the thread since, and was not given before.
    pub fn texts(&self) -> Vec<String> {
        let thread = self.thread();
        let mut told = self.world.told();
        let all: Vec<Message> = self.world.discord().messages(thread);
        let by_bot = all.into_iter().filter(|it| it.author == BOT_ID && self.message < it.id);
        let mut texts = Vec::new();
        for message in by_bot {
            if !told.contains(&message.id) {
                told.push(message.id);
                texts.extend(said(&message).map(str::to_owned));
            }
        }
        texts
    }

    /// Waits for the line that refuses it.
    ///
    /// # Errors
    ///
    /// When none comes.
    pub async fn refusal(&self) -> Result<String> {
        self.world.sees("a refusal", |view| refusal(view, self.channel, self.message)).await
    }

    /// Alice asks again, in the thread.
    ///
    /// # Errors
    ///
    /// When there is no thread, or Discord refuses the message.
    pub async fn follow_up(&self, text: &str) -> Result<Question<'w>> {
        self.follow_up_as("alice", text).await
    }

    /// Somebody else asks in the thread.
    ///
    /// # Errors
    ///
    /// As for [`Question::follow_up`].
    pub async fn follow_up_as(&self, who: &str, text: &str) -> Result<Question<'w>> {
        let thread = self.thread();
        let find = |view: &View<'_>| view.guild.channel(thread).ok().map(|_| ());
        self.world.sees("a thread", find).await?;
        self.world.write(thread, who, text, Vec::new())
    }

    /// Alice asks again, in the thread, with files.
    ///
    /// # Errors
    ///
    /// As for [`Question::follow_up`].
    pub async fn follow_up_with(&self, text: &str, files: Vec<NewFile>) -> Result<Question<'w>> {
        let thread = self.thread();
        let find = |view: &View<'_>| view.guild.channel(thread).ok().map(|_| ());
        self.world.sees("a thread", find).await?;
        self.world.write(thread, "alice", text, files)
    }

    /// The files that the bot gave in the thread, in order: their names, and what is in them.
    pub fn files(&self) -> Vec<(String, Vec<u8>)> {
        let discord = self.world.discord();
        let by_bot = discord.messages(self.thread()).into_iter().filter(|it| it.is_bot);
        let files: Vec<_> = by_bot.flat_map(|it| it.attachments).collect();
        let bytes = |id| discord.view(|view| view.guild.file(id).map(|it| it.to_vec()));
        files.iter().map(|it| (it.filename.clone(), bytes(it.id).unwrap_or_default())).collect()
    }

    /// Where the runner of this world keeps what came with it.
    pub fn inbox(&self) -> PathBuf {
        self.inbox_in(&self.world.folder().runner_state())
    }

    /// Where a runner with this state directory keeps what came with it.
    pub fn inbox_in(&self, state: &Path) -> PathBuf {
        let thread = state.join("files").join(PROJECT).join(self.thread().to_string());
        thread.join("in").join(format!("m{}", self.message))
    }

    /// All that the bot ever said in the thread.
    ///
    /// # Errors
    ///
    /// When there is no thread.
    pub fn said_in_thread(&self) -> Result<Vec<String>> {
        let discord = self.world.discord();
        if !discord.view(|view| view.guild.channel(self.thread()).is_ok()) {
            bail!("there is no thread");
        }
        let all = discord.history(self.thread()).into_iter();
        let by_bot = all.filter(|it| it.author == BOT_ID && it.kind.is_written());
        Ok(by_bot.filter_map(|it| said(&it).map(str::to_owned)).collect())
    }
}

/// What a message says to people: not the line under an answer that tells what it took, and nothing of
/// a status message, which comes without a sound and goes.
pub fn said(message: &Message) -> Option<&str> {
    /// Discord's flag of a message that notifies nobody.
    const SILENT: u64 = 1 << 12;
    if message.is_bot && message.flags & SILENT != 0 {
        return None;
    }
    match message.content.rsplit_once('\n') {
        Some((text, last)) if is_footer(last) => Some(text),
        None if is_footer(&message.content) => None,
        Some(_) | None => Some(&message.content),
    }
}

/// Whether a line tells what an answer took: a duration, and more behind a dot.
pub fn is_footer(line: &str) -> bool {
    let Some((duration, _)) = line.strip_prefix("-# ").and_then(|line| line.split_once(" · "))
    else {
        return false;
    };
    let words: Vec<&str> = duration.split(' ').collect();
    words.chunks(2).all(|pair| match pair {
        [number, unit] => number.parse::<f64>().is_ok() && ["h", "m", "s"].contains(unit),
        _ => false,
    })
}

/// The mark under a message, once 👀 is gone.
pub(crate) fn mark(view: &View<'_>, message: MessageId) -> Option<&'static str> {
    let message = view.guild.message(message)?;
    if message.has_reaction(BOT_ID, SEEN) {
        return None;
    }
    MARKS.into_iter().find(|emoji| message.has_reaction(BOT_ID, emoji))
}

/// The bot's reply to a message, in the place where that was written.
pub(crate) fn refusal(view: &View<'_>, place: ChannelId, message: MessageId) -> Option<String> {
    let replies = |it: &&Message| {
        it.author == BOT_ID && it.reference.is_some_and(|to| to.message == Some(message))
    };
    view.guild.messages(place).find(replies).map(|it| it.content.clone())
}
