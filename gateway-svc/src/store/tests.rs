//! What the store promises, asked of it as the services ask.
//!
//! A promise is a function of a [`Fresh`] store. `promises!` makes each of them a test on SQLite,
//! and one test of all on PostgreSQL, which names those that are broken there.

mod asks;
mod census;
mod control;
mod ended;
mod families;
mod files;
mod fleet;
mod late;
mod limits;
mod places;
mod postgres;
mod starting;
mod status;
mod threads;
mod together;

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use schemas::carried::{Carried, Changes, File};
use schemas::ids::{Attempt, Generation, OwnerToken, RunId, SessionId, StateId};
use schemas::record::{Outcome, Record, State, Text};
use schemas::request::{Author, Task};
use schemas::streams::RunKey;
use tokio::task::JoinSet;

use self::asks::*;
use self::census::*;
use self::control::*;
use self::ended::*;
use self::families::*;
use self::files::*;
use self::fleet::*;
use self::late::*;
use self::limits::*;
use self::places::*;
use self::postgres::Server;
use self::starting::tables_of_a_newer_version_are_refused;
use self::status::*;
use self::threads::*;
use self::together::*;

use super::*;
use crate::attached::Files;
use crate::commands::{Done, Order};
use crate::outbox::{Action, Mark, Row};
use crate::store::runs::{Folded, NewRun};

macro_rules! promises {
    ($($promise:ident,)*) => {
        mod on_sqlite {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $promise() {
                    super::$promise(super::Fresh::on_sqlite().await).await;
                }
            )*
        }

        /// Every promise with its name, for the other database.
        fn all() -> Vec<(&'static str, fn(Fresh) -> BoxFuture<'static, ()>)> {
            vec![$((stringify!($promise), |fresh| Box::pin($promise(fresh)))),*]
        }
    };
}

