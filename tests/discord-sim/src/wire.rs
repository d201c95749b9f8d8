//! The guild's values as the JSON objects of Discord's API.
//!
//! Fields are those that Discord documents and serenity 0.12 needs; what has no meaning here is
//! sent as Discord sends it when it is unset.

mod interactions;

use serde_json::{Value, json};

pub(crate) use self::interactions::{interaction, type_of};
use crate::clock::iso8601;
use crate::guild::Guild;
use crate::guild::messages::HAS_THREAD;
use crate::ids::{ChannelId, UserId};
use crate::model::{Attachment, Channel, Message, Reaction, Role, Thread, User};

/// The number of a text channel's type.
const TEXT_CHANNEL: u8 = 0;
/// The number of a public thread's type.
const PUBLIC_THREAD: u8 = 11;
/// The number of an overwrite for a member.
const MEMBER_OVERWRITE: u8 = 1;

pub(crate) fn user(user: &User) -> Value {
    json!({
        "id": user.id,
        "username": user.name,
        "global_name": user.name,
        "discriminator": "0",
        "avatar": null,
        "bot": user.bot,
        "system": false,
        "flags": 0,
        "public_flags": 0,
    })
}

/// The user of a number; a deleted account when nobody has it, as Discord writes those.
fn user_of(guild: &Guild, id: UserId) -> Value {
    guild.user(id).map_or_else(
        || json!({ "id": id, "username": "deleted_user", "discriminator": "0", "avatar": null }),
        user,
    )
}

pub(crate) fn member(user: &User) -> Value {
    let mut member = partial_member(user);
    member["user"] = self::user(user);
    member
}

/// A member without its user, as a message carries it.
fn partial_member(user: &User) -> Value {
    json!({
        "nick": null,
        "avatar": null,
        "roles": user.roles,
        "joined_at": iso8601(user.joined_ms),
        "premium_since": null,
        "deaf": false,
        "mute": false,
        "pending": false,
        "flags": 0,
        "communication_disabled_until": null,
    })
}

pub(crate) fn role(role: &Role, position: usize) -> Value {
    json!({
        "id": role.id,
        "name": role.name,
        "color": 0,
        "colors": { "primary_color": 0, "secondary_color": null, "tertiary_color": null },
        "hoist": false,
        "icon": null,
        "unicode_emoji": null,
        "position": position,
        "permissions": role.permissions.0.to_string(),
        "managed": false,
        "mentionable": true,
        "flags": 0,
    })
}

pub(crate) fn roles(guild: &Guild) -> Vec<Value> {
    guild.roles().enumerate().map(|(position, it)| role(it, position)).collect()
}

/// A channel or a thread.
pub(crate) fn channel(guild: &Guild, channel: &Channel) -> Value {
    match &channel.thread {
        None => text_channel(guild, channel),
        Some(about) => thread(guild, channel, about),
    }
}

fn text_channel(guild: &Guild, channel: &Channel) -> Value {
    let overwrites: Vec<_> = channel
        .overwrites
        .iter()
        .map(|(user, it)| {
            json!({
                "id": user,
                "type": MEMBER_OVERWRITE,
                "allow": it.allow.0.to_string(),
                "deny": it.deny.0.to_string(),
            })
        })
        .collect();
    json!({
        "id": channel.id,
        "type": TEXT_CHANNEL,
        "guild_id": guild.id(),
        "name": channel.name,
        "position": 0,
        "parent_id": null,
        "topic": null,
        "nsfw": false,
        "last_message_id": channel.last_message,
        "rate_limit_per_user": 0,
        "permission_overwrites": overwrites,
        "flags": 0,
    })
}

fn thread(guild: &Guild, channel: &Channel, thread: &Thread) -> Value {
    let count = guild.messages(channel.id).count();
    json!({
        "id": channel.id,
        "type": PUBLIC_THREAD,
        "guild_id": guild.id(),
        "parent_id": thread.parent,
        "owner_id": thread.owner,
        "name": channel.name,
        "last_message_id": channel.last_message,
        "rate_limit_per_user": 0,
        "message_count": count,
        "total_message_sent": thread.sent,
        "member_count": thread.members.len().min(50),
        "flags": 0,
        "thread_metadata": {
            "archived": thread.archived,
            "locked": thread.locked,
            "auto_archive_duration": thread.auto_archive_minutes,
            "archive_timestamp": iso8601(thread.archive_changed_ms),
            "create_timestamp": iso8601(thread.created_ms),
        },
    })
}

