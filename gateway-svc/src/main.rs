//! `gateway-svc`: the Discord side of Holdfast.
//!
//! `serve` accepts messages, publishes runs and posts answers; `provision` makes the streams that
//! both services need. Configuration is read and checked before any port is bound.

mod acts;
mod api;
mod app;
mod asks;
mod attached;
mod away;
mod bringing;
mod bus;
mod commands;
mod config;
mod conversation;
mod crash;
mod cursors;
mod discord;
mod doctor;
mod feed;
mod fleet;
mod forks;
mod hearing;
mod intake;
mod limits;
mod missed;
mod names;
mod nonce;
mod numbers;
mod operator;
mod orders;
mod outbox;
mod pages;
mod peers;
mod placement;
mod poster;
mod presence;
mod provision;
mod publisher;
mod put_back;
mod queue;
mod release;
mod render;
mod retention;
mod routes;
mod shell;
mod signals;
mod status;
mod steer;
mod store;
mod traced;
mod typing;
mod unsafe_mode;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use platform::config::{ConfigError, Environment, environment, keys};
use platform::metrics::{Identity, Metrics};
use platform::supervisor::Supervisor;
use platform::{EXIT_CONFIG, shutdown, telemetry, terminal};
use schemas::ids::{ProjectName, RunId, RunnerId, ThreadId};
use tokio_util::sync::CancellationToken;

use crate::config::Books;
use crate::fleet::{AuditWanted, RunnersWanted, RunsWanted, UsageWanted};
use crate::shell::Asked;

/// What it is called by those who watch it.
const SERVICE: &str = "gateway-svc";

/// Drive Claude Code from Discord: the gateway.
#[derive(Debug, Parser)]
#[command(name = "gateway-svc", version)]
struct Cli {
    /// The configuration; default: `$XDG_CONFIG_HOME/holdfast/gateway.toml`
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Accept messages, publish runs, post answers.
    Serve,
    /// Look at what the gateway needs, and say what to do.
    Doctor,
    /// Go on with streams that were made anew: runs without outcome are released again.
    AcceptBus,
    /// Go on with a store that was put back from a copy: what may have been done since is looked for.
    AcceptStore,
    /// Let a conversation of a shared project go on at a runner.
    Move {
        /// The thread's id.
        thread: ThreadId,
        /// The runner's name.
        runner: RunnerId,
    },
    /// Give an exclusive project to a runner, with what is asked of it.
    Owner {
        /// The project's name.
        project: ProjectName,
        /// The runner's name.
        runner: RunnerId,
    },
    #[command(flatten)]
    OfStore(OfStore),
    /// Make the streams, buckets and consumers in NATS, or bring them up to date.
    Provision(provision::Wanted),
    /// Print the description of the HTTP API (`OpenAPI` 3.1).
    Openapi,
    /// Print what is said of each key of the configuration: what `cargo xtask config-docs` asks.
    #[command(hide = true)]
    ConfigKeys,
    /// Time commits of the store, in nanoseconds, a line each: what `cargo xtask bench` asks.
    #[command(hide = true)]
    TimeCommits {
        /// How many.
        count: u32,
    },
}