promises![
    a_run_is_published_when_all_of_its_files_are_there,
    an_edit_of_what_waits_changes_its_files,
    what_only_looks_waits_for_nobody_and_nobody_for_it,
    a_message_is_judged_once,
    a_connection_that_lost_its_transaction_is_not_used_again,
    a_thread_has_one_run_released_and_the_next_follows_its_outcome,
    of_other_records_only_one_of_a_later_generation_changes_anything,
    a_notice_in_a_record_that_is_known_is_told_once,
    what_a_run_left_is_there_for_the_next_one_of_its_session,
    rows_are_done_in_order_by_one_at_a_time,
    a_lease_that_ran_out_is_anothers,
    what_cannot_be_done_makes_room_for_what_can,
    a_start_tries_at_once_what_waits_to_be_tried,
    what_is_in_trouble_is_shown_with_why,
    the_newest_message_of_a_thread_is_known,
    a_conversation_keeps_its_session,
    a_cursor_never_goes_back,
    the_first_runner_to_show_itself_owns_the_project,
    the_runs_of_a_runner_are_told_once,
    a_failed_run_is_tried_again_in_a_new_generation_once,
    an_order_by_a_message_is_carried_out_once,
    a_run_that_waits_is_dropped_by_a_stop,
    nothing_is_released_in_a_thread_that_was_not_read,
    a_message_is_edited_and_deleted_until_its_release,
    what_is_old_and_finished_goes_and_what_is_not_stays,
    what_was_never_finished_is_ended_and_told,
    a_run_that_is_too_old_is_ended_in_a_new_generation_and_stopped,
    a_message_is_judged_by_one_gateway,
    a_new_thread_has_one_run_released_however_many_write,
    a_thread_has_one_run_released_however_many_write,
    rows_that_many_write_keep_their_order,
    a_thread_is_leased_to_one_poster,
    a_lease_is_taken_over_when_it_ran_out_and_by_one,
    a_lease_is_kept_or_taken_over_but_not_both,
    a_retry_that_many_ask_for_is_one,
    a_run_that_waits_is_released_or_dropped_but_not_both,
    what_is_about_all_threads_and_what_is_about_one_go_on_at_once,
    a_run_is_forgotten_or_tried_again_but_not_both,
    a_project_has_one_owner_however_many_show_themselves,
    tables_of_a_newer_version_are_refused,
    what_was_done_meanwhile_is_not_replaced,
    a_text_may_hold_a_zero_byte,
    a_run_is_ended_in_a_new_generation_and_the_next_one_is_released,
    a_late_record_of_an_ended_generation_changes_nothing,
    an_ended_run_is_tried_again_and_ended_again,
    what_nobody_can_have_heard_of_is_not_to_be_stopped,
    an_end_is_about_what_runs_before_what_waits,
    a_stop_says_who_is_away,
    a_sight_of_a_runner_never_goes_back,
    a_run_is_ended_or_answered_but_not_both,
    a_family_is_open_until_its_last_outcome,
    an_open_family_comes_before_an_older_run_that_is_tried_again,
    a_family_goes_on_behind_a_timer_alone,
    what_is_found_too_late_is_listed_once_and_not_run,
    a_list_is_decided_once_and_worked_off_in_order,
    what_is_left_is_never_due,
    a_list_is_forgotten_but_not_what_is_due_by_it,
    a_list_is_made_and_decided_by_one_gateway,
    a_time_away_is_kept_until_it_was_told,
    a_session_that_was_lost_counts_from_its_end,
    what_a_button_brought_is_not_of_the_time_away,
    a_run_is_put_once_a_generation,
    a_run_is_put_only_at_its_owner,
    a_project_is_given_with_its_runs,
    a_stop_outlives_a_move,
    a_stranded_run_is_taken_away_once,
    another_runner_of_a_thread_is_told,
    a_run_has_one_status_message_and_none_when_it_has_ended,
    a_row_knows_the_message_that_it_became,
    one_gateway_leads_until_its_time_is_over,
    what_a_session_had_cost_is_known_to_its_next_run,
    what_a_dead_gateway_leased_is_given_back_once,
    who_asks_is_said_where_several_do_and_frozen_at_release,
    who_took_the_question_back_does_not_count,
    without_a_thread_a_conversation_is_its_messages,
    what_is_put_aside_holds_up_nothing,
    an_ask_is_decided_once_and_told_until_it_is_taken,
    a_record_that_knows_less_of_its_asks_changes_nothing,
    the_parts_of_an_ask_are_one_decision,
    what_is_allowed_for_a_thread_decides_the_next_of_its_kind,
    an_ask_ends_with_its_attempt_its_generation_and_its_run,
    a_message_that_comes_meanwhile_is_sent_or_run,
    an_ask_that_many_decide_is_decided_once,
    what_is_sent_is_told_until_the_run_ends_and_waits_again_if_it_was_not_taken,
    what_was_sent_goes_along_with_a_move_and_a_retry,
    what_was_sent_into_an_ended_run_waits_again,
    no_more_is_sent_into_a_run_than_its_controls_hold,
    a_question_keeps_its_number_and_what_was_merged_comes_back,
    files_are_merged_with_their_question_and_not_sent_into_a_run,
    a_session_and_a_model_are_frozen_at_release,
    a_fork_is_known_when_its_first_message_is_there,
    a_session_from_a_terminal_is_one_threads,
    what_a_run_may_do_is_decided_once,
    what_was_spent_is_counted_by_person_project_and_day,
    a_run_that_may_spend_nothing_is_ended_and_may_be_tried_again,
    what_was_published_before_is_ended_by_no_budget,
    questions_are_counted_by_their_own_times_over_all_gateways,
    of_questions_that_come_at_once_only_so_many_are_taken,
    unsafe_is_confirmed_within_a_minute_and_once,
    of_two_who_confirm_at_once_one_does,
    the_newest_word_about_a_thread_or_its_channel_holds,
    safe_reaches_the_runs_at_work,
    runs_are_listed_by_pages_and_by_what_is_asked_for,
    what_was_ordered_is_in_the_audit_once_with_who_ordered_it,
    what_was_taken_is_summed_by_project_person_and_day,
    what_is_open_is_counted_by_where_it_stands,
    an_outcome_is_counted_once_with_what_it_took,
    what_waits_behind_a_parked_row_is_parked,
];

