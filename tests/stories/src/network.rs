//! The network between a service and the bus: cut again and again, slow, or lost in one direction.
//!
//! Each service has a network of its own here. What was said and never answered is the hardest: the
//! bus has it, and who said it does not know.

use anyhow::Result;
use harness::{Proxy, Question, Way, World};

use crate::scene::{claudes_for_the_answer, in_the_middle};

/// How often a network is cut while one run runs.
const CUTS: usize = 20;

/// A world whose runner and gateway reach the bus each through a network of its own. What is on its
/// way while one is cut comes again after `AckWait`: the times are scaled.
async fn with_networks() -> Result<(World, Proxy, Proxy)> {
    let world = World::builder().scaled().without_gateway().without_runner().start().await?;
    let gateway = world.proxy_of_gateway().await?;
    let runner = world.proxy_of_runner().await?;
    world.start_gateway().await?;
    world.start_runner().await?;
    Ok((world, gateway, runner))
}

/// Waits until the answer to what was just said is lost, and mends the network.
async fn is_lost_once(world: &World, network: &Proxy) -> Result<()> {
    world.within("the word that nobody answers", network.has_lost()).await?;
    network.make(Way::Open);
    Ok(())
}

/// One answer, by one claude, and the next question after it.
async fn is_done_once(world: &World, question: Question<'_>) -> Result<()> {
    assert_eq!(claudes_for_the_answer(world, question).await?, 1);
    world.stream_is("WORK", |state| state["messages"].as_u64() == Some(0)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn work_whose_receipt_is_lost_is_done_once_and_in_order() -> Result<()> {
    let (world, gateway, _runner) = with_networks().await?;
    gateway.deaf_after("PUB work.");
    let question = world.say("[[say the answer]]")?;
    is_lost_once(&world, &gateway).await?;
    is_done_once(&world, question).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_whose_claim_is_not_answered_knows_its_own_claim() -> Result<()> {
    let (world, _gateway, runner) = with_networks().await?;
    runner.deaf_after(r#""is":"claimed""#);
    let question = world.say("[[say the answer]]")?;
    is_lost_once(&world, &runner).await?;
    is_done_once(&world, question).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_whose_outcome_is_not_answered_writes_it_no_second_time() -> Result<()> {
    let (world, _gateway, runner) = with_networks().await?;
    let question = in_the_middle(&world).await?;
    runner.deaf_after(r#""is":"ended""#);
    world.release("go")?;
    is_lost_once(&world, &runner).await?;
    is_done_once(&world, question).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledgement_that_is_not_confirmed_is_made_again() -> Result<()> {
    let (world, _gateway, runner) = with_networks().await?;
    let question = in_the_middle(&world).await?;
    runner.deaf_after("+ACK");
    world.release("go")?;
    is_lost_once(&world, &runner).await?;
    is_done_once(&world, question).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_is_heard_no_more_finds_out_and_its_answer_comes_once() -> Result<()> {
    let (world, _gateway, runner) = with_networks().await?;
    let question = in_the_middle(&world).await?;
    let before = runner.taken();
    runner.make(Way::Mute);
    world.release("go")?;
    world.notes("the result", |ledger| ledger.count("result") == 1).await?;
    // Nobody tells it: it closes the connection itself, and the next one is as bad.
    world.within("another connection", runner.takes_more_than(before)).await?;
    runner.make(Way::Open);
    is_done_once(&world, question).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_hears_nothing_finds_out_and_posts_the_answer_once() -> Result<()> {
    let (world, gateway, _runner) = with_networks().await?;
    let question = in_the_middle(&world).await?;
    let before = gateway.taken();
    gateway.make(Way::Deaf);
    world.release("go")?;
    world.notes("the result", |ledger| ledger.count("result") == 1).await?;
    world.within("another connection", gateway.takes_more_than(before)).await?;
    gateway.make(Way::Open);
    is_done_once(&world, question).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_is_cut_again_and_again_costs_nothing() -> Result<()> {
    let (world, gateway, runner) = with_networks().await?;
    let question = in_the_middle(&world).await?;
    for _ in 0..CUTS {
        for network in [&gateway, &runner] {
            let before = network.taken();
            network.cut();
            world.within("another connection", network.takes_more_than(before)).await?;
        }
    }
    world.release("go")?;
    is_done_once(&world, question).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_as_slow_as_around_the_earth_doubles_nothing() -> Result<()> {
    let (world, gateway, runner) = with_networks().await?;
    for network in [&gateway, &runner] {
        network.make(Way::Slow);
    }
    let question = world.say("[[say the answer]]")?;
    is_done_once(&world, question).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_whose_bus_goes_in_the_middle_of_its_start_waits_for_it() -> Result<()> {
    let world = World::builder().scaled().without_gateway().without_runner().start().await?;
    let gateway = world.proxy_of_gateway().await?;
    let runner = world.proxy_of_runner().await?;
    gateway.deaf_after("STREAM.INFO.WORK");
    tokio::try_join!(world.start_gateway(), is_lost_once(&world, &gateway))?;
    // What it asks for, and what it says and cannot know to be heard: that the name is its own.
    for word in ["STREAM.INFO.WORK", "$KV.RUNNERS."] {
        runner.deaf_after(word);
        tokio::try_join!(world.start_runner(), is_lost_once(&world, &runner))?;
        world.kill_runner().await?;
    }
    world.start_runner().await?;
    let question = world.say("[[say the answer]]")?;
    is_done_once(&world, question).await
}
