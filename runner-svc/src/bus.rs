//! The runner's end of NATS: work in, records out by compare-and-set, presence, files.
//!
//! With the platform's `nats` the only place that names async-nats. It decides nothing. Every call
//! has a time-out; a write whose answer was lost is settled by reading back, since only the holder
//! of an owner token writes what carries it.

mod files;
mod identity;

use files::Opened;
pub(crate) use files::{Fetched, digest_of};

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::Duration;

use async_nats::header::{self, HeaderMap};
use async_nats::jetstream::consumer::{PullConsumer, pull};
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::message::{AckKind, PublishMessage};
use async_nats::jetstream::{Context, Message, kv};
use futures_util::StreamExt;
use platform::nats::{Link, REQUEST_TIMEOUT, differences, trace_of};
use schemas::WireError;
use schemas::control::Controls;
use schemas::live::Live;
use schemas::presence::Presence;
use schemas::record::Record;
use schemas::request::Request;
use schemas::streams::{self, ConsumerSpec, RunKey, bucket_subject};
use thiserror::Error;
use tokio::sync::watch;

use crate::config::Config;
use crate::redact::Redactor;

/// How often a record is written over an older one that turns up in its place. Only a store that was
/// put back has one, and only its owner writes there.
const OVER_MAX: usize = 4;

/// How long what may be lost waits for its turn.
const LIVE_WAIT: Duration = Duration::from_millis(100);

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
    #[error("cannot read {what}")]
    Unreadable {
        /// What was read.
        what: String,
        /// Why.
        source: WireError,
    },
    /// It was not published by a gateway. Trying again is vain.
    #[error("the work on {0} was copied out of another stream")]
    Forged(String),
}

fn request<E: Into<async_nats::Error>>(doing: &'static str) -> impl Fn(E) -> BusError {
    move |error| BusError::Request { doing, source: error.into() }
}

type Result<T, E = BusError> = std::result::Result<T, E>;

/// The runner's end of NATS. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Bus {
    context: Context,
    connects: watch::Receiver<u64>,
    runs: kv::Store,
    runners: kv::Store,
    controls: kv::Store,
    /// Where work comes from, by name: the runner's own consumer first.
    work: Vec<(String, PullConsumer)>,
    /// What they must be like.
    specs: Vec<ConsumerSpec>,
    /// The files of projects that were opened before.
    files: Opened,
    /// What no secret gets past on its way out.
    redactor: Arc<Redactor>,
}

/// One delivery of work. Dropping it without [`Delivery::done`] lets it come again.
#[derive(Debug)]
pub(crate) struct Delivery {
    message: Message,
}

/// Hints that controls changed.
#[derive(Debug)]
pub(crate) struct Hints(async_nats::Subscriber);

impl Hints {
    /// Returns at the next hint, and never when the subscription is over.
    pub(crate) async fn next(&mut self) {
        if self.0.next().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}

/// What became of a compare-and-set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cas {
    /// The record is as it was to be, at this revision.
    Won(u64),
    /// Somebody else wrote since the revision that was named.
    Lost,
}

/// What became of a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Renewed {
    /// It stands, at this revision.
    Now(u64),
    /// A write of ours that was under way stands, at this revision: this one or an earlier one.
    Before(u64),
    /// Somebody else holds the run.
    Lost,
}

impl Bus {
    /// Attaches to streams that are as the protocol needs them.
    ///
    /// # Errors
    ///
    /// A line for each setting that differs, or what NATS said.
    pub(crate) async fn attach(link: Link, config: &Config) -> anyhow::Result<Self> {
        let Link { context, connects, .. } = link;
        let specs = config.consumers();
        let found = Self::problems(&context, &specs).await?;
        anyhow::ensure!(found.is_empty(), not_set_up(config, &found));
        let work = work(&context, &specs).await?;
        Ok(Self {
            runs: context.get_key_value(streams::RUNS).await?,
            runners: context.get_key_value(streams::RUNNERS).await?,
            controls: context.get_key_value(streams::CONTROL).await?,
            work,
            specs,
            files: Opened::default(),
            redactor: Arc::default(),
            context,
            connects,
        })
    }

    /// The same, which keeps what this one knows from being told.
    pub(crate) fn redacting(self, redactor: Redactor) -> Self {
        Self { redactor: Arc::new(redactor), ..self }
    }

    /// The same, with the consumers of another configuration. Nobody is asked where they are the same.
    ///
    /// # Errors
    ///
    /// A line for each setting that differs, or what NATS said.
    pub(crate) async fn serving(&self, config: &Config) -> anyhow::Result<Self> {
        let specs = config.consumers();
        if specs == self.specs {
            return Ok(self.clone());
        }
        let found = Self::problems(&self.context, &specs).await?;
        anyhow::ensure!(found.is_empty(), not_set_up(config, &found));
        let work = work(&self.context, &specs).await?;
        Ok(Self { work, specs, ..self.clone() })
    }

