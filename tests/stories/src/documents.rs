//! A document's blocks of commands, run as they are written, block after block: names, paths and addresses
//! are all that is put in their places.
//!
//! A block says in its first line on which host it is run (`# on host-1`). A line that serves, at the end of
//! a block, is what that host goes on with: given again, the service is stopped and started anew. Every
//! other block must end well.

mod backup;
mod console;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use harness::{Environment, PATIENCE, Plan, Service, built, nats_server, processes, ready};
use tokio::task::block_in_place;

/// What ends a line that a service of ours goes on with.
const SERVE: &str = " serve";
/// What begins a line that nats-server goes on with.
const SERVE_NATS: &str = "nats-server --config ";
/// How long a service may take to end.
const STOP_WITHIN: Duration = Duration::from_secs(30);

/// A block of a document.
pub(crate) struct Block<'a> {
    /// The heading above it.
    pub(crate) section: &'a str,
    /// Its language.
    pub(crate) kind: &'a str,
    /// Its lines.
    pub(crate) lines: Vec<&'a str>,
}

/// The blocks of a document, in order.
pub(crate) fn blocks(document: &str) -> Vec<Block<'_>> {
    let (mut all, mut section, mut open) = (Vec::new(), "", None::<Block<'_>>);
    for line in document.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (Some(_), Some(_)) => all.extend(open.take()),
            (Some(block), None) => block.lines.push(line),
            (None, Some(kind)) => open = Some(Block { section, kind, lines: Vec::new() }),
            (None, None) => section = line.strip_prefix("## ").unwrap_or(section),
        }
    }
    all
}

/// Each section of a document that has a block to be run is run by this code: `run("its heading")`.
#[track_caller]
pub(crate) fn every_section_is_run(document: &'static str, code: &str) {
    // What is typed to look at something is tried by `cargo xtask docs-test`.
    let tour = blocks(document).into_iter().filter(|block| block.kind != "console");
    for section in tour.map(|block| block.section) {
        assert!(code.contains(&format!("run(\"{section}\")")), "{section}");
    }
}

/// Where a host says how it is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Health {
    /// In the health pages of a service of ours.
    Pages(SocketAddr),
    /// In the greeting of a nats-server.
    Greeting(SocketAddr),
}

impl Health {
    /// Where the health pages of a service are, by how it is started.
    pub(crate) fn of(plan: &Plan) -> Result<Self> {
        let address = plan.env.get(&OsString::from("HTTP_LISTEN")).context("no address")?;
        Ok(Self::Pages(address.to_str().context("an address")?.parse()?))
    }
}

/// A machine of a document.
pub(crate) struct Host {
    pub(crate) plan: Plan,
    /// Where its configuration lies.
    pub(crate) config: PathBuf,
    health: Health,
    /// What it serves.
    service: Option<Service>,
}

impl Host {
    /// A host with the programs, on which `plan` runs otherwise.
    pub(crate) fn of(mut plan: Plan, health: Health) -> Result<Self> {
        let config = PathBuf::from(plan.args.get(1).context("--config FILE")?);
        config.parent().context("a folder")?.clone_into(&mut plan.dir);
        if let Health::Pages(address) = health {
            plan.env.insert("HTTP_LISTEN".into(), address.to_string().into());
        }
        plan.env = with_programs(&plan.env)?;
        plan.program = "/bin/sh".into();
        Ok(Self { plan, config, health, service: None })
    }

    /// A shell that runs these lines here.
    fn shell(&self, lines: &str) -> Plan {
        Plan { args: vec!["-ec".into(), lines.into()], ..self.plan.clone() }
    }

    /// Runs lines to their end.
    fn run(&mut self, lines: &str) -> Result<()> {
        let mut shell = Service::new(self.shell(lines));
        shell.start()?;
        let ended = block_in_place(|| {
            processes::wait_until(PATIENCE, || {
                // What these lines end is our child: it is not gone before somebody asked for it.
                let _ = self.service.as_mut().map(Service::ended);
                shell.ended().is_some()
            })
        });
        ensure!(ended, "it does not end\n{lines}\n{}", shell.tail());
        let is_well = shell.ended().is_some_and(|status| status.success());
        ensure!(is_well, "{lines}\n{}", shell.tail());
        Ok(())
    }

