//! Members, roles and channels: what a guild's owner sets up.

use std::collections::BTreeMap;

use super::Guild;
use crate::error::ApiError;
use crate::events::Event;
use crate::ids::{ChannelId, RoleId, UserId};
use crate::model::{Channel, Role, User};
use crate::permissions::{Overwrite, Permissions};

impl Guild {
    /// The person of this name, who joins now unless already here.
    pub(crate) fn ensure_user(&mut self, name: &str) -> UserId {
        self.ensure_member(name, false)
    }

    /// A member of this name, a person or a bot, who joins now unless already here.
    pub(crate) fn ensure_member(&mut self, name: &str, bot: bool) -> UserId {
        if let Some(found) = self.users.values().find(|it| it.name == name) {
            return found.id;
        }
        let id = UserId(self.next_id());
        let user =
            User { id, name: name.to_owned(), bot, roles: Vec::new(), joined_ms: self.now_ms };
        let event = Event::member_add(self, &user);
        self.users.insert(id, user);
        self.events.push(event);
        id
    }

    /// The role of this name, made now unless already here.
    pub(crate) fn ensure_role(&mut self, name: &str) -> RoleId {
        if let Some(found) = self.roles.values().find(|it| it.name == name) {
            return found.id;
        }
        let id = RoleId(self.next_id());
        let role = Role { id, name: name.to_owned(), permissions: Permissions::default() };
        let event = Event::role_create(self, &role);
        self.roles.insert(id, role);
        self.events.push(event);
        id
    }

    /// Gives a role to somebody.
    pub(crate) fn give_role(&mut self, user: UserId, role: RoleId) -> Result<(), ApiError> {
        let member = self.users.get_mut(&user).ok_or(ApiError::UnknownMember)?;
        if !member.roles.contains(&role) {
            member.roles.push(role);
            let event = Event::member_update(self, user);
            self.events.extend(event);
        }
        Ok(())
    }

    /// Takes a role from somebody.
    pub(crate) fn take_role(&mut self, user: UserId, role: RoleId) -> Result<(), ApiError> {
        let member = self.users.get_mut(&user).ok_or(ApiError::UnknownMember)?;
        member.roles.retain(|it| *it != role);
        let event = Event::member_update(self, user);
        self.events.extend(event);
        Ok(())
    }

    /// The text channel of this name, made now unless already here.
    pub(crate) fn ensure_channel(&mut self, name: &str) -> ChannelId {
        let here = |it: &&Channel| it.thread.is_none() && it.name == name;
        if let Some(found) = self.channels().find(here) {
            return found.id;
        }
        let id = ChannelId(self.next_id());
        self.add_channel(id, name);
        id
    }

    /// Makes a text channel of this number unless there is one.
    pub(crate) fn ensure_channel_of(&mut self, id: ChannelId, name: &str) {
        if !self.channels.contains_key(&id) {
            self.add_channel(id, name);
        }
    }

    fn add_channel(&mut self, id: ChannelId, name: &str) {
        let channel = Channel {
            id,
            name: name.to_owned(),
            last_message: None,
            overwrites: BTreeMap::new(),
            deleted: false,
            thread: None,
        };
        let event = Event::channel("CHANNEL_CREATE", self, &channel);
        self.channels.insert(id, channel);
        self.events.push(event);
    }

    /// Says what a member may not do in a channel; replaces what was said before.
    pub(crate) fn deny(
        &mut self,
        channel: ChannelId,
        user: UserId,
        deny: Permissions,
    ) -> Result<(), ApiError> {
        let overwrite = Overwrite { deny, ..Overwrite::default() };
        self.channel_mut(channel)?.overwrites.insert(user, overwrite);
        self.push_channel_event("CHANNEL_UPDATE", channel);
        Ok(())
    }

    /// Says what everybody may do, the bot among them, in all channels.
    pub(crate) fn allow_everyone(&mut self, permissions: Permissions) {
        if let Some(everyone) = self.roles.get_mut(&RoleId(self.id.0)) {
            everyone.permissions = permissions;
        }
    }

    /// Renames a text channel.
    pub(crate) fn rename_channel(&mut self, id: ChannelId, name: &str) -> Result<(), ApiError> {
        self.channel_mut(id)?.name = check_name(name)?;
        self.push_channel_event("CHANNEL_UPDATE", id);
        Ok(())
    }

    /// Deletes a channel with its threads, or a thread. The messages stay in the history.
    pub(crate) fn delete_channel(&mut self, id: ChannelId) -> Result<(), ApiError> {
        let is_thread = self.channel(id)?.thread.is_some();
        self.push_channel_event(if is_thread { "THREAD_DELETE" } else { "CHANNEL_DELETE" }, id);
        for channel in self.channels.values_mut() {
            let below = channel.thread.as_ref().is_some_and(|it| it.parent == id);
            if channel.id == id || below {
                channel.deleted = true;
            }
        }
        Ok(())
    }

    /// Leaves an event about a channel as it is now.
    pub(super) fn push_channel_event(&mut self, name: &'static str, id: ChannelId) {
        let event = self.channel(id).ok().map(|it| Event::channel(name, self, it));
        self.events.extend(event);
    }
}

/// The most characters in the name of a channel or a thread.
const NAME_MAX: usize = 100;

/// A name that Discord takes.
pub(super) fn check_name(name: &str) -> Result<String, ApiError> {
    match name.chars().count() {
        1..=NAME_MAX => Ok(name.to_owned()),
        _ => Err(ApiError::InvalidForm {
            field: "name",
            reason: "BASE_TYPE_BAD_LENGTH",
            says: format!("Must be between 1 and {NAME_MAX} in length."),
        }),
    }
}
