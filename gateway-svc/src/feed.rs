//! RUNS → store: each record is folded into its run, and acknowledged when that is on disk.
//!
//! The gateway's durable consumer on the records is the event feed: there is no second publish to
//! keep in step. A record may come again or late; the store knows what it changes.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use futures_util::{Stream, StreamExt};
use platform::clock::now_ms;
use platform::health::Readiness;
use platform::reload::Current;
use platform::telemetry::{self, Ids};
use schemas::identity::Twin;
use schemas::record::{Outcome, REMARKS_MAX, Record, Text};
use schemas::streams::RunKey;
use thiserror::Error;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::bus::{Bus, BusError, Delivery, Fed};
use crate::config::Config;
use crate::crash;
use crate::numbers::Numbers;
use crate::render;
use crate::signals::Signals;
use crate::store::{Folded, Store, StoreError};
use crate::traced;

/// The longest pause before a failed feed is tried again.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// How often it is seen that a feed is still waited for.
const TURN: Duration = Duration::from_secs(30);
/// What the watchdog knows it by.
const LOOP: &str = "feed";

/// Why a record was not folded.
#[derive(Debug, Error)]
pub(crate) enum FoldError {
    /// Its answer could not be read.
    #[error("the answer cannot be read")]
    Answer(#[from] BusError),
    /// It could not be stored.
    #[error("the record cannot be stored")]
    Store(#[from] StoreError),
}

/// Folds records: used by the feed, and by the publisher, which reads them itself.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    /// Where runs are kept.
    pub(crate) store: Store,
    /// Where long answers are read.
    pub(crate) bus: Bus,
    /// Who is to know.
    pub(crate) signals: Signals,
    /// How answers are told.
    pub(crate) config: Current<Config>,
    /// What is counted.
    pub(crate) numbers: Numbers,
}

impl Folder {
    /// Folds one record.
    ///
    /// # Errors
    ///
    /// [`FoldError`]: the record has to come again.
    pub(crate) async fn fold(
        &self,
        key: &RunKey,
        record: &Record,
        now_ms: i64,
    ) -> Result<Folded, FoldError> {
        let began_ms = now_ms;
        let answer = self.answer(key, record).await?;
        let answers = self.config.now().answers;
        if record.outcome().is_some() {
            crash::point("feed.answer");
        }
        let trace = self.shown_at(record);
        let told = render::Told {
            answer: &answer,
            usage: record.usage(),
            runner: Some(&record.runner),
            trace: trace.as_deref(),
            pages_max: answers.pages_max,
            gift: Some(render::Gift {
                project: &key.project,
                files: &record.files,
                withheld: &record.withheld,
                file_max: answers.file_max,
            }),
        };
        let rows = |place: &render::Place| {
            let notice = record.notice.iter().map(|notice| render::notice(place, notice));
            let narrowed = record.narrowed.iter().map(|it| render::narrowed(place, it));
            let remarks = record.remarks.iter().take(REMARKS_MAX);
            let remarks = remarks.map(|it| render::remark(place, it));
            let more = match record.outcome() {
                Some(outcome) => render::ended(place, outcome, &told),
                None => record
                    .quiet_since_ms
                    .map(|since| render::quiet(place, since, now_ms))
                    .into_iter()
                    .collect(),
            };
            notice.chain(narrowed).chain(remarks).chain(more).collect()
        };
        let folded = self.store.fold(key, record, rows, now_ms).await?;
        match folded {
            Folded::Moved => {
                if record.notice.is_some() {
                    crash::point("feed.noticed");
                }
                if !record.asks.is_empty() {
                    crash::point("ask.folded");
                }
                traced::folded(key, record, began_ms);
                tracing::info!(run = %key.run, phase = ?record.fact().phase, "a run moved on");
                self.signals.stored();
                if let Some(outcome) = record.outcome()
                    && let Ok(Some(took)) = self.store.took(&key.run).await
                {
                    self.numbers.ended(&key.project, outcome, took);
                }
            }
            Folded::Stale => tracing::debug!(run = %key.run, "a record that changes nothing"),
            Folded::Unknown => tracing::warn!(run = %key.run, "a record of a run we do not know"),
        }
        Ok(folded)
    }

    /// Where the trace of an outcome is shown, if it is kept.
    fn shown_at(&self, record: &Record) -> Option<String> {
        let ids = Ids::parse(record.trace.as_deref()?).filter(Ids::is_kept)?;
        self.config.now().trace_url.as_ref().map(|url| url.of(ids.trace_id()))
    }

    /// Tells that a runner exists twice: the log, and each thread with a run there, once.
    async fn twin(&self, twin: &Twin) -> Result<(), FoldError> {
        let Twin { refused, holder, .. } = twin;
        tracing::error!(
            runner = %refused.runner, refused = %refused.state_id, refused_on = refused.host,
            holder = %holder.state_id, holder_on = holder.host, copy = twin.is_copy(),
            "a runner exists twice; the second one gets no work"
        );
        let row = |place: &render::Place| render::twin(place, twin);
        if 0 < self.store.tell_runs_of(&refused.runner, row, now_ms()).await? {
            self.signals.stored();
        }
        Ok(())
    }

