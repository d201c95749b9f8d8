//! What the store promises about its lists: pages, filters, the audit, usage.

use schemas::record::Usage;

use super::*;
use crate::fleet::{self, AuditWanted, RunsWanted, StateIs, ThreadsWanted, UsageWanted};
use crate::limits::DAY_MS;

fn none(_: &crate::render::Place) -> Vec<Row> {
    Vec::new()
}

fn runs(text: &str) -> RunsWanted {
    let state = (!text.is_empty()).then(|| text.parse::<StateIs>().unwrap());
    RunsWanted { state, ..RunsWanted::default() }
}

async fn listed(store: &Store, wanted: &RunsWanted) -> Vec<String> {
    let runs = store.runs(wanted, 100).await.unwrap().runs;
    runs.into_iter().map(|run| format!("{}/{}", run.run, run.state.name())).collect()
}

/// A run ends with a failure that cost so much.
async fn fails(store: &Store, message: u64, generation: u32, cost_usd: f64, now_ms: i64) {
    let usage = Usage {
        duration_ms: 1_000,
        cost_usd,
        turns: 1,
        input_tokens: 100,
        output_tokens: 10,
        model: None,
    };
    let outcome = Outcome::Failed { why: "boom".into(), denied: Vec::new() };
    let state = State::Ended { outcome, usage: Some(usage) };
    let run = RunId::from(MessageId::new(message).unwrap());
    let failed = Record { generation: Generation(generation), ..record(&run, state) };
    let folded = store.fold(&key(message, message), &failed, none, now_ms).await.unwrap();
    assert_eq!(folded, Folded::Moved);
}

