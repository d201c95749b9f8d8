//! Answers to interactions: the first one, and what follows by the interaction's token.
//!
//! Neither needs the bot's token nor a permission of the bot's in the channel.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::{self, PostBody};
use crate::error::ApiError;
use crate::form::modals;
use crate::guild::interactions::FirstAnswer;
use crate::guild::webhook::Which;
use crate::guild::{BOT_ID, Guild};
use crate::hub::Hub;
use crate::ids::{InteractionId, MessageId, UserId};
use crate::model::{Message, NewFile};
use crate::wire;

type Answer = Result<Json<Value>, ApiError>;

#[derive(Deserialize, Default)]
#[serde(default)]
struct CallbackBody {
    r#type: u64,
    data: Option<Value>,
}

impl CallbackBody {
    fn into_answer(self, files: Vec<NewFile>) -> Result<FirstAnswer, ApiError> {
        let data = self.data.filter(|it| !it.is_null()).unwrap_or_else(|| json!({}));
        let message =
            |data| body::from_value::<PostBody>(data).map_err(|error| error.below("data"));
        match self.r#type {
            4 => Ok(FirstAnswer::Message(message(data)?.into_draft(files)?)),
            5 => Ok(FirstAnswer::Deferred(message(data)?.into_draft(files)?.flags)),
            6 => Ok(FirstAnswer::DeferredUpdate),
            7 => Ok(FirstAnswer::Update(message(data)?.into_change())),
            9 => Ok(FirstAnswer::Modal(modals::read(&data)?)),
            _ => Err(ApiError::bad_value("type", "Value must be one of {4, 5, 6, 7, 9}.")),
        }
    }
}

#[derive(Deserialize)]
pub(super) struct CallbackQuery {
    #[serde(default)]
    with_response: bool,
}

pub(super) async fn callback(
    State(hub): State<Arc<Hub>>,
    Path((id, token)): Path<(InteractionId, String)>,
    Query(query): Query<CallbackQuery>,
    request: Request,
) -> Result<Response, ApiError> {
    let (body, files) = body::read::<CallbackBody>(request).await?;
    let answer = body.into_answer(files);
    hub.act(|guild| {
        // Whether there is still something to answer matters more than how it is answered.
        guild.check_answerable(id, &token)?;
        guild.answer(id, &token, answer?).map_err(in_data)?;
        Ok(if query.with_response {
            Json(shown(guild, id)).into_response()
        } else {
            StatusCode::NO_CONTENT.into_response()
        })
    })
}

/// A message's fields stand below `data` here.
fn in_data(error: ApiError) -> ApiError {
    let stands_beside = matches!(error, ApiError::InvalidForm { field: "type", .. });
    if stands_beside { error } else { error.below("data") }
}

/// What `with_response` asks for.
fn shown(guild: &Guild, id: InteractionId) -> Value {
    let Some(asked) = guild.interaction(id) else { return Value::Null };
    let message = guild.original_of(id);
    let mut object = json!({
        "interaction": {
            "id": id,
            "type": wire::type_of(asked.kind),
            "response_message_id": message.map(|it| it.id),
            "response_message_loading": message.is_some_and(Message::is_loading),
            "response_message_ephemeral": message.is_some_and(Message::is_ephemeral),
        },
    });
    if let Some(callback) = asked.callback {
        let message = message.map(|it| wire::message(guild, it));
        object["resource"] = json!({ "type": callback.number(), "message": message });
    }
    object
}

/// The application and the interaction's token, by which all that follows is done.
type Webhook = Path<(UserId, String)>;
type WebhookMessage = Path<(UserId, String, String)>;

fn which(text: &str) -> Result<Which, ApiError> {
    if text == "@original" {
        return Ok(Which::Original);
    }
    text.parse::<MessageId>().map(Which::Numbered).map_err(|_| ApiError::UnknownMessage)
}

fn check_application(application: UserId) -> Result<(), ApiError> {
    if application == BOT_ID { Ok(()) } else { Err(ApiError::UnknownWebhook) }
}

pub(super) async fn follow_up(
    State(hub): State<Arc<Hub>>,
    Path((application, token)): Webhook,
    request: Request,
) -> Answer {
    let (body, files) = body::read::<PostBody>(request).await?;
    let draft = body.into_draft(files)?;
    hub.act(|guild| {
        check_application(application)?;
        let id = guild.follow_up(&token, draft)?;
        let message = guild.any_message(id).ok_or(ApiError::UnknownMessage)?;
        Ok(Json(wire::message(guild, message)))
    })
}

pub(super) async fn get(
    State(hub): State<Arc<Hub>>,
    Path((application, token, message)): WebhookMessage,
) -> Answer {
    // Through `act`, which sets the time by which the token is judged.
    hub.act(|guild| {
        check_application(application)?;
        let message = guild.webhook_message(&token, which(&message)?)?;
        Ok(Json(wire::message(guild, message)))
    })
}

pub(super) async fn edit(
    State(hub): State<Arc<Hub>>,
    Path((application, token, message)): WebhookMessage,
    request: Request,
) -> Answer {
    let (body, _) = body::read::<PostBody>(request).await?;
    hub.act(|guild| {
        check_application(application)?;
        let id = guild.webhook_edit(&token, which(&message)?, body.into_change())?;
        let message = guild.any_message(id).ok_or(ApiError::UnknownMessage)?;
        Ok(Json(wire::message(guild, message)))
    })
}

pub(super) async fn delete(
    State(hub): State<Arc<Hub>>,
    Path((application, token, message)): WebhookMessage,
) -> Result<StatusCode, ApiError> {
    hub.act(|guild| {
        check_application(application)?;
        guild.webhook_delete(&token, which(&message)?)?;
        Ok(StatusCode::NO_CONTENT)
    })
}
