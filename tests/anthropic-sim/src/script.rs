//! The script language: what a simulated claude does, written into the prompt.
//!
//! A step is `[[verb arguments]]`, anywhere in the text, one or many a line; all else is plain
//! text and ignored. `[[what is not a verb]]` is plain text as well, so that a person may write
//! it. Neither Discord nor claude changes these characters.
//!
//! | step | what it does |
//! |---|---|
//! | `[[say TEXT]]` | answers TEXT; neighbours are joined by a newline. `{result}` is the result of the last tool, `{steer}` what the person said meanwhile |
//! | `[[think TEXT]]` | a block of thinking |
//! | `[[tool NAME {"json":"input"}]]` | calls a tool, then goes on with its result |
//! | `[[delay 500ms]]`, `[[delay 2s]]` | waits that long |
//! | `[[wait NAME]]` | waits until NAME is released (`Sim::release`; for claude-sim until the file `$CLAUDE_SIM_DIR/NAME` is there) |
//! | `[[big 12000]]` | answers [`big_text`] of so many characters |
//! | `[[recall]]` | answers what the person said earlier in this session |
//! | `[[error 529]]`, `[[error 400 why]]` | the API answers this error; nothing after it is done |
//! | `[[hang]]` | does nothing for ever |
//! | `[[exit 3]]` | claude-sim ends with this code |
//! | `[[die KILL]]` | claude-sim ends by this signal: KILL, TERM, INT, HUP, ABRT or SEGV |
//! | `[[garbage]]` | claude-sim prints a line that is no JSON |
//! | `[[bigline 5000000]]` | claude-sim prints a line of so many bytes (JSON, unknown type) |
//!
//! What a step says ends at the next `]]`; the JSON of a tool may contain `]]`.
//! Only parsing lives here: nothing waits, and nothing knows of HTTP or of processes.

use std::fmt;
use std::time::Duration;

use serde_json::Value;
use thiserror::Error;

/// The most steps a script has: a longer one is a mistake, or an attack on the tests.
pub const STEPS_MAX: usize = 1_000;

/// The longest `delay`: ten minutes, as long as the real claude waits for an answer.
pub const DELAY_MAX: Duration = Duration::from_secs(600);

/// The most characters or bytes of `big` and `bigline`: enough to be a burden, not a breakdown.
pub const SIZE_MAX: usize = 64 * 1024 * 1024;

/// One step of a script.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Answers with a text.
    Say(String),
    /// A block of thinking.
    Think(String),
    /// Calls a tool.
    Tool {
        /// Its name, as claude knows it.
        name: String,
        /// What it is given.
        input: Value,
    },
    /// Lets time go by.
    Delay(Duration),
    /// Waits until the gate of this name is opened.
    Wait(String),
    /// Answers with so many characters.
    Big(usize),
    /// Answers with what was said earlier.
    Recall,
    /// The API answers with an error.
    Error {
        /// The HTTP status, 400 to 599.
        status: u16,
        /// The message of the error.
        message: String,
    },
    /// Misbehaves.
    Fault(Fault),
}

/// How a claude can misbehave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Ends with this code.
    Exit(u8),
    /// Prints a line that is no JSON.
    Garbage,
    /// Prints a line of so many bytes.
    BigLine(usize),
    /// Does nothing any more.
    Hang,
    /// Ends by a signal.
    Die(Signal),
}

/// A signal to die of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGKILL.
    Kill,
    /// SIGTERM.
    Term,
    /// SIGINT.
    Int,
    /// SIGHUP.
    Hup,
    /// SIGABRT.
    Abrt,
    /// SIGSEGV.
    Segv,
}

/// A step that has a known verb and cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ScriptError {
    /// No `]]` follows.
    #[error("[[{verb}: the closing ]] is missing")]
    Unclosed {
        /// The verb of the step.
        verb: &'static str,
    },
    /// What follows the verb is not what it takes.
    #[error("[[{verb} {got}]]: expected {expected}")]
    Argument {
        /// The verb of the step.
        verb: &'static str,
        /// What was written.
        got: String,
        /// What would have been right.
        expected: &'static str,
    },
    /// More than [`STEPS_MAX`] steps.
    #[error("a script has at most {STEPS_MAX} steps")]
    TooMany,
}

