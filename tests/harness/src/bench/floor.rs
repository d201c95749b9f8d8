//! The floor: what one durable step costs on this machine, in the servers that are measured.
//!
//! Each step is done alone, over and over, while the services idle. Nothing here is part of the
//! product but the program that commits and the one that is executed.
//!
//! | step | what is timed |
//! |---|---|
//! | commit | one transaction of one row, by the gateway's own code, in its file, with its settings |
//! | publish | a message into WORK, until it is acknowledged |
//! | fetch | a request for a message that waits in WORK, until it is here |
//! | delivery | a message through the server, from one connection to another; nothing is stored |
//! | POST | a message posted over TLS, on a connection that is there, until it is answered |
//! | file | a new file of 1 KiB, until it is on disk |
//! | tmux | `tmux new-session -d`, with no tmux server there, until the program in it runs |
//! | exec | the keeper's program, from the order to start it until it has ended of itself |

use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::{built, processes};
use std::os::unix::process::CommandExt as _;

use crate::https::Https;
use crate::nats::Nats;
use crate::place::Place;
use crate::samples::{Samples, now_ns};

/// What is stored and posted: as long as a short request.
const BODY_BYTES: usize = 400;
/// The size of the file.
const FILE_BYTES: usize = 1024;
/// How long a program in tmux may take to run.
const TMUX_WITHIN: Duration = Duration::from_secs(30);
/// The work that is published here: no runner takes it.
const CONSUMER: &str = "bench-floor";
const SUBJECT: &str = "work.bench.any";

/// The steps.
#[derive(Clone, Debug, Default)]
pub(crate) struct Floor {
    pub(crate) commit: Samples,
    pub(crate) publish: Samples,
    pub(crate) fetch: Samples,
    pub(crate) delivery: Samples,
    pub(crate) post: Samples,
    pub(crate) file: Samples,
    pub(crate) tmux: Samples,
    pub(crate) exec: Samples,
}

impl Floor {
    /// Adds the samples of another time.
    pub(crate) fn add(&mut self, more: Self) {
        self.commit.add(more.commit);
        self.publish.add(more.publish);
        self.fetch.add(more.fetch);
        self.delivery.add(more.delivery);
        self.post.add(more.post);
        self.file.add(more.file);
        self.tmux.add(more.tmux);
        self.exec.add(more.exec);
    }

    /// What must at least happen between a message and claude: a commit, two publishes, a fetch, a
    /// file, a program in tmux, the keeper. Of the medians.
    pub(crate) fn to_exec(&self) -> f64 {
        let Self { commit, publish, fetch, file, tmux, exec, .. } = self;
        [commit, publish, publish, fetch, file, tmux, exec].map(Samples::median).iter().sum()
    }

    /// What must at least happen between claude's result and the answer in Discord.
    pub(crate) fn to_post(&self) -> f64 {
        let Self { publish, delivery, commit, post, .. } = self;
        [publish, delivery, commit, post].map(Samples::median).iter().sum()
    }
}

/// Measures each step so often.
///
/// # Errors
///
/// When a step fails.
pub(crate) async fn measure(place: &mut Place, count: usize) -> Result<Floor> {
    let mut floor = Floor::default();
    commits(place, count, &mut floor.commit)?;
    let address = place.stack.nats_address();
    stream(address, count, &mut floor).await?;
    delivery(address, count, &mut floor.delivery).await?;
    post(place, count, &mut floor.post).await?;
    let dir = place.folder.root().join("floor");
    std::fs::create_dir_all(&dir)?;
    for number in 0..count {
        tokio::task::block_in_place(|| {
            file(&dir.join(number.to_string()), &mut floor.file)?;
            exec(&mut floor.exec)
        })?;
    }
    for number in 0..count {
        tmux(place, number, &mut floor.tmux)?;
    }
    Ok(floor)
}

/// The gateway's own program times its commits: it alone knows its store.
fn commits(place: &mut Place, count: usize, samples: &mut Samples) -> Result<()> {
    let mut plan = place.gateway_plan();
    plan.args.pop();
    plan.args.extend(["time-commits".into(), count.to_string().into()]);
    let mut command = plan.command()?;
    command.stdout(Stdio::piped()).stderr(Stdio::inherit());
    let output = tokio::task::block_in_place(|| command.output())?;
    ensure!(output.status.success(), "time-commits ended with {}", output.status);
    for line in String::from_utf8(output.stdout)?.lines() {
        samples.between(0, line.parse().context("time-commits prints nanoseconds")?);
    }
    ensure!(samples.count() == count, "time-commits printed too little");
    Ok(())
}

