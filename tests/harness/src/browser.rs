//! A headless Chromium: a story uses the page of the simulated Discord as a person does.
//!
//! What is used is found by what it is called and what it is (its accessible name and role), a click is
//! one of a mouse at that place, and every wait is for a change of the page, with a deadline. Chromium is
//! spoken to in its own protocol, over the websocket that it opens on loopback. That takes the browser
//! alone; the standard of the web (`WebDriver`) takes a second program of the very same version, and the
//! clients for it bring another HTTP stack, or a licence that `deny.toml` refuses.
//!
//! It reaches nothing but loopback, has a profile of its own for each tab, and leaves none behind.

mod keys;
mod tab;
mod wire;

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

pub use self::tab::Tab;
use self::wire::Wire;
use crate::processes::kill_naming;
use crate::programs;
use crate::service::{Plan, Service};
use crate::sweeper::{Reach, Sweeper};
use crate::world::PATIENCE;

/// How often it is looked whether Chromium listens: of that, nothing tells.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How it is started. It is shown our own page alone, so that it needs no sandbox (which it has not as
/// root, or in most containers), and asks nothing of the world.
const FLAGS: [&str; 17] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-breakpad",
    "--disable-component-update",
    "--disable-crash-reporter",
    "--disable-extensions",
    "--disable-sync",
    "--force-color-profile=srgb",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--no-default-browser-check",
    "--no-first-run",
    "--no-proxy-server",
    "--remote-debugging-port=0",
];

/// A Chromium that runs until it is dropped.
#[derive(Debug)]
pub struct Browser {
    wire: Wire,
    // Ended before its folder goes.
    _service: Service,
    // Ends all of it if we are killed.
    sweeper: Sweeper,
    folder: TempDir,
}

impl Browser {
    /// Starts the machine's Chromium.
    ///
    /// # Errors
    ///
    /// When there is none, or it does not come up.
    pub async fn start() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("holdfast-browser-").tempdir();
        let folder = folder.context("no temporary folder")?;
        let profile = folder.path().join("profile");
        let mut args: Vec<OsString> = FLAGS.map(OsString::from).into();
        args.push(format!("--user-data-dir={}", profile.display()).into());
        let own = |name: &str, value: &Path| (OsString::from(name), value.as_os_str().to_owned());
        let mut env = crate::service::Environment::from([
            own("HOME", folder.path()),
            own("TMPDIR", folder.path()),
            ("LANG".into(), "C.UTF-8".into()),
            ("TZ".into(), "UTC".into()),
        ]);
        env.insert("PATH".into(), std::env::var_os("PATH").unwrap_or_default());
        let mut service = Service::new(Plan {
            name: "chromium",
            program: programs::chromium()?,
            args,
            env,
            dir: folder.path().to_owned(),
            log: folder.path().join("chromium.log"),
        });
        let mut sweeper = Sweeper::start(folder.path(), Reach::Everything)?;
        sweeper.child(service.start()?)?;
        let address = listening(&mut service, &profile.join("DevToolsActivePort")).await?;
        let wire = Wire::open(&address).await.with_context(|| service.tail())?;
        Ok(Self { wire, _service: service, sweeper, folder })
    }

    /// Opens an address in a window of its own, which shares nothing with the others.
    ///
    /// # Errors
    ///
    /// When Chromium refuses.
    pub async fn open(&self, url: &str) -> Result<Tab<'_>> {
        let context = self.wire.ask(None, "Target.createBrowserContext", json!({})).await?;
        let target = json!({
            "url": "about:blank",
            "browserContextId": context["browserContextId"],
        });
        let target = self.wire.ask(None, "Target.createTarget", target).await?;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = self.wire.ask(None, "Target.attachToTarget", attach).await?;
        let session = attached["sessionId"].as_str().context("no session")?.to_owned();
        Tab::open(&self.wire, session, url).await
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Its children are gone when it is; whoever is not is told of by nextest.
        kill_naming(self.folder.path(), &[self.sweeper.pid()]);
        self.sweeper.farewell();
    }
}

/// Waits until it says where it listens, in a file of its profile: a port and a path.
async fn listening(service: &mut Service, file: &Path) -> Result<String> {
    let end = Instant::now() + PATIENCE;
    loop {
        let text = fs::read_to_string(file).unwrap_or_default();
        if let Some((port, path)) = text.split_once('\n')
            && !path.is_empty()
        {
            return Ok(format!("ws://127.0.0.1:{port}{}", path.trim_end()));
        }
        ensure!(service.is_running(), "Chromium ended\n{}", service.tail());
        ensure!(Instant::now() < end, "Chromium does not listen\n{}", service.tail());
        sleep(LOOK_EVERY).await;
    }
}
