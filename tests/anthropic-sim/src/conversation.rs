//! What was said so far → what to do next, and what it costs.
//!
//! The decision of both simulators: pure, so that one conversation always gets one answer. What
//! an [`Act`] does to the world is for the caller.

use std::time::Duration;

use serde_json::Value;

use crate::script::{self, Fault, Step};

/// The longest prompt that is repeated whole in a plain answer: four messages of Discord.
pub const ECHO_MAX: usize = 8_000;

/// What one session knows at the moment it is asked to go on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conversation {
    /// The person's last words: the script, if there is one.
    pub prompt: String,
    /// What the person said before, oldest first.
    pub earlier: Vec<String>,
    /// How many tools were called since the last words.
    pub tools_done: usize,
    /// What the last of them gave.
    pub last_result: Option<String>,
    /// What the person said while claude was at work, oldest first.
    pub steers: Vec<String>,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// Answers: one block of text.
    Text(String),
    /// Thinks: one block.
    Thinking(String),
    /// Calls a tool; always the last act.
    Tool {
        /// The name of the tool.
        name: String,
        /// What it is given.
        input: Value,
    },
    /// Lets time go by.
    Delay(Duration),
    /// Waits for a gate.
    Wait(String),
    /// The API fails; always the last act.
    Fail {
        /// The HTTP status.
        status: u16,
        /// The message.
        message: String,
    },
    /// Misbehaves.
    Fault(Fault),
}

/// What a turn costs in tokens; the same for the same words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// 100, and one for each four characters that the person said in this session.
    pub input_tokens: u64,
    /// 1, and one for each four characters of the answer.
    pub output_tokens: u64,
}

/// What to do until the next tool's result or the end of the turn. Never empty.
pub fn plan(conversation: &Conversation) -> Vec<Act> {
    let steps = match script::parse(&conversation.prompt) {
        Ok(steps) => steps,
        Err(error) => return vec![Act::Text(format!("script error: {error}"))],
    };
    if steps.is_empty() {
        return vec![Act::Text(plain(&conversation.prompt))];
    }
    let mut acts = Vec::new();
    for step in after_tools(steps, conversation.tools_done) {
        let last = push(&mut acts, step, conversation);
        if last {
            return acts;
        }
    }
    if !acts.iter().any(|act| matches!(act, Act::Text(_))) {
        acts.push(Act::Text("Done.".to_owned()));
    }
    acts
}

/// The steps that are still to do.
fn after_tools(steps: Vec<Step>, done: usize) -> impl Iterator<Item = Step> {
    let mut left = done;
    steps.into_iter().skip_while(move |step| {
        if left == 0 {
            return false;
        }
        if matches!(step, Step::Tool { .. }) {
            left -= 1;
        }
        true
    })
}

/// Adds what a step does; true if nothing can follow it.
fn push(acts: &mut Vec<Act>, step: Step, conversation: &Conversation) -> bool {
    match step {
        Step::Say(text) => text_act(acts, &filled(&text, conversation)),
        Step::Big(characters) => text_act(acts, &script::big_text(characters)),
        Step::Recall => text_act(acts, &recall(&conversation.earlier)),
        Step::Think(text) => acts.push(Act::Thinking(text)),
        Step::Delay(time) => acts.push(Act::Delay(time)),
        Step::Wait(gate) => acts.push(Act::Wait(gate)),
        Step::Tool { name, input } => {
            acts.push(Act::Tool { name, input });
            return true;
        }
        Step::Error { status, message } => {
            acts.push(Act::Fail { status, message });
            return true;
        }
        Step::Fault(fault) => {
            let last = matches!(fault, Fault::Exit(_) | Fault::Hang | Fault::Die(_));
            acts.push(Act::Fault(fault));
            return last;
        }
    }
    false
}

/// Neighbouring texts are one block: what claude gives as the result is its last block alone.
fn text_act(acts: &mut Vec<Act>, text: &str) {
    if let Some(Act::Text(before)) = acts.last_mut() {
        before.push('\n');
        before.push_str(text);
    } else {
        acts.push(Act::Text(text.to_owned()));
    }
}

fn filled(text: &str, conversation: &Conversation) -> String {
    let result = conversation.last_result.as_deref().unwrap_or("(no result)");
    text.replace("{steer}", &conversation.steers.join("\n")).replace("{result}", result)
}

/// The answer to a prompt without a script.
fn plain(prompt: &str) -> String {
    let characters = prompt.chars().count();
    let said: String = prompt.chars().take(ECHO_MAX).collect();
    let rest = if characters > ECHO_MAX {
        format!(" … ({characters} characters)")
    } else {
        String::new()
    };
    let greeting = if prompt.to_lowercase().contains("hello") { "Hello! " } else { "" };
    format!("{greeting}You said: {said}{rest}")
}

