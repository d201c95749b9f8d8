//! What a program sees that asks the gateway over HTTP, with a token and without.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Context as _, Result};
use harness::{Builder, Question, World};
use serde_json::{Value, json};

use crate::deciding::{failed_and_mended, plain_builder};
use crate::scene::{in_the_middle, is_answered_after_all};

const OPS: &str = "ops-0123456789abcdef0123456789abcdef";
const EYES: &str = "eyes-0123456789abcdef0123456789abcdef";
const TOKENS: &str = "[[api.tokens]]\nname = \"ops\"\nfile = \"ops.token\"\nmay = [\"read\", \"act\"]\n\
                      [[api.tokens]]\nname = \"eyes\"\nfile = \"eyes.token\"\nmay = [\"read\"]\n";

/// A world whose gateway has an API, with a token that may act and one that may read.
async fn with_tokens(builder: Builder) -> Result<World> {
    let world = builder.gateway_toml(TOKENS).without_gateway().start().await?;
    for (name, text) in [("ops", OPS), ("eyes", EYES)] {
        let file = world.folder().root().join(format!("{name}.token"));
        fs::write(&file, format!("{text}\n"))?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
    }
    world.start_gateway().await?;
    Ok(world)
}

/// A page as JSON, which was served.
async fn page(world: &World, path: &str) -> Result<Value> {
    let (status, body) = world.api("GET", path, Some(EYES), "").await?;
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).with_context(|| format!("{path}: {body}"))
}

/// An act, and what is said to it.
async fn act(world: &World, path: &str, body: &str) -> Result<(u16, Value)> {
    let (status, said) = world.api("POST", path, Some(OPS), body).await?;
    Ok((status, serde_json::from_str(&said).with_context(|| format!("{path}: {said}"))?))
}

/// A refusal says so in the way of RFC 9457. Returns its sentence.
async fn refused(
    world: &World,
    (method, path): (&str, &str),
    token: Option<&str>,
    body: &str,
    expected: u16,
) -> Result<String> {
    let (status, said) = world.api(method, path, token, body).await?;
    assert_eq!(status, expected, "{method} {path}: {said}");
    let problem: Value = serde_json::from_str(&said).with_context(|| format!("{path}: {said}"))?;
    assert_eq!((&problem["status"], &problem["type"]), (&json!(expected), &json!("about:blank")));
    Ok(problem["detail"].as_str().context("no detail")?.to_owned())
}

