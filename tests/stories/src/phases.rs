//! `kill -9` of each part in each phase of a run, where no other file tells it: while a question
//! waits, while its answer is handed over, while it is posted; and parts that are back before the
//! run has ended. The answer comes, and comes once.

use anyhow::Result;
use harness::discord_sim::{FaultKind, FaultRule};
use harness::{Question, World, processes};

use crate::scene::{at_the_end, in_the_middle};

/// The route by which all is posted.
const POSTS: &str = "/channels/{id}/messages";

/// More requests than a story ever makes.
const ALL: u32 = 10_000;

/// One run is at work, and a second question waits behind it.
async fn with_a_queue(world: &World) -> Result<[Question<'_>; 2]> {
    let first = in_the_middle(world).await?;
    let second = first.follow_up("[[say the queued]]").await?;
    second.is_seen().await?;
    Ok([first, second])
}

async fn both_are_answered([first, second]: [Question<'_>; 2]) -> Result<()> {
    assert_eq!(second.answer().await?, "the answer\nthe queued");
    assert_eq!(first.said_in_thread()?, ["the answer", "the queued"]);
    Ok(())
}

/// The answer is due in Discord, and Discord takes no post.
async fn while_it_is_posted(world: &World) -> Result<Question<'_>> {
    let question = in_the_middle(world).await?;
    question.thread_name().await?;
    let no_posts = FaultRule::once("POST", POSTS, FaultKind::StatusBefore(503));
    world.discord().fault(no_posts.times(ALL));
    world.release("go")?;
    world
        .sees("a post that was refused", |view| {
            let posts = view.requests.get(&format!("POST {POSTS}")).copied();
            (posts.unwrap_or_default() != 0).then_some(())
        })
        .await?;
    Ok(question)
}

/// The answer comes once, from one claude; a second answer behind it proves that no more is to
/// come.
async fn is_answered_once(world: &World, question: Question<'_>) -> Result<()> {
    assert_eq!(question.answer().await?, "the answer");
    let follow_up = question.follow_up("[[say the second]]").await?;
    assert_eq!(follow_up.answer().await?, "the second");
    assert_eq!(question.said_in_thread()?, ["the answer", "the second"]);
    assert_eq!(world.ledger().count("result"), 2, "one for each question");
    Ok(())
}

/// Kills what there is of a program below this world; at the end of a run it may be gone already.
async fn kill_all(world: &World, beginning: &str) {
    for process in world.processes().await {
        if process.command.starts_with(beginning) {
            processes::kill(process.pid);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_survives_a_killed_runner() -> Result<()> {
    let world = World::start().await?;
    let both = with_a_queue(&world).await?;
    world.kill_runner().await?;
    world.start_runner().await?;
    world.release("go")?;
    both_are_answered(both).await?;
    assert_eq!(world.ledger().count("begin"), 2, "one for each question");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_survives_a_killed_keeper() -> Result<()> {
    let world = World::start().await?;
    let both = with_a_queue(&world).await?;
    kill_all(&world, "holdfast-keeper").await;
    world.release("go")?;
    both_are_answered(both).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_survives_a_killed_bus() -> Result<()> {
    let world = World::start().await?;
    let both = with_a_queue(&world).await?;
    world.kill_nats().await?;
    world.start_nats().await?;
    world.release("go")?;
    both_are_answered(both).await?;
    assert_eq!(world.ledger().count("begin"), 2, "one for each question");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claude_that_is_killed_after_its_result_costs_no_answer() -> Result<()> {
    let world = World::start().await?;
    let question = at_the_end(&world).await?;
    kill_all(&world, &harness::built("claude-sim")?.display().to_string()).await;
    is_answered_once(&world, question).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tmux_server_that_is_killed_at_the_end_of_a_run_costs_no_answer() -> Result<()> {
    let world = World::start().await?;
    let question = at_the_end(&world).await?;
    kill_all(&world, "tmux").await;
    is_answered_once(&world, question).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bus_that_is_killed_at_the_end_of_a_run_costs_no_answer() -> Result<()> {
    let world = World::start().await?;
    let question = at_the_end(&world).await?;
    world.kill_nats().await?;
    world.start_nats().await?;
    is_answered_once(&world, question).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_is_killed_while_its_answer_is_posted_changes_nothing() -> Result<()> {
    let world = World::start().await?;
    let question = while_it_is_posted(&world).await?;
    world.kill_runner().await?;
    world.discord().clear_faults();
    assert_eq!(question.answer().await?, "the answer");
    world.start_runner().await?;
    let follow_up = question.follow_up("[[say the second]]").await?;
    assert_eq!(follow_up.answer().await?, "the second");
    assert_eq!(question.said_in_thread()?, ["the answer", "the second"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bus_that_is_killed_while_an_answer_is_posted_changes_nothing() -> Result<()> {
    let world = World::start().await?;
    let question = while_it_is_posted(&world).await?;
    world.kill_nats().await?;
    world.discord().clear_faults();
    assert_eq!(question.answer().await?, "the answer");
    world.start_nats().await?;
    let follow_up = question.follow_up("[[say the second]]").await?;
    assert_eq!(follow_up.answer().await?, "the second");
    assert_eq!(question.said_in_thread()?, ["the answer", "the second"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_killed_while_it_posts_posts_once() -> Result<()> {
    let world = World::start().await?;
    let question = while_it_is_posted(&world).await?;
    world.kill_gateway().await?;
    world.discord().clear_faults();
    world.start_gateway().await?;
    is_answered_once(&world, question).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_back_before_the_end_of_a_run_answers_it() -> Result<()> {
    let world = World::start().await?;
    let question = in_the_middle(&world).await?;
    world.kill_gateway().await?;
    world.start_gateway().await?;
    world.release("go")?;
    is_answered_once(&world, question).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bus_that_is_back_before_the_end_of_a_run_costs_no_answer() -> Result<()> {
    let world = World::start().await?;
    let question = in_the_middle(&world).await?;
    world.kill_nats().await?;
    world.start_nats().await?;
    world.release("go")?;
    is_answered_once(&world, question).await
}
