//! A thread or a channel that takes no word: archived, locked, deleted, or without a right. What can
//! still be said is said when it can be, once; what cannot holds nobody else up, and doctor names it.

use anyhow::{Result, anyhow};
use harness::discord_sim::{ApiError, FaultKind, FaultRule, Permissions};
use harness::{Builder, Question, World, said};

use crate::scene::is_answered_once;

/// Somebody who has to give a right first is soon noticed.
fn quick() -> Builder {
    World::builder().gateway_toml("[posting]\nparked_pause_s = 1\n")
}

async fn in_the_middle(world: &World) -> Result<Question<'_>> {
    let question = world.say("[[think hm]] [[wait go]] [[say the answer]]")?;
    world.reached("go").await?;
    question.thread_name().await?;
    Ok(question)
}

fn done(act: Result<(), ApiError>) -> Result<()> {
    act.map_err(|error| anyhow!("Discord refuses: {error:?}"))
}

/// What doctor says, and whether it is content.
async fn doctor(world: &World) -> Result<(bool, String)> {
    let output = world.gateway_command(&["doctor"]).await?;
    Ok((output.status.success(), String::from_utf8(output.stdout)?))
}

async fn is_parked(world: &World, code: u32) -> Result<()> {
    let logged = || world.log("gateway-svc").contains("it is parked");
    world.until("a parked post", logged).await?;
    let (content, said) = doctor(world).await?;
    let named = said.lines().any(|line| line.contains(&format!("code {code}")));
    assert!(!content && named, "{code} is not in\n{said}");
    Ok(())
}

/// What was said in the channel about threads that take no word.
fn told(world: &World) -> Vec<String> {
    let said = world.discord().history(world.channel()).into_iter();
    said.filter(|it| it.is_bot && it.content.starts_with("-# ⚠️ ")).map(|it| it.content).collect()
}

