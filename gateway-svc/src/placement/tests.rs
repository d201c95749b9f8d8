//! Where runs are put, case by case.

use schemas::ids::StateId;
use schemas::streams::GIVEN_UP;

use super::*;

const NOW_MS: i64 = 1_000_000;

fn app() -> ProjectName {
    "app".parse().unwrap()
}

fn runner(name: &str) -> RunnerId {
    name.parse().unwrap()
}

fn terms(sharing: Sharing, requires: &[&str]) -> Terms {
    Terms { sharing, requires: requires.iter().map(|label| (*label).to_owned()).collect() }
}

/// A runner that shares the project, seen so many seconds ago.
fn seen(name: &str, ago_s: i64) -> Sight {
    let presence = Presence {
        v: Presence::VERSION,
        runner: runner(name),
        state_id: StateId::random(),
        version: "1".into(),
        projects: vec![app()],
        slots: 2,
        busy: 0,
        draining: false,
        shared: vec![app()],
        labels: Vec::new(),
    };
    Sight { presence, seen_ms: NOW_MS - ago_s * 1000 }
}

fn alone(name: &str) -> Sight {
    let mut sight = seen(name, 0);
    sight.presence.shared.clear();
    sight
}

fn labelled(name: &str, busy: u16, slots: u16) -> Sight {
    let mut sight = seen(name, 0);
    sight.presence.labels = vec!["gpu".into(), "linux".into()];
    (sight.presence.busy, sight.presence.slots) = (busy, slots);
    sight
}

fn put(terms: &Terms, owner: Option<&str>, home: Option<&str>, sights: &[Sight]) -> Decision {
    let (owner, home) = (owner.map(runner), home.map(runner));
    let project = app();
    let (owner, home) = (owner.as_ref(), home.as_ref());
    let asked = Asked { project: &project, terms, owner, home, given_up: GIVEN_UP };
    place(asked, sights, NOW_MS)
}

fn at(name: &str) -> Decision {
    Decision::Put(Place::At(runner(name)))
}

#[test]
fn an_exclusive_run_goes_to_its_owner_however_long_that_is_away() {
    let exclusive = terms(Sharing::Exclusive, &[]);
    assert_eq!(put(&exclusive, Some("one"), Some("two"), &[alone("two")]), at("one"));
    assert_eq!(put(&exclusive, None, None, &[alone("two")]), Decision::Wait(Wait::NoOwner));
}

#[test]
fn an_owner_without_the_labels_gets_nothing() {
    let gpu = terms(Sharing::Exclusive, &["gpu"]);
    let lacks = Misfit::Lacks(vec!["gpu".into()]);
    let wait = Decision::Wait(Wait::Unfit(runner("one"), lacks));
    assert_eq!(put(&gpu, Some("one"), None, &[alone("one")]), wait);
}

#[test]
fn an_owner_that_shares_what_is_exclusive_gets_nothing() {
    let exclusive = terms(Sharing::Exclusive, &[]);
    let wait = Decision::Wait(Wait::Unfit(runner("one"), Misfit::Shares));
    assert_eq!(put(&exclusive, Some("one"), None, &[seen("one", 0)]), wait);
}

#[test]
fn a_shared_thread_begins_anywhere_and_stays_where_it_was() {
    let shared = terms(Sharing::Shared, &[]);
    let both = [seen("one", 0), seen("two", 0)];
    assert_eq!(put(&shared, None, None, &both), Decision::Put(Place::Any));
    assert_eq!(put(&shared, None, Some("two"), &both), at("two"));
    let away = [seen("one", 0), seen("two", 100)];
    assert_eq!(put(&shared, None, Some("two"), &away), at("two"), "it may be back in a moment");
}

#[test]
fn a_thread_leaves_a_runner_that_is_gone_or_takes_nothing_new() {
    let shared = terms(Sharing::Shared, &[]);
    let any = Decision::Put(Place::Any);
    assert_eq!(put(&shared, None, Some("two"), &[seen("one", 0), seen("two", 121)]), any);
    assert_eq!(put(&shared, None, Some("two"), &[seen("one", 0)]), any);
    let mut draining = seen("two", 0);
    draining.presence.draining = true;
    assert_eq!(put(&shared, None, Some("two"), &[seen("one", 0), draining]), any);
    assert_eq!(put(&shared, None, Some("two"), &[seen("one", 0), alone("two")]), any);
}

