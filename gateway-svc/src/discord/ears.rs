//! What is heard in Discord: the connection, and its events in order.
//!
//! Nothing here judges a message; what serenity says becomes a value of ours and goes on.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use futures_util::{Stream, StreamExt};
use platform::clock::now_ms;
use reqwest_serenity as reqwest;
use schemas::ids::{ChannelId, MessageId, RoleId, UserId};
use schemas::request::Author;
use serenity::all as discord;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::clicks::{self, Pressed};
use super::{DiscordError, Result, http};
use crate::intake::{Attachment, Heard, Writer};
use crate::outbox::Mark;

/// How long the connection may take to close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);
/// The longest pause before it is asked again where the gateway is.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// How often it is looked whether the session is alive. What is stored of it is this inexact.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The most presses that are given their first answer at once; each takes three seconds at most.
const PRESSES_MAX: usize = 64;
/// How late a look may be on a busy machine.
const BLIND_MAX_MS: i64 = 30 * 1000;

/// What happens in Discord.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A session began or was resumed: what follows is heard, what came before may be missing.
    Connected,
    /// The session is alive, and was it whenever somebody looked; in milliseconds since 1970.
    Alive {
        /// When this was seen first.
        since_ms: i64,
        /// When this was seen last.
        at_ms: i64,
    },
    /// A message was written.
    Message(Box<Heard>),
    /// A message was edited.
    Edited(ChannelId, MessageId),
    /// A message was deleted.
    Deleted(MessageId),
    /// A button was pressed, something chosen in a menu, or a form handed in.
    Pressed(Box<Pressed>),
    /// A reaction was put under a message.
    Reacted(Reacted),
    /// A server is gone.
    GuildGone {
        /// Its id.
        guild: u64,
        /// Whether Discord has an outage; else the bot was removed from it.
        is_outage: bool,
    },
    /// A server is there, with this id: after READY, after an outage, or since the bot was invited.
    GuildHere(u64),
}

/// A reaction.
#[derive(Clone, Debug)]
pub(crate) struct Reacted {
    /// Where the message is.
    pub(crate) channel: ChannelId,
    /// The message.
    pub(crate) message: MessageId,
    /// Who reacted.
    pub(crate) by: UserId,
    /// With what.
    pub(crate) emoji: String,
}

/// The bot's ears: a connection that is not open yet.
pub(crate) struct Connection {
    token: String,
    client: reqwest::Client,
}

impl Connection {
    /// A connection that will be made with this token, by this client.
    pub(super) fn new(token: String, client: reqwest::Client) -> Self {
        Self { token, client }
    }

    /// Listens until `stop`, and says what it hears in order.
    ///
    /// # Errors
    ///
    /// When Discord lets the bot in no more: a wrong token, missing intents.
    pub(crate) async fn listen(
        self,
        events: mpsc::Sender<Event>,
        stop: CancellationToken,
    ) -> Result<()> {
        let intents = discord::GatewayIntents::GUILDS
            | discord::GatewayIntents::GUILD_MESSAGES
            | discord::GatewayIntents::GUILD_MESSAGE_REACTIONS
            | discord::GatewayIntents::MESSAGE_CONTENT;
        let tasks = TaskTracker::new();
        let told = events.clone();
        let ears = Ears {
            events,
            hands: Arc::new(http(&self.token, self.client.clone())),
            presses: Arc::new(Semaphore::new(PRESSES_MAX)),
            tasks: tasks.clone(),
            stop: stop.clone(),
            listening: Mutex::new(None),
        };
        let mut client =
            serenity::client::ClientBuilder::new_with_http(http(&self.token, self.client), intents)
                .event_handler(ears)
                .await?;
        let Some(address) = stop.run_until_cancelled(address(&client.http)).await else {
            return Ok(());
        };
        *client.ws_url.lock().await = address?;
        let shards = Arc::clone(&client.shard_manager);
        let ended = tokio::select! {
            ended = client.start() => ended.map_err(DiscordError::from),
            never = look(&shards.runners, &told) => match never {},
            () = stop.cancelled() => {
                // It can wait for a close frame that never comes (serenity#3369).
                if tokio::time::timeout(CLOSE_TIMEOUT, shards.shutdown_all()).await.is_err() {
                    tracing::debug!("Discord did not say good-bye");
                }
                Ok(())
            }
        };
        tasks.close();
        stop.cancel();
        tasks.wait().await;
        ended
    }
}

