//! Where a thread works: in a git worktree of its own, or in the project's directory itself.
//!
//! A worktree lies in the runner's state directory, `worktrees/<project>/<thread>`, on the branch
//! `holdfast/<thread>`, made from the project's HEAD when the thread first needs it. It is made on a
//! workbench beside, in steps each of which can be the last before a `kill -9`: `git worktree add
//! --no-checkout` → files → copies → mark → moved to its place → set-up command → mark, and only
//! then is it given to anybody. Whatever is found on the workbench is completed or thrown away; what
//! lies in its place is never overwritten. A thread stays where it began, whatever the configuration
//! says later.
//!
//! It never changes the project's own directory, index or HEAD: the branch and the worktree's entry
//! are all that the repository sees. It runs no hook of the project (`setup` is for that), and
//! deletes nothing that is not committed and in another branch or a remote.

mod carry;
mod diff;
mod fit;
mod git;
mod make;
mod place;
mod process;
mod put;
mod sweep;

use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use backon::ExponentialBuilder;
use schemas::ids::{ProjectName, ThreadId};
use thiserror::Error;
use tokio::sync::Mutex;

pub(crate) use carry::{CarryError, Take, Taken};
pub(crate) use diff::Diff;
pub(crate) use fit::{CopyPath, FitError};
pub(crate) use git::GitError;
use git::{Git, Link, Repo};
pub(crate) use place::PlaceError;
use place::{Lock, Phase, Place};
use process::Env;
pub(crate) use put::Put;
#[cfg(test)]
pub(crate) use sweep::{Stays, SweepError};

/// What a project says about where its threads work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// Whether each thread has a worktree.
    pub(crate) worktree: bool,
    /// Files that are copied from the project's directory into each new worktree.
    pub(crate) copy: Vec<CopyPath>,
    /// A command for `sh -c`, run once in each new worktree.
    pub(crate) setup: Option<String>,
}

/// A project on this host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Site<'a> {
    /// Its name.
    pub(crate) project: &'a ProjectName,
    /// Its directory.
    pub(crate) directory: &'a Path,
    /// What it says.
    pub(crate) options: &'a Options,
}

/// Where a thread works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Workplace {
    /// In a worktree of its own.
    Worktree {
        /// claude's directory: the worktree, or in it the folder that the project is in its
        /// repository.
        path: PathBuf,
        /// The branch that was checked out at first.
        branch: String,
    },
    /// In the project's directory itself: one run at a time.
    Directory {
        /// claude's directory.
        path: PathBuf,
        /// Why there is no worktree, until [`Worktrees::said`]. Goes on after "because".
        why: Option<String>,
    },
}

/// Why a thread has no place to work. What was made so far is kept, and the next try goes on.
#[derive(Debug, Error)]
pub(crate) enum PrepareError {
    /// The state directory is at fault, or what lies in it.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// git is.
    #[error("git made no worktree")]
    Git(#[from] GitError),
    /// A copy or the set-up command failed.
    #[error(transparent)]
    Fit(#[from] FitError),
    /// The thread's worktree is gone, and its project has changed.
    #[error("the worktree cannot be made again, because {0}")]
    Unfit(String),
    /// The thread's branch is in use elsewhere.
    #[error(
        "the branch {branch} is checked out in {}: switch that to another branch, or, if it is \
         gone, run `git worktree prune` there",
        path.display()
    )]
    BranchTaken {
        /// The branch.
        branch: String,
        /// Where it is.
        path: PathBuf,
    },
    /// Something else lies where the worktree is to be, or its repository is gone.
    #[error(
        "{} is no worktree of the project's repository (any more): `git worktree repair` it, or \
         move it away",
        .0.display()
    )]
    InTheWay(PathBuf),
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// Writing a worktree's files: minutes for the largest repositories on slow disks.
    fill: Duration,
    /// A set-up command: what fetches and builds dependencies takes minutes.
    set_up: Duration,
    /// Waiting for who is at work in the place: as long as that may rightly last.
    lock: Duration,
}

