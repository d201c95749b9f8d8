//! A bus of three servers: who leads what, and taking one down and up again.

use anyhow::{Context as _, Result};
use rustix::process::Signal;
use serde_json::Value;
use tokio::task::block_in_place;
use tokio::time::{Instant, sleep};

use crate::measure::Happened::{Killed, Started};
use crate::nats::NODES;
use crate::operator::LOOK_EVERY;
use crate::stack::STOP_WITHIN;
use crate::world::{PATIENCE, World};

impl World {
    /// The servers of the cluster.
    pub fn nodes(&self) -> [&'static str; 3] {
        NODES
    }

    /// The server that leads a stream.
    ///
    /// # Errors
    ///
    /// When none does in time.
    pub async fn leader_of(&self, stream: &str) -> Result<String> {
        let info = self.whole(stream, |_| true).await?;
        Ok(info["cluster"]["leader"].as_str().context("no leader")?.to_owned())
    }

    /// Waits until a stream has a leader and all of it is on every server.
    ///
    /// # Errors
    ///
    /// When that does not come.
    pub async fn stream_is_whole(&self, stream: &str) -> Result<()> {
        let current = |info: &Value| {
            let replicas = info["cluster"]["replicas"].as_array();
            let current = |replica: &Value| {
                replica["current"] == Value::Bool(true) && replica["offline"] != Value::Bool(true)
            };
            replicas.is_some_and(|all| all.len() == 2 && all.iter().all(current))
        };
        self.whole(stream, current).await.map(drop)
    }

    async fn whole(&self, stream: &str, holds: impl Fn(&Value) -> bool) -> Result<Value> {
        let end = Instant::now() + PATIENCE;
        loop {
            let asked = self.jetstream(&format!("STREAM.INFO.{stream}"), &Value::Null).await;
            match asked {
                Ok(info) if info["cluster"]["leader"].is_string() && holds(&info) => {
                    return Ok(info);
                }
                Ok(_) | Err(_) if Instant::now() < end => sleep(LOOK_EVERY).await,
                Ok(info) => {
                    let error = anyhow::anyhow!("{stream} is not whole: {}", info["cluster"]);
                    return Err(self.fail(error).await);
                }
                Err(error) => return Err(self.fail(error).await),
            }
        }
    }

    /// Kills a server of the cluster.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub async fn kill_node(&self, name: &str) -> Result<()> {
        self.measure.note(Killed(name.to_owned()));
        let mut stack = self.stack.lock().await;
        let killed = stack.node(name).and_then(|node| block_in_place(|| node.service.kill()));
        self.noting(killed)
    }

    /// Ends a server of the cluster by SIGTERM.
    ///
    /// # Errors
    ///
    /// When it does not end.
    pub async fn stop_node(&self, name: &str) -> Result<()> {
        let mut stack = self.stack.lock().await;
        let node = stack.node(name)?;
        let stopped = block_in_place(|| node.service.stop(STOP_WITHIN));
        self.noting(stopped.map(drop))
    }

    /// Tells a server of the cluster to leave as before an upgrade, in lame duck mode (SIGUSR2): it
    /// gives away what it leads, then sends its clients away one by one, then ends. Waits for that.
    ///
    /// # Errors
    ///
    /// When it does not end.
    pub async fn retire_node(&self, name: &str) -> Result<()> {
        let mut stack = self.stack.lock().await;
        let node = stack.node(name)?;
        let left = node.service.signal(Signal::USR2).and_then(|()| {
            let ended = block_in_place(|| node.service.wait(PATIENCE));
            ended.map(drop).context("it does not end")
        });
        self.noting(left)
    }

    /// Starts a server of the cluster again.
    ///
    /// # Errors
    ///
    /// What kept it from it.
    pub async fn start_node(&self, name: &str) -> Result<()> {
        self.measure.note(Started("a server of the cluster"));
        let started = self.stack.lock().await.start_node(name).await;
        self.noting(started)
    }
}
