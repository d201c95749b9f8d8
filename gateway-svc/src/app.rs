//! The gateway's life: what it needs, the loops that do its work, and how they end.
//!
//! The only file that knows every other. Each loop reconciles: whatever is killed here is found in
//! the store or in NATS by the next start.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use platform::clock::now_ms;
use platform::config::ConfigError;
use platform::doctor::{EXAMINED, keep_looking};
use platform::health::{self, Readiness};
use platform::metrics::Metrics;
use platform::nats::{self, Link};
use platform::reload::{self, Current, Hangups};
use platform::supervisor::Supervisor;
use platform::tasks::Tasks;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::api::Api;
use crate::bringing::{self, Bringer};
use crate::bus::Bus;
use crate::config::{Config, Streams};
use crate::feed::Folder;
use crate::hearing::Hearing;
use crate::numbers::{self, Counting, Numbers};
use crate::poster::Poster;
use crate::provision::{Wanted, provision};
use crate::signals::Signals;
use crate::status::Status;
use crate::store::{self, Alone, Store, StoreError};
use crate::{
    discord, doctor, feed, hearing, peers, poster, presence, publisher, put_back, retention,
    status, typing,
};

/// Events that may wait between Discord and the store.
const EVENTS_MAX: usize = 1024;

/// Serves until `stop`, or until Discord lets the bot in no more. `load` reads the configuration again,
/// `supervisor` is told how it goes.
///
/// # Errors
///
/// What kept it from starting, or what ended it.
pub(crate) async fn serve(
    config: Config,
    load: impl Fn() -> Result<Config, ConfigError> + Clone + Send + 'static,
    (supervisor, metrics): (Supervisor, Metrics),
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let hangups = Hangups::listen()?;
    let (http_listen, tokens) = (config.http_listen, config.tokens.clone());
    let (changing, config) = reload::starting_with(config);
    let readiness = Readiness::new(&["store", "nats", "discord", EXAMINED]);
    let listener = TcpListener::bind(http_listen)
        .await
        .with_context(|| format!("cannot listen on {http_listen}"))?;
    tracing::info!(address = %listener.local_addr()?, "health pages");
    metrics.readiness(&readiness);
    let mut tasks = Tasks::new();
    let api = Api::new(tokens);
    let more = Some(api.clone().router());
    let pages =
        health::serve(listener, readiness.clone(), metrics.clone(), more, stop.child_token());
    tasks.spawn("the health pages", async move { Ok(pages.await?) });
    tasks.spawn("supervision", ended(supervisor.clone().run(readiness.clone(), stop.clone())));

    let started = tokio::select! {
        started = start(config, &api, (&readiness, &metrics), &stop, &mut tasks) => {
            started.map(Some)
        }
        () = stop.cancelled() => Ok(None),
    };
    // The store is ours until the last task is gone.
    let (_alone, ended) = match started {
        Ok(alone) => {
            let told = (readiness, supervisor);
            let following = changing.follow(hangups, told, stop.clone(), move |now| {
                let load = load.clone();
                async move { reload::read(load).await?.after(&now) }
            });
            tasks.spawn("configuration", ended(following));
            (alone, Ok(()))
        }
        Err(error) => (None, Err(error)),
    };
    if ended.is_err() {
        stop.cancel();
    }
    let mut first = ended;
    while let Some(ended) = tasks.join_next().await {
        let ended = ended.context("a task panicked").and_then(|(name, ended)| ended.context(name));
        if ended.is_err() && first.is_ok() {
            // One loop that cannot go on ends the process; the next start finds everything.
            first = ended;
            stop.cancel();
        }
    }
    first
}

