//! What the store promises about runs that a person ends, and about runners that are away.

use super::*;
use crate::commands::{Holder, Left};

/// Long after the runner of [`held`] was seen.
const LATE_MS: i64 = 100_000;

/// Two runs in thread 7, the first one held by `host-1`, which was seen at 1,000.
async fn held(store: &Store) {
    let runner = presence("host-1");
    store.claim_project(&"app".parse().unwrap(), &runner, 1).await.unwrap();
    store.saw(&runner, 1_000).await.unwrap();
    for message in [7, 8] {
        store.accept(&new_run(message, 7), &[], 1).await.unwrap();
    }
    let running = Record { state_id: runner.state_id, ..of_m7(1, State::Running) };
    assert_eq!(store.fold(&key(7, 7), &running, never, 2).await.unwrap(), Folded::Moved);
}

fn of_m7(generation: u32, state: State) -> Record {
    Record { generation: Generation(generation), ..record(&"m7".parse().unwrap(), state) }
}

fn never(_: &crate::render::Place) -> Vec<Row> {
    Vec::new()
}

fn m7(generation: u32) -> About {
    About::Run("m7".parse().unwrap(), Generation(generation))
}

/// Ends the first run, late; the rows are named after the generation that they are owed in.
async fn end(store: &Store, about: About, message: u64) -> Option<Done> {
    let rows = |done: &Done, place: Option<&crate::render::Place>| match (done, place) {
        (Done::Ended(_), Some(place)) => vec![row(&format!("ended/{}", place.generation))],
        _ => Vec::new(),
    };
    store.order(&order(Order::End, about, message), rows, LATE_MS).await.unwrap()
}

async fn released(store: &Store) -> Vec<(String, u32)> {
    let released = store.released().await.unwrap().into_iter();
    released.map(|run| (run.request.run.to_string(), run.request.generation.0)).collect()
}

async fn stopping(store: &Store) -> Vec<(u32, u32)> {
    let stopping = store.stopping().await.unwrap().into_iter();
    stopping.map(|run| (run.ended.0, run.now.0)).collect()
}

pub(super) async fn a_run_is_ended_in_a_new_generation_and_the_next_one_is_released(
    Fresh { store, .. }: Fresh,
) {
    held(&store).await;
    let ended = end(&store, m7(1), 20).await;
    assert_eq!(ended, Some(Done::Ended(Left::Away("host-1".into()))));
    assert_eq!(released(&store).await, [("m8".to_owned(), 1)]);
    assert_eq!(end(&store, m7(1), 21).await, Some(Done::TooLate));
    let lease = store.lease("me", LATE_MS, 100).await.unwrap().unwrap();
    let due = store.next_row(&lease, LATE_MS, LATE_MS + 100).await.unwrap().unwrap();
    assert_eq!(due.row.name, "ended/2");
    let controls = store.controls(&key(7, 7), Generation(1)).await.unwrap().unwrap();
    assert_eq!(controls.stop(), Some("Ada"));
    assert_eq!(stopping(&store).await, [(1, 2)]);
    for old in store.stopping().await.unwrap() {
        assert!(!old.is_over(of_m7(1, State::Running).fact()));
        assert!(old.is_over(of_m7(1, answered()).fact()));
        assert!(old.is_over(of_m7(2, State::Claimed).fact()));
        store.stopped(&old).await.unwrap();
    }
    assert_eq!(stopping(&store).await, []);
}

pub(super) async fn a_late_record_of_an_ended_generation_changes_nothing(
    Fresh { store, .. }: Fresh,
) {
    held(&store).await;
    end(&store, m7(1), 20).await;
    let told = |_: &crate::render::Place| vec![row("never")];
    for late in [of_m7(1, State::Running), of_m7(1, answered()), of_m7(2, answered())] {
        let folded = store.fold(&key(7, 7), &late, told, LATE_MS).await.unwrap();
        assert_eq!(folded, Folded::Stale);
    }
    assert_eq!(released(&store).await, [("m8".to_owned(), 1)]);
    let rows: Vec<(String,)> =
        sqlx::query_as("SELECT name FROM outbox").fetch_all(&store.pool).await.unwrap();
    assert_eq!(rows, [("ended/2".to_owned(),)]);
}

pub(super) async fn an_ended_run_is_tried_again_and_ended_again(Fresh { store, .. }: Fresh) {
    held(&store).await;
    end(&store, m7(1), 20).await;
    assert_eq!(give(&store, order(Order::Retry, m7(2), 21)).await, Some(Done::Again));
    assert_eq!(released(&store).await, [("m8".to_owned(), 1)], "it waits its turn");
    let m8 = record(&"m8".parse().unwrap(), answered());
    store.fold(&key(8, 7), &m8, never, 9).await.unwrap();
    assert_eq!(released(&store).await, [("m7".to_owned(), 3)]);
    assert_eq!(stopping(&store).await, [(1, 3)], "the old holder is not back yet");
    let late = store.fold(&key(7, 7), &of_m7(1, answered()), never, LATE_MS).await.unwrap();
    assert_eq!(late, Folded::Stale);
    // Nobody was seen to hold the new generation.
    let ended = end(&store, m7(3), 22).await;
    assert_eq!(ended, Some(Done::Ended(Left::Nothing)));
    assert_eq!(stopping(&store).await, [(3, 4)]);
    assert!(store.controls(&key(7, 7), Generation(3)).await.unwrap().is_some());
}

