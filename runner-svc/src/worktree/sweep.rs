//! Whether a thread's worktree may go, and how it goes.
//!
//! It stays as long as anything would be lost with it: a change that is not committed, a file that
//! git does not know, a commit that is in no other branch and no remote. Ignored files go. What is
//! not understood stays.
//!
//! It never removes a worktree whose thread is at work: the caller knows the threads, and asks only
//! for those that have no run.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use backon::Retryable as _;
use schemas::ids::{ProjectName, ThreadId};
use thiserror::Error;

use super::fit;
use super::git::{GitError, Link};
use super::place::{self, Phase, Place, PlaceError};
use super::{Held, PrepareError, Site, Worktrees, pauses};

/// How long a place that is at work is waited for: it can be swept another time.
const LOCK_MAX: Duration = Duration::from_secs(1);

/// What git leaves in a worktree's own folder while something goes on in it.
const UNDERWAY: [(&str, &str); 7] = [
    ("rebase-merge", "a rebase"),
    ("rebase-apply", "a rebase"),
    ("MERGE_HEAD", "a merge"),
    ("CHERRY_PICK_HEAD", "a cherry-pick"),
    ("REVERT_HEAD", "a revert"),
    ("sequencer", "a cherry-pick"),
    ("BISECT_LOG", "a bisect"),
];

/// Why a worktree stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stays {
    /// Files differ from what is committed, or are not known to git.
    Changes {
        /// One of them.
        first: PathBuf,
        /// How many.
        count: usize,
    },
    /// A file's changes are hidden from git (`--assume-unchanged`, `--skip-worktree`).
    Hidden(PathBuf),
    /// Commits are in no other branch and no remote.
    Commits(u32),
    /// Something goes on in it.
    Underway(&'static str),
    /// A submodule was fetched into it, and would go with all that is in it.
    Submodule,
    /// Somebody locked it (`git worktree lock`).
    Locked,
    /// It is no whole worktree.
    Damaged,
}

impl fmt::Display for Stays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changes { first, count } => {
                write!(f, "{count} uncommitted file(s), {} among them", first.display())
            }
            Self::Hidden(path) => write!(f, "{} is hidden from git", path.display()),
            Self::Commits(count) => write!(f, "{count} commit(s) in no other branch or remote"),
            Self::Underway(what) => write!(f, "{what} is not finished"),
            Self::Submodule => f.write_str("it has a submodule with files"),
            Self::Locked => f.write_str("it was locked by `git worktree lock`"),
            Self::Damaged => f.write_str("it is no whole worktree"),
        }
    }
}

/// Why nothing is known about a worktree, or it was not removed.
#[derive(Debug, Error)]
pub(crate) enum SweepError {
    /// The state directory is at fault, or what lies in it.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// git is.
    #[error("git says nothing about the worktree")]
    Git(#[from] GitError),
}

impl From<SweepError> for PrepareError {
    fn from(error: SweepError) -> Self {
        match error {
            SweepError::Place(error) => Self::Place(error),
            SweepError::Git(error) => Self::Git(error),
        }
    }
}

impl Worktrees {
    /// All threads that have a worktree here, or that were told they have none.
    ///
    /// # Errors
    ///
    /// [`PlaceError`].
    pub(crate) fn threads(&self) -> Result<Vec<(ProjectName, ThreadId)>, PlaceError> {
        place::all(&self.root)
    }

    /// Says why a thread's worktree must stay; `None`: it may go.
    ///
    /// # Errors
    ///
    /// [`SweepError`]: then it stays.
    #[cfg(test)]
    pub(crate) async fn removable(
        &self,
        site: Site<'_>,
        thread: ThreadId,
    ) -> Result<Option<Stays>, SweepError> {
        let place = Place::new(&self.root, site.project, thread);
        self.hold(site, &place, LOCK_MAX).await?.stays().await
    }

    /// Removes a thread's worktree, its branch and its mark, unless it must stay. A call that was
    /// cut is completed by the next one, or by [`Worktrees::prepare`] if the thread is back first.
    ///
    /// # Errors
    ///
    /// [`SweepError`].
    pub(crate) async fn remove(
        &self,
        site: Site<'_>,
        thread: ThreadId,
    ) -> Result<Option<Stays>, SweepError> {
        let place = Place::new(&self.root, site.project, thread);
        let held = self.hold(site, &place, LOCK_MAX).await?;
        if let Some(stays) = held.stays().await? {
            return Ok(Some(stays));
        }
        held.take_apart().await?;
        place.forget(&held.lock)?;
        Ok(None)
    }
}

impl Held<'_> {
    async fn stays(&self) -> Result<Option<Stays>, SweepError> {
        let (place, path) = (self.place, &self.place.path);
        let inside = match (place.phase()?, place.is_there()?) {
            (Some(Phase::Directory { .. }), _) => return Ok(None),
            (None, true) => return Ok(Some(Stays::Damaged)),
            (Some(Phase::Made { inside } | Phase::Ready { inside }), true) => inside,
            (Some(Phase::Made { .. } | Phase::Ready { .. }) | None, false) => {
                return self.commits(self.site.directory, Vec::new()).await;
            }
        };
        let Some(link) = Link::read(path) else { return Ok(Some(Stays::Damaged)) };
        if let Some(stays) = noted(&link) {
            return Ok(Some(stays));
        }
        if let Some(stays) = self.hidden().await? {
            return Ok(Some(stays));
        }
        if let Some(stays) = self.changes(&inside).await? {
            return Ok(Some(stays));
        }
        let head = self.git().commit(path, "HEAD").await?;
        self.commits(path, head.into_iter().collect()).await
    }