    async fn answer(&self, key: &RunKey, record: &Record) -> Result<String, BusError> {
        match record.outcome() {
            Some(Outcome::Answered { answer: Text::Inline(text), .. }) => Ok(text.clone()),
            Some(Outcome::Answered { answer: Text::File { digest, .. }, .. }) => {
                self.bus.text(&key.project, digest).await
            }
            Some(Outcome::Failed { .. } | Outcome::Stopped { .. }) | None => Ok(String::new()),
        }
    }
}

/// Folds what the feed brings, until `stop`.
pub(crate) async fn run(bus: Bus, folder: Folder, readiness: Readiness, stop: CancellationToken) {
    let pauses =
        ExponentialBuilder::new().with_max_delay(PAUSE_MAX).without_max_times().with_jitter();
    let mut pause = pauses.build();
    loop {
        readiness.turns(LOOP);
        // A pull that nobody answers is heard of by nobody.
        let looked = stop.run_until_cancelled(look(&bus, &readiness)).await;
        if let Some(seen @ (Seen::Whole | Seen::Nothing)) = looked {
            match bus.feed().await {
                Ok(feed) => {
                    let looks = Looks { bus: &bus, readiness: &readiness, seen };
                    if follow(feed, &folder, looks, &stop).await {
                        pause = pauses.build();
                    }
                }
                Err(error) => tracing::warn!(%error, "the feed waits"),
            }
        }
        let wait = pause.next().unwrap_or(PAUSE_MAX);
        if stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
            return;
        }
    }
}

/// Folds what one feed brings, until it has to be asked for anew, or `stop`. Returns whether it brought
/// anything.
async fn follow(
    mut feed: impl Stream<Item = Result<Delivery, BusError>> + Unpin,
    folder: &Folder,
    mut looks: Looks<'_>,
    stop: &CancellationToken,
) -> bool {
    let mut brought = false;
    let mut again = Instant::now() + PAUSE_MAX;
    loop {
        looks.readiness.turns(LOOP);
        let next = tokio::select! {
            biased;
            () = stop.cancelled() => return brought,
            // Nobody answered, and the feed goes well all the same: then all may be well by now.
            () = sleep_until(again), if looks.seen != Seen::Whole => {
                looks.look().await;
                again = Instant::now() + PAUSE_MAX;
                continue;
            }
            next = feed.next() => next,
            () = tokio::time::sleep(TURN) => continue,
        };
        match next {
            Some(Ok(delivery)) => {
                take(folder, &delivery).await;
                brought = true;
            }
            Some(Err(error)) => {
                tracing::debug!(%error, "the feed hiccups");
                // Nothing came for a while, so nothing is at hand that would be lost.
                looks.look().await;
                if looks.seen != Seen::Whole {
                    return brought;
                }
            }
            None => return brought,
        }
    }
}

/// What is looked at, and what was seen there last.
struct Looks<'a> {
    bus: &'a Bus,
    readiness: &'a Readiness,
    seen: Seen,
}

impl Looks<'_> {
    async fn look(&mut self) {
        self.seen = look(self.bus, self.readiness).await;
    }
}

/// What was seen of the streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// All that the gateway needs.
    Whole,
    /// Something is missing, and may be made again at any time.
    Lacking,
    /// Nobody answers: NATS is away, or most of its servers are.
    Nothing,
}

/// Looks whether NATS has what the gateway needs; what is missing is said in `/readyz`.
async fn look(bus: &Bus, readiness: &Readiness) -> Seen {
    match bus.missing().await {
        Ok(found) if found.is_empty() => {
            readiness.ready("nats");
            Seen::Whole
        }
        Ok(found) => {
            let why = found.join("; ");
            tracing::warn!(why, "the feed waits");
            readiness.not_ready("nats", why);
            Seen::Lacking
        }
        Err(error) => {
            let why = format!("{error:#}");
            tracing::debug!(why, "the streams were not looked at");
            readiness.not_ready("nats", format!("it does not answer ({why})"));
            Seen::Nothing
        }
    }
}

/// Folds one delivery. What cannot be folded now is not acknowledged, and comes again.
async fn take(folder: &Folder, delivery: &Delivery) {
    let (key, record) = match delivery.read() {
        Ok(Fed::Record(both)) => *both,
        Ok(Fed::Twin(twin)) => {
            return match folder.twin(&twin).await {
                Ok(()) => done(delivery).await,
                Err(error) => tracing::warn!(error = ?error, "a twin waits to be told"),
            };
        }
        Ok(Fed::Nothing) => return done(delivery).await,
        Err(error) => {
            tracing::error!(error = %error, source = ?error, "a record cannot be read; is a runner newer?");
            return;
        }
    };
    let span = tracing::info_span!("fold", run.id = %key.run);
    let ids = record.trace.as_deref().and_then(Ids::parse);
    crash::point("feed.got");
    let folding = async {
        let done_to = folder.fold(&key, &record, now_ms()).await;
        folder.numbers.record(done_to.as_ref().ok().copied());
        match done_to {
            Ok(_) => {
                if record.outcome().is_some() {
                    crash::point("feed.folded");
                }
                done(delivery).await;
            }
            Err(error) => tracing::warn!(error = ?error, "a record waits to be folded"),
        }
    };
    telemetry::within(ids.as_ref(), folding.instrument(span)).await;
}

async fn done(delivery: &Delivery) {
    // Without this it comes again and changes nothing.
    if let Err(error) = delivery.done().await {
        tracing::debug!(%error, "a record was not acknowledged");
    }
}
