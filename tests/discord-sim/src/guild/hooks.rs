//! Webhooks of a channel: what other programs write without a bot of their own.
//!
//! A webhook is no member: its number is in no list of users, and its name is in its messages alone.

use super::Guild;
use crate::error::ApiError;
use crate::form::check_draft;
use crate::ids::{ChannelId, MessageId, UserId};
use crate::model::{Draft, Message};

impl Guild {
    /// The name under which a message is shown.
    pub(crate) fn author_of<'a>(&'a self, message: &'a Message) -> &'a str {
        let member = || self.user(message.author).map(|it| it.name.as_str());
        message.webhook.as_deref().or_else(member).unwrap_or("nobody")
    }

    /// Writes a message as the webhook of this name, which is made now unless it is there.
    pub(crate) fn post_by_webhook(
        &mut self,
        name: &str,
        channel: ChannelId,
        draft: Draft,
    ) -> Result<MessageId, ApiError> {
        check_draft(&draft, true)?;
        self.channel(channel)?;
        self.open_thread_for_message(channel, false)?;
        let webhook = match self.webhooks.get(name) {
            Some(webhook) => *webhook,
            None => UserId(self.next_id()),
        };
        self.webhooks.insert(name.to_owned(), webhook);
        let mut message = self.compose(webhook, channel, draft, None);
        message.is_bot = true;
        message.webhook = Some(name.to_owned());
        Ok(self.insert_message(message))
    }
}
