//! The keeper as real processes: `runner-svc keep` on real spools, with small programs in claude's
//! place. Everything is looked at from outside: files, locks and `/proc`.

#[expect(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "the program's own files, of which a test needs a part"
)]
#[path = "../src"]
mod parts {
    pub mod keeper;
    pub mod spool;
    pub mod tmux;
}

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use parts::keeper;
use parts::spool::{Closing, Ending, Graces, KeeperState, Line, Spec, Spool};
use parts::tmux::Tmux;
// The parts die on command by the name `crate::crash`.
use platform::crash;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// Nothing here takes a tenth of this; it only ends a test that would hang.
const DEADLINE: Duration = Duration::from_secs(60);

const SHORT: Graces =
    Graces { close: Duration::from_millis(200), kill: Duration::from_millis(200) };
/// Graces that a test would notice: what it waits for must come without them.
const LONG: Graces = Graces { close: Duration::from_secs(600), kill: Duration::from_secs(600) };

#[test]
fn lines_reach_claude_in_order_and_once() {
    let world = World::new();
    let spool = world.spool("cat", &["cat"]);
    spool.put_line(1, "before the keeper came").expect("put");
    let keeper = world.keep(&spool);
    let mut journal = spool.journal(0);
    assert_eq!(until(|| journal.next_line().expect("read")), line("before the keeper came"));
    // 3 waits for 2, however long.
    spool.put_line(3, "three").expect("put");
    spool.put_line(2, "two").expect("put");
    for expected in ["two", "three"] {
        assert_eq!(until(|| journal.next_line().expect("read")), line(expected));
    }
    for seq in 4..=200 {
        spool.put_line(seq, &format!("line {seq}")).expect("put");
    }
    spool.put_end(201, LONG).expect("put");
    keeper.ends_with(0);
    for seq in 4..=200 {
        assert_eq!(journal.next_line().expect("read"), Some(line(&format!("line {seq}"))));
    }
    assert_eq!(journal.next_line().expect("read"), None);
    assert_eq!(spool.exit().expect("read"), Some(Ending::Code(0)));
    assert_eq!(spool.state().expect("asked"), KeeperState::Gone);
}

#[test]
fn five_megabytes_go_both_ways_at_once() {
    let world = World::new();
    let spool = world.spool("cat", &["cat"]);
    let long = "x".repeat(5_000_000);
    let keeper = world.keep(&spool);
    spool.put_line(1, &long).expect("put");
    spool.put_line(2, &long).expect("put");
    spool.put_end(3, LONG).expect("put");
    keeper.ends_with(0);
    let mut journal = spool.journal(0);
    for _ in 0..2 {
        assert!(journal.next_line().expect("read") == Some(line(&long)), "the line is whole");
    }
    assert_eq!(journal.next_line().expect("read"), None);
}

#[test]
fn claude_gets_its_own_environment_and_directory_and_nothing_else() {
    let world = World::new();
    let script = "pwd; env | sort; ls /proc/self/fd | wc -l; ps -o pgid= -p $$; echo $$";
    let spool = world.spool("env", &["sh", "-c", script, "it's \"$HOME\"; --strange", ""]);
    let keeper = world.keep_with(&spool, &[("SECRET", "s3cret")]);
    keeper.ends_with(0);
    let text = fs::read_to_string(spool.journal_path()).expect("read");
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    assert_eq!(lines[0], world.dir().display().to_string());
    let variables: Vec<_> = lines.iter().filter_map(|line| line.split_once('=')).collect();
    assert!(variables.contains(&("HOLDFAST_SPOOL", spool.name())), "{text}");
    assert!(variables.iter().any(|(key, _)| *key == "PATH"), "{text}");
    // The last three are the shell's own.
    let known = ["PATH", "HOLDFAST_SPOOL", "PWD", "_", "SHLVL"];
    let others: Vec<_> = variables.iter().filter(|(key, _)| !known.contains(key)).collect();
    assert!(others.is_empty(), "{others:?}");
    let [.., fds, group, pid] = lines[..] else { panic!("{text}") };
    assert_eq!(fds, descriptors(), "claude gets no descriptor of the keeper's but its three");
    assert_eq!(group, pid, "claude leads a group of its own");
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let world = World::new();
    let spool = world.spool("x", &["no-such-claude"]);
    world.keep(&spool).ends_with(0);
    let Some(Ending::NotStarted(why)) = spool.exit().expect("read") else { panic!("it started") };
    assert!(why.starts_with("the program no-such-claude is not in PATH="), "{why}");
    assert_eq!(spool.started().expect("read"), None);
}