/// Asks where the gateway is until Discord says so. serenity asks once, and stays with an address of its
/// own when there is no answer.
async fn address(http: &discord::Http) -> Result<String> {
    let pauses =
        ExponentialBuilder::new().with_max_delay(PAUSE_MAX).without_max_times().with_jitter();
    let asked = (|| http.get_gateway()).retry(pauses).notify(|error, pause| {
        let pause_ms = pause.as_millis();
        tracing::warn!(%error, pause_ms, "Discord does not say where its gateway is");
    });
    Ok(asked.await?.url)
}

/// Says again and again that the session is alive, as long as it is.
async fn look(
    runners: &tokio::sync::Mutex<HashMap<discord::ShardId, discord::ShardRunnerInfo>>,
    told: &mpsc::Sender<Event>,
) -> Infallible {
    let mut timer = tokio::time::interval(LOOK_EVERY);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut alive: Option<(i64, i64)> = None;
    loop {
        timer.tick().await;
        let now = now_ms();
        let is_alive =
            |runner: &discord::ShardRunnerInfo| runner.stage == discord::ConnectionStage::Connected;
        if !runners.lock().await.values().any(is_alive) {
            alive = None;
            continue;
        }
        // Of a time in which nobody looked, since the machine slept, nothing is known.
        let before = alive.filter(|(_, last_ms)| now - last_ms < BLIND_MAX_MS);
        let since_ms = before.map_or(now, |(since_ms, _)| since_ms);
        alive = Some((since_ms, now));
        // Whoever has more to do than to take this will be told again.
        let _ = told.try_send(Event::Alive { since_ms, at_ms: now });
    }
}

/// What serenity calls. Only READY and RESUMED matter here; messages come by the collector.
struct Ears {
    events: mpsc::Sender<Event>,
    /// For the first answer to a press, which must not wait for anything.
    hands: Arc<discord::Http>,
    /// Presses that are given their first answer right now.
    presses: Arc<Semaphore>,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// Who passes on what the newest collector hears.
    listening: Mutex<Option<JoinHandle<()>>>,
}

impl Ears {
    /// Takes events from the shard from now on. An older collector ends with its shard, and what
    /// two of them heard is decided once.
    async fn attach(&self, shard: &discord::ShardMessenger) {
        let heard = serenity::collector::collect(shard, event);
        // Only now, so that what was written before the collector is read over REST.
        if self.events.send(Event::Connected).await.is_err() {
            return;
        }
        let listening = self.pass_on(heard);
        *self.listening.lock().unwrap_or_else(PoisonError::into_inner) = Some(listening);
    }

    /// Whether a collector still hears. A shard that resumes keeps its own, and with a second one
    /// every event would be heard twice, with a third one three times.
    fn is_listening(&self) -> bool {
        let listening = self.listening.lock().unwrap_or_else(PoisonError::into_inner);
        listening.as_ref().is_some_and(|task| !task.is_finished())
    }

    fn pass_on(&self, heard: impl Stream<Item = Result<Event>> + Send + 'static) -> JoinHandle<()> {
        let events = self.events.clone();
        let stop = self.stop.clone();
        let (tasks, hands) = (self.tasks.clone(), Arc::clone(&self.hands));
        let presses = Arc::clone(&self.presses);
        self.tasks.spawn(async move {
            let mut heard = std::pin::pin!(heard.take_until(stop.cancelled()));
            while let Some(event) = heard.next().await {
                let event = match event {
                    Ok(event) => event,
                    Err(error) => {
                        tracing::warn!(%error, "an event was not understood");
                        continue;
                    }
                };
                if let Event::Pressed(pressed) = event {
                    let Ok(place) = Arc::clone(&presses).acquire_owned().await else { return };
                    let (hands, events) = (Arc::clone(&hands), events.clone());
                    tasks.spawn(async move {
                        if clicks::first_answer(&hands, &pressed).await {
                            // Whoever takes it no more is at the end.
                            let _ = events.send(Event::Pressed(pressed)).await;
                        }
                        drop(place);
                    });
                    continue;
                }
                if events.send(event).await.is_err() {
                    return;
                }
            }
        })
    }
}

