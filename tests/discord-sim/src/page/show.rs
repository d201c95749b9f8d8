//! What the page shows: the guild as one person sees it, as JSON.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::clock::iso8601;
use crate::discord::Discord;
use crate::error::ApiError;
use crate::guild::Guild;
use crate::ids::{AttachmentId, ChannelId, InteractionId, MessageId, UserId};
use crate::model::{Attachment, Channel, Interaction, Message, Outcome};

/// The media types that the page shows as an image. No type that can hold a script is among them.
const IMAGES: [&str; 4] = ["image/png", "image/jpeg", "image/gif", "image/webp"];

/// The most characters that are shown of a message that was answered.
const EXCERPT: usize = 40;

/// Who looks.
#[derive(Deserialize)]
pub(super) struct Viewer {
    user: Option<UserId>,
}

pub(super) async fn state(State(discord): State<Discord>) -> Json<Value> {
    Json(discord.view(|view| {
        let guild = view.guild;
        let users = guild.users().filter(|it| !it.bot);
        json!({
            "guild": guild.name(),
            "users": users.map(|it| json!({ "id": it.id, "name": it.name })).collect::<Vec<_>>(),
            "roles": guild.roles().map(|it| json!({ "id": it.id, "name": it.name }))
                .collect::<Vec<_>>(),
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

pub(super) async fn messages(
    State(discord): State<Discord>,
    Path(id): Path<ChannelId>,
    Query(viewer): Query<Viewer>,
) -> Result<Json<Value>, ApiError> {
    discord.view(|view| {
        let guild = view.guild;
        guild.channel(id)?;
        let mut shown: Vec<_> = guild.history(id).filter(|it| it.is_visible()).collect();
        if let Some(user) = viewer.user {
            shown.extend(guild.private_messages(id, user));
            shown.sort_by_key(|it| it.id);
        }
        Ok(Json(shown.into_iter().map(|it| message(guild, it, viewer.user)).collect()))
    })
}

fn message(guild: &Guild, message: &Message, viewer: Option<UserId>) -> Value {
    let name = |id| guild.user(id).map_or("nobody", |it| it.name.as_str());
    let reactions = message.reactions.iter().map(|it| {
        let by: Vec<_> = it.users.iter().map(|&user| name(user)).collect();
        json!({ "emoji": it.emoji, "by": by, "ids": it.users })
    });
    let uses = guild.interactions().filter(|it| it.message == message.id);
    let last_use = uses.rev().find(|it| Some(it.user) == viewer);
    json!({
        "id": message.id,
        "author": guild.author_of(message),
        "author_id": message.author,
        "bot": message.is_bot,
        "system": !message.kind.is_written(),
        "kind": message.kind,
        "at": iso8601(message.created_ms),
        "edited": message.edited_ms.is_some(),
        "before": message.before.iter().map(|it| &it.content).collect::<Vec<_>>(),
        "reply_to": message.reference.and_then(|it| it.message),
        "answers": message.reference.and_then(|it| it.message).and_then(|it| excerpt(guild, it)),
        "content": message.content,
        "embeds": message.embeds,
        "components": message.components,
        "reactions": reactions.collect::<Vec<_>>(),
        "files": message.attachments.iter().map(|it| attachment(message, it)).collect::<Vec<_>>(),
        "thread": guild.thread_of(message.id).map(|it| it.id),
        "ephemeral": message.is_ephemeral(),
        "loading": message.is_loading(),
        "outcome": outcome_of(guild, message),
        "last_use": last_use.map(|it| json!({ "id": it.id, "outcome": word(it.outcome) })),
    })
}

/// Whom and what a message answers, in a few words.
fn excerpt(guild: &Guild, id: MessageId) -> Option<String> {
    let message = guild.any_message(id)?;
    if !message.is_visible() {
        return Some("a message that was deleted".to_owned());
    }
    if message.is_ephemeral() {
        // Whoever looks may not be the one who sees that.
        return Some("a message for one person".to_owned());
    }
    let author = guild.author_of(message);
    let words: String = message.content.chars().take(EXCERPT).collect();
    Some(format!("{author}: {words}"))
}

/// How the interaction looks that a message answers.
fn outcome_of(guild: &Guild, message: &Message) -> Option<&'static str> {
    let asked = message.interaction.and_then(|it| guild.interaction(it));
    asked.filter(|it| it.original == Some(message.id)).map(|it| word(it.outcome))
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Waiting => "waiting",
        Outcome::Thinking => "thinking",
        Outcome::Answered => "answered",
        Outcome::Failed => "failed",
    }
}

fn is_image(file: &Attachment) -> bool {
    file.content_type.as_deref().is_some_and(|it| IMAGES.contains(&it))
}

fn attachment(message: &Message, file: &Attachment) -> Value {
    json!({
        "name": file.filename,
        "size": file.size,
        "image": is_image(file),
        "url": format!("/sim/file/{}/{}", message.channel, file.id),
    })
}

/// A file of a message: an image to be shown, anything else to be saved.
pub(super) async fn file(
    State(discord): State<Discord>,
    Path((channel, id)): Path<(ChannelId, AttachmentId)>,
) -> Response {
    let found = discord.view(|view| {
        let about = view.guild.attachment(channel, id)?;
        Some((about.clone(), view.guild.file(id)?.clone()))
    });
    let Some((about, bytes)) = found else { return ApiError::NotFound.into_response() };
    let no_sniffing = (HeaderName::from_static("x-content-type-options"), "nosniff".to_owned());
    let (kind, disposition) = match about.content_type.clone().filter(|_| is_image(&about)) {
        Some(kind) => (kind, "inline".to_owned()),
        // The name has only letters, digits and `.-_` since it was posted.
        None => (
            "application/octet-stream".to_owned(),
            format!("attachment; filename=\"{}\"", about.filename),
        ),
    };
    let headers =
        [(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, disposition), no_sniffing];
    (headers, bytes).into_response()
}

/// The modals that a person sees, latest first.
pub(super) async fn modals(
    State(discord): State<Discord>,
    Query(viewer): Query<Viewer>,
) -> Json<Value> {
    Json(discord.view(|view| {
        let own = |it: &&Interaction| Some(it.user) == viewer.user && it.modal_is_open;
        view.guild.interactions().rev().filter(own).map(|it| modal(view.guild, it)).collect()
    }))
}

fn modal(guild: &Guild, asked: &Interaction) -> Value {
    json!({
        "interaction": asked.id,
        "modal": asked.modal,
        "failed": has_failed(guild, asked.id),
    })
}

/// Whether a modal was handed in before and the bot did not answer.
fn has_failed(guild: &Guild, shown_by: InteractionId) -> bool {
    let mut submissions = guild.interactions().filter(|it| it.from == Some(shown_by));
    submissions.next_back().is_some_and(|it| it.outcome == Outcome::Failed)
}
