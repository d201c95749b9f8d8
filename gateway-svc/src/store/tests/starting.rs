//! How the store begins: with a server that is away, with others, on a server with other settings.

use platform::health::Readiness;
use sqlx::Connection as _;

use super::*;

fn chain(error: StoreError) -> String {
    format!("{:#}", anyhow::Error::from(error))
}

async fn setting(store: &Store, name: &'static str) -> String {
    sqlx::query_scalar("SELECT current_setting($1)")
        .bind(name)
        .fetch_one(&store.pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_server_that_is_away_is_named_without_its_password() {
    // Nothing listens on the first port.
    let url: StoreUrl = "postgres://app:hush@127.0.0.1:1/holdfast?password=hush".parse().unwrap();
    let error = Store::open(&url).await.unwrap_err();
    assert!(matches!(error, StoreError::Away { .. }), "{error:?}");
    let said = format!("{} {url:?}", chain(error));
    assert!(said.contains("postgres://app@127.0.0.1:1/holdfast is away"), "{said}");
    assert!(said.contains("refused") && !said.contains("hush"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_waits_for_its_server_and_outlives_its_crash() {
    let mut server = Server::new();
    let url: StoreUrl = server.address("postgres").parse().unwrap();
    let readiness = Readiness::new(&["store"]);
    let mut opening = JoinSet::new();
    let (patient, told) = (url.clone(), readiness.clone());
    opening.spawn(async move { patiently(&told, || Store::open(&patient)).await });
    while !readiness.missing().contains("is away") {
        tokio::task::yield_now().await;
    }
    server.serve();
    let store = opening.join_next().await.unwrap().unwrap().unwrap();
    assert!(store.accept(&new_run(7, 7), &[row("a")], 1).await.unwrap());

    server.crash();
    assert!(store.accept(&new_run(8, 7), &[], 1).await.is_err(), "there is no server");
    server.serve();
    server.let_in().await;
    assert!(!store.accept(&new_run(7, 7), &[row("b")], 2).await.unwrap(), "it is remembered");
    assert!(store.accept(&new_run(8, 7), &[], 2).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_is_made_again_when_the_server_goes_in_its_middle() {
    let server = std::sync::Mutex::new(Server::start().await);
    let url: StoreUrl = server.lock().unwrap().address("postgres").parse().unwrap();
    let readiness = Readiness::new(&["store"]);
    let tries = std::sync::atomic::AtomicU32::new(0);
    let start = async || {
        if tries.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 1 {
            server.lock().unwrap().serve();
        }
        let store = Store::open(&url).await?;
        if tries.load(std::sync::atomic::Ordering::SeqCst) == 1 {
            server.lock().unwrap().crash();
        }
        store.note("bus", "b").await?;
        Ok(store)
    };
    let store = patiently(&readiness, start).await.unwrap();
    assert!(readiness.missing().contains("store"), "{}", readiness.missing());
    assert_eq!(store.noted("bus").await.unwrap().as_deref(), Some("b"));
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_on_postgresql_start_together_and_rely_on_no_default_of_the_server() {
    let server = Server::start().await;
    let url = server.empty().await;
    let mut opening = JoinSet::new();
    for _ in 0..8 {
        let url = url.clone();
        opening.spawn(async move { Store::open(&url).await });
    }
    for opened in opening.join_all().await {
        assert!(!opened.unwrap().is_judged("7".parse().unwrap()).await.unwrap());
    }

    let nowhere = Store::open(&server.address("nowhere").parse().unwrap()).await.unwrap_err();
    assert!(matches!(nowhere, StoreError::CannotOpen { .. }), "waiting helps nobody: {nowhere:?}");
    let said = chain(nowhere);
    assert!(said.contains("database \"nowhere\" does not exist"), "{said}");

    let mut admin = sqlx::AnyConnection::connect(&server.address("postgres")).await.unwrap();
    for (name, value) in [
        ("default_transaction_isolation", "serializable"),
        ("default_transaction_read_only", "on"),
        ("synchronous_commit", "off"),
        ("idle_in_transaction_session_timeout", "0"),
    ] {
        let text = format!("ALTER ROLE app SET {name} = '{value}'");
        sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(&mut admin).await.unwrap();
    }
    let store = Store::open(&url).await.unwrap();
    assert_eq!(setting(&store, "transaction_isolation").await, "read committed");
    assert_eq!(setting(&store, "synchronous_commit").await, "on");
    assert_eq!(setting(&store, "idle_in_transaction_session_timeout").await, "5s");
    assert_eq!(setting(&store, "lock_timeout").await, "10s");
    assert!(store.accept(&new_run(7, 7), &[], 1).await.unwrap());
}

pub(super) async fn tables_of_a_newer_version_are_refused(fresh: Fresh) {
    let newer = "UPDATE _sqlx_migrations SET version = 9999
                  WHERE version = (SELECT MAX(version) FROM _sqlx_migrations)";
    sqlx::query(newer).execute(&fresh.store.pool).await.unwrap();
    let error = Store::open(&fresh.url).await.unwrap_err();
    assert!(matches!(error, StoreError::CannotOpen { .. }), "{error:?}");
    assert!(chain(error).contains("9999"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_in_a_file_is_closed_to_others() {
    use std::os::unix::fs::PermissionsExt as _;
    let fresh = Fresh::on_sqlite().await;
    let _alone = fresh.store.take(&fresh.url).await.unwrap();
    fresh.store.accept(&new_run(7, 7), &[], 1).await.unwrap();
    let file = fresh.url.file().unwrap().unwrap();
    let folder = file.parent().unwrap();
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(folder), mode(folder.parent().unwrap())), (0o700, 0o700));
    let mut names = Vec::new();
    for beside in folder.read_dir().unwrap() {
        let path = beside.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        names.push(path.file_name().unwrap().to_string_lossy().into_owned());
    }
    names.sort();
    assert_eq!(names, ["gateway.db", "gateway.db-shm", "gateway.db-wal", "gateway.db.lock"]);
}

#[test]
fn an_address_is_of_sqlite_or_of_postgresql() {
    let store = |text: &str| text.parse::<StoreUrl>().map_err(|error| error.to_string());
    for text in
        ["sqlite:///var/lib/gateway.db", "postgres://app@db/app", "postgresql://db:5433/app"]
    {
        assert_eq!(store(text).unwrap().to_string(), text);
    }
    for text in ["mysql://db/app", "sqlite://", "postgres://", "gateway.db", ""] {
        assert!(store(text).unwrap_err().starts_with("must begin with sqlite://"), "{text}");
    }
    let never = store("postgres://db/app?sslmode=never").unwrap_err();
    assert_eq!(never, "is no address of a database: unknown value \"never\" for `ssl_mode`");
    for text in ["postgres://db:port/app", "sqlite://f?mode=x"] {
        assert!(store(text).unwrap_err().starts_with("is no address of a database"), "{text}");
    }
}
