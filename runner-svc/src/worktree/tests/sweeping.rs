//! What may go, and what never does.

use super::*;

impl World {
    async fn stays(&self) -> Stays {
        let stays = self.all.removable(self.site(), thread()).await.expect("asked");
        let removed = self.all.remove(self.site(), thread()).await.expect("asked");
        assert_eq!(stays, removed, "both say the same");
        assert!(self.place().path.exists(), "it is still there");
        stays.expect("it has to stay")
    }

    async fn goes(&self) {
        let site = self.site();
        assert_eq!(self.all.removable(site, thread()).await.expect("asked"), None);
        assert_eq!(self.all.remove(site, thread()).await.expect("asked"), None);
        let left = fs::read_dir(self.all.root.join("app")).expect("there").count();
        assert_eq!(left, 0, "nothing of it is left");
        let list = self.git(&self.project, &["worktree", "list", "--porcelain"]);
        assert!(!list.contains("/state/"), "{list}");
        assert_eq!(self.git(&self.project, &["branch", "--list", "holdfast/*"]), "");
        assert_eq!(self.all.threads().expect("listed"), []);
    }
}

fn changes(first: &str, count: usize) -> Stays {
    Stays::Changes { first: first.into(), count }
}

#[tokio::test]
async fn a_clean_worktree_without_commits_goes_with_its_branch() {
    let mut world = World::new();
    world.write(".gitignore", "target/\n");
    world.commit(&world.project, "Ignore");
    world.options.setup = Some("echo built > target".into());
    let path = world.worktree().await;
    fs::remove_file(path.join("target")).expect("removed");
    put(&path, "target/built", "ignored\n");
    assert_eq!(world.all.threads().expect("listed"), [(world.name.clone(), thread())]);
    let before = world.portrait();
    world.goes().await;
    assert_eq!(world.portrait(), before);
    world.worktree().await;
}

#[tokio::test]
async fn uncommitted_work_is_never_removed() {
    let world = World::new();
    let path = world.worktree().await;
    put(&path, "deep/in/new ü.txt", "untracked\n");
    assert_eq!(world.stays().await, changes("deep/in/new ü.txt", 1));
    world.git(&path, &["add", "."]);
    assert_eq!(world.stays().await, changes("deep/in/new ü.txt", 1));
    put(&path, "a.txt", "changed\n");
    assert_eq!(world.stays().await, changes("a.txt", 2));
    world.git(&path, &["reset", "-q", "--hard"]);
    fs::remove_file(path.join("a.txt")).expect("removed");
    assert_eq!(world.stays().await, changes("a.txt", 1));
}

#[tokio::test]
async fn settings_that_make_git_look_away_do_not_make_work_disappear() {
    let world = World::new();
    let path = world.worktree().await;
    put(&path, "new.txt", "untracked\n");
    world.git(&path, &["config", "status.showUntrackedFiles", "no"]);
    assert_eq!(world.stays().await, changes("new.txt", 1));
    fs::remove_file(path.join("new.txt")).expect("removed");
    for hides in ["--assume-unchanged", "--skip-worktree"] {
        world.git(&path, &["update-index", hides, "a.txt"]);
        put(&path, "a.txt", "changed\n");
        assert_eq!(world.stays().await, Stays::Hidden("a.txt".into()), "{hides}");
        world.git(&path, &["update-index", &hides.replace("--", "--no-"), "a.txt"]);
    }
    world.git(&path, &["checkout", "-q", "a.txt"]);
    world.goes().await;
}

#[tokio::test]
async fn commits_stay_until_another_branch_or_a_remote_has_them() {
    let world = World::new();
    let path = world.worktree().await;
    put(&path, "b.txt", "b\n");
    world.commit(&path, "One");
    put(&path, "b.txt", "c\n");
    world.commit(&path, "Two");
    assert_eq!(world.stays().await, Stays::Commits(2));
    // A tag keeps a commit, but nobody looks there for a branch's work.
    world.git(&path, &["tag", "here"]);
    assert_eq!(world.stays().await, Stays::Commits(2));
    world.git(&world.project, &["merge", "-q", &format!("holdfast/{THREAD}")]);
    world.goes().await;
    assert_eq!(read(&world.project, "b.txt"), "c\n");
}

