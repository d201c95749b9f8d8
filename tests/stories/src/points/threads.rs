//! The gateway dies while a conversation for which no thread can be started moves into its channel.

use anyhow::Result;
use harness::World;
use harness::discord_sim::Permissions;

use crate::threads::{done, said};

/// The gateway dies at a point of that; the answer comes once, behind the one word about it.
async fn the_loss_of_a_thread_survives(point: &str) -> Result<()> {
    let world = World::builder().without_gateway().start().await?;
    let channel = world.channel();
    done(world.discord().deny_bot(channel, Permissions::CREATE_PUBLIC_THREADS))?;
    world.start_gateway_to_die_at(point).await?;
    let question = world.say("[[say one]]")?;
    world.gateway_dies().await?;
    world.start_gateway().await?;
    assert_eq!(question.mark().await?, "✅");
    let other = world.say("[[say other]]")?;
    assert_eq!(other.mark().await?, "✅");
    let said: Vec<String> = said(&world, channel).into_iter().map(|(said, _)| said).collect();
    assert_eq!(said[1..], ["one", "other"], "{said:?}");
    assert!(said[0].contains("I can't start a thread here"), "{said:?}");
    world.nothing_is_left().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_loss_of_a_thread_survives_a_death_before_it_is_stored() -> Result<()> {
    the_loss_of_a_thread_survives("threadless.written").await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_loss_of_a_thread_survives_a_death_after_it_is_stored() -> Result<()> {
    the_loss_of_a_thread_survives("threadless.stored").await
}
