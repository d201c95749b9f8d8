//! What many stories begin and end with: a run in its middle or at its end, and an answer that comes
//! once.
//!
//! A story whose end claims more than these has one of its own.

use anyhow::Result;
use harness::{Question, World};

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
