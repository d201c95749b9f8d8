//! The body of a request → a conversation.
//!
//! claude sends more than what was said: `<system-reminder>` blocks, messages of role `system`,
//! notes about interruptions, and neighbouring messages of a person as one with several blocks
//! (after a turn that failed or was interrupted). Here the person's own words are told from the
//! rest. The prompt is the *last block* of real text; whatever is sent as one block stays one.
//! Pure; knows the API's JSON and nothing of HTTP.

use serde_json::Value;

use crate::conversation::Conversation;

/// What claude writes into the conversation when a person interrupts.
const INTERRUPTED: &str = "[Request interrupted by user";

/// What claude writes behind a picture that it was given: where it keeps it.
const PICTURE: &str = "[Image: source: ";

/// What claude asks by itself when a stream broke in the middle.
const CUT_OFF: &str = "Your response above was cut off mid-stream.";

/// How claude tells the model what was said while it was at work.
const STEER: &str = "The user sent a new message while you were working:\n";

/// What follows the words of a steer.
const STEER_END: &str = "\n\nThis is how ";

/// What a request asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// What was said so far.
    pub conversation: Conversation,
    /// How many tools were ever called in it: the number of the next one, less one.
    pub tools_ever: usize,
    /// How many messages it has.
    pub messages: usize,
    /// How many pictures are shown in it.
    pub pictures: usize,
}

/// Reads a request; `None` if it holds no words of a person.
pub fn read(body: &Value) -> Option<Asked> {
    let messages = body.get("messages")?.as_array()?;
    let mut said: Vec<(usize, String)> = Vec::new();
    for (index, message) in messages.iter().enumerate() {
        if message["role"] == "user" {
            said.extend(real_texts(message).map(|text| (index, text)));
        }
    }
    let (at, prompt) = said.pop()?;
    let since = &messages[at + 1..];
    let conversation = Conversation {
        prompt,
        earlier: said.into_iter().map(|(_, text)| text.trim_end().to_owned()).collect(),
        tools_done: tool_uses(since),
        last_result: since.iter().rev().find_map(last_result),
        steers: since.iter().flat_map(texts).filter_map(|text| steer(&text)).collect(),
    };
    Some(Asked {
        conversation,
        tools_ever: tool_uses(messages),
        messages: messages.len(),
        pictures: messages.iter().map(|it| pictures(&it["content"])).sum(),
    })
}

/// True for a small question of claude's own (a title, a check of the quota): it has no tools and
/// wants few tokens. Such a request must not meet the script.
pub fn is_side(body: &Value) -> bool {
    let no_tools = body.get("tools").and_then(Value::as_array).is_none_or(Vec::is_empty);
    no_tools
        && body.get("max_tokens").and_then(Value::as_u64).is_some_and(|most| most <= SIDE_TOKENS)
}

/// The side requests seen ask for 1 (quota) to 512 (title) tokens; a turn asks for thousands.
const SIDE_TOKENS: u64 = 512;

/// How many pictures are in what somebody says, or in what a tool gave.
fn pictures(content: &Value) -> usize {
    let blocks = content.as_array().map(Vec::as_slice).unwrap_or_default();
    let of = |block: &Value| match block["type"].as_str() {
        Some("image") => 1,
        Some("tool_result") => pictures(&block["content"]),
        Some(_) | None => 0,
    };
    blocks.iter().map(of).sum()
}

/// The texts of a message, reminders included.
fn texts(message: &Value) -> Vec<String> {
    match &message["content"] {
        Value::String(text) => vec![text.clone()],
        Value::Array(blocks) => blocks
            .iter()
            .filter(|b| b["type"] == "text")
            .filter_map(|b| b["text"].as_str())
            .map(str::to_owned)
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => Vec::new(),
    }
}

/// The texts that a person wrote.
fn real_texts(message: &Value) -> impl Iterator<Item = String> {
    texts(message).into_iter().filter_map(|text| {
        let text = without_reminders(text);
        let start = text.trim_start();
        let noise = start.is_empty()
            || start.starts_with(INTERRUPTED)
            || start.starts_with(CUT_OFF)
            || start.starts_with(PICTURE)
            || start.starts_with("<command-name>")
            || start.starts_with("<local-command-");
        (!noise).then_some(text)
    })
}

