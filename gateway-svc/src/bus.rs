//! The gateway's end of NATS: publishes work, reads records, keeps files, hears presence.
//!
//! With the platform's `nats` and `provision` the only place that names async-nats. It decides
//! nothing: loops call it and act on what it returns. Every call has a time-out.

mod files;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_nats::jetstream::consumer::{PullConsumer, pull};
use async_nats::jetstream::context::PublishError;
use async_nats::jetstream::message::{AckKind, PublishMessage};
use async_nats::jetstream::{self, Context, ErrorCode, Message, kv};
use futures_util::{Stream, StreamExt};
use platform::nats::{Link, REQUEST_TIMEOUT, differences, trace_headers};
use schemas::WireError;
use schemas::control::Controls;
use schemas::identity::Twin;
use schemas::ids::ProjectName;
use schemas::live::Live;
use schemas::presence::Presence;
use schemas::record::Record;
use schemas::request::Request;
use schemas::streams::{self, RunKey, SubjectError, WorkSubject};
use thiserror::Error;
use tokio::io::AsyncReadExt;
use tokio::sync::watch;

/// Records that the feed has at hand.
const FEED_BATCH: usize = 64;
/// How long a fetch of the feed waits when there is nothing.
const FEED_WAIT: Duration = Duration::from_secs(30);
/// The most bytes of an answer that is read from FILES: far beyond what anyone reads in Discord.
const TEXT_MAX: u64 = 8 * 1024 * 1024;

/// The most bytes of what is told live: what a runner tells at most, each character as JSON's longest.
const LIVE_MAX: usize = 64 * 1024;

/// Why NATS did not do what it was asked.
#[derive(Debug, Error)]
pub(crate) enum BusError {
    /// It did not answer, or answered with an error. Trying again may help.
    #[error("NATS: {doing}")]
    Request {
        /// What was tried.
        doing: &'static str,
        /// What the client said.
        source: async_nats::Error,
    },
    /// What is stored there cannot be read. Trying again is vain.
    #[error("cannot read what is stored under {key}")]
    Unreadable {
        /// Its key.
        key: String,
        /// Why.
        source: WireError,
    },
    /// A file is not what its digest says, or too large.
    #[error("the file {digest} is {problem}")]
    BadFile {
        /// Its name.
        digest: String,
        /// What is wrong.
        problem: &'static str,
    },
}

fn request<E: Into<async_nats::Error>>(doing: &'static str) -> impl Fn(E) -> BusError {
    move |error| BusError::Request { doing, source: error.into() }
}

type Result<T, E = BusError> = std::result::Result<T, E>;

/// The gateway's end of NATS. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Bus {
    context: Context,
    connects: watch::Receiver<u64>,
    runs: kv::Store,
    runners: kv::Store,
    controls: kv::Store,
    feed: PullConsumer,
}

/// One delivery of the feed.
pub(crate) struct Delivery {
    message: Message,
}

/// What a delivery holds.
pub(crate) enum Fed {
    /// A record of this key.
    Record(Box<(RunKey, Record)>),
    /// A runner exists twice.
    Twin(Box<Twin>),
    /// Nothing for us: a key that was deleted, or one that is not ours.
    Nothing,
}

impl Bus {
    /// Attaches to streams that are as the protocol needs them.
    ///
    /// # Errors
    ///
    /// A line for each setting that differs, or what NATS said.
    pub(crate) async fn attach(link: Link) -> anyhow::Result<Self> {
        let Link { context, connects, .. } = link;
        let found = Self::problems(&context).await?;
        anyhow::ensure!(
            found.is_empty(),
            "NATS is not set up for this version; run `gateway-svc provision`:\n  {}",
            found.join("\n  ")
        );
        let feed = streams::feed_consumer();
        Ok(Self {
            runs: context.get_key_value(streams::RUNS).await?,
            runners: context.get_key_value(streams::RUNNERS).await?,
            controls: context.get_key_value(streams::CONTROL).await?,
            feed: context
                .get_consumer_from_stream::<pull::Config, _, _>(feed.name, feed.stream)
                .await?,
            context,
            connects,
        })
    }

    /// What is not as the protocol needs it, a line each.
    ///
    /// # Errors
    ///
    /// What NATS said.
    pub(crate) async fn problems(context: &Context) -> anyhow::Result<Vec<String>> {
        let specs = [streams::work(), streams::runs(), streams::control(), streams::runners()];
        differences(context, &specs, &[streams::feed_consumer()])
            .await
            .map_err(anyhow::Error::from_boxed)
    }

