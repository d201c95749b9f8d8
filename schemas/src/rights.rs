//! What a run may do: decided by the gateway once for each generation, sent along with the work, and
//! narrowed by the runner to what its own configuration permits.
//!
//! A runner's list is the ceiling. [`Rule::covers`] says when one rule of claude's permits all that another
//! does; where that cannot be told from the texts it says no, so what is not understood is narrowed.
//! Plain values and that one comparison: who asks whom, and what claude is started with, is said by the
//! runner.

use serde::{Deserialize, Serialize};

/// The most rules of one list: claude's command line has room for far more.
pub const RULES_MAX: usize = 100;

/// The most bytes of one rule.
pub const RULE_MAX: usize = 300;

/// What a run may do beside what its runner allows by itself. The default changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Rights {
    /// What claude may use without asking, in place of the runner's list; what that does not cover is left
    /// out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<Vec<String>>,
    /// What it may use beside that, where the runner lets it be added.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extra: Vec<String>,
    /// What it may not use, whoever allows it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<String>,
    /// That nobody is to be asked for leave, if somebody had it so and the runner permits it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unasked: Option<Unasked>,
    /// What it may cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
}

/// A word by which nobody is asked for leave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Unasked {
    /// The name of whoever said it.
    pub by: String,
    /// Until when, in milliseconds since 1970; from then on leave is asked for, also in a run at work.
    pub until_ms: i64,
}

/// What a run may cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Budget {
    /// In millionths of a US dollar; more than nothing.
    pub micro_usd: u64,
    /// Whose it is, for the line that says that it is used up: `the budget of one run`.
    pub of: String,
}

impl Rights {
    /// Whether they change nothing.
    pub fn are_usual(&self) -> bool {
        *self == Self::default()
    }
}

/// A rule of claude's lists: a tool, or what of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule<'a> {
    tool: &'a str,
    /// What stands in its brackets.
    what: Option<&'a str>,
}

/// What a shell takes for more than a word: with it, a command that begins well may go on otherwise.
const SHELL: [char; 11] = ['&', '|', ';', '<', '>', '$', '`', '(', ')', '\\', '\n'];

impl<'a> Rule<'a> {
    /// Reads a rule: `Tool`, or `Tool(what)`. `None`: it is none, or more than one.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (tool, what) = match text.split_once('(') {
            Some((tool, rest)) => (tool, Some(rest.strip_suffix(')')?)),
            None => (text, None),
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || "_-.:*".contains(c);
        let begins = tool.starts_with(|c: char| c.is_ascii_alphabetic());
        let fits = text.len() <= RULE_MAX && begins && tool.chars().all(is_name);
        let closed = what.is_none_or(|what| {
            let depth = what.chars().try_fold(0_usize, |depth, c| match c {
                '(' => Some(depth + 1),
                ')' => depth.checked_sub(1),
                c if c.is_control() => None,
                _ => Some(depth),
            });
            depth == Some(0) && !what.trim().is_empty()
        });
        (fits && closed).then_some(Self { tool, what })
    }

    /// The rule of a single call, by its tool and what that would be used on.
    pub fn of(tool: &'a str, object: &'a str) -> Self {
        Self { tool, what: Some(object) }
    }

    /// Whether whatever `other` permits is permitted by this one. No, where that is not certain.
    pub fn covers(&self, other: &Rule<'_>) -> bool {
        if self.what.is_none_or(|what| what == "*") {
            return self.tool == other.tool || self.is_server_of(other.tool);
        }
        if self.tool != other.tool || other.what.is_none() {
            return false;
        }
        if self.what == other.what {
            return true;
        }
        let (Some(mine), Some(theirs)) = (self.what.and_then(prefix), other.what) else {
            return false;
        };
        let theirs = prefix(theirs).unwrap_or(theirs);
        let begins =
            theirs.strip_prefix(mine).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '));
        self.tool == "Bash" && begins && !theirs.contains(SHELL)
    }

    /// Whether this one names an MCP server, and the other a tool of it.
    fn is_server_of(&self, tool: &str) -> bool {
        let server = self.tool.trim_end_matches('*').trim_end_matches("__");
        let is_server = server.strip_prefix("mcp__").is_some_and(|name| !name.contains("__"));
        let rest = tool.strip_prefix(server).and_then(|rest| rest.strip_prefix("__"));
        is_server && rest.is_some_and(|rest| !rest.is_empty())
    }
}

/// How the commands begin that a rule for commands is about, if it is one about beginnings.
fn prefix(what: &str) -> Option<&str> {
    let begins = what.strip_suffix(":*").or_else(|| what.strip_suffix(" *"))?;
    (!begins.is_empty() && !begins.contains('*')).then_some(begins)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(one: &str, other: &str) -> bool {
        Rule::parse(one).unwrap().covers(&Rule::parse(other).unwrap())
    }

    #[test]
    fn a_rule_covers_what_is_narrower() {
        for (one, other) in [
            ("Bash", "Bash(rm -rf /)"),
            ("Bash", "Bash"),
            ("Bash(*)", "Bash(make)"),
            ("Bash(git:*)", "Bash(git push:*)"),
            ("Bash(git:*)", "Bash(git)"),
            ("Bash(git *)", "Bash(git log *)"),
            ("Bash(touch x)", "Bash(touch x)"),
            ("Edit(/src/**)", "Edit(/src/**)"),
            ("Edit", "Edit(/src/**)"),
            ("mcp__db", "mcp__db__query"),
            ("mcp__db__*", "mcp__db__query"),
            ("mcp__db__query", "mcp__db__query"),
        ] {
            assert!(covers(one, other), "{one} covers {other}");
        }
    }

    #[test]
    fn a_rule_covers_nothing_else() {
        for (one, other) in [
            ("Bash(git:*)", "Bash"),
            ("Bash(git:*)", "Bash(gitk)"),
            ("Bash(git push:*)", "Bash(git:*)"),
            ("Bash(git:*)", "Bash(git status && rm -rf x)"),
            ("Bash(git:*)", "Bash(git $(rm x):*)"),
            ("Bash(git:*)", "Bash(*)"),
            ("Bash(git status)", "Bash(git status x)"),
            ("Bash(g*:*)", "Bash(git push)"),
            ("Edit(/src/**)", "Edit(/src/a)"),
            ("Read", "Write"),
            ("mcp__db__query", "mcp__db__drop"),
            ("mcp__db", "mcp__dbx__query"),
            ("mcp", "mcp__db__query"),
            ("mcp__db", "mcp__db"),
        ] {
            assert_eq!(covers(one, other), one == other, "{one} and {other}");
        }
    }

    #[test]
    fn a_text_that_is_no_rule_or_more_than_one_is_none() {
        for text in [
            "",
            " ",
            "Bash(",
            "Bash)",
            "Bash()",
            "Bash( )",
            "Read,Write",
            "Read Write",
            "Bash(a) Write",
            "Bash(a),Write(b)",
            "Bash(a)b)",
            "Bash(a\nb)",
            "(a)",
            "Bäsh",
            "--model",
        ] {
            assert_eq!(Rule::parse(text), None, "{text:?}");
        }
        assert!(Rule::parse(&format!("Bash({})", "x".repeat(RULE_MAX))).is_none());
        assert!(Rule::parse("Bash(git log --format=(%h), -p:*)").is_some());
    }
}
