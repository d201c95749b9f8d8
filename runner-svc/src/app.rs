//! The runner's life: what it needs, what it finds from its last life, and the work it asks for.
//!
//! The only file that knows every other. Ending it ends no claude: keepers live outside, and the
//! next start adopts them.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use platform::config::ConfigError;
use platform::doctor::{EXAMINED, keep_looking};
use platform::health::{self, Readiness};
use platform::metrics::Metrics;
use platform::nats::{self, Link};
use platform::reload::{self, Changing, Current, Hangups, Refused};
use platform::supervisor::Supervisor;
use platform::tasks::Tasks;
use schemas::ids::StateId;
use schemas::presence::Presence;
use schemas::streams::PRESENCE_EVERY;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::attempt;
use crate::bus::Bus;
use crate::candidates::{self, Candidates};
use crate::capacity;
use crate::command::for_tmux;
use crate::config::Config;
use crate::directories::{Directories, Seat};
use crate::doctor;
use crate::draining;
use crate::fetching;
use crate::files::Files;
use crate::host::{Common, Host};
use crate::identity::{self, Name, NotOurs};
use crate::intent::Intents;
use crate::live::Live;
use crate::numbers::{self, Numbers};
use crate::redact::Redactor;
use crate::sessions::Sessions;
use crate::spool::{self, Watcher};
use crate::state::StateDir;
use crate::sweep;
use crate::tmux::Tmux;
use crate::worktree::Worktrees;

/// How long attempts may take to finish what they write after the first signal: a request to NATS
/// that is not answered, and some time to spare of what a service has for its end.
const LAST_WRITES_MAX: Duration = Duration::from_secs(7);

/// The variable by which our unit says in which slice of systemd claude is to live.
const SLICE: &str = "HOLDFAST_SLICE";

/// The socket that tmux gets: one for each state directory, so that two runners on one host never
/// see each other's sessions.
pub(crate) fn tmux_socket(id: StateId) -> String {
    let id = id.to_string();
    format!("holdfast-{}", &id[..8])
}

/// Serves until `stop`. `load` reads the configuration again.
///
/// # Errors
///
/// What kept it from starting, or what ended it.
pub(crate) async fn serve(
    config: Config,
    env: BTreeMap<OsString, OsString>,
    load: impl Load,
    metrics: Metrics,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let hangups = Hangups::listen()?;
    let readiness = Readiness::new(&["nats", "adoption", EXAMINED]);
    let state = StateDir::open(&config.state_dir)?;
    let listener = TcpListener::bind(config.http_listen)
        .await
        .with_context(|| format!("cannot listen on {}", config.http_listen))?;
    tracing::info!(address = %listener.local_addr()?, "health pages");
    metrics.readiness(&readiness);
    let mut tasks = Tasks::new();
    let pages =
        health::serve(listener, readiness.clone(), metrics.clone(), None, stop.child_token());
    tasks.spawn("the health pages", async move { Ok(pages.await?) });
    let supervisor = Supervisor::of(|name| env.get(OsStr::new(name))?.to_str());
    let telling = supervisor.clone().run(readiness.clone(), stop.clone());
    tasks.spawn("supervision", async move {
        telling.await;
        Ok(())
    });

    let begun = tokio::select! {
        begun = begin((config, env), &state, (&readiness, &metrics), &stop, &mut tasks) => {
            begun.map(Some)
        }
        () = stop.cancelled() => Ok(None),
    };
    let mut first = match begun {
        Ok(None) => Ok(()),
        Ok(Some(Begun { changing, current, attempts })) => {
            let told = (readiness, supervisor);
            let follow =
                changing.follow(hangups, told, stop.clone(), move |now| again(now, load.clone()));
            tasks.spawn("configuration", async move {
                follow.await;
                Ok(())
            });
            work(current, attempts).await;
            Ok(())
        }
        Err(error) => Err(error),
    };
    stop.cancel();
    while let Some(ended) = tasks.join_next().await {
        let ended = ended.context("a task panicked").and_then(|(name, ended)| ended.context(name));
        first = first.and(ended);
    }
    // The state directory is ours until the last task is gone.
    drop(state);
    first
}

/// What reads the configuration again.
pub(crate) trait Load: Fn() -> Result<Config, ConfigError> + Clone + Send + 'static {}

impl<F: Fn() -> Result<Config, ConfigError> + Clone + Send + 'static> Load for F {}

