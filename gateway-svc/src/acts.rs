//! What somebody who is no person of Discord does about a run: an operator, a token of the HTTP API.
//!
//! It is the order that a button gives, through the same transaction, and it stands in the audit. Asked for
//! twice, it is done once: whoever asks again hears that it was done before.

use platform::clock::now_ms;
use schemas::ids::{Generation, IdError, RunId, UserId};
use schemas::request::Author;

use crate::commands::{Done, Order};
use crate::fleet::{Run, State};
use crate::orders::carry_out;
use crate::store::{About, By, Ordered, Store};

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Run again what failed or was stopped.
    Retry,
    /// End what runs or waits, whether its runner answers or not.
    End,
}

/// What became of it.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    /// It is done, and this is the run now.
    Done(Done, Run),
    /// It was done before, and this is the run now.
    Before(Run),
    /// It cannot be done to a run that stands so.
    Not(Run),
    /// There is no such run.
    NoRun,
}

/// Does it, to the generation that is named or to the one that the run is in.
///
/// # Errors
///
/// When the store fails.
pub(crate) async fn act(
    store: &Store,
    run: &RunId,
    wish: Wish,
    generation: Option<Generation>,
    (by, name): (By, &str),
) -> anyhow::Result<Told> {
    let Some(ordered) = ordered(store, run, wish, generation, (by, name)).await? else {
        return Ok(Told::NoRun);
    };
    let done = carry_out(store, &ordered).await?.unwrap_or(Done::TooLate);
    // What it is now is told, whoever changed it.
    let Some(now) = store.run(run).await? else { return Ok(Told::NoRun) };
    match done {
        Done::Again | Done::Ended(_) | Done::Dropped => Ok(Told::Done(done, now)),
        Done::Stopping
        | Done::StoppingLater(_)
        | Done::Waiting(_)
        | Done::Discarded
        | Done::TooLate
        | Done::Nothing => {
            let was_done = was_done(store, run, wish, generation, &now).await?;
            Ok(if was_done { Told::Before(now) } else { Told::Not(now) })
        }
    }
}

/// Ends a run of which Discord has the outcome, with nothing to say there; whoever holds it is stopped.
///
/// # Errors
///
/// When the store fails.
pub(crate) async fn end_quietly(store: &Store, run: &RunId, by: (By, &str)) -> anyhow::Result<()> {
    if let Some(ordered) = ordered(store, run, Wish::End, None, by).await? {
        store.order(&ordered, |_, _| Vec::new(), now_ms()).await?;
    }
    Ok(())
}

/// What is ordered about a run; `None`: there is no such run.
async fn ordered(
    store: &Store,
    run: &RunId,
    wish: Wish,
    generation: Option<Generation>,
    (by, name): (By, &str),
) -> anyhow::Result<Option<Ordered>> {
    let Some(known) = store.known(run).await? else { return Ok(None) };
    let Some(found) = store.run(run).await? else { return Ok(None) };
    Ok(Some(Ordered {
        order: match wish {
            Wish::Retry => Order::Retry,
            Wish::End => Order::End,
        },
        about: About::Run(run.clone(), generation.unwrap_or(known.generation)),
        thread: known.thread,
        channel: known.channel,
        project: found.project,
        by,
        author: nobody(name)?,
    }))
}

/// Whether it was done before: to the generation that is named, or so that the run stands as it does.
async fn was_done(
    store: &Store,
    run: &RunId,
    wish: Wish,
    generation: Option<Generation>,
    now: &Run,
) -> anyhow::Result<bool> {
    let acts: &[&str] = match wish {
        Wish::Retry => &["retry"],
        Wish::End => &["end", "drop"],
    };
    for act in acts {
        let was_done = match generation {
            Some(generation) => store.was_acted(run, generation, act).await?,
            None => match store.last_act(run, act).await? {
                Some(last) => leads_here(act, last, now),
                None => false,
            },
        };
        if was_done {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether what was done to a generation of a run is why it stands as it does.
fn leads_here(act: &str, last: Generation, now: &Run) -> bool {
    match act {
        // A run without outcome is at the newest try that somebody asked for.
        "retry" => is_open(now.state),
        "end" => now.state == State::Stopped && last.next().0 == now.generation,
        _ => now.state == State::Dropped && last.0 == now.generation,
    }
}

fn is_open(state: State) -> bool {
    match state {
        State::Waiting | State::Released | State::Claimed | State::Running | State::Asking => true,
        State::Answered
        | State::Failed
        | State::Stopped
        | State::Dropped
        | State::Discarded
        | State::Merged => false,
    }
}

/// Somebody who is no person of Discord: no person has this number.
pub(crate) fn nobody(name: &str) -> Result<Author, IdError> {
    Ok(Author { id: UserId::new(1)?, name: name.to_owned() })
}
