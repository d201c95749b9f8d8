//! The numbers as a collector is sent them: the same as on `/metrics`, and none of them missing when the
//! collector was away.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use harness::{Builder, Exposition, Otlp, Sending, World};

use super::one_answer;
use crate::scene::is_answered_once;

/// What is free on a disk changes while it is looked at.
const CHANGES: &str = "holdfast_runner_disk_free_bytes";

/// A world whose services send their numbers five times a second.
fn telling(otlp: &Otlp) -> Builder {
    World::builder().otlp(otlp).every_env("OTEL_METRIC_EXPORT_INTERVAL", "200")
}

/// What a service sent last, if it is what its page says.
fn same(otlp: &Otlp, service: &str, page: &Exposition) -> Option<Sending> {
    let sent = otlp.numbers(service).ok()?.pop()?;
    let of = |name: &&&str| **name != CHANGES;
    let names = page.names();
    let is_same = names == sent.numbers.names()
        && names.iter().filter(of).all(|name| page.of(name) == sent.numbers.of(name));
    is_same.then_some(sent)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_is_sent_the_same_names_and_values_as_the_page_shows() -> Result<()> {
    let otlp = Otlp::start().await?;
    let world = telling(&otlp).start().await?;
    assert_eq!(world.say("[[say the answer]]")?.answer().await?, "the answer");
    let (gateway, runner) = ("gateway-svc", "runner-svc");
    world
        .gateway_counts("the same at the collector", |page| {
            one_answer(page, "holdfast_runs_ended_total") && same(&otlp, gateway, page).is_some()
        })
        .await?;
    world
        .runner_counts("the same at the collector", |page| {
            one_answer(page, "holdfast_runner_runs_ended_total")
                && same(&otlp, runner, page).is_some()
        })
        .await?;
    for service in [gateway, runner] {
        // All that came could be read.
        let last = otlp.numbers(service)?.pop().context("nothing came")?;
        let says = |key: &str| last.resource.get(key).cloned().unwrap_or_default();
        assert_eq!(says("service.version"), env!("CARGO_PKG_VERSION"));
        let instance = says("service.instance.id");
        assert!(!instance.is_empty(), "{:?}", last.resource);
        assert!(service != runner || instance == "host", "{instance}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_takes_nothing_for_a_while_misses_no_number_and_gets_no_backlog()
-> Result<()> {
    let otlp = Otlp::start().await?;
    otlp.refuses(true);
    let world = telling(&otlp).start().await?;
    is_answered_once(world.say("[[say the answer]]")?).await?;
    let many = || 20 < otlp.refused("metrics");
    world.until("many tries", many).await?;
    let services = ["gateway-svc", "runner-svc"];
    for service in services {
        let told = world.log(service).matches("the collector takes no metrics:").count();
        assert_eq!(told, 1, "{service} says it once");
    }
    let before = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
    otlp.refuses(false);
    let (gateway, runner) = (services[0], services[1]);
    world.gateway_counts("all of it", |page| same(&otlp, gateway, page).is_some()).await?;
    world.runner_counts("all of it", |page| same(&otlp, runner, page).is_some()).await?;
    for service in services {
        world.logs(service, "the collector takes metrics again").await?;
        let sent = otlp.numbers(service)?;
        // The one that was under way; whatever else was refused is gone.
        let old = sent.iter().filter(|it| u128::from(it.at) < before).count();
        assert!(old <= 1, "{service} had kept {old} sendings");
    }
    Ok(())
}
