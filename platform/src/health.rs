//! `/healthz` and `/readyz`: whether the process lives, and whether it can do its work.
//!
//! `/healthz` answers as long as the process does. `/readyz` answers 200 when every part that was
//! announced is ready, else 503 with a line for each that is not. It listens on loopback unless
//! told otherwise and never shows a secret.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// The parts of a service and why each is not ready. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Mutex<BTreeMap<&'static str, Option<String>>>>);

impl Readiness {
    /// Announces parts; they are not ready until [`Readiness::ready`] says so.
    pub fn new(parts: &[&'static str]) -> Self {
        let parts = parts.iter().map(|part| (*part, Some("starting".to_owned()))).collect();
        Self(Arc::new(Mutex::new(parts)))
    }

    /// `part` can do its work.
    pub fn ready(&self, part: &'static str) {
        self.set(part, None);
    }

    /// `part` cannot do its work, and why.
    pub fn not_ready(&self, part: &'static str, why: impl Into<String>) {
        self.set(part, Some(why.into()));
    }

    fn set(&self, part: &'static str, why: Option<String>) {
        self.lock().insert(part, why);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Option<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Each part that is not ready, a line each; empty when all are.
    pub fn missing(&self) -> String {
        let not_ready = |(part, why): (&&str, &Option<String>)| {
            why.as_ref().map(|why| format!("{part}: {why}\n"))
        };
        self.lock().iter().filter_map(not_ready).collect()
    }
}

/// Serves both pages until `stop`.
///
/// # Errors
///
/// When accepting connections fails.
pub async fn serve(
    listener: TcpListener,
    readiness: Readiness,
    stop: CancellationToken,
) -> io::Result<()> {
    let pages = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .with_state(readiness);
    axum::serve(listener, pages).with_graceful_shutdown(stop.cancelled_owned()).await
}

async fn readyz(State(readiness): State<Readiness>) -> (StatusCode, String) {
    let missing = readiness.missing();
    if missing.is_empty() {
        (StatusCode::OK, "ready\n".into())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_ready_is_named_with_its_reason() {
        let readiness = Readiness::new(&["discord", "nats"]);
        readiness.ready("discord");
        readiness.not_ready("nats", "no connection");
        assert_eq!(readiness.missing(), "nats: no connection\n");
        readiness.ready("nats");
        assert_eq!(readiness.missing(), "");
    }
}
