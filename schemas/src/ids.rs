//! Ids that parse, print and are safe as one token of a NATS subject and as a file name.
//!
//! Each fact has a type of its own, and no id is made from text without parsing it. On the wire
//! every id is a string: JavaScript would round Discord's 64-bit numbers.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

/// Why a text is not an id.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{text:?} is not a {what}: {rule}")]
pub struct IdError {
    what: &'static str,
    rule: &'static str,
    text: String,
}

impl IdError {
    pub(crate) fn new(what: &'static str, rule: &'static str, text: &str) -> Self {
        Self { what, rule, text: text.chars().take(80).collect() }
    }
}

/// Serde and JSON Schema by way of `Display` and `FromStr`.
macro_rules! as_text {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = $crate::ids::IdError;
            fn try_from(text: String) -> Result<Self, $crate::ids::IdError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.to_string()
            }
        }

        #[cfg(feature = "schema")]
        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "pattern": Self::PATTERN })
            }
        }
    };
}

pub(crate) use as_text;

/// Where Discord's ids begin to count, in milliseconds since 1970: 2015-01-01.
const DISCORD_EPOCH_MS: i64 = 1_420_070_400_000;

macro_rules! snowflake {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(u64);

        impl $name {
            /// The regular expression that every such id matches.
            pub const PATTERN: &'static str = "^[0-9]{1,19}$";

            /// Takes a number that Discord gave.
            ///
            /// # Errors
            ///
            /// Zero, and numbers of 63 bits and more, which no store of ours could keep.
            pub fn new(number: u64) -> Result<Self, IdError> {
                match number {
                    1..=0x7fff_ffff_ffff_ffff => Ok(Self(number)),
                    _ => Err(Self::error(&number.to_string())),
                }
            }

            /// The number as Discord gives it.
            pub fn get(self) -> u64 {
                self.0
            }

            /// When Discord made the id, in milliseconds since 1970. (Its upper 42 bits count from
            /// 2015; Discord's reference, "Snowflakes", as of 2026-08.)
            pub fn created_at_ms(self) -> i64 {
                i64::try_from(self.0 >> 22).expect("42 bits fit") + DISCORD_EPOCH_MS
            }

            /// The first id that Discord can make at a moment, given in milliseconds since 1970.
            pub fn first_of(ms: i64) -> Self {
                let since_epoch = u64::try_from(ms - DISCORD_EPOCH_MS).unwrap_or(0);
                Self((since_epoch << 22).clamp(1, i64::MAX.cast_unsigned()))
            }

            fn error(text: &str) -> IdError {
                IdError::new(stringify!($name), "a whole number of Discord's, 1 to 2^63 - 1", text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let number = text.parse().map_err(|_| Self::error(text))?;
                Self::new(number).map_err(|_| Self::error(text))
            }
        }

        as_text!($name);
    };
}

snowflake! {
    /// A channel of Discord.
    ChannelId
}
snowflake! {
    /// One conversation. A thread that was started from a message has that message's id.
    ThreadId
}
snowflake! {
    /// A message of Discord.
    MessageId
}
snowflake! {
    /// A person, or a bot, of Discord.
    UserId
}
snowflake! {
    /// A role of a Discord server.
    RoleId
}

impl From<MessageId> for ThreadId {
    /// The thread that is started from the message.
    fn from(message: MessageId) -> Self {
        Self(message.0)
    }
}

impl From<ThreadId> for MessageId {
    /// The message that the thread was started from, if it was.
    fn from(thread: ThreadId) -> Self {
        Self(thread.0)
    }
}

impl From<ThreadId> for ChannelId {
    /// To Discord, a thread is a channel.
    fn from(thread: ThreadId) -> Self {
        Self(thread.0)
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The regular expression that every such name matches.
            pub const PATTERN: &'static str = "^[a-z0-9][a-z0-9_-]{0,47}$";

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let first = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
                let plain = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
                if first && text.len() <= 48 && text.bytes().all(plain) {
                    Ok(Self(text.to_owned()))
                } else {
                    let rule = "1 to 48 of a-z, 0-9, _ and -, beginning with a letter or a digit";
                    Err(IdError::new(stringify!($name), rule, text))
                }
            }
        }

        as_text!($name);
    };
}

