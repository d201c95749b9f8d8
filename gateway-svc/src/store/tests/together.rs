//! What the store promises when several ask at once: two gateways on one database, eight tasks.
//!
//! A promise here is kept by a lock or by a condition in one statement. Taken out, the test of it
//! fails on PostgreSQL, where nothing else puts writers in a row.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// How many ask at once.
const TASKS: u64 = 8;
/// How often something is asked that goes wrong now and then only.
const ROUNDS: u64 = 25;

/// Eight at once, each with its number, half of them at each gateway; what they came back with.
pub(super) async fn eight<T, F>(gateways: &[Store; 2], ask: impl Fn(Store, u64) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let mut asked = JoinSet::new();
    for (number, gateway) in (0..TASKS).zip(gateways.iter().cycle()) {
        asked.spawn(ask(gateway.clone(), number));
    }
    asked.join_all().await
}

async fn count(store: &Store, rows: &'static str) -> i64 {
    let text = format!("SELECT COUNT(*) FROM {rows}");
    let count = sqlx::query_scalar(sqlx::AssertSqlSafe(text)).fetch_one(&store.pool);
    count.await.unwrap()
}

pub(super) fn how_many<T: PartialEq>(all: &[T], wanted: &T) -> usize {
    all.iter().filter(|one| *one == wanted).count()
}

fn nothing(_: &crate::render::Place) -> Vec<Row> {
    Vec::new()
}

pub(super) async fn a_message_is_judged_by_one_gateway(fresh: Fresh) {
    let gateways = fresh.gateways().await;
    for message in 100..100 + ROUNDS {
        let judged = eight(&gateways, |gateway, number| async move {
            let rows = [row(&format!("m{message}/{number}"))];
            gateway.accept(&new_run(message, message), &rows, 1).await.unwrap()
        });
        assert_eq!(how_many(&judged.await, &true), 1);
    }
    let rounds = i64::try_from(ROUNDS).unwrap();
    assert_eq!(count(&fresh.store, "outbox").await, rounds);
    assert_eq!(count(&fresh.store, "runs WHERE state = 'released'").await, rounds);
}

pub(super) async fn a_new_thread_has_one_run_released_however_many_write(fresh: Fresh) {
    let gateways = fresh.gateways().await;
    for thread in (100..).step_by(10).take(10) {
        let accepted = eight(&gateways, |gateway, number| async move {
            gateway.accept(&new_run(thread + number, thread), &[], 1).await.unwrap()
        });
        assert_eq!(how_many(&accepted.await, &true), 8);
    }
    let released = fresh.store.released().await.unwrap();
    let mut threads: Vec<_> = released.iter().map(|run| run.request.thread.get()).collect();
    threads.sort_unstable();
    assert!((100..).step_by(10).take(10).eq(threads), "{released:?}");
}

/// Everybody accepts, and everybody folds what is released.
pub(super) async fn a_thread_has_one_run_released_however_many_write(fresh: Fresh) {
    const EACH: u64 = 5;
    let gateways = fresh.gateways().await;
    let moved = eight(&gateways, |gateway, number| async move {
        let mut moved = Vec::new();
        for message in 0..EACH {
            let run = new_run(100 + number * EACH + message, 7);
            assert!(gateway.accept(&run, &[], 1).await.unwrap());
            moved.extend(finish(&gateway).await);
        }
        moved
    });
    let mut moved: Vec<RunId> = moved.await.into_iter().flatten().collect();
    for _ in 0..TASKS * EACH {
        moved.extend(finish(&fresh.store).await);
    }
    let all = usize::try_from(TASKS * EACH).unwrap();
    assert_eq!(moved.len(), all, "every run was released, and had one outcome");
    assert_eq!(moved.iter().collect::<std::collections::BTreeSet<_>>().len(), all);
    assert_eq!(count(&fresh.store, "outbox").await, i64::try_from(all).unwrap());
}

/// Folds the outcome of what is released, which is one run at most; says whether it was us.
async fn finish(gateway: &Store) -> Option<RunId> {
    let released = gateway.released().await.unwrap();
    assert!(released.len() <= 1, "{} at once", released.len());
    let key = released.first()?.key();
    let rows = |place: &crate::render::Place| vec![row(&format!("{}/answer", place.run))];
    let folded = gateway.fold(&key, &record(&key.run, answered()), rows, 2).await.unwrap();
    (folded == Folded::Moved).then_some(key.run)
}

