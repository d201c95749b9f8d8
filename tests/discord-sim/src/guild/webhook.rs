//! What follows the first answer to an interaction: its message read, edited, deleted, and more
//! messages, by the interaction's token alone.
//!
//! The token is good from the first answer on, until 15 minutes after the person acted.

use super::Guild;
use super::interactions::TOKEN_LIFE_MS;
use crate::error::ApiError;
use crate::form::check_draft;
use crate::ids::{InteractionId, MessageId};
use crate::model::{Callback, Change, Draft, Interaction, Message, Outcome};

/// Which message of an interaction is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// That of the first answer.
    Original,
    /// One by number.
    Numbered(MessageId),
}

impl Guild {
    /// The interaction of a token that is good.
    fn by_token(&self, token: &str) -> Result<&Interaction, ApiError> {
        let found = self.interactions.values().find(|it| it.token == token);
        let asked = found.filter(|it| self.now_ms < it.created_ms + TOKEN_LIFE_MS);
        let asked = asked.ok_or(ApiError::InvalidWebhookToken)?;
        if asked.callback.is_some() { Ok(asked) } else { Err(ApiError::UnknownWebhook) }
    }

    fn webhook_id(&self, token: &str, which: Which) -> Result<MessageId, ApiError> {
        let asked = self.by_token(token)?;
        let original = match asked.callback {
            Some(Callback::Message | Callback::Deferred) => asked.original,
            Some(Callback::DeferredUpdate | Callback::Update) => Some(asked.message),
            Some(Callback::Modal) | None => None,
        };
        let id = match which {
            Which::Original => original,
            Which::Numbered(id) => {
                Some(id).filter(|it| original == Some(*it) || asked.follow_ups.contains(it))
            }
        };
        let there = id.filter(|it| self.any_message(*it).is_some_and(Message::is_visible));
        there.ok_or(ApiError::UnknownMessage)
    }

    /// A message of an interaction.
    pub(crate) fn webhook_message(&self, token: &str, which: Which) -> Result<&Message, ApiError> {
        let id = self.webhook_id(token, which)?;
        self.any_message(id).ok_or(ApiError::UnknownMessage)
    }

    /// Edits a message of an interaction.
    pub(crate) fn webhook_edit(
        &mut self,
        token: &str,
        which: Which,
        change: Change,
    ) -> Result<MessageId, ApiError> {
        let id = self.webhook_id(token, which)?;
        self.edit_any(id, change)?;
        self.end_thinking(token, id);
        Ok(id)
    }

    /// Deletes a message of an interaction.
    pub(crate) fn webhook_delete(&mut self, token: &str, which: Which) -> Result<(), ApiError> {
        let id = self.webhook_id(token, which)?;
        self.end_thinking(token, id);
        if let Some(private) = self.private.get_mut(&id) {
            private.message.deleted_ms = Some(self.now_ms);
            return Ok(());
        }
        let channel = self.message(id).ok_or(ApiError::UnknownMessage)?.channel;
        self.delete(channel, id)
    }

    /// Adds a message; right after "thinking" it is what was thought of, as Discord still has it.
    pub(crate) fn follow_up(&mut self, token: &str, draft: Draft) -> Result<MessageId, ApiError> {
        let asked = self.by_token(token)?;
        let (id, original) = (asked.id, asked.original);
        check_draft(&draft, true)?;
        let loading = original.filter(|it| self.any_message(*it).is_some_and(Message::is_loading));
        if loading.is_some() {
            let change = Change {
                content: Some(draft.content),
                embeds: Some(draft.embeds),
                components: Some(draft.components),
                allowed_mentions: draft.allowed_mentions,
                flags: None,
            };
            return self.webhook_edit(token, Which::Original, change);
        }
        let message = self.add_answer(id, draft, original)?;
        self.with_interaction(id, |it| it.follow_ups.push(message));
        Ok(message)
    }

    /// The number of the message that was the first answer, for whoever asks for it.
    pub(crate) fn original_of(&self, id: InteractionId) -> Option<&Message> {
        let asked = self.interaction(id)?;
        let id = match asked.callback? {
            Callback::Message | Callback::Deferred => asked.original?,
            Callback::Update => asked.message,
            Callback::DeferredUpdate | Callback::Modal => return None,
        };
        self.any_message(id)
    }

    fn end_thinking(&mut self, token: &str, message: MessageId) {
        let thought = self
            .interactions
            .values()
            .find(|it| it.token == token && it.original == Some(message))
            .map(|it| it.id);
        if let Some(id) = thought {
            self.with_interaction(id, |it| it.outcome = Outcome::Answered);
        }
    }

    fn with_interaction(&mut self, id: InteractionId, change: impl FnOnce(&mut Interaction)) {
        if let Some(asked) = self.interactions.get_mut(&id) {
            change(asked);
        }
    }
}
