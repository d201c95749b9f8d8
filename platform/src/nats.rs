//! The way to NATS: connecting, and the settings of streams and consumers.
//!
//! A [`StreamSpec`] becomes a configuration here and is held against what the server has. Only
//! `gateway-svc provision` makes or changes streams; a service calls [`differences`] and refuses
//! to start when there are any. Every call has a time-out, and no message is read or written here.
//! Who is let in and how stands in `nats/settings.rs`.

mod refused;
mod server;
mod settings;

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::header::HeaderMap;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::{self, Context, stream};
use async_nats::{Client, Event, RequestError, RequestErrorKind, ServerError};
use backon::{BackoffBuilder as _, ExponentialBuilder, Retryable};
use schemas::streams::{self, ConsumerSpec, Kind, StreamSpec};
use thiserror::Error;
use tokio::sync::watch;

pub use settings::{NATS_URL, NatsFile, Settings};

use crate::chain::Chain;
use crate::health::Readiness;
use crate::telemetry::TRACEPARENT;

/// How long one request may take before its fate counts as unknown.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// A dead peer is noticed after about three of these (measured with async-nats 0.51).
const PING_EVERY: Duration = Duration::from_secs(10);

/// The longest pause between two tries to reach a server that is away at start.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// Why the server cannot be used.
#[derive(Debug, Error)]
pub enum NatsError {
    /// Nothing answers there, or it does not let us in. Trying again may help: a key can be added
    /// and a certificate renewed while we wait.
    #[error("cannot connect to NATS at {url}{hint}")]
    Unreachable {
        /// Where it was tried.
        url: String,
        /// What to do about it, where that is known.
        hint: String,
        /// What the client said.
        source: async_nats::ConnectError,
    },
    /// The credentials cannot be read.
    #[error("the credentials for NATS cannot be read")]
    Credentials(#[source] std::io::Error),
    /// The server is older than the protocol needs.
    #[error("nats-server is {found}, and {needed} or newer is needed")]
    TooOld {
        /// What the server says it is.
        found: String,
        /// What is needed.
        needed: String,
    },
    /// The server keeps nothing. Trying again may help: it can be started again with JetStream.
    #[error(
        "nats-server at {server} has no JetStream; give it a `jetstream` block with a store_dir, and \
         start it again"
    )]
    NoJetStream {
        /// Which server it is.
        server: String,
    },
}

/// A connection.
#[derive(Clone, Debug)]
pub struct Link {
    /// The way to streams and buckets.
    pub context: Context,
    /// Counts the connections that were made. A request that waits at the server is forgotten with
    /// the connection, so whoever waits for its answer looks here.
    pub connects: watch::Receiver<u64>,
    settings: Settings,
    refusals: watch::Receiver<Option<String>>,
    troubles: Arc<Troubles>,
}

/// What went wrong with a connection so far.
#[derive(Debug, Default)]
struct Troubles {
    lost: AtomicU64,
    errors: AtomicU64,
}

impl Troubles {
    fn count(&self, event: &Event) {
        match event {
            Event::Disconnected => self.lost.fetch_add(1, Ordering::Relaxed),
            Event::ServerError(_) | Event::SlowConsumer(_) | Event::ClientError(_) => {
                self.errors.fetch_add(1, Ordering::Relaxed)
            }
            Event::Connected | Event::LameDuckMode | Event::Draining | Event::Closed => 0,
        };
    }
}

impl Link {
    /// The client.
    pub fn client(&self) -> Client {
        self.context.client()
    }

    /// How often the connection was lost, and how often the server refused something or the client
    /// could not do something.
    pub fn troubles(&self) -> (u64, u64) {
        let Troubles { lost, errors } = &*self.troubles;
        (lost.load(Ordering::Relaxed), errors.load(Ordering::Relaxed))
    }

    /// What may be behind a request that failed: why no connection is made, or what the server
    /// refused last. `None` when neither is known.
    pub async fn trouble(&self) -> Option<String> {
        if self.client().connection_state() == State::Connected {
            if let Some(unfit) = server::unfit(&self.client().server_info()) {
                return Some(unfit.to_string());
            }
            let refused = self.refusals.borrow().clone()?;
            return Some(format!(
                "nats-server refused ({refused}): the permissions of this key are not those of this \
                 version; run `gateway-svc provision --out DIR` and reload the server"
            ));
        }
        // The client says no more than "IO error" of a connection that is made again.
        let tried = connect(&self.settings, "holdfast-why").await;
        Some(format!("{:#}", Chain(&tried.err()?)))
    }
}

