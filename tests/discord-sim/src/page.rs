//! A plain page on loopback to read and write in the guild, live, without any framework.
//!
//! Whoever reaches the port may act as anybody, so it is bound to loopback, answers only to a
//! loopback name in `Host` (a rebound DNS name is refused) and takes a post only as JSON, or as a form
//! from its own origin (another site's page in the same browser is refused). `show` is what it shows,
//! `acts` what a person does on it; there is no build step, and nothing comes from elsewhere.

mod acts;
mod show;

use std::convert::Infallible;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::stream::{self, Stream};

use crate::discord::Discord;

const PAGE: &str = include_str!("page/page.html");
const SCRIPT: &str = include_str!("page/page.js");
const MARKDOWN: &str = include_str!("page/markdown.js");
const STYLE: &str = include_str!("page/page.css");
/// The most that a person sends at once: some files that are too large for the bot among them.
const UPLOAD_MAX: usize = 100 * 1024 * 1024;
/// The page may use what comes from here, and nothing from anywhere else.
const POLICY: &str = "default-src 'none'; connect-src 'self'; script-src 'self'; \
                      style-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

pub(crate) fn router(discord: Discord) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/page.js", get(|| async { typed("text/javascript; charset=utf-8", SCRIPT) }))
        .route("/markdown.js", get(|| async { typed("text/javascript; charset=utf-8", MARKDOWN) }))
        .route("/page.css", get(|| async { typed("text/css; charset=utf-8", STYLE) }))
        .route("/sim/state", get(show::state))
        .route("/sim/messages/{channel}", get(show::messages))
        .route("/sim/modals", get(show::modals))
        .route("/sim/file/{channel}/{file}", get(show::file))
        .route("/sim/events", get(events))
        .route("/sim/say", post(acts::say).layer(DefaultBodyLimit::max(UPLOAD_MAX)))
        .route("/sim/edit", post(acts::edit))
        .route("/sim/delete", post(acts::delete))
        .route("/sim/react", post(acts::react))
        .route("/sim/unreact", post(acts::unreact))
        .route("/sim/press", post(acts::press))
        .route("/sim/select", post(acts::select))
        .route("/sim/submit", post(acts::submit))
        .route("/sim/close", post(acts::close))
        .route("/sim/start", post(acts::start))
        .route("/sim/thread", post(acts::thread))
        .route("/sim/remove", post(acts::remove))
        .route("/sim/join", post(acts::join))
        .route("/sim/role", post(acts::role))
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
    let origin = text(header::ORIGIN);
    let is_ours = origin.is_some_and(|it| it == format!("http://{host}"));
    if origin.is_some() && !is_ours {
        return false;
    }
    let is = |kind| text(header::CONTENT_TYPE).is_some_and(|it| it.starts_with(kind));
    // Any page may send a form without being asked first, but not without saying where it is from.
    let is_form = is_ours && is("multipart/form-data");
    method == Method::GET || method == Method::HEAD || is("application/json") || is_form
}

async fn page() -> Response {
    ([(header::CONTENT_SECURITY_POLICY, POLICY)], Html(PAGE)).into_response()
}

fn typed(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind)], text).into_response()
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
