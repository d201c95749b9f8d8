//! The real git, in temporary folders, with settings of its own.

mod carrying;
mod half_made;
mod sweeping;

use super::*;
use futures_util::future::join_all;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

/// A project, a state directory, and a git that knows nothing of whoever runs the tests.
struct World {
    dir: tempfile::TempDir,
    all: Worktrees,
    env: BTreeMap<OsString, OsString>,
    name: ProjectName,
    project: PathBuf,
    options: Options,
}

impl Workplace {
    fn path(&self) -> &Path {
        match self {
            Self::Worktree { path, .. } | Self::Directory { path, .. } => path,
        }
    }
}

const THREAD: u64 = 1_442_918_300_000_000_001;

fn id(number: u64) -> ThreadId {
    ThreadId::new(number).expect("an id")
}

fn thread() -> ThreadId {
    id(THREAD)
}

impl World {
    /// A folder that git knows nothing of.
    #[expect(clippy::disallowed_methods, reason = "a test hands on its own PATH")]
    fn bare_folder() -> Self {
        let dir = tempfile::Builder::new().prefix("wörld of trees ").tempdir().expect("a folder");
        let env = BTreeMap::from([
            ("PATH".into(), std::env::var_os("PATH").expect("there is a PATH")),
            ("HOME".into(), dir.path().into()),
            ("GIT_CONFIG_NOSYSTEM".into(), "1".into()),
            // Would lead git astray, and must not reach it.
            ("GIT_DIR".into(), "/nowhere".into()),
        ]);
        let settings = "[user]\nname = Ada\nemail = ada@example.org\n[init]\ndefaultBranch = main\n\
                        [protocol \"file\"]\nallow = always\n";
        fs::write(dir.path().join(".gitconfig"), settings).expect("written");
        let project = dir.path().join("my ünusual app");
        fs::create_dir(&project).expect("made");
        let state_dir = dir.path().join("state");
        let options = Options { worktree: true, copy: Vec::new(), setup: None };
        let name = "app".parse().expect("a name");
        World { all: Worktrees::new(&state_dir, &env), dir, env, name, project, options }
    }

    /// A repository without a commit.
    fn unborn() -> Self {
        let world = Self::bare_folder();
        world.git(&world.project, &["init", "-q"]);
        world
    }

    /// A repository with a commit that has `a.txt`.
    fn new() -> Self {
        let world = Self::unborn();
        world.write("a.txt", "one\n");
        world.commit(&world.project, "First");
        world
    }

    fn write(&self, name: &str, text: &str) {
        put(&self.project, name, text);
    }

    fn site(&self) -> Site<'_> {
        Site { project: &self.name, directory: &self.project, options: &self.options }
    }

    async fn prepare(&self) -> Workplace {
        self.all.prepare(self.site(), thread()).await.expect("prepared")
    }

    async fn worktree(&self) -> PathBuf {
        match self.prepare().await {
            Workplace::Worktree { path, branch } => {
                assert_eq!(branch, format!("holdfast/{THREAD}"));
                path
            }
            Workplace::Directory { why, .. } => panic!("no worktree: {why:?}"),
        }
    }

    async fn error(&self) -> String {
        let error = self.all.prepare(self.site(), thread()).await.expect_err("refused");
        chain(&error)
    }

    async fn why_not(&self) -> String {
        match self.prepare().await {
            Workplace::Worktree { path, .. } => panic!("a worktree: {}", path.display()),
            Workplace::Directory { path, why } => {
                assert_eq!(path, self.project);
                why.expect("there is a reason")
            }
        }
    }

    /// The runner's next life.
    fn restart(&mut self) {
        self.all = Worktrees::new(&self.dir.path().join("state"), &self.env);
    }

    fn place(&self) -> Place {
        Place::new(&self.all.root, &self.name, thread())
    }

    /// Commits all that lies there.
    fn commit(&self, dir: &Path, subject: &str) {
        self.git(dir, &["add", "."]);
        self.git(dir, &["commit", "-qm", subject]);
    }

    fn git(&self, dir: &Path, words: &[&str]) -> String {
        let (is_ok, out) = self.try_git(dir, words);
        assert!(is_ok, "git {words:?}: {out}");
        out
    }

    #[expect(clippy::disallowed_methods, reason = "a test looks at what was made")]
    fn try_git(&self, dir: &Path, words: &[&str]) -> (bool, String) {
        let mut git = std::process::Command::new("git");
        git.env_clear().envs(&self.env).env_remove("GIT_DIR").arg("-C").arg(dir).args(words);
        let output = git.output().expect("git starts");
        let text = [&output.stdout[..], &output.stderr[..]].concat();
        (output.status.success(), String::from_utf8_lossy(&text).trim().to_owned())
    }

    /// All that a project's directory and repository have to say about themselves.
    fn portrait(&self) -> String {
        let words: [&[&str]; 4] = [
            &["status", "--porcelain", "--ignored"],
            &["symbolic-ref", "HEAD"],
            &["rev-parse", "HEAD"],
            &["diff", "HEAD"],
        ];
        words.map(|words| self.git(&self.project, words)).join("\n")
    }
}

