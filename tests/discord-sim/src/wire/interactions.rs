//! Interactions as Discord's JSON.

use serde_json::{Map, Value, json};

use super::{channel, member, message, partial_member, user, user_of};
use crate::form::components::{self, kind};
use crate::guild::{BOT_ID, Guild};
use crate::ids::{ChannelId, RoleId, UserId};
use crate::model::{Interaction, InteractionKind};

/// The types of interactions.
const MESSAGE_COMPONENT: u8 = 3;
const MODAL_SUBMIT: u8 = 5;
/// An interaction within a guild.
const GUILD_CONTEXT: u8 = 0;
/// The largest file of a guild without boosts, in bytes.
const ATTACHMENT_SIZE_LIMIT: u32 = 10 * 1024 * 1024;

/// The number of an interaction's type.
pub(crate) fn type_of(kind: InteractionKind) -> u8 {
    match kind {
        InteractionKind::Press | InteractionKind::Select => MESSAGE_COMPONENT,
        InteractionKind::Submit => MODAL_SUBMIT,
    }
}

/// An interaction as the gateway gives it.
pub(crate) fn interaction(guild: &Guild, asked: &Interaction) -> Value {
    let permissions = |who: UserId| {
        let all = guild.permissions(who, asked.channel).unwrap_or_default();
        json!(all.0.to_string())
    };
    let mut who = guild.user(asked.user).map_or(Value::Null, member);
    who["permissions"] = permissions(asked.user);
    let mut place = guild.channel(asked.channel).map_or(Value::Null, |it| channel(guild, it));
    place["permissions"] = permissions(asked.user);
    json!({
        "id": asked.id,
        "application_id": BOT_ID,
        "type": type_of(asked.kind),
        "token": asked.token,
        "version": 1,
        "guild_id": guild.id(),
        "guild": { "id": guild.id(), "locale": "en-US", "features": [] },
        "guild_locale": "en-US",
        "locale": "en-US",
        "channel_id": asked.channel,
        "channel": place,
        "member": who,
        "message": guild.any_message(asked.message).map(|it| message(guild, it)),
        "data": data(guild, asked),
        "app_permissions": permissions(BOT_ID),
        "entitlements": [],
        "authorizing_integration_owners": { "0": guild.id() },
        "context": GUILD_CONTEXT,
        "attachment_size_limit": ATTACHMENT_SIZE_LIMIT,
    })
}

fn data(guild: &Guild, asked: &Interaction) -> Value {
    match asked.kind {
        InteractionKind::Press => {
            json!({ "custom_id": asked.custom_id, "component_type": kind::BUTTON })
        }
        InteractionKind::Select => select_data(guild, asked),
        InteractionKind::Submit => {
            let row = |(id, text): &(String, String)| {
                let input = json!({ "type": kind::TEXT_INPUT, "custom_id": id, "value": text });
                json!({ "type": kind::ROW, "components": [input] })
            };
            let rows: Vec<_> = asked.fields.iter().map(row).collect();
            json!({ "custom_id": asked.custom_id, "components": rows })
        }
    }
}

fn select_data(guild: &Guild, asked: &Interaction) -> Value {
    let shown = guild.any_message(asked.message);
    let select = shown.and_then(|it| components::find(&it.components, &asked.custom_id));
    let number = select.and_then(|it| it["type"].as_u64()).unwrap_or(kind::STRING_SELECT);
    let mut data = json!({
        "custom_id": asked.custom_id,
        "component_type": number,
        "values": asked.values,
    });
    if number != kind::STRING_SELECT {
        data["resolved"] = resolved(guild, &asked.values, number);
    }
    data
}

/// The people, roles and channels that were chosen.
fn resolved(guild: &Guild, values: &[String], number: u64) -> Value {
    let mut maps = [Map::new(), Map::new(), Map::new(), Map::new()];
    let [users, members, roles, channels] = &mut maps;
    for value in values {
        let id: Option<u64> = value.parse().ok();
        let is_channel = number == kind::CHANNEL_SELECT;
        if let Some(it) = id.and_then(|it| guild.user(UserId(it))).filter(|_| !is_channel) {
            users.insert(value.clone(), user(it));
            members.insert(value.clone(), partial_member(it));
        }
        let role = guild.roles().find(|it| Some(it.id) == id.map(RoleId));
        if let Some(it) = role.filter(|_| !is_channel) {
            roles.insert(value.clone(), super::role(it, 0));
        }
        let place = id.and_then(|it| guild.channel(ChannelId(it)).ok());
        if let Some(it) = place.filter(|_| is_channel) {
            channels.insert(value.clone(), channel(guild, it));
        }
    }
    let names = ["users", "members", "roles", "channels"];
    let found = names.into_iter().zip(maps).filter(|(_, map)| !map.is_empty());
    Value::Object(found.map(|(name, map)| (name.to_owned(), Value::Object(map))).collect())
}

/// What a message says of the interaction that it answers.
pub(super) fn metadata(guild: &Guild, asked: &Interaction) -> Value {
    let mut about = json!({
        "id": asked.id,
        "type": type_of(asked.kind),
        "user": user_of(guild, asked.user),
        "authorizing_integration_owners": { "0": guild.id() },
    });
    match asked.from.and_then(|it| guild.interaction(it)) {
        Some(before) => about["triggering_interaction_metadata"] = metadata(guild, before),
        None => about["interacted_message_id"] = json!(asked.message),
    }
    about
}
