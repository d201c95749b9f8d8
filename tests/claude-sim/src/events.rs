//! The lines that are printed, in the shapes of claude 2.1.330. Pure but for new uuids and the
//! time of day.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use anthropic_sim::conversation::Usage;

use crate::argv::Args;
use crate::clock;
use crate::permission::TOOLS;

/// What the real one charges for its default model, in dollars a million tokens: in and out.
const DOLLARS: (f64, f64) = (4.0, 20.0);

/// A new uuid, as every line has one.
fn uuid() -> String {
    Uuid::new_v4().to_string()
}

/// What tokens cost, in dollars.
#[expect(clippy::cast_precision_loss, reason = "a turn has far fewer than 2^52 tokens")]
pub(crate) fn cost(usage: Usage) -> f64 {
    (usage.input_tokens as f64 * DOLLARS.0 + usage.output_tokens as f64 * DOLLARS.1) / 1e6
}

/// A prompt is `queued`, `started`, `completed` or `cancelled`.
pub(crate) fn lifecycle(session: Uuid, prompt: &str, state: &str) -> Value {
    json!({"type": "command_lifecycle", "command_uuid": prompt, "state": state, "uuid": uuid(), "session_id": session})
}

/// What a session can do; printed at the start of every turn.
pub(crate) fn init(session: Uuid, args: &Args, cwd: &str, prompt: &str) -> Value {
    json!({
        "type": "system", "subtype": "init", "cwd": cwd, "session_id": session, "tools": TOOLS, "mcp_servers": [],
        "model": args.model, "permissionMode": args.mode, "slash_commands": [], "apiKeySource": "ANTHROPIC_API_KEY",
        "claude_code_version": crate::VERSION, "output_style": "default", "agents": ["claude"], "skills": [],
        "plugins": [], "capabilities": ["interrupt_receipt_v1", "msg_lifecycle_v1"], "uuid": uuid(),
        "original_cwd": cwd, "additional_directories": [], "fast_mode_state": "off", "user_message_uuids": [prompt],
    })
}

/// A prompt comes back: claude has it. One that was known already comes without a time.
pub(crate) fn echo(session: Uuid, prompt: &str, message: &Value, timestamp: Option<&str>) -> Value {
    let mut line = json!({
        "type": "user", "message": message, "session_id": session, "parent_tool_use_id": null, "uuid": prompt,
        "isReplay": true,
    });
    if let Some(timestamp) = timestamp {
        line["timestamp"] = json!(timestamp);
    }
    line
}

/// A message of the person that claude makes up itself.
pub(crate) fn user(session: Uuid, content: &Value, uuid: &str, more: &Value) -> Value {
    let message = json!({"role": "user", "content": content});
    let mut line = json!({
        "type": "user", "message": message, "parent_tool_use_id": null, "session_id": session, "uuid": uuid,
        "timestamp": clock::timestamp(),
    });
    extend(&mut line, more);
    line
}

/// The message of claude that one block of an answer makes.
pub(crate) fn message(id: &str, model: &str, block: &Value, usage: Usage) -> Value {
    json!({
        "id": id, "type": "message", "role": "assistant", "model": model, "content": [block], "stop_reason": null,
        "stop_sequence": null,
        "usage": {"input_tokens": usage.input_tokens, "output_tokens": 1, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0},
        "context_management": null,
    })
}

/// The message that stands for an answer when there is none.
pub(crate) fn synthetic(text: &str) -> Value {
    json!({
        "id": uuid(), "type": "message", "role": "assistant", "model": "<synthetic>", "container": null,
        "content": [{"type": "text", "text": text}], "stop_reason": "stop_sequence", "stop_sequence": "",
        "usage": {"input_tokens": 0, "output_tokens": 0, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0},
        "context_management": null,
    })
}

/// A message of claude; the first of a turn names its prompt.
pub(crate) fn assistant(
    session: Uuid,
    message: &Value,
    uuid: &str,
    first_of: Option<&str>,
    more: &Value,
) -> Value {
    let mut line = json!({
        "type": "assistant", "message": message, "parent_tool_use_id": null, "session_id": session, "uuid": uuid,
        "timestamp": clock::timestamp(),
    });
    if let Some(prompt) = first_of {
        line["user_message_uuid"] = json!(prompt);
        line["user_message_uuids"] = json!([prompt]);
    }
    extend(&mut line, more);
    line
}

