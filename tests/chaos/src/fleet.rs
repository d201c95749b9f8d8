//! Two gateways on one PostgreSQL, three runners on hosts of their own, one nats-server: the built
//! programs, between a simulated Discord and claude-sim, with a way between each two that can break.
//!
//! A host is a folder: its runner's home, tmux, state and projects lie in it, and whatever names it
//! goes when it loses its power.

use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use harness::discord_sim::{self, Discord, FaultKind, FaultRule};
use harness::processes::{self, Process};
use harness::sweeper::{Reach, Sweeper};
use harness::{
    Environment, Folder, Nats, Plan, Postgres, Proxy, Way, builder, free_port, programs, project,
};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::task::block_in_place;

use crate::plan::{self, Fault, GATEWAYS, Link, PROJECTS, RUNNERS, Service, Trouble};

/// How long a service may take to end, and `provision` to do its work: the ten seconds that a
/// service gives itself, and what a busy machine takes.
const ENDS_WITHIN: Duration = Duration::from_secs(30);
/// So many requests go wrong at most in a trouble with Discord; it also ends with its time.
const MANY: u32 = 1_000;
/// So many events go missing at most.
const EVENTS: u32 = 6;
/// What a limited post is told to wait.
const LIMITED_FOR: Duration = Duration::from_secs(2);
/// How often the gateways read what they may have missed: events go missing all the time here.
const CATCH_UP_EVERY_S: u32 = 15;

/// Everything that runs.
pub(crate) struct Fleet {
    folder: Folder,
    discord: discord_sim::Sim,
    nats: Nats,
    postgres: Postgres,
    gateways: Vec<Gateway>,
    hosts: Vec<Host>,
    sweeper: Sweeper,
    _temp: TempDir,
}

struct Gateway {
    service: harness::Service,
    health: SocketAddr,
    bus: Proxy,
    store: Proxy,
}

struct Host {
    folder: Folder,
    service: harness::Service,
    health: SocketAddr,
    bus: Proxy,
}

impl Fleet {
    /// Starts everything and waits until it is ready.
    pub(crate) async fn start() -> Result<Self> {
        let temp = tempfile::Builder::new().prefix("chaos-").tempdir();
        let temp = temp.context("no temporary folder")?;
        let folder = Folder::make(temp.path())?;
        let mut sweeper = Sweeper::start(folder.root(), Reach::Everything)?;
        let options = discord_sim::Options { rate_limits: false, ..Default::default() };
        let discord = discord_sim::Sim::start(options).await?;
        discord.write_ca(&folder.ca_file()).context("cannot write the certificate")?;
        let mut nats =
            Nats::new(&folder, programs::nats_server()?, builder::base(&folder), free_port()?)?;
        sweeper.child(nats.start().await?)?;
        let postgres = block_in_place(Postgres::start)?;
        let bus = nats.address();
        let config = gateway_toml(&folder, &discord)?;
        let mut gateways = Vec::new();
        for number in 0..GATEWAYS {
            gateways.push(gateway(&folder, &config, number, bus, postgres.address()).await?);
        }
        let mut hosts = Vec::new();
        for number in 0..RUNNERS {
            hosts.push(host(&folder, number, bus).await?);
        }
        provision(&folder, &config, bus)?;
        let mut fleet =
            Self { folder, discord, nats, postgres, gateways, hosts, sweeper, _temp: temp };
        fleet.ready().await?;
        Ok(fleet)
    }

    /// Starts what does not run and waits until all are ready.
    pub(crate) async fn ready(&mut self) -> Result<()> {
        for service in all_services() {
            self.start_again(service).await?;
        }
        for gateway in &mut self.gateways {
            harness::ready::until_ready(&mut gateway.service, gateway.health).await?;
        }
        for host in &mut self.hosts {
            harness::ready::until_ready(&mut host.service, host.health).await?;
        }
        Ok(())
    }

    /// What people see.
    pub(crate) fn discord(&self) -> Discord {
        self.discord.discord()
    }

    /// Where all lies.
    pub(crate) fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Where nats-server listens.
    pub(crate) fn bus(&self) -> SocketAddr {
        self.nats.address()
    }

