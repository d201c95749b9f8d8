//! The only file that runs tmux: a home for keepers and a view for people, never a source of truth.
//!
//! All sessions of a runner live on a tmux server of its own (`-L`), which reads no configuration
//! (`-f /dev/null`) and gets the environment that it is handed, no more: a server keeps the
//! environment of whoever starts it, and shows it to every pane. Names are matched exactly (`=name`),
//! never by prefix. Each call has a deadline. "There is no such session" and "tmux could not say"
//! are different answers, because who takes one for the other starts work twice.
//!
//! It never reads a pane, never types into one, and never decides that a run has ended: the spool
//! says that, also when the whole tmux server is gone.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use thiserror::Error;
use tokio::process::Command;
use tokio::time::timeout;

use self::scope::Slice;

mod scope;

/// How long tmux may take for one call; it takes milliseconds unless the machine is in trouble.
const CALL_DEADLINE: Duration = Duration::from_secs(10);

/// The oldest tmux that is served: the first whose manual has all that is used here (exact targets,
/// commands given as an argv and not as a shell line), and in every distribution since 2020.
pub(crate) const OLDEST: Version = Version { major: 3, minor: 0 };

/// How many lines can be scrolled back in the view.
const HISTORY_LINES: &str = "20000";
/// Keys are keys, however soon one comes after another: tmux takes what comes within a millisecond for
/// pasted, and over a slow line, or on a busy host, the D of Ctrl+B D would leave nobody.
const NEVER_PASTED: &str = "0";
/// The size of a window that nobody is attached to.
const SIZE: [&str; 4] = ["-x", "160", "-y", "48"];

/// The pauses before tmux is called again because the server was just going, or tmux was killed. A
/// server that goes is gone in a few milliseconds.
const GOING_PAUSES_MS: [u64; 6] = [10, 20, 50, 100, 200, 400];

/// How often tmux is called again when it was late: once for a host that stood still, and once more.
const LATE_MAX: u32 = 2;

/// The window of the keeper.
const KEEPER_WINDOW: &str = "keeper";
/// The window that is shown.
const WATCH_WINDOW: &str = "watch";

/// The longest session name: the `<thread>-<run>` of two numbers of 20 digits has room twice.
const NAME_MAX: usize = 100;

/// The name of a session: letters, digits, `-` and `_`, because tmux gives `.`, `:`, `=`, `$`, `@`
/// and others a meaning.
#[derive(Clone, Copy, Debug)]
struct SessionName<'a>(&'a str);

impl<'a> SessionName<'a> {
    fn parse(text: &'a str) -> Result<Self, TmuxError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        if text.is_empty()
            || NAME_MAX < text.len()
            || text.starts_with('-')
            || !text.bytes().all(plain)
        {
            return Err(TmuxError::BadName(text.to_owned()));
        }
        Ok(SessionName(text))
    }
}

impl fmt::Display for SessionName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// A version of tmux.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    /// The number before the dot.
    pub(crate) major: u32,
    /// The number after the dot, without its letter.
    pub(crate) minor: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl Version {
    /// Reads what `tmux -V` prints: `tmux 3.3a`, `tmux next-3.6`. `None` for builds that say no
    /// number (`tmux master`).
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let word = text.trim().strip_prefix("tmux ")?;
        let numbers = word.strip_prefix("next-").unwrap_or(word);
        let (major, rest) = numbers.split_once('.')?;
        let minor: String = rest.chars().take_while(char::is_ascii_digit).collect();
        Some(Version { major: major.parse().ok()?, minor: minor.parse().ok()? })
    }
}

