//! `docs/backup.md` does what it says: a system at work is backed up, destroyed and put back. What was
//! unfinished is answered once, and nothing that was answered since is answered again.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use harness::{Part, Postgres, World, processes};
use serde_json::Value;

use super::{Health, Host, Tour, every_section_is_run};

/// The document.
const DOCUMENT: &str = include_str!("../../../../docs/backup.md");

/// Its hosts.
const GATEWAY: &str = "the gateway's host";
const BUS: &str = "the bus's host";
const RUNNER: &str = "host-1";

/// The hosts of the document, and what stands for what. All of them are at work.
async fn at_work(world: &World) -> Result<Tour> {
    let folder = world.folder();
    let shown = |path: PathBuf| path.display().to_string();
    let names = vec![
        ("/backup", shown(folder.root().join("backup"))),
        ("/run/nats-server.pid", shown(folder.nats().join("nats.pid"))),
        ("/etc/nats/nats-server.conf", shown(folder.nats().join("nats.conf"))),
        ("/var/lib/nats", shown(folder.nats().join("store"))),
        ("/var/lib/holdfast/gateway.db", shown(folder.database())),
        ("/var/lib/holdfast-runner", shown(folder.runner_state())),
        ("/srv/my-app", shown(folder.project())),
    ];
    let mut hosts = BTreeMap::new();
    for (name, part) in [(GATEWAY, Part::Gateway), (RUNNER, Part::Runner)] {
        let plan = world.plan(part).await;
        let health = Health::of(&plan)?;
        hosts.insert(name, Host::of(plan, health)?);
    }
    let nats = world.plan(Part::Nats).await;
    hosts.insert(BUS, Host::of(nats, Health::Greeting(world.nats_address().await))?);
    let mut tour = Tour { document: DOCUMENT, hosts, names };
    world.kill_nats().await?;
    tour.serve(BUS, "nats-server --config /etc/nats/nats-server.conf --pid /run/nats-server.pid")
        .await?;
    tour.serve(GATEWAY, "gateway-svc --config gateway.toml serve").await?;
    tour.serve(RUNNER, "runner-svc --config runner.toml serve").await?;
    Ok(tour)
}

/// Kills all that is there, and takes away all that the document puts back.
async fn destroy(world: &World, tour: &mut Tour) -> Result<()> {
    for name in [GATEWAY, RUNNER, BUS] {
        tour.host(name)?.kill()?;
    }
    for process in world.processes().await {
        processes::kill(process.pid);
    }
    world.is_quiet().await?;
    lose_store(world)?;
    for folder in [
        world.folder().nats().join("store"),
        world.folder().runner_state(),
        world.folder().project(),
    ] {
        fs::remove_dir_all(&folder).with_context(|| format!("no {}", folder.display()))?;
    }
    Ok(())
}

/// Takes away the store, with what SQLite keeps beside it.
fn lose_store(world: &World) -> Result<()> {
    let file = world.folder().database();
    fs::remove_file(&file).context("no store")?;
    for beside in ["-wal", "-shm"] {
        let beside = PathBuf::from(format!("{}{beside}", file.display()));
        if beside.exists() {
            fs::remove_file(beside)?;
        }
    }
    Ok(())
}

/// A command of the gateway that ends well; what it says.
async fn gateway(world: &World, words: &[&str]) -> Result<String> {
    let output = world.gateway_command(words).await?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    ensure!(output.status.success(), "{words:?}: {said}");
    Ok(said)
}