/// How many promises are asked of the server at once: each has two gateways at most, of four
/// connections each, and the server takes a hundred.
const AT_ONCE: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn the_same_promises_hold_on_postgresql() {
    let server = Server::start().await;
    let (mut asked, mut names) = (JoinSet::new(), HashMap::new());
    let mut broken = Vec::new();
    let mut promises = all().into_iter();
    loop {
        while asked.len() < AT_ONCE
            && let Some((promise, ask)) = promises.next()
        {
            let fresh = server.fresh().await;
            names.insert(asked.spawn(ask(fresh)).id(), promise);
        }
        match asked.join_next_with_id().await {
            None => break,
            Some(Ok(_)) => {}
            Some(Err(error)) => broken.push(names[&error.id()]),
        }
    }
    assert!(broken.is_empty(), "not on PostgreSQL, and why stands above: {broken:#?}");
}

/// A store of its own for one promise.
struct Fresh {
    store: Store,
    url: StoreUrl,
    _folder: Option<tempfile::TempDir>,
}

impl Fresh {
    async fn on_sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/deep/er/gateway.db", folder.path().display());
        let url: StoreUrl = url.parse().unwrap();
        Self { store: Store::open(&url).await.unwrap(), url, _folder: Some(folder) }
    }

    /// Two gateways on its database.
    async fn gateways(&self) -> [Store; 2] {
        [self.store.clone(), Store::open(&self.url).await.unwrap()]
    }
}

fn new_run(message: u64, thread: u64) -> NewRun {
    let message = MessageId::new(message).unwrap();
    NewRun {
        run: message.into(),
        project: "app".parse().unwrap(),
        channel: "5".parse().unwrap(),
        thread: ThreadId::new(thread).unwrap(),
        asked: ("5".parse().unwrap(), message),
        author: Author { id: "9".parse().unwrap(), name: "Ada".into() },
        prompt: "hello".into(),
        task: Task::Ask,
        files: Files::default(),
        trace: None,
    }
}

fn row(name: &str) -> Row {
    let action = Action::React {
        channel: "5".parse().unwrap(),
        message: "7".parse().unwrap(),
        emoji: Mark::Seen,
    };
    Row { name: name.into(), action }
}

fn key(message: u64, thread: u64) -> RunKey {
    let new = new_run(message, thread);
    RunKey { project: new.project, thread: new.thread, run: new.run }
}

fn record(run: &RunId, state: State) -> Record {
    Record {
        v: Record::VERSION,
        run: run.clone(),
        generation: Generation::FIRST,
        attempt: Attempt::FIRST,
        runner: "host-1".parse().unwrap(),
        state_id: StateId::random(),
        owner: "2f5a7c7e-0e27-4f5d-8a51-5b6f2a6d3e02".parse::<OwnerToken>().unwrap(),
        session: SessionId::random(),
        state,
        deaths: 0,
        since_ms: None,
        quiet_since_ms: None,
        notice: None,
        narrowed: None,
        asks: Vec::new(),
        asked: 0,
        applied: Vec::new(),
        remarks: Vec::new(),
        steered: Vec::new(),
        whereabouts: None,
        files: Vec::new(),
        withheld: Vec::new(),
        carried: None,
        trace: None,
    }
}

fn answered() -> State {
    let outcome = Outcome::Answered { answer: Text::Inline("hi".into()), denied: Vec::new() };
    State::Ended { outcome, usage: None }
}

async fn a_message_is_judged_once(Fresh { store, .. }: Fresh) {
    assert!(store.accept(&new_run(7, 7), &[row("a")], 1).await.unwrap());
    assert!(!store.accept(&new_run(7, 7), &[row("b")], 2).await.unwrap());
    assert!(store.is_judged("7".parse().unwrap()).await.unwrap());
    assert_eq!(store.released().await.unwrap().len(), 1);
    let lease = store.lease("me", 10, 100).await.unwrap().unwrap();
    assert_eq!(store.next_row(&lease, 10, 100).await.unwrap().unwrap().row.name, "a");
    store.sent("a", None, 10).await.unwrap();
    assert_eq!(store.next_row(&lease, 10, 100).await.unwrap(), None);
}

