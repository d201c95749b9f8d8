//! Snowflakes, and one type for each thing that has one.
//!
//! A snowflake is the milliseconds since the first second of 2015, shifted left by 22; the low
//! bits only keep two ids of one millisecond apart. In JSON every id is a string, as in Discord.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The first millisecond that a snowflake can name, in Unix time.
pub(crate) const DISCORD_EPOCH_MS: u64 = 1_420_070_400_000;
const TIME_SHIFT: u32 = 22;

/// The smallest snowflake of a moment given in Unix milliseconds.
pub(crate) fn snowflake_of(unix_ms: u64) -> u64 {
    unix_ms.saturating_sub(DISCORD_EPOCH_MS) << TIME_SHIFT
}

/// The moment that a snowflake was made, in Unix milliseconds.
pub(crate) fn unix_ms_of(snowflake: u64) -> u64 {
    (snowflake >> TIME_SHIFT) + DISCORD_EPOCH_MS
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = std::num::ParseIntError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }
    };
}

id!(
    /// A guild, which Discord's users call a server.
    GuildId
);
id!(
    /// A channel or a thread. A thread started from a message has that message's number.
    ChannelId
);
id!(
    /// A message.
    MessageId
);
id!(
    /// A person or the bot.
    UserId
);
id!(
    /// A role. The one that everybody has carries the guild's number.
    RoleId
);
id!(
    /// A file that came with a message.
    AttachmentId
);

id!(
    /// One use of a button, a select menu or a modal.
    InteractionId
);

impl From<MessageId> for ChannelId {
    /// The thread that is, or would be, started from this message.
    fn from(message: MessageId) -> Self {
        Self(message.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snowflake_keeps_its_millisecond() {
        let moment = 1_700_000_000_123;
        assert_eq!(unix_ms_of(snowflake_of(moment)), moment);
        // The example of Discord's reference: 175928847299117063 is of 2016-04-30T11:18:25.796Z.
        assert_eq!(unix_ms_of(175_928_847_299_117_063), 1_462_015_105_796);
    }

    #[test]
    fn an_id_is_a_string_in_json() {
        let text = serde_json::to_string(&UserId(7)).unwrap();
        assert_eq!(text, "\"7\"");
        assert_eq!(serde_json::from_str::<UserId>(&text).unwrap(), UserId(7));
    }
}
