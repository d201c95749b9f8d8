//! A runner that shares its project dies while it renews a record, takes a run over, or gives way to
//! whom its run was moved to.

use anyhow::Result;
use harness::{COLLEAGUE, Colleague, Question, World, processes};

use super::AT_WORK;
use crate::handed_over::{begun, move_to};
use crate::scene::ends_well;
use crate::shared::{held_by_the_second, is_answered_once, two_hosts};

/// The runner dies at these points, one life after the other, while it holds a run; its last life goes
/// on with the one claude. The first renewal comes before claude is started, the second while it is at
/// work.
async fn a_lease_survives(points: &[&str]) -> Result<()> {
    let world = World::builder().shared().without_runner().start().await?;
    let question = world.say(AT_WORK)?;
    for point in points {
        world.start_runner_to_die_at(point).await?;
        world.runner_dies().await?;
    }
    world.start_runner().await?;
    world.reached("go").await?;
    world.release("go")?;
    is_answered_once(question).await?;
    assert_eq!(world.ledger().count("begin"), 2, "one for each question");
    world.nothing_is_left().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_survives_a_death_before_there_is_a_keeper() -> Result<()> {
    a_lease_survives(&["lease.renewed"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_survives_a_death_before_the_keeper_hears_of_it() -> Result<()> {
    a_lease_survives(&["lease.renewed:2"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_survives_two_deaths_before_the_keeper_hears_of_it() -> Result<()> {
    a_lease_survives(&["lease.renewed:2", "lease.renewed"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_survives_a_death_after_the_keeper_was_told() -> Result<()> {
    a_lease_survives(&["lease.told:2"]).await
}

/// What a lost host held is taken over by a runner that dies on the way.
async fn a_take_over_survives(point: &str) -> Result<()> {
    let (world, mut second) = two_hosts().await?;
    let question = lost(&world, &mut second, point).await?;
    world.runner_dies().await?;
    world.start_runner().await?;
    world.notes("a second claude", |ledger| ledger.count("wait") == 2).await?;
    world.release("go")?;
    is_answered_once(question).await?;
    assert_eq!(world.ledger().count("begin"), 3, "two for the first question");
    second.start().await?;
    world.nothing_is_left().await?;
    ends_well(&world, second).await
}

/// A question whose holder is lost with its host. The other runner is to die at a point.
async fn lost<'w>(world: &'w World, second: &mut Colleague, point: &str) -> Result<Question<'w>> {
    second.start().await?;
    let question = world.say(AT_WORK)?;
    world.reached("go").await?;
    world.start_runner_to_die_at(point).await?;
    second.is_lost()?;
    Ok(question)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_take_over_survives_a_death_before_it_is_decided() -> Result<()> {
    a_take_over_survives("watch.ripe").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_take_over_survives_a_death_before_the_record_is_written() -> Result<()> {
    a_take_over_survives("claim.noted").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_take_over_survives_a_death_after_the_record_is_written() -> Result<()> {
    a_take_over_survives("claim.written").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_take_over_survives_a_death_before_claude_is_started() -> Result<()> {
    a_take_over_survives("claim.told").await
}

/// A runner whose run was moved to another dies after it has ended its claude.
#[tokio::test(flavor = "multi_thread")]
async fn who_gives_way_sweeps_after_a_death() -> Result<()> {
    let world = World::builder().shared().slots(1).without_runner().start().await?;
    let mut second = world.colleague().await?;
    world.start_runner_to_die_at("giveway.stopped").await?;
    let question = world.say(AT_WORK)?;
    world.reached("go").await?;
    second.start().await?;
    let (_, old) = begun(&world, &second, 0)?;
    move_to(&world, question, COLLEAGUE).await?;
    world.runner_dies().await?;
    assert!(!processes::is_alive(old), "it was ended");
    world.notes("a second claude", |ledger| ledger.count("wait") == 2).await?;
    world.start_runner().await?;
    world.release("go")?;
    is_answered_once(question).await?;
    assert_eq!(world.ledger().count("begin"), 3, "two for the first question");
    world.nothing_is_left().await?;
    ends_well(&world, second).await
}

/// A Move that is given again changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_moved_to_its_own_holder_is_left_alone() -> Result<()> {
    let (world, mut second) = two_hosts().await?;
    let question = held_by_the_second(&world, &mut second).await?;
    let said = move_to(&world, question, COLLEAGUE).await?;
    assert!(said.ends_with("goes on at build-2; 0 runs were moved\n"), "{said}");
    world.release("go")?;
    is_answered_once(question).await?;
    assert_eq!(world.ledger().count("begin"), 2, "one for each question");
    ends_well(&world, second).await
}
