//! Where an attempt works, before there is a claude: the thread's place is made or found, and waited
//! for if another run is at work in it.
//!
//! Both can take long. Meanwhile the work is kept from being delivered again, a stop ends the run,
//! and shutdown leaves it; what git or a set-up command began goes on and is used by the next try.
//!
//! It starts no claude and decides nothing about worktrees.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use platform::clock::now_ms;
use schemas::record::{NOTICE_MAX, Record};
use tokio::time::{Instant, sleep_until, timeout};

use super::ask::{hints, stopped_by};
use super::{Left, Refused, Work};
use crate::config::Project;
use crate::state;
use crate::verdict;
use crate::worktree::{Site, Workplace};

impl Work {
    /// The project, if this host has it.
    pub(super) fn project(&self) -> Result<&Project, Refused> {
        let name = &self.held.request.project;
        let runner = &self.host.config.name;
        let Some(project) = self.host.config.projects.get(name) else {
            return Err(Refused::Never(format!(
                "the runner {runner} does not serve **{name}** (any more)."
            )));
        };
        if !project.directory.is_dir() {
            return Err(Refused::Never(format!(
                "the directory of **{name}** is gone on {runner}: `{}`.",
                project.directory.display()
            )));
        }
        Ok(project)
    }

    /// Where claude works, with nobody else at work there.
    pub(super) async fn place(&mut self, project: &Project) -> Result<PathBuf, Refused> {
        let path = match self.prepare(project).await? {
            Workplace::Worktree { path, branch } => {
                tracing::info!(branch, "works in a worktree");
                path
            }
            Workplace::Directory { path, why } => {
                if let Some(why) = why {
                    self.notice(&why).await?;
                }
                path
            }
        };
        let (host, seat) = (Arc::clone(&self.host), self.seat.clone());
        let since_ms = now_ms();
        self.meanwhile(seat.move_to(&host.directories, &path)).await?;
        // Another's work is not counted as this run's.
        self.held.since_ms += now_ms() - since_ms;
        Ok(path)
    }

    async fn prepare(&mut self, project: &Project) -> Result<Workplace, Refused> {
        let (host, request) = (Arc::clone(&self.host), self.held.request.clone());
        let name = &request.project;
        let site = Site { project: name, directory: &project.directory, options: &project.place };
        let preparing = host.worktrees.prepare(site, request.thread);
        let Ok(prepared) = self.meanwhile(timeout(self.left(), preparing)).await? else {
            return Err(Refused::Over(verdict::too_long(host.config.run_max)));
        };
        prepared.map_err(|error| {
            let error = anyhow::Error::new(error);
            // Whatever git says then, it is the disk's trouble: it is tried again when there is room.
            if tokio::task::block_in_place(|| state::probe(&host.config.state_dir)).is_err() {
                return Refused::Left(Left::Trouble(error));
            }
            let why = format!("{error:#}");
            Refused::Never(format!("there is no worktree on {}: {why}", host.config.name))
        })
    }

    /// How long the run may still take.
    fn left(&self) -> Duration {
        let taken_ms = now_ms().saturating_sub(self.held.since_ms);
        let taken = Duration::from_millis(u64::try_from(taken_ms).unwrap_or_default());
        self.host.config.run_max.saturating_sub(taken)
    }

    /// Writes into the record why there is no worktree; it stays there until the end.
    async fn notice(&mut self, why: &str) -> Result<(), Refused> {
        let mut notice = format!(
            "claude works in the project's directory itself, where one run is at work at a time: \
             there are no worktrees, because {why}."
        );
        notice.truncate(notice.floor_char_boundary(NOTICE_MAX));
        tracing::warn!(why, "works in the project's directory itself");
        if self.held.record.notice.as_ref() == Some(&notice) {
            return Ok(());
        }
        let record = Record { notice: Some(notice), ..self.held.record.clone() };
        self.write(&record).await?;
        self.held.record = record;
        Ok(())
    }

    /// Remembers that the thread was told where claude works: the terminal record says it. Before,
    /// each run says it again, and the gateway tells it once.
    pub(super) fn noticed(&self) {
        let request = &self.held.request;
        if self.held.record.notice.is_some()
            && let Err(error) = self.host.worktrees.said(&request.project, request.thread)
        {
            tracing::warn!(%error, "it will be said again where claude works");
        }
    }

    /// Waits for something that comes before claude's start, unless the run is stopped.
    pub(super) async fn meanwhile<T>(
        &mut self,
        thing: impl Future<Output = T>,
    ) -> Result<T, Refused> {
        // Boxed: it is large, and every attempt would carry it.
        let mut thing = Box::pin(thing);
        let key = self.held.key();
        let mut hints = tokio::select! {
            biased;
            // Most of the time there is nothing to wait for.
            done = &mut thing => return Ok(done),
            hints = hints(&self.host, &key) => hints?,
        };
        let mut renew_at = Instant::now();
        loop {
            let look = tokio::select! {
                () = self.host.stop.cancelled() => return Err(Left::Stopping.into()),
                done = &mut thing => return Ok(done),
                () = hints.next() => true,
                Some(delivery) = self.again.recv() => {
                    self.delivery = Some(delivery);
                    false
                }
                () = sleep_until(renew_at) => {
                    renew_at = Instant::now() + self.host.config.times.renew;
                    self.go_on_holding().await?;
                    true
                }
            };
            if look && let Some(by) = stopped_by(&self.host, &self.held).await? {
                return Err(Refused::Over(verdict::stopped(by)));
            }
        }
    }
}
