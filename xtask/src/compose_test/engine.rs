//! The container engine and one project in it: its containers are started, killed, looked at and, at the
//! end, taken away with their volumes and images. Nothing of another project is touched.
//!
//! Works with `docker compose` and with `docker-compose` 1.29; what both do alike is asked of `docker`
//! itself. Every command has a time within which it has to end.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::containers::{self, QUESTION_WITHIN, docker, finished, line, output};
use crate::process::say;

/// How long the images may take to be built: everything is compiled, on a small machine.
const BUILD_WITHIN: Duration = Duration::from_secs(90 * 60);
/// How long all containers may take to be started.
const UP_WITHIN: Duration = Duration::from_secs(300);
/// How long a container may take until its health check passes.
const HEALTHY_WITHIN: Duration = Duration::from_secs(120);
/// How long taking away may take.
const DOWN_WITHIN: Duration = Duration::from_secs(120);
/// How often is looked.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// The images that are built.
const BUILT: [&str; 3] = ["gateway", "runner", "demo"];
/// The profile with the simulators.
const PROFILE: &str = "demo";

/// One project in the engine. Dropped, it is taken away.
#[derive(Debug)]
pub(super) struct Engine {
    compose: Vec<&'static str>,
    project: String,
    root: PathBuf,
    env: Vec<(String, String)>,
    logs: PathBuf,
}

