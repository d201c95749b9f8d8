//! `docs/scale-out.md` does what it says: its commands are run as they are written, block after block,
//! from one gateway and one runner to two gateways and three runners. Names, paths and addresses are
//! all that is put in their places.
//!
//! `serve` is what a host goes on with: given again, the service is stopped and started anew. Every
//! other block must end well.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use harness::{
    Environment, Part, Plan, Postgres, Service, World, built, free_port, nats_server, processes,
    ready,
};
use tokio::task::block_in_place;

/// The document.
const DOCUMENT: &str = include_str!("../../../docs/scale-out.md");
/// What ends a line that a service goes on with.
const SERVE: &str = " serve";
/// How long a service may take to end.
const STOP_WITHIN: Duration = Duration::from_secs(30);

/// The hosts of the document, by what its blocks say of themselves.
const GATEWAY: &str = "the first gateway's host";
const SECOND_GATEWAY: &str = "the second gateway's host";
const RUNNERS: [&str; 3] = ["host-1", "build-2", "build-3"];

/// A block of the document.
struct Block {
    /// The heading above it.
    section: &'static str,
    /// Its language.
    kind: &'static str,
    /// Its lines.
    lines: Vec<&'static str>,
}

/// The blocks of the document, in order.
fn blocks() -> Vec<Block> {
    let (mut all, mut section, mut open) = (Vec::new(), "", None::<Block>);
    for line in DOCUMENT.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (Some(_), Some(_)) => all.extend(open.take()),
            (Some(block), None) => block.lines.push(line),
            (None, Some(kind)) => open = Some(Block { section, kind, lines: Vec::new() }),
            (None, None) => section = line.strip_prefix("## ").unwrap_or(section),
        }
    }
    all
}

/// A machine of the document.
struct Host {
    plan: Plan,
    /// Where its configuration lies.
    config: PathBuf,
    health: SocketAddr,
    /// What it serves.
    service: Option<Service>,
}

impl Host {
    fn of(mut plan: Plan, health: SocketAddr) -> Result<Self> {
        let config = PathBuf::from(plan.args.get(1).context("--config FILE")?);
        config.parent().context("a folder")?.clone_into(&mut plan.dir);
        plan.env.insert("HTTP_LISTEN".into(), health.to_string().into());
        plan.program = "/bin/sh".into();
        Ok(Self { plan, config, health, service: None })
    }

    /// A shell that runs these lines here.
    fn shell(&self, lines: &str) -> Plan {
        Plan { args: vec!["-ec".into(), lines.into()], ..self.plan.clone() }
    }

    /// Runs lines to their end.
    fn run(&self, lines: &str) -> Result<()> {
        let mut command: Command = self.shell(lines).command()?;
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = block_in_place(|| command.output()).context("no shell")?;
        let said = [output.stdout, output.stderr].concat();
        ensure!(output.status.success(), "{lines}\n{}", String::from_utf8_lossy(&said));
        Ok(())
    }

    /// Goes on with the last of these lines, instead of what is served here so far.
    async fn serve(&mut self, before: &str, last: &str) -> Result<()> {
        self.stop()?;
        let mut service = Service::new(self.shell(&format!("{before}\nexec env {last}")));
        service.start()?;
        // What it finds wrong may be for a later block to mend.
        ready::until_settled(&mut service, self.health).await?;
        self.service = Some(service);
        Ok(())
    }

    fn stop(&mut self) -> Result<()> {
        let Some(mut service) = self.service.take() else { return Ok(()) };
        let status = block_in_place(|| service.stop(STOP_WITHIN))?;
        ensure!(status.success(), "it ended with {status}\n{}", service.tail());
        Ok(())
    }
}