/// A piece of the API's stream, for `--include-partial-messages`.
pub(crate) fn stream_event(session: Uuid, message: &str, event: &Value) -> Value {
    json!({
        "type": "stream_event", "event": event, "session_id": session, "parent_tool_use_id": null, "uuid": uuid(),
        "api_message_id": message,
    })
}

/// The request to the API is on its way, for `--include-partial-messages`.
pub(crate) fn requesting(session: Uuid, prompt: &str) -> Value {
    json!({
        "type": "system", "subtype": "status", "status": "requesting", "session_id": session, "uuid": uuid(),
        "user_message_uuids": [prompt],
    })
}

/// The API failed and is asked again.
pub(crate) fn api_retry(session: Uuid, attempt: u32, max: u32, status: u16) -> Value {
    json!({
        "type": "system", "subtype": "api_retry", "attempt": attempt, "max_retries": max, "retry_delay_ms": 0,
        "error_status": status, "error": if status == 529 { "overloaded" } else { error_name(status) }, "session_id": session, "uuid": uuid(),
    })
}

/// What the real one calls an error of this status.
pub(crate) fn error_name(status: u16) -> &'static str {
    match status {
        401 | 403 => "authentication_failed",
        429 => "rate_limit",
        status if status >= 500 => "server_error",
        _ => "unknown",
    }
}

/// Claude thinks.
pub(crate) fn thinking_tokens(session: Uuid, tokens: usize) -> Value {
    json!({
        "type": "system", "subtype": "thinking_tokens", "estimated_tokens": tokens, "estimated_tokens_delta": tokens,
        "uuid": uuid(), "session_id": session,
    })
}

/// What works in the background: nothing. Told when the host introduces itself again.
pub(crate) fn background_tasks(session: Uuid) -> Value {
    json!({"type": "system", "subtype": "background_tasks_changed", "tasks": [], "uuid": uuid(), "session_id": session})
}

/// The host is asked whether a tool may run.
pub(crate) fn can_use_tool(
    request: &str,
    tool: &str,
    id: &str,
    input: &Value,
    more: &Value,
) -> Value {
    let mut asked = json!({
        "subtype": "can_use_tool", "tool_name": tool, "display_name": tool, "input": input, "tool_use_id": id,
    });
    extend(&mut asked, more);
    json!({"type": "control_request", "request_id": request, "request": asked})
}

/// A request of ours is no longer open.
pub(crate) fn cancel(request: &str) -> Value {
    json!({"type": "control_cancel_request", "request_id": request})
}

/// The answer to a request of the host.
pub(crate) fn response(request: &str, response: &Value, more: &Value) -> Value {
    let mut wrapper = json!({"subtype": "success", "request_id": request, "response": response});
    extend(&mut wrapper, more);
    json!({"type": "control_response", "response": wrapper})
}

/// A request of the host that is not understood.
pub(crate) fn response_error(request: &str, error: &str) -> Value {
    json!({"type": "control_response", "response": {"subtype": "error", "request_id": request, "error": error}})
}

/// How a turn ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Ending {
    /// With an answer.
    Answered(String),
    /// With an error of the API: the text, and its status if it came from there.
    ApiError(String, Option<u16>),
    /// With more than it may cost, in dollars.
    OverBudget {
        /// What it may cost.
        budget: f64,
        /// True if a tool was to be run next.
        in_tool: bool,
    },
    /// Interrupted while the API was at work, or a tool.
    Interrupted {
        /// True if a tool was at work or asked for.
        in_tool: bool,
    },
}

/// What a turn was like.
#[derive(Clone, Debug)]
pub(crate) struct Summary {
    pub(crate) session: Uuid,
    pub(crate) prompt: String,
    pub(crate) model: String,
    pub(crate) ending: Ending,
    pub(crate) usage: Usage,
    pub(crate) rounds: u64,
    pub(crate) denials: Vec<Value>,
    pub(crate) duration_ms: u64,
    pub(crate) total_cost: f64,
    pub(crate) index: u64,
}