/// Why a call of tmux came to nothing.
#[derive(Debug, Error)]
pub(crate) enum TmuxError {
    /// The program is not there or cannot be started.
    #[error("tmux does not start")]
    DoesNotStart(#[source] io::Error),
    /// It did not end in time; whether it did its work is not known.
    #[error("tmux {command} took longer than {} s", CALL_DEADLINE.as_secs())]
    TimedOut {
        /// Its first word.
        command: String,
    },
    /// No session can have this name. Trying again is vain.
    #[error("{0:?} is no name for a tmux session (letters, digits, - and _, at most {NAME_MAX})")]
    BadName(String),
    /// It said something else.
    #[error("tmux {command} failed: {said}")]
    Failed {
        /// Its first word.
        command: String,
        /// What it printed.
        said: String,
    },
    /// It is older than [`OLDEST`].
    #[error("tmux is {found}, and {OLDEST} is the oldest that works")]
    TooOld {
        /// What `tmux -V` said.
        found: String,
    },
}

/// A tmux server of our own.
#[derive(Clone, Debug)]
pub(crate) struct Tmux {
    socket: String,
    program: PathBuf,
    env: BTreeMap<OsString, OsString>,
    slice: Option<Slice>,
}

/// How tmux is called.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// As it is.
    Plain,
    /// So that a server that it starts lives in a scope of its own, where there is a slice for that.
    InScope,
}

impl Tmux {
    /// The server on this socket, which is started by the first session. `program` is this very
    /// program, whose `keep` and `watch` run in the windows. Server and windows get exactly `env`,
    /// without what would place them inside another tmux.
    pub(crate) fn new(
        socket: impl Into<String>,
        program: impl Into<PathBuf>,
        mut env: BTreeMap<OsString, OsString>,
    ) -> Self {
        for inside in ["TMUX", "TMUX_PANE"] {
            env.remove(OsStr::new(inside));
        }
        Tmux { socket: socket.into(), program: program.into(), env, slice: None }
    }

    /// The same, whose server is started in this slice of the systemd that `runtime_dir`
    /// (`XDG_RUNTIME_DIR`) leads to, if both are given. The server has that variable too, then.
    pub(crate) fn in_slice(self, slice: Option<&OsStr>, runtime_dir: Option<&OsStr>) -> Self {
        Self { slice: Slice::new(slice, runtime_dir), ..self }
    }

    /// Asks for the version and checks it.
    ///
    /// # Errors
    ///
    /// [`TmuxError::TooOld`], [`TmuxError::DoesNotStart`], [`TmuxError::TimedOut`]. A build that
    /// says no number counts as new enough.
    pub(crate) async fn version(&self) -> Result<String, TmuxError> {
        let output = self.call(&["-V"]).await?;
        let found = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        match Version::parse(&found) {
            Some(version) if version < OLDEST => Err(TmuxError::TooOld { found }),
            Some(_) | None if output.status.success() => Ok(found),
            Some(_) | None => Err(failed("-V", &output)),
        }
    }

    /// Starts a session with a keeper for the spool in `dir`, and the view of it in a second window,
    /// which is the one that is shown. Both run directly, not through a shell.
    ///
    /// A session that has the name already is of an earlier try, and is replaced: a spool takes one
    /// keeper, so a second one does no harm. A view that does not open is logged and no error.
    ///
    /// # Errors
    ///
    /// Any [`TmuxError`] but `TooOld`. After `TimedOut` the session may be there or come yet.
    pub(crate) async fn new_session(&self, name: &str, dir: &Path) -> Result<(), TmuxError> {
        let name = SessionName::parse(name)?;
        let mut words = Words::new(&["set-option", "-g", "history-limit", HISTORY_LINES, ";"]);
        words.add(&["set-option", "-g", "assume-paste-time", NEVER_PASTED, ";"]);
        words.add(&["new-session", "-d", "-s", name.0, "-n", KEEPER_WINDOW]).add(&SIZE);
        words.add(&["--"]).add(&self.window("keep", dir));
        let is_to_wait = |said: &str| is_going(said) || is_no_server(said);
        let mut output = self.call_again_while(is_to_wait, &words.0, Way::InScope).await?;
        if stderr(&output).starts_with("duplicate session") {
            // In one call: a server whose last session goes would go with it.
            let mut again = Words::new(&["kill-session", "-t", &format!("={name}"), ";"]);
            output = self.call_in_scope(&again.add(&words.0).0).await?;
        }
        if !output.status.success() {
            return Err(failed("new-session", &output));
        }
        if let Err(error) = self.open_watch(name, dir).await {
            tracing::warn!(%error, session = %name, "the run has no view");
        }
        Ok(())
    }

