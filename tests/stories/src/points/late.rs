//! The gateway dies while it deals with what nobody heard, with a place that is gone, or with one
//! that takes no word.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use harness::discord_sim::{BOT_ID, Message, MessageId, View};
use harness::{Content, World};

use super::{AT_WORK, is_answered_once};
use crate::scene::is_decided;

const DAYS: Duration = Duration::from_secs(48 * 60 * 60);

async fn dies_and_goes_on(world: &World) -> Result<()> {
    world.gateway_dies().await?;
    world.start_gateway().await
}

/// What the bot said in the channel that begins so.
fn said(world: &World, begins: &str) -> Vec<Message> {
    let said = world.discord().messages(world.channel()).into_iter();
    said.filter(|it| it.is_bot && it.content.starts_with(begins)).collect()
}

async fn says(world: &World, begins: &str) -> Result<Message> {
    let channel = world.channel();
    let is_it = |it: &&Message| it.is_bot && it.content.starts_with(begins);
    world.sees(begins, |view| view.guild.messages(channel).find(is_it).cloned()).await
}

/// A message of two days ago, which nobody heard. The gateway is to die where it is told of it.
async fn found_too_late(point: &str) -> Result<(World, MessageId)> {
    let world = World::builder().discord_behind(DAYS).start().await?;
    assert_eq!(world.say("[[say first]]")?.answer().await?, "first");
    world.stop_gateway().await?;
    let discord = world.discord();
    let old = discord.say(world.channel(), discord.user("alice"), "[[say old]]");
    let old = old.map_err(|error| anyhow!("Discord refuses the message: {error:?}"))?;
    discord.advance(DAYS);
    world.start_gateway_to_die_at(point).await?;
    Ok((world, old))
}

/// Somebody wants the message of a list to be run.
fn press(world: &World, list: &Message) -> Result<()> {
    let rows = list.components.iter().filter_map(|row| row["components"].as_array());
    let button = rows.flatten().find(|button| button["label"] == "Run it").context("no button")?;
    let id = button["custom_id"].as_str().context("a button without an id")?;
    let discord = world.discord();
    let pressed = discord.press(list.id, id, discord.user("alice"));
    pressed.map(|_| ()).map_err(|error| anyhow!("no press: {error:?}"))
}

/// The message was listed once, its list was decided about, and it was run once.
async fn is_run_once(world: &World, old: MessageId, list: MessageId) -> Result<()> {
    let is_alone = |view: &View<'_>| match view.guild.reactions(old) {
        [only] if only.emoji == "✅" => Some(()),
        _ => None,
    };
    world.sees("✅ alone", is_alone).await?;
    is_decided(world, list, "alice had them run.").await?;
    assert_eq!(world.say("[[say another]]")?.answer().await?, "another");
    assert_eq!(said(world, "I missed ").len(), 1);
    assert_eq!(world.ledger().count("begin"), 3, "one for each question");
    world.nothing_is_left().await
}