#[test]
fn a_directory_that_is_gone_is_named() {
    let world = World::new();
    let spec = Spec { cwd: "/nowhere/at/all".into(), ..world.spec(&["true"]) };
    let spool = Spool::create(&world.root(), &world.name("x"), &spec, &[]).expect("made");
    world.keep(&spool).ends_with(0);
    let Some(Ending::NotStarted(why)) = spool.exit().expect("read") else { panic!("it started") };
    assert!(why.starts_with("the directory /nowhere/at/all is not there"), "{why}");
}

#[test]
fn a_file_that_is_no_program_is_named() {
    let world = World::new();
    let program = world.dir().join("claude");
    fs::write(&program, [0x7f, b'E', b'L', b'F', 0, 0]).expect("written");
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("set");
    let spool = world.spool("x", &[program.to_str().expect("a path")]);
    world.keep(&spool).ends_with(0);
    let Some(Ending::NotStarted(why)) = spool.exit().expect("read") else { panic!("it started") };
    assert!(why.contains("does not start"), "{why}");
}

#[test]
fn codes_and_signals_are_told_apart() {
    let world = World::new();
    let code = world.spool("code", &["sh", "-c", "exit 7"]);
    let signal = world.spool("signal", &["sh", "-c", "kill -KILL $$"]);
    world.keep(&code).ends_with(0);
    world.keep(&signal).ends_with(0);
    assert_eq!(code.exit().expect("read"), Some(Ending::Code(7)));
    assert_eq!(signal.exit().expect("read"), Some(Ending::Signal(9)));
}

#[test]
fn an_end_that_claude_does_not_heed_becomes_term() {
    let world = World::new();
    let spool = world.spool("x", &["sh", "-c", "exec sleep 1000"]);
    let keeper = world.keep(&spool);
    spool.put_end(1, SHORT).expect("put");
    keeper.ends_with(0);
    assert_eq!(spool.exit().expect("read"), Some(Ending::Signal(15)));
}

#[test]
fn a_claude_that_ignores_term_is_killed() {
    let world = World::new();
    let spool =
        world.spool("x", &["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1000; done"]);
    let keeper = world.keep(&spool);
    let mut journal = spool.journal(0);
    until(|| journal.next_line().expect("read"));
    spool.put_end(1, SHORT).expect("put");
    keeper.ends_with(0);
    assert_eq!(spool.exit().expect("read"), Some(Ending::Signal(9)));
}

#[test]
fn a_kill_does_not_wait_for_lines_that_claude_does_not_read() {
    let world = World::new();
    let spool = world.spool(
        "x",
        &["sh", "-c", "trap 'echo term; exit 5' TERM; echo ready; while :; do sleep 0.01; done"],
    );
    let keeper = world.keep(&spool);
    let mut journal = spool.journal(0);
    until(|| journal.next_line().expect("read"));
    spool.put_line(1, &"x".repeat(1_000_000)).expect("put");
    spool.put_kill(2, LONG).expect("put");
    keeper.ends_with(0);
    assert_eq!(spool.exit().expect("read"), Some(Ending::Code(5)));
    assert_eq!(
        journal.next_line().expect("read"),
        Some(line("term")),
        "what it said last is there"
    );
}

#[test]
fn what_claude_leaves_behind_in_a_session_of_its_own_is_gone_before_the_exit_record() {
    let world = World::new();
    let script = "(setsid sh -c 'trap \"\" TERM HUP; echo $$; while :; do sleep 1000; done' &) ; setsid -f sleep 1000; sleep 0.05; echo done";
    let spool = world.spool("x", &["sh", "-c", script]);
    world.keep(&spool).ends_with(0);
    assert_eq!(spool.exit().expect("read"), Some(Ending::Code(0)));
    assert_eq!(marked(&spool), [0; 0], "nothing of it is left");
    let text = fs::read_to_string(spool.journal_path()).expect("read");
    assert!(text.lines().any(|line| line.parse::<u32>().is_ok()), "it ran: {text}");
}

/// claude, a tool in its group, and one that left for a session of its own.
const FAMILY: &str =
    "setsid -f sh -c 'trap \"\" TERM; while :; do sleep 1000; done'; sleep 1000 & echo ready; cat";

#[test]
fn nothing_of_claude_outlives_a_killed_keeper() {
    let world = World::new();
    let spool = world.spool("x", &["sh", "-c", FAMILY]);
    let pane = world.keep(&spool);
    let started = until(|| spool.started().expect("read"));
    until(|| (3 < marked(&spool).len()).then_some(()));
    kill(started.keeper);
    pane.ends_with(0);
    assert_eq!(marked(&spool), [0; 0]);
    assert_eq!(
        spool.exit().expect("read"),
        Some(Ending::KeeperDied("the keeper was killed by signal 9".into()))
    );
    assert_eq!(spool.state().expect("asked"), KeeperState::Gone);
}

