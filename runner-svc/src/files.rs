//! Where the files of conversations lie on this host: those that came with questions, and the folder
//! that claude gives files from.
//!
//! | in `files/<project>/<thread>/` | what |
//! |---|---|
//! | `in/<run>/` | what came with a question; it stays, for claude may look at it again |
//! | `out/` | the outbox: what claude puts here goes with its answer |
//! | `out.of` | whose outbox it is at present |
//!
//! The outbox has one place for all runs of a conversation, because claude is told of it in what begins
//! the conversation, which must stay the same. It is emptied when another run begins, and when an answer
//! was told. What was not used for as long as things are kept is taken away. Nothing here looks into a
//! file.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use platform::clock::now_ms;
use schemas::ids::{ProjectName, RunId, ThreadId};
use schemas::streams::KEEP;

use crate::keeper::record::{DIR_MODE, write_whole};

/// The file that says whose the outbox is.
const OUT_OF: &str = "out.of";

/// The files of all conversations of this host.
#[derive(Debug)]
pub(crate) struct Files {
    root: PathBuf,
}

/// Those of one conversation.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    dir: PathBuf,
}

impl Files {
    /// The files in this state directory.
    pub(crate) fn new(state_dir: &Path) -> Self {
        Self { root: state_dir.join("files") }
    }

    /// Those of a conversation.
    pub(crate) fn of(&self, project: &ProjectName, thread: ThreadId) -> Folder {
        Folder { dir: self.root.join(project.as_str()).join(thread.to_string()) }
    }

    /// Takes away what was not used for long, unless `is_busy` says that its conversation has a run.
    /// What cannot be removed now stays for another time.
    pub(crate) fn sweep(&self, now: SystemTime, is_busy: impl Fn(ThreadId) -> bool) {
        for project in folders(&self.root) {
            for conversation in folders(&project) {
                let name = conversation.file_name().unwrap_or_default().to_string_lossy();
                let Ok(thread) = name.parse::<ThreadId>() else { continue };
                let used = fs::metadata(&conversation).and_then(|it| it.modified());
                let is_old =
                    used.is_ok_and(|used| now.duration_since(used).is_ok_and(|age| KEEP <= age));
                if is_old
                    && !is_busy(thread)
                    && let Err(error) = fs::remove_dir_all(&conversation)
                {
                    tracing::debug!(%error, path = %conversation.display(), "files stay");
                }
            }
        }
    }
}

fn folders(dir: &Path) -> Vec<PathBuf> {
    // Before the first file there is no folder.
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

impl Folder {
    /// All of it: what claude may look into.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the files of a question lie.
    pub(crate) fn inbox(&self, run: &RunId) -> PathBuf {
        self.dir.join("in").join(run.as_str())
    }

    /// Where claude gives files from.
    pub(crate) fn outbox(&self) -> PathBuf {
        self.dir.join("out")
    }

    /// Makes what a run needs, before its claude starts. What another run left in the outbox goes; what
    /// an earlier attempt of this one put there stays.
    ///
    /// # Errors
    ///
    /// What the operating system said.
    pub(crate) fn begin(&self, run: &RunId) -> io::Result<()> {
        let owner = fs::read_to_string(self.dir.join(OUT_OF)).unwrap_or_default();
        if owner.trim() != run.as_str() {
            self.clear()?;
        }
        make(&self.outbox())?;
        write_whole(&self.dir, OUT_OF, run.as_str().as_bytes())?;
        // The time of the folder says when it was last used.
        let now = UNIX_EPOCH + Duration::from_millis(now_ms().unsigned_abs());
        fs::File::open(&self.dir)?.set_modified(now)
    }

    /// Makes the folder for what came with a question.
    ///
    /// # Errors
    ///
    /// What the operating system said.
    pub(crate) fn make_inbox(&self, run: &RunId) -> io::Result<PathBuf> {
        let inbox = self.inbox(run);
        make(&inbox).map(|()| inbox)
    }

    /// Empties the outbox.
    ///
    /// # Errors
    ///
    /// What the operating system said.
    pub(crate) fn clear(&self) -> io::Result<()> {
        match fs::remove_dir_all(self.outbox()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        make(&self.outbox())
    }
}

fn make(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(DIR_MODE).create(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(root: &Path) -> (Files, Folder) {
        let files = Files::new(root);
        let folder = files.of(&"app".parse().unwrap(), "7".parse().unwrap());
        (files, folder)
    }

    #[test]
    fn an_outbox_is_empty_for_another_run_and_kept_for_the_next_attempt() {
        let root = tempfile::tempdir().unwrap();
        let (_, folder) = folder(root.path());
        let (one, two): (RunId, RunId) = ("m7".parse().unwrap(), "m8".parse().unwrap());
        folder.begin(&one).unwrap();
        fs::write(folder.outbox().join("a"), "a").unwrap();
        folder.begin(&one).unwrap();
        assert!(folder.outbox().join("a").exists());
        folder.begin(&two).unwrap();
        assert!(!folder.outbox().join("a").exists() && folder.outbox().is_dir());
    }

    #[test]
    fn what_was_not_used_for_long_goes_unless_somebody_is_at_it() {
        let root = tempfile::tempdir().unwrap();
        let (files, folder) = folder(root.path());
        folder.begin(&"m7".parse().unwrap()).unwrap();
        let now = UNIX_EPOCH + Duration::from_millis(now_ms().unsigned_abs());
        files.sweep(now, |_| false);
        assert!(folder.dir().exists(), "it was used just now");
        files.sweep(now + 2 * KEEP, |_| true);
        assert!(folder.dir().exists(), "it has a run");
        files.sweep(now + 2 * KEEP, |_| false);
        assert!(!folder.dir().exists());
    }
}
