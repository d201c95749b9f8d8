//! What many stories begin and end with: a run in its middle or at its end, and an answer that comes
//! once.
//!
//! A story whose end claims more than these has one of its own.

use anyhow::Result;
use harness::anthropic_sim::script::big_text;
use harness::discord_sim::{BOT_ID, FaultKind, FaultRule, MessageId};
use harness::{Colleague, Question, World};

/// A question whose claude is held in the middle of the run, by the gate `go`.
pub(crate) async fn in_the_middle(world: &World) -> Result<Question<'_>> {
    let question = world.say("[[think hm]] [[wait go]] [[say the answer]]")?;
    world.reached("go").await?;
    Ok(question)
}

/// Claude has just said its result; what becomes of it is not decided yet.
pub(crate) async fn at_the_end(world: &World) -> Result<Question<'_>> {
    let question = in_the_middle(world).await?;
    world.release("go")?;
    world.notes("the result", |ledger| ledger.count("result") == 1).await?;
    Ok(question)
}

/// The answer comes once; a second answer behind it proves that no more is to come.
pub(crate) async fn is_answered_once(question: Question<'_>) -> Result<()> {
    assert_eq!(question.answer().await?, "the answer");
    let follow_up = question.follow_up("[[say the second]]").await?;
    assert_eq!(follow_up.answer().await?, "the second");
    assert_eq!(question.said_in_thread()?, ["the answer", "the second"]);
    Ok(())
}

/// The answer comes once; a second answer behind it proves that no more is to come. Returns how
/// often claude was started for the first.
pub(crate) async fn claudes_for_the_answer(world: &World, question: Question<'_>) -> Result<usize> {
    assert_eq!(question.mark().await?, "✅");
    let begun = world.ledger().count("begin");
    let follow_up = question.follow_up("[[say the second]]").await?;
    assert_eq!(follow_up.mark().await?, "✅");
    assert_eq!(question.said_in_thread()?, ["the answer", "the second"]);
    Ok(begun)
}

/// The pages are the text of so many characters that `[[big …]]` lets claude say, but for the space where
/// a page ends.
pub(crate) fn is_big_text(pages: &[String], characters: usize) {
    let without_space = |text: &str| text.split_whitespace().collect::<String>();
    assert_eq!(without_space(&pages.concat()), without_space(&big_text(characters)));
}

/// Stops the second runner when nothing is left of its host.
pub(crate) async fn ends_well(world: &World, mut second: Colleague) -> Result<()> {
    world.until("the end of all at the second host", || second.beside().is_empty()).await?;
    assert!(second.stop()?.success());
    Ok(())
}

/// The second runner, which is there again, gets nothing of what it had: so many claudes were begun
/// before it came, and none since.
pub(crate) async fn gets_nothing_of_it(
    world: &World,
    second: Colleague,
    claudes: usize,
) -> Result<()> {
    world.nothing_is_left().await?;
    let begun = world.ledger().count("begin");
    assert_eq!(begun, claudes, "there is nothing for who had it before");
    ends_well(world, second).await
}

/// Waits until a question that had failed is answered: its mark says so.
pub(crate) async fn is_answered_after_all(world: &World, question: Question<'_>) -> Result<()> {
    let message = question.message();
    world
        .sees("the mark of an answer", |view| {
            view.guild.message(message)?.has_reaction(BOT_ID, "✅").then_some(())
        })
        .await
}

/// Buttons stay where they are until faults are cleared, as for somebody whose screen is behind.
pub(crate) fn keep_buttons(world: &World) {
    let edits = "/channels/{id}/messages/{id}";
    world
        .discord()
        .fault(FaultRule::once("PATCH", edits, FaultKind::StatusBefore(503)).times(1000));
}

/// Waits until a message has no buttons any more, and says what was decided.
pub(crate) async fn is_decided(world: &World, message: MessageId, line: &str) -> Result<()> {
    world
        .sees(line, |view| {
            let message = view.guild.message(message)?;
            let is_said = message.content.ends_with(&format!("\n-# {line}"));
            (is_said && message.components.is_empty()).then_some(())
        })
        .await
}