async fn stream(address: SocketAddr, count: usize, floor: &mut Floor) -> Result<()> {
    let mut nats = Nats::connect(address).await?;
    let config = format!(
        r#"{{"stream_name":"WORK","config":{{"durable_name":"{CONSUMER}","ack_policy":"explicit","filter_subject":"{SUBJECT}.>"}}}}"#
    );
    let made =
        nats.ask(&format!("$JS.API.CONSUMER.DURABLE.CREATE.WORK.{CONSUMER}"), &config).await?;
    let made: serde_json::Value = serde_json::from_slice(&made.body)?;
    ensure!(made["error"].is_null(), "no consumer: {}", made["error"]);
    let body = "x".repeat(BODY_BYTES);
    for number in 0..count {
        let from = now_ns();
        nats.store(&format!("{SUBJECT}.b{number}.1"), &body, None).await?;
        floor.publish.since(from);
        let from = now_ns();
        let message = nats.fetch("WORK", CONSUMER, TMUX_WITHIN).await?;
        floor.fetch.since(from);
        let message = message.context("what was published is not there")?;
        nats.ask(&message.reply, "+ACK").await?;
    }
    nats.ask(&format!("$JS.API.CONSUMER.DELETE.WORK.{CONSUMER}"), "").await?;
    Ok(())
}

async fn delivery(address: SocketAddr, count: usize, samples: &mut Samples) -> Result<()> {
    let mut ear = Nats::connect(address).await?;
    let mut mouth = Nats::connect(address).await?;
    ear.subscribe("bench.delivery").await?;
    let body = "x".repeat(BODY_BYTES);
    for _ in 0..count {
        let from = now_ns();
        mouth.publish("bench.delivery", &body).await?;
        ear.next().await?;
        samples.since(from);
    }
    Ok(())
}

async fn post(place: &Place, count: usize, samples: &mut Samples) -> Result<()> {
    // A channel that the gateway does not know.
    let channel = place.discord().channel("floor");
    let token = place.discord().token().to_owned();
    let pem = std::fs::read(place.folder.ca_file())?;
    let mut https = Https::connect(place.rest(), "discord.com", &pem).await?;
    let path = format!("/api/v10/channels/{channel}/messages");
    let body = serde_json::json!({ "content": "x".repeat(BODY_BYTES) }).to_string();
    for _ in 0..count {
        let from = now_ns();
        let status = https.post(&path, &format!("Bot {token}"), &body).await?;
        samples.since(from);
        ensure!(status == 200, "the simulated Discord says {status}");
    }
    Ok(())
}

fn file(path: &Path, samples: &mut Samples) -> Result<()> {
    let from = now_ns();
    let mut file = File::create_new(path)?;
    file.write_all(&[b'x'; FILE_BYTES])?;
    file.sync_all()?;
    samples.since(from);
    std::fs::remove_file(path)?;
    Ok(())
}

/// A guard without a spool ends at once.
fn exec(samples: &mut Samples) -> Result<()> {
    let program = built("runner-svc")?;
    let mut command = Command::new(program);
    command.arg0("holdfast-guard").args(["keep", "/nonexistent/spool"]).env_clear();
    let from = now_ns();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    samples.since(from);
    Ok(())
}

/// claude-sim runs in the session: it notes when its `main` began. Each server has a socket of its own:
/// one that is just going would be in the way.
fn tmux(place: &mut Place, number: usize, samples: &mut Samples) -> Result<()> {
    let program = built("claude-sim")?;
    let socket = format!("floor-{number}");
    place.noted()?;
    let home = place.folder.root().join("floor");
    let mut command = Command::new("tmux");
    command.env_clear().envs(std::env::vars_os().filter(|(name, _)| name == "PATH"));
    command.env("HOME", &home).env("TMUX_TMPDIR", place.folder.tmux());
    command.env("CLAUDE_SIM_LEDGER", place.folder.ledger()).stdin(Stdio::null());
    command.args(["-L", &socket, "-f", "/dev/null", "new-session", "-d", "--"]).arg(program);
    command.args(["-p", "--input-format", "stream-json", "--output-format", "stream-json"]);
    command.arg("--verbose");
    let from = now_ns();
    let status = command.status().context("tmux does not start")?;
    ensure!(status.success(), "tmux ended with {status}");
    let mut begun = None;
    tokio::task::block_in_place(|| {
        processes::wait_until(TMUX_WITHIN, || {
            let noted = place.noted().unwrap_or_default();
            begun = noted.iter().find(|it| it.event == "begin").cloned();
            begun.is_some()
        })
    });
    let begun = begun.and_then(|noted| noted.fields.get("started_ns")?.as_i64());
    samples.between(from, begun.context("nothing ran in tmux")?);
    let mut end = Command::new("tmux");
    end.env("TMUX_TMPDIR", place.folder.tmux()).args(["-L", &socket, "kill-server"]);
    // It may have ended by itself.
    let _ = end.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    Ok(())
}
