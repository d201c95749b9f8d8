//! A plain page on loopback to read and write in the guild, live, without any framework.
//!
//! Whoever reaches the port may write as anybody, so it is bound to loopback, answers only to a
//! loopback name in `Host` (a rebound DNS name is refused) and takes a post only as JSON from its
//! own origin (another site's page in the same browser is refused).

use std::convert::Infallible;

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::stream::{self, Stream};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::clock::iso8601;
use crate::discord::Discord;
use crate::error::ApiError;
use crate::guild::Guild;
use crate::ids::{ChannelId, MessageId, UserId};
use crate::model::{Channel, Message};

const PAGE: &str = include_str!("page.html");
/// The page may use what is in it, and nothing from anywhere else.
const POLICY: &str = "default-src 'none'; connect-src 'self'; script-src 'unsafe-inline'; \
                      style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

pub(crate) fn router(discord: Discord) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/sim/state", get(state))
        .route("/sim/messages/{channel}", get(messages))
        .route("/sim/say", post(say))
        .route("/sim/react", post(react))
        .route("/sim/events", get(events))
        .layer(middleware::from_fn(only_own_page))
        .with_state(discord)
}

async fn only_own_page(request: Request, next: Next) -> Response {
    if is_own(request.method(), request.headers()) {
        next.run(request).await
    } else {
        (StatusCode::FORBIDDEN, "only this page itself may ask here").into_response()
    }
}

/// Whether a request comes from the page itself, or from a program on this machine.
fn is_own(method: &Method, headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).map(|it| it.to_str().unwrap_or_default());
    let Some(host) = text(header::HOST) else { return false };
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    if !matches!(name, "127.0.0.1" | "localhost") {
        return false;
    }
    if text(header::ORIGIN).is_some_and(|it| it != format!("http://{host}")) {
        return false;
    }
    let is_json = text(header::CONTENT_TYPE).is_some_and(|it| it.starts_with("application/json"));
    method == Method::GET || method == Method::HEAD || is_json
}

async fn page() -> Response {
    ([(header::CONTENT_SECURITY_POLICY, POLICY)], Html(PAGE)).into_response()
}

async fn state(State(discord): State<Discord>) -> Json<Value> {
    Json(discord.view(|view| {
        let guild = view.guild;
        let users = guild.users().filter(|it| !it.bot);
        json!({
            "guild": guild.name(),
            "users": users.map(|it| json!({ "id": it.id, "name": it.name })).collect::<Vec<_>>(),
            "channels": guild.channels().map(|it| channel(guild, it)).collect::<Vec<_>>(),
        })
    }))
}

fn channel(guild: &Guild, channel: &Channel) -> Value {
    let thread = channel.thread.as_ref();
    json!({
        "id": channel.id,
        "name": channel.name,
        "parent": thread.map(|it| it.parent),
        "archived": thread.is_some_and(|it| it.archived),
        "locked": thread.is_some_and(|it| it.locked),
        "messages": guild.messages(channel.id).count(),
    })
}

async fn messages(
    State(discord): State<Discord>,
    Path(id): Path<ChannelId>,
) -> Result<Json<Value>, ApiError> {
    discord.view(|view| {
        view.guild.channel(id)?;
        let shown = view.guild.history(id).filter(|it| it.is_visible());
        Ok(Json(shown.map(|it| message(view.guild, it)).collect()))
    })
}

fn message(guild: &Guild, message: &Message) -> Value {
    let name = |id| guild.user(id).map_or("nobody", |it| it.name.as_str());
    let reactions = message.reactions.iter().map(|it| {
        let by: Vec<_> = it.users.iter().map(|&user| name(user)).collect();
        json!({ "emoji": it.emoji, "by": by })
    });
    let files =
        message.attachments.iter().map(|it| json!({ "name": it.filename, "size": it.size }));
    json!({
        "id": message.id,
        "author": name(message.author),
        "bot": message.is_bot,
        "system": !message.kind.is_written(),
        "kind": message.kind,
        "at": iso8601(message.created_ms),
        "edited": message.edited_ms.is_some(),
        "reply_to": message.reference.and_then(|it| it.message),
        "content": message.content,
        "embeds": message.embeds,
        "components": message.components,
        "reactions": reactions.collect::<Vec<_>>(),
        "files": files.collect::<Vec<_>>(),
        "thread": guild.thread_of(message.id).map(|it| it.id),
    })
}

#[derive(Deserialize)]
struct Say {
    channel: ChannelId,
    user: UserId,
    text: String,
}

async fn say(State(discord): State<Discord>, Json(it): Json<Say>) -> Result<Json<Value>, ApiError> {
    let id = discord.say(it.channel, it.user, &it.text)?;
    Ok(Json(json!({ "id": id })))
}

#[derive(Deserialize)]
struct React {
    message: MessageId,
    user: UserId,
    emoji: String,
}

async fn react(
    State(discord): State<Discord>,
    Json(it): Json<React>,
) -> Result<StatusCode, ApiError> {
    discord.react(it.message, it.user, &it.emoji)?;
    Ok(StatusCode::NO_CONTENT)
}

/// One event for each change, or for several that came together; the page then asks what changed.
async fn events(
    State(discord): State<Discord>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let first = (discord.hub.subscribe(), true);
    let changes = stream::unfold(first, |(mut changed, is_first)| async move {
        if !is_first {
            changed.changed().await.ok()?;
        }
        let version = *changed.borrow_and_update();
        Some((Ok(Event::default().data(version.to_string())), (changed, false)))
    });
    Sse::new(changes).keep_alive(KeepAlive::default())
}
