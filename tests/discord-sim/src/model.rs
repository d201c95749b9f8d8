//! What a guild is made of: people, roles, channels, messages. Plain values that tests read.
//!
//! Nothing is ever forgotten: a deleted message keeps its place with the time of its deletion, an
//! edited one keeps every text it had, so that a test sees all that was ever shown.

mod interaction;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::interaction::{Callback, Interaction, InteractionKind, Modal, Outcome, TextInput};
use crate::ids::{AttachmentId, ChannelId, InteractionId, MessageId, RoleId, UserId};
use crate::permissions::{Overwrite, Permissions};

/// A person or a bot, as a member of the guild.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct User {
    /// Its number.
    pub id: UserId,
    /// Its name, `alice`.
    pub name: String,
    /// Whether it is a bot.
    pub bot: bool,
    /// Its roles, without the one that everybody has.
    pub roles: Vec<RoleId>,
    /// When it joined, in Unix milliseconds.
    pub joined_ms: u64,
}

/// A role of the guild.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Role {
    /// Its number; that of the guild for the role that everybody has.
    pub id: RoleId,
    /// Its name.
    pub name: String,
    /// What its members may do.
    pub permissions: Permissions,
}

/// A text channel or a thread.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Channel {
    /// Its number.
    pub id: ChannelId,
    /// Its name.
    pub name: String,
    /// The newest message ever posted in it, deleted or not.
    pub last_message: Option<MessageId>,
    /// What it changes of the permissions of a member.
    pub overwrites: BTreeMap<UserId, Overwrite>,
    /// Whether it was deleted; its messages stay in the history.
    pub deleted: bool,
    /// What it has beside that as a thread, nothing for a channel.
    pub thread: Option<Thread>,
}

/// What makes a channel a thread.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Thread {
    /// The channel it hangs under.
    pub parent: ChannelId,
    /// Who started it.
    pub owner: UserId,
    /// Whether it is archived; a message wakes it unless it is locked.
    pub archived: bool,
    /// Whether only those with `MANAGE_THREADS` may write.
    pub locked: bool,
    /// Minutes without a message after which Discord would archive it. The simulator never does
    /// that by itself.
    pub auto_archive_minutes: u64,
    /// When it was last archived or woken, in Unix milliseconds.
    pub archive_changed_ms: u64,
    /// When it was started, in Unix milliseconds.
    pub created_ms: u64,
    /// Who is in it.
    pub members: Vec<UserId>,
    /// How many messages were sent in it, the first system message not counted.
    pub sent: u64,
}

/// The kinds of message that Holdfast can meet, by Discord's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MessageKind(pub u8);

impl MessageKind {
    /// What a person or a bot wrote.
    pub const REGULAR: Self = Self(0);
    /// "alice pinned a message."
    pub const PINNED: Self = Self(6);
    /// "alice joined."
    pub const JOINED: Self = Self(7);
    /// "alice changed the name of the thread."
    pub const RENAMED: Self = Self(4);
    /// "alice started a thread", in the channel of a thread that has no first message.
    pub const THREAD_CREATED: Self = Self(18);
    /// What a person or a bot wrote in answer to a message.
    pub const REPLY: Self = Self(19);
    /// The first entry of a thread that was started from a message.
    pub const THREAD_STARTER: Self = Self(21);

    /// Whether somebody wrote it, rather than Discord.
    pub fn is_written(self) -> bool {
        self == Self::REGULAR || self == Self::REPLY
    }
}

/// The message that a message answers, or that a system message speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// The channel it is in.
    pub channel: ChannelId,
    /// The message; none when only the channel is meant.
    pub message: Option<MessageId>,
}

/// Everybody who reacted with one emoji, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reaction {
    /// The emoji itself, or `name:id` of a custom one.
    pub emoji: String,
    /// Who reacted.
    pub users: Vec<UserId>,
}

/// A file that came with a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// Its number.
    pub id: AttachmentId,
    /// Its name.
    pub filename: String,
    /// Its media type, if one was said.
    pub content_type: Option<String>,
    /// Its length in bytes.
    pub size: u64,
    /// Where it is to be fetched.
    pub url: String,
}

/// A file on its way into a message.
#[derive(Clone, Debug)]
pub struct NewFile {
    /// Its name.
    pub filename: String,
    /// Its media type, if one is said.
    pub content_type: Option<String>,
    /// What is in it.
    pub bytes: bytes::Bytes,
}

