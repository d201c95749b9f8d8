//! A loopback listener for axum whose connections can be cut at any moment, with or without TLS.
//!
//! Each connection carries a token; cancelling it makes the next read or write fail, so that the
//! peer sees the connection close without an answer. Cancelling the listener's token cuts all.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::hub::Hub;

/// The most TLS handshakes at once; a client that never finishes one must not use up memory.
const HANDSHAKES_MAX: usize = 256;
/// The longest that a TLS handshake may take on loopback, even on a busy machine.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// The pause after the system refused to accept (out of descriptors, mostly).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The token of one connection, as a request's extension.
#[derive(Clone, Debug)]
pub(crate) struct Cut(CancellationToken);

impl Cut {
    /// Cuts the connection of the request that this is called in; never returns, since the
    /// request dies with its connection.
    pub(crate) async fn now(self) -> ! {
        self.0.cancel();
        std::future::pending::<()>().await;
        unreachable!("a pending future never ends")
    }
}

/// Any stream of bytes.
trait Bytes: AsyncRead + AsyncWrite + Send {}
impl<T: AsyncRead + AsyncWrite + Send> Bytes for T {}

/// A connection that ends when it is told to.
pub(crate) struct Connection {
    stream: Pin<Box<dyn Bytes>>,
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Connection {
    fn new(stream: impl AsyncRead + AsyncWrite + Send + 'static, cut: &CancellationToken) -> Self {
        Self { stream: Box::pin(stream), ended: Box::pin(cut.clone().cancelled_owned()) }
    }

    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.ended.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionAborted.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        self.stream.as_mut().poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        self.stream.as_mut().poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        self.stream.as_mut().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        self.stream.as_mut().poll_shutdown(context)
    }
}

/// A listener on loopback.
pub(crate) struct Doors {
    tcp: TcpListener,
    tls: Option<TlsAcceptor>,
    stop: CancellationToken,
    gate: Option<Arc<Hub>>,
    handshakes: JoinSet<Option<(Connection, Cut)>>,
}

impl Doors {
    /// A listener without TLS.
    pub(crate) fn plain(tcp: TcpListener, stop: CancellationToken) -> Self {
        Self { tcp, tls: None, stop, gate: None, handshakes: JoinSet::new() }
    }

    /// A listener with TLS, which closes what comes while the hub says that REST refuses.
    pub(crate) fn tls(
        tcp: TcpListener,
        tls: TlsAcceptor,
        gate: Arc<Hub>,
        stop: CancellationToken,
    ) -> Self {
        Self { tcp, tls: Some(tls), stop, gate: Some(gate), handshakes: JoinSet::new() }
    }

    fn is_open(&self) -> bool {
        self.gate.as_ref().is_none_or(|hub| !hub.refusing.load(Ordering::SeqCst))
    }

    fn welcome(&mut self, stream: TcpStream) {
        if !self.is_open() || self.handshakes.len() >= HANDSHAKES_MAX {
            return;
        }
        let token = self.stop.child_token();
        let tls = self.tls.clone();
        // A reply in two small writes must not wait for the peer's delayed ack; without this it
        // is only slower.
        let _ = stream.set_nodelay(true);
        self.handshakes.spawn(async move {
            let connection = match tls {
                None => Connection::new(stream, &token),
                Some(tls) => {
                    let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream));
                    Connection::new(handshake.await.ok()?.ok()?, &token)
                }
            };
            Some((connection, Cut(token)))
        });
    }
}

impl Listener for Doors {
    type Io = Connection;
    type Addr = Cut;

    async fn accept(&mut self) -> (Connection, Cut) {
        loop {
            tokio::select! {
                accepted = self.tcp.accept() => match accepted {
                    Ok((stream, _)) => self.welcome(stream),
                    Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
                },
                Some(done) = self.handshakes.join_next() => {
                    if let Ok(Some(ready)) = done {
                        return ready;
                    }
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Cut> {
        Ok(Cut(self.stop.child_token()))
    }
}

impl Connected<IncomingStream<'_, Doors>> for Cut {
    fn connect_info(stream: IncomingStream<'_, Doors>) -> Self {
        stream.remote_addr().clone()
    }
}
