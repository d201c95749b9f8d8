//! Discord's REST API v10, as far as a bot like ours uses it, and the CDN of attached files.
//!
//! `gate` stands before every request: it counts, obeys the faults, checks the token and the
//! rate limits. Handlers ask the guild what is permitted, let it act, and give its answer as
//! Discord's JSON. What a person does never comes this way.

pub(crate) mod body;
mod channels;
mod gate;
mod interactions;
mod messages;
pub(crate) mod people;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post, put};
use serde::Deserialize;

use crate::error::ApiError;
use crate::hub::Hub;
use crate::ids::{AttachmentId, ChannelId};

/// The largest request that Discord takes (25 MiB).
const BODY_MAX: usize = 25 * 1024 * 1024;

/// Everything that answers for `discord.com` and `cdn.discordapp.com`.
pub(crate) fn router(hub: Arc<Hub>) -> Router {
    Router::new()
        .nest("/api/v10", api())
        .route("/attachments/{channel}/{attachment}/{name}", get(attachment))
        .fallback(|| async { ApiError::NotFound })
        .method_not_allowed_fallback(|| async { ApiError::MethodNotAllowed })
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(middleware::from_fn_with_state(Arc::clone(&hub), gate::gate))
        .with_state(hub)
}

fn api() -> Router<Arc<Hub>> {
    Router::new()
        .route("/gateway", get(people::gateway))
        .route("/gateway/bot", get(people::gateway_bot))
        .route("/users/@me", get(people::me))
        .route("/users/@me/guilds", get(people::my_guilds))
        .route("/users/{user}", get(people::user))
        .route("/applications/@me", get(people::application))
        .route("/oauth2/applications/@me", get(people::application))
        .route("/guilds/{guild}", get(people::guild))
        .route("/guilds/{guild}/channels", get(people::channels))
        .route("/guilds/{guild}/threads/active", get(people::active_threads))
        .route("/guilds/{guild}/members/{user}", get(people::member))
        .route("/guilds/{guild}/roles", get(people::roles))
        .route(
            "/channels/{channel}",
            get(channels::get).patch(channels::change).delete(channels::delete),
        )
        .route("/channels/{channel}/typing", post(channels::typing))
        .route("/channels/{channel}/threads", post(channels::start_thread))
        .route("/channels/{channel}/threads/archived/public", get(channels::archived))
        .route("/channels/{channel}/thread-members/@me", put(channels::join))
        .route("/channels/{channel}/thread-members/{user}", put(channels::add_member))
        .route("/channels/{channel}/messages", get(messages::page).post(messages::post))
        .route(
            "/channels/{channel}/messages/{message}",
            get(messages::get).merge(patch(messages::edit)).delete(messages::delete),
        )
        .route("/channels/{channel}/messages/{message}/threads", post(channels::start_from))
        .route("/channels/{channel}/messages/{message}/reactions/{emoji}", get(messages::reactors))
        .route(
            "/channels/{channel}/messages/{message}/reactions/{emoji}/@me",
            put(messages::react).delete(messages::unreact),
        )
        .route(
            "/channels/{channel}/messages/{message}/reactions/{emoji}/{user}",
            axum::routing::delete(messages::unreact_of),
        )
        .route("/interactions/{interaction}/{token}/callback", post(interactions::callback))
        .route("/webhooks/{application}/{token}", post(interactions::follow_up))
        .route(
            "/webhooks/{application}/{token}/messages/{message}",
            get(interactions::get).patch(interactions::edit).delete(interactions::delete),
        )
}

/// How the address of a file is signed: until when it is good, in seconds and in hexadecimal.
#[derive(Deserialize)]
struct Signed {
    ex: Option<String>,
}

/// A file as the CDN gives it: to anybody who knows the address, as long as that is good.
async fn attachment(
    State(hub): State<Arc<Hub>>,
    Path((channel, id, name)): Path<(ChannelId, AttachmentId, String)>,
    Query(signed): Query<Signed>,
) -> Response {
    let until = signed.ex.and_then(|ex| u64::from_str_radix(&ex, 16).ok());
    if until.is_none_or(|until| until < hub.clock.now_ms() / 1000) {
        return ApiError::NotFound.into_response();
    }
    let found = hub.look(|inner| {
        let about = inner.guild.attachment(channel, id).filter(|it| it.filename == name)?;
        Some((about.content_type.clone(), inner.guild.files.get(&id)?.clone()))
    });
    let Some((content_type, bytes)) = found else { return ApiError::NotFound.into_response() };
    let content_type = content_type.unwrap_or_else(|| "application/octet-stream".to_owned());
    ([(CONTENT_TYPE, content_type)], bytes).into_response()
}