/// Connects once. `name` is what the server's operator sees.
///
/// # Errors
///
/// [`NatsError`].
pub async fn connect(settings: &Settings, name: &str) -> Result<Link, NatsError> {
    let (connected, connects) = watch::channel(0);
    let (refuse, refusals) = watch::channel(None);
    let troubles = Arc::<Troubles>::default();
    let counted = Arc::clone(&troubles);
    let client = settings
        .options()
        .map_err(NatsError::Credentials)?
        .name(name)
        .ping_interval(PING_EVERY)
        .request_timeout(Some(REQUEST_TIMEOUT))
        .event_callback(move |event| {
            counted.count(&event);
            match &event {
                Event::Connected => {
                    connected.send_modify(|count| *count += 1);
                    refuse.send_replace(None);
                }
                Event::ServerError(ServerError::Other(said)) if said.contains("ermissions") => {
                    refuse.send_replace(Some(said.clone()));
                }
                Event::ServerError(_)
                | Event::Disconnected
                | Event::LameDuckMode
                | Event::Draining
                | Event::Closed
                | Event::SlowConsumer(_)
                | Event::ClientError(_) => {}
            }
            async move { log(&event) }
        })
        .connect(settings.servers())
        .await
        .map_err(|source| NatsError::Unreachable {
            url: settings.url(),
            hint: refused::hint(&source, settings.shown()),
            source,
        })?;
    if let Some(unfit) = server::unfit(&client.server_info()) {
        return Err(unfit);
    }
    let context = jetstream::ContextBuilder::new()
        .timeout(REQUEST_TIMEOUT)
        .ack_timeout(REQUEST_TIMEOUT)
        .build(client);
    Ok(Link { context, connects, settings: settings.clone(), refusals, troubles })
}

/// Connects, however long the server is away, does not let us in or has no JetStream, saying in `/readyz`
/// why it waits: a key can be added and a certificate renewed meanwhile. A server that is too old is no
/// matter of waiting. From then on `/readyz` says at once when the connection is lost, whoever asks for
/// something through it or does not.
///
/// # Errors
///
/// [`NatsError::TooOld`], [`NatsError::Credentials`].
pub async fn connect_patiently(
    settings: &Settings,
    name: &str,
    readiness: &Readiness,
) -> Result<Link, NatsError> {
    let link = (|| connect(settings, name))
        .retry(pauses())
        .when(|error| match error {
            NatsError::Unreachable { .. } | NatsError::NoJetStream { .. } => true,
            NatsError::Credentials(_) | NatsError::TooOld { .. } => false,
        })
        .notify(|error, pause| will_try_again(readiness, Chain(error).to_string(), pause))
        .await?;
    let client = link.client();
    let is_there = move || client.connection_state() == State::Connected;
    readiness.stands_on("nats", "the connection is lost, and tried again", is_there);
    Ok(link)
}

/// Asks the server for what a start needs, again and again where it went away meanwhile or gave no
/// answer in time, saying so in `/readyz`. `ask` may have had its effect each time.
///
/// # Errors
///
/// What an answer said.
pub async fn patiently<T, F>(
    link: &Link,
    readiness: &Readiness,
    mut ask: impl FnMut() -> F,
) -> Result<T, async_nats::Error>
where
    F: Future<Output = Result<T, async_nats::Error>>,
{
    let mut pauses = pauses().build();
    loop {
        let connects = *link.connects.borrow();
        let error = match ask().await {
            Ok(found) => return Ok(found),
            Err(error) => error,
        };
        let was_there = link.client().connection_state() == State::Connected
            && *link.connects.borrow() == connects;
        let is_fit = server::unfit(&link.client().server_info()).is_none();
        if was_there && is_fit && !is_late(&*error) {
            return Err(error);
        }
        let why = link.trouble().await.unwrap_or_else(|| Chain(&*error).to_string());
        let pause = pauses.next().unwrap_or(PAUSE_MAX);
        will_try_again(readiness, why, pause);
        tokio::time::sleep(pause).await;
    }
}

