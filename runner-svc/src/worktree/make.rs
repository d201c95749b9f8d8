//! Makes a thread's worktree, from whatever an earlier try left.
//!
//! The place is locked while this runs. Nothing is overwritten or removed but on the workbench; what
//! lies in the way elsewhere is left alone and named.

use std::fs::{self, DirBuilder};

use backon::Retryable as _;

use super::fit;
use super::git::{GitError, Link, Repo};
use super::place::{Known, Phase, PlaceError};
use super::{Held, PrepareError, Workplace, given, is_same, pauses};

impl Held<'_> {
    /// Goes on from wherever the place is.
    pub(super) async fn make(&self) -> Result<Workplace, PrepareError> {
        let (phase, is_there) = (self.place.phase()?, self.place.is_there()?);
        let wants = self.site.options.worktree;
        match phase {
            Some(Phase::Ready { inside }) if is_there => {
                self.connect().await?;
                Ok(given(self.place, &inside)?)
            }
            Some(Phase::Directory { why }) => self.in_directory(why),
            None if is_there => self.adopt().await,
            // Nobody was ever in it, or it is gone: the configuration may change its mind.
            Some(Phase::Made { .. } | Phase::Ready { .. }) | None if !wants => {
                if phase.is_some() || self.place.bench.exists() {
                    self.take_apart().await?;
                }
                self.in_directory(None)
            }
            Some(Phase::Made { inside }) if is_there => self.finish(inside).await,
            Some(Phase::Made { .. } | Phase::Ready { .. }) => match self.repo().await? {
                Repo::Usable { head, inside } => self.build(&head, inside).await,
                Repo::Unfit(why) => Err(PrepareError::Unfit(why)),
            },
            None => match self.repo().await? {
                Repo::Usable { head, inside } => self.build(&head, inside).await,
                Repo::Unfit(why) => self.in_directory(Some(why)),
            },
        }
    }

    fn in_directory(&self, why: Option<String>) -> Result<Workplace, PrepareError> {
        self.place.mark(&Phase::Directory { why: why.clone() })?;
        Ok(Workplace::Directory { path: self.site.directory.to_owned(), why })
    }

    /// Takes a worktree whose mark was lost as it is: it may hold work.
    async fn adopt(&self) -> Result<Workplace, PrepareError> {
        let in_the_way = || PrepareError::InTheWay(self.place.path.clone());
        let Repo::Usable { inside, .. } = self.repo().await? else { return Err(in_the_way()) };
        self.connect().await?;
        let known = self.git().known(self.site.directory).await?;
        if !known.iter().any(|known| self.is_ours(&known.path)) {
            return Err(in_the_way());
        }
        self.place.mark(&Phase::Ready { inside: inside.clone() })?;
        Ok(given(self.place, &inside)?)
    }

    /// Sees that the worktree and its repository know of each other.
    async fn connect(&self) -> Result<(), PrepareError> {
        let path = &self.place.path;
        if Link::read(path).is_none() {
            let repairs = || async {
                let _alone = self.all.registering.lock().await;
                self.git().repair(self.site.directory, path).await
            };
            match repairs.retry(pauses()).when(GitError::is_contention).await {
                Ok(()) => {}
                // It repaired what it could, and had something to say about another one.
                Err(error @ GitError::Failed { .. }) if !error.is_contention() => {}
                Err(error) => return Err(error.into()),
            }
        }
        let is_whole = Link::read(path).is_some();
        if is_whole { Ok(()) } else { Err(PrepareError::InTheWay(path.clone())) }
    }

    /// What the project's directory is, for worktrees.
    async fn repo(&self) -> Result<Repo, PrepareError> {
        self.all.repo(self.git(), self.site.directory).await
    }

    /// Everything. Whatever an earlier try left on the bench is used or cleared.
    async fn build(&self, head: &str, inside: String) -> Result<Workplace, PrepareError> {
        let place = self.place;
        place.forget_set_up()?;
        self.register(head).await?;
        if let Some(link) = Link::read(&place.bench) {
            // Left by a git that was killed: none of ours is at work here, and nobody else knows
            // of the bench.
            let _ = fs::remove_file(link.admin.join("index.lock"));
        }
        self.git().fill(&place.bench, self.all.bounds.fill).await?;
        self.fit(&inside).await?;
        place.mark(&Phase::Made { inside: inside.clone() })?;
        place.put()?;
        self.finish(inside).await
    }

    /// All that is to be done in its place.
    async fn finish(&self, inside: String) -> Result<Workplace, PrepareError> {
        let place = self.place;
        self.connect().await?;
        if let Some(command) = &self.site.options.setup {
            let (cwd, env) = (place.inside(&inside), &self.all.set_up_env);
            fit::set_up(command, place, &cwd, env, &self.lock, self.all.bounds.set_up).await?;
        }
        place.know(&Known::Fresh)?;
        place.mark(&Phase::Ready { inside: inside.clone() })?;
        tracing::info!(path = %place.path.display(), branch = place.branch, "a worktree is made");
        Ok(given(place, &inside)?)
    }

    /// Copies, and sees that files and repository stand on the disk before a mark says so.
    async fn fit(&self, inside: &str) -> Result<(), PrepareError> {
        let (from, names) = (self.site.directory.to_owned(), self.site.options.copy.clone());
        let inside = inside.to_owned();
        self.blocking(move |place| {
            let to = place.bench.join(inside);
            DirBuilder::new().recursive(true).create(&to).map_err(PlaceError::disk(&to))?;
            fit::copy(&from, &to, &place.part(), &names)?;
            fit::settle(&place.bench)?;
            Ok(fit::settle(&from)?)
        })
        .await
    }

    /// Ties the bench to the thread's branch, as often as another git is in the way.
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
        let on_branch = git.known(dir).await?;
        let mut on_branch = on_branch.iter().filter(|it| it.branch.as_ref() == Some(&place.branch));
        let is_whole =
            Link::read(&place.bench).is_some_and(|link| !link.admin.join("locked").exists());
        if is_whole && on_branch.clone().any(|known| is_same(&known.path, &place.bench)) {
            return Ok(());
        }
        if let Some(taken) = on_branch.find(|known| !self.is_ours(&known.path)) {
            let (branch, path) = (place.branch.clone(), taken.path.clone());
            return Err(PrepareError::BranchTaken { branch, path });
        }
        self.blocking(super::place::Place::clear_bench).await?;
        self.unregister(dir).await?;
        let is_new = git.tip(dir, &place.branch).await?.is_none();
        let from = is_new.then_some(head);
        Ok(git.add(dir, &place.bench, &place.branch, from).await?)
    }
}
