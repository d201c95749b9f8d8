//! Discord in trouble while an answer is posted: it is posted whole, in order, and once.

use std::time::Duration;

use anyhow::{Result, anyhow};
use harness::discord_sim::{FaultKind, FaultRule, Message};
use harness::{Question, World};

use crate::scene::{is_answered_once, is_big_text};

/// The route by which all is posted.
const POSTS: &str = "/channels/{id}/messages";

/// More requests than a story ever makes.
const ALL: u32 = 10_000;

fn trouble(world: &World, times: u32, kind: FaultKind) {
    world.discord().fault(FaultRule::once("POST", POSTS, kind).times(times));
}

async fn is_answered_once_despite(times: u32, kind: FaultKind) -> Result<()> {
    let world = World::start().await?;
    trouble(&world, times, kind);
    is_answered_once(world.say("[[say the answer]]")?).await?;
    assert_eq!(world.ledger().count("begin"), 2, "one for each question");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_502_after_the_effect_doubles_no_answer() -> Result<()> {
    is_answered_once_despite(2, FaultKind::StatusAfter(502)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut_after_the_effect_doubles_no_answer() -> Result<()> {
    is_answered_once_despite(2, FaultKind::CutAfter).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut_before_the_effect_loses_no_answer() -> Result<()> {
    is_answered_once_despite(2, FaultKind::CutBefore).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_waits_for_the_end_of_an_outage() -> Result<()> {
    is_answered_once_despite(4, FaultKind::StatusBefore(503)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_waits_as_long_as_discord_tells_it_to() -> Result<()> {
    is_answered_once_despite(2, FaultKind::RateLimited { retry_after: Duration::from_secs(2) })
        .await
}

/// Waits until the bot has posted so many messages in the thread.
async fn posts(world: &World, question: Question<'_>, count: usize) -> Result<()> {
    let thread = question.thread();
    let is_page = |it: &&Message| it.is_bot && it.kind.is_written();
    world
        .sees("pages", |view| {
            let pages = view.guild.messages(thread).filter(is_page).count();
            (count <= pages).then_some(())
        })
        .await
}

/// The gateway is killed when a long answer is there in part, and the next page meets this.
async fn is_whole_after_a_kill(next_page: FaultKind, visible: usize) -> Result<()> {
    let world = World::start().await?;
    trouble(&world, 2, FaultKind::Delay(Duration::ZERO));
    trouble(&world, ALL, next_page);
    let question = world.say("[[big 12000]]")?;
    posts(&world, question, visible).await?;
    world.kill_gateway().await?;
    world.discord().clear_faults();
    world.start_gateway().await?;
    let pages = question.pages().await?;
    is_big_text(&pages, 12_000);
    assert_eq!(question.said_in_thread()?, pages, "nothing was posted twice");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_answer_is_whole_when_the_gateway_is_killed_between_two_pages() -> Result<()> {
    is_whole_after_a_kill(FaultKind::StatusBefore(503), 2).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_which_a_killed_gateway_never_heard_is_not_doubled() -> Result<()> {
    is_whole_after_a_kill(FaultKind::StatusAfter(502), 3).await
}

/// Discord takes the second of three pages in no form that has more than its words.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_refused_is_said_plainly_in_its_place() -> Result<()> {
    let world = World::start().await?;
    trouble(&world, 1, FaultKind::Delay(Duration::ZERO));
    trouble(&world, 1, FaultKind::StatusBefore(400));
    let question = world.say("[[big 4500]]")?;
    // All that was said when the mark is there.
    let pages = question.pages().await?;
    assert_eq!(world.discord().view(|view| view.faults_left), 0);
    is_big_text(&pages, 4500);
    assert_eq!(question.said_in_thread()?, pages, "nothing came behind the mark");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_that_is_deleted_takes_nobody_with_it() -> Result<()> {
    let world = World::start().await?;
    let question = world.say("[[think hm]] [[wait go]] [[say the answer]]")?;
    world.reached("go").await?;
    question.thread_name().await?;
    let deleted = world.discord().delete_channel(question.thread());
    deleted.map_err(|error| anyhow!("the thread is not deleted: {error:?}"))?;
    world.release("go")?;
    world.notes("the result", |ledger| ledger.count("result") == 1).await?;
    let other = world.say("[[say another]]")?;
    assert_eq!(other.answer().await?, "another");
    // The mark under the question is all that can still be shown.
    assert_eq!(question.mark().await?, "✅");
    Ok(())
}
