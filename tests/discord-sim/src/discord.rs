//! The person's side: what a test, or somebody at the page, does and sees.
//!
//! Nothing here is limited by the bot's permissions; what is impossible for anybody (a message
//! into a deleted channel) is refused as Discord refuses it.

mod faults;
mod interactions;

use std::sync::Arc;
use std::time::Duration;

use crate::error::ApiError;
use crate::guild::threads::{NewThread, ThreadChange};
use crate::guild::{BOT_ID, Guild};
use crate::hub::{Hub, RouteCounts, View};
use crate::ids::{ChannelId, GuildId, MessageId, RoleId, UserId};
use crate::model::{Change, Draft, Message, MessageKind, NewFile, Reaction};
use crate::permissions::Permissions;
use crate::sessions::GatewayCounts;

/// A wait that came to its end without what was waited for.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{what} did not come within {within:?}; the guild then:\n{transcript}")]
pub struct WaitError {
    /// What was waited for.
    pub what: String,
    /// How long.
    pub within: Duration,
    /// All channels and messages at that moment.
    pub transcript: String,
}

/// A handle on a running simulator. Copies act on the same one.
#[derive(Clone, Debug)]
pub struct Discord {
    pub(crate) hub: Arc<Hub>,
}

/// Setting up the guild.
impl Discord {
    /// The guild's number.
    pub fn guild_id(&self) -> GuildId {
        self.view(|it| it.guild.id())
    }

    /// The bot's number, also that of its application.
    pub fn bot(&self) -> UserId {
        BOT_ID
    }

    /// The bot's token.
    pub fn token(&self) -> &str {
        &self.hub.options.token
    }

    /// The text channel of this name, made now unless it is there.
    pub fn channel(&self, name: &str) -> ChannelId {
        self.hub.act(|guild| guild.ensure_channel(name))
    }

    /// The text channel of this number, made now unless it is there: for a bot that is told its channels
    /// before anybody can ask for them.
    pub fn channel_of(&self, id: ChannelId, name: &str) {
        self.hub.act(|guild| guild.ensure_channel_of(id, name));
    }

    /// The role of this name, made now unless it is there.
    pub fn role(&self, name: &str) -> RoleId {
        self.hub.act(|guild| guild.ensure_role(name))
    }

    /// The person of this name, who joins now unless already there.
    pub fn user(&self, name: &str) -> UserId {
        self.hub.act(|guild| guild.ensure_user(name))
    }

    /// Another bot of this name, which joins now unless already there.
    pub fn other_bot(&self, name: &str) -> UserId {
        self.hub.act(|guild| guild.ensure_member(name, true))
    }

    /// The person of this name with these roles, by name; both are made as needed.
    pub fn user_with_roles(&self, name: &str, roles: &[&str]) -> UserId {
        self.hub.act(|guild| {
            let user = guild.ensure_user(name);
            for role in roles {
                let role = guild.ensure_role(role);
                // The user was just made sure of, so this cannot be refused.
                let _ = guild.give_role(user, role);
            }
            user
        })
    }

    /// Gives a role.
    ///
    /// # Errors
    ///
    /// [`ApiError::UnknownMember`].
    pub fn give_role(&self, user: UserId, role: RoleId) -> Result<(), ApiError> {
        self.hub.act(|guild| guild.give_role(user, role))
    }

    /// Takes a role away.
    ///
    /// # Errors
    ///
    /// [`ApiError::UnknownMember`].
    pub fn take_role(&self, user: UserId, role: RoleId) -> Result<(), ApiError> {
        self.hub.act(|guild| guild.take_role(user, role))
    }

    /// Says what the bot may not do in a channel and its threads; replaces what was said before.
    ///
    /// # Errors
    ///
    /// [`ApiError::UnknownChannel`].
    pub fn deny_bot(&self, channel: ChannelId, deny: Permissions) -> Result<(), ApiError> {
        self.deny(channel, BOT_ID, deny)
    }

    /// Says what somebody may not do in a channel and its threads; replaces what was said before. Who
    /// does not see a channel does not see it on the page either, and can use nothing in it.
    ///
    /// # Errors
    ///
    /// [`ApiError::UnknownChannel`].
    pub fn deny(
        &self,
        channel: ChannelId,
        user: UserId,
        deny: Permissions,
    ) -> Result<(), ApiError> {
        self.hub.act(|guild| guild.deny(channel, user, deny))
    }

    /// Says what everybody may do, the bot among them; [`Permissions::USUAL`] at the beginning.
    pub fn allow_everyone(&self, permissions: Permissions) {
        self.hub.act(|guild| guild.allow_everyone(permissions));
    }
}

/// What a person does.
impl Discord {
    /// Writes a message. The text is taken as it is, white space and control characters included,
    /// up to 4,000 characters.
    ///
    /// # Errors
    ///
    /// What Discord says: no such channel, empty, too long, locked.
    pub fn say(&self, channel: ChannelId, user: UserId, text: &str) -> Result<MessageId, ApiError> {
        self.say_with_files(channel, user, text, Vec::new())
    }

