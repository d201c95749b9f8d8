//! What the store promises about conversations without a thread, about who asks in one, and about what
//! is put aside.

use super::*;

fn thread(id: u64) -> ThreadId {
    ThreadId::new(id).unwrap()
}

fn message(id: u64) -> MessageId {
    MessageId::new(id).unwrap()
}

fn channel() -> ChannelId {
    "5".parse().unwrap()
}

fn by(author: &str, name: &str, new: NewRun) -> NewRun {
    NewRun { author: Author { id: author.parse().unwrap(), name: name.into() }, ..new }
}

fn starts(id: u64) -> Row {
    let action = Action::Thread { channel: channel(), message: message(id), name: "ours".into() };
    Row { name: Row::starts_thread(thread(id)), action }
}

fn post(name: &str) -> Row {
    let channel = thread(7).into();
    let content = name.to_owned();
    let action = Action::Post { channel, reply_to: None, content, buttons: Vec::new() };
    Row { name: name.into(), action }
}

/// The only prompt that is released.
async fn told(store: &Store) -> String {
    let [released] = &store.released().await.unwrap()[..] else { panic!("one is released") };
    released.request.prompt.clone()
}

async fn answered(store: &Store, id: u64) {
    let outcome = Outcome::Answered { answer: Text::Inline("hi".into()), denied: Vec::new() };
    let ended = record(&message(id).into(), State::Ended { outcome, usage: None });
    let none = |_: &crate::render::Place| Vec::new();
    assert_eq!(store.fold(&key(id, 7), &ended, none, 9).await.unwrap(), Folded::Moved);
}

pub(super) async fn who_asks_is_said_where_several_do_and_frozen_at_release(
    Fresh { store, .. }: Fresh,
) {
    store.accept(&new_run(7, 7), &[], 1).await.unwrap();
    assert_eq!(told(&store).await, "hello", "alone");
    store.accept(&by("10", "Bob", new_run(8, 7)), &[], 1).await.unwrap();
    assert_eq!(told(&store).await, "hello", "it was released before");
    let command = NewRun { prompt: "/compact".into(), ..by("10", "Bob", new_run(9, 7)) };
    store.accept(&command, &[], 1).await.unwrap();
    answered(&store, 7).await;
    assert_eq!(told(&store).await, "[From Bob]\nhello");
    answered(&store, 8).await;
    assert_eq!(told(&store).await, "/compact", "claude looks for it at the beginning");
    answered(&store, 9).await;
    store.accept(&by("10", "Bob", new_run(20, 20)), &[], 1).await.unwrap();
    assert_eq!(told(&store).await, "hello", "alone in another thread");
}

pub(super) async fn who_took_the_question_back_does_not_count(Fresh { store, .. }: Fresh) {
    store.accept(&new_run(7, 7), &[], 1).await.unwrap();
    store.accept(&by("10", "Bob", new_run(8, 7)), &[], 1).await.unwrap();
    store.accept(&new_run(9, 7), &[], 1).await.unwrap();
    assert!(store.drop_waiting(&message(8).into(), 2).await.unwrap());
    answered(&store, 7).await;
    assert_eq!(told(&store).await, "hello");
}

pub(super) async fn without_a_thread_a_conversation_is_its_messages(Fresh { store, .. }: Fresh) {
    store.accept(&new_run(7, 7), &[starts(7), post("answer")], 1).await.unwrap();
    assert_eq!(store.threadless(channel(), message(7)).await.unwrap(), None);
    let line = Row { name: "line".into(), ..row("line") };
    let name = Row::starts_thread(thread(7));
    for _ in 0..2 {
        store.goes_on_in_channel(thread(7), &name, "no right", &line, 2).await.unwrap();
    }
    assert_eq!(store.called(thread(7)).await.unwrap(), None);
    let lease = store.lease("me", 3, 100).await.unwrap().unwrap();
    let due = store.next_row(&lease, 3, 103).await.unwrap().unwrap();
    assert_eq!(due.row, line, "in its place, once");
    store.sent("line", None, 3).await.unwrap();
    let due = store.next_row(&lease, 3, 103).await.unwrap().unwrap();
    let Action::Post { channel: place, reply_to, .. } = due.row.action else { panic!("{due:?}") };
    assert_eq!((place, reply_to), (channel(), Some(message(7))));
    store.sent("answer", Some(message(30)), 3).await.unwrap();
    for (asked, found) in [(7, Some(thread(7))), (30, Some(thread(7))), (31, None)] {
        assert_eq!(store.threadless(channel(), message(asked)).await.unwrap(), found, "{asked}");
    }
    let elsewhere = "6".parse().unwrap();
    assert_eq!(store.threadless(elsewhere, message(7)).await.unwrap(), None);
    assert_eq!(store.thread_cursors(0).await.unwrap(), [], "it is read with its channel");
    store.close_gates(1_000).await.unwrap();
    answered(&store, 7).await;
    store.accept(&new_run(31, 7), &[], 4).await.unwrap();
    assert!(store.released().await.unwrap().is_empty());
    assert_eq!(store.open_gates_in(channel(), 5).await.unwrap(), 1);
    assert_eq!(told(&store).await, "hello");
    assert_eq!(store.open_gates_in(channel(), 5).await.unwrap(), 0);
}

pub(super) async fn what_is_put_aside_holds_up_nothing(Fresh { store, .. }: Fresh) {
    store.accept(&new_run(7, 7), &[starts(7), row("a"), row("b")], 1).await.unwrap();
    store.sent(&Row::starts_thread(thread(7)), None, 2).await.unwrap();
    assert_eq!(store.called(thread(7)).await.unwrap().as_deref(), Some("ours"));
    store.put_aside("a", 50, "busy").await.unwrap();
    let lease = store.lease("me", 3, 100).await.unwrap().unwrap();
    assert_eq!(store.next_row(&lease, 3, 103).await.unwrap().unwrap().row.name, "b");
    assert_eq!(store.take_up(49).await.unwrap(), 0);
    assert_eq!(store.take_up(50).await.unwrap(), 1);
    assert_eq!(store.next_row(&lease, 50, 150).await.unwrap().unwrap().row.name, "b", "behind it");
    store.sent("b", None, 51).await.unwrap();
    assert_eq!(store.next_row(&lease, 51, 151).await.unwrap().unwrap().row.name, "a");
}
