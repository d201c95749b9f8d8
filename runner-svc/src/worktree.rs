//! Where a thread works: in a git worktree of its own, or in the project's directory itself.
//!
//! A worktree lies in the runner's state directory, `worktrees/<project>/<thread>`, on the branch
//! `holdfast/<thread>`, made from the project's HEAD when the thread first needs it. It is made in
//! steps, each of which can be the last before a `kill -9`: mark → `git worktree add --no-checkout`
//! → files → copies → mark → set-up command → mark, and only then is it given to anybody. Until the
//! second mark it may be completed or thrown away; after it, nothing in it is ever overwritten. A
//! thread stays where it began, whatever the configuration says later.
//!
//! It never changes the project's own directory, index or HEAD: the branch and the worktree's entry
//! are all that the repository sees. It runs no hook of the project (`setup` is for that), and
//! deletes nothing that is not committed and in another branch or a remote.

mod fit;
mod git;
mod place;
mod process;
mod sweep;

use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use schemas::ids::{ProjectName, ThreadId};
use thiserror::Error;
use tokio::sync::Mutex;

pub(crate) use fit::{CopyPath, FitError};
pub(crate) use git::GitError;
use git::{Git, Link, Repo};
pub(crate) use place::PlaceError;
use place::{Lock, Phase, Place};
use process::Env;
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

impl Workplace {
    /// claude's directory.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Worktree { path, .. } | Self::Directory { path, .. } => path,
        }
    }
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
    Fit(FitError),
    /// The thread has its worktree, but its project has changed.
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
    /// Something else lies where the worktree is to be.
    #[error("{} is not this thread's worktree (any more); move it away", .0.display())]
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
const PAUSES: (Duration, Duration, usize) =
    (Duration::from_millis(50), Duration::from_secs(2), 14);

/// How often a registration at the same path is removed: git allows one, a crash can leave two.
const REGISTRATIONS_MAX: usize = 4;

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
    pub(crate) fn new(state_dir: &Path, env: &std::collections::BTreeMap<OsString, OsString>) -> Self {
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
            return Ok(there);
        }
        let lock = Arc::new(place.lock(self.bounds.lock).await?);
        if let Some(there) = settled(&place, site)? {
            return Ok(there);
        }
        Making { all: self, site, place: &place, lock }.go().await
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
            Some(Phase::Directory { why: None } | Phase::Making)
            | Some(Phase::Made { .. } | Phase::Ready { .. })
            | None => Ok(()),
        }
    }
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
        Some(Phase::Ready { .. } | Phase::Made { .. } | Phase::Making) | None => Ok(None),
    }
}

/// The finished worktree.
fn given(place: &Place, inside: &str) -> Result<Workplace, PlaceError> {
    let path = place.inside(inside);
    // A branch that began before the project, or claude, may not have the folder.
    DirBuilder::new().recursive(true).create(&path).map_err(PlaceError::disk(&path))?;
    Ok(Workplace::Worktree { path, branch: place.branch.clone() })
}

/// One thread's place, in our hands.
struct Making<'a> {
    all: &'a Worktrees,
    site: Site<'a>,
    place: &'a Place,
    lock: Arc<Lock>,
}

