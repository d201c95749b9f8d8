//! What the store promises about what is sent into a run, what waits, sessions and forks.

use schemas::control::STEERS_MAX;
use schemas::ids::{ModelName, RunnerId};

use super::super::commands::Spoken;
use super::*;
use crate::conversation::{AtWork, Model};
use crate::forks::{Bringing, Forking};
use crate::queue::{self, Wanted};
use crate::steer::Sent;

fn none(_: &crate::render::Place) -> Vec<Row> {
    Vec::new()
}

fn thread(id: u64) -> ThreadId {
    ThreadId::new(id).unwrap()
}

fn ada() -> Author {
    Author { id: "9".parse().unwrap(), name: "Ada".into() }
}

fn spoken(message: u64) -> Spoken {
    Spoken {
        asked: ("7".parse().unwrap(), MessageId::new(message).unwrap()),
        channel: "5".parse().unwrap(),
        project: "app".parse().unwrap(),
        author: ada(),
    }
}

async fn three_questions(store: &Store) {
    for message in [7, 8, 9] {
        store.accept(&new_run(message, 7), &[], 1).await.unwrap();
    }
}

async fn send(store: &Store, run: &str, id: &str) -> Sent {
    store.send_now(&run.parse().unwrap(), thread(7), &ada(), id, 20).await.unwrap()
}

/// What claude would be told in a run.
async fn told(store: &Store, message: u64, generation: u32) -> Vec<String> {
    let controls = store.controls(&key(message, 7), Generation(generation)).await.unwrap();
    let steers = controls.into_iter().flat_map(|controls| controls.steers);
    steers.map(|steer| steer.run.to_string()).collect()
}

async fn released(store: &Store) -> Vec<String> {
    let all = store.released().await.unwrap().into_iter();
    all.map(|it| format!("{}/{}", it.request.run, it.request.generation)).collect()
}

pub(super) async fn what_is_sent_is_told_until_the_run_ends_and_waits_again_if_it_was_not_taken(
    Fresh { store, .. }: Fresh,
) {
    three_questions(&store).await;
    assert_eq!(send(&store, "m8", "a").await, Sent::Now);
    assert_eq!(send(&store, "m8", "a").await, Sent::Now, "it was this press");
    assert_eq!(send(&store, "m8", "b").await, Sent::Gone);
    assert_eq!(send(&store, "m9", "c").await, Sent::Now);
    assert_eq!(send(&store, "m7", "d").await, Sent::Gone, "it runs");
    assert_eq!(told(&store, 7, 1).await, ["m8", "m9"]);
    let steered = vec!["m9".parse().unwrap()];
    let ended = Record { steered, ..record(&"m7".parse().unwrap(), answered()) };
    store.fold(&key(7, 7), &ended, none, 30).await.unwrap();
    assert_eq!(told(&store, 7, 1).await, [""; 0]);
    assert_eq!(released(&store).await, ["m8/2"], "what was taken is not asked");
    assert_eq!(send(&store, "m9", "e").await, Sent::Gone);
}

pub(super) async fn what_was_sent_goes_along_with_a_move_and_a_retry(Fresh { store, .. }: Fresh) {
    three_questions(&store).await;
    assert_eq!(send(&store, "m8", "a").await, Sent::Now);
    let rows = |_: &crate::render::Place, _: &Moved| Vec::new();
    let other: RunnerId = "host-2".parse().unwrap();
    let to = (&other, StateId::random());
    store
        .move_thread(thread(7), to, (By::Operator(uuid::Uuid::nil()), &ada()), rows, 25)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(released(&store).await, ["m7/2"]);
    assert_eq!(told(&store, 7, 2).await, ["m8"]);
    let outcome = Outcome::Failed { why: "boom".into(), denied: Vec::new() };
    let failed = Record {
        generation: Generation(2),
        steered: vec!["m8".parse().unwrap()],
        ..record(&"m7".parse().unwrap(), State::Ended { outcome, usage: None })
    };
    store.fold(&key(7, 7), &failed, none, 30).await.unwrap();
    assert_eq!(released(&store).await, ["m9/1"]);
    let first = About::Run("m7".parse().unwrap(), Generation(2));
    assert_eq!(give(&store, order(Order::Retry, first, 40)).await, Some(Done::Again));
    assert_eq!(told(&store, 7, 3).await, ["m8"], "it is said once more");
}

pub(super) async fn what_was_sent_into_an_ended_run_waits_again(Fresh { store, .. }: Fresh) {
    three_questions(&store).await;
    assert_eq!(send(&store, "m9", "a").await, Sent::Now);
    let end = give(&store, order(Order::End, About::Newest, 40)).await;
    assert!(matches!(end, Some(Done::Ended(_))), "{end:?}");
    assert_eq!(released(&store).await, ["m8/1"]);
    let ended = record(&"m8".parse().unwrap(), answered());
    store.fold(&key(8, 7), &ended, none, 50).await.unwrap();
    assert_eq!(released(&store).await, ["m9/2"]);
    assert_eq!(send(&store, "m9", "b").await, Sent::Gone);
}

