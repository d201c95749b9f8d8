//! A conversation as people see it: what its thread is called, which answer is to which question, who
//! is who in it, and what becomes of it where there is no thread, or one that we did not start.
//!
//! In the middle of most of these both services are killed and started again.

use anyhow::{Result, anyhow};
use harness::World;
use harness::discord_sim::{
    ApiError, BOT_ID, ChannelId, FaultKind, FaultRule, Message, MessageId, Permissions,
};

use crate::scene::in_the_middle;

pub(crate) fn done<T>(act: Result<T, ApiError>) -> Result<T> {
    act.map_err(|error| anyhow!("Discord refuses: {error:?}"))
}

/// Both services are killed, and start again.
async fn both_are_killed(world: &World) -> Result<()> {
    world.kill_gateway().await?;
    world.kill_runner().await?;
    world.start_gateway().await?;
    world.start_runner().await
}

/// What a thread is called.
fn name_of(world: &World, thread: ChannelId) -> String {
    let find = |name: Option<String>| name.unwrap_or_default();
    world.discord().view(|view| find(view.guild.channel(thread).ok().map(|it| it.name.clone())))
}

async fn is_called(world: &World, thread: ChannelId, name: &str) -> Result<()> {
    world
        .sees(name, |view| view.guild.channel(thread).ok().filter(|it| it.name == name).map(|_| ()))
        .await
}

/// The bot's messages in a place, each with the message that it answers.
pub(crate) fn said(world: &World, place: ChannelId) -> Vec<(String, Option<MessageId>)> {
    let all = world.discord().messages(place).into_iter();
    let own = all.filter(|it| it.author == BOT_ID && it.kind.is_written());
    let words = |it: Message| {
        Some((harness::said(&it)?.to_owned(), it.reference.and_then(|to| to.message)))
    };
    own.filter_map(words).collect()
}