async fn is_told(world: &World) -> Result<String> {
    world.until("a line in the channel", || !told(world).is_empty()).await?;
    Ok(told(world).remove(0))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_wakes_an_archived_thread() -> Result<()> {
    let world = World::start().await?;
    let question = in_the_middle(&world).await?;
    done(world.discord().archive(question.thread()))?;
    world.release("go")?;
    is_answered_once(question).await?;
    assert_eq!(question.mark().await?, "✅");
    Ok(())
}

/// What a person does to a thread, and undoes later.
async fn waits_for_an_open_thread(archived: bool, code: u32) -> Result<()> {
    let world = quick().start().await?;
    let question = in_the_middle(&world).await?;
    let discord = world.discord();
    done(discord.lock(question.thread(), true))?;
    if archived {
        done(discord.archive(question.thread()))?;
    }
    world.release("go")?;
    is_parked(&world, code).await?;
    let line = is_told(&world).await?;
    assert!(line.contains(&format!("<#{}>: it is locked.", question.thread())), "{line}");
    let other = world.say("[[say another]]")?;
    assert_eq!(other.answer().await?, "another");
    done(discord.lock(question.thread(), false))?;
    is_answered_once(question).await?;
    assert_eq!(told(&world), [line], "said once, however often it was tried");
    let (content, said) = doctor(&world).await?;
    assert!(content, "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_waits_for_a_locked_thread() -> Result<()> {
    waits_for_an_open_thread(false, 160_005).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_waits_for_a_thread_that_is_archived_and_locked() -> Result<()> {
    waits_for_an_open_thread(true, 50_083).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_waits_for_the_right_to_write() -> Result<()> {
    let world = quick().start().await?;
    let question = in_the_middle(&world).await?;
    let channel = world.channel();
    done(world.discord().deny_bot(channel, Permissions::SEND_MESSAGES_IN_THREADS))?;
    world.release("go")?;
    is_parked(&world, 50_013).await?;
    let line = is_told(&world).await?;
    assert!(line.contains("I have no permission"), "{line}");
    done(world.discord().deny_bot(channel, Permissions::default()))?;
    is_answered_once(question).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_waits_until_the_bot_sees_the_server_again() -> Result<()> {
    let world = quick().start().await?;
    let question = in_the_middle(&world).await?;
    world.discord().allow_everyone(Permissions::default());
    world.release("go")?;
    is_parked(&world, 50_001).await?;
    world.logs("gateway-svc", "its channel takes no word of it either").await?;
    world.discord().allow_everyone(Permissions::USUAL);
    is_answered_once(question).await?;
    assert_eq!(told(&world), [""; 0], "the channel took no word either, and it is over");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_answer_is_tried_at_once_by_a_gateway_that_starts() -> Result<()> {
    let world = World::start().await?;
    let question = in_the_middle(&world).await?;
    done(world.discord().lock(question.thread(), true))?;
    world.release("go")?;
    is_parked(&world, 160_005).await?;
    world.stop_gateway().await?;
    done(world.discord().lock(question.thread(), false))?;
    world.start_gateway().await?;
    is_answered_once(question).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_that_may_not_react_answers_all_the_same() -> Result<()> {
    let world = World::builder().lenient().start().await?;
    done(world.discord().deny_bot(world.channel(), Permissions::ADD_REACTIONS))?;
    let question = world.say("[[say the answer]]")?;
    let thread = question.thread();
    world
        .sees("the answer", |view| {
            let mut all = view.guild.messages(thread);
            all.find(|it| it.is_bot && said(it) == Some("the answer")).map(|_| ())
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_that_is_deleted_with_questions_in_it_takes_nobody_with_it() -> Result<()> {
    let world = World::builder().lenient().start().await?;
    let question = in_the_middle(&world).await?;
    let waiting = question.follow_up("[[say the waiting]]").await?;
    waiting.is_seen().await?;
    done(world.discord().delete_channel(question.thread()))?;
    world.release("go")?;
    world.notes("both results", |ledger| ledger.count("result") == 2).await?;
    assert_eq!(question.mark().await?, "✅");
    let gone = || world.log("gateway-svc").contains("no place for it");
    world.until("the log", gone).await?;
    let other = world.say("[[say another]]")?;
    assert_eq!(other.answer().await?, "another");
    let (content, said) = doctor(&world).await?;
    assert!(content && said.contains("given up") && said.contains("code 10003"), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_that_is_deleted_between_two_pages_takes_nobody_with_it() -> Result<()> {
    let world = World::start().await?;
    let pages = "/channels/{id}/messages";
    for kind in [FaultKind::Delay(std::time::Duration::ZERO), FaultKind::StatusBefore(503)] {
        world.discord().fault(FaultRule::once("POST", pages, kind).times(2));
    }
    let question = world.say("[[big 12000]]")?;
    let thread = question.thread();
    world
        .sees("two pages", |view| {
            let pages = view.guild.messages(thread).filter(|it| it.is_bot && it.kind.is_written());
            (2 <= pages.count()).then_some(())
        })
        .await?;
    done(world.discord().delete_channel(thread))?;
    assert_eq!(question.mark().await?, "✅");
    let other = world.say("[[say another]]")?;
    assert_eq!(other.answer().await?, "another");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_is_deleted_takes_no_other_channel_with_it() -> Result<()> {
    let world = World::builder().lenient().start().await?;
    let question = in_the_middle(&world).await?;
    done(world.discord().delete_channel(world.channel()))?;
    world.release("go")?;
    let gone = || world.log("gateway-svc").contains("no place for it");
    world.until("the log", gone).await?;
    world.notes("the result", |ledger| ledger.count("result") == 1).await?;
    assert_eq!(question.said_in_thread().unwrap_or_default(), [""; 0]);
    let (_, page) = world.gateway_page("/healthz").await?;
    assert!(page.contains("ok"), "{page}");
    // Nothing is owed any more that could be paid.
    let (_, said) = doctor(&world).await?;
    assert!(!said.contains("these wait"), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_is_deleted_while_claude_works_on_it_holds_up_nobody() -> Result<()> {
    let world = World::builder().lenient().start().await?;
    let question = in_the_middle(&world).await?;
    let next = question.follow_up("[[say the next]]").await?;
    next.is_seen().await?;
    done(world.discord().delete(question.message()))?;
    world.release("go")?;
    assert_eq!(next.mark().await?, "✅");
    assert_eq!(question.said_in_thread()?, ["the answer", "the next"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follow_up_that_is_deleted_while_claude_works_on_it_holds_up_nobody() -> Result<()> {
    let world = World::builder().lenient().start().await?;
    let first = world.say("[[say first]]")?;
    assert_eq!(first.answer().await?, "first");
    let deleted = first.follow_up("[[think hm]] [[wait go]] [[say the answer]]").await?;
    world.reached("go").await?;
    let next = first.follow_up("[[say the next]]").await?;
    next.is_seen().await?;
    done(world.discord().delete(deleted.message()))?;
    world.release("go")?;
    assert_eq!(next.mark().await?, "✅");
    assert_eq!(first.said_in_thread()?, ["first", "the answer", "the next"]);
    Ok(())
}
