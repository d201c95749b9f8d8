//! The keeper proper: starts claude, tends it, and says how it ended.
//!
//! One thread, one `poll`: the bell, claude's three pipes, claude's pidfd, and the guard's life
//! line. Nothing in the loop blocks but a disk, so claude is heard while it is told something. The
//! loop ends when claude has ended; then whatever it left behind is ended too, what it still had in
//! its pipes is written, and the exit record comes last.
//!
//! It never starts a second claude, and never lets a failing disk end the run: it waits.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD as HERE, FileType, Mode, OFlags, mknodat};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitStatus, getpid, getppid, kill_process_group, pidfd_open,
    set_child_subreaper,
};

use super::inbox::{Asked, Inbox};
use super::lease::Fence;
use super::now;
use super::outlet::{Journal, Patience, Stderr};
use super::procs::{LEFTOVER_GRACE, Reaped, boot_id, reap_one, stop_descendants};
use super::record::{
    ARGV, BELL, CWD, ENV, EXIT, Ending, FILE_MODE, STARTED, Started, split_items, write_whole,
};
use super::stop::{Act, Graces, Stop};

/// How often `in/` is looked at without a ring, zombies are reaped and failed writes are tried
/// again. A ring is only a hint: a runner may die between the rename and the ring.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// What the runner put into the spool before it called a keeper.
#[derive(Debug)]
struct Orders {
    argv: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    cwd: PathBuf,
}

impl Orders {
    fn read(spool: &Path) -> io::Result<Self> {
        let items = |name| {
            fs::read(spool.join(name)).map(|bytes| {
                split_items(&bytes)
                    .into_iter()
                    .map(|item| OsString::from_vec(item.to_vec()))
                    .collect::<Vec<_>>()
            })
        };
        let pair = |item: OsString| {
            let bytes = item.as_bytes();
            let at = bytes.iter().position(|byte| *byte == b'=')?;
            let (key, value) = (&bytes[..at], &bytes[at + 1..]);
            Some((OsStr::from_bytes(key).to_owned(), OsStr::from_bytes(value).to_owned()))
        };
        Ok(Orders {
            argv: items(ARGV)?,
            env: items(ENV)?.into_iter().filter_map(pair).collect(),
            cwd: PathBuf::from(OsString::from_vec(fs::read(spool.join(CWD))?)),
        })
    }

    /// Starts claude with these pipes and this environment and no other; the text of a failure is
    /// for a person.
    #[expect(clippy::disallowed_methods, reason = "the keeper starts claude")]
    fn start(&self) -> Result<Child, String> {
        let (program, arguments) = self.argv.split_first().ok_or("there is no program to start")?;
        match fs::metadata(&self.cwd) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Err(format!("{} is not a directory", self.cwd.display())),
            Err(error) => {
                return Err(format!("the directory {} is not there: {error}", self.cwd.display()));
            }
        }
        let path = self.find(program)?;
        Command::new(&path)
            .args(arguments)
            .env_clear()
            .envs(self.env.iter().map(|(key, value)| (key, value)))
            .current_dir(&self.cwd)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|error| format!("{} does not start: {error}", path.display()))
    }

    /// Finds the program as a shell would, by the PATH of claude's own environment.
    fn find(&self, program: &OsStr) -> Result<PathBuf, String> {
        if program.as_bytes().contains(&b'/') {
            return Ok(self.cwd.join(program));
        }
        let path = self.env.iter().find(|(key, _)| key == "PATH").map(|(_, value)| value);
        let runs = |file: &PathBuf| {
            fs::metadata(file).is_ok_and(|found| found.is_file() && found.mode() & 0o111 != 0)
        };
        std::env::split_paths(path.map_or(OsStr::new(""), OsString::as_os_str))
            .map(|dir| self.cwd.join(dir).join(program))
            .find(runs)
            .ok_or_else(|| match path {
                Some(path) => {
                    format!("the program {} is not in PATH={}", program.display(), path.display())
                }
                None => format!("the program {} is not found: there is no PATH", program.display()),
            })
    }
}

/// Tends the spool's claude from start to exit record. `life` is readable only when the guard is
/// gone.
///
/// # Errors
///
/// What kept it from leaving an exit record: the spool itself is gone.
pub(crate) fn tend(spool: &Path, life: impl AsFd) -> io::Result<()> {
    let ending = match begin(spool) {
        Ok(mut keeper) => keeper.run(&life),
        Err(NotBegun::Fenced) => Ending::Fenced,
        Err(NotBegun::Refused(why)) => Ending::NotStarted(why),
    };
    leave(spool, &ending)
}