#[test]
fn what_requires_labels_goes_to_the_least_busy_runner_that_has_them() {
    let gpu = terms(Sharing::Shared, &["gpu", "linux"]);
    let sights = [seen("plain", 0), labelled("half", 1, 2), labelled("third", 1, 3)];
    assert_eq!(put(&gpu, None, None, &sights), at("third"));
    assert_eq!(put(&gpu, None, Some("half"), &sights), at("half"), "the conversation is there");
    assert_eq!(put(&gpu, None, Some("plain"), &sights), at("third"));
    let same = [labelled("b", 0, 0), labelled("a", 0, 9)];
    assert_eq!(put(&gpu, None, None, &same), at("a"));
    let none = [seen("plain", 0)];
    assert_eq!(put(&gpu, None, None, &none), Decision::Wait(Wait::NobodyFits));
    let mut away = labelled("away", 0, 1);
    away.seen_ms -= 31_000;
    assert_eq!(put(&gpu, None, None, &[away]), Decision::Wait(Wait::NobodyFits));
}

#[test]
fn a_runner_that_keeps_a_shared_project_to_itself_is_told_so() {
    let shared = terms(Sharing::Shared, &[]);
    assert_eq!(misfit(&app(), &shared, &alone("one").presence), Some(Misfit::KeepsToItself));
    let mut other = seen("one", 0).presence;
    other.projects.clear();
    assert_eq!(misfit(&app(), &shared, &other), Some(Misfit::NotServed));
    assert_eq!(misfit(&app(), &shared, &seen("one", 0).presence), None);
}

#[test]
fn a_run_waits_while_nobody_is_there_who_could_take_it() {
    let project = app();
    let one = runner("one");
    let waits = |terms: &Terms, owner: Option<&RunnerId>, put: Option<&Place>, sights: &[Sight]| {
        let asked = Asked { project: &project, terms, owner, home: None, given_up: GIVEN_UP };
        awaited(asked, put, sights, NOW_MS).map(|awaited| (awaited.runner, awaited.seen_ms))
    };
    let exclusive = terms(Sharing::Exclusive, &[]);
    let mut gone = alone("one");
    gone.seen_ms -= 31_000;
    let since = Some(gone.seen_ms);
    assert_eq!(waits(&exclusive, None, None, &[]), Some((None, None)));
    assert_eq!(waits(&exclusive, Some(&one), None, &[gone]), Some((Some(one.clone()), since)));
    assert_eq!(waits(&exclusive, Some(&one), None, &[alone("one")]), None);
    let shared = terms(Sharing::Shared, &[]);
    let sights = [seen("one", 31), seen("two", 0)];
    assert_eq!(waits(&shared, None, Some(&Place::Any), &sights), None);
    let at = Place::At(one.clone());
    assert_eq!(waits(&shared, None, Some(&at), &sights), Some((Some(one), since)));
    assert_eq!(waits(&shared, None, Some(&Place::Any), &sights[..1]), Some((None, since)));
}

#[test]
fn a_run_is_stranded_where_its_runner_is_gone_and_another_is_there() {
    let project = app();
    let stranded = |terms: &Terms, taken, sights: &[Sight]| {
        let (owner, home) = (None, None);
        let asked = Asked { project: &project, terms, owner, home, given_up: GIVEN_UP };
        is_stranded(asked, &runner("two"), taken, sights, NOW_MS)
    };
    let shared = terms(Sharing::Shared, &[]);
    let gone = [seen("one", 0), seen("two", 121)];
    assert!(stranded(&shared, Taken::Yes, &gone));
    assert!(stranded(&shared, Taken::No, &gone));
    assert!(!stranded(&terms(Sharing::Exclusive, &[]), Taken::No, &gone));
    assert!(!stranded(&shared, Taken::No, &gone[1..]), "nobody else could take it");
    let mut draining = [seen("one", 0), seen("two", 0)];
    assert!(!stranded(&shared, Taken::No, &draining));
    draining[1].presence.draining = true;
    assert!(stranded(&shared, Taken::No, &draining));
    assert!(!stranded(&shared, Taken::Yes, &draining), "what runs there ends there");
}
