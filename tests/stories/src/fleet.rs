//! What an operator sees and does at the shell: lists of the gateway's store, and a run that is tried again.
//!
//! What is on the runner's host is in `host`.

mod host;

use std::ffi::OsString;
use std::fs::File;
use std::process::{Output, Stdio};

use anyhow::{Context as _, Result, ensure};
use harness::{Part, Question, World};
use serde_json::Value;

use crate::deciding::{failed_and_mended, order, plain_world};
use crate::scene::is_answered_after_all;

/// What a command of the gateway printed, which went well.
async fn printed(world: &World, words: &[&str]) -> Result<String> {
    let output = world.gateway_command(words).await?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{words:?}: {said}");
    Ok(String::from_utf8(output.stdout)?)
}

/// The same as JSON.
async fn json(world: &World, words: &[&str]) -> Result<Value> {
    let all: Vec<&str> = words.iter().copied().chain(["--json"]).collect();
    serde_json::from_str(&printed(world, &all).await?).context("no JSON")
}

/// Why a command was refused.
async fn refused(world: &World, words: &[&str]) -> Result<String> {
    let output = world.gateway_command(words).await?;
    ensure!(!output.status.success(), "{words:?} was carried out");
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

fn run_of(question: Question<'_>) -> String {
    format!("m{}", question.message())
}

/// The texts of a field of all rows.
fn column<'a>(list: &'a Value, rows: &str, field: &str) -> Vec<&'a str> {
    let rows = list[rows].as_array().map(Vec::as_slice).unwrap_or_default();
    rows.iter().filter_map(|row| row[field].as_str()).collect()
}