name! {
    /// A directory that claude works in, as the configuration of both services names it.
    ProjectName
}
name! {
    /// A runner, as its configuration names it. For people; [`StateId`] tells two runners apart.
    RunnerId
}

/// A model, as claude is told which to use: an alias or a full name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ModelName(String);

impl ModelName {
    /// The regular expression that every such name matches: what clouds call their models has colons,
    /// slashes and brackets in it. It never begins like an option.
    pub const PATTERN: &'static str = "^[A-Za-z0-9][A-Za-z0-9._:/@\\[\\]-]{0,99}$";

    /// The most bytes of a name.
    const LEN_MAX: usize = 100;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ModelName {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let is_part = |b: u8| b.is_ascii_alphanumeric() || b"._:/@[]-".contains(&b);
        let begins = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        if begins && text.len() <= Self::LEN_MAX && text.bytes().all(is_part) {
            Ok(Self(text.to_owned()))
        } else {
            let rule = "at most 100 of A-Z a-z 0-9 . _ : / @ [ ] -, a letter or a digit first";
            Err(IdError::new("ModelName", rule, text))
        }
    }
}

as_text!(ModelName);

/// What one message asked for. The text says where it came from:
///
/// | form | from |
/// |---|---|
/// | `m<message>` | a message |
/// | `i<interaction>` | a button or a command |
/// | `h<n>-<parent>` | the n-th hand-off of another run |
/// | `s<schedule>-<time>` | a schedule, and the time in seconds since 1970 |
/// | `a<uuid>` | the API, 32 hexadecimal digits |
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(String);

impl RunId {
    /// The regular expression that every such id matches.
    pub const PATTERN: &'static str = "^[mihsa][a-z0-9_-]{1,199}$";

    /// The most bytes of an id: room for eight hand-offs in a row.
    const LEN_MAX: usize = 200;

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The message that asked, if a message did.
    pub fn message(&self) -> Option<MessageId> {
        self.0.strip_prefix('m')?.parse().ok()
    }

    /// The run that its family began with: itself, unless it is a hand-off.
    #[must_use]
    pub fn root(&self) -> Self {
        let mut root = self.0.as_str();
        while let Some((_, of)) = root.strip_prefix('h').and_then(|rest| rest.split_once('-')) {
            root = of;
        }
        Self(root.to_owned())
    }

    fn is_valid(text: &str) -> bool {
        let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
        let Some((kind, rest)) = text.split_at_checked(1) else { return false };
        match kind {
            "m" | "i" => rest.parse::<MessageId>().is_ok(),
            "h" => rest.split_once('-').is_some_and(|(n, of)| digits(n) && Self::is_valid(of)),
            "s" => rest
                .rsplit_once('-')
                .is_some_and(|(name, time)| name.parse::<ProjectName>().is_ok() && digits(time)),
            "a" => rest.len() == 32 && rest.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')),
            _ => false,
        }
    }
}

impl From<MessageId> for RunId {
    fn from(message: MessageId) -> Self {
        Self(format!("m{message}"))
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for RunId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        if text.len() <= Self::LEN_MAX && Self::is_valid(text) {
            Ok(Self(text.to_owned()))
        } else {
            let rule = "m<message>, i<interaction>, h<n>-<run>, s<schedule>-<time> or a<uuid>";
            Err(IdError::new("RunId", rule, text))
        }
    }
}

as_text!(RunId);

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        #[serde(transparent)]
        pub struct $name(pub u32);

        impl $name {
            /// The first one.
            pub const FIRST: Self = Self(1);

            /// The one after this.
            ///
            /// # Panics
            ///
            /// After four thousand million of them.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0.checked_add(1).expect("nothing is tried 2^32 times"))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                match text.parse() {
                    Ok(number) if 0 < number => Ok(Self(number)),
                    Ok(_) | Err(_) => {
                        Err(IdError::new(stringify!($name), "a whole number from 1", text))
                    }
                }
            }
        }
    };
}

