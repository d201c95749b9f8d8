//! As much of NATS as a story needs to look into the streams and to spoil them: one request of
//! JetStream's API over a connection of its own.
//!
//! It decides nothing and never takes work.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a server on the same machine may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// The longest answer that is read: an info is a few kilobytes.
const ANSWER_MAX: usize = 1024 * 1024;

/// Asks, and gives the answer, which is none with an `error`.
///
/// # Errors
///
/// When nobody answers, or the answer is an error.
pub async fn ask(address: SocketAddr, subject: &str) -> Result<Value> {
    ask_with(address, subject, "").await
}

/// Asks with these words.
///
/// # Errors
///
/// As for [`ask`].
pub async fn ask_with(address: SocketAddr, subject: &str, words: &str) -> Result<Value> {
    let asking = timeout(ANSWER_WITHIN, request(address, subject, words)).await;
    let answer = asking.with_context(|| format!("no answer to {subject}"))??;
    ensure!(answer["error"].is_null(), "{subject}: {}", answer["error"]);
    Ok(answer)
}

async fn request(address: SocketAddr, subject: &str, words: &str) -> Result<Value> {
    let stream = TcpStream::connect(address).await.context("no connection to nats-server")?;
    let mut stream = BufReader::new(stream);
    // With headers, a server that knows no such stream says so at once.
    let hello = r#"{"verbose":false,"name":"harness","headers":true,"no_responders":true}"#;
    let inbox = format!("_INBOX.harness.{}", stream.get_ref().local_addr()?.port());
    let length = words.len();
    let said = format!(
        "CONNECT {hello}\r\nSUB {inbox} 1\r\nPUB {subject} {inbox} {length}\r\n{words}\r\n"
    );
    stream.write_all(said.as_bytes()).await?;
    loop {
        let mut line = String::new();
        ensure!(stream.read_line(&mut line).await? != 0, "nats-server hung up");
        let line = line.trim_end();
        if line.starts_with("PING") {
            stream.write_all(b"PONG\r\n").await?;
        } else if line.starts_with("MSG ") {
            let size = line.rsplit(' ').next().and_then(|size| size.parse().ok());
            let size: usize = size.with_context(|| format!("nats-server says {line}"))?;
            ensure!(size <= ANSWER_MAX, "an answer of {size} bytes");
            let mut body = vec![0; size];
            stream.read_exact(&mut body).await?;
            return serde_json::from_slice(&body).context("the answer is no JSON");
        } else if line.starts_with("HMSG ") {
            bail!("nobody answers to {subject}");
        } else if line.starts_with("-ERR") {
            bail!("nats-server says {line}");
        }
    }
}
