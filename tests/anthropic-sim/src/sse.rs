//! Acts → the frames of an answer, as server-sent events or as one JSON message.
//!
//! Pure: a [`Frame`] is bytes to send or a time to hold; the server does both in order.

use std::time::Duration;

use serde_json::{Value, json};

use crate::conversation::{Act, Usage};
use crate::script::{self, Fault};

/// How many characters one delta carries: a long answer comes in many pieces, as from the API.
const DELTA_CHARS: usize = 400;

/// One piece of an answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Frame {
    /// Bytes of the stream: one whole event.
    Event(String),
    /// Nothing, until the hold is over.
    Hold(Hold),
}

/// Why nothing is sent for a while.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Hold {
    /// Until the time has gone by.
    Delay(Duration),
    /// Until the gate is released.
    Gate(String),
    /// Until the client goes away or the server stops.
    Ever,
}

/// What an answer is about, besides its content.
#[derive(Clone, Debug)]
pub(crate) struct Meta {
    /// The id of the message; claude merges messages of one id.
    pub(crate) id: String,
    /// The model that was asked for.
    pub(crate) model: String,
    /// What it costs.
    pub(crate) usage: Usage,
    /// The number of the next tool call in this conversation, from 1.
    pub(crate) next_tool: usize,
}

/// An answer: first the holds and perhaps a failure, then the content.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    /// What is waited for before anything is sent.
    pub(crate) holds: Vec<Hold>,
    /// Fails with this status and message instead of answering.
    pub(crate) failure: Option<(u16, String)>,
    /// What is done after that; empty if it fails.
    pub(crate) acts: Vec<Act>,
}

/// Parts the acts at the first word. A status can only be told before it.
pub(crate) fn answer(acts: Vec<Act>) -> Answer {
    let mut holds = Vec::new();
    let mut acts = acts.into_iter().peekable();
    while let Some(hold) = acts.peek().and_then(hold_of) {
        holds.push(hold);
        acts.next();
    }
    let failure = match acts.peek() {
        Some(Act::Fail { status, message }) => Some((*status, message.clone())),
        _ => None,
    };
    let acts = if failure.is_some() { Vec::new() } else { acts.collect() };
    Answer { holds, failure, acts }
}

fn hold_of(act: &Act) -> Option<Hold> {
    match act {
        Act::Delay(time) => Some(Hold::Delay(*time)),
        Act::Wait(gate) => Some(Hold::Gate(gate.clone())),
        Act::Fault(Fault::Hang) => Some(Hold::Ever),
        Act::Fault(Fault::Exit(_) | Fault::Garbage | Fault::BigLine(_) | Fault::Die(_))
        | Act::Text(_)
        | Act::Thinking(_)
        | Act::Tool { .. }
        | Act::Fail { .. } => None,
    }
}

/// The frames of a streamed answer.
pub(crate) fn frames(meta: &Meta, acts: &[Act]) -> Vec<Frame> {
    let mut frames =
        vec![event("message_start", &json!({"message": message(meta, &json!([]), None)}))];
    let mut index = 0;
    for act in acts {
        if let Some(hold) = hold_of(act) {
            frames.push(Frame::Hold(hold));
        } else if let Act::Fail { status, message } = act {
            frames.push(event("error", &json!({"error": error(*status, message)})));
            return frames;
        } else {
            block_frames(&mut frames, index, &block(meta, act));
            index += 1;
        }
    }
    let delta = json!({"stop_reason": stop_reason(acts), "stop_sequence": null});
    let usage = json!({"output_tokens": meta.usage.output_tokens});
    frames.push(event("message_delta", &json!({"delta": delta, "usage": usage})));
    frames.push(event("message_stop", &json!({})));
    frames
}

/// The body of an answer that is not streamed.
pub(crate) fn whole(meta: &Meta, acts: &[Act]) -> Value {
    let blocks =
        acts.iter().filter(|act| hold_of(act).is_none() && !matches!(act, Act::Fail { .. }));
    let blocks: Vec<Value> = blocks.map(|act| block(meta, act)).collect();
    message(meta, &Value::Array(blocks), Some(stop_reason(acts)))
}

/// The body of an error.
pub(crate) fn error_body(status: u16, message: &str) -> Value {
    json!({"type": "error", "error": error(status, message)})
}

fn error(status: u16, message: &str) -> Value {
    json!({"type": script::error_type(status), "message": message})
}

fn message(meta: &Meta, content: &Value, stop_reason: Option<&str>) -> Value {
    let output_tokens = if stop_reason.is_some() { meta.usage.output_tokens } else { 1 };
    json!({
        "id": meta.id,
        "type": "message",
        "role": "assistant",
        "model": meta.model,
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": null,
        "usage": {
            "input_tokens": meta.usage.input_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": output_tokens,
        },
    })
}

fn stop_reason(acts: &[Act]) -> &'static str {
    if matches!(acts.last(), Some(Act::Tool { .. })) { "tool_use" } else { "end_turn" }
}

