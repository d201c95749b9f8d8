//! Messages: posted, edited, deleted, read back.

use super::{BOT_ID, Guild};
use crate::error::ApiError;
use crate::events::Event;
use crate::form::{check_draft, check_parts, media_type, url_name};
use crate::ids::{AttachmentId, ChannelId, MessageId, UserId};
use crate::model::{Attachment, Change, Draft, Message, MessageKind, NewFile, Reference, Shown};
use crate::permissions::Permissions;

/// The most remembered nonces; beyond it those outside the window are dropped.
const NONCES_MAX: usize = 10_000;
/// Discord's flag of a message from which a thread was started.
pub(crate) const HAS_THREAD: u64 = 1 << 5;
/// The most messages of one page of history.
pub(crate) const PAGE_MAX: usize = 100;

/// Where a page of history begins; the message named is not part of it, except for `Around`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cursor {
    /// The newest messages.
    Newest,
    /// The messages that follow this one.
    After(MessageId),
    /// The messages that come before this one.
    Before(MessageId),
    /// The messages on both sides of this one, and it.
    Around(MessageId),
}

impl Guild {
    /// Posts a message, or finds the one that already has this nonce.
    pub(crate) fn post(
        &mut self,
        author: UserId,
        channel: ChannelId,
        draft: Draft,
    ) -> Result<MessageId, ApiError> {
        let user = self.user(author).ok_or(ApiError::UnknownUser)?;
        check_draft(&draft, user.bot)?;
        self.channel(channel)?;
        if let Some(earlier) = self.same_nonce(author, &draft) {
            let answer =
                if earlier.is_visible() { Ok(earlier.id) } else { Err(ApiError::UnknownMessage) };
            return answer;
        }
        let reference = self.resolve_reference(channel, &draft)?;
        let may_manage = self.permissions(author, channel)?.contains(Permissions::MANAGE_THREADS);
        self.open_thread_for_message(channel, may_manage)?;
        let message = self.compose(author, channel, draft, reference);
        Ok(self.insert_message(message))
    }

    /// The message that a draft makes, which is nowhere yet.
    pub(super) fn compose(
        &mut self,
        author: UserId,
        channel: ChannelId,
        draft: Draft,
        reference: Option<Reference>,
    ) -> Message {
        let attachments = draft.files.iter().map(|it| self.keep_file(channel, it)).collect();
        let mut message = self.blank(channel, author);
        message.kind = if reference.is_some() { MessageKind::REPLY } else { MessageKind::REGULAR };
        message.reference = reference;
        message.attachments = attachments;
        (message.mentions, message.mention_everyone) =
            self.mentioned(&draft.content, draft.allowed_mentions.as_ref());
        message.content = draft.content;
        message.nonce = draft.nonce;
        message.embeds = draft.embeds;
        message.components = draft.components;
        message.allowed_mentions = draft.allowed_mentions;
        message.flags = draft.flags;
        message
    }

    /// Posts what Discord itself says in a channel.
    pub(crate) fn add_system_message(
        &mut self,
        channel: ChannelId,
        about: UserId,
        kind: MessageKind,
        content: &str,
        reference: Option<Reference>,
    ) -> Result<MessageId, ApiError> {
        self.channel(channel)?;
        let mut message = self.blank(channel, about);
        message.kind = kind;
        content.clone_into(&mut message.content);
        message.reference = reference;
        Ok(self.insert_message(message))
    }

    pub(super) fn blank(&mut self, channel: ChannelId, author: UserId) -> Message {
        Message {
            id: MessageId(self.next_id()),
            channel,
            author,
            is_bot: self.user(author).is_some_and(|it| it.bot),
            kind: MessageKind::REGULAR,
            content: String::new(),
            nonce: None,
            reference: None,
            reactions: Vec::new(),
            components: Vec::new(),
            embeds: Vec::new(),
            attachments: Vec::new(),
            allowed_mentions: None,
            mentions: Vec::new(),
            mention_everyone: false,
            flags: 0,
            created_ms: self.now_ms,
            edited_ms: None,
            before: Vec::new(),
            deleted_ms: None,
            interaction: None,
            webhook: None,
        }
    }

