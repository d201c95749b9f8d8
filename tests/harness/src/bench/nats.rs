//! As much of NATS as the bench needs: publishing, asking, fetching, over one plain connection.
//!
//! It is the bare protocol, without a client library, so that what it takes is the server's time.
//! One thing is asked at a time. Whoever waits sets a deadline.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a server on the same machine may take for anything but a fetch.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// The longest message that is taken.
const MESSAGE_MAX: usize = 1024 * 1024;
/// The number of the subscription on which answers come; others count on from it.
const ANSWERS: u32 = 1;

/// A connection.
#[derive(Debug)]
pub(crate) struct Nats {
    stream: BufReader<TcpStream>,
    inbox: String,
    subscriptions: u32,
}

/// A message that came.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// What it is about.
    pub(crate) subject: String,
    /// Where an answer or an ack goes.
    pub(crate) reply: String,
    /// The status in its headers (`408`), if it has one.
    pub(crate) status: String,
    /// The rest.
    pub(crate) body: Vec<u8>,
}

impl Nats {
    /// Connects; the server has heard of it when this returns.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    pub(crate) async fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await.context("no connection to nats-server")?;
        stream.set_nodelay(true).context("a socket without options")?;
        let inbox = format!("_INBOX.bench.{}", stream.local_addr()?.port());
        let mut nats = Self { stream: BufReader::new(stream), inbox, subscriptions: ANSWERS };
        let hello =
            r#"{"verbose":false,"name":"holdfast-bench","headers":true,"no_responders":true}"#;
        let inbox = nats.inbox.clone();
        nats.write(&format!("CONNECT {hello}\r\nSUB {inbox} {ANSWERS}\r\n")).await?;
        nats.flush().await?;
        Ok(nats)
    }

    /// Hears what is published on a subject from now on.
    ///
    /// # Errors
    ///
    /// When the server does not answer.
    pub(crate) async fn subscribe(&mut self, subject: &str) -> Result<()> {
        self.subscriptions += 1;
        self.write(&format!("SUB {subject} {}\r\n", self.subscriptions)).await?;
        self.flush().await
    }

    /// Publishes, and waits for nothing.
    ///
    /// # Errors
    ///
    /// When the connection is gone.
    pub(crate) async fn publish(&mut self, subject: &str, body: &str) -> Result<()> {
        self.write(&format!("PUB {subject} {}\r\n{body}\r\n", body.len())).await
    }

    /// Publishes into a stream and waits until it is stored. `over`: the revision of the subject that
    /// it is to replace. Returns its own.
    ///
    /// # Errors
    ///
    /// When it is not stored.
    pub(crate) async fn store(
        &mut self,
        subject: &str,
        body: &str,
        over: Option<u64>,
    ) -> Result<u64> {
        let headers = over.map_or(String::new(), |over| {
            format!("NATS/1.0\r\nNats-Expected-Last-Subject-Sequence: {over}\r\n\r\n")
        });
        let (head, whole) = (headers.len(), headers.len() + body.len());
        let inbox = &self.inbox;
        let said = if headers.is_empty() {
            format!("PUB {subject} {inbox} {whole}\r\n{body}\r\n")
        } else {
            format!("HPUB {subject} {inbox} {head} {whole}\r\n{headers}{body}\r\n")
        };
        self.write(&said).await?;
        let answer = self.answer(ANSWER_WITHIN).await?;
        let ack: Value = serde_json::from_slice(&answer.body)
            .with_context(|| format!("{subject}: {}", answer.status))?;
        ack["seq"].as_u64().with_context(|| format!("{subject}: {}", ack["error"]))
    }

    /// Asks, and gives the answer.
    ///
    /// # Errors
    ///
    /// When none comes.
    pub(crate) async fn ask(&mut self, subject: &str, body: &str) -> Result<Message> {
        let inbox = &self.inbox;
        self.write(&format!("PUB {subject} {inbox} {}\r\n{body}\r\n", body.len())).await?;
        self.answer(ANSWER_WITHIN).await
    }

    /// Fetches one message of a consumer; `None`: there was none within `wait`.
    ///
    /// # Errors
    ///
    /// When the consumer does not answer.
    pub(crate) async fn fetch(
        &mut self,
        stream: &str,
        consumer: &str,
        wait: Duration,
    ) -> Result<Option<Message>> {
        let body = format!(r#"{{"batch":1,"expires":{}}}"#, wait.as_nanos());
        let inbox = &self.inbox;
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}");
        self.write(&format!("PUB {subject} {inbox} {}\r\n{body}\r\n", body.len())).await?;
        let message = self.answer(wait + ANSWER_WITHIN).await?;
        match message.status.as_str() {
            "" => Ok(Some(message)),
            "404" | "408" => Ok(None),
            other => bail!("{subject}: {other}"),
        }
    }

    async fn answer(&mut self, within: Duration) -> Result<Message> {
        timeout(within, self.next()).await.context("nats-server does not answer")?
    }

    /// The next message of any subscription.
    ///
    /// # Errors
    ///
    /// When the connection is gone, or the server complains.
    pub(crate) async fn next(&mut self) -> Result<Message> {
        loop {
            let line = self.line().await?;
            if let Some(words) = line.strip_prefix("MSG ") {
                return self.message(words, false).await;
            } else if let Some(words) = line.strip_prefix("HMSG ") {
                return self.message(words, true).await;
            }
        }
    }

    /// `SUBJECT SID [REPLY] [HEADERS] SIZE`, and what follows that line.
    async fn message(&mut self, words: &str, with_headers: bool) -> Result<Message> {
        let words: Vec<&str> = words.split(' ').collect();
        let number = |back: usize| -> Result<usize> {
            let word = words.len().checked_sub(back).and_then(|at| words.get(at));
            word.and_then(|word| word.parse().ok()).context("nats-server says no size")
        };
        let size = number(1)?;
        let head = if with_headers { number(2)? } else { 0 };
        ensure!(head <= size && size <= MESSAGE_MAX, "a message of {size} bytes");
        let replies = words.len() == 4 + usize::from(with_headers);
        let mut body = vec![0; size + 2];
        self.stream.read_exact(&mut body).await?;
        body.truncate(size);
        let headers = String::from_utf8_lossy(&body[..head]).into_owned();
        let status = headers.strip_prefix("NATS/1.0").and_then(|rest| rest.lines().next());
        Ok(Message {
            subject: words.first().copied().unwrap_or_default().to_owned(),
            reply: if replies { words[2].to_owned() } else { String::new() },
            status: status.unwrap_or_default().trim().chars().take(3).collect(),
            body: body.split_off(head),
        })
    }

    /// Waits until the server has read all that was written.
    async fn flush(&mut self) -> Result<()> {
        self.write("PING\r\n").await?;
        let pong = async {
            while self.line().await? != "PONG" {}
            Ok(())
        };
        timeout(ANSWER_WITHIN, pong).await.context("nats-server does not answer")?
    }

    /// The next line that is for us.
    async fn line(&mut self) -> Result<String> {
        loop {
            let mut line = String::new();
            ensure!(self.stream.read_line(&mut line).await? != 0, "nats-server hung up");
            let line = line.trim_end();
            if line == "PING" {
                self.write("PONG\r\n").await?;
            } else if line.starts_with("-ERR") {
                bail!("nats-server says {line}");
            } else {
                return Ok(line.to_owned());
            }
        }
    }

    async fn write(&mut self, said: &str) -> Result<()> {
        self.stream.write_all(said.as_bytes()).await.context("nats-server hung up")
    }
}
