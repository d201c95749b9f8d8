//! Where a thread's worktree lies, the mark beside it that says how far it is, and its lock.
//!
//! | in `worktrees/` | what |
//! |---|---|
//! | `<project>/<thread>/` | the worktree |
//! | `<project>/<thread>.json` | the [`Phase`], replaced whole and fsynced; beside the worktree, so that git never sees it |
//! | `<project>/<thread>.lock` | held while anything is made or removed, also by the processes that do it |
//! | `<project>/<thread>.log` | what the set-up command printed |
//! | `<project>/<thread>.done` | the set-up command ended well: written by the shell that ran it |
//! | `<project>/<thread>.part` | a file that is being copied |
//! | `<project>/<thread>.known` | what is [`Known`] of it, as the mark |
//! | `<project>/<thread>.aside/`, `….look/` | a repository in which it is made a commit, to be carried or to be looked at; nothing that lasts |
//! | `<project>/<thread>.bundle` | what came from another host and is about to be put |
//! | `<project>.new/<thread>/` | the workbench: a worktree that is being made or removed, and the one place where anything is overwritten or deleted |
//!
//! It never looks into a worktree.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use platform::clock::now_ms;
use schemas::ids::{ProjectName, ThreadId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::time::{Instant, sleep};

use crate::keeper::record::sync_dir;

/// How often a lock that is held is asked for again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What a worktree's branch is called, before the thread's id.
pub(super) const BRANCHES: &str = "holdfast/";

/// How far a thread's place is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "phase")]
pub(super) enum Phase {
    /// Everything but the set-up command is done. It was never given to anybody.
    Made {
        /// The project's directory, seen from the root of its repository.
        inside: String,
    },
    /// It was given to its thread.
    Ready {
        /// As above.
        inside: String,
    },
    /// The thread works in the project's own directory, for good.
    Directory {
        /// Why, until it was said.
        why: Option<String>,
    },
}

/// What is known of a worktree, for what comes to it from another host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub(super) enum Known {
    /// It is as it was made; nobody was in it.
    Fresh,
    /// It is being made what it was elsewhere. Nobody was let in.
    Putting,
    /// It was this snapshot when its changes were carried away, or when they were put.
    At {
        /// The commit.
        snapshot: String,
    },
}

/// Why a place cannot be used.
#[derive(Debug, Error)]
pub(crate) enum PlaceError {
    /// The disk or the permissions are at fault.
    #[error("cannot use {}", path.display())]
    Disk {
        /// What was read, made or removed.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Its mark was changed by somebody.
    #[error("{} says nothing about a worktree", path.display())]
    BadMark {
        /// The mark.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// Somebody else has been at work there for too long.
    #[error("a git or a set-up command of an earlier try is still at work in {}", path.display())]
    Busy {
        /// The worktree.
        path: PathBuf,
    },
}

impl PlaceError {
    pub(super) fn disk(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Disk { path: path.to_owned(), source }
    }
}

/// The place of one thread.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The worktree.
    pub(super) path: PathBuf,
    /// Where it is made and removed: as deep in the same file system, by the same name.
    pub(super) bench: PathBuf,
    /// Its branch.
    pub(super) branch: String,
    folder: PathBuf,
    thread: ThreadId,
}

impl Place {
    pub(super) fn new(root: &Path, project: &ProjectName, thread: ThreadId) -> Self {
        let folder = root.join(project.as_str());
        let path = folder.join(thread.to_string());
        let bench = root.join(format!("{project}.new")).join(thread.to_string());
        Place { path, bench, branch: format!("{BRANCHES}{thread}"), folder, thread }
    }

    fn beside(&self, extension: &str) -> PathBuf {
        self.folder.join(format!("{}.{extension}", self.thread))
    }

    /// What the set-up command printed.
    pub(super) fn log(&self) -> PathBuf {
        self.beside("log")
    }

    /// The mark of a set-up command that ended well.
    pub(super) fn done(&self) -> PathBuf {
        self.beside("done")
    }

