//! `provision`: makes the streams, buckets and consumers, or brings their settings up to date.
//!
//! The only code that makes or changes any of them; it runs with the admin's credentials and may
//! run again at any time. It never deletes anything.

mod keys;

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context as _;
use async_nats::jetstream::context::{CreateStreamError, CreateStreamErrorKind};
use async_nats::jetstream::{Context, ErrorCode, object_store, stream};
use platform::nats::{consumer_config, foreign, stream_config};
use schemas::ids::{IdError, ProjectName, RunnerId};
use schemas::streams::{self, ConsumerSpec};
use tokio::time::{Instant, sleep};

use crate::config::{Names, Streams};

/// The replicas of every stream where there is a cluster: one server may be away, and none of what was
/// acknowledged is lost.
const REPLICAS: usize = 3;

/// How long servers that have just started may take to find each other and to elect who leads. It
/// takes them some seconds.
const FORMING: Duration = Duration::from_secs(60);

/// How often a cluster that is not whole yet is asked again.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// What is to be there.
#[derive(Debug, clap::Args)]
pub(crate) struct Wanted {
    /// A runner that may join, and its projects: its consumer is made, or its key with --out. Without
    /// projects it keeps those it has, or gets all. May be given several times.
    #[arg(long = "runner", value_name = "NAME[=PROJECT,...]")]
    runners: Vec<Joining>,
    /// A runner that is named without projects gets all those of the configuration, also when it had some.
    #[arg(long)]
    all_projects: bool,
    /// A project whose files are kept, beside those of the configuration.
    #[arg(long = "project", value_name = "NAME")]
    projects: Vec<ProjectName>,
    /// A project that several runners share: its consumer and its files are made. May be given several
    /// times.
    #[arg(long = "shared", value_name = "NAME")]
    shared: Vec<ProjectName>,
    /// Only write a key for the admin, the gateway and each runner into this directory, and what each
    /// may do, for nats-server to include. Keys that are there are kept; no server is asked.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// How many servers of a cluster hold each stream. Default: 3 where there is a cluster, else 1.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=5))]
    replicas: Option<u8>,
}

/// A runner that may join, and the projects it works for, where they are named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Joining {
    pub(crate) runner: RunnerId,
    pub(crate) projects: Option<Vec<ProjectName>>,
}

impl FromStr for Joining {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let (runner, projects) = match text.split_once('=') {
            Some((runner, projects)) => (runner, Some(projects)),
            None => (text, None),
        };
        let projects = projects.map(|names| names.split(',').map(str::parse).collect());
        Ok(Self { runner: runner.parse()?, projects: projects.transpose()? })
    }
}

impl Wanted {
    /// The projects that are named beside those of the configuration.
    fn named(&self) -> impl Iterator<Item = &ProjectName> {
        let of_runners = self.runners.iter().flat_map(|it| it.projects.iter().flatten());
        self.projects.iter().chain(&self.shared).chain(of_runners)
    }
}

/// Writes the keys that are wanted. Returns what a person is to do, a line each.
///
/// # Errors
///
/// As for [`keys::write`].
pub(crate) fn write_keys(
    dir: &Path,
    wanted: &Wanted,
    configured: Names,
) -> anyhow::Result<Vec<String>> {
    let Names { nats_url, mut projects } = configured;
    projects.extend(wanted.projects.iter().chain(&wanted.shared).cloned());
    keys::write(dir, &nats_url, &projects, &wanted.runners, wanted.all_projects)
}