    pub(super) fn insert_message(&mut self, message: Message) -> MessageId {
        let (id, channel) = (message.id, message.channel);
        if let Some(nonce) = &message.nonce {
            self.forget_old_nonces();
            self.nonces.insert((message.author, nonce.clone()), id);
        }
        if let Ok(place) = self.channel_mut(channel) {
            place.last_message = Some(id);
            if let Some(thread) = &mut place.thread {
                thread.sent += u64::from(message.kind != MessageKind::THREAD_STARTER);
            }
        }
        self.homes.insert(id, channel);
        self.messages.insert((channel, id), message);
        self.push_message_event("MESSAGE_CREATE", id);
        id
    }

    /// The message, perhaps deleted, that stands for this draft because of its nonce.
    fn same_nonce(&self, author: UserId, draft: &Draft) -> Option<&Message> {
        let nonce = draft.nonce.as_ref().filter(|_| draft.enforce_nonce)?;
        let id = *self.nonces.get(&(author, nonce.clone()))?;
        let message = self.message(id)?;
        let in_window = message.created_ms + self.nonce_window_ms > self.now_ms;
        in_window.then_some(message)
    }

    fn forget_old_nonces(&mut self) {
        if self.nonces.len() < NONCES_MAX {
            return;
        }
        let (messages, homes) = (&self.messages, &self.homes);
        let oldest_ms = self.now_ms.saturating_sub(self.nonce_window_ms);
        self.nonces.retain(|_, id| {
            let message = homes.get(id).and_then(|channel| messages.get(&(*channel, *id)));
            message.is_some_and(|it| it.created_ms > oldest_ms)
        });
    }

    fn resolve_reference(
        &self,
        channel: ChannelId,
        draft: &Draft,
    ) -> Result<Option<Reference>, ApiError> {
        let Some(message) = draft.reply_to else { return Ok(None) };
        match self.visible(channel, message) {
            Ok(_) => Ok(Some(Reference { channel, message: Some(message) })),
            Err(_) if !draft.reply_must_exist => Ok(None),
            Err(_) => Err(ApiError::InvalidForm {
                field: "message_reference",
                reason: "MESSAGE_REFERENCE_UNKNOWN_MESSAGE",
                says: "Unknown message".to_owned(),
            }),
        }
    }

    fn keep_file(&mut self, channel: ChannelId, file: &NewFile) -> Attachment {
        let id = AttachmentId(self.next_id());
        self.files.insert(id, file.bytes.clone());
        let name = url_name(&file.filename);
        Attachment {
            id,
            filename: name.clone(),
            content_type: file.content_type.clone().or_else(|| media_type(&name)),
            size: file.bytes.len() as u64,
            url: format!("https://cdn.discordapp.com/attachments/{channel}/{id}/{name}"),
        }
    }

    /// Whom a text pings, as far as its sender allowed it.
    fn mentioned(&self, content: &str, allowed: Option<&serde_json::Value>) -> (Vec<UserId>, bool) {
        let parse = |word: &str| match allowed {
            None => true,
            Some(it) => it["parse"].as_array().is_some_and(|all| all.iter().any(|x| x == word)),
        };
        let listed = |user: &UserId| match allowed.and_then(|it| it["users"].as_array()) {
            None => false,
            Some(users) => users.iter().any(|it| *it == user.to_string()),
        };
        let named = |user: &UserId| {
            content.contains(&format!("<@{user}>")) || content.contains(&format!("<@!{user}>"))
        };
        let all = self.users.keys().copied();
        let users = all.filter(|it| named(it) && (parse("users") || listed(it))).collect();
        let everyone = content.contains("@everyone") || content.contains("@here");
        (users, everyone && parse("everyone"))
    }

