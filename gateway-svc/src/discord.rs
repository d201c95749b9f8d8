//! Discord: what is heard there, and what is done there. The only file that names serenity.
//!
//! serenity hands events to its handlers out of order, so messages are taken from a collector,
//! which runs inside the shard's loop; it is registered at READY and at RESUMED, and whoever
//! receives [`Event::Connected`] reads over REST what was missed before. Text is passed on as it
//! is: nothing here judges a message or decides whether a failure is tried again.

mod clicks;
mod ears;
mod examine;
mod limits;
mod turns;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use reqwest_serenity as reqwest;
use schemas::ids::{ChannelId, IdError, MessageId, RoleId, UserId};
use serenity::all as discord;
use serenity::builder::{CreateAllowedMentions, CreateMessage, CreateThread};
use serenity::gateway::GatewayError;
use serenity::http::{Http, HttpBuilder, HttpError, MessagePagination};
use thiserror::Error;
use tokio::sync::OnceCell;

use crate::config;
use crate::intake::Heard;
use crate::numbers::Numbers;
use crate::outbox::{Button, Mark, Menu};

pub(crate) use clicks::Pressed;
use ears::heard;
pub(crate) use ears::{Connection, Event, Reacted};
use limits::Limits;
use turns::{Turns, What};

/// How long one request to Discord may take, its answer included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a file may take on its way from Discord: the largest that a project may allow, over a slow
/// line.
const FETCH_TIMEOUT: Duration = Duration::from_secs(120);
/// How long a message with files may take on its way to Discord, whoever waits for it.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(60);
/// How long Discord takes the first answer to a press (reference, "Receiving and Responding"). No
/// later answer takes longer either: whatever is heard waits behind it.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// The most messages that one page of history has (Discord's reference, "Get Channel Messages").
pub(crate) const HISTORY_MAX: u8 = 100;

/// A message to write.
#[derive(Clone, Debug)]
pub(crate) struct Post<'a> {
    /// The message it answers.
    pub(crate) reply_to: Option<MessageId>,
    /// At most 2,000 characters.
    pub(crate) content: &'a str,
    /// At most five.
    pub(crate) buttons: &'a [Button],
    /// In place of buttons.
    pub(crate) menu: Option<&'a Menu>,
    /// Files with it: their names, and what is in them.
    pub(crate) files: Vec<(&'a str, &'a [u8])>,
    /// Whether it notifies nobody.
    pub(crate) silent: bool,
    /// At most 25 characters.
    pub(crate) nonce: String,
}

/// What one page of history has of our own.
#[derive(Clone, Debug)]
pub(crate) struct OwnPage {
    /// Our messages, oldest first.
    pub(crate) own: Vec<Own>,
    /// Where the next page begins; `None`: this was the last.
    pub(crate) next: Option<MessageId>,
}

/// A message of ours, as it stands in Discord.
#[derive(Clone, Debug)]
pub(crate) struct Own {
    /// Its id.
    pub(crate) message: MessageId,
    /// What it says.
    pub(crate) content: String,
    /// The message that it answers, if it is a reply.
    pub(crate) reply_to: Option<MessageId>,
}

