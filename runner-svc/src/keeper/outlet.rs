//! What claude says, carried to the spool: stdout whole into the journal, stderr bounded.
//!
//! The journal gets claude's bytes through one small buffer. When the disk refuses them, the buffer
//! stays full, claude's pipe is no longer read, and claude waits: nothing is lost and nothing grows.
//! Writing is tried again after a pause that grows to a bound.
//!
//! It never looks into the bytes, and never gives up a byte of stdout.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::{ChildStderr, ChildStdout};
use std::time::Duration;

use super::record::{FILE_MODE, JOURNAL, STDERR};

/// How much of stdout is in memory at once: what a pipe holds.
const CHUNK_BYTES: usize = 64 * 1024;
/// How much of stderr is kept from its beginning (the cause), and as much from its end (the death).
const STDERR_KEPT_BYTES: usize = 64 * 1024;
/// The first pause after the disk refused; each next one is twice as long.
const RETRY_MIN: Duration = Duration::from_millis(100);
/// The longest pause: after room was made, claude goes on within this time.
const RETRY_MAX: Duration = Duration::from_secs(5);

/// A pause that grows from [`RETRY_MIN`] to [`RETRY_MAX`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience(Duration);

impl Patience {
    /// The shortest pause comes first.
    pub(crate) fn new() -> Self {
        Patience(RETRY_MIN)
    }

    /// Returns how long to wait now.
    pub(crate) fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(RETRY_MAX);
        pause
    }
}

fn append(dir: &Path, name: &str) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(FILE_MODE).open(dir.join(name))
}

/// The way from claude's stdout to the journal.
#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
    /// Read and not yet written: `chunk[written..]`.
    chunk: Vec<u8>,
    written: usize,
    /// `None` after its end.
    stdout: Option<ChildStdout>,
    is_last: bool,
    /// When to try again, after the disk refused.
    retry_at: Option<Duration>,
    patience: Patience,
}

impl Journal {
    /// Opens the journal.
    ///
    /// # Errors
    ///
    /// What the operating system said.
    pub(crate) fn open(spool: &Path) -> io::Result<Self> {
        Ok(Journal {
            file: append(spool, JOURNAL)?,
            chunk: Vec::with_capacity(CHUNK_BYTES),
            written: 0,
            stdout: None,
            is_last: false,
            retry_at: None,
            patience: Patience::new(),
        })
    }

    /// Takes claude's stdout, which must be non-blocking.
    pub(crate) fn take(&mut self, stdout: ChildStdout) {
        self.stdout = Some(stdout);
    }

    /// The pipe to wait for, unless the disk is behind.
    pub(crate) fn wants_to_read(&self) -> Option<BorrowedFd<'_>> {
        match self.retry_at {
            None => self.stdout.as_ref().map(ChildStdout::as_fd),
            Some(_) => None,
        }
    }

    /// When to call [`Journal::advance`] without a byte to read.
    pub(crate) fn due_at(&self) -> Option<Duration> {
        self.retry_at
    }

    /// Nobody writes any more: an empty pipe is the end, even if a stranger keeps it open.
    pub(crate) fn expect_end(&mut self) {
        self.is_last = true;
    }

    /// Whether all that claude said is in the journal.
    pub(crate) fn is_done(&self) -> bool {
        self.stdout.is_none() && self.written == self.chunk.len()
    }

    /// Writes what is due, then moves what claude has said meanwhile, at most one chunk of it.
    pub(crate) fn advance(&mut self, now: Duration) {
        if self.retry_at.is_some_and(|due| now < due) {
            return;
        }
        if !self.flush(now) {
            return;
        }
        let Some(stdout) = &mut self.stdout else { return };
        self.chunk.resize(CHUNK_BYTES, 0);
        let read = stdout.read(&mut self.chunk);
        self.chunk.truncate(*read.as_ref().unwrap_or(&0));
        self.written = 0;
        match read {
            Ok(0) => self.stdout = None,
            Ok(_) => {
                self.flush(now);
            }
            Err(error) if is_for_later(&error, self.is_last) => {}
            Err(_) => self.stdout = None,
        }
    }

    /// Returns whether nothing waits any more.
    fn flush(&mut self, now: Duration) -> bool {
        while self.written < self.chunk.len() {
            match self.file.write(&self.chunk[self.written..]) {
                Ok(count) if 0 < count => self.written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => {
                    self.retry_at = Some(now + self.patience.next());
                    return false;
                }
            }
        }
        self.retry_at = None;
        self.patience = Patience::new();
        true
    }

    /// Makes the journal durable.
    ///
    /// # Errors
    ///
    /// What the operating system said.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }
}

