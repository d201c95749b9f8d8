//! What the store promises to whoever counts what it holds.

use std::time::Duration;

use schemas::record::Usage;

use super::*;

async fn counted(store: &Store, what: What) -> Vec<(String, String, i64, Option<i64>)> {
    let mut all: Vec<_> = store
        .census(1_000)
        .await
        .unwrap()
        .into_iter()
        .filter(|it| it.what == what)
        .map(|it| (it.project, it.which, it.count, it.since_ms))
        .collect();
    all.sort_unstable();
    all
}

fn of(which: &str, count: i64, since_ms: Option<i64>) -> (String, String, i64, Option<i64>) {
    ("app".into(), which.into(), count, since_ms)
}

fn told() -> State {
    let outcome = Outcome::Answered { answer: Text::Inline("hi".into()), denied: Vec::new() };
    let usage = Usage {
        duration_ms: 5,
        cost_usd: 0.25,
        turns: 1,
        input_tokens: 100,
        output_tokens: 7,
        model: None,
    };
    State::Ended { outcome, usage: Some(usage) }
}

pub(super) async fn what_is_open_is_counted_by_where_it_stands(Fresh { store, .. }: Fresh) {
    assert_eq!(store.census(0).await.unwrap(), []);
    for (message, now_ms) in [(7, 10), (8, 20), (9, 30)] {
        store.accept(&new_run(message, 7), &[], now_ms).await.unwrap();
    }
    assert_eq!(
        counted(&store, What::Runs).await,
        [of("queued", 2, Some(20)), of("released", 1, Some(10))]
    );
    let none = |_: &crate::render::Place| Vec::new();
    let run = "m7".parse().unwrap();
    store.fold(&key(7, 7), &record(&run, State::Running), none, 40).await.unwrap();
    assert_eq!(
        counted(&store, What::Runs).await,
        [of("held", 1, Some(10)), of("queued", 2, Some(20))]
    );
    assert_eq!(store.took(&run).await.unwrap(), None, "it has no outcome");
    store.fold(&key(7, 7), &record(&run, answered()), none, 3_010).await.unwrap();
    assert_eq!(store.took(&run).await.unwrap(), Some(Duration::from_secs(3)));
    let now = counted(&store, What::Runs).await;
    assert_eq!(now, [of("queued", 1, Some(30)), of("released", 1, Some(3_010))]);
}

pub(super) async fn an_outcome_is_counted_once_with_what_it_took(Fresh { store, .. }: Fresh) {
    for (message, thread) in [(7, 7), (8, 7), (9, 9)] {
        store.accept(&new_run(message, thread), &[], 10).await.unwrap();
    }
    let none = |_: &crate::render::Place| Vec::new();
    let ended = record(&"m7".parse().unwrap(), told());
    store.fold(&key(7, 7), &ended, none, 2_000).await.unwrap();
    store.fold(&key(7, 7), &ended, none, 2_001).await.unwrap();
    assert!(!store.drop_waiting(&"m7".parse().unwrap(), 2_002).await.unwrap());
    let one = [
        of("cost", 250_000, None),
        of("outcome/answered", 1, None),
        of("tokens/input", 100, None),
        of("tokens/output", 7, None),
    ];
    assert_eq!(counted(&store, What::Tally).await, one);
    assert_eq!(counted(&store, What::Spent).await, [of("", 250_000, None)]);
    // What a person drops, and what fails, is an outcome; what is old is forgotten and stays counted.
    let dropped = new_run(11, 9);
    store.accept(&dropped, &[], 10).await.unwrap();
    assert!(store.drop_waiting(&dropped.run, 2_003).await.unwrap());
    store.expire(11, |_| Vec::new(), 2_004).await.unwrap();
    store.forget(5_000).await.unwrap();
    let all = [
        of("cost", 250_000, None),
        of("outcome/answered", 1, None),
        of("outcome/dropped", 1, None),
        of("outcome/failed", 2, None),
        of("tokens/input", 100, None),
        of("tokens/output", 7, None),
    ];
    assert_eq!(counted(&store, What::Tally).await, all);
    assert_eq!(counted(&store, What::Spent).await, []);
}

pub(super) async fn what_waits_behind_a_parked_row_is_parked(Fresh { store, .. }: Fresh) {
    store.accept(&new_run(7, 7), &[row("a"), row("b")], 10).await.unwrap();
    store.accept(&new_run(9, 9), &[row("c")], 20).await.unwrap();
    assert_eq!(counted(&store, What::Rows).await, [of("due", 3, Some(10))]);
    store.park("a", 900, "a right is missing").await.unwrap();
    let parked = [of("due", 1, Some(20)), of("parked", 2, Some(10))];
    assert_eq!(counted(&store, What::Rows).await, parked);
    store.put_aside("c", 900, "Discord wants fewer requests").await.unwrap();
    let later = [of("later", 1, Some(20)), of("parked", 2, Some(10))];
    assert_eq!(counted(&store, What::Rows).await, later);
    store.try_again("a", 900, "it failed otherwise").await.unwrap();
    assert_eq!(
        counted(&store, What::Rows).await,
        [of("due", 2, Some(10)), of("later", 1, Some(20))]
    );
    store.sent("a", None, 30).await.unwrap();
    assert_eq!(counted(&store, What::Rows).await[0], of("due", 1, Some(10)));
}
