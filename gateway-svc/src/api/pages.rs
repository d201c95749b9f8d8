//! The pages: a filter in, a list out; a run and a wish in, what became of it out.
//!
//! Each is thin: what is read is the store's, what is done is [`crate::acts`]'s.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, FromRequestParts, Path, Query, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use platform::clock::now_ms;
use schemas::ids::{Generation, RunId};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Api, Caller, Problem, description};
use crate::acts::{self, Told, Wish};
use crate::fleet::{
    Acted, Audit, AuditWanted, Run, Runners, RunnersWanted, Runs, RunsWanted, Threads,
    ThreadsWanted, Usage, UsageWanted,
};
use crate::shell::seen;
use crate::store::By;

/// What a query asks for.
pub(super) struct Asked<T>(T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match Query::<T>::try_from_uri(&parts.uri) {
            Ok(Query(wanted)) => Ok(Self(wanted)),
            Err(wrong) => Err(Problem::senseless(wrong.body_text())),
        }
    }
}

/// The run that a path names.
pub(super) struct Named(RunId);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|wrong| Problem::senseless(wrong.body_text()))?;
        text.parse()
            .map(Self)
            .map_err(|wrong: schemas::ids::IdError| Problem::senseless(wrong.to_string()))
    }
}

/// What an act is about, beside its run. An empty body is as good.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"generation": 1}))]
pub(super) struct ActWanted {
    /// The generation that it is about; by itself the one that the run is in. With it, an act that is asked
    /// for again much later is still done once.
    generation: Option<u32>,
}