/// What needs the store alone.
#[derive(Debug, Subcommand)]
enum OfStore {
    /// End a run, whether its runner answers or not.
    End {
        /// The run: `m` and the id of its message.
        run: RunId,
    },
    /// Run again what failed or was stopped, as the button does.
    Retry {
        /// The run: `m` and the id of its message.
        run: RunId,
    },
    /// List runs, the newest first.
    Runs(Asked<RunsWanted>),
    /// List runners as they were seen last.
    Runners(Asked<RunnersWanted>),
    /// List what was decided and by whom, the newest first.
    Audit(Asked<AuditWanted>),
    /// Sum up what runs took: money, tokens, time.
    Usage(Asked<UsageWanted>),
    /// Copy a store that is in a file, also while a gateway is at work in it.
    CopyStore {
        /// The copy; there must be no such file.
        to: PathBuf,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    rustls::crypto::ring::default_provider()
        .install_default()
        .expect("nobody else chose a provider before main did");
    match run(cli) {
        Ok(code) => code,
        Err(Ended::Config(error)) => refuse(error),
        Err(Ended::Other(error)) => fail(&error),
    }
}

/// Says why it came to nothing: to the log of a service, to whoever gave a command.
#[expect(clippy::print_stderr, reason = "a command has no log, and a person waits for this")]
fn fail(error: &anyhow::Error) -> ExitCode {
    if tracing::dispatcher::has_been_set() {
        tracing::error!("{error:#}");
    } else {
        eprintln!("gateway-svc: {error:#}");
    }
    ExitCode::FAILURE
}

/// Why the process ends without success.
enum Ended {
    /// The configuration is wrong: nothing was started.
    Config(ConfigError),
    /// Something else.
    Other(anyhow::Error),
}

impl From<ConfigError> for Ended {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<anyhow::Error> for Ended {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}

fn run(cli: Cli) -> Result<ExitCode, Ended> {
    let env = environment();
    match cli.command {
        Command::Serve => {
            let config = config::Config::load(cli.config.clone(), &env)?;
            let instance = instance();
            let _telemetry = start_telemetry(&instance, &config.telemetry)?;
            let identity = Identity { service: SERVICE, instance: &instance, runner: "" };
            let metrics =
                Metrics::start(identity, &config.telemetry).map_err(anyhow::Error::from)?;
            arm(&env)?;
            let supervisor = Supervisor::of(|name| env.get(name).map(String::as_str));
            let stop = CancellationToken::new();
            let load = move || config::Config::load(cli.config.clone(), &env);
            let service = app::serve(config, load, (supervisor, metrics.clone()), stop.clone());
            Ok(shutdown::run(runtime()?, shutdown::run_until_signalled(stop, service))?)
        }
        Command::Doctor => {
            let config = config::Config::load(cli.config, &env)?;
            let findings = runtime()?.block_on(doctor::examine(&config));
            Ok(platform::doctor::report(&findings).context("cannot say what was found")?)
        }
        Command::AcceptBus => {
            let config = config::Config::load(cli.config, &env)?;
            let _telemetry = start_telemetry(&instance(), &config.telemetry)?;
            runtime()?.block_on(app::accept_bus(&config))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::AcceptStore => {
            let config = config::Config::load(cli.config, &env)?;
            Ok(say(&runtime()?.block_on(put_back::accept(&config))?)?)
        }
        Command::Move { thread, runner } => {
            arm(&env)?;
            let config = config::Config::load(cli.config, &env)?;
            Ok(say(&runtime()?.block_on(operator::move_thread(&config, thread, &runner))?)?)
        }
        Command::Owner { project, runner } => {
            arm(&env)?;
            let config = config::Config::load(cli.config, &env)?;
            Ok(say(&runtime()?.block_on(operator::owner(&config, &project, &runner))?)?)
        }
        Command::OfStore(command) => {
            let books = Books::load(cli.config, &env)?;
            Ok(say(&runtime()?.block_on(of_store(command, &books))?)?)
        }
        Command::Provision(ref wanted @ provision::Wanted { out: Some(ref dir), .. }) => {
            arm(&env)?;
            let names = config::Names::load(cli.config, &env)?;
            Ok(say(&provision::write_keys(dir, wanted, names)?.join("\n"))?)
        }
        Command::Provision(wanted) => {
            let streams = config::Streams::load(cli.config, &env)?;
            let _telemetry = start_telemetry(&instance(), &telemetry::Settings::default())?;
            runtime()?.block_on(app::make_streams(&streams, &wanted))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Openapi => {
            let description = api::description().context("a description is JSON")?;
            Ok(say(description.trim_end())?)
        }
        Command::ConfigKeys => {
            let tables = config::described().map_err(anyhow::Error::new)?;
            Ok(say(&keys::page(&tables))?)
        }
        Command::TimeCommits { count } => {
            let config = config::Config::load(cli.config, &env)?;
            runtime()?.block_on(app::time_commits(&config, count))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// What tells this gateway from others. They have no names: each life of one has an id of its own.
fn instance() -> String {
    uuid::Uuid::now_v7().to_string()
}

fn start_telemetry(
    instance: &str,
    settings: &telemetry::Settings,
) -> anyhow::Result<telemetry::Telemetry> {
    Ok(telemetry::start(SERVICE, instance, settings)?)
}

/// Carries out a command that needs the store alone, and returns what is to be said.
async fn of_store(command: OfStore, books: &Books) -> anyhow::Result<String> {
    match command {
        OfStore::End { run } => operator::end(books, &run).await,
        OfStore::Retry { run } => operator::retry(books, &run).await,
        OfStore::Runs(asked) => shell::runs(books, &asked).await,
        OfStore::Runners(asked) => shell::runners(books, &asked).await,
        OfStore::Audit(asked) => shell::audit(books, &asked).await,
        OfStore::Usage(asked) => shell::usage(books, &asked).await,
        OfStore::CopyStore { to } => put_back::copy(books, &to).await,
    }
}

/// Notes where the process is to die, if a test wants that.
fn arm(env: &Environment) -> anyhow::Result<()> {
    let at = env.get(platform::crash::VARIABLE).map(String::as_str);
    platform::crash::arm(at, crash::POINTS).map_err(anyhow::Error::from)
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Runtime::new().context("the system gives no threads")
}

/// Says what was done, or what was asked for.
fn say(line: &str) -> anyhow::Result<ExitCode> {
    terminal::say(format_args!("{line}\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// Says what is wrong with the configuration.
#[expect(clippy::print_stderr, reason = "there is no log yet, and a person waits for this")]
fn refuse(error: ConfigError) -> ExitCode {
    eprintln!("gateway-svc: {:#}", anyhow::Error::new(error));
    ExitCode::from(EXIT_CONFIG)
}
