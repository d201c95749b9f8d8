//! The runner's state directory: whose it is, that one runner uses it, and where its spools lie.
//!
//! The id in it is made once and is what "itself" means to the protocol: a runner that was renamed
//! is the same, another that was started under the same name is not. A copy of the directory has the
//! same id; the starts that it does not remember tell it apart.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use schemas::ids::{IdError, InstanceId, StateId};
use thiserror::Error;

/// The directory, in use by this process for as long as this lives.
#[derive(Debug)]
pub(crate) struct StateDir {
    /// Its id.
    pub(crate) id: StateId,
    /// Where the spools are.
    pub(crate) spools: PathBuf,
    dir: PathBuf,
    _lock: File,
}

/// Why the directory cannot be used.
#[derive(Debug, Error)]
pub(crate) enum StateError {
    /// The disk or the permissions are at fault.
    #[error("cannot use {}", path.display())]
    Unusable {
        /// What was opened or made.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Another runner uses it now.
    #[error("another runner uses {}; give this one a state_dir of its own", .0.display())]
    Taken(PathBuf),
    /// Its id was changed by somebody.
    #[error("{} holds no id", path.display())]
    BadId {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: IdError,
    },
}

/// The folder of the spools.
const SPOOLS: &str = "spools";
/// The file that says which streams this runner has worked with.
const BUS: &str = "bus";
/// How much a directory must take: a request, a result and what a keeper notes.
const PROBE_BYTES: usize = 256 * 1024;
/// The file that holds the id.
const STATE_ID: &str = "state_id";
/// The file that remembers the starts, the newest first.
const STARTS: &str = "starts";
/// How many starts are remembered: more than can go by between two that NATS hears of.
const STARTS_MAX: usize = 32;

impl StateDir {
    /// Whether the streams are those that this runner has worked with; those that it meets first
    /// are.
    ///
    /// # Errors
    ///
    /// [`StateError::Unusable`].
    pub(crate) fn knows_bus(&self, is: &str) -> Result<bool, StateError> {
        let path = self.dir.join(BUS);
        match fs::read_to_string(&path) {
            Ok(was) => Ok(was.trim() == is),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.accept_bus(is)?;
                Ok(true)
            }
            Err(source) => Err(StateError::Unusable { path, source }),
        }
    }

    /// Takes these streams for its own from now on.
    ///
    /// # Errors
    ///
    /// [`StateError::Unusable`].
    pub(crate) fn accept_bus(&self, is: &str) -> Result<(), StateError> {
        let path = self.dir.join(BUS);
        write(&path, is).map_err(|source| StateError::Unusable { path, source })
    }

    /// Remembers a start, and the one that NATS last heard of if it was one of this directory's.
    /// Returns all that are remembered.
    ///
    /// # Errors
    ///
    /// [`StateError`].
    pub(crate) fn remember_start(
        &self,
        start: InstanceId,
        heard_of: Option<InstanceId>,
    ) -> Result<Vec<InstanceId>, StateError> {
        let path = self.dir.join(STARTS);
        let before = starts(&path)?;
        let mut kept = vec![start];
        kept.extend(heard_of.filter(|heard_of| before.contains(heard_of)));
        for old in before {
            if !kept.contains(&old) && kept.len() < STARTS_MAX {
                kept.push(old);
            }
        }
        let lines: Vec<String> = kept.iter().map(InstanceId::to_string).collect();
        write(&path, &lines.join("\n")).map_err(|source| StateError::Unusable { path, source })?;
        Ok(kept)
    }

    /// The id and the starts of a directory that another process may use; nothing of one that was
    /// never used.
    ///
    /// # Errors
    ///
    /// [`StateError`].
    pub(crate) fn peek(dir: &Path) -> Result<(Option<StateId>, Vec<InstanceId>), StateError> {
        Ok((read_id(&dir.join(STATE_ID))?, starts(&dir.join(STARTS))?))
    }

