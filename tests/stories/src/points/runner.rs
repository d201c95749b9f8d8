//! The runner dies at each of its points.

use anyhow::{Context as _, Result, ensure};
use harness::{Question, World, processes};

use super::{ALL_PAGES, AT_WORK, LONG, is_answered_once, is_whole, nothing_more_comes};
use crate::scene::claudes_for_the_answer;

/// The runner dies at these points, one life after the other; its last life goes on. Whatever was
/// not acknowledged is delivered again as soon as the runner is back.
pub(super) async fn dies_at(world: &World, points: &[&str]) -> Result<()> {
    for point in points {
        world.start_runner_to_die_at(point).await?;
        dies(world).await?;
    }
    world.start_runner().await
}

pub(super) async fn dies(world: &World) -> Result<()> {
    world.runner_dies().await?;
    world.deliver_again().await
}

async fn world_without_runner() -> Result<World> {
    World::builder().without_runner().start().await
}

/// The question is answered by the one claude that was begun for it.
async fn an_answer_survives(points: &[&str]) -> Result<()> {
    let world = world_without_runner().await?;
    let question = world.say("[[say the answer]]")?;
    dies_at(&world, points).await?;
    is_answered_once(&world, question).await
}

/// The same, while claude is at work.
async fn a_run_survives(points: &[&str]) -> Result<()> {
    let world = world_without_runner().await?;
    let question = world.say(AT_WORK)?;
    dies_at(&world, points).await?;
    world.release("go")?;
    is_answered_once(&world, question).await
}

/// A story for each point that every run passes.
macro_rules! an_answer_survives {
    ($($name:ident: $($point:literal),+;)+) => { $(
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() -> Result<()> {
            an_answer_survives(&[$($point),+]).await
        }
    )+ };
}

#[tokio::test(flavor = "multi_thread")]
async fn a_point_that_is_not_there_refuses_the_start() -> Result<()> {
    let world = world_without_runner().await?;
    world.set_runner_env("HOLDFAST_CRASH_AT", "claim.nowhere").await;
    let refused = world.runner_command(&["serve"]).await?;
    let said = String::from_utf8_lossy(&[refused.stdout, refused.stderr].concat()).into_owned();
    assert!(!refused.status.success(), "{said}");
    assert!(said.contains("claim.nowhere") && said.contains("claim.written"), "{said}");
    Ok(())
}

// Rule 4: claiming.
an_answer_survives! {
    an_answer_survives_a_death_before_the_run_is_claimed: "claim.fetched";
    an_answer_survives_a_death_after_the_claim_is_remembered: "claim.noted";
    an_answer_survives_a_death_after_the_record_is_written: "claim.written";
    an_answer_survives_a_death_with_half_a_spool: "spool.made";
    an_answer_survives_a_death_after_the_spool_is_made: "claim.spooled";
    an_answer_survives_a_death_after_the_line_is_put: "claim.told";
    an_answer_survives_a_death_after_tmux_was_started: "claim.started";
    an_answer_survives_a_death_before_the_record_says_running: "follow.seen";
}

/// Nothing but its own state directory tells the runner what it had claimed, and it is the same
/// attempt.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_claimed_is_begun_without_another_delivery() -> Result<()> {
    let world = world_without_runner().await?;
    let question = world.say("[[say the answer]]")?;
    for point in ["claim.written", "spool.made"] {
        world.start_runner_to_die_at(point).await?;
        world.runner_dies().await?;
    }
    world.start_runner().await?;
    assert_eq!(claudes_for_the_answer(&world, question).await?, 1);
    let records = world.stored("KV_RUNS").await?;
    let attempts: Vec<u64> = records.iter().filter_map(attempt).collect();
    assert_eq!(attempts, [1, 1], "{records:?}");
    Ok(())
}

/// Which attempt a record tells of.
fn attempt(record: &harness::Stored) -> Option<u64> {
    serde_json::from_str::<serde_json::Value>(&record.text).ok()?["attempt"].as_u64()
}

// Rule 8: finishing.
an_answer_survives! {
    an_answer_survives_a_death_before_the_result_is_on_disk: "finish.seen";
    an_answer_survives_a_death_after_the_result_is_on_disk: "finish.kept";
    an_answer_survives_a_death_after_the_record_has_its_outcome: "finish.written";
    an_answer_survives_a_death_after_the_work_was_acknowledged: "finish.acked";
    an_answer_survives_a_death_after_the_end_of_claude: "finish.ended";
    an_answer_survives_a_death_before_the_spool_is_swept: "finish.closed";
    an_answer_survives_a_death_with_half_a_spool_swept: "spool.hidden";
    an_answer_survives_a_death_after_the_spool_was_swept: "finish.swept";
}