/// Waits for what the bot says of this text in a place.
async fn is_said(world: &World, place: ChannelId, text: &str) -> Result<Message> {
    let is_it = |it: &&Message| it.author == BOT_ID && harness::said(it) == Some(text);
    world.sees(text, |view| view.guild.messages(place).find(is_it).cloned()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_is_named_after_its_question_and_once_by_an_answer() -> Result<()> {
    let world = World::start().await?;
    let text = "## fix **the** `a_b` test <@7>\n[[think hm]] [[wait go]] \
                [[say THREAD_NAME: The *Great* Fix\n\nthe answer]]";
    let question = world.say(text)?;
    world.reached("go").await?;
    assert_eq!(question.thread_name().await?, "fix the a_b test");
    both_are_killed(&world).await?;
    world.release("go")?;
    assert_eq!(question.answer().await?, "the answer", "without the line that names the thread");
    is_called(&world, question.thread(), "The Great Fix").await?;
    let next = question.follow_up("[[say THREAD_NAME: Another\nthe second]]").await?;
    assert_eq!(next.answer().await?, "the second");
    let last = question.follow_up("[[say the last]]").await?;
    assert_eq!(last.answer().await?, "the last");
    assert_eq!(name_of(&world, question.thread()), "The Great Fix", "once");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_a_person_gave_stays() -> Result<()> {
    let world = World::start().await?;
    let question = world.say("[[think hm]] [[wait go]] [[say THREAD_NAME: Mine\nthe answer]]")?;
    world.reached("go").await?;
    question.thread_name().await?;
    let (discord, thread) = (world.discord(), question.thread());
    done(discord.rename(thread, discord.user("bob"), "ours"))?;
    world.release("go")?;
    assert_eq!(question.answer().await?, "the answer");
    let next = question.follow_up("[[say the second]]").await?;
    // What is owed to a thread is done in order.
    assert_eq!(next.answer().await?, "the second");
    assert_eq!(name_of(&world, thread), "ours");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_discord_does_not_take_yet_holds_up_nothing() -> Result<()> {
    let world = World::start().await?;
    let question = world.say("[[think hm]] [[wait go]] [[say THREAD_NAME: Later\nthe answer]]")?;
    world.reached("go").await?;
    question.thread_name().await?;
    let later = FaultKind::RateLimited { retry_after: std::time::Duration::from_secs(20) };
    world.discord().fault(FaultRule::once("PATCH", "/channels/{id}", later));
    world.release("go")?;
    assert_eq!(question.answer().await?, "the answer");
    let next = question.follow_up("[[say the second]]").await?;
    assert_eq!(next.answer().await?, "the second");
    world.logs("gateway-svc", "is put aside").await?;
    world.kill_gateway().await?;
    world.start_gateway().await?;
    is_called(&world, question.thread(), "Later").await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_in_a_thread_is_a_reply_to_its_question() -> Result<()> {
    let world = World::builder().lenient().start().await?;
    let question = in_the_middle(&world).await?;
    let second = question.follow_up("[[say the second]]").await?;
    let deleted = question.follow_up("[[wait more]] [[say the third]]").await?;
    deleted.is_seen().await?;
    both_are_killed(&world).await?;
    world.release("go")?;
    world.reached("more").await?;
    done(world.discord().delete(deleted.message()))?;
    world.release("more")?;
    is_said(&world, question.thread(), "the third").await?;
    let expected = [
        ("the answer".to_owned(), None),
        ("the second".to_owned(), Some(second.message())),
        // Whoever deletes a question gets its answer all the same.
        ("the third".to_owned(), None),
    ];
    assert_eq!(said(&world, question.thread()), expected);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn several_people_are_told_apart_by_name() -> Result<()> {
    let world = World::start().await?;
    let first = world.say("[[say one]]")?;
    assert_eq!(first.answer().await?, "one");
    let alone = first.follow_up("[[think hm]] [[wait go]] [[say two]]").await?;
    world.reached("go").await?;
    let other = first.follow_up_as("bob", "[[say three]]").await?;
    other.is_seen().await?;
    both_are_killed(&world).await?;
    world.release("go")?;
    assert_eq!(alone.answer().await?, "two");
    assert_eq!(other.answer().await?, "three");
    assert_eq!(first.follow_up("[[say four]]").await?.answer().await?, "four");
    let elsewhere = world.say_as("bob", "[[say five]]")?;
    assert_eq!(elsewhere.answer().await?, "five");
    let prompts = [
        "[[say one]]",
        "[[think hm]] [[wait go]] [[say two]]",
        "[From bob]\n[[say three]]",
        "[From alice]\n[[say four]]",
        "[[say five]]",
    ];
    assert_eq!(world.ledger().prompts(), prompts, "who is alone in a thread needs no name");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_to_start_threads_a_conversation_goes_on_in_the_channel() -> Result<()> {
    let world = World::start().await?;
    let (discord, channel) = (world.discord(), world.channel());
    done(discord.deny_bot(channel, Permissions::CREATE_PUBLIC_THREADS))?;
    let question = world.say("the first [[say one]]")?;
    assert_eq!(question.mark().await?, "✅");
    let answer = is_said(&world, channel, "one").await?;
    let next = world.reply("bob", &answer, "[[think hm]] [[wait go]] [[recall]]")?;
    world.reached("go").await?;
    let waits = world.reply("alice", &answer, "[[say three]]")?;
    waits.is_seen().await?;
    both_are_killed(&world).await?;
    world.release("go")?;
    assert_eq!((next.mark().await?, waits.mark().await?), ("✅", "✅"));
    let begun = world.ledger();
    let resumed: Vec<bool> =
        begun.all("begin").iter().map(|it| it.fields["resumed"] == true).collect();
    assert_eq!(resumed, [false, true, true], "one conversation");
    // Another conversation is not told again why it is where it is.
    let other = world.say("[[say other]]")?;
    assert_eq!(other.mark().await?, "✅");
    let all = said(&world, channel);
    let to = |text: &str| {
        let is_it = |said: &str| said == text || 20 < text.len() && said.contains(text);
        let found: Vec<_> = all.iter().filter(|(said, _)| is_it(said)).collect();
        assert_eq!(found.len(), 1, "{text} in {all:?}");
        found[0].1
    };
    assert_eq!(to("I can't start a thread here: I have no permission"), Some(question.message()));
    assert_eq!(to("one"), Some(question.message()));
    assert_eq!(to("You said before:\n1. the first"), Some(next.message()));
    assert_eq!(to("three"), Some(waits.message()));
    assert_eq!(to("other"), Some(other.message()));
    done(discord.deny_bot(channel, Permissions::default()))?;
    let last = world.say("[[say last]]")?;
    assert_eq!(last.answer().await?, "last");
    assert_eq!(said(&world, last.thread()), [("last".to_owned(), None)], "there are threads again");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_given_by_a_reply_where_there_is_no_thread() -> Result<()> {
    let world = World::start().await?;
    let (discord, channel) = (world.discord(), world.channel());
    done(discord.deny_bot(channel, Permissions::CREATE_PUBLIC_THREADS))?;
    let question = world.say("[[think hm]] [[wait go]] [[say one]]")?;
    world.reached("go").await?;
    let asked = discord.message(question.message()).ok_or_else(|| anyhow!("no question"))?;
    let order = world.reply("alice", &asked, "!stop")?;
    assert_eq!(order.refusal().await?, "Stopping it.");
    assert_eq!(question.mark().await?, "⏹️");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_that_somebody_else_started_is_a_conversation_too() -> Result<()> {
    let world = World::start().await?;
    let discord = world.discord();
    let other = discord.other_bot("chatterbox");
    let news = done(discord.say(world.channel(), other, "the news"))?;
    let thread = done(discord.start_thread(news, discord.user("bob"), "talk of the news"))?;
    let first = world.say_in(thread, "bob", "[[say THREAD_NAME: Mine\none]]")?;
    assert_eq!(first.answer().await?, "one");
    let next = first.follow_up_as("bob", "[[think hm]] [[wait go]] [[recall]]").await?;
    world.reached("go").await?;
    both_are_killed(&world).await?;
    world.release("go")?;
    assert!(next.answer().await?.contains("THREAD_NAME"), "the prompt before");
    assert_eq!(name_of(&world, thread), "talk of the news", "its name is another's");
    assert_eq!(said(&world, thread)[0].1, Some(first.message()));
    Ok(())
}

/// How many people ask at once.
const PEOPLE: usize = 50;

#[tokio::test(flavor = "multi_thread")]
async fn fifty_people_at_once_in_a_thread_are_answered_in_order_each_by_name() -> Result<()> {
    let world = World::start().await?;
    let first = in_the_middle(&world).await?;
    let ask = |who: usize| {
        let first = &first;
        async move { first.follow_up_as(&format!("p{who}"), &format!("[[say {who}.]]")).await }
    };
    let mut asked = Vec::new();
    for who in 0..PEOPLE {
        asked.push(ask(who).await?);
    }
    both_are_killed(&world).await?;
    world.release("go")?;
    for question in asked {
        assert_eq!(question.mark().await?, "✅");
    }
    let texts: Vec<String> = (0..PEOPLE).map(|who| format!("{who}.")).collect();
    assert_eq!(first.said_in_thread()?[1..], texts);
    let ledger = world.ledger();
    let prompts = ledger.prompts();
    let named: Vec<String> =
        (0..PEOPLE).map(|who| format!("[From p{who}]\n[[say {who}.]]")).collect();
    assert_eq!(prompts[prompts.len() - PEOPLE..], named);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn emoji_and_right_to_left_in_every_name_do_no_harm() -> Result<()> {
    let world = World::start().await?;
    let (family, arabic) = ("👨‍👩‍👧‍👦", "\u{202e}مرحبا \u{2066}[x]\u{2069}");
    let text = format!(
        "\u{202e}{} مرحبا\n[[say THREAD_NAME: {family} مرحبا\u{202e}\nواحد]]",
        family.repeat(12)
    );
    let question = world.say_as(&format!("{family} آدا"), &text)?;
    let named = question.thread_name().await?;
    assert_eq!(named, format!("{}…", family.repeat(9)), "no family is cut");
    assert_eq!(question.answer().await?, "واحد");
    is_called(&world, question.thread(), &format!("{family} مرحبا")).await?;
    let next = question.follow_up_as(arabic, "[[say two]]").await?;
    assert_eq!(next.answer().await?, "two");
    let ledger = world.ledger();
    let prompts = ledger.prompts();
    assert_eq!(prompts[1], "[From مرحبا x]\n[[say two]]");
    let stopped = question.follow_up_as(arabic, "[[hang]]").await?;
    world.notes("a third claude", |ledger| ledger.count("begin") == 3).await?;
    question.follow_up_as(arabic, "!stop").await?;
    assert_eq!(stopped.mark().await?, "⏹️");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn everyone_in_an_answer_calls_nobody() -> Result<()> {
    let world = World::start().await?;
    let alice = world.discord().user("alice");
    let words = format!("@everyone @here <@{alice}> <@&1>");
    let question = world.say(&format!("[[say {words}]]"))?;
    assert_eq!(question.answer().await?, words);
    let next = question.follow_up(&format!("[[say THREAD_NAME: @everyone\n{words}]]")).await?;
    assert_eq!(next.answer().await?, words);
    let all = world.discord().messages(question.thread()).into_iter();
    for message in all.filter(|it| it.author == BOT_ID && it.kind.is_written()) {
        assert!(!message.mention_everyone && message.mentions.is_empty(), "{message:?}");
    }
    Ok(())
}
