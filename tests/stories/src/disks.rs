//! A disk is full: nothing is lost, it is said which one, and room is enough to go on.

use anyhow::Result;
use harness::{Disk, World};

use crate::scene::{claudes_for_the_answer, in_the_middle};

/// Room for a few runs.
const MEGABYTES: u32 = 3;

async fn disk_is_named(world: &World) -> Result<()> {
    let dir = world.folder().runner_state().display().to_string();
    let named = |(status, page): (u16, String)| status == 503 && page.contains(&dir);
    world.runner_page_is("/readyz", "which disk is full", named).await
}

async fn all_is_well(world: &World) -> Result<()> {
    world.runner_page_is("/readyz", "that all is well", |(status, _)| status == 200).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_ends_while_the_runners_disk_is_full_is_answered_when_there_is_room()
-> Result<()> {
    let world = World::builder().without_runner().start().await?;
    let Some(disk) = world.small_disk(&world.folder().runner_state(), MEGABYTES)? else {
        return Ok(());
    };
    world.start_runner().await?;
    let question = in_the_middle(&world).await?;
    disk.fill()?;
    world.release("go")?;
    disk_is_named(&world).await?;
    disk.empty()?;
    assert_eq!(claudes_for_the_answer(&world, question).await?, 1);
    all_is_well(&world).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_begins_while_the_runners_disk_is_full_is_answered_when_there_is_room()
-> Result<()> {
    let world = World::builder().without_runner().start().await?;
    let Some(disk) = world.small_disk(&world.folder().runner_state(), MEGABYTES)? else {
        return Ok(());
    };
    world.start_runner().await?;
    disk.fill()?;
    let question = world.say("[[say the answer]]")?;
    disk_is_named(&world).await?;
    disk.empty()?;
    assert_eq!(claudes_for_the_answer(&world, question).await?, 1);
    all_is_well(&world).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_claude_says_while_the_runners_disk_is_full_is_kept() -> Result<()> {
    let world = World::builder().without_runner().start().await?;
    let Some(disk) = world.small_disk(&world.folder().runner_state(), MEGABYTES)? else {
        return Ok(());
    };
    world.start_runner().await?;
    let question = world.say("[[think hm]] [[wait go]] [[bigline 500000]] [[say the answer]]")?;
    world.reached("go").await?;
    disk.fill()?;
    world.release("go")?;
    // A runner that is killed and started meanwhile finds the same.
    world.kill_runner().await?;
    disk.empty()?;
    world.start_runner().await?;
    assert_eq!(claudes_for_the_answer(&world, question).await?, 1);
    Ok(())
}

/// Starts the gateway with its store on a small disk of its own, where one can be had.
async fn disk_of_the_gateway(world: &World) -> Result<Option<Disk>> {
    let dir = world.folder().database().parent().map(std::path::Path::to_owned);
    let dir = dir.unwrap_or_default().join("store");
    let Some(disk) = world.small_disk(&dir, MEGABYTES)? else { return Ok(None) };
    world.store_at(&dir.join("gateway.db")).await;
    world.start_gateway().await?;
    Ok(Some(disk))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_came_while_the_gateways_disk_was_full_is_answered() -> Result<()> {
    let world = World::builder().without_gateway().start().await?;
    let Some(disk) = disk_of_the_gateway(&world).await? else { return Ok(()) };
    let first = world.say("[[say first]]")?;
    assert_eq!(first.answer().await?, "first");
    disk.fill()?;
    let question = world.say("[[say the answer]]")?;
    world.logs("gateway-svc", "will be read again").await?;
    disk.empty()?;
    assert_eq!(claudes_for_the_answer(&world, question).await?, 2, "one for each question");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_stored_is_answered_before_what_came_after_it() -> Result<()> {
    let world = World::builder().without_gateway().start().await?;
    let Some(disk) = disk_of_the_gateway(&world).await? else { return Ok(()) };
    let first = world.say("[[say first]]")?;
    assert_eq!(first.answer().await?, "first");
    // When another was answered, nothing of the first is to be written any more.
    let other = world.say("[[say other]]")?;
    other.mark().await?;
    disk.fill()?;
    let second = first.follow_up("[[say second]]").await?;
    world.logs("gateway-svc", "will be read again").await?;
    disk.empty()?;
    let third = first.follow_up("[[say third]]").await?;
    assert_eq!((second.mark().await?, third.mark().await?), ("✅", "✅"));
    assert_eq!(first.said_in_thread()?, ["first", "second", "third"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_ends_while_the_disk_of_the_bus_is_full_is_answered_when_there_is_room()
-> Result<()> {
    let world = World::start().await?;
    world.kill_nats().await?;
    let Some(disk) = world.small_disk(&world.folder().nats().join("store"), 16)? else {
        world.start_nats().await?;
        return Ok(());
    };
    world.start_nats().await?;
    let question = in_the_middle(&world).await?;
    disk.fill()?;
    world.release("go")?;
    world.notes("the result", |ledger| ledger.count("result") == 1).await?;
    world.logs("runner-svc", "trying again").await?;
    disk.empty()?;
    // A server whose disk failed takes nothing more until it is started again.
    world.kill_nats().await?;
    world.start_nats().await?;
    assert_eq!(claudes_for_the_answer(&world, question).await?, 1);
    Ok(())
}