impl Engine {
    /// Finds an engine and a compose, for a project of its own whose logs go into a folder.
    ///
    /// # Errors
    ///
    /// When there is none, with what to do.
    pub(super) fn find(root: &Path, logs: PathBuf) -> Result<Self> {
        let answers = |words: &[&str]| {
            let mut command = Command::new(words[0]);
            output(command.args(&words[1..]), QUESTION_WITHIN).ok()
        };
        let version = containers::version()?;
        let known: [&[&'static str]; 2] = [&["docker", "compose"], &["docker-compose"]];
        let mut found = known.into_iter().filter_map(|words| {
            let line = answers(&[words, &["version", "--short"]].concat())?;
            Some((words, line))
        });
        let (compose, line) = found.next().context(
            "there is an engine, but neither `docker compose` nor `docker-compose`: install one",
        )?;
        say(&format!("compose-test: engine {}, {} {}", version, compose.join(" "), line.trim()));
        std::fs::create_dir_all(&logs)
            .with_context(|| format!("cannot make {}", logs.display()))?;
        let project = format!("holdfast-test-{}", std::process::id());
        let mut env = vec![("HOLDFAST_TAG".to_owned(), project.clone())];
        // Not those of the shell: it is about the demo, on free ports.
        for name in ["DISCORD_TOKEN", "DISCORD_CHANNELS", "DISCORD_ALLOW", "HOLDFAST_RUNNERS"] {
            env.push((name.to_owned(), String::new()));
        }
        for name in ["NATS_PORT", "OTLP_PORT", "JAEGER_PORT", "CHAT_PORT"] {
            env.push((name.to_owned(), "0".to_owned()));
        }
        // A build needs the way to crates and packages that this machine has, whatever a bridge offers.
        for (name, usual) in [("PROFILE", "dev"), ("BUILD_NETWORK", "host")] {
            let value = std::env::var(name).unwrap_or_else(|_| usual.to_owned());
            env.push((name.to_owned(), value));
        }
        let compose = compose.to_vec();
        Ok(Self { compose, project, root: root.to_owned(), env, logs })
    }

    /// The project's name.
    pub(super) fn project(&self) -> &str {
        &self.project
    }

    /// The command that takes away what a test that was cut off left.
    pub(super) fn undo(&self) -> String {
        format!("{} --project-name {} down --volumes", self.compose.join(" "), self.project)
    }

    /// Checks the file as compose itself reads it, with every profile.
    ///
    /// # Errors
    ///
    /// What compose says.
    pub(super) fn check(&self) -> Result<()> {
        let mut command = self.command(&["runner"]);
        output(command.args(["config", "--quiet"]), QUESTION_WITHIN).map(drop)
    }

    /// Brings the images that others make. Where one cannot be had, one of the same name stands in.
    ///
    /// # Errors
    ///
    /// When there is none either.
    pub(super) fn fetch(&mut self) -> Result<()> {
        self.env.extend(containers::others(&self.root, |_| true)?);
        Ok(())
    }

    /// Builds the images.
    ///
    /// # Errors
    ///
    /// When that fails; the output is in a file that is named.
    pub(super) fn build(&self) -> Result<()> {
        let log = self.logs.join("build.log");
        let mut command = self.command(&[]);
        logged(command.arg("build"), &log, BUILD_WITHIN)
    }

    /// Starts all containers.
    ///
    /// # Errors
    ///
    /// When that fails; the output is in a file that is named.
    pub(super) fn up(&self) -> Result<()> {
        let log = self.logs.join("up.log");
        let mut command = self.command(&[]);
        logged(command.args(["up", "--detach", "--no-build"]), &log, UP_WITHIN)
    }

    /// Kills a service as `kill -9` does, and waits until it is dead.
    ///
    /// # Errors
    ///
    /// When it is not running, or does not die.
    pub(super) fn kill(&self, service: &str) -> Result<()> {
        let container = self.container(service)?;
        docker(&["kill", "--signal", "KILL", &container])?;
        until(QUESTION_WITHIN, &format!("the death of {service}"), || {
            Ok((state(&container)?["Running"] == Value::Bool(false)).then_some(()))
        })
    }

    /// Starts it again.
    ///
    /// # Errors
    ///
    /// When the engine refuses.
    pub(super) fn start(&self, service: &str) -> Result<()> {
        docker(&["start", &self.container(service)?]).map(drop)
    }

    /// Waits until a service's health check passes.
    ///
    /// # Errors
    ///
    /// When it ends, or does not in time; with the end of its log.
    pub(super) fn healthy(&self, service: &str) -> Result<()> {
        let container = self.container(service)?;
        let healthy = until(HEALTHY_WITHIN, &format!("the health of {service}"), || {
            Ok((state(&container)?["Health"]["Status"] == "healthy").then_some(()))
        });
        healthy.with_context(|| self.tail(service))
    }

    /// The port on loopback by which a container's port is reached.
    ///
    /// # Errors
    ///
    /// When it is not published.
    pub(super) fn port(&self, service: &str, port: u16) -> Result<u16> {
        let said = docker(&["port", &self.container(service)?, &format!("{port}/tcp")])?;
        let found = said.lines().find_map(|line| line.strip_prefix("127.0.0.1:"));
        let found = found.and_then(|port| port.trim().parse().ok());
        found.with_context(|| format!("port {port} of {service} is not on loopback: {said:?}"))
    }

    /// The end of a service's log.
    pub(super) fn tail(&self, service: &str) -> String {
        let log = self.container(service).and_then(|it| docker(&["logs", "--tail", "40", &it]));
        format!("{service} said last:\n{}", log.unwrap_or_else(|error| format!("{error:#}")))
    }

    /// All that a service has said.
    ///
    /// # Errors
    ///
    /// When there is no such container.
    pub(super) fn log(&self, service: &str) -> Result<String> {
        docker(&["logs", &self.container(service)?])
    }

    /// Writes the logs of all containers into the folder.
    pub(super) fn keep_logs(&self) {
        let file = File::create(self.logs.join("containers.log"));
        let Ok(file) = file else { return };
        let mut command = self.command(&[]);
        command.args(["logs", "--no-color"]).stdout(file).stderr(Stdio::null());
        // What is not there is not there; the failure itself is told.
        let _ = finished(&mut command, QUESTION_WITHIN);
    }

    /// Takes away containers, networks, volumes and images of this project.
    ///
    /// # Errors
    ///
    /// When something stays, with what to do.
    pub(super) fn down(&self) -> Result<()> {
        let mut command = self.command(&[]);
        command.args(["down", "--volumes", "--remove-orphans", "--timeout", "1"]);
        let log = self.logs.join("down.log");
        logged(&mut command, &log, DOWN_WITHIN).with_context(|| self.undo())?;
        let left = docker(&["ps", "--all", "--quiet", "--filter", &self.label()])?;
        ensure!(left.trim().is_empty(), "containers are left: {}", self.undo());
        for name in BUILT {
            let image = format!("holdfast-{name}:{}", self.project);
            if docker(&["image", "inspect", &image]).is_ok() {
                docker(&["image", "rm", &image])?;
            }
        }
        Ok(())
    }

    fn label(&self) -> String {
        format!("label=com.docker.compose.project={}", self.project)
    }

    /// The one container of a service.
    fn container(&self, service: &str) -> Result<String> {
        let of_service = format!("label=com.docker.compose.service={service}");
        let filters =
            ["ps", "--all", "--quiet", "--filter", &self.label(), "--filter", &of_service];
        let found = docker(&filters)?;
        let mut ids = found.lines();
        match (ids.next(), ids.next()) {
            (Some(id), None) => Ok(id.to_owned()),
            (None, _) => bail!("{service} has no container"),
            (Some(_), Some(_)) => bail!("{service} has several containers"),
        }
    }

    /// A compose of this project, with these profiles beside the demo's.
    fn command(&self, profiles: &[&str]) -> Command {
        let mut command = Command::new(self.compose[0]);
        command.args(&self.compose[1..]).current_dir(&self.root);
        // A `.env` of the person's own is about their bot.
        command.args(["--env-file", "deploy/compose/demo.env", "--project-name", &self.project]);
        for profile in [&[PROFILE], profiles].concat() {
            command.args(["--profile", profile]);
        }
        command.envs(self.env.iter().cloned());
        command
    }
}

/// What the engine says of a container's state.
fn state(container: &str) -> Result<Value> {
    let text = docker(&["inspect", "--format", "{{json .State}}", container])?;
    serde_json::from_str(&text).context("the engine tells no JSON")
}

/// Waits until something is so.
///
/// # Errors
///
/// When it is not in time, or looking fails.
pub(super) fn until<T>(
    within: Duration,
    what: &str,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let end = Instant::now() + within;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        ensure!(Instant::now() < end, "{what} did not come within {} s", within.as_secs());
        thread::sleep(LOOK_EVERY);
    }
}

/// Runs a command whose output goes into a file.
fn logged(command: &mut Command, log: &Path, within: Duration) -> Result<()> {
    let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
    let success = finished(command, within)?;
    let said = || {
        let all = std::fs::read_to_string(log).unwrap_or_default();
        let from = all.lines().count().saturating_sub(30);
        all.lines().skip(from).collect::<Vec<_>>().join("\n")
    };
    ensure!(success, "`{}` failed; all of it is in {}:\n{}", line(command), log.display(), said());
    Ok(())
}