/// The verbs, as written.
const VERBS: [&str; 13] = [
    "say", "think", "tool", "delay", "wait", "big", "recall", "error", "hang", "exit", "die",
    "garbage", "bigline",
];

/// Reads the steps out of a prompt; none if it has no script.
///
/// # Errors
///
/// The first step that has a known verb and cannot be understood.
pub fn parse(prompt: &str) -> Result<Vec<Step>, ScriptError> {
    let mut steps = Vec::new();
    let mut rest = prompt;
    while let Some(at) = rest.find("[[") {
        let Some((verb, body)) = verb(&rest[at + 2..]) else {
            rest = &rest[at + 1..];
            continue;
        };
        if steps.len() == STEPS_MAX {
            return Err(ScriptError::TooMany);
        }
        let (step, after) = if verb == "tool" { tool(body)? } else { simple(verb, body)? };
        steps.push(step);
        rest = after;
    }
    Ok(steps)
}

/// The verb that a step begins with, and what follows it.
fn verb(body: &str) -> Option<(&'static str, &str)> {
    let end = body.find(|c: char| !c.is_ascii_lowercase())?;
    let verb = VERBS.into_iter().find(|verb| *verb == &body[..end])?;
    let rest = &body[end..];
    (rest.starts_with("]]") || rest.starts_with(char::is_whitespace)).then_some((verb, rest))
}

/// `NAME {json}]]`: the JSON is read as JSON, so it may contain `]]`.
fn tool(body: &str) -> Result<(Step, &str), ScriptError> {
    let verb = "tool";
    let body = body.trim_start();
    let end = body
        .find(|c: char| c.is_whitespace() || c == ']' || c == '{')
        .ok_or(ScriptError::Unclosed { verb })?;
    let (name, rest) = body.split_at(end);
    let wrong = |expected| ScriptError::Argument {
        verb,
        got: rest.split("]]").next().map_or_else(String::new, |got| format!("{name}{got}")),
        expected,
    };
    if name.is_empty() {
        return Err(wrong("the name of a tool"));
    }
    let rest = rest.trim_start();
    if let Some(after) = rest.strip_prefix("]]") {
        return Ok((
            Step::Tool { name: name.to_owned(), input: Value::Object(serde_json::Map::new()) },
            after,
        ));
    }
    let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
    let Some(Ok(input @ Value::Object(_))) = values.next() else {
        return Err(wrong("a JSON object as input"));
    };
    let after = rest[values.byte_offset()..].trim_start();
    let after = after.strip_prefix("]]").ok_or(ScriptError::Unclosed { verb })?;
    Ok((Step::Tool { name: name.to_owned(), input }, after))
}

/// A step that ends at the next `]]`.
fn simple<'a>(verb: &'static str, body: &'a str) -> Result<(Step, &'a str), ScriptError> {
    let (argument, after) = body.split_once("]]").ok_or(ScriptError::Unclosed { verb })?;
    let argument = argument.trim();
    let wrong = |expected| ScriptError::Argument { verb, got: argument.to_owned(), expected };
    let step = match verb {
        "say" => Step::Say(argument.to_owned()),
        "think" => Step::Think(argument.to_owned()),
        "delay" => Step::Delay(
            duration(argument).ok_or_else(|| wrong("a time such as 500ms or 2s, up to 600s"))?,
        ),
        "wait" => {
            Step::Wait(gate(argument).ok_or_else(|| wrong("a name of letters, digits, - and _"))?)
        }
        "big" => Step::Big(size(argument).ok_or_else(|| wrong("a number of characters"))?),
        "recall" => Step::Recall,
        "error" => error(argument)
            .ok_or_else(|| wrong("a status from 400 to 599, and perhaps a message"))?,
        "hang" => Step::Fault(Fault::Hang),
        "garbage" => Step::Fault(Fault::Garbage),
        "exit" => {
            Step::Fault(Fault::Exit(argument.parse().map_err(|_| wrong("a code from 0 to 255"))?))
        }
        "die" => {
            Step::Fault(Fault::Die(signal(argument).ok_or_else(|| wrong("a signal such as KILL"))?))
        }
        _ => Step::Fault(Fault::BigLine(size(argument).ok_or_else(|| wrong("a number of bytes"))?)),
    };
    Ok((step, after))
}

