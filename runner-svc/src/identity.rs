//! Whether this runner may have its name: one runner a name, one process a state directory.
//!
//! The lock of the state directory keeps two processes out of one directory. It says nothing of a
//! second host with the same name, nor of a copy of the directory; both would take the same work.
//! So the record of the name in `RUNS` holds the newest start of the one that has it, and the state
//! directory remembers its own starts. A start that finds another there which it never made is a
//! twin: it takes no work, looks into no spool, and says so. Neither clocks nor presence are asked,
//! so a twin stays one however long the other is away; a person decides, with `accept-name`.

use anyhow::bail;
use platform::nats::Link;
use schemas::identity::{Identity, Twin};
use schemas::ids::{InstanceId, StateId};

use crate::bus::{Bus, Cas};
use crate::config::Config;
use crate::state::StateDir;

/// How often the name is tried when somebody else writes at the same moment. A second try finds what
/// they wrote.
const TRIES_MAX: usize = 4;

/// What a start may do about a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is this start's already.
    Held,
    /// Free, or an earlier start's of this state directory: it may be taken.
    Free,
    /// Another's, of another state directory.
    Another,
    /// Another's, of a copy of this state directory; or this one is the copy.
    Copy,
}

/// Decides. `found` is what the record says, `starts` are those that the state directory remembers.
pub(crate) fn standing(
    found: Option<&Identity>,
    me: StateId,
    instance: InstanceId,
    starts: &[InstanceId],
) -> Standing {
    match found {
        None => Standing::Free,
        Some(found) if found.state_id != me => Standing::Another,
        Some(found) if found.instance == instance => Standing::Held,
        Some(found) if starts.contains(&found.instance) => Standing::Free,
        Some(_) => Standing::Copy,
    }
}

/// The name, as this start has it.
#[derive(Debug)]
pub(crate) struct Name {
    me: Identity,
    starts: Vec<InstanceId>,
}

impl Name {
    /// Takes the name for this start.
    ///
    /// # Errors
    ///
    /// When it is another's; when NATS or the disk fails.
    pub(crate) async fn take(bus: &Bus, state: &StateDir, config: &Config) -> anyhow::Result<Self> {
        let me = this_start(state.id, config);
        let (found, _) = bus.identity(&config.name).await?;
        let before = found.as_ref().map(|found| found.instance);
        // On disk first: what NATS will know, this directory knows.
        let starts = state.remember_start(me.instance, before)?;
        let name = Self { me, starts };
        name.hold(bus).await?;
        Ok(name)
    }

    /// Sees that the name is still this start's, and takes it again where NATS forgot.
    ///
    /// # Errors
    ///
    /// When it is another's; when NATS fails.
    pub(crate) async fn hold(&self, bus: &Bus) -> anyhow::Result<()> {
        for _ in 0..TRIES_MAX {
            let (found, revision) = bus.identity(&self.me.runner).await?;
            let standing =
                standing(found.as_ref(), self.me.state_id, self.me.instance, &self.starts);
            match (standing, found) {
                (Standing::Held, _) => return Ok(()),
                (Standing::Another | Standing::Copy, Some(holder)) => {
                    let twin = Twin { v: Twin::VERSION, refused: self.me.clone(), holder };
                    if let Err(error) = bus.tell_twin(&twin).await {
                        tracing::warn!(error = ?error, "the gateway was not told");
                    }
                    return Err(NotOurs(refusal(&twin)).into());
                }
                (Standing::Free | Standing::Another | Standing::Copy, _) => {
                    if let Cas::Won(_) = bus.take_name(&self.me, revision).await? {
                        return Ok(());
                    }
                }
            }
        }
        bail!("others take the name {} again and again", self.me.runner)
    }
}

/// The name is another's.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NotOurs(String);

/// Gives the name to this state directory, whoever had it.
///
/// # Errors
///
/// When NATS or the disk fails.
pub(crate) async fn accept(link: Link, state: &StateDir, config: &Config) -> anyhow::Result<()> {
    let bus = Bus::attach(link, config).await?;
    let me = this_start(state.id, config);
    state.remember_start(me.instance, None)?;
    for _ in 0..TRIES_MAX {
        let (_, revision) = bus.identity(&config.name).await?;
        if let Cas::Won(_) = bus.take_name(&me, revision).await? {
            return Ok(());
        }
    }
    bail!("others take the name {} again and again", config.name)
}

/// Whose the name is, for `doctor`.
///
/// # Errors
///
/// What to do, when it is not this state directory's.
pub(crate) async fn examine(link: Link, config: &Config) -> Result<String, String> {
    let chain = |error: anyhow::Error| format!("{error:#}");
    let bus = Bus::attach(link, config).await.map_err(chain)?;
    let (found, _) = bus.identity(&config.name).await.map_err(|e| chain(e.into()))?;
    let Some(holder) = found else { return Ok(format!("{} is free", config.name)) };
    let (id, starts) = StateDir::peek(&config.state_dir).map_err(|e| chain(e.into()))?;
    let mut me = this_start(id.unwrap_or_else(StateId::random), config);
    match standing(Some(&holder), me.state_id, me.instance, &starts) {
        Standing::Held | Standing::Free => Ok(format!("{} is this runner's", config.name)),
        Standing::Another | Standing::Copy => {
            me.runner = config.name.clone();
            Err(refusal(&Twin { v: Twin::VERSION, refused: me, holder }))
        }
    }
}

fn this_start(state_id: StateId, config: &Config) -> Identity {
    Identity {
        v: Identity::VERSION,
        runner: config.name.clone(),
        state_id,
        instance: InstanceId::random(),
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
    }
}

/// What the operator is told.
fn refusal(twin: &Twin) -> String {
    let Twin { refused, holder, .. } = twin;
    let what = if twin.is_copy() {
        "its state directory is a copy, or has one"
    } else {
        "it belongs to another state directory"
    };
    format!(
        "the runner {} exists twice: {what} (state {} on {}, and state {} here). Give this one a \
         name and a state_dir of its own; or, when the other is gone for good, run `runner-svc \
         accept-name`",
        refused.runner, holder.state_id, holder.host, refused.state_id
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(state_id: StateId, instance: InstanceId) -> Identity {
        let runner = "host-1".parse().unwrap();
        Identity { v: Identity::VERSION, runner, state_id, instance, host: "build-2".into() }
    }

    #[test]
    fn a_name_is_taken_by_its_own_state_directory_alone() {
        let (me, now, before) = (StateId::random(), InstanceId::random(), InstanceId::random());
        let at = |found: Option<Identity>| standing(found.as_ref(), me, now, &[before, now]);
        assert_eq!(at(None), Standing::Free);
        assert_eq!(at(Some(identity(me, now))), Standing::Held);
        assert_eq!(at(Some(identity(me, before))), Standing::Free, "a restart");
        assert_eq!(at(Some(identity(me, InstanceId::random()))), Standing::Copy);
        assert_eq!(at(Some(identity(StateId::random(), before))), Standing::Another);
    }
}
