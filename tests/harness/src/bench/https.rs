//! As much of HTTP over TLS as one post after another needs: one connection, kept.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The longest answer that is taken.
const ANSWER_MAX: usize = 1024 * 1024;

/// A connection.
#[derive(Debug)]
pub(crate) struct Https {
    stream: BufReader<TlsStream<TcpStream>>,
    host: &'static str,
}

impl Https {
    /// Connects to who answers for `host`, trusting this certificate alone.
    ///
    /// # Errors
    ///
    /// When nobody does.
    pub(crate) async fn connect(
        address: SocketAddr,
        host: &'static str,
        pem: &[u8],
    ) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(pem).context("no certificate")?)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(address).await.context("no connection")?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(host)?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        Ok(Self { stream: BufReader::new(stream), host })
    }

    /// Posts JSON. Returns the status when the whole answer is there.
    ///
    /// # Errors
    ///
    /// When the connection breaks, or the answer has no length.
    pub(crate) async fn post(&mut self, path: &str, token: &str, body: &str) -> Result<u16> {
        let (host, length) = (self.host, body.len());
        let said = format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        self.stream.write_all(said.as_bytes()).await?;
        self.stream.flush().await?;
        let status = self.line().await?;
        let status = status.split(' ').nth(1).and_then(|code| code.parse().ok());
        let mut length = 0;
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().context("a bad length")?;
            }
        }
        ensure!(0 < length && length <= ANSWER_MAX, "an answer of {length} bytes");
        self.stream.read_exact(&mut vec![0; length]).await?;
        status.context("no HTTP status")
    }

    async fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        ensure!(self.stream.read_line(&mut line).await? != 0, "the connection broke");
        Ok(line.trim_end().to_owned())
    }
}