async fn a_thread_has_one_run_released_and_the_next_follows_its_outcome(
    Fresh { store, .. }: Fresh,
) {
    for message in [7, 9, 8] {
        store.accept(&new_run(message, 7), &[], 1).await.unwrap();
    }
    let open = |released: Vec<Released>| released.into_iter().map(|r| r.request.run.to_string());
    let now: Vec<_> = open(store.released().await.unwrap()).collect();
    assert_eq!(now, ["m7"]);
    let rows = |_: &crate::render::Place| vec![row("m7/1/answer/1")];
    let ended = record(&"m7".parse().unwrap(), answered());
    assert_eq!(store.fold(&key(7, 7), &ended, rows, 5).await.unwrap(), Folded::Moved);
    let now: Vec<_> = open(store.released().await.unwrap()).collect();
    assert_eq!(now, ["m8"], "by the order of the messages, not of their arrival");
    let again = |_: &crate::render::Place| vec![row("never")];
    assert_eq!(store.fold(&key(7, 7), &ended, again, 6).await.unwrap(), Folded::Stale);
}

async fn a_notice_in_a_record_that_is_known_is_told_once(Fresh { store, .. }: Fresh) {
    store.accept(&new_run(7, 7), &[], 1).await.unwrap();
    let claimed = record(&"m7".parse().unwrap(), State::Claimed);
    let none = |_: &crate::render::Place| Vec::new();
    assert_eq!(store.fold(&key(7, 7), &claimed, none, 5).await.unwrap(), Folded::Moved);
    assert_eq!(store.fold(&key(7, 7), &claimed, none, 5).await.unwrap(), Folded::Stale);
    let noticed = Record { notice: Some("because".into()), ..claimed };
    let told = |_: &crate::render::Place| vec![row("t7/place")];
    assert_eq!(store.fold(&key(7, 7), &noticed, told, 6).await.unwrap(), Folded::Moved);
    // Whoever is woken by it folds again, and must not be woken by that.
    assert_eq!(store.fold(&key(7, 7), &noticed, told, 7).await.unwrap(), Folded::Stale);
}

async fn what_a_run_left_is_there_for_the_next_one_of_its_session(Fresh { store, .. }: Fresh) {
    for message in [7, 8, 9] {
        store.accept(&new_run(message, 7), &[], 1).await.unwrap();
    }
    let open = || async { store.released().await.unwrap().remove(0).request };
    let file = |digest: &str| Some(File { digest: digest.into(), bytes: 1 });
    let changes = Changes { head: "a".into(), snapshot: "b".into(), bundle: file("c") };
    let first = Carried { transcript: file("d"), changes: Some(changes.clone()) };
    let none = |_: &crate::render::Place| Vec::new();
    let request = open().await;
    assert_eq!(request.carried, None);
    let session = request.session;
    // Before there is an outcome, nothing is left.
    let claimed = record(&request.run, State::Claimed);
    let claimed = Record { session, carried: Some(first.clone()), ..claimed };
    store.fold(&key(7, 7), &claimed, none, 5).await.unwrap();
    assert_eq!(open().await.carried, None);
    let ended = Record { state: answered(), ..claimed };
    store.fold(&key(7, 7), &ended, none, 5).await.unwrap();
    let request = open().await;
    assert_eq!((request.run.as_str(), &request.carried), ("m8", &Some(first.clone())));
    // What the next one could not put there is what was there before.
    let second = Carried { transcript: file("e"), changes: None };
    let ended = Record { session, carried: Some(second), ..record(&request.run, answered()) };
    store.fold(&key(8, 7), &ended, none, 6).await.unwrap();
    let kept = Carried { transcript: file("e"), changes: Some(changes) };
    assert_eq!(open().await.carried, Some(kept));
}

async fn of_other_records_only_one_of_a_later_generation_changes_anything(
    Fresh { store, .. }: Fresh,
) {
    store.accept(&new_run(7, 7), &[], 1).await.unwrap();
    let newer = Record { generation: Generation(2), ..record(&"m7".parse().unwrap(), answered()) };
    let none = |_: &crate::render::Place| Vec::new();
    let stranger = record(&"m8".parse().unwrap(), answered());
    assert_eq!(store.fold(&key(8, 8), &stranger, none, 5).await.unwrap(), Folded::Unknown);
    let ours = record(&"m7".parse().unwrap(), answered());
    assert_eq!(store.fold(&key(7, 8), &ours, none, 5).await.unwrap(), Folded::Unknown);
    // Ours is raised before it is published: a later one was raised by a store that is gone.
    assert_eq!(store.fold(&key(7, 7), &newer, none, 5).await.unwrap(), Folded::Moved);
    assert_eq!(store.fold(&key(7, 7), &ours, none, 5).await.unwrap(), Folded::Stale);
    assert_eq!(
        store.known(&"m7".parse().unwrap()).await.unwrap().unwrap().generation,
        Generation(2)
    );
}

