//! What `/metrics` of both services tells: of runs and their costs, of what waits and for how long, of
//! deaths that nobody else noticed. Each page is read as strictly as Prometheus reads it.

mod sent;

use std::time::Duration;

use anyhow::{Result, anyhow};
use harness::discord_sim::{FaultKind, FaultRule};
use harness::{Exposition, Postgres, World};

use crate::scene::{in_the_middle, is_answered_once};
use crate::shared::{held_by_the_second, two_hosts};

/// The project of every world.
const APP: (&str, &str) = ("project", "app");

fn is(page: &Exposition, name: &str, labels: &[(&str, &str)], value: f64) -> bool {
    page.value(name, labels).is_some_and(|it| (it - value).abs() < 1e-9)
}

fn is_more(page: &Exposition, name: &str, labels: &[(&str, &str)], than: f64) -> bool {
    page.value(name, labels).is_some_and(|it| than < it)
}

/// The page counts one answer and nothing else that ended.
fn one_answer(page: &Exposition, name: &str) -> bool {
    is(page, name, &[APP, ("outcome", "answered")], 1.0)
        && is(page, name, &[APP, ("outcome", "failed")], 0.0)
        && is(page, name, &[APP, ("outcome", "stopped")], 0.0)
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_run_both_services_tell_of_it() -> Result<()> {
    let world = World::start().await?;
    let question = world.say("[[say the answer]]")?;
    assert_eq!(question.answer().await?, "the answer");
    let (input, output) = (("gen_ai_token_type", "input"), ("gen_ai_token_type", "output"));
    let answered = ("outcome", "answered");
    world
        .gateway_counts("the run at the gateway", |page| {
            one_answer(page, "holdfast_runs_ended_total")
                && is(page, "holdfast_run_duration_seconds_count", &[APP, answered], 1.0)
                && is_more(page, "holdfast_run_duration_seconds_sum", &[APP, answered], 0.0)
                && is_more(page, "holdfast_tokens_total", &[APP, input], 0.0)
                && is_more(page, "holdfast_tokens_total", &[APP, output], 0.0)
                && is_more(page, "holdfast_cost_usd_total", &[APP], 0.0)
                && is_more(page, "holdfast_cost_today_usd", &[APP], 0.0)
                && is_more(page, "holdfast_posts_total", &[("outcome", "done")], 0.0)
                && is(page, "holdfast_project_runners", &[APP], 1.0)
        })
        .await?;
    world
        .runner_counts("the run at the runner", |page| {
            one_answer(page, "holdfast_runner_runs_ended_total")
                && is(page, "holdfast_runner_run_duration_seconds_count", &[APP, answered], 1.0)
                && is_more(page, "holdfast_runner_tokens_total", &[APP, output], 0.0)
                && is(page, "holdfast_runner_runs", &[("state", "working")], 0.0)
                && is(page, "holdfast_runner_spools", &[], 0.0)
                && is_more(page, "holdfast_runner_slots", &[], 0.0)
                && is_more(page, "holdfast_runner_disk_free_bytes", &[], 0.0)
        })
        .await?;
    // What both count, they count alike.
    let (gateway, runner) = (world.gateway_numbers().await?, world.runner_numbers().await?);
    let of = |page: &Exposition, name| page.value(name, &[APP, output]);
    assert_eq!(of(&gateway, "holdfast_tokens_total"), of(&runner, "holdfast_runner_tokens_total"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_takes_has_a_depth_and_an_age() -> Result<()> {
    let world = World::builder().without_runner().start().await?;
    let question = world.say("[[say the answer]]")?;
    question.is_seen().await?;
    let released = [APP, ("state", "released")];
    world
        .gateway_counts("a run that waits for a runner", |page| {
            is(page, "holdfast_queue_depth", &released, 1.0)
                && is_more(page, "holdfast_queue_age_seconds", &released, 0.0)
                && is(page, "holdfast_project_runners", &[APP], 0.0)
        })
        .await?;
    world.start_runner().await?;
    is_answered_once(question).await?;
    world
        .gateway_counts("that nothing waits", |page| {
            is(page, "holdfast_queue_depth", &released, 0.0)
                && is(page, "holdfast_queue_age_seconds", &released, 0.0)
                && is(page, "holdfast_project_runners", &[APP], 1.0)
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adoption_is_counted_after_a_runner_was_killed() -> Result<()> {
    let world = World::start().await?;
    let question = in_the_middle(&world).await?;
    let working = ("state", "working");
    let at_work = |page: &Exposition| {
        is(page, "holdfast_runner_runs", &[working], 1.0)
            && is(page, "holdfast_runner_spools", &[], 1.0)
            && is_more(page, "holdfast_runner_spool_size_bytes", &[], 0.0)
    };
    world.runner_counts("a run at work", at_work).await?;
    world.kill_runner().await?;
    world.start_runner().await?;
    let adopted = |page: &Exposition| is(page, "holdfast_runner_adoptions_total", &[APP], 1.0);
    world.runner_counts("an adoption", adopted).await?;
    world.release("go")?;
    is_answered_once(question).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_take_over_is_counted_where_it_goes_on() -> Result<()> {
    let (world, mut second) = two_hosts().await?;
    let question = held_by_the_second(&world, &mut second).await?;
    second.is_lost()?;
    world.notes("a second claude", |ledger| ledger.count("wait") == 2).await?;
    let taken = |page: &Exposition| is(page, "holdfast_runner_takeovers_total", &[APP], 1.0);
    world.runner_counts("a take-over", taken).await?;
    world.release("go")?;
    assert_eq!(question.mark().await?, "✅");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_of_what_is_at_work_is_counted() -> Result<()> {
    let world = World::start().await?;
    let question = in_the_middle(&world).await?;
    world.deliver_again().await?;
    let again =
        |page: &Exposition| is_more(page, "holdfast_runner_redeliveries_total", &[APP], 0.0);
    world.runner_counts("a redelivery", again).await?;
    world.release("go")?;
    is_answered_once(question).await
}

/// What a page says of its connection to NATS: whether it stands, and how often it was made and lost.
fn connection(page: &Exposition) -> Option<[f64; 3]> {
    let of = |name| page.value(name, &[]);
    let there = page.value("holdfast_ready", &[("part", "nats")])?;
    Some([there, of("holdfast_nats_connects_total")?, of("holdfast_nats_disconnects_total")?])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bus_that_is_away_is_told_by_both_services() -> Result<()> {
    // A run holds the only slot, so the runner asks nobody for work meanwhile.
    let world = World::builder().slots(1).start().await?;
    let question = in_the_middle(&world).await?;
    let first = |page: &Exposition| connection(page) == Some([1.0, 1.0, 0.0]);
    world.gateway_counts("a connection at the gateway", first).await?;
    world.runner_counts("a connection at the runner", first).await?;
    world.kill_nats().await?;
    let away = |page: &Exposition| connection(page) == Some([0.0, 1.0, 1.0]);
    world.gateway_counts("that the gateway has none", away).await?;
    world.runner_counts("that the runner has none", away).await?;
    world.start_nats().await?;
    let again = |page: &Exposition| connection(page) == Some([1.0, 2.0, 1.0]);
    world.gateway_counts("a new one at the gateway", again).await?;
    world.runner_counts("a new one at the runner", again).await?;
    world.release("go")?;
    is_answered_once(question).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_discord_holds_back_is_counted() -> Result<()> {
    let world = World::start().await?;
    let wait = FaultKind::RateLimited { retry_after: Duration::from_secs(2) };
    let posts = "/channels/{id}/messages";
    world.discord().fault(FaultRule::once("POST", posts, wait).times(1));
    is_answered_once(world.say("[[say the answer]]")?).await?;
    let channel = [("scope", "channel")];
    world
        .gateway_counts("a wait", |page| {
            is_more(page, "holdfast_discord_limited_total", &channel, 0.0)
                && is_more(page, "holdfast_discord_limited_time_seconds_total", &channel, 1.9)
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_is_counted_once_though_the_gateway_dies_behind_it() -> Result<()> {
    let world = World::builder().without_gateway().start().await?;
    world.start_gateway_to_die_at("feed.folded").await?;
    let question = world.say("[[say the answer]]")?;
    world.gateway_dies().await?;
    world.start_gateway().await?;
    assert_eq!(question.answer().await?, "the answer");
    let one = |page: &Exposition| one_answer(page, "holdfast_runs_ended_total");
    world.gateway_counts("the answer", one).await?;
    // The record came again, and changed nothing.
    let stale = [("outcome", "stale")];
    world
        .gateway_counts("the record that came again", |page| {
            is_more(page, "holdfast_records_total", &stale, 0.0)
        })
        .await?;
    assert!(one(&world.gateway_numbers().await?));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lacks_a_right_is_parked_with_all_that_waits_behind_it() -> Result<()> {
    let quick = World::builder().gateway_toml("[posting]\nparked_pause_s = 1\n");
    let world = quick.start().await?;
    let question = in_the_middle(&world).await?;
    question.thread_name().await?;
    let locked = |is| {
        let locked = world.discord().lock(question.thread(), is);
        locked.map_err(|error| anyhow!("Discord refuses: {error:?}"))
    };
    locked(true)?;
    world.release("go")?;
    let parked = [APP, ("state", "parked")];
    world
        .gateway_counts("parked rows", |page| {
            is_more(page, "holdfast_outbox_depth", &parked, 0.0)
                && is_more(page, "holdfast_outbox_age_seconds", &parked, 0.0)
                && is_more(page, "holdfast_posts_total", &[("outcome", "parked")], 0.0)
        })
        .await?;
    locked(false)?;
    is_answered_once(question).await?;
    let none = |page: &Exposition| is(page, "holdfast_outbox_depth", &parked, 0.0);
    world.gateway_counts("that nothing is parked", none).await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gateways_tell_the_same_of_their_store() -> Result<()> {
    let server = Postgres::start()?;
    let world = World::builder().without_gateway().start().await?;
    world.store_on(&server).await;
    world.start_gateway().await?;
    let mut second = world.gateway_beside().await?;
    world.start_second(&mut second).await?;
    is_answered_once(world.say("[[say the answer]]")?).await?;
    let both = |page: &Exposition| {
        is(page, "holdfast_runs_ended_total", &[APP, ("outcome", "answered")], 2.0)
    };
    world.gateway_counts("both answers", both).await?;
    world.second_counts(&second, "both answers", both).await?;
    let (one, two) = (world.gateway_numbers().await?, world.second_numbers(&second).await?);
    for name in ["holdfast_runs_ended_total", "holdfast_tokens_total", "holdfast_cost_usd_total"] {
        assert!(!one.of(name).is_empty(), "{name}");
        assert_eq!(one.of(name), two.of(name));
    }
    world.stop_second(&mut second)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_people_wrote_is_among_the_numbers() -> Result<()> {
    let world = World::start().await?;
    let question = world.say("[[say the xylophone]] of Ravensburg")?;
    question.answer().await?;
    let one = |page: &Exposition| one_answer(page, "holdfast_runs_ended_total");
    world.gateway_counts("the answer", one).await?;
    let (_, gateway) = world.gateway_page("/metrics").await?;
    let (_, runner) = world.runner_page("/metrics").await?;
    let message = question.message().to_string();
    let told = [
        "xylophone",
        "Ravensburg",
        "alice",
        &message,
        &question.thread().to_string(),
        &world.channel().to_string(),
    ];
    for page in [gateway, runner] {
        let found = told.iter().find(|text| page.to_lowercase().contains(&text.to_lowercase()));
        assert_eq!(found, None, "{page}");
    }
    Ok(())
}