fn recall(earlier: &[String]) -> String {
    if earlier.is_empty() {
        return "You said nothing before.".to_owned();
    }
    let mut text = "You said before:".to_owned();
    for (index, said) in earlier.iter().enumerate() {
        text.push('\n');
        text.push_str(&(index + 1).to_string());
        text.push_str(". ");
        text.push_str(said);
    }
    text
}

/// What it costs to answer `conversation` with `acts`.
pub fn usage(conversation: &Conversation, acts: &[Act]) -> Usage {
    let length = |text: &str| text.chars().count() as u64;
    let said = length(&conversation.prompt)
        + conversation.earlier.iter().map(|text| length(text)).sum::<u64>();
    let answered = acts
        .iter()
        .map(|act| match act {
            Act::Text(text) | Act::Thinking(text) => length(text),
            Act::Tool { name, input } => length(name) + length(&input.to_string()),
            Act::Delay(_) | Act::Wait(_) | Act::Fail { .. } | Act::Fault(_) => 0,
        })
        .sum::<u64>();
    Usage { input_tokens: 100 + said.div_ceil(4), output_tokens: 1 + answered.div_ceil(4) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn asked(prompt: &str) -> Conversation {
        Conversation { prompt: prompt.to_owned(), ..Conversation::default() }
    }

    fn text(text: &str) -> Act {
        Act::Text(text.to_owned())
    }

    #[test]
    fn a_plain_prompt_is_repeated() {
        assert_eq!(plan(&asked("what is this?")), [text("You said: what is this?")]);
        assert_eq!(plan(&asked("say hello")), [text("Hello! You said: say hello")]);
    }

    #[test]
    fn a_huge_prompt_is_repeated_in_part() {
        let [Act::Text(answer)] = &plan(&asked(&"ä".repeat(10_000)))[..] else {
            panic!("one text")
        };
        assert!(answer.ends_with("ä … (10000 characters)"));
        assert!(answer.chars().count() < ECHO_MAX + 50);
    }

    #[test]
    fn a_script_goes_on_behind_the_tools_that_were_called() {
        let script = "[[say a]][[say b]][[tool One {}]][[delay 1s]][[tool Two {\"x\":1}]][[say got {result}]]";
        let mut conversation = asked(script);
        let one = Act::Tool { name: "One".into(), input: json!({}) };
        let two = Act::Tool { name: "Two".into(), input: json!({"x": 1}) };
        assert_eq!(plan(&conversation), [text("a\nb"), one]);
        conversation.tools_done = 1;
        assert_eq!(plan(&conversation), [Act::Delay(Duration::from_secs(1)), two]);
        conversation.tools_done = 2;
        conversation.last_result = Some("42".into());
        assert_eq!(plan(&conversation), [text("got 42")]);
    }

    #[test]
    fn a_turn_never_ends_without_a_word() {
        assert_eq!(plan(&asked("[[think hm]]")), [Act::Thinking("hm".into()), text("Done.")]);
        let mut conversation = asked("[[tool One {}]]");
        conversation.tools_done = 3;
        assert_eq!(plan(&conversation), [text("Done.")]);
    }

    #[test]
    fn a_wait_parts_two_texts() {
        let expected = [text("a"), Act::Wait("go".into()), text("b")];
        assert_eq!(plan(&asked("[[say a]][[wait go]][[say b]]")), expected);
    }

    #[test]
    fn nothing_follows_an_error() {
        let expected = [Act::Fail { status: 529, message: "Overloaded".into() }];
        assert_eq!(plan(&asked("[[error 529]][[say x]]")), expected);
    }

    #[test]
    fn a_wrong_script_is_answered_with_what_is_wrong() {
        let [Act::Text(answer)] = &plan(&asked("[[delay soon]]"))[..] else { panic!("one text") };
        assert!(answer.starts_with("script error: [[delay soon]]: expected"), "{answer}");
    }

    #[test]
    fn recall_tells_what_was_said_before() {
        let mut conversation = asked("[[recall]]");
        assert_eq!(plan(&conversation), [text("You said nothing before.")]);
        conversation.earlier = vec!["first".into(), "second".into()];
        assert_eq!(plan(&conversation), [text("You said before:\n1. first\n2. second")]);
    }

    #[test]
    fn a_steer_can_be_told() {
        let mut conversation = asked("[[say heard {steer}]]");
        conversation.steers = vec!["faster".into()];
        assert_eq!(plan(&conversation), [text("heard faster")]);
    }

    #[test]
    fn the_cost_follows_from_the_words() {
        let conversation = Conversation { earlier: vec!["1234".into()], ..asked("12345") };
        let expected = Usage { input_tokens: 103, output_tokens: 2 };
        assert_eq!(usage(&conversation, &[text("abcd"), Act::Delay(Duration::ZERO)]), expected);
    }
}
