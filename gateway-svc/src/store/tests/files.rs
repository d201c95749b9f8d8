//! Files of runs on their way.

use super::*;
use crate::attached::Taken;

pub(super) fn with_files(message: u64, names: &[&str]) -> NewRun {
    let taken = |name: &&str| Taken {
        name: (*name).to_owned(),
        url: format!("https://cdn.discordapp.com/attachments/1/2/{name}?ex=1"),
        media_type: None,
        bytes: 1,
        file: None,
    };
    let files = Files { taken: names.iter().map(taken).collect(), withheld: Vec::new() };
    NewRun { files, ..new_run(message, message) }
}

pub(super) fn there(files: &Files, at: usize) -> Files {
    let mut files = files.clone();
    files.taken[at].file = Some(File { digest: "d".into(), bytes: 1 });
    files
}

pub(super) async fn a_run_is_published_when_all_of_its_files_are_there(Fresh { store, .. }: Fresh) {
    store.accept(&with_files(7, &["a", "b"]), &[], 1).await.unwrap();
    assert!(store.released().await.unwrap().is_empty(), "they are on their way");
    let mut due = store.to_bring().await.unwrap().pop().unwrap();
    let before = due.files.clone();
    due.files = there(&before, 0);
    assert!(store.brought(&due.becomes(&before, Some(5), 1), &[row("x")], 2).await.unwrap());
    assert!(!store.brought(&due.becomes(&before, None, 0), &[], 2).await.unwrap(), "it is older");

    let mut due = store.to_bring().await.unwrap().pop().unwrap();
    assert_eq!((due.tries, due.due_ms), (1, 5));
    let before = due.files.clone();
    due.files = there(&before, 1);
    assert!(store.brought(&due.becomes(&before, None, 0), &[], 3).await.unwrap());
    assert!(store.to_bring().await.unwrap().is_empty());
    let request = store.released().await.unwrap().remove(0).request;
    let names: Vec<&str> = request.files.iter().map(|it| it.name.as_str()).collect();
    assert_eq!((names, request.task), (vec!["a", "b"], Task::Ask));
}

pub(super) async fn an_edit_of_what_waits_changes_its_files(Fresh { store, .. }: Fresh) {
    store.accept(&new_run(7, 7), &[], 1).await.unwrap();
    let waits = NewRun { thread: "7".parse().unwrap(), ..with_files(8, &["a"]) };
    store.accept(&waits, &[], 1).await.unwrap();
    let mut due = store.to_bring().await.unwrap().pop().unwrap();
    let none = Files::default();
    assert!(store.rewrite(&waits.run, "new", &none, 2).await.unwrap());
    let before = due.files.clone();
    due.files = there(&before, 0);
    assert!(!store.brought(&due.becomes(&before, None, 0), &[], 2).await.unwrap(), "it is gone");
    assert!(store.to_bring().await.unwrap().is_empty());
    assert_eq!(store.waiting().await.unwrap()[0].files, none);
}

pub(super) async fn what_only_looks_waits_for_nobody_and_nobody_for_it(Fresh { store, .. }: Fresh) {
    let diff = |message| NewRun { task: Task::Diff, ..new_run(message, 7) };
    for new in [new_run(7, 7), diff(8), new_run(9, 7)] {
        store.accept(&new, &[], 1).await.unwrap();
    }
    let tasks = || async {
        let released = store.released().await.unwrap();
        let told = released.iter().map(|it| (it.request.run.to_string(), it.request.task));
        told.collect::<Vec<_>>()
    };
    let looks = ("m8".to_owned(), Task::Diff);
    assert_eq!(tasks().await, [("m7".to_owned(), Task::Ask), looks.clone()]);
    fail(&store, 7, 1).await;
    assert_eq!(tasks().await, [looks, ("m9".to_owned(), Task::Ask)]);
}
