//! Channels and threads: read, renamed, archived, started, joined.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

use super::body::parse;
use super::people::send_permission;
use crate::clock::from_iso8601;
use crate::error::ApiError;
use crate::guild::threads::{NewThread, ThreadChange};
use crate::guild::{BOT_ID, Guild};
use crate::hub::Hub;
use crate::ids::{ChannelId, MessageId, UserId};
use crate::limits::Hidden;
use crate::permissions::Permissions;
use crate::wire;

type Answer = Result<Json<Value>, ApiError>;
type Done = Result<StatusCode, ApiError>;

/// The most archived threads of one page.
const ARCHIVED_MAX: usize = 100;

fn shown(guild: &Guild, id: ChannelId) -> Result<Value, ApiError> {
    guild.channel(id).map(|it| wire::channel(guild, it))
}

pub(super) async fn get(State(hub): State<Arc<Hub>>, Path(id): Path<ChannelId>) -> Answer {
    hub.look(|inner| {
        inner.guild.require(BOT_ID, id, Permissions::VIEW_CHANNEL)?;
        shown(&inner.guild, id).map(Json)
    })
}

#[derive(Deserialize)]
struct ChangeBody {
    name: Option<String>,
    archived: Option<bool>,
    locked: Option<bool>,
    auto_archive_duration: Option<u64>,
}

pub(super) async fn change(
    State(hub): State<Arc<Hub>>,
    Path(id): Path<ChannelId>,
    body: Bytes,
) -> Answer {
    let body: ChangeBody = parse(&body)?;
    let limited = hub.options.rate_limits && body.name.is_some();
    hub.act_within(|guild, limits| {
        let channel = guild.channel(id)?;
        if limited {
            limits.take_hidden(Hidden::Rename, id, guild.now_ms)?;
        }
        let Some(thread) = &channel.thread else {
            guild.require(BOT_ID, id, Permissions::MANAGE_CHANNELS)?;
            if let Some(name) = &body.name {
                guild.rename_channel(id, name)?;
            }
            return shown(guild, id).map(Json);
        };
        let only_wakes = body.archived == Some(false)
            && !thread.locked
            && body.name.is_none()
            && body.locked.is_none()
            && body.auto_archive_duration.is_none();
        let by_owner = thread.owner == BOT_ID && body.locked.is_none() && !thread.locked;
        let needed = if only_wakes || by_owner {
            Permissions::SEND_MESSAGES_IN_THREADS
        } else {
            Permissions::MANAGE_THREADS
        };
        guild.require(BOT_ID, id, needed)?;
        let change = ThreadChange {
            name: body.name,
            archived: body.archived,
            locked: body.locked,
            auto_archive_minutes: body.auto_archive_duration,
        };
        guild.change_thread(BOT_ID, id, &change)?;
        shown(guild, id).map(Json)
    })
}

pub(super) async fn delete(State(hub): State<Arc<Hub>>, Path(id): Path<ChannelId>) -> Answer {
    hub.act(|guild| {
        let is_thread = guild.channel(id)?.thread.is_some();
        let needed =
            if is_thread { Permissions::MANAGE_THREADS } else { Permissions::MANAGE_CHANNELS };
        guild.require(BOT_ID, id, needed)?;
        let last = shown(guild, id)?;
        guild.delete_channel(id)?;
        Ok(Json(last))
    })
}

pub(super) async fn typing(State(hub): State<Arc<Hub>>, Path(id): Path<ChannelId>) -> Done {
    hub.act(|guild| {
        guild.require(BOT_ID, id, send_permission(guild, id))?;
        guild.start_typing(BOT_ID, id)?;
        Ok(StatusCode::NO_CONTENT)
    })
}

#[derive(Deserialize)]
struct ThreadBody {
    #[serde(default)]
    name: String,
    auto_archive_duration: Option<u64>,
}

impl From<ThreadBody> for NewThread {
    fn from(body: ThreadBody) -> Self {
        Self { name: body.name, auto_archive_minutes: body.auto_archive_duration }
    }
}

pub(super) async fn start_from(
    State(hub): State<Arc<Hub>>,
    Path((channel, message)): Path<(ChannelId, MessageId)>,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let new: NewThread = parse::<ThreadBody>(&body)?.into();
    hub.act(|guild| {
        guild.require(BOT_ID, channel, Permissions::CREATE_PUBLIC_THREADS)?;
        let id = guild.thread_from_message(BOT_ID, channel, message, &new)?;
        Ok((StatusCode::CREATED, Json(shown(guild, id)?)))
    })
}

pub(super) async fn start_thread(
    State(hub): State<Arc<Hub>>,
    Path(channel): Path<ChannelId>,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let new: NewThread = parse::<ThreadBody>(&body)?.into();
    hub.act(|guild| {
        guild.require(BOT_ID, channel, Permissions::CREATE_PUBLIC_THREADS)?;
        let id = guild.thread_without_message(BOT_ID, channel, &new)?;
        Ok((StatusCode::CREATED, Json(shown(guild, id)?)))
    })
}

#[derive(Deserialize)]
pub(super) struct ArchivedQuery {
    /// Only threads that were archived before this moment, in ISO 8601.
    before: Option<String>,
    limit: Option<usize>,
}

/// The archived threads of a channel, latest archived first.
pub(super) async fn archived(
    State(hub): State<Arc<Hub>>,
    Path(id): Path<ChannelId>,
    Query(query): Query<ArchivedQuery>,
) -> Answer {
    let limit = query.limit.unwrap_or(ARCHIVED_MAX);
    if !(2..=ARCHIVED_MAX).contains(&limit) {
        return Err(ApiError::bad_value("limit", "int value should be between 2 and 100."));
    }
    let before = query.before.as_deref().map(|text| {
        let refusal = || ApiError::bad_value("before", "Expected an ISO8601 timestamp.");
        from_iso8601(text).ok_or_else(refusal)
    });
    let before_ms = before.transpose()?.unwrap_or(u64::MAX);
    hub.look(|inner| {
        let guild = &inner.guild;
        guild.require(BOT_ID, id, Permissions::READ_MESSAGE_HISTORY)?;
        let mut found: Vec<_> = guild
            .channels()
            .filter_map(|it| it.thread.as_ref().map(|thread| (it, thread)))
            .filter(|(_, thread)| thread.archived && thread.parent == id)
            .filter(|(_, thread)| thread.archive_changed_ms < before_ms)
            .collect();
        found.sort_by_key(|(_, thread)| std::cmp::Reverse(thread.archive_changed_ms));
        let has_more = found.len() > limit;
        let threads: Vec<_> = found.into_iter().map(|(it, _)| it).take(limit).collect();
        let mut list = wire::thread_list(guild, &threads);
        list["has_more"] = Value::Bool(has_more);
        Ok(Json(list))
    })
}

pub(super) async fn join(State(hub): State<Arc<Hub>>, Path(id): Path<ChannelId>) -> Done {
    add(&hub, id, BOT_ID)
}

pub(super) async fn add_member(
    State(hub): State<Arc<Hub>>,
    Path((id, user)): Path<(ChannelId, UserId)>,
) -> Done {
    add(&hub, id, user)
}

fn add(hub: &Hub, id: ChannelId, user: UserId) -> Done {
    hub.act(|guild| {
        guild.require(BOT_ID, id, Permissions::SEND_MESSAGES_IN_THREADS)?;
        guild.join_thread(user, id)?;
        Ok(StatusCode::NO_CONTENT)
    })
}
