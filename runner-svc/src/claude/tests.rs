//! Recorded lines of the real claude, and lines that nobody ever wrote.

use super::*;
use crate::attached::Words;
use proptest::prelude::*;

fn recorded(name: &str) -> Vec<Event> {
    let path = format!("{}/testdata/claude/{name}.jsonl", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    text.lines().map(|line| Event::parse(line.as_bytes())).collect()
}

/// The lines that claude was told, as their lifecycle shows them.
fn lines_of(events: &[Event]) -> Vec<Uuid> {
    let mut uuids = Vec::new();
    for event in events {
        if let Event::Lifecycle { uuid, .. } = event
            && !uuids.contains(uuid)
        {
            uuids.push(*uuid);
        }
    }
    uuids
}

fn folded(events: &[Event]) -> Progress {
    let mut progress = Progress::new();
    for uuid in lines_of(events) {
        progress.told(&told::user(uuid, Uuid::nil(), &Words::from("x")));
    }
    for event in events {
        progress.fold(event);
    }
    progress
}

/// What a recording comes to: `is_error`, how it ended, the beginning of its text.
fn outcome(name: &str) -> Option<(bool, String, String)> {
    let progress = folded(&recorded(name));
    let result = progress.outcome()?;
    let reason = result.terminal_reason.clone().unwrap_or_default();
    Some((result.is_error, reason, result.text.chars().take(30).collect()))
}

#[test]
fn each_recording_comes_to_its_outcome() {
    let is = |is_error, reason: &str, text: &str| Some((is_error, reason.into(), text.into()));
    assert_eq!(outcome("answer"), is(false, "completed", "hello there"));
    assert_eq!(outcome("follow-up"), is(false, "completed", "You said: second words"));
    assert_eq!(outcome("tool-allowed"), is(false, "completed", "done"));
    assert_eq!(outcome("tool-denied"), is(false, "completed", "after the deny"));
    assert_eq!(outcome("tool-allowed-by-answer"), is(false, "completed", "after"));
    assert_eq!(outcome("two-tools"), is(false, "completed", "end"));
    assert_eq!(outcome("thinking"), is(false, "completed", "end"));
    assert_eq!(outcome("ask-closed"), is(false, "completed", "after"));
    assert_eq!(outcome("slash-command"), is(false, "", "Estimated cost:        $0.0000"));
    assert_eq!(outcome("api-error"), is(true, "api_error", "API Error: 400 scripted"));
    assert_eq!(
        outcome("api-error-after-retry"),
        is(true, "api_error", "API Error: 529 scripted. This ")
    );
    assert_eq!(outcome("not-logged-in"), is(true, "api_error", "Not logged in · Please run /lo"));
    assert_eq!(
        outcome("interrupted-ask"),
        is(true, "aborted_tools", "[ede_diagnostic] result_type=u")
    );
    assert_eq!(outcome("terminated"), None);
}

#[test]
fn a_line_that_is_not_echoed_yet_keeps_the_outcome_open() {
    assert_eq!(outcome("two-lines").expect("the second result").2, "one\n\ntwo");
    assert_eq!(outcome("line-during-tool").expect("one result for both").2, "end");
    assert_eq!(outcome("interrupted-then-next").expect("the next one").2, "queued");
    let progress = folded(&recorded("interrupted-then-next"));
    let first = progress.passed_over().expect("the interrupted one");
    assert!(first.is_interrupted() && first.is_error);
}

#[test]
fn a_session_that_is_not_there_gives_no_outcome_but_its_reason() {
    let events = recorded("unknown-session");
    let mut progress = Progress::new();
    progress.told(&told::user(Uuid::nil(), Uuid::nil(), &Words::from("x")));
    assert!(!events.iter().any(|event| progress.fold(event)));
    let why = &progress.passed_over().expect("a result").text;
    assert!(why.starts_with("No conversation found with session ID: "), "{why}");
    assert_eq!(progress.line_state(Uuid::nil()), Some(LineState::Written));
}

#[test]
fn a_uuid_that_was_answered_before_is_told_apart() {
    let events = recorded("answered-before");
    let uuid = lines_of(&events)[0];
    let progress = folded(&events);
    assert_eq!(progress.answered_before().collect::<Vec<_>>(), [uuid]);
    assert_eq!(progress.outcome(), None);
}

#[test]
fn a_result_says_what_it_cost_and_what_was_denied() {
    let progress = folded(&recorded("tool-denied"));
    let result = progress.outcome().expect("an outcome");
    assert_eq!(result.denials, [Denial { tool_name: "Bash".into(), object: "touch x.txt".into() }]);
    assert_eq!(result.usage, Usage { input: 20, output: 14, cache_creation: 0, cache_read: 0 });
    assert_eq!(result.turns, 2);
    assert!(0.0 < result.total_cost_usd && 0 < result.duration_ms);
    assert_eq!(result.user_uuids.len(), 1);
    let init = progress.init().expect("an init");
    assert_eq!((&*init.version, &*init.model), ("2.1.330", "claude-opus-5-5"));
    assert_eq!(init.session_id, result.session_id);
    assert_eq!(progress.texts().collect::<Vec<_>>(), ["after the deny"]);
}

#[test]
fn an_ask_is_open_until_its_answer_comes_back() {
    let events = recorded("tool-denied");
    let at = events.iter().position(|it| matches!(it, Event::Ask(_))).expect("an ask");
    let mut progress = folded(&events[..=at]);
    let ask = progress.unanswered().next().expect("it is open").clone();
    assert_eq!((&*ask.tool_name, &*ask.object()), ("Bash", "touch x.txt"));
    progress.told(&told::deny(&ask.request_id, "no"));
    assert_eq!((progress.unanswered().count(), progress.asks().len()), (0, 1));
    progress.fold(&events[at + 1]);
    assert_eq!(progress.asks(), [], "claude sent our answer back");
}

#[test]
fn a_cancelled_ask_is_not_open() {
    let events = recorded("interrupted-ask");
    let at = events.iter().position(|it| matches!(it, Event::AskCancelled { .. })).expect("one");
    assert_eq!(folded(&events[..at]).asks().len(), 1);
    assert_eq!(folded(&events[..=at]).asks(), []);
}

#[test]
fn who_adopts_comes_to_the_same_state() {
    for name in ["tool-denied", "tool-allowed-by-answer", "interrupted-ask", "two-lines"] {
        let events = recorded(name);
        let answer = events.iter().find_map(|event| {
            let Event::Ask(ask) = event else { return None };
            Some(told::deny(&ask.request_id, "no"))
        });
        let lines =
            lines_of(&events).into_iter().map(|it| told::user(it, Uuid::nil(), &Words::from("x")));
        let (mut live, mut adopted) = (Progress::new(), Progress::new());
        for line in lines.chain(answer.clone()) {
            adopted.told(&line);
        }
        for uuid in lines_of(&events) {
            live.told(&told::user(uuid, Uuid::nil(), &Words::from("x")));
        }
        for event in &events {
            live.fold(event);
            adopted.fold(event);
            if let (Event::Ask(_), Some(answer)) = (event, &answer) {
                live.told(answer);
            }
        }
        assert_eq!(live, adopted, "{name}");
    }
}

#[test]
fn an_initialize_shows_what_is_pending() {
    let line = r#"{"type":"control_response","response":{"subtype":"success","request_id":"i1",
        "response":{"commands":[]},"pending_permission_requests":[{"type":"control_request",
        "request_id":"r","request":{"subtype":"can_use_tool","tool_name":"Bash",
        "input":{"command":"ls"},"tool_use_id":"t"}}],"pending_user_dialog_requests":[]}}"#;
    let mut progress = Progress::new();
    progress.fold(&Event::parse(line.as_bytes()));
    progress.fold(&Event::parse(line.as_bytes()));
    assert_eq!(progress.unanswered().map(|ask| &*ask.request_id).collect::<Vec<_>>(), ["r"]);
}

