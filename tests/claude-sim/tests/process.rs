//! The program as a runner meets it: started with flags, told lines, heard to the end.

#![expect(clippy::unwrap_used, reason = "what a test calls may fail it")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

/// More than any answer takes, on the slowest machine.
const DEADLINE: Duration = Duration::from_secs(30);

/// How many lines a test may leave unread.
const LINES: usize = 10_000;

/// A place to live: a home, a project and gates.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["home", "project", "gates"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join(name)
    }

    fn release(&self, gate: &str) {
        std::fs::write(self.path("gates").join(gate), "").unwrap();
    }

    fn ledger(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.path("ledger")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_claude-sim"));
        command
            .args([
                "-p",
                "--input-format",
                "stream-json",
                "--output-format",
                "stream-json",
                "--verbose",
            ])
            .args(["--replay-user-messages", "--permission-prompt-tool", "stdio"])
            .args(["--allowedTools", "Read,Edit,Write,Glob,Grep,Bash(git:*),TodoWrite"])
            .current_dir(self.path("project"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.path("home"))
            .env("CLAUDE_CODE_MAX_RETRIES", "2")
            .env("CLAUDE_SIM_DIR", self.path("gates"))
            .env("CLAUDE_SIM_LEDGER", self.path("ledger"));
        command
    }

    fn claude(&self, flags: &[&str]) -> Claude {
        Claude::spawn(self.command().args(flags))
    }

    /// A new session with one prompt, heard to its end.
    fn one(&self, prompt: &str) -> (Vec<Value>, ExitStatus) {
        let mut claude = self.claude(&[]);
        claude.say(prompt);
        claude.end()
    }
}

/// A running process.
struct Claude {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    errors: Receiver<String>,
    heard: Vec<Value>,
}

impl Claude {
    fn spawn(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = read(child.stdout.take().unwrap());
        let errors = read(child.stderr.take().unwrap());
        let stdin = child.stdin.take();
        Self { child, stdin, lines, errors, heard: Vec::new() }
    }

    fn tell(&mut self, line: &Value) {
        writeln!(self.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Sends a prompt; its uuid.
    fn say(&mut self, prompt: &str) -> String {
        let uuid = Uuid::new_v4().to_string();
        self.say_as(prompt, &uuid);
        uuid
    }

    fn say_as(&mut self, prompt: &str, uuid: &str) {
        let message = json!({"role": "user", "content": [{"type": "text", "text": prompt}]});
        self.tell(&json!({"type": "user", "uuid": uuid, "session_id": "", "parent_tool_use_id": null, "message": message}));
    }

    fn request(&mut self, id: &str, subtype: &str) {
        self.tell(
            &json!({"type": "control_request", "request_id": id, "request": {"subtype": subtype}}),
        );
    }

    fn respond(&mut self, request: &Value, response: &Value) {
        let id = &request["request_id"];
        let response = json!({"subtype": "success", "request_id": id, "response": response});
        self.tell(&json!({"type": "control_response", "response": response}));
    }

    /// Listens until a line is as wanted.
    fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let line = self.lines.recv_timeout(DEADLINE).unwrap();
            let line: Value = serde_json::from_str(&line).unwrap();
            self.heard.push(line.clone());
            if wanted(&line) {
                return line;
            }
        }
    }

    fn of_type(&mut self, kind: &str) -> Value {
        self.until(|line| line["type"] == kind)
    }

    /// Closes stdin and listens to the end: all lines, and the status.
    fn end(mut self) -> (Vec<Value>, ExitStatus) {
        self.stdin = None;
        let (lines, _, status) = self.rest();
        let mut heard = std::mem::take(&mut self.heard);
        heard.extend(lines.iter().map(|line| serde_json::from_str(line).unwrap()));
        (heard, status)
    }

    /// Listens to the end: raw lines, what it complained of, and the status.
    fn rest(&mut self) -> (Vec<String>, String, ExitStatus) {
        let lines = all(&self.lines);
        let errors = all(&self.errors).join("\n");
        (lines, errors, self.child.wait().unwrap())
    }
}

impl Drop for Claude {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(pipe: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (tell, told) = sync_channel(LINES);
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if tell.send(line).is_err() {
                return;
            }
        }
    });
    told
}

