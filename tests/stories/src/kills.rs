//! What `kill -9` ends: claude, its keeper, the tmux server, a service; while a run waits, goes on
//! or ends. The answer comes, and comes once.

use anyhow::Result;
use harness::{World, processes};

use crate::scene::{at_the_end, claudes_for_the_answer, in_the_middle, is_answered_once};

/// Kills every process below this world whose command line begins so, and says how many there were.
pub(crate) async fn kill_all(world: &World, beginning: &str) -> usize {
    let below = world.processes().await;
    let found = below.iter().filter(|process| process.command.starts_with(beginning));
    found.map(|process| processes::kill(process.pid)).count()
}

pub(crate) async fn kill_claude(world: &World) -> Result<()> {
    let claude = harness::built("claude-sim")?.display().to_string();
    assert_ne!(kill_all(world, &claude).await, 0, "no claude was there");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_goes_on_after_its_tmux_server_was_killed() -> Result<()> {
    let world = World::start().await?;
    let question = in_the_middle(&world).await?;
    assert_ne!(kill_all(&world, "tmux").await, 0, "no tmux was there");
    world.release("go")?;
    is_answered_once(question).await?;
    assert_eq!(world.ledger().count("begin"), 2, "one for each question");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queued_run_begins_after_the_tmux_server_was_killed() -> Result<()> {
    let world = World::builder().slots(1).start().await?;
    let first = in_the_middle(&world).await?;
    let queued = world.say("[[say the queued]]")?;
    queued.is_seen().await?;
    assert_ne!(kill_all(&world, "tmux").await, 0, "no tmux was there");
    world.release("go")?;
    assert_eq!(queued.answer().await?, "the queued");
    is_answered_once(first).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_behind_a_killed_claude_is_answered_after_it() -> Result<()> {
    let world = World::start().await?;
    let first = in_the_middle(&world).await?;
    let second = first.follow_up("[[say the second]]").await?;
    second.is_seen().await?;
    kill_claude(&world).await?;
    world.release("go")?;
    assert_eq!(second.answer().await?, "the answer\nthe second");
    assert_eq!(first.said_in_thread()?, ["the answer", "the second"]);
    let ledger = world.ledger();
    assert_eq!((ledger.count("begin"), ledger.count("result")), (3, 2));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claude_that_dies_each_time_is_told_and_leaves_the_choice() -> Result<()> {
    let world = World::start().await?;
    let question = world.say("[[think hm]] [[die KILL]]")?;
    let reason = question.failure().await?;
    assert!(reason.contains("3 times"), "{reason}");
    let said = world.discord().messages(question.thread());
    let under: Vec<String> = said
        .iter()
        .filter(|message| message.content == reason)
        .flat_map(|message| &message.components)
        .map(ToString::to_string)
        .collect();
    assert_eq!(under.len(), 1, "one row of buttons: {under:?}");
    assert!(under[0].contains("\"Retry\"") && under[0].contains("\"Discard\""), "{under:?}");
    let next = question.follow_up("[[say the next]]").await?;
    assert_eq!(next.answer().await?, "the next");
    assert_eq!(question.said_in_thread()?, [reason, "the next".into()]);
    assert_eq!(world.ledger().count("begin"), 4);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claude_that_is_killed_without_a_runner_is_started_again() -> Result<()> {
    let world = World::start().await?;
    let question = in_the_middle(&world).await?;
    world.kill_runner().await?;
    kill_claude(&world).await?;
    world.release("go")?;
    world.start_runner().await?;
    is_answered_once(question).await?;
    assert_eq!(world.ledger().count("begin"), 3, "two for the first question");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_survives_that_all_of_its_host_is_killed() -> Result<()> {
    let world = World::start().await?;
    let question = in_the_middle(&world).await?;
    world.kill_runner().await?;
    while kill_all(&world, "").await != 0 {}
    world.release("go")?;
    world.start_runner().await?;
    is_answered_once(question).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_survives_that_everything_is_killed() -> Result<()> {
    let world = World::start().await?;
    let question = in_the_middle(&world).await?;
    let queued = question.follow_up("[[say the queued]]").await?;
    queued.is_seen().await?;
    world.kill_runner().await?;
    world.kill_gateway().await?;
    world.kill_nats().await?;
    while kill_all(&world, "").await != 0 {}
    world.release("go")?;
    world.start_nats().await?;
    world.start_runner().await?;
    world.start_gateway().await?;
    assert_eq!(queued.answer().await?, "the answer\nthe queued");
    assert_eq!(question.said_in_thread()?, ["the answer", "the queued"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keeper_that_is_killed_at_the_end_of_a_run_costs_no_answer() -> Result<()> {
    let world = World::start().await?;
    let question = at_the_end(&world).await?;
    // It may have ended by itself.
    kill_all(&world, "holdfast-keeper").await;
    is_answered_once(question).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_is_killed_at_the_end_of_a_run_costs_no_answer() -> Result<()> {
    let world = World::start().await?;
    let question = at_the_end(&world).await?;
    world.kill_runner().await?;
    world.start_runner().await?;
    is_answered_once(question).await?;
    assert_eq!(world.ledger().count("begin"), 2, "one for each question");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_killed_at_the_end_of_a_run_costs_no_answer() -> Result<()> {
    let world = World::start().await?;
    let question = at_the_end(&world).await?;
    world.kill_gateway().await?;
    world.start_gateway().await?;
    is_answered_once(question).await?;
    assert_eq!(world.ledger().count("begin"), 2, "one for each question");
    Ok(())
}

/// How often nats-server is killed while one run waits, begins, runs or ends.
const KILLS: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn a_bus_that_is_killed_again_and_again_costs_no_answer() -> Result<()> {
    let world = World::builder().scaled().start().await?;
    let held = in_the_middle(&world).await?;
    let mut asked = Vec::new();
    for number in 0..KILLS {
        // No wait: wherever the runs before are, the bus is gone.
        asked.push((number, world.say(&format!("[[say answer {number}]]"))?));
        world.kill_nats().await?;
        world.start_nats().await?;
    }
    for (number, question) in asked {
        assert_eq!(question.answer().await?, format!("answer {number}"));
        assert_eq!(question.said_in_thread()?, [format!("answer {number}")]);
    }
    world.release("go")?;
    assert_eq!(claudes_for_the_answer(&world, held).await?, KILLS + 1, "one for each question");
    Ok(())
}