    /// Goes on with the last of these lines, instead of what is served here so far.
    pub(crate) async fn serve(&mut self, before: &str, last: &str) -> Result<()> {
        self.stop()?;
        let mut service = Service::new(self.shell(&format!("{before}\nexec env {last}")));
        service.start()?;
        match self.health {
            // What it finds wrong may be for a later block to mend.
            Health::Pages(address) => {
                ready::until_settled(&mut service, address).await?;
            }
            Health::Greeting(address) => ready::until_greets(&mut service, address).await?,
        }
        self.service = Some(service);
        Ok(())
    }

    /// The programs of this folder are on its PATH as well.
    pub(crate) fn finds_programs_in(&mut self, folder: &Path) {
        let path = self.plan.env.entry("PATH".into()).or_default();
        path.push(":");
        path.push(folder);
    }

    /// Waits until what it serves is ready.
    pub(crate) async fn is_ready(&mut self) -> Result<()> {
        match (&mut self.service, self.health) {
            (Some(service), Health::Pages(address)) => ready::until_ready(service, address).await,
            (Some(service), Health::Greeting(address)) => {
                ready::until_greets(service, address).await
            }
            (None, _) => Ok(()),
        }
    }

    /// Ends what it serves; one that a command has ended already is only taken away.
    pub(crate) fn stop(&mut self) -> Result<()> {
        let Some(mut service) = self.service.take() else { return Ok(()) };
        let status = match service.ended() {
            Some(status) => status,
            None => block_in_place(|| service.stop(STOP_WITHIN))?,
        };
        // nats-server says otherwise that it was told to end.
        let is_well = status.success() || matches!(self.health, Health::Greeting(_));
        ensure!(is_well, "it ended with {status}\n{}", service.tail());
        Ok(())
    }

    /// Kills what it serves.
    pub(crate) fn kill(&mut self) -> Result<()> {
        let mut service = self.service.take().context("it serves nothing")?;
        block_in_place(|| service.kill())
    }
}

/// All machines of a document, and what stands for what in it.
pub(crate) struct Tour {
    pub(crate) document: &'static str,
    pub(crate) hosts: BTreeMap<&'static str, Host>,
    pub(crate) names: Vec<(&'static str, String)>,
}

impl Tour {
    /// A machine by its name.
    pub(crate) fn host(&mut self, name: &str) -> Result<&mut Host> {
        self.hosts.get_mut(name).with_context(|| format!("there is no {name}"))
    }

    /// Starts on a host what the document finds at work there, and waits until it is ready.
    pub(crate) async fn serve(&mut self, host: &str, line: &str) -> Result<()> {
        let line = self.placed(line);
        let host = self.host(host)?;
        host.serve("", &line).await?;
        host.is_ready().await
    }

    /// Runs all blocks of a section, and waits until all that serve are ready.
    pub(crate) async fn run(&mut self, section: &str) -> Result<()> {
        let blocks = blocks(self.document).into_iter().filter(|block| block.section == section);
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
            host.is_ready().await?;
        }
        Ok(())
    }

    async fn commands(&mut self, lines: &[&str]) -> Result<()> {
        let (place, lines) = lines.split_first().context("an empty block")?;
        let place =
            place.strip_prefix("# on ").with_context(|| format!("{place} names no host"))?;
        let lines = self.placed(&lines.join("\n"));
        let host = self.host(place)?;
        match lines.rsplit_once('\n').unwrap_or(("", &lines)) {
            (before, last) if last.ends_with(SERVE) => host.serve(before, last).await,
            // What stands before it ends the one that is there, and is for this host alone.
            (before, last) if last.starts_with(SERVE_NATS) => {
                host.run(before)?;
                host.serve("", last).await
            }
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
