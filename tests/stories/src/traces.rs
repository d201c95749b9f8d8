//! What a collector sees of a message: one trace from the question to the answer, whoever is killed
//! meanwhile, no word of anybody's in it, and nothing that waits for it.

mod handed_on;
mod secured;

use anyhow::{Context as _, Result};
use harness::otlp::{Span, tree};
use harness::{Builder, Otlp, World};
use serde_json::{Value, json};

use crate::asking::{asks, patient, touch};
use crate::scene::is_answered_once;
use crate::shared::held_by_the_second;

/// What is asked of git, which claude may use.
fn git(command: &str) -> String {
    format!("[[tool Bash {}]]", json!({"command": format!("git {command}")}))
}

/// What is known of a run when it is over; what Discord was asked for is left out.
const WHOLE: &str = "process MESSAGE_CREATE
  store run
  publish WORK
    process WORK
      claim
      start claude
      invoke_agent claude
        execute_tool Bash
      finish
      process RUNS
";

/// The spans that are no requests to Discord.
fn ours(otlp: &Otlp) -> Vec<Span> {
    let ours = otlp.spans().into_iter();
    ours.filter(|span| span.get("http.request.method").is_none()).collect()
}

fn named<'a>(spans: &'a [Span], name: &str) -> Vec<&'a Span> {
    spans.iter().filter(|span| span.name == name).collect()
}

/// The one span of this name.
fn one<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let found = named(spans, name);
    assert_eq!(found.len(), 1, "{name}: {found:#?}\n{}", tree(spans));
    found[0]
}

/// Waits until spans of these names came, as often as they stand there.
async fn came(world: &World, otlp: &Otlp, names: &[&str]) -> Result<()> {
    let what = format!("spans {names:?}");
    world
        .until(&what, || {
            let spans = otlp.spans();
            names.iter().all(|name| {
                let wanted = names.iter().filter(|other| other == &name).count();
                wanted <= named(&spans, name).len()
            })
        })
        .await
}

async fn traced(otlp: &Otlp) -> Result<World> {
    World::builder().otlp(otlp).start().await
}

/// A message is over for the collector when its run, its outcome and its answer came.
const OVER: [&str; 4] =
    ["process MESSAGE_CREATE", "process WORK", "process RUNS", "POST /channels/{channel}/messages"];

