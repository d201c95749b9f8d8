//! A collector that is reached by https: with the authority that signed its certificate, and no other.

use anyhow::{Context as _, Result};
use harness::{Otlp, World};
use serde_json::json;

use super::{OVER, WHOLE, came, git, ours, traced};
use crate::scene::is_answered_once;

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_with_a_certificate_of_its_own_authority_is_sent_all_of_it() -> Result<()> {
    let otlp = Otlp::secured().await?;
    let world = traced(&otlp).await?;
    let question = world.say(&format!("{}[[say the answer]]", git("--version")))?;
    assert_eq!(question.answer().await?, "the answer");
    came(&world, &otlp, &OVER).await?;
    assert_eq!(harness::otlp::tree(&ours(&otlp)), WHOLE);
    world.until("lines of the log", || 0 < otlp.count("logs")).await?;
    // The last word of both: all numbers are sent at the end, whenever they were sent before.
    world.stop_runner().await?;
    world.stop_gateway().await?;
    for service in ["gateway-svc", "runner-svc"] {
        assert!(!otlp.numbers(service)?.is_empty(), "{service} sent no numbers");
    }
    world.start_gateway().await?;
    world.start_runner().await
}

#[tokio::test(flavor = "multi_thread")]
async fn claude_is_told_of_the_authority_too() -> Result<()> {
    let otlp = Otlp::secured().await?;
    let world = World::builder().otlp(&otlp).tools(&["Bash"]).start().await?;
    let echo = json!({"command": "echo $OTEL_EXPORTER_OTLP_CERTIFICATE"});
    let question = world.say(&format!("[[tool Bash {echo}]][[say it says: {{result}}]]"))?;
    let file = otlp.authority().context("it has one")?.display().to_string();
    let answer = question.answer().await?;
    assert!(answer.contains(&file), "{answer:?} has no {file:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_another_authority_is_named_and_harms_nothing() -> Result<()> {
    let (otlp, other) = (Otlp::secured().await?, Otlp::secured().await?);
    let file = other.authority().context("it has one")?;
    let world = World::builder().otlp(&otlp).every_env("OTEL_EXPORTER_OTLP_CERTIFICATE", file);
    let world = world.start().await?;
    is_answered_once(world.say("[[say the answer]]")?).await?;
    for service in ["gateway-svc", "runner-svc"] {
        world.logs(service, "the collector takes no spans:").await?;
        let log = world.log(service);
        let line = log.lines().find(|line| line.contains("the collector takes no spans:"));
        let line = line.context("the line is gone")?;
        assert!(line.contains("error (Connect): invalid peer certificate: "), "{line}");
    }
    is_answered_once(world.say("[[say the answer]]")?).await?;
    assert_eq!(["traces", "logs", "metrics"].map(|signal| otlp.count(signal)), [0; 3]);
    Ok(())
}