/// The pauses between the tries of a start: without an end, each with some chance in it.
fn pauses() -> ExponentialBuilder {
    ExponentialBuilder::new().with_max_delay(PAUSE_MAX).without_max_times().with_jitter()
}

/// Says in the log and in `/readyz` why a start waits.
fn will_try_again(readiness: &Readiness, why: String, pause: Duration) {
    tracing::warn!(why, pause_ms = pause.as_millis(), "trying again");
    readiness.not_ready("nats", why);
}

/// Whether a request was not answered in time.
fn is_late(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source()).any(|error| {
        let request = error.downcast_ref::<RequestError>();
        request.is_some_and(|request| request.kind() == RequestErrorKind::TimedOut)
    })
}

fn log(event: &Event) {
    match event {
        Event::Connected => tracing::info!("connected to NATS"),
        Event::Disconnected => tracing::warn!("NATS is away; trying again"),
        Event::ServerError(error) => tracing::warn!(%error, "NATS refused something"),
        Event::LameDuckMode | Event::Draining | Event::Closed => tracing::info!(%event, "NATS"),
        Event::SlowConsumer(_) | Event::ClientError(_) => tracing::warn!(%event, "NATS"),
    }
}

/// The configuration of a stream.
pub fn stream_config(spec: &StreamSpec) -> stream::Config {
    let bucket = spec.kind == Kind::Bucket;
    stream::Config {
        name: spec.name.clone(),
        subjects: vec![spec.subject.clone()],
        retention: match spec.kind {
            Kind::WorkQueue => stream::RetentionPolicy::WorkQueue,
            Kind::Bucket => stream::RetentionPolicy::Limits,
        },
        storage: stream::StorageType::File,
        discard: stream::DiscardPolicy::New,
        discard_new_per_subject: !bucket,
        max_messages_per_subject: 1,
        max_messages: -1,
        max_bytes: -1,
        max_message_size: -1,
        max_consumers: streams::MAX_CONSUMERS,
        max_age: spec.max_age.unwrap_or_default(),
        allow_message_ttl: spec.message_ttl,
        allow_direct: bucket,
        allow_rollup: bucket,
        deny_delete: bucket,
        num_replicas: 1,
        ..stream::Config::default()
    }
}

/// The configuration of a durable pull consumer.
pub fn consumer_config(spec: &ConsumerSpec) -> pull::Config {
    pull::Config {
        durable_name: Some(spec.name.clone()),
        filter_subject: spec.filter.clone(),
        deliver_policy: if spec.last_per_subject {
            DeliverPolicy::LastPerSubject
        } else {
            DeliverPolicy::All
        },
        ack_policy: AckPolicy::Explicit,
        ack_wait: spec.ack_wait,
        max_deliver: -1,
        max_ack_pending: streams::MAX_ACK_PENDING,
        max_waiting: streams::MAX_WAITING,
        ..pull::Config::default()
    }
}