fn of_one_trace(spans: &[Span]) {
    assert!(spans.iter().all(|span| span.trace == spans[0].trace), "{spans:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_and_its_answer_are_one_trace() -> Result<()> {
    let otlp = Otlp::start().await?;
    let world = traced(&otlp).await?;
    let question = world.say(&format!("{}[[say the answer]]", git("--version")))?;
    assert_eq!(question.answer().await?, "the answer");
    came(&world, &otlp, &OVER).await?;
    let spans = ours(&otlp);
    assert_eq!(tree(&spans), WHOLE);
    let all = otlp.spans();
    of_one_trace(&all);
    let root = one(&all, "process MESSAGE_CREATE");
    assert_eq!(root.get("messaging.message.id"), Some(&*question.message().to_string()));
    // What Discord was asked for belongs to the message: 👀, the thread, the answer.
    let posted: Vec<_> = all.iter().filter(|span| span.get("holdfast.row").is_some()).collect();
    assert!(posted.iter().all(|span| span.parent == root.id && !span.failed), "{posted:#?}");
    for template in
        ["/channels/{channel}/messages/{message}/threads", "/channels/{channel}/messages"]
    {
        let of = posted.iter().filter(|span| span.get("url.template") == Some(template));
        assert_eq!(of.count(), 1, "{template}: {posted:#?}");
    }
    let claude = one(&all, "invoke_agent claude");
    assert_eq!((claude.service.as_str(), claude.failed), ("runner-svc", false));
    assert!(claude.get("gen_ai.usage.output_tokens").is_some(), "{claude:#?}");
    let tool = one(&all, "execute_tool Bash");
    assert_eq!(tool.get("gen_ai.tool.name"), Some("Bash"));
    for span in &all {
        assert!(span.times.0 <= span.times.1, "{span:#?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_on_is_a_trace_of_its_own() -> Result<()> {
    let otlp = Otlp::start().await?;
    let world = traced(&otlp).await?;
    let question = world.say("[[say the answer]]")?;
    is_answered_once(question).await?;
    came(&world, &otlp, &["process WORK", "process WORK"]).await?;
    let spans = otlp.spans();
    let runs = named(&spans, "process WORK");
    assert_ne!(runs[0].trace, runs[1].trace);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_over_a_killed_runner_is_one_trace_with_a_link() -> Result<()> {
    let otlp = Otlp::start().await?;
    let world = traced(&otlp).await?;
    let script = format!("{}[[wait go]]{}[[say the answer]]", git("--version"), git("status"));
    let question = world.say(&script)?;
    world.reached("go").await?;
    // What has ended is sent; what has not lies in the spool.
    came(&world, &otlp, &["claim", "start claude"]).await?;
    world.kill_runner().await?;
    world.start_runner().await?;
    world.release("go")?;
    assert_eq!(question.answer().await?, "the answer");
    came(&world, &otlp, &OVER).await?;
    let spans = ours(&otlp);
    of_one_trace(&spans);
    let run = one(&spans, "process WORK");
    let adopted = one(&spans, "adopt");
    assert_eq!(adopted.links, [(run.id.clone(), "adoption".to_owned())]);
    assert_ne!(adopted.parent, run.id, "a link, and no parent");
    let claude = one(&spans, "invoke_agent claude");
    assert_eq!(claude.parent, run.id);
    let tools = named(&spans, "execute_tool Bash");
    assert_eq!(tools.len(), 2, "{}", tree(&spans));
    assert!(tools.iter().all(|tool| tool.parent == claude.id), "{}", tree(&spans));
    assert!(tools[0].times.1 < adopted.times.0, "it was over before the runner was killed");
    one(&spans, "claim");
    one(&spans, "start claude");
    one(&spans, "finish");
    assert!(!tree(&spans).contains('?'), "{}", tree(&spans));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claude_that_comes_after_a_dead_one_is_linked_to_it() -> Result<()> {
    let otlp = Otlp::start().await?;
    let world = traced(&otlp).await?;
    let question = crate::scene::in_the_middle(&world).await?;
    crate::kills::kill_claude(&world).await?;
    world.release("go")?;
    assert_eq!(question.answer().await?, "the answer");
    came(&world, &otlp, &OVER).await?;
    let spans = ours(&otlp);
    let run = one(&spans, "process WORK");
    let claudes = named(&spans, "invoke_agent claude");
    assert_eq!(claudes.len(), 2, "{}", tree(&spans));
    assert!(claudes.iter().all(|claude| claude.parent == run.id), "{}", tree(&spans));
    assert_eq!((claudes[0].failed, claudes[1].failed), (true, false));
    assert_eq!(claudes[1].links, [(claudes[0].id.clone(), "again".to_owned())]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_another_runner_takes_over_is_linked_to_who_held_it() -> Result<()> {
    let otlp = Otlp::start().await?;
    let builder = World::builder().otlp(&otlp).shared().slots(1).without_runner();
    let world = builder.start().await?;
    let mut second = world.colleague().await?;
    let question = held_by_the_second(&world, &mut second).await?;
    came(&world, &otlp, &["claim", "start claude"]).await?;
    second.is_lost()?;
    world.notes("a second claude", |ledger| ledger.count("wait") == 2).await?;
    world.release("go")?;
    assert_eq!(question.mark().await?, "✅");
    came(&world, &otlp, &OVER).await?;
    let spans = ours(&otlp);
    of_one_trace(&spans);
    let run = one(&spans, "process WORK");
    let before = named(&spans, "claim")[0].parent.clone();
    let taken = run.links.iter().find(|(_, why)| why == "take-over");
    assert_eq!(taken.map(|(id, _)| id), Some(&before), "{}", tree(&spans));
    assert_ne!(run.id, before);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_comes_again_is_linked_to_its_publishing() -> Result<()> {
    let otlp = Otlp::start().await?;
    let world = World::builder().otlp(&otlp).shared().without_runner().start().await?;
    let question = world.say("[[say the answer]]")?;
    world.start_runner_to_die_at("claim.fetched").await?;
    world.runner_dies().await?;
    world.start_runner().await?;
    assert_eq!(question.answer().await?, "the answer");
    came(&world, &otlp, &OVER).await?;
    let spans = ours(&otlp);
    let (run, published) = (one(&spans, "process WORK"), one(&spans, "publish WORK"));
    assert_eq!(run.parent, published.id);
    assert_eq!(run.links, [(published.id.clone(), "redelivery".to_owned())]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_for_a_person_is_a_span_over_every_restart() -> Result<()> {
    let otlp = Otlp::start().await?;
    let world = patient().otlp(&otlp).start().await?;
    let question = world.say(&touch("made"))?;
    let ask = asks(&world, question, "Allow once").await?;
    came(&world, &otlp, &["process MESSAGE_CREATE", "publish WORK", "start claude"]).await?;
    world.kill_runner().await?;
    world.kill_gateway().await?;
    world.start_gateway().await?;
    world.start_runner().await?;
    came(&world, &otlp, &["adopt"]).await?;
    ask.press(&world, "alice")?;
    assert_eq!(question.mark().await?, "✅");
    came(&world, &otlp, &OVER).await?;
    let spans = ours(&otlp);
    let (claude, waited) = (one(&spans, "invoke_agent claude"), one(&spans, "wait for a person"));
    assert_eq!((&waited.parent, waited.get("holdfast.ask")), (&claude.id, Some("leave")));
    let adopted = one(&spans, "adopt");
    assert!(waited.times.0 < adopted.times.0 && adopted.times.1 <= waited.times.1, "{waited:#?}");
    Ok(())
}

/// A question, and what claude does and says; with what is in each of them and nowhere else.
const WORDS: [&str; 3] = ["marmalade", "rhubarb", "gooseberry"];

async fn tells_of_fruit(builder: Builder) -> Result<Otlp> {
    let otlp = Otlp::start().await?;
    let world = builder.otlp(&otlp).start().await?;
    let [asked, used, said] = WORDS;
    let question =
        world.say(&format!("{asked}? {}[[say {said}]]", git(&format!("config {used}.x y"))))?;
    assert_eq!(question.answer().await?, said);
    came(&world, &otlp, &OVER).await?;
    Ok(otlp)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_word_of_anybody_is_in_a_trace() -> Result<()> {
    let otlp = tells_of_fruit(World::builder()).await?;
    let found: Vec<_> = WORDS.iter().filter(|word| otlp.holds(word)).collect();
    assert!(found.is_empty(), "{found:?}");
    assert!(otlp.holds("execute_tool Bash"), "what is looked for would be found");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn words_are_in_a_trace_where_the_operator_wants_them() -> Result<()> {
    let texts = "[telemetry]\ntexts = true\n";
    let builder = World::builder().gateway_toml(texts).runner_toml(texts);
    let otlp = tells_of_fruit(builder).await?;
    let spans = ours(&otlp);
    let [asked, used, said] = WORDS;
    for (name, key, word) in [
        ("process MESSAGE_CREATE", "gen_ai.input.messages", asked),
        ("execute_tool Bash", "gen_ai.tool.call.arguments", used),
        ("invoke_agent claude", "gen_ai.input.messages", asked),
        ("invoke_agent claude", "gen_ai.output.messages", said),
    ] {
        let span = one(&spans, name);
        assert!(span.get(key).is_some_and(|text| text.contains(word)), "{key}: {span:#?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_that_is_not_kept_is_not_there_at_all() -> Result<()> {
    let otlp = Otlp::start().await?;
    let none = "[telemetry]\nsample = 0.0\n";
    let world = World::builder().otlp(&otlp).gateway_toml(none).start().await?;
    let question = world.say("[[say the answer]]")?;
    is_answered_once(question).await?;
    world.stop_runner().await?;
    world.stop_gateway().await?;
    // Both have sent what they had: the root decides for the runner as well.
    assert_eq!(otlp.spans(), []);
    world.start_gateway().await?;
    world.start_runner().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_gone_costs_nothing_but_its_spans() -> Result<()> {
    // Nobody listens at the port of `discard`.
    let builder = World::builder().every_env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9");
    let world = builder.start().await?;
    is_answered_once(world.say("[[say the answer]]")?).await?;
    for service in ["gateway-svc", "runner-svc"] {
        world.logs(service, "the collector takes no spans:").await?;
    }
    is_answered_once(world.say("[[say the answer]]")?).await?;
    world.stop_gateway().await?;
    for service in ["gateway-svc", "runner-svc"] {
        let told = world.log(service).matches("the collector takes no spans:").count();
        assert_eq!(told, 1, "{service} says it once");
    }
    world.start_gateway().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_never_answers_holds_nothing_up() -> Result<()> {
    let silent = Otlp::silent().await?;
    let world = traced(&silent).await?;
    for _ in 0..3 {
        is_answered_once(world.say("[[say the answer]]")?).await?;
    }
    world.logs("gateway-svc", "the collector takes no spans:").await?;
    is_answered_once(world.say("[[say the answer]]")?).await?;
    // An end waits for it only so long.
    world.stop_gateway().await?;
    world.start_gateway().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_of_json_carries_the_trace_of_its_message() -> Result<()> {
    let otlp = Otlp::start().await?;
    let json = "[telemetry]\nlog_format = \"json\"\n";
    let builder = World::builder().otlp(&otlp).gateway_toml(json).runner_toml(json);
    let world = builder.start().await?;
    let question = world.say("[[say the answer]]")?;
    assert_eq!(question.answer().await?, "the answer");
    came(&world, &otlp, &OVER).await?;
    let trace = otlp.spans()[0].trace.clone();
    for (service, message) in [("gateway-svc", "accepted"), ("runner-svc", "answered")] {
        let log = world.log(service);
        let lines = log.lines().map(serde_json::from_str::<Value>);
        let lines = lines.collect::<Result<Vec<_>, _>>().with_context(|| log.clone())?;
        let said = lines.iter().find(|line| line["message"] == message);
        let said = said.with_context(|| format!("{service} did not say {message}:\n{log}"))?;
        assert_eq!(said["trace_id"], Value::from(trace.clone()), "{said}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn claude_gets_the_trace_and_where_to_tell_of_it() -> Result<()> {
    let otlp = Otlp::start().await?;
    let world = World::builder().otlp(&otlp).tools(&["Bash"]).start().await?;
    let echo = json!({"command": "echo $TRACEPARENT $OTEL_EXPORTER_OTLP_ENDPOINT"});
    let question = world.say(&format!("[[tool Bash {echo}]][[say it says: {{result}}]]"))?;
    let answer = question.answer().await?;
    came(&world, &otlp, &OVER).await?;
    let spans = ours(&otlp);
    let claude = one(&spans, "invoke_agent claude");
    let expected = format!("00-{}-{}-01 {}", claude.trace, claude.id, otlp.url());
    assert!(answer.contains(&expected), "{answer:?} has no {expected:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_line_under_an_answer_links_to_its_trace() -> Result<()> {
    let otlp = Otlp::start().await?;
    let url = "trace_url = \"https://jaeger.example/trace/{trace_id}\"\n";
    let world = World::builder().otlp(&otlp).gateway_toml(url).start().await?;
    let question = world.say("[[say the answer]]")?;
    assert_eq!(question.answer().await?, "the answer");
    came(&world, &otlp, &OVER).await?;
    let link = format!("[trace](<https://jaeger.example/trace/{}>)", otlp.spans()[0].trace);
    let said = world.discord().messages(question.thread());
    assert!(said.iter().any(|message| message.content.ends_with(&link)), "{link}: {said:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_the_log_come_to_the_collector_with_their_trace() -> Result<()> {
    let otlp = Otlp::start().await?;
    let world = traced(&otlp).await?;
    let question = world.say("[[say the answer]]")?;
    assert_eq!(question.answer().await?, "the answer");
    came(&world, &otlp, &OVER).await?;
    let trace = otlp.spans()[0].trace.clone();
    for said in ["accepted", "claude starts", "answered"] {
        let line = (said.to_owned(), trace.clone());
        world.until(&format!("the line {line:?}"), || otlp.lines().contains(&line)).await?;
    }
    Ok(())
}
