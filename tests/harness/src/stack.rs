//! nats-server, gateway and runner in one folder: started in order, each stopped, killed and
//! started again at will, with the same ports and the same state.
//!
//! It knows nothing of simulators and nothing of what is said in Discord.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::task::block_in_place;

use crate::accounts::Accounts;
use crate::folder::Folder;
use crate::nats::{NODES, Nats};
use crate::programs;
use crate::proxy::Proxy;
use crate::ready::{until_lives, until_ready, until_settled};
use crate::secured::{Certificate, Door, Secured};
use crate::service::{Environment, Plan, Service, tail};
use crate::settings::Configs;
use crate::sweeper::{Reach, Sweeper};

/// How long a service may take to end: the ten seconds it gives itself, and some.
pub(crate) const STOP_WITHIN: Duration = Duration::from_secs(20);
/// The names of keys, as `provision --out` gives them.
const ADMIN: &str = "admin";
const GATEWAY: &str = "gateway";
/// How long `provision` may take.
const PROVISION_WITHIN: Duration = Duration::from_secs(60);

/// The ports of a stack.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// The bus.
    pub nats: u16,
    /// The gateway's health pages.
    pub gateway: u16,
    /// The runner's health pages.
    pub runner: u16,
}

fn through(proxy: &Proxy, service: &mut Service) {
    let url = format!("nats://{}", proxy.address());
    service.plan_mut().env.insert("NATS_URL".into(), url.into());
}

/// The environments that the programs are started with.
#[derive(Clone, Debug, Default)]
pub struct Environments {
    /// What all of them have.
    pub all: Environment,
    /// What the gateway has besides.
    pub gateway: Environment,
    /// What the runner has besides.
    pub runner: Environment,
}

/// The three servers.
#[derive(Debug)]
pub struct Stack {
    folder: Folder,
    runner_name: String,
    nats: Nats,
    /// The other two, where the bus is a cluster.
    more_nats: Vec<Nats>,
    gateway: Service,
    runner: Service,
    health: [SocketAddr; 2],
    sweeper: Sweeper,
}

impl Stack {
    /// Servers that are not started yet.
    ///
    /// # Errors
    ///
    /// When a program is missing.
    pub fn new(
        folder: &Folder,
        configs: Configs,
        ports: Ports,
        env: Environments,
        reach: Reach,
    ) -> Result<Self> {
        let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let health = [loopback(ports.gateway), loopback(ports.runner)];
        let plan = |name, config: PathBuf, own: Environment, health: SocketAddr| {
            let mut all = env.all.clone();
            all.extend(own);
            all.insert("HTTP_LISTEN".into(), health.to_string().into());
            Ok::<_, anyhow::Error>(Plan {
                name,
                program: programs::built(name)?,
                args: vec!["--config".into(), config.into(), "serve".into()],
                env: all,
                dir: folder.root().to_owned(),
                log: folder.logs().join(format!("{name}.log")),
            })
        };
        let mut gateway_env = env.gateway;
        let database = format!("sqlite://{}", folder.database().display());
        gateway_env.insert("DATABASE_URL".into(), database.into());
        let gateway = plan("gateway-svc", configs.gateway, gateway_env, health[0])?;
        let runner = plan("runner-svc", configs.runner, env.runner, health[1])?;
        Ok(Self {
            folder: folder.clone(),
            runner_name: configs.runner_name,
            nats: Nats::new(folder, programs::nats_server()?, env.all.clone(), ports.nats)?,
            more_nats: Vec::new(),
            gateway: Service::new(gateway),
            runner: Service::new(runner),
            health,
            sweeper: Sweeper::start(folder.root(), reach)?,
        })
    }

    /// Where nats-server listens.
    pub fn nats_address(&self) -> SocketAddr {
        self.nats.address()
    }

    /// How the bus is gone into by who may do everything.
    pub(crate) fn door(&mut self) -> Door {
        let keys = self.nats.secured.clone().map(|keys| (keys, ADMIN.to_owned()));
        let mut address = self.nats.address();
        for nats in &mut self.nodes() {
            if nats.service.is_running() {
                address = nats.address();
                break;
            }
        }
        Door { address, keys, accounts: self.accounts() }
    }

    fn nodes(&mut self) -> Vec<&mut Nats> {
        std::iter::once(&mut self.nats).chain(&mut self.more_nats).collect()
    }

    /// The bus is a cluster of three, from its first start on.
    pub(crate) fn cluster(&mut self) -> Result<()> {
        let env = self.nats.service.plan_mut().env.clone();
        let mut nodes = Nats::cluster(&self.folder, &programs::nats_server()?, &env)?.into_iter();
        self.nats = nodes.next().context("a cluster has servers")?;
        self.more_nats = nodes.collect();
        Ok(())
    }

    /// A server of the cluster, by its name there.
    pub(crate) fn node(&mut self, name: &str) -> Result<&mut Nats> {
        let name = if name == "holdfast" { NODES[0] } else { name };
        let mut nodes = self.nodes().into_iter();
        let node = nodes.find(|nats| nats.service.name() == name);
        node.with_context(|| format!("there is no server {name}"))
    }

