//! `up`: everything started, its addresses told, and everything but claude stopped at the end.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use harness::{Folder, Stack, processes};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::block_in_place;

use crate::simulated::Simulators;
use crate::{real, root, say, simulated, state};

/// How often it is looked whether a server has ended by itself.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Everything that `up` starts, and what is to be told about it.
#[derive(Debug)]
pub(crate) struct Running {
    /// nats-server, gateway, runner.
    pub(crate) stack: Stack,
    /// Discord and Anthropic, if they are simulated.
    pub(crate) simulators: Option<Simulators>,
    /// Where all of it lies.
    pub(crate) folder: Folder,
    /// What a person needs to begin, a line each: a name and a value.
    pub(crate) begin: Vec<(&'static str, String)>,
}

/// Runs until Ctrl+C.
///
/// # Errors
///
/// What kept it from starting, or which server ended by itself.
pub(crate) async fn up(project: Option<PathBuf>) -> Result<ExitCode> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let root = root::find()?;
    let place = root.join(".holdfast/up");
    let _lock = state::lock(&place)?;
    let settings = real::Environment::read(&root)?;
    let mut running = match settings.token() {
        Some(token) => real::prepare(&root, &place.join("discord"), &settings, token, project)?,
        None => simulated::prepare(&place.join("simulated"), project).await?,
    };
    let started = tokio::select! {
        started = start(&mut running.stack) => started,
        () = signalled(&mut interrupt, &mut terminate) => {
            stop(running).await;
            return Ok(ExitCode::SUCCESS);
        }
    };
    if let Err(error) = started {
        stop(running).await;
        return Err(error);
    }
    running.tell()?;
    let casualty = tokio::select! {
        casualty = casualty(&mut running.stack) => Some(casualty),
        () = signalled(&mut interrupt, &mut terminate) => None,
    };
    stop(running).await;
    match casualty {
        Some(casualty) => bail!("{casualty}"),
        None => Ok(ExitCode::SUCCESS),
    }
}

async fn signalled(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

async fn start(stack: &mut Stack) -> Result<()> {
    say("starting nats-server …");
    stack.start_nats().await?;
    stack.provision()?;
    say("starting gateway and runner …");
    for wrong in stack.start_services().await? {
        say(&format!("not well: {}", wrong.trim()));
    }
    Ok(())
}

/// Waits until one of the servers has ended by itself.
async fn casualty(stack: &mut Stack) -> String {
    loop {
        if let Some(casualty) = stack.casualty() {
            return casualty;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn stop(mut running: Running) {
    say("stopping …");
    for problem in block_in_place(|| running.stack.stop()) {
        say(&problem);
    }
    drop(running.stack);
    if let Some(simulators) = running.simulators {
        simulators.stop().await;
    }
    let left = processes::naming(running.folder.root());
    let claudes = left.iter().filter(|process| process.command.starts_with("holdfast-keeper"));
    match claudes.count() {
        0 => say("stopped; no run is at work"),
        1 => say("stopped; one run goes on in tmux; the next `up` takes it up"),
        many => say(&format!("stopped; {many} runs go on in tmux; the next `up` takes them up")),
    }
}

impl Running {
    /// Tells what was started and where.
    fn tell(&self) -> Result<()> {
        let stack = &self.stack;
        let mut lines = self.begin.clone();
        lines.push(("watch", self.attach_line()));
        lines.push(("NATS", format!("nats://{}", stack.nats_address())));
        lines.push(("gateway", format!("http://{}/readyz", stack.gateway_health())));
        lines.push(("runner", format!("http://{}/readyz", stack.runner_health())));
        lines.push(("logs", self.folder.logs().display().to_string()));
        let mut out = std::io::stdout().lock();
        let mut write = || -> std::io::Result<()> {
            writeln!(out, "\nHoldfast is up. Ctrl+C stops it; claude goes on in tmux.\n")?;
            for (name, value) in &lines {
                writeln!(out, "  {name:<9} {value}")?;
            }
            out.flush()
        };
        write().context("cannot tell where everything is")
    }

    /// What to type to watch claude. The socket is named after the id of the runner's state.
    fn attach_line(&self) -> String {
        let id = fs::read_to_string(self.folder.runner_state().join("state_id"));
        let socket: String = id.unwrap_or_default().chars().take(8).collect();
        format!("tmux -L holdfast-{socket} attach -r    (while claude is at work)")
    }
}
