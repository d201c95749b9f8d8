//! From the JSON of a line to its [`Event`].
//!
//! Each function takes what it finds and leaves out what is missing or of another type. None fails.

use schemas::live::{POINTS_MAX, Point, PointState};
use serde_json::Value;
use uuid::Uuid;

use super::{
    Ask, Block, ControlResponse, Denial, Event, Init, Lifecycle, ListChange, ToolResult, TurnKind,
    TurnResult, Usage,
};

/// The longest text that is kept of what a tool was given or gave back: a line of a screen.
const SUMMARY_CHARS: usize = 200;
/// The longest text that is kept of what a tool is used on where it is still to be redacted: half a
/// secret looks like none.
const OBJECT_CHARS: usize = 4000;

impl Event {
    /// Reads a line of the journal.
    pub(crate) fn parse(line: &[u8]) -> Self {
        match serde_json::from_slice(line) {
            Ok(value @ Value::Object(_)) => Self::of(&value),
            Ok(_) | Err(_) => Event::NotJson,
        }
    }

    fn of(value: &Value) -> Self {
        let subtype = text(value, "subtype");
        let event = match (&*text(value, "type"), &*subtype) {
            ("system", "init") => Some(Event::Init(init(value))),
            ("system", "api_retry") => Some(api_retry(value)),
            ("system", "compact_boundary") => Some(Event::Compacted),
            ("command_lifecycle", _) => lifecycle(value),
            ("user", _) => user(value),
            ("assistant", _) => Some(Event::Said {
                blocks: contents(value).map(block).collect(),
                within: optional(value, "parent_tool_use_id"),
                uuid: optional(value, "uuid").and_then(|uuid| uuid.parse().ok()),
                tokens: value["message"].get("usage").map(|it| usage(it).all()),
            }),
            ("control_request", _) => request(value),
            ("control_cancel_request", _) => {
                Some(Event::AskCancelled { request_id: text(value, "request_id") })
            }
            ("control_response", _) => Some(Event::ControlResponse(response(&value["response"]))),
            ("result", _) => Some(Event::Result(Box::new(result(value)))),
            ("rate_limit_event", _) => Some(rate_limit(value)),
            _ => None,
        };
        event.unwrap_or_else(|| {
            let kind = [text(value, "type"), subtype].join("/");
            Event::Other { kind: kind.trim_end_matches('/').to_owned() }
        })
    }
}

fn optional(value: &Value, key: &str) -> Option<String> {
    value.get(key)?.as_str().map(str::to_owned)
}

fn text(value: &Value, key: &str) -> String {
    optional(value, key).unwrap_or_default()
}

fn number(value: &Value, key: &str) -> u64 {
    value.get(key).and_then(Value::as_u64).unwrap_or_default()
}

fn flag(value: &Value, key: &str) -> bool {
    value.get(key).and_then(Value::as_bool).unwrap_or_default()
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn uuids(value: &Value, key: &str) -> Vec<Uuid> {
    list(value, key).filter_map(|it| it.as_str()?.parse().ok()).collect()
}

fn init(value: &Value) -> Init {
    Init {
        session_id: text(value, "session_id"),
        model: text(value, "model"),
        version: text(value, "claude_code_version"),
        capabilities: list(value, "capabilities")
            .filter_map(|it| it.as_str().map(str::to_owned))
            .collect(),
    }
}

fn api_retry(value: &Value) -> Event {
    Event::ApiRetry {
        attempt: number(value, "attempt"),
        max_retries: number(value, "max_retries"),
        // claude gives fractions of a millisecond at times.
        delay_ms: value.get("retry_delay_ms").and_then(Value::as_f64).map_or(0, whole_ms),
        status: value.get("error_status").and_then(Value::as_u64),
        error: text(value, "error"),
    }
}

fn whole_ms(ms: f64) -> u64 {
    std::time::Duration::try_from_secs_f64(ms / 1000.0)
        .map_or(0, |delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX))
}

fn rate_limit(value: &Value) -> Event {
    let info = value.get("rate_limit_info").unwrap_or(value);
    Event::RateLimit {
        status: text(info, "status"),
        resets_at: info.get("resetsAt").and_then(Value::as_i64),
    }
}

