//! A released run → where it is to run; a runner → what keeps it from a project's work.
//!
//! Pure. An exclusive project's run goes to the owner, however long that is away. A shared
//! project's goes to the runner that has the conversation, while that is there; else to any, or,
//! where the project requires labels, to the least busy runner that has them. What is decided here
//! is stored before it is published, so that a run is never in two places in one generation; nobody
//! takes a presence for more than a hint.

use std::fmt;
use std::time::Duration;

use schemas::ids::{ProjectName, RunnerId};
use schemas::presence::Presence;
use schemas::streams::{PRESENCE_AGE, Place};

/// How long a run waits for a runner before that is said: a runner that restarts is back by then.
pub(crate) const SAID_AFTER: Duration = Duration::from_secs(30);

/// How a project is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// By one runner, its owner.
    Exclusive,
    /// By whichever runner is there.
    Shared,
}

/// What a project asks of its runners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// How it is served.
    pub(crate) sharing: Sharing,
    /// The labels that a runner must have.
    pub(crate) requires: Vec<String>,
}

/// What a project asks that nobody configures any more.
pub(crate) static USUAL: Terms = Terms { sharing: Sharing::Exclusive, requires: Vec::new() };

/// A runner as it was seen last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sight {
    /// What it said of itself.
    pub(crate) presence: Presence,
    /// When, in milliseconds since 1970.
    pub(crate) seen_ms: i64,
}

impl Sight {
    /// Whether it is there, as far as anybody can tell.
    pub(crate) fn is_there(&self, now_ms: i64) -> bool {
        self.was_seen_within(PRESENCE_AGE, now_ms)
    }

    fn was_seen_within(&self, time: Duration, now_ms: i64) -> bool {
        let time_ms = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        now_ms <= self.seen_ms.saturating_add(time_ms)
    }

    /// Whether a run of the project can be put there now.
    pub(crate) fn is_free_for(&self, project: &ProjectName, terms: &Terms, now_ms: i64) -> bool {
        self.is_there(now_ms)
            && !self.presence.draining
            && misfit(project, terms, &self.presence).is_none()
    }
}

/// Why a runner gets no work of a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// It does not serve it.
    NotServed,
    /// It shares what the gateway knows as exclusive.
    Shares,
    /// It keeps to itself what the gateway knows as shared.
    KeepsToItself,
    /// It has not all the labels: these are missing.
    Lacks(Vec<String>),
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Misfit::NotServed => f.write_str("it does not serve the project"),
            Misfit::Shares => f.write_str(
                "it says that the project is shared, and the gateway's configuration does not; set \
                 `shared` alike in both",
            ),
            Misfit::KeepsToItself => f.write_str(
                "the gateway's configuration says that the project is shared, and the runner's \
                 does not; set `shared` alike in both",
            ),
            Misfit::Lacks(labels) => {
                write!(f, "the project requires what it has no label for: {}", labels.join(", "))
            }
        }
    }
}

/// What keeps a runner from a project's work, if something does.
pub(crate) fn misfit(project: &ProjectName, terms: &Terms, presence: &Presence) -> Option<Misfit> {
    if !presence.projects.contains(project) {
        return Some(Misfit::NotServed);
    }
    match (terms.sharing, presence.shared.contains(project)) {
        (Sharing::Exclusive, true) => return Some(Misfit::Shares),
        (Sharing::Shared, false) => return Some(Misfit::KeepsToItself),
        (Sharing::Exclusive, false) | (Sharing::Shared, true) => {}
    }
    let lacks = |label: &&String| !presence.labels.contains(label);
    let missing: Vec<String> = terms.requires.iter().filter(lacks).cloned().collect();
    (!missing.is_empty()).then_some(Misfit::Lacks(missing))
}

/// What is asked about one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    /// Its project,
    pub(crate) project: &'a ProjectName,
    /// and what that asks of runners.
    pub(crate) terms: &'a Terms,
    /// Who owns the project, if it is exclusive and somebody does.
    pub(crate) owner: Option<&'a RunnerId>,
    /// Who held the thread's last run, if there was one, or was chosen for its next.
    pub(crate) home: Option<&'a RunnerId>,
    /// When a runner that shows itself no more is given up.
    pub(crate) given_up: Duration,
}

/// Where a run is to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// There.
    Put(Place),
    /// Nowhere yet.
    Wait(Wait),
}

/// Why a run is not put anywhere yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// No runner has shown itself that may own the project.
    NoOwner,
    /// The owner is not what the project asks for.
    Unfit(RunnerId, Misfit),
    /// No runner that is there has the labels.
    NobodyFits,
}

/// Decides where a run is to run.
pub(crate) fn place(asked: Asked<'_>, sights: &[Sight], now_ms: i64) -> Decision {
    match asked.terms.sharing {
        Sharing::Exclusive => at_owner(asked, sights),
        Sharing::Shared => at_home_or_any(asked, sights, now_ms),
    }
}