fn all(lines: &Receiver<String>) -> Vec<String> {
    std::iter::from_fn(|| match lines.recv_timeout(DEADLINE) {
        Ok(line) => Some(line),
        Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => None,
        Err(std::sync::mpsc::RecvTimeoutError::Timeout) => panic!("it does not end"),
    })
    .collect()
}

/// `type`, or `type/subtype`, or what happened to a prompt.
fn kinds(lines: &[Value]) -> Vec<String> {
    lines
        .iter()
        .map(|line| {
            let more = match line["type"].as_str().unwrap() {
                "command_lifecycle" => &line["state"],
                "user" if line["isReplay"] == true => return "echo".to_owned(),
                "control_request" => &line["request"]["subtype"],
                _ => &line["subtype"],
            };
            let kind = line["type"].as_str().unwrap().replace("command_lifecycle", "prompt");
            more.as_str().map_or(kind.clone(), |more| format!("{kind}/{more}"))
        })
        .collect()
}

fn result(lines: &[Value]) -> &Value {
    lines.iter().rfind(|line| line["type"] == "result").unwrap()
}

fn text_of(line: &Value) -> &str {
    line["message"]["content"][0]["text"].as_str().unwrap()
}

#[test]
fn an_answer_is_told_in_the_order_of_the_real_one() {
    let (lines, status) = Place::new().one("say hello");
    let expected = [
        "prompt/queued",
        "prompt/started",
        "system/init",
        "echo",
        "assistant",
        "result/success",
        "prompt/completed",
    ];
    assert_eq!(kinds(&lines), expected);
    assert_eq!(result(&lines)["result"], "Hello! You said: say hello");
    assert_eq!(result(&lines)["is_error"], false);
    assert_eq!(status.code(), Some(0));
}

#[test]
fn the_echo_is_the_prompt_to_the_letter() {
    let prompt = "-p \u{202e}x\n\ttail  \n";
    let place = Place::new();
    let mut claude = place.claude(&[]);
    let uuid = claude.say(prompt);
    let echo = claude.until(|line| line["isReplay"] == true);
    assert_eq!((echo["uuid"].as_str(), text_of(&echo)), (Some(uuid.as_str()), prompt));
    claude.end();
}