counter! {
    /// Raised by the gateway alone, in the transaction of a Retry, a Move or an End.
    Generation
}
counter! {
    /// One holding of a run by a runner. Counted in the run record, never taken from JetStream's
    /// delivery count, which falls back to 1 when consumer state is lost.
    Attempt
}

macro_rules! random {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Uuid);

        impl $name {
            /// The regular expression that every such id matches.
            pub const PATTERN: &'static str =
                "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$";

            /// Makes one that nobody else will make.
            #[must_use]
            pub fn random() -> Self {
                Self(Uuid::new_v4())
            }

            /// The id as a UUID.
            pub fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let uuid = Uuid::try_parse(text)
                    .map_err(|_| IdError::new(stringify!($name), "a UUID", text))?;
                Ok(Self(uuid))
            }
        }

        as_text!($name);
    };
}

random! {
    /// Made anew for each attempt; says who may write the record, and names the spool.
    OwnerToken
}
random! {
    /// Made once in a runner's state directory; tells two runners apart whatever they are called.
    StateId
}
random! {
    /// Made anew at each start of a runner; tells a runner from a copy of its state directory.
    InstanceId
}
random! {
    /// claude's session: one conversation that can be resumed.
    SessionId
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_form_of_run_id_parses_and_prints_the_same() {
        let api = format!("a{}", Uuid::nil().simple());
        for text in ["m1", "i42", "h2-m7", "h1-h2-m7", "snightly-1700000000", &api] {
            assert_eq!(text.parse::<RunId>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_hand_off_is_of_the_family_of_its_parent() {
        for (text, root) in [
            ("m1", "m1"),
            ("h2-m7", "m7"),
            ("h1-h20-m7", "m7"),
            ("h3-shourly-h-17", "shourly-h-17"),
            ("shourly-17", "shourly-17"),
        ] {
            assert_eq!(text.parse::<RunId>().unwrap().root().as_str(), root);
        }
    }

    #[test]
    fn a_text_that_would_break_a_subject_is_no_id() {
        for text in ["", "m", "m0", "m1.2", "m*", "m>", "x1", "h-m1", "s-1", "a12", "m 1", "ü"] {
            assert!(text.parse::<RunId>().is_err(), "{text:?}");
        }
        for text in ["", "A", "a.b", "-a", "a b", "a*", "é", "a/b"] {
            assert!(text.parse::<ProjectName>().is_err(), "{text:?}");
        }
        for text in ["", "-p", "--model", "a b", "opus;ls", "é", "$(x)", "a\nb", &"x".repeat(101)]
        {
            assert!(text.parse::<ModelName>().is_err(), "{text:?}");
        }
        for text in ["opus", "sonnet[1m]", "us.anthropic.claude-opus-5-5:0", "claude-opus-5-5"] {
            assert_eq!(text.parse::<ModelName>().unwrap().as_str(), text);
        }
    }

    #[test]
    fn a_snowflake_is_a_string_on_the_wire() {
        let id = ThreadId::new(1_442_918_300_000_000_001).unwrap();
        assert_eq!(serde_json::to_string(&id).unwrap(), "\"1442918300000000001\"");
    }

    #[test]
    fn discords_example_snowflake_has_the_documented_time() {
        // "175928847299117063" is 2016-04-30 11:18:25.796 UTC in Discord's reference.
        let id: MessageId = "175928847299117063".parse().unwrap();
        assert_eq!(id.created_at_ms(), 1_462_015_105_796);
        let first = MessageId::first_of(1_462_015_105_796);
        assert!(first < id && first.created_at_ms() == id.created_at_ms());
    }

    proptest! {
        #[test]
        fn whatever_parses_is_safe_in_a_subject(text in "\\PC{0,60}") {
            let safe = |t: &str| t.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'));
            if let Ok(id) = text.parse::<RunId>() {
                prop_assert!(safe(&id.to_string()));
            }
            if let Ok(name) = text.parse::<RunnerId>() {
                prop_assert!(safe(name.as_str()));
            }
        }
    }
}
