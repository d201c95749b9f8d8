//! Every stream, bucket, subject, consumer and limit, built and parsed here and nowhere else.
//!
//! Each number has its reason beside it; `docs/protocol.md` has the rules that they serve. Only
//! `gateway-svc provision` makes streams of these settings, and a service that finds others
//! refuses to start. Nothing here talks to NATS.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

use crate::ids::{Generation, IdError, ProjectName, RunId, RunnerId, ThreadId};
use crate::run::claim::Bounds;

/// The work queue of released runs.
pub const WORK: &str = "WORK";
/// The bucket of run records.
pub const RUNS: &str = "RUNS";
/// The bucket of controls: stop, answer to an ask, steer.
pub const CONTROL: &str = "CONTROL";
/// The key in [`CONTROL`] under which a gateway keeps how far its store is: when that last heard Discord, in
/// milliseconds since 1970, as text. No run's key is one word, so no runner hears of it.
pub const STORE_KEY: &str = "store";
/// The bucket of runners' presence.
pub const RUNNERS: &str = "RUNNERS";

/// The gateway's durable consumer on the stream of [`RUNS`]: the event feed.
pub const FEED_CONSUMER: &str = "gateway";

/// How long JetStream waits for a sign of life before it delivers a message again. Three times
/// [`RENEW`], so that two lost signs in a row cost nothing.
pub const ACK_WAIT: Duration = Duration::from_secs(60);
/// How often a holder says that it is still at work.
pub const RENEW: Duration = Duration::from_secs(20);
/// How often a runner says that it is there: three times within [`PRESENCE_AGE`].
pub const PRESENCE_EVERY: Duration = Duration::from_secs(10);
/// When a runner's presence is forgotten.
pub const PRESENCE_AGE: Duration = Duration::from_secs(30);
/// How long what is finished is kept: terminal records, files, sessions.
pub const KEEP: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How many claudes of a run may die without an outcome while their runner lives. What kills
/// three in a row most likely kills the fourth.
pub const ATTEMPTS_MAX: u32 = 3;
/// How many holdings of a run may be lost: to reboots, to runners that were away when claude ended,
/// to fences and take-overs. None of them is claude's fault, so it is far more than
/// [`ATTEMPTS_MAX`]; but whatever comes twenty times with growing pauses will not go away by itself.
pub const LOSSES_MAX: u32 = 20;
/// Both, as the claims need them.
pub const BOUNDS: Bounds = Bounds { deaths: ATTEMPTS_MAX, losses: LOSSES_MAX };
/// How long claude has between SIGTERM and SIGKILL.
pub const KILL_GRACE: Duration = Duration::from_secs(10);
/// When the keeper of a shared project's run stops claude: so long after the start of the last
/// renewal that succeeded. Three times [`RENEW`], as [`ACK_WAIT`].
pub const FENCE: Duration = Duration::from_secs(60);
/// When another runner takes a shared project's run over: so long after its record last changed.
/// More than [`FENCE`] and [`KILL_GRACE`] together, so that the claude of before is gone.
pub const TAKEOVER: Duration = Duration::from_secs(90);
/// When the runner of a shared project's conversation is given up for what has not begun: longer than
/// [`TAKEOVER`], so that a claude it may have left was fenced by then.
pub const GIVEN_UP: Duration = Duration::from_secs(120);

/// Runs that one runner may hold unacknowledged. Large: a run that waits for a person or for its
/// owner's return must never keep another from being delivered.
pub const MAX_ACK_PENDING: i64 = 100_000;
/// Fetches that may wait at one consumer; each free slot of each runner has one.
pub const MAX_WAITING: i64 = 10_000;
/// Consumers of one stream: one a runner, one a shared project. Set because nats-server 2.15
/// otherwise allows 1,000 (its release notes; `-1` no longer means "without limit").
pub const MAX_CONSUMERS: i32 = 10_000;
/// nats-server's default for one message, and the size that our limits are made for.
pub const MAX_PAYLOAD: usize = 1024 * 1024;
/// The oldest nats-server that keeps what it acknowledged (`sync_interval: always` without the
/// gap of inline compaction) and has every feature used here.
pub const SERVER_VERSION_MIN: (u64, u64, u64) = (2, 15, 1);

/// What a stream is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A work queue: a message goes when it is acknowledged, and a second one of its subject is
    /// refused (10077) while it is there.
    WorkQueue,
    /// The stream below a KV bucket: a newer message of a subject replaces the older one.
    Bucket,
}

/// What a stream must be like: in files, one message a subject, and [`Kind`] says the rest. Plain
/// values: the services turn them into a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamSpec {
    /// The name of the stream.
    pub name: String,
    /// What it takes.
    pub subject: String,
    /// What it is for.
    pub kind: Kind,
    /// When a message is forgotten; `None`: never.
    pub max_age: Option<Duration>,
    /// Whether a message may bring its own age, as a terminal record does.
    pub message_ttl: bool,
}

