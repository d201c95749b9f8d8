//! Opening the store: its address, what each connection is told, and its tables.
//!
//! SQLite is made where it is not there yet, closed to others; on PostgreSQL the database is
//! somebody's gift, and its tables are ours. Every start brings the tables up to date; of gateways
//! that start together on PostgreSQL one does it, and the others wait for it. PostgreSQL is asked
//! once before the pool is made, because a pool that cannot connect says only that time ran out.
//!
//! Never prints a password.

use std::error::Error;
use std::fmt;
use std::fs::{DirBuilder, OpenOptions};
use std::future::ready;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use platform::health::Readiness;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::migrate::MigrateError;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AnyConnection, ConnectOptions as _, Connection as _};
use thiserror::Error;

use super::{Store, StoreError};

/// Connections of the pool: SQLite has one writer anyway, and readers are short.
const CONNECTIONS_MAX: u32 = 4;
/// How long a call waits for a connection, or for a lock of another's, before it fails.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// The longest pause between two tries to open a store that is away.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// FULL: a commit is on disk when it returns, also in WAL mode. The time-out is [`WAIT_MAX`].
const SQLITE_SESSION: &str = "
    PRAGMA busy_timeout = 10000;
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;";

/// What our transactions rely on, whatever the server's own defaults are. A statement that waited
/// for a thread's row must see what the other one left there (READ COMMITTED), a commit must be on
/// disk when it returns, and who stops in the middle (a machine that froze or is gone) must free
/// the thread before those who wait for it give up. The lock time-out is [`WAIT_MAX`].
const POSTGRESQL_SESSION: &str = "
    SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE;
    SET lock_timeout = '10s';
    SET idle_in_transaction_session_timeout = '5s';
    SELECT set_config('synchronous_commit', 'on', FALSE)
     WHERE current_setting('synchronous_commit') = 'off';";

/// SQLSTATEs of a server that is there but not ready: starting, stopping, full, or locked by
/// another's migration (57P03, 57P01, 57P02, 53300, 55P03, 40P01).
const NOT_READY: [&str; 6] = ["57P03", "57P01", "57P02", "53300", "55P03", "40P01"];

/// Where the store is: `sqlite://FILE`, or `postgres://USER:PASSWORD@HOST:PORT/DATABASE`.
#[derive(Clone)]
pub(crate) struct StoreUrl(AnyConnectOptions);

impl StoreUrl {
    /// Whether the other one is the same place, with the same words.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.0.database_url == other.0.database_url
    }
}

/// Why a text is not where a store is.
#[derive(Debug, Error)]
pub(crate) enum StoreUrlError {
    /// It is of no database that we know, or names no file.
    #[error("must begin with sqlite:// and name a file, or with postgres:// and name a server")]
    Unknown,
    /// It begins well.
    #[error("is no address of a database: {0}")]
    Malformed(String),
}

impl StoreUrl {
    /// The file that the store is in; `None`: it is on a server.
    pub(super) fn file(&self) -> Result<Option<PathBuf>, StoreError> {
        if !self.is_sqlite() {
            return Ok(None);
        }
        let options = SqliteConnectOptions::from_url(&self.0.database_url)
            .map_err(|error| refused(self, error))?;
        Ok(Some(options.get_filename().to_owned()))
    }

    fn is_sqlite(&self) -> bool {
        self.0.database_url.scheme() == "sqlite"
    }
}

impl FromStr for StoreUrl {
    type Err = StoreUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = |error: sqlx::Error| StoreUrlError::Malformed(cause(error).to_string());
        // Each is read as its pool will read it, so that a mistake is told in time.
        match text.split_once("://") {
            Some(("sqlite", file)) if !file.is_empty() => {
                let made = if file.contains('?') { "&mode=rwc" } else { "?mode=rwc" };
                let text = format!("{text}{made}");
                text.parse::<SqliteConnectOptions>().map_err(malformed)?;
                Ok(Self(text.parse().map_err(malformed)?))
            }
            Some(("postgres" | "postgresql", server)) if !server.is_empty() => {
                text.parse::<PgConnectOptions>().map_err(malformed)?;
                Ok(Self(text.parse().map_err(malformed)?))
            }
            Some(_) | None => Err(StoreUrlError::Unknown),
        }
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut url = self.0.database_url.clone();
        // An address that can have no password has none.
        let _ = url.set_password(None);
        // Among the parameters there may be a password, too.
        url.set_query(None);
        url.fmt(f)
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Store {
    /// Opens the database and brings its tables up to date.
    ///
    /// # Errors
    ///
    /// [`StoreError::Away`] when it cannot be reached or is not ready, which may pass;
    /// [`StoreError::CannotOpen`] when it lets nobody in or has tables of a newer version.
    pub(crate) async fn open(url: &StoreUrl) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        if url.is_sqlite() {
            make_file(url)?;
        } else {
            greet(&url.0).await.map_err(|error| refused(url, error))?;
        }
        let pool = AnyPoolOptions::new()
            .max_connections(CONNECTIONS_MAX)
            .acquire_timeout(WAIT_MAX)
            .after_connect(|connection, _| Box::pin(begin_session(connection)))
            .before_acquire(|connection, _| Box::pin(ready(Ok(is_at_rest(connection)))))
            .connect_with(url.0.clone())
            .await
            .map_err(|error| refused(url, error))?;
        sqlx::migrate!().run(&pool).await.map_err(|error| outdated(url, error))?;
        Self { pool, lost: None }.remembering().await
    }
}

