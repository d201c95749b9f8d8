//! Who may do what in a channel, by Discord's rule of roles and overwrites.
//!
//! Only the permissions that a bot like ours needs have a name here.

use std::ops::BitOr;

use serde::{Deserialize, Serialize};

/// A set of permissions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permissions(pub u64);

impl Permissions {
    /// Everything, in every channel.
    pub const ADMINISTRATOR: Self = Self(1 << 3);
    /// Rename or delete a channel.
    pub const MANAGE_CHANNELS: Self = Self(1 << 4);
    /// React with an emoji that is not there yet.
    pub const ADD_REACTIONS: Self = Self(1 << 6);
    /// See the channel at all.
    pub const VIEW_CHANNEL: Self = Self(1 << 10);
    /// Write in a channel (threads have their own).
    pub const SEND_MESSAGES: Self = Self(1 << 11);
    /// Delete what others wrote.
    pub const MANAGE_MESSAGES: Self = Self(1 << 13);
    /// Show embeds.
    pub const EMBED_LINKS: Self = Self(1 << 14);
    /// Upload files.
    pub const ATTACH_FILES: Self = Self(1 << 15);
    /// Read what was written before; without it history is an empty list.
    pub const READ_MESSAGE_HISTORY: Self = Self(1 << 16);
    /// Rename, archive and lock threads of others.
    pub const MANAGE_THREADS: Self = Self(1 << 34);
    /// Start threads that all can see.
    pub const CREATE_PUBLIC_THREADS: Self = Self(1 << 35);
    /// Write in threads.
    pub const SEND_MESSAGES_IN_THREADS: Self = Self(1 << 38);

    /// What `@everyone` and the bot may do unless a test says otherwise.
    pub const USUAL: Self = Self(
        Self::ADD_REACTIONS.0
            | Self::VIEW_CHANNEL.0
            | Self::SEND_MESSAGES.0
            | Self::EMBED_LINKS.0
            | Self::ATTACH_FILES.0
            | Self::READ_MESSAGE_HISTORY.0
            | Self::CREATE_PUBLIC_THREADS.0
            | Self::SEND_MESSAGES_IN_THREADS.0,
    );

    const ALL: Self = Self(u64::MAX);

    /// Whether all of `needed` are in the set.
    pub fn contains(self, needed: Self) -> bool {
        self.0 & needed.0 == needed.0
    }

    fn without(self, denied: Self) -> Self {
        Self(self.0 & !denied.0)
    }
}

impl BitOr for Permissions {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl FromIterator<Permissions> for Permissions {
    fn from_iter<T: IntoIterator<Item = Self>>(all: T) -> Self {
        all.into_iter().fold(Self::default(), BitOr::bitor)
    }
}

/// What a channel changes of a member's permissions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overwrite {
    /// Given in this channel.
    pub allow: Permissions,
    /// Taken away in this channel, unless `allow` has it.
    pub deny: Permissions,
}

impl Overwrite {
    pub(crate) fn apply(self, to: Permissions) -> Permissions {
        to.without(self.deny) | self.allow
    }
}

/// A member's permissions in a channel, from those of its roles and the overwrite for it.
pub(crate) fn effective(base: Permissions, overwrite: Option<Overwrite>) -> Permissions {
    if base.contains(Permissions::ADMINISTRATOR) {
        return Permissions::ALL;
    }
    overwrite.unwrap_or_default().apply(base)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overwrite_takes_from_the_roles_and_an_administrator_has_all() {
        let deny = Overwrite { deny: Permissions::SEND_MESSAGES, ..Overwrite::default() };
        let usual = effective(Permissions::USUAL, Some(deny));
        assert!(!usual.contains(Permissions::SEND_MESSAGES));
        assert!(usual.contains(Permissions::VIEW_CHANNEL));
        let admin = effective(Permissions::ADMINISTRATOR, Some(deny));
        assert!(admin.contains(Permissions::SEND_MESSAGES));
    }
}