async fn rows_are_done_in_order_by_one_at_a_time(Fresh { store, .. }: Fresh) {
    store.accept(&new_run(7, 7), &[row("a"), row("b")], 1).await.unwrap();
    let lease = store.lease("me", 10, 100).await.unwrap().unwrap();
    assert_eq!(store.lease("you", 10, 100).await.unwrap(), None, "the thread is held");
    store.try_again("a", 50, "busy").await.unwrap();
    assert_eq!(store.next_row(&lease, 10, 100).await.unwrap(), None, "b waits for a");
    assert_eq!(store.next_due_ms().await.unwrap(), Some(50));
    store.release_lease(&lease).await.unwrap();
    let lease = store.lease("you", 50, 100).await.unwrap().unwrap();
    let due = store.next_row(&lease, 50, 150).await.unwrap().unwrap();
    assert_eq!((due.row.name.as_str(), due.tries), ("a", 1));
    store.sent("a", Some("99".parse().unwrap()), 51).await.unwrap();
    assert_eq!(store.next_row(&lease, 51, 150).await.unwrap().unwrap().row.name, "b");
}

async fn a_lease_that_ran_out_is_anothers(Fresh { store, .. }: Fresh) {
    store.accept(&new_run(7, 7), &[row("a")], 1).await.unwrap();
    let old = store.lease("me", 10, 100).await.unwrap().unwrap();
    let new = store.lease("you", 110, 100).await.unwrap().unwrap();
    assert_eq!(store.next_row(&old, 111, 200).await.unwrap(), None);
    assert!(store.next_row(&new, 111, 200).await.unwrap().is_some());
}

async fn what_cannot_be_done_makes_room_for_what_can(Fresh { store, .. }: Fresh) {
    store.accept(&new_run(7, 7), &[row("a"), row("b"), row("c")], 1).await.unwrap();
    let lease = store.lease("me", 10, 100).await.unwrap().unwrap();
    let next = async || store.next_row(&lease, 12, 100).await.unwrap().unwrap().row.name;
    store.give_up(lease.thread, "a", "50035", Some(row("a/plain")), 11).await.unwrap();
    assert_eq!(next().await, "a/plain", "before what was owed behind the one refused");
    store.sent("a/plain", None, 12).await.unwrap();
    store.give_up(lease.thread, "b", "10003", None, 12).await.unwrap();
    assert_eq!(next().await, "c");
    store.accept(&new_run(8, 7), &[row("d")], 12).await.unwrap();
    store.sent("c", None, 14).await.unwrap();
    assert_eq!(next().await, "d");
}

async fn a_start_tries_at_once_what_waits_to_be_tried(Fresh { store, .. }: Fresh) {
    store.accept(&new_run(7, 7), &[row("a"), row("b")], 1).await.unwrap();
    store.try_again("a", 600_000, "50013").await.unwrap();
    store.try_at_once(20).await.unwrap();
    assert_eq!(store.next_due_ms().await.unwrap(), Some(20));
    let lease = store.lease("me", 20, 100).await.unwrap().unwrap();
    let due = store.next_row(&lease, 20, 100).await.unwrap().unwrap();
    assert_eq!((due.row.name.as_str(), due.tries), ("a", 1));
}

async fn what_is_in_trouble_is_shown_with_why(Fresh { store, .. }: Fresh) {
    store.accept(&new_run(7, 7), &[row("a"), row("b")], 1).await.unwrap();
    assert_eq!(store.troubled(9).await.unwrap(), (Vec::new(), Vec::new()));
    store.try_again("a", 600_000, "50013").await.unwrap();
    let (waiting, ended) = store.troubled(9).await.unwrap();
    let expected = Troubled { row: row("a"), tries: 1, error: "50013".into(), made_ms: 1 };
    assert_eq!((waiting, ended), (vec![expected], Vec::new()), "what is behind it is well");
    store.give_up("7".parse().unwrap(), "a", "10003", None, 11).await.unwrap();
    let (waiting, ended) = store.troubled(9).await.unwrap();
    assert_eq!(waiting, []);
    assert_eq!((ended[0].row.name.as_str(), ended[0].error.as_str()), ("a", "10003"));
}

