//! What the store promises about status messages, and about what only one gateway does.

use super::*;

async fn the_one(store: &Store) -> Watched {
    let mut all = store.watched().await.unwrap();
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

/// What is owed to a thread, each by its action.
async fn owed(store: &Store) -> Vec<String> {
    let rows = sqlx::query("SELECT action FROM outbox ORDER BY seq").fetch_all(&store.pool);
    let rows = rows.await.unwrap();
    let action = |row: &sqlx::any::AnyRow| row.try_get::<String, _>("action").unwrap();
    let word = |text: String| text.split('"').nth(3).unwrap_or_default().to_owned();
    rows.iter().map(action).map(word).collect()
}

pub(super) async fn a_run_has_one_status_message_and_none_when_it_has_ended(
    Fresh { store, .. }: Fresh,
) {
    store.accept(&new_run(7, 7), &[], 1).await.unwrap();
    let run = the_one(&store).await;
    assert_eq!((run.shown.is_none(), run.ended, run.attempt), (true, false, None));
    assert!(store.show_status(&run, "one", Vec::new(), 2).await.unwrap());
    assert!(!store.show_status(&run, "another", Vec::new(), 3).await.unwrap(), "it has one by now");
    let shown = the_one(&store).await;
    assert_eq!(shown.shown.as_ref().unwrap().made_ms, 2);
    assert!(!store.end_status(&shown, 3).await.unwrap(), "it has not ended");
    assert!(store.show_status(&shown, "fresh", Vec::new(), 4).await.unwrap());
    assert_eq!(owed(&store).await, ["status", "status", "delete"]);

    let none = |_: &crate::render::Place| Vec::new();
    let ended = record(&run.run, answered());
    store.fold(&key(7, 7), &ended, none, 5).await.unwrap();
    let fresh = the_one(&store).await;
    assert!(fresh.ended);
    assert!(!store.show_status(&fresh, "late", Vec::new(), 6).await.unwrap(), "it has ended");
    assert!(store.end_status(&fresh, 6).await.unwrap());
    assert!(!store.end_status(&fresh, 7).await.unwrap());
    assert_eq!(store.watched().await.unwrap(), []);
    assert_eq!(owed(&store).await, ["status", "status", "delete", "delete"]);
}

pub(super) async fn a_row_knows_the_message_that_it_became(Fresh { store, .. }: Fresh) {
    store.accept(&new_run(7, 7), &[], 1).await.unwrap();
    store.show_status(&the_one(&store).await, "one", Vec::new(), 2).await.unwrap();
    let row = the_one(&store).await.shown.unwrap().row;
    assert_eq!(store.became(&row).await.unwrap(), None, "not posted yet");
    let message = "9".parse().unwrap();
    store.sent(&row, Some(message), 3).await.unwrap();
    assert_eq!(store.became(&row).await.unwrap(), Some(message));
    assert_eq!(the_one(&store).await.shown.unwrap().message, Some(message));
}

pub(super) async fn one_gateway_leads_until_its_time_is_over(Fresh { store, .. }: Fresh) {
    let leads =
        async |gateway, now_ms| store.leads("status", gateway, now_ms, now_ms + 10).await.unwrap();
    if !store.is_shared() {
        assert!(leads("a", 0).await && leads("b", 0).await, "a file has one gateway");
        return;
    }
    assert!(leads("a", 0).await);
    assert!(!leads("b", 9).await && leads("a", 9).await);
    assert!(!leads("b", 18).await && leads("b", 19).await && !leads("a", 19).await);
}

pub(super) async fn what_a_session_had_cost_is_known_to_its_next_run(Fresh { store, .. }: Fresh) {
    for message in [7, 8] {
        store.accept(&new_run(message, 7), &[], 1).await.unwrap();
    }
    let spent = Arc::new(std::sync::Mutex::new(Vec::new()));
    for (message, cost_usd) in [(7, 0.25), (8, 0.75)] {
        let mut ended = record(&key(message, 7).run, answered());
        let State::Ended { usage, .. } = &mut ended.state else { panic!("not ended") };
        *usage = Some(schemas::record::Usage {
            duration_ms: 1,
            cost_usd,
            turns: 1,
            input_tokens: 1,
            output_tokens: 1,
            model: None,
        });
        let noted = Arc::clone(&spent);
        let note = move |place: &crate::render::Place| {
            noted.lock().unwrap().push(place.spent);
            Vec::new()
        };
        store.fold(&key(message, 7), &ended, note, 5).await.unwrap();
    }
    assert_eq!(*spent.lock().unwrap(), [0, 250_000]);
}