/// All machines, and what stands for what in the document.
struct Fleet {
    hosts: BTreeMap<&'static str, Host>,
    names: Vec<(&'static str, String)>,
}

impl Fleet {
    async fn of(world: &World, server: &Postgres) -> Result<Self> {
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
        let own = |plan: &Plan| -> Result<SocketAddr> {
            let address = plan.env.get(&OsString::from("HTTP_LISTEN")).context("no address")?;
            Ok(address.to_str().context("an address")?.parse()?)
        };
        let gateway = world.plan(Part::Gateway).await;
        hosts.insert(GATEWAY, Host::of(gateway.clone(), own(&gateway)?)?);
        hosts.insert(SECOND_GATEWAY, Host::of(gateway, second)?);
        let runner = world.plan(Part::Runner).await;
        let health = own(&runner)?;
        hosts.insert(RUNNERS[0], Host::of(runner, health)?);
        for name in &RUNNERS[1..] {
            let (plan, health) = world.host_of(name).await?.plan();
            hosts.insert(name, Host::of(plan, health)?);
        }
        for (name, host) in &mut hosts {
            host.plan.env = with_programs(&host.plan.env)?;
            host.plan.log = world.folder().logs().join(format!("{}.log", name.replace(' ', "-")));
            // Each has a network of its own in other stories; here it is the one of all.
            let url = world.plan(Part::Gateway).await.env.remove(&OsString::from("NATS_URL"));
            host.plan.env.insert("NATS_URL".into(), url.context("no bus")?);
        }
        Ok(Self { hosts, names })
    }

    /// Runs all blocks of a section, and waits until all that serve are ready.
    async fn run(&mut self, section: &str) -> Result<()> {
        let blocks = blocks().into_iter().filter(|block| block.section == section);
        let mut count = 0;
        for block in blocks {
            count += 1;
            match block.kind {
                "sh" => self.commands(&block.lines).await.with_context(|| section.to_owned())?,
                "toml" => self.configure(&block.lines)?,
                kind => bail!("a block of {kind} in {section}"),
            }
        }
        ensure!(0 < count, "{section} has no block");
        for host in self.hosts.values_mut() {
            if let Some(service) = &mut host.service {
                ready::until_ready(service, host.health).await?;
            }
        }
        Ok(())
    }

    async fn commands(&mut self, lines: &[&str]) -> Result<()> {
        let (place, lines) = lines.split_first().context("an empty block")?;
        let place =
            place.strip_prefix("# on ").with_context(|| format!("{place} names no host"))?;
        let lines = self.placed(&lines.join("\n"));
        let host = self.hosts.get_mut(place).with_context(|| format!("there is no {place}"))?;
        match lines.rsplit_once('\n').unwrap_or(("", &lines)) {
            (before, last) if last.ends_with(SERVE) => host.serve(before, last).await,
            _ => host.run(&lines),
        }
    }

    /// Puts keys into a table of every configuration.
    fn configure(&self, lines: &[&str]) -> Result<()> {
        let (table, keys) = lines.split_first().context("an empty block")?;
        let table = self.placed(table);
        let mut seen = Vec::new();
        for file in self.hosts.values().map(|host| &host.config) {
            if !seen.contains(&file) {
                seen.push(file);
                insert(file, &table, &keys.join("\n"))?;
            }
        }
        Ok(())
    }

    fn placed(&self, text: &str) -> String {
        self.names.iter().fold(text.to_owned(), |text, (name, place)| text.replace(name, place))
    }
}

fn insert(file: &Path, table: &str, keys: &str) -> Result<()> {
    let text = fs::read_to_string(file)?;
    ensure!(text.matches(table).count() == 1, "{} has no {table}", file.display());
    fs::write(file, text.replace(table, &format!("{table}\n{keys}")))?;
    Ok(())
}

/// The environment of a host on which the programs are installed.
fn with_programs(env: &Environment) -> Result<Environment> {
    let mut env = env.clone();
    let nats = nats_server()?;
    let programs = [built("gateway-svc")?, built("runner-svc")?, nats];
    let mut path: Vec<OsString> = Vec::new();
    for program in &programs {
        path.push(program.parent().context("a program lies in a folder")?.into());
    }
    path.extend(env.get(&OsString::from("PATH")).cloned());
    env.insert("PATH".into(), path.join(&OsString::from(":")));
    Ok(env)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_from_one_machine_to_several_is_as_it_is_written() -> Result<()> {
    let server = Postgres::start()?;
    let builder = World::builder().secured().scaled().without_gateway().without_runner();
    let world = builder.start().await?;
    let mut fleet = Fleet::of(&world, &server).await?;
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
        fleet.hosts.get_mut(name).context("a host")?.stop()?;
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
    // What is typed into a repository, to look, is no part of the tour.
    let tour = blocks().into_iter().filter(|block| block.kind != "console");
    let sections: Vec<_> = tour.map(|block| block.section).collect();
    let code = include_str!("scale_out.rs");
    for section in sections {
        assert!(code.contains(&format!("fleet.run(\"{section}\")")), "{section}");
    }
}
