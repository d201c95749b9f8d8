//! The simulator over plain HTTP, as claude meets it: keys, errors, streams, gates and the log.

#![expect(clippy::unwrap_used, reason = "what a test calls may fail it")]

use std::time::Duration;

use anthropic_sim::{Failure, Kind, Options, Sim};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// More than any of these requests takes, on the slowest machine.
const DEADLINE: Duration = Duration::from_secs(20);

/// One answer: its status and its body.
struct Reply {
    status: u16,
    body: String,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// The names and data of the events of a stream.
    fn events(&self) -> Vec<(String, Value)> {
        let events = self.body.split("\n\n").filter(|event| !event.is_empty());
        events
            .map(|event| {
                let (name, data) = event.split_once('\n').unwrap();
                let data = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
                (name.strip_prefix("event: ").unwrap().to_owned(), data)
            })
            .collect()
    }

    fn text(&self) -> String {
        let events = self.events();
        events.iter().filter_map(|(_, data)| data["delta"]["text"].as_str()).collect()
    }
}

/// Sends one HTTP/1.0 request, so that the body ends with the connection, and reads the answer.
async fn http(sim: &Sim, method: &str, path: &str, headers: &str, body: &str) -> Reply {
    let exchange = async {
        let mut stream = TcpStream::connect(sim.address()).await.unwrap();
        let length = body.len();
        let request =
            format!("{method} {path} HTTP/1.0\r\ncontent-length: {length}\r\n{headers}\r\n{body}");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Reply { status, body: body.to_owned() }
    };
    timeout(DEADLINE, exchange).await.unwrap()
}

fn request(messages: &Value) -> String {
    let tools = json!([{"name": "Bash"}]);
    json!({"model": "m", "max_tokens": 1000, "stream": true, "tools": tools, "messages": messages})
        .to_string()
}

fn prompt(text: &str) -> String {
    request(&json!([{"role": "user", "content": [{"type": "text", "text": text}]}]))
}

async fn ask(sim: &Sim, body: &str) -> Reply {
    http(sim, "POST", "/v1/messages?beta=true", "x-api-key: any\r\n", body).await
}

async fn sim() -> Sim {
    Sim::start(Options::default()).await.unwrap()
}

#[tokio::test]
async fn an_answer_is_streamed_in_the_order_of_the_api() {
    let sim = sim().await;
    let reply = ask(&sim, &prompt("[[say hello there]]")).await;
    assert_eq!(reply.status, 200);
    let names: Vec<String> = reply.events().into_iter().map(|(name, _)| name).collect();
    let expected = [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ];
    assert_eq!(names, expected);
    assert!(reply.events().iter().all(|(name, data)| data["type"] == **name));
    assert_eq!(reply.text(), "hello there");
    sim.stop().await;
}