async fn start(
    current: Current<Config>,
    api: &Api,
    (readiness, metrics): (&Readiness, &Metrics),
    stop: &CancellationToken,
    tasks: &mut Tasks<anyhow::Error>,
) -> anyhow::Result<Alone> {
    let config = current.now();
    let (store, alone) = store::patiently(readiness, || take_store(&config)).await?;
    readiness.ready("store");
    let link = nats::connect_patiently(&config.nats, "holdfast-gateway", readiness).await?;
    let bus = reach(&store, &link, readiness).await?;
    readiness.ready("nats");
    metrics.nats(&link);
    let numbers = Numbers::new(metrics);
    let (hands, ears) = discord::open(&config.discord, &numbers)?;
    let signals = Signals::default();
    api.opened(store.clone(), signals.clone());
    let (say, hear) = mpsc::channel(EVENTS_MAX);
    let folder = Folder {
        store: store.clone(),
        bus: bus.clone(),
        signals: signals.clone(),
        config: current.clone(),
        numbers: numbers.clone(),
    };
    let hearing = Hearing::new(
        current.clone(),
        store.clone(),
        hands.clone(),
        signals.clone(),
        readiness.clone(),
    );

    let look = {
        let (hands, store) = (hands.clone(), store.clone());
        move |config: Arc<Config>| {
            let (hands, link, store) = (hands.clone(), link.clone(), store.clone());
            async move { doctor::examine_at_work(&hands, &config.routes, &link, &store).await }
        }
    };
    let looking = keep_looking(readiness.clone(), stop.clone(), current.clone(), look);
    tasks.spawn("checks", ended(looking));
    tasks.spawn("hearing", ended(hearing.run(hear, stop.clone())));
    let feeding = feed::run(bus.clone(), folder.clone(), readiness.clone(), stop.clone());
    tasks.spawn("feed", ended(feeding));
    let publishing = publisher::run(
        current.clone(),
        folder.clone(),
        (signals.clone(), readiness.clone()),
        config.times.given_up,
        stop.clone(),
    );
    tasks.spawn("publisher", ended(publishing));
    let gateway = Uuid::new_v4().simple().to_string();
    let poster = Poster::new(
        store.clone(),
        (hands.clone(), bus.clone()),
        readiness.clone(),
        current.clone(),
        gateway.clone(),
        numbers,
    );
    let posting = poster::run(poster, signals.clone(), stop.clone());
    tasks.spawn("poster", ended(posting));
    let (config, fresh) = (current, config.times.fresh);
    let status = Status { store, discord: hands, bus, signals, config, gateway, fresh };
    beside(status, (readiness, metrics), stop, tasks);
    let listening = ears.listen(say, stop.clone());
    tasks.spawn("Discord", async move { Ok(listening.await?) });
    Ok(alone)
}

/// The loops beside the way of a message: its files, other gateways, runners, what is old, what is shown.
fn beside(
    status: Status,
    (readiness, metrics): (&Readiness, &Metrics),
    stop: &CancellationToken,
    tasks: &mut Tasks<anyhow::Error>,
) {
    let Status { store, discord, bus, signals, config, gateway, .. } = &status;
    let counting = Counting::new(metrics, store.clone(), config.clone());
    tasks.spawn("numbers", ended(numbers::run(counting, stop.clone())));
    let peers = peers::run(store.clone(), gateway.clone(), signals.clone(), stop.clone());
    tasks.spawn("peers", ended(peers));
    let keeping = put_back::keep(store.clone(), bus.clone(), signals.clone(), stop.clone());
    tasks.spawn("the store's age", ended(keeping));
    let bringer = Bringer {
        store: store.clone(),
        discord: discord.clone(),
        bus: bus.clone(),
        signals: signals.clone(),
    };
    tasks.spawn("files", ended(bringing::run(bringer, stop.clone())));
    tasks.spawn("retention", ended(retention::run(store.clone(), signals.clone(), stop.clone())));
    let watching = presence::Watching {
        config: config.clone(),
        store: store.clone(),
        bus: bus.clone(),
        signals: signals.clone(),
        readiness: readiness.clone(),
    };
    tasks.spawn("presence", ended(presence::run(watching, stop.clone())));
    tasks.spawn("typing", ended(typing::run(store.clone(), discord.clone(), stop.clone())));
    tasks.spawn("status", ended(status::run(status, stop.clone())));
}