#[test]
fn an_allowed_tool_runs_without_a_question() {
    let place = Place::new();
    std::fs::write(place.path("project/note"), "42").unwrap();
    let (lines, _) =
        place.one(r#"[[say looking]] [[tool Read {"file_path":"note"}]] [[say found {result}]]"#);
    let expected = [
        "prompt/queued",
        "prompt/started",
        "system/init",
        "echo",
        "assistant",
        "assistant",
        "user",
        "assistant",
        "result/success",
        "prompt/completed",
    ];
    assert_eq!(kinds(&lines), expected);
    assert_eq!(result(&lines)["result"], "found 1\t42");
    assert_eq!(result(&lines)["num_turns"], 2);
}

#[test]
fn a_denied_tool_does_not_run_and_claude_goes_on() {
    let place = Place::new();
    let mut claude = place.claude(&[]);
    claude.say(r#"[[tool Bash {"command":"touch z"}]] [[say told: {result}]]"#);
    let request = claude.of_type("control_request");
    assert_eq!(request["request"]["tool_name"], "Bash");
    claude.respond(&request, &json!({"behavior": "deny", "message": "no way", "interrupt": false}));
    let (lines, status) = claude.end();
    assert_eq!(result(&lines)["result"], "told: no way");
    assert_eq!(result(&lines)["permission_denials"][0]["tool_name"], "Bash");
    assert_eq!(status.code(), Some(0));
    assert!(!place.path("project/z").exists());
}

#[test]
fn a_tool_that_the_host_allows_runs_with_its_input() {
    let place = Place::new();
    let mut claude = place.claude(&[]);
    claude.say(r#"[[tool Bash {"command":"touch z"}]] [[say done]]"#);
    let request = claude.of_type("control_request");
    claude.respond(&request, &json!({"behavior": "allow", "updatedInput": {"command": "touch y"}}));
    let (lines, _) = claude.end();
    assert_eq!(result(&lines)["result"], "done");
    assert!(place.path("project/y").exists() && !place.path("project/z").exists());
}

#[test]
fn a_question_that_is_open_when_stdin_ends_is_denied() {
    let place = Place::new();
    let mut claude = place.claude(&[]);
    claude.say(r#"[[tool Bash {"command":"touch z"}]] [[say told: {result}]]"#);
    claude.of_type("control_request");
    let (lines, status) = claude.end();
    assert!(result(&lines)["result"].as_str().unwrap().contains("Tool permission stream closed"));
    assert_eq!(status.code(), Some(0));
}

#[test]
fn an_error_of_the_api_is_a_result_and_code_1() {
    let (lines, status) = Place::new().one("[[error 529]]");
    let expected = [
        "prompt/queued",
        "prompt/started",
        "system/init",
        "system/api_retry",
        "system/api_retry",
        "echo",
        "assistant",
        "result/success",
        "prompt/cancelled",
    ];
    assert_eq!(kinds(&lines), expected);
    let result = result(&lines);
    assert_eq!((&result["is_error"], &result["api_error_status"]), (&json!(true), &json!(529)));
    assert_eq!(status.code(), Some(1));
}

#[test]
fn a_resumed_session_knows_what_was_said() {
    let place = Place::new();
    let session = Uuid::new_v4().to_string();
    let mut first = place.claude(&["--session-id", &session]);
    first.say("first words");
    first.end();
    let mut second = place.claude(&["--resume", &session]);
    second.say("[[recall]]");
    let (lines, _) = second.end();
    assert_eq!(result(&lines)["result"], "You said before:\n1. first words");
    assert_eq!(result(&lines)["session_id"], session.as_str());
    let mut taken = place.claude(&["--session-id", &session]);
    let (_, errors, status) = taken.rest();
    assert_eq!(errors, format!("Error: Session ID {session} is already in use."));
    assert_eq!(status.code(), Some(1));
}

#[test]
fn an_unknown_session_is_a_result_and_a_complaint() {
    let session = Uuid::new_v4().to_string();
    let place = Place::new();
    let mut claude = place.claude(&["--resume", &session]);
    let (lines, errors, status) = claude.rest();
    assert_eq!(errors, format!("No conversation found with session ID: {session}"));
    let line: Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!((&line["subtype"], line.get("result")), (&json!("error_during_execution"), None));
    assert_eq!((lines.len(), status.code()), (1, Some(1)));
}

#[test]
fn a_prompt_that_was_answered_is_swallowed_and_one_that_was_cut_is_not() {
    let place = Place::new();
    let session = Uuid::new_v4().to_string();
    let uuid = Uuid::new_v4().to_string();
    let mut cut = place.claude(&["--session-id", &session]);
    cut.say_as("[[wait never]]", &uuid);
    cut.until(|line| line["subtype"] == "init");
    drop(cut);
    let mut again = place.claude(&["--resume", &session]);
    again.say_as("[[say now]]", &uuid);
    assert_eq!(result(&again.end().0)["result"], "now");
    let mut swallowed = place.claude(&["--resume", &session]);
    swallowed.say_as("[[say again]]", &uuid);
    assert_eq!(kinds(&swallowed.end().0), ["echo", "prompt/completed"]);
}

#[test]
fn an_interruption_ends_the_turn_and_the_next_one_follows() {
    let place = Place::new();
    let mut claude = place.claude(&[]);
    claude.say("[[say working]] [[wait never]]");
    claude.of_type("assistant");
    let next = claude.say("[[say next]]");
    claude.until(|line| line["command_uuid"] == next.as_str());
    claude.request("int1", "interrupt");
    let response = claude.of_type("control_response");
    assert_eq!(response["response"]["response"]["still_queued"], json!([next]));
    let cut = claude.of_type("result");
    assert_eq!(cut["subtype"], "error_during_execution");
    let (lines, status) = claude.end();
    assert_eq!(result(&lines)["result"], "next");
    assert_eq!(status.code(), Some(0));
}

#[test]
fn initialize_tells_what_is_open() {
    let place = Place::new();
    let mut claude = place.claude(&[]);
    claude.say(r#"[[tool Bash {"command":"touch z"}]]"#);
    let request = claude.of_type("control_request");
    claude.request("i1", "initialize");
    let response = claude.of_type("control_response");
    assert_eq!(response["response"]["pending_permission_requests"], json!([request]));
    claude.end();
}

#[test]
fn what_is_said_while_a_tool_works_joins_the_turn() {
    let place = Place::new();
    let mut claude = place.claude(&["--dangerously-skip-permissions"]);
    let gate = place.path("gates/go");
    let command = format!("until [ -e {} ]; do :; done", gate.display());
    let tool = json!({"command": command});
    claude.say(&format!("[[tool Bash {tool}]] [[say heard {{steer}}]]"));
    claude.of_type("assistant");
    let steer = claude.say("faster");
    claude.until(|line| line["command_uuid"] == steer.as_str());
    place.release("go");
    let (lines, _) = claude.end();
    assert_eq!(lines.iter().filter(|line| line["type"] == "result").count(), 1);
    assert_eq!(result(&lines)["result"], "heard faster");
}

#[test]
fn a_wait_ends_when_its_file_is_there() {
    let place = Place::new();
    let mut claude = place.claude(&[]);
    claude.say("[[say before]] [[wait go]] [[say after]]");
    assert_eq!(text_of(&claude.of_type("assistant")), "before");
    place.release("go");
    assert_eq!(result(&claude.end().0)["result"], "after");
}

#[test]
fn it_can_misbehave() {
    let place = Place::new();
    let mut claude = place.claude(&[]);
    claude.say("[[garbage]] [[bigline 100000]] [[exit 7]]");
    let (lines, _, status) = claude.rest();
    assert!(lines.iter().any(|line| serde_json::from_str::<Value>(line).is_err()));
    assert!(lines.iter().any(|line| line.len() == 100_000));
    assert_eq!(status.code(), Some(7));
    let mut dead = place.claude(&[]);
    dead.say("[[die KILL]]");
    assert_eq!(dead.rest().2.signal(), Some(9));
}

#[test]
fn a_hanging_one_hears_nothing_but_a_signal() {
    let place = Place::new();
    let mut claude = place.claude(&[]);
    claude.say("[[say here]] [[hang]]");
    claude.of_type("assistant");
    claude.stdin = None;
    assert_eq!(claude.child.try_wait().unwrap(), None);
    claude.child.kill().unwrap();
    assert_eq!(claude.child.wait().unwrap().signal(), Some(9));
}

#[test]
fn a_line_that_is_no_json_ends_it() {
    let place = Place::new();
    let mut claude = place.claude(&[]);
    writeln!(claude.stdin.as_mut().unwrap(), "garbage").unwrap();
    let (lines, errors, status) = claude.rest();
    assert_eq!(errors, "Error parsing streaming input line (type=unknown, 7 chars): SyntaxError");
    assert_eq!((lines.len(), status.code()), (0, Some(1)));
}

#[test]
fn the_ledger_tells_begin_prompts_and_end() {
    let place = Place::new();
    let mut claude = Claude::spawn(place.command().env("CLAUDE_CODE_SECRET", "x"));
    let uuid = claude.say("my own words");
    claude.end();
    let ledger = place.ledger();
    let events: Vec<&str> = ledger.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["begin", "prompt", "result", "end"]);
    let begin = &ledger[0];
    assert!(begin["env"].as_array().unwrap().contains(&json!("CLAUDE_CODE_SECRET")));
    assert!(!begin["argv"].to_string().contains("my own words"));
    assert_eq!(begin["cwd"], json!(place.path("project")));
    assert_eq!((&ledger[1]["uuid"], &ledger[1]["prompt"]), (&json!(uuid), &json!("my own words")));
    assert_eq!(ledger[3]["code"], 0);
    assert!(
        ledger.windows(2).all(|pair| pair[0]["time_ns"].as_i64() <= pair[1]["time_ns"].as_i64())
    );
}

#[test]
fn one_that_is_not_logged_in_says_so() {
    let place = Place::new();
    let mut claude = Claude::spawn(place.command().env("CLAUDE_SIM_LOGGED_OUT", "1"));
    claude.say("hi");
    let (lines, status) = claude.end();
    assert_eq!(result(&lines)["result"], "Not logged in · Please run /login");
    assert_eq!(status.code(), Some(1));
}

#[test]
fn a_session_lies_where_the_real_one_puts_it() {
    let place = Place::new();
    let session = Uuid::new_v4().to_string();
    let mut claude = place.claude(&["--session-id", &session]);
    claude.say("hi");
    claude.end();
    let folder =
        place.path("project").to_string_lossy().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    let file = place.path("home/.claude/projects").join(folder).join(format!("{session}.jsonl"));
    assert!(file.exists(), "{}", file.display());
}

#[test]
fn the_version_names_claude_code() {
    let output = Command::new(env!("CARGO_BIN_EXE_claude-sim")).arg("--version").output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "2.1.330 (Claude Code)\n");
}
