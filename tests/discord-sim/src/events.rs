//! The events that the gateway sends when the guild changes.
//!
//! An event is made at the moment of the change, from the guild as it then is, and is never
//! altered afterwards: a replay sends the same text.

use serde_json::{Value, json};

use crate::guild::membership::Membership;
use crate::guild::{BOT_ID, Guild, Typing};
use crate::ids::{ChannelId, MessageId, UserId};
use crate::model::{Channel, Interaction, Message, Role, User};
use crate::wire;

/// The intents by which a bot says what it wants to hear.
pub(crate) mod intents {
    /// Channels, threads and roles.
    pub(crate) const GUILDS: u64 = 1;
    /// Members; privileged.
    pub(crate) const MEMBERS: u64 = 1 << 1;
    /// Who is online; privileged, and never sent here.
    pub(crate) const PRESENCES: u64 = 1 << 8;
    /// Messages.
    pub(crate) const MESSAGES: u64 = 1 << 9;
    /// Reactions.
    pub(crate) const REACTIONS: u64 = 1 << 10;
    /// Signs of typing.
    pub(crate) const TYPING: u64 = 1 << 11;
    /// The text of messages of others; privileged.
    pub(crate) const MESSAGE_CONTENT: u64 = 1 << 15;
}

/// One dispatch of the gateway.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    /// Its name, `MESSAGE_CREATE`.
    pub(crate) name: &'static str,
    /// The intent that a session must have to get it; 0 for what every session gets.
    pub(crate) intent: u64,
    /// Whether the bot sees the channel that it is about.
    pub(crate) seen: bool,
    /// Whether it carries a text that needs the message content intent.
    pub(crate) private: bool,
    /// Its payload.
    pub(crate) data: Value,
}

impl Event {
    fn plain(name: &'static str, intent: u64, data: Value) -> Self {
        Self { name, intent, seen: true, private: false, data }
    }

    fn in_channel(
        guild: &Guild,
        name: &'static str,
        intent: u64,
        channel: ChannelId,
        data: Value,
    ) -> Self {
        Self { name, intent, seen: wire::bot_sees(guild, channel), private: false, data }
    }

    /// The change of a channel or a thread.
    pub(crate) fn channel(name: &'static str, guild: &Guild, channel: &Channel) -> Self {
        let data = match (name, &channel.thread) {
            ("THREAD_DELETE", Some(thread)) => json!({
                "id": channel.id,
                "guild_id": guild.id(),
                "parent_id": thread.parent,
                "type": 11,
            }),
            ("THREAD_CREATE", Some(_)) => {
                let mut data = wire::channel(guild, channel);
                data["newly_created"] = json!(true);
                data
            }
            (_, _) => wire::channel(guild, channel),
        };
        let is_new = guild.channel(channel.id).is_err();
        let seen = is_new || wire::bot_sees(guild, channel.id);
        Self { name, intent: intents::GUILDS, seen, private: false, data }
    }

    /// A new or changed message.
    pub(crate) fn message(name: &'static str, guild: &Guild, message: &Message) -> Self {
        let mut event = Self::in_channel(
            guild,
            name,
            intents::MESSAGES,
            message.channel,
            wire::message_event(guild, message),
        );
        event.private = !Guild::is_open_to_bot(message);
        event
    }

    /// The end of a message.
    pub(crate) fn message_delete(guild: &Guild, channel: ChannelId, id: MessageId) -> Self {
        let data = json!({ "id": id, "channel_id": channel, "guild_id": guild.id() });
        Self::in_channel(guild, "MESSAGE_DELETE", intents::MESSAGES, channel, data)
    }

    /// A reaction given or taken back.
    pub(crate) fn reaction(
        name: &'static str,
        guild: &Guild,
        channel: ChannelId,
        message: MessageId,
        user: UserId,
        emoji: &str,
    ) -> Self {
        let mut data = json!({
            "user_id": user,
            "channel_id": channel,
            "message_id": message,
            "guild_id": guild.id(),
            "emoji": wire::emoji(emoji),
            "burst": false,
            "type": 0,
        });
        if name == "MESSAGE_REACTION_ADD" {
            data["member"] = guild.user(user).map_or(Value::Null, wire::member);
            data["message_author_id"] =
                guild.message(message).map_or(Value::Null, |it| json!(it.author));
            data["burst_colors"] = json!([]);
        }
        Self::in_channel(guild, name, intents::REACTIONS, channel, data)
    }

    /// A button pressed, a menu used, a modal handed in. Every session gets it.
    pub(crate) fn interaction(guild: &Guild, interaction: &Interaction) -> Self {
        Self::plain("INTERACTION_CREATE", 0, wire::interaction(guild, interaction))
    }

    /// Somebody types.
    pub(crate) fn typing_start(guild: &Guild, typing: Typing) -> Self {
        let data = json!({
            "channel_id": typing.channel,
            "guild_id": guild.id(),
            "user_id": typing.user,
            "timestamp": typing.at_ms / 1000,
            "member": guild.user(typing.user).map(wire::member),
        });
        Self::in_channel(guild, "TYPING_START", intents::TYPING, typing.channel, data)
    }

    /// Somebody joined.
    pub(crate) fn member_add(guild: &Guild, user: &User) -> Self {
        let mut data = wire::member(user);
        data["guild_id"] = json!(guild.id());
        Self::plain("GUILD_MEMBER_ADD", intents::MEMBERS, data)
    }

    /// Somebody's roles changed.
    pub(crate) fn member_update(guild: &Guild, user: UserId) -> Option<Self> {
        let mut data = wire::member(guild.user(user)?);
        data["guild_id"] = json!(guild.id());
        // A bot hears of itself without the intent.
        let intent = if user == BOT_ID { intents::GUILDS } else { intents::MEMBERS };
        Some(Self::plain("GUILD_MEMBER_UPDATE", intent, data))
    }

    /// The guild came, or came back, with all that is in it.
    pub(crate) fn guild_create(guild: &Guild) -> Self {
        Self::plain("GUILD_CREATE", intents::GUILDS, wire::guild_create(guild))
    }

    /// The guild went: `unavailable` says that it is an outage, and is not there when the bot was
    /// removed.
    pub(crate) fn guild_delete(guild: &Guild) -> Self {
        let mut data = json!({ "id": guild.id() });
        if guild.membership() == Membership::Outage {
            data["unavailable"] = json!(true);
        }
        Self::plain("GUILD_DELETE", intents::GUILDS, data)
    }

    /// Whether a session is told of it while the guild stands like this.
    pub(crate) fn is_told(&self, membership: Membership) -> bool {
        membership == Membership::Member || self.name == "GUILD_DELETE"
    }

    /// A new role.
    pub(crate) fn role_create(guild: &Guild, role: &Role) -> Self {
        let position = guild.roles().count();
        let data = json!({ "guild_id": guild.id(), "role": wire::role(role, position) });
        Self::plain("GUILD_ROLE_CREATE", intents::GUILDS, data)
    }
}