/// Why Discord did not do what it was asked.
#[derive(Debug, Error)]
pub(crate) enum DiscordError {
    /// It said no, with an HTTP status and a code of its own (0 or -1: none).
    #[error("Discord refused with {status}, code {code}: {message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Discord's code (reference, "JSON Error Codes").
        code: i64,
        /// What it said.
        message: String,
    },
    /// Nobody knows whether it was done: a broken connection, a time-out, an unreadable answer.
    #[error("no word from Discord")]
    Unknown(#[source] Box<serenity::Error>),
    /// It shows no message of this place to the bot, which is not the same as that there are none.
    #[error("the bot has no right to read the message history there")]
    Hidden,
    /// An id that cannot be one.
    #[error("Discord gave a bad id")]
    BadId(#[from] IdError),
    /// A file could not be fetched.
    #[error("cannot fetch the file")]
    Fetch(#[source] reqwest::Error),
    /// A file is larger than Discord said.
    #[error("the file is larger than {0} bytes")]
    TooLarge(u64),
    /// A press was not answered while Discord would have taken the answer.
    #[error("Discord did not take the answer to a press in time")]
    TooLate,
    /// It lets the bot in no more, and will not until somebody has done this.
    #[error("Discord lets the bot in no more: {0}")]
    ShutOut(&'static str),
    /// The certificates in `discord.ca_file`, or the HTTP client, are not usable.
    #[error("cannot set up the HTTP client")]
    Client(#[source] reqwest::Error),
}

impl DiscordError {
    /// Discord's code, where it refused.
    pub(crate) fn code(&self) -> Option<i64> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            Self::Unknown(_)
            | Self::Hidden
            | Self::BadId(_)
            | Self::Fetch(_)
            | Self::TooLarge(_)
            | Self::TooLate
            | Self::ShutOut(_)
            | Self::Client(_) => None,
        }
    }

    /// Whether a file is not where it was: it was deleted, or its address has run out.
    pub(crate) fn is_gone(&self) -> bool {
        match self {
            Self::Fetch(error) => {
                error.status().is_some_and(|status| [403, 404, 410].contains(&status.as_u16()))
            }
            Self::Refused { .. }
            | Self::Unknown(_)
            | Self::Hidden
            | Self::BadId(_)
            | Self::TooLarge(_)
            | Self::TooLate
            | Self::ShutOut(_)
            | Self::Client(_) => false,
        }
    }
}

impl From<serenity::Error> for DiscordError {
    fn from(error: serenity::Error) -> Self {
        if let serenity::Error::Gateway(shut) = &error
            && let Some(todo) = todo(shut)
        {
            return Self::ShutOut(todo);
        }
        if let serenity::Error::Http(HttpError::UnsuccessfulRequest(response)) = &error {
            return Self::Refused {
                status: response.status_code.as_u16(),
                code: i64::try_from(response.error.code).unwrap_or(-1),
                message: response.error.message.clone(),
            };
        }
        Self::Unknown(Box::new(error))
    }
}

/// What somebody has to do before Discord opens a session again, where it said that it will not.
#[expect(clippy::wildcard_enum_match_arm, reason = "another crate's words, which may grow")]
fn todo(error: &GatewayError) -> Option<&'static str> {
    match error {
        GatewayError::InvalidAuthentication | GatewayError::NoAuthentication => {
            Some("it does not know the token; copy it anew from the bot's page")
        }
        GatewayError::DisallowedGatewayIntents => {
            Some("switch on MESSAGE CONTENT INTENT on the bot's page")
        }
        _ => None,
    }
}

type Result<T, E = DiscordError> = std::result::Result<T, E>;

/// The bot's hands. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Discord {
    http: Arc<Http>,
    /// The same, with more time for each request: for messages with files.
    uploads: Arc<Http>,
    files: reqwest::Client,
    limits: Limits,
    turns: Turns,
    /// Who we are, once Discord said so.
    me: Arc<OnceCell<discord::UserId>>,
}

/// Makes both. `numbers` counts what Discord's limits cost.
///
/// # Errors
///
/// [`DiscordError::Client`].
pub(crate) fn open(config: &config::Discord, numbers: &Numbers) -> Result<(Discord, Connection)> {
    let made = |timeout| client(config.connect_to, config.ca_pem.as_deref(), timeout);
    let (client, slow) = (made(REQUEST_TIMEOUT)?, made(UPLOAD_TIMEOUT)?);
    let token = config.token.reveal().to_owned();
    let limits = Limits::default();
    let listened = |client| {
        let mut http = http(&token, client);
        if let Some(limiter) = &mut http.ratelimiter {
            limits.listen_to(limiter, numbers);
        }
        Arc::new(http)
    };
    let (http, uploads) = (listened(client.clone()), listened(slow));
    let (me, turns, files) = (Arc::default(), Turns::default(), client.clone());
    let hands = Discord { http, uploads, files, limits, turns, me };
    Ok((hands, Connection::new(token, client)))
}

/// An HTTP client that finds Discord where the configuration says. (serenity's own proxy setting
/// is ignored while its rate limiter is on.)
fn client(
    connect_to: Option<SocketAddr>,
    ca_pem: Option<&[u8]>,
    timeout: Duration,
) -> Result<reqwest::Client> {
    let mut builder = reqwest::Client::builder().timeout(timeout);
    if let Some(address) = connect_to {
        builder = builder
            .resolve("discord.com", address)
            .resolve("cdn.discordapp.com", address)
            .resolve("media.discordapp.net", address);
    }
    if let Some(pem) = ca_pem {
        let authorities =
            reqwest::Certificate::from_pem_bundle(pem).map_err(DiscordError::Client)?;
        builder =
            authorities.into_iter().fold(builder, reqwest::ClientBuilder::add_root_certificate);
    }
    builder.build().map_err(DiscordError::Client)
}

fn http(token: &str, client: reqwest::Client) -> Http {
    HttpBuilder::new(token)
        .client(client)
        // No answer of claude's ever calls for @everyone.
        .default_allowed_mentions(CreateAllowedMentions::new())
        .build()
}