/// The stream of released runs. One message a subject, and a second copy is refused while the
/// first is stored: publishing again is always safe, and nothing relies on message ids.
pub fn work() -> StreamSpec {
    StreamSpec {
        name: WORK.into(),
        subject: "work.>".into(),
        kind: Kind::WorkQueue,
        max_age: None,
        message_ttl: false,
    }
}

/// The bucket of run records. Unfinished ones never age; a terminal one brings its age ([`KEEP`]).
pub fn runs() -> StreamSpec {
    bucket(RUNS, None, true)
}

/// The bucket of controls.
pub fn control() -> StreamSpec {
    bucket(CONTROL, None, true)
}

/// The bucket of presence.
pub fn runners() -> StreamSpec {
    bucket(RUNNERS, Some(PRESENCE_AGE), false)
}

fn bucket(name: &str, max_age: Option<Duration>, message_ttl: bool) -> StreamSpec {
    StreamSpec {
        name: bucket_stream(name),
        subject: format!("$KV.{name}.>"),
        kind: Kind::Bucket,
        max_age,
        message_ttl,
    }
}

/// The stream below a KV bucket (NATS' ADR-8).
pub fn bucket_stream(bucket: &str) -> String {
    format!("KV_{bucket}")
}

/// The object store of a project's files.
pub fn files_bucket(project: &ProjectName) -> String {
    format!("FILES_{project}")
}

/// The stream below the object store of a project's files (NATS' ADR-20).
pub fn files_stream(project: &ProjectName) -> String {
    format!("OBJ_{}", files_bucket(project))
}

/// What a durable pull consumer must be like: explicit acks, [`ACK_WAIT`], no end of deliveries,
/// no back-off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerSpec {
    /// The stream that it reads.
    pub stream: String,
    /// Its durable name.
    pub name: String,
    /// What it reads there.
    pub filter: String,
    /// Whether every stored message counts or only what is newest of each subject.
    pub last_per_subject: bool,
    /// See [`ACK_WAIT`].
    pub ack_wait: Duration,
}

impl ConsumerSpec {
    /// The same with another [`ACK_WAIT`], for tests.
    #[must_use]
    pub fn within(self, ack_wait: Duration) -> Self {
        Self { ack_wait, ..self }
    }
}

/// The consumer of one runner: the work of the projects it owns, and of threads it holds.
pub fn runner_consumer(runner: &RunnerId) -> ConsumerSpec {
    ConsumerSpec {
        stream: WORK.into(),
        name: format!("runner-{runner}"),
        filter: format!("work.*.at.{runner}.>"),
        last_per_subject: false,
        ack_wait: ACK_WAIT,
    }
}

/// The consumer that the runners of a shared project have in common: the work that any may do.
pub fn project_consumer(project: &ProjectName) -> ConsumerSpec {
    ConsumerSpec {
        stream: WORK.into(),
        name: format!("project-{project}"),
        filter: format!("work.{project}.any.>"),
        last_per_subject: false,
        ack_wait: ACK_WAIT,
    }
}

/// The gateway's consumer of run records.
pub fn feed_consumer() -> ConsumerSpec {
    ConsumerSpec {
        stream: bucket_stream(RUNS),
        name: FEED_CONSUMER.into(),
        filter: format!("$KV.{RUNS}.>"),
        last_per_subject: true,
        ack_wait: ACK_WAIT,
    }
}

/// Where a released run is to run.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// On any runner of a shared project.
    Any,
    /// On this runner: it owns the project, or holds the thread.
    At(RunnerId),
}

/// The subject of one released run.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WorkSubject {
    /// The project.
    pub project: ProjectName,
    /// Where it is to run.
    pub place: Place,
    /// The run.
    pub run: RunId,
    /// Its generation.
    pub generation: Generation,
}

impl fmt::Display for WorkSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { project, place, run, generation } = self;
        match place {
            Place::Any => write!(f, "work.{project}.any.{run}.{generation}"),
            Place::At(runner) => write!(f, "work.{project}.at.{runner}.{run}.{generation}"),
        }
    }
}

/// The key of a run's record in [`RUNS`] and of its controls in [`CONTROL`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RunKey {
    /// The project.
    pub project: ProjectName,
    /// The conversation.
    pub thread: ThreadId,
    /// The run.
    pub run: RunId,
}

impl fmt::Display for RunKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { project, thread, run } = self;
        write!(f, "{project}.{thread}.{run}")
    }
}

/// What the subject of everything that is told live begins with. It is core NATS: nothing keeps it.
const LIVE: &str = "live.";
/// Everything that is told live.
pub const ALL_LIVE: &str = "live.>";