fn run_of(question: Question<'_>) -> String {
    format!("m{}", question.message())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_told_without_a_token_and_a_reader_may_not_act() -> Result<()> {
    let world = with_tokens(World::builder()).await?;
    let question = in_the_middle(&world).await?;
    let run = run_of(question);
    let end = format!("/api/v1/runs/{run}/end");
    for path in ["/api/v1/runs", "/api/v1/openapi.json", "/api/v1/nowhere", "/api/v1"] {
        for token in [None, Some("wrong"), Some(&OPS[..35]), Some("")] {
            let why = refused(&world, ("GET", path), token, "", 401).await?;
            assert!(why.contains("Authorization: Bearer"), "{why}");
        }
    }
    refused(&world, ("POST", &end), None, "", 401).await?;
    let why = refused(&world, ("POST", &end), Some(EYES), "", 403).await?;
    assert_eq!(why, "the token eyes may read and not act");
    assert_ne!(page(&world, &format!("/api/v1/runs/{run}")).await?["state"], "stopped");
    assert_eq!(world.gateway_page("/healthz").await?.0, 200, "the health pages ask for none");
    for text in [OPS, EYES] {
        assert!(!world.log("gateway-svc").contains(text), "a token is in the log");
    }
    world.release("go")?;
    assert_eq!(question.answer().await?, "the answer");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_tokens_there_is_no_api() -> Result<()> {
    let world = World::builder().without_runner().start().await?;
    for token in [None, Some(OPS)] {
        assert_eq!(world.api("GET", "/api/v1/runs", token, "").await?.0, 404);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn all_runs_are_told_page_by_page_as_at_the_shell() -> Result<()> {
    let world = with_tokens(World::builder()).await?;
    let first = world.say("[[say 1]]")?;
    assert_eq!(first.answer().await?, "1");
    let mut asked = vec![run_of(first)];
    for number in 2..=5 {
        let question = first.follow_up_as("bob", &format!("[[say {number}]]")).await?;
        assert_eq!(question.answer().await?, number.to_string());
        asked.push(run_of(question));
    }
    asked.reverse();
    let (mut told, mut after) = (Vec::new(), String::new());
    loop {
        let page = page(&world, &format!("/api/v1/runs?limit=2{after}")).await?;
        let runs = page["runs"].as_array().context("no runs")?;
        assert!(runs.len() <= 2, "{page}");
        told.extend(runs.iter().filter_map(|run| run["run"].as_str()).map(str::to_owned));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(told, asked);
    for (path, words) in [
        (
            "/api/v1/runs?person=bob&state=answered",
            vec!["runs", "--person", "bob", "--state", "answered"],
        ),
        ("/api/v1/usage?by=person", vec!["usage", "--by", "person"]),
        ("/api/v1/audit", vec!["audit"]),
    ] {
        let words: Vec<&str> = words.into_iter().chain(["--json"]).collect();
        let shell = world.gateway_command(&words).await?;
        let shell: Value = serde_json::from_slice(&shell.stdout)?;
        assert_eq!(page(&world, path).await?, shell, "{path}");
    }
    let threads = page(&world, "/api/v1/threads").await?;
    let thread = &threads["threads"][0];
    assert_eq!(thread["thread"], first.thread().to_string());
    assert_eq!((&thread["runs"], &thread["open"]), (&json!(5), &json!(0)), "{thread}");
    assert_eq!(page(&world, "/api/v1/runners").await?["runners"][0]["runner"], "host");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_that_is_asked_for_twice_is_one_and_in_the_audit() -> Result<()> {
    let world = with_tokens(plain_builder()).await?;
    let failed = failed_and_mended(&world).await?;
    let run = run_of(failed);
    let retry = format!("/api/v1/runs/{run}/retry");
    // Two at once, and one behind them that says what it is about.
    let (one, other) = tokio::join!(act(&world, &retry, ""), act(&world, &retry, ""));
    let mut did = Vec::new();
    for (status, said) in [one?, other?, act(&world, &retry, "{\"generation\": 1}").await?] {
        assert_eq!(
            (status, &said["run"], &said["generation"]),
            (200, &json!(run), &json!(2)),
            "{said}"
        );
        did.push(said["now"].as_bool().context("done now or before")?);
    }
    assert_eq!(did.iter().filter(|now| **now).count(), 1, "{did:?}");
    is_answered_after_all(&world, failed).await?;
    let said = failed.said_in_thread()?;
    assert_eq!(said.iter().filter(|said| *said == "the answer").count(), 1, "{said:?}");
    assert!(
        said.iter().any(|said| said.contains("ops (by the API) had it tried again.")),
        "{said:?}"
    );
    // Still the same act, though it is answered by now; another one is refused.
    let (status, said) = act(&world, &retry, "{\"generation\": 1}").await?;
    assert_eq!((status, &said["now"], &said["state"]), (200, &json!(false), &json!("answered")));
    let why = refused(&world, ("POST", &retry), Some(OPS), "", 409).await?;
    assert!(why.contains("did not fail and was not stopped: it is answered"), "{why}");
    let audit = page(&world, &format!("/api/v1/audit?run={run}")).await?;
    let acts = audit["acts"].as_array().context("no acts")?;
    assert_eq!((acts.len(), &acts[0]["act"]), (1, &json!("retry")), "{audit}");
    assert_eq!(acts[0]["by"], json!({"kind": "token", "name": "ops"}));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_ended_once_and_its_claude_is_stopped() -> Result<()> {
    let world = with_tokens(World::builder()).await?;
    let question = in_the_middle(&world).await?;
    let end = format!("/api/v1/runs/{}/end", run_of(question));
    for now in [true, false] {
        let (status, said) = act(&world, &end, "").await?;
        assert_eq!((status, &said["now"], &said["state"]), (200, &json!(now), &json!("stopped")));
    }
    assert_eq!(question.mark().await?, "⏹️");
    let said = question.texts().join("\n");
    assert!(said.contains("Ended by ops (by the API)."), "{said}");
    world.is_quiet().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_a_problem_with_its_reason() -> Result<()> {
    let world = with_tokens(World::builder().without_runner()).await?;
    let large = format!("{{\"generation\": {}1}}", " ".repeat(5000));
    for (request, body, status, expected) in [
        (("GET", "/api/v1/runs/7"), "", 422, "is not a RunId"),
        (("GET", "/api/v1/runs/m7"), "", 404, "there is no run m7"),
        (("POST", "/api/v1/runs/m7/retry"), "", 404, "there is no run m7"),
        (("POST", "/api/v1/runs/x/end"), "", 422, "is not a RunId"),
        (("POST", "/api/v1/runs/m7/end"), "{", 422, "the body makes no sense"),
        (("POST", "/api/v1/runs/m7/end"), "{\"generation\": 0}", 422, "1 or more"),
        (("POST", "/api/v1/runs/m7/end"), "{\"gen\": 1}", 422, "unknown field"),
        (("POST", "/api/v1/runs/m7/end"), &large, 413, "limit"),
        (("DELETE", "/api/v1/runs/m7"), "", 405, "another method"),
        (("GET", "/api/v1/runs/m7/retry"), "", 405, "another method"),
        (("GET", "/api/v1/nowhere"), "", 404, "no such page"),
        (("GET", "/api/v1/runs?limit=501"), "", 422, "must be 1 to 500"),
        (("GET", "/api/v1/runs?stat=failed"), "", 422, "unknown field"),
        (("GET", "/api/v1/runs?state=fine"), "", 422, "must be open, ended"),
        (("GET", "/api/v1/runs?after=x"), "", 422, "is no cursor"),
        (("GET", "/api/v1/audit?thread=x"), "", 422, "is not a ThreadId"),
        (("GET", "/api/v1/usage?by=week"), "", 422, "must be project, person or day"),
    ] {
        let why = refused(&world, request, Some(OPS), body, status).await?;
        assert!(why.contains(expected), "{request:?} {body}: {why}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_path_of_the_description_answers() -> Result<()> {
    let world = with_tokens(World::builder()).await?;
    let question = world.say("[[say the answer]]")?;
    assert_eq!(question.answer().await?, "the answer");
    let description = page(&world, "/api/v1/openapi.json").await?;
    assert!(
        description["openapi"].as_str().is_some_and(|it| it.starts_with("3.1")),
        "{description}"
    );
    let root = description["servers"][0]["url"].as_str().context("no server")?;
    let mut seen = BTreeSet::new();
    for (path, methods) in description["paths"].as_object().context("no paths")? {
        let real = format!("{root}{}", path.replace("{run}", &run_of(question)));
        for (method, operation) in methods.as_object().context("no methods")? {
            let method = method.to_uppercase();
            let (status, said) = world.api(&method, &real, Some(OPS), "").await?;
            assert!(
                !operation["responses"][status.to_string()].is_null(),
                "{method} {path}: {said}"
            );
            // An answered run can be neither tried again nor ended.
            assert_eq!(status, if method == "POST" { 409 } else { 200 }, "{method} {path}: {said}");
            seen.insert(format!("{method} {path}"));
        }
    }
    let expected = [
        "GET /audit",
        "GET /openapi.json",
        "GET /runners",
        "GET /runs",
        "GET /runs/{run}",
        "GET /threads",
        "GET /usage",
        "POST /runs/{run}/end",
        "POST /runs/{run}/retry",
    ];
    assert_eq!(seen.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    // What is told has the fields that are described, and no other.
    let schema = &description["components"]["schemas"]["Run"];
    let run = page(&world, &format!("/api/v1/runs/{}", run_of(question))).await?;
    for field in run.as_object().context("no run")?.keys() {
        assert!(!schema["properties"][field].is_null(), "{field} is not described");
    }
    for field in schema["required"].as_array().context("nothing is required")? {
        assert!(!run[field.as_str().unwrap_or_default()].is_null(), "{field} is missing");
    }
    Ok(())
}
