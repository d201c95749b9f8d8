//! What is asked for: filters, a limit, and where a page begins. The same at the command line and over
//! HTTP.
//!
//! Pure. Every value is read from its text, and what makes no sense says what would.

use std::fmt;
use std::str::FromStr;

use clap::Args;
use platform::terminal::day_began;
use schemas::ids::{ProjectName, RunId, ThreadId, UserId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::State;

/// The most that a page holds: a run can bring a record of 64 KiB along.
pub(crate) const LIMIT_MAX: u16 = 500;
/// What a page holds where nobody says.
const LIMIT_USUAL: u16 = 50;
/// The most bytes of a cursor's key: the longest are ids of runs.
const KEY_MAX: usize = 300;

/// Serde by way of `FromStr`.
macro_rules! from_text {
    ($($name:ident),*) => {$(
        impl TryFrom<String> for $name {
            type Error = String;
            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }
    )*};
}

from_text!(Limit, Cursor, Since, StateIs, Person, By);

/// Which runs.
#[derive(Args, Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunsWanted {
    /// Only of this project.
    #[arg(long)]
    #[param(value_type = Option<String>)]
    pub(crate) project: Option<ProjectName>,
    /// Only of this thread.
    #[arg(long)]
    #[param(value_type = Option<String>)]
    pub(crate) thread: Option<ThreadId>,
    /// Only those in this state, or `open` (without outcome), or `ended`.
    #[arg(long)]
    #[param(value_type = Option<String>)]
    pub(crate) state: Option<StateIs>,
    /// Only of this person, by number or name.
    #[arg(long)]
    #[param(value_type = Option<String>)]
    pub(crate) person: Option<Person>,
    /// Only those accepted since: 30m, 12h, 7d, a day (2026-11-23), or milliseconds since 1970.
    #[arg(long)]
    #[param(value_type = Option<String>)]
    pub(crate) since: Option<Since>,
    /// How many, 1 to 500.
    #[arg(long, default_value_t)]
    #[serde(default)]
    #[param(value_type = Option<u16>, minimum = 1, maximum = 500, example = 50)]
    pub(crate) limit: Limit,
    /// Where the page begins: `next` of the one before.
    #[arg(long, value_name = "CURSOR")]
    #[param(value_type = Option<String>)]
    pub(crate) after: Option<Cursor>,
}

/// Which conversations.
#[derive(Args, Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ThreadsWanted {
    /// Only of this project.
    #[arg(long)]
    #[param(value_type = Option<String>)]
    pub(crate) project: Option<ProjectName>,
    /// Only those in which something happened since.
    #[arg(long)]
    #[param(value_type = Option<String>)]
    pub(crate) since: Option<Since>,
    /// How many, 1 to 500.
    #[arg(long, default_value_t)]
    #[serde(default)]
    #[param(value_type = Option<u16>, minimum = 1, maximum = 500, example = 50)]
    pub(crate) limit: Limit,
    /// Where the page begins: `next` of the one before.
    #[arg(long, value_name = "CURSOR")]
    #[param(value_type = Option<String>)]
    pub(crate) after: Option<Cursor>,
}

/// Which runners.
#[derive(Args, Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunnersWanted {
    /// Only those that serve this project.
    #[arg(long)]
    #[param(value_type = Option<String>)]
    pub(crate) project: Option<ProjectName>,
    /// How many, 1 to 500.
    #[arg(long, default_value_t)]
    #[serde(default)]
    #[param(value_type = Option<u16>, minimum = 1, maximum = 500, example = 50)]
    pub(crate) limit: Limit,
    /// Where the page begins: `next` of the one before.
    #[arg(long, value_name = "CURSOR")]
    #[param(value_type = Option<String>)]
    pub(crate) after: Option<Cursor>,
}

/// Which decisions.
#[derive(Args, Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuditWanted {
    /// Only in this project.
    #[arg(long)]
    #[param(value_type = Option<String>)]
    pub(crate) project: Option<ProjectName>,
    /// Only in this thread.
    #[arg(long)]
    #[param(value_type = Option<String>)]
    pub(crate) thread: Option<ThreadId>,
    /// Only about this run.
    #[arg(long)]
    #[param(value_type = Option<String>)]
    pub(crate) run: Option<RunId>,
    /// Only of this person, by number or name; an operator's and a token's have names alone.
    #[arg(long)]
    #[param(value_type = Option<String>)]
    pub(crate) person: Option<Person>,
    /// Only those since: 30m, 12h, 7d, a day (2026-11-23), or milliseconds since 1970.
    #[arg(long)]
    #[param(value_type = Option<String>)]
    pub(crate) since: Option<Since>,
    /// How many, 1 to 500.
    #[arg(long, default_value_t)]
    #[serde(default)]
    #[param(value_type = Option<u16>, minimum = 1, maximum = 500, example = 50)]
    pub(crate) limit: Limit,
    /// Where the page begins: `next` of the one before.
    #[arg(long, value_name = "CURSOR")]
    #[param(value_type = Option<String>)]
    pub(crate) after: Option<Cursor>,
}

/// What of the usage.
#[derive(Args, Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct UsageWanted {
    /// In which parts: project, person or day.
    #[arg(long, default_value_t)]
    #[serde(default)]
    #[param(inline)]
    pub(crate) by: By,
    /// Only of this project.
    #[arg(long)]
    #[param(value_type = Option<String>)]
    pub(crate) project: Option<ProjectName>,
    /// Only of this person, by number or name.
    #[arg(long)]
    #[param(value_type = Option<String>)]
    pub(crate) person: Option<Person>,
    /// Only since: 30m, 12h, 7d, a day (2026-11-23), or milliseconds since 1970.
    #[arg(long)]
    #[param(value_type = Option<String>)]
    pub(crate) since: Option<Since>,
    /// How many parts, 1 to 500.
    #[arg(long, default_value_t)]
    #[serde(default)]
    #[param(value_type = Option<u16>, minimum = 1, maximum = 500, example = 50)]
    pub(crate) limit: Limit,
    /// Where the page begins: `next` of the one before.
    #[arg(long, value_name = "CURSOR")]
    #[param(value_type = Option<String>)]
    pub(crate) after: Option<Cursor>,
}