    /// What is missing by now, or set otherwise than it was at the start.
    ///
    /// # Errors
    ///
    /// What NATS said.
    pub(crate) async fn missing(&self) -> anyhow::Result<Vec<String>> {
        Self::problems(&self.context).await
    }

    /// Publishes a released run. One that is stored already is published: its subject takes one
    /// message. Returns whether this is the one.
    pub(crate) async fn publish(
        &self,
        subject: &WorkSubject,
        request_body: &Request,
        trace: Option<&str>,
    ) -> Result<bool> {
        let message = PublishMessage::build()
            .payload(schemas::to_json(request_body).into())
            .headers(trace_headers(trace));
        let sent = self.context.send_publish(subject.to_string(), message).await;
        let acked = match sent {
            Ok(ack) => ack.await,
            Err(error) => Err(error),
        };
        match acked {
            Ok(_) => Ok(true),
            Err(error) if is_there_already(&error) => Ok(false),
            Err(error) => Err(request("publishing a run")(error)),
        }
    }

    /// The record of a run, if there is one.
    pub(crate) async fn record(&self, key: &RunKey) -> Result<Option<Record>> {
        let key = key.to_string();
        let value = tokio::time::timeout(REQUEST_TIMEOUT, self.runs.get(&key))
            .await
            .map_err(request("reading a record"))?
            .map_err(request("reading a record"))?;
        let Some(value) = value else { return Ok(None) };
        schemas::from_json(&value).map(Some).map_err(|source| BusError::Unreadable { key, source })
    }

    /// Writes the controls of a run, if other ones are there. When another gateway writes at the
    /// same time, one of the two reads again at its next turn.
    pub(crate) async fn control(&self, key: &RunKey, controls: &Controls) -> Result<()> {
        let doing = "writing controls";
        let entry = tokio::time::timeout(REQUEST_TIMEOUT, self.controls.entry(key.to_string()))
            .await
            .map_err(request(doing))?
            .map_err(request(doing))?;
        let value = schemas::to_json(controls);
        if entry.as_ref().is_some_and(|entry| entry.value == value) {
            return Ok(());
        }
        // It is needed until the outcome; it ages because nobody else would take it away.
        let message = PublishMessage::build()
            .payload(value.into())
            .ttl(streams::KEEP)
            .expected_last_subject_sequence(entry.map_or(0, |entry| entry.revision));
        let subject = streams::bucket_subject(streams::CONTROL, key);
        let ack = self.context.send_publish(subject, message).await.map_err(request(doing))?;
        ack.await.map(|_| ()).map_err(request(doing))
    }

    /// How far the furthest store was that worked with these streams: when it last heard Discord, in
    /// milliseconds since 1970.
    pub(crate) async fn heard_ms(&self) -> Result<Option<i64>> {
        let doing = "reading how far a store was";
        let value = tokio::time::timeout(REQUEST_TIMEOUT, self.controls.get(streams::STORE_KEY))
            .await
            .map_err(request(doing))?
            .map_err(request(doing))?;
        let text = value.and_then(|value| String::from_utf8(value.to_vec()).ok());
        Ok(text.and_then(|text| text.parse().ok()))
    }

    /// Keeps how far our store is.
    pub(crate) async fn note_heard(&self, heard_ms: i64) -> Result<()> {
        let doing = "keeping how far the store is";
        let put = self.controls.put(streams::STORE_KEY, heard_ms.to_string().into());
        tokio::time::timeout(REQUEST_TIMEOUT, put)
            .await
            .map_err(request(doing))?
            .map_err(request(doing))?;
        Ok(())
    }

    /// Records as they come, until the stream or the connection ends; then it is to be asked for
    /// again. An error is an item, not the end.
    pub(crate) async fn feed(
        &self,
    ) -> Result<impl Stream<Item = Result<Delivery>> + Unpin + use<>> {
        let messages = self
            .feed
            .stream()
            .max_messages_per_batch(FEED_BATCH)
            .expires(FEED_WAIT)
            .heartbeat(FEED_WAIT / 2)
            .messages()
            .await
            .map_err(request("reading the feed"))?;
        let deliveries = messages.map(|message| {
            message.map(|message| Delivery { message }).map_err(request("reading the feed"))
        });
        // What waits at the server is forgotten with the connection.
        let mut connects = self.connects.clone();
        connects.mark_unchanged();
        let connected = async move { connects.changed().await };
        Ok(deliveries.take_until(Box::pin(connected)))
    }

