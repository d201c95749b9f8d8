//! What a death leaves behind, made by hand or by dying, and what the next try makes of it.

use super::*;

/// Where the repository keeps what belongs to the thread's worktree.
fn admin(world: &World) -> PathBuf {
    world.project.join(".git/worktrees").join(THREAD.to_string())
}

fn add_bench(world: &World) -> PathBuf {
    let bench = world.place().bench;
    let branch = format!("holdfast/{THREAD}");
    let words = ["worktree", "add", "-q", "--no-checkout", "-b", &branch];
    let path = bench.to_str().expect("text");
    world.git(&world.project, &[&words[..], &[path]].concat());
    bench
}

async fn assert_whole(world: &World) {
    let path = world.worktree().await;
    assert_eq!(read(&path, "a.txt"), "one\n");
    assert_eq!(world.git(&path, &["status", "--porcelain"]), "");
    assert!(!world.place().bench.exists());
    let list = world.git(&world.project, &["worktree", "list", "--porcelain"]);
    let ours: Vec<_> = list.lines().filter(|line| line.contains("/state/")).collect();
    assert_eq!(ours, [format!("worktree {}", path.display())]);
    assert!(!list.contains("locked"), "git took it for finished: {list}");
    world.git(&world.project, &["fsck", "--no-dangling"]);
}

#[tokio::test]
async fn a_worktree_without_files_is_completed() {
    let world = World::new();
    add_bench(&world);
    assert_whole(&world).await;
}

#[tokio::test]
async fn a_checkout_that_was_cut_is_completed() {
    let world = World::new();
    let bench = add_bench(&world);
    put(&bench, "a.txt", "o");
    put(&admin(&world), "index.lock", "half an index");
    assert_whole(&world).await;
}

#[tokio::test]
async fn an_add_that_was_cut_is_thrown_away() {
    // As git leaves it: the lock, the way there and the way back, and no HEAD yet.
    let world = World::new();
    add_bench(&world);
    put(&admin(&world), "locked", "initializing");
    fs::remove_file(admin(&world).join("HEAD")).expect("removed");
    assert_whole(&world).await;

    // All but the last step.
    let world = World::new();
    add_bench(&world);
    put(&admin(&world), "locked", "initializing");
    assert_whole(&world).await;

    let world = World::new();
    let bench = add_bench(&world);
    put(&admin(&world), "locked", "initializing");
    fs::remove_dir_all(bench).expect("removed");
    assert_whole(&world).await;

    let world = World::new();
    put(&admin(&world), "locked", "initializing");
    put(&world.place().bench, "what/is/this", "?");
    assert_whole(&world).await;
}

#[tokio::test]
async fn a_branch_without_a_worktree_gets_one() {
    let world = World::new();
    world.git(&world.project, &["branch", &format!("holdfast/{THREAD}")]);
    assert_whole(&world).await;
}

#[tokio::test]
async fn a_worktree_that_was_not_moved_into_its_place_is_made_again() {
    let world = World::new();
    add_bench(&world);
    fs::create_dir_all(world.place().path.parent().expect("a folder")).expect("made");
    world.place().mark(&Phase::Made { inside: String::new() }).expect("marked");
    assert_whole(&world).await;
}

#[tokio::test]
async fn a_worktree_that_was_moved_and_is_not_known_there_yet_is_connected_and_set_up() {
    let mut world = World::new();
    world.options.setup = Some("echo run >> ran.txt".into());
    let path = world.worktree().await;
    let bench = world.place().bench;
    put(&admin(&world), "gitdir", &format!("{}/.git\n", bench.display()));
    fs::remove_file(world.place().done()).expect("removed");
    fs::remove_file(path.join("ran.txt")).expect("removed");
    world.place().mark(&Phase::Made { inside: String::new() }).expect("marked");
    assert_eq!(world.worktree().await, path);
    assert_eq!(read(&path, "ran.txt"), "run\n");
    assert!(Link::read(&path).is_some());
}

