//! Many at once: a burst of messages, what is in memory, and what a run costs among thousands of
//! threads.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use harness::discord_sim::{ChannelId, MessageId};
use harness::processes;

use crate::host::{resident_mb, used_ms};
use crate::place::{Place, SLOTS};
use crate::samples::{Samples, now_ns, number};

/// Messages that wait for an answer at once while threads are opened.
const OPENED_AT_ONCE: usize = 32;
/// What holds claude until its gate is opened.
const HELD: &str = "[[wait go]] [[say Done.]]";

/// What is in memory, in MB.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    pub(crate) gateway: f64,
    pub(crate) runner: f64,
    pub(crate) nats: f64,
    /// The largest keeper, and the largest of its two companions (guard, pane).
    pub(crate) keeper: f64,
    pub(crate) companion: f64,
}

/// How fast a burst was answered.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Burst {
    pub(crate) messages: usize,
    pub(crate) threads: usize,
    pub(crate) slots: u16,
    pub(crate) seconds: f64,
}

/// What a run cost at a size.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cost {
    /// How many threads, or runners, there were.
    pub(crate) size: usize,
    /// How many runs it was taken of.
    pub(crate) runs: usize,
    /// From a message to its answer, one after another.
    pub(crate) answer: Samples,
    /// Processor time of gateway, runner and nats-server for one run, in milliseconds.
    pub(crate) gateway_ms: f64,
    pub(crate) runner_ms: f64,
    pub(crate) nats_ms: f64,
}

/// What the processes of a place have used so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Used {
    gateway: f64,
    runner: f64,
    nats: f64,
}

impl Used {
    /// Looks.
    pub(crate) fn look(place: &mut Place) -> Result<Self> {
        let (gateway, runner, nats) = place.pids()?;
        let runner = runner.map_or(0.0, used_ms);
        Ok(Self { gateway: used_ms(gateway), runner, nats: used_ms(nats) })
    }

    /// What one of so many runs since then has cost.
    pub(crate) fn cost(self, place: &mut Place, size: usize, answer: Samples) -> Result<Cost> {
        let (now, runs) = (Self::look(place)?, answer.count());
        let each = |then: f64, now: f64| (now - then) / number(runs.max(1));
        Ok(Cost {
            size,
            runs,
            answer,
            gateway_ms: each(self.gateway, now.gateway),
            runner_ms: each(self.runner, now.runner),
            nats_ms: each(self.nats, now.nats),
        })
    }
}

/// What is in memory now.
pub(crate) fn memory(place: &mut Place) -> Result<Memory> {
    let (gateway, runner, nats) = place.pids()?;
    let all = processes::naming(place.folder.root());
    let largest = |names: &[&str]| {
        let named = all.iter().filter(|it| names.iter().any(|name| it.command.starts_with(name)));
        named.map(|it| resident_mb(it.pid)).fold(0.0, f64::max)
    };
    let pane = harness::built("runner-svc")?.display().to_string() + " keep";
    Ok(Memory {
        gateway: resident_mb(gateway),
        runner: runner.map_or(0.0, resident_mb),
        nats: resident_mb(nats),
        keeper: largest(&["holdfast-keeper"]),
        companion: largest(&["holdfast-guard", &pane]),
    })
}

/// Writes so many messages over so many threads, each of which has its worktree, and waits for the
/// last answer.
pub(crate) async fn burst(place: &mut Place, (messages, threads): (usize, usize)) -> Result<Burst> {
    let open = open(place, threads).await?;
    place.is_swept().await?;
    let mut wanted: BTreeMap<ChannelId, usize> =
        open.iter().map(|thread| (*thread, place.posts(*thread))).collect();
    let from = now_ns();
    for number in 0..messages {
        let thread = open[number % open.len()];
        place.ask(thread)?;
        *wanted.get_mut(&thread).context("a thread of ours")? += 1;
    }
    let wanted: Vec<_> = wanted.into_iter().collect();
    let mut whole = Samples::default();
    whole.between(from, place.posted(&wanted).await?);
    place.is_swept().await?;
    Ok(Burst { messages, threads, slots: SLOTS, seconds: whole.median() / 1000.0 })
}

/// Opens threads until there are so many, each with an answer; gives those that were opened here.
pub(crate) async fn open(place: &mut Place, count: usize) -> Result<Vec<ChannelId>> {
    let mut opened = Vec::new();
    while opened.len() < count {
        let mut wanted = Vec::new();
        for _ in 0..OPENED_AT_ONCE.min(count - opened.len()) {
            wanted.push((ChannelId::from(place.ask(place.channel(0))?), 1));
        }
        place.posted(&wanted).await?;
        opened.extend(wanted.into_iter().map(|(thread, _)| thread));
    }
    Ok(opened)
}

/// What a follow-up costs when there are so many threads.
pub(crate) async fn at_threads(place: &mut Place, count: usize, runs: usize) -> Result<Cost> {
    let there: Vec<ChannelId> = threads(place);
    let more = open(place, count.saturating_sub(there.len())).await?;
    let all: Vec<ChannelId> = there.into_iter().chain(more).collect();
    place.is_swept().await?;
    let mut answer = Samples::default();
    let before = Used::look(place)?;
    for run in 0..runs {
        // Over all of them, old and new.
        let thread = all[run * all.len() / runs];
        let wanted = [(thread, place.posts(thread) + 1)];
        let from = now_ns();
        place.ask(thread)?;
        answer.between(from, place.posted(&wanted).await?);
        place.is_swept().await?;
    }
    before.cost(place, all.len(), answer)
}

/// The threads that there are.
fn threads(place: &Place) -> Vec<ChannelId> {
    place.discord().view(|view| {
        let all = view.guild.channels().filter(|channel| channel.thread.is_some());
        all.map(|channel| channel.id).collect()
    })
}

/// Memory while so many claudes are at work, each in a thread of its own.
pub(crate) async fn at_work(place: &mut Place, count: usize) -> Result<Memory> {
    place.set_slots(u16::try_from(count)?).await?;
    let mut wanted = Vec::new();
    place.noted()?;
    for _ in 0..count {
        let message: MessageId = place.say(place.channel(0), HELD)?;
        wanted.push((ChannelId::from(message), 1));
    }
    place.until_waiting(count).await?;
    let memory = memory(place)?;
    place.open_gate("go")?;
    place.posted(&wanted).await?;
    place.is_swept().await?;
    Ok(memory)
}
