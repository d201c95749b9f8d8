//! Messages that nobody heard: read afterwards, told of once, and when they are old, listed first.
//!
//! Discord's clock begins two days behind, so that what is written while the gateway is down is two
//! days old when it is there again.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use harness::discord_sim::{
    ChannelId, FaultKind, FaultRule, InteractionId, Message, MessageId, Permissions,
};
use harness::{People, Question, World};

use crate::scene::{is_decided, keep_buttons};

const DAYS: Duration = Duration::from_secs(48 * 60 * 60);
const LATE_ORDER: &str = "too old to be carried out";

/// A world in which something is answered already, and nobody listens any more.
async fn two_days_ago(people: People) -> Result<World> {
    let world = World::builder().discord_behind(DAYS).people(people).start().await?;
    let first = world.say("[[say first]]")?;
    assert_eq!(first.answer().await?, "first");
    world.stop_gateway().await?;
    Ok(world)
}

/// Two days later, somebody listens again.
async fn today(world: &World) -> Result<()> {
    world.discord().advance(DAYS);
    world.start_gateway().await
}

/// A message that may stay without an answer.
fn aside(world: &World, place: ChannelId, text: &str) -> Result<MessageId> {
    let discord = world.discord();
    let said = discord.say(place, discord.user("alice"), text);
    said.map_err(|error| anyhow!("Discord refuses the message: {error:?}"))
}

/// The lists in a place.
fn lists(world: &World, place: ChannelId) -> Vec<Message> {
    let said = world.discord().messages(place).into_iter();
    said.filter(|it| it.is_bot && it.content.starts_with("I missed ")).collect()
}

/// Waits for the list in a place.
async fn listed(world: &World, place: ChannelId) -> Result<Message> {
    let is_list = |it: &&Message| it.is_bot && it.content.starts_with("I missed ");
    world.sees("a list", |view| view.guild.messages(place).find(is_list).cloned()).await
}

/// Somebody presses a button under a list, and is told so.
async fn press(world: &World, who: &str, list: &Message, label: &str) -> Result<String> {
    let rows = list.components.iter().filter_map(|row| row["components"].as_array());
    let button = rows.flatten().find(|button| button["label"] == label);
    let button = button.with_context(|| format!("no button {label}: {:?}", list.components))?;
    let id = button["custom_id"].as_str().context("a button without an id")?;
    let discord = world.discord();
    let pressed = discord.press(list.id, id, discord.user(who));
    let pressed: InteractionId = pressed.map_err(|error| anyhow!("no press: {error:?}"))?;
    world
        .sees("an answer to a press", |view| {
            let mut answers = view.guild.answers_to(pressed);
            answers.find(|it| !it.is_loading()).map(|it| it.content.clone())
        })
        .await
}

/// Waits for the mark under a message that it was answered, and nothing else.
async fn is_answered(world: &World, message: MessageId) -> Result<()> {
    world
        .sees("✅ alone", |view| match view.guild.reactions(message) {
            [only] if only.emoji == "✅" => Some(()),
            _ => None,
        })
        .await
}

/// What was said about times away in the channel.
fn aways(world: &World) -> Vec<String> {
    let said = world.discord().messages(world.channel()).into_iter();
    let lines = said.filter(|it| it.is_bot && it.content.starts_with("-# I was away "));
    lines.map(|it| it.content).collect()
}

/// Waits until something was said about a time away.
async fn is_told(world: &World) -> Result<String> {
    world
        .sees("a line about the time away", |view| {
            let mut said = view.guild.messages(world.channel());
            let line = said.find(|it| it.is_bot && it.content.starts_with("-# I was away "));
            line.map(|it| it.content.clone())
        })
        .await
}

/// Asks and is answered: what was to be said before was said before.
async fn another(world: &World) -> Result<Question<'_>> {
    let question = world.say("[[say another]]")?;
    assert_eq!(question.answer().await?, "another");
    Ok(question)
}

