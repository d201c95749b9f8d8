//! A command of the operator dies before or after what it does is stored, and is given again; the
//! gateway dies while it takes a run away from a runner that will not take it.
//!
//! A command is a program of its own: the gateway and the runners do not notice its death.

use anyhow::Result;
use harness::{COLLEAGUE, Colleague, Question, World};

use super::AT_WORK;
use crate::handed_over::{
    FIRST, another_begins, carried_out, dies_at, goes_on_at, left_by_the_second, move_to, owned,
    waits_for,
};
use crate::scene::{gets_nothing_of_it, in_the_middle};
use crate::shared::{held_by_the_second, is_answered_once, two_hosts};

/// What was at work goes on at this runner alone, whatever died on the way.
async fn goes_on_once(
    world: &World,
    question: Question<'_>,
    second: Colleague,
    runner: &'static str,
) -> Result<()> {
    assert_eq!(another_begins(world, &second).await?, runner);
    world.release("go")?;
    goes_on_at(world, question, &second, (runner, 3)).await?;
    gets_nothing_of_it(world, second, 3).await
}

/// A conversation is moved by a command that dies at a point; given again, it moves so many runs.
async fn a_move_survives(point: &str, again: &str) -> Result<()> {
    let (world, mut second) = two_hosts().await?;
    let question = held_by_the_second(&world, &mut second).await?;
    let thread = question.thread().to_string();
    dies_at(&world, &["move", &thread, FIRST], point).await?;
    let said = move_to(&world, question, FIRST).await?;
    assert_eq!(said, format!("{thread} goes on at {FIRST}; {again} moved\n"));
    goes_on_once(&world, question, second, FIRST).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_died_before_it_was_stored_is_carried_out_when_given_again() -> Result<()> {
    a_move_survives("move.written", "1 run was").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_died_after_it_was_stored_moves_nothing_twice() -> Result<()> {
    a_move_survives("move.stored", "0 runs were").await
}

/// A project is given away by a command that dies at a point; given again, it says this.
async fn a_gift_survives(point: &str, again: &str) -> Result<()> {
    let (world, mut second) = owned().await?;
    let question = in_the_middle(&world).await?;
    second.start().await?;
    dies_at(&world, &["owner", "app", COLLEAGUE], point).await?;
    let said = carried_out(&world, &["owner", "app", COLLEAGUE]).await?;
    assert_eq!(said, format!("{COLLEAGUE} owns app{again}\n"));
    goes_on_once(&world, question, second, COLLEAGUE).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gift_that_died_before_it_was_stored_is_carried_out_when_given_again() -> Result<()> {
    a_gift_survives("give.written", "; 1 run was moved").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gift_that_died_after_it_was_stored_has_been_carried_out() -> Result<()> {
    a_gift_survives("give.stored", " already").await
}

/// A run waits at a runner that drains when it comes back; the gateway dies at these points while it
/// puts it elsewhere.
async fn a_stranded_run_survives(points: &[&str]) -> Result<()> {
    let (world, mut second) = two_hosts().await?;
    let first = left_by_the_second(&world, &mut second).await?;
    world.start_runner().await?;
    let question = first.follow_up(AT_WORK).await?;
    waits_for(&world, COLLEAGUE).await?;
    world.kill_gateway().await?;
    second.drain(true)?;
    second.launch().await?;
    for point in points {
        world.start_gateway_to_die_at(point).await?;
        world.gateway_dies().await?;
    }
    world.start_gateway().await?;
    world.reached("go").await?;
    world.release("go")?;
    is_answered_once(question).await?;
    second.drain(false)?;
    gets_nothing_of_it(&world, second, 3).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranded_run_survives_a_death_before_it_is_taken_away() -> Result<()> {
    a_stranded_run_survives(&["unplace.written"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranded_run_survives_a_death_after_it_was_taken_away() -> Result<()> {
    a_stranded_run_survives(&["unplace.stored"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranded_run_survives_a_death_after_each_step_of_its_way() -> Result<()> {
    a_stranded_run_survives(&["unplace.stored", "publish.placed", "publish.sent"]).await
}
