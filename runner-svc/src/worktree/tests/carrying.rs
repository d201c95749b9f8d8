//! What is changed in a worktree is what another host's worktree becomes, and nothing is lost there.

use super::*;
use schemas::carried::{Changes, File};

/// A second host, whose project is a clone of the first one's.
fn clone_of(one: &World) -> World {
    let mut other = World::bare_folder();
    fs::remove_dir(&other.project).expect("empty");
    let from = one.project.to_string_lossy().into_owned();
    let to = other.project.to_string_lossy().into_owned();
    other.git(other.dir.path(), &["clone", "-q", &from, &to]);
    other.options = one.options.clone();
    other
}

impl World {
    async fn take(&self) -> Taken {
        match self.all.take(self.site(), thread()).await.expect("taken") {
            Take::Taken(taken) => taken,
            other @ (Take::Nothing | Take::TooLarge(_)) => panic!("{other:?}"),
        }
    }

    /// What the record of a run says that ended here.
    async fn leave(&self) -> (Changes, Option<PathBuf>) {
        let Taken { head, snapshot, bundle } = self.take().await;
        let file = bundle.as_ref().map(|_| File { digest: "d".into(), bytes: 1 });
        let changes = Changes { head, snapshot, bundle: file };
        self.all.is_at(&self.name, thread(), &changes).expect("remembered");
        (changes, bundle)
    }

    /// A run begins here that goes on from these.
    async fn bring(&self, (changes, bundle): &(Changes, Option<PathBuf>)) -> Put {
        self.prepare().await;
        let put = self.all.put(self.site(), thread(), changes, bundle.as_deref()).await;
        self.all.took(self.site(), thread());
        self.all.is_entered(self.site(), thread()).await.expect("entered");
        put.expect("put")
    }

    /// What is not committed, without the first space.
    fn status(&self) -> String {
        self.git(&self.place().path, &["status", "--porcelain", "--untracked-files=all"])
    }

    fn commit_empty(&self, subject: &str) {
        self.git(&self.project, &["commit", "-q", "--allow-empty", "-m", subject]);
    }

    fn kept(&self) -> String {
        self.git(&self.project, &["for-each-ref", "--format=%(refname)", "refs/holdfast"])
    }
}

/// All that lies in a folder but git's own, with what is in it.
fn files(dir: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).expect("there") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("UTF-8");
        if name == ".git" {
            continue;
        }
        if entry.path().is_dir() {
            let inside = files(&entry.path());
            found.extend(inside.into_iter().map(|(file, text)| (format!("{name}/{file}"), text)));
        } else {
            found.insert(name, fs::read_to_string(entry.path()).expect("a text"));
        }
    }
    found
}

/// A host where claude has committed, changed, added, deleted and left something that is ignored.
async fn at_work() -> (World, PathBuf) {
    let world = World::new();
    world.write(".gitignore", "ignored\n");
    world.write("gone.txt", "to be deleted\n");
    world.commit(&world.project, "More");
    let path = world.worktree().await;
    world.all.is_entered(world.site(), thread()).await.expect("entered");
    put(&path, "done.txt", "done\n");
    world.commit(&path, "Done");
    put(&path, "a.txt", "two\n");
    put(&path, "new ü/file.txt", "new\n");
    put(&path, "staged.txt", "staged\n");
    world.git(&path, &["add", "staged.txt"]);
    put(&path, "ignored", "a build\n");
    fs::remove_file(path.join("gone.txt")).expect("deleted");
    (world, path)
}

#[tokio::test]
async fn what_is_taken_leaves_no_trace() {
    let (world, path) = at_work().await;
    let look = || {
        let index = fs::read(Link::read(&path).expect("whole").admin.join("index"));
        (world.portrait(), world.status(), files(&path), index.expect("an index"))
    };
    let before = look();
    let objects = world.git(&world.project, &["count-objects", "-v"]);
    let taken = world.take().await;
    assert!(taken.bundle.as_ref().is_some_and(|bundle| bundle.is_file()));
    assert_eq!(taken, world.take().await, "the same of the same");
    world.all.took(world.site(), thread());
    assert_eq!(before, look());
    assert_eq!(objects, world.git(&world.project, &["count-objects", "-v"]));
    assert!(!taken.bundle.expect("a bundle").exists());
}

