//! Clicks that Discord never sends: from a thread that is not the ask's, at a message that is gone, with
//! names that nobody made. Each is answered with a line, decides nothing that it may not, and spoils
//! nothing.

use anyhow::{Result, anyhow};
use harness::discord_sim::Outcome;
use harness::{Question, World};

use crate::asking::{Ask, asks, click, ends, patient, told, touch};

/// A question that waits for leave, and one in another thread.
async fn two_threads(world: &World) -> Result<(Question<'_>, Ask, Question<'_>)> {
    let elsewhere = world.say("[[say elsewhere]]")?;
    assert_eq!(elsewhere.answer().await?, "elsewhere");
    let question = world.say(&touch("made"))?;
    let allow = asks(world, question, "Allow once").await?;
    Ok((question, allow, elsewhere))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_click_from_a_foreign_thread_decides_nothing() -> Result<()> {
    let world = patient().start().await?;
    let (question, allow, elsewhere) = two_threads(&world).await?;
    for label in ["Allow once", "Allow for this thread", "Deny"] {
        let button = asks(&world, question, label).await?;
        let forged = button.forge(&world, "alice", elsewhere.thread())?;
        assert_eq!(told(&world, forged).await?, "You may not decide this.", "{label}");
    }
    world.kill_gateway().await?;
    world.kill_runner().await?;
    world.start_runner().await?;
    world.start_gateway().await?;
    let forged = allow.forge(&world, "alice", elsewhere.thread())?;
    assert_eq!(told(&world, forged).await?, "You may not decide this.");
    assert!(!question.worktree().join("made").exists());
    assert_eq!(click(&world, "alice", &allow).await?, "Allowed by alice.");
    ends(question, "it says:").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_from_a_foreign_thread_decides_nothing() -> Result<()> {
    let world = patient().start().await?;
    let (question, allow, elsewhere) = two_threads(&world).await?;
    let why = asks(&world, question, "Deny with reason…").await?;
    let forged = why.forge(&world, "alice", elsewhere.thread())?;
    let is_open = |view: &harness::discord_sim::View<'_>| {
        view.guild.interaction(forged)?.modal_is_open.then_some(())
    };
    world.sees("a form", is_open).await?;
    let handed_in = world.discord().submit_modal(forged, &[("words", "because")]);
    let handed_in = handed_in.map_err(|error| anyhow!("no form: {error:?}"))?;
    assert_eq!(told(&world, handed_in).await?, "You may not decide this.");
    assert_eq!(click(&world, "alice", &allow).await?, "Allowed by alice.");
    ends(question, "it says:").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_click_at_a_message_that_was_deleted_counts_by_what_it_names() -> Result<()> {
    let world = patient().start().await?;
    let (question, allow, _) = two_threads(&world).await?;
    world.discord().delete(allow.message())?;
    // The name says which ask; who may decide is looked at as for any click.
    let forged = allow.forge(&world, "alice", question.thread())?;
    assert_eq!(told(&world, forged).await?, "Allowed by alice.");
    let again = allow.forge(&world, "bob", question.thread())?;
    let line = told(&world, again).await?;
    let is_over = line == "Nobody waits for this any more; nothing was done.";
    assert!(is_over || line == "That is decided already: Allowed by alice.", "{line}");
    ends(question, "it says:").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_click_of_a_name_that_nobody_made_is_told_so() -> Result<()> {
    let world = patient().start().await?;
    let (question, allow, _) = two_threads(&world).await?;
    let run = format!("m{}", question.message());
    let names = [
        String::new(),
        "/".repeat(100),
        "yes/".to_owned(),
        format!("yes/{run}/1/1"),
        format!("yes/{run}/99999999999999999999/1/x/0"),
        format!("yes/{run}/1/1/../../0"),
        format!("pick31/{run}/1/1/x/18446744073709551615"),
        format!("send/{run}/../1"),
        "stop/m1/-1".to_owned(),
        "\u{202e}yes/🦀/'; DROP TABLE runs; --".to_owned(),
        "missed/run/5/7".to_owned(),
    ];
    let (discord, thread) = (world.discord(), question.thread());
    for name in &names {
        let alice = discord.user("alice");
        let forged = discord.forge_press((thread, question.message()), name, alice);
        let forged = forged.map_err(|error| anyhow!("no press: {error:?}"))?;
        let line = told(&world, forged).await?;
        assert!(!line.is_empty(), "{name}");
        assert_eq!(discord.outcome(forged), Some(Outcome::Answered), "{name}: {line}");
    }
    assert!(!question.worktree().join("made").exists());
    assert_eq!(click(&world, "alice", &allow).await?, "Allowed by alice.");
    ends(question, "it says:").await
}
