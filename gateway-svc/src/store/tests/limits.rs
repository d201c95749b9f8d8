//! What the store promises about what runs may do, how often people ask, and what it costs.

use std::time::Duration;

use schemas::ids::UserId;
use schemas::record::Usage;
use schemas::rights::Rights;

use super::*;
use crate::limits::{Budget, DAY_MS, Limits, Rate, Spent, TooMany, Whose, day_began};
use crate::store::commands::Spoken;
use crate::store::{Accepted, Why};
use crate::unsafe_mode::Confirmed;

const MINUTE_MS: i64 = 60_000;
/// A moment in the middle of a day.
const NOW_MS: i64 = 20_779 * DAY_MS + DAY_MS / 2;

fn someone(id: u64) -> Author {
    Author { id: UserId::new(id).unwrap(), name: format!("P{id}") }
}

fn channel() -> ChannelId {
    "5".parse().unwrap()
}

fn app() -> ProjectName {
    "app".parse().unwrap()
}

/// Nobody but a person of this number may say `!unsafe`.
fn limits(own: Budget) -> Limits {
    let unsafe_for = Some(crate::routes::Allow::Everyone);
    Limits { unsafe_for, own, ..Limits::default() }
}

fn rows(place: &crate::render::Place, why: Why<'_>) -> Vec<Row> {
    let part = match why {
        Why::Unsafe(word) => format!("unsafe by {}", word.by),
        Why::UsedUp(line) => line.to_owned(),
    };
    vec![row(&format!("{}/{}/{part}", place.run, place.generation))]
}

/// Decides what the only released run may do.
async fn gives(store: &Store, limits: &Limits, now_ms: i64) -> Option<Rights> {
    let released = store.released().await.unwrap();
    let released = released.first().expect("one is released");
    store.give_rights(&released.request, limits, rows, now_ms).await.unwrap()
}

/// The run of a message ends, and its session has cost so much by then.
async fn costs(store: &Store, message: u64, generation: u32, cost_usd: f64, now_ms: i64) {
    let usage = Usage {
        duration_ms: 1,
        cost_usd,
        turns: 1,
        input_tokens: 1,
        output_tokens: 1,
        model: None,
    };
    let outcome = Outcome::Failed { why: "no".into(), denied: Vec::new() };
    let state = State::Ended { outcome, usage: Some(usage) };
    let run = RunId::from(MessageId::new(message).unwrap());
    let ended = Record { generation: Generation(generation), ..record(&run, state) };
    let folded = store.fold(&key(message, 7), &ended, |_| Vec::new(), now_ms).await.unwrap();
    assert_eq!(folded, Folded::Moved);
}

async fn retry(store: &Store, message: u64, now_ms: i64) {
    let ordered = Ordered {
        order: Order::Retry,
        about: About::Newest,
        thread: ThreadId::new(7).unwrap(),
        channel: channel(),
        project: app(),
        by: By::Interaction(message),
        author: someone(9),
    };
    let done = store.order(&ordered, |_, _| Vec::new(), now_ms).await.unwrap();
    assert_eq!(done, Some(Done::Again));
}

fn spoken(message: u64, place: u64) -> Spoken {
    Spoken {
        asked: (ChannelId::new(place).unwrap(), MessageId::new(message).unwrap()),
        channel: channel(),
        project: app(),
        author: someone(9),
    }
}

/// Somebody says `!unsafe` about a place, and confirms it so much later.
async fn confirms(store: &Store, message: u64, place: u64, at_ms: i64, after_ms: i64) -> Confirmed {
    let said = spoken(message, place);
    let about = ChannelId::new(place).unwrap();
    store.wish_unsafe(&said, about, &[], at_ms).await.unwrap();
    presses(store, message, at_ms + after_ms).await
}

async fn presses(store: &Store, message: u64, now_ms: i64) -> Confirmed {
    let wish = store.unsafe_wish(MessageId::new(message).unwrap()).await.unwrap().unwrap();
    store.confirm_unsafe(&wish, &someone(8), &Limits::default(), |_| None, now_ms).await.unwrap()
}

