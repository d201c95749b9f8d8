//! The runner's side of a spool: one directory per attempt, named by its owner token.
//!
//! The runner makes the directory whole under a hidden name, renames it, starts a keeper on it, and
//! from then on only adds files to `in/` and reads what the keeper wrote. Whether the keeper lives
//! is asked of its lock, never of a pid. What it says stands in the journal, which [`Journal`] reads
//! line by line from any byte, so a runner that starts again goes on where it stopped.
//!
//! Everything here is plain blocking I/O on small local files: call it from `spawn_blocking`. It
//! never starts or signals a process that the keeper could still look after; [`Spool::close_if_dead`]
//! ends what is left when nobody does.

mod journal;
mod spec;
mod watcher;

pub(crate) use journal::{Journal, Line};
pub(crate) use spec::Spec;
pub(crate) use watcher::{Subscription, Watcher};

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};
use thiserror::Error;

use crate::keeper::procs::kill_marked;
use crate::keeper::record::{
    BELL, CLOSED, CWD, EXIT, IN, JOURNAL, LOCK, Malformed, STARTED, STDERR, USED, sync_dir,
    write_whole,
};
pub(crate) use crate::keeper::record::{Ending, Entry, EntryKind, FIRST_SEQ, Started};
pub(crate) use crate::keeper::stop::Graces;

/// Why a spool could not be used. `Display` says what failed; the chain says why.
#[derive(Debug, Error)]
pub(crate) enum SpoolError {
    /// The disk or the permissions are at fault. Trying again may help.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file that was read.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The disk or the permissions are at fault. Trying again may help.
    #[error("cannot write {}", path.display())]
    Unwritable {
        /// The file that was to be written.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The keeper never writes this, so something else did. Trying again is vain.
    #[error("{} is not what a keeper writes", path.display())]
    Corrupt {
        /// The file that was read.
        path: PathBuf,
        /// What is wrong with it.
        source: Malformed,
    },
    /// What was to be put into a spool cannot be told to claude. Trying again is vain.
    #[error("{what} cannot be put into a spool")]
    Unfit {
        /// Which part of it.
        what: &'static str,
    },
    /// A process of the attempt lives on without guard and keeper, and KILL does not end it.
    #[error("something of {} is still alive", path.display())]
    StillThere {
        /// The spool.
        path: PathBuf,
        /// What the search said.
        source: io::Error,
    },
}

impl SpoolError {
    /// Whether the same call can succeed later.
    #[must_use]
    #[cfg_attr(not(test), expect(dead_code, reason = "retries ask"))]
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            SpoolError::Unreadable { .. }
            | SpoolError::Unwritable { .. }
            | SpoolError::StillThere { .. } => true,
            SpoolError::Corrupt { .. } | SpoolError::Unfit { .. } => false,
        }
    }
}

/// Where a spool's keeper stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeeperState {
    /// No keeper has taken it yet. One may still be on its way.
    Unused,
    /// Guard or keeper live.
    Alive,
    /// It had its keeper, and guard and keeper are gone. With an exit record nothing of claude is
    /// left; without one, [`Spool::close_if_dead`] makes sure.
    Gone,
    /// The runner closed it: no keeper will start here.
    Closed,
}

/// What [`Spool::close_if_dead`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closing {
    /// A keeper lives; nothing was changed.
    Alive,
    /// The attempt is dead: nothing of it is left and nothing can start.
    Closed,
}

/// One spool that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spool {
    dir: PathBuf,
}

impl Spool {
    /// Makes the spool `root/name`, whole and durable, with these further files of the runner.
    ///
    /// # Errors
    ///
    /// [`SpoolError::Unfit`] for a spec that no process can be started with or a name that is not
    /// one plain path component; [`SpoolError::Unwritable`] else, also when the spool exists.
    pub(crate) fn create(
        root: &Path,
        name: &str,
        spec: &Spec,
        files: &[(&str, &[u8])],
    ) -> Result<Self, SpoolError> {
        if name.starts_with('.') || name.is_empty() || name.contains(['/', '\0', '=']) {
            return Err(SpoolError::Unfit { what: "the name" });
        }
        let content = spec::SpecFiles::new(name, spec)?;
        let made = root.join(format!(".{name}.new"));
        let dir = root.join(name);
        let unwritable = |source| SpoolError::Unwritable { path: dir.clone(), source };
        if dir.exists() {
            return Err(unwritable(ErrorKind::AlreadyExists.into()));
        }
        content.write(&made, files).map_err(unwritable)?;
        crate::crash::point("spool.made");
        fs::rename(&made, &dir).map_err(unwritable)?;
        sync_dir(root).map_err(unwritable)?;
        Ok(Spool { dir })
    }

