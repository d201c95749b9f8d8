//! claude-sim says what the real claude says: one script on both, and the same events.
//!
//! Both are started as a runner starts them, in the same directory, and told the same. What differs
//! by nature (ids, times, costs, counts of tokens) is left out; what a runner reads is compared.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use harness::anthropic_sim::{Options, Sim};
use harness::builder::against;
use harness::{PATIENCE, built, claude, project};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

const SESSION: &str = "da8de21c-e75d-4fd7-939c-d012e3d836cd";
const UUID: &str = "a8cfa85c-ce1d-4b90-a0b4-8741036976d0";

/// The events that matter, and the exit code.
type Heard = (Vec<Value>, Option<i32>);

/// Plays a script: tells it, denies what is asked for, closes stdin after the result.
async fn play(program: PathBuf, api: &str, folder: &Path, prompt: &str) -> Result<Heard> {
    let home = tempfile::tempdir()?;
    let mut command = Command::new(program);
    command
        .args(["-p", "--input-format=stream-json", "--output-format=stream-json", "--verbose"])
        .args(["--replay-user-messages", "--permission-prompt-tool=stdio"])
        .arg(format!("--session-id={SESSION}"))
        .arg("--allowedTools=Read,Edit,Write,Glob,Grep,Bash(git:*),TodoWrite")
        .current_dir(folder)
        .env_clear()
        .envs(against(api))
        .env("HOME", home.path())
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    let child = command.spawn().context("claude does not start")?;
    timeout(PATIENCE, converse(child, prompt)).await.context("claude does not end")?
}

async fn converse(mut child: Child, prompt: &str) -> Result<Heard> {
    let mut stdin = child.stdin.take();
    let line = json!({
        "type": "user", "uuid": UUID, "session_id": "", "parent_tool_use_id": null,
        "message": {"role": "user", "content": [{"type": "text", "text": prompt}]},
    });
    let mut events = Vec::new();
    let mut tell = Some(line);
    let mut lines = BufReader::new(child.stdout.take().context("no stdout")?).lines();
    loop {
        if let (Some(line), Some(stdin)) = (tell.take(), &mut stdin) {
            stdin.write_all(format!("{line}\n").as_bytes()).await?;
        }
        let Some(line) = lines.next_line().await? else { break };
        let event: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
        match event["type"].as_str() {
            Some("control_request") => tell = Some(denial(&event)),
            Some("result") => stdin = None,
            Some(_) => {}
            None => bail!("an event without a type: {line}"),
        }
        events.push(essence(&event));
    }
    Ok((events, child.wait().await?.code()))
}

fn denial(request: &Value) -> Value {
    json!({"type": "control_response", "response": {
        "subtype": "success",
        "request_id": request["request_id"],
        "response": {"behavior": "deny", "message": "This is not allowed here.", "interrupt": false},
    }})
}

/// What a runner reads of an event.
fn essence(event: &Value) -> Value {
    let kind = event["type"].as_str().unwrap_or_default();
    let keys: &[&str] = match kind {
        "command_lifecycle" => &["command_uuid", "state", "session_id"],
        "system" => &["subtype", "cwd", "session_id", "permissionMode"],
        "user" => &["uuid", "isReplay", "session_id"],
        "assistant" => &["session_id", "is_api_error_message"],
        "control_request" => &[],
        "control_response" => &["response"],
        "result" => &[
            "subtype",
            "is_error",
            "result",
            "num_turns",
            "session_id",
            "terminal_reason",
            "api_error_status",
            "stop_reason",
        ],
        _ => return event.clone(),
    };
    let mut essence = json!({"type": kind});
    for key in keys {
        // The uuid of a line that is not ours is drawn by lot.
        if event.get(key).is_some() && (*key != "uuid" || event[key] == UUID) {
            essence[*key] = event[key].clone();
        }
    }
    let blocks = event["message"]["content"].as_array().into_iter().flatten();
    let blocks: Vec<Value> = blocks.map(block).collect();
    match kind {
        "user" | "assistant" => essence["content"] = Value::from(blocks),
        "control_request" => {
            let request = &event["request"];
            for key in ["subtype", "tool_name", "input"] {
                essence[key] = request[key].clone();
            }
        }
        "control_response" => {
            essence["response"]["request_id"] = Value::Null;
        }
        "result" => {
            let denials = event["permission_denials"].as_array().into_iter().flatten();
            let denials = denials.map(|it| json!([it["tool_name"], it["tool_input"]]));
            essence["permission_denials"] = denials.collect();
        }
        _ => {}
    }
    essence
}

/// A content block without its ids.
fn block(block: &Value) -> Value {
    let mut block = block.clone();
    if let Some(block) = block.as_object_mut() {
        for key in ["id", "tool_use_id", "signature", "caller"] {
            block.remove(key);
        }
    }
    block
}

/// Compares, and gives the types of the events.
async fn both_say_the_same(prompt: &str) -> Result<Vec<String>> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path().canonicalize()?;
    let directory = folder.join("project");
    project::repository(&directory)?;
    let api = Sim::start(Options::default()).await?;
    let real = play(claude()?, &api.url(), &directory, prompt).await?;
    let simulated = play(built("claude-sim")?, &api.url(), &directory, prompt).await?;
    for (number, (real, simulated)) in real.0.iter().zip(&simulated.0).enumerate() {
        assert_eq!(real, simulated, "event {number}: the real one stands first");
    }
    assert_eq!(real.0.len(), simulated.0.len(), "{:#?}\n{:#?}", real.0, simulated.0);
    assert_eq!(real.1, simulated.1, "the exit codes");
    let types = real.0.iter().map(|event| event["type"].as_str().unwrap_or_default().to_owned());
    Ok(types.collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_the_same() -> Result<()> {
    let types = both_say_the_same("what is it? [[say one]] [[say two]]").await?;
    let turn = ["command_lifecycle", "command_lifecycle", "system", "user", "assistant", "result"];
    assert_eq!(types[..turn.len()], turn);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_allowed_and_denied_are_the_same() -> Result<()> {
    let look = json!({"command": "git rev-parse --abbrev-ref HEAD", "description": "The branch"});
    let touch = json!({"command": "touch x", "description": "Make a file"});
    let script = format!(
        "[[say I look]] [[tool Bash {look}]] [[think hm]] [[tool Bash {touch}]] [[say {{result}}]]"
    );
    let types = both_say_the_same(&script).await?;
    assert_eq!(types.iter().filter(|it| *it == "control_request").count(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_the_api_is_the_same() -> Result<()> {
    let types = both_say_the_same("[[error 400 not today]]").await?;
    assert!(types.contains(&"result".to_owned()));
    Ok(())
}
