//! Servers that were gone while the session lived: the bot was removed, or Discord had an outage.
//!
//! The session goes on meanwhile and says nothing of such a server. When it is there again, it is as
//! when a session begins: what was missed is read, and what Discord refused is tried at once. A hint:
//! a process that ends forgets it, and the next one reads everything.

use std::collections::HashSet;

use platform::clock::now_ms;

use super::Hearing;

/// Servers that are remembered as gone. With as many, each that is there may be one that was gone.
const GUILDS_MAX: usize = 1_000;

/// The servers that are gone.
#[derive(Debug, Default)]
pub(super) struct Guilds(HashSet<u64>);

impl Guilds {
    fn went(&mut self, guild: u64) {
        if self.0.len() < GUILDS_MAX {
            self.0.insert(guild);
        }
    }

    /// Whether this one, which is there now, was gone. After READY each is said to be there.
    fn is_back(&mut self, guild: u64) -> bool {
        let may_be_forgotten = GUILDS_MAX <= self.0.len();
        self.0.remove(&guild) || may_be_forgotten
    }
}

impl Hearing {
    /// A server is gone: nothing of it is heard from now on.
    pub(super) fn guild_gone(&mut self, guild: u64, is_outage: bool) {
        if is_outage {
            tracing::warn!(
                guild,
                "Discord has an outage of this server; what is written there waits"
            );
        } else {
            tracing::error!(
                guild,
                "the bot was removed from this server; answers wait for its return"
            );
        }
        self.guilds.went(guild);
    }

    /// A server is there.
    pub(super) async fn guild_here(&mut self, guild: u64) {
        if !self.guilds.is_back(guild) {
            return;
        }
        tracing::info!(guild, "this server is back");
        self.begin_session().await;
        // What was refused while it was gone would wait as long as for a right that is missing.
        match self.store.try_at_once(now_ms()).await {
            Ok(()) => self.signals.stored(),
            Err(error) => tracing::warn!(error = ?error, "what was refused is tried again later"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_back_once_and_only_if_it_was_gone() {
        let mut guilds = Guilds::default();
        assert!(!guilds.is_back(1), "as after READY");
        guilds.went(1);
        guilds.went(1);
        assert!(!guilds.is_back(2));
        assert!(guilds.is_back(1) && !guilds.is_back(1));
    }

    #[test]
    fn where_not_all_are_remembered_each_may_have_been_gone() {
        let mut guilds = Guilds::default();
        (0..=GUILDS_MAX as u64).for_each(|guild| guilds.went(guild));
        assert!(guilds.is_back(GUILDS_MAX as u64), "it was not remembered");
    }
}
