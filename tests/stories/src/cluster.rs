//! A bus of three servers, each stream on all of them: one may go at any time, two may not.

use anyhow::Result;
use harness::World;

use crate::scene::{claudes_for_the_answer, in_the_middle};

async fn clustered() -> Result<World> {
    World::builder().cluster().start().await
}

async fn the_leader_dies(world: World, stream: &str) -> Result<()> {
    world.stream_is_whole(stream).await?;
    let question = in_the_middle(&world).await?;
    let leader = world.leader_of(stream).await?;
    world.kill_node(&leader).await?;
    world.release("go")?;
    // Everything else is done by the two that are left.
    assert_eq!(claudes_for_the_answer(&world, question).await?, 1);
    world.start_node(&leader).await?;
    world.stream_is_whole(stream).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_of_work_dies_in_mid_run_and_the_answer_comes_once() -> Result<()> {
    the_leader_dies(clustered().await?, "WORK").await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_of_records_dies_in_mid_run_and_the_answer_comes_once() -> Result<()> {
    the_leader_dies(clustered().await?, "KV_RUNS").await
}

#[tokio::test(flavor = "multi_thread")]
async fn with_keys_and_tls_as_well_a_leader_dies_and_the_answer_comes_once() -> Result<()> {
    the_leader_dies(World::builder().secured_cluster().start().await?, "WORK").await
}

/// How a server leaves its cluster before it is started again.
#[derive(Clone, Copy)]
enum Leaving {
    Stopped,
    /// In lame duck mode, as for an upgrade.
    Retired,
}

/// Each server leaves and comes back while a run lasts; a question that is asked meanwhile is answered
/// once.
async fn one_after_another(leaving: Leaving) -> Result<()> {
    let world = clustered().await?;
    let question = in_the_middle(&world).await?;
    for node in world.nodes() {
        for stream in ["WORK", "KV_RUNS", "KV_CONTROL", "KV_RUNNERS", "OBJ_FILES_app"] {
            world.stream_is_whole(stream).await?;
        }
        let meanwhile = world.say("[[say meanwhile]]")?;
        match leaving {
            Leaving::Stopped => world.stop_node(node).await?,
            Leaving::Retired => world.retire_node(node).await?,
        }
        assert_eq!(meanwhile.answer().await?, "meanwhile");
        assert_eq!(meanwhile.said_in_thread()?, ["meanwhile"]);
        world.start_node(node).await?;
    }
    world.release("go")?;
    assert_eq!(claudes_for_the_answer(&world, question).await?, 4, "one for each question");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn all_servers_are_restarted_one_after_another_while_runs_run() -> Result<()> {
    one_after_another(Leaving::Stopped).await
}

#[tokio::test(flavor = "multi_thread")]
async fn all_servers_are_upgraded_one_after_another_while_runs_run() -> Result<()> {
    one_after_another(Leaving::Retired).await
}

#[tokio::test(flavor = "multi_thread")]
async fn with_two_of_three_away_all_waits_and_says_so() -> Result<()> {
    let world = clustered().await?;
    for stream in ["WORK", "KV_RUNS"] {
        world.stream_is_whole(stream).await?;
    }
    let question = in_the_middle(&world).await?;
    let [first, second, _] = world.nodes();
    world.kill_node(first).await?;
    world.kill_node(second).await?;
    let waits = |(status, page): (u16, String)| status == 503 && page.contains("nats");
    world.runner_page_is("/readyz", "that it waits for NATS", waits).await?;
    world.gateway_page_is("/readyz", "that it waits for NATS", waits).await?;
    world.release("go")?;
    let queued = world.say("[[say the queued]]")?;
    queued.is_seen().await?;
    world.start_node(first).await?;
    assert_eq!(queued.answer().await?, "the queued");
    assert_eq!(claudes_for_the_answer(&world, question).await?, 2, "one for each question");
    let well = |(status, _): (u16, String)| status == 200;
    world.runner_page_is("/readyz", "that all is well", well).await?;
    world.gateway_page_is("/readyz", "that all is well", well).await?;
    world.start_node(second).await
}