    /// The spool `root/name`, if it is there.
    pub(crate) fn open(root: &Path, name: &str) -> Option<Self> {
        let dir = root.join(name);
        dir.join(LOCK).exists().then_some(Spool { dir })
    }

    /// The spool in `dir`, which is not looked at.
    pub(crate) fn at(dir: impl Into<PathBuf>) -> Self {
        Spool { dir: dir.into() }
    }

    /// Its directory, which `runner-svc keep` and `watch` are called with.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The directory that claude works in.
    ///
    /// # Errors
    ///
    /// [`SpoolError::Unreadable`].
    pub(crate) fn cwd(&self) -> Result<Option<PathBuf>, SpoolError> {
        Ok(read_bytes(&self.dir.join(CWD))?.map(|path| OsString::from_vec(path).into()))
    }

    /// Its name: the owner token.
    pub(crate) fn name(&self) -> &str {
        self.dir.file_name().and_then(OsStr::to_str).unwrap_or_default()
    }

    /// Puts one line for claude, and rings. Putting the same number again replaces it, which a
    /// keeper that took it already does not see.
    ///
    /// # Errors
    ///
    /// [`SpoolError::Unfit`] if `line` holds a line break; [`SpoolError::Unwritable`].
    pub(crate) fn put_line(&self, seq: u32, line: &str) -> Result<(), SpoolError> {
        if line.contains('\n') {
            return Err(SpoolError::Unfit { what: "a line with a line break" });
        }
        let mut bytes = Vec::with_capacity(line.len() + 1);
        bytes.extend_from_slice(line.as_bytes());
        bytes.push(b'\n');
        self.put(Entry { seq, kind: EntryKind::Line }, &bytes)
    }

    /// Asks for the end of claude: stdin closes after all lines before, then TERM, then KILL.
    ///
    /// # Errors
    ///
    /// [`SpoolError::Unwritable`].
    pub(crate) fn put_end(&self, seq: u32, graces: Graces) -> Result<(), SpoolError> {
        self.put(Entry { seq, kind: EntryKind::End }, graces.to_text().as_bytes())
    }

    /// Asks for TERM now and KILL after `graces.kill`, whatever else waits.
    ///
    /// # Errors
    ///
    /// [`SpoolError::Unwritable`].
    pub(crate) fn put_kill(&self, seq: u32, graces: Graces) -> Result<(), SpoolError> {
        self.put(Entry { seq, kind: EntryKind::Kill }, graces.to_text().as_bytes())
    }

    fn put(&self, entry: Entry, bytes: &[u8]) -> Result<(), SpoolError> {
        let name = entry.to_string();
        let dir = self.dir.join(IN);
        write_whole(&dir, &name, bytes)
            .map_err(|source| SpoolError::Unwritable { path: dir.join(&name), source })?;
        self.ring();
        Ok(())
    }

    /// Lists what was put into `in/`, in order: what a runner that adopts the spool needs to know.
    ///
    /// # Errors
    ///
    /// [`SpoolError::Unreadable`].
    pub(crate) fn entries(&self) -> Result<Vec<Entry>, SpoolError> {
        let path = self.dir.join(IN);
        let unreadable = |source| SpoolError::Unreadable { path: path.clone(), source };
        let mut entries = Vec::new();
        for file in fs::read_dir(&path).map_err(unreadable)? {
            let name = file.map_err(unreadable)?.file_name();
            entries.extend(name.to_str().and_then(Entry::parse));
        }
        entries.sort_unstable();
        Ok(entries)
    }

    /// Reads the line that was put with this number; `None` if there is none.
    ///
    /// # Errors
    ///
    /// [`SpoolError::Unreadable`].
    pub(crate) fn line(&self, seq: u32) -> Result<Option<String>, SpoolError> {
        let entry = Entry { seq, kind: EntryKind::Line };
        let line = read_text(&self.dir.join(IN).join(entry.to_string()))?;
        Ok(line.map(|line| line.trim_end_matches('\n').to_owned()))
    }

    /// Wakes the keeper. It is a hint: a keeper that is not there yet, or not any more, is no
    /// error, and a full bell rings already.
    pub(crate) fn ring(&self) {
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        let bell = OpenOptions::new().write(true).custom_flags(flags).open(self.dir.join(BELL));
        if let Ok(mut bell) = bell {
            let _ = bell.write(b"!");
        }
    }

