//! A run is ended whether its runner answers or not: what waits goes on, the runner stops its claude
//! when it is back, and nothing is said twice.

use anyhow::{Result, anyhow};
use harness::discord_sim::{BOT_ID, FaultKind, FaultRule, MessageId};
use harness::{Question, World};

use crate::deciding::{button, order, press};
use crate::scene::{is_decided, keep_buttons};

const ASKED: &str = "[[think hm]] [[wait go]] [[say the answer]]";
const STOP: &str = "⏹️";

/// Claude is in the middle of the run, and its runner is killed.
async fn in_the_middle_without_runner(world: &World) -> Result<Question<'_>> {
    let question = world.say(ASKED)?;
    world.reached("go").await?;
    world.kill_runner().await?;
    Ok(question)
}

/// The run is ended, and its thread was told once, by whom.
async fn is_ended(world: &World, question: Question<'_>) -> Result<()> {
    assert_eq!(question.mark().await?, STOP);
    let told = |text: &&String| text.contains("Ended by");
    let thread = question.thread();
    let ended = |it: &harness::discord_sim::Message| it.is_bot && it.content.contains("Ended by");
    world
        .sees("the end", |view| view.guild.messages(thread).find(|it| ended(it)).map(|_| ()))
        .await?;
    assert_eq!(question.said_in_thread()?.iter().filter(told).count(), 1);
    Ok(())
}

/// How often the bot said this in the thread.
fn times(question: Question<'_>, text: &str) -> Result<usize> {
    Ok(question.said_in_thread()?.iter().filter(|said| *said == text).count())
}

