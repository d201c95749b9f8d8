//! `runner-svc`: the host side of Holdfast.
//!
//! `serve` claims runs and reports their outcomes; `keep` and `watch` are what it starts inside
//! tmux, one each for a claude; `doctor` looks at what the host needs, and `install` writes what
//! systemd needs. `keep` and `watch` are told
//! apart before anything else: they load no configuration and start no runtime.

mod app;
mod attached;
mod attempt;
mod bus;
mod candidates;
mod capacity;
mod claims;
mod claude;
mod command;
mod config;
mod crash;
mod directories;
mod doctor;
mod draining;
mod fetching;
mod files;
mod given;
mod held;
mod host;
mod identity;
mod install;
mod intent;
mod keeper;
mod live;
mod numbers;
mod policy;
mod redact;
mod sessions;
mod shell;
mod spool;
mod state;
mod sweep;
mod tmux;
mod verdict;
mod watch;
mod worktree;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use platform::config::{ConfigError, environment, keys};
use platform::metrics::{Identity, Metrics};
use platform::{EXIT_CONFIG, shutdown, telemetry, terminal};
use schemas::ids::{RunId, ThreadId};
use tokio_util::sync::CancellationToken;

/// What it is called by those who watch it.
const SERVICE: &str = "runner-svc";

/// Drive Claude Code from Discord: the runner.
#[derive(Debug, Parser)]
#[command(name = "runner-svc", version)]
struct Cli {
    /// The configuration; default: `$XDG_CONFIG_HOME/holdfast/runner.toml`
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Claim runs, keep their claudes in tmux, report their outcomes.
    Serve,
    /// Go on with streams that were made anew.
    AcceptBus,
    /// Take the name for this state directory, when the one that had it is gone for good.
    AcceptName,
    /// Take no new work, also after a restart; what runs goes on.
    Drain {
        /// Take work again.
        #[arg(long)]
        off: bool,
    },
    /// Look at what this host needs, and say what to do.
    Doctor,
    /// List what is at work here.
    List {
        /// Show it as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Look on at the work in a thread, in this terminal (leave with Ctrl+B D).
    Attach {
        /// The thread's id.
        thread: ThreadId,
    },
    /// Print what claude did in a run that is at work here.
    Logs {
        /// The run: `m` and the id of its message.
        run: RunId,
        /// Go on until claude has ended.
        #[arg(long)]
        follow: bool,
    },
    /// Write the configuration, and the unit of systemd that starts `serve`.
    Install(install::Install),
    /// Take away what `install` wrote, unless somebody has changed it.
    Uninstall(install::Uninstall),
    /// Print what is said of each key of the configuration: what `cargo xtask config-docs` asks.
    #[command(hide = true)]
    ConfigKeys,
    /// Keep the claude of one spool (started by `serve`, inside tmux).
    #[command(hide = true)]
    Keep {
        /// The spool.
        dir: PathBuf,
    },
    /// Show the claude of one spool (started by `serve`, inside tmux).
    #[command(hide = true)]
    Watch {
        /// The spool.
        dir: PathBuf,
    },
}

fn main() -> ExitCode {
    // Before the command line is parsed: a keeper lives as long as claude, and stays small.
    if let Some((run, dir)) = in_tmux() {
        return run(&dir);
    }
    let cli = Cli::parse();
    let ended = match cli.command {
        Command::Keep { dir } => return keeper::run(&dir),
        Command::Watch { dir } => return watch::run(&dir),
        Command::ConfigKeys => config_keys().map_err(Ended::Other),
        Command::Serve => {
            let again = cli.config.clone();
            with_config(cli.config, |config, env| serve(config, env, move || load(again.clone())))
        }
        Command::Drain { off: false } => with_config(cli.config, drain),
        Command::Drain { off: true } => with_config(cli.config, drain_off),
        Command::Doctor => with_config(cli.config, doctor),
        Command::List { json } => with_config(cli.config, |config, env| list(&config, &env, json)),
        Command::Attach { thread } => {
            with_config(cli.config, |config, env| attach(&config, &env, thread))
        }
        Command::Logs { run, follow } => {
            with_config(cli.config, |config, env| logs(&config, &env, &run, follow))
        }
        Command::Install(told) => {
            install::install(&told, cli.config, &environment(), &host_name()).map_err(Ended::Other)
        }
        Command::Uninstall(told) => {
            install::uninstall(&told, cli.config, &environment()).map_err(Ended::Other)
        }
        Command::AcceptBus => with_config(cli.config, accept_bus),
        Command::AcceptName => with_config(cli.config, accept_name),
    };
    match ended {
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
        eprintln!("runner-svc: {error:#}");
    }
    ExitCode::FAILURE
}

/// What runs in a window of tmux.
type InTmux = fn(&std::path::Path) -> ExitCode;

/// `keep DIR` or `watch DIR`, as `serve` starts them.
fn in_tmux() -> Option<(InTmux, PathBuf)> {
    let mut args = std::env::args_os().skip(1);
    let run: InTmux = match args.next()?.to_str()? {
        "keep" => keeper::run,
        "watch" => watch::run,
        _ => return None,
    };
    let dir = PathBuf::from(args.next()?);
    (args.next().is_none() && dir.is_absolute()).then_some((run, dir))
}

/// Why the process ends without success.
enum Ended {
    /// The configuration is wrong: nothing was started.
    Config(ConfigError),
    /// Something else.
    Other(anyhow::Error),
}

impl From<anyhow::Error> for Ended {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}

/// Everything that a process is given from outside.
type Env = BTreeMap<OsString, OsString>;

/// What this machine is called.
fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The configuration, as the command line and the environment say.
fn load(named: Option<PathBuf>) -> Result<config::Config, ConfigError> {
    config::Config::load(named, &environment(), &host_name())
}

fn with_config(
    named: Option<PathBuf>,
    run: impl FnOnce(config::Config, Env) -> anyhow::Result<ExitCode>,
) -> Result<ExitCode, Ended> {
    let env = environment();
    let config = load(named).map_err(Ended::Config)?;
    rustls::crypto::ring::default_provider()
        .install_default()
        .expect("nobody else chose a provider before main did");
    let env = env.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
    Ok(run(config, env)?)
}

fn serve(config: config::Config, env: Env, load: impl app::Load) -> anyhow::Result<ExitCode> {
    let _telemetry = start_telemetry(&config)?;
    let crash_at = env.get(OsStr::new(platform::crash::VARIABLE)).and_then(|at| at.to_str());
    platform::crash::arm(crash_at, crash::POINTS)?;
    let stop = CancellationToken::new();
    let name = config.name.as_str();
    let identity = Identity { service: SERVICE, instance: name, runner: name };
    let metrics = Metrics::start(identity, &config.telemetry)?;
    let service = app::serve(config, env, load, metrics.clone(), stop.clone());
    shutdown::run(runtime()?, shutdown::run_until_signalled(stop, service))
}

fn start_telemetry(config: &config::Config) -> anyhow::Result<telemetry::Telemetry> {
    Ok(telemetry::start(SERVICE, config.name.as_str(), &config.telemetry)?)
}

#[expect(clippy::needless_pass_by_value, reason = "every command is given the same")]
fn doctor(config: config::Config, env: Env) -> anyhow::Result<ExitCode> {
    let findings = runtime()?.block_on(doctor::examine(&config, &env));
    Ok(platform::doctor::report(&findings)?)
}

fn list(config: &config::Config, env: &Env, json: bool) -> anyhow::Result<ExitCode> {
    let here = runtime()?.block_on(shell::here(config, env))?;
    say(if json { serde_json::to_string_pretty(&here)? } else { here.table() })
}

fn attach(config: &config::Config, env: &Env, thread: ThreadId) -> anyhow::Result<ExitCode> {
    let here = runtime()?.block_on(shell::here(config, env))?;
    // It returns only when it could not become tmux.
    Err(shell::attach(&here, config, env, thread))
}

fn logs(config: &config::Config, env: &Env, run: &RunId, follow: bool) -> anyhow::Result<ExitCode> {
    let here = runtime()?.block_on(shell::here(config, env))?;
    shell::logs(&here, config, run, follow)?;
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::needless_pass_by_value, reason = "every command is given the same")]
fn accept_bus(config: config::Config, _: Env) -> anyhow::Result<ExitCode> {
    let _telemetry = start_telemetry(&config)?;
    runtime()?.block_on(app::accept_bus(&config))?;
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::needless_pass_by_value, reason = "every command is given the same")]
fn accept_name(config: config::Config, _: Env) -> anyhow::Result<ExitCode> {
    let _telemetry = start_telemetry(&config)?;
    runtime()?.block_on(app::accept_name(&config))?;
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::needless_pass_by_value, reason = "every command is given the same")]
fn drain(config: config::Config, _: Env) -> anyhow::Result<ExitCode> {
    draining::begin(&config.state_dir).context("cannot write into the state directory")?;
    say(format_args!("{} takes no new work; `drain --off` ends that", config.name))
}

#[expect(clippy::needless_pass_by_value, reason = "every command is given the same")]
fn drain_off(config: config::Config, _: Env) -> anyhow::Result<ExitCode> {
    draining::end(&config.state_dir).context("cannot write into the state directory")?;
    say(format_args!("{} takes work", config.name))
}

fn config_keys() -> anyhow::Result<ExitCode> {
    say(keys::page(&config::described()?))
}

/// Says what was done, or what was asked for.
fn say(line: impl fmt::Display) -> anyhow::Result<ExitCode> {
    terminal::say(format_args!("{line}\n"))?;
    Ok(ExitCode::SUCCESS)
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Runtime::new().context("the system gives no threads")
}

/// Says what is wrong with the configuration.
#[expect(clippy::print_stderr, reason = "there is no log yet, and a person waits for this")]
fn refuse(error: ConfigError) -> ExitCode {
    eprintln!("runner-svc: {:#}", anyhow::Error::new(error));
    ExitCode::from(EXIT_CONFIG)
}