    /// Lets a fault begin; returns what it hit, in a few words.
    pub(crate) fn begin(&mut self, fault: Fault) -> Result<String> {
        let hit = match fault {
            Fault::Kill(Service::Postgres) | Fault::Term(Service::Postgres) => {
                block_in_place(|| self.postgres.crash());
                "crashed".to_owned()
            }
            Fault::Freeze(Service::Postgres) => {
                self.postgres.pid().into_iter().for_each(processes::freeze);
                "stopped".to_owned()
            }
            Fault::Kill(service) => {
                self.service(service)?.kill()?;
                "killed".to_owned()
            }
            Fault::Term(service) => {
                self.service(service)?.signal(Signal::TERM)?;
                "asked to end".to_owned()
            }
            Fault::Freeze(service) => {
                self.service(service)?.signal(Signal::STOP)?;
                "stopped".to_owned()
            }
            Fault::PowerOff(number) => {
                let host = &self.hosts[usize::from(number)];
                let found = processes::naming(host.folder.root()).len();
                let left = block_in_place(|| processes::kill_naming(host.folder.root(), &[]));
                ensure!(left.is_empty(), "these outlive their host: {left:?}");
                format!("{found} processes gone")
            }
            Fault::Suspend(number) => {
                let found = self.on_host(number);
                for process in &found {
                    processes::freeze(process.pid);
                }
                format!("{} processes stand still", found.len())
            }
            Fault::KillClaude(number) => self.kill_one(number, "claude-sim"),
            Fault::KillKeeper(number) => self.kill_one(number, " keep "),
            Fault::Cut(link) => self.make(link, Way::Closed),
            Fault::Hold(link) => self.make(link, Way::Silent),
            Fault::Slow(link) => self.make(link, Way::Slow),
            Fault::Discord(trouble) => {
                self.trouble(trouble);
                String::new()
            }
        };
        Ok(hit)
    }

    /// Lets a fault end.
    pub(crate) async fn end(&mut self, fault: Fault) -> Result<()> {
        match fault {
            Fault::Kill(service) | Fault::Term(service @ Service::Postgres) => {
                self.start_again(service).await?;
            }
            Fault::Freeze(Service::Postgres) => {
                self.postgres.pid().into_iter().for_each(processes::thaw);
            }
            Fault::Term(service) => {
                let service_of = self.service(service)?;
                if block_in_place(|| service_of.wait(ENDS_WITHIN)).is_none() {
                    // Said by the checker's history: it was to end within ten seconds.
                    service_of.kill().context("it did not end by SIGTERM")?;
                }
                self.start_again(service).await?;
            }
            Fault::Freeze(service) => self.service(service)?.signal(Signal::CONT)?,
            Fault::PowerOff(number) => self.start_again(Service::Runner(number)).await?,
            Fault::Suspend(number) => {
                for process in self.on_host(number) {
                    processes::thaw(process.pid);
                }
            }
            Fault::KillClaude(_) | Fault::KillKeeper(_) => {}
            Fault::Cut(link) | Fault::Hold(link) | Fault::Slow(link) => {
                self.make(link, Way::Open);
            }
            Fault::Discord(_) => self.discord().clear_faults(),
        }
        Ok(())
    }

    /// Every process beside the services, each with its host.
    pub(crate) fn besides(&self) -> Vec<Process> {
        let gateways = self.gateways.iter().map(|gateway| &gateway.service);
        let hosts = self.hosts.iter().map(|host| &host.service);
        let servers = [&self.nats.service];
        let mut ours: Vec<u32> =
            gateways.chain(hosts).chain(servers).filter_map(harness::Service::pid).collect();
        ours.push(self.sweeper.pid());
        let named = processes::naming(self.folder.root()).into_iter();
        named.filter(|it| !ours.contains(&it.pid)).collect()
    }

    /// The spools that are there.
    pub(crate) fn spools(&self) -> Vec<PathBuf> {
        let dirs = self.hosts.iter().map(|host| host.folder.runner_state().join("spools"));
        let entries = dirs.filter_map(|dir| fs::read_dir(dir).ok()).flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
    }

    fn on_host(&self, number: u8) -> Vec<Process> {
        processes::naming(self.hosts[usize::from(number)].folder.root())
    }

