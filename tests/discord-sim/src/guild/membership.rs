//! Whether the bot is in the guild, and whether Discord has the guild at all.
//!
//! A bot that was removed sees nothing of the guild until somebody invites it again, as a new
//! member: its roles and the threads it was in are gone. A guild in an outage is gone for it as well,
//! but keeps everything. What people write meanwhile stays and is told to nobody later.

use serde::{Deserialize, Serialize};

use super::{BOT_ID, Guild};
use crate::events::Event;

/// How the bot and the guild stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Membership {
    /// The bot is a member, and the guild is there.
    #[default]
    Member,
    /// The bot was removed.
    Removed,
    /// The bot is a member, and Discord does not have the guild at the moment.
    Outage,
}

impl Guild {
    /// How the bot and the guild stand.
    pub fn membership(&self) -> Membership {
        self.membership
    }

    /// Takes the bot out, or invites it, or lets the guild have an outage; what is so already stays.
    pub(crate) fn stands(&mut self, membership: Membership) {
        let before = std::mem::replace(&mut self.membership, membership);
        if before == membership {
            return;
        }
        if before == Membership::Removed || membership == Membership::Removed {
            self.bot_is_new();
        }
        let event = match membership {
            Membership::Member => Event::guild_create(self),
            Membership::Removed | Membership::Outage => Event::guild_delete(self),
        };
        self.events.push(event);
    }

    /// Whoever leaves keeps neither roles nor threads.
    fn bot_is_new(&mut self) {
        let now_ms = self.now_ms;
        if let Some(bot) = self.users.get_mut(&BOT_ID) {
            bot.roles.clear();
            bot.joined_ms = now_ms;
        }
        for thread in self.channels.values_mut().filter_map(|it| it.thread.as_mut()) {
            thread.members.retain(|it| *it != BOT_ID);
        }
    }
}
