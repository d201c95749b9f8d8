//! The services die at each point of what people order: a press, a command, a message that is sent into a
//! run.

use anyhow::{Result, anyhow};
use harness::{Builder, Question, World};
use serde_json::json;

use super::runner::dies;
use crate::asking::{asks, click};
use crate::steering::has_read_both;

/// A command whose gateway dies when it is stored is told about once, and the thread goes on.
async fn a_command_survives(point: &str, command: &str, told: &str) -> Result<()> {
    let world = World::builder().without_gateway().start().await?;
    world.start_gateway_to_die_at(point).await?;
    let question = world.say("[[say the answer]]")?;
    assert_eq!(question.answer().await?, "the answer");
    let command = question.follow_up(command).await?;
    world.gateway_dies().await?;
    world.start_gateway().await?;
    let line = command.refusal().await?;
    assert!(line.starts_with(told), "{line}");
    let next = question.follow_up("[[say the second]]").await?;
    assert_eq!(next.mark().await?, "✅");
    let said = question.said_in_thread()?;
    let lines = said.iter().filter(|it| it.starts_with(told)).count();
    assert_eq!(lines, 1, "{said:?}");
    world.nothing_is_left().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_at_the_queue_survives_a_death_after_it_is_stored() -> Result<()> {
    a_command_survives("queue.stored", "!queue", "Nothing waits in this thread.").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_by_command_survives_a_death_after_it_is_stored() -> Result<()> {
    a_command_survives("restart.stored", "!restart", "The next question begins a fresh").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_survives_a_death_after_it_is_stored() -> Result<()> {
    a_command_survives("model.stored", "!model opus", "This thread's model is **opus**").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_survives_a_death_after_it_is_stored() -> Result<()> {
    a_command_survives("fork.stored", "!fork", "The fork begins as a thread of its own").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_diff_survives_a_death_after_it_is_stored() -> Result<()> {
    let world = World::builder().without_gateway().start().await?;
    world.start_gateway_to_die_at("diff.stored").await?;
    let question = world.say("[[say the answer]]")?;
    assert_eq!(question.answer().await?, "the answer");
    let diff = question.follow_up("!diff").await?;
    world.gateway_dies().await?;
    world.start_gateway().await?;
    assert_eq!(diff.answer().await?, "Nothing has changed in the worktree of this conversation.");
    world.nothing_is_left().await
}

/// Discord has the message that a fork begins with, and the gateway dies before it knows its id.
#[tokio::test(flavor = "multi_thread")]
async fn a_fork_begins_once_when_the_gateway_dies_before_it_knows_its_thread() -> Result<()> {
    let world = World::start().await?;
    let question = world.say("my number is seven [[say noted]]")?;
    assert_eq!(question.answer().await?, "noted");
    world.stop_gateway().await?;
    question.follow_up("!fork").await?;
    world.start_gateway_to_die_at("post.sent").await?;
    world.gateway_dies().await?;
    world.start_gateway().await?;
    let fork = crate::forks::forked(&world, question).await?;
    let there = world.say_in(fork, "alice", "[[recall]]")?;
    assert_eq!(there.mark().await?, "✅");
    let said = there.said_in_thread()?;
    assert!(said.iter().any(|it| it.contains("my number is seven")), "{said:?}");
    let in_channel = world.discord().messages(world.channel());
    let begun = in_channel.iter().filter(|it| it.content.starts_with("🍴")).count();
    assert_eq!(begun, 1);
    world.nothing_is_left().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_from_a_terminal_survives_a_death_after_it_is_stored() -> Result<()> {
    let world = World::builder().without_gateway().start().await?;
    world.start_gateway_to_die_at("resume.stored").await?;
    let resume = world.say("!resume 0c6f8d1e-4a57-4c7b-9a50-9d2ad0a1c111")?;
    world.gateway_dies().await?;
    world.start_gateway().await?;
    let line = resume.refusal().await?;
    assert!(line.starts_with("The next question here goes on with the session"), "{line}");
    let next = resume.follow_up("[[say the answer]]").await?;
    assert!(next.failure().await?.contains("There is no session"));
    world.nothing_is_left().await
}

fn patient() -> Builder {
    let patience = std::time::Duration::from_secs(80);
    World::builder().status().tools(&["Bash"]).discord(|it| it.interaction_window = patience)
}

/// Whoever pressed hears nothing any more; what was pressed counts.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_by_button_survives_a_death_after_it_is_stored() -> Result<()> {
    let world = patient().without_gateway().start().await?;
    world.start_gateway_to_die_at("press.stored").await?;
    let question = world.say(super::AT_WORK)?;
    world.reached("go").await?;
    asks(&world, question, "Stop").await?.press(&world, "alice")?;
    world.gateway_dies().await?;
    world.start_gateway().await?;
    assert_eq!(question.mark().await?, "⏹️");
    world.nothing_is_left().await
}

/// A question whose claude is at a tool until the gate `tool` is open, and one that waits behind it.
async fn one_waits(world: &World) -> Result<(Question<'_>, Question<'_>)> {
    let gate = world.folder().gates().join("tool");
    let command = format!("until [ -e {} ]; do sleep 0.1; done", gate.display());
    let tool = json!({"command": command, "description": "wait"});
    let question =
        world.say(&format!("[[think hm]] [[tool Bash {tool}]] [[say heard {{steer}}]]"))?;
    world.notes("the tool", |ledger| ledger.count("tool") == 1).await?;
    Ok((question, question.follow_up("faster, please").await?))
}

/// It was told once and is not run as well.
async fn is_part_of_it(world: &World, both: (Question<'_>, Question<'_>)) -> Result<()> {
    has_read_both(world).await?;
    world.release("tool")?;
    assert_eq!(both.0.mark().await?, "✅");
    assert_eq!(both.1.mark().await?, "✅");
    let ledger = world.ledger();
    assert_eq!(ledger.count("begin"), 1);
    let told = ledger.prompts().iter().filter(|it| **it == "faster, please").count();
    assert_eq!(told, 1);
    let said = both.0.said_in_thread()?;
    let answers = said.iter().filter(|it| *it == "heard faster, please").count();
    if answers != 1 {
        return Err(anyhow!("{said:?}"));
    }
    world.nothing_is_left().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_into_a_run_survives_a_death_after_it_is_stored() -> Result<()> {
    let world = patient().without_gateway().start().await?;
    world.start_gateway_to_die_at("steer.stored").await?;
    let both = one_waits(&world).await?;
    asks(&world, both.0, "Send now").await?.press(&world, "alice")?;
    world.gateway_dies().await?;
    world.start_gateway().await?;
    is_part_of_it(&world, both).await
}

async fn sent_while_the_runner_dies_at(point: &str) -> Result<()> {
    let world = patient().without_runner().start().await?;
    world.start_runner_to_die_at(point).await?;
    let both = one_waits(&world).await?;
    let send = asks(&world, both.0, "Send now").await?;
    click(&world, "alice", &send).await?;
    dies(&world).await?;
    world.start_runner().await?;
    is_part_of_it(&world, both).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_into_a_run_survives_a_death_before_claude_is_told() -> Result<()> {
    sent_while_the_runner_dies_at("steer.seen").await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_into_a_run_survives_a_death_after_claude_is_told() -> Result<()> {
    sent_while_the_runner_dies_at("steer.told").await
}