fn duration(text: &str) -> Option<Duration> {
    let (number, factor) = match text.strip_suffix("ms") {
        Some(number) => (number, 0.001),
        None => (text.strip_suffix('s')?, 1.0),
    };
    let seconds = number.trim().parse::<f64>().ok()? * factor;
    Duration::try_from_secs_f64(seconds).ok().filter(|delay| *delay <= DELAY_MAX)
}

/// A gate's name is safe as the name of a file.
fn gate(text: &str) -> Option<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    (!text.is_empty() && text.len() <= 64 && text.chars().all(fits)).then(|| text.to_owned())
}

fn size(text: &str) -> Option<usize> {
    text.parse().ok().filter(|size| *size <= SIZE_MAX)
}

fn error(text: &str) -> Option<Step> {
    let (status, message) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let status = status.parse().ok().filter(|status| (400..=599).contains(status))?;
    let message = if message.is_empty() { default_message(status) } else { message.trim() };
    Some(Step::Error { status, message: message.to_owned() })
}

fn signal(text: &str) -> Option<Signal> {
    let name = text.to_ascii_uppercase();
    match name.strip_prefix("SIG").unwrap_or(&name) {
        "KILL" | "9" => Some(Signal::Kill),
        "TERM" | "15" => Some(Signal::Term),
        "INT" | "2" => Some(Signal::Int),
        "HUP" | "1" => Some(Signal::Hup),
        "ABRT" | "6" => Some(Signal::Abrt),
        "SEGV" | "11" => Some(Signal::Segv),
        _ => None,
    }
}

/// The `type` that the API gives to an error of this status.
pub fn error_type(status: u16) -> &'static str {
    match status {
        400 => "invalid_request_error",
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        529 => "overloaded_error",
        status if status < 500 => "invalid_request_error",
        _ => "api_error",
    }
}

/// What an error of this status says, unless the script says otherwise.
pub fn default_message(status: u16) -> &'static str {
    match status {
        401 => "invalid x-api-key",
        403 => "not allowed",
        429 => "rate limit",
        529 => "Overloaded",
        status if status < 500 => "bad request",
        _ => "Internal server error",
    }
}

