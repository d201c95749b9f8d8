//! `move`, `owner`, `end`: what an operator decides at the command line.
//!
//! Each is one transaction of the store, with or without a gateway at work; whichever gateway runs
//! publishes what follows from it. What cannot be done is said with what to do instead, and changes
//! nothing.

use anyhow::{Context as _, bail, ensure};
use platform::clock::now_ms;
use schemas::ids::{ProjectName, RunId, RunnerId, ThreadId, UserId};
use schemas::request::Author;
use uuid::Uuid;

use crate::commands::{Done, Order};
use crate::config::Config;
use crate::orders::marks;
use crate::placement::{Misfit, Sharing, Sight, Terms, misfit, newest};
use crate::render;
use crate::store::{About, By, Moved, Ordered, Store};

/// Who is named in Discord.
const OPERATOR: &str = "the operator";

/// Lets a conversation of a shared project go on at a runner.
///
/// # Errors
///
/// What keeps it from that.
pub(crate) async fn move_thread(
    config: &Config,
    thread: ThreadId,
    runner: &RunnerId,
) -> anyhow::Result<String> {
    let store = Store::open(&config.database_url).await?;
    let project = store.project_of(thread).await?.with_context(|| {
        format!("no conversation is known in the thread {thread}; give the thread's id")
    })?;
    let terms = terms(config, &project)?;
    ensure!(
        terms.sharing == Sharing::Shared,
        "{project} belongs to one runner; `gateway-svc owner {project} {runner}` gives all of it to \
         {runner}"
    );
    let sights = store.sights().await?;
    let state_id = fits(&project, terms, runner, &sights)?.presence.state_id;
    let rows = |place: &render::Place, moved: &Moved| {
        vec![render::moved(place, Some(runner), away(moved, runner, &sights))]
    };
    let moved = store.move_thread(thread, (runner, state_id), rows, now_ms()).await?;
    let moved = moved.context("the thread was forgotten at this very moment")?;
    Ok(format!("{thread} goes on at {runner}; {} moved", count(moved.len())))
}

/// Gives an exclusive project to a runner.
///
/// # Errors
///
/// What keeps it from that.
pub(crate) async fn owner(
    config: &Config,
    project: &ProjectName,
    runner: &RunnerId,
) -> anyhow::Result<String> {
    let terms = terms(config, project)?;
    ensure!(
        terms.sharing == Sharing::Exclusive,
        "{project} is shared and has no owner; `gateway-svc move THREAD {runner}` moves a conversation"
    );
    let store = Store::open(&config.database_url).await?;
    let sights = store.sights().await?;
    let state_id = fits(project, terms, runner, &sights)?.presence.state_id;
    if store.owner(project).await?.is_some_and(|(_, owner)| owner == state_id) {
        return Ok(format!("{runner} owns {project} already"));
    }
    let rows = |place: &render::Place, moved: &Moved| {
        vec![render::moved(place, Some(runner), away(moved, runner, &sights))]
    };
    let moved = store.give(project, (runner, state_id), rows, now_ms()).await?;
    Ok(format!("{runner} owns {project}; {} moved", count(moved.len())))
}

/// Ends a run, whoever holds it.
///
/// # Errors
///
/// What keeps it from that.
pub(crate) async fn end(config: &Config, run: &RunId) -> anyhow::Result<String> {
    let store = Store::open(&config.database_url).await?;
    let known = store.known(run).await?;
    let known =
        known.with_context(|| format!("there is no run {run}; a message's is m<its id>"))?;
    let project = store.project_of(known.thread).await?;
    let ordered = Ordered {
        order: Order::End,
        about: About::Run(run.clone(), known.generation),
        thread: known.thread,
        channel: known.channel,
        project: project.context("its thread was forgotten")?,
        by: By::Operator(Uuid::new_v4()),
        // No person of Discord has this id.
        author: Author { id: UserId::new(1)?, name: OPERATOR.to_owned() },
    };
    let rows = |done: &Done, place: Option<&render::Place>| marks(done, place, OPERATOR);
    match store.order(&ordered, rows, now_ms()).await? {
        Some(Done::Ended(_)) => Ok(format!("{run} is ended")),
        Some(Done::Dropped) => Ok(format!("{run} was still waiting; it is dropped")),
        Some(
            Done::Stopping
            | Done::StoppingLater(_)
            | Done::Waiting(_)
            | Done::Again
            | Done::Discarded
            | Done::TooLate
            | Done::Nothing,
        )
        | None => bail!("{run} has its outcome already"),
    }
}

fn terms<'a>(config: &'a Config, project: &ProjectName) -> anyhow::Result<&'a Terms> {
    let project = config.routes.project(project).with_context(|| {
        format!("{project} is no project of the configuration; add [projects.{project}]")
    })?;
    Ok(&project.terms)
}

/// The runner, if it was seen of late and is what the project asks for.
fn fits<'a>(
    project: &ProjectName,
    terms: &Terms,
    runner: &RunnerId,
    sights: &'a [Sight],
) -> anyhow::Result<&'a Sight> {
    let sight = newest(sights, runner).with_context(|| {
        format!("no runner {runner} has shown itself; start it, or look at its name")
    })?;
    match misfit(project, terms, &sight.presence) {
        None => Ok(sight),
        Some(
            misfit
            @ (Misfit::NotServed | Misfit::Shares | Misfit::KeepsToItself | Misfit::Lacks(_)),
        ) => {
            bail!("{runner} cannot have {project}: {misfit}")
        }
    }
}

/// Where claude may be left, and whether anybody answers there.
fn away<'a>(moved: &'a Moved, to: &RunnerId, sights: &[Sight]) -> Option<(&'a RunnerId, bool)> {
    let from = moved.from.as_ref().filter(|from| *from != to)?;
    let is_there = newest(sights, from).is_some_and(|sight| sight.is_there(now_ms()));
    Some((from, is_there))
}

fn count(runs: usize) -> String {
    if runs == 1 { "1 run was".to_owned() } else { format!("{runs} runs were") }
}