pub(super) async fn runs_are_listed_by_pages_and_by_what_is_asked_for(Fresh { store, .. }: Fresh) {
    for message in 1..=5 {
        // Two of one moment: their ids tell them apart.
        let at_ms = i64::try_from(message).unwrap() / 2;
        store.accept(&new_run(message, message), &[], at_ms).await.unwrap();
    }
    store.accept(&new_run(6, 5), &[], 9).await.unwrap();
    fails(&store, 1, 1, 0.5, 20).await;
    let running = record(&"m2".parse().unwrap(), State::Running);
    store.fold(&key(2, 2), &running, none, 20).await.unwrap();
    let all =
        ["m6/waiting", "m5/released", "m4/released", "m3/released", "m2/running", "m1/failed"];
    assert_eq!(listed(&store, &runs("")).await, all);
    let mut paged = Vec::new();
    let mut wanted = RunsWanted { limit: "2".parse().unwrap(), ..RunsWanted::default() };
    loop {
        let page = store.runs(&wanted, 100).await.unwrap();
        assert!(page.runs.len() <= 2);
        paged.extend(page.runs.into_iter().map(|run| format!("{}/{}", run.run, run.state.name())));
        // What comes meanwhile is on no later page.
        let late = 10 + u64::try_from(paged.len()).unwrap();
        store.accept(&new_run(late, late), &[], 50).await.unwrap();
        wanted.after = page.next;
        if wanted.after.is_none() {
            break;
        }
    }
    assert_eq!(paged, all);
    assert_eq!(listed(&store, &runs("failed")).await, ["m1/failed"]);
    assert_eq!(listed(&store, &runs("running")).await, ["m2/running"]);
    assert_eq!(listed(&store, &runs("waiting")).await, ["m6/waiting"]);
    assert_eq!(listed(&store, &runs("ended")).await, ["m1/failed"]);
    assert_eq!(listed(&store, &runs("asking")).await, [""; 0]);
    let of = RunsWanted { thread: Some("5".parse().unwrap()), ..runs("open") };
    assert_eq!(listed(&store, &of).await, ["m6/waiting", "m5/released"]);
    for (person, many) in [("Ada", 1), ("9", 1), ("Bob", 0), ("8", 0)] {
        let of = RunsWanted { person: Some(person.parse().unwrap()), ..runs("failed") };
        assert_eq!(listed(&store, &of).await.len(), many, "{person}");
    }
    let of = RunsWanted { since: Some("50".parse().unwrap()), ..runs("") };
    assert_eq!(listed(&store, &of).await.len(), 3);
    let of = RunsWanted { project: Some("other".parse().unwrap()), ..runs("") };
    assert_eq!(listed(&store, &of).await.len(), 0);
    let run = store.run(&"m1".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!((run.why.as_deref(), run.cost_usd), (Some("boom"), 0.5));
    assert_eq!(run.took.unwrap().input_tokens, 100);
    let threads = ThreadsWanted { limit: "500".parse().unwrap(), ..ThreadsWanted::default() };
    let threads = store.threads(&threads, 100).await.unwrap().threads;
    let fourth = threads.iter().find(|it| it.thread.get() == 4).unwrap();
    assert_eq!((fourth.runs, fourth.open), (1, 1));
    assert!(threads.iter().all(|it| it.thread.get() != 5), "a channel is no conversation");
}

pub(super) async fn what_was_ordered_is_in_the_audit_once_with_who_ordered_it(
    Fresh { store, .. }: Fresh,
) {
    store.accept(&new_run(7, 7), &[], 1).await.unwrap();
    fails(&store, 7, 1, 0.5, 20).await;
    let first = About::Run("m7".parse().unwrap(), Generation(1));
    assert_eq!(give(&store, order(Order::Retry, first.clone(), 40)).await, Some(Done::Again));
    assert_eq!(give(&store, order(Order::Retry, first, 41)).await, Some(Done::TooLate));
    let end = Ordered {
        by: By::Token(uuid::Uuid::nil()),
        author: Author { id: "1".parse().unwrap(), name: "ops".into() },
        ..order(Order::End, About::Newest, 42)
    };
    assert!(matches!(give(&store, end).await, Some(Done::Ended(_))));
    let audit = store.audit(&AuditWanted::default(), 100).await.unwrap().acts;
    let told: Vec<String> = audit
        .iter()
        .map(|act| {
            let run = act.run.as_ref().map_or("", |run| run.as_str());
            let generation = act.generation.unwrap_or_default();
            format!("{} {run}/{generation} by {} {}", act.act, act.by.kind, act.by.name)
        })
        .collect();
    // Both at one moment: the keys decide.
    assert_eq!(told, ["end m7/2 by token ops", "retry m7/1 by person Ada"]);
    assert_eq!(audit[1].by.id, Some("9".parse().unwrap()));
    let run: RunId = "m7".parse().unwrap();
    assert_eq!(store.last_act(&run, "retry").await.unwrap(), Some(Generation(1)));
    assert!(store.was_acted(&run, Generation(2), "end").await.unwrap());
    assert!(!store.was_acted(&run, Generation(1), "end").await.unwrap());
    for (person, many) in [("ops", 1), ("Ada", 1), ("9", 1), ("Bob", 0)] {
        let wanted = AuditWanted { person: Some(person.parse().unwrap()), ..Default::default() };
        assert_eq!(store.audit(&wanted, 100).await.unwrap().acts.len(), many, "{person}");
    }
    let limit = "1".parse().unwrap();
    let mut wanted = AuditWanted { limit, ..AuditWanted::default() };
    let page = store.audit(&wanted, 100).await.unwrap();
    wanted.after = page.next;
    let last = store.audit(&wanted, 100).await.unwrap();
    assert_eq!((page.acts.len(), last.acts.as_slice(), last.next), (1, &audit[1..], None));
    store.forget(60).await.unwrap();
    assert_eq!(store.audit(&AuditWanted::default(), 100).await.unwrap().acts, []);
}

pub(super) async fn what_was_taken_is_summed_by_project_person_and_day(Fresh { store, .. }: Fresh) {
    let bob = Author { id: "8".parse().unwrap(), name: "Bob".into() };
    for (message, author) in [(1, None), (2, Some(bob.clone())), (3, Some(bob))] {
        let new = new_run(message, message);
        let author = author.unwrap_or_else(|| new.author.clone());
        store.accept(&NewRun { author, ..new }, &[], 1).await.unwrap();
    }
    fails(&store, 1, 1, 0.5, 20).await;
    fails(&store, 2, 1, 0.25, DAY_MS + 20).await;
    fails(&store, 3, 1, 0.125, DAY_MS + 30).await;
    let shares = async |by: &str, after: Option<fleet::Cursor>| {
        let wanted = UsageWanted {
            by: by.parse().unwrap(),
            after,
            limit: "1".parse().unwrap(),
            ..UsageWanted::default()
        };
        let usage = store.usage(&wanted, 2 * DAY_MS).await.unwrap();
        let total = &usage.total;
        assert_eq!((total.outcomes, total.cost_usd, total.input_tokens), (3, 0.875, 300));
        let shares = usage.usage.iter().map(|share| {
            let name = share.name.as_deref().unwrap_or("-");
            format!("{} {name} {} ${}", share.key, share.taken.outcomes, share.taken.cost_usd)
        });
        (shares.collect::<Vec<_>>(), usage.next)
    };
    for (by, expected) in [
        ("project", vec!["app - 3 $0.875"]),
        ("person", vec!["8 Bob 2 $0.375", "9 Ada 1 $0.5"]),
        ("day", vec!["1970-01-02 - 2 $0.375", "1970-01-01 - 1 $0.5"]),
    ] {
        let (mut found, mut next) = shares(by, None).await;
        while next.is_some() {
            let (more, later) = shares(by, next).await;
            found.extend(more);
            next = later;
        }
        assert_eq!(found, expected, "{by}");
    }
    let today = UsageWanted { since: Some("1d".parse().unwrap()), ..UsageWanted::default() };
    assert_eq!(store.usage(&today, 2 * DAY_MS).await.unwrap().total.outcomes, 2);
}