pub(super) async fn rows_that_many_write_keep_their_order(fresh: Fresh) {
    let gateways = fresh.gateways().await;
    eight(&gateways, |gateway, number| async move {
        let rows = ["a", "b", "c"].map(|part| row(&format!("m{}/{part}", 100 + number)));
        gateway.accept(&new_run(100 + number, 7), &rows, 1).await.unwrap()
    })
    .await;
    let rows: Vec<(i64, String)> = sqlx::query_as("SELECT seq, name FROM outbox ORDER BY seq")
        .fetch_all(&fresh.store.pool)
        .await
        .unwrap();
    assert!((1..=24).eq(rows.iter().map(|(seq, _)| *seq)), "{rows:?}");
    for three in rows.chunks(3) {
        let (run, _) = three[0].1.split_once('/').unwrap();
        let names: Vec<_> = three.iter().map(|(_, name)| name.clone()).collect();
        assert_eq!(names, ["a", "b", "c"].map(|part| format!("{run}/{part}")));
    }
}

pub(super) async fn a_thread_is_leased_to_one_poster(fresh: Fresh) {
    const THREADS: usize = 40;
    let gateways = fresh.gateways().await;
    for thread in (100..).take(THREADS) {
        fresh
            .store
            .accept(&new_run(thread, thread), &[row(&format!("m{thread}"))], 1)
            .await
            .unwrap();
    }
    let taken = Arc::new(AtomicUsize::new(0));
    let leases = eight(&gateways, |gateway, number| {
        let taken = Arc::clone(&taken);
        async move {
            let mut own = Vec::new();
            // Who comes second to a thread gets none, and asks again.
            while taken.load(Ordering::Relaxed) < THREADS {
                let lease = gateway.lease(&format!("poster {number}"), 10, 100).await.unwrap();
                taken.fetch_add(lease.iter().count(), Ordering::Relaxed);
                own.extend(lease.map(|lease| lease.thread));
            }
            own
        }
    });
    let mut threads: Vec<ThreadId> = leases.await.into_iter().flatten().collect();
    threads.sort_unstable();
    let expected = (100..).take(THREADS).map(|thread| ThreadId::new(thread).unwrap());
    assert!(expected.eq(threads.iter().copied()), "{threads:?}");
}

pub(super) async fn a_lease_is_taken_over_when_it_ran_out_and_by_one(fresh: Fresh) {
    let gateways = fresh.gateways().await;
    fresh.store.accept(&new_run(7, 7), &[row("a")], 1).await.unwrap();
    let old = fresh.store.lease("old", 10, 100).await.unwrap().unwrap();
    let at = |now_ms| {
        eight(&gateways, move |gateway, number| async move {
            gateway.lease(&format!("poster {number}"), now_ms, 100).await.unwrap()
        })
    };
    assert_eq!(how_many(&at(109).await, &None), 8, "it runs for another millisecond");
    assert_eq!(how_many(&at(110).await, &None), 7, "it is over");
    assert_eq!(fresh.store.next_row(&old, 110, 300).await.unwrap(), None);
}

/// The holder goes on at the very moment at which the lease runs out.
pub(super) async fn a_lease_is_kept_or_taken_over_but_not_both(fresh: Fresh) {
    let gateways = fresh.gateways().await;
    for thread in 100..100 + ROUNDS {
        fresh
            .store
            .accept(&new_run(thread, thread), &[row(&format!("m{thread}"))], 1)
            .await
            .unwrap();
        let old = fresh.store.lease("old", 10, 100).await.unwrap().unwrap();
        let hold = eight(&gateways, |gateway, number| {
            let old = old.clone();
            async move {
                if number == 0 {
                    return gateway.next_row(&old, 110, 300).await.unwrap().is_some();
                }
                gateway.lease(&format!("poster {number}"), 110, 1000).await.unwrap().is_some()
            }
        });
        assert_eq!(how_many(&hold.await, &true), 1);
    }
}

pub(super) async fn a_retry_that_many_ask_for_is_one(fresh: Fresh) {
    let gateways = fresh.gateways().await;
    fresh.store.accept(&new_run(7, 7), &[], 1).await.unwrap();
    fail(&fresh.store, 7, 1).await;
    let done = eight(&gateways, |gateway, number| async move {
        let first = About::Run("m7".parse().unwrap(), Generation(1));
        let by = By::Interaction(number);
        give(&gateway, Ordered { by, ..order(Order::Retry, first, 1) }).await
    });
    let done = done.await;
    assert_eq!(how_many(&done, &Some(Done::Again)), 1);
    assert_eq!(how_many(&done, &Some(Done::TooLate)), 7);
    let released = fresh.store.released().await.unwrap();
    assert_eq!(released.len(), 1);
    assert_eq!(released[0].request.generation, Generation(2));
}

