//! The bot is removed from its server and invited again, or Discord loses the server for a while: the
//! connection lives on and says nothing of it. What was asked is answered after the return, once and in
//! order.

use anyhow::Result;
use harness::World;
use harness::discord_sim::Membership;

use crate::scene::in_the_middle;

/// A run ends, and others are asked for, while the server is gone; the log says this of a post.
async fn nothing_is_lost_while_the_server_is_gone(how: Membership, refused: &str) -> Result<()> {
    let world = World::start().await?;
    let discord = world.discord();
    let first = in_the_middle(&world).await?;
    first.thread_name().await?;
    let second = first.follow_up("[[say the second]]").await?;
    second.is_seen().await?;
    discord.stands(how);
    world.release("go")?;
    world.notes("both results", |ledger| ledger.count("result") == 2).await?;
    world.logs("gateway-svc", refused).await?;
    let third = first.follow_up("[[say the third]]").await?;
    let other = world.say("[[say the other]]")?;
    assert_eq!(first.said_in_thread()?, [""; 0], "nothing can be said");
    discord.stands(Membership::Member);
    // It is heard, and what was written before it is not.
    let fourth = first.follow_up("[[say the fourth]]").await?;
    assert_eq!(fourth.mark().await?, "✅");
    assert_eq!(other.answer().await?, "the other");
    assert_eq!(first.said_in_thread()?, ["the answer", "the second", "the third", "the fourth"]);
    for question in [first, second, third] {
        assert_eq!(question.mark().await?, "✅");
    }
    assert_eq!(world.ledger().count("begin"), 5, "one for each question");
    assert_eq!(discord.gateway().identified, 1, "it is the same session");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_that_is_removed_and_invited_again_loses_nothing() -> Result<()> {
    nothing_is_lost_while_the_server_is_gone(Membership::Removed, "it is parked").await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_server_alone_loses_nothing() -> Result<()> {
    nothing_is_lost_while_the_server_is_gone(Membership::Outage, "will be posted again").await
}