async fn safe(store: &Store, message: u64, place: u64, now_ms: i64) -> (bool, u64) {
    let mut seen = (false, 0);
    let rows = |was, running| {
        seen = (was, running);
        Vec::new()
    };
    let about = ChannelId::new(place).unwrap();
    assert!(store.make_safe(&spoken(message, place), about, rows, now_ms).await.unwrap());
    seen
}

pub(super) async fn what_a_run_may_do_is_decided_once(fresh: Fresh) {
    let [store, other] = fresh.gateways().await;
    store.accept(&new_run(7, 7), &[], NOW_MS).await.unwrap();
    let once = Budget { run: Some(5), ..Budget::default() };
    let given = gives(&store, &limits(once), NOW_MS).await.unwrap();
    assert_eq!(given.budget.as_ref().unwrap().micro_usd, 5);
    let twice = Budget { run: Some(7), ..Budget::default() };
    assert_eq!(gives(&other, &limits(twice), NOW_MS).await, Some(given.clone()));
    let released = store.released().await.unwrap();
    assert_eq!(released[0].rights.as_ref(), Some(&given));
    // A Retry is decided anew.
    costs(&store, 7, 1, 0.0, NOW_MS).await;
    retry(&store, 7, NOW_MS).await;
    assert_eq!(store.released().await.unwrap()[0].rights, None);
    assert_eq!(gives(&store, &limits(twice), NOW_MS).await.unwrap().budget.unwrap().micro_usd, 7);
}

pub(super) async fn what_was_spent_is_counted_by_person_project_and_day(
    Fresh { store, .. }: Fresh,
) {
    let spent = async |author: u64, now_ms| {
        store.spent_today(&app(), UserId::new(author).unwrap(), now_ms).await.unwrap()
    };
    let yesterday = day_began(NOW_MS) - 1;
    store.accept(&new_run(7, 7), &[], yesterday).await.unwrap();
    costs(&store, 7, 1, 1.0, yesterday).await;
    assert_eq!(spent(9, yesterday).await.own_person, 1_000_000);
    assert_eq!(spent(9, NOW_MS).await, Spent::default(), "it is another day");
    // The session's cost so far is told; what is new of it counts, in each generation.
    retry(&store, 7, NOW_MS).await;
    costs(&store, 7, 2, 1.5, NOW_MS).await;
    let by_other = NewRun { author: someone(8), ..new_run(8, 7) };
    store.accept(&by_other, &[], NOW_MS).await.unwrap();
    costs(&store, 8, 1, 1.75, NOW_MS).await;
    let now = spent(9, NOW_MS).await;
    assert_eq!((now.own_person, now.own), (500_000, 750_000));
    assert_eq!((now.all_person, now.all), (500_000, 750_000));
    // Another host knows nothing of what the session had cost.
    store.accept(&new_run(9, 7), &[], NOW_MS).await.unwrap();
    costs(&store, 9, 1, 0.1, NOW_MS).await;
    assert_eq!(spent(9, NOW_MS).await.own_person, 600_000);
    let web = "web".parse().unwrap();
    let elsewhere = store.spent_today(&web, UserId::new(9).unwrap(), NOW_MS).await.unwrap();
    assert_eq!((elsewhere.own, elsewhere.all, elsewhere.all_person), (0, 850_000, 600_000));
}

pub(super) async fn a_run_that_may_spend_nothing_is_ended_and_may_be_tried_again(
    Fresh { store, .. }: Fresh,
) {
    let day = limits(Budget { person_day: Some(1_000_000), ..Budget::default() });
    store.accept(&new_run(7, 7), &[], NOW_MS).await.unwrap();
    store.accept(&new_run(8, 7), &[], NOW_MS).await.unwrap();
    let by_other = NewRun { author: someone(8), ..new_run(9, 7) };
    store.accept(&by_other, &[], NOW_MS).await.unwrap();
    assert_eq!(gives(&store, &day, NOW_MS).await.unwrap().budget.unwrap().micro_usd, 1_000_000);
    costs(&store, 7, 1, 1.0, NOW_MS).await;
    assert_eq!(gives(&store, &day, NOW_MS).await, None, "the second of the same person is ended");
    let released = store.released().await.unwrap();
    assert_eq!(released[0].request.run.as_str(), "m9", "and the next one released");
    assert!(gives(&store, &day, NOW_MS).await.is_some());
    costs(&store, 9, 1, 1.0, NOW_MS).await;
    let press = Ordered {
        order: Order::Retry,
        about: About::Run("m8".parse().unwrap(), Generation(2)),
        thread: ThreadId::new(7).unwrap(),
        channel: channel(),
        project: app(),
        by: By::Interaction(1),
        author: someone(9),
    };
    let done = store.order(&press, |_, _| Vec::new(), NOW_MS).await.unwrap();
    assert_eq!(done, Some(Done::Again));
    let tomorrow = day_began(NOW_MS) + DAY_MS;
    assert!(gives(&store, &day, tomorrow).await.is_some());
}

