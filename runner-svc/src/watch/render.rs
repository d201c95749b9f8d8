//! What an event looks like on the screen of whoever watches a run.
//!
//! Text of claude, of its tools and of people is shown without control characters, so that nothing
//! in it can move the cursor, write into the title or turn the direction of the text. It is pure.

use std::time::Duration;

use platform::terminal::{clean, line};

use crate::claude::{Block, Denial, Event, Init, ToolResult, TurnKind, TurnResult};
use crate::spool::Ending;

/// How many characters are shown of what a tool is used on.
const OBJECT_CHARS: usize = 200;
/// How many lines of a tool's result are shown.
const RESULT_LINES: usize = 5;

const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const PLAIN: &str = "\x1b[0m";

/// The first line of the view.
pub(super) fn heading(name: &str) -> String {
    format!("{DIM}holdfast: run {} (read-only view){PLAIN}", clean(name))
}

/// A text of ours without its colours.
pub(super) fn without_colours(text: &str) -> String {
    [BOLD, DIM, RED, GREEN, PLAIN].iter().fold(text.to_owned(), |text, it| text.replace(it, ""))
}

/// What is shown for an event; `None` for what says nothing to a person.
pub(super) fn event(event: &Event) -> Option<String> {
    let text = match event {
        Event::Init(Init { model, version, .. }) => {
            format!("{DIM}claude {}, {}{PLAIN}", clean(version), clean(model))
        }
        Event::Echo { text, .. } => format!("\n{BOLD}> {}{PLAIN}", indented(text, "  ")),
        Event::Said { blocks, within, .. } => said(blocks, within.is_some())?,
        Event::ToolResults(results) => {
            results.iter().map(tool_result).collect::<Vec<_>>().join("\n")
        }
        Event::Ask(ask) => {
            format!(
                "{BOLD}  asks for leave: {} {}{PLAIN}",
                clean(&ask.tool_name),
                line(&ask.object())
            )
        }
        Event::AskCancelled { .. } => format!("{DIM}  asks no longer{PLAIN}"),
        Event::OtherRequest { subtype, .. } => {
            format!("{DIM}  asks for {}, which is not served{PLAIN}", clean(subtype))
        }
        Event::Result(result) => turn_result(result)?,
        Event::RateLimit { status, .. } if status == "allowed" => return None,
        Event::RateLimit { status, .. } => format!("{RED}rate limit: {}{PLAIN}", clean(status)),
        Event::ApiRetry { attempt, max_retries, delay_ms, error, .. } => format!(
            "{RED}the API failed ({}): try {attempt} of {max_retries} in {}{PLAIN}",
            clean(error),
            seconds(*delay_ms)
        ),
        Event::Compacted => format!("{DIM}the conversation was summed up to make room{PLAIN}"),
        Event::Lifecycle { .. }
        | Event::ControlResponse(_)
        | Event::Other { .. }
        | Event::NotJson => return None,
    };
    Some(text)
}

fn said(blocks: &[Block], in_subagent: bool) -> Option<String> {
    let margin = if in_subagent { "    " } else { "" };
    let shown: Vec<_> = blocks
        .iter()
        .filter_map(|block| match block {
            Block::Text(text) => Some(format!("{margin}{}", indented(text, margin))),
            Block::ToolUse { name, object, .. } => {
                Some(format!("{margin}{GREEN}  {}{PLAIN} {}", clean(name), short(object)))
            }
            Block::Thinking(_) => Some(format!("{margin}{DIM}  thinks{PLAIN}")),
            Block::Other => None,
        })
        .collect();
    (!shown.is_empty()).then(|| shown.join("\n"))
}

fn tool_result(result: &ToolResult) -> String {
    let text = clean(&result.text);
    let mut lines: Vec<_> = text.lines().take(RESULT_LINES).collect();
    if RESULT_LINES < text.lines().count() {
        lines.push("…");
    }
    let colour = if result.is_error { RED } else { DIM };
    format!("{colour}    {}{PLAIN}", lines.join("\n    "))
}

