//! A run whose generation was raised: what its outcome was stays, or it is done anew.
//!
//! The command of an operator moves what has no outcome (`handed_over.rs`). What a runner does with a
//! Move that comes too late is tried by hand: the work message is put into the queue over a
//! connection of its own, and the gateway knows nothing of it and says nothing.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use harness::{PATIENCE, Question, World};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Where the answer comes.
const INBOX: &str = "_INBOX.story";

/// Sends a message, and gives the answer to it.
async fn ask(nats: SocketAddr, subject: &str, body: &str) -> Result<String> {
    let mut stream = BufReader::new(TcpStream::connect(nats).await?);
    let (hello, bytes) = (r#"{"verbose":false,"headers":true,"no_responders":true}"#, body.len());
    let said = format!(
        "CONNECT {hello}\r\nSUB {INBOX} 1\r\nPUB {subject} {INBOX} {bytes}\r\n{body}\r\nPING\r\n"
    );
    stream.write_all(said.as_bytes()).await?;
    loop {
        let mut line = String::new();
        ensure!(0 < stream.read_line(&mut line).await?, "NATS hung up");
        let mut words = line.split_whitespace();
        let head: usize = match words.next() {
            Some("MSG") => 0,
            Some("HMSG") => words.nth(2).context("no size")?.parse()?,
            _ => continue,
        };
        let all: usize = words.next_back().context("no size")?.parse()?;
        let mut answer = vec![0; all];
        stream.read_exact(&mut answer).await?;
        return Ok(String::from_utf8(answer.split_off(head))?);
    }
}

/// A run as NATS knows it.
struct Run<'w> {
    world: &'w World,
    id: String,
    thread: String,
}

impl<'w> Run<'w> {
    fn of(world: &'w World, question: &Question<'_>) -> Self {
        let message = question.message().to_string();
        Self { world, id: format!("m{message}"), thread: question.thread().to_string() }
    }

    async fn ask(&self, subject: &str, body: &str) -> Result<String> {
        let nats = self.world.nats_address().await;
        timeout(PATIENCE, ask(nats, subject, body)).await.context("NATS does not answer")?
    }

    async fn record(&self) -> Result<Value> {
        let Self { id, thread, .. } = self;
        let subject = format!("$JS.API.DIRECT.GET.KV_RUNS.$KV.RUNS.app.{thread}.{id}");
        serde_json::from_str(&self.ask(&subject, "").await?).context("no record")
    }

    /// Puts the work message of the second generation into the queue.
    async fn publish_again(&self, since: Option<u32>, prompt: &str) -> Result<()> {
        let Self { id, thread, .. } = self;
        let mut request = json!({
            "v": 1, "run": id, "generation": 2, "project": "app",
            "channel": self.world.channel().to_string(), "thread": thread,
            "session": self.record().await?["session"],
            "author": {"id": "1", "name": "Ada"}, "prompt": prompt,
        });
        if let Some(since) = since {
            request["since"] = since.into();
        }
        let stored = self.ask(&format!("work.app.at.host.{id}.2"), &request.to_string()).await?;
        ensure!(stored.contains("\"stream\":\"WORK\""), "{stored}");
        Ok(())
    }

    /// Waits until the second generation has its outcome and the queue is empty.
    async fn ends_again(&self) -> Result<Value> {
        let ends = async {
            loop {
                let record = self.record().await?;
                let work = self.ask("$JS.API.STREAM.INFO.WORK", "").await?;
                let work: Value = serde_json::from_str(&work)?;
                if record["generation"] == 2
                    && record["state"]["is"] == "ended"
                    && work["state"]["messages"] == 0
                {
                    return anyhow::Ok(record);
                }
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, ends).await.context("the second generation does not end")?
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_of_what_is_answered_brings_the_answer_along_and_starts_nothing() -> Result<()> {
    let world = World::start().await?;
    let question = world.say("[[say the answer]]")?;
    assert_eq!(question.answer().await?, "the answer");
    let run = Run::of(&world, &question);
    let before = run.record().await?;
    run.publish_again(Some(1), "[[say another]]").await?;
    let after = run.ends_again().await?;
    assert_eq!(after["state"], before["state"]);
    assert_ne!(after["owner"], before["owner"], "it is a holding of its own");
    assert_eq!(world.ledger().count("begin"), 1, "claude was asked once");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn work_after_a_retry_or_of_an_older_gateway_is_done_anew() -> Result<()> {
    let world = World::start().await?;
    for (begun, since) in [(2, Some(2)), (4, None)] {
        let question = world.say("[[say the answer]]")?;
        assert_eq!(question.answer().await?, "the answer");
        let run = Run::of(&world, &question);
        run.publish_again(since, "[[say another]]").await?;
        let after = run.ends_again().await?;
        assert_eq!(after["state"]["outcome"]["answer"]["inline"], "another");
        assert_eq!(world.ledger().count("begin"), begun);
    }
    Ok(())
}