/// How often claude was told something.
fn told(world: &World, what: &str) -> usize {
    world.ledger().prompts().iter().filter(|prompt| prompt.contains(what)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_is_put_back_answers_what_was_unfinished_once() -> Result<()> {
    let world = World::builder().without_gateway().without_runner().start().await?;
    let mut tour = at_work(&world).await?;
    let before = world.say("[[say before]]")?;
    assert_eq!(before.answer().await?, "before");
    let held = world.say("[[think hm]] [[wait held]] [[say what was held]]")?;
    world.reached("held").await?;
    let ends = world.say("[[think hm]] [[wait ends]] [[say what ended since]]")?;
    world.reached("ends").await?;
    tour.run("1. Back up").await?;

    // What the copies do not know.
    world.release("ends")?;
    assert_eq!(ends.mark().await?, "✅");
    let later = before.follow_up("[[say later]]").await?;
    assert_eq!(later.mark().await?, "✅");
    let fresh = world.say("[[say fresh]]")?;
    assert_eq!(fresh.mark().await?, "✅");
    destroy(&world, &mut tour).await?;

    tour.run("2. Put everything back").await?;
    world.release("held")?;
    assert_eq!(held.answer().await?, "what was held");
    let next = before.follow_up("[[say next]]").await?;
    assert_eq!(next.mark().await?, "✅");
    assert_eq!(before.said_in_thread()?, ["before", "later", "next"]);
    assert_eq!(held.said_in_thread()?, ["what was held"]);
    assert_eq!(ends.said_in_thread()?, ["what ended since"]);
    assert_eq!(fresh.said_in_thread()?, ["fresh"]);
    for answered in ["before", "later", "fresh"] {
        assert_eq!(told(&world, &format!("[[say {answered}]]")), 1, "{answered}");
    }
    world.nothing_is_left().await?;
    for name in [RUNNER, GATEWAY, BUS] {
        tour.host(name)?.stop()?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_on_postgresql_is_dumped_and_put_back() -> Result<()> {
    let server = Postgres::start()?;
    let world = World::builder().without_gateway().without_runner().start().await?;
    world.store_on(&server).await;
    let mut tour = at_work(&world).await?;
    tour.names.push(("postgres://app@db.example/holdfast", server.url()));
    tour.host(GATEWAY)?.finds_programs_in(&Postgres::programs()?);
    let before = world.say("[[say before]]")?;
    assert_eq!(before.answer().await?, "before");
    tour.run("With PostgreSQL").await?;
    let later = before.follow_up("[[say later]]").await?;
    assert_eq!(later.mark().await?, "✅");
    tour.host(GATEWAY)?.stop()?;
    tour.run("Put PostgreSQL back").await?;
    let next = before.follow_up("[[say next]]").await?;
    assert_eq!(next.mark().await?, "✅");
    assert_eq!(before.said_in_thread()?, ["before", "later", "next"]);
    assert_eq!(told(&world, "[[say later]]"), 1);
    world.nothing_is_left().await?;
    for name in [RUNNER, GATEWAY, BUS] {
        tour.host(name)?.stop()?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_older_than_the_streams_is_refused_until_it_is_accepted() -> Result<()> {
    let world = World::start().await?;
    let before = world.say("[[say before]]")?;
    assert_eq!(before.answer().await?, "before");
    let held = world.say("[[think hm]] [[wait held]] [[say what was held]]")?;
    world.reached("held").await?;
    let retried = world.say("[[think hm]] [[wait retried]] [[say what was retried]]")?;
    world.reached("retried").await?;
    let copy = world.folder().root().join("copy.db");
    gateway(&world, &["copy-store", &copy.display().to_string()]).await?;

    // What the copy does not know: an answer, a stop, a retry, a question.
    world.release("held")?;
    assert_eq!(held.mark().await?, "✅");
    let _ = retried.follow_up("!stop").await?;
    assert_eq!(retried.mark().await?, "⏹️");
    world.release("retried")?;
    let _ = retried.follow_up("!retry").await?;
    let is_answered = || {
        let marks = world.discord().reactions(retried.message());
        marks.len() == 1 && marks[0].emoji == "✅"
    };
    world.until("✅ alone", is_answered).await?;
    let fresh = before.follow_up("[[say fresh]]").await?;
    assert_eq!(fresh.mark().await?, "✅");
    // The streams hear how far the store is when a gateway begins.
    let info = world.jetstream("STREAM.INFO.KV_CONTROL", &Value::Null).await?;
    let noted = info["state"]["last_seq"].as_u64().context("no number")?;
    world.stop_gateway().await?;
    world.start_gateway().await?;
    world
        .stream_is("KV_CONTROL", |state| state["last_seq"].as_u64().is_some_and(|it| noted < it))
        .await?;
    world.kill_gateway().await?;
    let begun = world.ledger().count("begin");

    lose_store(&world)?;
    fs::copy(&copy, world.folder().database())?;
    let refused = world.start_gateway().await.map_err(|error| format!("{error:#}"));
    let refused = refused.err().unwrap_or_default();
    assert!(refused.contains("older copy") && refused.contains("accept-store"), "{refused}");
    let accepted = gateway(&world, &["accept-store"]).await?;
    assert!(accepted.contains("of its 2 runs without outcome"), "{accepted}");
    world.start_gateway().await?;
    let next = before.follow_up("[[say next]]").await?;
    assert_eq!(next.mark().await?, "✅");
    let last = held.follow_up("[[say last]]").await?;
    assert_eq!(last.mark().await?, "✅");
    assert_eq!(before.said_in_thread()?, ["before", "fresh", "next"]);
    assert_eq!(held.said_in_thread()?, ["what was held", "last"]);
    let again = retried.follow_up("[[say again]]").await?;
    assert_eq!(again.mark().await?, "✅");
    let said = retried.said_in_thread()?;
    let answers = said.iter().filter(|line| *line == "what was retried").count();
    assert_eq!((answers, said.last().map(String::as_str)), (1, Some("again")), "{said:?}");
    assert_eq!(world.ledger().count("begin"), begun + 3, "one for each new question");
    Ok(())
}

#[test]
fn every_section_with_commands_is_run() {
    every_section_is_run(DOCUMENT, include_str!("backup.rs"));
}