    /// Every presence, now and from now on, with the time at which NATS got it, in milliseconds
    /// since 1970.
    pub(crate) async fn presences(
        &self,
    ) -> Result<impl Stream<Item = Result<(Presence, i64)>> + Unpin + use<>> {
        let watch =
            self.runners.watch_with_history(">").await.map_err(request("watching the runners"))?;
        Ok(Box::pin(watch.filter_map(|entry| async {
            match entry {
                Ok(entry) if entry.operation == kv::Operation::Put => {
                    let since = SystemTime::from(entry.created).duration_since(UNIX_EPOCH);
                    let since_ms = since.unwrap_or_default().as_millis();
                    let got_ms = i64::try_from(since_ms).unwrap_or(i64::MAX);
                    let read = schemas::from_json(&entry.value);
                    let read = read.map(|presence| (presence, got_ms));
                    Some(read.map_err(|source| BusError::Unreadable { key: entry.key, source }))
                }
                Ok(_) => None,
                Err(error) => Some(Err(request("watching the runners")(error))),
            }
        })))
    }

    /// What runners tell of what claude does. Some of it is lost.
    pub(crate) async fn live(&self) -> Result<impl Stream<Item = (RunKey, Live)> + Unpin + use<>> {
        let told = self.context.client().subscribe(streams::ALL_LIVE).await;
        let told = told.map_err(request("listening to what claude does"))?;
        Ok(Box::pin(told.filter_map(|message| async move {
            let key = streams::parse_live(&message.subject).ok()?;
            let fits = message.payload.len() <= LIVE_MAX;
            let live = fits.then(|| schemas::from_json(&message.payload));
            Some((key, live?.ok()?))
        })))
    }

    /// A text out of a project's FILES, checked against its digest.
    pub(crate) async fn text(&self, project: &ProjectName, digest: &str) -> Result<String> {
        let bad = |problem| BusError::BadFile { digest: digest.to_owned(), problem };
        let files = self
            .context
            .get_object_store(streams::files_bucket(project))
            .await
            .map_err(request("opening FILES"))?;
        let object = files.get(digest).await.map_err(request("reading a file"))?;
        let mut bytes = Vec::new();
        let mut object = object.take(TEXT_MAX + 1);
        tokio::time::timeout(FEED_WAIT, object.read_to_end(&mut bytes))
            .await
            .map_err(request("reading a file"))?
            .map_err(request("reading a file"))?;
        if TEXT_MAX < bytes.len() as u64 {
            return Err(bad("too large"));
        }
        if files::digest_of(&bytes) != digest {
            return Err(bad("not what its name says"));
        }
        String::from_utf8(bytes).map_err(|_| bad("no UTF-8 text"))
    }
}

impl Delivery {
    /// What was delivered.
    ///
    /// # Errors
    ///
    /// [`BusError::Unreadable`]: a record that this version cannot read.
    pub(crate) fn read(&self) -> Result<Fed> {
        let prefix = format!("$KV.{}.", streams::RUNS);
        let subject = self.message.subject.as_str();
        let key = subject.trim_start_matches(&prefix);
        let headers = self.message.headers.as_ref();
        let is_marker = headers.is_some_and(|h| {
            h.get("KV-Operation").is_some() || h.get("Nats-Marker-Reason").is_some()
        });
        if is_marker {
            return Ok(Fed::Nothing);
        }
        if key.starts_with(streams::TWIN_KEYS) {
            let key = key.to_owned();
            let read = schemas::from_json(&self.message.payload);
            return read
                .map(|twin| Fed::Twin(Box::new(twin)))
                .map_err(|source| BusError::Unreadable { key, source });
        }
        let key: Result<RunKey, SubjectError> = key.parse();
        let Ok(key) = key else { return Ok(Fed::Nothing) };
        match schemas::from_json(&self.message.payload) {
            Ok(record) => Ok(Fed::Record(Box::new((key, record)))),
            Err(source) => Err(BusError::Unreadable { key: key.to_string(), source }),
        }
    }

    /// It is in the store, or changes nothing: it need not come again.
    pub(crate) async fn done(&self) -> Result<()> {
        let ack = self.message.ack_with(AckKind::Ack);
        tokio::time::timeout(REQUEST_TIMEOUT, ack)
            .await
            .map_err(request("acknowledging a record"))?
            .map_err(request("acknowledging a record"))
    }
}

/// Whether a message was refused because its subject holds one (10077, which a full disk has too).
fn is_there_already(error: &PublishError) -> bool {
    use std::error::Error as _;
    let said = error.source().and_then(|source| source.downcast_ref::<jetstream::Error>());
    said.is_some_and(|said| {
        said.error_code() == ErrorCode::STREAM_STORE_FAILED
            && said.to_string().contains("per subject exceeded")
    })
}