async fn a_list_survives(point: &str) -> Result<()> {
    let (world, old) = found_too_late(point).await?;
    dies_and_goes_on(&world).await?;
    let list = says(&world, "I missed ").await?;
    press(&world, &list)?;
    is_run_once(&world, old, list.id).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_survives_a_death_after_its_message_was_stored() -> Result<()> {
    a_list_survives("missed.stored").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_survives_a_death_after_the_cursor_went_over_its_message() -> Result<()> {
    a_list_survives("read.moved").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_survives_a_death_after_it_was_made() -> Result<()> {
    a_list_survives("missed.listed").await
}

async fn a_decision_survives(point: &str) -> Result<()> {
    let (world, old) = found_too_late(point).await?;
    let list = says(&world, "I missed ").await?;
    press(&world, &list)?;
    dies_and_goes_on(&world).await?;
    is_run_once(&world, old, list.id).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_about_a_list_survives_a_death_after_it_is_stored() -> Result<()> {
    a_decision_survives("missed.decided").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_about_a_list_survives_a_death_after_its_run_was_stored() -> Result<()> {
    a_decision_survives("missed.run").await
}

/// A channel is told once of a time without a gateway.
async fn a_time_away_survives(point: &str) -> Result<()> {
    let world = World::start().await?;
    assert_eq!(world.say("[[say first]]")?.answer().await?, "first");
    world.stop_gateway().await?;
    let question = world.say("[[say missed]]")?;
    world.start_gateway_to_die_at(point).await?;
    dies_and_goes_on(&world).await?;
    let line = says(&world, "-# I was away ").await?.content;
    assert!(line.ends_with("; 1 message of that time is answered now."), "{line}");
    assert_eq!(question.answer().await?, "missed");
    assert_eq!(world.say("[[say another]]")?.answer().await?, "another");
    assert_eq!(said(&world, "-# I was away ").len(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_away_is_told_after_a_death_when_it_was_noted() -> Result<()> {
    a_time_away_survives("away.noted").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_away_is_told_once_after_a_death_when_it_was_told() -> Result<()> {
    a_time_away_survives("away.told").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_hears_once_where_claude_works_though_the_gateway_dies_of_it() -> Result<()> {
    let world = World::builder().content(Content::Plain).without_gateway().start().await?;
    world.start_gateway_to_die_at("feed.noticed").await?;
    let question = world.say("[[say the answer]]")?;
    dies_and_goes_on(&world).await?;
    assert_eq!(question.mark().await?, "✅");
    let said = question.said_in_thread()?;
    let [notice, answer] = said.as_slice() else { panic!("{said:?}") };
    assert!(notice.starts_with("-# ") && answer == "the answer", "{said:?}");
    Ok(())
}

/// A question whose claude is at work, and whose thread is there.
macro_rules! in_its_thread {
    ($world:expr) => {{
        let question = $world.say(AT_WORK)?;
        $world.reached("go").await?;
        question.thread_name().await?;
        question
    }};
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mark_survives_a_death_after_its_thread_was_found_gone() -> Result<()> {
    let world = World::builder().lenient().without_gateway().start().await?;
    world.start_gateway_to_die_at("post.gone").await?;
    let question = in_its_thread!(world);
    let deleted = world.discord().delete_channel(question.thread());
    deleted.map_err(|error| anyhow!("the thread is not deleted: {error:?}"))?;
    world.release("go")?;
    dies_and_goes_on(&world).await?;
    assert_eq!(question.mark().await?, "✅");
    assert_eq!(world.say("[[say another]]")?.answer().await?, "another");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_thread_is_told_of_once_though_the_gateway_dies_of_it() -> Result<()> {
    let parked = "[posting]\nparked_pause_s = 1\n";
    let world = World::builder().gateway_toml(parked).without_gateway().start().await?;
    world.start_gateway_to_die_at("park.told").await?;
    let question = in_its_thread!(world);
    let lock = |locked| {
        let done = world.discord().lock(question.thread(), locked);
        done.map_err(|error| anyhow!("Discord refuses: {error:?}"))
    };
    lock(true)?;
    world.release("go")?;
    dies_and_goes_on(&world).await?;
    says(&world, "-# ⚠️ I can't post in <#").await?;
    lock(false)?;
    is_answered_once(&world, question).await?;
    let lines = said(&world, "-# ⚠️ ");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0].author, BOT_ID);
    Ok(())
}

/// What is old is looked for at each start.
async fn an_answer_survives_at_the_start(point: &str) -> Result<()> {
    let world = World::start().await?;
    world.kill_gateway().await?;
    let question = world.say("[[say the answer]]")?;
    world.start_gateway_to_die_at(point).await?;
    dies_and_goes_on(&world).await?;
    is_answered_once(&world, question).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_survives_a_death_before_what_is_old_is_taken_away() -> Result<()> {
    an_answer_survives_at_the_start("retention.expired").await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_survives_a_death_after_what_is_old_was_taken_away() -> Result<()> {
    an_answer_survives_at_the_start("retention.forgot").await
}
