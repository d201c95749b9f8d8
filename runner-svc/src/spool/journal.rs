//! Reads the journal of a spool line by line, from any byte, while it grows.
//!
//! Only whole lines are handed out; the last one without its line break is kept back until the rest
//! has come. A line longer than [`LINE_MAX_BYTES`] is passed over, not held in memory, and reported.
//! The offset after a line is where a reader may begin another time.
//!
//! It never says that a journal is complete: that is the exit record's word.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;

use super::SpoolError;

/// The longest line that is handed out. claude's own lines carry at most a picture or a file (5 MB
/// was seen); three times that is a defect, and no reason for the runner to run out of memory.
pub(crate) const LINE_MAX_BYTES: usize = 16 * 1024 * 1024;

/// How much is read at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// One line of the journal, without its line break.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// All of it.
    Whole(Vec<u8>),
    /// It was longer than [`LINE_MAX_BYTES`] and was passed over.
    TooLong {
        /// How long it was.
        bytes: u64,
    },
}

/// A place in the journal.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: Option<File>,
    /// Read from the file and not yet handed out.
    held: Vec<u8>,
    /// `held` has no line break before this.
    searched: usize,
    /// How much of a too long line was passed over, while inside one.
    passed: Option<u64>,
    /// Where the line begins that comes next.
    offset: u64,
    max: usize,
}

impl Journal {
    /// A reader of `path` that begins at the byte `offset`: 0, or an [`Journal::offset`].
    pub(crate) fn new(path: PathBuf, offset: u64) -> Self {
        Self::with_max(path, offset, LINE_MAX_BYTES)
    }

    fn with_max(path: PathBuf, offset: u64, max: usize) -> Self {
        Journal { path, file: None, held: Vec::new(), searched: 0, passed: None, offset, max }
    }

    /// Where the line begins that comes next.
    #[cfg_attr(not(test), expect(dead_code, reason = "a stored offset saves reading again"))]
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns the next whole line, or `None` if there is none yet: call again when the file has
    /// grown. A journal that is not there yet has none.
    ///
    /// # Errors
    ///
    /// [`SpoolError::Unreadable`]; calling again goes on at the same place.
    pub(crate) fn next_line(&mut self) -> Result<Option<Line>, SpoolError> {
        loop {
            if let Some(at) = self.held[self.searched..].iter().position(|byte| *byte == b'\n') {
                return Ok(Some(self.take(self.searched + at)));
            }
            self.searched = self.held.len();
            if self.max < self.held.len() {
                *self.passed.get_or_insert(0) += self.held.len() as u64;
                self.held.clear();
                self.searched = 0;
            }
            if !self.read_more()? {
                return Ok(None);
            }
        }
    }

    /// Hands out `held[..end]`; a line break stands at `end`.
    fn take(&mut self, end: usize) -> Line {
        let passed = self.passed.take();
        let bytes = passed.unwrap_or(0) + end as u64;
        self.offset += bytes + 1;
        self.searched = 0;
        let rest = self.held.split_off(end + 1);
        let mut line = std::mem::replace(&mut self.held, rest);
        line.pop();
        if passed.is_some() || self.max < line.len() {
            return Line::TooLong { bytes };
        }
        Line::Whole(line)
    }

    /// Returns whether there was something to read.
    fn read_more(&mut self) -> Result<bool, SpoolError> {
        let unreadable =
            |path: &PathBuf, source| SpoolError::Unreadable { path: path.clone(), source };
        let file = match &mut self.file {
            Some(file) => file,
            None => match open_at(&self.path, self.offset) {
                Ok(file) => self.file.insert(file),
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
                Err(error) => return Err(unreadable(&self.path, error)),
            },
        };
        let count = file
            .by_ref()
            .take(CHUNK_BYTES as u64)
            .read_to_end(&mut self.held)
            .map_err(|source| unreadable(&self.path, source))?;
        Ok(0 < count)
    }
}

fn open_at(path: &PathBuf, offset: u64) -> io::Result<File> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write as _;

    fn whole(text: &str) -> Line {
        Line::Whole(text.as_bytes().to_vec())
    }

    #[test]
    fn a_journal_is_read_while_it_grows() {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        let mut journal = Journal::new(file.path().to_owned(), 0);
        assert_eq!(journal.next_line().expect("read"), None);
        file.write_all(b"one\ntw").expect("written");
        assert_eq!(journal.next_line().expect("read"), Some(whole("one")));
        assert_eq!(journal.next_line().expect("read"), None);
        assert_eq!(journal.offset(), 4);
        file.write_all(b"o\n\n").expect("written");
        assert_eq!(journal.next_line().expect("read"), Some(whole("two")));
        assert_eq!(journal.next_line().expect("read"), Some(whole("")));
        assert_eq!(journal.offset(), 9);
    }

    #[test]
    fn a_journal_that_is_not_there_has_no_line() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("journal");
        let mut journal = Journal::new(path.clone(), 0);
        assert_eq!(journal.next_line().expect("read"), None);
        std::fs::write(&path, "late\n").expect("written");
        assert_eq!(journal.next_line().expect("read"), Some(whole("late")));
    }

    proptest! {
        #[test]
        fn every_line_comes_once_from_any_offset(
            lines in prop::collection::vec("[a-z]{0,9}", 0..12),
            rest in "[a-z]{0,5}",
            skip in any::<prop::sample::Index>(),
        ) {
            let mut file = tempfile::NamedTempFile::new().expect("a file");
            for line in &lines {
                writeln!(file, "{line}").expect("written");
            }
            write!(file, "{rest}").expect("written");
            let skip = skip.index(lines.len() + 1);
            let offset = lines[..skip].iter().map(|line| line.len() as u64 + 1).sum();
            let mut journal = Journal::with_max(file.path().to_owned(), offset, 5);
            for line in &lines[skip..] {
                let expected = if line.len() <= 5 {
                    Line::Whole(line.clone().into_bytes())
                } else {
                    Line::TooLong { bytes: line.len() as u64 }
                };
                prop_assert_eq!(journal.next_line().expect("read"), Some(expected));
            }
            prop_assert_eq!(journal.next_line().expect("read"), None);
            let end: usize = lines.iter().map(|line| line.len() + 1).sum();
            prop_assert_eq!(journal.offset(), end as u64);
        }
    }

    #[test]
    fn a_line_over_the_bound_is_passed_over_and_not_held() {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(&vec![b'x'; 1_000_000]).expect("written");
        let mut journal = Journal::with_max(file.path().to_owned(), 0, 100_000);
        assert_eq!(journal.next_line().expect("read"), None);
        assert!(journal.held.capacity() < 400_000, "{}", journal.held.capacity());
        file.write_all(b"\nnext\n").expect("written");
        assert_eq!(journal.next_line().expect("read"), Some(Line::TooLong { bytes: 1_000_000 }));
        assert_eq!(journal.next_line().expect("read"), Some(whole("next")));
        assert_eq!(journal.offset(), 1_000_006);
    }
}
