//! Something ends in the middle of a run, and is there again: the answer comes, and comes once.

use anyhow::Result;
use harness::discord_sim::{FaultKind, FaultRule};
use harness::{Question, World, processes};

use crate::scene::in_the_middle;

/// The answer comes once, from the claude that was begun; a second answer behind it proves that no
/// more is to come.
async fn is_answered_once(world: &World, question: Question<'_>) -> Result<()> {
    assert_eq!(question.answer().await?, "the answer");
    assert_eq!(world.ledger().count("begin"), 1, "claude was started again");
    let follow_up = question.follow_up("[[say the second]]").await?;
    assert_eq!(follow_up.answer().await?, "the second");
    assert_eq!(question.said_in_thread()?, ["the answer", "the second"]);
    assert_eq!(world.ledger().prompts().len(), 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_goes_on_while_the_runner_is_stopped() -> Result<()> {
    let world = World::start().await?;
    let question = in_the_middle(&world).await?;
    world.stop_runner().await?;
    world.release("go")?;
    world.notes("the result", |ledger| ledger.count("result") == 1).await?;
    world.start_runner().await?;
    is_answered_once(&world, question).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_is_started_again_follows_the_run() -> Result<()> {
    let world = World::start().await?;
    let question = in_the_middle(&world).await?;
    world.stop_runner().await?;
    world.start_runner().await?;
    world.release("go")?;
    is_answered_once(&world, question).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_survives_a_killed_runner() -> Result<()> {
    let world = World::start().await?;
    let question = in_the_middle(&world).await?;
    world.kill_runner().await?;
    world.release("go")?;
    world.start_runner().await?;
    is_answered_once(&world, question).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_survives_a_stopped_gateway() -> Result<()> {
    let world = World::start().await?;
    let question = in_the_middle(&world).await?;
    world.stop_gateway().await?;
    world.release("go")?;
    world.is_quiet().await?;
    world.start_gateway().await?;
    is_answered_once(&world, question).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_survives_a_killed_gateway() -> Result<()> {
    let world = World::start().await?;
    let question = in_the_middle(&world).await?;
    world.kill_gateway().await?;
    world.release("go")?;
    world.start_gateway().await?;
    is_answered_once(&world, question).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_killed_before_it_opened_the_thread_opens_it_later() -> Result<()> {
    let world = World::start().await?;
    let no_thread = FaultRule::once("POST", "/threads", FaultKind::StatusBefore(503));
    world.discord().fault(no_thread.times(1000));
    let question = world.say("[[say the answer]]")?;
    question.is_seen().await?;
    world.kill_gateway().await?;
    world.start_gateway().await?;
    world.discord().clear_faults();
    is_answered_once(&world, question).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_survives_a_killed_bus() -> Result<()> {
    let world = World::start().await?;
    let question = in_the_middle(&world).await?;
    world.kill_nats().await?;
    world.release("go")?;
    world.notes("the result", |ledger| ledger.count("result") == 1).await?;
    world.start_nats().await?;
    is_answered_once(&world, question).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_of_the_time_without_a_gateway_is_answered() -> Result<()> {
    let world = World::start().await?;
    world.stop_gateway().await?;
    let question = world.say("[[say the answer]]")?;
    world.start_gateway().await?;
    is_answered_once(&world, question).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_waits_for_the_runner() -> Result<()> {
    let world = World::start().await?;
    world.stop_runner().await?;
    let question = world.say("[[say the answer]]")?;
    question.is_seen().await?;
    world.start_runner().await?;
    is_answered_once(&world, question).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_from_before_the_first_runner_is_answered() -> Result<()> {
    let world = World::builder().without_runner().start().await?;
    let question = world.say("[[say the answer]]")?;
    question.is_seen().await?;
    world.start_runner().await?;
    is_answered_once(&world, question).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_survives_the_end_of_tmux() -> Result<()> {
    let world = World::start().await?;
    let question = in_the_middle(&world).await?;
    processes::end_tmux(&world.folder().tmux());
    world.release("go")?;
    is_answered_once(&world, question).await
}

/// Kills the process of this run whose command line begins so.
async fn kill(world: &World, beginning: &str) {
    let below = world.processes().await;
    let found = below.iter().find(|process| process.command.starts_with(beginning));
    let found = found.unwrap_or_else(|| panic!("no {beginning} among {below:?}"));
    processes::kill(found.pid);
}

/// The run begins anew and is answered once, though claude heard the question twice.
async fn is_answered_anew(world: &World, question: Question<'_>) -> Result<()> {
    world.notes("a second claude", |ledger| ledger.count("wait") == 2).await?;
    world.release("go")?;
    assert_eq!(question.answer().await?, "the answer");
    assert_eq!(world.ledger().count("result"), 1);
    let follow_up = question.follow_up("[[say the second]]").await?;
    assert_eq!(follow_up.answer().await?, "the second");
    assert_eq!(question.said_in_thread()?, ["the answer", "the second"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_survives_a_killed_claude() -> Result<()> {
    let world = World::start().await?;
    let question = in_the_middle(&world).await?;
    let claude = harness::built("claude-sim")?;
    kill(&world, &claude.display().to_string()).await;
    is_answered_anew(&world, question).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_survives_a_killed_keeper() -> Result<()> {
    let world = World::start().await?;
    let question = in_the_middle(&world).await?;
    kill(&world, "holdfast-keeper").await;
    is_answered_anew(&world, question).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_survives_a_killed_guard() -> Result<()> {
    let world = World::start().await?;
    let question = in_the_middle(&world).await?;
    kill(&world, "holdfast-guard").await;
    is_answered_anew(&world, question).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_gateway_on_the_same_file_is_refused_and_the_first_goes_on() -> Result<()> {
    let world = World::start().await?;
    let question = in_the_middle(&world).await?;
    let said = world.second_gateway().await?.is_refused()?;
    assert!(said.contains("another gateway has the store"), "{said}");
    assert!(said.contains("use PostgreSQL"), "{said}");
    world.release("go")?;
    is_answered_once(&world, question).await
}
