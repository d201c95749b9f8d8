//! A worktree as one commit, and as a bundle that another host can take it from.
//!
//! Nothing of the repository is touched for it: files are added to a copy of the index, and what git
//! makes of them lies in a repository of its own beside the worktree, which only borrows from the
//! project's. So no ref, no object and no index of the project ever tells of it. The commit has a fixed
//! author and time: whoever takes the same files on the same commit has the same commit.
//!
//! What git ignores is left out, and so is a file that is a mere copy of the project's own.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemas::carried::CHANGES_MAX;
use schemas::ids::ThreadId;
use thiserror::Error;

use super::git::{Git, GitError, Link};
use super::place::{BRANCHES, Phase, Place, PlaceError};
use super::process::Env;
use super::{Held, Site, Worktrees};

/// How long a place that is at work is waited for: nobody but a person's git is, then.
pub(super) const LOCK_MAX: Duration = Duration::from_secs(60);

/// Who makes the commit, and when: always the same.
const AS: [(&str, &str); 6] = [
    ("GIT_AUTHOR_NAME", "Holdfast"),
    ("GIT_AUTHOR_EMAIL", "holdfast@localhost"),
    ("GIT_AUTHOR_DATE", "1970-01-01T00:00:00Z"),
    ("GIT_COMMITTER_NAME", "Holdfast"),
    ("GIT_COMMITTER_EMAIL", "holdfast@localhost"),
    ("GIT_COMMITTER_DATE", "1970-01-01T00:00:00Z"),
];

/// What the commit says.
const MESSAGE: &str = "What was not committed in the worktree of a conversation";
/// The name of the snapshot in its own repository.
const NAME: &str = "refs/heads/carried";

/// Why a worktree is not carried.
#[derive(Debug, Error)]
pub(crate) enum CarryError {
    /// The state directory is at fault, or what lies in it.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// git is.
    #[error(transparent)]
    Git(#[from] GitError),
}

/// A worktree that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// The commit that is checked out.
    pub(crate) head: String,
    /// The commit on top of it.
    pub(crate) snapshot: String,
    /// Where the bundle lies; `None`: all of it is committed elsewhere. It is there until the next
    /// worktree of the thread is taken.
    pub(crate) bundle: Option<PathBuf>,
}

/// What came of taking a worktree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Take {
    /// There is no worktree.
    Nothing,
    /// It is more than may travel: so many bytes.
    TooLarge(u64),
    /// It was taken.
    Taken(Taken),
}

impl Worktrees {
    /// Takes a thread's worktree as it is. Changes nothing in it, and nothing in its repository.
    ///
    /// # Errors
    ///
    /// [`CarryError`].
    pub(crate) async fn take(&self, site: Site<'_>, thread: ThreadId) -> Result<Take, CarryError> {
        let place = Place::new(&self.root, site.project, thread);
        let at = self.hold(site, &place, LOCK_MAX).await?;
        let Some((link, inside)) = at.worktree()? else { return Ok(Take::Nothing) };
        let Some(head) = at.git().commit(&place.path, "HEAD").await? else {
            return Ok(Take::Nothing);
        };
        let changes = at.sized_changes(&inside).await?;
        if CHANGES_MAX < changes.bytes {
            return Ok(Take::TooLarge(changes.bytes));
        }
        let aside = at.aside(&link).await?;
        let snapshot = at.snapshot(&aside.env, &head, &changes.copies).await?;
        let Some(bundle) = at.bundle(&aside, &head, &snapshot).await? else {
            return Ok(Take::Taken(Taken { head, snapshot, bundle: None }));
        };
        let bytes = fs::metadata(&bundle).map_err(PlaceError::disk(&bundle))?.len();
        if CHANGES_MAX < bytes {
            return Ok(Take::TooLarge(bytes));
        }
        Ok(Take::Taken(Taken { head, snapshot, bundle: Some(bundle) }))
    }

    /// Throws away what was made to take a worktree.
    pub(crate) fn took(&self, site: Site<'_>, thread: ThreadId) {
        let aside = Place::new(&self.root, site.project, thread).aside();
        if let Err(error) = gone(fs::remove_dir_all(&aside)) {
            tracing::debug!(%error, path = %aside.display(), "a folder stays");
        }
    }
}

/// What is not committed.
pub(super) struct Changed {
    /// How many files, mere copies left out.
    pub(super) files: usize,
    /// How large the files are.
    pub(super) bytes: u64,
    /// Those that are mere copies of the project's own.
    pub(super) copies: Vec<PathBuf>,
}

