//! A real PostgreSQL server for gateways that share a store: made, served and ended in a temporary
//! folder.
//!
//! It listens on a loopback port and on a socket in its folder. A shell between us holds the other end of
//! a pipe: when we are gone, however we went, the pipe ends, and it ends the server by its process
//! id. Where there is no server the story fails, and says how to get one.

use std::env;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use crate::ports::free_port;

/// Faster, and safe as long as the machine does not crash: the data lives as long as the story.
const SETTINGS: [&str; 5] = [
    "listen_addresses=127.0.0.1",
    "fsync=off",
    "full_page_writes=off",
    "log_min_messages=warning",
    // Of several gateways, each with its pool, and of those that were killed a moment ago.
    "max_connections=200",
];
/// Starts the server, and ends it at once when there is nothing more to read.
const WATCH: &str = r#""$@" & server=$!; read -r _; kill -QUIT "$server"; wait "$server""#;
/// What to do where there is no server.
const HOW: &str = "no PostgreSQL: run `cargo xtask fetch`, which brings one, or set \
                   HOLDFAST_POSTGRES to a folder with bin/initdb and bin/postgres";

/// A server of our own. Dropping it ends it.
#[derive(Debug)]
pub struct Postgres {
    home: PathBuf,
    folder: TempDir,
    user: Option<(u32, u32)>,
    port: u16,
    watch: Option<Child>,
}

impl Postgres {
    /// Makes a server and starts it. It lets nobody in yet: a gateway waits for it. Blocks the thread.
    ///
    /// # Errors
    ///
    /// When there is none, or it cannot be made.
    pub fn start() -> Result<Self> {
        let home = home().context(HOW)?;
        let folder = tempfile::Builder::new().prefix("pg").tempdir().context("no folder")?;
        // PostgreSQL refuses to be run by root.
        let user = if fs::metadata(folder.path())?.uid() == 0 { Some(somebody()?) } else { None };
        if let Some((uid, gid)) = user {
            chown(folder.path(), Some(uid), Some(gid)).context("cannot give the folder away")?;
        }
        let mut server = Self { home, folder, user, port: free_port()?, watch: None };
        let mut initdb = server.command(&server.home.join("bin/initdb"));
        initdb.args(["--auth=trust", "--username=app", "--encoding=UTF8", "--no-locale"]);
        initdb.args(["--no-sync", "--no-instructions", "--pgdata"]).arg(server.data());
        let made = initdb.stdin(Stdio::null()).output().context("initdb does not start")?;
        ensure!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        server.serve()?;
        Ok(server)
    }

    /// Starts it again after a crash.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub fn serve(&mut self) -> Result<()> {
        if self.watch.is_some() {
            return Ok(());
        }
        let log = File::options().create(true).append(true).open(self.log()).context("no log")?;
        let mut watch = self.command(Path::new("/bin/sh"));
        watch.args(["-c", WATCH, "watch"]).arg(self.home.join("bin/postgres"));
        watch.arg("-D").arg(self.data()).arg("-k").arg(self.folder.path());
        watch.args(["-p", &self.port.to_string()]);
        for setting in SETTINGS {
            watch.args(["-c", setting]);
        }
        watch.stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log);
        let watch = watch.process_group(0).spawn().context("PostgreSQL does not start")?;
        self.watch = Some(watch);
        Ok(())
    }

    /// Ends it as a crash would: nothing is finished, nobody is told. Blocks the thread.
    pub fn crash(&mut self) {
        if let Some(mut watch) = self.watch.take() {
            drop(watch.stdin.take());
            // It ends by itself.
            let _ = watch.wait();
        }
    }

    /// Its process, while it serves.
    pub fn pid(&self) -> Option<u32> {
        let text = fs::read_to_string(self.data().join("postmaster.pid")).ok()?;
        text.lines().next()?.trim().parse().ok()
    }

    /// The folder of its programs, `pg_dump` and `pg_restore` among them.
    pub fn programs(&self) -> PathBuf {
        self.home.join("bin")
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
        self.folder.path().join("log")
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A command that is run by the user that the server belongs to.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command.current_dir(self.folder.path());
        command
    }
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
