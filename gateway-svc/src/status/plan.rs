//! What is to become of a run's status message.
//!
//! Pure. It is shown when a run lasts, edited when what it says changes, replaced before Discord limits
//! its edits and when a run that waited begins, and taken away at the end.

use std::time::Duration;

use schemas::ids::MessageId;
use schemas::live::Live;
use schemas::streams::{LIVE_SILENCE, Place};

use super::show::Standing;
use crate::placement::{Sight, Terms, misfit, newest};
use crate::store::Watched;

/// A run that ends sooner has no status message.
pub(super) const SHOW_AFTER: Duration = Duration::from_secs(2);

/// What was heard of a run.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    /// What it does.
    pub(super) live: Live,
    /// When that was heard, in milliseconds since 1970.
    pub(super) at_ms: i64,
}

/// What this process knows of a status message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// The row that posted it.
    pub(super) row: String,
    /// What it says; `None`: not known.
    pub(super) says: Option<String>,
    /// Until when it is left alone.
    pub(super) rest_until_ms: i64,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Nothing,
    /// Post one that says this, in the place of one that is there.
    Post(String),
    /// Let it say this.
    Edit(MessageId, String),
    /// Take it away.
    Remove,
}

/// Where a run stands. `heard_ms` is since when this process would have heard of it.
pub(super) fn standing<'a>(
    run: &'a Watched,
    all: &[Watched],
    heard: Option<&'a Heard>,
    heard_ms: i64,
    sights: &'a [Sight],
    terms: &Terms,
    now_ms: i64,
) -> Standing<'a> {
    let Some(since_ms) = run.released_ms else {
        let first = |other: &&Watched| {
            let is_first = other.released_ms.is_some() || other.ord < run.ord;
            other.thread == run.thread && !other.ended && other.run != run.run && is_first
        };
        return Standing::Queued { behind: all.iter().filter(first).count() };
    };
    if run.attempt.is_none() {
        return untaken(run, sights, terms, now_ms);
    }
    let heard = heard.filter(|heard| heard.live.generation == run.generation);
    let last_ms = heard.map_or(heard_ms.max(since_ms), |heard| heard.at_ms);
    let runner = run.home.as_ref();
    match heard {
        _ if run.began && millis(LIVE_SILENCE) <= now_ms - last_ms => {
            Standing::Silent { runner, since_ms: last_ms }
        }
        Some(heard) => Standing::AtWork { since_ms, live: &heard.live },
        None => Standing::Starting { runner },
    }
}

/// Where a released run stands that nobody has taken.
fn untaken<'a>(run: &'a Watched, sights: &'a [Sight], terms: &Terms, now_ms: i64) -> Standing<'a> {
    let fits = |sight: &&Sight| {
        let presence = &sight.presence;
        sight.is_there(now_ms)
            && !presence.draining
            && misfit(&run.project, terms, presence).is_none()
    };
    let (runner, there) = match &run.place {
        Some(Place::At(runner)) => (Some(runner), newest(sights, runner).into_iter().collect()),
        Some(Place::Any) | None => (None, sights.iter().collect::<Vec<_>>()),
    };
    let there: Vec<&Sight> = there.into_iter().filter(fits).collect();
    let is_free = |sight: &&&Sight| sight.presence.busy < sight.presence.slots;
    match (there.iter().find(is_free), there.first()) {
        (Some(_), _) => Standing::Starting { runner },
        (None, Some(busy)) => {
            Standing::NoSlot { runner: &busy.presence.runner, busy: busy.presence.busy }
        }
        (None, None) => Standing::NoRunner { project: &run.project, runner },
    }
}

