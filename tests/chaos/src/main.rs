//! `holdfast-chaos`: a whole system, load and faults drawn from a seed, then peace, then the question
//! whether every promise was kept.
//!
//! | file | what |
//! |---|---|
//! | `plan.rs` | a seed → messages and faults |
//! | `fleet.rs` | the programs, and the ways between them |
//! | `watch.rs` | what can be seen from outside |
//! | `check.rs` | what was planned and seen → broken promises |
//! | `history.rs` | what happened when |
//!
//! It ends with 0 only if nothing was broken. The seed replays the plan and not the interleaving, so
//! every run keeps its history.

mod check;
mod fleet;
mod history;
mod plan;
mod watch;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Parser;
use harness::discord_sim::MessageId;
use tokio::time::{Instant, sleep_until};

use crate::fleet::Fleet;
use crate::history::History;
use crate::plan::{Ask, Fault, PROJECTS, Plan};

/// Breaks the whole system by a seed, and checks what people saw.
#[derive(Debug, Parser)]
#[command(name = "holdfast-chaos")]
struct Cli {
    /// What messages and faults are drawn from.
    #[arg(long)]
    seed: u64,
    /// How long they come.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=120))]
    minutes: u64,
    /// Where the history is kept, in a folder of the seed's.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Who writes.
const PERSON: &str = "ada";
/// How long everything may take to be at rest after the last fault: a message that nobody
/// acknowledged comes again after a minute, a run whose runner is gone is taken over after one and a
/// half, and claude works up to 40 s.
const PEACE_WITHIN: Duration = Duration::from_secs(6 * 60);
/// How often it is looked whether all is at rest.
const LOOK_EVERY: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.into()),
    };
    match runtime.block_on(chaos(&cli)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => failed(&error),
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    say(&format!("holdfast-chaos: {error:#}"));
    ExitCode::FAILURE
}

/// Tells whoever watches.
fn say(line: &str) {
    // Nobody reads it, then.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// One step of the plan.
#[derive(Clone, Copy, Debug)]
enum Act<'a> {
    Ask(&'a Ask),
    Begin(Fault),
    End(Fault),
}

async fn chaos(cli: &Cli) -> Result<bool> {
    let plan = Plan::new(cli.seed, Duration::from_secs(cli.minutes * 60));
    let mut history = History::begin(cli.out.join(cli.seed.to_string()))?;
    history.keep("plan.json", &plan)?;
    let mut fleet = Fleet::start().await?;
    say(&format!(
        "chaos: seed {}, {} min: {} messages, {} faults",
        cli.seed,
        cli.minutes,
        plan.asks.len(),
        plan.faults.len()
    ));
    let asked = act(&plan, &mut fleet, &mut history).await;
    let asked = match asked {
        Ok(asked) => asked,
        Err(error) => {
            keep(&history, &fleet)?;
            return Err(error);
        }
    };
    fleet.ready().await?;
    history.note("peace", ())?;
    let took = rest(&fleet, &asked).await?;
    history.note("rest", took)?;
    let seen = watch::observe(&fleet, &asked).await?;
    history.keep("observed.json", &seen)?;
    let violations = check::violations(&plan, &seen);
    let claudes = seen.did.iter().filter(|did| did.event == "begin").count();
    let summary = format!(
        "chaos: seed {}: {} messages, {} faults, {claudes} claudes, {} violations; at rest {} s \
         after the last fault",
        cli.seed,
        asked.len(),
        plan.faults.len(),
        violations.len(),
        took.as_secs(),
    );
    history.note("end", &summary)?;
    keep(&history, &fleet)?;
    for violation in &violations {
        say(&format!("chaos: {violation}"));
    }
    say(&summary);
    if !violations.is_empty() {
        say(&format!("chaos: the history is in {}", history.folder().display()));
    }
    Ok(violations.is_empty())
}

/// Does what is planned; returns the messages that were written.
async fn act(
    plan: &Plan,
    fleet: &mut Fleet,
    history: &mut History,
) -> Result<BTreeMap<u32, MessageId>> {
    let asks = plan.asks.iter().map(|ask| (ask.at, Act::Ask(ask)));
    let begins = plan.faults.iter().map(|fault| (fault.at, Act::Begin(fault.fault)));
    let ends = plan.faults.iter().map(|fault| (fault.until(), Act::End(fault.fault)));
    let mut acts: Vec<(Duration, Act<'_>)> = asks.chain(begins).chain(ends).collect();
    acts.sort_by_key(|(at, _)| *at);
    let since = Instant::now();
    let mut asked = BTreeMap::new();
    for (at, act) in acts {
        sleep_until(since + at).await;
        match act {
            Act::Ask(ask) => {
                let message = write(fleet, ask, &asked)?;
                history.note("asked", (ask.number, message.to_string()))?;
                asked.insert(ask.number, message);
            }
            Act::Begin(fault) => {
                let hit = fleet.begin(fault).with_context(|| format!("cannot begin {fault:?}"))?;
                history.note("begins", (fault, hit))?;
            }
            Act::End(fault) => {
                fleet.end(fault).await.with_context(|| format!("cannot end {fault:?}"))?;
                history.note("ends", fault)?;
            }
        }
    }
    Ok(asked)
}

/// Writes a message where it belongs: in its thread, or, while there is none yet, as an answer to
/// the message that the thread will be of.
fn write(fleet: &Fleet, ask: &Ask, asked: &BTreeMap<u32, MessageId>) -> Result<MessageId> {
    let discord = fleet.discord();
    let person = discord.user(PERSON);
    let first = ask.follows.and_then(|first| asked.get(&first));
    let thread = first.and_then(|first| discord.thread_of(*first));
    let place = thread.unwrap_or_else(|| discord.channel(PROJECTS[ask.project]));
    discord.say(place, person, &ask.text()).context("Discord does not take it")
}

/// Waits until nothing is at work and everything has its mark, or the time is over; returns how
/// long that took.
async fn rest(fleet: &Fleet, asked: &BTreeMap<u32, MessageId>) -> Result<Duration> {
    let since = Instant::now();
    while !watch::is_at_rest(fleet, asked).await? && since.elapsed() < PEACE_WITHIN {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(since.elapsed())
}

/// Keeps what explains a violation.
fn keep(history: &History, fleet: &Fleet) -> Result<()> {
    history.keep_text("discord.txt", &fleet.discord().transcript())?;
    history.keep_copy(&fleet.folder().ledger(), "ledger.jsonl")?;
    history.keep_copy(&fleet.folder().logs(), "logs")
}
