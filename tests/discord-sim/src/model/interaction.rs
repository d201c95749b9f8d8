//! What a person does with a button, a select menu or a modal, and what came of it.
//!
//! Nothing is ever forgotten here either: an interaction keeps its answers, shown or gone.

use serde::{Deserialize, Serialize};

use crate::ids::{ChannelId, InteractionId, MessageId, UserId};

/// What a person did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum InteractionKind {
    /// Pressed a button.
    Press,
    /// Chose in a select menu.
    Select,
    /// Handed in a modal.
    Submit,
}

/// The bot's first answer to an interaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Callback {
    /// A message (type 4).
    Message,
    /// A message to come; the person sees "thinking" (type 5).
    Deferred,
    /// An edit to come; the person sees nothing (type 6).
    DeferredUpdate,
    /// An edit of the message that the component is on (type 7).
    Update,
    /// A modal (type 9).
    Modal,
}

impl Callback {
    /// Discord's number.
    pub fn number(self) -> u8 {
        match self {
            Self::Message => 4,
            Self::Deferred => 5,
            Self::DeferredUpdate => 6,
            Self::Update => 7,
            Self::Modal => 9,
        }
    }
}

/// How an interaction looks to the person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The bot still has time for its first answer.
    Waiting,
    /// The bot said that a message will come, and none has.
    Thinking,
    /// The bot answered.
    Answered,
    /// "This interaction failed": no answer within three seconds, or none after "thinking".
    Failed,
}

/// A text field of a modal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextInput {
    /// Its name for the bot.
    pub custom_id: String,
    /// Its name for the person.
    pub label: String,
    /// Whether it has several lines.
    pub several_lines: bool,
    /// Whether it must not stay empty.
    pub required: bool,
    /// The fewest characters, unless it stays empty.
    pub min_length: usize,
    /// The most characters.
    pub max_length: usize,
    /// The text that stands in it at first.
    pub value: Option<String>,
    /// The text shown while it is empty.
    pub placeholder: Option<String>,
}

/// A modal that a person sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Modal {
    /// Its name for the bot.
    pub custom_id: String,
    /// Its title.
    pub title: String,
    /// Its fields.
    pub inputs: Vec<TextInput>,
}

/// One use of a button, a select menu or a modal.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Interaction {
    /// Its number.
    pub id: InteractionId,
    /// What was done.
    pub kind: InteractionKind,
    /// Who did it.
    pub user: UserId,
    /// Where.
    pub channel: ChannelId,
    /// The message that the component is on; for a modal the one that led to it.
    pub message: MessageId,
    /// The name of the component or of the modal.
    pub custom_id: String,
    /// What was chosen in a select menu.
    pub values: Vec<String>,
    /// What was handed in, input by input.
    pub fields: Vec<(String, String)>,
    /// The interaction whose modal was handed in.
    pub from: Option<InteractionId>,
    /// With what the bot answers.
    pub token: String,
    /// When it was done, in Unix milliseconds.
    pub created_ms: u64,
    /// The bot's first answer.
    pub callback: Option<Callback>,
    /// How it looks to the person now.
    pub outcome: Outcome,
    /// The message of the first answer, if that is one of its own.
    pub original: Option<MessageId>,
    /// The messages that followed.
    pub follow_ups: Vec<MessageId>,
    /// The modal that the person sees.
    pub modal: Option<Modal>,
    /// Whether the modal was neither handed in nor closed.
    pub modal_is_open: bool,
}
