//! Makes a thread's worktree what it was at another host.
//!
//! Beside the worktree stands what is known of it ([`Known`]): that nobody was in it yet, or which
//! snapshot it was when a run ended here or when it was put. What has not changed since is only a copy
//! of what another host has gone on from, and is replaced; all else is kept first, as a commit under
//! `refs/holdfast/kept/<thread>/`, and named. A put that was cut is done again before anybody gets the
//! worktree.
//!
//! What was not committed is not committed afterwards, and what git did not know it does not know. It
//! never touches what git ignores, and never fetches from a remote.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder};
use std::path::{Path, PathBuf};

use schemas::carried::{CHANGES_MAX, Changes};
use schemas::ids::{ProjectName, ThreadId};

use super::carry::{CarryError, Changed, LOCK_MAX, Take, Taken, copy_index};
use super::git::Link;
use super::place::{Known, Place, PlaceError};
use super::{Held, Site, Worktrees};
use crate::crash;

/// Where what would be lost is kept.
const KEPT: &str = "refs/holdfast/kept";

/// What became of a put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    /// The worktree goes on from it already.
    There,
    /// It is now what it was elsewhere.
    Done,
    /// The same, and what was changed here beside it is kept under this name.
    Kept(String),
    /// It cannot be. Nothing was changed. The sentence goes on after "because".
    Missing(String),
}

impl Worktrees {
    /// Whether a thread's worktree goes on from other changes than these, as far as is known.
    ///
    /// # Errors
    ///
    /// [`PlaceError`].
    pub(crate) fn lacks(
        &self,
        project: &ProjectName,
        thread: ThreadId,
        changes: &Changes,
    ) -> Result<bool, PlaceError> {
        let known = Place::new(&self.root, project, thread).known()?;
        Ok(known != Some(Known::At { snapshot: changes.snapshot.clone() }))
    }

    /// Where a bundle for a thread's worktree is to be laid.
    pub(crate) fn bundle_of(&self, project: &ProjectName, thread: ThreadId) -> PathBuf {
        Place::new(&self.root, project, thread).bundle()
    }

    /// Remembers what a thread's worktree was when its changes were carried away.
    ///
    /// # Errors
    ///
    /// [`PlaceError`]; then the changes here are kept before they are replaced.
    pub(crate) fn is_at(
        &self,
        project: &ProjectName,
        thread: ThreadId,
        changes: &Changes,
    ) -> Result<(), PlaceError> {
        let known = Known::At { snapshot: changes.snapshot.clone() };
        Place::new(&self.root, project, thread).know(&known)
    }

    /// Somebody comes to a thread's worktree: it is no longer as it was made. What was cut while it was
    /// put, and cannot be put any more, gives way to what is committed there; it is nobody's.
    ///
    /// # Errors
    ///
    /// [`CarryError`]; then nobody may come.
    pub(crate) async fn is_entered(
        &self,
        site: Site<'_>,
        thread: ThreadId,
    ) -> Result<(), CarryError> {
        let place = Place::new(&self.root, site.project, thread);
        match place.known()? {
            Some(Known::Fresh) => Ok(place.forget_known()?),
            Some(Known::Putting) => {
                let held = self.hold(site, &place, LOCK_MAX).await?;
                held.give_up().await?;
                Ok(place.forget_known()?)
            }
            Some(Known::At { .. }) | None => Ok(()),
        }
    }

    /// Makes a worktree that nobody was in yet what another thread's is at this moment, whoever is at work
    /// there. One that somebody was in stays as it is.
    ///
    /// # Errors
    ///
    /// [`CarryError`]; the next call goes on.
    pub(crate) async fn begin_as(
        &self,
        site: Site<'_>,
        thread: ThreadId,
        of: ThreadId,
    ) -> Result<Put, CarryError> {
        match Place::new(&self.root, site.project, thread).known()? {
            Some(Known::Fresh | Known::Putting) => {}
            Some(Known::At { .. }) | None => return Ok(Put::There),
        }
        let taken = match self.take(site, of).await? {
            Take::Taken(taken) => taken,
            Take::Nothing => return Ok(Put::Missing("it has no worktree there".to_owned())),
            Take::TooLarge(bytes) => {
                return Ok(Put::Missing(format!("it is too large ({} MB)", bytes / 1_000_000)));
            }
        };
        let Taken { head, snapshot, bundle } = taken;
        let changes = Changes { head, snapshot, bundle: None };
        let put = self.put(site, thread, &changes, bundle.as_deref()).await;
        self.took(site, of);
        put
    }