    /// What no secret gets past. Records are held against it here; what is cut before, or put into
    /// FILES, has to be before.
    pub(crate) fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    /// What is not as the protocol needs it, a line each.
    ///
    /// # Errors
    ///
    /// What NATS said.
    pub(crate) async fn problems(
        context: &Context,
        consumers: &[ConsumerSpec],
    ) -> anyhow::Result<Vec<String>> {
        let specs = [streams::work(), streams::runs(), streams::control(), streams::runners()];
        differences(context, &specs, consumers).await.map_err(anyhow::Error::from_boxed)
    }

    /// Why it does not work, for a person: what is not as the protocol needs it, else the error.
    pub(crate) async fn why_not(&self, error: BusError) -> String {
        match Self::problems(&self.context, &self.specs).await {
            Ok(found) if !found.is_empty() => found.join("; "),
            Ok(_) | Err(_) => format!("{:#}", anyhow::Error::new(error)),
        }
    }

    /// The consumers that work comes from, the runner's own first.
    pub(crate) fn consumers(&self) -> Vec<String> {
        self.work.iter().map(|(name, _)| name.clone()).collect()
    }

    /// Waits for one piece of work of a consumer, by its name; `None` after a while without. To be
    /// called with a free slot at hand: what is fetched is held.
    pub(crate) async fn fetch(&self, from: &str, wait: Duration) -> Result<Option<Delivery>> {
        let found = self.work.iter().find(|(name, _)| name == from);
        let Some((_, consumer)) = found else { return Ok(None) };
        let mut connects = self.connects.clone();
        connects.mark_unchanged();
        let mut batch = consumer
            .batch()
            .max_messages(1)
            .expires(wait)
            .messages()
            .await
            .map_err(request("asking for work"))?;
        tokio::select! {
            message = batch.next() => message
                .map(|message| message.map(|message| Delivery { message }))
                .transpose()
                .map_err(request("asking for work")),
            // The server forgot what we asked for with the connection: ask again.
            _ = connects.changed() => Ok(None),
            () = tokio::time::sleep(wait + REQUEST_TIMEOUT) => Ok(None),
        }
    }

    /// The record of a run and its revision, if there is one.
    pub(crate) async fn record(&self, key: &RunKey) -> Result<Option<(Record, u64)>> {
        let (record, revision) = self.record_at(key).await?;
        Ok(record.map(|record| (record, revision)))
    }

    /// The record of a run and the revision of its key; without a record, what a write must name.
    async fn record_at(&self, key: &RunKey) -> Result<(Option<Record>, u64)> {
        let name = key.to_string();
        let entry = tokio::time::timeout(REQUEST_TIMEOUT, self.runs.entry(&name))
            .await
            .map_err(request("reading a record"))?
            .map_err(request("reading a record"))?;
        let Some(entry) = entry else { return Ok((None, 0)) };
        if entry.operation != kv::Operation::Put {
            return Ok((None, entry.revision));
        }
        let record = schemas::from_json(&entry.value).map_err(|source| BusError::Unreadable {
            what: format!("the record {name}"),
            source,
        })?;
        Ok((Some(record), entry.revision))
    }

    /// Writes a record if its key still is at `revision` (0: was never written). A lost answer is
    /// settled by reading back. Where NATS forgot what was written before (it was purged, or is an
    /// older copy of itself), what is left there is older than ours, and is written over.
    ///
    /// # Errors
    ///
    /// Nobody knows yet whether it was written: the same call again will tell.
    pub(crate) async fn cas(&self, key: &RunKey, record: &Record, revision: u64) -> Result<Cas> {
        let record = &self.redactor.record(record);
        let (mut over, mut tries) = (revision, 0);
        loop {
            let error = match self.put(key, record, over).await {
                Ok(revision) => return Ok(Cas::Won(revision)),
                Err(error) => error,
            };
            let (found, at) = self.record_at(key).await?;
            match after_failure(found.as_ref(), at, record, revision) {
                Failed::Won => return Ok(Cas::Won(at)),
                Failed::Lost => return Ok(Cas::Lost),
                Failed::Forgotten if is_conflict(&error) && at != over && tries < OVER_MAX => {
                    (over, tries) = (at, tries + 1);
                }
                // A replica may lag: asked again, it will know more.
                Failed::Forgotten => return Err(request("writing a record")(error)),
            }
        }
    }

