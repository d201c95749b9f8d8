//! Messages that are told no: with a line that says why, and nothing is started.

use anyhow::Result;
use harness::discord_sim::NewFile;
use harness::{People, Question, World};

/// The question was refused with these words, and claude only ever heard the next one.
async fn is_refused(world: &World, question: Question<'_>, words: &[&str]) -> Result<()> {
    let line = question.refusal().await?;
    for word in words {
        assert!(line.contains(word), "{word:?} is not in {line:?}");
    }
    assert!(world.discord().thread_of(question.message()).is_none(), "a thread was begun");
    assert!(world.discord().reactions(question.message()).is_empty(), "it has a mark");
    world.say_as("carol", "the next one")?.answer().await?;
    assert_eq!(world.ledger().prompts(), ["the next one"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_with_nul_is_refused() -> Result<()> {
    let world = World::start().await?;
    let question = world.say("one\0two")?;
    is_refused(&world, question, &["NUL", "Nothing was started"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_white_space_is_refused() -> Result<()> {
    let world = World::start().await?;
    let question = world.say(" \n\t ")?;
    is_refused(&world, question, &["no text"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_refused_by_its_name() -> Result<()> {
    let world = World::start().await?;
    let image = NewFile {
        filename: "cat.png".into(),
        content_type: Some("image/png".into()),
        bytes: vec![137, 80, 78, 71].into(),
    };
    let question = world.say_with("look at this", vec![image])?;
    is_refused(&world, question, &["`cat.png`", "Nothing was started"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_file_that_is_too_large_is_refused_by_its_name() -> Result<()> {
    let world = World::start().await?;
    let log = NewFile::text("huge.log", "x".repeat(300 * 1024));
    let question = world.say_with("look at this", vec![log])?;
    is_refused(&world, question, &["`huge.log`", "Nothing was started"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_only_says_it_is_text_is_refused_by_its_name() -> Result<()> {
    let world = World::start().await?;
    let binary = NewFile::text("not.txt", vec![0xff, 0xfe, 0x00, 0x41]);
    let question = world.say_with("look at this", vec![binary])?;
    is_refused(&world, question, &["`not.txt`", "UTF-8"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_use_the_project_is_told() -> Result<()> {
    let world = World::builder().people(People::Role("dev".into())).start().await?;
    world.discord().user_with_roles("carol", &["dev"]);
    let question = world.say_as("bob", "let me in")?;
    is_refused(&world, question, &["You may not use **app** here"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_said_once_when_the_gateway_is_started_again() -> Result<()> {
    let world = World::start().await?;
    let question = world.say("one\0two")?;
    question.refusal().await?;
    world.stop_gateway().await?;
    world.start_gateway().await?;
    world.say("the next one")?.answer().await?;
    let in_channel = world.discord().messages(world.channel());
    assert_eq!(in_channel.iter().filter(|message| message.is_bot).count(), 1);
    Ok(())
}
