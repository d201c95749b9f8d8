//! The runner dies while a conversation comes along to it, or while it leaves what the next one needs.

use std::fs;

use anyhow::{Context as _, Result};
use harness::World;
use harness::project::git;

use super::runner::{dies, dies_at};

/// What claude does to its worktree.
const WORK: &str = r#"the first [[tool Write {"file_path":"new.txt","content":"new\n"}]]
[[tool Write {"file_path":"README.md","content":"changed\n"}]] [[say one]]"#;
/// What git says of it then.
const STATUS: &str = "M README.md\n?? new.txt";

/// The transcript is gone from its place, and comes from FILES again, to a runner that dies on the way.
async fn a_conversation_survives(points: &[&str]) -> Result<()> {
    let world = World::start().await?;
    let question = world.say("the first [[say one]]")?;
    assert_eq!(question.answer().await?, "one");
    world.is_quiet().await?;
    world.stop_runner().await?;
    let projects = world.folder().home().join(".claude/projects");
    fs::remove_dir_all(&projects).context("there is no transcript")?;
    let next = question.follow_up("[[recall]]").await?;
    dies_at(&world, points).await?;
    let recalled = next.answer().await?;
    assert!(recalled.contains("the first"), "{recalled}");
    assert_eq!(question.said_in_thread()?, ["one", recalled.as_str()]);
    assert_eq!(world.ledger().count("begin"), 2, "one for each question");
    world.nothing_is_left().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_survives_two_deaths_after_its_transcript_was_fetched() -> Result<()> {
    a_conversation_survives(&["carry.fetched", "carry.fetched"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_survives_a_death_after_its_transcript_was_put_in_its_place() -> Result<()> {
    a_conversation_survives(&["carry.placed"]).await
}

/// Uncommitted work of another host comes to a runner that dies on the way.
async fn work_survives(points: &[&str]) -> Result<()> {
    let world = World::builder().shared().without_runner().start().await?;
    let mut second = world.colleague().await?;
    second.start().await?;
    let question = world.say(WORK)?;
    assert_eq!(question.answer().await?, "one");
    world.until("the end of all at the second host", || second.beside().is_empty()).await?;
    assert!(second.stop()?.success());
    let (first, later) = points.split_first().context("no point")?;
    world.start_runner_to_die_at(first).await?;
    let moved = world.gateway_command(&["move", &question.thread().to_string(), "host"]).await?;
    assert!(moved.status.success(), "{moved:?}");
    let next = question.follow_up("[[recall]]").await?;
    dies(&world).await?;
    dies_at(&world, later).await?;
    let said = next.pages().await?;
    assert_eq!(said[0], "-# Resumed on **host**.");
    assert!(said[1].contains("the first"), "{said:?}");
    let here = question.worktree();
    assert_eq!(git(&here, &["status", "--porcelain", "--untracked-files=all"])?, STATUS);
    assert_eq!(fs::read_to_string(here.join("README.md"))?, "changed\n");
    assert_eq!(git(&here, &["for-each-ref", "refs/holdfast"])?, "", "nothing was kept");
    assert_eq!(question.said_in_thread()?, ["one", &said[0], &said[1]]);
    assert_eq!(world.ledger().count("begin"), 2, "one for each question");
    world.nothing_is_left().await
}

#[tokio::test(flavor = "multi_thread")]
async fn work_survives_two_deaths_before_it_is_put_into_the_worktree() -> Result<()> {
    work_survives(&["carry.putting", "carry.putting"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn work_survives_a_death_after_it_was_put_into_the_worktree() -> Result<()> {
    work_survives(&["carry.put"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_survives_a_death_after_the_work_was_put_into_files() -> Result<()> {
    let world = World::builder().shared().without_runner().start().await?;
    let question = world.say(WORK)?;
    dies_at(&world, &["finish.bundled", "finish.bundled"]).await?;
    assert_eq!(question.answer().await?, "one");
    let next = question.follow_up("[[say two]]").await?;
    assert_eq!(next.answer().await?, "two");
    assert_eq!(question.said_in_thread()?, ["one", "two"]);
    assert_eq!(world.ledger().count("begin"), 2, "one for each question");
    world.nothing_is_left().await
}
