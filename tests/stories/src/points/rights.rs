//! The gateway dies at each point at which it is decided what a run may do (rule 14).

use anyhow::{Result, ensure};
use harness::{Question, World};

use crate::asking::{asks, click, ends, says, touch};
use crate::rights::{is_made_unsafe, patient, said_with, to_be_unsafe, wishes};

/// A world whose gateway dies at this point.
async fn dies_at(point: &str) -> Result<World> {
    let world = to_be_unsafe(patient()).await?;
    world.start_gateway_to_die_at(point).await?;
    Ok(world)
}

/// Nobody is asked for leave in the thread of a question.
async fn is_unsafe(question: Question<'_>) -> Result<()> {
    let free = question.follow_up(&touch("made")).await?;
    ends(free, "it says:").await?;
    ensure!(question.worktree().join("made").exists(), "it was not done");
    assert_eq!(said_with(question, "Nobody is asked for leave in this run")?, 1);
    Ok(())
}

async fn answered(world: &World) -> Result<Question<'_>> {
    let question = world.say("[[say here]]")?;
    ends(question, "here").await?;
    Ok(question)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsafe_survives_a_death_after_it_was_asked_for() -> Result<()> {
    let world = dies_at("unsafe.wished").await?;
    let question = answered(&world).await?;
    question.follow_up_as("carol", "!unsafe").await?;
    world.gateway_dies().await?;
    world.start_gateway().await?;
    let button = asks(&world, question, "Make it unsafe").await?;
    let line = click(&world, "carol", &button).await?;
    ensure!(line.starts_with("Unsafe until"), "{line}");
    is_unsafe(question).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsafe_survives_a_death_after_it_was_confirmed() -> Result<()> {
    let world = dies_at("unsafe.confirmed").await?;
    let question = answered(&world).await?;
    let button = wishes(&world, question).await?;
    button.press(&world, "carol")?;
    world.gateway_dies().await?;
    world.start_gateway().await?;
    let find = |line: &String| line.contains("\n-# Unsafe until <t:");
    let is_said = || question.said_in_thread().is_ok_and(|said| said.iter().any(find));
    world.until("the line under the button", is_said).await?;
    is_unsafe(question).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_safe_survives_a_death_after_it_was_stored() -> Result<()> {
    let world = dies_at("unsafe.ended").await?;
    let question = answered(&world).await?;
    is_made_unsafe(&world, question).await?;
    let safe = question.follow_up("!safe").await?;
    world.gateway_dies().await?;
    world.start_gateway().await?;
    assert_eq!(safe.refusal().await?, "Safe again: leave is asked for in this thread.");
    let asked = question.follow_up(&touch("made")).await?;
    let deny = asks(&world, question, "Deny").await?;
    click(&world, "alice", &deny).await?;
    says(&world, &deny, "Denied by alice.").await?;
    ends(asked, "it says:").await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_run_may_do_survives_a_death_after_it_was_decided() -> Result<()> {
    let world = dies_at("publish.allowed:2").await?;
    let question = answered(&world).await?;
    is_made_unsafe(&world, question).await?;
    let free = question.follow_up(&touch("made")).await?;
    world.gateway_dies().await?;
    world.start_gateway().await?;
    ends(free, "it says:").await?;
    assert_eq!(said_with(question, "Nobody is asked for leave in this run")?, 1);
    Ok(())
}