async fn the_newest_message_of_a_thread_is_known(Fresh { store, .. }: Fresh) {
    store.accept(&new_run(7, 7), &[row("a"), row("b"), row("c")], 1).await.unwrap();
    store.accept(&new_run(8, 8), &[row("d")], 1).await.unwrap();
    assert_eq!(store.last_recorded("c").await.unwrap(), None);
    for (name, message) in [("a", "99"), ("b", "100"), ("d", "900")] {
        store.sent(name, Some(message.parse().unwrap()), 2).await.unwrap();
    }
    assert_eq!(store.last_recorded("c").await.unwrap(), Some("100".parse().unwrap()));
}

async fn what_was_done_meanwhile_is_not_replaced(Fresh { store, .. }: Fresh) {
    store.accept(&new_run(7, 7), &[row("a")], 1).await.unwrap();
    let lease = store.lease("me", 10, 100).await.unwrap().unwrap();
    store.sent("a", Some("99".parse().unwrap()), 11).await.unwrap();
    store.give_up(lease.thread, "a", "50035", Some(row("a/plain")), 12).await.unwrap();
    assert_eq!(store.next_row(&lease, 13, 100).await.unwrap(), None);
}

async fn a_text_may_hold_a_zero_byte(Fresh { store, .. }: Fresh) {
    let author = Author { id: "9".parse().unwrap(), name: "A\0da".into() };
    let new = NewRun { prompt: "one\0two".into(), author, ..new_run(7, 7) };
    assert!(store.accept(&new, &[row("a")], 1).await.unwrap());
    store.try_again("a", 2, "why\0not").await.unwrap();
    let released = store.released().await.unwrap();
    assert_eq!(released[0].request.prompt, "one\u{FFFD}two");
}

async fn a_conversation_keeps_its_session(Fresh { store, .. }: Fresh) {
    for (message, thread) in [(7, 7), (8, 7), (9, 9)] {
        store.accept(&new_run(message, thread), &[], 1).await.unwrap();
    }
    let sessions: Vec<(String, String)> =
        sqlx::query_as("SELECT run, session FROM runs ORDER BY ord")
            .fetch_all(&store.pool)
            .await
            .unwrap();
    assert_eq!(sessions[0].1, sessions[1].1);
    assert_ne!(sessions[0].1, sessions[2].1);
}

async fn a_cursor_never_goes_back(Fresh { store, .. }: Fresh) {
    let place: ChannelId = "5".parse().unwrap();
    for read_to in ["30", "20"] {
        store.read_channel(Cursor { place, read_to: read_to.parse().unwrap() }).await.unwrap();
    }
    assert_eq!(store.channel_cursor(place).await.unwrap(), Some("30".parse().unwrap()));
}

fn presence(name: &str) -> Presence {
    Presence {
        v: Presence::VERSION,
        runner: name.parse().unwrap(),
        state_id: StateId::random(),
        version: "0.1.0".into(),
        projects: Vec::new(),
        slots: 1,
        busy: 0,
        draining: false,
        shared: Vec::new(),
        labels: Vec::new(),
    }
}

/// As SQLite does by itself when the disk is full.
async fn a_connection_that_lost_its_transaction_is_not_used_again(Fresh { store, .. }: Fresh) {
    for _ in 0..8 {
        let mut tx = store.begin_write().await.unwrap();
        sqlx::raw_sql("ROLLBACK").execute(&mut *tx).await.unwrap();
        drop(tx);
        store.note("key", "value").await.unwrap();
    }
}