/// Runs, the newest first.
#[utoipa::path(get, path = "/runs", params(RunsWanted), responses(
    (status = 200, description = "A page of runs.", body = Runs),
    (status = 401, description = "No token, or a wrong one.", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "A parameter makes no sense.", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn runs(
    State(api): State<Api>,
    Asked(wanted): Asked<RunsWanted>,
) -> Result<Json<Runs>, Problem> {
    let (store, _, _turn) = api.turn().await?;
    store.runs(&wanted, now_ms()).await.map(Json).map_err(Problem::inside)
}

/// One run.
#[utoipa::path(get, path = "/runs/{run}", params(("run" = String, Path, description = "The run's id.", example = "m7")),
    responses(
    (status = 200, description = "The run.", body = Run),
    (status = 401, description = "No token, or a wrong one.", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "There is no such run.", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "That is no run's id.", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn run(State(api): State<Api>, Named(run): Named) -> Result<Json<Run>, Problem> {
    let (store, _, _turn) = api.turn().await?;
    let found = store.run(&run).await.map_err(Problem::inside)?;
    found.map(Json).ok_or_else(|| no_run(&run))
}

/// Run again what failed or was stopped, as the button does. Asked for twice, it is done once.
#[utoipa::path(post, path = "/runs/{run}/retry", params(("run" = String, Path, description = "The run's id.", example = "m7")),
    request_body(content = Option<ActWanted>), responses(
    (status = 200, description = "It is tried again, or was before (`now` says which).", body = Acted),
    (status = 401, description = "No token, or a wrong one.", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "The token may not act.", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "There is no such run.", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "It did not fail and was not stopped.", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "The id or the body makes no sense.", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn retry(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Named(run): Named,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Acted>, Problem> {
    act(&api, &caller, &run, Wish::Retry, body).await
}

/// End a run, whether its runner answers or not. Asked for twice, it is done once.
#[utoipa::path(post, path = "/runs/{run}/end", params(("run" = String, Path, description = "The run's id.", example = "m7")),
    request_body(content = Option<ActWanted>), responses(
    (status = 200, description = "It is ended or dropped, or was before (`now` says which).", body = Acted),
    (status = 401, description = "No token, or a wrong one.", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "The token may not act.", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "There is no such run.", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "It has its outcome already.", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "The id or the body makes no sense.", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn end(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Named(run): Named,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Acted>, Problem> {
    act(&api, &caller, &run, Wish::End, body).await
}

/// Conversations, those begun last first.
#[utoipa::path(get, path = "/threads", params(ThreadsWanted), responses(
    (status = 200, description = "A page of conversations.", body = Threads),
    (status = 401, description = "No token, or a wrong one.", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "A parameter makes no sense.", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn threads(
    State(api): State<Api>,
    Asked(wanted): Asked<ThreadsWanted>,
) -> Result<Json<Threads>, Problem> {
    let (store, _, _turn) = api.turn().await?;
    store.threads(&wanted, now_ms()).await.map(Json).map_err(Problem::inside)
}

/// Runners, as they were seen last.
#[utoipa::path(get, path = "/runners", params(RunnersWanted), responses(
    (status = 200, description = "A page of runners.", body = Runners),
    (status = 401, description = "No token, or a wrong one.", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "A parameter makes no sense.", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn runners(
    State(api): State<Api>,
    Asked(wanted): Asked<RunnersWanted>,
) -> Result<Json<Runners>, Problem> {
    let (store, _, _turn) = api.turn().await?;
    let sights = store.sights().await.map_err(Problem::inside)?;
    Ok(Json(seen(sights, &wanted, now_ms())))
}

/// What runs took: money, tokens, time.
#[utoipa::path(get, path = "/usage", params(UsageWanted), responses(
    (status = 200, description = "What was taken, in parts.", body = Usage),
    (status = 401, description = "No token, or a wrong one.", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "A parameter makes no sense.", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn usage(
    State(api): State<Api>,
    Asked(wanted): Asked<UsageWanted>,
) -> Result<Json<Usage>, Problem> {
    let (store, _, _turn) = api.turn().await?;
    store.usage(&wanted, now_ms()).await.map(Json).map_err(Problem::inside)
}

/// What was decided and by whom, the newest first.
#[utoipa::path(get, path = "/audit", params(AuditWanted), responses(
    (status = 200, description = "A page of what was decided.", body = Audit),
    (status = 401, description = "No token, or a wrong one.", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "A parameter makes no sense.", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn audit(
    State(api): State<Api>,
    Asked(wanted): Asked<AuditWanted>,
) -> Result<Json<Audit>, Problem> {
    let (store, _, _turn) = api.turn().await?;
    store.audit(&wanted, now_ms()).await.map(Json).map_err(Problem::inside)
}

/// This description.
#[utoipa::path(get, path = "/openapi.json", responses(
    (status = 200, description = "The description, in OpenAPI 3.1.", body = serde_json::Value),
    (status = 401, description = "No token, or a wrong one.", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn openapi() -> Result<impl IntoResponse, Problem> {
    let text = description().map_err(Problem::inside)?;
    Ok(([(header::CONTENT_TYPE, "application/json")], text))
}

async fn act(
    api: &Api,
    caller: &Caller,
    run: &RunId,
    wish: Wish,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Acted>, Problem> {
    let generation = generation(body)?;
    let (store, signals, _turn) = api.turn().await?;
    let by = (By::Token(Uuid::new_v4()), caller.0.as_str());
    let told = acts::act(store, run, wish, generation, by).await.map_err(Problem::inside)?;
    let acted =
        |run: Run, now| Acted { run: run.run, generation: run.generation, state: run.state, now };
    match told {
        Told::Done(done, now) => {
            signals.stored();
            tracing::info!(%run, token = caller.0, ?wish, ?done, "by the API");
            Ok(Json(acted(now, true)))
        }
        Told::Before(now) => Ok(Json(acted(now, false))),
        Told::Not(now) => {
            let why = match wish {
                Wish::Retry => "did not fail and was not stopped",
                Wish::End => "has its outcome already",
            };
            let (state, generation) = (now.state.name(), now.generation);
            let why = format!("{run} {why}: it is {state}, in generation {generation}");
            Err(Problem::of(StatusCode::CONFLICT, why))
        }
        Told::NoRun => Err(no_run(run)),
    }
}

/// The generation that a body names.
fn generation(body: Result<Bytes, BytesRejection>) -> Result<Option<Generation>, Problem> {
    let body = body.map_err(|wrong| Problem::of(wrong.status(), wrong.body_text()))?;
    if body.is_empty() {
        return Ok(None);
    }
    let wanted: ActWanted = serde_json::from_slice(&body)
        .map_err(|wrong| Problem::senseless(format!("the body makes no sense: {wrong}")))?;
    match wanted.generation {
        Some(0) => Err(Problem::senseless("a generation is 1 or more")),
        generation => Ok(generation.map(Generation)),
    }
}

fn no_run(run: &RunId) -> Problem {
    Problem::of(StatusCode::NOT_FOUND, format!("there is no run {run}"))
}
