//! Starts git and set-up commands: bounded in time, in a process group of their own, and visible to
//! a later life of the runner.
//!
//! stdin is the lock of the thread's place, an empty file. A child inherits the lock with it, so the
//! place stays locked for as long as the child lives, even when the runner that started it does not:
//! nobody begins again where something still works. For the same reason a call that is dropped
//! leaves its child to finish.
//!
//! It never waits without end, and never kills at once: git removes its lock files at SIGTERM.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::place::Lock;

/// Names and values.
pub(super) type Env = BTreeMap<OsString, OsString>;

/// How long a process that is told to end has until it is killed.
const GRACE: Duration = Duration::from_secs(10);

/// The most that is read of what a process prints: a list of all files of the largest repositories
/// has a tenth of it.
const OUTPUT_MAX: u64 = 64 * 1024 * 1024;

/// What git and set-up commands get of the runner's environment: what they need to find themselves,
/// the user's settings and the network, and nothing that would lead git to another repository.
const PASSED: [&str; 22] = [
    "HOME",
    "USER",
    "LOGNAME",
    "PATH",
    "SHELL",
    "TMPDIR",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "XDG_CONFIG_HOME",
    "XDG_CACHE_HOME",
    "XDG_DATA_HOME",
    "SSH_AUTH_SOCK",
    "GIT_CONFIG_GLOBAL",
    "GIT_CONFIG_NOSYSTEM",
    "GIT_SSL_CAINFO",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

/// What git has beside: it asks nobody, pages nothing, speaks English, and takes no lock just to
/// save itself time.
const FOR_GIT: [(&str, &str); 5] = [
    ("GIT_TERMINAL_PROMPT", "0"),
    ("GIT_PAGER", "cat"),
    ("GIT_OPTIONAL_LOCKS", "0"),
    ("GIT_EDITOR", "false"),
    ("LC_ALL", "C"),
];

/// The part of the runner's environment for set-up commands.
pub(super) fn for_set_up(runner_env: &Env) -> Env {
    let is_passed = |name: &OsStr| name.to_str().is_some_and(|name| PASSED.contains(&name));
    let passed = runner_env.iter().filter(|(name, _)| is_passed(name));
    passed.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// The part of the runner's environment for git.
pub(super) fn for_git(runner_env: &Env) -> Env {
    let mut env = for_set_up(runner_env);
    env.extend(FOR_GIT.map(|(name, value)| (name.into(), value.into())));
    env
}

/// How a process ended by itself.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) status: ExitStatus,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

/// Why it did not.
#[derive(Debug)]
pub(super) enum NotRun {
    /// It cannot be started, or not be read from.
    DoesNotStart(io::Error),
    /// It had to be ended.
    TimedOut,
    /// It printed more than anybody reads.
    TooMuch,
}

/// A command that has exactly this environment, and the lock for as long as it runs.
#[expect(clippy::disallowed_methods, reason = "git and set-up commands are started here alone")]
pub(super) fn command(program: &str, env: &Env, lock: &Lock) -> io::Result<Command> {
    let mut command = Command::new(program);
    command.env_clear().envs(env).stdin(lock.for_child()?).process_group(0);
    Ok(command)
}

/// Runs a command to its end, or ends it.
pub(super) async fn run(mut command: Command, max: Duration) -> Result<Ran, NotRun> {
    let mut child = command.spawn().map_err(NotRun::DoesNotStart)?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let ended = timeout(max, async {
        tokio::join!(child.wait(), read(stdout), read(stderr)) //
    });
    let Ok((status, stdout, stderr)) = ended.await else {
        end(&mut child).await;
        return Err(NotRun::TimedOut);
    };
    let status = status.map_err(NotRun::DoesNotStart)?;
    Ok(Ran { status, stdout: stdout?, stderr: stderr? })
}

async fn read(pipe: Option<impl AsyncRead + Unpin>) -> Result<Vec<u8>, NotRun> {
    let Some(pipe) = pipe else { return Ok(Vec::new()) };
    let mut bytes = Vec::new();
    let all = pipe.take(OUTPUT_MAX).read_to_end(&mut bytes).await.map_err(NotRun::DoesNotStart)?;
    if all as u64 == OUTPUT_MAX { Err(NotRun::TooMuch) } else { Ok(bytes) }
}

/// Ends a process with all that it started in its group. What cannot even be killed (it hangs in the
/// kernel) keeps the lock.
async fn end(child: &mut Child) {
    let Some(group) = child.id().and_then(|id| Pid::from_raw(id.cast_signed())) else { return };
    let _ = kill_process_group(group, Signal::TERM);
    let _ = timeout(GRACE, child.wait()).await;
    let _ = kill_process_group(group, Signal::KILL);
    let _ = timeout(GRACE, child.wait()).await;
}
