//! What a spool consists of: its file names, and the two records that a keeper leaves in it.
//!
//! Keeper and runner both use this file, so that a name or a form stands in one place. A record is
//! a few lines of `key=value`, made and parsed here without any foreign crate; it is written to a
//! temporary name, synced and renamed, so a record that is there is whole.
//!
//! It never decides anything, and never reads a file.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// What claude is called with, each item followed by a NUL.
pub(crate) const ARGV: &str = "argv";
/// The whole environment of claude, each `K=V` followed by a NUL.
pub(crate) const ENV: &str = "env";
/// The directory that claude works in.
pub(crate) const CWD: &str = "cwd";
/// Locked exclusively (`flock`) as long as the guard or the keeper lives.
pub(crate) const LOCK: &str = "lock";
/// Written by the runner under the lock: no keeper may start here any more.
pub(crate) const CLOSED: &str = "closed";
/// Written under the lock by the first guard: this spool has had its keeper.
pub(crate) const USED: &str = "used";
/// Written when claude was started; see [`Started`].
pub(crate) const STARTED: &str = "started";
/// Written last of all; see [`Ending`].
pub(crate) const EXIT: &str = "exit";
/// What claude wrote to its stdout, byte for byte.
pub(crate) const JOURNAL: &str = "journal";
/// The beginning and the end of what claude wrote to its stderr.
pub(crate) const STDERR: &str = "stderr";
/// The FIFO by which the runner wakes the keeper.
pub(crate) const BELL: &str = "bell";
/// The directory of what the keeper is told.
pub(crate) const IN: &str = "in";
/// Until when the keeper may let claude work, in a shared project; see [`super::lease`].
pub(crate) const LEASE: &str = "lease";

/// The variable in claude's environment whose value is the spool's name. What still carries it
/// when guard and keeper are both gone is found by it.
pub(crate) const MARK: &str = "HOLDFAST_SPOOL";

/// Every file of a spool is for its owner alone.
pub(crate) const FILE_MODE: u32 = 0o600;
/// Every directory of a spool is for its owner alone.
pub(crate) const DIR_MODE: u32 = 0o700;

/// The first number in `in/`; the others follow without a gap.
pub(crate) const FIRST_SEQ: u32 = 1;

/// What one file in `in/` asks of the keeper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum EntryKind {
    /// Write these bytes to claude's stdin.
    Line,
    /// Close claude's stdin after all lines before; then TERM, then KILL.
    End,
    /// TERM at once, whatever waits in front; then KILL.
    Kill,
}

impl EntryKind {
    /// Every kind, in the order in which a number is looked up.
    pub(crate) const ALL: [EntryKind; 3] = [EntryKind::Line, EntryKind::End, EntryKind::Kill];

    fn suffix(self) -> &'static str {
        match self {
            EntryKind::Line => "line",
            EntryKind::End => "end",
            EntryKind::Kill => "kill",
        }
    }
}

/// One file in `in/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Entry {
    /// Its place in the order.
    pub(crate) seq: u32,
    /// What it asks.
    pub(crate) kind: EntryKind,
}

impl Entry {
    /// Reads an entry out of a file name; `None` if it is not one.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let (digits, suffix) = name.split_once('.')?;
        let kind = EntryKind::ALL.into_iter().find(|kind| kind.suffix() == suffix)?;
        if digits.len() < 6 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        Some(Entry { seq: digits.parse().ok()?, kind })
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:06}.{}", self.seq, self.kind.suffix())
    }
}

/// A record does not have the form that its writer gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) String);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl std::error::Error for Malformed {}

/// Who is at work in a spool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Started {
    /// The process id of the guard.
    pub(crate) guard: u32,
    /// The process id of the keeper.
    pub(crate) keeper: u32,
    /// The process id of claude, which is also its process group.
    pub(crate) claude: u32,
    /// The kernel's boot id: process ids of another boot mean nothing.
    pub(crate) boot_id: String,
}

impl fmt::Display for Started {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Started { guard, keeper, claude, boot_id } = self;
        write!(f, "guard={guard}\nkeeper={keeper}\nclaude={claude}\nboot={boot_id}\n")
    }
}

impl Started {
    /// Reads what [`Started`] prints.
    ///
    /// # Errors
    ///
    /// [`Malformed`] names the missing key.
    pub(crate) fn parse(text: &str) -> Result<Self, Malformed> {
        let pid =
            |key| value(text, key)?.parse().map_err(|_| Malformed(format!("{key} is no pid")));
        Ok(Started {
            guard: pid("guard")?,
            keeper: pid("keeper")?,
            claude: pid("claude")?,
            boot_id: value(text, "boot")?.to_owned(),
        })
    }
}

/// The value of a key in lines of `key=value`.
///
/// # Errors
///
/// [`Malformed`] when it is missing.
pub(super) fn value<'a>(text: &'a str, key: &str) -> Result<&'a str, Malformed> {
    text.lines()
        .find_map(|line| line.split_once('=').filter(|(name, _)| *name == key))
        .map(|(_, value)| value)
        .ok_or_else(|| Malformed(format!("{key} is missing")))
}

