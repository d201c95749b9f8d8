//! A runner that takes no new work: it was told so, or it is gone.

use anyhow::Result;
use harness::{COLLEAGUE, World};

use crate::handed_over::{FIRST, begun, left_by_the_second, waits_for};
use crate::scene::{gets_nothing_of_it, in_the_middle};

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

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_runner_that_is_gone_goes_to_another_without_a_word_of_anybody()
-> Result<()> {
    // Two minutes in use; a runner shows itself every ten seconds.
    let world = World::builder().shared().every_env("HOLDFAST_GIVEN_UP_MS", "25000");
    let world = world.without_runner().start().await?;
    let mut second = world.colleague().await?;
    let first = left_by_the_second(&world, &mut second).await?;
    world.start_runner().await?;
    let question = first.follow_up("[[say the answer]]").await?;
    waits_for(&world, COLLEAGUE).await?;
    assert_eq!(question.mark().await?, "✅");
    let said = first.said_in_thread()?;
    let times = |text: &str| said.iter().filter(|said| said.starts_with(text)).count();
    assert_eq!(
        (times("the answer"), times("-# Moved: another runner goes on.")),
        (1, 1),
        "{said:?}"
    );
    assert_eq!(times("-# Resumed on **host**."), 1, "{said:?}");
    assert_eq!(begun(&world, &second, 1)?.0, FIRST);
    second.start().await?;
    gets_nothing_of_it(&world, second, 2).await
}