    async fn open_watch(&self, name: SessionName<'_>, dir: &Path) -> Result<(), TmuxError> {
        let target = format!("={name}:");
        let mut words = Words::new(&["new-window", "-t", &target, "-n", WATCH_WINDOW, "--"]);
        words.add(&self.window("watch", dir));
        let output = self.call(&words.0).await?;
        if output.status.success() { Ok(()) } else { Err(failed("new-window", &output)) }
    }

    /// What runs in a window. Three words: one alone would be given to a shell.
    fn window(&self, what: &str, dir: &Path) -> [OsString; 3] {
        [self.program.clone().into_os_string(), what.into(), dir.into()]
    }

    /// Lists the sessions. No server is no session.
    ///
    /// # Errors
    ///
    /// Any [`TmuxError`] but `TooOld`: then nothing is known about any session.
    pub(crate) async fn sessions(&self) -> Result<Vec<String>, TmuxError> {
        let words = ["list-sessions", "-F", "#{session_name}"];
        let output = self.call_again_while(is_going, &words, Way::Plain).await?;
        if output.status.success() {
            let text = String::from_utf8_lossy(&output.stdout);
            return Ok(text.lines().map(str::to_owned).collect());
        }
        if is_no_server(&stderr(&output)) {
            return Ok(Vec::new());
        }
        Err(failed("list-sessions", &output))
    }

    /// Whether there is a session of exactly this name.
    ///
    /// # Errors
    ///
    /// As [`Tmux::sessions`].
    #[cfg_attr(not(test), expect(dead_code, reason = "the sweep of stale sessions asks"))]
    pub(crate) async fn has_session(&self, name: &str) -> Result<bool, TmuxError> {
        Ok(self.sessions().await?.iter().any(|it| it == name))
    }

    /// Closes a session. Returns whether it was there. A keeper in it goes on until its claude has
    /// ended: tell it by its spool.
    ///
    /// # Errors
    ///
    /// As [`Tmux::sessions`].
    pub(crate) async fn kill_session(&self, name: &str) -> Result<bool, TmuxError> {
        let name = SessionName::parse(name)?;
        let words = ["kill-session", "-t", &format!("={name}")];
        let output = self.call_again_while(is_going, &words, Way::Plain).await?;
        let said = stderr(&output);
        if output.status.success() {
            return Ok(true);
        }
        if is_no_server(&said) || said.contains("can't find session") {
            return Ok(false);
        }
        Err(failed("kill-session", &output))
    }

    /// Becomes `tmux attach -r` to the session of this name, in the terminal of whoever called; returns only
    /// when that could not be started.
    #[expect(clippy::disallowed_methods, reason = "this is the one file that runs tmux")]
    pub(crate) fn attach(&self, name: &str) -> TmuxError {
        let name = match SessionName::parse(name) {
            Ok(name) => name,
            Err(error) => return error,
        };
        let mut command = std::process::Command::new("tmux");
        command.env_clear().envs(&self.env).args(["-L", &self.socket, "attach-session", "-r"]);
        TmuxError::DoesNotStart(command.args(["-t", &format!("={name}")]).exec())
    }

    /// What to type to watch the session of this name.
    pub(crate) fn attach_line(&self, name: &str) -> String {
        let folder = self.env.get(OsStr::new("TMUX_TMPDIR"));
        let folder = folder.map(|it| format!("TMUX_TMPDIR={} ", it.display())).unwrap_or_default();
        format!("{folder}tmux -L {} attach -r -t ={name}", self.socket)
    }

