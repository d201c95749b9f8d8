//! The connection to Discord breaks, is resumed, is refused, falls silent; events come twice, late or
//! never: each message is judged once and answered once.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use harness::discord_sim::{
    BOT_ID, FaultKind, FaultRule, InteractionId, MessageId, MessageKind, Outcome,
};
use harness::{Builder, Question, World};

use crate::scene::keep_buttons;

const MESSAGE: Option<&str> = Some("MESSAGE_CREATE");

/// Each is answered once; a further answer behind them proves that no more is to come.
async fn are_answered_once(world: &World, questions: &[(Question<'_>, String)]) -> Result<()> {
    for (question, text) in questions {
        assert_eq!(question.answer().await?, *text);
    }
    let last = world.say("[[say the last]]")?;
    assert_eq!(last.answer().await?, "the last");
    for (question, text) in questions {
        assert_eq!(question.said_in_thread()?, [text.as_str()]);
    }
    assert_eq!(world.ledger().count("begin"), questions.len() + 1, "one for each question");
    Ok(())
}

fn ask<'w>(world: &'w World, words: &[&str]) -> Result<Vec<(Question<'w>, String)>> {
    let asked =
        words.iter().map(|word| Ok((world.say(&format!("[[say {word}]]"))?, (*word).into())));
    asked.collect()
}

async fn resumed(world: &World, times: u64) -> Result<()> {
    let find =
        |view: &harness::discord_sim::View<'_>| (times <= view.gateway.resumed).then_some(());
    world.sees("a resumed session", find).await
}

async fn identified(world: &World, times: u64) -> Result<()> {
    world
        .sees("a new session", |view| {
            (times <= view.gateway.identified && view.gateway.connected == 1).then_some(())
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_replayed_by_a_resume_is_answered_once() -> Result<()> {
    let world = World::start().await?;
    let mut all = Vec::new();
    // Each time some are replayed, and perhaps some come before or after.
    for round in 0..3 {
        world.discord().cut_sessions();
        let words = ["one", "two", "three"].map(|word| format!("{word} of {round}"));
        all.extend(ask(&world, &words.each_ref().map(String::as_str))?);
        resumed(&world, round + 1).await?;
    }
    let counts = world.discord().gateway();
    assert!(0 < counts.replayed && counts.identified == 1, "{counts:?}");
    are_answered_once(&world, &all).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_told_twice_is_answered_once() -> Result<()> {
    let world = World::start().await?;
    world.discord().repeat_events(MESSAGE, 2);
    let asked = ask(&world, &["one", "two"])?;
    are_answered_once(&world, &asked).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_the_next_gateway_is_told_again_is_answered_once() -> Result<()> {
    let world = World::start().await?;
    let asked = ask(&world, &["one"])?;
    assert_eq!(asked[0].0.mark().await?, "✅");
    for kill in [true, false] {
        if kill {
            world.kill_gateway().await?;
        } else {
            world.stop_gateway().await?;
        }
        // It reads again what came in the last minutes.
        world.start_gateway().await?;
    }
    are_answered_once(&world, &asked).await
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_are_told_out_of_order_are_answered_once() -> Result<()> {
    let world = World::start().await?;
    world.discord().delay_events(MESSAGE, 1);
    let asked = ask(&world, &["late", "on time"])?;
    are_answered_once(&world, &asked).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_answered_in_the_order_of_writing_though_it_was_told_otherwise() -> Result<()>
{
    let world = World::start().await?;
    let first = world.say("[[think hm]] [[wait go]] [[say first]]")?;
    world.reached("go").await?;
    first.thread_name().await?;
    world.discord().delay_events(MESSAGE, 1);
    let second = first.follow_up("[[say second]]").await?;
    let third = first.follow_up("[[say third]]").await?;
    for question in [second, third] {
        question.is_seen().await?;
    }
    world.release("go")?;
    assert_eq!(third.mark().await?, "✅");
    assert_eq!(first.said_in_thread()?, ["first", "second", "third"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_cannot_be_resumed_is_begun_anew_and_misses_nothing() -> Result<()> {
    let world = World::start().await?;
    world.discord().drop_events(MESSAGE, 2);
    let asked = ask(&world, &["one", "two"])?;
    world.discord().invalidate_sessions();
    world.discord().close_sessions(4000);
    identified(&world, 2).await?;
    are_answered_once(&world, &asked).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_session_is_begun_anew_and_misses_nothing() -> Result<()> {
    let world = World::start().await?;
    world.discord().drop_events(MESSAGE, 1);
    let asked = ask(&world, &["one"])?;
    world.discord().say_invalid_session(false);
    identified(&world, 2).await?;
    are_answered_once(&world, &asked).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_discord_never_sent_is_found_when_the_session_is_resumed() -> Result<()> {
    let world = World::start().await?;
    world.discord().drop_events(MESSAGE, 1);
    let asked = ask(&world, &["the lost"])?;
    world.discord().request_reconnect();
    resumed(&world, 1).await?;
    are_answered_once(&world, &asked).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_discord_never_sent_is_found_though_a_later_one_was_heard() -> Result<()> {
    let world = World::start().await?;
    world.discord().drop_events(MESSAGE, 1);
    let mut asked = ask(&world, &["the lost"])?;
    let heard = ask(&world, &["the heard"])?;
    assert_eq!(heard[0].0.mark().await?, "✅");
    world.discord().request_reconnect();
    resumed(&world, 1).await?;
    asked.extend(heard);
    are_answered_once(&world, &asked).await
}

/// A connection that beats often enough for a story.
fn beating() -> Builder {
    World::builder().discord(|options| options.heartbeat = Duration::from_secs(1))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_only_seems_to_live_is_replaced() -> Result<()> {
    let world = beating().start().await?;
    let before = world.discord().gateway();
    world.discord().acknowledge_heartbeats(false);
    world
        .sees("another connection", |view| {
            let now = view.gateway;
            let sessions = |it: harness::discord_sim::GatewayCounts| it.identified + it.resumed;
            (sessions(before) < sessions(now)).then_some(())
        })
        .await?;
    world.discord().acknowledge_heartbeats(true);
    let asked = ask(&world, &["one"])?;
    are_answered_once(&world, &asked).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_person_wrote_starts_nothing() -> Result<()> {
    let world = World::start().await?;
    let first = world.say("[[say first]]")?;
    assert_eq!(first.answer().await?, "first");
    let discord = world.discord();
    let (alice, other) = (discord.user("alice"), discord.other_bot("chatterbox"));
    let kinds = [
        MessageKind::RENAMED,
        MessageKind::PINNED,
        MessageKind::JOINED,
        MessageKind(8),
        MessageKind::THREAD_CREATED,
        MessageKind::THREAD_STARTER,
    ];
    for place in [world.channel(), first.thread()] {
        for kind in kinds {
            let said = discord.system_message(place, alice, kind);
            said.map_err(|error| anyhow!("{kind:?}: {error:?}"))?;
        }
        let said = discord.say(place, other, "[[say the bot's]]");
        said.map_err(|error| anyhow!("{error:?}"))?;
        let said = discord.webhook_says(place, "builds", "[[say the webhook's]]");
        said.map_err(|error| anyhow!("{error:?}"))?;
    }
    // Also when it is read and not heard.
    discord.invalidate_sessions();
    discord.close_sessions(4000);
    identified(&world, 2).await?;
    let last = first.follow_up("[[say last]]").await?;
    assert_eq!(last.answer().await?, "last");
    assert_eq!(world.say("[[say another]]")?.answer().await?, "another");
    let prompts = ["[[say first]]", "[[say last]]", "[[say another]]"];
    assert_eq!(world.ledger().prompts(), prompts, "the questions alone");
    Ok(())
}

/// A run that failed, with its buttons.
async fn failed(world: &World) -> Result<Question<'_>> {
    let question = world.say("[[think hm]] [[die KILL]]")?;
    question.failure().await?;
    Ok(question)
}

/// The button of this label under what the bot said last.
fn button(world: &World, question: Question<'_>, label: &str) -> Result<(MessageId, String)> {
    let said = world.discord().messages(question.thread());
    let mut buttons = said.iter().filter(|it| it.author == BOT_ID).flat_map(|message| {
        let rows = message.components.iter();
        let inside = rows.filter_map(|row| row["components"].as_array()).flatten();
        inside.map(|button| (message.id, button))
    });
    let named = buttons.rfind(|(_, button)| button["label"] == label);
    let (message, button) = named.with_context(|| format!("no button {label}"))?;
    let id = button["custom_id"].as_str().context("a button without an id")?;
    Ok((message, id.to_owned()))
}

fn press(world: &World, (message, button): &(MessageId, String)) -> Result<InteractionId> {
    let discord = world.discord();
    let pressed = discord.press(*message, button, discord.user("alice"));
    pressed.map_err(|error| anyhow!("no press: {error:?}"))
}

async fn outcome(world: &World, press: InteractionId) -> Result<Outcome> {
    world
        .sees("the end of a press", |view| {
            let outcome = view.guild.interaction(press)?.outcome;
            (outcome != Outcome::Waiting).then_some(outcome)
        })
        .await
}

async fn told(world: &World, press: InteractionId) -> Result<String> {
    let find = |view: &harness::discord_sim::View<'_>| {
        let mut answers = view.guild.answers_to(press);
        answers.find(|it| !it.is_loading()).map(|it| it.content.clone())
    };
    world.sees("an answer to a press", find).await
}

fn answers(world: &World) -> u64 {
    world.discord().requests_of("POST /interactions/{id}/{token}/callback")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_press_after_many_reconnections_is_heard_once() -> Result<()> {
    let world = World::start().await?;
    let question = failed(&world).await?;
    for times in 1..4 {
        world.discord().request_reconnect();
        resumed(&world, times).await?;
    }
    // What is heard after this was heard by all who hear.
    let next = question.follow_up("[[say next]]").await?;
    assert_eq!(next.answer().await?, "next");
    let discard = press(&world, &button(&world, question, "Discard")?)?;
    assert_eq!(told(&world, discard).await?, "Discarded.");
    let next = question.follow_up("[[say next]]").await?;
    assert_eq!(next.answer().await?, "next");
    assert_eq!(answers(&world), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_press_that_is_told_twice_is_one() -> Result<()> {
    let world = World::start().await?;
    let question = failed(&world).await?;
    world.discord().repeat_events(Some("INTERACTION_CREATE"), 1);
    let retry = press(&world, &button(&world, question, "Retry")?)?;
    assert_eq!(told(&world, retry).await?, "Trying again.");
    assert_eq!(outcome(&world, retry).await?, Outcome::Answered);
    world.notes("three claudes more", |ledger| ledger.count("begin") == 6).await?;
    assert_eq!(question.mark().await?, "⚠️");
    let next = question.follow_up("[[say next]]").await?;
    assert!(next.answer().await?.ends_with("next"));
    assert_eq!(world.ledger().count("begin"), 7, "tried again once");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_press_without_a_gateway_fails_and_does_nothing() -> Result<()> {
    let world = World::builder()
        .discord(|options| options.interaction_window = Duration::from_millis(500))
        .start()
        .await?;
    let question = failed(&world).await?;
    let retry = button(&world, question, "Retry")?;
    world.stop_gateway().await?;
    let lost = press(&world, &retry)?;
    assert_eq!(outcome(&world, lost).await?, Outcome::Failed);
    world.start_gateway().await?;
    let next = question.follow_up("[[say next]]").await?;
    assert_eq!(next.answer().await?, "next");
    assert_eq!(world.ledger().count("begin"), 4, "nothing was tried again");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_press_that_is_answered_too_late_is_carried_out_once() -> Result<()> {
    let world = World::start().await?;
    let question = failed(&world).await?;
    let discard = button(&world, question, "Discard")?;
    let late = FaultKind::Delay(Duration::from_secs(60));
    world.discord().fault(FaultRule::once("POST", "/callback", late));
    keep_buttons(&world);
    let failed = press(&world, &discard)?;
    assert_eq!(outcome(&world, failed).await?, Outcome::Failed);
    // What was decided is said after it was carried out, though there is nothing to say it over.
    let said = "PATCH /webhooks/{id}/{token}/messages/@original";
    world.sees("the press is carried out", |view| view.requests.get(said).map(drop)).await?;
    let again = press(&world, &discard)?;
    assert_eq!(told(&world, again).await?, "That is decided already.");
    Ok(())
}
