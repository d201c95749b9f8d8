//! What every attempt on this host shares: its configuration, its id, and the ends of the streams.
//!
//! Made by `app` at the start, and anew, with the same [`Common`], when the configuration is read again: an
//! attempt keeps the one that it began with, and asks it for what depends on the host. It holds no run.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use platform::health::Readiness;
use schemas::ids::{OwnerToken, StateId};
use schemas::record::{Record, State};
use schemas::request::Request;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::attempt::Left;
use crate::bus::Bus;
use crate::candidates::{Candidates, Sight};
use crate::claims::{self, Claim, Toll};
use crate::command::transcript;
use crate::command::{Session, Settings, passed, spec};
use crate::config::Config;
use crate::directories::Directories;
use crate::files::{Files, Folder};
use crate::intent::Intents;
use crate::live::Live;
use crate::numbers::{Numbers, delivered};
use crate::policy::{self, Given};
use crate::sessions::Sessions;
use crate::spool::{Spec, Subscription, Watcher};
use crate::tmux::Tmux;
use crate::worktree::Worktrees;

/// How long a change in a spool that nobody told of can stay unseen.
const LOOK_ANYWAY: Duration = Duration::from_secs(2);

/// What an attempt on this host goes by.
#[derive(Debug)]
pub(crate) struct Host {
    /// The configuration.
    pub(crate) config: Config,
    /// NATS, with the consumers of the configuration's projects and its secrets.
    pub(crate) bus: Bus,
    /// What stays the same when the configuration is read again.
    pub(crate) common: Arc<Common>,
}

impl Deref for Host {
    type Target = Common;
    fn deref(&self) -> &Common {
        &self.common
    }
}

/// What every attempt on this host shares, whatever configuration it began with.
#[derive(Debug)]
pub(crate) struct Common {
    /// The id of the state directory.
    pub(crate) state_id: StateId,
    /// tmux, on a socket of its own.
    pub(crate) tmux: Tmux,
    /// Who tells of changes in spools.
    pub(crate) watcher: Watcher,
    /// Where the spools are.
    pub(crate) spools: PathBuf,
    /// The runner's own environment, of which claude gets a part.
    pub(crate) env: BTreeMap<OsString, OsString>,
    /// What was claimed and has no spool yet.
    pub(crate) intents: Intents,
    /// Where threads work that have a worktree of their own.
    pub(crate) worktrees: Worktrees,
    /// Where the files of questions and answers lie.
    pub(crate) files: Files,
    /// What is remembered of conversations' transcripts.
    pub(crate) sessions: Sessions,
    /// What is at work.
    pub(crate) live: Live,
    /// What others hold, and this runner may take over.
    pub(crate) candidates: Candidates,
    /// Where it is at work.
    pub(crate) directories: Directories,
    /// What is counted.
    pub(crate) numbers: Numbers,
    /// Where it is said what does not work.
    pub(crate) readiness: Readiness,
    /// The runner's slots.
    pub(crate) slots: Arc<Semaphore>,
    /// The places of runs that wait for a person without a slot.
    pub(crate) patience: Arc<Semaphore>,
    /// When the runner is to end.
    pub(crate) stop: CancellationToken,
}

impl Host {
    /// The record of a run that is claimed for this host.
    pub(crate) fn claimed(&self, request: &Request, toll: Toll, trace: Option<String>) -> Record {
        Record {
            v: Record::VERSION,
            run: request.run.clone(),
            generation: request.generation,
            attempt: toll.attempt,
            deaths: toll.deaths,
            runner: self.config.name.clone(),
            state_id: self.state_id,
            owner: OwnerToken::random(),
            session: request.session,
            state: State::Claimed,
            quiet_since_ms: None,
            since_ms: None,
            notice: None,
            narrowed: self.given(request).narrowed,
            asks: Vec::new(),
            asked: 0,
            applied: Vec::new(),
            steered: Vec::new(),
            whereabouts: None,
            remarks: Vec::new(),
            files: Vec::new(),
            withheld: Vec::new(),
            carried: None,
            trace,
        }
    }

    /// Where claude keeps its transcripts here.
    pub(crate) fn projects_dir(&self) -> Option<PathBuf> {
        let mut env = passed(&self.env);
        env.extend(self.config.claude.env.iter().map(|(name, value)| (name.into(), value.into())));
        transcript::projects_dir(&env)
    }

    /// What a run is allowed here. A project that is not served here gets nothing.
    pub(crate) fn given(&self, request: &Request) -> Given {
        let project = self.config.projects.get(&request.project);
        project.map(|project| policy::narrow(project, &request.rights)).unwrap_or_default()
    }

    /// What claude is started with for a run, there, as a part of that trace.
    pub(crate) fn spec(
        &self,
        request: &Request,
        session: Session,
        (cwd, trace): (PathBuf, Option<String>),
        folder: &Folder,
    ) -> Spec {
        let chosen = request.model.as_ref().map(ToString::to_string);
        let given = self.given(request);
        let settings = Settings {
            program: self.config.claude.program.clone().into(),
            model: chosen.or_else(|| self.config.claude.model.clone()),
            allow: given.allow,
            deny: given.deny,
            budget_micro: request.rights.budget.as_ref().map(|budget| budget.micro_usd),
            env: self.config.claude.env.clone(),
            cwd,
            files: folder.dir().to_owned(),
            outbox: folder.outbox(),
            run_max: self.config.run_max,
            trace,
            collector: self.config.telemetry.otlp_url.clone(),
            collector_ca: self.config.telemetry.otlp_ca.as_ref().map(|ca| ca.file.clone()),
            texts: self.config.telemetry.texts,
        };
        spec(&settings, session, &self.env)
    }

    /// What is to be done about a delivery, by its run's record at this revision, and whether that takes
    /// it from another. Work that was known already is counted.
    pub(crate) fn decide(
        &self,
        request: &Request,
        record: Option<&Record>,
        revision: Option<u64>,
        sight: Option<Sight>,
    ) -> (Claim, bool) {
        let silent = self.is_silent(sight, revision);
        let claim = claims::decide(request, record, self.state_id, silent);
        let it = delivered(request, record, claim, self.state_id, sight.is_some());
        if it.again {
            self.numbers.redelivered(&request.project);
        }
        (claim, it.taken_over)
    }

    /// Whether a record that another holds, at this revision, was seen unchanged for long enough.
    fn is_silent(&self, sight: Option<Sight>, revision: Option<u64>) -> bool {
        let (takeover, now) = (self.config.times.takeover, Instant::now());
        let silent = |(sight, revision): (Sight, u64)| sight.is_silent(revision, now, takeover);
        sight.zip(revision).is_some_and(silent)
    }

    /// Waits until something may have changed in a spool.
    pub(crate) async fn changed(&self, changes: &Subscription) -> Result<(), Left> {
        tokio::select! {
            () = self.stop.cancelled() => Err(Left::Stopping),
            () = changes.changed() => Ok(()),
            () = tokio::time::sleep(LOOK_ANYWAY) => Ok(()),
        }
    }

    /// Waits, unless the runner is to end.
    pub(crate) async fn pause(&self, pause: Duration) -> Result<(), Left> {
        let slept = self.stop.run_until_cancelled(tokio::time::sleep(pause)).await;
        slept.ok_or(Left::Stopping)
    }
}