pub(super) async fn what_was_published_before_is_ended_by_no_budget(Fresh { store, .. }: Fresh) {
    let day = limits(Budget { person_day: Some(1), ..Budget::default() });
    store.accept(&new_run(7, 7), &[], NOW_MS).await.unwrap();
    costs(&store, 7, 1, 1.0, NOW_MS).await;
    store.accept(&new_run(8, 7), &[], NOW_MS).await.unwrap();
    let running = record(&"m8".parse().unwrap(), State::Running);
    store.fold(&key(8, 7), &running, |_| Vec::new(), NOW_MS).await.unwrap();
    assert!(gives(&store, &day, NOW_MS).await.unwrap().are_usual());
}

pub(super) async fn questions_are_counted_by_their_own_times_over_all_gateways(fresh: Fresh) {
    let [store, other] = fresh.gateways().await;
    let rate = Rate { per_person: Some(2), per_project: Some(3), window: Duration::from_secs(60) };
    let at = |ms: i64| MessageId::first_of(NOW_MS + ms).get();
    let asks = async |store: &Store, ms: i64, author: u64| {
        let new = NewRun { author: someone(author), ..new_run(at(ms), at(ms)) };
        // However late it is heard.
        store.accept_within(&new, &[], rate, NOW_MS + DAY_MS).await.unwrap()
    };
    let too_many = |whose, max, oldest| {
        Accepted::TooMany(TooMany { whose, max, oldest: MessageId::new(at(oldest)).unwrap() })
    };
    assert_eq!(asks(&store, 0, 9).await, Accepted::Now);
    assert_eq!(asks(&other, 10, 9).await, Accepted::Now);
    assert_eq!(asks(&store, 10, 9).await, Accepted::Before, "it is judged");
    assert_eq!(asks(&store, 20, 9).await, too_many(Whose::Person, 2, 0));
    assert_eq!(asks(&store, 20, 9).await, too_many(Whose::Person, 2, 0), "nothing was stored");
    assert_eq!(asks(&other, 30, 8).await, Accepted::Now);
    assert_eq!(asks(&other, 40, 8).await, too_many(Whose::Project, 3, 0));
    assert_eq!(asks(&store, MINUTE_MS - 1, 7).await, too_many(Whose::Project, 3, 0));
    assert_eq!(asks(&store, MINUTE_MS, 9).await, Accepted::Now, "the first counts no more");
    assert_eq!(asks(&store, -30 * MINUTE_MS, 9).await, Accepted::Now, "an older one, found late");
}

pub(super) async fn of_questions_that_come_at_once_only_so_many_are_taken(fresh: Fresh) {
    let gateways = fresh.gateways().await;
    let rate = Rate { per_person: Some(3), ..Rate::default() };
    let mut asking = JoinSet::new();
    for n in 0..10 {
        let store = gateways[n % 2].clone();
        let message = MessageId::first_of(NOW_MS).get() + u64::try_from(n).unwrap();
        asking.spawn(async move {
            let new = new_run(message, message);
            store.accept_within(&new, &[], rate, NOW_MS).await.unwrap()
        });
    }
    let taken = asking.join_all().await.into_iter().filter(|it| *it == Accepted::Now).count();
    assert_eq!(taken, 3);
    assert_eq!(gateways[0].released().await.unwrap().len(), taken);
}