#[tokio::test(flavor = "multi_thread")]
async fn old_messages_are_listed_and_run_when_somebody_says_so() -> Result<()> {
    let world = two_days_ago(People::User("alice".into())).await?;
    let one = aside(&world, world.channel(), "[[say one]]")?;
    let two = aside(&world, world.channel(), "[[say two]]")?;
    today(&world).await?;
    let list = listed(&world, world.channel()).await?;
    for part in ["2 messages", "24 h", "[[say one]]", "[[say two]]", &one.to_string()] {
        assert!(list.content.contains(part), "{part} is not in {}", list.content);
    }
    another(&world).await?;
    assert_eq!(world.ledger().count("begin"), 2, "none of them is run");
    assert_eq!(press(&world, "bob", &list, "Run them").await?, "You may not decide this.");
    keep_buttons(&world);
    let line = press(&world, "alice", &list, "Run them").await?;
    assert!(line.starts_with("I run all 2 now"), "{line}");
    is_answered(&world, one).await?;
    is_answered(&world, two).await?;
    let line = press(&world, "alice", &list, "Leave them").await?;
    assert_eq!(line, "That is decided already: alice had them run.");
    world.discord().clear_faults();
    is_decided(&world, list.id, "alice had them run.").await?;
    assert_eq!(world.ledger().count("begin"), 4);
    assert_eq!(lists(&world, world.channel()).len(), 1);
    assert_eq!(aways(&world), [""; 0], "the list says it");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn old_messages_of_a_thread_are_run_in_order_as_they_are_now() -> Result<()> {
    let world = World::builder().discord_behind(DAYS).start().await?;
    let first = world.say("[[say first]]")?;
    assert_eq!(first.answer().await?, "first");
    world.stop_gateway().await?;
    let texts = ["one", "old", "deleted", "four", "five"];
    let mut old = Vec::new();
    for text in texts {
        old.push(aside(&world, first.thread(), &format!("[[say {text}]]"))?);
    }
    let stop = first.follow_up("!stop").await?;
    today(&world).await?;
    let list = listed(&world, first.thread()).await?;
    assert!(list.content.contains("5 messages"), "an order is not among them: {}", list.content);
    assert!(stop.refusal().await?.contains(LATE_ORDER));
    let discord = world.discord();
    discord.edit(old[1], "[[say two]]").map_err(|error| anyhow!("{error:?}"))?;
    discord.edit(old[3], "!retry").map_err(|error| anyhow!("{error:?}"))?;
    discord.delete(old[2]).map_err(|error| anyhow!("{error:?}"))?;
    press(&world, "alice", &list, "Run them").await?;
    for message in [old[0], old[1], old[4]] {
        is_answered(&world, message).await?;
    }
    assert_eq!(
        world.ledger().prompts(),
        ["[[say first]]", "[[say one]]", "[[say two]]", "[[say five]]"]
    );
    let said = first.said_in_thread()?;
    assert_eq!(said.iter().filter(|it| it.contains(LATE_ORDER)).count(), 2, "{said:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn old_messages_that_are_left_are_never_run() -> Result<()> {
    let world = two_days_ago(People::Everyone).await?;
    let old = aside(&world, world.channel(), "[[say old]]")?;
    today(&world).await?;
    let list = listed(&world, world.channel()).await?;
    assert!(list.content.starts_with("I missed a message"), "{}", list.content);
    keep_buttons(&world);
    assert_eq!(press(&world, "bob", &list, "Leave it").await?, "They are left as they are.");
    world.stop_gateway().await?;
    world.start_gateway().await?;
    let line = press(&world, "alice", &list, "Run it").await?;
    assert_eq!(line, "That is decided already: bob left them.");
    world.discord().clear_faults();
    is_decided(&world, list.id, "bob left them.").await?;
    another(&world).await?;
    assert_eq!(world.ledger().count("begin"), 2);
    assert_eq!(world.discord().reactions(old), []);
    assert_eq!(lists(&world, world.channel()).len(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_survives_a_killed_gateway() -> Result<()> {
    let world = two_days_ago(People::Everyone).await?;
    let old = aside(&world, world.channel(), "[[say old]]")?;
    today(&world).await?;
    let list = listed(&world, world.channel()).await?;
    world.kill_gateway().await?;
    world.start_gateway().await?;
    another(&world).await?;
    assert_eq!(lists(&world, world.channel()).len(), 1, "it is said once");
    press(&world, "alice", &list, "Run it").await?;
    is_answered(&world, old).await?;
    assert_eq!(world.ledger().count("begin"), 3);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_decided_survives_a_killed_gateway() -> Result<()> {
    let world = two_days_ago(People::Everyone).await?;
    let mut old = Vec::new();
    for text in ["one", "two", "three"] {
        old.push(aside(&world, world.channel(), &format!("[[say {text}]]"))?);
    }
    today(&world).await?;
    let list = listed(&world, world.channel()).await?;
    // The first of them is run, and the gateway dies before the others are.
    let second = format!("/messages/{}", old[1]);
    let unreadable = FaultRule::once("GET", &second, FaultKind::StatusBefore(503));
    world.discord().fault(unreadable.times(1000));
    press(&world, "alice", &list, "Run them").await?;
    is_answered(&world, old[0]).await?;
    world.kill_gateway().await?;
    world.discord().clear_faults();
    assert_eq!(world.ledger().count("begin"), 2);
    world.start_gateway().await?;
    for message in old {
        is_answered(&world, message).await?;
    }
    assert_eq!(world.ledger().count("begin"), 4, "each is run once");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_is_told_once_of_a_time_without_a_gateway() -> Result<()> {
    let world = World::start().await?;
    let first = world.say("[[say first]]")?;
    assert_eq!(first.answer().await?, "first");
    world.stop_gateway().await?;
    let in_channel = world.say("[[say in the channel]]")?;
    let in_thread = first.follow_up("[[say in the thread]]").await?;
    world.start_gateway().await?;
    let line = is_told(&world).await?;
    assert!(line.ends_with("; 2 messages of that time are answered now."), "{line}");
    assert_eq!(in_channel.answer().await?, "in the channel");
    assert_eq!(in_thread.mark().await?, "✅");
    assert_eq!(
        first.said_in_thread()?,
        ["first", "in the thread"],
        "a thread's line is its channel's"
    );
    world.kill_gateway().await?;
    world.start_gateway().await?;
    another(&world).await?;
    assert_eq!(aways(&world).len(), 1, "nothing was missed the second time");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_is_told_once_though_the_gateway_is_killed_while_it_reads() -> Result<()> {
    let world = World::start().await?;
    let first = world.say("[[say first]]")?;
    assert_eq!(first.answer().await?, "first");
    world.stop_gateway().await?;
    let in_channel = world.say("[[say in the channel]]")?;
    let in_thread = first.follow_up("[[say in the thread]]").await?;
    let path = format!("/channels/{}/messages", first.thread());
    let unreadable = FaultRule::once("GET", &path, FaultKind::StatusBefore(503));
    world.discord().fault(unreadable.times(1000));
    world.start_gateway().await?;
    assert_eq!(in_channel.answer().await?, "in the channel");
    assert_eq!(aways(&world), [""; 0], "not all is read");
    world.kill_gateway().await?;
    world.discord().clear_faults();
    world.start_gateway().await?;
    let line = is_told(&world).await?;
    assert!(line.ends_with("; 2 messages of that time are answered now."), "{line}");
    assert_eq!(in_thread.mark().await?, "✅");
    another(&world).await?;
    assert_eq!(aways(&world).len(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_said_when_nothing_was_missed() -> Result<()> {
    let world = World::start().await?;
    let question = world.say("[[think hm]] [[wait go]] [[say the answer]]")?;
    world.reached("go").await?;
    world.stop_gateway().await?;
    world.release("go")?;
    world.is_quiet().await?;
    world.start_gateway().await?;
    assert_eq!(question.answer().await?, "the answer");
    another(&world).await?;
    let said = world.discord().messages(world.channel());
    assert!(said.iter().all(|it| !it.is_bot), "{said:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_discord_never_told_of_is_found() -> Result<()> {
    let world = World::builder().gateway_toml("catch_up_every_s = 1").start().await?;
    let first = another(&world).await?;
    let discord = world.discord();
    discord.drop_events(Some("MESSAGE_CREATE"), 1);
    let in_channel = world.say("[[say in the channel]]")?;
    assert_eq!(in_channel.answer().await?, "in the channel");
    discord.drop_events(Some("MESSAGE_CREATE"), 1);
    let in_thread = first.follow_up("[[say in the thread]]").await?;
    assert_eq!(in_thread.answer().await?, "in the thread");
    assert_eq!(world.ledger().count("begin"), 3);
    assert_eq!(aways(&world), [""; 0], "nobody was away");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_hidden_when_its_channel_was_mapped_is_no_work() -> Result<()> {
    let often = "catch_up_every_s = 1";
    let world = World::builder().lenient().without_gateway().gateway_toml(often).start().await?;
    let (discord, channel) = (world.discord(), world.channel());
    discord.deny_bot(channel, Permissions::READ_MESSAGE_HISTORY).expect("denied");
    let old = world.say("[[say old]]")?;
    let shown = async {
        world.logs("gateway-svc", "no right to read the message history").await?;
        discord.deny_bot(channel, Permissions::default()).expect("allowed");
        Ok(())
    };
    tokio::try_join!(world.start_gateway(), shown)?;
    another(&world).await?;
    let reads = || discord.requests_of("GET /channels/{id}/messages");
    let before = reads();
    world.until("two more readings", || before + 2 <= reads()).await?;
    another(&world).await?;
    assert!(discord.view(|view| view.guild.reactions(old.message()).is_empty()), "it was seen");
    assert_eq!(world.ledger().count("begin"), 2, "it was run");
    Ok(())
}
