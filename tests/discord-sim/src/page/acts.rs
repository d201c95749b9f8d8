//! What a person does on the page. Each act is one that a test has too.
//!
//! A person may do here what the channel's permissions say, and to threads what the owner of a server
//! may: the bot is to be tried on a thread that somebody locks or deletes. Whoever has the page is
//! everybody.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::discord::Discord;
use crate::error::ApiError;
use crate::guild::threads::{NewThread, ThreadChange};
use crate::ids::{ChannelId, InteractionId, MessageId, UserId};
use crate::model::{Change, Draft};
use crate::permissions::Permissions;
use crate::rest::body;
use crate::rest::people::send_permission;

type Answer = Result<Json<Value>, ApiError>;
type Done = Result<StatusCode, ApiError>;

#[derive(Deserialize)]
pub(super) struct Say {
    channel: ChannelId,
    user: UserId,
    text: String,
    reply_to: Option<MessageId>,
}

/// A message, alone as JSON or with files in a form, as a bot's would be.
pub(super) async fn say(State(discord): State<Discord>, request: Request) -> Answer {
    let (said, files) = body::read::<Option<Say>>(request).await?;
    let it = said.ok_or(ApiError::EmptyMessage)?;
    let id = discord.hub.act(|guild| {
        let attaches = !files.is_empty();
        let files_too = if attaches { Permissions::ATTACH_FILES } else { Permissions::default() };
        guild.require(it.user, it.channel, send_permission(guild, it.channel) | files_too)?;
        let draft = Draft {
            content: it.text,
            reply_to: it.reply_to,
            reply_must_exist: true,
            files,
            ..Draft::default()
        };
        guild.post(it.user, it.channel, draft)
    })?;
    Ok(Json(json!({ "id": id })))
}

#[derive(Deserialize)]
pub(super) struct Edit {
    message: MessageId,
    user: UserId,
    text: String,
}

pub(super) async fn edit(State(discord): State<Discord>, Json(it): Json<Edit>) -> Done {
    let change = Change { content: Some(it.text), ..Change::default() };
    discord.with(it.message, |guild, channel| guild.edit(it.user, channel, it.message, change))?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
pub(super) struct Delete {
    message: MessageId,
    user: UserId,
}

pub(super) async fn delete(State(discord): State<Discord>, Json(it): Json<Delete>) -> Done {
    discord.with(it.message, |guild, channel| {
        let is_own = guild.visible(channel, it.message)?.author == it.user;
        let all = if is_own { Permissions::default() } else { Permissions::MANAGE_MESSAGES };
        guild.require(it.user, channel, all)?;
        guild.delete(channel, it.message)
    })?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
pub(super) struct React {
    message: MessageId,
    user: UserId,
    emoji: String,
}

pub(super) async fn react(State(discord): State<Discord>, Json(it): Json<React>) -> Done {
    discord.with(it.message, |guild, channel| {
        let is_there = guild.reactions(it.message).iter().any(|of| of.emoji == it.emoji);
        let adds = if is_there { Permissions::default() } else { Permissions::ADD_REACTIONS };
        guild.require(it.user, channel, adds)?;
        guild.react(it.user, channel, it.message, &it.emoji)
    })?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn unreact(State(discord): State<Discord>, Json(it): Json<React>) -> Done {
    discord.unreact(it.message, it.user, &it.emoji)?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
pub(super) struct Start {
    message: MessageId,
    user: UserId,
    name: String,
}

pub(super) async fn start(State(discord): State<Discord>, Json(it): Json<Start>) -> Answer {
    let new = NewThread { name: it.name, auto_archive_minutes: None };
    let id = discord.with(it.message, |guild, channel| {
        guild.require(it.user, channel, Permissions::CREATE_PUBLIC_THREADS)?;
        guild.thread_from_message(it.user, channel, it.message, &new)
    })?;
    Ok(Json(json!({ "id": id })))
}

#[derive(Deserialize)]
pub(super) struct Thread {
    channel: ChannelId,
    user: UserId,
    name: Option<String>,
    archived: Option<bool>,
    locked: Option<bool>,
}

pub(super) async fn thread(State(discord): State<Discord>, Json(it): Json<Thread>) -> Done {
    let change = ThreadChange {
        name: it.name,
        archived: it.archived,
        locked: it.locked,
        auto_archive_minutes: None,
    };
    discord.hub.act(|guild| {
        guild.require(it.user, it.channel, Permissions::default())?;
        guild.change_thread(it.user, it.channel, &change)
    })?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
pub(super) struct Place {
    channel: ChannelId,
    user: UserId,
}

pub(super) async fn remove(State(discord): State<Discord>, Json(it): Json<Place>) -> Done {
    discord.hub.act(|guild| {
        guild.require(it.user, it.channel, Permissions::default())?;
        guild.delete_channel(it.channel)
    })?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
pub(super) struct Join {
    name: String,
}

pub(super) async fn join(State(discord): State<Discord>, Json(it): Json<Join>) -> Answer {
    Ok(Json(json!({ "id": discord.user(&it.name) })))
}

#[derive(Deserialize)]
pub(super) struct HasRole {
    user: UserId,
    role: String,
    has: bool,
}

/// Gives a role, which is made if there is none of that name, or takes it away.
pub(super) async fn role(State(discord): State<Discord>, Json(it): Json<HasRole>) -> Done {
    let role = discord.role(&it.role);
    if it.has {
        discord.give_role(it.user, role)?;
    } else {
        discord.take_role(it.user, role)?;
    }
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
pub(super) struct Use {
    message: MessageId,
    custom_id: String,
    user: UserId,
    #[serde(default)]
    values: Vec<String>,
}

pub(super) async fn press(State(discord): State<Discord>, Json(it): Json<Use>) -> Answer {
    let id = discord.press(it.message, &it.custom_id, it.user)?;
    Ok(Json(json!({ "id": id })))
}

pub(super) async fn select(State(discord): State<Discord>, Json(it): Json<Use>) -> Answer {
    let values: Vec<_> = it.values.iter().map(String::as_str).collect();
    let id = discord.select(it.message, &it.custom_id, &values, it.user)?;
    Ok(Json(json!({ "id": id })))
}

#[derive(Deserialize)]
pub(super) struct Submit {
    interaction: InteractionId,
    texts: Vec<(String, String)>,
}

pub(super) async fn submit(State(discord): State<Discord>, Json(it): Json<Submit>) -> Answer {
    let texts: Vec<_> = it.texts.iter().map(|(id, text)| (id.as_str(), text.as_str())).collect();
    let id = discord.submit_modal(it.interaction, &texts)?;
    Ok(Json(json!({ "id": id })))
}

#[derive(Deserialize)]
pub(super) struct Close {
    interaction: InteractionId,
}

pub(super) async fn close(State(discord): State<Discord>, Json(it): Json<Close>) -> Done {
    discord.close_modal(it.interaction)?;
    Ok(StatusCode::NO_CONTENT)
}
