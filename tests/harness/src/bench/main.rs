//! `holdfast-bench`: how long a message takes, what a run costs, and what this machine can do at best.
//!
//! Everything is measured in one run, on the built programs, with a claude that answers at once. The
//! floor (one commit, one publish, one exec …) is taken on the same machine, before and after the
//! turns that are held against it. What comes out is a page, `docs/bench.md`.
//!
//! | file | what |
//! |---|---|
//! | `place.rs` | the servers and simulators that are measured, and what people do there |
//! | `floor.rs`, `nats.rs`, `https.rs` | what one durable step costs here, and as much of NATS as that needs |
//! | `turns.rs` | one follow-up after another: where the time goes |
//! | `load.rs` | many at once: a burst, memory, thousands of threads |
//! | `fleet.rs` | up to 200 simulated runners |
//! | `recovery.rs` | how soon things go on after a fault |
//! | `several.rs` | how soon another runner, or another gateway, goes on |
//! | `samples.rs`, `host.rs`, `page.rs` | figures, the machine, the page |
//!
//! It judges nothing by its exit code: a slow machine is no error. It asserts no time.

mod fleet;
mod floor;
mod host;
mod https;
mod load;
mod nats;
mod page;
mod place;
mod recovery;
mod samples;
mod several;
mod turns;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser;

use crate::page::Figures;
use crate::place::{Place, Scene};
use crate::recovery::Tries;
use crate::several::Deaths;

/// Measures, and writes a page.
#[derive(Debug, Parser)]
#[command(name = "holdfast-bench")]
struct Cli {
    /// Takes a few samples of everything: to see that it works, not how fast it is.
    #[arg(long)]
    quick: bool,
    /// Measures only how soon another runner, and another gateway, goes on, and prints that.
    #[arg(long, conflicts_with_all = ["quick", "write"])]
    several: bool,
    /// Where the page goes; otherwise it is printed.
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// Samples of each step of the floor.
    floor: usize,
    /// Follow-ups, one after another.
    turns: usize,
    /// Messages of the burst, and the threads that they are written in.
    burst: (usize, usize),
    /// How many threads are at work at once when memory is looked at.
    at_work: usize,
    /// At how many threads the cost of a run is taken.
    threads: &'static [usize],
    /// Runs for each of these.
    runs: usize,
    /// With how many simulated runners the cost of a run is taken.
    runners: &'static [usize],
    /// Runs for each of these.
    fleet_runs: usize,
    /// How much is killed, queued and missed.
    tries: Tries,
    /// How often another one is to go on.
    deaths: Deaths,
}

const FULL: Size = Size {
    floor: 200,
    turns: 200,
    burst: (200, 50),
    at_work: 200,
    threads: &[10, 100, 500, 2_000],
    runs: 50,
    runners: &[1, 10, 50, 200],
    fleet_runs: 200,
    tries: Tries { kills: 10, queued: 500, others: 50, missed: (1_000, 20) },
    deaths: Deaths { hosts: 1, gateways: 10 },
};

const QUICK: Size = Size {
    floor: 30,
    turns: 20,
    burst: (40, 10),
    at_work: 20,
    threads: &[10, 30],
    runs: 10,
    runners: &[1, 10],
    fleet_runs: 40,
    tries: Tries { kills: 2, queued: 50, others: 10, missed: (40, 4) },
    // A take-over takes longer than all the rest of a quick run.
    deaths: Deaths { hosts: 0, gateways: 2 },
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let ended = tokio::runtime::Runtime::new()
        .context("the system gives no threads")
        .and_then(|runtime| runtime.block_on(bench(&cli)));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("holdfast-bench: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Tells whoever watches.
pub(crate) fn say(line: &str) {
    // Nobody reads it, then.
    let _ = writeln!(std::io::stderr(), "{line}");
}

async fn bench(cli: &Cli) -> Result<()> {
    let size = if cli.quick { QUICK } else { FULL };
    if cli.several {
        let several = several::measure(size.deaths).await?;
        let text = page::several_alone(&several);
        return std::io::stdout().write_all(text.as_bytes()).context("nobody reads the page");
    }
    let figures = measure(size, cli.quick).await?;
    let text = page::write(&figures);
    match &cli.write {
        Some(file) => {
            std::fs::write(file, text)
                .with_context(|| format!("cannot write {}", file.display()))?;
            say(&format!("bench: written to {}", file.display()));
        }
        None => std::io::stdout().write_all(text.as_bytes()).context("nobody reads the page")?,
    }
    Ok(())
}

async fn measure(size: Size, quick: bool) -> Result<Figures> {
    let host = host::Host::look()?;
    // First, since these are what can come to nothing; thousands of threads take most of the time.
    say("bench: after faults …");
    let recovery = recovery::measure(size.tries).await?;
    say("bench: after the loss of a host, and of gateways …");
    let several = several::measure(size.deaths).await?;
    say("bench: starting nats-server, gateway and runner …");
    let mut place = Place::start(&Scene::one_runner()).await?;
    let idle = load::memory(&mut place)?;
    say("bench: the floor and the follow-ups …");
    let mut floor = floor::measure(&mut place, size.floor / 2).await?;
    let turns = turns::measure(&mut place, size.turns).await?;
    floor.add(floor::measure(&mut place, size.floor - size.floor / 2).await?);
    let mut threads = Vec::new();
    let mut burst = load::Burst::default();
    for (number, count) in size.threads.iter().enumerate() {
        // It needs threads of its own, more than the first size has.
        if number == 1 {
            say("bench: the burst …");
            burst = load::burst(&mut place, size.burst).await?;
        }
        say(&format!("bench: {count} threads …"));
        threads.push(load::at_threads(&mut place, *count, size.runs).await?);
    }
    place.end().await?;
    say(&format!("bench: {} claudes at once …", size.at_work));
    // In a place of its own: git looks at all worktrees of a project before it adds one.
    let mut place = Place::start(&Scene::one_runner()).await?;
    let busy = load::at_work(&mut place, size.at_work).await?;
    place.end().await?;
    let runners = fleet::measure(size.runners, size.fleet_runs).await?;
    Ok(Figures {
        quick,
        host,
        floor,
        turns,
        burst,
        idle,
        busy,
        at_work: size.at_work,
        threads,
        runners,
        recovery,
        several,
    })
}