/// Everything of these three commands, as a table and as JSON.
async fn everything(world: &World) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for words in [["runs", "--limit", "9"], ["audit", "--limit", "9"], ["usage", "--by", "day"]] {
        all.push(printed(world, &words).await?);
        all.push(json(world, &words).await?.to_string());
    }
    Ok(all)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_is_listed_alike_with_and_without_the_services() -> Result<()> {
    let world = World::start().await?;
    let answered = world.say("[[say the answer]]")?;
    assert_eq!(answered.answer().await?, "the answer");
    let failed = world.say_as("bob", "[[error 400 the model is on holiday]]")?;
    failed.failure().await?;
    assert_eq!(order(failed, "!discard").await?, "Discarded.");
    let runs = json(&world, &["runs"]).await?;
    let (first, second) = (run_of(failed), run_of(answered));
    assert_eq!(column(&runs, "runs", "run"), [first.as_str(), second.as_str()]);
    assert_eq!(column(&runs, "runs", "state"), ["discarded", "answered"]);
    assert_eq!(column(&runs, "runs", "runner"), ["host", "host"]);
    assert_eq!(runs["runs"][1]["person"]["name"], "alice");
    assert!(
        runs["runs"][0]["why"].as_str().is_some_and(|why| why.contains("on holiday")),
        "{runs}"
    );
    let table = printed(&world, &["runs"]).await?;
    for (row, line) in runs["runs"].as_array().context("no rows")?.iter().zip(table.lines().skip(1))
    {
        for field in ["run", "project", "thread", "state", "runner"] {
            assert!(
                line.contains(row[field].as_str().context(field.to_owned())?),
                "{field}: {line}"
            );
        }
    }
    assert!(!table.contains("[[say"), "what people wrote is not shown");
    // Each filter leaves what it says.
    let bob = failed.thread().to_string();
    for words in [["--person", "bob"], ["--state", "discarded"], ["--thread", &bob]] {
        let runs = json(&world, &["runs", words[0], words[1]]).await?;
        assert_eq!(column(&runs, "runs", "run"), [first.as_str()], "{words:?}");
    }
    let page = json(&world, &["runs", "--limit", "1"]).await?;
    let next = page["next"].as_str().context("a next page")?;
    let last = json(&world, &["runs", "--limit", "1", "--after", next]).await?;
    assert_eq!(column(&last, "runs", "run"), [second.as_str()]);
    assert!(last["next"].is_null(), "{last}");
    let runners = json(&world, &["runners"]).await?;
    assert_eq!(column(&runners, "runners", "runner"), ["host"]);
    assert_eq!(
        (&runners["runners"][0]["there"], &runners["runners"][0]["slots"]),
        (&true.into(), &2.into())
    );
    assert!(printed(&world, &["runners"]).await?.contains("host    yes    0/2"));
    let before = everything(&world).await?;
    world.kill_gateway().await?;
    world.stop_runner().await?;
    assert_eq!(everything(&world).await?, before);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_run_that_is_tried_again_at_the_shell_is_answered_once() -> Result<()> {
    let world = plain_world().await?;
    let failed = failed_and_mended(&world).await?;
    let run = run_of(failed);
    // Nobody is there to publish it: it is stored.
    world.kill_gateway().await?;
    assert_eq!(printed(&world, &["retry", &run]).await?, format!("{run} is tried again\n"));
    let why = refused(&world, &["retry", &run]).await?;
    assert!(why.contains("is tried again already"), "{why}");
    world.start_gateway().await?;
    is_answered_after_all(&world, failed).await?;
    let said = failed.said_in_thread()?;
    assert_eq!(said.iter().filter(|said| *said == "the answer").count(), 1, "{said:?}");
    assert!(said.iter().any(|said| said.contains("the operator had it tried again.")), "{said:?}");
    let why = refused(&world, &["retry", &run]).await?;
    assert!(why.contains("did not fail and was not stopped; it is answered"), "{why}");
    let audit = json(&world, &["audit", "--run", &run]).await?;
    assert_eq!(column(&audit, "acts", "act"), ["retry"]);
    assert_eq!(audit["acts"][0]["by"]["kind"], "operator");
    assert!(printed(&world, &["audit"]).await?.contains("retry  (operator)"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_is_the_sum_of_what_claude_said() -> Result<()> {
    let world = World::start().await?;
    let first = world.say("[[say one]]")?;
    assert_eq!(first.answer().await?, "one");
    let second = first.follow_up_as("bob", "[[say the second]]").await?;
    assert_eq!(second.answer().await?, "the second");
    let third = world.say("[[say three]]")?;
    assert_eq!(third.answer().await?, "three");
    // A session's cost grows; its last word has all of it.
    let ledger = world.ledger();
    let results = ledger.all("result");
    let cost = |index: usize| results[index].fields["total_cost_usd"].as_f64().unwrap_or_default();
    let tokens = |name: &str| {
        let said = results.iter().filter_map(|noted| noted.fields["usage"][name].as_i64());
        said.sum::<i64>()
    };
    assert_eq!(results.len(), 3);
    let expected = cost(1) + cost(2);
    for by in ["project", "person", "day"] {
        let usage = json(&world, &["usage", "--by", by]).await?;
        let total = &usage["total"];
        let near = |found: &Value, wanted: f64| {
            found.as_f64().is_some_and(|found| (found - wanted).abs() < 2e-6)
        };
        assert!(near(&total["cost_usd"], expected), "{by}: {usage}, not {expected}");
        assert_eq!(total["input_tokens"], tokens("input_tokens"), "{by}");
        assert_eq!(total["output_tokens"], tokens("output_tokens"), "{by}");
        let shares = usage["usage"].as_array().context("no shares")?;
        let sum: f64 = shares.iter().filter_map(|share| share["cost_usd"].as_f64()).sum();
        assert!(near(&total["cost_usd"], sum), "{by}: {usage}");
        assert_eq!(shares.len(), if by == "person" { 2 } else { 1 }, "{by}: {usage}");
    }
    let bob = json(&world, &["usage", "--person", "bob"]).await?;
    assert_eq!(bob["total"]["outcomes"], 1, "{bob}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused_with_what_would() -> Result<()> {
    let world = World::builder().without_gateway().without_runner().start().await?;
    let why = refused(&world, &["runs"]).await?;
    assert!(why.contains("there is no store at"), "{why}");
    world.start_gateway().await?;
    for (words, expected) in [
        (vec!["retry", "m1"], "there is no run m1"),
        (vec!["retry", "1"], "is not a RunId"),
        (vec!["runs", "--limit", "0"], "must be 1 to 500"),
        (vec!["runs", "--state", "fine"], "must be open, ended"),
        (vec!["runs", "--since", "soon"], "must be like 30m"),
        (vec!["runs", "--after", "x"], "is no cursor"),
        (vec!["usage", "--by", "week"], "must be project, person or day"),
        (vec!["audit", "--thread", "x"], "is not a ThreadId"),
    ] {
        let why = refused(&world, &words).await?;
        assert!(why.contains(expected), "{words:?}: {why}");
    }
    assert_eq!(json(&world, &["runs"]).await?, serde_json::json!({"runs": []}));
    Ok(())
}

/// Carries out a command whose stdout is this one.
async fn into(world: &World, part: Part, words: &[&str], out: impl Into<Stdio>) -> Result<Output> {
    let mut plan = world.plan(part).await;
    plan.args.pop();
    plan.args.extend(words.iter().map(OsString::from));
    let mut command = plan.command()?;
    command.stdout(out).stderr(Stdio::piped());
    tokio::task::block_in_place(|| command.output()).context("the command does not start")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_has_enough_is_no_trouble_and_a_full_disk_is() -> Result<()> {
    let world = World::start().await?;
    for (part, words) in [
        (Part::Gateway, &["runners"][..]),
        (Part::Gateway, &["config-keys"]),
        (Part::Gateway, &["openapi"]),
        (Part::Runner, &["list"]),
        (Part::Runner, &["config-keys"]),
        (Part::Runner, &["drain", "--off"]),
        (Part::Runner, &["uninstall", "--dry-run"]),
    ] {
        let (reader, writer) = std::io::pipe()?;
        drop(reader);
        let output = into(&world, part, words, writer).await?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{words:?}: {said}");
        let full = File::options().write(true).open("/dev/full")?;
        let output = into(&world, part, words, full).await?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && said.contains("No space left"), "{said}");
    }
    Ok(())
}