/// What is missing or set otherwise than the protocol needs, a line each; empty when all is well.
///
/// # Errors
///
/// When the server cannot be asked.
pub async fn differences(
    context: &Context,
    specs: &[StreamSpec],
    consumers: &[ConsumerSpec],
) -> Result<Vec<String>, async_nats::Error> {
    let mut found = Vec::new();
    for spec in specs {
        let name = &spec.name;
        match context.get_stream(name).await {
            Ok(stream) => {
                let has = &stream.cached_info().config;
                let wants = stream_config(spec);
                if let Some(foreign) = foreign(has, &wants) {
                    found.push(foreign);
                    continue;
                }
                let mut check = Check { what: format!("stream {name}"), found: &mut found };
                check.same("storage", &has.storage, &wants.storage);
                check.same("discard", &has.discard, &wants.discard);
                check.same(
                    "discard_new_per_subject",
                    &has.discard_new_per_subject,
                    &wants.discard_new_per_subject,
                );
                check.same(
                    "max_msgs_per_subject",
                    &has.max_messages_per_subject,
                    &wants.max_messages_per_subject,
                );
                check.same("max_age", &has.max_age, &wants.max_age);
                check.same("max_consumers", &has.max_consumers, &wants.max_consumers);
                check.same("allow_msg_ttl", &has.allow_message_ttl, &wants.allow_message_ttl);
            }
            Err(error) if is_absent(&error) => found.push(format!("stream {name} is missing")),
            Err(error) => return Err(error.into()),
        }
    }
    for spec in consumers {
        let wants = consumer_config(spec);
        let name = format!("consumer {} of {}", spec.name, spec.stream);
        let consumer =
            context.get_consumer_from_stream::<pull::Config, _, _>(&spec.name, &spec.stream).await;
        match consumer {
            Ok(consumer) => {
                let has = &consumer.cached_info().config;
                let mut check = Check { what: name, found: &mut found };
                check.same("filter_subject", &has.filter_subject, &wants.filter_subject);
                check.same("ack_policy", &has.ack_policy, &wants.ack_policy);
                check.same("ack_wait", &has.ack_wait, &wants.ack_wait);
                check.same("max_deliver", &has.max_deliver, &wants.max_deliver);
                check.same("max_ack_pending", &has.max_ack_pending, &wants.max_ack_pending);
                check.same("backoff", &has.backoff, &wants.backoff);
            }
            Err(error) if is_no_consumer(&error) => found.push(format!("{name} is missing")),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(found)
}

/// Why a stream of one of our names is somebody else's, if it is: no version of ours ever changes what it
/// takes, or how it keeps it.
pub fn foreign(has: &stream::Config, wants: &stream::Config) -> Option<String> {
    let shown = |config: &stream::Config| {
        let of = config.subjects.join(", ");
        format!("takes {of} and keeps it by {:?}", config.retention)
    };
    let is_ours = has.subjects == wants.subjects && has.retention == wants.retention;
    (!is_ours).then(|| {
        format!(
            "stream {} is not Holdfast's: it {}, and Holdfast's {}. Give Holdfast an account or a server \
             of its own, or take that stream away",
            wants.name,
            shown(has),
            shown(wants)
        )
    })
}

/// When the streams that hold state were made: another value means that what was in them is lost,
/// or that this is another server.
///
/// # Errors
///
/// When the server cannot be asked.
pub async fn created(context: &Context) -> Result<String, async_nats::Error> {
    let mut all = Vec::new();
    for spec in [streams::work(), streams::runs()] {
        let made = context.get_stream(&spec.name).await?.cached_info().created;
        all.push(format!("{}={}", spec.name, made.unix_timestamp_nanos()));
    }
    Ok(all.join(" "))
}

/// Whether the answer was that there is no such stream.
pub fn is_absent(error: &jetstream::context::GetStreamError) -> bool {
    use jetstream::context::GetStreamErrorKind as Kind;
    match error.kind() {
        Kind::JetStream(error) => error.error_code() == jetstream::ErrorCode::STREAM_NOT_FOUND,
        Kind::EmptyName | Kind::Request | Kind::InvalidStreamName => false,
    }
}

fn is_no_consumer(error: &jetstream::stream::ConsumerError) -> bool {
    use jetstream::ErrorCode;
    let jetstream::stream::ConsumerErrorKind::JetStream(error) = error.kind() else { return false };
    [ErrorCode::CONSUMER_NOT_FOUND, ErrorCode::STREAM_NOT_FOUND].contains(&error.error_code())
}

/// Compares one thing's settings and collects what differs.
struct Check<'a> {
    what: String,
    found: &'a mut Vec<String>,
}

impl Check<'_> {
    fn same<T: Debug + PartialEq>(&mut self, key: &str, has: &T, wants: &T) {
        if has != wants {
            let what = &self.what;
            self.found.push(format!("{what}: {key} is {has:?} and must be {wants:?}"));
        }
    }
}

/// Headers that hand a trace on; empty when there is none.
pub fn trace_headers(traceparent: Option<&str>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some(text) = traceparent {
        headers.insert(TRACEPARENT, text);
    }
    headers
}

/// The `traceparent` that a message brought.
pub fn trace_of(headers: Option<&HeaderMap>) -> Option<String> {
    headers?.get(TRACEPARENT).map(|value| value.as_str().to_owned())
}
