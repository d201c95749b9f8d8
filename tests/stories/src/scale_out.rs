//! `docs/scale-out.md` does what it says: its commands are run as they are written (`documents`), from one
//! gateway and one runner to two gateways and three runners.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context as _, Result};
use harness::{Part, Postgres, World, free_port, processes};

use crate::documents::{Health, Host, Tour, every_section_is_run};

/// The document.
const DOCUMENT: &str = include_str!("../../../docs/scale-out.md");

/// The hosts of the document, by what its blocks say of themselves.
const GATEWAY: &str = "the first gateway's host";
const SECOND_GATEWAY: &str = "the second gateway's host";
const RUNNERS: [&str; 3] = ["host-1", "build-2", "build-3"];

/// All machines, and what stands for what in the document.
async fn fleet(world: &World, server: &Postgres) -> Result<Tour> {
    let keys = world.seed_file("admin");
    let keys = keys.parent().context("a folder of keys")?.display().to_string();
    let pid = world.pid(Part::Nats).await.context("no nats-server")?;
    let second = SocketAddr::from(([127, 0, 0, 1], free_port()?));
    let names = vec![
        ("postgres://app@db.example/holdfast", server.url()),
        ("/etc/nats/holdfast", keys),
        ("/run/nats-server.pid", pid.to_string()),
        ("127.0.0.1:7072", second.to_string()),
        ("host-1", "host".to_owned()),
        ("my-app", "app".to_owned()),
    ];
    let mut hosts = BTreeMap::new();
    let gateway = world.plan(Part::Gateway).await;
    hosts.insert(GATEWAY, Host::of(gateway.clone(), Health::of(&gateway)?)?);
    hosts.insert(SECOND_GATEWAY, Host::of(gateway, Health::Pages(second))?);
    let runner = world.plan(Part::Runner).await;
    let health = Health::of(&runner)?;
    hosts.insert(RUNNERS[0], Host::of(runner, health)?);
    for name in &RUNNERS[1..] {
        let (plan, health) = world.host_of(name).await?.plan();
        hosts.insert(name, Host::of(plan, Health::Pages(health))?);
    }
    for (name, host) in &mut hosts {
        host.plan.log = world.folder().logs().join(format!("{}.log", name.replace(' ', "-")));
        // Each has a network of its own in other stories; here it is the one of all.
        let url = world.plan(Part::Gateway).await.env.remove(&OsString::from("NATS_URL"));
        host.plan.env.insert("NATS_URL".into(), url.context("no bus")?);
    }
    Ok(Tour { document: DOCUMENT, hosts, names })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_from_one_machine_to_several_is_as_it_is_written() -> Result<()> {
    let server = Postgres::start()?;
    let builder = World::builder().secured().scaled().without_gateway().without_runner();
    let world = builder.start().await?;
    let mut fleet = fleet(&world, &server).await?;
    let works_at = |runner: &str| {
        let ledger = world.ledger();
        let cwd = ledger.all("begin").last().map(|it| it.text("cwd").to_owned());
        let inside = world.folder().root().join(runner);
        cwd.is_some_and(|cwd| Path::new(&cwd).starts_with(&inside))
    };
    fleet.run("1. The store goes to PostgreSQL").await?;
    assert_eq!(world.say("[[say one]]")?.answer().await?, "one");
    fleet.run("2. A second gateway").await?;
    assert_eq!(world.say("[[say two]]")?.answer().await?, "two");
    fleet.run("3. Two more runners").await?;
    assert_eq!(world.say("[[say three]]")?.answer().await?, "three");
    assert!(works_at("runner"));
    // The gateways know what has shown itself.
    let claims = "a second runner claims an exclusive project";
    world.logs(&GATEWAY.replace(' ', "-"), claims).await?;
    fleet.run("4. Another owner").await?;
    assert_eq!(world.say("[[say four]]")?.answer().await?, "four");
    assert!(works_at("build-2"));
    fleet.run("5. All of them share it").await?;
    let moved = world.say("[[say five]]")?;
    assert_eq!(moved.answer().await?, "five");
    // Any of the three may have taken it.
    let resumed = if works_at("build-3") { "" } else { "-# Resumed on **build-3**.\n" };
    let ended = world.say("[[think hm]] [[wait never]] [[say six]]")?;
    world.reached("never").await?;
    fleet.names.push(("1442918200000000009", moved.thread().to_string()));
    fleet.names.push(("1442918200000000010", ended.message().to_string()));
    fleet.run("6. Moving work by hand").await?;
    assert_eq!(ended.mark().await?, "⏹️");
    let next = moved.follow_up("[[say seven]]").await?;
    assert_eq!(next.answer().await?, format!("{resumed}seven"));
    assert!(works_at("build-3"));
    fleet.run("7. Taking a runner out of service").await?;
    // One gateway dies, and the last two runners.
    for name in [GATEWAY, RUNNERS[0], RUNNERS[1]] {
        fleet.host(name)?.stop()?;
    }
    let last = moved.follow_up("[[say eight]]").await?;
    assert_eq!(last.answer().await?, "eight");
    // A runner that is stopped leaves what it has not swept to its next life.
    let is_swept = || {
        let all = processes::naming(world.folder().root());
        !all.iter().any(|process| process.command.starts_with("tmux"))
    };
    world.until("the sweep of the last run", is_swept).await?;
    for host in fleet.hosts.values_mut() {
        host.stop()?;
    }
    Ok(())
}

#[test]
fn every_block_of_the_document_is_run() {
    every_section_is_run(DOCUMENT, include_str!("scale_out.rs"));
}