#[tokio::test]
async fn a_tool_call_is_followed_by_what_its_result_makes() {
    let sim = sim().await;
    let script = r#"[[tool Bash {"command":"ls"}]] [[say got {result}]]"#;
    let first = ask(&sim, &prompt(script)).await;
    let (_, start) = &first.events()[1];
    assert_eq!(start["content_block"]["name"], "Bash");
    let (_, delta) = &first.events()[2];
    assert_eq!(delta["delta"]["partial_json"], r#"{"command":"ls"}"#);
    let id = &start["content_block"]["id"];
    let second = ask(
        &sim,
        &request(&json!([
            {"role": "user", "content": script},
            {"role": "assistant", "content": [{"type": "tool_use", "id": id, "name": "Bash", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": id, "content": "a file"}]},
        ])),
    )
    .await;
    assert_eq!(second.text(), "got a file");
    assert_eq!(sim.requests()[1].tools_done, 1);
    sim.stop().await;
}

#[tokio::test]
async fn a_message_that_is_not_streamed_has_the_same_content() {
    let sim = sim().await;
    let body = json!({"model": "m", "max_tokens": 1000, "messages": [{"role": "user", "content": "say hello"}]});
    let reply = ask(&sim, &body.to_string()).await.json();
    assert_eq!(reply["content"][0]["text"], "Hello! You said: say hello");
    assert_eq!(reply["stop_reason"], "end_turn");
    sim.stop().await;
}

#[tokio::test]
async fn without_a_key_nothing_is_answered() {
    let sim = sim().await;
    let reply = http(&sim, "POST", "/v1/messages", "", &prompt("hi")).await;
    assert_eq!(reply.status, 401);
    assert_eq!(reply.json()["error"]["type"], "authentication_error");
    let bearer =
        http(&sim, "POST", "/v1/messages", "authorization: Bearer t\r\n", &prompt("hi")).await;
    assert_eq!(bearer.status, 200);
    assert_eq!(sim.refused(), 1);
    sim.stop().await;
}

#[tokio::test]
async fn with_a_key_of_its_own_no_other_is_let_in() {
    let options = Options { key: Some("right".into()), ..Options::default() };
    let sim = Sim::start(options).await.unwrap();
    assert_eq!(ask(&sim, &prompt("hi")).await.status, 401);
    let right = http(&sim, "POST", "/v1/messages", "x-api-key: right\r\n", &prompt("hi")).await;
    assert_eq!(right.status, 200);
    sim.stop().await;
}

#[tokio::test]
async fn a_scripted_error_has_its_status_type_and_message() {
    let sim = sim().await;
    let reply = ask(&sim, &prompt("[[error 529 too busy]]")).await;
    assert_eq!(reply.status, 529);
    let expected =
        json!({"type": "error", "error": {"type": "overloaded_error", "message": "too busy"}});
    assert_eq!(reply.json(), expected);
    sim.stop().await;
}

#[tokio::test]
async fn an_outage_meets_every_request_until_it_ends() {
    let sim = sim().await;
    sim.fail_all(Some(Failure::status(503)));
    assert_eq!(ask(&sim, &prompt("a")).await.status, 503);
    assert_eq!(ask(&sim, &prompt("b")).await.status, 503);
    sim.fail_all(None);
    assert_eq!(ask(&sim, &prompt("c")).await.status, 200);
    sim.fail_next(1, Failure::status(529));
    assert_eq!(ask(&sim, &prompt("d")).await.status, 529);
    assert_eq!(ask(&sim, &prompt("e")).await.status, 200);
    sim.stop().await;
}

#[tokio::test]
async fn a_wait_holds_the_answer_until_it_is_released() {
    let sim = sim().await;
    let body = prompt("[[wait go]] [[say gone]]");
    let released = async {
        sim.reached("go").await;
        assert_eq!(sim.requests()[0].status, None);
        sim.release("go");
    };
    let (reply, ()) =
        timeout(DEADLINE, async { tokio::join!(ask(&sim, &body), released) }).await.unwrap();
    assert_eq!(reply.text(), "gone");
    assert_eq!(sim.waiting("go"), 0);
    assert_eq!(ask(&sim, &body).await.text(), "gone", "an open gate stays open");
    sim.stop().await;
}

#[tokio::test]
async fn a_wait_between_two_texts_lets_the_first_one_out() {
    let sim = sim().await;
    let mut stream = TcpStream::connect(sim.address()).await.unwrap();
    let body = prompt("[[say first]] [[wait go]] [[say second]]");
    let length = body.len();
    let request = format!(
        "POST /v1/messages HTTP/1.0\r\nx-api-key: a\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("content_block_stop") {
        timeout(DEADLINE, stream.read_buf(&mut seen)).await.unwrap().unwrap();
    }
    assert!(!String::from_utf8_lossy(&seen).contains("second"));
    sim.release("go");
    timeout(DEADLINE, stream.read_to_end(&mut seen)).await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&seen).contains("second"));
    sim.stop().await;
}

#[tokio::test]
async fn a_client_that_goes_away_waits_no_more() {
    let sim = sim().await;
    let mut stream = TcpStream::connect(sim.address()).await.unwrap();
    let body = prompt("[[wait never]]");
    let length = body.len();
    let request = format!(
        "POST /v1/messages HTTP/1.1\r\nhost: a\r\nx-api-key: a\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    timeout(DEADLINE, sim.reached("never")).await.unwrap();
    drop(stream);
    timeout(DEADLINE, sim.until(|sim| sim.waiting("never") == 0)).await.unwrap();
    sim.stop().await;
}

#[tokio::test]
async fn stopping_cuts_what_is_held_and_frees_the_port() {
    let sim = sim().await;
    let address = sim.address();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let body = prompt("[[hang]]");
    let length = body.len();
    let request = format!(
        "POST /v1/messages HTTP/1.1\r\nhost: a\r\nx-api-key: a\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    timeout(DEADLINE, sim.until(|sim| sim.count(Kind::Turn) == 1)).await.unwrap();
    timeout(DEADLINE, sim.stop()).await.unwrap();
    let again = Options { listen: address, ..Options::default() };
    Sim::start(again).await.unwrap().stop().await;
}

#[tokio::test]
async fn small_questions_of_claude_do_not_meet_the_script() {
    let sim = sim().await;
    let body = json!({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "[[error 500]]"}]});
    assert_eq!(ask(&sim, &body.to_string()).await.status, 200);
    assert_eq!(sim.count(Kind::Side), 1);
    assert_eq!(sim.count(Kind::Turn), 0);
    sim.stop().await;
}

#[tokio::test]
async fn the_rest_of_what_claude_asks_for_is_there() {
    let sim = sim().await;
    assert_eq!(http(&sim, "GET", "/", "", "").await.status, 200);
    assert_eq!(http(&sim, "HEAD", "/", "", "").await.status, 200);
    assert_eq!(http(&sim, "HEAD", "/api/hello", "", "").await.status, 200);
    let tokens =
        http(&sim, "POST", "/v1/messages/count_tokens", "x-api-key: a\r\n", &prompt("12345678"))
            .await;
    assert_eq!(tokens.json()["input_tokens"], 102);
    let unknown = http(&sim, "GET", "/v2", "", "").await;
    assert_eq!(unknown.status, 404);
    assert_eq!(unknown.json()["error"]["type"], "not_found_error");
    let broken = ask(&sim, "{").await;
    assert_eq!(
        (broken.status, &broken.json()["error"]["type"]),
        (400, &json!("invalid_request_error"))
    );
    sim.stop().await;
}

#[tokio::test]
async fn the_log_tells_session_prompt_and_status() {
    let sim = sim().await;
    let headers = "x-api-key: a\r\nx-claude-code-session-id: s1\r\n";
    http(&sim, "POST", "/v1/messages", headers, &prompt("[[error 400]]")).await;
    let log = sim.requests();
    assert_eq!(log.len(), 1);
    let request = &log[0];
    assert_eq!((request.number, request.kind, request.status), (1, Kind::Turn, Some(400)));
    assert_eq!((request.session.as_deref(), &*request.prompt), (Some("s1"), "[[error 400]]"));
    let told = http(&sim, "GET", "/_sim/requests", "", "").await.json();
    assert_eq!(told[0]["prompt"], "[[error 400]]");
    sim.stop().await;
}

#[tokio::test]
async fn the_small_door_releases_and_breaks() {
    let sim = sim().await;
    assert_eq!(http(&sim, "POST", "/_sim/release/go", "", "").await.status, 204);
    assert_eq!(ask(&sim, &prompt("[[wait go]] [[say a]]")).await.text(), "a");
    assert_eq!(http(&sim, "POST", "/_sim/fail/529", "", "").await.status, 204);
    assert_eq!(ask(&sim, &prompt("hi")).await.status, 529);
    http(&sim, "POST", "/_sim/fail/0", "", "").await;
    assert_eq!(ask(&sim, &prompt("hi")).await.status, 200);
    sim.stop().await;
}
