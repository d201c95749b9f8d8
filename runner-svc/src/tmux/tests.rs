//! The real tmux, each test on a server of its own.

use super::*;

/// A server that is gone when the test ends. In its windows runs a program that writes its
/// environment into the spool and stays.
struct Server {
    tmux: Tmux,
    dir: tempfile::TempDir,
}

impl Server {
    #[expect(clippy::disallowed_methods, reason = "a test hands on its own PATH")]
    fn new(name: &str) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let program = dir.path().join("it's $HOME; `x`");
        let script =
            "#!/bin/sh\nenv > \"$2/$1.part\"\nmv \"$2/$1.part\" \"$2/$1\"\nexec sleep 1000\n";
        std::fs::write(&program, script).expect("written");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&program, mode).expect("set");
        let env = BTreeMap::from([
            ("PATH".into(), std::env::var_os("PATH").expect("there is a PATH")),
            ("HOME".into(), "/".into()),
            ("TERM".into(), "xterm".into()),
            ("TMUX".into(), "/tmp/other,1,0".into()),
        ]);
        let socket = format!("holdfast-test-{}-{name}", std::process::id());
        Server { tmux: Tmux::new(socket, program, env), dir }
    }

    async fn start(&self, name: &str) {
        self.tmux.new_session(name, self.dir.path()).await.expect("started");
    }
}

impl Drop for Server {
    #[expect(clippy::disallowed_methods, reason = "a test ends what it started")]
    fn drop(&mut self) {
        let mut kill = std::process::Command::new("tmux");
        kill.args(["-L", &self.tmux.socket, "kill-server"]).env_remove("TMUX");
        let _ = kill.stderr(Stdio::null()).status();
        let user = rustix::process::getuid().as_raw();
        let _ = std::fs::remove_file(format!("/tmp/tmux-{user}/{}", self.tmux.socket));
    }
}

#[tokio::test]
async fn no_server_is_no_session_and_no_error() {
    let Server { tmux, .. } = &Server::new("none");
    assert_eq!(tmux.sessions().await.expect("asked"), [""; 0]);
    assert!(!tmux.has_session("a").await.expect("asked"));
    assert!(!tmux.kill_session("a").await.expect("asked"));
}

#[tokio::test]
async fn a_session_is_found_by_its_whole_name_only() {
    let server = Server::new("exact");
    let tmux = &server.tmux;
    server.start("1-m2-pm").await;
    assert!(!tmux.has_session("1-m2").await.expect("asked"));
    assert!(!tmux.kill_session("1-m2").await.expect("asked"));
    assert!(tmux.open_watch(SessionName("1-m2"), server.dir.path()).await.is_err());
    assert!(tmux.has_session("1-m2-pm").await.expect("asked"));
    assert!(tmux.kill_session("1-m2-pm").await.expect("killed"));
    assert_eq!(tmux.sessions().await.expect("asked"), [""; 0]);
}

#[tokio::test]
async fn a_second_try_takes_the_place_of_the_first() {
    let server = Server::new("again");
    let ids = async || {
        let output = server.tmux.call(&["list-sessions", "-F", "#{session_id}"]).await;
        String::from_utf8(output.expect("asked").stdout).expect("text")
    };
    server.start("a").await;
    server.start("other").await;
    let before = ids().await;
    server.start("a").await;
    let after = ids().await;
    assert_eq!((before.lines().count(), after.lines().count()), (2, 2));
    assert_ne!(before, after);
}

#[tokio::test]
async fn a_window_runs_without_a_shell_and_with_our_environment_alone() {
    let server = Server::new("env");
    server.start("a").await;
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    for window in ["keep", "watch"] {
        let env = loop {
            if let Ok(text) = std::fs::read_to_string(server.dir.path().join(window)) {
                break text;
            }
            assert!(std::time::Instant::now() < deadline, "the window did not run");
            tokio::task::yield_now().await;
        };
        assert!(env.contains("HOME=/\n"), "{env}");
        assert!(!env.contains("CARGO"), "what the tests were started with stays out: {env}");
    }
}

