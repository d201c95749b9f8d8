//! A nats-server of our own: its configuration, and the port that it found.
//!
//! It listens on loopback, takes a free port at its first start and the same one ever after, and
//! keeps what it acknowledged (`sync_interval: always`), as the protocol wants it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::folder::Folder;
use crate::ready;
use crate::service::{Environment, Plan, Service};

/// The server and where it listens.
#[derive(Debug)]
pub struct Nats {
    /// Its process.
    pub service: Service,
    dir: PathBuf,
    port: Option<u16>,
}

/// The file in which the server says where it listens.
#[derive(Deserialize)]
struct Ports {
    nats: Vec<String>,
}

impl Nats {
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
        let dir = folder.nats();
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let plan = Plan {
            name: "nats-server",
            program,
            args: vec!["-c".into(), dir.join("nats.conf").into()],
            env,
            dir: dir.clone(),
            log: folder.logs().join("nats-server.log"),
        };
        Ok(Self { service: Service::new(plan), dir, port })
    }

    /// Starts it and waits until it serves.
    ///
    /// # Errors
    ///
    /// What kept it from it.
    pub async fn start(&mut self) -> Result<u32> {
        fs::write(self.dir.join("nats.conf"), config(&self.dir, self.port))
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

fn config(dir: &Path, port: Option<u16>) -> String {
    let quoted = |path: PathBuf| format!("{:?}", path.display().to_string());
    let port = port.map_or("-1".to_owned(), |port| port.to_string());
    format!(
        "server_name: holdfast\n\
         host: 127.0.0.1\n\
         port: {port}\n\
         ports_file_dir: {}\n\
         jetstream {{\n  store_dir: {}\n  sync_interval: always\n}}\n",
        quoted(dir.to_owned()),
        quoted(dir.join("store")),
    )
}
