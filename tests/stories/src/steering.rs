//! Buttons on what shows a run: it is stopped, and what waits behind it is dropped or sent into it; once,
//! and over every restart.

use std::fs;
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::discord_sim::{BOT_ID, FaultKind, FaultRule, View};
use harness::{Builder, Claude, People, Question, World};
use serde_json::json;

use crate::asking::{asks, click};

/// A world that shows what becomes of runs, and waits for a busy machine.
fn world() -> Builder {
    let patience = Duration::from_secs(80);
    let world = World::builder().status().tools(&["Bash"]);
    world.discord(|it| it.interaction_window = patience)
}

/// A call of a tool that lasts until the gate is open, and an answer that says what was said meanwhile.
fn at_a_tool(world: &World, gate: &str) -> String {
    let gate = world.folder().gates().join(gate);
    let command = format!("until [ -e {} ]; do sleep 0.1; done", gate.display());
    let tool = json!({"command": command, "description": "wait"});
    format!("[[think hm]] [[tool Bash {tool}]] [[say heard {{steer}}]]")
}

/// Claude has called the tool.
async fn is_at_the_tool(world: &World) -> Result<()> {
    world.notes("the tool", |ledger| ledger.count("tool") == 1).await
}

/// Waits until claude has read what was sent into its run, beside the question: it says so itself.
pub(crate) async fn has_read_both(world: &World) -> Result<()> {
    let is_read =
        |line: &&str| line.contains("\"command_lifecycle\"") && line.contains("\"queued\"");
    let read = || {
        let spools = world.spools().unwrap_or_default();
        let journals = spools.into_iter().map(|spool| spool.join("journal"));
        let texts = journals.filter_map(|journal| fs::read(journal).ok());
        texts.map(|it| String::from_utf8_lossy(&it).lines().filter(is_read).count()).sum::<usize>()
    };
    world.until("a second line that claude has read", || read() == 2).await
}

/// The services die and come back.
async fn all_restart(world: &World) -> Result<()> {
    world.kill_gateway().await?;
    world.kill_runner().await?;
    world.start_runner().await?;
    world.start_gateway().await
}

