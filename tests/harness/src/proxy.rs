//! A TCP proxy on loopback, before a server: a network that can be cut for one of its clients.
//!
//! Cut means that nothing comes through and nobody is told: connections stay open, new ones are taken
//! and lead nowhere, as behind a switch that lost its power. Mended, what is new comes through again;
//! the connections of before are closed, as by a peer that remembers nothing of them.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context as _, Result};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// A proxy. Dropping it ends it, and all that goes through it.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    is_cut: watch::Sender<bool>,
    /// Taking connections, until this is dropped.
    _tasks: JoinSet<()>,
}

impl Proxy {
    /// A proxy before `server`, not cut.
    ///
    /// # Errors
    ///
    /// When there is no port to listen on.
    pub async fn before(server: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.context("no port for a proxy")?;
        let address = listener.local_addr().context("a proxy without an address")?;
        let (is_cut, cut) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(take(listener, server, cut));
        Ok(Self { address, is_cut, _tasks: tasks })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets nothing through any more.
    pub fn cut(&self) {
        self.is_cut.send_replace(true);
    }

    /// Lets new connections through.
    pub fn mend(&self) {
        self.is_cut.send_replace(false);
    }
}

async fn take(listener: TcpListener, server: SocketAddr, cut: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        // What has ended is of no interest.
        while connections.try_join_next().is_some() {}
        if let Ok((client, _)) = listener.accept().await {
            connections.spawn(carry(client, server, cut.clone()));
        }
    }
}

/// Carries one connection to its end, or until the network is cut; then holds it until it is mended.
async fn carry(mut client: TcpStream, server: SocketAddr, mut cut: watch::Receiver<bool>) {
    let through = async {
        if let Ok(mut server) = TcpStream::connect(server).await {
            // However it ends, both sides hear of it.
            let _ = copy_bidirectional(&mut client, &mut server).await;
        }
    };
    tokio::select! {
        biased;
        // The sender lives as long as this task.
        _ = cut.wait_for(|is_cut| *is_cut) => {}
        () = through => return,
    }
    let _ = cut.wait_for(|is_cut| !*is_cut).await;
    drop(client);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::timeout;

    #[tokio::test]
    async fn what_is_cut_is_silent_and_what_is_mended_goes_through_anew() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy::before(server.local_addr().unwrap()).await.unwrap();
        let mut client = TcpStream::connect(proxy.address()).await.unwrap();
        let (mut accepted, _) = server.accept().await.unwrap();
        accepted.write_all(b"a").await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), b'a');
        proxy.cut();
        let mut later = TcpStream::connect(proxy.address()).await.unwrap();
        let nothing = timeout(Duration::from_millis(50), later.read_u8()).await;
        assert!(nothing.is_err(), "it is neither refused nor closed");
        let nothing = timeout(Duration::from_millis(50), client.read_u8()).await;
        assert!(nothing.is_err(), "{nothing:?}");
        proxy.mend();
        assert!(client.read_u8().await.is_err(), "it is closed");
        let mut anew = TcpStream::connect(proxy.address()).await.unwrap();
        let (mut accepted, _) = server.accept().await.unwrap();
        anew.write_all(b"b").await.unwrap();
        assert_eq!(accepted.read_u8().await.unwrap(), b'b');
    }
}