    /// A file that is being copied.
    pub(super) fn part(&self) -> PathBuf {
        self.beside("part")
    }

    /// Where the thread works in the worktree.
    pub(super) fn inside(&self, inside: &str) -> PathBuf {
        if inside.is_empty() { self.path.clone() } else { self.path.join(inside) }
    }

    /// How far it is; `None`: nobody asked for it yet.
    pub(super) fn phase(&self) -> Result<Option<Phase>, PlaceError> {
        read_mark(self.beside("json"))
    }

    /// What is known of the worktree; `None`: nothing.
    pub(super) fn known(&self) -> Result<Option<Known>, PlaceError> {
        read_mark(self.beside("known"))
    }

    /// Says what is known of the worktree. It stands on the disk when this returns.
    pub(super) fn know(&self, known: &Known) -> Result<(), PlaceError> {
        self.write_mark("known", &serde_json::to_vec(known).expect("text only"))
    }

    /// Nothing is known any more.
    pub(super) fn forget_known(&self) -> Result<(), PlaceError> {
        let path = self.beside("known");
        let forget = || gone(fs::remove_file(&path)).and_then(|()| sync_dir(&self.folder));
        forget().map_err(PlaceError::disk(&path))
    }

    /// Where the worktree is made a commit.
    pub(super) fn aside(&self) -> PathBuf {
        self.beside("aside")
    }

    /// Where it is made one while somebody only looks.
    pub(super) fn look(&self) -> PathBuf {
        self.beside("look")
    }

    /// Where a bundle lies that is about to be put.
    pub(super) fn bundle(&self) -> PathBuf {
        self.beside("bundle")
    }

    /// The thread.
    pub(super) fn thread(&self) -> ThreadId {
        self.thread
    }

    /// Notes that the place is used now: by its mark's time. Without a mark there is nothing to note.
    pub(super) fn touch(&self) -> Result<(), PlaceError> {
        let path = self.beside("json");
        let now = UNIX_EPOCH + Duration::from_millis(now_ms().unsigned_abs());
        let touched = File::open(&path).and_then(|mark| mark.set_modified(now));
        gone(touched).map_err(PlaceError::disk(&path))
    }

    /// When it was last used, as far as the disk tells; `None`: nobody was ever there.
    pub(super) fn used(&self) -> Option<SystemTime> {
        let traces = [self.beside("json"), self.beside("lock"), self.path.clone()];
        traces.iter().filter_map(|path| fs::metadata(path).ok()?.modified().ok()).max()
    }

    /// Says how far it is. It stands on the disk when this returns.
    pub(super) fn mark(&self, phase: &Phase) -> Result<(), PlaceError> {
        self.write_mark("json", &serde_json::to_vec(phase).expect("text only"))
    }

    fn write_mark(&self, extension: &str, text: &[u8]) -> Result<(), PlaceError> {
        let path = self.beside(extension);
        let fresh = self.beside(&format!("{extension}.new"));
        let write = || {
            let mut file = File::create(&fresh)?;
            file.write_all(text)?;
            file.sync_all()?;
            fs::rename(&fresh, &path)?;
            sync_dir(&self.folder)
        };
        write().map_err(PlaceError::disk(&path))
    }

