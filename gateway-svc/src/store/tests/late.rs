//! What the store promises about messages that were found too late, and about times in which
//! nobody listened.

use crate::away::Away;
use crate::missed::{Choice, Decided, Missed};
use crate::store::missed::Listed;

use super::together::{eight, how_many};
use super::*;

fn missed(message: u64, place: u64) -> Missed {
    Missed {
        message: MessageId::new(message).unwrap(),
        place: ChannelId::new(place).unwrap(),
        channel: "5".parse().unwrap(),
        project: "app".parse().unwrap(),
        author: "9".parse().unwrap(),
        words: "hm".into(),
    }
}

fn ada() -> Author {
    Author { id: "9".parse().unwrap(), name: "Ada".into() }
}

/// Lists what was found in a place; the numbers of what is listed.
async fn list(store: &Store, place: u64) -> Vec<u64> {
    let mut listed = Vec::new();
    let render = |missed: &[Missed]| {
        listed = missed.iter().map(|it| it.message.get()).collect();
        Some(row(&format!("missed/{}", missed.last().unwrap().message)))
    };
    let count = store.list_missed(ChannelId::new(place).unwrap(), render, 5).await.unwrap();
    assert_eq!(count, listed.len());
    listed
}

async fn decide(store: &Store, list: u64, choice: Choice) -> Option<Decided> {
    let list = MessageId::new(list).unwrap();
    let nowhere = Listed { place: "5".parse().unwrap(), channel: "5".parse().unwrap() };
    let at = store.missed_list(list).await.unwrap().unwrap_or(nowhere);
    let row = row(&format!("missed/{list}/decided"));
    let at = (at, &"app".parse().unwrap());
    store.decide_missed(list, choice, at, &ada(), row, 6).await.unwrap()
}

async fn due(store: &Store) -> Vec<u64> {
    store.due_missed().await.unwrap().iter().map(|due| due.message.get()).collect()
}

/// The names of the rows that are due in a thread.
async fn rows(store: &Store, thread: u64) -> Vec<String> {
    sqlx::query_scalar("SELECT name FROM outbox WHERE thread = $1 ORDER BY seq")
        .bind(number(thread))
        .fetch_all(&store.pool)
        .await
        .unwrap()
}

pub(super) async fn what_is_found_too_late_is_listed_once_and_not_run(Fresh { store, .. }: Fresh) {
    for message in [8, 7] {
        assert!(store.miss(&missed(message, 5), 1).await.unwrap());
        assert!(!store.miss(&missed(message, 5), 2).await.unwrap());
    }
    store.miss(&missed(9, 3), 1).await.unwrap();
    assert!(!store.accept(&new_run(7, 7), &[], 3).await.unwrap(), "it is judged");
    assert!(store.is_unlisted("5".parse().unwrap()).await.unwrap());
    assert_eq!(list(&store, 5).await, [7, 8]);
    assert!(!store.is_unlisted("5".parse().unwrap()).await.unwrap());
    assert_eq!(list(&store, 5).await, [0; 0]);
    assert_eq!(rows(&store, 5).await, ["missed/8"]);
    store.miss(&missed(10, 5), 4).await.unwrap();
    assert_eq!(list(&store, 5).await, [10], "another list");
    assert_eq!((due(&store).await, store.released().await.unwrap().len()), (vec![], 0));
}

pub(super) async fn a_list_is_decided_once_and_worked_off_in_order(Fresh { store, .. }: Fresh) {
    for (message, place) in [(7, 5), (8, 5), (20, 3), (21, 3)] {
        store.miss(&missed(message, place), 1).await.unwrap();
    }
    assert_eq!((list(&store, 5).await, list(&store, 3).await), (vec![7, 8], vec![20, 21]));
    assert_eq!(decide(&store, 7, Choice::Run).await, None, "a list has the name of its newest");
    assert_eq!(decide(&store, 8, Choice::Run).await, Some(Decided::Now(2)));
    let before = Decided::Before(Choice::Run, "Ada".into());
    assert_eq!(decide(&store, 8, Choice::Leave).await, Some(before));
    assert_eq!(due(&store).await, [7]);
    decide(&store, 21, Choice::Run).await;
    assert_eq!(due(&store).await, [7, 20], "the oldest of each place");
    assert!(store.run_missed(&new_run(7, 7), &[row("a")], 9).await.unwrap());
    assert!(!store.run_missed(&new_run(7, 7), &[row("b")], 9).await.unwrap());
    assert_eq!(rows(&store, 7).await, ["a"]);
    let next = store.due_missed().await.unwrap();
    assert_eq!(next[0].message.get(), 8);
    assert!(store.drop_missed(&next[0], &[], 9).await.unwrap(), "it is gone");
    assert!(!store.drop_missed(&next[0], &[row("c")], 9).await.unwrap());
    assert!(!store.run_missed(&new_run(8, 8), &[], 9).await.unwrap());
    assert_eq!(due(&store).await, [20]);
    let released = store.released().await.unwrap();
    assert_eq!((released.len(), released[0].request.run.to_string()), (1, "m7".to_owned()));
}

pub(super) async fn what_is_left_is_never_due(Fresh { store, .. }: Fresh) {
    store.miss(&missed(7, 5), 1).await.unwrap();
    list(&store, 5).await;
    assert_eq!(decide(&store, 7, Choice::Leave).await, Some(Decided::Now(1)));
    let before = Decided::Before(Choice::Leave, "Ada".into());
    assert_eq!(decide(&store, 7, Choice::Run).await, Some(before));
    assert_eq!(due(&store).await, [0; 0]);
    assert!(!store.run_missed(&new_run(7, 7), &[], 9).await.unwrap());
}