/// The subject on which it is told what claude does in a run ([`crate::live::Live`]).
pub fn live_subject(key: &RunKey) -> String {
    format!("{LIVE}{key}")
}

/// The run that a subject of [`live_subject`] is about.
///
/// # Errors
///
/// [`SubjectError`]: it is none.
pub fn parse_live(subject: &str) -> Result<RunKey, SubjectError> {
    let key = subject.strip_prefix(LIVE);
    key.ok_or_else(|| SubjectError::Shape(subject.to_owned()))?.parse()
}

/// How often a runner tells at most what claude does in a run, and how often it does so although nothing
/// changed: well within what [`LIVE_SILENCE`] allows.
pub const LIVE_EVERY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));
/// When a person is told that nothing was heard of a run: four such words were lost.
pub const LIVE_SILENCE: Duration = Duration::from_secs(45);

/// The key in [`RUNS`] of the one that has a runner's name ([`crate::identity::Identity`]). It has
/// fewer tokens than a run's, so that neither is ever taken for the other.
pub fn identity_key(runner: &RunnerId) -> String {
    format!("runner.{runner}")
}

/// What the key of each [`crate::identity::Twin`] in [`RUNS`] begins with.
pub const TWIN_KEYS: &str = "twin.";

/// The key in [`RUNS`] of the last one that was refused a runner's name.
pub fn twin_key(runner: &RunnerId) -> String {
    format!("{TWIN_KEYS}{runner}")
}

/// The subject below a key of a bucket.
pub fn bucket_subject(bucket: &str, key: &impl fmt::Display) -> String {
    format!("$KV.{bucket}.{key}")
}

/// Why a subject is none of ours.
#[derive(Debug, Error)]
pub enum SubjectError {
    /// It has other tokens, or another number of them.
    #[error("{0:?} is not a subject of ours")]
    Shape(String),
    /// One of its tokens is no id.
    #[error("{0:?} has a bad token")]
    Token(String, #[source] IdError),
}

impl FromStr for WorkSubject {
    type Err = SubjectError;
    fn from_str(text: &str) -> Result<Self, SubjectError> {
        let bad = |error| SubjectError::Token(text.to_owned(), error);
        let tokens: Vec<&str> = text.split('.').collect();
        let (project, place, run, generation) = match tokens[..] {
            ["work", project, "any", run, generation] => (project, Place::Any, run, generation),
            ["work", project, "at", runner, run, generation] => {
                (project, Place::At(runner.parse().map_err(bad)?), run, generation)
            }
            _ => return Err(SubjectError::Shape(text.to_owned())),
        };
        Ok(Self {
            project: project.parse().map_err(bad)?,
            place,
            run: run.parse().map_err(bad)?,
            generation: generation.parse().map_err(bad)?,
        })
    }
}

impl FromStr for RunKey {
    type Err = SubjectError;
    fn from_str(text: &str) -> Result<Self, SubjectError> {
        let bad = |error| SubjectError::Token(text.to_owned(), error);
        let tokens: Vec<&str> = text.split('.').collect();
        let [project, thread, run] = tokens[..] else {
            return Err(SubjectError::Shape(text.to_owned()));
        };
        Ok(Self {
            project: project.parse().map_err(bad)?,
            thread: thread.parse().map_err(bad)?,
            run: run.parse().map_err(bad)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_work_subject_parses_as_it_prints() {
        for text in ["work.api.any.m7.1", "work.api.at.host-1.h2-m7.3"] {
            assert_eq!(text.parse::<WorkSubject>().unwrap().to_string(), text);
        }
        for text in ["work.api.any.m7", "work.api.at.m7.1", "work.*.any.m7.1", "w.api.any.m7.1"] {
            assert!(text.parse::<WorkSubject>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_run_key_parses_as_it_prints() {
        let text = "api.42.m7";
        assert_eq!(text.parse::<RunKey>().unwrap().to_string(), text);
        assert!("api.42".parse::<RunKey>().is_err());
        let live = live_subject(&text.parse().unwrap());
        assert_eq!(
            (live.as_str(), parse_live(&live).unwrap().to_string().as_str()),
            ("live.api.42.m7", text)
        );
        assert!(parse_live(text).is_err() && parse_live("live.api.42").is_err());
        let runner = "host-1".parse().unwrap();
        for key in [identity_key(&runner), twin_key(&runner)] {
            assert!(key.parse::<RunKey>().is_err(), "{key}");
        }
    }

    #[test]
    fn what_is_taken_over_was_fenced_before() {
        assert!(FENCE + KILL_GRACE < TAKEOVER);
    }

    #[test]
    fn two_lost_signs_of_life_cost_nothing() {
        assert!(RENEW * 3 <= ACK_WAIT);
        assert!(RENEW * 3 <= FENCE);
        assert!(PRESENCE_EVERY * 3 <= PRESENCE_AGE);
    }
}
