//! `move`, `owner`, `end`, `retry`: what an operator decides at the command line.
//!
//! Each is one transaction of the store, with or without a gateway at work; whichever gateway runs
//! publishes what follows from it. What cannot be done is said with what to do instead, and changes
//! nothing.

use anyhow::{Context as _, bail, ensure};
use platform::clock::now_ms;
use schemas::ids::{ProjectName, RunId, RunnerId, ThreadId};
use schemas::request::Author;
use uuid::Uuid;

use crate::acts::{self, Told, Wish};
use crate::commands::Done;
use crate::config::{Books, Config};
use crate::placement::{Misfit, Sharing, Sight, Terms, misfit, newest};
use crate::render;
use crate::store::{By, Moved, Store};

/// Who is named in Discord.
const NAME: &str = "the operator";

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
    let (by, who) = operator()?;
    let to = (runner, state_id);
    let moved = store.move_thread(thread, to, (by, &who), rows, now_ms()).await?;
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
    let (by, who) = operator()?;
    let moved = store.give(project, (runner, state_id), (by, &who), rows, now_ms()).await?;
    Ok(format!("{runner} owns {project}; {} moved", count(moved.len())))
}

/// Ends a run, whoever holds it.
///
/// # Errors
///
/// What keeps it from that.
pub(crate) async fn end(books: &Books, run: &RunId) -> anyhow::Result<String> {
    let store = Store::open_existing(&books.database_url).await?;
    match acts::act(&store, run, Wish::End, None, (By::Operator(Uuid::new_v4()), NAME)).await? {
        Told::Done(Done::Dropped, _) => Ok(format!("{run} was still waiting; it is dropped")),
        Told::Done(_, _) => Ok(format!("{run} is ended")),
        Told::Before(_) | Told::Not(_) => bail!("{run} has its outcome already"),
        Told::NoRun => bail!("{}", no_run(run)),
    }
}

/// Runs again what failed or was stopped, as *Retry* does.
///
/// # Errors
///
/// What keeps it from that.
pub(crate) async fn retry(books: &Books, run: &RunId) -> anyhow::Result<String> {
    let store = Store::open_existing(&books.database_url).await?;
    match acts::act(&store, run, Wish::Retry, None, (By::Operator(Uuid::new_v4()), NAME)).await? {
        Told::Done(_, _) => Ok(format!("{run} is tried again")),
        Told::Before(run) => {
            bail!("{} is tried again already; it is {}", run.run, run.state.name())
        }
        Told::Not(found) => bail!(
            "{run} did not fail and was not stopped; it is {}, and nothing was done",
            found.state.name()
        ),
        Told::NoRun => bail!("{}", no_run(run)),
    }
}

fn no_run(run: &RunId) -> String {
    format!("there is no run {run}; a message's is m<its id>")
}

/// Who does what is done here, as the store keeps it.
fn operator() -> anyhow::Result<(By, Author)> {
    Ok((By::Operator(Uuid::new_v4()), acts::nobody(NAME)?))
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