/// How much a page holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Limit(u16);

impl Limit {
    /// As a length.
    pub(crate) fn get(self) -> usize {
        self.0.into()
    }

    /// How much the store is asked for: one more, which says that there is a next page.
    pub(crate) fn and_one(self) -> i64 {
        i64::from(self.0) + 1
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self(LIMIT_USUAL)
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Limit {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let limit = text.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
        limit.map(Self).ok_or_else(|| format!("must be 1 to {LIMIT_MAX}"))
    }
}

/// Where a page ended. Only for whoever gave it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Cursor {
    /// The number that the list is sorted by first.
    pub(crate) at: i64,
    /// What tells those of one number apart.
    pub(crate) key: String,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.at, self.key)
    }
}

impl From<Cursor> for String {
    fn from(cursor: Cursor) -> Self {
        cursor.to_string()
    }
}

impl FromStr for Cursor {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let (at, key) = text.split_once('.').unwrap_or_default();
        let at = at.parse().ok();
        let fits = key.len() <= KEY_MAX && key.bytes().all(plain);
        let cursor = at.filter(|_| fits).map(|at| Self { at, key: key.to_owned() });
        cursor.ok_or_else(|| "is no cursor; take `next` of the page before as it is".to_owned())
    }
}

/// Since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum Since {
    /// For so many milliseconds.
    Ago(i64),
    /// Since this moment, in milliseconds since 1970.
    At(i64),
}

impl Since {
    /// The moment, in milliseconds since 1970.
    pub(crate) fn ms(self, now_ms: i64) -> i64 {
        match self {
            Since::Ago(ms) => now_ms.saturating_sub(ms),
            Since::At(ms) => ms,
        }
    }
}

impl FromStr for Since {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let units =
            [('s', 1_000), ('m', 60_000), ('h', 3_600_000), ('d', 86_400_000), ('w', 604_800_000)];
        let ago = units.iter().find_map(|(unit, ms): &(char, i64)| {
            let number: i64 = text.strip_suffix(*unit)?.parse().ok()?;
            number.checked_mul(*ms).filter(|_| 0 < number).map(Since::Ago)
        });
        let at = || day_began(text).or_else(|| text.parse().ok()).map(Since::At);
        ago.or_else(at).ok_or_else(|| {
            "must be like 30m, 12h or 7d, a day like 2026-11-23, or milliseconds since 1970"
                .to_owned()
        })
    }
}

/// A state that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum StateIs {
    /// Without outcome.
    Open,
    /// With one.
    Ended,
    /// This one.
    Just(State),
}

impl FromStr for StateIs {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "open" => Ok(Self::Open),
            "ended" => Ok(Self::Ended),
            _ => {
                let found = State::ALL.into_iter().find(|(name, _)| *name == text);
                found.map(|(_, state)| Self::Just(state)).ok_or_else(|| {
                    let names = State::ALL.map(|(name, _)| name).join(", ");
                    format!("must be open, ended, {names}")
                })
            }
        }
    }
}

/// A person that is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum Person {
    /// By their number in Discord.
    Id(UserId),
    /// By what they are called.
    Name(String),
}

impl FromStr for Person {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("must be a person's number or name".to_owned());
        }
        Ok(text.parse().map_or_else(|_| Self::Name(text.to_owned()), Self::Id))
    }
}

/// What usage is split by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", rename_all = "snake_case")]
pub(crate) enum By {
    /// Projects.
    #[default]
    Project,
    /// Who asked.
    Person,
    /// Days of UTC.
    Day,
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            By::Project => "project",
            By::Person => "person",
            By::Day => "day",
        })
    }
}

impl FromStr for By {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let all = [By::Project, By::Person, By::Day];
        let found = all.into_iter().find(|by| by.to_string() == text);
        found.ok_or_else(|| "must be project, person or day".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_given_in_three_ways() {
        assert_eq!("90m".parse::<Since>().unwrap().ms(5_400_001), 1);
        assert_eq!("2w".parse::<Since>(), Ok(Since::Ago(1_209_600_000)));
        assert_eq!("1970-01-02".parse::<Since>(), Ok(Since::At(86_400_000)));
        assert_eq!("17".parse::<Since>(), Ok(Since::At(17)));
        for wrong in ["", "d", "-1h", "0d", "1y", "2026-02-30", "9223372036854775807w"] {
            assert!(wrong.parse::<Since>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_limit_is_bounded_and_a_state_is_one_that_there_is() {
        for wrong in ["0", "501", "x", "-1"] {
            assert_eq!(wrong.parse::<Limit>(), Err("must be 1 to 500".to_owned()));
        }
        assert_eq!("failed".parse(), Ok(StateIs::Just(State::Failed)));
        assert!("fine".parse::<StateIs>().unwrap_err().contains("open, ended, waiting"));
    }

    #[test]
    fn a_cursor_comes_back_as_it_was_given() {
        for (at, key) in [(17, "m7"), (0, ""), (5, "a.operator-1.stop.m7.2")] {
            let cursor = Cursor { at, key: key.to_owned() };
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        for wrong in ["", "7", "x.m7", "7.m 7", "7.m'7", &format!("7.{}", "x".repeat(KEY_MAX + 1))]
        {
            assert!(wrong.parse::<Cursor>().is_err(), "{wrong}");
        }
    }
}