/// Whether there can be more to read after this error.
fn is_for_later(error: &io::Error, is_last: bool) -> bool {
    let kind = error.kind();
    kind == ErrorKind::Interrupted || (kind == ErrorKind::WouldBlock && !is_last)
}

/// Claude's stderr: its beginning goes to the file at once, its end when it has ended.
#[derive(Debug)]
pub(crate) struct Stderr {
    /// `None` when the file cannot be had: stderr is worth less than the run.
    file: Option<File>,
    /// `None` after its end.
    pipe: Option<ChildStderr>,
    is_last: bool,
    head_left: usize,
    tail: VecDeque<u8>,
    left_out: u64,
}

impl Stderr {
    /// Takes claude's stderr, which must be non-blocking.
    pub(crate) fn new(spool: &Path, stderr: ChildStderr) -> Self {
        Stderr {
            file: append(spool, STDERR).ok(),
            pipe: Some(stderr),
            is_last: false,
            head_left: STDERR_KEPT_BYTES,
            tail: VecDeque::new(),
            left_out: 0,
        }
    }

    /// The pipe to wait for.
    pub(crate) fn wants_to_read(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(ChildStderr::as_fd)
    }

    /// Moves what there is, at most one chunk.
    pub(crate) fn advance(&mut self) {
        let Some(pipe) = &mut self.pipe else { return };
        let mut chunk = [0; 4096];
        match pipe.read(&mut chunk) {
            Ok(0) => self.pipe = None,
            Ok(count) => self.keep(&chunk[..count]),
            Err(error) if is_for_later(&error, self.is_last) => {}
            Err(_) => self.pipe = None,
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let (head, rest) = bytes.split_at(bytes.len().min(self.head_left));
        self.head_left -= head.len();
        self.write(head);
        self.tail.extend(rest);
        let over = self.tail.len().saturating_sub(STDERR_KEPT_BYTES);
        self.tail.drain(..over);
        self.left_out += over as u64;
    }

    /// A disk that refuses costs what was to be written, no more.
    fn write(&mut self, bytes: &[u8]) {
        if let Some(file) = &mut self.file {
            let _ = file.write_all(bytes);
        }
    }

    /// Takes what is left in the pipe, then writes the end, and how much is missing before it.
    pub(crate) fn finish(&mut self) {
        self.is_last = true;
        while self.pipe.is_some() {
            self.advance();
        }
        if 0 < self.left_out {
            let line = format!("\n[{} bytes left out]\n", self.left_out);
            self.write(line.as_bytes());
        }
        let tail = std::mem::take(&mut self.tail);
        self.write(tail.as_slices().0);
        self.write(tail.as_slices().1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pipe::{PipeFlags, pipe_with};
    use std::process::{Command, Stdio};

    /// A pipe that nobody empties refuses as a full disk does; emptying it makes room.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "only a child has a stdout to take")]
    fn a_disk_that_refuses_costs_time_and_no_byte() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut journal = Journal::open(dir.path()).expect("opened");
        let (mut disk, full) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)
            .map(|(r, w)| (File::from(r), w))
            .expect("a pipe");
        journal.file = File::from(full);
        let mut child = Command::new("sh")
            .args(["-c", "i=0; while [ $i -lt 60000 ]; do echo $i; i=$((i+1)); done"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        journal.take(child.stdout.take().expect("it was asked for"));

        let (mut time, mut written, mut refusals) = (Duration::ZERO, Vec::new(), 0);
        while !journal.is_done() {
            journal.advance(time);
            assert!(journal.chunk.capacity() <= CHUNK_BYTES, "it holds no more than one chunk");
            if let Some(due) = journal.due_at() {
                assert!(journal.wants_to_read().is_none(), "claude waits meanwhile");
                journal.advance(due.saturating_sub(Duration::from_millis(1)));
                refusals += 1;
                time = due;
                let _ = disk.read_to_end(&mut written);
            }
        }
        let _ = disk.read_to_end(&mut written);
        child.wait().expect("it has ended");
        let expected = (0..60_000).map(|i| format!("{i}\n")).collect::<Vec<_>>().concat();
        assert!(String::from_utf8(written).expect("digits") == expected, "every byte once");
        assert!(2 < refusals, "{refusals}");
    }

    #[test]
    fn the_pauses_grow_to_a_bound() {
        let mut patience = Patience::new();
        let pauses: Vec<_> = (0..9).map(|_| patience.next().as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000]);
    }
}
