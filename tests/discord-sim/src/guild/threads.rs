//! Threads: started from a message or without one, archived, locked, woken.

use std::collections::BTreeMap;

use super::Guild;
use super::people::check_name;
use crate::error::ApiError;
use crate::ids::{ChannelId, MessageId, UserId};
use crate::model::{Channel, MessageKind, Reference, Thread};

/// Minutes that a thread stays without messages when its starter names none: a day.
const AUTO_ARCHIVE_MINUTES: u64 = 1440;

/// What the starter of a thread says about it.
#[derive(Clone, Debug)]
pub struct NewThread {
    /// Its name, 1 to 100 characters.
    pub name: String,
    /// Minutes without a message after which it is archived, none for a day.
    pub auto_archive_minutes: Option<u64>,
}

/// What is changed of a thread; what is none stays as it is.
#[derive(Clone, Debug, Default)]
pub struct ThreadChange {
    /// The new name.
    pub name: Option<String>,
    /// Whether it is archived.
    pub archived: Option<bool>,
    /// Whether it is locked.
    pub locked: Option<bool>,
    /// The new time without messages, in minutes.
    pub auto_archive_minutes: Option<u64>,
}

impl Guild {
    /// Starts a thread from a message; its number is the message's.
    pub(crate) fn thread_from_message(
        &mut self,
        by: UserId,
        channel: ChannelId,
        message: MessageId,
        new: &NewThread,
    ) -> Result<ChannelId, ApiError> {
        let starter = self.visible(channel, message)?;
        if !starter.kind.is_written() {
            return Err(ApiError::SystemMessage);
        }
        if self.channel(channel)?.thread.is_some() {
            return Err(ApiError::WrongChannelType);
        }
        let id = ChannelId::from(message);
        if self.channels.contains_key(&id) {
            return Err(ApiError::ThreadExists);
        }
        self.insert_thread(id, by, channel, new)?;
        self.push_message_event("MESSAGE_UPDATE", message);
        let about = Reference { channel, message: Some(message) };
        self.add_system_message(id, by, MessageKind::THREAD_STARTER, "", Some(about))?;
        Ok(id)
    }

    /// Starts a thread without a message.
    pub(crate) fn thread_without_message(
        &mut self,
        by: UserId,
        channel: ChannelId,
        new: &NewThread,
    ) -> Result<ChannelId, ApiError> {
        if self.channel(channel)?.thread.is_some() {
            return Err(ApiError::WrongChannelType);
        }
        check_name(&new.name)?;
        let id = ChannelId(self.next_id());
        self.insert_thread(id, by, channel, new)?;
        let about = Reference { channel: id, message: None };
        let name = new.name.clone();
        self.add_system_message(channel, by, MessageKind::THREAD_CREATED, &name, Some(about))?;
        Ok(id)
    }

    fn insert_thread(
        &mut self,
        id: ChannelId,
        by: UserId,
        parent: ChannelId,
        new: &NewThread,
    ) -> Result<(), ApiError> {
        let auto_archive_minutes =
            check_auto_archive(new.auto_archive_minutes.unwrap_or(AUTO_ARCHIVE_MINUTES))?;
        let thread = Thread {
            parent,
            owner: by,
            archived: false,
            locked: false,
            auto_archive_minutes,
            archive_changed_ms: self.now_ms,
            created_ms: self.now_ms,
            members: vec![by],
            sent: 0,
        };
        let channel = Channel {
            id,
            name: check_name(&new.name)?,
            last_message: None,
            overwrites: BTreeMap::new(),
            deleted: false,
            thread: Some(thread),
        };
        self.channels.insert(id, channel);
        self.push_channel_event("THREAD_CREATE", id);
        Ok(())
    }

    /// Renames, archives, wakes, locks or unlocks a thread.
    pub(crate) fn change_thread(
        &mut self,
        by: UserId,
        id: ChannelId,
        change: &ThreadChange,
    ) -> Result<(), ApiError> {
        let name = change.name.as_deref().map(check_name).transpose()?;
        let minutes = change.auto_archive_minutes.map(check_auto_archive).transpose()?;
        let now_ms = self.now_ms;
        let channel = self.channel_mut(id)?;
        let thread = channel.thread.as_mut().ok_or(ApiError::WrongChannelType)?;
        let touches_more = name.is_some() || minutes.is_some();
        if thread.archived && change.archived != Some(false) && touches_more {
            return Err(ApiError::ThreadArchived);
        }
        if let Some(archived) = change.archived.filter(|it| *it != thread.archived) {
            thread.archived = archived;
            thread.archive_changed_ms = now_ms;
        }
        thread.locked = change.locked.unwrap_or(thread.locked);
        thread.auto_archive_minutes = minutes.unwrap_or(thread.auto_archive_minutes);
        let renamed = name.filter(|it| *it != channel.name);
        if let Some(name) = &renamed {
            channel.name.clone_from(name);
        }
        self.push_channel_event("THREAD_UPDATE", id);
        if let Some(name) = renamed {
            self.add_system_message(id, by, MessageKind::RENAMED, &name, None)?;
        }
        Ok(())
    }

    /// Puts somebody into a thread.
    pub(crate) fn join_thread(&mut self, user: UserId, id: ChannelId) -> Result<(), ApiError> {
        if self.user(user).is_none() {
            return Err(ApiError::UnknownUser);
        }
        let thread = self.channel_mut(id)?.thread.as_mut().ok_or(ApiError::WrongChannelType)?;
        if thread.archived {
            return Err(ApiError::ThreadArchived);
        }
        if !thread.members.contains(&user) {
            thread.members.push(user);
        }
        Ok(())
    }

    /// Refuses a message into a locked thread, and wakes one that is only archived.
    pub(super) fn open_thread_for_message(
        &mut self,
        id: ChannelId,
        may_manage: bool,
    ) -> Result<(), ApiError> {
        let now_ms = self.now_ms;
        let Some(thread) = self.channel_mut(id)?.thread.as_mut() else { return Ok(()) };
        if thread.locked && !may_manage {
            let refusal =
                if thread.archived { ApiError::ThreadArchived } else { ApiError::ThreadLocked };
            return Err(refusal);
        }
        if thread.archived {
            thread.archived = false;
            thread.archive_changed_ms = now_ms;
            self.push_channel_event("THREAD_UPDATE", id);
        }
        Ok(())
    }

    /// Refuses an edit, a reaction or a deletion in an archived thread. (A person's client wakes the
    /// thread before it deletes, so that a person is not refused.)
    pub(crate) fn refuse_if_archived(&self, id: ChannelId) -> Result<(), ApiError> {
        match &self.channel(id)?.thread {
            Some(thread) if thread.archived => Err(ApiError::ThreadArchived),
            Some(_) | None => Ok(()),
        }
    }
}

fn check_auto_archive(minutes: u64) -> Result<u64, ApiError> {
    match minutes {
        60 | 1440 | 4320 | 10_080 => Ok(minutes),
        _ => Err(ApiError::bad_value(
            "auto_archive_duration",
            "Value must be one of {60, 1440, 4320, 10080}.",
        )),
    }
}
