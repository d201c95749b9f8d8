//! `/healthz` and `/readyz`: whether the process lives, and whether it can do its work.
//!
//! `/healthz` answers as long as the process does. `/readyz` answers 200 when every part that was
//! announced is ready and `doctor` would find nothing, else 503 with a line for each that is not.
//! It listens on loopback unless told otherwise and never shows a secret.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::doctor::Finding;

/// The parts of a service and why each is not ready. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Mutex<Parts>>);

#[derive(Debug, Default)]
struct Parts {
    /// Why each part is not ready; `None`: it is.
    own: BTreeMap<&'static str, Option<String>>,
    /// What was wrong when everything was last looked at.
    found: Vec<String>,
}

impl Readiness {
    /// Announces parts; they are not ready until [`Readiness::ready`] says so.
    pub fn new(parts: &[&'static str]) -> Self {
        let own = parts.iter().map(|part| (*part, Some("starting".to_owned()))).collect();
        Self(Arc::new(Mutex::new(Parts { own, found: Vec::new() })))
    }

    /// `part` can do its work.
    pub fn ready(&self, part: &'static str) {
        self.set(part, None);
    }

    /// `part` cannot do its work, and why.
    pub fn not_ready(&self, part: &'static str, why: impl Into<String>) {
        self.set(part, Some(why.into()));
    }

    /// Everything was looked at. Returns what is wrong now and was not before.
    pub fn examined(&self, findings: &[Finding]) -> Vec<String> {
        let found: Vec<String> = findings.iter().filter_map(Finding::problem).collect();
        let mut parts = self.lock();
        let new = found.iter().filter(|line| !parts.found.contains(line)).cloned().collect();
        parts.found = found;
        new
    }

    fn set(&self, part: &'static str, why: Option<String>) {
        self.lock().own.insert(part, why);
    }

    fn lock(&self) -> MutexGuard<'_, Parts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is not ready, a line each; empty when all is.
    pub fn missing(&self) -> String {
        let parts = self.lock();
        let not_ready = |(part, why): (&&str, &Option<String>)| {
            why.as_ref().map(|why| format!("{part}: {why}\n"))
        };
        let own = parts.own.iter().filter_map(not_ready);
        own.chain(parts.found.iter().map(|line| format!("{line}\n"))).collect()
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

    #[test]
    fn what_is_found_is_told_until_it_is_mended_and_is_new_once() {
        let readiness = Readiness::new(&[]);
        let bad = [
            Finding::new("tmux", Ok("3.3a".into())),
            Finding::new("claude", Err("install it".into())),
        ];
        assert_eq!(readiness.examined(&bad), ["claude: install it"]);
        assert_eq!(readiness.examined(&bad), [""; 0]);
        assert_eq!(readiness.missing(), "claude: install it\n");
        assert_eq!(readiness.examined(&bad[..1]), [""; 0]);
        assert_eq!(readiness.missing(), "");
    }
}