#[test]
fn nothing_of_claude_outlives_a_killed_guard() {
    let world = World::new();
    let spool = world.spool("x", &["sh", "-c", FAMILY]);
    let _pane = world.keep(&spool);
    let started = until(|| spool.started().expect("read"));
    until(|| (3 < marked(&spool).len()).then_some(()));
    kill(started.guard);
    until(|| (spool.state().expect("asked") == KeeperState::Gone).then_some(()));
    assert_eq!(marked(&spool), [0; 0]);
    assert_eq!(
        spool.exit().expect("read"),
        Some(Ending::KeeperDied("the guard was killed, so claude was ended".into()))
    );
}

/// A claude that waits for its stdin, and that TERM does not end.
const LISTENER: &str = "trap '' TERM; echo begun; read -r word; echo over";

#[test]
fn a_claude_whose_guard_was_killed_is_not_told_that_its_input_is_over() {
    let world = World::new();
    let spool = world.spool("x", &["sh", "-c", LISTENER]);
    let _pane = world.keep(&spool);
    let started = until(|| spool.started().expect("read"));
    let mut journal = spool.journal(0);
    assert_eq!(until(|| journal.next_line().expect("read")), line("begun"));
    kill(started.guard);
    until(|| (spool.state().expect("asked") == KeeperState::Gone).then_some(()));
    assert_eq!(journal.next_line().expect("read"), None, "it would be taken for an answer");
}

#[test]
fn nothing_of_claude_outlives_a_guard_and_a_keeper_killed_together() {
    let world = World::new();
    let spool = world.spool("x", &["sh", "-c", FAMILY]);
    let _pane = world.keep(&spool);
    let started = until(|| spool.started().expect("read"));
    until(|| (3 < marked(&spool).len()).then_some(()));
    let stopped = |pid| kill_process(pid_of(pid), Signal::STOP).expect("stopped");
    stopped(started.guard);
    stopped(started.keeper);
    kill(started.guard);
    kill(started.keeper);
    until(|| (spool.state().expect("asked") == KeeperState::Gone).then_some(()));
    assert_ne!(marked(&spool), [0; 0], "something is left to be ended");
    assert_eq!(spool.close_if_dead().expect("closed"), Closing::Closed);
    assert_eq!(marked(&spool), [0; 0]);
    assert_eq!(spool.exit().expect("read"), None);
}

#[test]
fn a_keeper_that_comes_after_such_a_death_starts_nothing() {
    let world = World::new();
    let spool = world.spool("x", &["sh", "-c", FAMILY]);
    let _pane = world.keep(&spool);
    let started = until(|| spool.started().expect("read"));
    kill_process(pid_of(started.guard), Signal::STOP).expect("stopped");
    kill(started.keeper);
    kill(started.guard);
    until(|| (spool.state().expect("asked") == KeeperState::Gone).then_some(()));
    world.keep(&spool).ends_with(13);
    assert_eq!(marked(&spool), [0; 0]);
    assert!(matches!(spool.exit().expect("read"), Some(Ending::KeeperDied(_))));
}

#[test]
fn a_second_keeper_leaves() {
    let world = World::new();
    let spool = world.spool("x", &["cat"]);
    let first = world.keep(&spool);
    let started = until(|| spool.started().expect("read"));
    assert_eq!(spool.state().expect("asked"), KeeperState::Alive);
    assert_eq!(spool.close_if_dead().expect("asked"), Closing::Alive);
    world.keep(&spool).ends_with(11);
    assert_eq!(spool.started().expect("read"), Some(started));
    spool.put_end(1, LONG).expect("put");
    first.ends_with(0);
    world.keep(&spool).ends_with(13);
    assert_eq!(spool.exit().expect("read"), Some(Ending::Code(0)), "the record stays");
}

#[test]
fn a_closed_spool_starts_nothing() {
    let world = World::new();
    let spool = world.spool("x", &["cat"]);
    assert_eq!(spool.close_if_dead().expect("closed"), Closing::Closed);
    world.keep(&spool).ends_with(12);
    assert_eq!((spool.started().expect("read"), spool.exit().expect("read")), (None, None));
    spool.clone().remove().expect("removed");
    world.keep(&spool).ends_with(14);
}

