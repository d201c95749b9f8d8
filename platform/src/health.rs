//! `/healthz`, `/readyz` and `/metrics`: whether the process lives, whether it can do its work, and
//! what it has done.
//!
//! `/healthz` answers as long as the process does. `/readyz` answers 200 when every part that was
//! announced is ready and `doctor` would find nothing, else 503 with a line for each that is not.
//! `/metrics` is for Prometheus. It listens on loopback unless told otherwise and never shows a secret.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::doctor::Finding;
use crate::metrics::{Metrics, TEXT};

/// How long a loop may take for one round before it counts as standing still. A round that waits for all
/// that it may wait for, each to its own end, takes a minute.
pub const ROUND_MAX: Duration = Duration::from_secs(300);

/// The parts of a service and why each is not ready. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Mutex<Parts>>);

#[derive(Debug, Default)]
struct Parts {
    /// Why each part is not ready; `None`: it is.
    own: BTreeMap<&'static str, Option<String>>,
    /// What was wrong when everything was last looked at.
    found: Vec<String>,
    /// When each loop went round last.
    rounds: BTreeMap<&'static str, Instant>,
    /// What a part stands on, besides what it says of itself.
    grounds: BTreeMap<&'static str, Ground>,
}

/// What a part cannot work without, and what is said when it is not there.
struct Ground {
    is_there: Box<dyn Fn() -> bool + Send>,
    else_says: &'static str,
}

impl fmt::Debug for Ground {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.else_says)
    }
}

impl Parts {
    /// Why each part is not ready: what it says of itself, or what it stands on; `None`: it is.
    fn why(&self) -> impl Iterator<Item = (&'static str, Option<&str>)> {
        self.own.iter().map(|(part, own)| {
            let ground = self.grounds.get(part).filter(|ground| !(ground.is_there)());
            (*part, own.as_deref().or_else(|| ground.map(|ground| ground.else_says)))
        })
    }

    /// The loops that go round no more, and for how long.
    fn still(&self, now: Instant) -> impl Iterator<Item = (&'static str, Duration)> {
        let since = move |(name, last): (&&'static str, &Instant)| (*name, now - *last);
        self.rounds.iter().map(since).filter(|(_, since)| ROUND_MAX <= *since)
    }
}

impl Readiness {
    /// Announces parts; they are not ready until [`Readiness::ready`] says so.
    pub fn new(parts: &[&'static str]) -> Self {
        let own = parts.iter().map(|part| (*part, Some("starting".to_owned()))).collect();
        Self(Arc::new(Mutex::new(Parts { own, ..Parts::default() })))
    }

    /// `part` can do its work.
    pub fn ready(&self, part: &'static str) {
        self.set(part, None);
    }

    /// `part` cannot do its work, and why.
    pub fn not_ready(&self, part: &'static str, why: impl Into<String>) {
        self.set(part, Some(why.into()));
    }

    /// From now on `part` is ready only while `is_there` says so as well, which is asked at each look and
    /// must not wait for anything. `else_says` is told where the part says nothing of its own.
    pub fn stands_on(
        &self,
        part: &'static str,
        else_says: &'static str,
        is_there: impl Fn() -> bool + Send + 'static,
    ) {
        let ground = Ground { is_there: Box::new(is_there), else_says };
        self.lock().grounds.insert(part, ground);
    }

    /// The loop of this name goes round. The first time announces it: from then on it must, each
    /// [`ROUND_MAX`], or the service counts as hanging.
    pub fn turns(&self, name: &'static str) {
        self.lock().rounds.insert(name, Instant::now());
    }

    /// Whether a loop goes round no more.
    pub fn stands_still(&self, now: Instant) -> bool {
        self.lock().still(now).next().is_some()
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

    /// Each announced part and whether it is ready, and how much else was found wrong.
    pub fn state(&self) -> (Vec<(&'static str, bool)>, usize) {
        let parts = self.lock();
        let own = parts.why().map(|(part, why)| (part, why.is_none())).collect();
        (own, parts.found.len())
    }

    /// What is not ready, a line each; empty when all is.
    pub fn missing(&self) -> String {
        self.missing_at(Instant::now())
    }

    fn missing_at(&self, now: Instant) -> String {
        let parts = self.lock();
        let not_ready =
            |(part, why): (&str, Option<&str>)| why.map(|why| format!("{part}: {why}\n"));
        let own = parts.why().filter_map(not_ready);
        let found = parts.found.iter().map(|line| format!("{line}\n"));
        let still = parts.still(now);
        let still = still
            .map(|(name, since)| format!("{name}: has stood still for {} s\n", since.as_secs()));
        own.chain(found).chain(still).collect()
    }
}

/// Serves the pages, and `more`, until `stop`.
///
/// # Errors
///
/// When accepting connections fails.
pub async fn serve(
    listener: TcpListener,
    readiness: Readiness,
    metrics: Metrics,
    more: Option<Router>,
    stop: CancellationToken,
) -> io::Result<()> {
    let pages = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz).with_state(readiness))
        .route("/metrics", get(numbers).with_state(metrics))
        .merge(more.unwrap_or_default());
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

async fn numbers(State(metrics): State<Metrics>) -> Response {
    match metrics.page() {
        Ok(page) => ([(CONTENT_TYPE, TEXT)], page).into_response(),
        Err(error) => {
            tracing::error!(%error, "the page of metrics cannot be made");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::sync::atomic::Ordering::Relaxed;

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
    fn a_part_is_ready_while_what_it_stands_on_is_there() {
        let readiness = Readiness::new(&["nats"]);
        let there = Arc::new(AtomicBool::new(true));
        let seen = Arc::clone(&there);
        readiness.stands_on("nats", "the connection is lost", move || seen.load(Relaxed));
        assert_eq!(readiness.missing(), "nats: starting\n");
        readiness.ready("nats");
        assert_eq!((readiness.missing().as_str(), readiness.state().0), ("", vec![("nats", true)]));
        there.store(false, Relaxed);
        assert_eq!(readiness.missing(), "nats: the connection is lost\n");
        assert_eq!(readiness.state().0, [("nats", false)]);
        readiness.not_ready("nats", "no answer");
        assert_eq!(readiness.missing(), "nats: no answer\n", "what is known is said once");
        readiness.ready("nats");
        there.store(true, Relaxed);
        assert_eq!(readiness.missing(), "");
    }

    #[test]
    fn a_loop_that_goes_round_no_more_is_named() {
        let readiness = Readiness::new(&[]);
        readiness.turns("posting");
        let began = Instant::now();
        assert!(!readiness.stands_still(began));
        let later = began + ROUND_MAX;
        assert!(readiness.stands_still(later));
        assert_eq!(readiness.missing_at(later), "posting: has stood still for 300 s\n");
        assert_eq!(readiness.missing_at(began), "");
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
