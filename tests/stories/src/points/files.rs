//! A service dies while the files of a question or of an answer are on their way.

use anyhow::{Context as _, Result};
use harness::World;
use harness::discord_sim::NewFile;

use super::runner::{dies, dies_at};

/// A question with two files, whose claude gives one.
const ASKS: &str =
    r#"look [[tool Bash {"command":"echo given > \"$HOLDFAST_OUTBOX/note.txt\""}]] [[say here]]"#;

fn files() -> Vec<NewFile> {
    vec![NewFile::text("a.txt", "one"), NewFile::text("b.txt", "two")]
}

/// It was asked whole and once, and its file was given once.
async fn is_whole(world: &World, question: harness::Question<'_>) -> Result<()> {
    assert_eq!(question.mark().await?, "✅");
    let next = question.follow_up("[[say the second]]").await?;
    assert_eq!(next.mark().await?, "✅");
    assert_eq!(question.said_in_thread()?, ["here", "-# 📎 `note.txt`", "the second"]);
    assert_eq!(question.files(), [("note.txt".to_owned(), b"given\n".to_vec())]);
    let ledger = world.ledger();
    let asked = format!("{ASKS}\n\nAttached file a.txt:\none\n\nAttached file b.txt:\ntwo");
    assert_eq!(ledger.prompts(), [asked.as_str(), "[[say the second]]"]);
    world.nothing_is_left().await
}

/// The gateway dies at these points, one life after the other.
async fn files_survive_the_gateway(points: &[&str]) -> Result<()> {
    let world = World::builder().tools(&["Bash"]).without_gateway().start().await?;
    let (first, later) = points.split_first().context("no point")?;
    world.start_gateway_to_die_at(first).await?;
    let question = world.say_with(ASKS, files())?;
    world.gateway_dies().await?;
    for point in later {
        world.start_gateway_to_die_at(point).await?;
        world.gateway_dies().await?;
    }
    world.start_gateway().await?;
    is_whole(&world, question).await
}

/// The runner dies at these points, one life after the other.
async fn files_survive_the_runner(points: &[&str]) -> Result<()> {
    let world = World::builder().tools(&["Bash"]).without_runner().start().await?;
    let question = world.say_with(ASKS, files())?;
    dies_at(&world, points).await?;
    is_whole(&world, question).await
}

#[tokio::test(flavor = "multi_thread")]
async fn files_survive_a_death_after_they_were_fetched() -> Result<()> {
    files_survive_the_gateway(&["files.fetched", "files.fetched:2"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn files_survive_two_deaths_after_they_were_put_into_files() -> Result<()> {
    files_survive_the_gateway(&["files.put", "files.put"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn files_survive_a_death_after_the_store_knows_of_them() -> Result<()> {
    files_survive_the_gateway(&["files.stored", "files.stored"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn files_survive_deaths_of_the_runner_on_their_way_to_claude() -> Result<()> {
    files_survive_the_runner(&["files.begun", "carry.fetched", "carry.placed:2"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_an_answer_survives_two_deaths_after_it_was_put_into_files() -> Result<()> {
    files_survive_the_runner(&["finish.given", "finish.given"]).await
}

/// Both die: the gateway with a file of the question put, the runner with that of the answer.
#[tokio::test(flavor = "multi_thread")]
async fn files_survive_the_deaths_of_both_services() -> Result<()> {
    let world =
        World::builder().tools(&["Bash"]).without_gateway().without_runner().start().await?;
    world.start_gateway_to_die_at("files.put:2").await?;
    let question = world.say_with(ASKS, files())?;
    world.gateway_dies().await?;
    world.start_runner_to_die_at("finish.given").await?;
    world.start_gateway().await?;
    dies(&world).await?;
    world.kill_gateway().await?;
    world.start_runner().await?;
    world.start_gateway().await?;
    is_whole(&world, question).await
}
