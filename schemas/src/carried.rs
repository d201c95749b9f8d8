//! What a conversation needs to go on at another host: its transcript, and the changes in its worktree.
//!
//! The runner that ended a run puts both into FILES and names them in the terminal record; the gateway
//! keeps what the last record of a conversation named, and sends it along with the next request. Plain
//! values: who fetches what is said by the runner.

use serde::{Deserialize, Serialize};

/// The most bytes of a transcript that is put into FILES: a conversation that long was summed up many
/// times.
pub const TRANSCRIPT_MAX: u64 = 64 * 1024 * 1024;

/// The most bytes of changed files that travel, as they lie there and once more in their bundle. What
/// is larger is no work of a conversation, but data.
pub const CHANGES_MAX: u64 = 50 * 1024 * 1024;

/// What a conversation left.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Carried {
    /// claude's transcript of the session. None where it could not be put there, or claude wrote none:
    /// what was known before still holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transcript: Option<File>,
    /// The worktree of the conversation, in a project that several runners share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<Changes>,
}

/// A file in the project's FILES bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct File {
    /// Its name there: the SHA-256 of its bytes in hexadecimal.
    pub digest: String,
    /// Its size in bytes.
    pub bytes: u64,
}

/// A worktree, as git has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Changes {
    /// The commit that was checked out.
    pub head: String,
    /// A commit on top of it, of all files that git does not ignore, as they lay there. It is the same
    /// whoever makes it of the same files.
    pub snapshot: String,
    /// A git bundle of the snapshot and of what it stands on that is in no branch and no remote of the
    /// project. None: nothing was changed there that is not committed elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<File>,
}

impl Carried {
    /// What holds after a further run: where that left nothing, what was there before.
    #[must_use]
    pub fn after(self, before: Option<Self>) -> Self {
        let before = before.unwrap_or_default();
        Self {
            transcript: self.transcript.or(before.transcript),
            changes: self.changes.or(before.changes),
        }
    }
}

/// A sentence for the thread about what of a conversation did not come along.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Remark {
    /// What it is about.
    pub about: About,
    /// The sentence, of at most [`crate::record::NOTICE_MAX`] bytes.
    pub text: String,
}

/// What a [`Remark`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum About {
    /// The conversation did not come along to this runner. Told each time.
    Transcript,
    /// Changes did not come along to this runner, or met others there. Told each time.
    Changes,
    /// The conversation could not be put into FILES. Told once a thread.
    TranscriptStays,
    /// Changes could not be put into FILES. Told once a thread.
    ChangesStay,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(digest: &str) -> Carried {
        let transcript = Some(File { digest: digest.into(), bytes: 1 });
        Carried { transcript, changes: None }
    }

    #[test]
    fn what_a_run_could_not_put_there_is_what_was_there_before() {
        let before = left("a");
        assert_eq!(Carried::default().after(Some(before.clone())), before);
        let later = left("b");
        assert_eq!(later.clone().after(Some(before)), later);
        assert_eq!(later.clone().after(None), later);
    }
}
