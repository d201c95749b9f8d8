//! The guild in memory: who is in it, what channels it has, what was written. Pure.
//!
//! Every method is one act of a person or of the bot at the moment `now_ms`; it changes the guild
//! and leaves the gateway events of the change in `events`, or refuses and changes nothing. Here
//! is no socket, no clock and no lock. What a person or the bot is *permitted* is asked by whoever
//! calls (`require`); what is *possible* (lengths, archived threads, nonces) is decided here.

mod hooks;
pub(crate) mod interactions;
pub(crate) mod membership;
pub(crate) mod messages;
mod people;
mod reactions;
pub(crate) mod threads;
pub(crate) mod webhook;

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use self::membership::Membership;
use crate::clock::millis;
use crate::error::ApiError;
use crate::events::Event;
use crate::ids::{
    AttachmentId, ChannelId, GuildId, InteractionId, MessageId, RoleId, UserId, snowflake_of,
    unix_ms_of,
};
use crate::model::{Attachment, Channel, Interaction, Message, Reaction, Role, User};
use crate::options::Options;
use crate::permissions::{self, Permissions};

/// The bot's number, which is also that of its application. The default token begins with it.
pub const BOT_ID: UserId = UserId(1_000_000_000_000_000_001);

/// One sign of somebody typing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Typing {
    /// Where.
    pub channel: ChannelId,
    /// Who.
    pub user: UserId,
    /// When, in Unix milliseconds.
    pub at_ms: u64,
}

/// A message that one person sees and that is in no history.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Private {
    to: UserId,
    message: Message,
}

/// How many signs of typing are remembered; tests look at the latest few.
const TYPING_MAX: usize = 1000;

/// A guild and everything in it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Guild {
    id: GuildId,
    name: String,
    last_id: u64,
    users: BTreeMap<UserId, User>,
    roles: BTreeMap<RoleId, Role>,
    channels: BTreeMap<ChannelId, Channel>,
    #[serde(serialize_with = "as_list", deserialize_with = "from_list")]
    messages: BTreeMap<(ChannelId, MessageId), Message>,
    #[serde(default)]
    private: BTreeMap<MessageId, Private>,
    #[serde(default)]
    interactions: BTreeMap<InteractionId, Interaction>,
    #[serde(default)]
    webhooks: BTreeMap<String, UserId>,
    #[serde(default)]
    membership: Membership,
    #[serde(skip)]
    pub(crate) files: BTreeMap<AttachmentId, Bytes>,
    #[serde(skip)]
    homes: HashMap<MessageId, ChannelId>,
    #[serde(skip)]
    nonces: HashMap<(UserId, String), MessageId>,
    #[serde(skip)]
    typing: Vec<Typing>,
    #[serde(skip)]
    nonce_window_ms: u64,
    #[serde(skip)]
    interaction_window_ms: u64,
    #[serde(skip)]
    pub(crate) now_ms: u64,
    #[serde(skip)]
    pub(crate) events: Vec<Event>,
}

impl Guild {
    /// A guild with nobody in it but the bot, and no channels.
    pub(crate) fn new(name: &str, bot_name: &str, now_ms: u64) -> Self {
        let id = GuildId(snowflake_of(now_ms));
        let bot = User {
            id: BOT_ID,
            name: bot_name.to_owned(),
            bot: true,
            roles: Vec::new(),
            joined_ms: now_ms,
        };
        let everyone = Role {
            id: RoleId(id.0),
            name: "@everyone".to_owned(),
            permissions: Permissions::USUAL,
        };
        Self {
            id,
            name: name.to_owned(),
            last_id: id.0,
            users: BTreeMap::from([(BOT_ID, bot)]),
            roles: BTreeMap::from([(everyone.id, everyone)]),
            channels: BTreeMap::new(),
            messages: BTreeMap::new(),
            private: BTreeMap::new(),
            interactions: BTreeMap::new(),
            webhooks: BTreeMap::new(),
            membership: Membership::Member,
            files: BTreeMap::new(),
            homes: HashMap::new(),
            nonces: HashMap::new(),
            typing: Vec::new(),
            nonce_window_ms: 0,
            interaction_window_ms: 0,
            now_ms,
            events: Vec::new(),
        }
    }

