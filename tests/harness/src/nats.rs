//! A nats-server of our own: its configuration, and the port that it found.
//!
//! It listens on loopback, takes a free port at its first start and the same one ever after, and
//! keeps what it acknowledged (`sync_interval: always`), as the protocol wants it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::accounts::Accounts;
use crate::folder::Folder;
use crate::ports::free_port;
use crate::ready;
use crate::secured::Secured;
use crate::service::{Environment, Plan, Service};

/// The server and where it listens.
#[derive(Debug)]
pub struct Nats {
    /// Its process.
    pub service: Service,
    dir: PathBuf,
    port: Option<u16>,
    /// With keys, and with TLS unless a story takes that away.
    pub(crate) secured: Option<Secured>,
    pub(crate) tls: bool,
    /// With accounts, and a user of one for the services.
    pub(crate) accounts: Option<Accounts>,
    /// Whether it asks for certificates, where it has TLS.
    pub(crate) verify: bool,
    /// Its own port for the others of a cluster, and theirs.
    routes: Option<(u16, Vec<u16>)>,
    name: &'static str,
}

/// The names of the servers of a cluster; one alone has the first.
pub(crate) const NODES: [&str; 3] = ["nats-server", "nats-server-2", "nats-server-3"];

/// The file in which the server says where it listens.
#[derive(Deserialize)]
struct Ports {
    nats: Vec<String>,
}

impl Nats {
    /// The servers of a cluster, not started yet.
    pub(crate) fn cluster(folder: &Folder, program: &Path, env: &Environment) -> Result<Vec<Self>> {
        let mut ports = Vec::new();
        for _ in NODES {
            ports.push(free_port()?);
        }
        let nodes = NODES.into_iter().zip(&ports).map(|(name, own)| {
            let mut node = Self::named(folder, name, program.to_owned(), env.clone(), None)?;
            let others = ports.iter().copied().filter(|port| port != own).collect();
            node.routes = Some((*own, others));
            Ok(node)
        });
        nodes.collect()
    }

    /// A server that is not started yet. `port`: where it listened before.
    ///
    /// # Errors
    ///
    /// When its folder cannot be made.
    pub fn new(
        folder: &Folder,
        program: PathBuf,
        env: Environment,
        port: Option<u16>,
    ) -> Result<Self> {
        Self::named(folder, NODES[0], program, env, port)
    }

    fn named(
        folder: &Folder,
        name: &'static str,
        program: PathBuf,
        env: Environment,
        port: Option<u16>,
    ) -> Result<Self> {
        let dir = if name == NODES[0] { folder.nats() } else { folder.root().join(name) };
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let plan = Plan {
            name,
            program,
            args: vec!["-c".into(), dir.join("nats.conf").into()],
            env,
            dir: dir.clone(),
            log: folder.logs().join(format!("{name}.log")),
        };
        Ok(Self {
            service: Service::new(plan),
            dir,
            port,
            secured: None,
            tls: true,
            accounts: None,
            verify: false,
            routes: None,
            name,
        })
    }

    /// Starts it and waits until it serves.
    ///
    /// # Errors
    ///
    /// What kept it from it.
    pub async fn start(&mut self) -> Result<u32> {
        let name = if self.name == NODES[0] { "holdfast" } else { self.name };
        let mut text = config(name, &self.dir, self.port);
        if let Some((port, others)) = &self.routes {
            let others: Vec<_> = others.iter().map(|it| format!("nats://127.0.0.1:{it}")).collect();
            let routes = others.join(", ");
            let cluster = format!("name: holdfast, host: 127.0.0.1, port: {port}");
            text += &["cluster { ", &cluster, ", routes: [", &routes, "] }\n"].concat();
        }
        if let Some(secured) = &self.secured {
            text += &secured.config(self.tls, self.verify)?;
        }
        if let Some(accounts) = &self.accounts {
            text += &accounts.config()?;
        }
        fs::write(self.dir.join("nats.conf"), text)
            .context("cannot write the configuration of nats-server")?;
        let pid = self.service.start()?;
        let file = self.dir.join(format!("nats-server_{pid}.ports"));
        ready::until(&mut self.service, || async { ports(&file).map(drop) }).await?;
        let ports = ports(&file)?;
        let port = ports.nats.first().and_then(|url| url.rsplit(':').next()?.parse().ok());
        self.port = Some(port.context("nats-server says no port")?);
        let address = self.address()?;
        ready::until_greets(&mut self.service, address).await?;
        Ok(pid)
    }

    /// Where it listens.
    ///
    /// # Errors
    ///
    /// When it was never started.
    pub fn address(&self) -> Result<SocketAddr> {
        let port = self.port.context("nats-server was not started yet")?;
        Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    }
}

/// What the server says of where it listens; it makes the file first and fills it then.
fn ports(file: &Path) -> Result<Ports> {
    let text = fs::read(file).context("it has not said where it listens")?;
    serde_json::from_slice(&text).with_context(|| format!("{} is not whole", file.display()))
}

fn config(name: &str, dir: &Path, port: Option<u16>) -> String {
    let quoted = |path: PathBuf| format!("{:?}", path.display().to_string());
    let port = port.map_or("-1".to_owned(), |port| port.to_string());
    format!(
        "server_name: {name}\n\
         host: 127.0.0.1\n\
         port: {port}\n\
         ports_file_dir: {}\n\
         jetstream {{\n  store_dir: {}\n  sync_interval: always\n}}\n",
        quoted(dir.to_owned()),
        quoted(dir.join("store")),
    )
}