impl Making<'_> {
    fn git(&self) -> Git<'_> {
        Git { env: &self.all.git_env, lock: &self.lock }
    }

    async fn go(&self) -> Result<Workplace, PrepareError> {
        let place = self.place;
        let inside = match place.phase()? {
            None if self.is_taken()? => self.adopt().await?,
            None => match self.repo().await? {
                Repo::Usable { head, inside } => self.make(&head, inside).await?,
                Repo::Unfit(why) => return self.in_directory(Some(why)),
            },
            Some(Phase::Making) => self.make_again().await?,
            Some(Phase::Made { inside } | Phase::Ready { inside }) if place.is_there() => {
                self.connect().await?;
                inside
            }
            Some(Phase::Made { .. } | Phase::Ready { .. }) => self.make_again().await?,
            Some(Phase::Directory { why }) => return self.in_directory(why),
        };
        if let Some(command) = &self.site.options.setup
            && matches!(place.phase()?, Some(Phase::Made { .. }))
        {
            let (cwd, env) = (place.inside(&inside), &self.all.set_up_env);
            fit::set_up(command, place, &cwd, env, &self.lock, self.all.bounds.set_up).await?;
        }
        place.mark(&Phase::Ready { inside: inside.clone() })?;
        Ok(given(place, &inside)?)
    }

    fn in_directory(&self, why: Option<String>) -> Result<Workplace, PrepareError> {
        self.place.mark(&Phase::Directory { why: why.clone() })?;
        Ok(Workplace::Directory { path: self.site.directory.to_owned(), why })
    }

    /// Whether something lies there that no mark speaks of.
    fn is_taken(&self) -> Result<bool, PlaceError> {
        match fs::read_dir(&self.place.path) {
            Ok(mut entries) => Ok(entries.next().is_some()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(PlaceError::disk(&self.place.path)(error)),
        }
    }

    /// Takes a worktree whose mark was lost as it is: it may hold work.
    async fn adopt(&self) -> Result<String, PrepareError> {
        let in_the_way = || PrepareError::InTheWay(self.place.path.clone());
        self.connect().await?;
        let known = self.git().known(&self.place.path).await?;
        let ours = known.iter().any(|known| self.is_ours(&known.path));
        match self.repo().await? {
            Repo::Usable { inside, .. } if ours => Ok(inside),
            Repo::Usable { .. } | Repo::Unfit(_) => Err(in_the_way()),
        }
    }

    /// Sees that the worktree and its repository know of each other.
    async fn connect(&self) -> Result<(), PrepareError> {
        let path = &self.place.path;
        if Link::read(path).is_none() {
            match self.git().repair(self.site.directory, path).await {
                Ok(()) | Err(GitError::Failed { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let is_whole = Link::read(path).is_some();
        if is_whole { Ok(()) } else { Err(PrepareError::InTheWay(path.clone())) }
    }

    /// What the project's directory is, for worktrees.
    async fn repo(&self) -> Result<Repo, PrepareError> {
        let directory = self.site.directory;
        let real = fs::canonicalize(directory).map_err(PlaceError::disk(directory))?;
        if !self.site.options.worktree {
            return Ok(Repo::Unfit(String::new()));
        }
        let repo = self.git().probe(&real).await?;
        let Repo::Usable { .. } = repo else { return Ok(repo) };
        let root = &self.all.root;
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(root)
            .map_err(PlaceError::disk(root))?;
        let root = fs::canonicalize(root).map_err(PlaceError::disk(root))?;
        let top = self.git().toplevel(&real).await?;
        if root.starts_with(&top) && !self.git().ignores(&top, &root).await? {
            let why = "the runner's state directory lies in it, where git would see the worktrees";
            return Ok(Repo::Unfit(why.to_owned()));
        }
        Ok(repo)
    }

    async fn make_again(&self) -> Result<String, PrepareError> {
        match self.repo().await? {
            Repo::Usable { head, inside } => self.make(&head, inside).await,
            Repo::Unfit(why) => Err(PrepareError::Unfit(why)),
        }
    }

    /// Everything up to the set-up command. Whatever an earlier try left is used or cleared.
    async fn make(&self, head: &str, inside: String) -> Result<String, PrepareError> {
        let place = self.place;
        place.mark(&Phase::Making)?;
        place.forget_set_up()?;
        self.register(head).await?;
        if let Some(link) = Link::read(&place.path) {
            // Left by a git that was killed: none of ours is at work here, and nobody else knows
            // of the place yet.
            let _ = fs::remove_file(link.admin.join("index.lock"));
        }
        self.git().fill(&place.path, self.all.bounds.fill).await?;
        self.fit(&inside).await?;
        place.mark(&Phase::Made { inside: inside.clone() })?;
        tracing::info!(path = %place.path.display(), branch = place.branch, "a worktree is made");
        Ok(inside)
    }

    /// Copies, and sees that files and repository stand on the disk before the mark does.
    async fn fit(&self, inside: &str) -> Result<(), PrepareError> {
        let (place, lock) = (self.place.clone(), Arc::clone(&self.lock));
        let (from, names) = (self.site.directory.to_owned(), self.site.options.copy.clone());
        let to = place.inside(inside);
        blocking(move || {
            let _held = lock;
            DirBuilder::new().recursive(true).create(&to).map_err(PlaceError::disk(&to))?;
            fit::copy(&from, &to, &place.part(), &names)?;
            Ok(fit::settle(&place.path)?)
        })
        .await
    }

    /// Ties the place to its branch, as often as another git is in the way.
    async fn register(&self, head: &str) -> Result<(), PrepareError> {
        let is_contention = |error: &PrepareError| match error {
            PrepareError::Git(error) => error.is_contention(),
            PrepareError::Place(_)
            | PrepareError::Fit(_)
            | PrepareError::Unfit(_)
            | PrepareError::BranchTaken { .. }
            | PrepareError::InTheWay(_) => false,
        };
        let tries = || async {
            let _alone = self.all.registering.lock().await;
            self.register_once(head).await
        };
        tries.retry(pauses()).when(is_contention).await
    }

    async fn register_once(&self, head: &str) -> Result<(), PrepareError> {
        let (git, place, dir) = (self.git(), self.place, self.site.directory);
        let branch = Some(place.branch.as_str());
        let known = git.known(dir).await?;
        let ours = known.iter().find(|known| self.is_ours(&known.path));
        let is_whole = Link::read(&place.path)
            .is_some_and(|link| !link.admin.join("locked").exists());
        if is_whole && ours.is_some_and(|ours| ours.branch.as_deref() == branch) {
            return Ok(());
        }
        if place.is_there() {
            let (place, lock) = (place.clone(), Arc::clone(&self.lock));
            blocking(move || {
                let _held = lock;
                Ok(place.clear()?)
            })
            .await?;
        }
        for _ in 0..REGISTRATIONS_MAX {
            let known = git.known(dir).await?;
            let Some(ours) = known.iter().find(|known| self.is_ours(&known.path)) else { break };
            git.remove(dir, &ours.path).await?;
        }
        if let Some(taken) = known.iter().find(|it| !self.is_ours(&it.path) && it.branch.as_deref() == branch) {
            let (branch, path) = (place.branch.clone(), taken.path.clone());
            return Err(PrepareError::BranchTaken { branch, path });
        }
        let is_new = git.tip(dir, &place.branch).await?.is_none();
        let from = is_new.then_some(head);
        Ok(git.add(dir, &place.path, &place.branch, from).await?)
    }

    /// Whether a path that git names is our place's. It need not be there.
    fn is_ours(&self, path: &Path) -> bool {
        let real = |path: &Path| {
            let folder = fs::canonicalize(path.parent()?).ok()?;
            Some(folder.join(path.file_name()?))
        };
        path == self.place.path || real(path).is_some_and(|it| Some(it) == real(&self.place.path))
    }
}

fn pauses() -> ExponentialBuilder {
    let (first, longest, tries) = PAUSES;
    ExponentialBuilder::new()
        .with_min_delay(first)
        .with_max_delay(longest)
        .with_max_times(tries)
        .with_jitter()
}

/// Does what would hold up the runtime.
async fn blocking<T: Send + 'static, E: Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E> {
    let done = tokio::task::spawn_blocking(work).await;
    done.expect("the work does not panic, and nobody aborts it")
}

#[cfg(test)]
mod tests;
