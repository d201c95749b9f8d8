//! Discord → store: every message is judged once, whether it was heard live or read afterwards.
//!
//! One loop takes events in order. When a session begins it first reads over REST what was missed
//! (`catch_up.rs`), then goes on with what was heard meanwhile; a timer reads again. What was found
//! too late is run when somebody wants it (`late.rs`), one message at a time and after all that was
//! heard. A live message never moves a cursor and is never too late.

mod behind;
mod catch_up;
mod guilds;
mod late;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use platform::clock::now_ms;
use platform::health::Readiness;
use platform::reload::Current;
use platform::telemetry::{self, Ids};
use schemas::ids::{ChannelId, MessageId, RunId, ThreadId};
use schemas::request::Task;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::attached::Files;
use crate::config::Config;
use crate::crash;
use crate::discord::{Discord, Event};
use crate::intake::{Heard, Verdict, Writer, judge};
use crate::missed::{LATE_ORDER, LOST_ORDER, is_late};
use crate::orders::{Orders, Said};
use crate::render;
use crate::routes::Project;
use crate::signals::Signals;
use crate::store::{Accepted, NewRun, Store};
use crate::traced;

pub(crate) use catch_up::gates_until_ms;

/// How soon everything is read again after something could not be stored or read.
const SOON: Duration = Duration::from_secs(10);
/// Places that are remembered as being none of ours.
const STRANGERS_MAX: usize = 10_000;

/// The ears' other end.
pub(crate) struct Hearing {
    config: Current<Config>,
    store: Store,
    discord: Discord,
    signals: Signals,
    readiness: Readiness,
    orders: Orders,
    listening: catch_up::Listening,
    late: late::Late,
    /// The mapped channel of each place that was asked about: a hint that saves a question.
    parents: HashMap<ChannelId, Option<ChannelId>>,
    behind: behind::Behind,
    guilds: guilds::Guilds,
}

/// How a message came to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// As an event.
    Live,
    /// Read over REST, afterwards.
    Read,
}

/// A place where people talk: a mapped channel, or a thread of one.
#[derive(Clone, Copy, Debug)]
struct Spot {
    channel: ChannelId,
    thread: Option<ThreadId>,
}

impl Hearing {
    /// Hears for what is mapped.
    pub(crate) fn new(
        config: Current<Config>,
        store: Store,
        discord: Discord,
        signals: Signals,
        readiness: Readiness,
    ) -> Self {
        let orders = Orders {
            config: config.clone(),
            store: store.clone(),
            discord: discord.clone(),
            signals: signals.clone(),
        };
        Self {
            config,
            store,
            discord,
            signals,
            readiness,
            orders,
            listening: catch_up::Listening::default(),
            late: late::Late::default(),
            parents: HashMap::new(),
            behind: behind::Behind::default(),
            guilds: guilds::Guilds::default(),
        }
    }

    /// Takes events until `stop`, or until nobody speaks any more.
    pub(crate) async fn run(mut self, mut events: mpsc::Receiver<Event>, stop: CancellationToken) {
        let mut timer = self.timer();
        loop {
            if self.behind.take_wish() {
                timer.reset_after(SOON);
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return self.stop_listening().await,
                event = events.recv() => match event {
                    Some(Event::Connected) => {
                        self.begin_session().await;
                        self.readiness.ready("discord");
                    }
                    Some(Event::Alive { since_ms, at_ms }) => self.listens(since_ms, at_ms).await,
                    Some(Event::Edited(channel, message)) => self.edited(channel, message).await,
                    Some(Event::Deleted(message)) => self.deleted(message).await,
                    Some(Event::Message(heard)) => self.hear(&heard).await,
                    Some(Event::Pressed(pressed)) => {
                        self.orders.pressed(&pressed).await;
                        self.late.look_again();
                    }
                    Some(Event::Reacted(reacted)) => self.orders.reacted(&reacted).await,
                    Some(Event::GuildGone { guild, is_outage }) => self.guild_gone(guild, is_outage),
                    Some(Event::GuildHere(guild)) => self.guild_here(guild).await,
                    None => return self.stop_listening().await,
                },
                _ = timer.tick() => self.catch_up().await,
                // What is mapped from now on is read from here: a gateway that ends at once knows then
                // what came since.
                () = self.config.changed() => {
                    timer = self.timer();
                    self.catch_up().await;
                }
                () = std::future::ready(()), if self.late.may_be_due() => self.run_missed().await,
            }
        }
    }

    /// Ticks when everything is to be read again.
    fn timer(&self) -> tokio::time::Interval {
        let mut timer = tokio::time::interval(self.config.now().catch_up.every);
        timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        timer.reset();
        timer
    }

    /// The project of a mapped channel.
    fn mapped(&self, channel: ChannelId) -> Option<Arc<Project>> {
        self.config.now().routes.project_of(channel).cloned()
    }

