//! What a service says to the systemd that it takes us for: the other end of `NOTIFY_SOCKET`.
//!
//! It only listens. Each datagram is kept as it came, in order.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context as _, Result, anyhow};
use tempfile::TempDir;
use tokio::net::UnixDatagram;
use tokio::time::timeout;

use crate::builder::Builder;
use crate::parts::Part;
use crate::world::PATIENCE;

/// The longest datagram that systemd takes (`NOTIFY_BUFFER_MAX`).
const DATAGRAM_MAX: usize = 4096;

/// A socket that is told how a service goes.
#[derive(Debug)]
pub struct Notified {
    socket: UnixDatagram,
    path: PathBuf,
    _folder: TempDir,
    heard: Vec<String>,
}

impl Notified {
    /// Listens.
    ///
    /// # Errors
    ///
    /// When there is no place for a socket.
    pub fn listen() -> Result<Self> {
        let folder = tempfile::tempdir().context("no folder for a socket")?;
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).context("cannot listen for a service")?;
        Ok(Self { socket, path, _folder: folder, heard: Vec::new() })
    }

    /// Where it listens.
    pub fn address(&self) -> OsString {
        self.path.clone().into()
    }

    /// Has a service of a world tell it; with a watchdog that wants a sign of life within so many
    /// microseconds.
    pub fn of(&self, builder: Builder, part: Part, watchdog: &str) -> Builder {
        let env = [("NOTIFY_SOCKET", self.address()), ("WATCHDOG_USEC", watchdog.into())];
        env.into_iter().fold(builder, |builder, (name, value)| builder.part_env(part, name, value))
    }

    /// Everything up to the next datagram that holds these words, that one at the end.
    ///
    /// # Errors
    ///
    /// When none comes: with all that came.
    pub async fn hears(&mut self, words: &str) -> Result<Vec<String>> {
        let from = self.heard.len();
        let listening = async {
            loop {
                let said = self.next().await?;
                let is_it = said.contains(words);
                self.heard.push(said);
                if is_it {
                    return Ok(());
                }
            }
        };
        let heard: Result<()> = match timeout(PATIENCE, listening).await {
            Ok(heard) => heard,
            Err(_) => Err(anyhow!("nobody said {words:?} within {PATIENCE:?}: {:?}", self.heard)),
        };
        heard.map(|()| self.heard[from..].to_vec())
    }

    /// What came and was not heard yet.
    pub fn rest(&mut self) -> Vec<String> {
        let mut rest = Vec::new();
        let mut bytes = [0; DATAGRAM_MAX];
        while let Ok(len) = self.socket.try_recv(&mut bytes) {
            rest.push(String::from_utf8_lossy(&bytes[..len]).into_owned());
        }
        self.heard.extend(rest.clone());
        rest
    }

    async fn next(&self) -> Result<String> {
        let mut bytes = [0; DATAGRAM_MAX];
        let len = self.socket.recv(&mut bytes).await.context("the socket broke")?;
        Ok(String::from_utf8_lossy(&bytes[..len]).into_owned())
    }
}