const BOUNDS: Bounds = Bounds {
    fill: Duration::from_mins(15),
    set_up: Duration::from_mins(15),
    lock: Duration::from_mins(31),
};

/// The first and the longest pause, and the number of tries, while another git holds a lock: about
/// 20 s. git holds such locks for milliseconds; what lasts longer was left by a crash.
const PAUSES: (Duration, Duration, usize) = (Duration::from_millis(50), Duration::from_secs(2), 14);

/// How often a registration of the same place is removed: git allows one, crashes can leave more.
const REGISTRATIONS_MAX: usize = 8;

/// The worktrees of this host.
#[derive(Debug)]
pub(crate) struct Worktrees {
    root: PathBuf,
    git_env: Env,
    set_up_env: Env,
    bounds: Bounds,
    /// Held while a repository learns of a worktree or forgets it, which takes milliseconds: git
    /// can trip over what another git has half written there.
    registering: Mutex<()>,
}

impl Worktrees {
    /// The worktrees in this state directory. git and set-up commands get a part of `env`.
    pub(crate) fn new(
        state_dir: &Path,
        env: &std::collections::BTreeMap<OsString, OsString>,
    ) -> Self {
        Self {
            root: state_dir.join("worktrees"),
            git_env: process::for_git(env),
            set_up_env: process::for_set_up(env),
            bounds: BOUNDS,
            registering: Mutex::new(()),
        }
    }

    /// Returns where a thread works, and makes that place first if it is not there. May take as long
    /// as a checkout and the set-up command; a call that is dropped leaves them to finish, and the
    /// next call goes on from there.
    ///
    /// # Errors
    ///
    /// [`PrepareError`]; never because git, a repository or a commit is missing when the thread
    /// begins.
    pub(crate) async fn prepare(
        &self,
        site: Site<'_>,
        thread: ThreadId,
    ) -> Result<Workplace, PrepareError> {
        let place = Place::new(&self.root, site.project, thread);
        if let Some(there) = settled(&place, site)? {
            place.touch()?;
            return Ok(there);
        }
        let held = self.hold(site, &place, self.bounds.lock).await?;
        if let Some(there) = settled(&place, site)? {
            place.touch()?;
            return Ok(there);
        }
        held.make().await
    }

    /// When a thread last came to its place; `None`: it has none.
    pub(crate) fn used(&self, project: &ProjectName, thread: ThreadId) -> Option<SystemTime> {
        Place::new(&self.root, project, thread).used()
    }

    /// Why new threads of a project work in its directory itself; `None`: each gets a worktree.
    /// Changes nothing. The sentence goes on after "because".
    ///
    /// # Errors
    ///
    /// What git says.
    pub(crate) async fn why_not(&self, directory: &Path) -> Result<Option<String>, PrepareError> {
        let lock = Lock::on_nothing().map_err(PlaceError::disk(Path::new("/dev/null")))?;
        let git = Git { env: &self.git_env, lock: &lock };
        match self.repo(git, directory).await? {
            Repo::Usable { .. } => Ok(None),
            Repo::Unfit(why) => Ok(Some(why)),
        }
    }

    /// What a project's directory is, for worktrees.
    async fn repo(&self, git: Git<'_>, directory: &Path) -> Result<Repo, PrepareError> {
        let real = fs::canonicalize(directory).map_err(PlaceError::disk(directory))?;
        let repo = git.probe(&real).await?;
        let Repo::Usable { .. } = repo else { return Ok(repo) };
        // Before the first worktree its folder is not there.
        let root = fs::canonicalize(&self.root).unwrap_or_else(|_| self.root.clone());
        let top = git.toplevel(&real).await?;
        if root.starts_with(&top) && !git.ignores(&top, &root).await? {
            let why = "the runner's state directory lies in it, where git would see the worktrees";
            return Ok(Repo::Unfit(why.to_owned()));
        }
        Ok(repo)
    }