    /// Judges one message and stores the verdict. What fails is heard again by the next catch-up,
    /// since no cursor moved over it, and so is what comes after it in its place.
    async fn hear(&mut self, heard: &Heard) {
        if self.behind.holds(heard.channel) {
            tracing::debug!(message = %heard.id, "is read in its turn");
            self.behind.leave(heard.channel, heard.id);
            return;
        }
        let span = tracing::info_span!("accept", message.id = %heard.id);
        if let Err(error) = self.try_hear(heard, Found::Live).instrument(span).await {
            tracing::warn!(message = %heard.id, error = format!("{error:#}"), "will be read again");
            self.behind.leave(heard.channel, heard.id);
        }
    }

    async fn try_hear(&mut self, heard: &Heard, found: Found) -> anyhow::Result<()> {
        let Some(mut spot) = self.spot(heard.channel).await? else { return Ok(()) };
        if self.store.is_judged(heard.id).await? {
            return Ok(());
        }
        let Some(project) = self.mapped(spot.channel) else { return Ok(()) };
        let project = &*project;
        spot.thread = self.conversation(heard, spot).await?;
        let may_be_done = found == Found::Read && self.store.may_be_done(heard.id);
        if may_be_done && heard.is_settled {
            tracing::info!(message = %heard.id, "was answered by a store that is gone");
            return self.decline(heard, spot, project, None).await;
        }
        let roles = self.roles(heard, project).await?;
        let is_late =
            found == Found::Read && is_late(heard.id, self.config.now().catch_up.max, now_ms());
        let verdict = match judge(heard, project, &roles) {
            Verdict::Run if is_late => return self.miss(heard, spot, project).await,
            Verdict::Command(_) if is_late => Verdict::Refused(LATE_ORDER.into()),
            Verdict::Command(_) if may_be_done => Verdict::Refused(LOST_ORDER.into()),
            Verdict::Run => return self.accept(heard, spot, project).await,
            Verdict::Command(command) => {
                let Spot { channel, thread } = spot;
                let said = Said { heard, roles: &roles, thread, channel, project };
                return self.orders.command(command, &said).await;
            }
            verdict @ (Verdict::Refused(_) | Verdict::NotForUs) => verdict,
        };
        match &verdict {
            Verdict::Refused(line) => self.decline(heard, spot, project, Some(line)).await,
            Verdict::Run | Verdict::Command(_) | Verdict::NotForUs => {
                self.decline(heard, spot, project, None).await
            }
        }
    }

    async fn decline(
        &self,
        heard: &Heard,
        spot: Spot,
        project: &Project,
        line: Option<&str>,
    ) -> anyhow::Result<()> {
        let rows = line.map(|line| render::told(heard, "refused", line)).unwrap_or_default();
        let asked = (heard.channel, heard.id);
        if self.store.decline(asked, spot.channel, &project.name, &rows, now_ms()).await? {
            crash::point("decline.stored");
            tracing::info!(message = %heard.id, refused = line.is_some(), "is no run");
            self.signals.stored();
        }
        Ok(())
    }

    async fn accept(&self, heard: &Heard, spot: Spot, project: &Project) -> anyhow::Result<()> {
        let heard_ms = now_ms();
        let new = new_run(heard, spot, project);
        let ids = new.trace.as_deref().and_then(Ids::parse);
        let accepting = self.accept_new(heard, spot, project, (&new, heard_ms));
        telemetry::within(ids.as_ref(), accepting).await
    }

    async fn accept_new(
        &self,
        heard: &Heard,
        spot: Spot,
        project: &Project,
        (new, heard_ms): (&NewRun, i64),
    ) -> anyhow::Result<()> {
        if let Some(line) = self.used_up(new, project).await? {
            return self.decline(heard, spot, project, Some(&line)).await;
        }
        let rows = render::accepted(heard, new);
        let rate = project.limits.rate;
        crash::point("accept.heard");
        let storing_ms = now_ms();
        match self.store.accept_within(new, &rows, rate, now_ms()).await? {
            Accepted::Now => {
                crash::point("accept.stored");
                traced::accepted(new, &self.store, (heard_ms, storing_ms));
                tracing::info!(run = %new.run, project = %new.project, "accepted");
                self.signals.stored();
            }
            Accepted::Before => {}
            Accepted::TooMany(over) => {
                let line = rate.line(over, &project.name);
                return self.decline(heard, spot, project, Some(&line)).await;
            }
        }
        Ok(())
    }

    /// Why a question may spend nothing. It is looked at again before its run begins.
    async fn used_up(&self, new: &NewRun, project: &Project) -> anyhow::Result<Option<String>> {
        if !project.limits.has_budget() {
            return Ok(None);
        }
        let now_ms = now_ms();
        let spent = self.store.spent_today(&new.project, new.author.id, now_ms).await?;
        let line = project.limits.used_up(spent, &new.project, now_ms);
        Ok(line.map(|line| format!("{line} Nothing was started.")))
    }

