//! How soon another one goes on: a runner of a shared project whose fellow's host is lost, and a
//! gateway whose fellow dies while it posts.
//!
//! Each has a story that shows that it goes on at all, with times made short; here the times are those
//! in use, and it is only timed. A take-over takes minutes, so there are few of them.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use harness::discord_sim::{BOT_ID, FaultKind, FaultRule, Message};
use harness::{Ledger, Part, Postgres, World};
use schemas::streams::{ACK_WAIT, TAKEOVER};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::samples::{Samples, now_ns};

/// How long a take-over may take before the bench gives up: twice what it should.
const TAKEN_OVER_WITHIN: Duration =
    Duration::from_secs(2 * (ACK_WAIT.as_secs() + TAKEOVER.as_secs()));
/// How often that is looked at which nothing tells of.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long both gateways are well before one dies: several of their beats.
const WELL_FOR: Duration = Duration::from_secs(3);
/// How long Discord keeps the post that a gateway dies over: longer than anybody waits.
const KEPT: Duration = Duration::from_secs(600);

/// How often each is tried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deaths {
    /// Hosts that are lost with what they hold.
    pub(crate) hosts: usize,
    /// Gateways that die while they post.
    pub(crate) gateways: usize,
}

/// How soon another one went on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Several {
    /// From the loss of a host to the first line of code of another runner's claude.
    pub(crate) taken_over: Samples,
    /// From the death of a gateway in the middle of a post to that post by another.
    pub(crate) posted: Samples,
}

/// Measures both.
///
/// # Errors
///
/// When something does not go on.
pub(crate) async fn measure(deaths: Deaths) -> Result<Several> {
    let mut several = Several::default();
    for _ in 0..deaths.hosts {
        several.a_host_is_lost().await?;
    }
    if 0 < deaths.gateways {
        several.gateways_die(deaths.gateways).await?;
    }
    Ok(several)
}

impl Several {
    async fn a_host_is_lost(&mut self) -> Result<()> {
        let world = World::builder().shared_as_in_use().lenient().without_runner().start().await?;
        let mut second = world.colleague().await?;
        second.start().await?;
        let question = world.say("[[think hm]] [[wait go]] [[say Done.]]")?;
        world.reached("go").await?;
        world.start_runner().await?;
        let from = now_ns();
        second.is_lost()?;
        self.taken_over.between(from, began(&world, 2).await?);
        world.release("go")?;
        question.mark().await.map(drop)
    }

    async fn gateways_die(&mut self, count: usize) -> Result<()> {
        let server = Postgres::start()?;
        let world = World::builder().lenient().without_gateway().start().await?;
        world.store_on(&server).await;
        world.start_gateway().await?;
        let mut second = world.gateway_beside().await?;
        let first = world.say("[[say Done.]]")?;
        first.mark().await?;
        for number in 0..count {
            world.start_second(&mut second).await?;
            let gate = format!("go{number}");
            let text = format!("answer {number}");
            first.follow_up(&format!("[[think hm]] [[wait {gate}]] [[say {text}]]")).await?;
            world.reached(&gate).await?;
            // So that it is the second one that posts.
            world.freeze(Part::Gateway).await?;
            let posts = "/channels/{id}/messages";
            world.discord().fault(FaultRule::once("POST", posts, FaultKind::Delay(KEPT)));
            world.release(&gate)?;
            world.sees("a post", |view| (view.faults_left == 0).then_some(())).await?;
            world.thaw(Part::Gateway).await?;
            sleep(WELL_FOR).await;
            let from = now_ns();
            world.kill_second(&mut second)?;
            let is_it =
                |it: &Message| it.author == BOT_ID && it.content.lines().next() == Some(&text);
            let thread = first.thread();
            let posted =
                world.sees("the post", |view| view.guild.messages(thread).any(is_it).then(now_ns));
            self.posted.between(from, posted.await?);
        }
        Ok(())
    }
}

/// When the nth claude began, once it has.
async fn began(world: &World, nth: usize) -> Result<i64> {
    let end = Instant::now() + TAKEN_OVER_WITHIN;
    loop {
        let ledger: Ledger = world.ledger();
        if let Some(noted) = ledger.all("begin").get(nth - 1) {
            let moment = noted.fields.get("time_ns").and_then(Value::as_i64);
            return moment.context("no time in the ledger");
        }
        if end < Instant::now() {
            bail!("nobody took the run over within {TAKEN_OVER_WITHIN:?}");
        }
        sleep(LOOK_EVERY).await;
    }
}