/// What was sent became part of the run: it was told once and is not run as well.
async fn is_part_of_the_run(
    world: &World,
    question: Question<'_>,
    sent: Question<'_>,
) -> Result<()> {
    assert_eq!(question.mark().await?, "✅");
    assert_eq!(sent.mark().await?, "✅");
    let said = question.said_in_thread()?;
    let answers = said.iter().filter(|it| it.contains("heard faster, please")).count();
    ensure!(answers == 1, "{said:?}");
    let next = question.follow_up("[[say the next]]").await?;
    assert_eq!(next.mark().await?, "✅");
    let said = question.said_in_thread()?;
    ensure!(said.last().is_some_and(|it| it == "the next"), "{said:?}");
    world.nothing_is_left().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_stopped_by_the_button_under_what_shows_it() -> Result<()> {
    let world = world().start().await?;
    let question = world.say("[[think hm]] [[wait go]] [[say the answer]]")?;
    world.reached("go").await?;
    let stop = asks(&world, question, "Stop").await?;
    assert_eq!(click(&world, "bob", &stop).await?, "Stopping it.");
    assert_eq!(question.mark().await?, "⏹️");
    assert!(question.said_in_thread()?.contains(&"⏹️ Stopped by bob.".to_owned()));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_by_button_of_the_time_without_a_runner_outlives_both_services() -> Result<()> {
    let world = world().start().await?;
    let question = world.say("[[think hm]] [[wait go]] [[say the answer]]")?;
    world.reached("go").await?;
    let stop = asks(&world, question, "Stop").await?;
    world.kill_runner().await?;
    let line = click(&world, "bob", &stop).await?;
    assert!(line.starts_with("Stopping it."), "{line}");
    world.kill_gateway().await?;
    world.start_runner().await?;
    world.start_gateway().await?;
    assert_eq!(question.mark().await?, "⏹️");
    assert_eq!(world.ledger().count("begin"), 1);
    world.nothing_is_left().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_claude_is_stopped_by_the_button_over_a_restart() -> Result<()> {
    let world = world().claude(Claude::Real).start().await?;
    let question = world.say(&at_a_tool(&world, "tool"))?;
    let stop = asks(&world, question, "Stop").await?;
    world.kill_runner().await?;
    let line = click(&world, "bob", &stop).await?;
    assert!(line.starts_with("Stopping it."), "{line}");
    world.kill_gateway().await?;
    world.start_runner().await?;
    world.start_gateway().await?;
    assert_eq!(question.mark().await?, "⏹️");
    assert!(question.said_in_thread()?.contains(&"⏹️ Stopped by bob.".to_owned()));
    let next = question.follow_up("[[recall]]").await?.answer().await?;
    assert!(next.contains("[[think hm]]"), "the conversation goes on: {next}");
    Ok(())
}

/// The message stays behind for whoever looks at an old screen.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_button_of_a_run_that_has_ended_says_so_and_stops_nothing() -> Result<()> {
    let world = world().start().await?;
    let message = "/channels/{id}/messages/{id}";
    let stays = FaultRule::once("DELETE", message, FaultKind::StatusBefore(503)).times(1000);
    let question = world.say("[[think hm]] [[wait go]] [[say the answer]]")?;
    world.reached("go").await?;
    let stop = asks(&world, question, "Stop").await?;
    world.discord().fault(stays);
    world.release("go")?;
    assert_eq!(question.mark().await?, "✅");
    let line = "It is not at work any more; nothing was done.";
    assert_eq!(click(&world, "alice", &stop).await?, line);
    assert!(question.said_in_thread()?.iter().all(|it| !it.contains("Stopped by")));
    world.discord().clear_faults();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_waits_is_sent_into_the_run_and_not_run_as_well() -> Result<()> {
    let world = world().start().await?;
    let question = world.say(&at_a_tool(&world, "tool"))?;
    is_at_the_tool(&world).await?;
    let waits = question.follow_up("faster, please").await?;
    let send = asks(&world, question, "Send now").await?;
    assert_eq!(click(&world, "bob", &send).await?, "Sent: claude is told this at its next step.");
    has_read_both(&world).await?;
    world.release("tool")?;
    is_part_of_the_run(&world, question, waits).await?;
    let line = "-# ↪️ bob sent this into the run at work.".to_owned();
    assert!(question.said_in_thread()?.contains(&line));
    assert_eq!(world.ledger().count("begin"), 2, "the next one is the second");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_into_a_run_outlives_both_services() -> Result<()> {
    let world = world().start().await?;
    let question = world.say(&at_a_tool(&world, "tool"))?;
    is_at_the_tool(&world).await?;
    let waits = question.follow_up("faster, please").await?;
    let send = asks(&world, question, "Send now").await?;
    world.kill_runner().await?;
    click(&world, "alice", &send).await?;
    all_restart_but_the_runner(&world).await?;
    all_restart(&world).await?;
    has_read_both(&world).await?;
    world.release("tool")?;
    is_part_of_the_run(&world, question, waits).await?;
    let steers = world.ledger().prompts().iter().filter(|it| **it == "faster, please").count();
    assert_eq!(steers, 1);
    Ok(())
}

/// The gateway dies, and the runner that was dead is there again.
async fn all_restart_but_the_runner(world: &World) -> Result<()> {
    world.kill_gateway().await?;
    world.start_runner().await?;
    world.start_gateway().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_claude_takes_what_is_sent_into_its_run_over_a_restart() -> Result<()> {
    let world = world().claude(Claude::Real).start().await?;
    let question = world.say(&at_a_tool(&world, "tool"))?;
    asks(&world, question, "Stop").await?;
    let waits = question.follow_up("faster, please").await?;
    let send = asks(&world, question, "Send now").await?;
    click(&world, "alice", &send).await?;
    all_restart(&world).await?;
    has_read_both(&world).await?;
    world.release("tool")?;
    is_part_of_the_run(&world, question, waits).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_when_the_run_has_ended_is_answered_in_its_turn() -> Result<()> {
    let world = world().start().await?;
    let question = world.say("[[think hm]] [[wait go]] [[say the answer]]")?;
    world.reached("go").await?;
    let waits = question.follow_up("[[say the second]]").await?;
    let send = asks(&world, question, "Send now").await?;
    world.kill_runner().await?;
    world.release("go")?;
    world.notes("the result", |ledger| ledger.count("result") == 1).await?;
    let line = "Sent: claude is told this at its next step.";
    assert_eq!(click(&world, "alice", &send).await?, line);
    world.kill_gateway().await?;
    world.start_runner().await?;
    world.start_gateway().await?;
    assert_eq!(question.mark().await?, "✅");
    assert_eq!(waits.mark().await?, "✅");
    let said = question.said_in_thread()?;
    let once = |words: &str| said.iter().filter(|it| **it == words).count() == 1;
    let back = "-# The run ended before claude read this; it is answered in its turn.";
    ensure!(once("the answer") && once(back) && once("the second"), "{said:?}");
    world.nothing_is_left().await
}

/// Claude gives its answer, and then one to what was sent while it gave it: both are told.
#[tokio::test(flavor = "multi_thread")]
async fn what_claude_reads_after_its_answer_is_answered_in_the_same_run() -> Result<()> {
    let world = world().start().await?;
    let question = world.say("[[think hm]] [[wait go]] [[say the answer]]")?;
    world.reached("go").await?;
    let waits = question.follow_up("[[say the second]]").await?;
    let send = asks(&world, question, "Send now").await?;
    click(&world, "alice", &send).await?;
    has_read_both(&world).await?;
    world.release("go")?;
    assert_eq!(question.mark().await?, "✅");
    assert_eq!(waits.mark().await?, "✅");
    let said = question.said_in_thread()?;
    assert_eq!(said.last().map(String::as_str), Some("the answer\n\nthe second"), "{said:?}");
    assert_eq!(world.ledger().count("begin"), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_into_a_run_that_is_stopped_is_answered_in_its_turn() -> Result<()> {
    let world = world().start().await?;
    let question = world.say("[[think hm]] [[wait go]] [[say the answer]]")?;
    world.reached("go").await?;
    let waits = question.follow_up("[[say the second]]").await?;
    let send = asks(&world, question, "Send now").await?;
    click(&world, "alice", &send).await?;
    let stop = asks(&world, question, "Stop").await?;
    click(&world, "alice", &stop).await?;
    assert_eq!(question.mark().await?, "⏹️");
    assert_eq!(waits.mark().await?, "✅");
    let said = question.said_in_thread()?;
    assert_eq!(said.last().map(String::as_str), Some("the second"), "{said:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_waits_no_more_is_not_sent() -> Result<()> {
    let world = world().start().await?;
    let question = world.say("[[think hm]] [[wait go]] [[say the answer]]")?;
    world.reached("go").await?;
    let waits = question.follow_up("[[say the second]]").await?;
    let send = asks(&world, question, "Send now").await?;
    let drop = asks(&world, question, "Drop").await?;
    assert_eq!(click(&world, "bob", &drop).await?, "It was still waiting; it is dropped.");
    assert_eq!(waits.mark().await?, "⏹️");
    if let Ok(line) = click(&world, "alice", &send).await {
        assert_eq!(line, "It does not wait any more; nothing was done.");
    }
    world.release("go")?;
    assert_eq!(question.mark().await?, "✅");
    assert_eq!(world.ledger().count("begin"), 1);
    Ok(())
}

/// Claude has taken it, and the run is stopped before its answer: both are tried again together.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_into_a_run_that_is_tried_again_is_said_again() -> Result<()> {
    let world = world().start().await?;
    let wait = |gate: &str| {
        let gate = world.folder().gates().join(gate);
        let command = format!("until [ -e {} ]; do sleep 0.1; done", gate.display());
        format!("[[tool Bash {}]]", json!({"command": command, "description": "wait"}))
    };
    let script = format!("[[think hm]] {} {} [[say the answer]]", wait("one"), wait("two"));
    let question = world.say(&script)?;
    is_at_the_tool(&world).await?;
    let waits = question.follow_up("faster, please").await?;
    let send = asks(&world, question, "Send now").await?;
    click(&world, "alice", &send).await?;
    has_read_both(&world).await?;
    world.release("one")?;
    world.notes("the second tool", |ledger| ledger.count("tool") == 2).await?;
    let stop = asks(&world, question, "Stop").await?;
    click(&world, "alice", &stop).await?;
    assert_eq!(question.mark().await?, "⏹️");
    assert_eq!(waits.mark().await?, "⏹️");
    all_restart(&world).await?;
    world
        .until("the end of the first attempt", || {
            world.spools().is_ok_and(|spools| spools.is_empty())
        })
        .await?;
    let again = asks(&world, question, "Retry").await?;
    assert_eq!(click(&world, "bob", &again).await?, "Trying again.");
    has_read_both(&world).await?;
    world.release("two")?;
    let told = |ledger: &harness::Ledger| {
        ledger.prompts().iter().filter(|it| **it == "faster, please").count() == 2
    };
    world.notes("that it is told again", told).await?;
    for answered in [question, waits] {
        let has_mark = |view: &View<'_>| {
            let message = view.guild.message(answered.message())?;
            message.has_reaction(BOT_ID, "✅").then_some(())
        };
        world.sees("✅", has_mark).await?;
    }
    let said = question.said_in_thread()?;
    ensure!(said.last().is_some_and(|it| it.starts_with("the answer")), "{said:?}");
    world.nothing_is_left().await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_use_the_project_may_neither_stop_nor_send_nor_drop() -> Result<()> {
    let world = world().people(People::User("alice".into())).start().await?;
    let question = world.say("[[think hm]] [[wait go]] [[say the answer]]")?;
    world.reached("go").await?;
    let waits = question.follow_up("[[say the second]]").await?;
    for label in ["Stop", "Send now", "Drop"] {
        let button = asks(&world, question, label).await?;
        assert_eq!(click(&world, "bob", &button).await?, "You may not decide this.", "{label}");
    }
    world.release("go")?;
    assert_eq!(question.mark().await?, "✅");
    assert_eq!(waits.mark().await?, "✅");
    assert_eq!(world.ledger().count("begin"), 2);
    Ok(())
}
