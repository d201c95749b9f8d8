//! `provision`: makes the streams, buckets and consumers, or brings their settings up to date.
//!
//! The only code that makes or changes any of them; it runs with the admin's credentials and may
//! run again at any time. It never deletes anything.

use anyhow::Context as _;
use async_nats::jetstream::{Context, object_store};
use platform::nats::{consumer_config, stream_config};
use schemas::ids::{ProjectName, RunnerId};
use schemas::streams::{self, ConsumerSpec};

use crate::config::Streams;

/// What is to be there.
#[derive(Debug, clap::Args)]
pub(crate) struct Wanted {
    /// A runner that may join: its consumer is made. May be given several times.
    #[arg(long = "runner", value_name = "NAME")]
    runners: Vec<RunnerId>,
    /// A project whose files are kept, beside those of the configuration.
    #[arg(long = "project", value_name = "NAME")]
    projects: Vec<ProjectName>,
    /// A project that several runners share: its consumer and its files are made. May be given several
    /// times.
    #[arg(long = "shared", value_name = "NAME")]
    shared: Vec<ProjectName>,
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
    for spec in [streams::work(), streams::runs(), streams::control(), streams::runners()] {
        context
            .create_or_update_stream(stream_config(&spec))
            .await
            .with_context(|| format!("cannot make the stream {}", spec.name))?;
        made.push(format!("stream {}", spec.name));
    }
    let runners = wanted.runners.iter().map(streams::runner_consumer);
    let shared = configured.shared.iter().chain(&wanted.shared).map(streams::project_consumer);
    let work = runners.chain(shared).map(|spec| spec.within(configured.times.ack_wait));
    for spec in work.chain([streams::feed_consumer()]) {
        consumer(context, &spec).await?;
        made.push(format!("consumer {} of {}", spec.name, spec.stream));
    }
    for project in configured.projects.iter().chain(&wanted.projects).chain(&wanted.shared) {
        let bucket = streams::files_bucket(project);
        files(context, &bucket).await?;
        made.push(format!("files {bucket}"));
    }
    Ok(made)
}

async fn consumer(context: &Context, spec: &ConsumerSpec) -> anyhow::Result<()> {
    let config = consumer_config(spec);
    context
        .create_consumer_on_stream(config, &spec.stream)
        .await
        .map(|_| ())
        .with_context(|| format!("cannot make the consumer {}", spec.name))
}

async fn files(context: &Context, bucket: &str) -> anyhow::Result<()> {
    match context.get_object_store(bucket).await {
        Ok(_) => return Ok(()),
        Err(error) => tracing::debug!(%error, bucket, "there is no such object store yet"),
    }
    let config = object_store::Config {
        bucket: bucket.to_owned(),
        max_age: streams::KEEP,
        ..object_store::Config::default()
    };
    let made = context.create_object_store(config).await;
    made.map(|_| ()).with_context(|| format!("cannot make the object store {bucket}"))
}