/// Decides. `text` is what the message should say by where the run stands, `fresh` how old it gets.
pub(super) fn plan(
    run: &Watched,
    standing: &Standing<'_>,
    text: String,
    known: Option<&Known>,
    fresh: Duration,
    now_ms: i64,
) -> Act {
    let Some(shown) = &run.shown else {
        let since_ms = run.released_ms.unwrap_or(run.accepted_ms);
        let lasts = !run.ended && millis(SHOW_AFTER) <= now_ms - since_ms;
        return if lasts { Act::Post(text) } else { Act::Nothing };
    };
    if run.ended {
        return Act::Remove;
    }
    // Not posted yet, or nobody may.
    let Some(message) = shown.message else { return Act::Nothing };
    let waited = run.released_ms.is_some_and(|released_ms| shown.made_ms < released_ms);
    if waited && run.attempt.is_some() || millis(fresh) <= now_ms - shown.made_ms {
        return Act::Post(text);
    }
    let known = known.filter(|known| known.row == shown.row);
    match known {
        Some(known) if now_ms < known.rest_until_ms => Act::Nothing,
        Some(Known { says: Some(says), .. }) if *says == text => Act::Nothing,
        // A process that just began has heard of nothing yet; what it says may be better.
        None if run.began && matches!(standing, Standing::Starting { .. }) => Act::Nothing,
        Some(_) | None => Act::Edit(message, text),
    }
}

pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::USUAL;
    use crate::store::Shown;

    const NOW_MS: i64 = 10_000_000;
    const FRESH: Duration = Duration::from_secs(50 * 60);

    fn run(message: u64) -> Watched {
        Watched {
            run: format!("m{message}").parse().unwrap(),
            project: "app".parse().unwrap(),
            thread: "7".parse().unwrap(),
            generation: schemas::ids::Generation(1),
            ord: i64::try_from(message).unwrap(),
            accepted_ms: NOW_MS - 5_000,
            released_ms: Some(NOW_MS - 5_000),
            place: None,
            attempt: Some("1".parse().unwrap()),
            began: true,
            home: Some("host-1".parse().unwrap()),
            said_in: None,
            ended: false,
            shown: None,
        }
    }

    fn with_message(age_ms: i64) -> Watched {
        let message = Some("9".parse().unwrap());
        let shown = Some(Shown { row: "s".into(), made_ms: NOW_MS - age_ms, message });
        Watched { shown, ..run(7) }
    }

    fn stands(run: &Watched, all: &[Watched], heard: Option<&Heard>, heard_ms: i64) -> String {
        format!("{:?}", standing(run, all, heard, heard_ms, &[], &USUAL, NOW_MS))
    }

    fn act(run: &Watched, known: Option<&Known>) -> Act {
        let standing = Standing::Queued { behind: 1 };
        plan(run, &standing, "text".into(), known, FRESH, NOW_MS)
    }

    #[test]
    fn a_run_that_lasts_is_shown_and_one_that_does_not_is_not() {
        assert_eq!(act(&run(7), None), Act::Post("text".into()));
        let young = Watched { released_ms: Some(NOW_MS - 1_000), ..run(7) };
        assert_eq!(act(&young, None), Act::Nothing);
        assert_eq!(act(&Watched { ended: true, ..run(7) }, None), Act::Nothing);
        assert_eq!(act(&Watched { ended: true, ..with_message(1) }, None), Act::Remove);
    }

    #[test]
    fn a_message_is_edited_when_it_says_something_else() {
        let run = with_message(1_000);
        let edit = Act::Edit("9".parse().unwrap(), "text".into());
        let known = |says: &str, rest| Known {
            row: "s".into(),
            says: Some(says.into()),
            rest_until_ms: NOW_MS + rest,
        };
        assert_eq!(act(&run, None), edit);
        assert_eq!(act(&run, Some(&known("other", 0))), edit);
        assert_eq!(act(&run, Some(&known("text", 0))), Act::Nothing);
        assert_eq!(act(&run, Some(&known("other", 1))), Act::Nothing, "it rests");
        let other = Known { row: "older".into(), ..known("text", 0) };
        assert_eq!(act(&run, Some(&other)), edit, "that was another message");
    }

    #[test]
    fn there_is_a_fresh_message_before_an_hour_and_when_a_run_begins_that_waited() {
        let old = |age_ms| Watched { released_ms: Some(1), ..with_message(age_ms) };
        assert!(matches!(act(&old(49 * 60_000), None), Act::Edit(..)));
        assert_eq!(act(&old(50 * 60_000), None), Act::Post("text".into()));
        let waited = with_message(6_000);
        assert_eq!(act(&waited, None), Act::Post("text".into()));
        let still = Watched { attempt: None, ..waited };
        assert!(matches!(act(&still, None), Act::Edit(..)));
        let mut unsent = with_message(1);
        unsent.shown.as_mut().unwrap().message = None;
        assert_eq!(act(&unsent, None), Act::Nothing);
    }

    #[test]
    fn a_process_that_just_began_waits_until_it_hears_something() {
        let (run, starting) = (with_message(1_000), Standing::Starting { runner: None });
        assert_eq!(plan(&run, &starting, "text".into(), None, FRESH, NOW_MS), Act::Nothing);
    }

    #[test]
    fn a_run_is_queued_behind_what_comes_first_in_its_thread() {
        let waits = |message| Watched { released_ms: None, attempt: None, ..run(message) };
        let other = Watched { thread: "8".parse().unwrap(), ..run(5) };
        let all = [run(6), waits(7), waits(8), waits(9), other];
        assert_eq!(stands(&all[2], &all, None, 0), "Queued { behind: 2 }");
    }

    #[test]
    fn a_run_at_work_is_silent_when_nothing_was_heard_for_long() {
        let text = include_str!("../../../schemas/golden/live-1.json");
        let live: Live = schemas::from_json(text.as_bytes()).unwrap();
        let heard = |ago_ms| Heard { live: live.clone(), at_ms: NOW_MS - ago_ms };
        let run = Watched { released_ms: Some(1), ..run(7) };
        assert!(stands(&run, &[], Some(&heard(44_000)), 0).starts_with("AtWork"));
        assert!(stands(&run, &[], Some(&heard(45_000)), 0).starts_with("Silent"));
        assert!(stands(&run, &[], None, NOW_MS - 1).starts_with("Starting"), "just begun");
        assert!(stands(&run, &[], None, 0).starts_with("Silent"));
        let setting_up = Watched { began: false, ..run.clone() };
        assert!(stands(&setting_up, &[], None, 0).starts_with("Starting"), "no claude yet");
        let retried = Watched { generation: schemas::ids::Generation(2), ..run };
        assert!(!stands(&retried, &[], Some(&heard(1)), 0).starts_with("AtWork"), "of before");
    }

    #[test]
    fn a_run_that_nobody_has_taken_waits_for_a_runner_or_a_slot() {
        let run = Watched { attempt: None, ..run(7) };
        let text = include_str!("../../../schemas/golden/presence-1.json");
        let presence: schemas::presence::Presence = schemas::from_json(text.as_bytes()).unwrap();
        let project = presence.projects[0].clone();
        let run = Watched { project, ..run };
        let seen = |busy, age_ms| {
            let presence =
                schemas::presence::Presence { busy, draining: false, ..presence.clone() };
            [Sight { presence, seen_ms: NOW_MS - age_ms }]
        };
        let stands = |sights: &[Sight]| {
            let standing = standing(&run, &[], None, 0, sights, &USUAL, NOW_MS);
            format!("{standing:?}").split([' ', '{']).next().unwrap_or_default().to_owned()
        };
        assert_eq!(stands(&[]), "NoRunner");
        assert_eq!(stands(&seen(0, 0)), "Starting");
        assert_eq!(stands(&seen(presence.slots, 0)), "NoSlot");
        assert_eq!(stands(&seen(0, 10_000_000)), "NoRunner", "seen long ago");
    }
}