/// Writes the exit record, however long the disk refuses.
fn leave(spool: &Path, ending: &Ending) -> io::Result<()> {
    let mut patience = Patience::new();
    loop {
        match write_whole(spool, EXIT, ending.to_string().as_bytes()) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(error),
            Err(_) => thread::sleep(patience.next()),
        }
    }
}

/// Why claude does not run.
enum NotBegun {
    /// Others may have taken the run over.
    Fenced,
    /// It cannot be started; the text is for a person.
    Refused(String),
}

impl From<String> for NotBegun {
    fn from(why: String) -> Self {
        NotBegun::Refused(why)
    }
}

/// Does all that can fail before claude runs.
fn begin(spool: &Path) -> Result<Keeper, NotBegun> {
    let told = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
    set_child_subreaper(Some(getpid()))
        .map_err(|error| format!("cannot look after claude's children: {error}"))?;
    let orders = Orders::read(spool).map_err(told("cannot read the orders"))?;
    let bell = open_bell(spool).map_err(told("cannot open the bell"))?;
    let mut journal = Journal::open(spool).map_err(told("cannot open the journal"))?;

    let boot_id = boot_id();
    let fence = Fence::of(spool, &boot_id);
    // Last of all that comes before the start: whoever came here may have stood still on the way.
    if fence.is_over(now()) {
        return Err(NotBegun::Fenced);
    }
    let mut child = orders.start()?;
    let claude = Pid::from_child(&child);
    let pidfd = match pidfd_open(claude, PidfdFlags::empty()) {
        Ok(pidfd) => pidfd,
        Err(error) => {
            stop_descendants();
            return Err(format!("cannot watch claude: {error}").into());
        }
    };
    let (Some(stdin), Some(stdout), Some(stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        unreachable!("all three were asked for as pipes");
    };
    for end in [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()] {
        // Cannot fail on a pipe of our own (fcntl(2)); if it did, only speed would suffer.
        let _ = rustix::io::ioctl_fionbio(end, true);
    }
    journal.take(stdout);
    Ok(Keeper {
        spool: spool.to_owned(),
        claude,
        pidfd,
        bell,
        inbox: Inbox::new(spool, stdin),
        journal,
        stderr: Stderr::new(spool, stderr),
        stop: Stop::default(),
        fence,
        boot_id,
        status: None,
        guard_is_gone: false,
        said_started: false,
        look_at: Duration::ZERO,
    })
}

/// Opened for both directions, so that it neither waits for a runner nor ends with one.
fn open_bell(spool: &Path) -> io::Result<File> {
    let path = spool.join(BELL);
    match mknodat(HERE, &path, FileType::Fifo, Mode::from_raw_mode(FILE_MODE), 0) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)
}

#[derive(Debug)]
struct Keeper {
    spool: PathBuf,
    claude: Pid,
    pidfd: OwnedFd,
    bell: File,
    inbox: Inbox,
    journal: Journal,
    stderr: Stderr,
    stop: Stop,
    fence: Fence,
    boot_id: String,
    status: Option<WaitStatus>,
    guard_is_gone: bool,
    said_started: bool,
    look_at: Duration,
}

impl Keeper {
    fn run(&mut self, life: &impl AsFd) -> Ending {
        while self.status.is_none() {
            self.turn(life);
        }
        self.inbox.close();
        stop_descendants();
        // Nobody is left who could write, so what is in the pipes is all.
        self.journal.expect_end();
        while !self.journal.is_done() {
            self.journal.advance(now());
            if let Some(due) = self.journal.due_at() {
                thread::sleep(due.saturating_sub(now()));
            }
        }
        self.stderr.finish();
        let mut patience = Patience::new();
        while self.journal.sync().is_err() && self.spool.exists() {
            thread::sleep(patience.next());
        }
        self.ending()
    }