fn lifecycle(value: &Value) -> Option<Event> {
    let state = match &*text(value, "state") {
        "queued" => Lifecycle::Queued,
        "started" => Lifecycle::Started,
        "completed" => Lifecycle::Completed,
        "cancelled" => Lifecycle::Cancelled,
        _ => return None,
    };
    Some(Event::Lifecycle { uuid: text(value, "command_uuid").parse().ok()?, state })
}

/// The parts of a message: a plain text counts as one part.
fn contents(value: &Value) -> impl Iterator<Item = &Value> {
    let content = &value["message"]["content"];
    let plain = content.is_string().then_some(content);
    content.as_array().into_iter().flatten().chain(plain)
}

fn user(value: &Value) -> Option<Event> {
    if flag(value, "isReplay") {
        let uuid = text(value, "uuid").parse().ok()?;
        let texts: Vec<_> = contents(value).filter_map(plain_text).collect();
        return Some(Event::Echo { uuid, text: texts.join("\n") });
    }
    let results: Vec<_> = contents(value)
        .filter(|part| text(part, "type") == "tool_result")
        .map(|part| ToolResult {
            id: text(part, "tool_use_id"),
            is_error: flag(part, "is_error"),
            text: beginning(&flat(&part["content"]), SUMMARY_CHARS),
        })
        .collect();
    (!results.is_empty()).then_some(Event::ToolResults(results))
}

fn plain_text(part: &Value) -> Option<&str> {
    part.as_str().or_else(|| part.get("text")?.as_str())
}

/// The text of a tool's result, which is a text or a list of parts.
fn flat(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(plain_text).collect::<Vec<_>>().join("\n"),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => String::new(),
    }
}

fn block(part: &Value) -> Block {
    match &*text(part, "type") {
        "text" => Block::Text(text(part, "text")),
        "thinking" => Block::Thinking(text(part, "thinking")),
        "tool_use" => Block::ToolUse {
            id: text(part, "id"),
            name: text(part, "name"),
            object: beginning(&whole_object(&part["input"]), OBJECT_CHARS),
            list: list_change(&text(part, "name"), &part["input"]),
        },
        _ => Block::Other,
    }
}

/// The fields that say best what a tool is used on, most telling first.
const OBJECT_KEYS: [&str; 8] =
    ["command", "file_path", "notebook_path", "path", "pattern", "url", "query", "description"];

/// What a tool is used on, in a line.
pub(super) fn object(input: &Value) -> String {
    beginning(&whole_object(input), SUMMARY_CHARS)
}

/// What a tool is used on, however long that is.
pub(super) fn whole_object(input: &Value) -> String {
    let told = OBJECT_KEYS.iter().find_map(|key| optional(input, key));
    let told = told.or_else(|| match input {
        Value::Object(fields) if fields.is_empty() => Some(String::new()),
        Value::Null => Some(String::new()),
        Value::Object(_)
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_) => None,
    });
    told.unwrap_or_else(|| input.to_string())
}