fn put(dir: &Path, name: &str, text: &str) {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    fs::write(path, text).expect("written");
}

fn read(dir: &Path, name: &str) -> String {
    fs::read_to_string(dir.join(name)).expect("there is the file")
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

fn copies(names: &[&str]) -> Vec<CopyPath> {
    names.iter().map(|name| name.parse().expect("in the project")).collect()
}

#[tokio::test]
async fn a_thread_gets_a_worktree_of_its_own_from_the_projects_head() {
    let world = World::new();
    let path = world.worktree().await;
    assert_eq!(path, world.dir.path().join("state/worktrees/app").join(THREAD.to_string()));
    assert_eq!(read(&path, "a.txt"), "one\n");
    assert_eq!(world.git(&path, &["status", "--porcelain"]), "");
    let branch = world.git(&path, &["symbolic-ref", "--short", "HEAD"]);
    assert_eq!(branch, format!("holdfast/{THREAD}"));
    let heads = [&path, &world.project].map(|dir| world.git(dir, &["rev-parse", "HEAD"]));
    assert_eq!(heads[0], heads[1]);
}

#[tokio::test]
async fn a_second_call_finds_the_worktree_with_the_work_in_it() {
    let mut world = World::new();
    let path = world.worktree().await;
    put(&path, "a.txt", "changed\n");
    put(&path, "new.txt", "new\n");
    // The project goes on meanwhile; the thread stays where it began.
    world.write("b.txt", "b\n");
    world.commit(&world.project, "Second");
    assert_eq!(world.worktree().await, path);
    world.restart();
    assert_eq!(world.worktree().await, path);
    assert_eq!(read(&path, "a.txt"), "changed\n");
    assert_eq!(read(&path, "new.txt"), "new\n");
    assert!(!path.join("b.txt").exists());
}

#[tokio::test]
async fn a_dirty_project_is_not_touched_and_its_changes_stay_there() {
    let world = World::new();
    world.write("a.txt", "dirty\n");
    world.write("staged.txt", "staged\n");
    world.git(&world.project, &["add", "staged.txt"]);
    world.write("untracked.txt", "untracked\n");
    let before = world.portrait();
    let path = world.worktree().await;
    assert_eq!(world.portrait(), before);
    assert_eq!(read(&path, "a.txt"), "one\n");
    assert!(!path.join("staged.txt").exists() && !path.join("untracked.txt").exists());
}

#[tokio::test]
async fn a_branch_that_is_there_is_taken_up_again() {
    let world = World::new();
    let branch = format!("holdfast/{THREAD}");
    world.git(&world.project, &["checkout", "-qb", &branch]);
    world.write("work.txt", "of another day\n");
    world.commit(&world.project, "Work");
    let error = world.error().await;
    assert!(error.contains(&branch) && error.contains("my ünusual app"), "{error}");
    world.git(&world.project, &["checkout", "-q", "main"]);
    assert_eq!(read(&world.worktree().await, "work.txt"), "of another day\n");
}

#[tokio::test]
async fn without_git_the_thread_works_in_the_directory_and_is_told_why_once() {
    let mut world = World::bare_folder();
    assert_eq!(world.why_not().await, "it is no git repository");
    assert_eq!(world.why_not().await, "it is no git repository", "nobody has said it yet");
    world.all.said(&world.name, thread()).expect("noted");
    let there = Workplace::Directory { path: world.project.clone(), why: None };
    assert_eq!(world.prepare().await, there);
    // It stays where it began.
    world.git(&world.project, &["init", "-q"]);
    world.git(&world.project, &["commit", "-q", "--allow-empty", "-m", "First"]);
    assert_eq!(world.prepare().await, there);

    world.env.insert("PATH".into(), world.dir.path().into());
    let without_git = Worktrees::new(&world.dir.path().join("state"), &world.env);
    let other = id(7);
    let place = without_git.prepare(world.site(), other).await.expect("prepared");
    let why = Some("git is not installed on this host".to_owned());
    assert_eq!(place, Workplace::Directory { path: world.project.clone(), why });
}

#[tokio::test]
async fn what_git_cannot_make_a_worktree_of_is_named() {
    assert_eq!(World::unborn().why_not().await, "nothing is committed there yet");

    let world = World::bare_folder();
    world.git(&world.project, &["init", "-q", "--bare"]);
    assert_eq!(world.why_not().await, "its git repository is bare");

    let mut world = World::new();
    world.project.push(".git");
    assert_eq!(world.why_not().await, "git has no files there");

    let mut world = World::new();
    world.write("not/committed.txt", "x");
    world.project.push("not");
    assert_eq!(world.why_not().await, "git has no files of it");

    let world = World::new();
    world.write(".git/config", "[core\n");
    let why = world.why_not().await;
    assert!(why.starts_with("git does not take its repository (bad config line 1"), "{why}");
}

#[tokio::test]
async fn worktrees_are_not_made_where_the_projects_git_would_see_them() {
    let mut world = World::new();
    let state = world.project.join("state");
    world.all = Worktrees::new(&state, &world.env);
    assert!(world.why_not().await.contains("state directory lies in it"));

    world.write(".gitignore", "/state/\n");
    let other = id(7);
    let place = world.all.prepare(world.site(), other).await.expect("prepared");
    assert_eq!(place.path(), state.join("worktrees/app/7"), "git looks away");
}

#[tokio::test]
async fn a_project_that_wants_no_worktrees_has_none_and_nothing_to_say() {
    let mut world = World::new();
    world.options.worktree = false;
    let there = Workplace::Directory { path: world.project.clone(), why: None };
    assert_eq!(world.prepare().await, there);
    world.options.worktree = true;
    assert_eq!(world.prepare().await, there, "the thread stays where it began");
    assert_eq!(world.git(&world.project, &["branch", "--list", "holdfast/*"]), "");
}

#[tokio::test]
async fn a_thread_keeps_its_worktree_when_the_project_wants_none_any_more() {
    let mut world = World::new();
    let path = world.worktree().await;
    world.options.worktree = false;
    assert_eq!(world.worktree().await, path);
    fs::remove_dir_all(&path).expect("removed by hand");
    let there = Workplace::Directory { path: world.project.clone(), why: None };
    assert_eq!(world.prepare().await, there, "now there is nothing to keep");
}

#[tokio::test]
async fn a_worktree_that_was_deleted_by_hand_is_made_again_with_its_commits() {
    let world = World::new();
    let path = world.worktree().await;
    put(&path, "b.txt", "b\n");
    world.commit(&path, "Work");
    fs::remove_dir_all(&path).expect("removed by hand");
    assert_eq!(read(&world.worktree().await, "b.txt"), "b\n");
    fs::remove_dir_all(&path).expect("removed by hand");
    world.git(&world.project, &["worktree", "prune"]);
    fs::create_dir(&path).expect("an empty folder is nothing");
    assert_eq!(read(&world.worktree().await, "b.txt"), "b\n");
}

#[tokio::test]
async fn a_project_in_a_folder_of_its_repository_is_worked_on_in_that_folder() {
    let mut world = World::new();
    world.write("packages/ä b/main.txt", "main\n");
    world.commit(&world.project, "Package");
    world.write("packages/ä b/.env", "KEY=1\n");
    world.project.push("packages/ä b");
    world.options.copy = copies(&[".env"]);
    let path = world.worktree().await;
    assert!(path.ends_with(format!("{THREAD}/packages/ä b")), "{}", path.display());
    assert_eq!(read(&path, "main.txt"), "main\n");
    assert_eq!(read(&path, ".env"), "KEY=1\n");
    assert_eq!(read(&path, "../../a.txt"), "one\n");
    fs::remove_dir_all(&path).expect("claude may do that");
    assert!(world.worktree().await.is_dir());
}

#[tokio::test]
async fn a_project_that_is_a_worktree_itself_branches_from_its_own_head() {
    let mut world = World::new();
    let linked = world.dir.path().join("linked");
    let words = ["worktree", "add", "-qb", "feature", linked.to_str().expect("text")];
    world.git(&world.project, &words);
    put(&linked, "feature.txt", "f\n");
    world.commit(&linked, "Feature");
    world.project.clone_from(&linked);
    let path = world.worktree().await;
    assert_eq!(read(&path, "feature.txt"), "f\n");
    world.git(&linked, &["status"]);
}

#[tokio::test]
async fn submodules_are_empty_until_the_set_up_fetches_them() {
    let mut world = World::new();
    let library = world.dir.path().join("library");
    fs::create_dir(&library).expect("made");
    world.git(&library, &["init", "-q"]);
    put(&library, "lib.txt", "lib\n");
    world.commit(&library, "Library");
    let words = ["submodule", "--quiet", "add", library.to_str().expect("text"), "lib"];
    world.git(&world.project, &words);
    world.git(&world.project, &["commit", "-qm", "Submodule"]);

    let path = world.worktree().await;
    assert_eq!(fs::read_dir(path.join("lib")).expect("there").count(), 0);
    assert_eq!(world.all.remove(world.site(), thread()).await.expect("asked"), None);

    world.options.setup = Some("git submodule --quiet update --init".into());
    let path = world.worktree().await;
    assert_eq!(read(&path, "lib/lib.txt"), "lib\n");
    let stays = world.all.remove(world.site(), thread()).await.expect("asked");
    assert_eq!(stays, Some(Stays::Submodule));
    assert_eq!(read(&path, "lib/lib.txt"), "lib\n");
}

#[tokio::test]
async fn the_projects_hooks_do_not_run() {
    let world = World::new();
    let hook = world.project.join(".git/hooks/post-checkout");
    fs::write(&hook, "#!/bin/sh\nexit 1\n").expect("written");
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).expect("set");
    world.worktree().await;
}