/// A repository of its own, for what is made of a worktree.
pub(super) struct Aside {
    dir: PathBuf,
    /// What git gets to add a worktree's files to it.
    pub(super) env: Env,
}

impl Held<'_> {
    /// The worktree that was given to the thread, if it is whole.
    pub(super) fn worktree(&self) -> Result<Option<(Link, String)>, PlaceError> {
        Ok(match self.place.phase()? {
            Some(Phase::Ready { inside }) => {
                Link::read(&self.place.path).map(|link| (link, inside))
            }
            Some(Phase::Made { .. } | Phase::Directory { .. }) | None => None,
        })
    }

    pub(super) async fn sized_changes(&self, inside: &str) -> Result<Changed, CarryError> {
        let records = self.git().changes(&self.place.path).await?;
        let mut changed = Changed { files: 0, bytes: 0, copies: Vec::new() };
        for record in records {
            let file = Path::new(OsStr::from_bytes(record.get(3..).unwrap_or_default()));
            if self.is_mere_copy(&record, inside) {
                changed.copies.push(file.to_owned());
                continue;
            }
            changed.files += 1;
            // What was deleted has no size.
            if let Ok(found) = fs::symlink_metadata(self.place.path.join(file)) {
                changed.bytes = changed.bytes.saturating_add(found.len());
            }
        }
        Ok(changed)
    }

    /// Makes a repository beside the worktree that borrows from the project's.
    pub(super) async fn aside(&self, link: &Link) -> Result<Aside, CarryError> {
        self.aside_at(link, self.place.aside()).await
    }

    /// The same, in this folder; what lay there goes.
    pub(super) async fn aside_at(&self, link: &Link, dir: PathBuf) -> Result<Aside, CarryError> {
        let git = self.git();
        let format = git.call(&self.place.path, "rev-parse --show-object-format", &[]).await?;
        let old = dir.clone();
        self.blocking(move |_| gone(fs::remove_dir_all(&old)).map_err(PlaceError::disk(&old)))
            .await?;
        let mut env = self.all.git_env.clone();
        env.insert("GIT_DEFAULT_HASH".into(), OsString::from_vec(format.trim_ascii_end().to_vec()));
        let at = Git { env: &env, lock: &self.lock };
        at.call(&self.place.path, "init --quiet --bare --template= --", &[dir.as_os_str()]).await?;
        let (link, to) = (link.clone(), dir.clone());
        self.blocking(move |_| borrow(&to, &link)).await?;
        env.insert("GIT_INDEX_FILE".into(), dir.join("index").into());
        env.insert("GIT_OBJECT_DIRECTORY".into(), dir.join("objects").into());
        Ok(Aside { dir, env })
    }

    /// The worktree as a commit on top of `head`. Where its objects and its index lie, `env` says.
    pub(super) async fn snapshot(
        &self,
        env: &Env,
        head: &str,
        copies: &[PathBuf],
    ) -> Result<String, GitError> {
        let mut env = env.clone();
        env.extend(AS.map(|(name, value)| (name.into(), value.into())));
        let git = Git { env: &env, lock: &self.lock };
        let path = &self.place.path;
        git.add_all(path, copies).await?;
        let tree = line(&git.call(path, "write-tree", &[]).await?);
        let more = [tree.as_str(), "-p", head, "-m", MESSAGE].map(OsStr::new);
        Ok(line(&git.call(path, "commit-tree", &more).await?))
    }

    /// Writes what of the snapshot is nowhere else into a bundle; `None`: all of it is.
    async fn bundle(
        &self,
        aside: &Aside,
        head: &str,
        snapshot: &str,
    ) -> Result<Option<PathBuf>, CarryError> {
        let path = &self.place.path;
        let git = Git { env: &aside.env, lock: &self.lock };
        let (own, bounds) = git.own_and_bounds(path, snapshot, self.site.directory).await?;
        let is_same = git.tree(path, head).await? == git.tree(path, snapshot).await?;
        if own <= 1 && is_same {
            return Ok(None);
        }
        let mut env = self.all.git_env.clone();
        env.insert("GIT_DIR".into(), aside.dir.clone().into());
        let git = Git { env: &env, lock: &self.lock };
        git.call(&aside.dir, "update-ref", &[NAME.as_ref(), snapshot.as_ref()]).await?;
        let bundle = aside.dir.join("bundle");
        let mut more = vec![bundle.as_os_str(), OsStr::new(NAME)];
        let bounds: Vec<String> = bounds.iter().map(|bound| format!("^{bound}")).collect();
        more.extend(bounds.iter().map(OsStr::new));
        // One thread makes the same file of the same commits.
        git.call(&aside.dir, "-c pack.threads=1 bundle create --quiet", &more).await?;
        Ok(Some(bundle))
    }
}