#[test]
fn a_pane_that_is_hung_up_changes_nothing() {
    let world = World::new();
    let spool = world.spool("x", &["cat"]);
    let mut pane = world.keep(&spool);
    until(|| spool.started().expect("read"));
    let group = pid_of(pane.0.id());
    rustix::process::kill_process_group(group, Signal::HUP).expect("hung up");
    pane.0.wait().expect("the pane is gone");
    spool.put_line(1, "still here").expect("put");
    let mut journal = spool.journal(0);
    assert_eq!(until(|| journal.next_line().expect("read")), line("still here"));
    spool.put_end(2, LONG).expect("put");
    assert_eq!(until(|| spool.exit().expect("read")), Ending::Code(0));
}

#[tokio::test]
async fn a_lost_tmux_server_does_not_lose_the_run() {
    for how in [TmuxEnd::Asked, TmuxEnd::Killed] {
        let world = World::new();
        let spool = world.spool("x", &["cat"]);
        let server = TmuxServer::new(&world);
        server.0.new_session("run", spool.dir()).await.expect("started");
        until(|| spool.started().expect("read"));
        server.end(how);
        // While the server goes, tmux says neither yes nor no.
        let begun = Instant::now();
        while !server.0.sessions().await.is_ok_and(|sessions| sessions.is_empty()) {
            assert!(begun.elapsed() < DEADLINE, "the server did not go");
        }
        spool.put_line(1, "still here").expect("put");
        let mut journal = spool.journal(0);
        assert_eq!(until(|| journal.next_line().expect("read")), line("still here"));
        assert_eq!(spool.state().expect("asked"), KeeperState::Alive);
        spool.put_end(2, LONG).expect("put");
        assert_eq!(until(|| spool.exit().expect("read")), Ending::Code(0));
    }
}

#[test]
fn a_chatty_stderr_is_bounded_and_keeps_both_ends() {
    let world = World::new();
    let script = "i=0; while [ $i -lt 40000 ]; do echo \"line $i\" >&2; i=$((i+1)); done";
    let spool = world.spool("x", &["sh", "-c", script]);
    world.keep(&spool).ends_with(0);
    let text = spool.stderr().expect("read");
    assert!(text.starts_with("line 0\nline 1\n"), "the beginning is there");
    assert!(text.ends_with("line 39998\nline 39999\n"), "the end is there");
    assert!(text.contains(" bytes left out]"), "and a word between");
    assert!(text.len() < 132_000, "{}", text.len());
}

#[test]
fn the_keeper_stays_small_while_much_goes_through_it() {
    let world = World::new();
    let spool = world.spool("x", &["cat"]);
    let keeper = world.keep(&spool);
    for seq in 1..=8 {
        spool.put_line(seq, &"x".repeat(5_000_000)).expect("put");
    }
    let mut journal = spool.journal(0);
    for _ in 1..=8 {
        until(|| journal.next_line().expect("read"));
    }
    let started = until(|| spool.started().expect("read"));
    for (who, pid) in
        [("keeper", started.keeper), ("guard", started.guard), ("pane", keeper.0.id())]
    {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
        let [own_kib, all_kib] = ["RssAnon:", "VmHWM:"].map(|key| field(&status, key));
        assert!(own_kib <= 2 * 1024, "the {who} has {own_kib} KiB of its own");
        // Without optimization the pages of the program itself, which all of them share, are more.
        assert!(cfg!(debug_assertions) || all_kib <= 6 * 1024, "the {who} took {all_kib} KiB");
    }
    spool.put_end(9, LONG).expect("put");
    keeper.ends_with(0);
}