#[tokio::test]
async fn the_view_is_the_window_that_is_shown() {
    let server = Server::new("watch");
    server.start("a").await;
    let format = "#{window_name} #{window_active}";
    let output = server.tmux.call(&["list-windows", "-t", "=a:", "-F", format]).await;
    let text = String::from_utf8(output.expect("asked").stdout).expect("text");
    assert_eq!(text, "keeper 0\nwatch 1\n");
}

#[tokio::test]
async fn a_tmux_that_cannot_answer_is_an_error_and_not_an_absence() {
    let file = tempfile::NamedTempFile::new().expect("a file where a folder should be");
    let server = Server::new("broken");
    let mut env = server.tmux.env.clone();
    env.insert("TMUX_TMPDIR".into(), file.path().into());
    let broken = Tmux::new("x", "/p", env);
    assert!(matches!(broken.has_session("a").await, Err(TmuxError::Failed { .. })));
    let missing = Tmux::new("x", "/p", BTreeMap::from([("PATH".into(), "/nowhere".into())]));
    assert!(matches!(missing.sessions().await, Err(TmuxError::DoesNotStart(_))));
    assert!(matches!(missing.version().await, Err(TmuxError::DoesNotStart(_))));
}

/// A server whose tmux is this script when it is called first.
#[expect(clippy::disallowed_methods, reason = "a test hands on its own PATH")]
async fn calls_first(name: &str, script: &str) -> (Server, Result<(), TmuxError>) {
    let mut server = Server::new(name);
    let path = server.dir.path().join("bin");
    std::fs::create_dir(&path).expect("made");
    let first = path.join("tmux");
    std::fs::write(&first, script).expect("written");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&first, mode).expect("set");
    let rest = std::env::var("PATH").expect("there is a PATH");
    let all = format!("{}:{rest}", path.display());
    server.tmux.env.insert("PATH".into(), all.into());
    let started = server.tmux.new_session("a", server.dir.path()).await;
    (server, started)
}

#[tokio::test]
async fn a_session_is_started_though_the_tmux_that_was_to_start_it_is_killed_or_late() {
    for (name, script) in [
        ("killed-before", "#!/bin/sh\nrm \"$0\"\nkill -9 $$\n"),
        ("killed-after", "#!/bin/sh\nrm \"$0\"\ntmux \"$@\"\nkill -9 $$\n"),
        // Ended by its deadline.
        ("late", "#!/bin/sh\nrm \"$0\"\nexec sleep 1000\n"),
    ] {
        let (server, started) = calls_first(name, script).await;
        started.expect("started");
        assert_eq!(server.tmux.sessions().await.expect("asked"), ["a"], "{name}");
    }
}

#[tokio::test]
async fn the_tmux_of_this_machine_is_new_enough() {
    let server = Server::new("version");
    assert!(server.tmux.version().await.expect("it is").starts_with("tmux "));
}

#[test]
fn versions_are_read() {
    let version = |major, minor| Some(Version { major, minor });
    assert_eq!(Version::parse("tmux 3.3a\n"), version(3, 3));
    assert_eq!(Version::parse("tmux next-3.6"), version(3, 6));
    assert_eq!(Version::parse("tmux 2.9"), version(2, 9));
    assert_eq!(Version::parse("tmux master"), None);
    assert!(Version::parse("tmux 2.9") < Some(OLDEST));
}

#[test]
fn names_with_a_meaning_for_tmux_are_refused() {
    for bad in ["", "a.b", "a:b", "=a", "$1", "@1", "-a", "a b", "ä", &"x".repeat(101)] {
        assert!(matches!(SessionName::parse(bad), Err(TmuxError::BadName(it)) if it == bad));
    }
    assert!(SessionName::parse("123-m456_x").is_ok());
}

#[test]
fn the_attach_line_is_what_a_person_types() {
    let tmux = Tmux::new("holdfast-r1", "/p", BTreeMap::new());
    assert_eq!(tmux.attach_line("1-m2"), "tmux -L holdfast-r1 attach -r -t =1-m2");
}
