//! What a person does on the page. Each act is one that a test has too.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::discord::Discord;
use crate::error::ApiError;
use crate::ids::{ChannelId, InteractionId, MessageId, UserId};

type Answer = Result<Json<Value>, ApiError>;
type Done = Result<StatusCode, ApiError>;

#[derive(Deserialize)]
pub(super) struct Say {
    channel: ChannelId,
    user: UserId,
    text: String,
    reply_to: Option<MessageId>,
}

pub(super) async fn say(State(discord): State<Discord>, Json(it): Json<Say>) -> Answer {
    let id = match it.reply_to {
        Some(to) => discord.reply(it.channel, it.user, to, &it.text)?,
        None => discord.say(it.channel, it.user, &it.text)?,
    };
    Ok(Json(json!({ "id": id })))
}

#[derive(Deserialize)]
pub(super) struct Edit {
    message: MessageId,
    text: String,
}

pub(super) async fn edit(State(discord): State<Discord>, Json(it): Json<Edit>) -> Done {
    discord.edit(it.message, &it.text)?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
pub(super) struct Delete {
    message: MessageId,
}

pub(super) async fn delete(State(discord): State<Discord>, Json(it): Json<Delete>) -> Done {
    discord.delete(it.message)?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
pub(super) struct React {
    message: MessageId,
    user: UserId,
    emoji: String,
}

pub(super) async fn react(State(discord): State<Discord>, Json(it): Json<React>) -> Done {
    discord.react(it.message, it.user, &it.emoji)?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn unreact(State(discord): State<Discord>, Json(it): Json<React>) -> Done {
    discord.unreact(it.message, it.user, &it.emoji)?;
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