    /// Whether anything lies where the worktree is to be. An empty folder is nothing.
    pub(super) fn is_there(&self) -> Result<bool, PlaceError> {
        match fs::read_dir(&self.path) {
            Ok(mut entries) => Ok(entries.next().is_some()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(true),
            Err(error) => Err(PlaceError::disk(&self.path)(error)),
        }
    }

    /// Clears the bench.
    pub(super) fn clear_bench(&self) -> Result<(), PlaceError> {
        // An empty folder where the worktree is to be would confuse git; any other stays.
        let _ = fs::remove_dir(&self.path);
        gone(fs::remove_dir_all(&self.bench)).map_err(PlaceError::disk(&self.bench))?;
        let folder = self.bench.parent().unwrap_or(&self.bench);
        let mut new = DirBuilder::new();
        new.recursive(true).mode(0o700).create(folder).map_err(PlaceError::disk(folder))
    }

    /// Puts what was made on the bench where it belongs; nothing may lie there.
    pub(super) fn put(&self) -> Result<(), PlaceError> {
        fs::rename(&self.bench, &self.path).map_err(PlaceError::disk(&self.path))
    }

    /// Takes the worktree away, and all that is in it.
    pub(super) fn discard(&self) -> Result<(), PlaceError> {
        self.clear_bench()?;
        if self.is_there()? {
            fs::rename(&self.path, &self.bench).map_err(PlaceError::disk(&self.path))?;
        }
        self.clear_bench()
    }

    /// Removes what a set-up command left beside the worktree.
    pub(super) fn forget_set_up(&self) -> Result<(), PlaceError> {
        let path = self.done();
        gone(fs::remove_file(&path)).map_err(PlaceError::disk(&path))
    }

    /// Removes all that lies beside the worktree, which is gone; the mark last, and then the lock.
    pub(super) fn forget(&self, _held: &Lock) -> Result<(), PlaceError> {
        for aside in [self.aside(), self.look()] {
            gone(fs::remove_dir_all(&aside)).map_err(PlaceError::disk(&aside))?;
        }
        let files =
            ["done", "part", "log", "bundle", "known.new", "known", "json.new", "json", "lock"];
        for extension in files {
            let path = self.beside(extension);
            gone(fs::remove_file(&path)).map_err(PlaceError::disk(&path))?;
        }
        Ok(())
    }

    /// Waits for the lock.
    pub(super) async fn lock(&self, max: Duration) -> Result<Lock, PlaceError> {
        let deadline = Instant::now() + max;
        let path = self.beside("lock");
        loop {
            if let Some(lock) = self.try_lock(&path).map_err(PlaceError::disk(&path))? {
                return Ok(lock);
            }
            if deadline <= Instant::now() {
                return Err(PlaceError::Busy { path: self.path.clone() });
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Lock>> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // Who had it may have removed it: then it guards nothing.
        let Ok(now) = fs::metadata(path) else { return Ok(None) };
        let held = file.metadata()?;
        let is_same = (now.dev(), now.ino()) == (held.dev(), held.ino());
        Ok(is_same.then_some(Lock(file)))
    }
}

fn read_mark<T: DeserializeOwned>(path: PathBuf) -> Result<Option<T>, PlaceError> {
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(PlaceError::disk(&path)(error)),
    };
    let read = serde_json::from_slice(&text);
    read.map(Some).map_err(|source| PlaceError::BadMark { path, source })
}

fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// The right to change a place. It is held until this is dropped and every process that was given it
/// has ended.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Lock {
    /// The lock as a child's stdin: an empty file.
    pub(super) fn for_child(&self) -> io::Result<Stdio> {
        self.0.try_clone().map(Stdio::from)
    }

    /// A lock on nothing, for questions that change nothing.
    pub(super) fn on_nothing() -> io::Result<Self> {
        File::open("/dev/null").map(Self)
    }
}

/// All threads that have a place. A place that was ever touched has a lock.
pub(super) fn all(root: &Path) -> Result<Vec<(ProjectName, ThreadId)>, PlaceError> {
    let mut found = Vec::new();
    for folder in names(root)? {
        let Ok(project) = folder.parse::<ProjectName>() else { continue };
        for name in names(&root.join(&folder))? {
            let thread = name.strip_suffix(".lock").and_then(|thread| thread.parse().ok());
            found.extend(thread.map(|thread| (project.clone(), thread)));
        }
    }
    Ok(found)
}

fn names(folder: &Path) -> Result<Vec<String>, PlaceError> {
    let read = || -> io::Result<Vec<String>> {
        let names = fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().into_string().ok()));
        Ok(names.collect::<io::Result<Vec<_>>>()?.into_iter().flatten().collect())
    };
    match read() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read.map_err(PlaceError::disk(folder)),
    }
}
