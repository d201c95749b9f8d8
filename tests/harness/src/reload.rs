//! A configuration that is changed while its service runs.

use std::fs;

use anyhow::{Context as _, Result};
use rustix::process::Signal;

use crate::parts::Part;
use crate::world::World;

/// What a service says when it has taken a configuration.
const TAKEN: &str = "the configuration was read again";

impl World {
    /// Writes a service's configuration anew; the service is not told. The bus has none of its own.
    ///
    /// # Errors
    ///
    /// When it cannot be read or written.
    pub fn rewrite(&self, part: Part, change: impl FnOnce(String) -> String) -> Result<()> {
        let (file, _) = self.of(part);
        let text = fs::read_to_string(&file).context("no configuration")?;
        fs::write(&file, change(text)).context("the configuration cannot be written")
    }

    /// Tells a service to read its configuration again (SIGHUP), and waits for nothing.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub async fn hang_up(&self, part: Part) -> Result<()> {
        self.signal(part, Signal::HUP).await
    }

    /// Writes a service's configuration anew, and waits until the service has taken it.
    ///
    /// # Errors
    ///
    /// When it does not take it.
    pub async fn reconfigure(
        &self,
        part: Part,
        change: impl FnOnce(String) -> String,
    ) -> Result<()> {
        let (_, name) = self.of(part);
        let taken = || self.log(name).matches(TAKEN).count();
        let before = taken();
        self.rewrite(part, change)?;
        self.hang_up(part).await?;
        self.until(&format!("that {name} takes its configuration"), || before < taken()).await
    }

    /// The configuration of a part, and the name of its log.
    fn of(&self, part: Part) -> (std::path::PathBuf, &'static str) {
        match part {
            Part::Nats => (self.folder().nats().join("nats.conf"), "nats-server"),
            Part::Gateway => (self.folder().gateway_toml(), "gateway-svc"),
            Part::Runner => (self.folder().runner_toml(), "runner-svc"),
        }
    }
}