// The same place twice.
an_answer_survives! {
    an_answer_survives_two_deaths_before_there_is_a_spool: "claim.written", "spool.made";
    an_answer_survives_two_deaths_before_the_result_is_on_disk: "finish.seen", "finish.seen";
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_answer_survives_a_death_after_it_was_put_into_files() -> Result<()> {
    let world = World::builder().gateway_toml(ALL_PAGES).without_runner().start().await?;
    let question = world.say(LONG)?;
    dies_at(&world, &["finish.filed"]).await?;
    is_whole(&world, question, 30_000).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_answer_survives_two_deaths_after_it_was_put_into_files() -> Result<()> {
    let world = World::builder().gateway_toml(ALL_PAGES).without_runner().start().await?;
    let question = world.say(LONG)?;
    dies_at(&world, &["finish.filed", "finish.filed"]).await?;
    is_whole(&world, question, 30_000).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_survives_a_death_after_the_record_says_running() -> Result<()> {
    a_run_survives(&["follow.running"]).await
}

// Rule 5: adoption.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_survives_a_death_in_its_adoption() -> Result<()> {
    a_run_survives(&["follow.running", "adopt.read"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_survives_a_death_after_its_lost_record_was_written_again() -> Result<()> {
    let world = world_without_runner().await?;
    let question = world.say(AT_WORK)?;
    world.start_runner_to_die_at("follow.running").await?;
    dies(&world).await?;
    world.forget_records().await?;
    dies_at(&world, &["adopt.rewritten"]).await?;
    world.release("go")?;
    is_answered_once(&world, question).await
}

// Rule 9: trying again.
async fn kill_claude(world: &World) -> Result<()> {
    let program = harness::built("claude-sim")?.display().to_string();
    let below = world.processes().await;
    let mut found = below.iter().filter(|process| process.command.starts_with(&program));
    processes::kill(found.next().context("no claude was there")?.pid);
    ensure!(found.next().is_none(), "two claudes at once");
    Ok(())
}

/// The question's claude dies once, and the runner at these points; the answer is that of the
/// second claude.
async fn a_second_try_survives(points: &[&str]) -> Result<()> {
    let world = world_without_runner().await?;
    let question = world.say(AT_WORK)?;
    let (first, later) = points.split_first().context("no point")?;
    world.start_runner_to_die_at(first).await?;
    world.reached("go").await?;
    kill_claude(&world).await?;
    dies(&world).await?;
    dies_at(&world, later).await?;
    world.notes("a second claude", |ledger| ledger.count("wait") == 2).await?;
    world.release("go")?;
    assert_eq!(question.answer().await?, "the answer");
    nothing_more_comes(&world, question, &["the answer"]).await?;
    assert_eq!(world.ledger().count("begin"), 3, "two for the first question");
    Ok(())
}

macro_rules! a_second_try_survives {
    ($($name:ident: $($point:literal),+;)+) => { $(
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() -> Result<()> {
            a_second_try_survives(&[$($point),+]).await
        }
    )+ };
}

a_second_try_survives! {
    a_second_try_survives_a_death_before_it_is_in_the_record: "again.died";
    a_second_try_survives_a_death_after_it_is_in_the_record: "again.written";
    a_second_try_survives_a_death_after_the_first_one_was_swept: "again.swept";
    a_second_try_survives_a_death_after_its_spool_is_made: "claim.spooled:2";
    a_second_try_survives_two_deaths_before_it_is_in_the_record: "again.died", "again.died";
}

// Rule 12: a stop.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_survives_a_death_after_claude_was_told() -> Result<()> {
    let world = world_without_runner().await?;
    let question = world.say(AT_WORK)?;
    world.start_runner_to_die_at("stop.told").await?;
    world.reached("go").await?;
    let order: Question<'_> = question.follow_up("!stop").await?;
    dies(&world).await?;
    world.start_runner().await?;
    assert_eq!(question.mark().await?, "⏹️");
    let said = question.said_in_thread()?;
    assert_eq!(said.len(), 2, "a word to {order:?}, and one about the stop: {said:?}");
    let said: Vec<&str> = said.iter().map(String::as_str).collect();
    nothing_more_comes(&world, question, &said).await
}

// Rule 8: what the conversation leaves.
an_answer_survives! {
    an_answer_survives_a_death_after_the_transcript_was_copied: "finish.copied";
    an_answer_survives_a_death_after_the_transcript_was_put_into_files: "finish.carried";
    an_answer_survives_two_deaths_after_the_transcript_was_put_into_files:
        "finish.carried", "finish.carried";
}