impl Discord {
    /// The messages after `after`, oldest first, at most [`HISTORY_MAX`].
    pub(crate) async fn history(&self, channel: ChannelId, after: MessageId) -> Result<Vec<Heard>> {
        let target = Some(MessagePagination::After(discord::MessageId::new(after.get())));
        let messages = self.http.get_messages(to(channel), target, Some(HISTORY_MAX)).await?;
        let mut heard = messages.iter().map(heard).collect::<Result<Vec<_>>>()?;
        heard.sort_by_key(|heard| heard.id);
        Ok(heard)
    }

    /// A message as it is now; `None`: it was deleted.
    pub(crate) async fn message(
        &self,
        channel: ChannelId,
        message: MessageId,
    ) -> Result<Option<Heard>> {
        let message = discord::MessageId::new(message.get());
        match self.http.get_message(to(channel), message).await.map_err(DiscordError::from) {
            Ok(message) => heard(&message).map(Some),
            Err(DiscordError::Refused { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The newest message of a channel, if it has one.
    ///
    /// # Errors
    ///
    /// [`DiscordError::Hidden`] where nobody can tell.
    pub(crate) async fn newest(&self, channel: ChannelId) -> Result<Option<MessageId>> {
        let messages = self.http.get_messages(to(channel), None, Some(1)).await?;
        if messages.is_empty() {
            self.require_history(channel).await?;
        }
        Ok(messages.first().map(|message| MessageId::new(message.id.get())).transpose()?)
    }

    /// The channel that a thread is in; `None` for what is no thread.
    pub(crate) async fn parent(&self, place: ChannelId) -> Result<Option<ChannelId>> {
        let Some(channel) = self.http.get_channel(to(place)).await?.guild() else {
            return Ok(None);
        };
        let parent = channel.thread_metadata.and(channel.parent_id);
        Ok(parent.map(|parent| ChannelId::new(parent.get())).transpose()?)
    }

    /// The id of the server that a place is in; `None` for what is in no server.
    pub(crate) async fn guild_of(&self, place: ChannelId) -> Result<Option<u64>> {
        let channel = self.http.get_channel(to(place)).await?.guild();
        Ok(channel.map(|channel| channel.guild_id.get()))
    }

    /// The roles that a person has in the server of a channel.
    pub(crate) async fn roles(&self, channel: ChannelId, user: UserId) -> Result<Vec<RoleId>> {
        let Some(place) = self.http.get_channel(to(channel)).await?.guild() else {
            return Ok(Vec::new());
        };
        let user = discord::UserId::new(user.get());
        let member = match self.http.get_member(place.guild_id, user).await.map_err(Into::into) {
            Ok(member) => member,
            // Whoever has left has no roles; what they wrote must not keep what follows unread.
            Err(DiscordError::Refused { status: 404, .. }) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        Ok(member.roles.iter().map(|role| RoleId::new(role.get())).collect::<Result<_, _>>()?)
    }

    /// Writes a message. A repeat of its nonce within Discord's window is the same message. Where the bot may
    /// not read history it may answer no message: the words come without saying what they answer.
    pub(crate) async fn post(&self, channel: ChannelId, post: Post<'_>) -> Result<MessageId> {
        const NO_HISTORY: i64 = 160_002;
        let alone = Post { reply_to: None, ..post.clone() };
        match self.post_as_it_is(channel, post).await {
            Err(DiscordError::Refused { code: NO_HISTORY, .. }) => {
                self.post_as_it_is(channel, alone).await
            }
            posted => posted,
        }
    }

    async fn post_as_it_is(&self, channel: ChannelId, post: Post<'_>) -> Result<MessageId> {
        let mut message = CreateMessage::new()
            .content(post.content)
            .nonce(discord::Nonce::String(post.nonce))
            .enforce_nonce(true);
        if let Some(asked) = post.reply_to {
            // The message may be gone by now; the line is still worth saying.
            let reference = discord::MessageReference::from((
                to(channel),
                discord::MessageId::new(asked.get()),
            ))
            .fail_if_not_exists(false);
            message = message.reference_message(reference);
        }
        for button in post.buttons {
            message = message.button(made(button));
        }
        if let Some(menu) = post.menu {
            message = message.select_menu(select(menu));
        }
        let http = if post.files.is_empty() { &self.http } else { &self.uploads };
        for (name, bytes) in post.files {
            message = message.add_file(discord::CreateAttachment::bytes(bytes, name));
        }
        if post.silent {
            message = message.flags(discord::MessageFlags::SUPPRESS_NOTIFICATIONS);
        }
        let posted = to(channel).send_message(http, message).await?;
        Ok(MessageId::new(posted.id.get())?)
    }

    /// Gives a message of ours this text and takes its buttons away; twice is once. One that was
    /// deleted (10008) has none.
    pub(crate) async fn decide(
        &self,
        channel: ChannelId,
        message: MessageId,
        content: &str,
    ) -> Result<()> {
        const UNKNOWN_MESSAGE: i64 = 10_008;
        let edit = discord::EditMessage::new()
            .content(content)
            .components(Vec::new())
            .allowed_mentions(CreateAllowedMentions::new());
        let message = discord::MessageId::new(message.get());
        match to(channel).edit_message(&self.http, message, edit).await.map_err(DiscordError::from)
        {
            Ok(_) | Err(DiscordError::Refused { code: UNKNOWN_MESSAGE, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Gives a message of ours this text and these buttons.
    pub(crate) async fn edit(
        &self,
        channel: ChannelId,
        message: MessageId,
        content: &str,
        buttons: &[Button],
    ) -> Result<()> {
        let row = discord::CreateActionRow::Buttons(buttons.iter().map(made).collect());
        let edit = discord::EditMessage::new()
            .content(content)
            .components(if buttons.is_empty() { Vec::new() } else { vec![row] })
            .allowed_mentions(CreateAllowedMentions::new());
        let message = discord::MessageId::new(message.get());
        to(channel).edit_message(&self.http, message, edit).await?;
        Ok(())
    }

    /// Takes a message of ours away.
    pub(crate) async fn delete(&self, channel: ChannelId, message: MessageId) -> Result<()> {
        let message = discord::MessageId::new(message.get());
        Ok(to(channel).delete_message(&self.http, message).await?)
    }

    /// How long Discord wants no request about a channel, by what it said last.
    pub(crate) fn held_back(&self, channel: ChannelId) -> Option<Duration> {
        self.limits.left(channel, std::time::Instant::now())
    }

    /// A page of messages after one, oldest first: its last message and how many there are at
    /// most, [`HISTORY_MAX`], and of them our own with their texts.
    pub(crate) async fn own_after(&self, channel: ChannelId, after: MessageId) -> Result<OwnPage> {
        let ask = || async { Ok::<_, DiscordError>(self.http.get_current_user().await?.id) };
        let me = *self.me.get_or_try_init(ask).await?;
        let target = Some(MessagePagination::After(discord::MessageId::new(after.get())));
        let mut messages = self.http.get_messages(to(channel), target, Some(HISTORY_MAX)).await?;
        if messages.is_empty() {
            self.require_history(channel).await?;
        }
        messages.sort_by_key(|message| message.id);
        let is_full = usize::from(HISTORY_MAX) <= messages.len();
        let last = messages.last().filter(|_| is_full).map(|last| MessageId::new(last.id.get()));
        let own = messages.into_iter().filter(|message| message.author.id == me);
        let own = own.map(|message| {
            let to = message.message_reference.as_ref().and_then(|to| to.message_id);
            let reply_to = to.map(|to| MessageId::new(to.get())).transpose()?;
            let (id, content) = (MessageId::new(message.id.get())?, message.content);
            Ok(Own { message: id, content, reply_to })
        });
        Ok(OwnPage { own: own.collect::<Result<_>>()?, next: last.transpose()? })
    }

    /// Answers the press of a button, to the person alone, who has been told that we think.
    pub(crate) async fn answer(&self, pressed: &Pressed, line: &str) -> Result<()> {
        let answer = discord::EditInteractionResponse::new()
            .content(line)
            .allowed_mentions(CreateAllowedMentions::new());
        self.http.set_application_id(discord::ApplicationId::new(pressed.application));
        let answering =
            self.http.edit_original_interaction_response(&pressed.token, &answer, Vec::new());
        let answered = tokio::time::timeout(ANSWER_MAX, answering).await;
        answered.map_err(|_| DiscordError::TooLate)??;
        Ok(())
    }

    /// Starts a thread from a message. One that is there already (160004) is the one we want.
    pub(crate) async fn start_thread(
        &self,
        channel: ChannelId,
        message: MessageId,
        name: &str,
    ) -> Result<()> {
        const ALREADY_THERE: i64 = 160_004;
        let _turn = self.turns.turn(What::Thread, channel).await;
        let message = discord::MessageId::new(message.get());
        let started = to(channel)
            .create_thread_from_message(&self.http, message, CreateThread::new(name))
            .await;
        match started.map_err(DiscordError::from) {
            Ok(_) | Err(DiscordError::Refused { code: ALREADY_THERE, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// What a thread is called.
    pub(crate) async fn name_of(&self, thread: ChannelId) -> Result<String> {
        let channel = self.http.get_channel(to(thread)).await?.guild();
        Ok(channel.map(|channel| channel.name).unwrap_or_default())
    }

    /// Gives a thread another name.
    pub(crate) async fn rename(&self, thread: ChannelId, name: &str) -> Result<()> {
        to(thread).edit_thread(&self.http, discord::EditThread::new().name(name)).await?;
        Ok(())
    }

    /// How long a thread may not be given another name, by what Discord said last.
    pub(crate) fn name_held_back(&self, thread: ChannelId) -> Option<Duration> {
        self.limits.left_of_name(thread, std::time::Instant::now())
    }

    /// Puts our reaction under a message; twice is once.
    pub(crate) async fn react(
        &self,
        channel: ChannelId,
        message: MessageId,
        mark: Mark,
    ) -> Result<()> {
        let _turn = self.turns.turn(What::Reaction, channel).await;
        let message = discord::MessageId::new(message.get());
        Ok(self.http.create_reaction(to(channel), message, &emoji(mark)).await?)
    }

    /// Takes our reaction away; one that is not there is no matter.
    pub(crate) async fn unreact(
        &self,
        channel: ChannelId,
        message: MessageId,
        mark: Mark,
    ) -> Result<()> {
        let _turn = self.turns.turn(What::Reaction, channel).await;
        let message = discord::MessageId::new(message.get());
        Ok(self.http.delete_reaction_me(to(channel), message, &emoji(mark)).await?)
    }

    /// Shows that somebody writes, for about ten seconds.
    pub(crate) async fn typing(&self, channel: ChannelId) -> Result<()> {
        Ok(self.http.broadcast_typing(to(channel)).await?)
    }

    /// Fetches an attached file of at most `max` bytes.
    pub(crate) async fn fetch(&self, url: &str, max: u64) -> Result<Vec<u8>> {
        let asked = self.files.get(url).timeout(FETCH_TIMEOUT).send();
        let response = asked.await.map_err(DiscordError::Fetch)?;
        let response = response.error_for_status().map_err(DiscordError::Fetch)?;
        let mut bytes = Vec::new();
        let mut chunks = response.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            bytes.extend_from_slice(&chunk.map_err(DiscordError::Fetch)?);
            if max < bytes.len() as u64 {
                return Err(DiscordError::TooLarge(max));
            }
        }
        Ok(bytes)
    }
}

/// Whether a file lies with Discord: nothing else is ever fetched.
pub(crate) fn is_discords(url: &str) -> bool {
    let host = reqwest::Url::parse(url)
        .ok()
        .filter(|url| url.scheme() == "https")
        .and_then(|url| url.host_str().map(str::to_owned));
    matches!(host.as_deref(), Some("cdn.discordapp.com" | "media.discordapp.net"))
}

fn to(channel: ChannelId) -> discord::ChannelId {
    discord::ChannelId::new(channel.get())
}

fn made(button: &Button) -> discord::CreateButton {
    let made = discord::CreateButton::new(&button.id).label(&button.label);
    made.style(discord::ButtonStyle::Secondary)
}

fn select(menu: &Menu) -> discord::CreateSelectMenu {
    let options = menu.options.iter().map(|option| {
        let made = discord::CreateSelectMenuOption::new(&option.label, &option.value);
        match &option.description {
            Some(description) => made.description(description),
            None => made,
        }
    });
    let kind = discord::CreateSelectMenuKind::String { options: options.collect() };
    discord::CreateSelectMenu::new(&menu.id, kind).min_values(1).max_values(menu.most)
}

fn emoji(mark: Mark) -> discord::ReactionType {
    discord::ReactionType::Unicode(mark.emoji().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_a_session_for_good_is_told_with_what_to_do() {
        let told = |error| DiscordError::from(serenity::Error::Gateway(error)).to_string();
        let token = told(GatewayError::InvalidAuthentication);
        assert!(token.ends_with("it does not know the token; copy it anew from the bot's page"));
        let intent = told(GatewayError::DisallowedGatewayIntents);
        assert!(intent.contains("MESSAGE CONTENT INTENT"), "{intent}");
        assert_eq!(told(GatewayError::ExpectedHello), "no word from Discord");
    }

    #[test]
    fn only_discords_own_files_are_fetched() {
        assert!(is_discords("https://cdn.discordapp.com/attachments/1/2/a.txt?ex=1"));
        for url in [
            "http://cdn.discordapp.com/a",
            "https://cdn.discordapp.com.example.org/a",
            "https://evil.example/cdn.discordapp.com",
            "file:///etc/passwd",
        ] {
            assert!(!is_discords(url), "{url}");
        }
    }
}
