//! Which transcript of a session is the one to go on with: what lies here, or what its last run left in
//! FILES.
//!
//! A transcript is only ever added to, so one that begins with what was left goes on from it. Where that
//! cannot be told (claude may write it anew), it counts that this host was the last to put it there, or
//! to fetch it: the digest of that is remembered in the state directory, one file a session. A hint and
//! never the truth: without it, what was left is fetched.
//!
//! [`is_to_be_fetched`] is pure; nothing here knows NATS or writes a transcript.

use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use schemas::carried::File;
use schemas::ids::SessionId;
use schemas::streams::KEEP;

use crate::bus::digest_of;
use crate::keeper::record::{DIR_MODE, write_whole};

/// What lies here of a session, held against what its last run left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Here {
    /// Nothing.
    Nothing,
    /// What was left, or what goes on from it.
    GoesOn,
    /// Something else: older, or of an attempt that was lost.
    Other,
}

impl Here {
    /// Looks at a transcript.
    ///
    /// # Errors
    ///
    /// What the operating system said.
    pub(crate) fn look(transcript: Option<&Path>, left: &File) -> io::Result<Self> {
        let Some(transcript) = transcript else { return Ok(Self::Nothing) };
        let begins = digest_of(transcript, left.bytes)?;
        Ok(if begins.as_ref() == Some(&left.digest) { Self::GoesOn } else { Self::Other })
    }
}

/// Whether what was left is to be fetched. `last` is what this host put there or fetched last.
pub(crate) fn is_to_be_fetched(here: Here, left: &File, last: Option<&str>) -> bool {
    match here {
        Here::Nothing => true,
        Here::GoesOn => false,
        Here::Other => last != Some(left.digest.as_str()),
    }
}

/// What this host remembers of sessions. All calls block on small local files.
#[derive(Debug)]
pub(crate) struct Sessions {
    dir: PathBuf,
}

impl Sessions {
    /// Those in this state directory.
    pub(crate) fn new(state_dir: &Path) -> Self {
        Self { dir: state_dir.join("sessions") }
    }

    /// What was put into FILES, or fetched from there, last.
    pub(crate) fn last(&self, session: SessionId) -> Option<String> {
        fs::read_to_string(self.dir.join(session.to_string())).ok()
    }

    /// Remembers it.
    pub(crate) fn remember(&self, session: SessionId, file: &File) {
        let mut made = DirBuilder::new();
        let written =
            made.recursive(true).mode(DIR_MODE).create(&self.dir).and_then(|()| {
                write_whole(&self.dir, &session.to_string(), file.digest.as_bytes())
            });
        if let Err(error) = written {
            tracing::warn!(%error, "it is not remembered which transcript lies here");
        }
    }

    /// Forgets those whose files are gone from FILES.
    pub(crate) fn sweep(&self, now: SystemTime) {
        // Before the first one there is no directory.
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let written = entry.metadata().and_then(|it| it.modified());
            if written.is_ok_and(|it| now.duration_since(it).is_ok_and(|age| KEEP < age)) {
                match fs::remove_file(entry.path()) {
                    Err(error) if error.kind() != ErrorKind::NotFound => {
                        tracing::debug!(%error, "a session stays remembered");
                    }
                    Ok(()) | Err(_) => {}
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// What `test` has for a digest.
    fn left() -> File {
        let digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
        File { digest: digest.into(), bytes: 4 }
    }

    #[test]
    fn what_goes_on_from_what_was_left_stays_and_what_does_not_is_fetched() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let fetched = |text: Option<&str>, last: Option<&str>| {
            let there = text.map(|text| fs::write(&path, text)).map(|_| path.as_path());
            is_to_be_fetched(Here::look(there, &left()).unwrap(), &left(), last)
        };
        assert!(fetched(None, None), "nothing lies here");
        assert!(fetched(None, Some(&left().digest)), "it was deleted");
        assert!(!fetched(Some("test"), None));
        assert!(!fetched(Some("test and more"), None), "claude wrote more since");
        assert!(fetched(Some("tes"), None), "an older one");
        assert!(fetched(Some("text and more"), Some("another")), "of a lost attempt");
        assert!(!fetched(Some("text and more"), Some(&left().digest)), "claude wrote it anew");
    }

    #[test]
    fn what_was_left_last_is_remembered_for_as_long_as_files_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let sessions = Sessions::new(folder.path());
        let one = SessionId::random();
        assert_eq!(sessions.last(one), None);
        sessions.remember(one, &left());
        let now = fs::metadata(folder.path().join("sessions")).unwrap().modified().unwrap();
        sessions.sweep(now + Duration::from_secs(60));
        assert_eq!(sessions.last(one), Some(left().digest));
        sessions.sweep(now + KEEP + Duration::from_secs(60));
        assert_eq!(sessions.last(one), None);
    }
}
