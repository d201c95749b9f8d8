//! A real PostgreSQL server for one test: made, served and ended in a temporary folder.
//!
//! Its programs are those of `HOLDFAST_POSTGRES`, of PATH, of the system's packages, or what
//! `cargo xtask fetch` brought, in this order. It listens on a socket in its folder and nowhere
//! else. A shell beside it holds the other end of a pipe: when we are gone, however we went, the
//! pipe ends, and it ends the server with its process group.
//!
//! Never skips: where there is no server the test fails, and says how to get one.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sqlx::Connection as _;
use tempfile::TempDir;
use uuid::Uuid;

use super::{Fresh, Store, StoreUrl};

/// How long a server may take until it lets us in.
const STARTS_WITHIN: Duration = Duration::from_secs(60);
/// How often it is asked.
const ASK_EVERY: Duration = Duration::from_millis(20);
/// Faster, and safe as long as the machine does not crash: the data lives as long as the test.
const SETTINGS: [&str; 5] = [
    "listen_addresses=",
    "fsync=off",
    "full_page_writes=off",
    "autovacuum=off",
    "log_min_messages=warning",
];
/// Becomes the server, and ends its process group at once when there is nothing more to read. It is the
/// server that is in front: one behind would begin with SIGQUIT ignored, and miss an early one.
const WATCH: &str = "exec 3<&0; (trap '' QUIT; read -r _ <&3; kill -QUIT 0) & \
                     exec \"$@\" </dev/null 3<&-";

/// A server that is ours alone.
pub(super) struct Server {
    home: PathBuf,
    folder: TempDir,
    user: Option<(u32, u32)>,
    watch: Option<Child>,
}

impl Server {
    /// Makes a server and starts it.
    pub(super) async fn start() -> Self {
        let mut server = Self::new();
        server.serve();
        server.let_in().await;
        server
    }

    /// Makes a server that is not started yet.
    pub(super) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("pg").tempdir().unwrap();
        // PostgreSQL refuses to be run by root.
        let root = fs::metadata(folder.path()).unwrap().uid() == 0;
        let user = root.then(somebody);
        if let Some((uid, gid)) = user {
            chown(folder.path(), Some(uid), Some(gid)).unwrap();
        }
        let server = Self { home: home(), folder, user, watch: None };
        let data = server.data();
        let mut initdb = server.command(&server.program("initdb"));
        initdb.args(["--auth=trust", "--username=app", "--encoding=UTF8", "--no-locale"]);
        let made = initdb.args(["--no-sync", "--no-instructions", "--pgdata"]).arg(&data).output();
        let made = made.unwrap_or_else(|error| {
            panic!("cannot run {}: {error}\n{HOW}", server.program("initdb").display())
        });
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        server
    }

    /// Starts it, in a process group of its own: what ends ours is told by the pipe.
    pub(super) fn serve(&mut self) {
        let log = File::options().create(true).append(true).open(self.log()).unwrap();
        let mut watch = self.command(Path::new("/bin/sh"));
        watch.args(["-c", WATCH, "watch"]).arg(self.program("postgres"));
        watch.arg("-D").arg(self.data()).arg("-k").arg(self.folder.path());
        for setting in SETTINGS {
            watch.args(["-c", setting]);
        }
        watch.stdin(Stdio::piped()).stdout(log.try_clone().unwrap()).stderr(log);
        self.watch = Some(watch.process_group(0).spawn().unwrap());
    }

    /// Waits until it lets us in.
    pub(super) async fn let_in(&self) {
        sqlx::any::install_default_drivers();
        let since = Instant::now();
        while let Err(error) = sqlx::AnyConnection::connect(&self.address("postgres")).await {
            let log = || fs::read_to_string(self.log()).unwrap_or_default();
            assert!(since.elapsed() < STARTS_WITHIN, "PostgreSQL: {error}\n{}", log());
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    /// Ends it as a crash would: nothing is finished, nobody is told.
    pub(super) fn crash(&mut self) {
        if let Some(mut watch) = self.watch.take() {
            drop(watch.stdin.take());
            watch.wait().unwrap();
        }
    }

    /// Where a database of this name is, or would be.
    pub(super) fn address(&self, name: &str) -> String {
        format!("postgres://app@localhost/{name}?host={}", self.folder.path().display())
    }

    /// A schema of its own for one promise, without tables. A database each would be the same and
    /// costs ten times as much: most of the suite's time would be spent on copies of its catalogue.
    pub(super) async fn empty(&self) -> StoreUrl {
        let name = format!("t_{}", Uuid::new_v4().simple());
        let address = self.address("postgres");
        let mut admin = sqlx::AnyConnection::connect(&address).await.unwrap();
        let text = sqlx::AssertSqlSafe(format!("CREATE SCHEMA {name}"));
        sqlx::raw_sql(text).execute(&mut admin).await.unwrap();
        admin.close().await.unwrap();
        format!("{address}&options[search_path]={name}").parse().unwrap()
    }

    /// A store of its own for one promise.
    pub(super) async fn fresh(&self) -> Fresh {
        let url = self.empty().await;
        Fresh { store: Store::open(&url).await.unwrap(), url, _folder: None }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn program(&self, name: &str) -> PathBuf {
        self.home.join("bin").join(name)
    }

    /// A command that is run by the user that the server belongs to.
    #[expect(clippy::disallowed_methods, reason = "a test starts the server that it needs")]
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.crash();
    }
}

/// What to do where there is no server.
const HOW: &str = "Run `cargo xtask fetch`, which brings one; or install PostgreSQL \
    (`apt-get install postgresql` or `brew install postgresql`); or set HOLDFAST_POSTGRES to a \
    folder with bin/initdb and bin/postgres. Run by root, the tests start it as the user postgres \
    or nobody, who must be able to read it.";

/// The folder whose `bin` has a server.
#[expect(clippy::disallowed_methods, reason = "a test asks the environment for the server")]
fn home() -> PathBuf {
    if let Some(set) = std::env::var_os("HOLDFAST_POSTGRES") {
        let home = PathBuf::from(set);
        assert!(is_home(&home), "HOLDFAST_POSTGRES is {}. {HOW}", home.display());
        return home;
    }
    // A link on PATH, and in the cache, leads to where the programs lie together.
    let above =
        |postgres: PathBuf| Some(fs::canonicalize(postgres).ok()?.parent()?.parent()?.into());
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|dir| dir.join("postgres")).filter_map(above);
    let packaged = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let checkouts = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let fetched = checkouts.map(|dir| dir.join(".holdfast/cache/bin/postgres")).filter_map(above);
    let mut found = on_path.chain(packaged.map(|version| version.path())).chain(fetched);
    let found = found.find(|home: &PathBuf| is_home(home));
    found.unwrap_or_else(|| panic!("no PostgreSQL. {HOW}"))
}

fn is_home(home: &Path) -> bool {
    ["bin/initdb", "bin/postgres"].iter().all(|program| home.join(program).is_file())
}

/// The user and the group that run the server for root.
fn somebody() -> (u32, u32) {
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let ids = |name: &str| {
        let user = users.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        let mut fields = user.split(':').skip(1);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    ["postgres", "nobody"].into_iter().find_map(ids).expect("a system has the user nobody")
}