/// The first characters of a text.
fn beginning(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn request(value: &Value) -> Option<Event> {
    let request_id = optional(value, "request_id")?;
    let request = &value["request"];
    if text(request, "subtype") == "can_use_tool" {
        return Some(Event::Ask(ask(request_id, request)));
    }
    Some(Event::OtherRequest { request_id, subtype: text(request, "subtype") })
}

fn ask(request_id: String, request: &Value) -> Ask {
    Ask {
        request_id,
        tool_name: text(request, "tool_name"),
        tool_use_id: text(request, "tool_use_id"),
        input: request.get("input").cloned().unwrap_or_default(),
        description: optional(request, "description"),
        blocked_path: optional(request, "blocked_path"),
        suggested: suggested(request),
    }
}

/// The rules that claude suggests to allow from now on, with the directories beside them.
fn suggested(request: &Value) -> Option<String> {
    let suggestions = || list(request, "permission_suggestions");
    let of = |kind: &'static str| suggestions().filter(move |it| text(it, "type") == kind);
    let mut rules: Vec<_> = of("addRules")
        .filter(|it| text(it, "behavior") == "allow")
        .flat_map(|it| list(it, "rules"))
        .map(|rule| match optional(rule, "ruleContent") {
            Some(content) => format!("{}({content})", text(rule, "toolName")),
            None => text(rule, "toolName"),
        })
        .collect();
    let mut inside: Vec<_> = of("addDirectories")
        .flat_map(|it| list(it, "directories"))
        .filter_map(Value::as_str)
        .collect();
    rules.sort();
    inside.sort_unstable();
    let inside =
        if inside.is_empty() { String::new() } else { format!(" in {}", inside.join(", ")) };
    (!rules.is_empty()).then(|| rules.join(", ") + &inside)
}

fn response(response: &Value) -> ControlResponse {
    let outcome = match &*text(response, "subtype") {
        "error" => Err(text(response, "error")),
        _ => Ok(()),
    };
    let pending = list(response, "pending_permission_requests").filter_map(|it| {
        let Some(Event::Ask(ask)) = request(it) else { return None };
        Some(ask)
    });
    ControlResponse {
        request_id: text(response, "request_id"),
        outcome,
        pending: pending.collect(),
        still_queued: uuids(&response["response"], "still_queued"),
    }
}

fn usage(value: &Value) -> Usage {
    Usage {
        input: number(value, "input_tokens"),
        output: number(value, "output_tokens"),
        cache_creation: number(value, "cache_creation_input_tokens"),
        cache_read: number(value, "cache_read_input_tokens"),
    }
}

/// What a call does to claude's list: by its own task tools, or by the older one.
fn list_change(tool: &str, input: &Value) -> Option<ListChange> {
    match tool {
        "TodoWrite" => {
            let point = |it: &Value| Point {
                text: text(it, "content"),
                state: point_state(&text(it, "status")).unwrap_or(PointState::Open),
            };
            Some(ListChange::All(list(input, "todos").take(POINTS_MAX).map(point).collect()))
        }
        "TaskCreate" => Some(ListChange::Add(text(input, "subject"))),
        "TaskUpdate" => {
            let (id, status) = (text(input, "taskId"), text(input, "status"));
            if status == "deleted" {
                return Some(ListChange::Drop(id));
            }
            let (text, state) = (optional(input, "subject"), point_state(&status));
            Some(ListChange::Set { id, text, state })
        }
        _ => None,
    }
}

fn point_state(word: &str) -> Option<PointState> {
    match word {
        "pending" => Some(PointState::Open),
        "in_progress" => Some(PointState::Begun),
        "completed" => Some(PointState::Done),
        _ => None,
    }
}

fn result(value: &Value) -> TurnResult {
    let subtype = text(value, "subtype");
    let origin = text(value.get("origin").unwrap_or(&Value::Null), "kind");
    let kind = match (&*subtype, &*origin) {
        ("compact" | "compaction", _) => TurnKind::Compaction,
        (_, "task-notification" | "task_notification") => TurnKind::TaskNotification,
        _ => TurnKind::Answer,
    };
    let errors: Vec<_> = list(value, "errors").filter_map(plain_text).collect();
    let told = optional(value, "result").unwrap_or_else(|| errors.join("\n"));
    let tokens = value.get("usage").unwrap_or(&Value::Null);
    TurnResult {
        kind,
        is_error: flag(value, "is_error"),
        text: if told.is_empty() && flag(value, "is_error") { subtype.clone() } else { told },
        subtype,
        session_id: text(value, "session_id"),
        total_cost_usd: value.get("total_cost_usd").and_then(Value::as_f64).unwrap_or_default(),
        duration_ms: number(value, "duration_ms"),
        turns: number(value, "num_turns"),
        usage: usage(tokens),
        denials: list(value, "permission_denials")
            .map(|it| Denial {
                tool_name: text(it, "tool_name"),
                object: whole_object(&it["tool_input"]),
            })
            .collect(),
        terminal_reason: optional(value, "terminal_reason"),
        api_error_status: value.get("api_error_status").and_then(Value::as_u64),
        user_uuids: uuids(value, "user_message_uuids"),
        // The result line names every model that had a part in it.
        model: None,
    }
}