#[tokio::test]
async fn files_are_copied_and_overwrite_nothing() {
    let mut world = World::new();
    world.write("a.txt", "dirty\n");
    world.write(".env", "KEY=1\n");
    world.write("config/local.toml", "x = 1\n");
    fs::set_permissions(world.project.join(".env"), fs::Permissions::from_mode(0o400))
        .expect("set");
    world.options.copy = copies(&[".env", "config/local.toml", "a.txt", "not/there"]);
    let path = world.worktree().await;
    assert_eq!(read(&path, ".env"), "KEY=1\n");
    assert_eq!(read(&path, "config/local.toml"), "x = 1\n");
    assert_eq!(read(&path, "a.txt"), "one\n", "a file of the commit stays");
    let mode = fs::metadata(path.join(".env")).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o400);
    assert!(!path.join("not").join("there").exists());
}

#[tokio::test]
async fn a_copy_never_leaves_the_project_or_the_worktree() {
    let outside = tempfile::tempdir().expect("a folder");
    put(outside.path(), "secret", "s\n");
    let link = |target: &Path, at: PathBuf| std::os::unix::fs::symlink(target, at).expect("linked");

    let mut world = World::new();
    link(&outside.path().join("secret"), world.project.join(".env"));
    world.options.copy = copies(&[".env"]);
    let error = world.error().await;
    assert!(error.contains(".env") && error.contains("outside"), "{error}");

    let mut world = World::new();
    let branch = format!("holdfast/{THREAD}");
    world.git(&world.project, &["checkout", "-qb", &branch]);
    link(outside.path(), world.project.join("conf"));
    world.commit(&world.project, "A link");
    world.git(&world.project, &["checkout", "-q", "main"]);
    world.write("conf/local", "l\n");
    world.options.copy = copies(&["conf/local"]);
    let error = world.error().await;
    assert!(error.contains("conf/local") && error.contains("outside"), "{error}");
    assert!(!outside.path().join("local").exists());

    let mut world = World::new();
    world.write("folder/x", "x\n");
    world.options.copy = copies(&["folder"]);
    let error = world.error().await;
    assert!(error.contains("folder") && error.contains("no file"), "{error}");
    world.options.copy.clear();
    world.worktree().await;
}