    /// Makes a thread's worktree what it was elsewhere. Nobody may be at work in it.
    ///
    /// # Errors
    ///
    /// [`CarryError`]; the next call goes on.
    pub(crate) async fn put(
        &self,
        site: Site<'_>,
        thread: ThreadId,
        changes: &Changes,
        bundle: Option<&Path>,
    ) -> Result<Put, CarryError> {
        let place = Place::new(&self.root, site.project, thread);
        let held = self.hold(site, &place, LOCK_MAX).await?;
        let Some((link, inside)) = held.worktree()? else {
            let why = "claude works in the project's directory itself there";
            return Ok(Put::Missing(why.to_owned()));
        };
        let cwd = place.inside(&inside);
        let put = held.put(&link, &inside, changes, bundle).await?;
        // The other one may not have had the folder.
        DirBuilder::new().recursive(true).create(&cwd).map_err(PlaceError::disk(&cwd))?;
        Ok(put)
    }
}

impl Held<'_> {
    async fn put(
        &self,
        link: &Link,
        inside: &str,
        changes: &Changes,
        bundle: Option<&Path>,
    ) -> Result<Put, CarryError> {
        let (place, known) = (self.place, self.place.known()?);
        let at = Known::At { snapshot: changes.snapshot.clone() };
        if known.as_ref() == Some(&at) {
            return Ok(Put::There);
        }
        let Changed { files, bytes, copies } = self.sized_changes(inside).await?;
        if let Some(why) = self.lacks(changes, bundle).await? {
            // There is nothing to bring but another commit of the project's own.
            let is_as_good = bundle.is_none()
                && (known == Some(Known::Fresh) || files == 0 && self.has_no_commits().await?);
            return Ok(if is_as_good { Put::There } else { Put::Missing(why) });
        }
        let is_ours = matches!(known, Some(Known::Fresh | Known::Putting));
        if CHANGES_MAX < bytes && !is_ours {
            let why = "the worktree there has changes of its own, which are too large to be kept";
            return Ok(Put::Missing(why.to_owned()));
        }
        let kept = match known {
            Some(Known::Fresh) => self.keep_branch(changes).await?,
            Some(Known::Putting) => {
                unlock(link);
                None
            }
            Some(Known::At { snapshot: before }) => {
                let now = self.now(link, &copies).await?;
                if now.as_deref() == Some(&changes.snapshot) {
                    place.know(&at)?;
                    return Ok(Put::There);
                }
                let is_as_before = now.as_deref() == Some(&before);
                if is_as_before { None } else { self.keep(link, changes, &copies).await? }
            }
            None if self.now(link, &copies).await?.as_deref() == Some(&changes.snapshot) => {
                place.know(&at)?;
                return Ok(Put::There);
            }
            None => self.keep(link, changes, &copies).await?,
        };
        place.know(&Known::Putting)?;
        crash::point("carry.putting");
        let files = if bundle.is_some() { &changes.snapshot } else { &changes.head };
        self.replace(files, &changes.head, &copies).await?;
        crash::point("carry.put");
        place.know(&at)?;
        Ok(kept.map_or(Put::Done, Put::Kept))
    }

    /// What the worktree is now; `None`: nothing is checked out there.
    async fn now(&self, link: &Link, copies: &[PathBuf]) -> Result<Option<String>, CarryError> {
        let Some(head) = self.git().commit(&self.place.path, "HEAD").await? else {
            return Ok(None);
        };
        let aside = self.aside(link).await?;
        Ok(Some(self.snapshot(&aside.env, &head, copies).await?))
    }

    /// Makes what was put by half what is committed.
    async fn give_up(&self) -> Result<(), CarryError> {
        let Some((link, inside)) = self.worktree()? else { return Ok(()) };
        let Some(head) = self.git().commit(&self.place.path, "HEAD").await? else { return Ok(()) };
        unlock(&link);
        let copies = self.sized_changes(&inside).await?.copies;
        self.replace(&head, &head, &copies).await
    }

    /// Whether all that is committed here is in another branch or in a remote as well.
    async fn has_no_commits(&self) -> Result<bool, CarryError> {
        let (git, path) = (self.git(), &self.place.path);
        let Some(head) = git.commit(path, "HEAD").await? else { return Ok(true) };
        Ok(git.own_commits(path, &self.place.branch, &[head]).await? == 0)
    }

    /// Brings the commits into the repository. Returns what is missing.
    async fn lacks(
        &self,
        changes: &Changes,
        bundle: Option<&Path>,
    ) -> Result<Option<String>, CarryError> {
        let (git, path, head) = (self.git(), &self.place.path, &changes.head);
        if let Some(bundle) = bundle {
            let more = [bundle.as_os_str()];
            if let Err(error) = git.call(path, "bundle unbundle", &more).await {
                tracing::warn!(%error, "a bundle does not fit");
            }
            let base = git.commit(path, &format!("{}^", changes.snapshot)).await.ok().flatten();
            if base.as_ref() == Some(head) {
                return Ok(None);
            }
        } else if git.commit(path, head).await.ok().flatten().as_ref() == Some(head) {
            return Ok(None);
        }
        let commit = head.get(..12).unwrap_or(head);
        Ok(Some(format!("its repository lacks the commits that they stand on ({commit})")))
    }

    /// Keeps the commits of a branch that was there before its worktree was.
    async fn keep_branch(&self, changes: &Changes) -> Result<Option<String>, CarryError> {
        let (git, path, branch) = (self.git(), &self.place.path, &self.place.branch);
        let Some(tip) = git.tip(path, branch).await? else { return Ok(None) };
        if self.is_elsewhere(&tip, changes).await? {
            return Ok(None);
        }
        Ok(Some(self.keep_as(&tip).await?))
    }

    /// Keeps what is here and nowhere else.
    async fn keep(
        &self,
        link: &Link,
        changes: &Changes,
        copies: &[PathBuf],
    ) -> Result<Option<String>, CarryError> {
        let (git, path) = (self.git(), &self.place.path);
        let Some(head) = git.commit(path, "HEAD").await? else { return Ok(None) };
        // This time into the repository itself, with an index that knows of no other place.
        let index = self.place.aside().join("index");
        copy_index(link, &index).map_err(PlaceError::disk(&index))?;
        let mut env = self.all.git_env.clone();
        env.insert("GIT_INDEX_FILE".into(), index.into());
        let now = self.snapshot(&env, &head, copies).await?;
        let is_clean = git.tree(path, &now).await? == git.tree(path, &head).await?;
        if is_clean && self.is_elsewhere(&head, changes).await? {
            return Ok(None);
        }
        Ok(Some(self.keep_as(&now).await?))
    }

    /// Whether a commit is in what comes, in another branch or in a remote.
    async fn is_elsewhere(&self, commit: &str, changes: &Changes) -> Result<bool, CarryError> {
        let (git, path, branch) = (self.git(), &self.place.path, &self.place.branch);
        let more = [commit, changes.head.as_str()].map(OsStr::new);
        if git.call(path, "merge-base --is-ancestor", &more).await.is_ok() {
            return Ok(true);
        }
        Ok(git.own_commits(path, branch, &[commit.to_owned()]).await? == 0)
    }

    async fn keep_as(&self, commit: &str) -> Result<String, CarryError> {
        let short = commit.get(..12).unwrap_or(commit);
        let name = format!("{KEPT}/{}/{short}", self.place.thread());
        let more = [name.as_str(), commit].map(OsStr::new);
        self.git().call(&self.place.path, "update-ref", &more).await?;
        tracing::warn!(name, "what was changed here beside what comes is kept");
        Ok(name)
    }

    /// Replaces all files that git does not ignore, and leaves what is not in `head` uncommitted.
    async fn replace(&self, files: &str, head: &str, copies: &[PathBuf]) -> Result<(), CarryError> {
        let (git, path) = (self.git(), &self.place.path);
        let branch = format!("refs/heads/{}", self.place.branch);
        // What is not in the index would not be taken away.
        git.add_all(path, copies).await?;
        let words = "-c core.hooksPath=/dev/null read-tree --reset -u --no-recurse-submodules";
        git.call(path, words, &[files.as_ref()]).await?;
        let more = [branch.as_str(), head].map(OsStr::new);
        git.call(path, "update-ref", &more).await?;
        git.call(path, "symbolic-ref HEAD", &[branch.as_ref()]).await?;
        git.call(path, "-c core.hooksPath=/dev/null reset --quiet --mixed", &[]).await?;
        Ok(())
    }
}

/// Takes away the lock of a git that was killed: the place is locked, and nobody was let in.
fn unlock(link: &Link) {
    let _ = fs::remove_file(link.admin.join("index.lock"));
}
