//! `list`, `attach`, `logs`: what is at work on this host, for whoever sits at it.
//!
//! It reads spools and intents and asks tmux for its sessions, while the service runs and while it does not.
//! It takes no lock, changes nothing, and asks nobody else: what the run came to is the gateway's to tell.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;

use anyhow::{Context as _, anyhow, bail};
use platform::terminal::{Table, moment};
use schemas::ids::{OwnerToken, ProjectName, RunId, RunnerId, ThreadId};
use serde::Serialize;

use crate::app::tmux_socket;
use crate::attempt::session_name;
use crate::command::for_tmux;
use crate::config::Config;
use crate::draining;
use crate::held::{HELD, Held, RESULT};
use crate::intent::Intents;
use crate::spool::{self, KeeperState, Spool};
use crate::state::{StateDir, spools_in};
use crate::tmux::Tmux;
use crate::watch;

/// What stands where there is nothing to tell.
const NONE: &str = "-";

/// What is at work on this host.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Here {
    /// The runner's name.
    runner: RunnerId,
    /// Whether it takes no new work.
    draining: bool,
    /// The runs, those held longest first.
    runs: Vec<AtWork>,
}

/// A run that is held on this host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct AtWork {
    /// The run.
    run: RunId,
    /// Which generation of it.
    generation: u32,
    /// Which holding of that.
    attempt: u32,
    /// Its project.
    project: ProjectName,
    /// Its conversation.
    thread: ThreadId,
    /// Since when its time counts, in milliseconds since 1970.
    since_ms: i64,
    /// Where it stands.
    state: Standing,
    /// The tmux session that shows it, if there is one.
    session: Option<String>,
    /// What to type to look on, if there is such a session.
    attach: Option<String>,
    /// Its spool.
    #[serde(skip)]
    owner: OwnerToken,
}

/// Where a run stands on this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Standing {
    /// It is held, and claude is not there yet.
    Starting,
    /// claude is at work.
    Running,
    /// claude has given its result, which is told now.
    Ending,
    /// claude is gone, and nobody has looked at how it ended.
    Ended,
}

impl Standing {
    fn of(keeper: KeeperState, has_result: bool) -> Self {
        match (keeper, has_result) {
            (_, true) => Self::Ending,
            (KeeperState::Unused, false) => Self::Starting,
            (KeeperState::Alive, false) => Self::Running,
            (KeeperState::Gone | KeeperState::Closed, false) => Self::Ended,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Ending => "ending",
            Self::Ended => "ended",
        }
    }
}

impl Here {
    /// The list in columns.
    pub(crate) fn table(&self) -> String {
        let mut table =
            Table::new(&["RUN", "GENERATION", "PROJECT", "THREAD", "SINCE", "STATE", "SESSION"]);
        for it in &self.runs {
            table.row([
                it.run.to_string(),
                format!("{}.{}", it.generation, it.attempt),
                it.project.to_string(),
                it.thread.to_string(),
                moment(it.since_ms),
                it.state.name().to_owned(),
                it.session.clone().unwrap_or_else(|| NONE.to_owned()),
            ]);
        }
        let drains =
            if self.draining { "\nIt takes no new work: drain --off ends that" } else { "" };
        format!("{table}{drains}")
    }
}

/// Looks at what is at work on this host.
///
/// # Errors
///
/// When the state directory cannot be read, or tmux cannot say.
pub(crate) async fn here(
    config: &Config,
    env: &BTreeMap<OsString, OsString>,
) -> anyhow::Result<Here> {
    let mut runs = Vec::new();
    if let Some(tmux) = tmux(config, env)? {
        let sessions = tmux.sessions().await?;
        let spools = spool::peek(&spools_in(&config.state_dir))?;
        runs.extend(
            spools
                .iter()
                .filter_map(|spool| at_work(spool).transpose())
                .collect::<Result<Vec<_>, _>>()?,
        );
        for held in Intents::new(&config.state_dir).all() {
            // What has its spool by now is there twice for a moment.
            if runs
                .iter()
                .all(|(other, _): &(Held, Standing)| other.record.owner != held.record.owner)
            {
                runs.push((held, Standing::Starting));
            }
        }
        runs.sort_by_key(|(held, _)| held.since_ms);
        let runs = runs.into_iter().map(|(held, state)| shown(&held, state, &sessions, &tmux));
        return Ok(listed(config, runs.collect()));
    }
    Ok(listed(config, Vec::new()))
}