/// An event of Discord's, if it matters to us.
fn event(event: &discord::Event) -> Option<Result<Event>> {
    if let discord::Event::MessageCreate(created) = event {
        return Some(heard(&created.message).map(|heard| Event::Message(Box::new(heard))));
    }
    if let discord::Event::MessageUpdate(edited) = event {
        return Some(edited_event(edited.channel_id, edited.id));
    }
    if let discord::Event::MessageDelete(deleted) = event {
        return Some(deleted_event(deleted.message_id));
    }
    if let discord::Event::GuildDelete(gone) = event {
        let (guild, is_outage) = (gone.guild.id.get(), gone.guild.unavailable);
        return Some(Ok(Event::GuildGone { guild, is_outage }));
    }
    if let discord::Event::GuildCreate(here) = event {
        return Some(Ok(Event::GuildHere(here.guild.id.get())));
    }
    if let discord::Event::ReactionAdd(added) = event {
        return reacted(&added.reaction).map(|reacted| reacted.map(Event::Reacted));
    }
    let discord::Event::InteractionCreate(created) = event else { return None };
    let pressed = clicks::pressed(&created.interaction)?;
    Some(pressed.map(|pressed| Event::Pressed(Box::new(pressed))))
}

fn edited_event(channel: discord::ChannelId, message: discord::MessageId) -> Result<Event> {
    Ok(Event::Edited(ChannelId::new(channel.get())?, MessageId::new(message.get())?))
}

fn deleted_event(message: discord::MessageId) -> Result<Event> {
    Ok(Event::Deleted(MessageId::new(message.get())?))
}

fn reacted(reaction: &discord::Reaction) -> Option<Result<Reacted>> {
    let discord::ReactionType::Unicode(emoji) = &reaction.emoji else { return None };
    let by = reaction.user_id?;
    let read = || {
        Ok(Reacted {
            channel: ChannelId::new(reaction.channel_id.get())?,
            message: MessageId::new(reaction.message_id.get())?,
            by: UserId::new(by.get())?,
            emoji: emoji.clone(),
        })
    };
    Some(read())
}

#[serenity::async_trait]
impl serenity::client::EventHandler for Ears {
    async fn ready(&self, context: serenity::client::Context, ready: discord::Ready) {
        tracing::info!(bot = %ready.user.name, "Discord is ready");
        self.attach(&context.shard).await;
    }

    async fn resume(&self, context: serenity::client::Context, _: discord::ResumedEvent) {
        tracing::info!("the Discord session was resumed");
        if self.is_listening() {
            // What was missed came before this, and what Discord did not send again is read. When
            // nobody takes it any more, we are at the end.
            let _ = self.events.send(Event::Connected).await;
        } else {
            self.attach(&context.shard).await;
        }
    }
}

pub(super) fn heard(message: &discord::Message) -> Result<Heard> {
    let member = message.member.as_deref();
    let roles = member.map(|member| {
        member.roles.iter().map(|role| RoleId::new(role.get())).collect::<Result<Vec<_>, _>>()
    });
    let written = [discord::MessageType::Regular, discord::MessageType::InlineReply];
    let by = if message.author.bot || message.webhook_id.is_some() {
        Writer::Bot
    } else if written.contains(&message.kind) {
        Writer::Person
    } else {
        Writer::System
    };
    // A message that is passed on refers to another one as well.
    let is_reply = message.kind == discord::MessageType::InlineReply;
    let reply_to = message.message_reference.as_ref().filter(|_| is_reply);
    let reply_to = reply_to.and_then(|to| to.message_id).map(|id| MessageId::new(id.get()));
    let name = member
        .and_then(|member| member.nick.as_deref())
        .unwrap_or_else(|| message.author.display_name());
    let attachments = message.attachments.iter().map(|file| Attachment {
        name: file.filename.clone(),
        url: file.url.clone(),
        media_type: file.content_type.clone(),
        bytes: u64::from(file.size),
    });
    Ok(Heard {
        id: MessageId::new(message.id.get())?,
        channel: ChannelId::new(message.channel_id.get())?,
        author: Author { id: UserId::new(message.author.id.get())?, name: name.to_owned() },
        roles: roles.transpose()?,
        by,
        reply_to: reply_to.transpose()?,
        content: message.content.clone(),
        attachments: attachments.collect(),
        is_settled: message.reactions.iter().any(is_outcome),
    })
}

/// Whether a reaction under a message is our mark of an outcome.
fn is_outcome(reaction: &discord::MessageReaction) -> bool {
    let discord::ReactionType::Unicode(emoji) = &reaction.reaction_type else { return false };
    reaction.me && Mark::is_outcome(emoji)
}