    /// What git does not look at: files that it was told to pass over, submodules.
    async fn hidden(&self) -> Result<Option<Stays>, SweepError> {
        let path = &self.place.path;
        for record in self.git().index(path).await? {
            let Some((tag, mode, file)) = parse_index(&record) else {
                return Ok(Some(Stays::Damaged));
            };
            if mode == b"160000" && path.join(file).join(".git").exists() {
                return Ok(Some(Stays::Submodule));
            }
            let is_passed_over = tag == b'S' || tag.is_ascii_lowercase();
            if is_passed_over && fs::symlink_metadata(path.join(file)).is_ok() {
                return Ok(Some(Stays::Hidden(file.to_owned())));
            }
        }
        Ok(None)
    }

    /// What is not committed. A copy that is the same as the project's own file is no work.
    async fn changes(&self, inside: &str) -> Result<Option<Stays>, SweepError> {
        let records = self.git().changes(&self.place.path).await?;
        let changed = records.iter().filter(|record| !self.is_mere_copy(record, inside));
        let files: Vec<&Path> = changed
            .map(|record| Path::new(OsStr::from_bytes(record.get(3..).unwrap_or(record))))
            .collect();
        let first = files.first().map(|first| first.to_path_buf());
        Ok(first.map(|first| Stays::Changes { first, count: files.len() }))
    }

    pub(super) fn is_mere_copy(&self, record: &[u8], inside: &str) -> bool {
        let Some(file) = record.strip_prefix(b"?? ") else { return false };
        let file = Path::new(OsStr::from_bytes(file));
        let to = self.place.inside(inside);
        self.site.options.copy.iter().any(|name| {
            Path::new(inside).join(name.path()) == file
                && fit::is_copy(self.site.directory, &to, name).unwrap_or(false)
        })
    }

    /// What is committed here alone.
    async fn commits(
        &self,
        dir: &Path,
        mut tips: Vec<String>,
    ) -> Result<Option<Stays>, SweepError> {
        let (git, branch) = (self.git(), &self.place.branch);
        match git.tip(dir, branch).await {
            Ok(tip) => tips.extend(tip),
            // A project that has no repository (any more) has no branch.
            Err(error) if error.is_no_repository() => {}
            Err(error) => return Err(error.into()),
        }
        if tips.is_empty() {
            return Ok(None);
        }
        let count = git.own_commits(dir, branch, &tips).await?;
        Ok((0 < count).then_some(Stays::Commits(count)))
    }

    /// Removes the worktree, and the branch if nothing is on it alone. Can be done again at any
    /// time.
    pub(super) async fn take_apart(&self) -> Result<(), SweepError> {
        let place = self.place;
        if let Some(Phase::Directory { .. }) = place.phase()? {
            return Ok(());
        }
        // The project's directory may lead to another repository by now.
        let link = Link::read(&place.path);
        let dir = link.map_or_else(|| self.site.directory.to_owned(), |link| link.common);
        self.blocking(Place::discard).await?;
        let forgets = || async {
            let _alone = self.all.registering.lock().await;
            self.forget_branch(&dir).await
        };
        match forgets.retry(pauses()).when(GitError::is_contention).await {
            Ok(()) => {}
            Err(error) if error.is_no_repository() => {}
            Err(error) => return Err(error.into()),
        }
        tracing::info!(path = %place.path.display(), branch = place.branch, "a worktree is removed");
        Ok(())
    }

    async fn forget_branch(&self, dir: &Path) -> Result<(), GitError> {
        self.unregister(dir).await?;
        let (git, branch) = (self.git(), &self.place.branch);
        let Some(tip) = git.tip(dir, branch).await? else { return Ok(()) };
        if 0 < git.own_commits(dir, branch, std::slice::from_ref(&tip)).await? {
            return Ok(());
        }
        git.delete(dir, branch, &tip).await
    }
}

/// What a look into the worktree's own folder tells.
fn noted(link: &Link) -> Option<Stays> {
    let has = |name: &str| link.admin.join(name).exists();
    if has("locked") {
        return Some(Stays::Locked);
    }
    if fs::read_dir(link.admin.join("modules")).is_ok_and(|mut all| all.next().is_some()) {
        return Some(Stays::Submodule);
    }
    let underway = UNDERWAY.iter().find(|(name, _)| has(name));
    underway.map(|(_, what)| Stays::Underway(what))
}

/// Tag, mode and path of a record of `ls-files -v -s`.
fn parse_index(record: &[u8]) -> Option<(u8, &[u8], &Path)> {
    let tab = record.iter().position(|byte| *byte == b'\t')?;
    let mut words = record[..tab].split(|byte| *byte == b' ');
    let &[tag] = words.next()? else { return None };
    let mode = words.next()?;
    Some((tag, mode, Path::new(OsStr::from_bytes(&record[tab + 1..]))))
}