    /// Where the keeper stands.
    ///
    /// # Errors
    ///
    /// [`SpoolError::Unreadable`].
    pub(crate) fn state(&self) -> Result<KeeperState, SpoolError> {
        let Some(lock) = self.try_lock(FlockOperation::NonBlockingLockShared)? else {
            return Ok(KeeperState::Alive);
        };
        let has = |name| self.dir.join(name).exists();
        let state = if has(CLOSED) {
            KeeperState::Closed
        } else if has(USED) {
            KeeperState::Gone
        } else {
            KeeperState::Unused
        };
        drop(lock);
        Ok(state)
    }

    /// Makes the attempt dead for good, unless its keeper lives: takes the lock, ends what is left
    /// of claude (there is something only if guard and keeper were killed in one instant), and
    /// writes `closed`.
    ///
    /// # Errors
    ///
    /// [`SpoolError::Unreadable`], [`SpoolError::Unwritable`], [`SpoolError::StillThere`]; after
    /// each the attempt does not count as dead.
    pub(crate) fn close_if_dead(&self) -> Result<Closing, SpoolError> {
        let Some(_lock) = self.try_lock(FlockOperation::NonBlockingLockExclusive)? else {
            return Ok(Closing::Alive);
        };
        if self.dir.join(USED).exists() && !self.dir.join(EXIT).exists() {
            kill_marked(OsStr::new(self.name()))
                .map_err(|source| SpoolError::StillThere { path: self.dir.clone(), source })?;
        }
        self.write_file(CLOSED, b"")?;
        Ok(Closing::Closed)
    }

