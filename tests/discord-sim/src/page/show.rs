//! What the page shows: the guild as one person sees it, as JSON.

use std::collections::BTreeMap;

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
use crate::model::{Attachment, Channel, Interaction, Message, MessageKind, Outcome, User};
use crate::permissions::Permissions;

/// The media types that the page shows as an image. No type that can hold a script is among them.
const IMAGES: [&str; 4] = ["image/png", "image/jpeg", "image/gif", "image/webp"];

/// How long a sign of typing is shown (Discord's clients: ten seconds).
const TYPING_MS: u64 = 10_000;

/// The most characters that are shown of a message that was answered.
const EXCERPT: usize = 60;

/// Who looks.
#[derive(Deserialize)]
pub(super) struct Viewer {
    user: Option<UserId>,
}

pub(super) async fn state(
    State(discord): State<Discord>,
    Query(viewer): Query<Viewer>,
) -> Json<Value> {
    let now_ms = discord.hub.clock.now_ms();
    Json(discord.view(|view| {
        let guild = view.guild;
        let user = |it: &User| json!({ "id": it.id, "name": it.name, "roles": it.roles });
        let (bots, people): (Vec<_>, Vec<_>) = guild.users().partition(|it| it.bot);
        let seen = guild.channels().filter(|it| sees(guild, viewer.user, it.id));
        json!({
            "guild": guild.name(),
            "users": people.into_iter().map(user).collect::<Vec<_>>(),
            "bots": bots.into_iter().map(user).collect::<Vec<_>>(),
            "roles": guild.roles().map(|it| json!({ "id": it.id, "name": it.name }))
                .collect::<Vec<_>>(),
            "channels": seen.map(|it| channel(guild, it, now_ms)).collect::<Vec<_>>(),
        })
    }))
}

/// Whether somebody sees a channel; nobody in particular sees all.
fn sees(guild: &Guild, viewer: Option<UserId>, channel: ChannelId) -> bool {
    viewer.is_none_or(|it| guild.require(it, channel, Permissions::default()).is_ok())
}

fn channel(guild: &Guild, channel: &Channel, now_ms: u64) -> Value {
    let thread = channel.thread.as_ref();
    json!({
        "id": channel.id,
        "name": channel.name,
        "parent": thread.map(|it| it.parent),
        "archived": thread.is_some_and(|it| it.archived),
        "locked": thread.is_some_and(|it| it.locked),
        "typing": typing(guild, channel.id, now_ms),
    })
}

/// Who types in a channel: each sign counts for a while, or until that person has written.
fn typing(guild: &Guild, channel: ChannelId, now_ms: u64) -> Vec<Value> {
    let mut last: BTreeMap<UserId, u64> = BTreeMap::new();
    for sign in guild.typing().iter().filter(|it| it.channel == channel) {
        last.insert(sign.user, sign.at_ms);
    }
    let has_written = |user, since| {
        let newer = guild.messages(channel).rev().take_while(|it| since <= it.created_ms);
        newer.into_iter().any(|it| it.author == user)
    };
    last.retain(|&user, &mut at_ms| now_ms < at_ms + TYPING_MS && !has_written(user, at_ms));
    let shown = last.into_iter().filter_map(|(user, at_ms)| {
        let name = &guild.user(user)?.name;
        Some(json!({ "name": name, "left_ms": at_ms + TYPING_MS - now_ms }))
    });
    shown.collect()
}

pub(super) async fn messages(
    State(discord): State<Discord>,
    Path(id): Path<ChannelId>,
    Query(viewer): Query<Viewer>,
) -> Result<Json<Value>, ApiError> {
    discord.view(|view| {
        let guild = view.guild;
        guild.channel(id)?;
        if !sees(guild, viewer.user, id) {
            return Err(ApiError::MissingAccess);
        }
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
        "starter": starter_of(guild, message).map(|it| self::message(guild, it, viewer)),
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

/// The message that a thread was started from, which its first entry stands for.
fn starter_of<'a>(guild: &'a Guild, entry: &Message) -> Option<&'a Message> {
    let named = entry.reference.filter(|_| entry.kind == MessageKind::THREAD_STARTER)?.message?;
    guild.message(named).filter(|it| it.is_visible() && it.kind.is_written())
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
