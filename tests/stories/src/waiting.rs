//! What has not begun yet: in order, and changed or taken back as long as it waits; also when
//! nobody was there to hear it.

use anyhow::{Result, anyhow};
use harness::discord_sim::{BOT_ID, MessageId};
use harness::{Noted, Question, World};

const FIRST: &str = "[[think hm]] [[wait go]] [[say first]]";

async fn in_the_middle(world: &World) -> Result<Question<'_>> {
    let question = world.say(FIRST)?;
    world.reached("go").await?;
    Ok(question)
}

/// A message in the thread that may be taken back: nobody waits for its answer.
pub(crate) async fn aside(world: &World, question: Question<'_>, text: &str) -> Result<MessageId> {
    let discord = world.discord();
    let said = discord.say(question.thread(), discord.user("alice"), text);
    let message = said.map_err(|error| anyhow!("Discord refuses the message: {error:?}"))?;
    let is_seen = |it: &harness::discord_sim::Message| it.has_reaction(BOT_ID, "👀");
    world
        .sees("👀", |view| view.guild.message(message).filter(|it| is_seen(it)).map(|_| message))
        .await
}

fn edit(world: &World, message: MessageId, text: &str) -> Result<()> {
    world.discord().edit(message, text).map_err(|error| anyhow!("no edit: {error:?}"))
}

pub(crate) fn delete(world: &World, message: MessageId) -> Result<()> {
    world.discord().delete(message).map_err(|error| anyhow!("no deletion: {error:?}"))
}

fn time_ns(noted: &Noted) -> u64 {
    noted.fields["time_ns"].as_u64().expect("each line has its time")
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_questions_of_a_thread_are_answered_in_order_one_at_a_time() -> Result<()> {
    let world = World::start().await?;
    let first = in_the_middle(&world).await?;
    let texts: Vec<String> = (1..16).map(|number| format!("number {number}")).collect();
    let mut waiting = Vec::new();
    for text in &texts {
        waiting.push(first.follow_up(&format!("[[say {text}]]")).await?);
    }
    for question in &waiting {
        question.is_seen().await?;
    }
    assert_eq!(world.ledger().count("begin"), 1, "all others wait");
    world.release("go")?;
    assert_eq!(first.mark().await?, "✅");
    for question in &waiting {
        assert_eq!(question.mark().await?, "✅");
    }
    let said = first.said_in_thread()?;
    assert_eq!(said[0], "first");
    assert_eq!(said[1..], texts);
    let ledger = world.ledger();
    let (begins, results) = (ledger.all("begin"), ledger.all("result"));
    assert_eq!((begins.len(), results.len()), (16, 16));
    for (result, next) in results.iter().zip(&begins[1..]) {
        assert!(time_ns(result) < time_ns(next), "two claudes at once in one thread");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_is_edited_while_it_waits_is_asked_as_it_is_now() -> Result<()> {
    let world = World::start().await?;
    let first = in_the_middle(&world).await?;
    let second = first.follow_up("[[say the old]]").await?;
    second.is_seen().await?;
    edit(&world, second.message(), "[[say the new]]")?;
    let third = first.follow_up("[[say third]]").await?;
    // What is heard after the edit was heard after it.
    third.is_seen().await?;
    world.release("go")?;
    assert_eq!(third.answer().await?, "first\nthe new\nthird");
    assert_eq!(world.ledger().prompts(), [FIRST, "[[say the new]]", "[[say third]]"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_after_the_beginning_changes_nothing() -> Result<()> {
    let world = World::start().await?;
    let first = in_the_middle(&world).await?;
    edit(&world, first.message(), "[[say the new]]")?;
    let second = first.follow_up("[[say second]]").await?;
    second.is_seen().await?;
    world.release("go")?;
    assert_eq!(second.answer().await?, "first\nsecond");
    assert_eq!(world.ledger().prompts(), [FIRST, "[[say second]]"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_is_deleted_while_it_waits_is_not_asked() -> Result<()> {
    let world = World::start().await?;
    let first = in_the_middle(&world).await?;
    let second = aside(&world, first, "[[say the deleted]]").await?;
    delete(&world, second)?;
    let third = first.follow_up("[[say third]]").await?;
    third.is_seen().await?;
    world.release("go")?;
    assert_eq!(third.answer().await?, "first\nthird");
    assert_eq!(world.ledger().prompts(), [FIRST, "[[say third]]"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_and_deletions_of_the_time_without_a_gateway_count() -> Result<()> {
    let world = World::start().await?;
    let first = in_the_middle(&world).await?;
    let edited = first.follow_up("[[say the old]]").await?;
    edited.is_seen().await?;
    let deleted = aside(&world, first, "[[say the deleted]]").await?;
    world.stop_gateway().await?;
    edit(&world, edited.message(), "[[say the new]]")?;
    delete(&world, deleted)?;
    world.release("go")?;
    world.notes("the result", |ledger| ledger.count("result") == 1).await?;
    world.start_gateway().await?;
    let last = first.follow_up("[[say last]]").await?;
    assert!(last.answer().await?.ends_with("last"));
    assert_eq!(first.said_in_thread()?, ["first", "the new", "last"]);
    assert_eq!(world.ledger().prompts(), [FIRST, "[[say the new]]", "[[say last]]"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_without_a_gateway_is_answered_in_order() -> Result<()> {
    let world = World::start().await?;
    let first = world.say("[[say first]]")?;
    assert_eq!(first.answer().await?, "first");
    world.stop_gateway().await?;
    let texts: Vec<String> = (1..6).map(|number| format!("number {number}")).collect();
    let mut waiting = Vec::new();
    for text in &texts {
        waiting.push(first.follow_up(&format!("[[say {text}]]")).await?);
    }
    let in_channel = world.say("[[say in the channel]]")?;
    world.start_gateway().await?;
    assert_eq!(in_channel.answer().await?, "in the channel");
    for question in &waiting {
        assert_eq!(question.mark().await?, "✅");
    }
    let said = first.said_in_thread()?;
    assert_eq!(said[1..], texts);
    assert_eq!(world.ledger().count("begin"), 7);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_survives_a_killed_gateway_in_order() -> Result<()> {
    let world = World::start().await?;
    let first = in_the_middle(&world).await?;
    let texts: Vec<String> = (1..9).map(|number| format!("number {number}")).collect();
    let mut waiting = Vec::new();
    for text in &texts {
        waiting.push(first.follow_up(&format!("[[say {text}]]")).await?);
    }
    // Some were heard by now and some were not.
    waiting[0].is_seen().await?;
    world.kill_gateway().await?;
    world.release("go")?;
    world.start_gateway().await?;
    for question in &waiting {
        assert_eq!(question.mark().await?, "✅");
    }
    let said = first.said_in_thread()?;
    assert_eq!(said[0], "first");
    assert_eq!(said[1..], texts);
    assert_eq!(world.ledger().count("begin"), 9);
    Ok(())
}
