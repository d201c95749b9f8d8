//! What a runner does with a spool while no keeper is about.

use super::*;
use crate::keeper::record::{ARGV, CWD, ENV};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};

fn spec() -> Spec {
    Spec {
        argv: ["claude", "-p", ""].map(OsString::from).to_vec(),
        env: BTreeMap::from([("PATH".into(), "/bin".into())]),
        cwd: "/".into(),
    }
}

#[test]
fn a_new_spool_is_whole_and_for_its_owner_alone() {
    let root = tempfile::tempdir().expect("a folder");
    let spool =
        Spool::create(root.path(), "token", &spec(), &[("spec.json", b"{}")]).expect("made");
    let read = |name: &str| fs::read(spool.dir().join(name)).expect("read");
    assert_eq!(read(ARGV), b"claude\0-p\0\0");
    assert_eq!(read(ENV), b"PATH=/bin\0HOLDFAST_SPOOL=token\0");
    assert_eq!(read(CWD), b"/");
    assert_eq!(spool.read_file("spec.json").expect("read"), Some(b"{}".to_vec()));
    assert_eq!(spool.name(), "token");
    assert_eq!(fs::metadata(spool.dir()).expect("there").mode() & 0o777, 0o700);
    for entry in fs::read_dir(spool.dir()).expect("listed").flatten() {
        let found = entry.metadata().expect("there");
        let mode = if found.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(found.mode() & 0o777, mode, "{}", entry.path().display());
    }
    assert!(fs::metadata(spool.dir().join(BELL)).expect("there").file_type().is_fifo());
    assert_eq!(scan(root.path()).expect("scanned"), [spool]);
}

#[test]
fn a_spec_that_no_process_can_have_is_refused() {
    let root = tempfile::tempdir().expect("a folder");
    let with = |change: fn(&mut Spec)| {
        let mut spec = spec();
        change(&mut spec);
        Spool::create(root.path(), "x", &spec, &[]).expect_err("refused").to_string()
    };
    assert_eq!(with(|it| it.argv.clear()), "an empty command cannot be put into a spool");
    assert_eq!(
        with(|it| it.argv.push("a\0b".into())),
        "an argument with a NUL cannot be put into a spool"
    );
    assert_eq!(
        with(|it| _ = it.env.insert("A=B".into(), "".into())),
        "the name of a variable cannot be put into a spool"
    );
    assert_eq!(
        with(|it| it.cwd = "here".into()),
        "the working directory cannot be put into a spool"
    );
    for name in ["", ".x", "a/b", "a=b"] {
        assert!(Spool::create(root.path(), name, &spec(), &[]).is_err(), "{name:?}");
    }
    assert_eq!(fs::read_dir(root.path()).expect("listed").count(), 0, "nothing is left behind");
}

#[test]
fn a_spool_is_never_made_twice() {
    let root = tempfile::tempdir().expect("a folder");
    Spool::create(root.path(), "x", &spec(), &[]).expect("made");
    let error = Spool::create(root.path(), "x", &spec(), &[]).expect_err("refused");
    assert!(matches!(error, SpoolError::Unwritable { .. }), "{error:?}");
}

#[test]
fn what_was_put_is_listed_in_order() {
    let root = tempfile::tempdir().expect("a folder");
    let spool = Spool::create(root.path(), "x", &spec(), &[]).expect("made");
    spool.put_line(1, "{}").expect("put");
    spool.put_end(3, Graces::default()).expect("put");
    spool.put_line(2, "{\"a\":1}").expect("put");
    let entries: Vec<_> =
        spool.entries().expect("listed").iter().map(ToString::to_string).collect();
    assert_eq!(entries, ["000001.line", "000002.line", "000003.end"]);
    assert_eq!(spool.line(2).expect("read").as_deref(), Some("{\"a\":1}"));
    assert_eq!(spool.line(9).expect("read"), None);
    assert!(spool.put_line(4, "a\nb").is_err(), "two lines are not one");
}

#[test]
fn a_spool_without_a_keeper_is_unused_until_it_is_closed() {
    let root = tempfile::tempdir().expect("a folder");
    let spool = Spool::create(root.path(), "x", &spec(), &[]).expect("made");
    assert_eq!(spool.state().expect("asked"), KeeperState::Unused);
    assert_eq!(spool.close_if_dead().expect("closed"), Closing::Closed);
    assert_eq!(spool.state().expect("asked"), KeeperState::Closed);
    assert_eq!((spool.started().expect("read"), spool.exit().expect("read")), (None, None));
}

#[test]
fn a_held_lock_says_alive() {
    let root = tempfile::tempdir().expect("a folder");
    let spool = Spool::create(root.path(), "x", &spec(), &[]).expect("made");
    let lock = File::open(spool.dir().join(LOCK)).expect("there");
    flock(&lock, FlockOperation::LockExclusive).expect("locked");
    assert_eq!(spool.state().expect("asked"), KeeperState::Alive);
    assert_eq!(spool.close_if_dead().expect("asked"), Closing::Alive);
    drop(lock);
    assert_eq!(spool.state().expect("asked"), KeeperState::Unused, "nothing was closed");
}

#[test]
fn a_record_that_no_keeper_writes_is_corrupt_and_named() {
    let root = tempfile::tempdir().expect("a folder");
    let spool = Spool::create(root.path(), "x", &spec(), &[]).expect("made");
    spool.write_file(EXIT, b"what").expect("written");
    let error = spool.exit().expect_err("corrupt");
    assert!(!error.is_transient());
    let path = spool.dir().join(EXIT);
    assert_eq!(error.to_string(), format!("{} is not what a keeper writes", path.display()));
}

#[test]
fn half_made_and_half_removed_spools_are_swept_and_the_rest_is_found() {
    let root = tempfile::tempdir().expect("a folder");
    for name in [".b.new", ".c.gone", "no-spool"] {
        fs::create_dir(root.path().join(name)).expect("made");
    }
    let spool = Spool::create(root.path(), "a", &spec(), &[]).expect("made");
    assert_eq!(scan(root.path()).expect("scanned"), std::slice::from_ref(&spool));
    let left: Vec<_> = fs::read_dir(root.path())
        .expect("listed")
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    assert_eq!(left.len(), 2, "{left:?}");
    spool.clone().remove().expect("removed");
    spool.remove().expect("removing it again is no error");
    assert_eq!(scan(root.path()).expect("scanned"), []);
    assert_eq!(scan(&root.path().join("nowhere")).expect("scanned"), []);
}
