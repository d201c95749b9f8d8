//! The runner's state directory: whose it is, that one runner uses it, and where its spools lie.
//!
//! The id in it is made once and is what "itself" means to the protocol: a runner that was renamed
//! is the same, a copy that was started elsewhere under the same name is not.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use schemas::ids::{IdError, StateId};
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

/// The file that says which streams this runner has worked with.
const BUS: &str = "bus";

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

    /// Opens the directory, making it and its id if they are new.
    ///
    /// # Errors
    ///
    /// [`StateError`].
    pub(crate) fn open(dir: &Path) -> Result<Self, StateError> {
        let spools = dir.join("spools");
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
        let id = id(&dir.join("state_id"))?;
        Ok(Self { id, spools, dir: dir.to_owned(), _lock: lock })
    }
}

fn id(path: &Path) -> Result<StateId, StateError> {
    let unusable = |source| StateError::Unusable { path: path.to_owned(), source };
    match fs::read_to_string(path) {
        Ok(text) => {
            let bad = |source| StateError::BadId { path: path.to_owned(), source };
            return text.trim().parse().map_err(bad);
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(unusable(error)),
    }
    let id = StateId::random();
    write(path, &id.to_string()).map_err(unusable)?;
    Ok(id)
}

/// Writes a line into a file, whole and on disk when it returns.
fn write(path: &Path, line: &str) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh)?;
    writeln!(file, "{line}")?;
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
    fn a_file_in_the_way_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("runner");
        fs::write(&dir, "in the way").unwrap();
        let error = StateDir::open(&dir).unwrap_err();
        assert!(error.to_string().contains("runner/spools"), "{error}");
    }
}
