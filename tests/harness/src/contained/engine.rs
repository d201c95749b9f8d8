//! The engine's side of a server in a container.
//!
//! Each call blocks the thread until the engine has answered: what it says of a container takes a few
//! milliseconds, a start about a second. It is asked from a runtime of its own, so that it may be asked from
//! any thread, in a drop as well.

use std::env;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use rustix::process::Signal;
use testcontainers::bollard::Docker;
use testcontainers::bollard::query_parameters::{
    InspectContainerOptions, KillContainerOptionsBuilder,
};
use testcontainers::core::Mount;
use testcontainers::core::client::docker_client_instance;
use testcontainers::runners::AsyncRunner as _;
use testcontainers::{ContainerAsync, GenericImage, ImageExt as _};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use super::{Image, Wanted};

/// What a shell, and so an engine, adds to the number of a signal that ended a process.
const SIGNALLED: i64 = 128;
/// How long the engine may take for one answer: it starts several containers at once on a busy machine.
const ANSWER_WITHIN: Duration = Duration::from_secs(120);
/// The label of the containers of one run of tests, and the variable with its value.
const LABEL: &str = "holdfast.test";
const LABEL_VARIABLE: &str = "HOLDFAST_TEST_LABEL";

/// A server in a container. Dropping it takes the container away.
#[derive(Debug)]
pub(crate) struct Contained {
    /// Always there until the drop.
    container: Option<Box<ContainerAsync<GenericImage>>>,
    id: String,
    engine: Docker,
    pid: u32,
}

/// Waits for an answer of the engine, on a thread that may block.
fn wait<T: Send>(answer: impl Future<Output = Result<T>> + Send) -> Result<T> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let runtime = if let Some(runtime) = RUNTIME.get() {
        runtime
    } else {
        let made = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let made = made.context("no runtime for the engine")?;
        RUNTIME.get_or_init(|| made)
    };
    let answer = async { timeout(ANSWER_WITHIN, answer).await.context("the engine is silent")? };
    thread::scope(|threads| threads.spawn(|| runtime.block_on(answer)).join())
        .map_err(|_| anyhow!("a question to the engine panicked"))?
}

impl Contained {
    /// Makes the container and starts it.
    ///
    /// # Errors
    ///
    /// When there is no engine, or no such image, or the engine says why not.
    pub(crate) fn start(wanted: &Wanted) -> Result<Self> {
        let Wanted { image, script, env, folder, user } = wanted;
        let (name, tag) = image.parts()?;
        let folder = folder.display().to_string();
        let request = GenericImage::new(name.clone(), tag.clone()).with_entrypoint("/bin/sh");
        let request = request
            .with_cmd(["-c", script])
            .with_network("host")
            .with_user(user)
            .with_mount(Mount::bind_mount(&folder, &folder))
            .with_label(LABEL, env::var(LABEL_VARIABLE).unwrap_or_default());
        let request = env.iter().fold(request, |all, (name, value)| all.with_env_var(name, value));
        let (container, engine) = wait(async {
            let engine = docker_client_instance().await?;
            engine.ping().await.context("no container engine answers")?;
            Ok((request.start().await?, engine))
        })
        .with_context(|| format!("no container of {name}:{tag}"))?;
        let id = container.id().to_owned();
        let mut started = Self { container: Some(Box::new(container)), id, engine, pid: 0 };
        started.pid = started.look()?;
        Ok(started)
    }

    /// Starts the container again that has ended.
    ///
    /// # Errors
    ///
    /// What the engine said.
    pub(crate) fn start_again(&mut self) -> Result<()> {
        let container = self.container.as_ref().context("it was taken away")?;
        wait(async { Ok(container.start().await?) })
            .context("the container does not start again")?;
        self.pid = self.look()?;
        Ok(())
    }

    /// The server's process, as the host numbers it; 0 when it has ended already.
    fn look(&self) -> Result<u32> {
        let asked = self.engine.inspect_container(&self.id, None::<InspectContainerOptions>);
        let found = wait(async { Ok(asked.await?) }).context("the engine does not tell of it")?;
        let pid = found.state.and_then(|state| state.pid).unwrap_or_default();
        u32::try_from(pid).context("a process has a number")
    }

    /// The server's process at its last start, as the host numbers it.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&self) -> Option<ExitStatus> {
        let container = self.container.as_ref()?;
        // An engine that tells nothing tells of no end either.
        let code = wait(async { Ok(container.exit_code().await?) }).ok().flatten()?;
        let status = if SIGNALLED < code { code - SIGNALLED } else { code << 8 };
        i32::try_from(status).ok().map(ExitStatus::from_raw)
    }

    /// Sends a signal to the server.
    ///
    /// # Errors
    ///
    /// What the engine said.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        let number = signal.as_raw().to_string();
        let options = KillContainerOptionsBuilder::new().signal(&number).build();
        wait(async { Ok(self.engine.kill_container(&self.id, Some(options)).await?) })
            .context("the engine sends no signal")
    }
}

impl Drop for Contained {
    fn drop(&mut self) {
        let Some(container) = self.container.take() else { return };
        // Whatever stays has the label, by which it is taken away.
        let _ = wait(async { Ok(container.rm().await?) });
    }
}

impl Image {
    /// Its name and its tag.
    fn parts(self) -> Result<(String, String)> {
        let Self(variable) = self;
        let Some(named) = env::var(variable).ok().filter(|named| !named.is_empty()) else {
            bail!("{variable} names no image: `TEST_SERVERS=containers cargo xtask test` sets it");
        };
        let (name, tag) = named.rsplit_once(':').unwrap_or((&named, "latest"));
        Ok((name.to_owned(), tag.to_owned()))
    }
}
