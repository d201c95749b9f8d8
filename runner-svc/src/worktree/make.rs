//! Makes a thread's worktree, from whatever an earlier try left.
//!
//! The place is locked while this runs. Only under [`Phase::Making`] is anything overwritten or
//! removed; what lies in the way under any other mark, or under none, is left alone and named.

use std::fs::{self, DirBuilder};
use std::io;
use std::path::Path;
use std::sync::Arc;

use backon::Retryable as _;

use super::fit;
use super::git::{Git, GitError, Link, Repo};
use super::place::{Lock, Phase, Place, PlaceError};
use super::sweep::Sweeping;
use super::{PrepareError, Site, Workplace, Worktrees, blocking, clear, given, pauses};

/// How often a registration at the same path is removed: git allows one, a crash can leave two.
const REGISTRATIONS_MAX: usize = 4;

/// One thread's place, in our hands.
pub(super) struct Making<'a> {
    pub(super) all: &'a Worktrees,
    pub(super) site: Site<'a>,
    pub(super) place: &'a Place,
    pub(super) lock: Arc<Lock>,
}

impl Making<'_> {
    fn git(&self) -> Git<'_> {
        Git { env: &self.all.git_env, lock: &self.lock }
    }

    fn sweeping(&self) -> Sweeping<'_> {
        Sweeping { all: self.all, site: self.site, place: self.place, lock: Arc::clone(&self.lock) }
    }

    /// Goes on from wherever the place is.
    pub(super) async fn go(&self) -> Result<Workplace, PrepareError> {
        let place = self.place;
        let inside = match place.phase()? {
            None if self.is_taken()? => self.adopt().await?,
            None if !self.site.options.worktree => return self.in_directory(None),
            None => match self.repo().await? {
                Repo::Usable { head, inside } => self.make(&head, inside).await?,
                Repo::Unfit(why) => return self.in_directory(Some(why)),
            },
            Some(Phase::Ready { inside }) if place.is_there() => self.connect(inside).await?,
            // Nobody was ever in it, or it is gone: the configuration may change its mind.
            Some(Phase::Making | Phase::Made { .. } | Phase::Ready { .. })
                if !self.site.options.worktree =>
            {
                self.sweeping().take_apart().await?;
                return self.in_directory(None);
            }
            Some(Phase::Made { inside }) if place.is_there() => self.connect(inside).await?,
            Some(Phase::Making | Phase::Made { .. } | Phase::Ready { .. }) => {
                self.make_again().await?
            }
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
        let Repo::Usable { inside, .. } = self.repo().await? else { return Err(in_the_way()) };
        let inside = self.connect(inside).await?;
        let known = self.git().known(self.site.directory).await?;
        let is_known = known.iter().any(|known| self.is_ours(&known.path));
        if is_known { Ok(inside) } else { Err(in_the_way()) }
    }

    /// Sees that the worktree and its repository know of each other.
    async fn connect(&self, inside: String) -> Result<String, PrepareError> {
        let path = &self.place.path;
        if Link::read(path).is_none() {
            match self.git().repair(self.site.directory, path).await {
                Ok(()) | Err(GitError::Failed { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let is_whole = Link::read(path).is_some();
        if is_whole { Ok(inside) } else { Err(PrepareError::InTheWay(path.clone())) }
    }

    /// What the project's directory is, for worktrees.
    async fn repo(&self) -> Result<Repo, PrepareError> {
        let directory = self.site.directory;
        let real = fs::canonicalize(directory).map_err(PlaceError::disk(directory))?;
        let repo = self.git().probe(&real).await?;
        let Repo::Usable { .. } = repo else { return Ok(repo) };
        let root = &self.all.root;
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
            fit::settle(&place.path)?;
            Ok(fit::settle(&from)?)
        })
        .await
    }

    /// Ties the place to its branch, as often as another git is in the way.
    async fn register(&self, head: &str) -> Result<(), PrepareError> {
        let is_contention = |error: &PrepareError| match error {
            PrepareError::Git(error) => error.is_contention(),
            PrepareError::Place(_)
            | PrepareError::Fit(_)
            | PrepareError::Sweep(_)
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
        let is_whole =
            Link::read(&place.path).is_some_and(|link| !link.admin.join("locked").exists());
        if is_whole && ours.is_some_and(|ours| ours.branch.as_deref() == branch) {
            return Ok(());
        }
        clear(place, &self.lock).await?;
        for _ in 0..REGISTRATIONS_MAX {
            let known = git.known(dir).await?;
            let Some(ours) = known.iter().find(|known| self.is_ours(&known.path)) else { break };
            git.remove(dir, &ours.path).await?;
        }
        if let Some(taken) =
            known.iter().find(|it| !self.is_ours(&it.path) && it.branch.as_deref() == branch)
        {
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