/// Makes what is wanted, and what every Holdfast needs. A shared project has a consumer that its
/// runners have in common.
///
/// # Errors
///
/// When NATS refuses, with what was being made.
pub(crate) async fn provision(
    context: &Context,
    wanted: &Wanted,
    configured: &Streams,
) -> anyhow::Result<Vec<String>> {
    let mut made = Vec::new();
    let clustered = context.client().server_info().cluster.is_some();
    let usual = if clustered { REPLICAS } else { 1 };
    let num_replicas = wanted.replicas.map_or(usual, usize::from);
    let specs = [streams::work(), streams::runs(), streams::control(), streams::runners()];
    // Before anything is made: what is somebody else's stays as it is.
    for spec in &specs {
        if let Ok(there) = context.get_stream(&spec.name).await {
            let foreign = foreign(&there.cached_info().config, &stream_config(spec));
            anyhow::ensure!(foreign.is_none(), "{}", foreign.unwrap_or_default());
        }
    }
    for spec in specs {
        stream_of(context, clustered, stream::Config { num_replicas, ..stream_config(&spec) })
            .await
            .with_context(|| format!("cannot make the stream {}", spec.name))?;
        made.push(format!("stream {}", spec.name));
    }
    let runners = wanted.runners.iter().map(|it| streams::runner_consumer(&it.runner));
    let shared = configured.shared.iter().chain(&wanted.shared).map(streams::project_consumer);
    let work = runners.chain(shared).map(|spec| spec.within(configured.times.ack_wait));
    for spec in work.chain([streams::feed_consumer()]) {
        consumer(context, &spec).await?;
        made.push(format!("consumer {} of {}", spec.name, spec.stream));
    }
    for project in configured.projects.iter().chain(wanted.named()) {
        let bucket = streams::files_bucket(project);
        files(context, project, num_replicas).await?;
        made.push(format!("files {bucket}"));
    }
    Ok(made)
}

/// Makes a stream, or brings it up to date; waits for a cluster that is still forming.
async fn stream_of(
    context: &Context,
    clustered: bool,
    config: stream::Config,
) -> Result<(), CreateStreamError> {
    let end = Instant::now() + FORMING;
    loop {
        match context.create_or_update_stream(config.clone()).await {
            Err(error) if clustered && is_forming(&error) && Instant::now() < end => {
                tracing::info!(%error, "the servers have not all found each other; asking again");
                sleep(ASK_EVERY).await;
            }
            done => return done.map(drop),
        }
    }
}

/// Whether this is the answer of servers that have not all found each other yet, or have nobody who
/// leads.
fn is_forming(error: &CreateStreamError) -> bool {
    const LATER: [ErrorCode; 4] = [
        ErrorCode::CLUSTER_NO_PEERS,
        ErrorCode::CLUSTER_NOT_ACTIVE,
        ErrorCode::CLUSTER_NOT_AVAILABLE,
        ErrorCode::CLUSTER_NOT_LEADER,
    ];
    match error.kind() {
        CreateStreamErrorKind::JetStream(answer) => LATER.contains(&answer.error_code()),
        // Nobody answers while nobody leads.
        CreateStreamErrorKind::TimedOut | CreateStreamErrorKind::JetStreamUnavailable => true,
        CreateStreamErrorKind::EmptyStreamName
        | CreateStreamErrorKind::InvalidStreamName
        | CreateStreamErrorKind::DomainAndExternalSet
        | CreateStreamErrorKind::Response
        | CreateStreamErrorKind::NotFound
        | CreateStreamErrorKind::ResponseParse => false,
    }
}

async fn consumer(context: &Context, spec: &ConsumerSpec) -> anyhow::Result<()> {
    let config = consumer_config(spec);
    context
        .create_consumer_on_stream(config, &spec.stream)
        .await
        .map(|_| ())
        .with_context(|| format!("cannot make the consumer {}", spec.name))
}

async fn files(
    context: &Context,
    project: &ProjectName,
    num_replicas: usize,
) -> anyhow::Result<()> {
    let bucket = streams::files_bucket(project);
    match context.get_stream(streams::files_stream(project)).await {
        Ok(stream) => {
            let has = stream.cached_info().config.clone();
            if has.num_replicas == num_replicas {
                return Ok(());
            }
            let updated = context.update_stream(stream::Config { num_replicas, ..has }).await;
            return updated
                .map(|_| ())
                .with_context(|| format!("cannot change the replicas of {bucket}"));
        }
        Err(error) => tracing::debug!(%error, bucket, "there is no such object store yet"),
    }
    let config = object_store::Config {
        bucket: bucket.clone(),
        max_age: streams::KEEP,
        num_replicas,
        ..object_store::Config::default()
    };
    let made = context.create_object_store(config).await;
    made.map(|_| ()).with_context(|| format!("cannot make the object store {bucket}"))
}