pub(super) async fn unsafe_is_confirmed_within_a_minute_and_once(Fresh { store, .. }: Fresh) {
    let until = NOW_MS + MINUTE_MS + 3_600_000;
    assert_eq!(confirms(&store, 20, 7, NOW_MS, MINUTE_MS).await, Confirmed::Now(until));
    assert_eq!(presses(&store, 20, NOW_MS + MINUTE_MS).await, Confirmed::Before);
    let late = Duration::from_secs(60);
    assert_eq!(confirms(&store, 21, 8, NOW_MS, MINUTE_MS + 1).await, Confirmed::Late(late));
    assert_eq!(presses(&store, 21, NOW_MS + DAY_MS).await, Confirmed::Late(late));
    store.wish_unsafe(&spoken(22, 9), "9".parse().unwrap(), &[], NOW_MS).await.unwrap();
    safe(&store, 23, 9, NOW_MS).await;
    assert_eq!(presses(&store, 22, NOW_MS + 1).await, Confirmed::TakenBack);
    let unknown = store.unsafe_wish("23".parse().unwrap()).await.unwrap();
    assert_eq!(unknown, None, "a !safe asks for nothing");
}

pub(super) async fn of_two_who_confirm_at_once_one_does(fresh: Fresh) {
    let [store, other] = fresh.gateways().await;
    store.wish_unsafe(&spoken(20, 7), "7".parse().unwrap(), &[], NOW_MS).await.unwrap();
    let (one, two) = tokio::join!(presses(&store, 20, NOW_MS), presses(&other, 20, NOW_MS));
    let now = [&one, &two].into_iter().filter(|it| matches!(it, Confirmed::Now(_))).count();
    assert_eq!(now, 1, "{one:?} {two:?}");
}

pub(super) async fn the_newest_word_about_a_thread_or_its_channel_holds(
    Fresh { store, .. }: Fresh,
) {
    store.accept(&new_run(7, 7), &[], NOW_MS).await.unwrap();
    let free = limits(Budget::default());
    let mut generation = 1;
    let mut is_unsafe = async |now_ms| {
        let given = gives(&store, &free, now_ms).await.unwrap();
        costs(&store, 7, generation, 0.0, now_ms).await;
        generation += 1;
        retry(&store, 7, now_ms).await;
        given.unasked.map(|unasked| unasked.by)
    };
    assert_eq!(is_unsafe(NOW_MS).await, None);
    // Of the channel: its threads have it too.
    confirms(&store, 30, 5, NOW_MS, 1).await;
    assert_eq!(is_unsafe(NOW_MS + 2).await.as_deref(), Some("P8"));
    assert_eq!(is_unsafe(NOW_MS + 1 + 3_600_000).await, None, "its time is over");
    // A thread of its own mind.
    assert_eq!(safe(&store, 31, 7, NOW_MS + 3).await, (true, 0));
    assert_eq!(is_unsafe(NOW_MS + 4).await, None);
    confirms(&store, 32, 7, NOW_MS + 4, 1).await;
    assert!(is_unsafe(NOW_MS + 6).await.is_some());
    // The channel's word comes later than the thread's.
    assert_eq!(safe(&store, 33, 5, NOW_MS + 7).await, (true, 0));
    assert_eq!(is_unsafe(NOW_MS + 8).await, None);
    assert_eq!(safe(&store, 34, 5, NOW_MS + 9).await, (false, 0));
    // Another channel's is nothing to it.
    confirms(&store, 35, 6, NOW_MS + 10, 1).await;
    assert_eq!(is_unsafe(NOW_MS + 12).await, None);
}

pub(super) async fn safe_reaches_the_runs_at_work(Fresh { store, .. }: Fresh) {
    store.accept(&new_run(7, 7), &[], NOW_MS).await.unwrap();
    confirms(&store, 30, 7, NOW_MS, 1).await;
    let free = limits(Budget::default());
    assert!(gives(&store, &free, NOW_MS + 2).await.unwrap().unasked.is_some());
    let controls = async || store.controls(&key(7, 7), Generation::FIRST).await.unwrap();
    assert_eq!(controls().await, None);
    assert_eq!(safe(&store, 31, 7, NOW_MS + 3).await, (true, 1));
    let told = controls().await.unwrap();
    assert!(told.safe && told.items.is_empty());
    assert_eq!(safe(&store, 32, 7, NOW_MS + 4).await, (false, 0), "it was told");
}