    /// Sets what is not part of the saved state, and finds again what follows from it.
    pub(crate) fn prepare(&mut self, options: &Options, now_ms: u64) {
        self.nonce_window_ms = millis(options.nonce_window);
        self.interaction_window_ms = millis(options.interaction_window);
        self.now_ms = now_ms;
        self.homes = self.messages.keys().map(|&(channel, message)| (message, channel)).collect();
        self.nonces = self
            .messages
            .values()
            .filter_map(|it| Some(((it.author, it.nonce.clone()?), it.id)))
            .collect();
        self.settle();
    }

    fn next_id(&mut self) -> u64 {
        self.last_id = snowflake_of(self.now_ms).max(self.last_id + 1);
        self.last_id
    }

    /// The guild's number.
    pub fn id(&self) -> GuildId {
        self.id
    }

    /// The guild's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Everybody in it, the bot first.
    pub fn users(&self) -> impl Iterator<Item = &User> {
        self.users.values()
    }

    /// Somebody by number.
    pub fn user(&self, id: UserId) -> Option<&User> {
        self.users.get(&id)
    }

    /// All roles, the one that everybody has among them.
    pub fn roles(&self) -> impl Iterator<Item = &Role> {
        self.roles.values()
    }

    /// All channels and threads that were not deleted, oldest first.
    pub fn channels(&self) -> impl Iterator<Item = &Channel> {
        self.channels.values().filter(|it| !it.deleted)
    }

    /// A channel or thread by number.
    ///
    /// # Errors
    ///
    /// [`ApiError::UnknownChannel`] when there is none, or it was deleted.
    pub fn channel(&self, id: ChannelId) -> Result<&Channel, ApiError> {
        self.channels.get(&id).filter(|it| !it.deleted).ok_or(ApiError::UnknownChannel)
    }

    fn channel_mut(&mut self, id: ChannelId) -> Result<&mut Channel, ApiError> {
        self.channels.get_mut(&id).filter(|it| !it.deleted).ok_or(ApiError::UnknownChannel)
    }

    /// Everything that was ever shown in a channel, oldest first: deleted and system messages too.
    pub fn history(&self, channel: ChannelId) -> impl DoubleEndedIterator<Item = &Message> {
        let first = (channel, MessageId(0));
        let last = (channel, MessageId(u64::MAX));
        self.messages.range(first..=last).map(|(_, message)| message)
    }

    /// What people and bots wrote in a channel and can still be seen, oldest first.
    pub fn messages(&self, channel: ChannelId) -> impl DoubleEndedIterator<Item = &Message> {
        self.history(channel).filter(|it| it.is_visible() && it.kind.is_written())
    }

    /// A message by number, deleted or not.
    pub fn message(&self, id: MessageId) -> Option<&Message> {
        let channel = *self.homes.get(&id)?;
        self.messages.get(&(channel, id))
    }

    /// A message that can be seen in a channel.
    ///
    /// # Errors
    ///
    /// [`ApiError::UnknownChannel`] or [`ApiError::UnknownMessage`].
    pub fn visible(&self, channel: ChannelId, id: MessageId) -> Result<&Message, ApiError> {
        self.channel(channel)?;
        let found = self.messages.get(&(channel, id)).filter(|it| it.is_visible());
        found.ok_or(ApiError::UnknownMessage)
    }

    /// The thread that was started from a message.
    pub fn thread_of(&self, message: MessageId) -> Option<&Channel> {
        self.channel(message.into()).ok().filter(|it| it.thread.is_some())
    }

    /// The reactions under a message.
    pub fn reactions(&self, message: MessageId) -> &[Reaction] {
        self.message(message).map_or(&[], |it| &it.reactions)
    }