/// A run is ended at the very moment at which its answer comes.
pub(super) async fn a_run_is_ended_or_answered_but_not_both(fresh: Fresh) {
    let gateways = fresh.gateways().await;
    for thread in 100..100 + ROUNDS {
        fresh.store.accept(&new_run(thread, thread), &[], 1).await.unwrap();
        let key = key(thread, thread);
        let outcomes = eight(&gateways, |gateway, number| {
            let key = key.clone();
            async move {
                if number % 2 == 0 {
                    let answer = record(&key.run, answered());
                    let folded = gateway.fold(&key, &answer, nothing, 2).await.unwrap();
                    return folded == Folded::Moved;
                }
                let about = About::Run(key.run.clone(), Generation(1));
                let (thread, by) = (key.thread, By::Interaction(number));
                let ordered = Ordered { thread, by, ..order(Order::End, about, 1) };
                matches!(give(&gateway, ordered).await, Some(Done::Ended(_)))
            }
        });
        assert_eq!(how_many(&outcomes.await, &true), 1);
    }
}

/// A message is deleted at the very moment at which its run is due.
pub(super) async fn a_run_that_waits_is_released_or_dropped_but_not_both(fresh: Fresh) {
    let gateways = fresh.gateways().await;
    for thread in (100..).step_by(10).take(25) {
        for message in [thread, thread + 1, thread + 2] {
            fresh.store.accept(&new_run(message, thread), &[], 1).await.unwrap();
        }
        let second = format!("m{}", thread + 1).parse::<RunId>().unwrap();
        let dropped = eight(&gateways, |gateway, number| {
            let second = second.clone();
            async move {
                if number % 2 == 0 {
                    return gateway.drop_waiting(&second, 2).await.unwrap();
                }
                let key = key(thread, thread);
                gateway.fold(&key, &record(&key.run, answered()), nothing, 2).await.unwrap();
                false
            }
        });
        let dropped = how_many(&dropped.await, &true);
        assert!(dropped <= 1);
        let released = fresh.store.released().await.unwrap();
        let next = released.iter().find(|run| run.request.thread.get() == thread).unwrap();
        let expected = thread + 1 + u64::try_from(dropped).unwrap();
        assert_eq!(next.request.run.to_string(), format!("m{expected}"));
    }
}

pub(super) async fn what_is_about_all_threads_and_what_is_about_one_go_on_at_once(fresh: Fresh) {
    let gateways = fresh.gateways().await;
    for thread in 100..100 + ROUNDS {
        fresh.store.accept(&new_run(thread, thread), &[], 1).await.unwrap();
    }
    eight(&gateways, |gateway, number| async move {
        for thread in 100..100 + ROUNDS {
            if number % 2 == 0 {
                gateway.close_gates(i64::try_from(1000 + number).unwrap()).await.unwrap();
            } else {
                gateway.forget(2).await.unwrap();
            }
            let message = thread + 100 * (number + 1);
            assert!(gateway.accept(&new_run(message, thread), &[], 2).await.unwrap());
        }
    })
    .await;
    assert_eq!(count(&fresh.store, "runs").await, i64::try_from(ROUNDS * 9).unwrap());
}

/// A run is tried again at the very moment at which it is old enough to go.
pub(super) async fn a_run_is_forgotten_or_tried_again_but_not_both(fresh: Fresh) {
    let gateways = fresh.gateways().await;
    for thread in 100..100 + ROUNDS {
        // Now and then somebody has written in the thread since.
        let active_ms = if thread % 2 == 0 { 1 } else { 45 };
        fresh.store.accept(&new_run(thread, thread), &[], active_ms).await.unwrap();
        let key = key(thread, thread);
        let outcome = Outcome::Failed { why: "boom".into(), denied: Vec::new() };
        let failed = record(&key.run, State::Ended { outcome, usage: None });
        fresh.store.fold(&key, &failed, nothing, 2).await.unwrap();
        let done = eight(&gateways, |gateway, number| {
            let about = About::Run(key.run.clone(), Generation(1));
            async move {
                if number % 2 == 0 {
                    gateway.forget(40).await.unwrap();
                    return None;
                }
                let thread = ThreadId::new(thread).unwrap();
                let by = By::Interaction(number);
                give(&gateway, Ordered { thread, by, ..order(Order::Retry, about, 1) }).await
            }
        });
        let again = how_many(&done.await, &Some(Done::Again));
        let left = fresh.store.known(&key.run).await.unwrap();
        assert_eq!(left.iter().count(), again);
    }
}

pub(super) async fn a_project_has_one_owner_however_many_show_themselves(fresh: Fresh) {
    let gateways = fresh.gateways().await;
    let owners = eight(&gateways, |gateway, number| async move {
        let runner = presence(&format!("host-{number}"));
        gateway.claim_project(&"app".parse().unwrap(), &runner, 1).await.unwrap()
    });
    assert_eq!(how_many(&owners.await, &Ownership::New), 1);
}
