//! The gateway dies when a status message comes, and when it goes.

use anyhow::Result;
use harness::World;
use harness::discord_sim::Message;

use crate::scene::in_the_middle;

/// Discord's flag of a message that notifies nobody.
const SILENT: u64 = 1 << 12;

async fn one_status_comes_and_goes(point: &str) -> Result<()> {
    let world = World::builder().status().without_gateway().start().await?;
    world.start_gateway_to_die_at(point).await?;
    let question = in_the_middle(&world).await?;
    let status = |it: &&Message| it.is_bot && it.flags & SILENT != 0;
    let is_there = || async {
        world
            .sees("a status", |view| {
                view.guild.messages(question.thread()).find(status).map(|_| ())
            })
            .await
    };
    if point == "status.ended" {
        is_there().await?;
        world.release("go")?;
    }
    world.gateway_dies().await?;
    world.start_gateway().await?;
    if point != "status.ended" {
        is_there().await?;
        world.release("go")?;
    }
    assert_eq!(question.answer().await?, "the answer");
    world
        .sees("no status any more", |view| {
            let left = view.guild.messages(question.thread()).filter(status).count();
            (left == 0).then_some(())
        })
        .await?;
    let all = world.discord().history(question.thread());
    assert_eq!(all.iter().filter(status).count(), 1, "{all:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_comes_once_whether_the_gateway_dies_before_it_is_posted() -> Result<()> {
    one_status_comes_and_goes("status.stored").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_comes_once_whether_the_gateway_dies_when_it_was_posted() -> Result<()> {
    // Behind the mark of having seen it, and the thread.
    one_status_comes_and_goes("post.sent:3").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_goes_whether_the_gateway_dies_before_it_is_taken_away() -> Result<()> {
    one_status_comes_and_goes("status.ended").await
}