    /// Starts one server of a cluster again, on the port that it had.
    pub(crate) async fn start_node(&mut self, name: &str) -> Result<()> {
        let pid = self.node(name)?.start().await?;
        self.sweeper.child(pid)
    }

    /// Makes keys and certificates, which the bus and both services have from their next start on.
    pub(crate) fn secure(&mut self, verify: bool) -> Result<()> {
        let secured = Secured::new(&self.folder.nats());
        secured.certify(Certificate::Good)?;
        let keys = secured.keys().display().to_string();
        let runner = self.runner_name.clone();
        self.gateway_once("provision", &["provision", "--out", &keys, "--runner", &runner])?;
        let env = |service: &mut Service, user: &str| {
            let all = &mut service.plan_mut().env;
            all.insert("NATS_TLS_CA".into(), secured.ca().into());
            all.insert("NATS_NKEY_FILE".into(), secured.seed_file(user).into());
            if verify {
                all.insert("NATS_TLS_CERT".into(), secured.client_cert().into());
                all.insert("NATS_TLS_KEY".into(), secured.client_key().into());
            }
        };
        env(&mut self.gateway, GATEWAY);
        env(&mut self.runner, &format!("runner-{runner}"));
        for nats in self.nodes() {
            nats.secured = Some(secured.clone());
            nats.verify = verify;
        }
        Ok(())
    }

    /// The bus knows accounts from its next start on, and the services go in with credentials.
    pub(crate) fn credit(&mut self) -> Result<()> {
        let accounts = Accounts::make(&self.folder.nats())?;
        for service in [&mut self.gateway, &mut self.runner] {
            let env = &mut service.plan_mut().env;
            env.insert("NATS_CREDS_FILE".into(), accounts.own_file().into());
        }
        self.nats.accounts = Some(accounts);
        Ok(())
    }

    /// The accounts that the bus knows, if it does.
    pub(crate) fn accounts(&self) -> Option<Accounts> {
        self.nats.accounts.clone()
    }

    /// Whether the bus speaks TLS, from its next start on.
    pub(crate) fn speak_tls(&mut self, tls: bool) {
        self.nats.tls = tls;
    }

    /// A network of its own between a service and the bus, from the service's next start on until the
    /// bus itself is started again.
    pub(crate) async fn proxy_of_gateway(&mut self) -> Result<Proxy> {
        let proxy = Proxy::before(self.nats.address()).await?;
        through(&proxy, &mut self.gateway);
        Ok(proxy)
    }

    /// The same of the runner.
    pub(crate) async fn proxy_of_runner(&mut self) -> Result<Proxy> {
        let proxy = Proxy::before(self.nats.address()).await?;
        through(&proxy, &mut self.runner);
        Ok(proxy)
    }

    /// Where the gateway's health pages are.
    pub fn gateway_health(&self) -> SocketAddr {
        self.health[0]
    }

    /// Where the runner's health pages are.
    pub fn runner_health(&self) -> SocketAddr {
        self.health[1]
    }

    /// The gateway's process.
    pub fn gateway(&mut self) -> &mut Service {
        &mut self.gateway
    }

    /// The runner's process.
    pub fn runner(&mut self) -> &mut Service {
        &mut self.runner
    }

    /// nats-server's process.
    pub fn nats(&mut self) -> &mut Service {
        &mut self.nats.service
    }

    /// The first of the three that has ended by itself, with the end of its log.
    pub fn casualty(&mut self) -> Option<String> {
        let mut services =
            [&mut self.nats.service, &mut self.gateway, &mut self.runner].into_iter();
        services.find_map(|service| {
            let status = service.ended()?;
            Some(format!("{} ended with {status}\n{}", service.name(), service.tail()))
        })
    }

    /// The processes that are part of this: the three, and the sweeper.
    pub fn pids(&self) -> Vec<u32> {
        let more = self.more_nats.iter().map(|nats| &nats.service);
        let services = [&self.nats.service, &self.gateway, &self.runner].into_iter().chain(more);
        let running = services.filter_map(Service::pid);
        running.chain([self.sweeper.pid()]).collect()
    }

    /// Starts nats-server and waits until it serves.
    ///
    /// # Errors
    ///
    /// What kept it from it.
    pub async fn start_nats(&mut self) -> Result<()> {
        let pid = self.nats.start().await?;
        self.sweeper.child(pid)?;
        let scheme = if self.nats.secured.is_some() { "tls" } else { "nats" };
        let mut urls = vec![format!("{scheme}://{}", self.nats.address())];
        for nats in &mut self.more_nats {
            self.sweeper.child(nats.start().await?)?;
            urls.push(format!("{scheme}://{}", nats.address()));
        }
        let url = OsString::from(urls.join(","));
        for service in [&mut self.gateway, &mut self.runner] {
            service.plan_mut().env.insert("NATS_URL".into(), url.clone());
        }
        Ok(())
    }

    /// Runs `gateway-svc provision`, as often as wanted. Blocks the thread.
    ///
    /// # Errors
    ///
    /// When it fails.
    pub fn provision(&mut self) -> Result<()> {
        self.provision_for(&self.runner_name.clone())
    }