impl Store {
    /// Opens a database that a gateway has made: nothing is read from a new one.
    ///
    /// # Errors
    ///
    /// As for [`Store::open`], and [`StoreError::Missing`].
    pub(crate) async fn open_existing(url: &StoreUrl) -> Result<Self, StoreError> {
        if let Some(file) = url.file()?
            && !file.exists()
        {
            return Err(StoreError::Missing { place: file.display().to_string() });
        }
        Self::open(url).await
    }
}

impl StoreError {
    /// Whether waiting helps.
    fn may_pass(&self) -> bool {
        match self {
            StoreError::Away { .. } => true,
            StoreError::Database(error) => may_pass(error),
            StoreError::CannotOpen { .. }
            | StoreError::BadId(_)
            | StoreError::BadJson { .. }
            | StoreError::Taken { .. }
            | StoreError::Missing { .. }
            | StoreError::Folder { .. } => false,
        }
    }
}

/// Does what a start needs of the store, however long that is away: it may also go in the middle of
/// it. `what` is done again from its beginning.
///
/// # Errors
///
/// All that waiting does not help against.
pub(crate) async fn patiently<T, F>(
    readiness: &Readiness,
    what: impl Fn() -> F,
) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let pauses =
        ExponentialBuilder::new().with_max_delay(PAUSE_MAX).without_max_times().with_jitter();
    what.retry(pauses)
        .when(StoreError::may_pass)
        .notify(|error, pause| {
            let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
            let why = format!("{error}{cause}");
            tracing::warn!(why, pause_ms = pause.as_millis(), "trying again");
            readiness.not_ready("store", why);
        })
        .await
}

/// Asks whether a server lets us in.
async fn greet(options: &AnyConnectOptions) -> sqlx::Result<()> {
    let greeting = async { options.connect().await?.close().await };
    let late = |_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()));
    tokio::time::timeout(WAIT_MAX, greeting).await.unwrap_or_else(late)
}

async fn begin_session(connection: &mut AnyConnection) -> sqlx::Result<()> {
    let sqlite = connection.backend_name() == "SQLite";
    let settings = if sqlite { SQLITE_SESSION } else { POSTGRESQL_SESSION };
    sqlx::raw_sql(settings).execute(connection).await?;
    Ok(())
}

/// Whether nothing is open on a connection that is to be used again. SQLite ends a transaction by
/// itself when the disk is full; sqlx then cannot roll it back, believes it open for ever, and would
/// refuse every later one on that connection.
fn is_at_rest(connection: &AnyConnection) -> bool {
    !connection.is_in_transaction()
}

/// Whether a database that said so is away, or not ready yet.
fn may_pass(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    let not_ready = code.is_some_and(|code| NOT_READY.contains(&code.as_ref()));
    // A certificate that is not trusted comes as bad data, and waiting makes it no better.
    let bad_data = |error: &std::io::Error| error.kind() == std::io::ErrorKind::InvalidData;
    let away = matches!(error, sqlx::Error::Io(error) if !bad_data(error))
        || matches!(error, sqlx::Error::PoolTimedOut);
    away || not_ready
}

fn refused(url: &StoreUrl, error: sqlx::Error) -> StoreError {
    let place = url.to_string();
    let may_pass = may_pass(&error);
    let source = cause(error);
    if may_pass {
        StoreError::Away { place, source }
    } else {
        StoreError::CannotOpen { place, source }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "a foreign enum, which says that it will grow")]
fn outdated(url: &StoreUrl, error: MigrateError) -> StoreError {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            refused(url, error)
        }
        error => StoreError::CannotOpen { place: url.to_string(), source: error.into() },
    }
}

/// What is behind an error that would print its source in its own message.
#[expect(clippy::wildcard_enum_match_arm, reason = "a foreign enum, which says that it will grow")]
fn cause(error: sqlx::Error) -> Box<dyn Error + Send + Sync> {
    match error {
        sqlx::Error::Io(error) => error.into(),
        sqlx::Error::Database(error) => error.into(),
        sqlx::Error::Configuration(error) | sqlx::Error::Tls(error) => {
            error.downcast().map_or_else(|other| other, |inner| cause(*inner))
        }
        error => error.into(),
    }
}

/// Makes the file and its folder where they are not there yet: closed to others, since what people
/// asked is in it. SQLite gives the files beside it the same mode.
fn make_file(url: &StoreUrl) -> Result<(), StoreError> {
    let Some(file) = url.file()? else { return Ok(()) };
    let unusable = |path: &Path| {
        let folder = path.display().to_string();
        move |source| StoreError::Folder { folder, source }
    };
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        let mut new = DirBuilder::new();
        new.recursive(true).mode(0o700).create(folder).map_err(unusable(folder))?;
    }
    let mut new = OpenOptions::new();
    new.append(true).create(true).mode(0o600).open(&file).map_err(unusable(&file))?;
    Ok(())
}
