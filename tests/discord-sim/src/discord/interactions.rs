//! Buttons, select menus and modals, from the side of whoever uses them.
//!
//! What a person does here reaches the bot as `INTERACTION_CREATE`; what the bot answers is seen
//! here as that person sees it, with the messages that nobody else sees.

use super::Discord;
use crate::error::ApiError;
use crate::ids::{ChannelId, InteractionId, MessageId, UserId};
use crate::model::{Interaction, Message, Modal, Outcome};

/// What a person does with what the bot shows.
impl Discord {
    /// Presses a button.
    ///
    /// # Errors
    ///
    /// [`ApiError::UnknownMessage`] for a message that this person does not see,
    /// [`ApiError::InvalidField`] when there is no such button, or it is disabled.
    pub fn press(
        &self,
        message: MessageId,
        custom_id: &str,
        user: UserId,
    ) -> Result<InteractionId, ApiError> {
        self.hub.act(|guild| guild.press(user, message, custom_id))
    }

    /// Presses a button that is not there: any name, on any message there ever was, from any channel that
    /// there is.
    ///
    /// Discord refuses the like ([`Discord::press`] does); a bot that trusts what is in an interaction
    /// is fooled by it.
    ///
    /// # Errors
    ///
    /// [`ApiError::UnknownChannel`], [`ApiError::UnknownMessage`].
    pub fn forge_press(
        &self,
        (channel, message): (ChannelId, MessageId),
        custom_id: &str,
        user: UserId,
    ) -> Result<InteractionId, ApiError> {
        self.hub.act(|guild| guild.forge(user, (channel, message), custom_id))
    }

    /// Chooses in a select menu: its options' values, or the numbers of people, roles, channels.
    ///
    /// # Errors
    ///
    /// As for [`Discord::press`], and when too few, too many or unknown values are chosen.
    pub fn select(
        &self,
        message: MessageId,
        custom_id: &str,
        values: &[&str],
        user: UserId,
    ) -> Result<InteractionId, ApiError> {
        self.hub.act(|guild| guild.select(user, message, custom_id, values))
    }

    /// Hands in the modal that was the answer to an interaction, as the person who sees it. An
    /// input that is not named keeps the text that stood in it at first.
    ///
    /// # Errors
    ///
    /// [`ApiError::UnknownInteraction`] when there is no open modal, [`ApiError::InvalidField`]
    /// when a text does not fit.
    pub fn submit_modal(
        &self,
        shown_by: InteractionId,
        texts: &[(&str, &str)],
    ) -> Result<InteractionId, ApiError> {
        self.hub.act(|guild| guild.submit(shown_by, texts))
    }

    /// Closes a modal; the bot does not hear of it.
    ///
    /// # Errors
    ///
    /// [`ApiError::UnknownInteraction`] when there is no open modal.
    pub fn close_modal(&self, shown_by: InteractionId) -> Result<(), ApiError> {
        self.hub.act(|guild| guild.close_modal(shown_by))
    }
}

/// What a person sees of it.
impl Discord {
    /// An interaction with all that came of it.
    pub fn interaction(&self, id: InteractionId) -> Option<Interaction> {
        self.view(|it| it.guild.interaction(id).cloned())
    }

    /// How an interaction looks to its person.
    pub fn outcome(&self, id: InteractionId) -> Option<Outcome> {
        self.view(|it| it.guild.interaction(id).map(|asked| asked.outcome))
    }

    /// The messages that an interaction led to and that its person still sees, oldest first;
    /// those for this person alone among them ([`Message::is_ephemeral`]).
    pub fn answers_to(&self, id: InteractionId) -> Vec<Message> {
        self.view(|it| it.guild.answers_to(id).cloned().collect())
    }

    /// The modal that an interaction led to, until it is handed in or closed.
    pub fn modal_of(&self, id: InteractionId) -> Option<Modal> {
        self.view(|it| {
            let asked = it.guild.interaction(id).filter(|asked| asked.modal_is_open)?;
            asked.modal.clone()
        })
    }

    /// The messages of a channel that only this person sees, oldest first.
    pub fn private_messages(&self, channel: ChannelId, user: UserId) -> Vec<Message> {
        self.view(|it| it.guild.private_messages(channel, user).cloned().collect())
    }
}