/// The host with the configuration as it is read again.
async fn again(now: Arc<Host>, load: impl Load) -> Result<Host, Refused> {
    let config = reload::read(load).await?.after(&now.config)?;
    let lacks = |error: anyhow::Error| Refused::Lacks(format!("{error:#}"));
    let bus = now.bus.serving(&config).await.map_err(lacks)?;
    let bus = bus.redacting(Redactor::new(&now.env, &config.claude.env));
    Ok(Host { config, bus, common: Arc::clone(&now.common) })
}

/// A runner that is at work.
struct Begun {
    changing: Changing<Host>,
    current: Current<Host>,
    attempts: Attempts,
}

/// Takes up what an earlier life left, and shows itself.
async fn begin(
    (config, env): (Config, BTreeMap<OsString, OsString>),
    state: &StateDir,
    (readiness, metrics): (&Readiness, &Metrics),
    stop: &CancellationToken,
    tasks: &mut Tasks<anyhow::Error>,
) -> anyhow::Result<Begun> {
    let program = std::env::current_exe().context("cannot tell where this program is")?;
    let tmux = Tmux::new(tmux_socket(state.id), program, for_tmux(&env));
    let set = |name: &str| env.get(OsStr::new(name)).map(OsString::as_os_str);
    let tmux = tmux.in_slice(set(SLICE), set("XDG_RUNTIME_DIR"));
    let link = nats::connect_patiently(&config.nats, "holdfast-runner", readiness).await?;
    let redactor = Redactor::new(&env, &config.claude.env);
    let (bus, name) =
        nats::patiently(&link, readiness, async || Ok(attach(&link, &config, state).await?))
            .await
            .map_err(anyhow::Error::from_boxed)?;
    let bus = bus.redacting(redactor);
    readiness.ready("nats");
    metrics.nats(&link);
    let numbers = Numbers::new(metrics);
    let slots = Arc::new(Semaphore::new(usize::from(config.slots)));
    let patience = Arc::new(Semaphore::new(usize::from(config.max_waiting_runs)));
    let common = Common {
        state_id: state.id,
        tmux,
        watcher: Watcher::new()?,
        spools: state.spools.clone(),
        worktrees: Worktrees::new(&config.state_dir, &env),
        intents: Intents::new(&config.state_dir),
        files: Files::new(&config.state_dir),
        sessions: Sessions::new(&config.state_dir),
        live: Live::default(),
        candidates: Candidates::default(),
        directories: Directories::new(stop.clone()),
        slots: Arc::clone(&slots),
        patience,
        env,
        numbers,
        readiness: readiness.clone(),
        stop: stop.clone(),
    };
    let host = Host { config, bus, common: Arc::new(common) };
    let (changing, current) = reload::starting_with(host);
    let host = current.now();
    let mut attempts = JoinSet::new();
    // Every spool is known before any work is asked for.
    for spool in spool::scan(&state.spools)? {
        let name = spool.name().to_owned();
        let slot = Arc::clone(&slots).try_acquire_owned().ok();
        let found = attempt::find(&host, spool, Seat::new(slot))
            .with_context(|| format!("cannot take up the spool {name}"))?;
        attempts.spawn(attempt::adopt(Arc::clone(&host), found));
    }
    for unbegun in attempt::unbegun(&host) {
        attempts.spawn(attempt::begin(Arc::clone(&host), unbegun, Arc::clone(&slots)));
    }
    readiness.ready("adoption");
    let look = move |host: Arc<Host>| {
        let link = link.clone();
        async move { doctor::examine_at_work(&host.config, &host.env, &link).await }
    };
    let looking = keep_looking(readiness.clone(), stop.clone(), current.clone(), look);
    tasks.spawn("checks", async move {
        looking.await;
        Ok(())
    });
    tasks.spawn("presence", presence(current.clone(), name));
    tasks.spawn("numbers", numbers::run(current.clone()));
    tasks.spawn("capacity", capacity::run(current.clone(), stop.clone()));
    tasks.spawn("sweep", sweep::run(current.clone()));
    tasks.spawn("candidates", candidates::run(current.clone()));
    Ok(Begun { changing, current, attempts: Attempts { slots, set: attempts } })
}

