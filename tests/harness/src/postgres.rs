//! A real PostgreSQL server for gateways that share a store: made, served and ended in a temporary
//! folder.
//!
//! It listens on a loopback port and on a socket in its folder. A shell beside it holds the other end of
//! a pipe: when we are gone, however we went, the pipe ends, and it ends the server's process group.
//! Where there is no server the story fails, and says how to get one. It can be a container as well
//! (`contained.rs`), which ends itself by the same trick.

use std::env;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::contained::{self, Contained, Wanted};
use crate::ports::free_port;
use crate::processes::wait_until;

/// Faster, and safe as long as the machine does not crash: the data lives as long as the story.
const SETTINGS: [&str; 5] = [
    "listen_addresses=127.0.0.1",
    "fsync=off",
    "full_page_writes=off",
    "log_min_messages=warning",
    // Of several gateways, each with its pool, and of those that were killed a moment ago.
    "max_connections=200",
];
/// How the data is made: as little as a story needs.
const INITDB: [&str; 6] = [
    "--auth=trust",
    "--username=app",
    "--encoding=UTF8",
    "--no-locale",
    "--no-sync",
    "--no-instructions",
];
/// How long a container may take to be gone that was killed.
const GONE_WITHIN: Duration = Duration::from_secs(30);
/// Becomes the server, and ends its process group at once when there is nothing more to read. It is the
/// server that is in front: one behind would begin with SIGQUIT ignored, and miss an early one.
const WATCH: &str = "exec 3<&0; (trap '' QUIT; read -r _ <&3; kill -QUIT 0) & \
                     exec \"$@\" </dev/null 3<&-";
/// What to do where there is no server.
const HOW: &str = "no PostgreSQL: run `cargo xtask fetch`, which brings one, or set \
                   HOLDFAST_POSTGRES to a folder with bin/initdb and bin/postgres";

/// A server of our own. Dropping it ends it.
#[derive(Debug)]
pub struct Postgres {
    folder: TempDir,
    port: u16,
    server: Server,
}

/// What serves.
#[derive(Debug)]
enum Server {
    Process(Process),
    Container(Container),
}

/// A server whose programs are on this machine.
#[derive(Debug)]
struct Process {
    home: PathBuf,
    user: Option<(u32, u32)>,
    watch: Option<Child>,
}

/// A server in a container, with its data in it.
#[derive(Debug)]
struct Container {
    contained: Contained,
    /// Our end of the pipe: it ends with us.
    _pipe: File,
}

impl Postgres {
    /// Makes a server and starts it. It lets nobody in yet: a gateway waits for it. Blocks the thread.
    ///
    /// # Errors
    ///
    /// When there is none, or it cannot be made.
    pub fn start() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("pg").tempdir().context("no folder")?;
        let port = free_port()?;
        let server = if contained::is_wanted()? {
            Server::Container(Container::start(folder.path(), port)?)
        } else {
            Server::Process(Process::make(folder.path())?)
        };
        let mut postgres = Self { folder, port, server };
        postgres.serve()?;
        Ok(postgres)
    }

    /// Starts it again after a crash.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub fn serve(&mut self) -> Result<()> {
        match &mut self.server {
            Server::Process(process) => process.serve(self.folder.path(), self.port),
            Server::Container(Container { contained, .. }) if contained.ended().is_some() => {
                contained.start_again()
            }
            Server::Container(_) => Ok(()),
        }
    }

    /// Ends it as a crash would: nothing is finished, nobody is told. Blocks the thread.
    pub fn crash(&mut self) {
        match &mut self.server {
            Server::Process(process) => process.crash(),
            Server::Container(Container { contained, .. }) => {
                // One that has ended takes no signal.
                let _ = contained.signal(Signal::KILL);
                wait_until(GONE_WITHIN, || contained.ended().is_some());
            }
        }
    }

    /// Its process, while it serves.
    pub fn pid(&self) -> Option<u32> {
        match &self.server {
            Server::Process(_) => {
                let file = data(self.folder.path()).join("postmaster.pid");
                fs::read_to_string(file).ok()?.lines().next()?.trim().parse().ok()
            }
            Server::Container(Container { contained, .. }) => {
                contained.ended().is_none().then(|| contained.pid())
            }
        }
    }

    /// The folder of the programs that go with it, `pg_dump` and `pg_restore` among them.
    ///
    /// # Errors
    ///
    /// When this machine has none.
    pub fn programs() -> Result<PathBuf> {
        Ok(home().context(HOW)?.join("bin"))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// Where its database is.
    pub fn url(&self) -> String {
        Self::url_over(self.address())
    }

    /// Where the database of a server is that is reached over this address.
    pub fn url_over(address: SocketAddr) -> String {
        format!("postgres://app@{address}/postgres?sslmode=disable")
    }

    /// What it printed.
    pub fn log(&self) -> PathBuf {
        log(self.folder.path())
    }
}

fn log(folder: &Path) -> PathBuf {
    folder.join("log")
}

