//! The HTTP side: routes, keys, and the doing of what [`crate::conversation`] decided.
//!
//! Beside the API there is a small door for those who run the program and not the library:
//! `POST /_sim/release/NAME`, `GET /_sim/requests`, `POST /_sim/fail/STATUS` (0 ends it).

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use bytes::Bytes;
use futures_util::stream;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::conversation::{self, Act, Usage};
use crate::request::{self, Asked};
use crate::sim::{Failure, Kind, Request, Shared};
use crate::sse::{self, Frame, Hold, Meta};

/// The largest body: a prompt of 256 kB in a long conversation, many times over.
const BODY_MAX: usize = 64 * 1024 * 1024;

/// Serves until the token in `shared` is cancelled.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>) -> std::io::Result<()> {
    let stop = shared.stop.clone();
    let app = Router::new()
        .route("/v1/messages", post(messages))
        .route("/v1/messages/count_tokens", post(count_tokens))
        .route("/_sim/release/{name}", post(release))
        .route("/_sim/requests", get(requests))
        .route("/_sim/fail/{status}", post(fail))
        .route("/", get(hello))
        .route("/api/{*rest}", any(hello))
        .fallback(unknown)
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(shared);
    axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned()).await
}

async fn hello(State(shared): State<Arc<Shared>>, uri: Uri) -> Json<Value> {
    let number = shared.log(entry(Kind::Other, &uri, &HeaderMap::new(), None));
    shared.answered(number, 200);
    Json(json!({"message": "hello"}))
}

async fn unknown(State(shared): State<Arc<Shared>>, uri: Uri) -> Response {
    let number = shared.log(entry(Kind::Other, &uri, &HeaderMap::new(), None));
    failed(&shared, number, 404, &format!("no such path: {}", uri.path()))
}

async fn release(State(shared): State<Arc<Shared>>, Path(name): Path<String>) -> StatusCode {
    shared.release(&name);
    StatusCode::NO_CONTENT
}

async fn requests(State(shared): State<Arc<Shared>>) -> Json<Vec<Request>> {
    Json(shared.requests())
}

async fn fail(State(shared): State<Arc<Shared>>, Path(status): Path<u16>) -> StatusCode {
    shared.fail((status != 0).then(|| Failure::status(status)), None);
    StatusCode::NO_CONTENT
}

async fn count_tokens(
    State(shared): State<Arc<Shared>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let (body, asked) = read(&body);
    let number = shared.log(entry(Kind::Count, &uri, &headers, asked.as_ref()));
    if let Some(refused) = refusal(&shared, number, &headers, &body) {
        return refused;
    }
    let tokens =
        asked.map_or(1, |asked| conversation::usage(&asked.conversation, &[]).input_tokens);
    shared.answered(number, 200);
    Json(json!({"input_tokens": tokens})).into_response()
}

async fn messages(
    State(shared): State<Arc<Shared>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let (body, asked) = read(&body);
    let kind = if request::is_side(&body) { Kind::Side } else { Kind::Turn };
    let number = shared.log(entry(kind, &uri, &headers, asked.as_ref()));
    if let Some(refused) = refusal(&shared, number, &headers, &body) {
        return refused;
    }
    let (acts, usage, next_tool) = match (&asked, kind) {
        (Some(asked), Kind::Turn) => {
            let acts = conversation::plan(&asked.conversation);
            let usage = conversation::usage(&asked.conversation, &acts);
            (acts, usage, asked.tools_ever + 1)
        }
        (None, Kind::Turn) => return failed(&shared, number, 400, "messages: no words of a user"),
        (_, Kind::Side | Kind::Count | Kind::Other) => {
            let usage = Usage { input_tokens: 1, output_tokens: 1 };
            (vec![Act::Text("OK".to_owned())], usage, 1)
        }
    };
    let messages = asked.as_ref().map_or(0, |asked| asked.messages);
    let model = body["model"].as_str().unwrap_or("claude-sim").to_owned();
    let id = format!("msg_sim_{messages}_{number}");
    let streamed = body["stream"] == Value::Bool(true);
    answer(&shared, number, Meta { id, model, usage, next_tool }, acts, streamed).await
}