/// What was asked next is answered, and what was ended never is.
async fn the_next_is_answered(question: Question<'_>, next: Question<'_>) -> Result<()> {
    assert_eq!(next.mark().await?, "✅");
    assert_eq!(times(question, "the next")?, 1);
    assert_eq!(times(question, "the answer")?, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_behind_an_ended_run_goes_on_when_the_runner_is_back() -> Result<()> {
    let world = World::start().await?;
    let question = in_the_middle_without_runner(&world).await?;
    let next = question.follow_up("[[say the next]]").await?;
    next.is_seen().await?;
    assert_eq!(order(question, "!end").await?, "Ended.");
    is_ended(&world, question).await?;
    let said = question.said_in_thread()?.join("\n");
    assert!(said.contains("claude may") && said.contains("**host**"), "{said}");
    world.start_runner().await?;
    the_next_is_answered(question, next).await?;
    is_ended(&world, question).await?;
    let ledger = world.ledger();
    assert_eq!(ledger.prompts(), [ASKED, "[[say the next]]"]);
    let ends = ledger.all("begin").iter().map(|noted| noted.pid).collect::<Vec<_>>();
    assert_eq!(ends.len(), 2, "{ends:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_the_time_without_a_runner_is_not_told_after_the_end() -> Result<()> {
    let world = World::start().await?;
    let question = in_the_middle_without_runner(&world).await?;
    assert_eq!(order(question, "!end").await?, "Ended.");
    world.release("go")?;
    world.notes("the result", |ledger| ledger.count("result") == 1).await?;
    world.start_runner().await?;
    let next = question.follow_up("[[say the next]]").await?;
    the_next_is_answered(question, next).await?;
    is_ended(&world, question).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_no_runner_has_begun_is_ended_by_the_button_once() -> Result<()> {
    let world = World::builder().without_runner().start().await?;
    let question = world.say("[[say the answer]]")?;
    let line = order(question, "!stop").await?;
    assert!(line.starts_with("Stopping it. No runner"), "{line}");
    let end = button(&world, question, "End it now")?;
    keep_buttons(&world);
    assert_eq!(press(&world, "alice", &end).await?, "Ended.");
    assert_eq!(press(&world, "bob", &end).await?, "That is decided already.");
    world.discord().clear_faults();
    is_decided(&world, end.0, "alice ended it.").await?;
    is_ended(&world, question).await?;
    world.start_runner().await?;
    let next = question.follow_up("[[say the next]]").await?;
    the_next_is_answered(question, next).await?;
    assert_eq!(world.ledger().prompts(), ["[[say the next]]"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reaction_that_nobody_hears_brings_the_button() -> Result<()> {
    let world = World::builder().without_runner().start().await?;
    let question = world.say("[[say the answer]]")?;
    question.is_seen().await?;
    let discord = world.discord();
    let reacted = discord.react(question.message(), discord.user("alice"), STOP);
    reacted.map_err(|error| anyhow!("no reaction: {error:?}"))?;
    let offer =
        |it: &harness::discord_sim::Message| it.content.starts_with("Stopping it. No runner");
    let thread = question.thread();
    world
        .sees("the offer", |view| view.guild.messages(thread).find(|it| offer(it)).map(|_| ()))
        .await?;
    let end = button(&world, question, "End it now")?;
    assert_eq!(press(&world, "alice", &end).await?, "Ended.");
    is_ended(&world, question).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_ended_while_it_waited_for_its_runner_is_never_begun() -> Result<()> {
    let world = World::start().await?;
    let first = world.say("[[say the first]]")?;
    assert_eq!(first.answer().await?, "the first");
    world.stop_runner().await?;
    let question = first.follow_up("[[say the answer]]").await?;
    question.is_seen().await?;
    assert_eq!(order(first, "!end").await?, "Ended.");
    is_ended(&world, question).await?;
    world.start_runner().await?;
    let next = first.follow_up("[[say the next]]").await?;
    the_next_is_answered(question, next).await?;
    assert_eq!(world.ledger().prompts(), ["[[say the first]]", "[[say the next]]"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_held_is_ended_at_once_and_its_claude_stopped() -> Result<()> {
    let world = World::start().await?;
    let question = world.say(ASKED)?;
    world.reached("go").await?;
    assert_eq!(order(question, "!end").await?, "Ended.");
    is_ended(&world, question).await?;
    world.is_quiet().await?;
    let next = question.follow_up("[[say the next]]").await?;
    the_next_is_answered(question, next).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ended_run_is_tried_again_after_its_old_claude_was_stopped() -> Result<()> {
    let world = World::start().await?;
    let question = in_the_middle_without_runner(&world).await?;
    assert_eq!(order(question, "!end").await?, "Ended.");
    is_ended(&world, question).await?;
    assert_eq!(order(question, "!retry").await?, "Trying again.");
    world.start_runner().await?;
    world.notes("a second claude", |ledger| ledger.count("wait") == 2).await?;
    let old = world.ledger().all("begin")[0].pid;
    let left = world.processes().await;
    assert!(left.iter().all(|process| process.pid.to_string() != old.to_string()), "{left:#?}");
    world.release("go")?;
    world
        .until("✅ alone", || {
            let marks = world.discord().reactions(question.message());
            marks.len() == 1 && marks[0].emoji == "✅"
        })
        .await?;
    let next = question.follow_up("[[say the next]]").await?;
    assert_eq!(next.mark().await?, "✅");
    assert_eq!((times(question, "the answer")?, times(question, "the next")?), (1, 1));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_outlives_the_gateway_that_took_it() -> Result<()> {
    let world = World::start().await?;
    let question = in_the_middle_without_runner(&world).await?;
    let next = question.follow_up("[[say the next]]").await?;
    next.is_seen().await?;
    let end = question.follow_up("!end").await?;
    world.until("the end", || world.log("gateway-svc").contains("order=End")).await?;
    world.kill_gateway().await?;
    world.start_gateway().await?;
    world.start_runner().await?;
    assert_eq!(end.refusal().await?, "Ended.");
    the_next_is_answered(question, next).await?;
    is_ended(&world, question).await?;
    assert_eq!(times(question, "Ended.")?, 1);
    Ok(())
}

/// A message in the thread that may be taken back: nobody waits for its answer.
async fn aside(world: &World, question: Question<'_>, text: &str) -> Result<MessageId> {
    let discord = world.discord();
    let said = discord.say(question.thread(), discord.user("alice"), text);
    let message = said.map_err(|error| anyhow!("Discord refuses the message: {error:?}"))?;
    has_mark(world, message, "👀").await?;
    Ok(message)
}

async fn has_mark(world: &World, message: MessageId, mark: &str) -> Result<()> {
    let has = |it: &harness::discord_sim::Message| it.has_reaction(BOT_ID, mark);
    world.sees(mark, |view| view.guild.message(message).filter(|it| has(it)).map(|_| ())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_drops_what_waits_where_nothing_runs() -> Result<()> {
    let world = World::start().await?;
    let first = world.say("[[say the first]]")?;
    assert_eq!(first.answer().await?, "the first");
    world.stop_gateway().await?;
    // Nothing is begun in a thread that cannot be read.
    let unread = FaultRule::once("GET", "/messages", FaultKind::StatusBefore(503));
    world.discord().fault(unread.times(1000));
    world.start_gateway().await?;
    let second = aside(&world, first, "[[say the second]]").await?;
    let third = aside(&world, first, "[[say the third]]").await?;
    let line = order(first, "!stop").await?;
    assert_eq!(line, "Nothing runs; 2 wait. Delete a message to drop it.");
    let dropped = "It was still waiting; it is dropped.";
    assert_eq!(order(first, "!end").await?, dropped);
    has_mark(&world, third, STOP).await?;
    assert_eq!(order(first, "!end").await?, dropped);
    has_mark(&world, second, STOP).await?;
    assert_eq!(order(first, "!end").await?, "Nothing runs or waits in this thread.");
    world.discord().clear_faults();
    assert_eq!(world.ledger().prompts(), ["[[say the first]]"]);
    Ok(())
}