fn data(folder: &Path) -> PathBuf {
    folder.join("data")
}

impl Process {
    /// Makes its data in a folder.
    fn make(folder: &Path) -> Result<Self> {
        let home = home().context(HOW)?;
        // PostgreSQL refuses to be run by root.
        let user = if fs::metadata(folder)?.uid() == 0 { Some(somebody()?) } else { None };
        if let Some((uid, gid)) = user {
            chown(folder, Some(uid), Some(gid)).context("cannot give the folder away")?;
        }
        let process = Self { home, user, watch: None };
        let mut initdb = process.command(&process.home.join("bin/initdb"), folder);
        initdb.args(INITDB).arg("--pgdata").arg(data(folder));
        let made = initdb.stdin(Stdio::null()).output().context("initdb does not start")?;
        ensure!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        Ok(process)
    }

    fn serve(&mut self, folder: &Path, port: u16) -> Result<()> {
        if self.watch.is_some() {
            return Ok(());
        }
        let log = File::options().create(true).append(true).open(log(folder)).context("no log")?;
        let mut watch = self.command(Path::new("/bin/sh"), folder);
        watch.args(["-c", WATCH, "watch"]).arg(self.home.join("bin/postgres"));
        watch.arg("-D").arg(data(folder)).arg("-k").arg(folder);
        watch.args(["-p", &port.to_string()]);
        for setting in SETTINGS {
            watch.args(["-c", setting]);
        }
        watch.stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log);
        let watch = watch.process_group(0).spawn().context("PostgreSQL does not start")?;
        self.watch = Some(watch);
        Ok(())
    }

    fn crash(&mut self) {
        if let Some(mut watch) = self.watch.take() {
            drop(watch.stdin.take());
            // It ends by itself.
            let _ = watch.wait();
        }
    }

    /// A command that is run by the user that the server belongs to.
    fn command(&self, program: &Path, folder: &Path) -> Command {
        let mut command = Command::new(program);
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command.current_dir(folder);
        command
    }
}

impl Container {
    /// Starts one that serves on a port, and prints into a folder.
    fn start(folder: &Path, port: u16) -> Result<Self> {
        // The user of the image writes there, who has another number here.
        File::create(log(folder)).context("no log")?;
        fs::set_permissions(log(folder), fs::Permissions::from_mode(0o666))?;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
        let pipe = folder.join("pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o644), 0).context("no pipe")?;
        let ours = File::options().read(true).write(true).open(&pipe).context("no pipe")?;
        let wanted = Wanted {
            image: contained::POSTGRES,
            script: script(&pipe, &log(folder), port),
            env: Vec::new(),
            folder: folder.to_owned(),
            user: "postgres".to_owned(),
        };
        Ok(Self { contained: Contained::start(&wanted)?, _pipe: ours })
    }
}

/// What a container does: makes the data once, and becomes the server, which ends when the pipe does.
fn script(pipe: &Path, log: &Path, port: u16) -> String {
    let initdb = INITDB.join(" ");
    let settings = SETTINGS.map(|setting| format!(" -c {setting}")).concat();
    let (pipe, log) = (pipe.display(), log.display());
    // Debian keeps the programs off the PATH. Data that was not finished is made anew.
    format!(
        "exec >>'{log}' 2>&1; set -e; PATH=$PATH:$(echo /usr/lib/postgresql/*/bin); cd /tmp; \
         if [ ! -d data ]; then rm -rf new; initdb {initdb} -D new; mv new data; fi; \
         (read -r _ <'{pipe}' || kill -QUIT 1) & \
         exec postgres -D /tmp/data -k /tmp -p {port}{settings}"
    )
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.crash();
    }
}

/// The folder whose `bin` has a server: as for the gateway's own tests.
fn home() -> Option<PathBuf> {
    if let Some(set) = env::var_os("HOLDFAST_POSTGRES") {
        return Some(set.into()).filter(is_home);
    }
    let above =
        |postgres: PathBuf| Some(fs::canonicalize(postgres).ok()?.parent()?.parent()?.to_owned());
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&path).map(|dir| dir.join("postgres")).filter_map(above);
    let packaged = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let checkouts = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let fetched = checkouts.map(|dir| dir.join(".holdfast/cache/bin/postgres")).filter_map(above);
    on_path.chain(packaged.map(|version| version.path())).chain(fetched).find(is_home)
}

#[expect(clippy::ptr_arg, reason = "it is asked of the paths that an iterator owns")]
fn is_home(home: &PathBuf) -> bool {
    ["bin/initdb", "bin/postgres"].iter().all(|program| home.join(program).is_file())
}

/// The user and the group that run the server for root.
fn somebody() -> Result<(u32, u32)> {
    let users = fs::read_to_string("/etc/passwd").context("no /etc/passwd")?;
    let ids = |name: &str| {
        let user = users.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        let mut fields = user.split(':').skip(1);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    ["postgres", "nobody"].into_iter().find_map(ids).context("a system has the user nobody")
}
