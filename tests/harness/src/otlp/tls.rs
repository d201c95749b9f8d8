//! A collector's certificate, with an authority of its own, and connections that are made with it.
//!
//! Nobody is asked for a certificate. The key lies in a folder that goes with the collector.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::serve::Listener;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::secured::{Certificate, Secured};

/// The longest that a handshake may take on loopback: the next one waits for it.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);
/// The pause after the system refused to accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A certificate for loopback.
#[derive(Debug)]
pub(super) struct Tls {
    files: Secured,
    _folder: TempDir,
}

impl Tls {
    /// A new authority, and what it signs.
    pub(super) fn make() -> Result<Self> {
        let folder = tempfile::tempdir().context("no folder for a certificate")?;
        let files = Secured::new(folder.path());
        files.certify(Certificate::Good)?;
        Ok(Self { files, _folder: folder })
    }

    /// The file of the authority.
    pub(super) fn authority(&self) -> PathBuf {
        self.files.ca()
    }

    /// Speaks TLS to whoever comes there.
    pub(super) fn listener(&self, tcp: TcpListener) -> Result<TlsListener> {
        let (chain, key) =
            (fs::read(self.files.server_cert())?, fs::read(self.files.server_key())?);
        let chain = CertificateDer::pem_slice_iter(&chain).collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(&key)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        Ok(TlsListener { tcp, tls: TlsAcceptor::from(Arc::new(config)) })
    }
}

/// Where connections with TLS come, one handshake after another.
pub(super) struct TlsListener {
    tcp: TcpListener,
    tls: TlsAcceptor,
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let Ok((stream, address)) = self.tcp.accept().await else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let handshake = tokio::time::timeout(HANDSHAKE_MAX, self.tls.accept(stream));
            // Whoever does not trust us hangs up.
            if let Ok(Ok(stream)) = handshake.await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}