async fn the_first_runner_to_show_itself_owns_the_project(Fresh { store, .. }: Fresh) {
    let app = "app".parse().unwrap();
    let first = presence("host-1");
    assert_eq!(store.claim_project(&app, &first, 1).await.unwrap(), Ownership::New);
    assert_eq!(store.claim_project(&app, &first, 2).await.unwrap(), Ownership::Known);
    let second = store.claim_project(&app, &presence("host-2"), 3).await.unwrap();
    assert_eq!(second, Ownership::Other("host-1".into()));
    let given = presence("host-1");
    assert_eq!(store.claim_project(&app, &given, 4).await.unwrap(), Ownership::Accepted);
    assert_eq!(store.claim_project(&app, &given, 5).await.unwrap(), Ownership::Known);
}

async fn the_runs_of_a_runner_are_told_once(Fresh { store, .. }: Fresh) {
    store.accept(&new_run(1, 7), &[], 1).await.unwrap();
    store.accept(&new_run(2, 7), &[], 1).await.unwrap();
    store.accept(&new_run(3, 8), &[], 1).await.unwrap();
    let (first, other) = (presence("host-1"), "host-2".parse().unwrap());
    let name = |place: &crate::render::Place| row(&format!("{}/twin", place.run));
    assert_eq!(store.tell_runs_of(&first.runner, name, 2).await.unwrap(), 0, "nobody owns it");
    store.claim_project(&"app".parse().unwrap(), &first, 3).await.unwrap();
    for _ in 0..2 {
        assert_eq!(store.tell_runs_of(&first.runner, name, 4).await.unwrap(), 2);
    }
    assert_eq!(store.tell_runs_of(&other, name, 4).await.unwrap(), 0);
    let told = sqlx::query("SELECT name FROM outbox WHERE name LIKE '%/twin' ORDER BY name");
    let told = told.fetch_all(&store.pool).await.unwrap();
    let told: Vec<String> = told.iter().map(|row| row.try_get("name").unwrap()).collect();
    assert_eq!(told, ["m1/twin", "m3/twin"], "the second one of the thread waits");
}

fn order(order: Order, about: About, message: u64) -> Ordered {
    Ordered {
        order,
        about,
        thread: "7".parse().unwrap(),
        channel: "5".parse().unwrap(),
        project: "app".parse().unwrap(),
        by: By::Message(MessageId::new(message).unwrap()),
        author: Author { id: "9".parse().unwrap(), name: "Ada".into() },
    }
}

async fn give(store: &Store, ordered: Ordered) -> Option<Done> {
    store.order(&ordered, |_, _| Vec::new(), 50).await.unwrap()
}

async fn fail(store: &Store, message: u64, generation: u32) {
    let outcome = Outcome::Failed { why: "boom".into(), denied: Vec::new() };
    let failed = Record {
        generation: Generation(generation),
        ..record(
            &RunId::from(MessageId::new(message).unwrap()),
            State::Ended { outcome, usage: None },
        )
    };
    let none = |_: &crate::render::Place| Vec::new();
    assert_eq!(store.fold(&key(message, 7), &failed, none, 9).await.unwrap(), Folded::Moved);
}

async fn a_failed_run_is_tried_again_in_a_new_generation_once(Fresh { store, .. }: Fresh) {
    store.accept(&new_run(7, 7), &[], 1).await.unwrap();
    assert_eq!(give(&store, order(Order::Retry, About::Newest, 20)).await, Some(Done::Nothing));
    fail(&store, 7, 1).await;
    let first = About::Run("m7".parse().unwrap(), Generation(1));
    assert_eq!(give(&store, order(Order::Retry, first.clone(), 21)).await, Some(Done::Again));
    assert_eq!(give(&store, order(Order::Retry, first, 22)).await, Some(Done::TooLate));
    let released = store.released().await.unwrap();
    assert_eq!(released[0].request.generation, Generation(2));
    assert_eq!(released[0].request.since, Some(Generation(2)), "what failed stays behind");
    fail(&store, 7, 2).await;
    assert_eq!(give(&store, order(Order::Discard, About::Newest, 23)).await, Some(Done::Discarded));
    assert_eq!(give(&store, order(Order::Retry, About::Newest, 24)).await, Some(Done::Nothing));
    assert_eq!(store.released().await.unwrap().len(), 0);
}

