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

fn film() -> NewFile {
    NewFile {
        filename: "film.mp4".into(),
        content_type: Some("video/mp4".into()),
        bytes: vec![0; 100].into(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_a_kind_that_is_not_taken_is_refused_by_its_name() -> Result<()> {
    let world = World::start().await?;
    let question = world.say_with("", vec![film()])?;
    is_refused(&world, question, &["`film.mp4`", "text, images, PDF", "Nothing was started"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_file_and_one_of_30_megabytes_are_refused_by_their_names() -> Result<()> {
    let world = World::start().await?;
    let files = vec![
        NewFile::text("nothing.txt", ""),
        NewFile::text("huge.log", vec![b'x'; 30 * 1024 * 1024]),
    ];
    let question = world.say_with(" ", files)?;
    let words =
        ["`nothing.txt` is empty", "`huge.log` is too large (31.4 MB", "Nothing was started"];
    is_refused(&world, question, &words).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_goes_on_without_the_files_that_are_refused_and_both_are_told() -> Result<()> {
    let world = World::builder()
        .gateway_toml("[projects.app.files]\nmax_count = 1\nmax_mib = 1\nkinds = [\"text\"]\n")
        .start()
        .await?;
    let files = vec![
        film(),
        NewFile::text("a.txt", "one"),
        NewFile::text("b.txt", "two"),
        NewFile::text("c.txt", vec![b'x'; 1024 * 1024 + 1]),
    ];
    let question = world.say_with("look [[say thank you]]", files)?;
    let said = question.pages().await?;
    let out = [
        "`film.mp4` is none of what may be attached here: text",
        "`b.txt` is one too many: a message may have 1",
        "`c.txt` is too large (1.0 MB; a file may have 1.0 MB)",
    ];
    assert_eq!(said, [format!("-# 📎 Left out: {}.", out.join("; ")), "thank you".to_owned()]);
    let ledger = world.ledger();
    let [heard] = ledger.prompts()[..] else { panic!("{:?}", ledger.prompts()) };
    assert!(
        heard.starts_with("look [[say thank you]]\n\nAttached file a.txt:\none\n\n"),
        "{heard}"
    );
    assert!(heard.contains("not given to you:\n- film.mp4 is none of"), "{heard}");
    Ok(())
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
