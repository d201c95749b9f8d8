//! The bot itself, its application, the gateway's address, the guild and its members.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use crate::error::ApiError;
use crate::gateway::application_flags;
use crate::guild::membership::Membership;
use crate::guild::{BOT_ID, Guild};
use crate::hub::Hub;
use crate::ids::{GuildId, UserId};
use crate::model::User;
use crate::permissions::Permissions;
use crate::wire;

type Answer = Result<Json<Value>, ApiError>;

pub(super) async fn gateway(State(hub): State<Arc<Hub>>) -> Json<Value> {
    Json(json!({ "url": hub.gateway_url() }))
}

pub(super) async fn gateway_bot(State(hub): State<Arc<Hub>>) -> Json<Value> {
    let (total, now_ms) = (hub.options.identifies_a_day, hub.clock.now_ms());
    let (remaining, reset_after) = hub.look(|inner| inner.sessions.starts_left(total, now_ms));
    Json(json!({
        "url": hub.gateway_url(),
        "shards": 1,
        "session_start_limit": {
            "total": total,
            "remaining": remaining,
            "reset_after": reset_after,
            "max_concurrency": 1,
        },
    }))
}

pub(super) async fn me(State(hub): State<Arc<Hub>>) -> Answer {
    let mut me = find_user(&hub, BOT_ID, wire::user)?;
    me["verified"] = json!(true);
    me["mfa_enabled"] = json!(false);
    Ok(Json(me))
}

pub(super) async fn user(State(hub): State<Arc<Hub>>, Path(id): Path<UserId>) -> Answer {
    Ok(Json(find_user(&hub, id, wire::user)?))
}

fn find_user(hub: &Hub, id: UserId, show: fn(&User) -> Value) -> Result<Value, ApiError> {
    hub.look(|inner| inner.guild.user(id).map(show)).ok_or(ApiError::UnknownUser)
}

pub(super) async fn my_guilds(State(hub): State<Arc<Hub>>) -> Json<Value> {
    Json(hub.look(|inner| {
        let guild = &inner.guild;
        if guild.membership() == Membership::Removed {
            return json!([]);
        }
        let all = guild.guild_permissions(BOT_ID).unwrap_or_default();
        json!([{
            "id": guild.id(),
            "name": guild.name(),
            "icon": null,
            "owner": false,
            "permissions": all.0.to_string(),
            "features": [],
        }])
    }))
}

pub(super) async fn application(State(hub): State<Arc<Hub>>) -> Answer {
    let bot = find_user(&hub, BOT_ID, wire::user)?;
    Ok(Json(json!({
        "id": BOT_ID,
        "name": hub.options.bot,
        "icon": null,
        "description": "",
        "bot_public": false,
        "bot_require_code_grant": false,
        "verify_key": "0000000000000000000000000000000000000000000000000000000000000000",
        "team": null,
        "flags": application_flags(&hub.options),
        "bot": bot,
    })))
}

/// Reads the guild, if the bot is in it.
fn in_guild(hub: &Hub, id: GuildId, show: impl FnOnce(&Guild) -> Value) -> Answer {
    hub.look(|inner| {
        if inner.guild.id() == id && inner.guild.membership() != Membership::Removed {
            Ok(Json(show(&inner.guild)))
        } else {
            Err(ApiError::UnknownGuild)
        }
    })
}

pub(super) async fn guild(State(hub): State<Arc<Hub>>, Path(id): Path<GuildId>) -> Answer {
    in_guild(&hub, id, wire::guild)
}

pub(super) async fn channels(State(hub): State<Arc<Hub>>, Path(id): Path<GuildId>) -> Answer {
    in_guild(&hub, id, |guild| {
        let shown = guild.channels().filter(|it| it.thread.is_none());
        shown.map(|it| wire::channel(guild, it)).collect()
    })
}

pub(super) async fn active_threads(State(hub): State<Arc<Hub>>, Path(id): Path<GuildId>) -> Answer {
    in_guild(&hub, id, |guild| {
        let active = guild.channels().filter(|it| wire::is_active(it));
        let seen: Vec<_> = active.filter(|it| wire::bot_sees(guild, it.id)).collect();
        wire::thread_list(guild, &seen)
    })
}

pub(super) async fn roles(State(hub): State<Arc<Hub>>, Path(id): Path<GuildId>) -> Answer {
    in_guild(&hub, id, |guild| json!(wire::roles(guild)))
}

pub(super) async fn member(
    State(hub): State<Arc<Hub>>,
    Path((guild, user)): Path<(GuildId, UserId)>,
) -> Answer {
    let found = in_guild(&hub, guild, |it| it.user(user).map_or(Value::Null, wire::member))?;
    if found.is_null() { Err(ApiError::UnknownMember) } else { Ok(found) }
}

/// The permission that lets somebody write in a channel, thread or not.
pub(crate) fn send_permission(guild: &Guild, channel: crate::ids::ChannelId) -> Permissions {
    match guild.channel(channel) {
        Ok(it) if it.thread.is_some() => Permissions::SEND_MESSAGES_IN_THREADS,
        Ok(_) | Err(_) => Permissions::SEND_MESSAGES,
    }
}
