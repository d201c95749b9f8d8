//! Faults of the bus: what it forgets, what it tells twice, and what an operator takes away by hand.
//!
//! A server that was away for longer than `AckWait` may deliver again what is at work. Where a story
//! needs that it does, its consumer's state is lost: what a runner hears is the same.

use std::fs;
use std::time::Instant;

use anyhow::Result;
use harness::{Part, SCALED_ACK_WAIT, World, copy_folder};
use serde_json::{Value, json};

use crate::scene::{claudes_for_the_answer, in_the_middle};

/// Where nats-server keeps what it delivered, in its store.
const CONSUMER_STATE: &str = "jetstream/$G/streams/WORK/obs/runner-host/o.dat";
const CONSUMER: &str = "WORK.runner-host";

fn messages(state: &Value) -> u64 {
    state["messages"].as_u64().unwrap_or(u64::MAX)
}

fn delivered(info: &Value) -> u64 {
    info["delivered"]["consumer_seq"].as_u64().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_was_deleted_is_named_and_its_return_is_enough() -> Result<()> {
    let world = World::start().await?;
    let running = in_the_middle(&world).await?;
    world.jetstream(&format!("CONSUMER.DELETE.{CONSUMER}"), &Value::Null).await?;
    let named = |(status, page): (u16, String)| {
        status == 503 && page.contains("consumer runner-host of WORK is missing")
    };
    world.runner_page_is("/readyz", "the missing consumer", named).await?;
    let queued = world.say("[[say the queued]]")?;
    queued.is_seen().await?;
    world.stream_is("WORK", |state| messages(state) == 2).await?;
    world.provision().await?;
    assert_eq!(queued.answer().await?, "the queued");
    world.runner_page_is("/readyz", "that all is well", |(status, _)| status == 200).await?;
    world.release("go")?;
    assert_eq!(claudes_for_the_answer(&world, running).await?, 2, "one for each question");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_whose_settings_were_changed_is_named_and_put_right() -> Result<()> {
    let world = World::start().await?;
    let running = in_the_middle(&world).await?;
    world.stop_runner().await?;
    let queued = world.say("[[say the queued]]")?;
    world.stream_is("WORK", |state| messages(state) == 2).await?;
    let info = world.jetstream(&format!("CONSUMER.INFO.{CONSUMER}"), &Value::Null).await?;
    let mut config = info["config"].clone();
    config["max_deliver"] = json!(3);
    let changed = json!({ "stream_name": "WORK", "config": config, "action": "update" });
    world.jetstream(&format!("CONSUMER.DURABLE.CREATE.{CONSUMER}"), &changed).await?;
    let doctor = world.runner_command(&["doctor"]).await?;
    let said = String::from_utf8_lossy(&doctor.stdout);
    assert!(said.contains("consumer runner-host of WORK: max_deliver is 3"), "{said}");
    let refused = world.start_runner().await.map_err(|error| format!("{error:#}"));
    let refused = refused.err().unwrap_or_default();
    assert!(refused.contains("max_deliver is 3") && refused.contains("provision"), "{refused}");
    world.provision().await?;
    world.start_runner().await?;
    assert_eq!(queued.answer().await?, "the queued");
    world.release("go")?;
    assert_eq!(claudes_for_the_answer(&world, running).await?, 2, "one for each question");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_that_was_deleted_is_named_and_its_return_is_enough() -> Result<()> {
    let world = World::start().await?;
    let question = in_the_middle(&world).await?;
    world.jetstream("CONSUMER.DELETE.KV_RUNS.gateway", &Value::Null).await?;
    let named = |(status, page): (u16, String)| {
        status == 503 && page.contains("consumer gateway of KV_RUNS is missing")
    };
    world.gateway_page_is("/readyz", "the missing consumer", named).await?;
    world.provision().await?;
    world.gateway_page_is("/readyz", "that all is well", |(status, _)| status == 200).await?;
    world.release("go")?;
    assert_eq!(claudes_for_the_answer(&world, question).await?, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_comes_again_with_count_one_starts_no_second_claude() -> Result<()> {
    let world = World::start().await?;
    let question = in_the_middle(&world).await?;
    world.kill_nats().await?;
    fs::remove_file(world.folder().nats().join("store").join(CONSUMER_STATE))?;
    world.start_nats().await?;
    world.consumer_is(|info| 1 <= delivered(info)).await?;
    world.release("go")?;
    assert_eq!(claudes_for_the_answer(&world, question).await?, 1);
    world.stream_is("WORK", |state| messages(state) == 0).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_copy_of_answered_work_is_only_taken_away() -> Result<()> {
    let world = World::start().await?;
    let question = in_the_middle(&world).await?;
    let stored = world.stored("WORK").await?;
    assert_eq!(stored.len(), 1, "{stored:?}");
    world.release("go")?;
    assert_eq!(question.mark().await?, "✅");
    world.stream_is("WORK", |state| messages(state) == 0).await?;
    // Killed right after the ack, and whatever it remembered of ids is gone.
    world.kill_nats().await?;
    world.start_nats().await?;
    world.store(&stored[0]).await?;
    world.stream_is("WORK", |state| messages(state) == 0).await?;
    assert_eq!(claudes_for_the_answer(&world, question).await?, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_was_purged_while_it_waited_is_published_again() -> Result<()> {
    let world = World::start().await?;
    world.stop_runner().await?;
    let question = world.say("[[say the answer]]")?;
    world.stream_is("WORK", |state| messages(state) == 1).await?;
    world.jetstream("STREAM.PURGE.WORK", &Value::Null).await?;
    world.start_runner().await?;
    assert_eq!(claudes_for_the_answer(&world, question).await?, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_was_purged_while_it_was_done_is_answered() -> Result<()> {
    let world = World::start().await?;
    let question = in_the_middle(&world).await?;
    world.jetstream("STREAM.PURGE.WORK", &Value::Null).await?;
    world.release("go")?;
    assert_eq!(claudes_for_the_answer(&world, question).await?, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_were_purged_while_claude_works_are_written_again() -> Result<()> {
    let world = World::start().await?;
    let question = in_the_middle(&world).await?;
    world.jetstream("STREAM.PURGE.KV_RUNS", &Value::Null).await?;
    world.release("go")?;
    assert_eq!(claudes_for_the_answer(&world, question).await?, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_was_deleted_while_claude_works_is_written_again() -> Result<()> {
    let world = World::start().await?;
    let question = in_the_middle(&world).await?;
    let all = world.stored("KV_RUNS").await?;
    let run = all.iter().find(|stored| stored.subject.contains(".app.")).expect("a record");
    let purge = json!({ "filter": run.subject });
    world.jetstream("STREAM.PURGE.KV_RUNS", &purge).await?;
    world.release("go")?;
    assert_eq!(claudes_for_the_answer(&world, question).await?, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_were_purged_while_the_runner_is_away_are_written_again() -> Result<()> {
    let world = World::start().await?;
    let question = in_the_middle(&world).await?;
    world.stop_runner().await?;
    world.jetstream("STREAM.PURGE.KV_RUNS", &Value::Null).await?;
    world.start_runner().await?;
    world.release("go")?;
    assert_eq!(claudes_for_the_answer(&world, question).await?, 1);
    Ok(())
}

/// The bus as it was in the middle of a run, put back after the run was answered.
#[tokio::test(flavor = "multi_thread")]
async fn a_bus_that_is_put_back_to_before_an_answer_tells_it_no_second_time() -> Result<()> {
    let world = World::start().await?;
    let question = in_the_middle(&world).await?;
    let (store, kept) = (world.folder().nats().join("store"), world.folder().root().join("kept"));
    world.kill_nats().await?;
    copy_folder(&store, &kept)?;
    // What was delivered comes again at once, and not after AckWait.
    fs::remove_file(kept.join(CONSUMER_STATE))?;
    world.start_nats().await?;
    world.release("go")?;
    assert_eq!(question.answer().await?, "the answer");
    world.is_quiet().await?;
    world.kill_nats().await?;
    fs::remove_dir_all(&store)?;
    fs::rename(&kept, &store)?;
    world.start_nats().await?;
    world.stream_is("WORK", |state| messages(state) == 0).await?;
    let follow_up = question.follow_up("[[say the second]]").await?;
    assert_eq!(follow_up.answer().await?, "the second");
    assert_eq!(question.said_in_thread()?, ["the answer", "the second"]);
    Ok(())
}

/// The bus as it was before a run began, put back while claude works on it.
#[tokio::test(flavor = "multi_thread")]
async fn a_bus_that_is_put_back_to_before_a_run_costs_no_answer() -> Result<()> {
    let world = World::start().await?;
    let before = world.say("[[say before]]")?;
    assert_eq!(before.answer().await?, "before");
    world.is_quiet().await?;
    let (store, kept) = (world.folder().nats().join("store"), world.folder().root().join("kept"));
    world.kill_nats().await?;
    copy_folder(&store, &kept)?;
    world.start_nats().await?;
    let question = in_the_middle(&world).await?;
    world.kill_nats().await?;
    fs::remove_dir_all(&store)?;
    fs::rename(&kept, &store)?;
    world.start_nats().await?;
    world.release("go")?;
    assert_eq!(claudes_for_the_answer(&world, question).await?, 2, "one for each question");
    assert_eq!(before.said_in_thread()?, ["before"]);
    Ok(())
}

/// Takes NATS away, and does something, until `AckWait` is over twice for all that is at work.
async fn away_for_longer_than_ack_wait(
    world: &World,
    meanwhile: impl AsyncFnOnce() -> Result<()>,
) -> Result<()> {
    world.kill_nats().await?;
    let since = Instant::now();
    meanwhile().await?;
    world.until("the end of AckWait", || SCALED_ACK_WAIT * 2 < since.elapsed()).await?;
    world.start_nats().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_ends_while_the_bus_is_away_for_longer_than_ack_wait_is_answered_once()
-> Result<()> {
    let world = World::builder().scaled().start().await?;
    let question = in_the_middle(&world).await?;
    away_for_longer_than_ack_wait(&world, async || {
        world.release("go")?;
        world.notes("the result", |ledger| ledger.count("result") == 1).await
    })
    .await?;
    assert_eq!(claudes_for_the_answer(&world, question).await?, 1);
    world.stream_is("WORK", |state| messages(state) == 0).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_outlasts_a_bus_away_for_longer_than_ack_wait_is_answered_once() -> Result<()> {
    let world = World::builder().scaled().start().await?;
    let question = in_the_middle(&world).await?;
    let queued = world.say("[[say the queued]]")?;
    queued.is_seen().await?;
    away_for_longer_than_ack_wait(&world, async || Ok(())).await?;
    // The bus works again, and what waited beside the run was begun.
    let late = world.say("[[say the late]]")?;
    assert_eq!(late.answer().await?, "the late");
    assert_eq!(queued.answer().await?, "the queued");
    world.release("go")?;
    assert_eq!(claudes_for_the_answer(&world, question).await?, 3, "one for each question");
    world.stream_is("WORK", |state| messages(state) == 0).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bus_that_stands_still_for_a_while_costs_no_answer() -> Result<()> {
    let world = World::start().await?;
    let question = in_the_middle(&world).await?;
    world.freeze(Part::Nats).await?;
    world.release("go")?;
    world.notes("the result", |ledger| ledger.count("result") == 1).await?;
    world.logs("runner-svc", "trying again").await?;
    world.thaw(Part::Nats).await?;
    assert_eq!(claudes_for_the_answer(&world, question).await?, 1);
    Ok(())
}
