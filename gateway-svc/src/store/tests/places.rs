//! What the store promises about where runs are put, about Moves, and about gateways that died.

use schemas::streams::Place;

use super::*;
use crate::placement::{Sharing, Taken};
use crate::store::{Moved, Released};

fn app() -> ProjectName {
    "app".parse().unwrap()
}

fn at(runner: &str) -> Place {
    Place::At(runner.parse().unwrap())
}

async fn m7(store: &Store) -> Released {
    let released = store.released().await.unwrap();
    released.into_iter().find(|run| run.request.run.as_str() == "m7").unwrap()
}

/// Puts run 7 at a runner, in a generation.
async fn put(store: &Store, generation: u32, sharing: Sharing, place: &Place) -> Option<Place> {
    let run: RunId = "m7".parse().unwrap();
    store.put((&run, Generation(generation)), (&app(), sharing), place).await.unwrap()
}

fn by() -> (By, &'static Author) {
    static OPERATOR: std::sync::LazyLock<Author> =
        std::sync::LazyLock::new(|| Author { id: "1".parse().unwrap(), name: "operator".into() });
    (By::Operator(uuid::Uuid::nil()), &OPERATOR)
}

fn said(_: &crate::render::Place, moved: &Moved) -> Vec<Row> {
    let from = moved.from.as_ref().map_or_else(|| "nobody".to_owned(), ToString::to_string);
    vec![row(&format!("moved from {from}"))]
}

pub(super) async fn a_run_is_put_once_a_generation(fresh: Fresh) {
    let [one, other] = fresh.gateways().await;
    one.accept(&new_run(7, 7), &[], 1).await.unwrap();
    assert_eq!(m7(&one).await.place, None);
    assert_eq!(put(&one, 1, Sharing::Shared, &Place::Any).await, Some(Place::Any));
    let second = put(&other, 1, Sharing::Shared, &at("host-2")).await;
    assert_eq!(second, Some(Place::Any), "what was decided first holds");
    assert_eq!(put(&one, 2, Sharing::Shared, &Place::Any).await, None, "no such generation");
    assert_eq!(m7(&one).await.place, Some(Place::Any));
}

pub(super) async fn a_run_is_put_only_at_its_owner(Fresh { store, .. }: Fresh) {
    store.claim_project(&app(), &presence("host-1"), 1).await.unwrap();
    store.accept(&new_run(7, 7), &[], 1).await.unwrap();
    assert_eq!(put(&store, 1, Sharing::Exclusive, &at("host-2")).await, None);
    assert_eq!(m7(&store).await.place, None);
    assert_eq!(put(&store, 1, Sharing::Exclusive, &at("host-1")).await, Some(at("host-1")));
}

pub(super) async fn a_project_is_given_with_its_runs(Fresh { store, .. }: Fresh) {
    let (old, new) = (presence("host-1"), presence("host-2"));
    store.claim_project(&app(), &old, 1).await.unwrap();
    for message in [7, 8] {
        store.accept(&new_run(message, 7), &[], 1).await.unwrap();
    }
    put(&store, 1, Sharing::Exclusive, &at("host-1")).await;
    let running = record(&"m7".parse().unwrap(), State::Running);
    let none = |_: &crate::render::Place| Vec::new();
    store.fold(&key(7, 7), &running, none, 2).await.unwrap();
    let moved = store.give(&app(), (&new.runner, new.state_id), by(), said, 3).await.unwrap();
    assert_eq!(moved.len(), 1, "what waits was put nowhere yet: {moved:?}");
    let run = m7(&store).await;
    assert_eq!((run.request.generation, run.place), (Generation(2), Some(at("host-2"))));
    assert_eq!((run.request.since, run.taken), (Some(Generation::FIRST), Taken::No));
    let stopping = store.stopping().await.unwrap();
    assert_eq!(stopping[0].ended, Generation::FIRST, "its claude is to hear of it");
    let late = store.fold(&key(7, 7), &running, none, 4).await.unwrap();
    assert_eq!(late, Folded::Stale);
    assert_eq!(put(&store, 2, Sharing::Exclusive, &at("host-1")).await, None, "not the owner");
    let lease = store.lease("me", 5, 100).await.unwrap().unwrap();
    let due = store.next_row(&lease, 5, 105).await.unwrap().unwrap();
    assert_eq!(due.row.name, "moved from host-1");
}

