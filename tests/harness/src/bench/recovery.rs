//! How soon things go on: after a runner, after a claude, behind a long queue, after a time away.
//!
//! Each of these has a story that shows that it goes on at all; here it is only timed. The places are
//! of their own, and what is left in their queues ends with them.

use anyhow::{Context as _, Result};
use harness::Noted;
use harness::discord_sim::{ChannelId, View};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::task::block_in_place;

use crate::load::open;
use crate::place::{PATIENCE, Place, Scene, posts as posts_of};
use crate::samples::{Samples, now_ns};

/// How much is tried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tries {
    /// How often a runner, and a claude, is killed.
    pub(crate) kills: usize,
    /// How many messages wait in one thread.
    pub(crate) queued: usize,
    /// Follow-ups in other threads, before the queue is there and behind it.
    pub(crate) others: usize,
    /// Messages that are written while the gateway is away, and their threads.
    pub(crate) missed: (usize, usize),
}

/// How soon it went on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recovery {
    /// From the start of a killed runner to the post of the answer that claude had ready.
    pub(crate) adopted: Samples,
    /// From the death of a claude to the next one's first line of code.
    pub(crate) resumed: Samples,
    /// From a message to its answer with nothing else to do.
    pub(crate) alone: Samples,
    /// The same, written in the moment after many messages of another thread.
    pub(crate) amid: Samples,
    /// The same while all of these wait.
    pub(crate) beside: Samples,
    /// How many wait there.
    pub(crate) queued: usize,
    /// What was missed while the gateway was away.
    pub(crate) missed: Missed,
}

/// How a time away was caught up with, inside Discord's limits.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Missed {
    pub(crate) messages: usize,
    pub(crate) threads: usize,
    /// From the gateway's start until the last answer is posted.
    pub(crate) seconds: f64,
    /// How many requests Discord refused because its limits were used up, of how many.
    pub(crate) refused: u64,
    pub(crate) requests: u64,
}

/// Measures all of it.
///
/// # Errors
///
/// When something does not go on.
pub(crate) async fn measure(tries: Tries) -> Result<Recovery> {
    let mut place = Place::start(&Scene::one_runner()).await?;
    let threads = open(&mut place, 2).await?;
    let mut recovery = Recovery { queued: tries.queued, ..Recovery::default() };
    for kill in 0..tries.kills {
        recovery.runner_is_killed(&mut place, threads[0], &format!("adopt{kill}")).await?;
        recovery.claude_is_killed(&mut place, threads[0], &format!("resume{kill}")).await?;
    }
    recovery.alone = follow_ups(&mut place, threads[1], tries.others).await?;
    place.noted()?;
    place.say(threads[0], "[[wait queue]] [[say Done.]]")?;
    place.until_waiting(1).await?;
    let queued = (0..tries.queued).map(|_| place.ask(threads[0])).collect::<Result<Vec<_>>>()?;
    recovery.amid = follow_ups(&mut place, threads[1], 1).await?;
    place.marked(&queued).await?;
    recovery.beside = follow_ups(&mut place, threads[1], tries.others).await?;
    place.end().await?;
    recovery.missed = missed(tries.missed).await?;
    Ok(recovery)
}

impl Recovery {
    async fn runner_is_killed(
        &mut self,
        place: &mut Place,
        thread: ChannelId,
        gate: &str,
    ) -> Result<()> {
        let (posts, _) = is_held(place, thread, gate).await?;
        block_in_place(|| place.stack.runner().kill())?;
        place.open_gate(gate)?;
        place.until_noted("result", 1).await?;
        let discord = place.discord();
        let is_posted = |view: &View<'_>| (posts <= posts_of(view, thread)).then(now_ns);
        let from = now_ns();
        let (started, posted) = tokio::join!(
            place.stack.start_runner(),
            discord.wait_for("the answer", PATIENCE, is_posted)
        );
        started?;
        self.adopted.between(from, posted.ok().context("no answer came")?);
        place.is_swept().await
    }

    async fn claude_is_killed(
        &mut self,
        place: &mut Place,
        thread: ChannelId,
        gate: &str,
    ) -> Result<()> {
        let (posts, held) = is_held(place, thread, gate).await?;
        let pid = i32::try_from(held.pid).ok().and_then(Pid::from_raw).context("no pid")?;
        let from = now_ns();
        kill_process(pid, Signal::KILL).context("cannot kill claude")?;
        let next = place.until_noted("begin", 1).await?;
        let moment = next.fields.get("time_ns").and_then(Value::as_i64);
        self.resumed.between(from, moment.context("no time in the ledger")?);
        place.open_gate(gate)?;
        place.posted(&[(thread, posts)]).await?;
        place.is_swept().await
    }
}

/// A follow-up whose claude is held by a gate: how many posts its thread has with its answer, and what
/// that claude noted.
async fn is_held(place: &mut Place, thread: ChannelId, gate: &str) -> Result<(usize, Noted)> {
    let posts = place.posts(thread) + 1;
    place.noted()?;
    place.say(thread, &format!("[[wait {gate}]] [[say Done.]]"))?;
    Ok((posts, place.until_noted("wait", 1).await?))
}

/// Follow-ups in one thread, one after another: from the message to its answer.
async fn follow_ups(place: &mut Place, thread: ChannelId, count: usize) -> Result<Samples> {
    let mut answer = Samples::default();
    for _ in 0..count {
        let wanted = [(thread, place.posts(thread) + 1)];
        let from = now_ns();
        place.ask(thread)?;
        answer.between(from, place.posted(&wanted).await?);
    }
    Ok(answer)
}

/// Messages in many threads while the gateway is away, with Discord's limits.
async fn missed((messages, count): (usize, usize)) -> Result<Missed> {
    let mut place = Place::start(&Scene::limited()).await?;
    let threads = open(&mut place, count).await?;
    place.is_swept().await?;
    block_in_place(|| place.stack.gateway().stop(PATIENCE))?;
    let mut wanted: Vec<_> = threads.iter().map(|thread| (*thread, place.posts(*thread))).collect();
    for number in 0..messages {
        let (thread, posts) = &mut wanted[number % count];
        place.ask(*thread)?;
        *posts += 1;
    }
    let asked = |place: &Place| {
        place.discord().view(|view| (view.refused_requests, view.requests.values().sum::<u64>()))
    };
    let before = asked(&place);
    let from = now_ns();
    place.stack.start_gateway().await?;
    let mut whole = Samples::default();
    // Each thread has the patience of one part of the bench.
    for one in wanted {
        whole.between(from, place.posted(&[one]).await?);
    }
    let after = asked(&place);
    place.end().await?;
    Ok(Missed {
        messages,
        threads: count,
        seconds: whole.most() / 1000.0,
        refused: after.0 - before.0,
        requests: after.1 - before.1,
    })
}
