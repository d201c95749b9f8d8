//! The running simulator, as a test or `xtask up` holds it: where it listens, what it was asked,
//! which gates it holds, and whether it is out of order.
//!
//! All that can be waited for is waited for with [`Sim::until`]: no one sleeps.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::script;
use crate::server;

/// How many requests the log keeps, the newest: more than a story makes; a chaos run of hours
/// must not grow without end.
pub const LOG_MAX: usize = 2_000;

/// How a simulator is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it listens; port 0 for a free one. Default: a free port on 127.0.0.1.
    pub listen: SocketAddr,
    /// The only key that is let in; `None` for any.
    pub key: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), key: None }
    }
}

/// A simulator could not be started.
#[derive(Debug, Error)]
#[error("cannot listen on {listen}")]
pub struct StartError {
    /// Where it should have listened.
    pub listen: SocketAddr,
    /// Why it does not.
    #[source]
    pub source: std::io::Error,
}

/// What kind of request it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// One step of a turn: the script answers it.
    Turn,
    /// A small question of claude's own; answered without the script.
    Side,
    /// A count of tokens.
    Count,
    /// Anything else: `GET /`, `HEAD /api/hello`.
    Other,
}

/// One request, as the log keeps it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Request {
    /// Counts from 1.
    pub number: u64,
    /// When it came, in milliseconds since the start.
    pub at_ms: u64,
    /// What it asked for.
    pub kind: Kind,
    /// Its path.
    pub path: String,
    /// The claude session, where the client names it.
    pub session: Option<String>,
    /// The person's last words; empty if there are none.
    pub prompt: String,
    /// How many tools were called since these words.
    pub tools_done: usize,
    /// How many messages the conversation has.
    pub messages: usize,
    /// How many pictures are shown in it.
    pub pictures: usize,
    /// The status it was answered with; `None` while it is held.
    pub status: Option<u16>,
}

/// An error that the API gives to everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The HTTP status.
    pub status: u16,
    /// Its message.
    pub message: String,
}

impl Failure {
    /// The failure of this status with its usual message.
    pub fn status(status: u16) -> Self {
        Self { status, message: script::default_message(status).to_owned() }
    }
}

/// A running simulator. Dropping it ends it at once; [`Sim::stop`] waits for that.
#[derive(Debug)]
pub struct Sim {
    address: SocketAddr,
    shared: Arc<Shared>,
    tasks: JoinSet<std::io::Result<()>>,
}

/// What the handlers and the holder of the [`Sim`] share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) stop: CancellationToken,
    key: Option<String>,
    started: Instant,
    state: Mutex<State>,
    revision: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    log: VecDeque<Request>,
    counts: BTreeMap<Kind, u64>,
    refused: u64,
    numbers: u64,
    released: BTreeSet<String>,
    waiting: BTreeMap<String, usize>,
    outage: Option<(Failure, Option<u32>)>,
}

impl Sim {
    /// Starts a simulator; it serves from here on.
    ///
    /// # Errors
    ///
    /// [`StartError`] if it cannot listen where it should.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let listen = options.listen;
        let failed = |source| StartError { listen, source };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let shared = Arc::new(Shared {
            stop: CancellationToken::new(),
            key: options.key,
            started: Instant::now(),
            state: Mutex::default(),
            revision: watch::Sender::new(0),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(server::serve(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, tasks })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The value of `ANTHROPIC_BASE_URL`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Opens the gate NAME of `[[wait NAME]]`, for those who wait and all who come later.
    pub fn release(&self, name: &str) {
        self.shared.release(name);
    }

    /// How many requests are held by the gate NAME.
    pub fn waiting(&self, name: &str) -> usize {
        self.shared.lock().waiting.get(name).copied().unwrap_or(0)
    }

    /// Waits until a request is held by the gate NAME.
    pub async fn reached(&self, name: &str) {
        self.until(|sim| sim.waiting(name) > 0).await;
    }

    /// Waits until `fact` holds; it is looked at again whenever something changes here. Give it
    /// a deadline with `tokio::time::timeout`.
    pub async fn until(&self, fact: impl Fn(&Self) -> bool) {
        let mut revision = self.shared.revision.subscribe();
        // The sender lives in `shared`, so `changed` does not fail while `self` lives.
        while !fact(self) && revision.changed().await.is_ok() {}
    }

    /// From now on every authorized request fails like this; `None` ends it.
    pub fn fail_all(&self, failure: Option<Failure>) {
        self.shared.fail(failure, None);
    }

    /// The next `count` authorized requests fail like this.
    pub fn fail_next(&self, count: u32, failure: Failure) {
        self.shared.fail(Some(failure), Some(count));
    }

    /// The last [`LOG_MAX`] requests, oldest first.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests()
    }

    /// How many requests of this kind came since the start.
    pub fn count(&self, kind: Kind) -> u64 {
        self.shared.lock().counts.get(&kind).copied().unwrap_or(0)
    }

    /// How many requests were refused because they had no key, or a wrong one.
    pub fn refused(&self) -> u64 {
        self.shared.lock().refused
    }

    /// Ends it: what is held is cut, and the port is free when this returns.
    pub async fn stop(mut self) {
        self.shared.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.lock());
        self.revision.send_modify(|revision| *revision += 1);
        changed
    }

