//! The work message: a released run, from the gateway to whichever runner holds the project.
//!
//! It carries all that a runner needs to start; trace context travels in the headers beside it.
//! It never changes after release: another generation is another message.

use serde::{Deserialize, Serialize};

use crate::carried::Carried;
use crate::files::{Attached, Withheld};
use crate::ids::{
    ChannelId, Generation, MessageId, ModelName, ProjectName, RunId, SessionId, ThreadId, UserId,
};
use crate::rights::Rights;
use crate::run::claim::Work;
use crate::wire::VERSION;

/// The most bytes of a prompt, and of what claude is told with the texts that are attached to it: a file
/// of 256 kB and the message around it. Below NATS' `max_payload` (1 MiB) even when every byte is escaped
/// threefold.
pub const PROMPT_MAX: usize = 300 * 1024;

/// A released run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Request {
    /// Version of this type.
    pub v: u16,
    /// The run.
    pub run: RunId,
    /// Its generation when this message was published.
    pub generation: Generation,
    /// The generation of the last Retry: an outcome of an older one is none of this. Messages
    /// from before there were Moves have none: each of their generations was a Retry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Generation>,
    /// Where claude is to work.
    pub project: ProjectName,
    /// The channel that the project is mapped to.
    pub channel: ChannelId,
    /// The conversation.
    pub thread: ThreadId,
    /// claude's session for this conversation. The runner resumes it where its transcript lies and
    /// starts it under this id where not.
    pub session: SessionId,
    /// What the conversation's last run left, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carried: Option<Carried>,
    /// Who asked.
    pub author: Author,
    /// The message that asked, if a message did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<MessageId>,
    /// What claude is told, unchanged. At most [`PROMPT_MAX`] bytes.
    pub prompt: String,
    /// The model that a person chose for the thread; none: the runner's own word counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelName>,
    /// The thread whose files this one begins with, where both are at the same runner and this one has
    /// none of its own yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files_of: Option<ThreadId>,
    /// Whether the session was begun in a terminal of the runner's host: it is resumed there, or nothing
    /// is run. A runner that knows nothing of it begins a new one.
    #[serde(default, skip_serializing_if = "is_false")]
    pub brought: bool,
    /// What the runner is to do. Messages from before there was a choice ask claude.
    #[serde(default, skip_serializing_if = "Task::is_ask")]
    pub task: Task,
    /// The files that came with the question, at most [`crate::files::ATTACHED_MAX`]. All of them are in
    /// FILES before this is published.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<Attached>,
    /// The files that came with it and that claude is not given, at most
    /// [`crate::files::WITHHELD_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub withheld: Vec<Withheld>,
    /// Whether there is somebody who can be asked for leave. Messages of a gateway that cannot show an
    /// ask say nothing of it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub asking: bool,
    /// What the run may do, within what its runner permits.
    #[serde(default, skip_serializing_if = "Rights::are_usual")]
    pub rights: Rights,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

/// What a runner is to do for a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Ask claude.
    #[default]
    Ask,
    /// Say what has changed in the conversation's worktree since it began, without claude. A runner that
    /// knows no tasks asks claude, whom the prompt tells the same.
    Diff,
}

impl Task {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    fn is_ask(&self) -> bool {
        match self {
            Self::Ask => true,
            Self::Diff => false,
        }
    }
}

/// A person of Discord.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Author {
    /// The person.
    pub id: UserId,
    /// The name that the others see.
    pub name: String,
}

impl Request {
    /// The version that this program writes.
    pub const VERSION: u16 = VERSION;

    /// What a claim needs to know of this message.
    pub fn work(&self) -> Work {
        Work { generation: self.generation, since: self.since.unwrap_or(self.generation) }
    }
}
