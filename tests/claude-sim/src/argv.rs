//! The command line, as far as the real one takes it. Pure.
//!
//! A flag that the real claude does not know is refused as it refuses it, so that a typo in an
//! argv fails here too.

use thiserror::Error;
use uuid::Uuid;

use crate::permission::Rule;

/// What the command line asks for.
#[derive(Debug, PartialEq)]
pub(crate) enum Command {
    /// `--version`.
    Version,
    /// A conversation.
    Run(Args),
}

/// Which session is spoken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SessionArg {
    /// A new one with this id, or any id.
    New(Option<Uuid>),
    /// An earlier one.
    Resume(Uuid),
}

/// Who decides about a tool that no rule allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asking {
    /// `--permission-prompt-tool stdio`: the host, by a control request.
    Host,
    /// Nobody: it is denied.
    Nobody,
}

/// A conversation's flags.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Args {
    pub(crate) session: SessionArg,
    pub(crate) asking: Asking,
    pub(crate) replay: bool,
    pub(crate) partial: bool,
    pub(crate) allowed: Vec<Rule>,
    pub(crate) disallowed: Vec<Rule>,
    pub(crate) mode: String,
    pub(crate) model: String,
    /// What this process may cost, in dollars.
    pub(crate) budget: Option<f64>,
}

/// A command line that is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum ArgError {
    #[error("error: unknown option '{0}'")]
    Unknown(String),
    #[error("error: option '{0} <value>' argument missing")]
    Missing(String),
    #[error("Error: Invalid session ID. Must be a valid UUID.")]
    SessionId,
    #[error(
        "Error: --resume requires a valid session ID or session title when used with --print. Usage: claude -p --resume <session-id|title>. Provided value \"{0}\" is not a UUID and does not match any session title."
    )]
    Resume(String),
    #[error(
        "Error: --session-id can only be used with --continue or --resume if --fork-session is also specified."
    )]
    Both,
    #[error(
        "error: option '--max-budget-usd <amount>' argument '{0}' is invalid. --max-budget-usd must be a number greater than 0"
    )]
    Budget(String),
    #[error("claude-sim: only {0} is simulated")]
    NotSimulated(&'static str),
}

/// Flags that stand alone.
const SWITCHES: [&str; 9] = [
    "-p",
    "--print",
    "--verbose",
    "--replay-user-messages",
    "--include-partial-messages",
    "--include-hook-events",
    "--strict-mcp-config",
    "--dangerously-skip-permissions",
    "--no-chrome",
];

/// Flags with one value.
const VALUED: [&str; 19] = [
    "--input-format",
    "--output-format",
    "--permission-prompt-tool",
    "--permission-mode",
    "--session-id",
    "--resume",
    "-r",
    "--model",
    "--fallback-model",
    "--effort",
    "--append-system-prompt",
    "--system-prompt",
    "--settings",
    "--setting-sources",
    "--max-turns",
    "--max-budget-usd",
    "--name",
    "--agent",
    "--debug-file",
];

/// Flags with values up to the next flag.
const LISTS: [&str; 6] = [
    "--allowedTools",
    "--allowed-tools",
    "--disallowedTools",
    "--disallowed-tools",
    "--add-dir",
    "--mcp-config",
];

/// Reads the words after the program's name.
pub(crate) fn parse(words: &[String]) -> Result<Command, ArgError> {
    let mut flags: Vec<(String, Vec<String>)> = Vec::new();
    let mut words = words.iter().peekable();
    while let Some(word) = words.next() {
        let (flag, inline) = match word.split_once('=') {
            Some((flag, value)) if flag.starts_with("--") => (flag, Some(value.to_owned())),
            _ => (word.as_str(), None),
        };
        if matches!(flag, "--version" | "-v") {
            return Ok(Command::Version);
        }
        let mut values: Vec<String> = inline.into_iter().collect();
        if VALUED.contains(&flag) && values.is_empty() {
            values.push(words.next().cloned().ok_or_else(|| ArgError::Missing(flag.to_owned()))?);
        } else if LISTS.contains(&flag) && values.is_empty() {
            values.extend(std::iter::from_fn(|| {
                words.next_if(|word| !word.starts_with('-')).cloned()
            }));
        } else if flag.starts_with('-')
            && !VALUED.contains(&flag)
            && !LISTS.contains(&flag)
            && !SWITCHES.contains(&flag)
        {
            return Err(ArgError::Unknown(flag.to_owned()));
        }
        flags.push((flag.to_owned(), values));
    }
    build(&flags).map(Command::Run)
}

