//! What every request passes: counts, outages, faults, the token, the rate limits.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};
use serde_json::json;

use crate::error::ApiError;
use crate::faults::FaultKind;
use crate::guild::membership::Membership;
use crate::hub::{Hub, Outage};
use crate::limits::{Scope, Standing, Verdict};
use crate::net::Cut;
use crate::routes::Route;

const API: &str = "/api/v10";

/// The middleware of the whole router.
pub(super) async fn gate(
    State(hub): State<Arc<Hub>>,
    ConnectInfo(cut): ConnectInfo<Cut>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    let in_api = path.strip_prefix(API);
    let route = Route::of(request.method().as_str(), in_api.unwrap_or(path));
    let now_ms = hub.clock.now_ms();
    let (outage, fault) = hub.note(|inner| {
        let gone = inner.guild.membership() == Membership::Outage && route.is_of_guild();
        *inner.requests.entry(route.name()).or_default() += 1;
        let early = inner.limits.too_early(&route, now_ms);
        let outage = if gone { Outage::Unavailable } else { inner.outage };
        (outage, early.map_or_else(|| inner.faults.take(&route).map(Ok), |it| Some(Err(it))))
    });
    match outage {
        Outage::None => {}
        Outage::Refused => cut.now().await,
        Outage::Unavailable => return plain_status(StatusCode::SERVICE_UNAVAILABLE),
    }
    let answer = answer(&hub, &route, in_api.is_some(), request, next);
    let fault = match fault {
        Some(Ok(fault)) => Some(fault),
        Some(Err((scope, left_ms))) => {
            return too_many(Duration::from_millis(left_ms), scope, None);
        }
        None => None,
    };
    let told = |scope: Scope, wait: Duration| {
        hub.peek(|inner| inner.limits.tell(scope, &route, now_ms, crate::clock::millis(wait)));
        too_many(wait, scope, None)
    };
    match fault {
        None => answer.await,
        Some(FaultKind::StatusBefore(status)) => plain_status(known_status(status)),
        Some(FaultKind::StatusAfter(status)) => {
            answer.await;
            plain_status(known_status(status))
        }
        Some(FaultKind::PageBefore(status)) => page(known_status(status)),
        Some(FaultKind::GarbledAfter) => {
            answer.await;
            Html("<html>{\"id\": ").into_response()
        }
        Some(FaultKind::Refuse(error)) => error.into_response(),
        Some(FaultKind::CutBefore) => cut.now().await,
        Some(FaultKind::CutAfter) => {
            answer.await;
            cut.now().await
        }
        Some(FaultKind::Delay(duration)) => {
            tokio::time::sleep(duration).await;
            answer.await
        }
        Some(FaultKind::AnswerLate(duration)) => {
            let answer = answer.await;
            tokio::time::sleep(duration).await;
            answer
        }
        Some(FaultKind::RateLimited { retry_after }) => told(Scope::User, retry_after),
        Some(FaultKind::RateLimitedGlobally { retry_after }) => told(Scope::Global, retry_after),
        Some(FaultKind::RateLimitedByOthers { retry_after }) => told(Scope::Shared, retry_after),
    }
}

/// The answer of a request that no fault befalls.
async fn answer(hub: &Hub, route: &Route, in_api: bool, request: Request, next: Next) -> Response {
    if !in_api {
        return next.run(request).await;
    }
    let token = request.headers().get(header::AUTHORIZATION).and_then(|it| it.to_str().ok());
    let is_good = match token {
        Some(token) => {
            let own = token.strip_prefix("Bot ") == Some(hub.options.token.as_str());
            own && hub.look(|inner| inner.token_is_good)
        }
        // What goes by an interaction's token needs no other.
        None => route.is_of_interaction(),
    };
    if !is_good {
        return ApiError::Unauthorized.into_response();
    }
    let verdict = if hub.options.rate_limits {
        let now_ms = hub.clock.now_ms();
        hub.peek(|inner| inner.limits.take(route, now_ms))
    } else {
        Verdict::Go(None)
    };
    match verdict {
        Verdict::Go(standing) => {
            let mut response = next.run(request).await;
            if let Some(standing) = standing {
                tell_standing(response.headers_mut(), standing);
            }
            response
        }
        Verdict::Wait(standing) => {
            let wait = Duration::from_millis(standing.reset_after_ms);
            too_many(wait, Scope::User, Some(standing))
        }
        Verdict::WaitGlobal { retry_after_ms } => {
            too_many(Duration::from_millis(retry_after_ms), Scope::Global, None)
        }
    }
}

/// A 429. `Retry-After` has milliseconds, where Discord rounds up to seconds: serenity reads
/// both, and no test waits longer than it must.
fn too_many(retry_after: Duration, scope: Scope, standing: Option<Standing>) -> Response {
    let seconds = retry_after.as_secs_f64();
    let body = json!({
        "message": "You are being rate limited.",
        "retry_after": seconds,
        "global": scope == Scope::Global,
    });
    let mut response = (StatusCode::TOO_MANY_REQUESTS, Json(body)).into_response();
    let headers = response.headers_mut();
    if let Some(standing) = standing {
        tell_standing(headers, standing);
    }
    set(headers, "retry-after", format!("{seconds:.3}"));
    let word = match scope {
        Scope::User => "user",
        Scope::Global => "global",
        Scope::Shared => "shared",
    };
    set(headers, "x-ratelimit-scope", word);
    if scope == Scope::Global {
        set(headers, "x-ratelimit-global", "true");
    }
    response
}

fn tell_standing(headers: &mut HeaderMap, standing: Standing) {
    set(headers, "x-ratelimit-limit", standing.limit.to_string());
    set(headers, "x-ratelimit-remaining", standing.remaining.to_string());
    set(headers, "x-ratelimit-reset", seconds(standing.reset_at_ms));
    set(headers, "x-ratelimit-reset-after", seconds(standing.reset_after_ms));
    set(headers, "x-ratelimit-bucket", standing.bucket.name());
}

/// Milliseconds as seconds with three places.
fn seconds(ms: u64) -> String {
    format!("{}.{:03}", ms / 1000, ms % 1000)
}

fn set(headers: &mut HeaderMap, name: &'static str, value: impl Into<String>) {
    let value =
        HeaderValue::from_str(&value.into()).expect("digits and letters are a header value");
    headers.insert(HeaderName::from_static(name), value);
}

fn known_status(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// A status without a word of Discord's own: 4xx with code 0, 5xx as the HTML of a proxy.
fn plain_status(status: StatusCode) -> Response {
    if status.is_server_error() {
        return page(status);
    }
    (status, Json(json!({ "message": status.to_string(), "code": 0 }))).into_response()
}

/// The page of something that stands between a bot and Discord.
fn page(status: StatusCode) -> Response {
    (status, Html(format!("<html><body><h1>{status}</h1></body></html>"))).into_response()
}