    fn kill_one(&self, number: u8, word: &str) -> String {
        let found = self.on_host(number);
        let Some(one) = found.iter().find(|process| process.command.contains(word)) else {
            return "there is none".to_owned();
        };
        processes::kill(one.pid);
        format!("killed {}", one.pid)
    }

    fn make(&self, link: Link, way: Way) -> String {
        let proxy = match link {
            Link::GatewayBus(number) => &self.gateways[usize::from(number)].bus,
            Link::GatewayStore(number) => &self.gateways[usize::from(number)].store,
            Link::RunnerBus(number) => &self.hosts[usize::from(number)].bus,
        };
        proxy.make(way);
        String::new()
    }

    fn trouble(&self, trouble: Trouble) {
        let discord = self.discord();
        let posts = |kind| FaultRule::once("POST", "/channels/{id}/messages", kind).times(MANY);
        match trouble {
            Trouble::After => discord.fault(posts(FaultKind::StatusAfter(502))),
            Trouble::Away => {
                let method = None;
                let kind = FaultKind::StatusBefore(503);
                discord.fault(FaultRule { method, path: String::new(), times: MANY, kind });
            }
            Trouble::Limits => {
                discord.fault(posts(FaultKind::RateLimited { retry_after: LIMITED_FOR }));
            }
            Trouble::Cuts => discord.fault(posts(FaultKind::CutAfter)),
            Trouble::Reconnects => discord.request_reconnect(),
            Trouble::Breaks => discord.cut_sessions(),
            Trouble::Forgets => {
                discord.invalidate_sessions();
                discord.cut_sessions();
            }
            Trouble::Drops => discord.drop_events(Some("MESSAGE_CREATE"), EVENTS),
        }
    }

    /// A child of ours. PostgreSQL is none: a shell of its own stands between.
    fn service(&mut self, service: Service) -> Result<&mut harness::Service> {
        Ok(match service {
            Service::Gateway(number) => &mut self.gateways[usize::from(number)].service,
            Service::Runner(number) => &mut self.hosts[usize::from(number)].service,
            Service::Nats => &mut self.nats.service,
            Service::Postgres => bail!("PostgreSQL is no child of ours"),
        })
    }

    async fn start_again(&mut self, service: Service) -> Result<()> {
        if service == Service::Postgres {
            return self.postgres.serve();
        }
        if self.service(service)?.is_running() {
            return Ok(());
        }
        let pid = match service {
            Service::Nats => self.nats.start().await?,
            Service::Gateway(_) | Service::Runner(_) | Service::Postgres => {
                self.service(service)?.start()?
            }
        };
        self.sweeper.child(pid)
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        let root = self.folder.root().to_owned();
        block_in_place(|| processes::kill_naming(&root, &[self.sweeper.pid()]));
        self.sweeper.farewell();
    }
}

/// Everything that can be started, in the order in which it is.
fn all_services() -> impl Iterator<Item = Service> {
    let servers = [Service::Nats, Service::Postgres].into_iter();
    servers.chain((0..GATEWAYS).map(Service::Gateway)).chain((0..RUNNERS).map(Service::Runner))
}

/// What a runner is called.
fn runner_name(number: u8) -> String {
    format!("host-{number}")
}

async fn gateway(
    folder: &Folder,
    config: &Path,
    number: u8,
    bus: SocketAddr,
    store: SocketAddr,
) -> Result<Gateway> {
    let name = ["gateway-0", "gateway-1"][usize::from(number)];
    let (bus, store) = (Proxy::before(bus).await?, Proxy::before(store).await?);
    let health = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
    let mut env = gateway_env(folder, bus.address());
    env.insert("DATABASE_URL".into(), Postgres::url_over(store.address()).into());
    env.insert("HTTP_LISTEN".into(), health.to_string().into());
    let plan = Plan {
        name,
        program: programs::built("gateway-svc")?,
        args: vec!["--config".into(), config.into(), "serve".into()],
        env,
        dir: folder.root().to_owned(),
        log: folder.logs().join(format!("{name}.log")),
    };
    Ok(Gateway { service: harness::Service::new(plan), health, bus, store })
}

fn gateway_env(folder: &Folder, bus: SocketAddr) -> Environment {
    let mut env = builder::base(folder);
    env.insert("DISCORD_TOKEN".into(), discord_sim::DEFAULT_TOKEN.into());
    env.insert("NATS_URL".into(), format!("nats://{bus}").into());
    env
}