pub(super) async fn a_list_is_forgotten_but_not_what_is_due_by_it(Fresh { store, .. }: Fresh) {
    for (message, place) in [(7, 5), (20, 3)] {
        store.miss(&missed(message, place), 1).await.unwrap();
        list(&store, place).await;
    }
    decide(&store, 20, Choice::Run).await;
    store.forget(1000).await.unwrap();
    assert_eq!(decide(&store, 7, Choice::Run).await, None);
    assert_eq!(due(&store).await, [20]);
}

pub(super) async fn a_list_is_made_and_decided_by_one_gateway(fresh: Fresh) {
    let gateways = fresh.gateways().await;
    for message in 100..110 {
        let found = eight(&gateways, |gateway, _| async move {
            gateway.miss(&missed(message, 5), 1).await.unwrap()
        });
        assert_eq!(how_many(&found.await, &true), 1);
        let listed = eight(&gateways, |gateway, _| async move { list(&gateway, 5).await });
        assert_eq!(how_many(&listed.await, &vec![message]), 1);
        let decided = eight(&gateways, |gateway, number| async move {
            let choice = if number % 2 == 0 { Choice::Run } else { Choice::Leave };
            (choice, decide(&gateway, message, choice).await.unwrap())
        });
        let decided = decided.await;
        let first = decided.iter().find(|(_, decided)| *decided == Decided::Now(1)).unwrap().0;
        let before = Decided::Before(first, "Ada".into());
        let told: Vec<_> = decided.iter().map(|(_, decided)| decided.clone()).collect();
        assert_eq!(how_many(&told, &before), 7, "{decided:?}");
        let run = eight(&gateways, |gateway, _| async move {
            gateway.run_missed(&new_run(message, message), &[], 2).await.unwrap()
        });
        let expected = usize::from(first == Choice::Run);
        assert_eq!(how_many(&run.await, &true), expected);
    }
}

/// Milliseconds after a moment of 2023, from which ids are made.
fn at(ms: i64) -> i64 {
    1_700_000_000_000 + ms
}

/// A run by a message that was written at one time and accepted at another.
async fn accept(store: &Store, thread: u64, written_ms: i64, accepted_ms: i64) {
    let message = MessageId::first_of(at(written_ms)).get();
    let new = new_run(message, if thread == 0 { message } else { thread });
    assert!(store.accept(&new, &[], at(accepted_ms)).await.unwrap());
}

/// The times away, and how many runs of each are answered late in the one channel.
async fn aways(store: &Store) -> Vec<(Away, i64)> {
    let mut all = Vec::new();
    for away in store.aways().await.unwrap() {
        let answered = store.answered_late(away).await.unwrap();
        all.push((away, answered.iter().map(|it| it.count).sum()));
    }
    all
}

pub(super) async fn a_time_away_is_kept_until_it_was_told(Fresh { store, .. }: Fresh) {
    store.listen_again(None, at(0)).await.unwrap();
    assert_eq!(aways(&store).await, [], "nobody listened before, and nobody was away");
    store.listened(at(50)).await.unwrap();
    store.listened(at(40)).await.unwrap();
    store.listen_again(None, at(100)).await.unwrap();
    let first = Away { from_ms: at(50), to_ms: at(100) };
    accept(&store, 0, 49, 101).await;
    accept(&store, 0, 60, 61).await;
    accept(&store, 7, 70, 101).await;
    accept(&store, 0, 99, 102).await;
    accept(&store, 0, 100, 103).await;
    store.miss(&missed(MessageId::first_of(at(80)).get(), 5), at(104)).await.unwrap();
    assert_eq!(aways(&store).await, [(first, 2)]);
    // It dies while it reads, and goes on reading.
    store.listen_again(None, at(200)).await.unwrap();
    accept(&store, 0, 90, 201).await;
    let second = Away { from_ms: at(100), to_ms: at(200) };
    assert_eq!(aways(&store).await, [(first, 3), (second, 0)]);
    for _ in 0..2 {
        let app = "app".parse().unwrap();
        store.tell_channel("5".parse().unwrap(), &app, row("away"), at(203)).await.unwrap();
    }
    assert_eq!(rows(&store, 5).await, ["away"]);
    store.away_is_told(first).await.unwrap();
    assert_eq!(aways(&store).await, [(second, 0)]);
}

pub(super) async fn a_session_that_was_lost_counts_from_its_end(Fresh { store, .. }: Fresh) {
    store.listen_again(None, at(0)).await.unwrap();
    store.listen_again(Some(at(30)), at(100)).await.unwrap();
    let away = Away { from_ms: at(30), to_ms: at(100) };
    assert_eq!(aways(&store).await, [(away, 0)]);
}

pub(super) async fn what_a_button_brought_is_not_of_the_time_away(Fresh { store, .. }: Fresh) {
    store.listen_again(None, at(0)).await.unwrap();
    store.listen_again(None, at(100)).await.unwrap();
    let message = MessageId::first_of(at(50)).get();
    store.miss(&missed(message, 5), at(101)).await.unwrap();
    list(&store, 5).await;
    decide(&store, message, Choice::Run).await;
    assert!(store.run_missed(&new_run(message, message), &[], at(102)).await.unwrap());
    assert_eq!(aways(&store).await, [(Away { from_ms: at(0), to_ms: at(100) }, 0)]);
}
