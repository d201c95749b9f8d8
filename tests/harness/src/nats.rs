//! A nats-server of our own: its configuration and its port.
//!
//! It listens on loopback, on the same port at every start, and
//! keeps what it acknowledged (`sync_interval: always`), as the protocol wants it. It is a process, or a
//! container (`contained.rs`).

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::accounts::Accounts;
use crate::contained::{self, Wanted};
use crate::folder::Folder;
use crate::ports::free_port;
use crate::ready;
use crate::secured::Secured;
use crate::service::{Environment, Plan, Service};
use anyhow::{Context as _, Result};

/// The server and where it listens.
#[derive(Debug)]
pub struct Nats {
    /// Its process.
    pub service: Service,
    dir: PathBuf,
    port: u16,
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

impl Nats {
    /// The servers of a cluster, not started yet.
    pub(crate) fn cluster(folder: &Folder, program: &Path, env: &Environment) -> Result<Vec<Self>> {
        let mut ports = Vec::new();
        for _ in NODES {
            ports.push(free_port()?);
        }
        let nodes = NODES.into_iter().zip(&ports).map(|(name, own)| {
            let mut node =
                Self::named(folder, name, program.to_owned(), env.clone(), free_port()?)?;
            let others = ports.iter().copied().filter(|port| port != own).collect();
            node.routes = Some((*own, others));
            Ok(node)
        });
        nodes.collect()
    }

    /// A server that is not started yet, and listens on `port`.
    ///
    /// # Errors
    ///
    /// When its folder cannot be made.
    pub fn new(folder: &Folder, program: PathBuf, env: Environment, port: u16) -> Result<Self> {
        Self::named(folder, NODES[0], program, env, port)
    }

    fn named(
        folder: &Folder,
        name: &'static str,
        program: PathBuf,
        env: Environment,
        port: u16,
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
        let service = if contained::is_wanted()? {
            let wanted = in_container(folder, &plan);
            Service::contained(plan, wanted)
        } else {
            Service::new(plan)
        };
        Ok(Self {
            service,
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
        let address = self.address();
        ready::until_greets(&mut self.service, address).await?;
        Ok(pid)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }
}

/// The container of a server: the image's own program, with our configuration, our user and our log.
fn in_container(folder: &Folder, plan: &Plan) -> Wanted {
    let (conf, log) = (plan.dir.join("nats.conf"), &plan.log);
    let script = format!("exec nats-server -c '{}' >>'{}' 2>&1", conf.display(), log.display());
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    Wanted {
        image: contained::NATS,
        script,
        // By this it is known as a process of this folder.
        env: vec![("HOME".to_owned(), folder.home().display().to_string())],
        folder: folder.root().to_owned(),
        user: format!("{uid}:{gid}"),
    }
}

fn config(name: &str, dir: &Path, port: u16) -> String {
    let quoted = |path: PathBuf| format!("{:?}", path.display().to_string());
    format!(
        "server_name: {name}\n\
         host: 127.0.0.1\n\
         port: {port}\n\
         jetstream {{\n  store_dir: {}\n  sync_interval: always\n}}\n",
        quoted(dir.join("store")),
    )
}