/// A text of exactly `characters` characters, the same each time: numbered lines of 60, so that a
/// cut, a repeat or a change of order is seen. It begins and ends with a character that no
/// trimming takes away.
pub fn big_text(characters: usize) -> String {
    let mut text = String::with_capacity(characters);
    let mut number = 0;
    while text.len() < characters {
        number += 1;
        let line = format!("{number:06} all work and no play makes claude a dull machine......");
        text.push_str(&line);
        text.push('\n');
    }
    text.truncate(characters);
    if text.ends_with(char::is_whitespace) {
        text.pop();
        text.push('.');
    }
    text
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kill => "KILL",
            Self::Term => "TERM",
            Self::Int => "INT",
            Self::Hup => "HUP",
            Self::Abrt => "ABRT",
            Self::Segv => "SEGV",
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn say(text: &str) -> Step {
        Step::Say(text.to_owned())
    }

    #[test]
    fn a_prompt_without_steps_has_no_script() {
        for prompt in [
            "",
            "what does this repo do?",
            "see [[wiki]] and a[[0]]",
            "[[",
            "[[saying x]]",
            "[[ say x]]",
        ] {
            assert_eq!(parse(prompt), Ok(vec![]), "{prompt:?}");
        }
    }

    #[test]
    fn steps_may_stand_anywhere_in_the_text() {
        let steps =
            parse("please\n[[say one]] and [[delay 250ms]]\n[[say two\nlines]][[recall]] thanks")
                .unwrap();
        let expected = vec![
            say("one"),
            Step::Delay(Duration::from_millis(250)),
            say("two\nlines"),
            Step::Recall,
        ];
        assert_eq!(steps, expected);
    }

    #[test]
    fn the_json_of_a_tool_may_contain_brackets() {
        let steps = parse(r#"[[tool Ask {"a":[[1],[2]],"b":"]]"} ]] [[say x]]"#).unwrap();
        let input = json!({"a": [[1], [2]], "b": "]]"});
        assert_eq!(steps, [Step::Tool { name: "Ask".into(), input }, say("x")]);
    }

    #[test]
    fn a_tool_without_input_gets_an_empty_object() {
        assert_eq!(
            parse("[[tool Nope]]").unwrap(),
            [Step::Tool { name: "Nope".into(), input: json!({}) }]
        );
    }

    #[test]
    fn every_verb_is_understood() {
        let script = "[[think a]][[wait go-1]][[big 10]][[error 529]][[error 400 no way]][[hang]][[exit 3]]\
                      [[die SIGKILL]][[garbage]][[bigline 7]][[delay 1.5s]]";
        let expected = vec![
            Step::Think("a".into()),
            Step::Wait("go-1".into()),
            Step::Big(10),
            Step::Error { status: 529, message: "Overloaded".into() },
            Step::Error { status: 400, message: "no way".into() },
            Step::Fault(Fault::Hang),
            Step::Fault(Fault::Exit(3)),
            Step::Fault(Fault::Die(Signal::Kill)),
            Step::Fault(Fault::Garbage),
            Step::Fault(Fault::BigLine(7)),
            Step::Delay(Duration::from_millis(1_500)),
        ];
        assert_eq!(parse(script).unwrap(), expected);
    }

    #[test]
    fn a_wrong_step_says_what_is_wrong_with_it() {
        for (script, message) in [
            ("[[say never closed", "[[say: the closing ]] is missing"),
            ("[[delay soon]]", "[[delay soon]]: expected a time such as 500ms or 2s, up to 600s"),
            ("[[delay 601s]]", "[[delay 601s]]: expected a time such as 500ms or 2s, up to 600s"),
            ("[[delay -1s]]", "[[delay -1s]]: expected a time such as 500ms or 2s, up to 600s"),
            ("[[wait ../x]]", "[[wait ../x]]: expected a name of letters, digits, - and _"),
            (
                "[[error 200]]",
                "[[error 200]]: expected a status from 400 to 599, and perhaps a message",
            ),
            ("[[exit 256]]", "[[exit 256]]: expected a code from 0 to 255"),
            ("[[die QUIETLY]]", "[[die QUIETLY]]: expected a signal such as KILL"),
            ("[[tool Bash ls]]", "[[tool Bash ls]]: expected a JSON object as input"),
            ("[[tool ]]", "[[tool ]]: expected the name of a tool"),
            (r#"[[tool Bash {"a":1} and]]"#, "[[tool: the closing ]] is missing"),
        ] {
            assert_eq!(parse(script).unwrap_err().to_string(), message, "{script}");
        }
    }

    #[test]
    fn a_script_has_a_most() {
        assert_eq!(parse(&"[[hang]]".repeat(STEPS_MAX)).unwrap().len(), STEPS_MAX);
        assert_eq!(parse(&"[[hang]]".repeat(STEPS_MAX + 1)), Err(ScriptError::TooMany));
    }

    #[test]
    fn a_big_text_has_its_size_and_no_loose_ends() {
        for size in [0, 1, 59, 60, 61, 62, 122, 4_000, 12_000] {
            let text = big_text(size);
            assert_eq!(text.len(), size);
            assert_eq!(text.trim(), text, "{size}");
        }
        assert_ne!(big_text(4_000)[..2_000], big_text(4_000)[2_000..]);
    }
}