#[tokio::test]
async fn pushed_commits_may_go() {
    let world = World::new();
    let remote = world.dir.path().join("remote");
    fs::create_dir(&remote).expect("made");
    world.git(&remote, &["init", "-q", "--bare"]);
    world.git(&world.project, &["remote", "add", "origin", remote.to_str().expect("text")]);
    let path = world.worktree().await;
    put(&path, "b.txt", "b\n");
    world.commit(&path, "One");
    assert_eq!(world.stays().await, Stays::Commits(1));
    world.git(&path, &["push", "-q", "-u", "origin", "HEAD"]);
    put(&path, "b.txt", "c\n");
    world.commit(&path, "Two");
    assert_eq!(world.stays().await, Stays::Commits(1));
    world.git(&path, &["push", "-q", "origin", "HEAD"]);
    world.goes().await;
    let (_, settings) = world.try_git(&world.project, &["config", "--get-regexp", "^branch"]);
    assert_eq!(settings, "", "the branch's settings went with it");
}

#[tokio::test]
async fn commits_that_no_branch_has_are_never_removed() {
    let world = World::new();
    let path = world.worktree().await;
    world.git(&path, &["checkout", "-q", "--detach"]);
    put(&path, "b.txt", "b\n");
    world.commit(&path, "Detached");
    assert_eq!(world.stays().await, Stays::Commits(1));
    world.git(&path, &["checkout", "-qb", "feature"]);
    world.goes().await;
    assert!(world.git(&world.project, &["branch"]).contains("feature"), "a branch of theirs stays");
}

#[tokio::test]
async fn commits_survive_a_worktree_that_was_deleted_by_hand() {
    let mut world = World::new();
    let path = world.worktree().await;
    put(&path, "b.txt", "b\n");
    world.commit(&path, "One");
    fs::remove_dir_all(&path).expect("removed");
    let stays = world.all.remove(world.site(), thread()).await.expect("asked");
    assert_eq!(stays, Some(Stays::Commits(1)));
    world.options.worktree = false;
    world.prepare().await;
    let branch = format!("holdfast/{THREAD}");
    assert_eq!(world.git(&world.project, &["show", &format!("{branch}:b.txt")]), "b");
}

#[tokio::test]
async fn a_copy_is_no_work_until_it_is_changed() {
    let mut world = World::new();
    world.write("conf/.env", "KEY=1\n");
    world.options.copy = copies(&["conf/.env"]);
    let path = world.worktree().await;
    put(&path, "conf/.env", "KEY=2\n");
    assert_eq!(world.stays().await, changes("conf/.env", 1));
    put(&path, "conf/.env", "KEY=1\n");
    world.goes().await;
}

#[tokio::test]
async fn what_is_underway_is_not_interrupted() {
    let world = World::new();
    let path = world.worktree().await;
    world.git(&path, &["bisect", "start"]);
    assert_eq!(world.stays().await, Stays::Underway("a bisect"));
    world.git(&path, &["bisect", "reset"]);
    put(&path, "a.txt", "theirs\n");
    world.commit(&path, "Theirs");
    world.write("a.txt", "ours\n");
    world.commit(&world.project, "Ours");
    let (is_ok, _) = world.try_git(&path, &["rebase", "main"]);
    assert!(!is_ok, "a conflict");
    assert_eq!(world.stays().await, Stays::Underway("a rebase"));
}

#[tokio::test]
async fn what_is_locked_or_damaged_stays() {
    let world = World::new();
    let path = world.worktree().await;
    world.git(&path, &["worktree", "lock", "."]);
    assert_eq!(world.stays().await, Stays::Locked);
    world.git(&path, &["worktree", "unlock", "."]);
    fs::rename(path.join(".git"), path.join("git")).expect("renamed");
    assert_eq!(world.stays().await, Stays::Damaged);
    fs::rename(path.join("git"), path.join(".git")).expect("renamed");
    world.goes().await;
}

#[tokio::test]
async fn a_repository_inside_the_worktree_is_work() {
    let world = World::new();
    let path = world.worktree().await;
    let inner = path.join("vendor/inner");
    fs::create_dir_all(&inner).expect("made");
    world.git(&inner, &["init", "-q"]);
    put(&inner, "x", "x\n");
    world.commit(&inner, "Inner");
    assert_eq!(world.stays().await, changes("vendor/inner/", 1));
}

#[tokio::test]
async fn a_place_that_is_being_made_is_not_swept() {
    let world = World::new();
    let _held = world.place().lock(Duration::ZERO).await.expect("free");
    let error = world.all.remove(world.site(), thread()).await.expect_err("refused");
    assert!(matches!(error, SweepError::Place(PlaceError::Busy { .. })), "{error}");
}

#[tokio::test]
async fn a_thread_without_a_worktree_is_forgotten() {
    let world = World::bare_folder();
    world.why_not().await;
    assert_eq!(world.all.threads().expect("listed").len(), 1);
    assert_eq!(world.all.remove(world.site(), thread()).await.expect("asked"), None);
    assert_eq!(world.all.threads().expect("listed"), []);
    assert!(world.project.is_dir());
}