#[tokio::test]
async fn a_set_up_command_that_ended_well_is_not_run_again_when_the_mark_is_missing() {
    let mut world = World::new();
    world.options.setup = Some("echo run >> ran.txt".into());
    let path = world.worktree().await;
    world.place().mark(&Phase::Made { inside: String::new() }).expect("marked");
    world.restart();
    assert_eq!(world.worktree().await, path);
    assert_eq!(read(&path, "ran.txt"), "run\n");
}

#[tokio::test]
async fn a_worktree_whose_mark_was_lost_is_taken_as_it_is() {
    let mut world = World::new();
    let path = world.worktree().await;
    put(&path, "work.txt", "not committed\n");
    fs::remove_file(path.with_extension("json")).expect("removed");
    world.options.setup = Some("git clean -fdq".into());
    assert_eq!(world.worktree().await, path);
    assert_eq!(read(&path, "work.txt"), "not committed\n");
}

#[tokio::test]
async fn what_lies_in_the_way_is_named_and_left_alone() {
    let world = World::new();
    let path = world.place().path;
    put(&path, "precious.txt", "mine\n");
    let error = world.error().await;
    assert!(error.contains(path.to_str().expect("text")), "{error}");
    // A repository of its own, too.
    world.git(&path, &["init", "-q"]);
    world.error().await;
    assert_eq!(read(&path, "precious.txt"), "mine\n");
    fs::remove_dir_all(&path).expect("removed");
    assert_whole(&world).await;
}

#[tokio::test]
async fn work_outlives_the_move_of_the_project_and_of_the_state_directory() {
    let mut world = World::new();
    put(&world.worktree().await, "work.txt", "not committed\n");
    let moved = world.dir.path().join("moved");
    fs::rename(&world.project, &moved).expect("moved");
    world.project = moved;
    assert_eq!(read(&world.worktree().await, "work.txt"), "not committed\n");

    fs::rename(world.dir.path().join("state"), world.dir.path().join("elsewhere")).expect("moved");
    world.all = Worktrees::new(&world.dir.path().join("elsewhere"), &world.env);
    let path = world.worktree().await;
    assert_eq!(read(&path, "work.txt"), "not committed\n");
    assert_eq!(world.git(&path, &["status", "--porcelain"]), "?? work.txt");
}

#[tokio::test]
async fn a_checkout_that_takes_too_long_is_an_error_and_the_next_try_completes_it() {
    let mut world = World::new();
    world.write(".gitattributes", "*.txt filter=slow\n");
    world.commit(&world.project, "A filter");
    world.git(&world.project, &["config", "filter.slow.smudge", "sleep 1000"]);
    world.all.bounds.fill = Duration::from_millis(100);
    let error = world.error().await;
    assert!(error.contains("git reset") && error.contains("took longer than"), "{error}");
    world.git(&world.project, &["config", "filter.slow.smudge", "cat"]);
    world.restart();
    assert_whole(&world).await;
}

#[tokio::test]
async fn nothing_begins_while_a_process_of_an_earlier_life_is_at_work() {
    let mut world = World::new();
    let place = world.place();
    let pipe = world.dir.path().join("pipe");
    let mode = rustix::fs::Mode::RWXU;
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).expect("made");
    let lock = place.lock(Duration::ZERO).await.expect("free");
    let mut command = process::command("cat", &world.all.git_env, &lock).expect("a lock to give");
    let mut child = command.arg(&pipe).spawn().expect("started");
    // The runner dies, and only the child has the lock.
    drop((command, lock));

    world.all.bounds.lock = Duration::ZERO;
    let error = world.error().await;
    assert!(error.contains("still at work"), "{error}");
    world.restart();
    let opened = fs::OpenOptions::new().write(true).open(&pipe).expect("cat reads");
    drop(opened);
    assert_whole(&world).await;
    assert!(child.wait().await.expect("waited").success());
}