pub(super) async fn what_nobody_can_have_heard_of_is_not_to_be_stopped(Fresh { store, .. }: Fresh) {
    store.accept(&new_run(7, 7), &[], 1).await.unwrap();
    assert_eq!(end(&store, m7(1), 20).await, Some(Done::Ended(Left::Nothing)));
    assert_eq!(stopping(&store).await, []);
    assert_eq!(released(&store).await, []);
}

pub(super) async fn an_end_is_about_what_runs_before_what_waits(Fresh { store, .. }: Fresh) {
    store.accept(&new_run(7, 7), &[], 1).await.unwrap();
    store.close_gates(LATE_MS * 2).await.unwrap();
    for message in [8, 9] {
        store.accept(&new_run(message, 7), &[], 1).await.unwrap();
    }
    let done = end(&store, About::Newest, 20).await;
    assert_eq!(done, Some(Done::Ended(Left::Nothing)), "m7, though m9 is newer");
    let stop = |message| give(&store, order(Order::Stop, About::Newest, message));
    assert_eq!(stop(21).await, Some(Done::Waiting(2)));
    assert_eq!(end(&store, About::Newest, 22).await, Some(Done::Dropped));
    let waiting = store.waiting().await.unwrap();
    assert_eq!((waiting.len(), waiting[0].run.as_str()), (1, "m8"));
    assert_eq!(end(&store, About::Newest, 23).await, Some(Done::Dropped));
    assert_eq!(end(&store, About::Newest, 24).await, Some(Done::Nothing));
    assert_eq!(stop(25).await, Some(Done::Nothing));
}

pub(super) async fn a_stop_says_who_is_away(Fresh { store, .. }: Fresh) {
    held(&store).await;
    let stop = async |message, now_ms| {
        let ordered = order(Order::Stop, m7(1), message);
        store.order(&ordered, |_, _| Vec::new(), now_ms).await.unwrap().unwrap()
    };
    assert_eq!(stop(20, 31_000).await, Done::Stopping);
    let holder = Holder { runner: "host-1".into(), seen_ms: Some(1_000) };
    assert_eq!(stop(21, 31_001).await, Done::StoppingLater(Some(holder)));
    store
        .accept(&NewRun { project: "new".parse().unwrap(), ..new_run(9, 9) }, &[], 1)
        .await
        .unwrap();
    let about = About::Run("m9".parse().unwrap(), Generation(1));
    let (thread, project) = ("9".parse().unwrap(), "new".parse().unwrap());
    let ordered = Ordered { thread, project, ..order(Order::Stop, about, 22) };
    let done = store.order(&ordered, |_, _| Vec::new(), 5).await.unwrap();
    assert_eq!(done, Some(Done::StoppingLater(None)), "nobody has the project");
}

pub(super) async fn a_sight_of_a_runner_never_goes_back(Fresh { store, .. }: Fresh) {
    let runner = presence("host-1");
    for seen_ms in [20_000, 1_000, 20_001, 30_000, 29_000] {
        store.saw(&runner, seen_ms).await.unwrap();
    }
    let seen: Vec<(String, i64)> =
        sqlx::query_as("SELECT runner, seen_ms FROM runners").fetch_all(&store.pool).await.unwrap();
    assert_eq!(seen, [("host-1".to_owned(), 30_000)]);
}

pub(super) async fn a_run_that_is_too_old_is_ended_in_a_new_generation_and_stopped(
    Fresh { store, .. }: Fresh,
) {
    held(&store).await;
    let told = |place: &crate::render::Place| {
        vec![row(&format!("old/{}/{}", place.run, place.generation))]
    };
    assert_eq!(store.expire(LATE_MS, told, LATE_MS).await.unwrap(), 2, "m8 waited for it");
    assert_eq!(released(&store).await, []);
    assert_eq!(stopping(&store).await, [(1, 2)], "m8 was never released");
    let controls = store.controls(&key(7, 7), Generation(1)).await.unwrap().unwrap();
    assert!(controls.stop().is_some());
    let late = store.fold(&key(7, 7), &of_m7(1, answered()), never, LATE_MS).await.unwrap();
    assert_eq!(late, Folded::Stale);
    let rows: Vec<(String,)> = sqlx::query_as("SELECT name FROM outbox ORDER BY seq")
        .fetch_all(&store.pool)
        .await
        .unwrap();
    assert_eq!(rows, [("old/m8/1".to_owned(),), ("old/m7/2".to_owned(),)]);
    assert_eq!(give(&store, order(Order::Retry, m7(2), 21)).await, Some(Done::Again));
}