/// How the one claude of a spool ended. When it is written, nothing of claude is left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It ended by itself with this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
    /// It never ran; the text says why.
    NotStarted(String),
    /// Keeper or guard were killed, and claude with them; the text says which.
    KeeperDied(String),
    /// The run's record was not renewed for too long, so claude was ended or not started.
    Fenced,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ending::Code(code) => writeln!(f, "code={code}"),
            Ending::Signal(signal) => writeln!(f, "signal={signal}"),
            Ending::NotStarted(why) => writeln!(f, "not-started={}", one_line(why)),
            Ending::KeeperDied(why) => writeln!(f, "keeper-died={}", one_line(why)),
            Ending::Fenced => writeln!(f, "fenced=yes"),
        }
    }
}

fn one_line(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect()
}

impl Ending {
    /// Reads what [`Ending`] prints.
    ///
    /// # Errors
    ///
    /// [`Malformed`] shows what stands there instead.
    pub(crate) fn parse(text: &str) -> Result<Self, Malformed> {
        let strange =
            || Malformed(format!("{:?} is no ending", text.chars().take(80).collect::<String>()));
        let (key, value) =
            text.strip_suffix('\n').and_then(|line| line.split_once('=')).ok_or_else(strange)?;
        match key {
            "code" => value.parse().map(Ending::Code).map_err(|_| strange()),
            "signal" => value.parse().map(Ending::Signal).map_err(|_| strange()),
            "not-started" => Ok(Ending::NotStarted(value.to_owned())),
            "keeper-died" => Ok(Ending::KeeperDied(value.to_owned())),
            "fenced" => Ok(Ending::Fenced),
            _ => Err(strange()),
        }
    }
}

/// Splits the items of `argv` and `env`: each is followed by a NUL, so an empty item can be told
/// from none.
pub(crate) fn split_items(bytes: &[u8]) -> Vec<&[u8]> {
    let mut items: Vec<&[u8]> = bytes.split(|byte| *byte == 0).collect();
    items.pop();
    items
}

/// Joins items for `argv` and `env`; `None` if one holds a NUL.
pub(crate) fn join_items<'a>(items: impl IntoIterator<Item = &'a [u8]>) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for item in items {
        if item.contains(&0) {
            return None;
        }
        bytes.extend_from_slice(item);
        bytes.push(0);
    }
    Some(bytes)
}

/// Puts `bytes` at `dir/name` so that a reader sees all of it or nothing, also after a power cut.
///
/// # Errors
///
/// What the operating system said. The name is then as it was before, or already new (if only the
/// last sync failed); writing again is harmless.
pub(crate) fn write_whole(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = dir.join(format!(".{name}.new"));
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(FILE_MODE)
        .open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, dir.join(name))?;
    sync_dir(dir)
}

/// Makes the names in a directory durable.
///
/// # Errors
///
/// What the operating system said.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_entry_is_named_by_number_and_kind() {
        let entry = Entry { seq: 7, kind: EntryKind::End };
        assert_eq!(entry.to_string(), "000007.end");
        assert_eq!(Entry::parse("000007.end"), Some(entry));
        for other in
            [".000007.end.new", "000007.end.new", "7.end", "000007", "-00007.line", "000007.txt"]
        {
            assert_eq!(Entry::parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_started_record_reads_back() {
        let started = Started { guard: 1, keeper: 2, claude: 3, boot_id: "b".into() };
        assert_eq!(Started::parse(&started.to_string()), Ok(started));
        assert_eq!(Started::parse("guard=1\n"), Err(Malformed("keeper is missing".into())));
    }

    #[test]
    fn an_ending_reads_back_and_stays_one_line() {
        for ending in [
            Ending::Code(143),
            Ending::Signal(9),
            Ending::NotStarted("no = program".into()),
            Ending::KeeperDied("signal 9".into()),
            Ending::Fenced,
        ] {
            assert_eq!(Ending::parse(&ending.to_string()), Ok(ending));
        }
        assert_eq!(Ending::NotStarted("a\nb".into()).to_string(), "not-started=a b\n");
        assert!(Ending::parse("code=x\n").is_err());
        assert!(Ending::parse("code=1").is_err(), "a record without its last newline is cut");
    }

    #[test]
    fn a_whole_write_replaces_what_was_there() {
        let dir = tempfile::tempdir().expect("a folder");
        write_whole(dir.path(), "x", b"one").expect("written");
        write_whole(dir.path(), "x", b"two").expect("written");
        assert_eq!(fs::read(dir.path().join("x")).expect("read"), b"two");
        assert_eq!(fs::read_dir(dir.path()).expect("listed").count(), 1);
    }

    proptest! {
        #[test]
        fn items_read_back(items in prop::collection::vec(prop::collection::vec(1u8.., 0..5), 0..6)) {
            let bytes = join_items(items.iter().map(Vec::as_slice)).expect("no NUL");
            prop_assert_eq!(split_items(&bytes), items);
        }

        #[test]
        fn entries_read_back(seq in any::<u32>(), kind in prop::sample::select(&EntryKind::ALL)) {
            let entry = Entry { seq, kind };
            prop_assert_eq!(Entry::parse(&entry.to_string()), Some(entry));
        }

        #[test]
        fn no_text_makes_a_record_panic(text in ".*") {
            let _ = (Entry::parse(&text), Started::parse(&text), Ending::parse(&text));
        }
    }
}