/// Cuts `<system-reminder>` blocks out; a text without any is returned as it is.
fn without_reminders(text: String) -> String {
    const OPEN: &str = "<system-reminder>";
    const CLOSE: &str = "</system-reminder>";
    if !text.trim_start().starts_with(OPEN) && !text.trim_end().ends_with(CLOSE) {
        return text;
    }
    let mut kept = String::new();
    let mut rest = text.as_str();
    while let Some((before, behind)) = rest.split_once(OPEN) {
        kept.push_str(before);
        rest = behind.split_once(CLOSE).map_or("", |(_, after)| after);
    }
    kept.push_str(rest);
    kept.trim().to_owned()
}

fn tool_uses(messages: &[Value]) -> usize {
    let blocks = messages
        .iter()
        .filter(|m| m["role"] == "assistant")
        .filter_map(|m| m["content"].as_array());
    blocks.flatten().filter(|block| block["type"] == "tool_use").count()
}

fn last_result(message: &Value) -> Option<String> {
    let results =
        message["content"].as_array()?.iter().rev().find(|block| block["type"] == "tool_result")?;
    Some(texts(results).join("\n"))
}

fn steer(text: &str) -> Option<String> {
    let (_, said) = text.split_once(STEER)?;
    Some(said.split(STEER_END).next().unwrap_or(said).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read_messages(messages: &Value) -> Asked {
        read(&json!({ "messages": messages })).unwrap()
    }

    fn text(text: &str) -> Value {
        json!({"type": "text", "text": text})
    }

    #[test]
    fn reminders_and_system_messages_are_not_the_prompt() {
        let asked = read_messages(&json!([
            {"role": "user", "content": [text("<system-reminder>\nnote\n</system-reminder>\n"), text("hi")]},
            {"role": "system", "content": [text("# Environment")]},
        ]));
        assert_eq!(
            asked.conversation,
            Conversation { prompt: "hi".into(), ..Conversation::default() }
        );
    }

    #[test]
    fn a_reminder_beside_the_prompt_in_one_block_is_cut_out() {
        let asked = read_messages(&json!([
            {"role": "user", "content": "<system-reminder>a</system-reminder>\nhi <b> there\n<system-reminder>b</system-reminder>"},
        ]));
        assert_eq!(asked.conversation.prompt, "hi <b> there");
    }

    #[test]
    fn a_prompt_is_kept_to_the_letter() {
        let prompt = "  -p \u{202e}right to left\n\ttail \n";
        let asked = read_messages(&json!([{"role": "user", "content": [text(prompt)]}]));
        assert_eq!(asked.conversation.prompt, prompt);
    }

    #[test]
    fn tools_are_counted_since_the_last_words() {
        let asked = read_messages(&json!([
            {"role": "user", "content": "first"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "a"}]},
            {"role": "user", "content": [{"type": "tool_result", "content": "old"}]},
            {"role": "assistant", "content": "done"},
            {"role": "user", "content": "second"},
            {"role": "assistant", "content": [text("on it"), {"type": "tool_use", "id": "b"}]},
            {"role": "user", "content": [{"type": "tool_result", "content": [text("new")]}]},
            {"role": "system", "content": [text("The user sent a new message while you were working:\nfaster\n\nThis is how Claude Code surfaces it.")]},
        ]));
        let expected = Conversation {
            prompt: "second".into(),
            earlier: vec!["first".into()],
            tools_done: 1,
            last_result: Some("new".into()),
            steers: vec!["faster".into()],
        };
        assert_eq!(
            asked,
            Asked { conversation: expected, tools_ever: 2, messages: 8, pictures: 0 }
        );
    }

    #[test]
    fn an_interrupted_or_failed_turn_does_not_come_back_with_the_next_prompt() {
        let asked = read_messages(&json!([
            {"role": "user", "content": [text("[[error 400]]\n"), text("[Request interrupted by user]\n"), text("next")]},
        ]));
        assert_eq!(asked.conversation.prompt, "next");
        assert_eq!(asked.conversation.earlier, ["[[error 400]]"]);
    }

    #[test]
    fn a_request_without_words_is_not_understood() {
        for body in [
            json!({}),
            json!({"messages": []}),
            json!({"messages": [{"role": "user", "content": 1}]}),
        ] {
            assert_eq!(read(&body), None, "{body}");
        }
    }

    #[test]
    fn small_questions_without_tools_are_side_requests() {
        assert!(is_side(&json!({"max_tokens": 1, "messages": []})));
        assert!(!is_side(&json!({"max_tokens": 128_000, "messages": []})));
        assert!(!is_side(&json!({"max_tokens": 1, "tools": [{"name": "Bash"}]})));
    }
}