#[test]
fn an_interrupt_says_what_is_still_queued() {
    let events = recorded("interrupted-then-next");
    let queued = events.iter().find_map(|event| {
        let Event::ControlResponse(response) = event else { return None };
        Some(response.still_queued.clone())
    });
    assert_eq!(queued.expect("an answer"), lines_of(&events)[1..]);
}

#[test]
fn compactions_and_task_notifications_are_no_outcome() {
    for (subtype, origin, kind) in [
        ("compact", "", TurnKind::Compaction),
        ("compaction", "", TurnKind::Compaction),
        ("success", "task-notification", TurnKind::TaskNotification),
    ] {
        let line = serde_json::json!({"type": "result", "subtype": subtype, "is_error": false,
            "result": "x", "origin": {"kind": origin}});
        let event = Event::parse(line.to_string().as_bytes());
        let Event::Result(result) = &event else { panic!("{event:?}") };
        assert_eq!(result.kind, kind);
        let mut events = recorded("answer");
        let at = events.len() - 2;
        events.insert(at, event);
        assert_eq!(folded(&events).outcome().expect("the answer").text, "hello there");
    }
}

#[test]
fn requests_that_we_do_not_serve_wait_to_be_refused() {
    let line =
        br#"{"type":"control_request","request_id":"h","request":{"subtype":"hook_callback"}}"#;
    let mut progress = Progress::new();
    progress.fold(&Event::parse(line));
    assert_eq!(progress.to_refuse(), ["h"]);
    progress.told(&told::refuse("h", "no"));
    assert_eq!(progress.to_refuse(), [""; 0]);
}