fn at_owner(asked: Asked<'_>, sights: &[Sight]) -> Decision {
    let Some(owner) = asked.owner else { return Decision::Wait(Wait::NoOwner) };
    // One that was never seen since the sights are kept is taken at the store's word.
    let misfit = newest(sights, owner)
        .and_then(|sight| misfit(asked.project, asked.terms, &sight.presence))
        .filter(|misfit| *misfit != Misfit::NotServed);
    match misfit {
        Some(misfit) => Decision::Wait(Wait::Unfit(owner.clone(), misfit)),
        None => Decision::Put(Place::At(owner.clone())),
    }
}

fn at_home_or_any(asked: Asked<'_>, sights: &[Sight], now_ms: i64) -> Decision {
    let Asked { project, terms, home, given_up, .. } = asked;
    let home = home.and_then(|home| newest(sights, home)).filter(|sight| {
        sight.was_seen_within(given_up, now_ms)
            && !sight.presence.draining
            && misfit(project, terms, &sight.presence).is_none()
    });
    if let Some(home) = home {
        return Decision::Put(Place::At(home.presence.runner.clone()));
    }
    if terms.requires.is_empty() {
        return Decision::Put(Place::Any);
    }
    let fits = sights.iter().filter(|sight| sight.is_free_for(project, terms, now_ms));
    let least = fits.map(|sight| &sight.presence).min_by(|one, other| {
        // busy/slots of one against the other's, without division.
        let load = |busy: u16, slots: u16| u32::from(busy) * u32::from(slots.max(1));
        load(one.busy, other.slots)
            .cmp(&load(other.busy, one.slots))
            .then_with(|| one.runner.as_str().cmp(other.runner.as_str()))
    });
    match least {
        Some(presence) => Decision::Put(Place::At(presence.runner.clone())),
        None => Decision::Wait(Wait::NobodyFits),
    }
}

/// How far the run is that is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// No record of it in this generation was seen.
    No,
    /// A runner holds it.
    Yes,
}

/// Whether a shared project's run is to be moved away from where it was put: its runner is gone, or
/// takes nothing new and has not begun, and another one could take it. An exclusive project's run
/// is moved by people alone.
pub(crate) fn is_stranded(
    asked: Asked<'_>,
    at: &RunnerId,
    taken: Taken,
    sights: &[Sight],
    now_ms: i64,
) -> bool {
    let Asked { project, terms, given_up, .. } = asked;
    if terms.sharing == Sharing::Exclusive {
        return false;
    }
    let there = newest(sights, at).filter(|sight| sight.was_seen_within(given_up, now_ms));
    let is_lost = match (there, taken) {
        (None, Taken::No | Taken::Yes) => true,
        (Some(_), Taken::Yes) => false,
        (Some(sight), Taken::No) => {
            sight.presence.draining || misfit(project, terms, &sight.presence).is_some()
        }
    };
    is_lost
        && sights
            .iter()
            .any(|sight| sight.presence.runner != *at && sight.is_free_for(project, terms, now_ms))
}

/// Who could take a run, and is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Awaited {
    /// The one runner that it is put at, or that owns the project.
    pub(crate) runner: Option<RunnerId>,
    /// When it, or any that serves the project, was seen last.
    pub(crate) seen_ms: Option<i64>,
}

/// Whom a run waits for that is put there or nowhere yet; `None`: somebody is there for it.
pub(crate) fn awaited(
    asked: Asked<'_>,
    put: Option<&Place>,
    sights: &[Sight],
    now_ms: i64,
) -> Option<Awaited> {
    let Asked { project, terms, owner, .. } = asked;
    let one = match (put, terms.sharing) {
        (Some(Place::At(runner)), Sharing::Exclusive | Sharing::Shared) => Some(runner),
        (Some(Place::Any), Sharing::Exclusive | Sharing::Shared) | (None, Sharing::Shared) => None,
        (None, Sharing::Exclusive) => owner,
    };
    let could = |sight: &&Sight| match one {
        Some(runner) => sight.presence.runner == *runner,
        None => misfit(project, terms, &sight.presence).is_none(),
    };
    let fits = |sight: &Sight| misfit(project, terms, &sight.presence).is_none();
    if sights.iter().filter(could).any(|sight| sight.is_there(now_ms) && fits(sight)) {
        return None;
    }
    let seen_ms = sights.iter().filter(could).map(|sight| sight.seen_ms).max();
    Some(Awaited { runner: one.cloned(), seen_ms })
}

/// The newest sight of a runner: a name can have been given to another state directory.
pub(crate) fn newest<'a>(sights: &'a [Sight], runner: &RunnerId) -> Option<&'a Sight> {
    let of_it = sights.iter().filter(|sight| sight.presence.runner == *runner);
    of_it.max_by_key(|sight| sight.seen_ms)
}

#[cfg(test)]
mod tests;