impl NewFile {
    /// A file of text.
    pub fn text(filename: &str, content: impl Into<Vec<u8>>) -> Self {
        Self {
            filename: filename.to_owned(),
            content_type: Some("text/plain; charset=utf-8".to_owned()),
            bytes: content.into().into(),
        }
    }
}

/// What a message showed before an edit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Shown {
    /// Its text.
    pub content: String,
    /// Its embeds, as they were given.
    pub embeds: Vec<Value>,
    /// Its components, as they were given.
    pub components: Vec<Value>,
    /// When the edit ended it, in Unix milliseconds.
    pub until_ms: u64,
}

/// A message with all that ever happened to it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Message {
    /// Its number.
    pub id: MessageId,
    /// Where it is.
    pub channel: ChannelId,
    /// Who wrote it.
    pub author: UserId,
    /// Whether a bot wrote it.
    pub is_bot: bool,
    /// What kind of message it is.
    pub kind: MessageKind,
    /// Its text.
    pub content: String,
    /// The nonce that was sent with it.
    pub nonce: Option<String>,
    /// The message it answers.
    pub reference: Option<Reference>,
    /// The reactions under it, in the order of their first appearance.
    pub reactions: Vec<Reaction>,
    /// Its components, as they were given.
    pub components: Vec<Value>,
    /// Its embeds, as they were given.
    pub embeds: Vec<Value>,
    /// The files that came with it.
    pub attachments: Vec<Attachment>,
    /// Whom its sender allowed it to ping, as it was given; none given means everybody named.
    pub allowed_mentions: Option<Value>,
    /// The people it pings.
    pub mentions: Vec<UserId>,
    /// Whether it pings everybody.
    pub mention_everyone: bool,
    /// Its flags, as they were given.
    pub flags: u64,
    /// When it was posted, in Unix milliseconds.
    pub created_ms: u64,
    /// When it was last edited, in Unix milliseconds.
    pub edited_ms: Option<u64>,
    /// What it showed before each edit, oldest first.
    pub before: Vec<Shown>,
    /// When it was deleted, in Unix milliseconds.
    pub deleted_ms: Option<u64>,
    /// The interaction that it answers.
    #[serde(default)]
    pub interaction: Option<InteractionId>,
    /// The name of the webhook that wrote it, whose number is the author's.
    #[serde(default)]
    pub webhook: Option<String>,
}

impl Message {
    /// The flag of a message that only one person sees.
    pub const EPHEMERAL: u64 = 1 << 6;
    /// The flag of a message that is to come: "thinking".
    pub const LOADING: u64 = 1 << 7;

    /// Whether only the person sees it who caused it.
    pub fn is_ephemeral(&self) -> bool {
        self.flags & Self::EPHEMERAL != 0
    }

    /// Whether it stands for a message that is to come.
    pub fn is_loading(&self) -> bool {
        self.flags & Self::LOADING != 0
    }

    /// Whether people can see it now.
    pub fn is_visible(&self) -> bool {
        self.deleted_ms.is_none()
    }

    /// Whether `user` reacted with `emoji`.
    pub fn has_reaction(&self, user: UserId, emoji: &str) -> bool {
        self.reactions.iter().any(|it| it.emoji == emoji && it.users.contains(&user))
    }
}

/// What somebody wants to post.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// The text.
    pub content: String,
    /// The nonce, at most 25 characters.
    pub nonce: Option<String>,
    /// Whether a message of this author with this nonce stands for this one.
    pub enforce_nonce: bool,
    /// The message that is answered.
    pub reply_to: Option<MessageId>,
    /// Whether a missing `reply_to` is an error.
    pub reply_must_exist: bool,
    /// Embeds, within Discord's limits.
    pub embeds: Vec<Value>,
    /// Components, within Discord's limits.
    pub components: Vec<Value>,
    /// Whom it may ping.
    pub allowed_mentions: Option<Value>,
    /// Flags, kept as they are.
    pub flags: u64,
    /// Files.
    pub files: Vec<NewFile>,
}

/// What an edit changes; what is none stays as it is.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// The new text.
    pub content: Option<String>,
    /// The new embeds.
    pub embeds: Option<Vec<Value>>,
    /// The new components.
    pub components: Option<Vec<Value>>,
    /// Whom it may ping.
    pub allowed_mentions: Option<Value>,
    /// The new flags.
    pub flags: Option<u64>,
}
