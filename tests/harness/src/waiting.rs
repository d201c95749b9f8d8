//! Waiting in a story: for Discord, for claude, for quiet. Each wait has a deadline, and what does not
//! come is told with all that was said and the end of every log.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use discord_sim::View;
use tokio::time::{Instant, sleep, timeout};

use crate::builder::Claude;
use crate::http;
use crate::ledger::Ledger;
use crate::processes;
use crate::world::{PATIENCE, World};

/// How often that is looked at which nothing tells of: files, processes.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(20);

impl World {
    /// Waits for something in Discord.
    ///
    /// # Errors
    ///
    /// When it does not come: with the guild as text and the end of every log.
    pub async fn sees<T>(&self, what: &str, find: impl FnMut(&View<'_>) -> Option<T>) -> Result<T> {
        match self.discord().wait_for(what, PATIENCE, find).await {
            Ok(found) => Ok(found),
            Err(error) => Err(self.fail(anyhow!(error)).await),
        }
    }

    /// Waits until claude is held by a gate of its script.
    ///
    /// # Errors
    ///
    /// When it does not get there.
    pub async fn reached(&self, gate: &str) -> Result<()> {
        match self.claude {
            Claude::Sim | Claude::Program(_) => {
                let holds = |ledger: &Ledger| {
                    ledger.all("wait").iter().any(|noted| noted.text("name") == gate)
                };
                self.notes(&format!("claude at the gate {gate}"), holds).await
            }
            Claude::Real | Claude::LoggedOut => {
                let reached = timeout(PATIENCE, self.anthropic().reached(gate)).await;
                match reached.with_context(|| format!("claude did not come to the gate {gate}")) {
                    Ok(()) => Ok(()),
                    Err(error) => Err(self.fail(error).await),
                }
            }
        }
    }

    /// Waits for something in the ledger of claude-sim.
    ///
    /// # Errors
    ///
    /// When it does not come.
    pub async fn notes(&self, what: &str, holds: impl Fn(&Ledger) -> bool) -> Result<()> {
        self.until(what, || holds(&self.ledger())).await
    }

    /// Waits for something that tells of itself.
    ///
    /// # Errors
    ///
    /// When it does not come.
    pub async fn within<T>(&self, what: &str, future: impl Future<Output = T>) -> Result<T> {
        match timeout(PATIENCE, future).await {
            Ok(done) => Ok(done),
            Err(_) => Err(self.fail(anyhow!("{what} did not come within {PATIENCE:?}")).await),
        }
    }

    /// Waits for something that nothing tells of: looks again and again.
    ///
    /// # Errors
    ///
    /// When it does not come.
    pub async fn until(&self, what: &str, holds: impl Fn() -> bool) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        while !holds() {
            if end < Instant::now() {
                let error = anyhow!("{what} did not come within {PATIENCE:?}");
                return Err(self.fail(error).await);
            }
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Waits until a health page of the runner is as wanted: its status and its text.
    ///
    /// # Errors
    ///
    /// When it does not become so.
    pub async fn runner_page_is(
        &self,
        path: &str,
        what: &str,
        holds: impl Fn((u16, String)) -> bool,
    ) -> Result<()> {
        let address = self.stack.lock().await.runner_health();
        self.page_is(address, path, what, holds).await
    }

    /// Waits until a health page of the gateway is as wanted.
    ///
    /// # Errors
    ///
    /// When it does not become so.
    pub async fn gateway_page_is(
        &self,
        path: &str,
        what: &str,
        holds: impl Fn((u16, String)) -> bool,
    ) -> Result<()> {
        let address = self.stack.lock().await.gateway_health();
        self.page_is(address, path, what, holds).await
    }

    async fn page_is(
        &self,
        address: SocketAddr,
        path: &str,
        what: &str,
        holds: impl Fn((u16, String)) -> bool,
    ) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            let page = http::get(address, path).await;
            let said = format!("{page:?}");
            if page.is_ok_and(&holds) {
                return Ok(());
            }
            if end < Instant::now() {
                return Err(self.fail(anyhow!("{path} does not say {what}: {said}")).await);
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until a log says something, by the name of its program.
    ///
    /// # Errors
    ///
    /// When it does not.
    pub async fn logs(&self, name: &str, text: &str) -> Result<()> {
        self.until(&format!("{text:?} in the log of {name}"), || self.log(name).contains(text))
            .await
    }

    /// Waits until no claude, keeper or tmux is left.
    ///
    /// # Errors
    ///
    /// When one stays.
    pub async fn is_quiet(&self) -> Result<()> {
        let ours = self.stack.lock().await.pids();
        let root = self.folder().root();
        let quiet = || processes::naming(root).iter().all(|found| ours.contains(&found.pid));
        self.until("the end of claude, keeper and tmux", quiet).await
    }
}