/// A message as REST gives it.
pub(crate) fn message(guild: &Guild, message: &Message) -> Value {
    let mut object = message_alone(guild, message);
    if let Some(reference) = message.reference {
        object["message_reference"] = json!({
            "type": 0,
            "message_id": reference.message,
            "channel_id": reference.channel,
            "guild_id": guild.id(),
        });
        let target = reference.message.and_then(|it| guild.message(it));
        let shown = target.filter(|it| it.is_visible());
        object["referenced_message"] = shown.map_or(Value::Null, |it| message_alone(guild, it));
    }
    if let Some(thread) = guild.thread_of(message.id) {
        object["thread"] = channel(guild, thread);
        object["flags"] = json!(message.flags | HAS_THREAD);
    }
    object
}

/// How long the address of a file is good, in seconds (reference, "Signed Attachment CDN URLs").
const FILE_LIFE_S: u64 = 24 * 60 * 60;

/// A message without what it points to.
fn message_alone(guild: &Guild, message: &Message) -> Value {
    let mentions: Vec<_> = message.mentions.iter().map(|&it| user_of(guild, it)).collect();
    let attachments = message.attachments.iter().map(|it| attachment(it, guild.now_ms));
    let attachments: Vec<_> = attachments.collect();
    let reactions: Vec<_> = message.reactions.iter().map(reaction).collect();
    let mut object = json!({
        "id": message.id,
        "channel_id": message.channel,
        "author": user_of(guild, message.author),
        "content": message.content,
        "timestamp": iso8601(message.created_ms),
        "edited_timestamp": message.edited_ms.map(iso8601),
        "tts": false,
        "mention_everyone": message.mention_everyone,
        "mentions": mentions,
        "mention_roles": [],
        "attachments": attachments,
        "embeds": message.embeds,
        "components": message.components,
        "reactions": reactions,
        "pinned": false,
        "type": message.kind,
        "flags": message.flags,
    });
    if let Some(name) = &message.webhook {
        // Only these three are promised; that `bot` is often there as well is not.
        object["author"] = json!({ "id": message.author, "username": name, "avatar": null });
        object["webhook_id"] = json!(message.author);
    }
    if let Some(nonce) = &message.nonce {
        object["nonce"] = json!(nonce);
    }
    if let Some(asked) = message.interaction.and_then(|it| guild.interaction(it)) {
        object["application_id"] = json!(crate::guild::BOT_ID);
        object["webhook_id"] = json!(crate::guild::BOT_ID);
        object["interaction_metadata"] = interactions::metadata(guild, asked);
    }
    object
}

/// A message as the gateway gives it: with its guild and its author's membership.
pub(crate) fn message_event(guild: &Guild, of: &Message) -> Value {
    let mut object = message(guild, of);
    object["guild_id"] = json!(guild.id());
    if let Some(author) = guild.user(of.author) {
        object["member"] = partial_member(author);
    }
    object
}

/// Takes away what Discord hides from a bot without the message content intent.
pub(crate) fn hide_content(message: &mut Value) {
    message["content"] = json!("");
    for field in ["embeds", "attachments", "components"] {
        message[field] = json!([]);
    }
    if let Some(inner) = message.get_mut("referenced_message").filter(|it| it.is_object()) {
        hide_content(inner);
    }
}

/// A file as Discord shows it: its address is signed anew each time, and good for a day.
fn attachment(attachment: &Attachment, now_ms: u64) -> Value {
    let (from, until) = (now_ms / 1000, now_ms / 1000 + FILE_LIFE_S);
    let url = format!("{}?ex={until:x}&is={from:x}&hm={from:016x}&", attachment.url);
    json!({
        "id": attachment.id,
        "filename": attachment.filename,
        "content_type": attachment.content_type,
        "size": attachment.size,
        "url": url,
        "proxy_url": url.replace("cdn.discordapp.com", "media.discordapp.net"),
    })
}

