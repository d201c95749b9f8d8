//! What the store promises about families: hand-offs are put in by the test, since nothing stores
//! one yet.

use super::*;

/// Puts a hand-off of a run of thread 7 into its queue.
async fn hand_over(store: &Store, run: &str, agent: &str) {
    let of: RunId = run.parse().unwrap();
    let text = format!(
        "INSERT INTO runs (run, project, channel, thread, ord, author, author_name, prompt,
                           session, generation, state, accepted_ms, agent)
         SELECT '{run}', project, channel, thread, ord, author, author_name, prompt,
                session, 1, 'queued', accepted_ms, '{agent}'
           FROM runs WHERE run = '{}'",
        of.root()
    );
    sqlx::query(sqlx::AssertSqlSafe(text)).execute(&store.pool).await.unwrap();
}

async fn released(store: &Store) -> Vec<String> {
    let released = store.released().await.unwrap().into_iter();
    let mut runs: Vec<_> = released.map(|run| run.request.run.to_string()).collect();
    runs.sort_unstable();
    runs
}

/// Folds an answer; the store releases what is due.
async fn answer(store: &Store, run: &str) {
    let run: RunId = run.parse().unwrap();
    let key = RunKey { run: run.clone(), ..key(7, 7) };
    let none = |_: &crate::render::Place| Vec::new();
    let folded = store.fold(&key, &record(&run, answered()), none, 9).await.unwrap();
    assert_eq!(folded, Folded::Moved, "{run}");
}

pub(super) async fn a_family_is_open_until_its_last_outcome(Fresh { store, .. }: Fresh) {
    for message in [7, 8] {
        store.accept(&new_run(message, 7), &[], 1).await.unwrap();
    }
    for (run, agent) in [("h1-m7", "a"), ("h2-m7", "b"), ("h3-m7", "a")] {
        hand_over(&store, run, agent).await;
    }
    answer(&store, "m7").await;
    assert_eq!(released(&store).await, ["h1-m7", "h2-m7"], "an agent has one at a time");
    answer(&store, "h1-m7").await;
    assert_eq!(released(&store).await, ["h2-m7", "h3-m7"]);
    hand_over(&store, "h1-h3-m7", "c").await;
    answer(&store, "h3-m7").await;
    assert_eq!(released(&store).await, ["h1-h3-m7", "h2-m7"]);
    answer(&store, "h2-m7").await;
    assert_eq!(released(&store).await, ["h1-h3-m7"]);
    answer(&store, "h1-h3-m7").await;
    assert_eq!(released(&store).await, ["m8"]);
}

pub(super) async fn an_open_family_comes_before_an_older_run_that_is_tried_again(
    Fresh { store, .. }: Fresh,
) {
    store.accept(&new_run(7, 7), &[], 1).await.unwrap();
    fail(&store, 7, 1).await;
    store.accept(&new_run(8, 7), &[], 1).await.unwrap();
    hand_over(&store, "h1-m8", "a").await;
    // Nothing is released by the outcome, and yet the family stays open.
    store.close_gates(100).await.unwrap();
    answer(&store, "m8").await;
    assert_eq!(give(&store, order(Order::Retry, About::Newest, 20)).await, Some(Done::Again));
    assert_eq!(released(&store).await, Vec::<String>::new());
    store.open_gate("7".parse().unwrap(), 60).await.unwrap();
    assert_eq!(released(&store).await, ["h1-m8"]);
    answer(&store, "h1-m8").await;
    assert_eq!(released(&store).await, ["m7"]);
}

pub(super) async fn a_family_goes_on_behind_a_timer_alone(Fresh { store, .. }: Fresh) {
    store.accept(&new_run(7, 7), &[], 1).await.unwrap();
    store.accept(&new_run(8, 7), &[], 1).await.unwrap();
    hand_over(&store, "h1-m7", "a").await;
    store.release_due(2).await.unwrap();
    assert_eq!(released(&store).await, ["h1-m7", "m7"]);
    store.release_due(3).await.unwrap();
    assert_eq!(released(&store).await, ["h1-m7", "m7"]);
}