    /// Writes the record of a holding again as it is, once, so that others see that it is held.
    ///
    /// # Errors
    ///
    /// Nobody knows yet whether it was written, now or later.
    pub(crate) async fn renew(&self, key: &RunKey, record: &Record, over: u64) -> Result<Renewed> {
        let record = &self.redactor.record(record);
        let error = match self.put(key, record, over).await {
            Ok(revision) => return Ok(Renewed::Now(revision)),
            Err(error) => error,
        };
        let (found, at) = self.record_at(key).await?;
        match renewed(found.as_ref(), at, record, over) {
            Found::Ours => Ok(Renewed::Before(at)),
            Found::Anothers => Ok(Renewed::Lost),
            Found::Unchanged => Err(request("renewing a record")(error)),
            Found::Older => match self.cas(key, record, over).await? {
                Cas::Won(revision) => Ok(Renewed::Before(revision)),
                Cas::Lost => Ok(Renewed::Lost),
            },
        }
    }

    async fn put(&self, key: &RunKey, record: &Record, over: u64) -> Result<u64, PublishError> {
        let mut message = PublishMessage::build()
            .payload(schemas::to_json(record).into())
            .expected_last_subject_sequence(over);
        if record.outcome().is_some() {
            message = message.ttl(streams::KEEP);
        }
        let subject = bucket_subject(streams::RUNS, key);
        let ack = self.context.send_publish(subject, message).await?.await?;
        Ok(ack.sequence)
    }

    /// What people decided about a run so far.
    pub(crate) async fn controls(&self, key: &RunKey) -> Result<Option<Controls>> {
        let name = key.to_string();
        let value = tokio::time::timeout(REQUEST_TIMEOUT, self.controls.get(&name))
            .await
            .map_err(request("reading controls"))?
            .map_err(request("reading controls"))?;
        let Some(value) = value else { return Ok(None) };
        let read: Result<Controls, _> = schemas::from_json(&value);
        read.map(Some)
            .map_err(|source| BusError::Unreadable { what: format!("the controls {name}"), source })
    }

    /// A hint whenever somebody decides something about a run. It may be lost.
    pub(crate) async fn control_hints(&self, key: &RunKey) -> Result<Hints> {
        let subject = bucket_subject(streams::CONTROL, key);
        let subscribed = self.context.client().subscribe(subject).await;
        subscribed.map(Hints).map_err(request("listening for controls"))
    }

    /// Tells what claude does this second. Nobody may hear it.
    pub(crate) async fn tell_live(&self, key: &RunKey, live: &Live) {
        let client = self.context.client();
        let told = schemas::to_json(&self.redactor.live(live)).into();
        let said = client.publish(streams::live_subject(key), told);
        // It waits only while NATS is away and much is to be said when it is back.
        if !matches!(tokio::time::timeout(LIVE_WAIT, said).await, Ok(Ok(()))) {
            tracing::debug!("nobody hears what claude does");
        }
    }

    /// Says that the runner is there.
    pub(crate) async fn show(&self, presence: &Presence) -> Result<()> {
        let value = schemas::to_json(presence).into();
        self.runners
            .put(presence.runner.as_str(), value)
            .await
            .map(|_| ())
            .map_err(request("showing presence"))
    }
}

/// The consumers of these names.
async fn work(
    context: &Context,
    specs: &[ConsumerSpec],
) -> anyhow::Result<Vec<(String, PullConsumer)>> {
    let mut work = Vec::new();
    for spec in specs {
        let consumer =
            context.get_consumer_from_stream::<pull::Config, _, _>(&spec.name, &spec.stream);
        work.push((spec.name.clone(), consumer.await?));
    }
    Ok(work)
}

fn not_set_up(config: &Config, found: &[String]) -> String {
    let (command, found) = (config.provision(), found.join("\n  "));
    format!("NATS is not set up for this runner; run `{command}`:\n  {found}")
}

impl Delivery {
    /// The work.
    ///
    /// # Errors
    ///
    /// [`BusError::Unreadable`]: this version cannot read it.
    pub(crate) fn request(&self) -> Result<Request> {
        if is_copied(self.message.headers.as_ref()) {
            return Err(BusError::Forged(self.message.subject.to_string()));
        }
        schemas::from_json(&self.message.payload).map_err(|source| BusError::Unreadable {
            what: format!("the work on {}", self.message.subject),
            source,
        })
    }

    /// The trace that it belongs to.
    pub(crate) fn trace(&self) -> Option<String> {
        trace_of(self.message.headers.as_ref())
    }

    /// Whether it was delivered before, by JetStream's count: to be told, and nothing to be decided by.
    pub(crate) fn is_again(&self) -> bool {
        self.message.info().is_ok_and(|info| 1 < info.delivered)
    }

