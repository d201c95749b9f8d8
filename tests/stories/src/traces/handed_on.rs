//! All of it through a collector that is not of ours: what it does not understand, it would not hand on.

use anyhow::Result;
use harness::otlp::{Span, tree};
use harness::{Otlp, Rotel, World};

use super::{OVER, WHOLE, came, git, ours};

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_not_of_ours_hands_on_the_whole_trace_the_log_and_the_numbers()
-> Result<()> {
    let otlp = Otlp::start().await?;
    let rotel = Rotel::before(&otlp).await?;
    let world = World::builder()
        .every_env("OTEL_EXPORTER_OTLP_ENDPOINT", rotel.url())
        .every_env("OTEL_METRIC_EXPORT_INTERVAL", "200")
        .start()
        .await?;
    let question = world.say(&format!("{}[[say the answer]]", git("--version")))?;
    assert_eq!(question.answer().await?, "the answer");
    came(&world, &otlp, &OVER).await?;
    // It batches: children may come before their parents.
    let is_whole = || tree(&ours(&otlp)) == WHOLE;
    world.until("the whole tree", is_whole).await?;
    let all = otlp.spans();
    let is_of = |service: &str| all.iter().any(|span: &Span| span.service == service);
    assert!(is_of("gateway-svc") && is_of("runner-svc"), "{all:#?}");
    let line = ("accepted".to_owned(), all[0].trace.clone());
    world.until("a line of the log with its trace", || otlp.lines().contains(&line)).await?;
    for service in ["gateway-svc", "runner-svc"] {
        let ended = |sent: &harness::Sending| {
            let name = match service {
                "gateway-svc" => "holdfast_runs_ended_total",
                _ => "holdfast_runner_runs_ended_total",
            };
            sent.numbers.value(name, &[("outcome", "answered")]) == Some(1.0)
        };
        let numbers = || otlp.numbers(service).is_ok_and(|all| all.iter().any(ended));
        world.until("the numbers of a run", numbers).await?;
    }
    Ok(())
}
