//! What the store promises about what claude asks.

use schemas::ask::{Ask, AskId, Choice as Option_, Decision, Question, Wanted};
use schemas::control::What;

use super::*;
use crate::asks::{Choice, Click, Key, decide};

const THREAD: u64 = 7;

fn place() -> ThreadId {
    ThreadId::new(THREAD).unwrap()
}

fn permission(rule: &str) -> Wanted {
    let (tool, object) = ("Bash".to_owned(), rule.to_owned());
    Wanted::Permission { tool, object, why: None, rule: rule.to_owned() }
}

fn questions() -> Wanted {
    let option = Option_ { label: "A".into(), description: None };
    let question = Question { text: "Which?".into(), options: vec![option], multi: false };
    Wanted::Question { questions: vec![question.clone(), question] }
}

fn ask(id: u64, wanted: Wanted) -> Ask {
    Ask { id: AskId::new(id), since_ms: 1, cut: false, wanted }
}

/// A record of m7 that runs and asks these, and knows so much.
fn asking(asked: u32, asks: Vec<Ask>) -> Record {
    Record { asks, asked, ..record(&"m7".parse().unwrap(), State::Running) }
}

async fn folds(store: &Store, record: &Record) -> Folded {
    store.fold(&key(7, THREAD), record, |_| Vec::new(), 5).await.unwrap()
}

/// The first run of the thread is at work and asks.
async fn asked(store: &Store, asks: Vec<Ask>) -> Record {
    store.accept(&new_run(7, THREAD), &[], 1).await.unwrap();
    let record = asking(1, asks);
    assert_eq!(folds(store, &record).await, Folded::Moved);
    record
}

async fn clicks(store: &Store, (id, part): (u64, usize), choice: Choice, who: u64) -> Clicked {
    let (run, generation) = ("m7".parse().unwrap(), Generation::FIRST);
    let key = Key { run, generation, attempt: Attempt::FIRST, ask: AskId::new(id), part };
    let by = Author { id: who.to_string().parse().unwrap(), name: format!("P{who}") };
    let click = Click { key, choice };
    let judge = |wanted: &Wanted| decide(wanted, part, &click.choice, &by.name);
    store.decide_ask(&click, place(), &by, &format!("i{who}"), judge, 9).await.unwrap()
}

/// What the runner is told.
async fn told(store: &Store) -> Vec<Decision> {
    let controls = store.controls(&key(7, THREAD), Generation::FIRST).await.unwrap();
    let items = controls.into_iter().flat_map(|controls| controls.items);
    let answer = |what| match what {
        What::Answer { decision, .. } => Some(decision),
        What::Stop { .. } => None,
    };
    items.filter_map(|item| answer(item.what)).collect()
}

/// The names of the rows that are due, in order.
async fn due(store: &Store) -> Vec<String> {
    let lease = store.lease("me", 10, 100).await.unwrap();
    let mut names = Vec::new();
    if let Some(lease) = lease {
        while let Some(due) = store.next_row(&lease, 10, 100).await.unwrap() {
            store.sent(&due.row.name, None, 10).await.unwrap();
            names.push(due.row.name);
        }
        store.release_lease(&lease).await.unwrap();
    }
    names
}

fn row_of(id: u64, more: &str) -> String {
    format!("m7/1/ask/{}/{more}", AskId::new(id))
}

pub(super) async fn an_ask_is_decided_once_and_told_until_it_is_taken(Fresh { store, .. }: Fresh) {
    let record = asked(&store, vec![ask(1, permission("a"))]).await;
    assert_eq!(folds(&store, &record).await, Folded::Stale, "it is known");
    assert_eq!(due(&store).await, [row_of(1, "0")]);
    let (yes, no) = (Choice::Yes, Choice::No(None));
    let line = "Allowed by P1.".to_owned();
    assert_eq!(clicks(&store, (1, 0), yes.clone(), 1).await, Clicked::Now(line.clone()));
    assert_eq!(clicks(&store, (1, 0), yes, 1).await, Clicked::Now(line.clone()), "heard twice");
    assert_eq!(clicks(&store, (1, 0), no, 2).await, Clicked::Before(line.clone()));
    assert_eq!(told(&store).await, [Decision::Allow]);
    assert_eq!(due(&store).await, [row_of(1, "0/over")]);
    folds(&store, &asking(2, Vec::new())).await;
    assert_eq!(told(&store).await, [], "claude has taken it");
    assert_eq!(clicks(&store, (1, 0), Choice::Yes, 3).await, Clicked::Before(line));
    assert_eq!(due(&store).await, Vec::<String>::new());
}

pub(super) async fn a_record_that_knows_less_of_its_asks_changes_nothing(
    Fresh { store, .. }: Fresh,
) {
    asked(&store, vec![ask(1, permission("a"))]).await;
    folds(&store, &asking(3, vec![ask(2, permission("b"))])).await;
    assert_eq!(due(&store).await, [row_of(1, "0"), row_of(1, "0/over"), row_of(2, "0")]);
    let late = asking(2, Vec::new());
    assert_eq!(folds(&store, &late).await, Folded::Stale);
    assert_eq!(clicks(&store, (1, 0), Choice::Yes, 1).await, Clicked::Over);
    assert!(matches!(clicks(&store, (2, 0), Choice::Yes, 1).await, Clicked::Now(_)));
}