fn build(flags: &[(String, Vec<String>)]) -> Result<Args, ArgError> {
    let value = |names: &[&str]| {
        let found = flags.iter().rev().find(|(flag, _)| names.contains(&flag.as_str()));
        found.and_then(|(_, values)| values.first()).map(String::as_str)
    };
    let rules = |names: &[&str]| {
        let values = flags
            .iter()
            .filter(|(flag, _)| names.contains(&flag.as_str()))
            .flat_map(|(_, values)| values);
        values.flat_map(|value| Rule::list(value)).collect::<Vec<_>>()
    };
    let has = |name: &str| flags.iter().any(|(flag, _)| flag == name);
    for (flag, expected) in [("--input-format", "stream-json"), ("--output-format", "stream-json")]
    {
        if value(&[flag]) != Some(expected) {
            return Err(ArgError::NotSimulated("stream-json both ways"));
        }
    }
    let asking = match value(&["--permission-prompt-tool"]) {
        Some("stdio") => Asking::Host,
        Some(_) => return Err(ArgError::NotSimulated("--permission-prompt-tool stdio")),
        None => Asking::Nobody,
    };
    let session = match (value(&["--session-id"]), value(&["--resume", "-r"])) {
        (Some(_), Some(_)) => return Err(ArgError::Both),
        (Some(id), None) => {
            SessionArg::New(Some(Uuid::try_parse(id).map_err(|_| ArgError::SessionId)?))
        }
        (None, Some(id)) => {
            SessionArg::Resume(Uuid::try_parse(id).map_err(|_| ArgError::Resume(id.to_owned()))?)
        }
        (None, None) => SessionArg::New(None),
    };
    let budget = value(&["--max-budget-usd"]).map(|text| {
        let amount = text.parse().ok().filter(|amount: &f64| amount.is_finite() && 0.0 < *amount);
        amount.ok_or_else(|| ArgError::Budget(text.to_owned()))
    });
    let bypass = has("--dangerously-skip-permissions").then_some("bypassPermissions");
    Ok(Args {
        session,
        asking,
        replay: has("--replay-user-messages"),
        partial: has("--include-partial-messages"),
        allowed: rules(&["--allowedTools", "--allowed-tools"]),
        disallowed: rules(&["--disallowedTools", "--disallowed-tools"]),
        mode: bypass.or(value(&["--permission-mode"])).unwrap_or("default").to_owned(),
        model: value(&["--model"]).unwrap_or("claude-opus-5-5").to_owned(),
        budget: budget.transpose()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "da8de21c-e75d-4fd7-939c-d012e3d836cd";

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    fn run(line: &str) -> Result<Args, ArgError> {
        let line =
            format!("-p --input-format stream-json --output-format stream-json --verbose {line}");
        match parse(&words(line.trim()))? {
            Command::Run(args) => Ok(args),
            Command::Version => panic!("a run"),
        }
    }

    #[test]
    fn the_flags_of_a_runner_are_understood() {
        let args = run(&format!(
            "--replay-user-messages --permission-prompt-tool stdio --session-id {ID} --model opus --allowedTools Read,Bash(git:*)"
        ))
        .unwrap();
        assert_eq!(args.session, SessionArg::New(Some(ID.parse().unwrap())));
        assert_eq!((args.asking, args.replay, args.partial), (Asking::Host, true, false));
        assert_eq!(args.model, "opus");
        assert_eq!(args.allowed, Rule::list("Read,Bash(git:*)"));
    }

    #[test]
    fn a_list_goes_to_the_next_flag() {
        let args = run(&format!("--allowedTools Read Bash(git:*) --resume={ID}")).unwrap();
        assert_eq!(args.allowed, Rule::list("Read,Bash(git:*)"));
        assert_eq!(args.session, SessionArg::Resume(ID.parse().unwrap()));
    }

    #[test]
    fn what_the_real_one_refuses_is_refused_in_its_words() {
        assert_eq!(
            run("--no-such-flag").unwrap_err().to_string(),
            "error: unknown option '--no-such-flag'"
        );
        let invalid = run("--session-id not-a-uuid").unwrap_err().to_string();
        assert_eq!(invalid, "Error: Invalid session ID. Must be a valid UUID.");
        let nothing = run("--max-budget-usd=0").unwrap_err().to_string();
        assert_eq!(
            nothing,
            "error: option '--max-budget-usd <amount>' argument '0' is invalid. --max-budget-usd must be a number greater than 0"
        );
        assert_eq!(run("--max-budget-usd=0.5").unwrap().budget, Some(0.5));
        assert_eq!(run("--model").unwrap_err(), ArgError::Missing("--model".into()));
    }

    #[test]
    fn the_version_is_told_whatever_else_is_asked() {
        assert_eq!(parse(&words("--version")), Ok(Command::Version));
    }
}