    /// The latest signs of typing, oldest first.
    pub fn typing(&self) -> &[Typing] {
        &self.typing
    }

    /// What a member may do in a channel; a thread has the permissions of its parent.
    ///
    /// # Errors
    ///
    /// [`ApiError::UnknownChannel`] or [`ApiError::UnknownMember`].
    pub fn permissions(&self, user: UserId, channel: ChannelId) -> Result<Permissions, ApiError> {
        let channel = self.channel(channel)?;
        let parent = channel.thread.as_ref().map(|it| self.channel(it.parent)).transpose()?;
        let overwrite = parent.unwrap_or(channel).overwrites.get(&user).copied();
        Ok(permissions::effective(self.guild_permissions(user)?, overwrite))
    }

    /// What a member may do in a channel that changes nothing of it.
    ///
    /// # Errors
    ///
    /// [`ApiError::UnknownMember`].
    pub fn guild_permissions(&self, user: UserId) -> Result<Permissions, ApiError> {
        let member = self.user(user).ok_or(ApiError::UnknownMember)?;
        let has = |it: &&Role| it.id.0 == self.id.0 || member.roles.contains(&it.id);
        Ok(self.roles.values().filter(has).map(|it| it.permissions).collect())
    }

    /// A file that was posted in a channel, by number.
    pub fn attachment(&self, channel: ChannelId, id: AttachmentId) -> Option<&Attachment> {
        let private = self.private.values().map(|it| &it.message);
        let all = self.history(channel).chain(private.filter(|it| it.channel == channel));
        all.flat_map(|it| &it.attachments).find(|it| it.id == id)
    }

    /// The numbers of all files that were posted.
    pub(crate) fn attachments(&self) -> Vec<AttachmentId> {
        let private = self.private.values().map(|it| &it.message);
        let all = self.messages.values().chain(private);
        all.flat_map(|it| &it.attachments).map(|it| it.id).collect()
    }

    /// What is in a file that was posted.
    pub fn file(&self, id: AttachmentId) -> Option<&Bytes> {
        self.files.get(&id)
    }

    /// Refuses unless a member sees the channel and may do `needed` in it.
    ///
    /// # Errors
    ///
    /// [`ApiError::UnknownChannel`], [`ApiError::MissingAccess`], [`ApiError::MissingPermissions`].
    pub fn require(
        &self,
        user: UserId,
        channel: ChannelId,
        needed: Permissions,
    ) -> Result<(), ApiError> {
        let has = self.permissions(user, channel)?;
        if user == BOT_ID && self.membership == Membership::Removed {
            return Err(ApiError::MissingAccess);
        }
        if !has.contains(Permissions::VIEW_CHANNEL) {
            return Err(ApiError::MissingAccess);
        }
        if has.contains(needed) { Ok(()) } else { Err(ApiError::MissingPermissions) }
    }

    /// Records that somebody types.
    pub(crate) fn start_typing(
        &mut self,
        user: UserId,
        channel: ChannelId,
    ) -> Result<(), ApiError> {
        self.channel(channel)?;
        if self.typing.len() == TYPING_MAX {
            self.typing.remove(0);
        }
        let typing = Typing { channel, user, at_ms: self.now_ms };
        self.typing.push(typing);
        let event = Event::typing_start(self, typing);
        self.events.push(event);
        Ok(())
    }

    /// When the newest id was made; a test's way to see that ids rise with time.
    pub fn newest_id_ms(&self) -> u64 {
        unix_ms_of(self.last_id)
    }
}

type Messages = BTreeMap<(ChannelId, MessageId), Message>;

fn as_list<S: Serializer>(messages: &Messages, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(messages.values())
}

fn from_list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Messages, D::Error> {
    let list = Vec::<Message>::deserialize(deserializer)?;
    Ok(list.into_iter().map(|it| ((it.channel, it.id), it)).collect())
}