    pub(crate) fn release(&self, name: &str) {
        self.change(|state| state.released.insert(name.to_owned()));
    }

    pub(crate) fn fail(&self, failure: Option<Failure>, count: Option<u32>) {
        self.change(|state| state.outage = failure.map(|failure| (failure, count)));
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.lock().log.iter().cloned().collect()
    }

    /// True if this key is let in; counts it if not.
    pub(crate) fn admits(&self, key: Option<&str>) -> bool {
        let admitted = match (&self.key, key) {
            (Some(expected), Some(key)) => expected == key,
            (None, Some(key)) => !key.is_empty(),
            (_, None) => false,
        };
        if !admitted {
            self.change(|state| state.refused += 1);
        }
        admitted
    }

    /// The failure that meets the next request, if any.
    pub(crate) fn outage(&self) -> Option<Failure> {
        self.change(|state| {
            let (failure, left) = state.outage.as_mut()?;
            let failure = failure.clone();
            match left {
                Some(0) => state.outage = None,
                Some(left) => *left -= 1,
                None => {}
            }
            state.outage.is_some().then_some(failure)
        })
    }

    /// Writes a request into the log and gives it its number.
    pub(crate) fn log(&self, mut request: Request) -> u64 {
        request.at_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.change(|state| {
            state.numbers += 1;
            request.number = state.numbers;
            *state.counts.entry(request.kind).or_default() += 1;
            if state.log.len() == LOG_MAX {
                state.log.pop_front();
            }
            state.log.push_back(request);
            state.numbers
        })
    }

    /// Notes the status that a request was answered with.
    pub(crate) fn answered(&self, number: u64, status: u16) {
        self.change(|state| {
            if let Some(request) =
                state.log.iter_mut().rev().find(|request| request.number == number)
            {
                request.status = Some(status);
            }
        });
    }

    /// Returns when the time has gone by, the gate is open, or the server stops.
    pub(crate) async fn delay(&self, time: Duration) {
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            () = self.stop.cancelled() => {}
        }
    }

    /// Returns when the gate is open or the server stops.
    pub(crate) async fn gate(self: &Arc<Self>, name: &str) {
        let _waiting = Waiting::new(self, name);
        let mut revision = self.revision.subscribe();
        let opened = async {
            while !self.lock().released.contains(name) && revision.changed().await.is_ok() {}
        };
        tokio::select! {
            () = opened => {}
            () = self.stop.cancelled() => {}
        }
    }
}

/// Counts one who waits at a gate, as long as it lives: a client that goes away waits no more.
struct Waiting {
    shared: Arc<Shared>,
    name: String,
}

impl Waiting {
    fn new(shared: &Arc<Shared>, name: &str) -> Self {
        shared.change(|state| *state.waiting.entry(name.to_owned()).or_default() += 1);
        Self { shared: Arc::clone(shared), name: name.to_owned() }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.shared.change(|state| {
            if let Some(waiting) = state.waiting.get_mut(&self.name) {
                *waiting -= 1;
            }
        });
    }
}