/// Does the acts: first what must be waited for before a status, then the answer.
async fn answer(
    shared: &Arc<Shared>,
    number: u64,
    meta: Meta,
    acts: Vec<Act>,
    streamed: bool,
) -> Response {
    let answer = sse::answer(acts);
    for wait in &answer.holds {
        hold(shared, wait).await;
    }
    if let Some((status, message)) = answer.failure {
        return failed(shared, number, status, &message);
    }
    if streamed {
        shared.answered(number, 200);
        let frames: VecDeque<Frame> = sse::frames(&meta, &answer.acts).into();
        return streaming(Arc::clone(shared), frames);
    }
    for act in &answer.acts {
        match act {
            Act::Delay(time) => shared.delay(*time).await,
            Act::Wait(gate) => shared.gate(gate).await,
            Act::Fail { status, message } => return failed(shared, number, *status, message),
            Act::Text(_) | Act::Thinking(_) | Act::Tool { .. } | Act::Fault(_) => {}
        }
    }
    shared.answered(number, 200);
    Json(sse::whole(&meta, &answer.acts)).into_response()
}

/// A body that sends the frames in order and holds where it is told to.
fn streaming(shared: Arc<Shared>, frames: VecDeque<Frame>) -> Response {
    let body = stream::unfold((shared, frames), |(shared, mut frames)| async move {
        loop {
            match frames.pop_front()? {
                Frame::Event(text) => {
                    return Some((Ok::<_, Infallible>(Bytes::from(text)), (shared, frames)));
                }
                Frame::Hold(wait) => hold(&shared, &wait).await,
            }
            if shared.stop.is_cancelled() {
                return None;
            }
        }
    });
    let headers =
        [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")];
    (headers, Body::from_stream(body)).into_response()
}

async fn hold(shared: &Arc<Shared>, hold: &Hold) {
    match hold {
        Hold::Delay(time) => shared.delay(*time).await,
        Hold::Gate(name) => shared.gate(name).await,
        Hold::Ever => shared.stop.cancelled().await,
    }
}

/// The answer to what has no key or no JSON, or meets an outage; `None` to all else.
fn refusal(shared: &Shared, number: u64, headers: &HeaderMap, body: &Value) -> Option<Response> {
    if !shared.admits(key(headers)) {
        return Some(failed(shared, number, 401, crate::script::default_message(401)));
    }
    if let Some(failure) = shared.outage() {
        return Some(failed(shared, number, failure.status, &failure.message));
    }
    (!body.is_object()).then(|| failed(shared, number, 400, "the body is not a JSON object"))
}

fn failed(shared: &Shared, number: u64, status: u16, message: &str) -> Response {
    shared.answered(number, status);
    let code = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (code, Json(sse::error_body(status, message))).into_response()
}

/// The key of a request: `x-api-key`, else a bearer token.
fn key(headers: &HeaderMap) -> Option<&str> {
    if let Some(key) = headers.get("x-api-key") {
        return key.to_str().ok();
    }
    headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

fn read(body: &Bytes) -> (Value, Option<Asked>) {
    let body = serde_json::from_slice(body).unwrap_or(Value::Null);
    let asked = request::read(&body);
    (body, asked)
}

fn entry(kind: Kind, uri: &Uri, headers: &HeaderMap, asked: Option<&Asked>) -> Request {
    let session = headers.get("x-claude-code-session-id").and_then(|id| id.to_str().ok());
    Request {
        number: 0,
        at_ms: 0,
        kind,
        path: uri.path().to_owned(),
        session: session.map(str::to_owned),
        prompt: asked.map(|asked| asked.conversation.prompt.clone()).unwrap_or_default(),
        tools_done: asked.map_or(0, |asked| asked.conversation.tools_done),
        messages: asked.map_or(0, |asked| asked.messages),
        pictures: asked.map_or(0, |asked| asked.pictures),
        status: None,
    }
}