pub(super) async fn no_more_is_sent_into_a_run_than_its_controls_hold(Fresh { store, .. }: Fresh) {
    store.accept(&new_run(7, 7), &[], 1).await.unwrap();
    let long = NewRun { prompt: "x".repeat(200_000), ..new_run(8, 7) };
    store.accept(&long, &[], 1).await.unwrap();
    assert_eq!(send(&store, "m8", "a").await, Sent::TooMuch);
    for message in 10..=10 + u64::try_from(STEERS_MAX).unwrap() {
        store.accept(&new_run(message, 7), &[], 1).await.unwrap();
        let sent = send(&store, &format!("m{message}"), "b").await;
        let is_last = message == 10 + u64::try_from(STEERS_MAX).unwrap();
        assert_eq!(sent, if is_last { Sent::TooMuch } else { Sent::Now }, "{message}");
    }
    store.accept(&new_run(100, 100), &[], 1).await.unwrap();
    assert_eq!(send(&store, "m100", "c").await, Sent::Gone, "that is another thread");
}

async fn queue(store: &Store, message: u64, words: &str) -> queue::Done {
    let wanted = Wanted::parse(words).unwrap();
    let rows = |_: &queue::Done| Vec::new();
    store.queue(&spoken(message), thread(7), &wanted, rows, 50).await.unwrap().unwrap()
}

async fn numbers(store: &Store, message: u64) -> Vec<u32> {
    let queue::Done::List(all) = queue(store, message, "").await else { panic!("no list") };
    all.iter().map(|waits| waits.number).collect()
}

pub(super) async fn a_question_keeps_its_number_and_what_was_merged_comes_back(
    Fresh { store, .. }: Fresh,
) {
    for message in [7, 8, 9, 10] {
        store.accept(&new_run(message, 7), &[], 1).await.unwrap();
    }
    assert_eq!(numbers(&store, 30).await, [2, 3, 4]);
    let merged = queue(&store, 31, "merge 4 3").await;
    assert!(matches!(merged, queue::Done::Merged(_)), "{merged:?}");
    assert_eq!(numbers(&store, 32).await, [2, 3]);
    let edited =
        store.rewrite(&"m9".parse().unwrap(), "its message", &Files::default(), 100).await.unwrap();
    assert!(!edited, "its message does not count any more");
    store.fold(&key(7, 7), &record(&"m7".parse().unwrap(), answered()), none, 60).await.unwrap();
    assert_eq!(numbers(&store, 33).await, [3], "the numbers stay");
    assert!(matches!(queue(&store, 34, "drop 2").await, queue::Done::NotThere(2, _)));
    assert!(matches!(queue(&store, 35, "drop 3").await, queue::Done::Dropped(_)));
    assert_eq!(numbers(&store, 36).await, [4], "it was part of what was dropped");
    let rows = |_: &queue::Done| Vec::new();
    let again = store.queue(&spoken(36), thread(7), &Wanted::List, rows, 50).await.unwrap();
    assert_eq!(again, None, "a command is carried out once");
}

pub(super) async fn files_are_merged_with_their_question_and_not_sent_into_a_run(
    Fresh { store, .. }: Fresh,
) {
    let asks = |message, names: &[&str]| NewRun { thread: thread(7), ..with_files(message, names) };
    for new in [new_run(7, 7), asks(8, &["a"]), asks(9, &["a"]), asks(10, &["b"; 9])] {
        store.accept(&new, &[], 1).await.unwrap();
    }
    assert_eq!(send(&store, "m9", "a").await, Sent::HasFiles);
    let refused = queue(&store, 30, "merge 2 3").await;
    assert_eq!(refused, queue::Done::FilesOnTheirWay);
    for mut due in store.to_bring().await.unwrap() {
        let before = due.files.clone();
        due.files = (0..before.taken.len()).fold(before.clone(), |files, at| there(&files, at));
        assert!(store.brought(&due.becomes(&before, None, 0), &[], 2).await.unwrap());
    }
    assert!(matches!(queue(&store, 31, "merge 2 3").await, queue::Done::Merged(_)));
    assert_eq!(queue(&store, 32, "merge 2 4").await, queue::Done::TooManyFiles);
    store.fold(&key(7, 7), &record(&"m7".parse().unwrap(), answered()), none, 60).await.unwrap();
    let request = store.released().await.unwrap().remove(0).request;
    let names: Vec<&str> = request.files.iter().map(|it| it.name.as_str()).collect();
    assert_eq!((request.run.as_str(), names), ("m8", vec!["a", "a-2"]));
}