#[tokio::test]
async fn another_host_has_the_same_commits_and_the_same_changes() {
    let (one, path) = at_work().await;
    let other = clone_of(&one);
    let left = one.leave().await;
    assert_eq!(other.bring(&left).await, Put::Done);
    let there = other.place().path;
    let mut expected = files(&path);
    expected.remove("ignored").expect("it does not travel");
    assert_eq!(files(&there), expected);
    let branch = format!("holdfast/{THREAD}");
    assert_eq!(other.git(&there, &["rev-parse", "HEAD"]), one.git(&path, &["rev-parse", "HEAD"]));
    assert_eq!(other.git(&there, &["branch", "--show-current"]).trim(), branch);
    let status = "M a.txt\n D gone.txt\n?? \"new \\303\\274/file.txt\"\n?? staged.txt";
    assert_eq!(other.status(), status);
    assert_eq!(other.kept(), "");
    assert_eq!(other.bring(&left).await, Put::There, "it goes on from there");
}

#[tokio::test]
async fn a_conversation_goes_there_and_back_as_often_as_it_likes() {
    let (one, path) = at_work().await;
    let other = clone_of(&one);
    assert_eq!(other.bring(&one.leave().await).await, Put::Done);
    let there = other.place().path;
    other.commit(&there, "All of it");
    put(&there, "a.txt", "three\n");
    fs::remove_file(there.join("staged.txt")).expect("deleted");
    assert_eq!(one.bring(&other.leave().await).await, Put::Done);
    let mut expected = files(&there);
    expected.insert("ignored".into(), "a build\n".into());
    assert_eq!(files(&path), expected, "what is ignored stays where it is");
    assert_eq!(one.status(), "M a.txt\n D staged.txt");
    put(&path, "a.txt", "four\n");
    assert_eq!(other.bring(&one.leave().await).await, Put::Done);
    assert_eq!(files(&there)["a.txt"], "four\n");
    assert_eq!((one.kept(), other.kept()), (String::new(), String::new()));
}

#[tokio::test]
async fn what_a_host_has_beside_is_kept_and_named() {
    let (one, path) = at_work().await;
    let other = clone_of(&one);
    other.bring(&one.leave().await).await;
    let there = other.place().path;
    put(&there, "a.txt", "the last word\n");
    let left = other.leave().await;
    // Of an attempt here that was lost.
    put(&path, "a.txt", "lost\n");
    put(&path, "lost.txt", "lost as well\n");
    let Put::Kept(name) = one.bring(&left).await else { panic!("nothing was kept") };
    assert!(name.starts_with(&format!("refs/holdfast/kept/{THREAD}/")), "{name}");
    assert_eq!(files(&path)["a.txt"], "the last word\n");
    assert!(!path.join("lost.txt").exists());
    let show = |file: &str| one.git(&one.project, &["show", &format!("{name}:{file}")]);
    assert_eq!((show("a.txt"), show("lost.txt")), ("lost".into(), "lost as well".into()));
    assert_eq!(show("done.txt"), "done");
}

#[tokio::test]
async fn a_put_that_was_cut_is_done_again_and_keeps_nothing() {
    let (one, _) = at_work().await;
    let other = clone_of(&one);
    other.prepare().await;
    let there = other.place().path;
    // It was about to, and had done half of it.
    other.place().know(&place::Known::Putting).expect("written");
    put(&there, "a.txt", "two\n");
    put(&there, "half.txt", "of something\n");
    let lock = Link::read(&there).expect("whole").admin.join("index.lock");
    fs::write(&lock, "").expect("left by a git that was killed");
    assert_eq!(other.bring(&one.leave().await).await, Put::Done);
    assert!(!there.join("half.txt").exists() && !lock.exists());
    assert_eq!(other.kept(), "");
}

#[tokio::test]
async fn a_put_that_was_cut_and_is_not_to_be_had_any_more_leaves_what_is_committed() {
    let world = World::new();
    let path = world.worktree().await;
    world.place().know(&place::Known::Putting).expect("written");
    put(&path, "a.txt", "two\n");
    put(&path, "half.txt", "of something\n");
    world.all.is_entered(world.site(), thread()).await.expect("entered");
    assert_eq!((world.status(), files(&path)["a.txt"].as_str()), (String::new(), "one\n"));
    put(&path, "mine.txt", "of claude's\n");
    world.all.is_entered(world.site(), thread()).await.expect("entered");
    assert!(path.join("mine.txt").exists(), "somebody was in it since");
}