    /// Calls, and calls again while what tmux says is to be waited for; when it was killed before it
    /// said anything, by a machine without memory or by somebody who takes it for the keeper that it
    /// starts; and when it was late, as it is where the whole host stood still for a while. What is
    /// called so may be done twice.
    async fn call_again_while(
        &self,
        is_to_wait: impl Fn(&str) -> bool,
        words: &[impl AsRef<OsStr>],
        way: Way,
    ) -> Result<Output, TmuxError> {
        let mut pauses = GOING_PAUSES_MS.into_iter();
        let mut late = 0;
        loop {
            let called = match way {
                Way::Plain => self.call(words).await,
                Way::InScope => self.call_in_scope(words).await,
            };
            match called {
                Err(TmuxError::TimedOut { .. }) if late < LATE_MAX => late += 1,
                Ok(output) if output.status.code().is_none() || is_to_wait(&stderr(&output)) => {
                    let Some(pause) = pauses.next() else { return Ok(output) };
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                }
                called => return called,
            }
        }
    }

    async fn call(&self, words: &[impl AsRef<OsStr>]) -> Result<Output, TmuxError> {
        self.end_of(self.command("tmux"), words).await
    }

    /// Calls in a scope of its own; without one where none is wanted, or can be made.
    async fn call_in_scope(&self, words: &[impl AsRef<OsStr>]) -> Result<Output, TmuxError> {
        let Some(slice) = &self.slice else { return self.call(words).await };
        let mut command = self.command(scope::PROGRAM);
        let (name, value) = slice.env();
        command.env(name, value).args(slice.words()).arg("tmux");
        let why = match self.end_of(command, words).await {
            Ok(output) if scope::failed(&output) => stderr(&output),
            Err(TmuxError::DoesNotStart(error)) => error.to_string(),
            called => return called,
        };
        tracing::warn!(why, "tmux gets no scope of its own, and lives in the runner's unit");
        self.call(words).await
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one file that runs tmux")]
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env_clear().envs(&self.env);
        command
    }

    /// Waits for tmux, which the command ends with, on our socket.
    async fn end_of(
        &self,
        mut command: Command,
        words: &[impl AsRef<OsStr>],
    ) -> Result<Output, TmuxError> {
        command.args(["-L", &self.socket, "-f", "/dev/null"]).args(words);
        command.stdin(Stdio::null()).kill_on_drop(true);
        match timeout(CALL_DEADLINE, command.output()).await {
            Ok(Ok(output)) => Ok(output),
            Ok(Err(source)) => Err(TmuxError::DoesNotStart(source)),
            Err(_) => {
                let first = words.first().map(|word| word.as_ref().display().to_string());
                Err(TmuxError::TimedOut { command: first.unwrap_or_default() })
            }
        }
    }
}

/// The words of a command line.
struct Words(Vec<OsString>);

impl Words {
    fn new(words: &[&str]) -> Self {
        let mut all = Words(Vec::new());
        all.add(words);
        all
    }

    fn add(&mut self, words: &[impl AsRef<OsStr>]) -> &mut Self {
        self.0.extend(words.iter().map(|word| word.as_ref().to_owned()));
        self
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}

fn failed(command: &str, output: &Output) -> TmuxError {
    let said = match (stderr(output), output.status.code()) {
        (said, _) if !said.is_empty() => said,
        (_, Some(code)) => format!("code {code}"),
        (_, None) => "killed".to_owned(),
    };
    TmuxError::Failed { command: command.to_owned(), said }
}

/// Whether a server went away just when it was called: its last session had ended. The next call
/// finds none.
fn is_going(said: &str) -> bool {
    said.starts_with("server exited")
        || said.starts_with("lost server")
        || said.ends_with("(Connection refused)")
}

/// The two ways in which tmux says that nobody listens: there is a socket and no server; there is no
/// socket. Both are always English: tmux takes only `LC_CTYPE` and `LC_TIME` from the locale (3.3a).
fn is_no_server(said: &str) -> bool {
    said.starts_with("no server running on ")
        || (said.starts_with("error connecting to ")
            && said.ends_with("(No such file or directory)"))
}

#[cfg(test)]
mod tests;