async fn an_order_by_a_message_is_carried_out_once(Fresh { store, .. }: Fresh) {
    store.accept(&new_run(7, 7), &[], 1).await.unwrap();
    let stopping = give(&store, order(Order::Stop, About::Newest, 20)).await;
    assert_eq!(stopping, Some(Done::StoppingLater(None)), "no runner has the project");
    assert_eq!(give(&store, order(Order::Stop, About::Newest, 20)).await, None);
    let controls = store.controls(&key(7, 7), Generation(1)).await.unwrap().unwrap();
    assert_eq!(controls.stop(), Some("Ada"));
    assert_eq!(controls.items.len(), 1);
    assert_eq!(store.controls(&key(7, 7), Generation(2)).await.unwrap(), None);
}

async fn a_run_that_waits_is_dropped_by_a_stop(Fresh { store, .. }: Fresh) {
    for message in [7, 8] {
        store.accept(&new_run(message, 7), &[], 1).await.unwrap();
    }
    let second = About::Run("m8".parse().unwrap(), Generation(1));
    assert_eq!(give(&store, order(Order::Stop, second, 20)).await, Some(Done::Dropped));
    fail(&store, 7, 1).await;
    assert_eq!(store.released().await.unwrap().len(), 0, "it is not released any more");
}

async fn nothing_is_released_in_a_thread_that_was_not_read(Fresh { store, .. }: Fresh) {
    store.accept(&new_run(7, 7), &[], 1).await.unwrap();
    fail(&store, 7, 1).await;
    store.close_gates(100).await.unwrap();
    store.accept(&new_run(8, 7), &[], 2).await.unwrap();
    store.release_due(99).await.unwrap();
    assert_eq!(store.released().await.unwrap().len(), 0);
    store.accept(&new_run(20, 20), &[], 3).await.unwrap();
    assert_eq!(store.released().await.unwrap().len(), 1, "a new thread has no gate");
    store.release_due(100).await.unwrap();
    assert_eq!(store.released().await.unwrap().len(), 2, "no gate is closed for ever");
}

async fn a_message_is_edited_and_deleted_until_its_release(Fresh { store, .. }: Fresh) {
    for message in [7, 8, 9] {
        store.accept(&new_run(message, 7), &[], 1).await.unwrap();
    }
    let run = |text: &str| text.parse::<RunId>().unwrap();
    assert!(
        !store.rewrite(&run("m7"), "new", &Files::default(), 0).await.unwrap(),
        "release froze it"
    );
    assert!(store.rewrite(&run("m8"), "new", &Files::default(), 0).await.unwrap());
    assert!(store.drop_waiting(&run("m9"), 2).await.unwrap());
    assert!(!store.drop_waiting(&run("m7"), 2).await.unwrap());
    let waiting = store.waiting().await.unwrap();
    assert_eq!((waiting.len(), waiting[0].prompt.as_str()), (1, "new"));
    fail(&store, 7, 1).await;
    assert_eq!(store.released().await.unwrap()[0].request.prompt, "new");
}

async fn what_is_old_and_finished_goes_and_what_is_not_stays(Fresh { store, .. }: Fresh) {
    store.accept(&new_run(7, 7), &[], 1).await.unwrap();
    store.accept(&new_run(8, 7), &[row("a")], 1).await.unwrap();
    fail(&store, 7, 1).await;
    let count = store.forget(1000).await.unwrap();
    assert!(2 <= count, "the run and the verdicts, at least: {count}");
    assert_eq!(store.released().await.unwrap()[0].request.run.to_string(), "m8");
    assert!(store.lease("me", 10, 100).await.unwrap().is_some(), "what is owed is still owed");
}

async fn what_was_never_finished_is_ended_and_told(Fresh { store, .. }: Fresh) {
    store.accept(&new_run(7, 7), &[], 1).await.unwrap();
    store.accept(&new_run(8, 8), &[], 1000).await.unwrap();
    let told = |_: &crate::render::Place| vec![row("given up")];
    assert_eq!(store.expire(500, told, 2000).await.unwrap(), 1);
    assert_eq!(store.expire(500, told, 2000).await.unwrap(), 0);
    let runs: Vec<_> = store.released().await.unwrap();
    assert_eq!((runs.len(), runs[0].request.run.to_string()), (1, "m8".to_owned()));
    let lease = store.lease("me", 2000, 100).await.unwrap().unwrap();
    assert_eq!(store.next_row(&lease, 2000, 100).await.unwrap().unwrap().row.name, "given up");
}
