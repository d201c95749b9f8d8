//! A TCP proxy on loopback, before a server: a network that can be cut, go silent or be slow for one
//! of its clients.
//!
//! What was taken is handed on in order and unchanged. Silent means that nothing comes through and
//! nobody is told: connections stay open, new ones are taken and lead nowhere, as behind a switch
//! that lost its power. Open again, what is new comes through; the connections of before are closed,
//! as by a peer that remembers nothing of them.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How much is handed on at once.
const PIECE: usize = 16 * 1024;
/// How late everything comes over a slow way: as from the other side of the earth.
const LATE: Duration = Duration::from_millis(250);

/// What the way through a proxy is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// As it should be.
    Open,
    /// Connections are closed, and none is taken.
    Closed,
    /// Nothing gets through, and nobody is told.
    Silent,
    /// All comes late.
    Slow,
}

/// A proxy. Dropping it ends it, and all that goes through it.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    way: watch::Sender<Way>,
    /// Taking connections, until this is dropped.
    _tasks: JoinSet<()>,
}

impl Proxy {
    /// An open way to `server`.
    ///
    /// # Errors
    ///
    /// When there is no port to listen on.
    pub async fn before(server: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.context("no port for a proxy")?;
        let address = listener.local_addr().context("a proxy without an address")?;
        let (way, _) = watch::channel(Way::Open);
        let mut tasks = JoinSet::new();
        tasks.spawn(take(listener, server, way.clone()));
        Ok(Self { address, way, _tasks: tasks })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes what its way is like.
    pub fn make(&self, way: Way) {
        self.way.send_replace(way);
    }
}

async fn take(listener: TcpListener, server: SocketAddr, way: watch::Sender<Way>) {
    let mut connections = JoinSet::new();
    loop {
        // What has ended is of no interest.
        while connections.try_join_next().is_some() {}
        let Ok((client, _)) = listener.accept().await else { continue };
        if *way.borrow() != Way::Closed {
            connections.spawn(carry(client, server, way.subscribe()));
        }
    }
}

/// Carries one connection to its end, or until the way is closed or silent; a silent one is held
/// until it is over.
async fn carry(client: TcpStream, server: SocketAddr, mut way: watch::Receiver<Way>) {
    let (client_read, client_write) = client.into_split();
    let slow = way.clone();
    let through = async {
        let Ok(server) = TcpStream::connect(server).await else { return };
        let (server_read, server_write) = server.into_split();
        // However it ends, both sides hear of it.
        tokio::select! {
            () = pump(client_read, server_write, slow.clone()) => {}
            () = pump(server_read, client_write, slow) => {}
        }
    };
    tokio::pin!(through);
    tokio::select! {
        biased;
        // The sender lives as long as this task.
        _ = way.wait_for(|way| matches!(way, Way::Closed | Way::Silent)) => {}
        () = &mut through => return,
    }
    // Neither carried on nor dropped: nobody is told until it is over.
    let _ = way.wait_for(|way| *way != Way::Silent).await;
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    way: watch::Receiver<Way>,
) {
    let mut piece = vec![0; PIECE];
    loop {
        let Ok(length @ 1..) = from.read(&mut piece).await else { return };
        if *way.borrow() == Way::Slow {
            tokio::time::sleep(LATE).await;
        }
        if to.write_all(&piece[..length]).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::timeout;

    const A_MOMENT: Duration = Duration::from_millis(50);

    struct Pair {
        proxy: Proxy,
        server: TcpListener,
    }

    impl Pair {
        async fn new() -> Self {
            let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let proxy = Proxy::before(server.local_addr().unwrap()).await.unwrap();
            Self { proxy, server }
        }

        async fn connect(&self) -> (TcpStream, TcpStream) {
            let client = TcpStream::connect(self.proxy.address()).await.unwrap();
            (client, self.server.accept().await.unwrap().0)
        }
    }

    async fn goes_through(from: &mut TcpStream, to: &mut TcpStream) {
        from.write_all(b"a").await.unwrap();
        assert_eq!(to.read_u8().await.unwrap(), b'a');
    }

    #[tokio::test]
    async fn what_is_silent_tells_nobody_and_what_is_open_again_goes_through_anew() {
        let pair = Pair::new().await;
        let (mut client, mut accepted) = pair.connect().await;
        goes_through(&mut accepted, &mut client).await;
        pair.proxy.make(Way::Silent);
        let mut later = TcpStream::connect(pair.proxy.address()).await.unwrap();
        let nothing = timeout(A_MOMENT, later.read_u8()).await;
        assert!(nothing.is_err(), "it is neither refused nor closed");
        let nothing = timeout(A_MOMENT, client.read_u8()).await;
        assert!(nothing.is_err(), "{nothing:?}");
        pair.proxy.make(Way::Open);
        assert!(client.read_u8().await.is_err(), "it is closed");
        let (mut client, mut accepted) = pair.connect().await;
        goes_through(&mut client, &mut accepted).await;
    }

    #[tokio::test]
    async fn what_is_closed_is_told_and_takes_nothing() {
        let pair = Pair::new().await;
        let (mut client, mut accepted) = pair.connect().await;
        pair.proxy.make(Way::Closed);
        assert!(client.read_u8().await.is_err());
        assert!(accepted.read_u8().await.is_err());
        let mut later = TcpStream::connect(pair.proxy.address()).await.unwrap();
        assert!(later.read_u8().await.is_err());
    }

    #[tokio::test]
    async fn what_is_slow_arrives() {
        let pair = Pair::new().await;
        let (mut client, mut accepted) = pair.connect().await;
        pair.proxy.make(Way::Slow);
        goes_through(&mut client, &mut accepted).await;
        goes_through(&mut accepted, &mut client).await;
    }
}
