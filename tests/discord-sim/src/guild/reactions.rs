//! Reactions: given and taken back.

use super::Guild;
use crate::error::ApiError;
use crate::events::Event;
use crate::form::check_emoji;
use crate::ids::{ChannelId, MessageId, UserId};
use crate::model::Reaction;

/// The most different emojis under a message.
const REACTIONS_MAX: usize = 20;

impl Guild {
    /// Adds a reaction; a second time changes nothing.
    pub(crate) fn react(
        &mut self,
        user: UserId,
        channel: ChannelId,
        id: MessageId,
        emoji: &str,
    ) -> Result<(), ApiError> {
        self.visible(channel, id)?;
        self.refuse_if_archived(channel)?;
        check_emoji(emoji)?;
        let Some(message) = self.messages.get_mut(&(channel, id)) else {
            return Err(ApiError::UnknownMessage);
        };
        let is_full = message.reactions.len() == REACTIONS_MAX;
        match message.reactions.iter_mut().find(|it| it.emoji == emoji) {
            Some(reaction) if reaction.users.contains(&user) => return Ok(()),
            Some(reaction) => reaction.users.push(user),
            None if is_full => return Err(ApiError::TooManyReactions),
            None => {
                message.reactions.push(Reaction { emoji: emoji.to_owned(), users: vec![user] });
            }
        }
        let event = Event::reaction("MESSAGE_REACTION_ADD", self, channel, id, user, emoji);
        self.events.push(event);
        Ok(())
    }

    /// Takes a reaction back; none there changes nothing.
    pub(crate) fn unreact(
        &mut self,
        user: UserId,
        channel: ChannelId,
        id: MessageId,
        emoji: &str,
    ) -> Result<(), ApiError> {
        self.visible(channel, id)?;
        self.refuse_if_archived(channel)?;
        let Some(message) = self.messages.get_mut(&(channel, id)) else {
            return Err(ApiError::UnknownMessage);
        };
        let had = message.has_reaction(user, emoji);
        for reaction in message.reactions.iter_mut().filter(|it| it.emoji == emoji) {
            reaction.users.retain(|it| *it != user);
        }
        message.reactions.retain(|it| !it.users.is_empty());
        if had {
            let event = Event::reaction("MESSAGE_REACTION_REMOVE", self, channel, id, user, emoji);
            self.events.push(event);
        }
        Ok(())
    }
}