fn turn_result(result: &TurnResult) -> Option<String> {
    let what = match (result.kind, result.is_error) {
        (TurnKind::Compaction | TurnKind::TaskNotification, _) => return None,
        (TurnKind::Answer, false) => format!("{GREEN}answered{PLAIN}"),
        (TurnKind::Answer, true) if result.is_interrupted() => format!("{RED}interrupted{PLAIN}"),
        (TurnKind::Answer, true) => format!("{RED}failed: {}{PLAIN}", line(&result.text)),
    };
    let denied = |it: &Denial| {
        format!("\n{RED}  denied: {} {}{PLAIN}", clean(&it.tool_name), short(&it.object))
    };
    let denials = result.denials.iter().map(denied).collect::<Vec<_>>().concat();
    Some(format!(
        "\n{what} {DIM}{} · {} steps · {} tokens in, {} out · session ${:.4}{PLAIN}{denials}",
        seconds(result.duration_ms),
        result.turns,
        result.usage.input + result.usage.cache_creation + result.usage.cache_read,
        result.usage.output,
        result.total_cost_usd,
    ))
}

/// What is shown for a line that was passed over.
pub(super) fn too_long(bytes: u64) -> String {
    format!("{DIM}(a line of {bytes} bytes is not shown){PLAIN}")
}

/// The last line of the view.
pub(super) fn ending(ending: &Ending) -> String {
    let how = match ending {
        Ending::Code(0) => "claude has ended".to_owned(),
        Ending::Code(code) => format!("claude ended with code {code}"),
        Ending::Signal(signal) => format!("claude was ended by signal {signal}"),
        Ending::NotStarted(why) => format!("claude was not started: {}", clean(why)),
        Ending::KeeperDied(why) => format!("the run was cut: {}", clean(why)),
        Ending::Fenced => "the run was cut: its record was not renewed".to_owned(),
    };
    format!("\n{BOLD}{how}{PLAIN}")
}

fn seconds(ms: u64) -> String {
    format!("{:.1} s", Duration::from_millis(ms).as_secs_f64())
}

/// The beginning of what a tool is used on.
fn short(object: &str) -> String {
    line(object).chars().take(OBJECT_CHARS).collect()
}

fn indented(text: &str, margin: &str) -> String {
    clean(text).trim_end().replace('\n', &format!("\n{margin}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a recording looks like, without colours.
    fn shown(name: &str) -> String {
        let path = format!("{}/testdata/claude/{name}.jsonl", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).expect("a recording");
        let shown: Vec<_> =
            text.lines().filter_map(|line| event(&Event::parse(line.as_bytes()))).collect();
        without_colours(&shown.join("\n"))
    }

    #[test]
    fn a_denied_tool_can_be_followed() {
        let expected = "\
claude 2.1.330, claude-opus-5-5

> [[tool Bash {\"command\":\"touch x.txt\",\"description\":\"touch\"}]]
  [[say after the deny]]
  Bash touch x.txt
  asks for leave: Bash touch x.txt
    Denied by Holdfast: not in the allow list
after the deny

answered 0.2 s · 2 steps · 20 tokens in, 14 out · session $0.0004
  denied: Bash touch x.txt";
        let text = shown("tool-denied");
        let took = |text: &str| {
            let at = text.find("answered ")? + "answered ".len();
            Some(text[at..].split(" s").next()?.to_owned())
        };
        let same = text.replace(&took(&text).expect("it took some time"), "0.2");
        assert_eq!(same, expected);
    }

    #[test]
    fn a_failure_says_why() {
        let text = shown("api-error-after-retry");
        assert!(text.contains("the API failed (overloaded): try 1 of 1 in 0.6 s"), "{text}");
        assert!(text.contains("\nfailed: API Error: 529 scripted."), "{text}");
    }

    #[test]
    fn each_ending_says_what_happened() {
        assert!(ending(&Ending::Code(0)).contains("claude has ended"));
        assert!(ending(&Ending::Signal(9)).contains("by signal 9"));
        assert!(
            ending(&Ending::NotStarted("no \x1b]0;x\x07program".into())).contains("no ]0;xprogram")
        );
    }

    proptest! {
        #[test]
        fn nothing_in_a_text_reaches_the_terminal(text in ".*", name in ".*") {
            let blocks = vec![
                Block::Text(text.clone()),
                Block::ToolUse { id: String::new(), name, object: text, list: None },
            ];
            let said = Event::Said { blocks, within: None, uuid: None, tokens: None };
            let shown = event(&said).expect("it says something");
            let without = without_colours(&shown);
            prop_assert!(!without.chars().any(|it| it.is_control() && it != '\n' && it != '\t'));
            let turned = without.contains('\u{202e}');
            prop_assert!(!turned);
        }
    }
}