fn block(meta: &Meta, act: &Act) -> Value {
    match act {
        Act::Text(text) => json!({"type": "text", "text": text}),
        Act::Thinking(text) => json!({"type": "thinking", "thinking": text, "signature": "c2lt"}),
        Act::Tool { name, input } => {
            json!({"type": "tool_use", "id": format!("toolu_sim_{}", meta.next_tool), "name": name, "input": input})
        }
        Act::Delay(_) | Act::Wait(_) | Act::Fail { .. } | Act::Fault(_) => {
            json!({"type": "text", "text": format!("script error: {act:?} is for claude-sim alone")})
        }
    }
}

fn block_frames(frames: &mut Vec<Frame>, index: usize, block: &Value) {
    let (start, deltas) = match block["type"].as_str() {
        Some("tool_use") => {
            let mut start = block.clone();
            start["input"] = json!({});
            (
                start,
                vec![
                    json!({"type": "input_json_delta", "partial_json": block["input"].to_string()}),
                ],
            )
        }
        Some("thinking") => {
            let signature = json!({"type": "signature_delta", "signature": block["signature"]});
            let thought = json!({"type": "thinking_delta", "thinking": block["thinking"]});
            (json!({"type": "thinking", "thinking": "", "signature": ""}), vec![thought, signature])
        }
        _ => {
            let pieces = pieces(block["text"].as_str().unwrap_or_default());
            let deltas = pieces.map(|piece| json!({"type": "text_delta", "text": piece})).collect();
            (json!({"type": "text", "text": ""}), deltas)
        }
    };
    frames.push(event("content_block_start", &json!({"index": index, "content_block": start})));
    for delta in deltas {
        frames.push(event("content_block_delta", &json!({"index": index, "delta": delta})));
    }
    frames.push(event("content_block_stop", &json!({"index": index})));
}

/// A text in pieces of at most [`DELTA_CHARS`] characters.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = rest.char_indices().nth(DELTA_CHARS).map_or(rest.len(), |(end, _)| end);
        let (piece, behind) = rest.split_at(end);
        rest = behind;
        Some(piece)
    })
}

fn event(name: &str, fields: &Value) -> Frame {
    let mut data = json!({"type": name});
    if let (Value::Object(data), Value::Object(fields)) = (&mut data, fields) {
        data.extend(fields.clone());
    }
    Frame::Event(format!("event: {name}\ndata: {data}\n\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta() -> Meta {
        let usage = Usage { input_tokens: 7, output_tokens: 3 };
        Meta { id: "msg_1".into(), model: "m".into(), usage, next_tool: 4 }
    }

    fn names(frames: &[Frame]) -> Vec<String> {
        frames
            .iter()
            .map(|frame| match frame {
                Frame::Event(text) => {
                    text.lines().next().unwrap().strip_prefix("event: ").unwrap().to_owned()
                }
                Frame::Hold(hold) => format!("{hold:?}"),
            })
            .collect()
    }

    #[test]
    fn a_text_and_a_tool_are_two_blocks_with_a_hold_between() {
        let acts = [
            Act::Text("a".repeat(DELTA_CHARS + 1)),
            Act::Wait("go".into()),
            Act::Tool { name: "Bash".into(), input: json!({"command": "ls"}) },
        ];
        let frames = frames(&meta(), &acts);
        let expected = [
            "message_start",
            "content_block_start",
            "content_block_delta",
            "content_block_delta",
            "content_block_stop",
            r#"Gate("go")"#,
            "content_block_start",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop",
        ];
        assert_eq!(names(&frames), expected);
        let Frame::Event(delta) = &frames[9] else { panic!("an event") };
        assert!(delta.contains(r#""stop_reason":"tool_use""#), "{delta}");
        let Frame::Event(start) = &frames[6] else { panic!("an event") };
        assert!(start.contains(r#""id":"toolu_sim_4""#), "{start}");
    }

    #[test]
    fn what_stands_before_the_first_word_is_waited_for_before_the_status() {
        let fail = Act::Fail { status: 529, message: "x".into() };
        let answered =
            answer(vec![Act::Delay(Duration::from_secs(1)), Act::Wait("go".into()), fail]);
        let holds = vec![Hold::Delay(Duration::from_secs(1)), Hold::Gate("go".into())];
        assert_eq!(answered, Answer { holds, failure: Some((529, "x".into())), acts: vec![] });
    }

    #[test]
    fn an_error_after_words_is_an_event_and_the_end() {
        let acts = [Act::Text("a".into()), Act::Fail { status: 529, message: "x".into() }];
        assert_eq!(names(&frames(&meta(), &acts)).last().unwrap(), "error");
    }

    #[test]
    fn a_whole_message_has_the_same_content() {
        let body = whole(&meta(), &[Act::Delay(Duration::ZERO), Act::Text("a".into())]);
        assert_eq!(body["content"], json!([{"type": "text", "text": "a"}]));
        assert_eq!(body["stop_reason"], "end_turn");
        assert_eq!(body["usage"]["output_tokens"], 3);
    }
}