/// Opens the store, and leaves it as every start must find it.
async fn take_store(config: &Config) -> Result<(Store, Alone), StoreError> {
    let store = Store::open(&config.database_url).await?;
    let alone = store.take(&config.database_url).await?;
    // Before anything is folded: a run must not be released before its message was read again.
    store.close_gates(hearing::gates_until_ms(config.catch_up)).await?;
    // Whoever starts it again may have mended what a row waits for.
    store.try_at_once(now_ms()).await?;
    Ok((store, alone))
}

async fn ended(life: impl Future<Output = ()>) -> anyhow::Result<()> {
    life.await;
    Ok(())
}

/// The streams that this store has worked with.
const BUS: &str = "bus";

/// The streams that this store has worked with; from now on these, if it has with none.
async fn was_bus(store: &Store, is: &str) -> Result<String, StoreError> {
    if let Some(was) = store.noted(BUS).await? {
        return Ok(was);
    }
    store.note(BUS, is).await?;
    Ok(is.to_owned())
}

/// The streams, once they are there and fit the store.
async fn reach(store: &Store, link: &Link, readiness: &Readiness) -> anyhow::Result<Bus> {
    let there = nats::patiently(link, readiness, async || {
        let bus = Bus::attach(link.clone()).await?;
        let heard = bus.heard_ms().await?;
        Ok((bus, nats::created(&link.context).await?, heard))
    });
    let (bus, is, heard) = Box::pin(there).await.map_err(anyhow::Error::from_boxed)?;
    fit_together(store, (&is, heard), readiness).await?;
    Ok(bus)
}

/// Refuses streams that were made anew since, for what was released or running in them is unknown; and a
/// store that is behind the one that last worked with them.
async fn fit_together(
    store: &Store,
    (is, heard): (&str, Option<i64>),
    readiness: &Readiness,
) -> anyhow::Result<()> {
    let was = store::patiently(readiness, || was_bus(store, is)).await?;
    let ours = store::patiently(readiness, || store.heard_ms()).await?;
    readiness.ready("store");
    anyhow::ensure!(
        was == is,
        "the streams are not those that this store has worked with (they were {was}, and are \
         {is}): what was released or running may be lost. Restore them, or run \
         `gateway-svc accept-bus` to release the runs again that have no outcome"
    );
    put_back::check(ours, heard, store.put_back_ms())
}

/// Takes the streams as they are from now on.
///
/// # Errors
///
/// When the store or NATS cannot be reached.
pub(crate) async fn accept_bus(config: &Config) -> anyhow::Result<()> {
    let store = Store::open(&config.database_url).await?;
    let link = nats::connect(&config.nats, "holdfast-accept-bus").await?;
    let is = nats::created(&link.context).await.map_err(anyhow::Error::from_boxed)?;
    store.note(BUS, &is).await?;
    tracing::info!(streams = is, "accepted");
    Ok(())
}

/// Makes the streams, and says what it made.
///
/// # Errors
///
/// When NATS cannot be reached or refuses.
pub(crate) async fn make_streams(streams: &Streams, wanted: &Wanted) -> anyhow::Result<()> {
    let link = nats::connect(&streams.nats, "holdfast-provision").await?;
    let made = provision(&link.context, wanted, streams).await?;
    tracing::info!(made = made.join(", "), "provisioned");
    Ok(())
}

/// Stores one row again and again, and prints how long each commit took. A gateway may be at work in
/// the store meanwhile.
///
/// # Errors
///
/// When the store fails, or nobody reads.
pub(crate) async fn time_commits(config: &Config, count: u32) -> anyhow::Result<()> {
    let store = Store::open(&config.database_url).await?;
    for number in 0..count {
        let from = Instant::now();
        store.note("time-commits", &number.to_string()).await?;
        writeln!(std::io::stdout(), "{}", from.elapsed().as_nanos())?;
    }
    Ok(())
}