pub(super) async fn a_stop_outlives_a_move(Fresh { store, .. }: Fresh) {
    store.accept(&new_run(7, 7), &[], 1).await.unwrap();
    put(&store, 1, Sharing::Shared, &Place::Any).await;
    let stop = order(Order::Stop, About::Newest, 20);
    store.order(&stop, |_, _| Vec::new(), 2).await.unwrap();
    let thread = "7".parse().unwrap();
    let Presence { runner: host, state_id, .. } = presence("host-2");
    let to = (&host, state_id);
    assert_eq!(store.move_thread("9".parse().unwrap(), to, by(), said, 3).await.unwrap(), None);
    let moved = store.move_thread(thread, to, by(), said, 3).await.unwrap().unwrap();
    assert_eq!((moved.len(), &moved[0].from), (1, &None));
    assert_eq!(
        store.move_thread(thread, to, by(), said, 4).await.unwrap(),
        Some(Vec::new()),
        "it is there"
    );
    let controls = store.controls(&key(7, 7), Generation(2)).await.unwrap().unwrap();
    assert!(controls.stop().is_some());
    let run = m7(&store).await;
    assert_eq!((run.place, run.home), (Some(at("host-2")), Some(host)));
}

pub(super) async fn a_stranded_run_is_taken_away_once(fresh: Fresh) {
    let [one, other] = fresh.gateways().await;
    one.accept(&new_run(7, 7), &[], 1).await.unwrap();
    put(&one, 1, Sharing::Shared, &at("host-1")).await;
    let (thread, run) = ("7".parse().unwrap(), "m7".parse().unwrap());
    assert!(one.unplace(thread, (&run, Generation::FIRST), said, 2).await.unwrap());
    assert!(!other.unplace(thread, (&run, Generation::FIRST), said, 2).await.unwrap());
    let released = m7(&one).await;
    assert_eq!((released.request.generation, released.place), (Generation(2), None));
}

pub(super) async fn another_runner_of_a_thread_is_told(Fresh { store, .. }: Fresh) {
    store.accept(&new_run(7, 7), &[], 1).await.unwrap();
    let none = |_: &crate::render::Place| Vec::new();
    let mut held = record(&"m7".parse().unwrap(), State::Running);
    store.fold(&key(7, 7), &held, none, 2).await.unwrap();
    assert_eq!(store.lease("me", 3, 100).await.unwrap(), None, "the first is nobody's successor");
    (held.attempt, held.runner) = (held.attempt.next(), "host-2".parse().unwrap());
    held.owner = OwnerToken::random();
    store.fold(&key(7, 7), &held, none, 3).await.unwrap();
    let lease = store.lease("me", 4, 100).await.unwrap().unwrap();
    let due = store.next_row(&lease, 4, 104).await.unwrap().unwrap();
    assert_eq!(due.row.name, "m7/1/moved/2");
    assert_eq!(m7(&store).await.home, Some(held.runner));
}

pub(super) async fn what_a_dead_gateway_leased_is_given_back_once(fresh: Fresh) {
    let [one, other] = fresh.gateways().await;
    one.accept(&new_run(7, 7), &[row("a")], 1).await.unwrap();
    one.beat("dead", 1).await.unwrap();
    one.lease("dead/x", 1, 100_000).await.unwrap().unwrap();
    assert!(!other.bury("dead", 2).await.unwrap(), "it has beaten since");
    assert_eq!(other.lease("me/y", 2, 100).await.unwrap(), None);
    assert!(other.bury("dead", 1).await.unwrap());
    assert!(!one.bury("dead", 1).await.unwrap());
    assert!(other.lease("me/y", 2, 100).await.unwrap().is_some());
    assert_eq!(other.beats().await.unwrap(), []);
}
