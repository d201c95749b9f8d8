//! A collector that is not of ours, rotel, as a process: what it takes it hands on to one of a story's own.
//!
//! It keeps nothing: what it could not hand on by its end is gone. Dropping it ends it.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Result;
use tokio::net::TcpStream;

use crate::folder::Folder;
use crate::otlp::Otlp;
use crate::ports::free_port;
use crate::service::{Plan, Service};
use crate::{builder, programs, ready};

/// A rotel that runs.
#[derive(Debug)]
pub struct Rotel {
    /// It ends with us.
    _service: Service,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Rotel {
    /// Starts one that hands on to `otlp`, and waits until it takes connections.
    ///
    /// # Errors
    ///
    /// When it was not fetched, or does not start.
    pub async fn before(otlp: &Otlp) -> Result<Self> {
        let temp = tempfile::Builder::new().prefix("holdfast-rotel-").tempdir()?;
        let folder = Folder::make(temp.path())?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let unused = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let file = |name: &str| folder.root().join(name).display().to_string();
        let words = [
            "start".to_owned(),
            format!("--otlp-http-endpoint={address}"),
            format!("--otlp-grpc-endpoint={unused}"),
            "--exporter=otlp".to_owned(),
            "--otlp-exporter-protocol=http".to_owned(),
            format!("--otlp-exporter-endpoint={}", otlp.url()),
            format!("--pid-file={}", file("rotel.pid")),
            format!("--log-file={}", file("rotel.log")),
        ];
        let mut service = Service::new(Plan {
            name: "rotel-agent",
            program: programs::rotel()?,
            args: words.into_iter().map(Into::into).collect(),
            env: builder::base(&folder),
            dir: folder.root().to_owned(),
            log: folder.logs().join("rotel-agent.log"),
        });
        service.start()?;
        ready::until(&mut service, || async { Ok(TcpStream::connect(address).await.map(drop)?) })
            .await?;
        Ok(Self { _service: service, address, _folder: temp })
    }

    /// The base of its URLs.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}
