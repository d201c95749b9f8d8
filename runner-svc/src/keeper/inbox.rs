//! What the runner tells the keeper, carried to claude's stdin: `in/<seq>.line`, whole and in order.
//!
//! The numbers have no gap, so the next file is looked up by its name; a directory that is listed
//! while it grows could show 3 and hide 2. A line is copied through one small buffer, as far as the
//! pipe takes it without blocking, so a line of any length neither fills the memory nor keeps the
//! keeper from reading what claude says meanwhile. One keeper serves a spool, once: a number in
//! memory is enough to write each line once.
//!
//! It never writes part of a line after which another follows, and never decides to stop claude: it
//! only says that it was asked to.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Path, PathBuf};
use std::process::ChildStdin;

use super::record::{Entry, EntryKind, FIRST_SEQ, IN};
use super::stop::Graces;

/// How much of a line is in memory at once: what a pipe takes at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// What came out of looking at `in/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Nothing but lines.
    Nothing,
    /// Stdin is closed now; claude gets this long to end.
    End(Graces),
}

/// The way from `in/` to claude's stdin.
#[derive(Debug)]
pub(crate) struct Inbox {
    dir: PathBuf,
    next: u32,
    /// The line that is under way.
    line: Option<File>,
    chunk: Vec<u8>,
    written: usize,
    /// The line could not be read: it is not worth waking up for, only to look again later.
    resting: bool,
    /// Claude is told nothing more.
    shut: bool,
    /// `None` once it was closed, by us or by claude.
    stdin: Option<ChildStdin>,
}

impl Inbox {
    /// Makes the way. `stdin` must be non-blocking.
    pub(crate) fn new(spool: &Path, stdin: ChildStdin) -> Self {
        Inbox {
            dir: spool.join(IN),
            next: FIRST_SEQ,
            line: None,
            chunk: Vec::with_capacity(CHUNK_BYTES),
            written: 0,
            resting: false,
            shut: false,
            stdin: Some(stdin),
        }
    }

    /// The pipe to wait for, while a line is under way.
    pub(crate) fn wants_to_write(&self) -> Option<BorrowedFd<'_>> {
        let stdin = self.line.as_ref().and(self.stdin.as_ref()).map(ChildStdin::as_fd);
        stdin.filter(|_| !self.resting && !self.shut)
    }

    /// Writes as much as claude takes now. What cannot be read now is tried again at the next call.
    pub(crate) fn advance(&mut self) -> Asked {
        self.resting = false;
        if self.shut {
            return Asked::Nothing;
        }
        loop {
            if self.line.is_some() {
                match self.copy() {
                    Ok(()) => self.line = None,
                    Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                    Err(error) if error.kind() == ErrorKind::BrokenPipe => self.close(),
                    Err(error) => {
                        self.resting = error.kind() != ErrorKind::WouldBlock;
                        return Asked::Nothing;
                    }
                }
            }
            match self.take_next() {
                Some(Asked::Nothing) => {}
                Some(Asked::End(graces)) => return Asked::End(graces),
                None => return Asked::Nothing,
            }
        }
    }

    /// Opens the next file; `None` if there is none yet.
    fn take_next(&mut self) -> Option<Asked> {
        for kind in EntryKind::ALL {
            let path = self.dir.join(Entry { seq: self.next, kind }.to_string());
            let Ok(file) = File::open(&path) else { continue };
            self.next += 1;
            return Some(match kind {
                EntryKind::Line if self.stdin.is_some() => {
                    self.line = Some(file);
                    Asked::Nothing
                }
                EntryKind::Line | EntryKind::Kill => Asked::Nothing,
                EntryKind::End => {
                    self.close();
                    Asked::End(read_graces(&path))
                }
            });
        }
        None
    }

    fn copy(&mut self) -> io::Result<()> {
        let (Some(line), Some(stdin)) = (&mut self.line, &mut self.stdin) else { return Ok(()) };
        loop {
            while self.written < self.chunk.len() {
                self.written += stdin.write(&self.chunk[self.written..])?;
            }
            self.chunk.clear();
            self.written = 0;
            if (&*line).take(CHUNK_BYTES as u64).read_to_end(&mut self.chunk)? == 0 {
                return Ok(());
            }
        }
    }

    /// Tells claude nothing more, and leaves its stdin open: it is ended by a signal, in the middle of
    /// its turn. At the end of its input it would give up what it waits for and end the turn, and that
    /// would pass for the run's answer.
    pub(crate) fn shut(&mut self) {
        self.shut = true;
    }

    /// Closes claude's stdin; a line that is under way is given up, as are all that follow.
    pub(crate) fn close(&mut self) {
        self.stdin = None;
        self.line = None;
        self.chunk.clear();
        self.written = 0;
    }

    /// Returns how claude is to be killed, if the runner asked for it: at any number, for it does
    /// not wait for lines that claude does not read. The shortest time of several holds.
    pub(crate) fn kill_asked(&self) -> Option<Graces> {
        let entries = fs::read_dir(&self.dir).ok()?;
        entries
            .flatten()
            .filter(|file| {
                file.file_name().to_str().and_then(Entry::parse).is_some_and(|entry| {
                    match entry.kind {
                        EntryKind::Kill => true,
                        EntryKind::Line | EntryKind::End => false,
                    }
                })
            })
            .map(|file| read_graces(&file.path()))
            .min_by_key(|graces| graces.kill)
    }
}

/// An end that was asked for must come, so an unreadable file asks for the default.
fn read_graces(path: &Path) -> Graces {
    fs::read_to_string(path).map(|text| Graces::parse(&text)).unwrap_or_default()
}