#[tokio::test]
async fn the_set_up_command_runs_once_in_the_new_worktree() {
    let mut world = World::new();
    world.options.setup =
        Some(r#"echo "it's $PWD"; echo run >> ran.txt; test -z "$GIT_DIR" && cat"#.into());
    let path = world.worktree().await;
    world.worktree().await;
    assert_eq!(read(&path, "ran.txt"), "run\n");
    let log = fs::read_to_string(world.place().log()).expect("kept");
    assert!(log.contains("$ echo") && log.contains(&format!("it's {}", path.display())), "{log}");
    fs::remove_dir_all(&path).expect("removed by hand");
    world.worktree().await;
    assert_eq!(read(&path, "ran.txt"), "run\n", "a new worktree is set up anew");
}

#[tokio::test]
async fn a_set_up_command_that_fails_is_named_and_tried_again_by_the_next_call() {
    let mut world = World::new();
    world.options.setup = Some("echo run >> ran.txt; echo no such luck >&2; exit 7".into());
    let error = world.error().await;
    for part in ["ran.txt", "ended with code 7", "no such luck", ".log"] {
        assert!(error.contains(part), "{part:?} is not in {error}");
    }
    assert!(world.error().await.contains("code 7"));
    world.options.setup = Some("echo well >> ran.txt".into());
    assert_eq!(read(&world.worktree().await, "ran.txt"), "run\nrun\nwell\n");
}

#[tokio::test]
async fn a_set_up_command_that_hangs_is_ended_with_all_it_started() {
    let mut world = World::new();
    world.all.bounds.set_up = Duration::from_millis(300);
    world.options.setup = Some("sh -c 'exec sleep 1000'; true".into());
    let error = world.error().await;
    assert!(error.contains("took longer than"), "{error}");
    // Each of them had the lock.
    drop(world.place().lock(Duration::from_secs(20)).await.expect("all are gone"));
    world.options.setup = None;
    world.worktree().await;
}

#[tokio::test]
async fn two_threads_at_once_get_their_worktrees() {
    let world = World::new();
    let (one, other) = tokio::join!(
        world.all.prepare(world.site(), id(7)),
        world.all.prepare(world.site(), id(8)),
    );
    for (place, id) in [(one, "7"), (other, "8")] {
        let place = place.expect("prepared");
        assert!(place.path().ends_with(id));
        assert_eq!(read(place.path(), "a.txt"), "one\n");
    }
}

#[tokio::test]
async fn two_runners_at_once_on_one_repository_do_not_get_in_each_others_way() {
    let world = World::new();
    let other = Worktrees::new(&world.dir.path().join("other"), &world.env);
    let ours = (1..=6).map(|n| world.all.prepare(world.site(), id(n)));
    let theirs = (101..=106).map(|n| other.prepare(world.site(), id(n)));
    let (ours, theirs) = tokio::join!(join_all(ours), join_all(theirs));
    for place in ours.into_iter().chain(theirs) {
        assert_eq!(read(place.expect("prepared").path(), "a.txt"), "one\n");
    }
}

#[tokio::test]
async fn two_calls_for_one_thread_make_one_worktree_and_set_it_up_once() {
    let mut world = World::new();
    world.options.setup = Some("echo run >> ran.txt".into());
    let (one, other) = tokio::join!(world.worktree(), world.worktree());
    assert_eq!(one, other);
    assert_eq!(read(&one, "ran.txt"), "run\n");
}

#[tokio::test]
async fn a_lock_that_another_git_holds_for_a_while_is_waited_for() {
    let world = World::new();
    let lock = world.project.join(format!(".git/refs/heads/holdfast/{THREAD}.lock"));
    put(&world.project, lock.strip_prefix(&world.project).expect("in it").to_str().unwrap(), "");
    let freed = async {
        // Once git has tried and failed, only the bench's own folder is left of the try.
        while !world.place().bench.parent().is_some_and(Path::exists) {
            tokio::task::yield_now().await;
        }
        fs::remove_file(&lock).expect("removed");
    };
    tokio::join!(world.worktree(), freed);
}