    /// Edits a message of `by`.
    pub(crate) fn edit(
        &mut self,
        by: UserId,
        channel: ChannelId,
        id: MessageId,
        change: Change,
    ) -> Result<(), ApiError> {
        let message = self.visible(channel, id)?;
        if message.author != by {
            return Err(ApiError::EditOfAnother);
        }
        if !message.kind.is_written() {
            return Err(ApiError::SystemMessage);
        }
        self.refuse_if_archived(channel)?;
        let new = self.changed(message, change)?;
        self.messages.insert((channel, id), new);
        self.push_message_event("MESSAGE_UPDATE", id);
        Ok(())
    }

    /// What an edit makes of a message. One that was "thinking" becomes what it stood for, which
    /// counts as no edit.
    pub(super) fn changed(&self, message: &Message, change: Change) -> Result<Message, ApiError> {
        let mut new = message.clone();
        if message.is_loading() {
            new.flags &= !Message::LOADING;
        } else {
            new.edited_ms = Some(self.now_ms);
            new.before.push(Shown {
                content: message.content.clone(),
                embeds: message.embeds.clone(),
                components: message.components.clone(),
                until_ms: self.now_ms,
            });
        }
        let draft = Draft {
            content: change.content.unwrap_or(new.content),
            embeds: change.embeds.unwrap_or(new.embeds),
            components: change.components.unwrap_or(new.components),
            ..Draft::default()
        };
        if new.attachments.is_empty() {
            check_draft(&draft, new.is_bot)?;
        } else {
            check_parts(&draft, new.is_bot)?;
        }
        new.allowed_mentions = change.allowed_mentions.or(new.allowed_mentions);
        (new.mentions, new.mention_everyone) =
            self.mentioned(&draft.content, new.allowed_mentions.as_ref());
        new.content = draft.content;
        new.embeds = draft.embeds;
        new.components = draft.components;
        // Who sees a message never changes.
        let kept = new.flags & Message::EPHEMERAL;
        new.flags = change.flags.map_or(new.flags, |it| it & !Message::EPHEMERAL | kept);
        Ok(new)
    }

    /// Deletes a message; it stays in the history.
    pub(crate) fn delete(&mut self, channel: ChannelId, id: MessageId) -> Result<(), ApiError> {
        self.visible(channel, id)?;
        let now_ms = self.now_ms;
        if let Some(message) = self.messages.get_mut(&(channel, id)) {
            message.deleted_ms = Some(now_ms);
        }
        let event = Event::message_delete(self, channel, id);
        self.events.push(event);
        Ok(())
    }

    /// A page of history, newest first, as Discord lists it.
    pub(crate) fn page(&self, channel: ChannelId, cursor: Cursor, limit: usize) -> Vec<&Message> {
        let shown = || self.history(channel).filter(|it| it.is_visible());
        match cursor {
            Cursor::Newest => shown().rev().take(limit).collect(),
            Cursor::Before(id) => shown().rev().filter(|it| it.id < id).take(limit).collect(),
            Cursor::After(id) => {
                let mut page: Vec<_> = shown().filter(|it| it.id > id).take(limit).collect();
                page.reverse();
                page
            }
            Cursor::Around(id) => {
                let newer = shown().filter(|it| it.id > id).take(limit / 2);
                let mut page: Vec<_> = newer.collect();
                page.reverse();
                let rest = limit - page.len();
                page.extend(shown().rev().filter(|it| it.id <= id).take(rest));
                page
            }
        }
    }

    /// Whether the bot may read the text of a message without the message content intent.
    pub(crate) fn is_open_to_bot(message: &Message) -> bool {
        message.author == BOT_ID || message.mentions.contains(&BOT_ID)
    }

    /// Leaves an event about a message as it is now.
    pub(super) fn push_message_event(&mut self, name: &'static str, id: MessageId) {
        let event = self.message(id).map(|it| Event::message(name, self, it));
        self.events.extend(event);
    }
}