async fn host(fleet: &Folder, number: u8, bus: SocketAddr) -> Result<Host> {
    let name = ["host-0", "host-1", "host-2"][usize::from(number)];
    // Short: the socket of tmux lies in it, and its path has 108 bytes at most.
    let folder = Folder::make(&fleet.root().join(format!("h{number}")))?;
    let bus = Proxy::before(bus).await?;
    let health = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
    let config = folder.runner_toml();
    fs::write(&config, runner_toml(fleet, &folder, number)?).context("no configuration")?;
    let mut env = builder::base(&folder);
    env.insert("NATS_URL".into(), format!("nats://{}", bus.address()).into());
    env.insert("HTTP_LISTEN".into(), health.to_string().into());
    let plan = Plan {
        name,
        program: programs::built("runner-svc")?,
        args: vec!["--config".into(), config.into(), "serve".into()],
        env,
        dir: folder.root().to_owned(),
        log: fleet.logs().join(format!("{name}.log")),
    };
    Ok(Host { folder, service: harness::Service::new(plan), health, bus })
}

fn provision(folder: &Folder, config: &Path, bus: SocketAddr) -> Result<()> {
    let mut args: Vec<OsString> = vec!["--config".into(), config.into(), "provision".into()];
    for number in 0..RUNNERS {
        args.extend(["--runner".into(), runner_name(number).into()]);
    }
    let plan = Plan {
        name: "provision",
        program: programs::built("gateway-svc")?,
        args,
        env: gateway_env(folder, bus),
        dir: folder.root().to_owned(),
        log: folder.logs().join("provision.log"),
    };
    let mut provision = harness::Service::new(plan);
    provision.start()?;
    let ended = block_in_place(|| provision.wait(ENDS_WITHIN));
    let status = ended.with_context(|| format!("provision hangs\n{}", provision.tail()))?;
    ensure!(status.success(), "provision ended with {status}\n{}", provision.tail());
    Ok(())
}

/// Whether all runners share a project.
fn is_shared(project: usize) -> bool {
    project == plan::SHARED
}

fn gateway_toml(folder: &Folder, discord: &discord_sim::Sim) -> Result<PathBuf> {
    let ca_file = quoted(&folder.ca_file().display().to_string());
    let mut lines = vec![
        format!("catch_up_every_s = {CATCH_UP_EVERY_S}"),
        "[discord]".to_owned(),
        format!("connect_to = {}", quoted(&discord.rest_addr.to_string())),
        format!("ca_file = {ca_file}"),
    ];
    for (index, name) in PROJECTS.iter().enumerate() {
        let channel = discord.discord().channel(name);
        lines.push(format!("[projects.{name}]\nchannels = [\"{channel}\"]"));
        lines.push(format!("allow = \"everyone\"\nshared = {}", is_shared(index)));
    }
    let file = folder.gateway_toml();
    fs::write(&file, lines.join("\n")).context("no configuration")?;
    Ok(file)
}

fn runner_toml(fleet: &Folder, folder: &Folder, number: u8) -> Result<String> {
    let path = |path: &Path| quoted(&path.display().to_string());
    let claude = programs::built("claude-sim")?;
    let mut lines = vec![
        format!("name = {}", quoted(&runner_name(number))),
        format!("state_dir = {}\nslots = 2", path(&folder.runner_state())),
        format!("[claude]\nprogram = {}", path(&claude)),
        "[claude.env]\nANTHROPIC_API_KEY = \"simulated\"".to_owned(),
        format!("CLAUDE_SIM_DIR = {}", path(&fleet.gates())),
        format!("CLAUDE_SIM_LEDGER = {}", path(&fleet.ledger())),
    ];
    for (index, name) in PROJECTS.iter().enumerate() {
        if !is_shared(index) && index != usize::from(number) {
            continue;
        }
        let directory = folder.root().join(name);
        project::repository(&directory)?;
        lines.push(format!("[projects.{name}]\ndirectory = {}", path(&directory)));
        lines.push(format!("shared = {}", is_shared(index)));
    }
    Ok(lines.join("\n"))
}

/// A text as TOML: JSON's quoting is a part of TOML's.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