    /// Opens the directory, making it and its id if they are new.
    ///
    /// # Errors
    ///
    /// [`StateError`].
    pub(crate) fn open(dir: &Path) -> Result<Self, StateError> {
        let spools = spools_in(dir);
        let unusable = |path: &Path| {
            let path = path.to_owned();
            move |source| StateError::Unusable { path, source }
        };
        DirBuilder::new().recursive(true).mode(0o700).create(&spools).map_err(unusable(&spools))?;
        let path = dir.join("lock");
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(unusable(&path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StateError::Taken(dir.to_owned())),
            Err(TryLockError::Error(source)) => return Err(StateError::Unusable { path, source }),
        }
        let id = id(&dir.join(STATE_ID))?;
        Ok(Self { id, spools, dir: dir.to_owned(), _lock: lock })
    }
}

/// Where the spools of a state directory are.
pub(crate) fn spools_in(dir: &Path) -> PathBuf {
    dir.join(SPOOLS)
}

fn id(path: &Path) -> Result<StateId, StateError> {
    if let Some(id) = read_id(path)? {
        return Ok(id);
    }
    let id = StateId::random();
    let unusable = |source| StateError::Unusable { path: path.to_owned(), source };
    write(path, &id.to_string()).map_err(unusable)?;
    Ok(id)
}

fn read_id(path: &Path) -> Result<Option<StateId>, StateError> {
    let bad = |source| StateError::BadId { path: path.to_owned(), source };
    read(path)?.map(|text| text.trim().parse().map_err(bad)).transpose()
}

fn starts(path: &Path) -> Result<Vec<InstanceId>, StateError> {
    let bad = |source| StateError::BadId { path: path.to_owned(), source };
    let text = read(path)?.unwrap_or_default();
    text.lines().map(|line| line.parse().map_err(bad)).collect()
}

fn read(path: &Path) -> Result<Option<String>, StateError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StateError::Unusable { path: path.to_owned(), source }),
    }
}

/// Whether the directory takes a run's worth of bytes. Changes nothing.
///
/// # Errors
///
/// What the operating system said.
pub(crate) fn probe(dir: &Path) -> io::Result<()> {
    let path = dir.join(".probe");
    let written = File::create(&path).and_then(|mut file| {
        file.write_all(&vec![0; PROBE_BYTES])?;
        file.sync_all()
    });
    // A full disk may have made the name and no more.
    let removed = fs::remove_file(&path);
    written.and(removed)
}

/// Writes lines into a file, whole and on disk when it returns.
fn write(path: &Path, lines: &str) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh)?;
    writeln!(file, "{lines}")?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_made_once_and_the_directory_used_once() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("runner");
        let first = StateDir::open(&dir).unwrap();
        assert!(matches!(StateDir::open(&dir), Err(StateError::Taken(_))));
        let id = first.id;
        drop(first);
        let again = StateDir::open(&dir).unwrap();
        assert_eq!(again.id, id);
        assert!(again.knows_bus("WORK=1").unwrap(), "the first it meets");
        assert!(!again.knows_bus("WORK=2").unwrap());
        again.accept_bus("WORK=2").unwrap();
        assert!(again.knows_bus("WORK=2").unwrap());
    }

    #[test]
    fn starts_are_remembered_and_the_one_that_is_known_outside_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(folder.path()).unwrap();
        let first = InstanceId::random();
        assert_eq!(state.remember_start(first, Some(InstanceId::random())).unwrap(), [first]);
        for _ in 0..2 * STARTS_MAX {
            let kept = state.remember_start(InstanceId::random(), Some(first)).unwrap();
            assert!(kept.contains(&first) && kept.len() <= STARTS_MAX);
        }
        let (id, starts) = StateDir::peek(folder.path()).unwrap();
        assert_eq!((id, starts.len()), (Some(state.id), STARTS_MAX));
        let nothing = StateDir::peek(&folder.path().join("nothing")).unwrap();
        assert_eq!(nothing, (None, Vec::new()));
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("runner");
        fs::write(&dir, "in the way").unwrap();
        let error = StateDir::open(&dir).unwrap_err();
        assert!(error.to_string().contains("runner/spools"), "{error}");
    }
}
