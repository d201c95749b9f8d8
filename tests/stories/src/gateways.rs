//! Two gateways on one PostgreSQL, each with a session of the same bot: both hear everything, and
//! each thing is done once, whichever of them dies.

use anyhow::Result;
use harness::{Builder, Part, Postgres, SecondGateway, World};

use crate::deciding::{button, order, press};
use crate::scene::{in_the_middle, is_answered_once};

/// A lease that nobody lives to see the end of: what a dead gateway leased comes back because its
/// death is noticed.
const LONG_LEASE: &str = "[posting]\nlease_s = 3000\nnonce_window_s = 6000\n";

/// A world whose gateway is not started yet.
async fn world_on(server: &Postgres, builder: Builder) -> Result<World> {
    let world = builder.without_gateway().start().await?;
    world.store_on(server).await;
    Ok(world)
}

/// A world with two gateways at work.
async fn two(server: &Postgres) -> Result<(World, SecondGateway)> {
    let world = world_on(server, World::builder()).await?;
    world.start_gateway().await?;
    let mut second = world.gateway_beside().await?;
    world.start_second(&mut second).await?;
    Ok((world, second))
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gateways_answer_each_question_once() -> Result<()> {
    let server = Postgres::start()?;
    let (world, mut second) = two(&server).await?;
    let asked = (0..4).map(|_| world.say("[[say the answer]]")).collect::<Result<Vec<_>>>()?;
    for question in asked {
        is_answered_once(question).await?;
    }
    assert_eq!(world.ledger().count("begin"), 8, "one for each question");
    world.stop_second(&mut second)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_click_that_both_gateways_hear_is_one_decision() -> Result<()> {
    let server = Postgres::start()?;
    let (world, mut second) = two(&server).await?;
    let question = in_the_middle(&world).await?;
    assert_eq!(order(question, "!stop").await?, "Stopping it.");
    assert_eq!(question.mark().await?, "⏹️");
    world.release("go")?;
    let retry = button(&world, question, "Retry")?;
    press(&world, "alice", &retry).await?;
    world.notes("the second claude", |ledger| ledger.count("begin") == 2).await?;
    // What is owed to the thread is done in order: behind this, the first mark is the new one.
    let follow_up = question.follow_up("[[say the second]]").await?;
    assert_eq!(follow_up.mark().await?, "✅");
    assert_eq!(question.mark().await?, "✅");
    assert_eq!(world.ledger().count("begin"), 3, "the click began one run");
    let said = question.said_in_thread()?;
    assert_eq!(said.iter().filter(|text| *text == "the answer").count(), 1, "{said:?}");
    world.stop_second(&mut second)
}

/// The first gateway dies at its point; the second has only what is stored, and what Discord tells
/// again. (Which of two at work gets to a point is not to be told beforehand.)
async fn the_other_goes_on_after(point: &str) -> Result<()> {
    let server = Postgres::start()?;
    let world = world_on(&server, World::builder().gateway_toml(LONG_LEASE)).await?;
    world.start_gateway_to_die_at(point).await?;
    let question = world.say("[[say the answer]]")?;
    let mut second = world.gateway_beside().await?;
    world.gateway_dies().await?;
    world.start_second(&mut second).await?;
    is_answered_once(question).await?;
    assert_eq!(world.ledger().count("begin"), 2, "one for each question");
    world.stop_second(&mut second)
}

macro_rules! goes_on_after {
    ($($name:ident: $point:literal;)+) => { $(
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() -> Result<()> {
            the_other_goes_on_after($point).await
        }
    )+ };
}

goes_on_after! {
    another_gateway_accepts_what_a_dead_one_heard: "accept.heard";
    another_gateway_publishes_what_a_dead_one_accepted: "accept.stored";
    another_gateway_publishes_what_a_dead_one_placed: "publish.placed";
    another_gateway_posts_what_a_dead_one_folded: "feed.folded";
    another_gateway_posts_what_a_dead_one_leased: "post.noted";
    another_gateway_does_not_repeat_what_a_dead_one_posted: "post.sent";
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_takes_over_what_another_was_posting_when_it_was_killed() -> Result<()> {
    let server = Postgres::start()?;
    let world = world_on(&server, World::builder().gateway_toml(LONG_LEASE)).await?;
    world.start_gateway().await?;
    let mut second = world.gateway_beside().await?;
    world.start_second(&mut second).await?;
    let question = in_the_middle(&world).await?;
    // Whatever of it either holds at this moment, the other has to do.
    world.release("go")?;
    world.kill_gateway().await?;
    is_answered_once(question).await?;
    world.start_gateway().await?;
    let next = world.say("[[say the answer]]")?;
    world.kill_second(&mut second)?;
    is_answered_once(next).await
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_are_replaced_one_after_the_other_while_claude_works() -> Result<()> {
    let server = Postgres::start()?;
    let (world, mut second) = two(&server).await?;
    let question = in_the_middle(&world).await?;
    world.stop_gateway().await?;
    let waits = question.follow_up("[[say the next]]").await?;
    waits.is_seen().await?;
    world.start_gateway().await?;
    world.stop_second(&mut second)?;
    world.start_second(&mut second).await?;
    world.release("go")?;
    assert_eq!(waits.mark().await?, "✅");
    assert_eq!(question.said_in_thread()?, ["the answer", "the next"]);
    world.stop_second(&mut second)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_stands_still_is_replaced_and_repeats_nothing() -> Result<()> {
    let server = Postgres::start()?;
    let (world, mut second) = two(&server).await?;
    let question = in_the_middle(&world).await?;
    world.freeze(Part::Gateway).await?;
    world.release("go")?;
    assert_eq!(question.mark().await?, "✅");
    world.thaw(Part::Gateway).await?;
    is_answered_once(question).await?;
    world.stop_second(&mut second)
}