    /// The same for a runner of another name.
    ///
    /// # Errors
    ///
    /// When it fails.
    pub(crate) fn provision_for(&mut self, runner: &str) -> Result<()> {
        self.gateway_once("provision", &["provision", "--runner", runner])
    }

    /// Runs a command of the gateway as the admin, and waits for its end. Blocks the thread.
    pub(crate) fn gateway_once(&mut self, name: &'static str, words: &[&str]) -> Result<()> {
        let mut plan = self.gateway.plan_mut().clone();
        plan.name = name;
        plan.args.pop();
        plan.args.extend(words.iter().map(OsString::from));
        plan.log = self.folder.logs().join(format!("{name}.log"));
        if let Some(secured) = &self.nats.secured {
            plan.env.insert("NATS_NKEY_FILE".into(), secured.seed_file(ADMIN).into());
        }
        let mut once = Service::new(plan);
        once.start()?;
        let ended = block_in_place(|| once.wait(PROVISION_WITHIN));
        let status = ended.with_context(|| format!("{name} hangs\n{}", once.tail()))?;
        ensure!(status.success(), "{name} ended with {status}\n{}", once.tail());
        Ok(())
    }

    /// What the runner is called.
    pub(crate) fn runner_name(&self) -> &str {
        &self.runner_name
    }

    /// Starts the gateway and waits until it is ready.
    ///
    /// # Errors
    ///
    /// What kept it from it.
    pub async fn start_gateway(&mut self) -> Result<()> {
        self.sweeper.child(self.gateway.start()?)?;
        until_ready(&mut self.gateway, self.health[0]).await
    }

    /// Starts the runner and waits until it is ready.
    ///
    /// # Errors
    ///
    /// What kept it from it.
    pub async fn start_runner(&mut self) -> Result<()> {
        self.sweeper.child(self.runner.start()?)?;
        until_ready(&mut self.runner, self.health[1]).await
    }

    /// Starts gateway and runner and waits until each has looked at everything. Returns what they find
    /// wrong, which a person is to read and to mend.
    ///
    /// # Errors
    ///
    /// What kept one from starting.
    pub async fn start_services(&mut self) -> Result<Vec<String>> {
        self.sweeper.child(self.gateway.start()?)?;
        let mut wrong = until_settled(&mut self.gateway, self.health[0]).await?;
        self.sweeper.child(self.runner.start()?)?;
        wrong.extend(until_settled(&mut self.runner, self.health[1]).await?);
        Ok(wrong)
    }

    /// Starts the runner and waits until its health pages answer, whatever they say.
    ///
    /// # Errors
    ///
    /// What kept it from it.
    pub async fn launch_runner(&mut self) -> Result<()> {
        self.sweeper.child(self.runner.start()?)?;
        until_lives(&mut self.runner, self.health[1]).await
    }

    /// Starts the gateway and waits until its health pages answer, whatever they say.
    ///
    /// # Errors
    ///
    /// What kept it from it.
    pub async fn launch_gateway(&mut self) -> Result<()> {
        self.sweeper.child(self.gateway.start()?)?;
        until_lives(&mut self.gateway, self.health[0]).await
    }

    /// Stops what runs: gateway, runner, nats-server. Returns what did not end as it should. Blocks
    /// the thread.
    pub fn stop(&mut self) -> Vec<String> {
        let mut problems = Vec::new();
        let more = self.more_nats.iter_mut().map(|nats| &mut nats.service);
        let servers = std::iter::once(&mut self.nats.service).chain(more);
        for service in [&mut self.gateway, &mut self.runner].into_iter().chain(servers) {
            if !service.is_running() {
                continue;
            }
            match service.stop(STOP_WITHIN) {
                Ok(status) if ended_well(service.name(), status) => {}
                Ok(status) => problems.push(format!("{} ended with {status}", service.name())),
                Err(error) => problems.push(format!("{error:#}")),
            }
        }
        problems
    }

    /// The process that sweeps if we are killed.
    pub fn sweeper_pid(&self) -> u32 {
        self.sweeper.pid()
    }

    /// Kills what still runs, and sends the sweeper away. Blocks the thread.
    pub fn end(&mut self) {
        let more = self.more_nats.iter_mut().map(|nats| &mut nats.service);
        let servers = std::iter::once(&mut self.nats.service).chain(more);
        for service in [&mut self.gateway, &mut self.runner].into_iter().chain(servers) {
            if service.is_running() {
                // It is dead afterwards, one way or the other.
                let _ = service.kill();
            }
        }
        self.sweeper.farewell();
    }

    /// The end of every log, for whoever looks for a cause.
    pub fn tails(&self) -> String {
        let name = |name: &str| tail(name, &self.folder.logs().join(format!("{name}.log")));
        ["nats-server", "gateway-svc", "runner-svc"].map(name).concat()
    }
}

/// nats-server ends with 1 when it is told to end.
fn ended_well(name: &str, status: ExitStatus) -> bool {
    status.success() || NODES.contains(&name) && status.code() == Some(1)
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.end();
    }
}