impl Git<'_> {
    /// Adds all that is not ignored to the index, apart from these files.
    pub(super) async fn add_all(&self, path: &Path, but: &[PathBuf]) -> Result<(), GitError> {
        // No hook of the project's runs, and an embedded repository is no reason to stop.
        let words = "-c core.hooksPath=/dev/null -c advice.addEmbeddedRepo=false add --all --";
        let but = but.iter().map(|file| except(file));
        let specs: Vec<OsString> = std::iter::once(":/".into()).chain(but).collect();
        // Alone it means all; an empty worktree has nothing that it could match.
        let specs: &[OsString] = if specs.len() == 1 { &[] } else { &specs };
        let more: Vec<&OsStr> = specs.iter().map(OsString::as_os_str).collect();
        self.call(path, words, &more).await.map(drop)
    }

    pub(super) async fn tree(&self, path: &Path, commit: &str) -> Result<String, GitError> {
        let tree = format!("{commit}^{{tree}}");
        Ok(line(&self.call(path, "rev-parse --verify --quiet", &[tree.as_ref()]).await?))
    }

    /// How many commits of a snapshot are nowhere but in worktrees of ours, and the commits that they
    /// stand on. Where the repository has remotes, what is there counts, for another clone of it has
    /// that; else what is in its branches.
    async fn own_and_bounds(
        &self,
        path: &Path,
        snapshot: &str,
        project: &Path,
    ) -> Result<(usize, Vec<String>), GitError> {
        let remotes = self.call(path, "for-each-ref --count=1 refs/remotes", &[]).await?;
        let ours = format!("--exclude={BRANCHES}*");
        let head = self.commit(project, "HEAD").await?;
        let mut more = vec![snapshot, "--not"];
        if remotes.is_empty() {
            more.extend([ours.as_str(), "--branches"]);
            more.extend(head.as_deref());
        } else {
            more.push("--remotes");
        }
        let more: Vec<&OsStr> = more.into_iter().map(OsStr::new).collect();
        let answer = self.call(path, "rev-list --boundary", &more).await?;
        let text = String::from_utf8_lossy(&answer);
        let (bounds, own): (Vec<&str>, Vec<&str>) =
            text.lines().partition(|line| line.starts_with('-'));
        let bounds = bounds.iter().map(|bound| bound.trim_start_matches('-').to_owned()).collect();
        Ok((own.len(), bounds))
    }
}

/// A pathspec that leaves one file out.
fn except(file: &Path) -> OsString {
    let mut spec = OsString::from(":(top,exclude,literal)");
    spec.push(file);
    spec
}

/// Makes a repository borrow from another one, and begin with a worktree's index.
fn borrow(dir: &Path, from: &Link) -> Result<(), PlaceError> {
    let objects = dir.join("objects");
    let mut alternates = from.common.join("objects").into_os_string();
    alternates.push("\n");
    let shallow = (from.common.join("shallow"), dir.join("shallow"));
    let write = || -> io::Result<()> {
        fs::create_dir_all(objects.join("info"))?;
        fs::write(objects.join("info/alternates"), alternates.as_bytes())?;
        gone(copy_index(from, &dir.join("index")))?;
        gone(fs::copy(&shallow.0, &shallow.1).map(drop))
    };
    write().map_err(PlaceError::disk(dir))
}

/// Copies a worktree's index, with its time: a file that is as old as the index is compared by what is in
/// it (`racy-git(7)`), and beside a younger index a change within the same second would not be seen.
pub(super) fn copy_index(from: &Link, to: &Path) -> io::Result<()> {
    let index = from.admin.join("index");
    let modified = fs::metadata(&index)?.modified()?;
    fs::copy(&index, to)?;
    fs::File::options().write(true).open(to)?.set_modified(modified)
}

/// A single line of git's.
pub(super) fn line(answer: &[u8]) -> String {
    String::from_utf8_lossy(answer).trim().to_owned()
}

fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