fn listed(config: &Config, runs: Vec<AtWork>) -> Here {
    let draining = draining::is_on(&config.state_dir);
    Here { runner: config.name.clone(), draining, runs }
}

/// The tmux server of the state directory; `None`: no runner was ever at work in it.
fn tmux(config: &Config, env: &BTreeMap<OsString, OsString>) -> anyhow::Result<Option<Tmux>> {
    let (Some(id), _) = StateDir::peek(&config.state_dir)? else { return Ok(None) };
    let program = std::env::current_exe().context("cannot tell where this program is")?;
    Ok(Some(Tmux::new(tmux_socket(id), program, for_tmux(env))))
}

/// What a spool is of; `None`: it is being removed.
fn at_work(spool: &Spool) -> anyhow::Result<Option<(Held, Standing)>> {
    let Some(held) = spool.read_file(HELD)? else { return Ok(None) };
    let held: Held = serde_json::from_slice(&held)
        .with_context(|| format!("{} holds no claim", spool.dir().display()))?;
    let has_result = spool.read_file(RESULT)?.is_some();
    // It may have gone while it was looked at.
    let Ok(keeper) = spool.state() else { return Ok(None) };
    Ok(Some((held, Standing::of(keeper, has_result))))
}

fn shown(held: &Held, state: Standing, sessions: &[String], tmux: &Tmux) -> AtWork {
    let session = Some(session_name(held)).filter(|name| sessions.contains(name));
    AtWork {
        run: held.record.run.clone(),
        generation: held.record.generation.0,
        attempt: held.record.attempt.0,
        project: held.request.project.clone(),
        thread: held.request.thread,
        since_ms: held.since_ms,
        state,
        attach: session.as_deref().map(|name| tmux.attach_line(name)),
        session,
        owner: held.record.owner,
    }
}

/// Becomes a tmux that shows the newest run of a thread; returns only what kept it from that.
pub(crate) fn attach(
    here: &Here,
    config: &Config,
    env: &BTreeMap<OsString, OsString>,
    thread: ThreadId,
) -> anyhow::Error {
    let of_thread = || here.runs.iter().rev().filter(|it| it.thread == thread);
    let session = of_thread().find_map(|it| it.session.as_deref());
    match (session, tmux(config, env)) {
        (Some(session), Ok(Some(tmux))) => tmux.attach(session).into(),
        (_, Err(error)) => error,
        (_, Ok(_)) if of_thread().next().is_some() => {
            anyhow!(
                "the run of the thread {thread} has no tmux session (yet); `runner-svc list` says where it stands"
            )
        }
        (_, Ok(_)) => anyhow!(
            "nothing of the thread {thread} is at work on {}; `runner-svc list` shows what is",
            here.runner
        ),
    }
}

/// Prints what claude did in a run.
///
/// # Errors
///
/// When it is not at work here.
pub(crate) fn logs(here: &Here, config: &Config, run: &RunId, follow: bool) -> anyhow::Result<()> {
    let of_run = here.runs.iter().filter(|it| it.run == *run);
    let Some(newest) = of_run.max_by_key(|it| (it.generation, it.attempt)) else {
        bail!(
            "{run} is not at work on {}; what is over is told in its thread, and its journal is gone",
            here.runner
        );
    };
    let Some(spool) = Spool::open(&spools_in(&config.state_dir), &newest.owner.to_string()) else {
        bail!("{run} has not begun yet; `runner-svc list` says where it stands");
    };
    match watch::print(&spool, follow) {
        // Whoever read has enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => Ok(printed?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_stands_where_its_keeper_and_its_result_say() {
        for (keeper, has_result, name) in [
            (KeeperState::Unused, false, "starting"),
            (KeeperState::Alive, false, "running"),
            (KeeperState::Alive, true, "ending"),
            (KeeperState::Closed, true, "ending"),
            (KeeperState::Gone, false, "ended"),
        ] {
            let standing = Standing::of(keeper, has_result);
            assert_eq!(standing.name(), name);
            assert_eq!(serde_json::to_value(standing).unwrap(), name);
        }
    }
}
