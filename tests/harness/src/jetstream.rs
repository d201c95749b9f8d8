//! As much of NATS as a story needs to look into the streams and to spoil them: one request of
//! JetStream's API over a connection of its own.
//!
//! It decides nothing and never takes work.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::io::BufReader;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _,
};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::secured::Door;

/// How long a server on the same machine may take.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// The longest answer that is read: an info is a few kilobytes.
const ANSWER_MAX: usize = 1024 * 1024;

/// Asks, and gives the answer, which is none with an `error`.
///
/// # Errors
///
/// When nobody answers, or the answer is an error.
pub async fn ask(door: &Door, subject: &str) -> Result<Value> {
    ask_with(door, subject, "").await
}

/// Asks with these words.
///
/// # Errors
///
/// As for [`ask`].
pub async fn ask_with(door: &Door, subject: &str, words: &str) -> Result<Value> {
    let asking = timeout(ANSWER_WITHIN, request(door, subject, words)).await;
    let answer = asking.with_context(|| format!("no answer to {subject}"))??;
    ensure!(answer["error"].is_null(), "{subject}: {}", answer["error"]);
    Ok(answer)
}

/// What a connection runs over.
trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// A connection to nats-server, in its own words.
pub(crate) struct Line {
    wire: Option<BufReader<Box<dyn Wire>>>,
    port: u16,
    user: String,
}

impl Line {
    /// Goes in.
    pub(crate) async fn open(door: &Door) -> Result<Self> {
        let stream =
            TcpStream::connect(door.address).await.context("no connection to nats-server")?;
        let port = stream.local_addr()?.port();
        let mut line =
            Self { wire: Some(BufReader::new(Box::new(stream))), port, user: "_".into() };
        let greeting = line.hear().await?;
        let info: Value = serde_json::from_str(greeting.trim_start_matches("INFO "))
            .with_context(|| format!("nats-server greets with {greeting}"))?;
        let mut login = String::new();
        if let Some((keys, user)) = &door.keys {
            let nonce = info["nonce"].as_str().context("nats-server wants no key")?;
            login = keys.open(&mut line, nonce, user).await?;
            line.user.clone_from(user);
        }
        if let Some(accounts) = &door.accounts {
            login = accounts.login(info["nonce"].as_str().context("nats-server wants nobody")?)?;
        }
        // With headers, a server that knows no such stream says so at once.
        let hello = r#""verbose":false,"name":"harness","headers":true,"no_responders":true"#;
        line.say(&format!("CONNECT {{{hello}{login}}}\r\n")).await?;
        Ok(line)
    }

    /// Goes on over TLS.
    pub(crate) async fn upgrade(
        &mut self,
        connector: TlsConnector,
        name: ServerName<'static>,
    ) -> Result<()> {
        let plain = self.wire.take().context("no connection")?.into_inner();
        let stream = connector.connect(name, plain).await.context("no TLS")?;
        self.wire = Some(BufReader::new(Box::new(stream)));
        Ok(())
    }

    fn wire(&mut self) -> Result<&mut BufReader<Box<dyn Wire>>> {
        self.wire.as_mut().context("no connection")
    }

    pub(crate) async fn say(&mut self, words: &str) -> Result<()> {
        let wire = self.wire()?;
        wire.write_all(words.as_bytes()).await?;
        Ok(wire.flush().await?)
    }

    /// The next line; empty when the server hung up. Answers its pings.
    pub(crate) async fn hear(&mut self) -> Result<String> {
        loop {
            let mut line = String::new();
            self.wire()?.read_line(&mut line).await?;
            let line = line.trim_end().to_owned();
            if !line.starts_with("PING") {
                return Ok(line);
            }
            self.say("PONG\r\n").await?;
        }
    }
}

async fn request(door: &Door, subject: &str, words: &str) -> Result<Value> {
    let mut line = Line::open(door).await?;
    let inbox = format!("_INBOX_{}.harness.{}", line.user, line.port);
    let length = words.len();
    let said = format!("SUB {inbox} 1\r\nPUB {subject} {inbox} {length}\r\n{words}\r\n");
    line.say(&said).await?;
    loop {
        let heard = line.hear().await?;
        ensure!(!heard.is_empty(), "nats-server hung up");
        if heard.starts_with("MSG ") {
            let size = heard.rsplit(' ').next().and_then(|size| size.parse().ok());
            let size: usize = size.with_context(|| format!("nats-server says {heard}"))?;
            ensure!(size <= ANSWER_MAX, "an answer of {size} bytes");
            let mut body = vec![0; size];
            line.wire()?.read_exact(&mut body).await?;
            return serde_json::from_slice(&body).context("the answer is no JSON");
        } else if heard.starts_with("HMSG ") {
            bail!("nobody answers to {subject}");
        } else if heard.starts_with("-ERR") {
            bail!("nats-server says {heard}");
        }
    }
}
