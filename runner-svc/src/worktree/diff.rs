//! What has changed in a thread's worktree since it left the project, committed or not.
//!
//! It is held against the newest commit that the worktree and the project's directory have in common.
//! What git ignores is left out, and so is a file that is a mere copy of the project's own. Nothing of
//! the repository is touched: as for a bundle, the worktree is made a commit in a repository beside it.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::path::Path;

use schemas::carried::CHANGES_MAX;
use schemas::files::GIVEN_BYTES_MAX;
use schemas::ids::ThreadId;

use super::carry::{CarryError, LOCK_MAX, line};
use super::git::{Git, GitError};
use super::place::{Phase, Place};
use super::{Site, Worktrees};

/// How two commits are compared, whatever the user's own settings are.
const COMPARE: &str = "-c diff.noprefix=false -c diff.mnemonicPrefix=false diff --no-ext-diff \
                       --no-textconv --no-color";

/// What has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Diff {
    /// There is no worktree here.
    NoWorktree,
    /// The thread works in the project's directory itself.
    Directory,
    /// Nothing.
    Nothing,
    /// More than can be shown.
    TooLarge,
    /// This.
    Changed {
        /// How much.
        counts: Counts,
        /// The commit that it is held against.
        base: String,
        /// In git's words.
        diff: Vec<u8>,
    },
}

/// How much has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    files: u64,
    added: u64,
    removed: u64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { files, added, removed } = self;
        let s = if *files == 1 { "" } else { "s" };
        write!(f, "{files} file{s} changed, +{added} −{removed}")
    }
}

impl Worktrees {
    /// Says what has changed in a thread's worktree. Changes nothing in it, and nothing in its
    /// repository.
    ///
    /// # Errors
    ///
    /// [`CarryError`].
    pub(crate) async fn diff(&self, site: Site<'_>, thread: ThreadId) -> Result<Diff, CarryError> {
        let place = Place::new(&self.root, site.project, thread);
        match place.phase()? {
            Some(Phase::Directory { .. }) => return Ok(Diff::Directory),
            Some(Phase::Made { .. } | Phase::Ready { .. }) => {}
            None => return Ok(Diff::NoWorktree),
        }
        let at = self.hold(site, &place, LOCK_MAX).await?;
        let Some((link, inside)) = at.worktree()? else { return Ok(Diff::NoWorktree) };
        let path = &place.path;
        let Some(head) = at.git().commit(path, "HEAD").await? else {
            return Ok(Diff::NoWorktree);
        };
        let changes = at.sized_changes(&inside).await?;
        if CHANGES_MAX < changes.bytes {
            return Ok(Diff::TooLarge);
        }
        let base = at.git().left_at(path, &head, site.directory).await?;
        // Of its own: at the end of a run, what it leaves is made beside this.
        let aside = at.aside_at(&link, place.look()).await?;
        let snapshot = at.snapshot(&aside.env, &head, &changes.copies).await?;
        let git = Git { env: &aside.env, lock: &at.lock };
        let between = [base.as_str(), snapshot.as_str(), "--"].map(OsStr::new);
        let counts = git.compare(path, "--shortstat", &between).await;
        let diff = git.compare(path, "--patch", &between).await;
        if let Err(error) = fs::remove_dir_all(place.look()) {
            tracing::debug!(%error, "a folder stays");
        }
        let (counts, diff) = match (counts, diff) {
            (Err(GitError::TooMuch { .. }), _) | (_, Err(GitError::TooMuch { .. })) => {
                return Ok(Diff::TooLarge);
            }
            (counts, diff) => (parse_counts(&String::from_utf8_lossy(&counts?)), diff?),
        };
        if diff.is_empty() {
            return Ok(Diff::Nothing);
        }
        if GIVEN_BYTES_MAX < diff.len() as u64 {
            return Ok(Diff::TooLarge);
        }
        Ok(Diff::Changed { counts, base, diff })
    }
}

impl Git<'_> {
    /// The newest commit that a worktree and the project have in common: where one left the other.
    async fn left_at(&self, path: &Path, head: &str, project: &Path) -> Result<String, GitError> {
        let Some(theirs) = self.commit(project, "HEAD").await? else { return Ok(head.to_owned()) };
        let more = [head, theirs.as_str()].map(OsStr::new);
        match self.call(path, "merge-base", &more).await {
            Ok(answer) => Ok(line(&answer)),
            // They have nothing in common: then it is what is not committed that counts.
            Err(GitError::Failed { code: Some(1), .. }) => Ok(head.to_owned()),
            Err(error) => Err(error),
        }
    }

    async fn compare(
        &self,
        path: &Path,
        how: &str,
        between: &[&OsStr],
    ) -> Result<Vec<u8>, GitError> {
        let more: Vec<&OsStr> =
            [OsStr::new(how)].into_iter().chain(between.iter().copied()).collect();
        self.call(path, COMPARE, &more).await
    }
}

/// Reads ` 3 files changed, 10 insertions(+), 2 deletions(-)`.
fn parse_counts(text: &str) -> Counts {
    let mut counts = Counts::default();
    for part in text.trim().split(", ") {
        let Some((number, what)) = part.split_once(' ') else { continue };
        let number = number.parse().unwrap_or_default();
        match what.as_bytes().first() {
            Some(b'f') => counts.files = number,
            Some(b'i') => counts.added = number,
            Some(b'd') => counts.removed = number,
            Some(_) | None => {}
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_as_git_writes_them() {
        let counts = parse_counts(" 3 files changed, 10 insertions(+), 2 deletions(-)\n");
        assert_eq!(counts.to_string(), "3 files changed, +10 −2");
        let counts = parse_counts(" 1 file changed, 1 deletion(-)\n");
        assert_eq!(counts.to_string(), "1 file changed, +0 −1");
        assert_eq!(parse_counts(""), Counts::default());
    }
}