#[test]
fn what_we_tell_reads_back() {
    use told::Told;
    let uuid = Uuid::from_u128(7);
    let line = told::user(uuid, Uuid::nil(), &Words::from("two\nlines \u{202e}\0 and a --dash"));
    assert!(!line.contains('\n'), "a line is one line");
    assert_eq!(Told::parse(&line), Told::User(uuid));
    assert_eq!(Told::parse(&told::initialize("i")), Told::Request("i".into()));
    assert_eq!(Told::parse(&told::interrupt("i")), Told::Request("i".into()));
    assert_eq!(Told::parse(&told::allow("a", &Value::Null)), Told::Answer("a".into()));
    assert_eq!(Told::parse(&told::deny("a", "no")), Told::Answer("a".into()));
    assert_eq!(Told::parse("{"), Told::Strange);
}

#[test]
fn retries_and_noise_have_names() {
    let events = recorded("api-error-after-retry");
    let retry = events.iter().find(|event| matches!(event, Event::ApiRetry { .. }));
    let Some(Event::ApiRetry { attempt: 1, max_retries: 1, status: Some(529), error, .. }) = retry
    else {
        panic!("{retry:?}")
    };
    assert_eq!(error, "overloaded");
    assert_eq!(Event::parse(b"npm warn something"), Event::NotJson);
    assert_eq!(Event::parse(b"[1]"), Event::NotJson);
    let other = Event::parse(br#"{"type":"system","subtype":"status"}"#);
    assert_eq!(other, Event::Other { kind: "system/status".into() });
}

/// Anything that JSON can be, with the keys that matter more often than chance has it.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z_]{0,12}".prop_map(Value::from),
        prop::sample::select(vec![
            "user",
            "assistant",
            "result",
            "control_request",
            "control_response",
            "can_use_tool",
            "system",
            "init",
            "api_retry",
            "command_lifecycle",
            "completed",
            "tool_result",
            "00000000-0000-0000-0000-000000000007",
        ])
        .prop_map(Value::from),
    ];
    let key = prop_oneof![
        prop::sample::select(vec![
            "type",
            "subtype",
            "message",
            "content",
            "uuid",
            "command_uuid",
            "state",
            "request",
            "response",
            "request_id",
            "input",
            "usage",
            "errors",
            "origin",
            "isReplay",
            "text",
            "pending_permission_requests",
            "retry_delay_ms",
            "permission_denials",
        ])
        .prop_map(str::to_owned),
        "[a-z]{0,4}",
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..8)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_bytes_panic(line in prop::collection::vec(any::<u8>(), 0..200)) {
        Progress::new().fold(&Event::parse(&line));
    }

    #[test]
    fn no_json_panics_and_an_outcome_stays(lines in prop::collection::vec(any_json(), 0..12)) {
        let mut progress = folded(&recorded("answer"));
        let before = progress.outcome().cloned();
        for line in lines {
            let line = line.to_string();
            progress.told(&line);
            progress.fold(&Event::parse(line.as_bytes()));
        }
        prop_assert_eq!(progress.outcome(), before.as_ref());
    }
}

/// An ask that claude let go of while nobody listened is known by what it says that it waits for.
#[test]
fn what_claude_waits_for_no_more_is_settled() {
    let ask = |id: &str| {
        let request =
            serde_json::json!({"subtype": "can_use_tool", "tool_name": "Bash", "input": {}});
        serde_json::json!({"type": "control_request", "request_id": id, "request": request})
    };
    let event = |line: &Value| Event::parse(line.to_string().as_bytes());
    let answer = |id: &str, pending: &[Value]| {
        let response = serde_json::json!({"subtype": "success", "request_id": id, "response": {},
            "pending_permission_requests": pending});
        event(&serde_json::json!({"type": "control_response", "response": response}))
    };
    let mut progress = Progress::new();
    progress.fold(&event(&ask("a")));
    progress.fold(&event(&ask("b")));
    progress.fold(&event(&ask("c")));
    progress.told(&told::deny("c", "no"));
    assert_eq!((progress.asks().len(), progress.asked()), (3, 3));
    progress.fold(&answer("holdfast-initialize-4", &[ask("b"), ask("d")]));
    let open: Vec<_> = progress.asks().iter().map(|it| it.ask.request_id.as_str()).collect();
    assert_eq!(open, ["b", "c", "d"], "an answer may still be on its way");
    assert_eq!((progress.settled(), progress.asked()), (&["a".to_owned()][..], 5));
    progress.fold(&answer("c", &[]));
    progress.fold(&answer("holdfast-initialize-5", &[ask("c")]));
    assert_eq!(progress.asks(), [], "what was settled does not come back");
}