    /// Remembers that the thread was told why it works in the project's directory.
    ///
    /// # Errors
    ///
    /// [`PlaceError`]; then it may be told again.
    pub(crate) fn said(&self, project: &ProjectName, thread: ThreadId) -> Result<(), PlaceError> {
        let place = Place::new(&self.root, project, thread);
        match place.phase()? {
            Some(Phase::Directory { why: Some(_) }) => place.mark(&Phase::Directory { why: None }),
            Some(Phase::Directory { why: None } | Phase::Made { .. } | Phase::Ready { .. })
            | None => Ok(()),
        }
    }
}

/// One thread's place, locked.
struct Held<'a> {
    all: &'a Worktrees,
    site: Site<'a>,
    place: &'a Place,
    lock: Arc<Lock>,
}

impl Worktrees {
    async fn hold<'a>(
        &'a self,
        site: Site<'a>,
        place: &'a Place,
        max: Duration,
    ) -> Result<Held<'a>, PlaceError> {
        let lock = Arc::new(place.lock(max).await?);
        Ok(Held { all: self, site, place, lock })
    }
}

impl Held<'_> {
    fn git(&self) -> Git<'_> {
        Git { env: &self.all.git_env, lock: &self.lock }
    }

    /// Does with the place what would hold up the runtime. The place stays locked until it is done,
    /// whether or not anybody waits for it.
    async fn blocking<T: Send + 'static, E: Send + 'static>(
        &self,
        work: impl FnOnce(&Place) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        let (place, lock) = (self.place.clone(), Arc::clone(&self.lock));
        let done = tokio::task::spawn_blocking(move || {
            let _held = lock;
            work(&place)
        });
        done.await.expect("the work does not panic, and nobody aborts it")
    }

    /// Makes a repository forget what it knows of this place.
    async fn unregister(&self, dir: &Path) -> Result<(), GitError> {
        for _ in 0..REGISTRATIONS_MAX {
            let known = self.git().known(dir).await?;
            let Some(ours) = known.iter().find(|known| self.is_ours(&known.path)) else { break };
            self.git().remove(dir, &ours.path).await?;
        }
        Ok(())
    }

    /// Whether a path that git names is our place or its bench. It need not be there.
    fn is_ours(&self, path: &Path) -> bool {
        [&self.place.path, &self.place.bench].into_iter().any(|ours| is_same(path, ours))
    }
}

/// Whether two paths lead to the same name in the same folder.
fn is_same(one: &Path, other: &Path) -> bool {
    let real =
        |path: &Path| Some((fs::canonicalize(path.parent()?).ok()?, path.file_name()?.to_owned()));
    one == other || real(one).is_some_and(|one| Some(one) == real(other))
}

/// Where the thread works, if that was settled before and still is so. Asks the disk alone.
fn settled(place: &Place, site: Site<'_>) -> Result<Option<Workplace>, PlaceError> {
    match place.phase()? {
        Some(Phase::Directory { why }) => {
            Ok(Some(Workplace::Directory { path: site.directory.to_owned(), why }))
        }
        Some(Phase::Ready { inside }) if Link::read(&place.path).is_some() => {
            Ok(Some(given(place, &inside)?))
        }
        Some(Phase::Ready { .. } | Phase::Made { .. }) | None => Ok(None),
    }
}

/// The finished worktree.
fn given(place: &Place, inside: &str) -> Result<Workplace, PlaceError> {
    let path = place.inside(inside);
    // A branch that began before the project, or claude, may not have the folder.
    DirBuilder::new().recursive(true).create(&path).map_err(PlaceError::disk(&path))?;
    Ok(Workplace::Worktree { path, branch: place.branch.clone() })
}

fn pauses() -> ExponentialBuilder {
    let (first, longest, tries) = PAUSES;
    ExponentialBuilder::new()
        .with_min_delay(first)
        .with_max_delay(longest)
        .with_max_times(tries)
        .with_jitter()
}

#[cfg(test)]
mod tests;