pub(super) async fn a_session_and_a_model_are_frozen_at_release(Fresh { store, .. }: Fresh) {
    let nothing = |at_work: Option<AtWork>| {
        assert_eq!(at_work, None);
        Vec::new()
    };
    assert!(store.restart(&spoken(30), thread(7), nothing, 1).await.unwrap());
    three_questions(&store).await;
    let request = || async { store.released().await.unwrap().remove(0).request };
    let first = request().await;
    let at_work = |at_work: Option<AtWork>| {
        assert_eq!(at_work, Some(AtWork::Yes));
        Vec::new()
    };
    assert!(store.restart(&spoken(31), thread(7), at_work, 2).await.unwrap());
    let opus = Model::Set("opus".parse().unwrap());
    let rows = |_: Option<&ModelName>, _: AtWork| Vec::new();
    assert!(store.set_model(&spoken(32), thread(7), &opus, rows, 3).await.unwrap());
    assert_eq!(request().await, first, "what runs is not changed by it");
    let conversation = store.conversation(thread(7)).await.unwrap().unwrap();
    assert!(conversation.is_left && conversation.session == first.session);
    store.fold(&key(7, 7), &record(&"m7".parse().unwrap(), answered()), none, 9).await.unwrap();
    let second = request().await;
    assert_ne!(second.session, first.session);
    assert_eq!(second.model.as_ref().map(ModelName::as_str), Some("opus"));
    assert!(store.set_model(&spoken(33), thread(7), &Model::Default, rows, 3).await.unwrap());
    store.fold(&key(8, 7), &record(&"m8".parse().unwrap(), answered()), none, 9).await.unwrap();
    let third = request().await;
    assert_eq!((third.session, third.model), (second.session, None));
}

/// A question that was answered, and what it left.
async fn answered_once(store: &Store) -> Carried {
    store.accept(&new_run(7, 7), &[], 1).await.unwrap();
    let session = store.released().await.unwrap()[0].request.session;
    let file = File { digest: "d".into(), bytes: 1 };
    let left = Carried { transcript: Some(file), changes: None };
    let ended = record(&"m7".parse().unwrap(), answered());
    let ended = Record { session, carried: Some(left.clone()), ..ended };
    store.fold(&key(7, 7), &ended, none, 5).await.unwrap();
    left
}

pub(super) async fn a_fork_is_known_when_its_first_message_is_there(Fresh { store, .. }: Fresh) {
    let rows = |_: Forking| Vec::new();
    let fork = |message| {
        let (store, spoken) = (store.clone(), spoken(message));
        async move { store.fork(&spoken, thread(7), rows, 20).await.unwrap() }
    };
    assert_eq!(fork(30).await, Some(Forking::Nothing));
    let left = answered_once(&store).await;
    assert_eq!(fork(31).await, Some(Forking::Begins));
    assert_eq!(fork(31).await, None, "a command is carried out once");
    assert_eq!(store.channel_of(thread(50)).await.unwrap(), None);
    for message in [50, 51] {
        store.sent("31/fork", Some(MessageId::new(message).unwrap()), 30).await.unwrap();
    }
    assert_eq!(store.channel_of(thread(51)).await.unwrap(), None, "one row is one message");
    assert_eq!(store.channel_of(thread(50)).await.unwrap(), Some("5".parse().unwrap()));
    assert_eq!(store.became("31/fork").await.unwrap(), Some(MessageId::new(50).unwrap()));
    for (message, thread) in [(60, 50), (61, 7)] {
        store.accept(&new_run(message, thread), &[], 40).await.unwrap();
    }
    let all = store.released().await.unwrap();
    let (there, here) = (&all[0].request, &all[1].request);
    assert_eq!((there.run.as_str(), there.files_of), ("m60", Some(thread(7))));
    assert_eq!(there.carried, Some(left.clone()));
    assert_ne!(there.session, here.session);
    assert_eq!((here.files_of, &here.carried), (None, &Some(left)));
}

pub(super) async fn a_session_from_a_terminal_is_one_threads(Fresh { store, .. }: Fresh) {
    answered_once(&store).await;
    let session = SessionId::random();
    let rows = |_: Bringing| Vec::new();
    let bring = |message, at| {
        let (store, spoken) = (store.clone(), spoken(message));
        async move { store.bring(&spoken, thread(at), session, rows, 20).await.unwrap() }
    };
    assert_eq!(bring(30, 7).await, Some(Bringing::Next));
    assert_eq!(bring(31, 31).await, Some(Bringing::Anothers(thread(7))));
    store.accept(&new_run(40, 7), &[], 30).await.unwrap();
    let request = store.released().await.unwrap().remove(0).request;
    assert!(request.brought && request.session == session);
    assert_eq!(request.carried.and_then(|left| left.transcript), None);
    let other = SessionId::random();
    let brought = store.bring(&spoken(32), thread(32), other, rows, 20).await.unwrap();
    assert_eq!(brought, Some(Bringing::Next));
    store.accept(&new_run(41, 32), &[], 30).await.unwrap();
    let request = store.released().await.unwrap().remove(1).request;
    assert!(request.brought && request.session == other, "also where nothing was asked before");
}
