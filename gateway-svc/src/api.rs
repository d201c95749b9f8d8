//! `/api/v1/…`: the fleet for programs, beside the health pages; what a token may.
//!
//! Without a token nothing is served, not even the description. What is read and done is what the command
//! line reads and does, through the same functions, and an act is in the audit under the token's name. A
//! request that cannot be served says why as a problem of RFC 9457. At most [`AT_ONCE_MAX`] requests are in
//! the store at once, so that no program takes its connections from the loops.

mod pages;
mod problem;
mod tokens;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::Response;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Components, OpenApi as Description};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) use self::problem::Problem;
pub(crate) use self::tokens::{May, Token, Tokens};
use crate::signals::Signals;
use crate::store::Store;

/// Where it is.
const ROOT: &str = "/api/v1";
/// The most bytes of a request's body: a generation, and room for what is added to it.
const BODY_MAX: usize = 4096;
/// How many requests may be in the store at once: half of its connections.
const AT_ONCE_MAX: usize = 2;
/// How long a request waits for its turn: whoever asks waits no longer.
const TURN_MAX: Duration = Duration::from_secs(10);
/// The name of the security scheme in the description.
const SCHEME: &str = "token";

/// What requests are served from. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    tokens: Arc<Tokens>,
    opened: Arc<OnceLock<(Store, Signals)>>,
    turns: Arc<Semaphore>,
}

/// Who asks: the name of their token.
#[derive(Clone, Debug)]
struct Caller(String);

impl Api {
    /// An API for these tokens, whose store is not open yet.
    pub(crate) fn new(tokens: Vec<Token>) -> Self {
        Self {
            tokens: Arc::new(Tokens(tokens)),
            opened: Arc::default(),
            turns: Arc::new(Semaphore::new(AT_ONCE_MAX)),
        }
    }

    /// The store is open.
    pub(crate) fn opened(&self, store: Store, signals: Signals) {
        // It is opened once in a life.
        let _ = self.opened.set((store, signals));
    }

    /// What is served; without tokens nothing is.
    pub(crate) fn router(self) -> Router {
        if self.tokens.0.is_empty() {
            return Router::new();
        }
        let (pages, _) = parts();
        let pages = pages
            .fallback(async || Problem::of(StatusCode::NOT_FOUND, "there is no such page"))
            .method_not_allowed_fallback(async || {
                Problem::of(StatusCode::METHOD_NOT_ALLOWED, "this page takes another method")
            })
            .layer(DefaultBodyLimit::max(BODY_MAX))
            .layer(middleware::from_fn_with_state(self.clone(), admit))
            .with_state(self);
        Router::new().nest(ROOT, pages)
    }

    /// The store, and a turn in it.
    async fn turn(&self) -> Result<(&Store, &Signals, OwnedSemaphorePermit), Problem> {
        let away = |why| Problem::of(StatusCode::SERVICE_UNAVAILABLE, why);
        let Some((store, signals)) = self.opened.get() else {
            return Err(away("the store is not open yet; /readyz says why"));
        };
        let turn = tokio::time::timeout(TURN_MAX, Arc::clone(&self.turns).acquire_owned()).await;
        match turn {
            Ok(Ok(turn)) => Ok((store, signals, turn)),
            Ok(Err(_)) | Err(_) => Err(away("too many requests at once; ask again")),
        }
    }
}

/// Lets in whoever has a token that may do this.
async fn admit(
    State(api): State<Api>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let Some(token) = api.tokens.of(request.headers()) else {
        return Err(Problem::of(
            StatusCode::UNAUTHORIZED,
            "give a token of [[api.tokens]]: `Authorization: Bearer …`",
        ));
    };
    let reads = [Method::GET, Method::HEAD].contains(request.method());
    if !reads && token.may != May::Act {
        let why = format!("the token {} may read and not act", token.name);
        return Err(Problem::of(StatusCode::FORBIDDEN, why));
    }
    request.extensions_mut().insert(Caller(token.name.clone()));
    Ok(next.run(request).await)
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Holdfast",
        description = "What a gateway knows of its runs, threads and runners, and what can be done about a run. \
                       Times are milliseconds since 1970, ids are texts, money is US dollars. Lists come in \
                       pages: `next` of one is `after` of the next. What people asked and what claude answered \
                       is not told.",
        license(name = "MIT", identifier = "MIT")
    ),
    servers((url = "/api/v1")),
    security(("token" = [])),
    modifiers(&Secured)
)]
struct Doc;

/// Says that a bearer token is asked for.
struct Secured;

impl Modify for Secured {
    fn modify(&self, description: &mut Description) {
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("A token of `[[api.tokens]]` in gateway.toml."))
            .build();
        let components = description.components.get_or_insert_with(Components::new);
        components.add_security_scheme(SCHEME, SecurityScheme::Http(bearer));
    }
}

/// The pages and their description, made from the same list.
fn parts() -> (Router<Api>, Description) {
    OpenApiRouter::with_openapi(Doc::openapi())
        .routes(routes!(pages::runs))
        .routes(routes!(pages::run))
        .routes(routes!(pages::retry))
        .routes(routes!(pages::end))
        .routes(routes!(pages::threads))
        .routes(routes!(pages::runners))
        .routes(routes!(pages::usage))
        .routes(routes!(pages::audit))
        .routes(routes!(pages::openapi))
        .split_for_parts()
}

/// The description as `docs/openapi.json` has it.
///
/// # Errors
///
/// None that is known: it is values alone.
pub(crate) fn description() -> serde_json::Result<String> {
    let (_, description) = parts();
    Ok(description.to_pretty_json()? + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_in_the_documents_is_current() {
        let written = include_str!("../../docs/openapi.json");
        let is = description().unwrap();
        assert!(is == written, "write it anew: gateway-svc openapi > docs/openapi.json\n{is}");
    }
}
