//! `cargo xtask compose-test`: `docker-compose.yml` tried for real, in a project of its own.
//!
//! The images are built, the demo is started, a question is asked at the simulated Discord, and while claude
//! works on it the containers of gateway, nats-server, PostgreSQL and runner are killed in turn. Then the one
//! answer has to stand there, and one trace of it in Jaeger, to which the answer links; and everything of
//! the project is taken away, whatever came of it.
//!
//! The logs are kept in `target/compose-test/`.

mod chat;
mod engine;
mod http;
mod trace;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use self::chat::{Chat, Gate};
use self::engine::{Engine, until};
use self::http::Request;
use crate::process::{say, spoken};
use crate::workspace::Workspace;

/// What is asked; the script holds claude in the middle.
const QUESTION: &str = "What is the answer? [[think about it]] [[wait go]] [[say Forty-two.]]";
/// What it answers.
const ANSWER: &str = "Forty-two.";
/// What is asked afterwards: whatever were to be posted twice would stand before its answer.
const AGAIN: &str = "And again? [[say Still the same.]]";
/// What it answers to that.
const AND_AGAIN: &str = "Still the same.";
/// The project's channel in docker-compose.yml.
const CHANNEL: &str = "sample";
/// What is killed, in this order.
const KILLED: [&str; 4] = ["gateway", "nats", "postgres", "demo-runner"];
/// The port of the page, of the simulated model and of the collector, in their containers.
const PAGE: u16 = 7003;
const MODEL: u16 = 7100;
const OTLP: u16 = 4318;
/// Where Jaeger is asked.
const JAEGER: u16 = 16686;
/// How long spans may take until they are shown: services send them every few seconds.
const TRACE_WITHIN: Duration = Duration::from_secs(60);

/// Builds, starts, asks, kills, looks and takes away.
///
/// # Errors
///
/// What did not go as it must.
pub(crate) fn compose_test(workspace: &Workspace) -> Result<()> {
    let logs = workspace.root().join("target/compose-test");
    let mut engine = Engine::find(workspace.root(), logs.clone())?;
    let begin = Instant::now();
    let tell = |what: &str| say(&format!("{:>10}  {what}", spoken(begin.elapsed())));
    engine.check()?;
    tell("docker-compose.yml is read without complaint");
    engine.fetch()?;
    tell("building the images …");
    engine.build()?;
    tell(&format!("starting the project {}", engine.project()));
    let tried = up(&engine, &tell);
    engine.keep_logs();
    let taken_away = engine.down();
    if taken_away.is_ok() {
        tell("containers, volumes and images of the project are taken away");
    }
    tried.with_context(|| format!("the logs are in {}", logs.display()))?;
    taken_away?;
    say(&format!("compose-test: passed in {}", spoken(begin.elapsed())));
    Ok(())
}

fn up(engine: &Engine, tell: &impl Fn(&str)) -> Result<()> {
    engine.up()?;
    for service in ["discord-sim", "anthropic-sim", "nats", "postgres", "gateway", "demo-runner"] {
        engine.healthy(service)?;
    }
    tell("every container is healthy");
    collects(engine)?;
    tell("the collector takes traces");

    let chat = Chat::at(engine.port("discord-sim", PAGE)?);
    let gate = Gate::at(engine.port("anthropic-sim", MODEL)?);
    let question = chat.say(CHANNEL, QUESTION)?;
    gate.reached()?;
    tell("the question is written, and claude works on it");
    for service in KILLED {
        engine.kill(service)?;
        tell(&format!("{service} is killed"));
        engine.start(service)?;
        engine.healthy(service)?;
        tell(&format!("{service} is back"));
    }
    // What depends on one that was killed has to find it again by itself.
    for service in KILLED {
        engine.healthy(service)?;
    }
    gate.open("go")?;
    let thread = chat.answer(&question, ANSWER)?;
    tell(&format!("the answer stands in the thread: {ANSWER}"));
    chat.say(&thread, AGAIN)?;
    chat.answer(&question, AND_AGAIN)?;
    let said = chat.said_by_bot(&thread)?;
    let times = said.iter().filter(|text| text.contains(ANSWER)).count();
    ensure!(times == 1, "the answer stands there {times} times: {said:?}");
    tell("one question, one answer");
    let trace = traced(engine, &format!("m{question}"))?;
    tell(&format!("and one trace of both services: {trace}"));
    let link = format!("/trace/{trace}>");
    ensure!(said.iter().any(|text| text.contains(&link)), "no line links to it: {said:?}");
    tell("to which the line under the answer links");
    Ok(())
}

/// Waits for the trace of a run in Jaeger; where a stand-in of Jaeger has no pages, in the log of the
/// collector that stands in beside it.
fn traced(engine: &Engine, run: &str) -> Result<String> {
    let port = engine.port("jaeger", JAEGER)?;
    let path = "/api/traces?service=gateway-svc&limit=500&lookback=1h";
    until(TRACE_WITHIN, &format!("the trace of {run}"), || {
        let spans = match http::json(port, path, Request::Get) {
            Ok(answer) => trace::of_jaeger(&answer),
            Err(_) => trace::of_log(&engine.log("collector")?),
        };
        trace::of_run(&spans, run)
    })
}

/// Whether the collector takes a trace: one without spans, which every receiver of OTLP takes.
fn collects(engine: &Engine) -> Result<()> {
    let port = engine.port("collector", OTLP)?;
    let answer = http::ask(port, "/v1/traces", Request::Protobuf(&[]))?;
    ensure!(
        answer.status == 200,
        "the collector answers {}: {}",
        answer.status,
        engine.tail("collector")
    );
    Ok(())
}
