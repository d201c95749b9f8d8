//! The lines that claude is told, and reading them back.
//!
//! A runner that adopts a spool finds in `in/` what an earlier one has told claude;
//! [`Told::parse`] says what each line was.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::attached::{Picture, Words};

/// A prompt, or a word to a claude at work. `uuid` comes back as its echo.
pub(crate) fn user(uuid: Uuid, session: Uuid, words: &Words) -> String {
    let picture = |it: &Picture| {
        let source = json!({"type": "base64", "media_type": it.media_type, "data": it.base64});
        json!({"type": "image", "source": source})
    };
    // What is shown comes before what is said of it.
    let mut content: Vec<Value> = words.pictures.iter().map(picture).collect();
    content.push(json!({"type": "text", "text": words.text}));
    json!({
        "type": "user",
        "uuid": uuid,
        "session_id": session,
        "parent_tool_use_id": null,
        "message": {"role": "user", "content": content},
    })
    .to_string()
}

/// How the ids of our requests begin that ask what waits for an answer.
pub(crate) const INITIALIZE: &str = "holdfast-initialize";

/// Asks a claude that is already at work what waits for an answer.
pub(crate) fn initialize(request_id: &str) -> String {
    request(request_id, &json!({"subtype": "initialize", "hooks": null}))
}

/// Ends the turn, not the session.
pub(crate) fn interrupt(request_id: &str) -> String {
    request(request_id, &json!({"subtype": "interrupt"}))
}

/// Allows what was asked. `input` is the ask's own, or what a person made of it.
pub(crate) fn allow(request_id: &str, input: &Value) -> String {
    let answer = json!({"behavior": "allow", "updatedInput": input});
    response(json!({"subtype": "success", "request_id": request_id, "response": answer}))
}

/// Denies what was asked; claude reads the message and goes on.
pub(crate) fn deny(request_id: &str, message: &str) -> String {
    let answer = json!({"behavior": "deny", "message": message, "interrupt": false});
    response(json!({"subtype": "success", "request_id": request_id, "response": answer}))
}

/// Answers a request that we do not serve, so that claude does not wait for ever.
pub(crate) fn refuse(request_id: &str, why: &str) -> String {
    response(json!({"subtype": "error", "request_id": request_id, "error": why}))
}

fn request(request_id: &str, request: &Value) -> String {
    json!({"type": "control_request", "request_id": request_id, "request": request}).to_string()
}

#[expect(clippy::needless_pass_by_value, reason = "the value is made for this call")]
fn response(response: Value) -> String {
    json!({"type": "control_response", "response": response}).to_string()
}

/// What a line that was told claude is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// A prompt or a word with this uuid.
    User(Uuid),
    /// A request of ours with this id.
    Request(String),
    /// An answer to the ask with this id.
    Answer(String),
    /// None of ours.
    Strange,
}

impl Told {
    /// Reads a line that one of the builders here made.
    pub(crate) fn parse(line: &str) -> Self {
        let value: Value = serde_json::from_str(line).unwrap_or_default();
        let id = |value: &Value| value["request_id"].as_str().map(str::to_owned);
        let told = match value["type"].as_str() {
            Some("user") => value["uuid"].as_str().and_then(|it| it.parse().ok()).map(Told::User),
            Some("control_request") => id(&value).map(Told::Request),
            Some("control_response") => id(&value["response"]).map(Told::Answer),
            Some(_) | None => None,
        };
        told.unwrap_or(Told::Strange)
    }
}
