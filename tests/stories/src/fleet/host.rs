//! What somebody at the runner's host sees at the shell: what is at work, its tmux session, its journal.

use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use harness::{Part, Question, World};
use serde_json::{Value, json};

use super::column;

/// What a command of the runner printed, which went well.
async fn printed(world: &World, words: &[&str]) -> Result<String> {
    let output = world.runner_command(words).await?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{words:?}: {said}");
    Ok(String::from_utf8(output.stdout)?)
}

async fn listed(world: &World) -> Result<Value> {
    serde_json::from_str(&printed(world, &["list", "--json"]).await?).context("no JSON")
}

async fn refused(world: &World, words: &[&str]) -> Result<String> {
    let output = world.runner_command(words).await?;
    ensure!(!output.status.success(), "{words:?} was carried out");
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

/// A question whose claude uses a tool until the gate `tool` is open.
async fn in_a_tool(world: &World) -> Result<Question<'_>> {
    let gate = world.folder().gates().join("tool");
    let command = format!("until [ -e {} ]; do sleep 0.1; done", gate.display());
    let tool = json!({"command": command, "description": "wait"});
    let question = world.say(&format!("[[tool Bash {tool}]] [[say the answer]]"))?;
    world.notes("the tool", |ledger| ledger.count("tool") == 1).await?;
    Ok(question)
}

/// The list has the run, and what there is to see of it can be seen.
async fn is_seen_at_work(world: &World, question: Question<'_>) -> Result<()> {
    let (run, thread) = (format!("m{}", question.message()), question.thread().to_string());
    let list = listed(world).await?;
    assert_eq!(list["runner"], "host");
    assert_eq!(column(&list, "runs", "run"), [run.as_str()]);
    assert_eq!(column(&list, "runs", "thread"), [thread.as_str()]);
    assert_eq!(column(&list, "runs", "state"), ["running"]);
    assert_eq!(column(&list, "runs", "session"), [format!("{run}-1-1")]);
    let table = printed(world, &["list"]).await?;
    assert!(
        table.contains(&run) && table.contains(&thread) && table.contains("running"),
        "{table}"
    );
    let log = printed(world, &["logs", &run]).await?;
    assert!(log.contains("Bash until [ -e") && !log.contains('\u{1b}'), "{log}");
    let terminal = world.runner_terminal(&["attach", &thread]).await?;
    world.until("the tool on the screen", || terminal.screen().contains("Bash until [ -e")).await?;
    // It looks on and does not take part: keys reach nobody, but for those that leave.
    terminal.press(&["C-c", "C-b", "d"]);
    world.until("the end of looking on", || terminal.ended() == Some(0)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_at_work_is_listed_shown_and_followed_with_and_without_the_service() -> Result<()> {
    let world = World::builder().tools(&["Bash"]).start().await?;
    assert_eq!(listed(&world).await?["runs"], json!([]));
    let question = in_a_tool(&world).await?;
    let run = format!("m{}", question.message());
    is_seen_at_work(&world, question).await?;
    world.kill_runner().await?;
    is_seen_at_work(&world, question).await?;
    world.start_runner().await?;
    let mut plan = world.plan(Part::Runner).await;
    plan.args.pop();
    plan.args.extend(["logs".into(), run.clone().into(), "--follow".into()]);
    let mut follows = plan.command()?;
    let follows = follows.stdout(Stdio::piped()).spawn().context("logs does not start")?;
    world.release("tool")?;
    assert_eq!(question.answer().await?, "the answer");
    let followed = tokio::task::spawn_blocking(|| follows.wait_with_output());
    let output = world.within("the end of logs", followed).await???;
    let log = String::from_utf8(output.stdout)?;
    assert!(output.status.success() && log.contains("the answer"), "{log}");
    // The killed runner had the work's delivery; the next one is acknowledged at once.
    world.deliver_again().await?;
    world.nothing_is_left().await?;
    assert_eq!(listed(&world).await?["runs"], json!([]));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_at_work_here_is_said_with_what_to_do() -> Result<()> {
    let world = World::builder().without_runner().start().await?;
    assert_eq!(listed(&world).await?["runs"], json!([]), "before its first start");
    world.start_runner().await?;
    for (words, expected) in [
        (["attach", "7"], "nothing of the thread 7 is at work on host; `runner-svc list`"),
        (["logs", "m7"], "m7 is not at work on host"),
        (["attach", "x"], "is not a ThreadId"),
        (["logs", "7"], "is not a RunId"),
    ] {
        let why = refused(&world, &words).await?;
        assert!(why.contains(expected), "{words:?}: {why}");
    }
    assert!(world.runner_command(&["drain"]).await?.status.success());
    assert_eq!(listed(&world).await?["draining"], true);
    assert!(printed(&world, &["list"]).await?.contains("takes no new work"));
    Ok(())
}
