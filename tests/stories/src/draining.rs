//! A runner that is told to take no new work.

use anyhow::Result;
use harness::World;

use crate::scene::in_the_middle;

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_runner_ends_what_runs_and_takes_nothing_new_until_it_may() -> Result<()> {
    // What was asked for before it drained may be delivered to it, and comes again after AckWait.
    let world = World::builder().scaled().start().await?;
    let question = in_the_middle(&world).await?;
    assert!(world.runner_command(&["drain"]).await?.status.success());
    let other = world.say("[[say the other]]")?;
    other.is_seen().await?;
    world.release("go")?;
    assert_eq!(question.answer().await?, "the answer");
    // It is durable, and said.
    world.stop_runner().await?;
    world.launch_runner().await?;
    world
        .runner_page_is("/readyz", "that it drains", |(_, text)| text.contains("draining"))
        .await?;
    assert_eq!(world.ledger().count("begin"), 1, "the other waits");
    assert!(world.runner_command(&["drain", "--off"]).await?.status.success());
    assert_eq!(other.answer().await?, "the other");
    Ok(())
}
