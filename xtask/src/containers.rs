//! The container engine of this machine, asked by `docker`: whether it answers, and the images that others
//! make.
//!
//! Every command has a time within which it has to end. It never starts an engine, and never takes away an
//! image.

mod images;

use std::ffi::OsStr;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use self::images::Image;
use crate::process::say;

/// How long a question to the engine may take.
pub(crate) const QUESTION_WITHIN: Duration = Duration::from_secs(60);
/// How long an image of others may take to come.
const PULL_WITHIN: Duration = Duration::from_secs(600);
/// How often is looked whether a program has ended.
const END_EVERY: Duration = Duration::from_millis(50);

/// The engine's version.
///
/// # Errors
///
/// When there is none that answers, with what to do.
pub(crate) fn version() -> Result<String> {
    let asked = docker(&["version", "--format", "{{.Server.Version}}"]);
    let version = asked.context(
        "there is no container engine: `docker version` gets no answer. Install Docker with \
         `docker compose` (or `docker-compose` 1.29) and start it, as a user who may use it",
    )?;
    Ok(version.trim().to_owned())
}

/// Brings the images of `docker-compose.yml` that others make, those whose variable is wanted. Where one
/// cannot be had, one of the same name stands in. Returns the variables that name them; those that
/// somebody has set stay theirs.
///
/// # Errors
///
/// When an image is not here, cannot be pulled, and none stands in.
pub(crate) fn others(root: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<(String, String)>> {
    let file = root.join("docker-compose.yml");
    let text = std::fs::read_to_string(&file)
        .with_context(|| format!("cannot read {}", file.display()))?;
    let mut found = Vec::new();
    for Image { variable, pinned } in
        images::of(&text).into_iter().filter(|it| wanted(&it.variable))
    {
        let set = std::env::var(&variable).ok().filter(|named| !named.is_empty());
        let name = match set {
            Some(named) if has(&named) || pull(&named).is_ok() => named,
            Some(named) => bail!("{variable} is {named}, which is not here and cannot be pulled"),
            None if has(&pinned) || pull(&pinned).is_ok() => pinned,
            None => {
                let here = docker(&["images", "--format", "{{.Repository}}:{{.Tag}}"])?;
                let other = images::stand_in(&pinned, here.lines()).with_context(|| {
                    format!("{pinned} is not here and cannot be pulled; name another in {variable}")
                })?;
                say(&format!("containers: {pinned} is not to be had; {other} stands in"));
                other.to_owned()
            }
        };
        found.push((variable, name));
    }
    Ok(found)
}

fn has(image: &str) -> bool {
    docker(&["image", "inspect", image]).is_ok()
}

fn pull(image: &str) -> Result<String> {
    output(Command::new("docker").args(["pull", "--quiet", image]), PULL_WITHIN)
}

/// Asks the engine.
///
/// # Errors
///
/// What it said.
pub(crate) fn docker(words: &[&str]) -> Result<String> {
    output(Command::new("docker").args(words), QUESTION_WITHIN)
}

/// Runs a command whose output is asked for.
///
/// # Errors
///
/// When it fails, with what it said, or does not end in time.
pub(crate) fn output(command: &mut Command, within: Duration) -> Result<String> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot start `{}`", line(command)))?;
    let (out, err) = (reader(child.stdout.take()), reader(child.stderr.take()));
    let success = ended(&mut child, &line(command), within)?;
    let text = |thread: JoinHandle<Vec<u8>>| {
        let bytes = thread.join().unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let (out, err) = (text(out), text(err));
    ensure!(success, "`{}` failed: {}", line(command), err.trim());
    // `docker logs` gives both streams as they came.
    Ok(if out.is_empty() { err } else { out })
}

/// Reads what a program says until it says no more, so that it never waits for us.
fn reader(stream: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What came until it broke off is what there is.
        let _ = stream.map(|mut stream| stream.read_to_end(&mut bytes));
        bytes
    })
}

/// Runs a command to its end. Whether it succeeded.
///
/// # Errors
///
/// When it does not start, or does not end in time.
pub(crate) fn finished(command: &mut Command, within: Duration) -> Result<bool> {
    let what = line(command);
    let mut child = command.spawn().with_context(|| format!("cannot start `{what}`"))?;
    ended(&mut child, &what, within)
}

/// Waits for a program's end, or kills it when its time is over. Whether it succeeded.
fn ended(child: &mut Child, what: &str, within: Duration) -> Result<bool> {
    let end = Instant::now() + within;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.success());
        }
        if end < Instant::now() {
            child.kill()?;
            child.wait()?;
            bail!("`{what}` did not end within {} s", within.as_secs());
        }
        thread::sleep(END_EVERY);
    }
}

/// A command as a person would write it.
pub(crate) fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}