/// Goes to work with the streams that are there, if they are those of before, and takes the runner's
/// name.
async fn attach(link: &Link, config: &Config, state: &StateDir) -> anyhow::Result<(Bus, Name)> {
    let bus = Bus::attach(link.clone(), config).await?;
    let is = nats::created(&link.context).await.map_err(anyhow::Error::from_boxed)?;
    anyhow::ensure!(
        state.knows_bus(&is)?,
        "the streams are not those that this runner has worked with (they are {is}): what it \
         holds may run elsewhere by now. Restore them, or run `runner-svc accept-bus`"
    );
    // Before any spool is looked at: they may be another's by now.
    let name = Name::take(&bus, state, config).await?;
    Ok((bus, name))
}

/// What is at work, and what else may be.
struct Attempts {
    slots: Arc<Semaphore>,
    set: JoinSet<()>,
}

/// Asks for work until the runner is to end, then lets the attempts finish what they write.
async fn work(current: Current<Host>, attempts: Attempts) {
    let Attempts { slots, mut set } = attempts;
    fetching::run(current, &slots, &mut set).await;
    let finishing = async {
        while let Some(ended) = set.join_next().await {
            fetching::report(ended);
        }
    };
    if tokio::time::timeout(LAST_WRITES_MAX, finishing).await.is_err() {
        tracing::warn!(
            left = set.len(),
            "attempts did not end in time; the next start takes them up"
        );
    }
}

/// Takes the streams as they are from now on. No runner may be at work in the state directory.
///
/// # Errors
///
/// When one is, or NATS cannot be reached.
pub(crate) async fn accept_bus(config: &Config) -> anyhow::Result<()> {
    let state = StateDir::open(&config.state_dir)?;
    let link = nats::connect(&config.nats, "holdfast-accept-bus").await?;
    let is = nats::created(&link.context).await.map_err(anyhow::Error::from_boxed)?;
    state.accept_bus(&is)?;
    tracing::info!(streams = is, "accepted");
    Ok(())
}

/// Takes the name for this state directory. No runner may be at work in it.
///
/// # Errors
///
/// When one is, or NATS cannot be reached.
pub(crate) async fn accept_name(config: &Config) -> anyhow::Result<()> {
    let state = StateDir::open(&config.state_dir)?;
    let link = nats::connect(&config.nats, "holdfast-accept-name").await?;
    Box::pin(identity::accept(link, &state, config)).await?;
    tracing::info!(name = %config.name, "accepted");
    Ok(())
}

/// Shows that the runner is there, as long as its name is its own; at once when what it serves changed.
///
/// # Errors
///
/// When the name was given to another: the runner ends, and claude goes on in its keepers.
async fn presence(mut current: Current<Host>, name: Name) -> anyhow::Result<()> {
    let mut timer = tokio::time::interval(PRESENCE_EVERY);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let host = current.now();
        tokio::select! {
            () = host.stop.cancelled() => break,
            _ = timer.tick() => {}
            () = current.changed() => {}
        }
        let host = current.now();
        host.readiness.turns("presence");
        let Some(shown) = host.stop.run_until_cancelled(show(&host, &name)).await else { break };
        if let Err(not_ours) = shown {
            host.stop.cancel();
            return Err(not_ours.into());
        }
    }
    Ok(())
}

async fn show(host: &Host, name: &Name) -> Result<(), NotOurs> {
    if let Err(error) = name.hold(&host.bus).await {
        match error.downcast::<NotOurs>() {
            Ok(not_ours) => return Err(not_ours),
            Err(error) => {
                tracing::debug!(error = format!("{error:#}"), "the name was not looked at");
            }
        }
    }
    let presence = Presence {
        v: Presence::VERSION,
        runner: host.config.name.clone(),
        state_id: host.state_id,
        version: env!("CARGO_PKG_VERSION").into(),
        projects: host.config.projects.keys().cloned().collect(),
        slots: host.config.slots,
        busy: u16::try_from(host.live.count()).unwrap_or(u16::MAX),
        draining: draining::is_on(&host.config.state_dir),
        shared: host.config.shared().cloned().collect(),
        labels: host.config.labels.clone(),
    };
    // A server that lost most of its cluster still takes a fetch, and stores nothing.
    match host.bus.show(&presence).await {
        Ok(()) => host.readiness.ready("presence"),
        Err(error) => {
            let why = format!("{:#}", anyhow::Error::new(error));
            tracing::debug!(why, "presence was not shown");
            host.readiness.not_ready("presence", format!("nats stores nothing ({why})"));
        }
    }
    Ok(())
}