fn reaction(reaction: &Reaction) -> Value {
    let count = reaction.users.len();
    json!({
        "count": count,
        "count_details": { "burst": 0, "normal": count },
        "me": reaction.users.contains(&crate::guild::BOT_ID),
        "me_burst": false,
        "burst_colors": [],
        "emoji": emoji(&reaction.emoji),
    })
}

/// An emoji: `name:id` of a custom one, else the character itself.
pub(crate) fn emoji(text: &str) -> Value {
    match text.rsplit_once(':') {
        Some((name, id)) => json!({ "id": id, "name": name }),
        None => json!({ "id": null, "name": text }),
    }
}

/// The guild as `GET /guilds/{id}` gives it.
pub(crate) fn guild(guild: &Guild) -> Value {
    json!({
        "id": guild.id(),
        "name": guild.name(),
        "icon": null,
        "splash": null,
        "discovery_splash": null,
        "banner": null,
        "description": null,
        "owner_id": owner(guild),
        "afk_channel_id": null,
        "afk_timeout": 300,
        "widget_enabled": false,
        "verification_level": 0,
        "default_message_notifications": 0,
        "explicit_content_filter": 0,
        "roles": roles(guild),
        "emojis": [],
        "stickers": [],
        "features": [],
        "mfa_level": 0,
        "application_id": null,
        "system_channel_id": null,
        "system_channel_flags": 0,
        "rules_channel_id": null,
        "public_updates_channel_id": null,
        "safety_alerts_channel_id": null,
        "vanity_url_code": null,
        "premium_tier": 0,
        "premium_subscription_count": 0,
        "premium_progress_bar_enabled": false,
        "preferred_locale": "en-US",
        "nsfw_level": 0,
        "max_members": 500_000,
    })
}

/// The guild as the gateway's `GUILD_CREATE` gives it: with all that is in it.
pub(crate) fn guild_create(of: &Guild) -> Value {
    let mut object = guild(of);
    let all = of.channels().filter(|it| bot_sees(of, it.id));
    let (threads, channels): (Vec<_>, Vec<_>) = all.partition(|it| it.thread.is_some());
    let active = threads.into_iter().filter(|it| is_active(it));
    let extra = json!({
        "joined_at": of.user(crate::guild::BOT_ID).map(|it| iso8601(it.joined_ms)),
        "large": false,
        "unavailable": false,
        "member_count": of.users().count(),
        "members": of.users().map(member).collect::<Vec<_>>(),
        "channels": channels.into_iter().map(|it| channel(of, it)).collect::<Vec<_>>(),
        "threads": active.map(|it| channel(of, it)).collect::<Vec<_>>(),
        "voice_states": [],
        "presences": [],
        "stage_instances": [],
        "guild_scheduled_events": [],
        "soundboard_sounds": [],
    });
    if let (Some(object), Value::Object(extra)) = (object.as_object_mut(), extra) {
        object.extend(extra);
    }
    object
}

/// Whether a channel is a thread that is not archived.
pub(crate) fn is_active(channel: &Channel) -> bool {
    channel.thread.as_ref().is_some_and(|it| !it.archived)
}

/// Whether the bot sees a channel.
pub(crate) fn bot_sees(guild: &Guild, channel: ChannelId) -> bool {
    use crate::permissions::Permissions;
    guild.require(crate::guild::BOT_ID, channel, Permissions::VIEW_CHANNEL).is_ok()
}

/// The first person owns the guild; an empty one belongs to the bot, which only a test sees.
fn owner(guild: &Guild) -> UserId {
    guild.users().find(|it| !it.bot).map_or(crate::guild::BOT_ID, |it| it.id)
}

/// A list of threads, with the bot's membership in those it is in.
pub(crate) fn thread_list(guild: &Guild, threads: &[&Channel]) -> Value {
    let bot = crate::guild::BOT_ID;
    let members = threads.iter().filter_map(|it| {
        let thread = it.thread.as_ref().filter(|thread| thread.members.contains(&bot))?;
        let since = iso8601(thread.created_ms);
        Some(json!({ "id": it.id, "user_id": bot, "join_timestamp": since, "flags": 0 }))
    });
    json!({
        "threads": threads.iter().map(|it| channel(guild, it)).collect::<Vec<_>>(),
        "members": members.collect::<Vec<_>>(),
    })
}
