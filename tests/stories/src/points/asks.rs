//! The services die at each point at which claude asks, somebody decides, and claude is told (rule 12).

use anyhow::Result;
use harness::World;

use super::runner::dies;
use crate::asking::{asks, click, ends, says};

/// Leave to make a file.
const TOUCH: &str = r#"[[think hm]] [[tool Bash {"command":"touch made"}]] [[say the answer]]"#;

/// The tool ran once, in one claude, and the answer came once.
async fn is_done_once(world: &World) -> Result<()> {
    let ledger = world.ledger();
    assert_eq!((ledger.count("begin"), ledger.count("tool")), (1, 1));
    world.nothing_is_left().await
}

async fn asked_while_the_runner_dies_at(point: &str) -> Result<()> {
    let world = World::builder().without_runner().start().await?;
    world.start_runner_to_die_at(point).await?;
    let question = world.say(TOUCH)?;
    dies(&world).await?;
    world.start_runner().await?;
    let allow = asks(&world, question, "Allow once").await?;
    click(&world, "alice", &allow).await?;
    ends(question, "the answer").await?;
    is_done_once(&world).await
}

async fn decided_while_the_runner_dies_at(point: &str) -> Result<()> {
    let world = World::builder().without_runner().start().await?;
    world.start_runner_to_die_at(point).await?;
    let question = world.say(TOUCH)?;
    let allow = asks(&world, question, "Allow once").await?;
    click(&world, "alice", &allow).await?;
    dies(&world).await?;
    world.start_runner().await?;
    ends(question, "the answer").await?;
    is_done_once(&world).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ask_survives_a_death_before_it_is_listed() -> Result<()> {
    asked_while_the_runner_dies_at("ask.seen").await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ask_survives_a_death_after_it_is_listed() -> Result<()> {
    asked_while_the_runner_dies_at("ask.written").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_survives_a_death_before_claude_is_told() -> Result<()> {
    decided_while_the_runner_dies_at("ask.decided").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_survives_a_death_after_claude_is_told() -> Result<()> {
    decided_while_the_runner_dies_at("ask.told").await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ask_survives_a_death_after_it_is_folded() -> Result<()> {
    let world = World::builder().without_gateway().start().await?;
    world.start_gateway_to_die_at("ask.folded").await?;
    let question = world.say(TOUCH)?;
    world.gateway_dies().await?;
    world.start_gateway().await?;
    let allow = asks(&world, question, "Allow once").await?;
    click(&world, "alice", &allow).await?;
    ends(question, "the answer").await?;
    is_done_once(&world).await
}

/// Whoever clicked hears nothing any more; the message says what was decided.
#[tokio::test(flavor = "multi_thread")]
async fn a_decision_survives_a_death_after_it_is_stored() -> Result<()> {
    let world = World::builder().without_gateway().start().await?;
    world.start_gateway_to_die_at("ask.stored").await?;
    let question = world.say(TOUCH)?;
    let allow = asks(&world, question, "Allow once").await?;
    allow.press(&world, "alice")?;
    world.gateway_dies().await?;
    world.start_gateway().await?;
    says(&world, &allow, "Allowed by alice.").await?;
    ends(question, "the answer").await?;
    is_done_once(&world).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_in_place_of_a_yes_survives_a_death_after_it_is_stored() -> Result<()> {
    let world = World::builder().without_gateway().start().await?;
    world.start_gateway_to_die_at("ask.sent").await?;
    let question = world.say(TOUCH)?;
    asks(&world, question, "Allow once").await?;
    let meanwhile = question.follow_up("use the other").await?;
    let send = asks(&world, question, "Deny and send this").await?;
    send.press(&world, "alice")?;
    world.gateway_dies().await?;
    world.start_gateway().await?;
    ends(question, "the answer").await?;
    assert_eq!(meanwhile.mark().await?, "✅");
    assert_eq!((world.ledger().count("begin"), world.ledger().count("tool")), (1, 0));
    world.nothing_is_left().await
}