    /// Returns the locked file, or `None` if a keeper holds the lock.
    fn try_lock(&self, how: FlockOperation) -> Result<Option<File>, SpoolError> {
        let path = self.dir.join(LOCK);
        let unreadable = |source| SpoolError::Unreadable { path: path.clone(), source };
        let file = File::open(&path).map_err(unreadable)?;
        match flock(&file, how) {
            Ok(()) => Ok(Some(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(unreadable(error.into())),
        }
    }

    /// Who is at work, or `None` if claude was not started yet.
    ///
    /// # Errors
    ///
    /// [`SpoolError::Unreadable`], [`SpoolError::Corrupt`].
    #[cfg_attr(not(test), expect(dead_code, reason = "shown to people who look at a host"))]
    pub(crate) fn started(&self) -> Result<Option<Started>, SpoolError> {
        self.record(STARTED, Started::parse)
    }

    /// How claude ended, or `None` if the keeper has not said so.
    ///
    /// # Errors
    ///
    /// [`SpoolError::Unreadable`], [`SpoolError::Corrupt`].
    pub(crate) fn exit(&self) -> Result<Option<Ending>, SpoolError> {
        self.record(EXIT, Ending::parse)
    }

    fn record<T>(
        &self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, Malformed>,
    ) -> Result<Option<T>, SpoolError> {
        let path = self.dir.join(name);
        let Some(text) = read_text(&path)? else { return Ok(None) };
        parse(&text).map(Some).map_err(|source| SpoolError::Corrupt { path, source })
    }

    /// What claude wrote to stderr, as far as it was kept; empty if nothing.
    ///
    /// # Errors
    ///
    /// [`SpoolError::Unreadable`].
    pub(crate) fn stderr(&self) -> Result<String, SpoolError> {
        Ok(read_text(&self.dir.join(STDERR))?.unwrap_or_default())
    }

    /// Where claude's stdout is written.
    pub(crate) fn journal_path(&self) -> PathBuf {
        self.dir.join(JOURNAL)
    }

    /// When claude last said something, in milliseconds since 1970; `None` if it said nothing yet.
    ///
    /// # Errors
    ///
    /// [`SpoolError::Unreadable`].
    pub(crate) fn journal_written_ms(&self) -> Result<Option<i64>, SpoolError> {
        modified_ms(self.journal_path())
    }

    /// When claude was started, in milliseconds since 1970; `None` if nobody can say.
    pub(crate) fn started_ms(&self) -> Option<i64> {
        self.written_ms(STARTED)
    }

    /// When claude's end was written down, in milliseconds since 1970; `None` if it was not.
    pub(crate) fn ended_ms(&self) -> Option<i64> {
        self.written_ms(EXIT)
    }

    /// When a file of the spool was written, in milliseconds since 1970; `None` if it is not there.
    pub(crate) fn written_ms(&self, name: &str) -> Option<i64> {
        modified_ms(self.dir.join(name)).ok().flatten()
    }

    /// A reader of the journal that begins at this byte.
    pub(crate) fn journal(&self, offset: u64) -> Journal {
        Journal::new(self.journal_path(), offset)
    }

    /// Puts a file of the runner's own into the spool, whole and durable.
    ///
    /// # Errors
    ///
    /// [`SpoolError::Unwritable`].
    pub(crate) fn write_file(&self, name: &str, bytes: &[u8]) -> Result<(), SpoolError> {
        write_whole(&self.dir, name, bytes)
            .map_err(|source| SpoolError::Unwritable { path: self.dir.join(name), source })
    }

    /// Reads a file of the runner's own; `None` if there is none.
    ///
    /// # Errors
    ///
    /// [`SpoolError::Unreadable`].
    pub(crate) fn read_file(&self, name: &str) -> Result<Option<Vec<u8>>, SpoolError> {
        read_bytes(&self.dir.join(name))
    }

    /// Removes the spool. The hidden name comes first, so that half a spool is never found.
    ///
    /// # Errors
    ///
    /// [`SpoolError::Unwritable`]. A spool that is not there is no error.
    pub(crate) fn remove(self) -> Result<(), SpoolError> {
        let hidden = self.dir.with_file_name(format!(".{}.gone", self.name()));
        let renamed = fs::rename(&self.dir, &hidden);
        crate::crash::point("spool.hidden");
        match renamed.and_then(|()| fs::remove_dir_all(&hidden)) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(source) => Err(SpoolError::Unwritable { path: self.dir, source }),
        }
    }
}

/// Lists the spools in `root`, by name, and removes what was half made or half removed. The caller
/// holds the lock of the runner's state directory, so nobody is making one meanwhile. A `root` that
/// is not there holds none.
///
/// # Errors
///
/// [`SpoolError::Unreadable`].
pub(crate) fn scan(root: &Path) -> Result<Vec<Spool>, SpoolError> {
    for path in inside(root)? {
        let name = path.file_name().unwrap_or_default().as_bytes();
        let is_half = [b".new".as_slice(), b".gone"].iter().any(|end| name.ends_with(end));
        if name.starts_with(b".") && is_half {
            // If it stays, the next scan tries again.
            let _ = fs::remove_dir_all(path);
        }
    }
    peek(root)
}

/// Lists the spools in `root`, by name, and changes nothing: a runner may be at work there.
///
/// # Errors
///
/// [`SpoolError::Unreadable`].
pub(crate) fn peek(root: &Path) -> Result<Vec<Spool>, SpoolError> {
    let is_hidden =
        |path: &Path| path.file_name().is_none_or(|name| name.as_bytes().starts_with(b"."));
    let found = inside(root)?.into_iter();
    let found = found.filter(|path| !is_hidden(path) && path.join(LOCK).exists());
    let mut spools: Vec<Spool> = found.map(|dir| Spool { dir }).collect();
    spools.sort_unstable_by(|a, b| a.dir.cmp(&b.dir));
    Ok(spools)
}

/// What lies in a folder; nothing in one that is not there.
fn inside(root: &Path) -> Result<Vec<PathBuf>, SpoolError> {
    let unreadable = |source| SpoolError::Unreadable { path: root.to_owned(), source };
    let entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(error)),
    };
    entries.map(|entry| Ok(entry.map_err(unreadable)?.path())).collect()
}

/// When a file was written last, in milliseconds since 1970; `None` if it is not there.
fn modified_ms(path: PathBuf) -> Result<Option<i64>, SpoolError> {
    let written = match fs::metadata(&path).and_then(|file| file.modified()) {
        Ok(written) => written,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(SpoolError::Unreadable { path, source }),
    };
    let since = written.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Ok(Some(i64::try_from(since.as_millis()).unwrap_or(i64::MAX)))
}

fn read_bytes(path: &Path) -> Result<Option<Vec<u8>>, SpoolError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(SpoolError::Unreadable { path: path.to_owned(), source }),
    }
}

/// Bytes that are no UTF-8 are shown as such: stderr may hold anything.
fn read_text(path: &Path) -> Result<Option<String>, SpoolError> {
    Ok(read_bytes(path)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

#[cfg(test)]
mod tests;