    /// Writes a message with files.
    ///
    /// # Errors
    ///
    /// As for [`Discord::say`].
    pub fn say_with_files(
        &self,
        channel: ChannelId,
        user: UserId,
        text: &str,
        files: Vec<NewFile>,
    ) -> Result<MessageId, ApiError> {
        self.post(channel, user, Draft { content: text.to_owned(), files, ..Draft::default() })
    }

    /// Answers a message.
    ///
    /// # Errors
    ///
    /// As for [`Discord::say`], and when the message is not in that channel.
    pub fn reply(
        &self,
        channel: ChannelId,
        user: UserId,
        to: MessageId,
        text: &str,
    ) -> Result<MessageId, ApiError> {
        let draft = Draft {
            content: text.to_owned(),
            reply_to: Some(to),
            reply_must_exist: true,
            ..Draft::default()
        };
        self.post(channel, user, draft)
    }

    /// Posts anything, as anybody; also what another bot would post.
    ///
    /// # Errors
    ///
    /// As for [`Discord::say`].
    pub fn post(
        &self,
        channel: ChannelId,
        user: UserId,
        draft: Draft,
    ) -> Result<MessageId, ApiError> {
        self.hub.act(|guild| guild.post(user, channel, draft))
    }

    /// Writes a message as the webhook of this name, which is made now unless it is there.
    ///
    /// # Errors
    ///
    /// As for [`Discord::say`].
    pub fn webhook_says(
        &self,
        channel: ChannelId,
        webhook: &str,
        text: &str,
    ) -> Result<MessageId, ApiError> {
        let draft = Draft { content: text.to_owned(), ..Draft::default() };
        self.hub.act(|guild| guild.post_by_webhook(webhook, channel, draft))
    }

    /// Starts a thread from a message.
    ///
    /// # Errors
    ///
    /// [`ApiError::UnknownMessage`], or why no thread can be started from it.
    pub fn start_thread(
        &self,
        message: MessageId,
        by: UserId,
        name: &str,
    ) -> Result<ChannelId, ApiError> {
        let new = NewThread { name: name.to_owned(), auto_archive_minutes: None };
        self.with(message, |guild, channel| guild.thread_from_message(by, channel, message, &new))
    }

    /// Changes the text of a message, as its author.
    ///
    /// # Errors
    ///
    /// [`ApiError::UnknownMessage`], or why Discord refuses the text.
    pub fn edit(&self, message: MessageId, text: &str) -> Result<(), ApiError> {
        self.with(message, |guild, channel| {
            let author = guild.visible(channel, message)?.author;
            let change = Change { content: Some(text.to_owned()), ..Change::default() };
            guild.edit(author, channel, message, change)
        })
    }

    /// Deletes a message; [`Discord::history`] still has it.
    ///
    /// # Errors
    ///
    /// [`ApiError::UnknownMessage`].
    pub fn delete(&self, message: MessageId) -> Result<(), ApiError> {
        self.with(message, |guild, channel| guild.delete(channel, message))
    }

    /// Reacts to a message.
    ///
    /// # Errors
    ///
    /// [`ApiError::UnknownMessage`], [`ApiError::UnknownEmoji`], [`ApiError::ThreadArchived`].
    pub fn react(&self, message: MessageId, user: UserId, emoji: &str) -> Result<(), ApiError> {
        self.with(message, |guild, channel| guild.react(user, channel, message, emoji))
    }

    /// Takes a reaction back.
    ///
    /// # Errors
    ///
    /// [`ApiError::UnknownMessage`], [`ApiError::ThreadArchived`].
    pub fn unreact(&self, message: MessageId, user: UserId, emoji: &str) -> Result<(), ApiError> {
        self.with(message, |guild, channel| guild.unreact(user, channel, message, emoji))
    }

    /// Begins to type.
    ///
    /// # Errors
    ///
    /// [`ApiError::UnknownChannel`].
    pub fn start_typing(&self, channel: ChannelId, user: UserId) -> Result<(), ApiError> {
        self.hub.act(|guild| guild.start_typing(user, channel))
    }

    /// Archives a thread.
    ///
    /// # Errors
    ///
    /// [`ApiError::UnknownChannel`], [`ApiError::WrongChannelType`].
    pub fn archive(&self, thread: ChannelId) -> Result<(), ApiError> {
        self.change_thread(
            thread,
            &ThreadChange { archived: Some(true), ..ThreadChange::default() },
        )
    }

    /// Locks a thread, or unlocks it.
    ///
    /// # Errors
    ///
    /// [`ApiError::UnknownChannel`], [`ApiError::WrongChannelType`].
    pub fn lock(&self, thread: ChannelId, locked: bool) -> Result<(), ApiError> {
        self.change_thread(
            thread,
            &ThreadChange { locked: Some(locked), ..ThreadChange::default() },
        )
    }