    fn ending(&self) -> Ending {
        if self.guard_is_gone {
            return Ending::KeeperDied("the guard was killed, so claude was ended".into());
        }
        if self.fence.fell() {
            return Ending::Fenced;
        }
        let status = self.status.expect("the loop ends with a status");
        match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Ending::Code(code),
            (None, Some(signal)) => Ending::Signal(signal),
            (None, None) => Ending::KeeperDied("claude ended in a way that has no name".into()),
        }
    }

    /// Waits for one of all that can happen, and does what follows from it.
    fn turn(&mut self, life: &impl AsFd) {
        let before = now();
        // Before claude is told anything more: this process may have stood still.
        self.look_at_fence(before);
        if self.look_at <= before {
            self.look_at = before + LOOK_AGAIN;
            self.say_started();
            self.fence.look(&self.spool, &self.boot_id);
            self.look_into_inbox();
        }
        let woken = self.wait(life, before);
        self.look_at_fence(now());
        if woken.bell {
            self.hush();
            self.look_into_inbox();
        }
        if woken.stdin {
            self.feed();
        }
        self.journal.advance(now());
        self.stderr.advance();
        if woken.guard_is_gone && !self.guard_is_gone {
            self.guard_is_gone = true;
            self.inbox.shut();
            let act = self.stop.kill(now(), Graces { kill: LEFTOVER_GRACE, ..Graces::default() });
            self.carry_out(act);
        }
        let act = self.stop.tick(now());
        self.carry_out(act);
        // Also claude's own orphans, which are this process's children by now.
        while let Reaped::One(pid, status) = reap_one() {
            if pid == self.claude {
                self.status = Some(status);
            }
        }
    }

    fn wait(&self, life: &impl AsFd, now: Duration) -> Woken {
        let fence = self.fence.due_at(now);
        let until = [Some(self.look_at), self.stop.due_at(), self.journal.due_at(), fence]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(self.look_at);
        let timeout = until.saturating_sub(now);
        let mut fds = Vec::with_capacity(6);
        fds.push(PollFd::new(&self.bell, PollFlags::IN));
        fds.push(PollFd::new(&self.pidfd, PollFlags::IN));
        if !self.guard_is_gone {
            fds.push(PollFd::new(life, PollFlags::IN));
        }
        let stdin_at = fds.len();
        let to_stdin = self.inbox.wants_to_write();
        fds.extend(to_stdin.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::OUT)));
        let pipes = [self.journal.wants_to_read(), self.stderr.wants_to_read()];
        let pipes = pipes.into_iter().flatten();
        fds.extend(pipes.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));

        let timeout = Timespec::try_from(timeout).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
        if poll(&mut fds, Some(&timeout)).is_err() {
            // Interrupted, or short of memory: everything is non-blocking, so look at all of it.
            return Woken { bell: true, stdin: true, guard_is_gone: false };
        }
        let ready = |at: usize| fds.get(at).is_some_and(|fd| !fd.revents().is_empty());
        Woken {
            bell: ready(0),
            stdin: to_stdin.is_some() && ready(stdin_at),
            guard_is_gone: !self.guard_is_gone && ready(2),
        }
    }

    /// Ends claude when its time is over and the runner has told of no later renewal.
    fn look_at_fence(&mut self, now: Duration) {
        if !self.fence.is_over(now) || self.fence.fell() {
            return;
        }
        self.fence.look(&self.spool, &self.boot_id);
        if self.fence.is_over(now) {
            self.inbox.shut();
            let act = self.fence.fall(now, &mut self.stop);
            self.carry_out(act);
        }
    }

    /// Takes the rings out of the bell: one look answers all of them.
    fn hush(&mut self) {
        let mut rings = [0; 512];
        while self.bell.read(&mut rings).is_ok_and(|count| count == rings.len()) {}
    }

    fn look_into_inbox(&mut self) {
        if let Some(graces) = self.inbox.kill_asked() {
            let act = self.stop.kill(now(), graces);
            self.carry_out(act);
        }
        self.feed();
    }

    fn feed(&mut self) {
        match self.inbox.advance() {
            Asked::Nothing => {}
            Asked::End(graces) => self.stop.end(now(), graces),
        }
    }

    fn carry_out(&self, act: Act) {
        let signal = match act {
            Act::Nothing => return,
            Act::Terminate => Signal::TERM,
            Act::Kill => Signal::KILL,
        };
        // Claude is not reaped yet (its status ends the loop), so the group is its own.
        let _ = kill_process_group(self.claude, signal);
    }

    /// Says who is at work; a disk that refuses is asked again later.
    fn say_started(&mut self) {
        let number = |pid: Pid| pid.as_raw_nonzero().get().unsigned_abs();
        if self.said_started {
            return;
        }
        let started = Started {
            guard: getppid().map_or(0, number),
            keeper: number(getpid()),
            claude: number(self.claude),
            boot_id: self.boot_id.clone(),
        };
        self.said_started =
            write_whole(&self.spool, STARTED, started.to_string().as_bytes()).is_ok();
    }
}

/// What `poll` woke the keeper for. Pipes to read and claude's end need no word here: looking at
/// them costs nothing.
#[derive(Clone, Copy, Debug)]
struct Woken {
    bell: bool,
    stdin: bool,
    guard_is_gone: bool,
}