    /// Says that the work goes on, so that it is not delivered again. Silence costs only that.
    pub(crate) async fn in_progress(&self) {
        let said = self.message.ack_with(AckKind::Progress);
        if !matches!(tokio::time::timeout(REQUEST_TIMEOUT, said).await, Ok(Ok(()))) {
            tracing::debug!("nobody heard that the work goes on");
        }
    }

    /// Takes the work out of the queue. To be called only when its record is terminal or of a
    /// higher generation. That it is answered proves nothing; that it is not costs a redelivery.
    pub(crate) async fn done(&self) {
        let acked = self.message.double_ack();
        if !matches!(tokio::time::timeout(REQUEST_TIMEOUT, acked).await, Ok(Ok(()))) {
            tracing::debug!("the work may be delivered again");
        }
    }
}

/// What a record means that is found after a write failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failed {
    /// It is the one that was written.
    Won,
    /// Somebody else wrote it since.
    Lost,
    /// It is older than what was read before, or gone.
    Forgotten,
}

/// Decides. `revision` is what was read before the first write of `wanted`.
fn after_failure(found: Option<&Record>, at: u64, wanted: &Record, revision: u64) -> Failed {
    match found {
        Some(found) if found == wanted => Failed::Won,
        Some(found) if revision < at || !wanted.follows(found) => Failed::Lost,
        Some(_) | None => Failed::Forgotten,
    }
}

/// What is found after a renewal that was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// A write of ours that came after the revision that was named.
    Ours,
    /// The revision that was named.
    Unchanged,
    /// Another's holding, or an outcome.
    Anothers,
    /// NATS forgot what was written, or is an older copy of itself.
    Older,
}

/// Decides. `over` is what was named.
fn renewed(found: Option<&Record>, at: u64, record: &Record, over: u64) -> Found {
    match found {
        Some(found) if found.owner == record.owner && found.outcome().is_none() => {
            match at.cmp(&over) {
                Ordering::Greater => Found::Ours,
                Ordering::Equal => Found::Unchanged,
                Ordering::Less => Found::Older,
            }
        }
        Some(found) if over <= at || !record.follows(found) => Found::Anothers,
        Some(_) | None => Found::Older,
    }
}

/// Whether JetStream itself put a message there as the answer to somebody's read. Where an answer goes
/// the reader chooses, and nats-server holds that against no permission: so who may read what it wrote
/// could publish it as work. Such a message names the stream that it was read from.
fn is_copied(headers: Option<&HeaderMap>) -> bool {
    headers.is_some_and(|headers| headers.get(header::NATS_STREAM).is_some())
}

fn is_conflict(error: &PublishError) -> bool {
    error.kind() == PublishErrorKind::WrongLastSequence
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::ids::{Attempt, OwnerToken};
    use schemas::record::State;

    #[test]
    fn what_nats_forgot_is_written_again_and_what_it_learnt_is_not() {
        let text = include_str!("../../schemas/golden/record-1-claimed.json");
        let claimed: Record = schemas::from_json(text.as_bytes()).unwrap();
        let running = Record { state: State::Running, ..claimed.clone() };
        let next = Record { attempt: Attempt(9), owner: OwnerToken::random(), ..claimed.clone() };
        let decide = |found, at| after_failure(found, at, &running, 5);
        assert_eq!(decide(Some(&running), 6), Failed::Won, "the answer was lost");
        assert_eq!(decide(Some(&running), 3), Failed::Won);
        assert_eq!(decide(Some(&claimed), 6), Failed::Lost, "somebody wrote since");
        assert_eq!(decide(Some(&claimed), 3), Failed::Forgotten);
        assert_eq!(decide(Some(&next), 3), Failed::Lost, "a later attempt, after a forgetting");
        assert_eq!(decide(None, 0), Failed::Forgotten);
    }

    #[test]
    fn a_renewal_that_was_not_answered_is_known_by_its_owner_and_its_revision() {
        let text = include_str!("../../schemas/golden/record-1-claimed.json");
        let mine: Record = schemas::from_json(text.as_bytes()).unwrap();
        let attempt = mine.attempt.next();
        let theirs = Record { attempt, owner: OwnerToken::random(), ..mine.clone() };
        let decide = |found, at| renewed(found, at, &mine, 5);
        assert_eq!(decide(Some(&mine), 6), Found::Ours);
        assert_eq!(decide(Some(&mine), 5), Found::Unchanged, "nothing was written, or not yet");
        assert_eq!(decide(Some(&mine), 3), Found::Older);
        assert_eq!(decide(None, 0), Found::Older, "purged");
        assert_eq!(decide(Some(&theirs), 6), Found::Anothers);
        assert_eq!(decide(Some(&theirs), 3), Found::Anothers, "taken over, after a forgetting");
    }
}
