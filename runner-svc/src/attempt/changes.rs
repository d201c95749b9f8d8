//! What goes along with a conversation of a shared project beside its transcript: what was changed in
//! its worktree, as a bundle in FILES.
//!
//! It comes before claude starts and goes before the outcome is told, both bounded; what does not come
//! or go is said in the thread, and nothing waits for it for good. What a worktree here has beside it is
//! never lost (`worktree` sees to that).

use std::fs;

use schemas::carried::{About, Changes, File};
use schemas::ids::ThreadId;

use super::{Left, Refused, Result, Work};
use crate::bus::digest_of;
use crate::config::Project;
use crate::crash;
use crate::state;
use crate::worktree::{CarryError, Put, Site, Take, Taken};

impl Work {
    /// Makes the thread's worktree what it was when the conversation's last run ended.
    pub(super) async fn bring_changes(&mut self, project: &Project) -> Result<(), Refused> {
        if project.shared
            && let Some(carried) = self.held.request.carried.clone()
            && let Some(changes) = carried.changes
        {
            self.put_changes(project, &changes).await?;
        } else if let Some(of) = self.held.request.files_of {
            self.begin_as(project, of).await?;
        }
        let (name, thread) = (self.held.request.project.clone(), self.held.request.thread);
        let host = std::sync::Arc::clone(&self.host);
        let site = Site { project: &name, directory: &project.directory, options: &project.place };
        let entering = Box::pin(host.worktrees.is_entered(site, thread));
        self.meanwhile(entering).await?.map_err(|error| self.is_not_put(error))
    }

    async fn put_changes(&mut self, project: &Project, changes: &Changes) -> Result<(), Refused> {
        let (name, thread) = (self.held.request.project.clone(), self.held.request.thread);
        let host = std::sync::Arc::clone(&self.host);
        if !host.worktrees.lacks(&name, thread, changes).map_err(Refused::trouble)? {
            return Ok(());
        }
        let to = host.worktrees.bundle_of(&name, thread);
        let bundle = match &changes.bundle {
            Some(file) if self.fetch(file, &to).await? => Some(to.as_path()),
            Some(_) => {
                let why = "they were not found in FILES";
                return self.changes_are_missing(why).await;
            }
            None => None,
        };
        let site = Site { project: &name, directory: &project.directory, options: &project.place };
        let putting = Box::pin(host.worktrees.put(site, thread, changes, bundle));
        let put = self.meanwhile(putting).await?;
        let _ = fs::remove_file(&to);
        host.worktrees.took(site, thread);
        match put.map_err(|error| self.is_not_put(error))? {
            Put::There => {}
            Put::Done => tracing::info!(snapshot = changes.snapshot, "the changes came along"),
            Put::Kept(name) => {
                let runner = &self.host.config.name;
                let text = format!(
                    "{runner} had changes of its own here. They were put aside for those that came \
                     along, and are kept in its repository as `{name}`."
                );
                self.remark(About::Changes, &text).await?;
            }
            Put::Missing(why) => self.changes_are_missing(&why).await?,
        }
        Ok(())
    }

    /// Makes a worktree that nobody was in yet what another thread's is.
    async fn begin_as(&mut self, project: &Project, of: ThreadId) -> Result<(), Refused> {
        let (name, thread) = (self.held.request.project.clone(), self.held.request.thread);
        let host = std::sync::Arc::clone(&self.host);
        let site = Site { project: &name, directory: &project.directory, options: &project.place };
        let beginning = Box::pin(host.worktrees.begin_as(site, thread, of));
        let put = self.meanwhile(beginning).await?;
        match put.map_err(|error| self.is_not_put(error))? {
            Put::There => {}
            Put::Done | Put::Kept(_) => tracing::info!(%of, "begins with another thread's files"),
            Put::Missing(why) => {
                let runner = &self.host.config.name;
                let text = format!(
                    "What was changed in the thread that this one was forked from is not here on \
                     {runner}, because {why}. claude begins with the project's files."
                );
                self.remark(About::Changes, &text).await?;
            }
        }
        Ok(())
    }

    async fn changes_are_missing(&mut self, why: &str) -> Result<(), Refused> {
        let runner = &self.host.config.name;
        let text = format!(
            "What was changed in this conversation before did not come along to {runner}, because \
             {why}. claude goes on with the files that lie there."
        );
        self.remark(About::Changes, &text).await
    }

    /// The worktree is between two states: nobody may start in it.
    fn is_not_put(&self, error: CarryError) -> Refused {
        let error = anyhow::Error::new(error);
        // Whatever git says then, it is the disk's trouble: it is tried again when there is room.
        let dir = &self.host.config.state_dir;
        if tokio::task::block_in_place(|| state::probe(dir)).is_err() {
            return Refused::Left(Left::Trouble(error));
        }
        Refused::Never(format!(
            "the changes of this conversation cannot be put into its worktree on {}: {error:#}",
            self.host.config.name
        ))
    }

    /// Puts what was changed into FILES. `None`: there is no worktree, or it stays here.
    pub(super) async fn leave_changes(&mut self) -> Result<Option<Changes>> {
        let (name, thread) = (self.held.request.project.clone(), self.held.request.thread);
        let host = std::sync::Arc::clone(&self.host);
        let Some(project) = host.config.projects.get(&name).filter(|project| project.shared) else {
            return Ok(None);
        };
        let site = Site { project: &name, directory: &project.directory, options: &project.place };
        let taking = Box::pin(host.worktrees.take(site, thread));
        let left = match self.holding(taking).await? {
            Ok(Take::Nothing) => None,
            Ok(Take::TooLarge(bytes)) => {
                self.changes_stay(&format!("they are too large ({} MB)", bytes / 1_000_000));
                None
            }
            Ok(Take::Taken(taken)) => self.put_taken(taken).await?,
            Err(error) => {
                self.changes_stay(&format!("{:#}", anyhow::Error::new(error)));
                None
            }
        };
        host.worktrees.took(site, thread);
        Ok(left)
    }

    async fn put_taken(&mut self, taken: Taken) -> Result<Option<Changes>> {
        let Taken { head, snapshot, bundle } = taken;
        let Some(path) = bundle else { return Ok(Some(Changes { head, snapshot, bundle: None })) };
        let read = || {
            let bytes = fs::metadata(&path)?.len();
            std::io::Result::Ok(digest_of(&path, bytes)?.map(|digest| File { digest, bytes }))
        };
        let Ok(Some(file)) = tokio::task::block_in_place(read) else {
            self.changes_stay("their bundle cannot be read");
            return Ok(None);
        };
        if !self.put(&file, &path).await? {
            self.changes_stay("FILES does not take them");
            return Ok(None);
        }
        crash::point("finish.bundled");
        Ok(Some(Changes { head, snapshot, bundle: Some(file) }))
    }

    fn changes_stay(&mut self, why: &str) {
        let runner = &self.host.config.name;
        let text = format!(
            "What was changed in this conversation stays on {runner}: it was not put into FILES, \
             because {why}. On another runner, claude would not have it."
        );
        self.note_remark(About::ChangesStay, &text);
    }

    /// Remembers what the worktree is, now that the record names it.
    pub(super) fn left_changes(&self, changes: &Changes) {
        let request = &self.held.request;
        let is_at = || self.host.worktrees.is_at(&request.project, request.thread, changes);
        if let Err(error) = tokio::task::block_in_place(is_at) {
            tracing::warn!(%error, "it is not remembered what the worktree was");
        }
    }
}
