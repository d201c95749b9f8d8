//! What a run costs gateway and nats-server with 1 to 200 runners.
//!
//! A simulated runner says that it is there, owns a project, fetches its work, writes the record of a
//! run as claimed, then as ended, and acks: all that the bus sees of a real one, and nothing of
//! claude. Each has a connection of its own.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::discord_sim::ChannelId;
use schemas::ids::{Attempt, OwnerToken, ProjectName, RunnerId, StateId};
use schemas::presence::Presence;
use schemas::record::{Outcome, Record, State, Text};
use schemas::request::Request;
use schemas::streams::{
    PRESENCE_EVERY, RUNNERS, RUNS, RunKey, WORK, bucket_subject, runner_consumer,
};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::load::{Cost, Used};
use crate::nats::{Message, Nats};
use crate::place::{Place, Scene};
use crate::samples::{Samples, now_ns};
use crate::say;

/// How long a simulated runner waits for work before it looks at the time.
const FETCH_WAIT: Duration = Duration::from_secs(5);
/// How long the gateway may take to see all runners.
const SEEN_WITHIN: Duration = Duration::from_secs(60);

/// Takes the cost of a run with each of these numbers of runners, the smallest first.
///
/// # Errors
///
/// When a message gets no answer.
pub(crate) async fn measure(counts: &[usize], runs: usize) -> Result<Vec<Cost>> {
    let most = counts.iter().copied().max().unwrap_or_default();
    let names: Vec<String> = (0..most).map(|number| format!("sim-{number}")).collect();
    let mut place = Place::start(&Scene::simulated(names.clone())).await?;
    provision(&mut place, &names)?;
    let address = place.stack.nats_address();
    let stop = CancellationToken::new();
    let mut runners = JoinSet::new();
    let mut costs = Vec::new();
    for count in counts {
        say(&format!("bench: {count} simulated runners …"));
        for name in &names[runners.len()..*count] {
            runners.spawn(runner(address, name.clone(), stop.clone()));
        }
        costs.push(cost(&mut place, *count, runs).await?);
        if let Some(ended) = runners.try_join_next() {
            ended??;
            anyhow::bail!("a simulated runner has ended");
        }
    }
    stop.cancel();
    while let Some(ended) = runners.join_next().await {
        ended??;
    }
    place.end().await?;
    Ok(costs)
}

/// Makes the consumers of all runners.
fn provision(place: &mut Place, names: &[String]) -> Result<()> {
    let mut plan = place.gateway_plan();
    plan.args.pop();
    plan.args.push("provision".into());
    plan.args.extend(names.iter().flat_map(|name| ["--runner".into(), name.into()]));
    let status = tokio::task::block_in_place(|| plan.command()?.status().context("provision"))?;
    ensure!(status.success(), "provision ended with {status}");
    Ok(())
}

/// One message after another, each to the next runner.
async fn cost(place: &mut Place, count: usize, runs: usize) -> Result<Cost> {
    // Once round, so that the gateway knows each runner and each has a thread.
    let first = (0..count).map(|number| place.ask(place.channel(number)));
    let threads: Vec<ChannelId> = first.map(|it| it.map(ChannelId::from)).collect::<Result<_>>()?;
    let wanted: Vec<_> = threads.iter().map(|thread| (*thread, 1)).collect();
    timeout(SEEN_WITHIN, place.posted(&wanted)).await.context("a runner is not seen")??;
    let mut answer = Samples::default();
    let before = Used::look(place)?;
    for run in 0..runs {
        let thread = threads[run % threads.len()];
        let wanted = [(thread, place.posts(thread) + 1)];
        let from = now_ns();
        place.ask(thread)?;
        answer.between(from, place.posted(&wanted).await?);
    }
    before.cost(place, count, answer)
}

/// A runner and its project of the same name, until `stop`.
async fn runner(address: SocketAddr, name: String, stop: CancellationToken) -> Result<()> {
    let mut nats = Nats::connect(address).await?;
    let (runner, project): (RunnerId, ProjectName) = (name.parse()?, name.parse()?);
    let state_id = StateId::random();
    let presence = schemas::to_json(&Presence {
        v: Presence::VERSION,
        runner: runner.clone(),
        state_id,
        version: "0".to_owned(),
        projects: vec![project],
        slots: 1,
        busy: 0,
        draining: false,
        shared: Vec::new(),
        labels: Vec::new(),
    });
    let presence = String::from_utf8(presence)?;
    let consumer = runner_consumer(&runner).name;
    let mut show_at = Instant::now();
    while !stop.is_cancelled() {
        if show_at <= Instant::now() {
            nats.store(&bucket_subject(RUNNERS, &runner), &presence, None).await?;
            show_at = Instant::now() + PRESENCE_EVERY;
        }
        // A fetch that is dropped would leave its answer to the next question.
        if let Some(work) = nats.fetch(WORK, &consumer, FETCH_WAIT).await? {
            take(&mut nats, &runner, state_id, &work).await?;
        }
    }
    Ok(())
}

/// Does a piece of work.
async fn take(nats: &mut Nats, runner: &RunnerId, state_id: StateId, work: &Message) -> Result<()> {
    let request: Request = schemas::from_json(&work.body)?;
    let Request { project, thread, run, .. } = request.clone();
    let key = RunKey { project, thread, run: run.clone() };
    let subject = bucket_subject(RUNS, &key);
    let claimed = Record {
        v: Record::VERSION,
        run,
        generation: request.generation,
        attempt: Attempt::FIRST,
        deaths: 0,
        runner: runner.clone(),
        state_id,
        owner: OwnerToken::random(),
        session: request.session,
        state: State::Claimed,
        quiet_since_ms: None,
        since_ms: None,
        notice: None,
        narrowed: None,
        asks: Vec::new(),
        asked: 0,
        applied: Vec::new(),
        remarks: Vec::new(),
        steered: Vec::new(),
        whereabouts: None,
        files: Vec::new(),
        withheld: Vec::new(),
        carried: None,
        trace: None,
    };
    let text = String::from_utf8(schemas::to_json(&claimed))?;
    let revision = nats.store(&subject, &text, Some(0)).await?;
    let answer = Text::Inline("Done.".to_owned());
    let outcome = Outcome::Answered { answer, denied: Vec::new() };
    let ended = Record { state: State::Ended { outcome, usage: None }, ..claimed };
    let text = String::from_utf8(schemas::to_json(&ended))?;
    nats.store(&subject, &text, Some(revision)).await?;
    nats.ask(&work.reply, "+ACK").await?;
    Ok(())
}
