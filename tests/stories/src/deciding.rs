//! What people decide: to stop a run, to try it again, to let it be; by a word in the thread, a
//! reaction under the question, or a button.

use std::fs;

use anyhow::{Context as _, Result, anyhow};
use harness::discord_sim::{InteractionId, MessageId};
use harness::{Builder, Content, People, Question, World, project, said};

use crate::scene::{in_the_middle, is_decided, keep_buttons};

const STOP: &str = "⏹️";

/// An order in the thread of a question, and what its author is told.
pub(crate) async fn order(question: Question<'_>, word: &str) -> Result<String> {
    question.follow_up(word).await?.refusal().await
}

/// The run was stopped, its thread was told, and the session goes on.
async fn is_stopped(question: Question<'_>) -> Result<()> {
    assert_eq!(question.mark().await?, STOP);
    let said = question.texts();
    let last = said.last().context("nothing was said")?;
    assert!(last.contains("Stopped by"), "{said:?}");
    let next = question.follow_up("[[say still here]]").await?;
    assert_eq!(next.answer().await?, "still here");
    Ok(())
}

/// A failure that is over: what would make the run fail has been mended. Nothing else failed.
pub(crate) async fn failed_and_mended(world: &World) -> Result<Question<'_>> {
    let first = world.say("[[say here]]")?;
    assert_eq!(first.answer().await?, "here");
    fs::remove_dir_all(world.folder().project())?;
    let failed = first.follow_up("[[say the answer]]").await?;
    failed.failure().await?;
    project::plain(&world.folder().project())?;
    Ok(failed)
}

/// A world whose project is no repository, and says so: nobody is told why.
pub(crate) fn plain_builder() -> Builder {
    World::builder().content(Content::Plain).project_toml("worktree = false")
}

pub(crate) async fn plain_world() -> Result<World> {
    plain_builder().start().await
}

/// Waits until the bot has said this in the thread of a question.
async fn says(world: &World, question: Question<'_>, text: &str) -> Result<()> {
    let thread = question.thread();
    let find = |it: &harness::discord_sim::Message| it.is_bot && said(it) == Some(text);
    world.sees(text, |view| view.guild.messages(thread).find(|it| find(it)).map(|_| ())).await
}

/// The newest button of this label in the thread of a question.
pub(crate) fn button(
    world: &World,
    question: Question<'_>,
    label: &str,
) -> Result<(MessageId, String)> {
    let said = world.discord().messages(question.thread());
    let mut buttons = said.iter().flat_map(|message| {
        let rows = message.components.iter();
        let inside = rows.filter_map(|row| row["components"].as_array()).flatten();
        inside.map(|button| (message.id, button))
    });
    let named = buttons.rfind(|(_, button)| button["label"] == label);
    let (message, button) = named.with_context(|| format!("no button {label}"))?;
    let id = button["custom_id"].as_str().context("a button without an id")?;
    Ok((message, id.to_owned()))
}

