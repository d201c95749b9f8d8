//! Messages and reactions: posted, edited, deleted, read back.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use super::body::{self, PostBody};
use super::people::send_permission;
use crate::error::ApiError;
use crate::guild::messages::{Cursor, PAGE_MAX};
use crate::guild::{BOT_ID, Guild};
use crate::hub::Hub;
use crate::ids::{ChannelId, MessageId, UserId};
use crate::limits::{Hidden, is_old};
use crate::model::Message;
use crate::permissions::Permissions;
use crate::wire;

type Answer = Result<Json<Value>, ApiError>;
type Done = Result<StatusCode, ApiError>;

/// Messages of a page when none is said.
const PAGE_USUAL: usize = 50;

pub(super) async fn post(
    State(hub): State<Arc<Hub>>,
    Path(channel): Path<ChannelId>,
    request: Request,
) -> Answer {
    let (body, files) = body::read::<PostBody>(request).await?;
    let draft = body.into_draft(files)?;
    hub.act(|guild| {
        let mut needed = send_permission(guild, channel);
        if !draft.files.is_empty() {
            needed = needed | Permissions::ATTACH_FILES;
        }
        if !draft.embeds.is_empty() {
            needed = needed | Permissions::EMBED_LINKS;
        }
        guild.require(BOT_ID, channel, needed)?;
        let may_read = guild.require(BOT_ID, channel, Permissions::READ_MESSAGE_HISTORY);
        if draft.reply_to.is_some() && may_read.is_err() {
            return Err(ApiError::NoHistory);
        }
        let id = guild.post(BOT_ID, channel, draft)?;
        guild
            .visible(channel, id)
            .or_else(|_| guild.message(id).ok_or(ApiError::UnknownMessage))
            .map(|it| Json(wire::message(guild, it)))
    })
}

#[derive(Deserialize)]
pub(super) struct PageQuery {
    limit: Option<usize>,
    after: Option<MessageId>,
    before: Option<MessageId>,
    around: Option<MessageId>,
}

pub(super) async fn page(
    State(hub): State<Arc<Hub>>,
    Path(channel): Path<ChannelId>,
    Query(query): Query<PageQuery>,
) -> Answer {
    let limit = query.limit.unwrap_or(PAGE_USUAL);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(ApiError::bad_value("limit", "int value should be between 1 and 100."));
    }
    let cursor = match (query.around, query.before, query.after) {
        (None, None, None) => Cursor::Newest,
        (Some(id), None, None) => Cursor::Around(id),
        (None, Some(id), None) => Cursor::Before(id),
        (None, None, Some(id)) => Cursor::After(id),
        (_, _, _) => return Err(ApiError::bad_value("after", "Only one cursor may be given.")),
    };
    hub.look(|inner| {
        let guild = &inner.guild;
        guild.require(BOT_ID, channel, Permissions::VIEW_CHANNEL)?;
        // Without the permission to read history Discord gives an empty list, not an error.
        let may_read = guild.require(BOT_ID, channel, Permissions::READ_MESSAGE_HISTORY).is_ok();
        let found = if may_read { guild.page(channel, cursor, limit) } else { Vec::new() };
        Ok(Json(found.into_iter().map(|it| shown(&hub, guild, it)).collect()))
    })
}

/// A message as this bot may read it.
fn shown(hub: &Hub, guild: &Guild, message: &Message) -> Value {
    let mut object = wire::message(guild, message);
    if !hub.options.message_content && !Guild::is_open_to_bot(message) {
        wire::hide_content(&mut object);
    }
    object
}

pub(super) async fn get(
    State(hub): State<Arc<Hub>>,
    Path((channel, id)): Path<(ChannelId, MessageId)>,
) -> Answer {
    hub.look(|inner| {
        inner.guild.require(BOT_ID, channel, Permissions::READ_MESSAGE_HISTORY)?;
        let message = inner.guild.visible(channel, id)?;
        Ok(Json(shown(&hub, &inner.guild, message)))
    })
}

pub(super) async fn edit(
    State(hub): State<Arc<Hub>>,
    Path((channel, id)): Path<(ChannelId, MessageId)>,
    request: Request,
) -> Answer {
    let (body, _) = body::read::<PostBody>(request).await?;
    let limited = hub.options.rate_limits;
    hub.act_within(|guild, limits| {
        guild.require(BOT_ID, channel, Permissions::VIEW_CHANNEL)?;
        let created_ms = guild.visible(channel, id)?.created_ms;
        if limited && is_old(created_ms, guild.now_ms) {
            limits.take_hidden(Hidden::OldEdit, channel, guild.now_ms)?;
        }
        guild.edit(BOT_ID, channel, id, body.into_change())?;
        guild.visible(channel, id).map(|it| Json(wire::message(guild, it)))
    })
}

pub(super) async fn delete(
    State(hub): State<Arc<Hub>>,
    Path((channel, id)): Path<(ChannelId, MessageId)>,
) -> Done {
    hub.act(|guild| {
        let is_own = guild.visible(channel, id)?.author == BOT_ID;
        let needed = if is_own { Permissions::VIEW_CHANNEL } else { Permissions::MANAGE_MESSAGES };
        guild.require(BOT_ID, channel, needed)?;
        guild.refuse_if_archived(channel)?;
        guild.delete(channel, id)?;
        Ok(StatusCode::NO_CONTENT)
    })
}

type ReactionPath = Path<(ChannelId, MessageId, String)>;

pub(super) async fn react(
    State(hub): State<Arc<Hub>>,
    Path((channel, id, emoji)): ReactionPath,
) -> Done {
    hub.act(|guild| {
        let is_there = guild.reactions(id).iter().any(|it| it.emoji == emoji);
        let add = if is_there { Permissions::default() } else { Permissions::ADD_REACTIONS };
        guild.require(BOT_ID, channel, Permissions::READ_MESSAGE_HISTORY | add)?;
        guild.react(BOT_ID, channel, id, &emoji)?;
        Ok(StatusCode::NO_CONTENT)
    })
}

pub(super) async fn unreact(
    State(hub): State<Arc<Hub>>,
    Path((channel, id, emoji)): ReactionPath,
) -> Done {
    hub.act(|guild| {
        guild.require(BOT_ID, channel, Permissions::VIEW_CHANNEL)?;
        guild.unreact(BOT_ID, channel, id, &emoji)?;
        Ok(StatusCode::NO_CONTENT)
    })
}

pub(super) async fn unreact_of(
    State(hub): State<Arc<Hub>>,
    Path((channel, id, emoji, user)): Path<(ChannelId, MessageId, String, UserId)>,
) -> Done {
    hub.act(|guild| {
        guild.require(BOT_ID, channel, Permissions::MANAGE_MESSAGES)?;
        guild.unreact(user, channel, id, &emoji)?;
        Ok(StatusCode::NO_CONTENT)
    })
}

pub(super) async fn reactors(
    State(hub): State<Arc<Hub>>,
    Path((channel, id, emoji)): ReactionPath,
) -> Answer {
    hub.look(|inner| {
        let guild = &inner.guild;
        guild.require(BOT_ID, channel, Permissions::READ_MESSAGE_HISTORY)?;
        let message = guild.visible(channel, id)?;
        let found = message.reactions.iter().filter(|it| it.emoji == emoji);
        let users = found.flat_map(|it| &it.users).filter_map(|it| guild.user(*it));
        Ok(Json(users.map(wire::user).collect()))
    })
}