/// Polls a future so many times, and drops it. Returns whether it was over before.
async fn cut<T>(mut polls: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|context| match future.as_mut().poll(context) {
        std::task::Poll::Ready(value) => std::task::Poll::Ready(Some(value)),
        std::task::Poll::Pending if polls == 0 => std::task::Poll::Ready(None),
        std::task::Poll::Pending => {
            polls -= 1;
            std::task::Poll::Pending
        }
    })
    .await
}

#[tokio::test]
async fn a_call_that_is_dropped_anywhere_is_completed_by_the_next() {
    let mut cuts = 0;
    for polls in 0.. {
        let mut world = World::new();
        world.write(".env", "KEY=1\n");
        world.options.copy = copies(&[".env"]);
        world.options.setup = Some("echo run >> ran.txt".into());
        world.write(".gitignore", "ran.txt\n.env\n");
        world.commit(&world.project, "Ignore");
        if cut(polls, world.all.prepare(world.site(), thread())).await.is_some() {
            break;
        }
        cuts += 1;
        world.restart();
        assert_whole(&world).await;
        let path = world.worktree().await;
        assert_eq!(
            (read(&path, ".env"), read(&path, "ran.txt")),
            ("KEY=1\n".into(), "run\n".into())
        );
    }
    assert!(10 < cuts, "the work has more than {cuts} places to be cut");
}

/// A git that dies at one of its calls.
const MORTAL: &str = r#"#!/bin/sh
calls=$(($(cat "$HOME/calls") + 1))
echo $calls > "$HOME/calls"
PATH=${PATH#*:}
[ $calls = "$(cat "$HOME/dies-at")" ] || exec git "$@"
[ "$(cat "$HOME/dies")" = before ] || git "$@"
kill -9 $$
"#;

impl World {
    /// Makes git die at the n-th call, before or after it did its work.
    fn mortal(&mut self, call: u32, when: &str) {
        let home = self.dir.path();
        put(home, "bin/git", MORTAL);
        fs::set_permissions(home.join("bin/git"), fs::Permissions::from_mode(0o755)).expect("set");
        put(home, "calls", "0");
        put(home, "dies-at", &call.to_string());
        put(home, "dies", when);
        let mut path = home.join("bin").into_os_string();
        path.push(":");
        path.push(&self.env[&OsString::from("PATH")]);
        self.env.insert("PATH".into(), path);
        self.restart();
    }

    fn calls(&self) -> u32 {
        read(self.dir.path(), "calls").trim().parse().expect("a number")
    }

    fn immortal(&mut self) {
        put(self.dir.path(), "dies-at", "never");
        self.restart();
    }
}

#[tokio::test]
async fn a_git_that_is_killed_at_any_call_leaves_what_the_next_try_completes() {
    for when in ["before", "after"] {
        for call in 1.. {
            let mut world = World::new();
            world.mortal(call, when);
            let tried = world.all.prepare(world.site(), thread()).await;
            if world.calls() < call {
                tried.expect("nothing was killed");
                assert!(5 < call, "git is called more than {call} times");
                break;
            }
            world.immortal();
            assert_whole(&world).await;
        }
    }
}

#[tokio::test]
async fn a_removal_whose_git_is_killed_at_any_call_is_completed_by_whoever_comes_next() {
    for when in ["before", "after"] {
        for call in 1.. {
            let mut world = World::new();
            world.worktree().await;
            world.mortal(call, when);
            let tried = world.all.remove(world.site(), thread()).await;
            if world.calls() < call {
                assert_eq!(tried.expect("nothing was killed"), None);
                assert!(5 < call, "git is called more than {call} times");
                break;
            }
            world.immortal();
            if call % 2 == 0 {
                assert_whole(&world).await;
                continue;
            }
            let again = world.all.remove(world.site(), thread()).await;
            assert_eq!(again.expect("removed"), None);
            let left = world.git(&world.project, &["worktree", "list"]);
            assert_eq!(left.lines().count(), 1, "{left}");
            assert_eq!(world.git(&world.project, &["branch", "--list", "holdfast/*"]), "");
        }
    }
}