    /// Where a message was written, if that is ours.
    async fn spot(&mut self, place: ChannelId) -> anyhow::Result<Option<Spot>> {
        if self.mapped(place).is_some() {
            return Ok(Some(Spot { channel: place, thread: None }));
        }
        let thread: ThreadId = place.get().to_string().parse()?;
        let channel = match self.store.channel_of(thread).await? {
            Some(channel) => Some(channel),
            None => self.parent(place).await?,
        };
        let mapped = channel.filter(|channel| self.mapped(*channel).is_some());
        Ok(mapped.map(|channel| Spot { channel, thread: Some(thread) }))
    }

    /// The conversation that a message belongs to; `None`: it begins one. In a channel it is a reply
    /// that goes on with a conversation without a thread.
    async fn conversation(&self, heard: &Heard, spot: Spot) -> anyhow::Result<Option<ThreadId>> {
        match (spot.thread, heard.reply_to) {
            (None, Some(message)) => Ok(self.store.threadless(spot.channel, message).await?),
            (thread, None | Some(_)) => Ok(thread),
        }
    }

    /// The project of a place of ours: a mapped channel, or a thread that the store knows.
    async fn project_of(&self, place: ChannelId) -> anyhow::Result<Option<Arc<Project>>> {
        if let Some(project) = self.mapped(place) {
            return Ok(Some(project));
        }
        let channel = self.store.channel_of(place.get().to_string().parse()?).await?;
        Ok(channel.and_then(|channel| self.mapped(channel)))
    }

    async fn parent(&mut self, place: ChannelId) -> anyhow::Result<Option<ChannelId>> {
        if let Some(parent) = self.parents.get(&place) {
            return Ok(*parent);
        }
        let parent = self.discord.parent(place).await.context("asking where a message is")?;
        if STRANGERS_MAX <= self.parents.len() {
            self.parents.clear();
        }
        self.parents.insert(place, parent);
        Ok(parent)
    }

    async fn roles(
        &self,
        heard: &Heard,
        project: &Project,
    ) -> anyhow::Result<Vec<schemas::ids::RoleId>> {
        match &heard.roles {
            Some(roles) => Ok(roles.clone()),
            // A webhook is no member, and whatever its roles were, it starts nothing.
            None if heard.by != Writer::Person => Ok(Vec::new()),
            // A message that was read over REST does not bring its author's roles.
            None if project.asks_for_roles() => self
                .discord
                .roles(heard.channel, heard.author.id)
                .await
                .context("asking for a person's roles"),
            None => Ok(Vec::new()),
        }
    }

    /// A message was edited, or may have been: a run that waits takes its new text.
    async fn edited(&self, channel: ChannelId, message: MessageId) {
        let run = RunId::from(message);
        let edited = async {
            let waiting = self.store.waiting_run(&run).await?;
            let Some(waiting) = waiting else { return anyhow::Ok(()) };
            let Some(heard) = self.discord.message(channel, message).await? else {
                self.deleted(message).await;
                return Ok(());
            };
            let Some(project) = self.project_of(channel).await? else { return Ok(()) };
            let files = Files::sift(&heard.attachments, &project.files).knowing(&waiting.files);
            let is_nothing = heard.content.trim().is_empty() && files.taken.is_empty();
            // What is behind an address changes with each reading, and is no edit.
            let is_same = heard.content == waiting.prompt && files.is_like(&waiting.files);
            if is_same || is_nothing || waiting.is_reworded {
                return Ok(());
            }
            let taken = self.store.rewrite(&run, &heard.content, &files, now_ms()).await?;
            tracing::info!(%run, taken, "was edited while it waited");
            self.signals.stored();
            Ok(())
        };
        if let Err(error) = edited.await {
            tracing::warn!(%run, error = format!("{error:#}"), "an edit was not taken");
        }
    }

    /// A message was deleted: a run that waits is dropped.
    async fn deleted(&self, message: MessageId) {
        let run = RunId::from(message);
        match self.store.drop_waiting(&run, now_ms()).await {
            Ok(true) => {
                tracing::info!(%run, "was deleted while it waited, and is dropped");
                // What was merged into it is told that it waits again.
                self.signals.stored();
            }
            Ok(false) => {}
            Err(error) => tracing::warn!(%run, error = ?error, "was not dropped"),
        }
    }
}

/// The run that a message becomes.
fn new_run(heard: &Heard, spot: Spot, project: &Project) -> NewRun {
    NewRun {
        run: RunId::from(heard.id),
        project: project.name.clone(),
        channel: spot.channel,
        thread: spot.thread.unwrap_or_else(|| heard.id.into()),
        asked: (heard.channel, heard.id),
        author: heard.author.clone(),
        prompt: heard.content.clone(),
        task: Task::Ask,
        files: Files::sift(&heard.attachments, &project.files),
        trace: Some(traced::root()),
    }
}