/// The line that ends a turn.
pub(crate) fn result(turn: &Summary) -> Value {
    let mut line = json!({
        "type": "result", "session_id": turn.session, "uuid": uuid(), "duration_ms": turn.duration_ms,
        "duration_api_ms": 0, "total_cost_usd": turn.total_cost, "usage": usage(turn.usage),
        "modelUsage": model_usage(turn), "permission_denials": turn.denials, "fast_mode_state": "off",
        "user_message_uuid": turn.prompt, "user_message_uuids": [turn.prompt], "queued_turn_count": 0,
        "result_index": turn.index,
    });
    let more = match &turn.ending {
        Ending::Answered(text) => json!({
            "subtype": "success", "is_error": false, "result": text, "num_turns": turn.rounds, "api_error_status": null,
            "stop_reason": "end_turn", "terminal_reason": "completed",
        }),
        Ending::ApiError(text, status) => json!({
            "subtype": "success", "is_error": true, "result": text, "num_turns": turn.rounds, "api_error_status": status,
            "stop_reason": "stop_sequence", "terminal_reason": "api_error",
        }),
        Ending::OverBudget { budget, in_tool } => json!({
            "subtype": "error_max_budget_usd", "is_error": true, "errors": [format!("Reached maximum budget (${budget})")],
            "num_turns": turn.rounds, "stop_reason": if *in_tool { "tool_use" } else { "end_turn" },
            "terminal_reason": "budget_exhausted",
        }),
        Ending::Interrupted { in_tool } => {
            let (stop, reason) = if *in_tool {
                (json!("tool_use"), "aborted_tools")
            } else {
                (Value::Null, "aborted_streaming")
            };
            let stopped = stop.as_str().unwrap_or("null");
            let error = format!(
                "[ede_diagnostic] result_type=user last_content_type=n/a stop_reason={stopped}"
            );
            json!({
                "subtype": "error_during_execution", "is_error": true, "errors": [error],
                "num_turns": turn.rounds + 1 + u64::from(*in_tool), "stop_reason": stop, "terminal_reason": reason,
            })
        }
    };
    extend(&mut line, &more);
    line
}

/// The line that tells of a session that is not there.
pub(crate) fn no_session(session: Uuid, error: &str) -> Value {
    json!({
        "type": "result", "subtype": "error_during_execution", "duration_ms": 0, "duration_api_ms": 0, "is_error": true,
        "num_turns": 0, "stop_reason": null, "session_id": session, "total_cost_usd": 0, "usage": usage(Usage::default()),
        "modelUsage": {}, "permission_denials": [], "uuid": uuid(), "errors": [error], "result_index": 0,
    })
}

fn usage(usage: Usage) -> Value {
    json!({
        "input_tokens": usage.input_tokens, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
        "output_tokens": usage.output_tokens, "server_tool_use": {"web_search_requests": 0, "web_fetch_requests": 0},
        "service_tier": "standard",
    })
}

fn model_usage(turn: &Summary) -> Value {
    let mut models = Map::new();
    if turn.usage != Usage::default() {
        let entry = json!({
            "inputTokens": turn.usage.input_tokens, "outputTokens": turn.usage.output_tokens, "cacheReadInputTokens": 0,
            "cacheCreationInputTokens": 0, "webSearchRequests": 0, "costUSD": cost(turn.usage),
            "contextWindow": 1_000_000, "maxOutputTokens": 128_000,
        });
        models.insert(turn.model.clone(), entry);
    }
    Value::Object(models)
}

/// Adds the fields of an object to another.
pub(crate) fn extend(line: &mut Value, more: &Value) {
    if let (Value::Object(line), Value::Object(more)) = (line, more) {
        line.extend(more.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(ending: Ending) -> Summary {
        Summary {
            session: Uuid::nil(),
            prompt: "u".into(),
            model: "m".into(),
            ending,
            usage: Usage { input_tokens: 110, output_tokens: 1 },
            rounds: 1,
            denials: vec![],
            duration_ms: 0,
            total_cost: 0.0,
            index: 0,
        }
    }

    #[test]
    fn the_cost_is_that_of_the_real_one() {
        assert!((cost(Usage { input_tokens: 440, output_tokens: 4 }) - 0.00184).abs() < 1e-9);
    }

    #[test]
    fn a_result_tells_success_and_error_as_the_real_one_does() {
        let keys = |line: Value| {
            (line["subtype"].clone(), line["is_error"].clone(), line.get("result").is_some())
        };
        let answered = result(&summary(Ending::Answered("hi".into())));
        assert_eq!(keys(answered), (json!("success"), json!(false), true));
        let failed = result(&summary(Ending::ApiError("API Error: 400 x".into(), Some(400))));
        assert_eq!(keys(failed), (json!("success"), json!(true), true));
        let cut = result(&summary(Ending::Interrupted { in_tool: true }));
        assert_eq!(cut["terminal_reason"], "aborted_tools");
        assert_eq!(keys(cut), (json!("error_during_execution"), json!(true), false));
    }
}
