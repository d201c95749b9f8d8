//! What an operator decides at the command line, and what is said while nobody is there.

use anyhow::Result;
use harness::{Question, World};

use crate::scene::in_the_middle;

/// Runs a command of the gateway that is to be refused, and returns why.
async fn refused(world: &World, words: &[&str]) -> Result<String> {
    let output = world.gateway_command(words).await?;
    assert!(!output.status.success(), "{words:?} was carried out");
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Waits until the bot has said in the thread of a question what begins so.
async fn says(world: &World, question: Question<'_>, begins: &str) -> Result<String> {
    let thread = question.thread();
    world
        .sees(begins, |view| {
            let mut said = view.guild.messages(thread).filter(|it| it.is_bot);
            said.find(|it| it.content.starts_with(begins)).map(|it| it.content.clone())
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_no_runner_takes_says_what_it_waits_for() -> Result<()> {
    let world = World::builder().without_runner().start().await?;
    let question = world.say("[[say the answer]]")?;
    let said = says(&world, question, "-# Waiting for a runner").await?;
    assert_eq!(said, "-# Waiting for a runner of **app**; none was seen yet.");
    world.start_runner().await?;
    assert_eq!(question.mark().await?, "✅");
    let follow_up = question.follow_up("[[say the second]]").await?;
    assert_eq!(follow_up.mark().await?, "✅");
    assert_eq!(question.said_in_thread()?, [said.as_str(), "the answer", "the second"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_ends_a_run_at_the_command_line_once() -> Result<()> {
    let world = World::start().await?;
    let question = in_the_middle(&world).await?;
    let run = format!("m{}", question.message());
    assert!(world.gateway_command(&["end", &run]).await?.status.success());
    assert_eq!(question.mark().await?, "⏹️");
    let said = question.texts().join("\n");
    assert!(said.contains("Ended by the operator."), "{said}");
    let why = refused(&world, &["end", &run]).await?;
    assert!(why.contains("has its outcome already"), "{why}");
    world.is_quiet().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_cannot_be_carried_out_says_what_to_do() -> Result<()> {
    let world = World::start().await?;
    let question = world.say("[[say the answer]]")?;
    assert_eq!(question.answer().await?, "the answer");
    let thread = question.thread().to_string();
    for (words, expected) in [
        (["end", "m1", ""], "there is no run m1"),
        (["move", "1", "host"], "no conversation is known in the thread 1"),
        (["move", thread.as_str(), "host"], "`gateway-svc owner app host`"),
        (["owner", "app", "build-2"], "no runner build-2 has shown itself"),
        (["owner", "web", "host"], "web is no project of the configuration"),
    ] {
        let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
        let why = refused(&world, &words).await?;
        assert!(why.contains(expected), "{words:?}: {why}");
    }
    let output = world.gateway_command(&["owner", "app", "host"]).await?;
    assert_eq!(String::from_utf8_lossy(&output.stdout), "host owns app already\n");
    Ok(())
}
