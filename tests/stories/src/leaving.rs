//! A service is told to end while what it talks to says nothing: it ends all the same, and what it
//! was at is finished by its next life. Or it stands still for a while, and goes on.

use std::process::ExitStatus;
use std::time::Duration;

use anyhow::Result;
use harness::discord_sim::{FaultKind, FaultRule};
use harness::{Part, World};

use crate::scene::{claudes_for_the_answer, in_the_middle};

/// Longer than any test takes.
const FOR_EVER: Duration = Duration::from_secs(3600);

/// It ended as one that was told to: by itself, or because its time was over.
fn ended_as_told(status: ExitStatus) {
    assert!(matches!(status.code(), Some(0 | 143)), "{status}");
}

fn discord_hangs(world: &World) {
    let all = FaultRule {
        method: None,
        path: String::new(),
        times: 1000,
        kind: FaultKind::Delay(FOR_EVER),
    };
    world.discord().fault(all);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_ends_while_the_bus_stands_still_in_mid_run() -> Result<()> {
    let world = World::start().await?;
    let question = in_the_middle(&world).await?;
    world.freeze(Part::Nats).await?;
    world.ask_to_end(Part::Runner).await?;
    ended_as_told(world.has_ended(Part::Runner).await?);
    world.thaw(Part::Nats).await?;
    world.start_runner().await?;
    world.release("go")?;
    assert_eq!(claudes_for_the_answer(&world, question).await?, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_ends_while_the_bus_stands_still_and_a_run_is_finished() -> Result<()> {
    let world = World::start().await?;
    let question = in_the_middle(&world).await?;
    world.freeze(Part::Nats).await?;
    world.release("go")?;
    world.notes("the result", |ledger| ledger.count("result") == 1).await?;
    world.ask_to_end(Part::Runner).await?;
    ended_as_told(world.has_ended(Part::Runner).await?);
    world.thaw(Part::Nats).await?;
    world.start_runner().await?;
    assert_eq!(claudes_for_the_answer(&world, question).await?, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_ends_while_a_run_is_prepared() -> Result<()> {
    let world = World::start().await?;
    world.freeze(Part::Nats).await?;
    let question = world.say("[[say the answer]]")?;
    question.is_seen().await?;
    world.thaw(Part::Nats).await?;
    // Somewhere between the claim and claude, or beyond.
    world.logs("gateway-svc", "phase=Claimed").await?;
    world.ask_to_end(Part::Runner).await?;
    ended_as_told(world.has_ended(Part::Runner).await?);
    world.start_runner().await?;
    assert_eq!(claudes_for_the_answer(&world, question).await?, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_ends_while_the_bus_stands_still() -> Result<()> {
    let world = World::start().await?;
    let question = in_the_middle(&world).await?;
    world.freeze(Part::Nats).await?;
    world.ask_to_end(Part::Gateway).await?;
    ended_as_told(world.has_ended(Part::Gateway).await?);
    world.thaw(Part::Nats).await?;
    world.release("go")?;
    world.start_gateway().await?;
    assert_eq!(claudes_for_the_answer(&world, question).await?, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_ends_while_discord_hangs_and_an_answer_is_posted() -> Result<()> {
    let world = World::start().await?;
    let question = in_the_middle(&world).await?;
    discord_hangs(&world);
    world.release("go")?;
    world.logs("gateway-svc", "phase=Ended").await?;
    world.ask_to_end(Part::Gateway).await?;
    ended_as_told(world.has_ended(Part::Gateway).await?);
    world.discord().clear_faults();
    world.start_gateway().await?;
    assert_eq!(claudes_for_the_answer(&world, question).await?, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_sigterm_ends_a_service_at_once() -> Result<()> {
    let world = World::start().await?;
    let question = in_the_middle(&world).await?;
    discord_hangs(&world);
    world.release("go")?;
    world.logs("gateway-svc", "phase=Ended").await?;
    world.freeze(Part::Nats).await?;
    world.ask_to_end(Part::Gateway).await?;
    world.logs("gateway-svc", "a second signal stops at once").await?;
    // It may have been quick enough already.
    let _ = world.ask_to_end(Part::Gateway).await;
    ended_as_told(world.has_ended(Part::Gateway).await?);
    assert!(!world.log("gateway-svc").contains("did not end in time"));
    world.thaw(Part::Nats).await?;
    world.discord().clear_faults();
    world.start_gateway().await?;
    assert_eq!(claudes_for_the_answer(&world, question).await?, 1);
    Ok(())
}

/// Each of them stands still while the run ends, and goes on.
async fn stands_still(part: Part) -> Result<()> {
    let world = World::start().await?;
    let question = in_the_middle(&world).await?;
    let queued = question.follow_up("[[say the queued]]").await?;
    queued.is_seen().await?;
    world.freeze(part).await?;
    world.release("go")?;
    world.notes("the result", |ledger| 1 <= ledger.count("result")).await?;
    world.thaw(part).await?;
    assert_eq!(queued.mark().await?, "✅");
    assert_eq!(question.said_in_thread()?, ["the answer", "the queued"]);
    assert_eq!(world.ledger().count("begin"), 2, "one for each question");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_stands_still_costs_no_answer() -> Result<()> {
    stands_still(Part::Runner).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_stands_still_costs_no_answer() -> Result<()> {
    stands_still(Part::Gateway).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keeper_that_stands_still_costs_no_answer() -> Result<()> {
    let world = World::start().await?;
    let question = in_the_middle(&world).await?;
    let below = world.processes().await;
    let keepers = below.iter().filter(|process| process.command.starts_with("holdfast-keeper"));
    let keepers: Vec<u32> = keepers.map(|process| process.pid).collect();
    assert_eq!(keepers.len(), 1, "{below:?}");
    harness::processes::freeze(keepers[0]);
    world.release("go")?;
    world.notes("the result", |ledger| ledger.count("result") == 1).await?;
    // A runner that is started meanwhile takes the keeper for alive, which it is.
    world.stop_runner().await?;
    world.start_runner().await?;
    harness::processes::thaw(keepers[0]);
    assert_eq!(claudes_for_the_answer(&world, question).await?, 1);
    Ok(())
}