/// A folder with spools; what still runs for one of them is ended when the test ends.
struct World {
    dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        fs::create_dir(dir.path().join("spools")).expect("made");
        World { dir }
    }

    fn dir(&self) -> PathBuf {
        self.dir.path().canonicalize().expect("it is there")
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("spools")
    }

    fn spec(&self, argv: &[&str]) -> Spec {
        Spec {
            argv: argv.iter().map(OsString::from).collect(),
            env: BTreeMap::from([("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into())]),
            cwd: self.dir(),
        }
    }

    fn spool(&self, name: &str, argv: &[&str]) -> Spool {
        Spool::create(&self.root(), &self.name(name), &self.spec(argv), &[]).expect("made")
    }

    /// No two spools of a machine have the same name.
    fn name(&self, name: &str) -> String {
        let folder = self.dir.path().file_name().expect("it has a name").display();
        format!("spool{folder}-{name}")
    }

    fn keep(&self, spool: &Spool) -> Pane {
        self.keep_with(spool, &[])
    }

    #[expect(clippy::disallowed_methods, reason = "a test starts the program that it tests")]
    fn keep_with(&self, spool: &Spool, env: &[(&str, &str)]) -> Pane {
        let mut command = Command::new(env!("CARGO_BIN_EXE_runner-svc"));
        command.arg("keep").arg(spool.dir()).envs(env.iter().copied()).current_dir(self.dir());
        command.stdin(Stdio::null()).stdout(Stdio::null()).process_group(0);
        Pane(command.spawn().expect("it starts"))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for spool in parts::spool::scan(&self.root()).unwrap_or_default() {
            if let Ok(Some(started)) = spool.started() {
                for pid in [started.keeper, started.guard] {
                    if is_ours(pid, spool.dir()) {
                        let _ = kill_process(pid_of(pid), Signal::KILL);
                    }
                }
            }
            for pid in marked(&spool) {
                let _ = kill_process(pid_of(pid), Signal::KILL);
            }
        }
    }
}

/// The pids of all that carries this spool's mark and has not ended.
fn marked(spool: &Spool) -> Vec<u32> {
    let mark = format!("HOLDFAST_SPOOL={}", spool.name());
    let has_mark = |pid: &u32| {
        fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|env| env.split(|byte| *byte == 0).any(|it| it == mark.as_bytes()))
    };
    let pids = fs::read_dir("/proc").expect("listed").flatten();
    pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(has_mark).collect()
}

fn is_ours(pid: u32, dir: &Path) -> bool {
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let dir = dir.as_os_str().as_encoded_bytes();
    command.windows(dir.len()).any(|window| window == dir)
}

/// How a tmux server ends.
#[derive(Clone, Copy)]
enum TmuxEnd {
    /// By its own command.
    Asked,
    /// By KILL.
    Killed,
}

/// A tmux server of one test.
struct TmuxServer(Tmux, String);

impl TmuxServer {
    #[expect(clippy::disallowed_methods, reason = "a test hands on its own PATH")]
    fn new(world: &World) -> Self {
        let path = std::env::var_os("PATH").expect("there is a PATH");
        let env = [("PATH".into(), path), ("TERM".into(), "xterm".into())];
        let socket = world.name("tmux");
        let program = env!("CARGO_BIN_EXE_runner-svc");
        TmuxServer(Tmux::new(&socket, program, env.into()), socket)
    }

    #[expect(clippy::disallowed_methods, reason = "a test asks tmux and ends it")]
    fn call(&self, words: &[&str]) -> String {
        let mut tmux = Command::new("tmux");
        let output = tmux.args(["-L", &self.1]).args(words).env_remove("TMUX").output();
        String::from_utf8(output.expect("it runs").stdout).expect("text").trim().to_owned()
    }

    fn end(&self, how: TmuxEnd) {
        match how {
            TmuxEnd::Asked => _ = self.call(&["kill-server"]),
            TmuxEnd::Killed => {
                kill(self.call(&["display", "-p", "#{pid}"]).parse().expect("a pid"));
            }
        }
    }
}

impl Drop for TmuxServer {
    fn drop(&mut self) {
        self.end(TmuxEnd::Asked);
        let user = rustix::process::getuid().as_raw();
        let _ = fs::remove_file(format!("/tmp/tmux-{user}/{}", self.1));
    }
}

/// The process that tmux would see.
struct Pane(Child);

impl Pane {
    #[track_caller]
    fn ends_with(mut self, code: i32) {
        let status = until(|| self.0.try_wait().expect("asked"));
        assert_eq!(status.code(), Some(code));
    }
}

impl Drop for Pane {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How many descriptors a child of this very process has: three, the one that `ls` opens, and what
/// whoever started the tests forgot to close.
#[expect(clippy::disallowed_methods, reason = "a test asks the system")]
fn descriptors() -> String {
    let output = Command::new("sh").args(["-c", "ls /proc/self/fd | wc -l"]).output();
    String::from_utf8(output.expect("it runs").stdout).expect("a number").trim().to_owned()
}

fn line(text: &str) -> Line {
    Line::Whole(text.as_bytes().to_vec())
}

fn pid_of(pid: u32) -> Pid {
    Pid::from_raw(pid.cast_signed()).expect("a pid")
}

/// Kills a process and waits until it is gone or a zombie.
fn kill(pid: u32) {
    kill_process(pid_of(pid), Signal::KILL).expect("killed");
    until(|| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let gone = test_kill_process(pid_of(pid)).is_err() || stat.contains(") Z ");
        gone.then_some(())
    });
}

fn field(status: &str, key: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("the kernel says it");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Looks again and again until there is something; each look yields the processor.
#[track_caller]
fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < DEADLINE, "it did not come");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}