/// Somebody presses a button, and is told so.
pub(crate) async fn press(
    world: &World,
    who: &str,
    (message, button): &(MessageId, String),
) -> Result<String> {
    let discord = world.discord();
    let pressed = discord.press(*message, button, discord.user(who));
    let pressed: InteractionId = pressed.map_err(|error| anyhow!("no press: {error:?}"))?;
    world
        .sees("an answer to a press", |view| {
            let mut answers = view.guild.answers_to(pressed);
            answers.find(|it| !it.is_loading()).map(|it| it.content.clone())
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_word_in_the_thread_stops_the_run() -> Result<()> {
    let world = World::start().await?;
    let question = in_the_middle(&world).await?;
    assert_eq!(order(question, "!stop").await?, "Stopping it.");
    is_stopped(question).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reaction_of_the_asker_stops_the_run() -> Result<()> {
    let world = World::start().await?;
    let question = in_the_middle(&world).await?;
    let discord = world.discord();
    let reacted = discord.react(question.message(), discord.user("alice"), STOP);
    reacted.map_err(|error| anyhow!("no reaction: {error:?}"))?;
    is_stopped(question).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reaction_of_somebody_else_stops_nothing() -> Result<()> {
    let world = World::start().await?;
    let question = in_the_middle(&world).await?;
    let discord = world.discord();
    let reacted = discord.react(question.message(), discord.user("bob"), STOP);
    reacted.map_err(|error| anyhow!("no reaction: {error:?}"))?;
    let next = question.follow_up("[[say the next]]").await?;
    // What is heard after the reaction was heard after it.
    next.is_seen().await?;
    world.release("go")?;
    assert_eq!(next.answer().await?, "the answer\nthe next");
    assert_eq!(question.mark().await?, "✅");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_behind_a_stopped_run_goes_on() -> Result<()> {
    let world = World::start().await?;
    let question = in_the_middle(&world).await?;
    let next = question.follow_up("[[say the next]]").await?;
    next.is_seen().await?;
    assert_eq!(order(question, "!stop").await?, "Stopping it.");
    let answer = next.answer().await?;
    assert!(answer.ends_with("the next"), "{answer}");
    assert_eq!(question.mark().await?, STOP);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_of_the_time_without_a_runner_counts() -> Result<()> {
    let world = World::start().await?;
    let question = in_the_middle(&world).await?;
    world.stop_runner().await?;
    assert!(order(question, "!stop").await?.starts_with("Stopping it."));
    world.start_runner().await?;
    is_stopped(question).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_of_the_time_without_a_gateway_counts() -> Result<()> {
    let world = World::start().await?;
    let question = in_the_middle(&world).await?;
    world.stop_gateway().await?;
    let stop = question.follow_up("!stop").await?;
    world.start_gateway().await?;
    assert_eq!(stop.refusal().await?, "Stopping it.");
    is_stopped(question).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_run_can_be_tried_again() -> Result<()> {
    let world = World::start().await?;
    let question = in_the_middle(&world).await?;
    order(question, "!stop").await?;
    assert_eq!(question.mark().await?, STOP);
    world.release("go")?;
    assert_eq!(order(question, "!retry").await?, "Trying again.");
    says(&world, question, "the answer").await?;
    world
        .until("✅ alone", || {
            let marks = world.discord().reactions(question.message());
            marks.len() == 1 && marks[0].emoji == "✅"
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_run_can_be_tried_again() -> Result<()> {
    let world = plain_world().await?;
    let question = failed_and_mended(&world).await?;
    assert_eq!(order(question, "!retry").await?, "Trying again.");
    says(&world, question, "the answer").await?;
    assert_eq!(world.ledger().count("begin"), 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_button_tries_again_and_a_second_press_is_too_late() -> Result<()> {
    let world = plain_world().await?;
    let question = failed_and_mended(&world).await?;
    let retry = button(&world, question, "Retry")?;
    keep_buttons(&world);
    assert_eq!(press(&world, "alice", &retry).await?, "Trying again.");
    assert_eq!(press(&world, "alice", &retry).await?, "That is decided already.");
    world.discord().clear_faults();
    says(&world, question, "the answer").await?;
    assert_eq!(world.ledger().count("begin"), 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_buttons_go_when_somebody_has_decided() -> Result<()> {
    let world = plain_world().await?;
    let question = failed_and_mended(&world).await?;
    let (failed, _) = button(&world, question, "Retry")?;
    assert_eq!(order(question, "!retry").await?, "Trying again.");
    is_decided(&world, failed, "alice had it tried again.").await?;
    says(&world, question, "the answer").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_retry_finds_nothing_to_try() -> Result<()> {
    let world = plain_world().await?;
    let question = failed_and_mended(&world).await?;
    let first = question.follow_up("!retry").await?;
    let second = question.follow_up("!retry").await?;
    assert_eq!(first.refusal().await?, "Trying again.");
    assert!(second.refusal().await?.starts_with("Nothing in this thread failed"));
    says(&world, question, "the answer").await?;
    assert_eq!(world.ledger().count("begin"), 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_discarded_is_not_tried_again() -> Result<()> {
    let world = plain_world().await?;
    let question = failed_and_mended(&world).await?;
    let retry = button(&world, question, "Retry")?;
    keep_buttons(&world);
    assert_eq!(order(question, "!discard").await?, "Discarded.");
    assert_eq!(press(&world, "alice", &retry).await?, "That is decided already.");
    world.discord().clear_faults();
    assert!(order(question, "!retry").await?.starts_with("Nothing in this thread failed"));
    let next = question.follow_up("[[say the next]]").await?;
    assert!(next.answer().await?.ends_with("the next"));
    assert_eq!(world.ledger().count("begin"), 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_button_from_before_a_retry_is_too_late_also_after_a_restart() -> Result<()> {
    let world = plain_world().await?;
    let question = failed_and_mended(&world).await?;
    let (retry, discard) =
        (button(&world, question, "Retry")?, button(&world, question, "Discard")?);
    keep_buttons(&world);
    assert_eq!(press(&world, "alice", &retry).await?, "Trying again.");
    // The answer waits behind the buttons that stay.
    world.notes("the second result", |ledger| ledger.count("result") == 2).await?;
    world.kill_gateway().await?;
    world.kill_runner().await?;
    world.start_runner().await?;
    world.start_gateway().await?;
    for late in [&discard, &retry] {
        assert_eq!(press(&world, "bob", late).await?, "That is decided already.");
    }
    world.discord().clear_faults();
    assert!(order(question, "!discard").await?.starts_with("Nothing in this thread failed"));
    assert_eq!(world.ledger().count("begin"), 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_use_the_project_may_not_decide() -> Result<()> {
    let people = People::User("alice".into());
    let world = plain_builder().people(people).start().await?;
    let question = failed_and_mended(&world).await?;
    let discard = button(&world, question, "Discard")?;
    assert_eq!(press(&world, "bob", &discard).await?, "You may not decide this.");
    assert_eq!(press(&world, "alice", &discard).await?, "Discarded.");
    is_decided(&world, discard.0, "Discarded by alice.").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_where_nothing_runs_is_told_so() -> Result<()> {
    let world = World::start().await?;
    let question = world.say("[[say the answer]]")?;
    assert_eq!(question.answer().await?, "the answer");
    assert_eq!(order(question, "!stop").await?, "Nothing runs in this thread.");
    assert_eq!(world.ledger().prompts(), ["[[say the answer]]"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_outside_a_thread_is_told_so() -> Result<()> {
    let world = World::start().await?;
    for word in ["!stop", "!retry", "!discard"] {
        let line = world.say(word)?.refusal().await?;
        assert!(line.contains("in the thread"), "{line}");
    }
    assert_eq!(world.ledger().count("begin"), 0);
    Ok(())
}