pub(super) async fn the_parts_of_an_ask_are_one_decision(Fresh { store, .. }: Fresh) {
    asked(&store, vec![ask(1, questions()), ask(2, questions())]).await;
    let a = || Choice::Answer(schemas::ask::Picked { options: vec![0], words: None });
    assert!(matches!(clicks(&store, (1, 1), a(), 1).await, Clicked::Now(_)));
    assert_eq!(told(&store).await, [], "half of it");
    assert_eq!(clicks(&store, (1, 2), a(), 1).await, Clicked::Unfit);
    assert!(matches!(clicks(&store, (1, 0), a(), 2).await, Clicked::Now(_)));
    let told = told(&store).await;
    assert!(matches!(&told[..], [Decision::Answers { picked }] if picked.len() == 2), "{told:?}");
    due(&store).await;
    // One no is a no to all of it.
    assert!(matches!(clicks(&store, (2, 1), Choice::No(None), 1).await, Clicked::Now(_)));
    assert_eq!(clicks(&store, (2, 0), a(), 2).await, Clicked::Over);
    assert_eq!(due(&store).await, [row_of(2, "1/over"), row_of(2, "0/over")]);
}

pub(super) async fn what_is_allowed_for_a_thread_decides_the_next_of_its_kind(
    Fresh { store, .. }: Fresh,
) {
    asked(&store, vec![ask(1, permission("a"))]).await;
    assert!(matches!(clicks(&store, (1, 0), Choice::ForThread, 1).await, Clicked::Now(_)));
    let next = asking(4, vec![ask(2, permission("a")), ask(3, permission("b"))]);
    assert_eq!(folds(&store, &next).await, Folded::Moved);
    assert_eq!(told(&store).await, [Decision::Allow], "the second one");
    let line = "Allowed for this thread by P1.".to_owned();
    assert_eq!(clicks(&store, (2, 0), Choice::No(None), 2).await, Clicked::Before(line));
    assert!(matches!(clicks(&store, (3, 0), Choice::No(None), 2).await, Clicked::Now(_)));
}

pub(super) async fn an_ask_ends_with_its_attempt_its_generation_and_its_run(
    Fresh { store, .. }: Fresh,
) {
    let first = asked(&store, vec![ask(1, permission("a"))]).await;
    let owner = OwnerToken::random();
    let second = Record { attempt: Attempt(2), owner, ..asking(1, vec![ask(2, permission("a"))]) };
    assert_eq!(folds(&store, &second).await, Folded::Moved);
    assert_eq!(clicks(&store, (1, 0), Choice::Yes, 1).await, Clicked::Over);
    assert_eq!(folds(&store, &first).await, Folded::Stale);
    assert_eq!(due(&store).await, [row_of(1, "0"), row_of(1, "0/over"), row_of(2, "0")]);
    let end = order(Order::End, About::Run("m7".parse().unwrap(), Generation(1)), 20);
    store.order(&end, |_, _| Vec::new(), 9).await.unwrap();
    assert_eq!(due(&store).await, [row_of(2, "0/over")]);
    assert_eq!(told(&store).await, []);
}

pub(super) async fn a_message_that_comes_meanwhile_is_sent_or_run(Fresh { store, .. }: Fresh) {
    asked(&store, vec![ask(1, permission("a")), ask(2, permission("b"))]).await;
    let by = Author { id: "1".parse().unwrap(), name: "P1".into() };
    for message in [8, 9] {
        store.accept(&new_run(message, THREAD), &[], 2).await.unwrap();
    }
    due(&store).await;
    let send = |run: &'static str, id: &'static str| {
        let (store, by) = (store.clone(), by.clone());
        async move { store.send_instead(&run.parse().unwrap(), place(), &by, id, 9).await.unwrap() }
    };
    assert_eq!(send("m8", "i1").await, Sent::Now);
    assert_eq!(send("m8", "i1").await, Sent::Now, "heard twice");
    assert_eq!(send("m8", "i2").await, Sent::Runs);
    assert_eq!(send("m9", "i3").await, Sent::Over);
    let no = |words: Option<&str>| Decision::Deny { words: words.map(str::to_owned) };
    assert_eq!(told(&store).await, [no(Some("hello")), no(None)]);
    let rows = due(&store).await;
    assert!(rows.contains(&"m8/1/mark".to_owned()), "{rows:?}");
    assert!(rows.contains(&"m9/1/offer/over".to_owned()), "{rows:?}");
    let ended = record(&"m7".parse().unwrap(), answered());
    folds(&store, &ended).await;
    let released = store.released().await.unwrap();
    let released: Vec<_> = released.iter().map(|it| it.request.run.as_str()).collect();
    assert_eq!(released, ["m9"], "the other was sent");
}

pub(super) async fn an_ask_that_many_decide_is_decided_once(fresh: Fresh) {
    let gateways = fresh.gateways().await;
    asked(&fresh.store, vec![ask(1, permission("a"))]).await;
    let decided = eight(&gateways, |gateway, number| async move {
        let choice = if number % 2 == 0 { Choice::Yes } else { Choice::No(None) };
        clicks(&gateway, (1, 0), choice, number + 1).await
    });
    let decided = decided.await;
    let now = decided.iter().filter(|it| matches!(it, Clicked::Now(_))).count();
    let before = decided.iter().filter(|it| matches!(it, Clicked::Before(_))).count();
    assert_eq!((now, before), (1, 7), "{decided:?}");
    assert_eq!(told(&fresh.store).await.len(), 1);
}