#[tokio::test]
async fn a_worktree_that_nobody_was_in_becomes_what_comes() {
    let (one, _) = at_work().await;
    let mut other = clone_of(&one);
    // What is copied and made there is no work of anybody's.
    other.write(".env", "secret of the other\n");
    other.options.copy = vec![".env".parse().expect("a path")];
    other.options.setup = Some("echo made > made.txt".into());
    assert_eq!(other.bring(&one.leave().await).await, Put::Done);
    let there = files(&other.place().path);
    assert_eq!(there[".env"], "secret of the other\n", "a copy stays a copy");
    assert!(!there.contains_key("made.txt") && there.contains_key("done.txt"));
    assert_eq!(other.kept(), "");
    let taken = other.take().await;
    let bundle = taken.bundle.expect("a bundle").to_string_lossy().into_owned();
    one.git(&one.project, &["bundle", "unbundle", &bundle]);
    let files = one.git(&one.project, &["ls-tree", "--name-only", &taken.snapshot]);
    assert!(!files.contains(".env"), "a copy does not travel: {files}");
}

#[tokio::test]
async fn what_stands_on_commits_that_a_host_lacks_is_not_put() {
    let one = World::new();
    let other = clone_of(&one);
    one.write("later.txt", "after the clone\n");
    one.commit(&one.project, "Later");
    let path = one.worktree().await;
    let nothing = one.leave().await;
    assert_eq!(nothing.1, None, "nothing was changed");
    assert_eq!(other.bring(&nothing).await, Put::There, "its own commit is as good");
    let there = other.leave().await;
    other.commit_empty("Elsewhere");
    assert_eq!(one.bring(&there).await, Put::Done, "an older one");
    assert_eq!(other.bring(&nothing).await, Put::There, "nothing was changed there either");
    one.bring(&nothing).await;
    put(&path, "a.txt", "two\n");
    let before = files(&other.place().path);
    let Put::Missing(why) = other.bring(&one.leave().await).await else { panic!("it was put") };
    assert!(why.contains("lacks the commits"), "{why}");
    assert_eq!((files(&other.place().path), other.status()), (before, String::new()));
}

#[tokio::test]
async fn a_change_of_the_second_in_which_the_index_was_written_is_taken() {
    let world = World::new();
    let path = world.worktree().await;
    // git looks at nothing but size and time then, as it does within a second of any file.
    for (name, value) in [("core.trustctime", "false"), ("core.checkStat", "minimal")] {
        world.git(&world.project, &["config", name, value]);
    }
    let index = world.git(&path, &["rev-parse", "--git-path", "index"]);
    let made = fs::metadata(path.join("a.txt")).expect("there").modified().expect("a time");
    let then = made - std::time::Duration::from_secs(60);
    let set_back = |file: &Path| {
        let file = fs::File::options().write(true).open(file).expect("there");
        file.set_modified(then).expect("set");
    };
    set_back(&path.join("a.txt"));
    world.git(&path, &["update-index", "--refresh"]);
    put(&path, "a.txt", "two\n");
    set_back(&path.join("a.txt"));
    set_back(Path::new(index.trim()));
    assert!(world.take().await.bundle.is_some(), "the change is taken");
}

#[tokio::test]
async fn what_is_too_large_stays_and_what_is_there_no_more_is_no_worktree() {
    let world = World::new();
    assert_eq!(world.all.take(world.site(), thread()).await.expect("asked"), Take::Nothing);
    let path = world.worktree().await;
    let large = fs::File::create(path.join("large")).expect("made");
    large.set_len(schemas::carried::CHANGES_MAX + 1).expect("it has holes");
    let take = world.all.take(world.site(), thread()).await.expect("asked");
    assert_eq!(take, Take::TooLarge(schemas::carried::CHANGES_MAX + 1));
    fs::write(path.join(".gitignore"), "large\n").expect("written");
    assert!(world.take().await.bundle.is_some(), "what is ignored does not count");
}

#[tokio::test]
async fn an_embedded_repository_is_no_reason_to_stop() {
    let (one, path) = at_work().await;
    let inner = path.join("inner");
    fs::create_dir(&inner).expect("made");
    one.git(&inner, &["init", "-q"]);
    put(&inner, "b.txt", "inside\n");
    one.commit(&inner, "Inside");
    let other = clone_of(&one);
    assert_eq!(other.bring(&one.leave().await).await, Put::Done);
    assert_eq!(files(&other.place().path)["a.txt"], "two\n");
}