    /// Somebody gives a thread another name.
    ///
    /// # Errors
    ///
    /// [`ApiError::UnknownChannel`], [`ApiError::WrongChannelType`], [`ApiError::ThreadArchived`].
    pub fn rename(&self, thread: ChannelId, by: UserId, name: &str) -> Result<(), ApiError> {
        let change = ThreadChange { name: Some(name.to_owned()), ..ThreadChange::default() };
        self.hub.act(|guild| guild.change_thread(by, thread, &change))
    }

    fn change_thread(&self, thread: ChannelId, change: &ThreadChange) -> Result<(), ApiError> {
        self.hub.act(|guild| {
            let by =
                guild.channel(thread)?.thread.as_ref().ok_or(ApiError::WrongChannelType)?.owner;
            guild.change_thread(by, thread, change)
        })
    }

    /// Deletes a channel with its threads, or a thread.
    ///
    /// # Errors
    ///
    /// [`ApiError::UnknownChannel`].
    pub fn delete_channel(&self, channel: ChannelId) -> Result<(), ApiError> {
        self.hub.act(|guild| guild.delete_channel(channel))
    }

    /// Lets Discord itself say something about somebody: joined, pinned, renamed.
    ///
    /// # Errors
    ///
    /// [`ApiError::UnknownChannel`].
    pub fn system_message(
        &self,
        channel: ChannelId,
        about: UserId,
        kind: MessageKind,
    ) -> Result<MessageId, ApiError> {
        self.hub.act(|guild| guild.add_system_message(channel, about, kind, "", None))
    }

    pub(crate) fn with<T>(
        &self,
        message: MessageId,
        act: impl FnOnce(&mut Guild, ChannelId) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        self.hub.act(|guild| {
            let channel = guild.message(message).ok_or(ApiError::UnknownMessage)?.channel;
            act(guild, channel)
        })
    }
}

/// What a person sees.
impl Discord {
    /// Looks at everything at one moment. The closure must not use this handle: it runs under the
    /// simulator's lock.
    pub fn view<T>(&self, look: impl FnOnce(&View<'_>) -> T) -> T {
        self.hub.look(|inner| look(&inner.view()))
    }

    /// What people and bots wrote in a channel and can still be seen, oldest first.
    pub fn messages(&self, channel: ChannelId) -> Vec<Message> {
        self.view(|it| it.guild.messages(channel).cloned().collect())
    }

    /// Everything ever shown in a channel, oldest first: deleted and system messages too.
    pub fn history(&self, channel: ChannelId) -> Vec<Message> {
        self.view(|it| it.guild.history(channel).cloned().collect())
    }

    /// A message by number, deleted or not.
    pub fn message(&self, id: MessageId) -> Option<Message> {
        self.view(|it| it.guild.message(id).cloned())
    }

    /// The thread that was started from a message.
    pub fn thread_of(&self, message: MessageId) -> Option<ChannelId> {
        self.view(|it| it.guild.thread_of(message).map(|thread| thread.id))
    }

    /// The reactions under a message.
    pub fn reactions(&self, message: MessageId) -> Vec<Reaction> {
        self.view(|it| it.guild.reactions(message).to_vec())
    }

    /// How often each route was asked, refused requests included.
    pub fn requests(&self) -> RouteCounts {
        self.view(|it| it.requests.clone())
    }

    /// How often one route was asked: `POST /channels/{id}/messages`.
    pub fn requests_of(&self, route: &str) -> u64 {
        self.view(|it| it.requests.get(route).copied().unwrap_or(0))
    }

    /// What the gateway did.
    pub fn gateway(&self) -> GatewayCounts {
        self.view(|it| it.gateway)
    }

    /// How often the bot said that it types in a channel.
    pub fn bot_typed(&self, channel: ChannelId) -> usize {
        let by_bot = |view: &View<'_>| {
            let all = view.guild.typing().iter();
            all.filter(|it| it.channel == channel && it.user == BOT_ID).count()
        };
        self.view(by_bot)
    }

    /// All channels and what can be seen in them, as text.
    pub fn transcript(&self) -> String {
        self.view(|it| crate::transcript::write(it.guild))
    }

    /// Waits until `find` finds something, and gives it. Looks once now and once after each
    /// change; there is no polling. `find` must not use this handle.
    ///
    /// # Errors
    ///
    /// [`WaitError`] with the whole guild as text, when `within` is over.
    pub async fn wait_for<T>(
        &self,
        what: &str,
        within: Duration,
        mut find: impl FnMut(&View<'_>) -> Option<T>,
    ) -> Result<T, WaitError> {
        let mut changed = self.hub.subscribe();
        let search = async {
            loop {
                if let Some(found) = self.view(&mut find) {
                    return found;
                }
                // The sender lives in the hub, which this handle holds.
                let _ = changed.changed().await;
            }
        };
        tokio::time::timeout(within, search).await.map_err(|_| WaitError {
            what: what.to_owned(),
            within,
            transcript: self.transcript(),
        })
    }
}
