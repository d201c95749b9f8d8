//! What the gateway counts: events where they happen, and every few seconds what the store holds.
//!
//! What is pure stands in [`samples`]: a census of the store, the configuration and what runners showed
//! last → what `/metrics` shows. The loop asks the store once and hangs that out, so that nobody who
//! scrapes asks it; all gateways of a store show the same of it. When the store does not answer for a
//! while, nothing is shown of it rather than what was.
//!
//! It never shows an id of a run, a thread or a person.

use std::collections::BTreeMap;
use std::time::Duration;

use platform::clock::now_ms;
use platform::metrics::{Board, Counter, Durations, Metrics, Sample, Seconds};
use platform::reload::Current;
use schemas::ids::ProjectName;
use schemas::names::metrics::{
    ASKS_AGE, ASKS_OPEN, BUDGET, COST, COST_TODAY, DISCORD_LIMITED, DISCORD_LIMITED_TIME, Metric,
    OUTBOX_AGE, OUTBOX_DEPTH, OUTCOME, POSTS, PROJECT, PROJECT_RUNNERS, QUEUE_AGE, QUEUE_DEPTH,
    RECORDS, RUN_DURATION, RUNS_ENDED, SCOPE, STATE, TOKEN_TYPE, TOKENS,
};
use schemas::record::Outcome;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::limits::day_began;
use crate::placement::Sight;
use crate::routes::Routes;
use crate::store::tally;
use crate::store::{Counted, Folded, Store, StoreError, What};

/// How often the store is counted: more often than anybody scrapes, and seldom enough for a store that
/// does other things.
const EVERY: Duration = Duration::from_secs(5);
/// How long a count may take, and then be shown after the store answered last.
const FRESH: Duration = Duration::from_secs(30);
/// What each project shows from the start, so that the first one of each is an increase.
const TALLIES: [&str; 7] = [
    "cost",
    "outcome/answered",
    "outcome/dropped",
    "outcome/failed",
    "outcome/stopped",
    "tokens/input",
    "tokens/output",
];
/// Where runs without outcome stand.
const RUN_STATES: [&str; 3] = ["queued", "released", "held"];
/// Where rows stand that Discord is owed.
const ROW_STATES: [&str; 3] = ["due", "later", "parked"];
/// The label of what all projects together may cost; no project can be called so.
const ALL_PROJECTS: &str = "(all)";

/// What is shown of the store.
const SHOWN: &[&Metric] = &[
    QUEUE_DEPTH,
    QUEUE_AGE,
    ASKS_OPEN,
    ASKS_AGE,
    OUTBOX_DEPTH,
    OUTBOX_AGE,
    RUNS_ENDED,
    TOKENS,
    COST,
    COST_TODAY,
    BUDGET,
    PROJECT_RUNNERS,
];

/// What is counted where it happens. Cheap to clone; the default counts nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Numbers {
    took: Durations,
    records: Counter,
    posts: Counter,
    limited: Counter,
    limited_time: Seconds,
}

impl Numbers {
    /// Counts into these metrics.
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let numbers = Self {
            took: metrics.durations(RUN_DURATION),
            records: metrics.counter(RECORDS),
            posts: metrics.counter(POSTS),
            limited: metrics.counter(DISCORD_LIMITED),
            limited_time: metrics.seconds(DISCORD_LIMITED_TIME),
        };
        // So that the first of each is an increase.
        for outcome in ["again", "done", "limited", "locked", "parked", "refused"] {
            numbers.posts.add(0, &[(OUTCOME, outcome)]);
        }
        for scope in ["channel", "global"] {
            numbers.limited.add(0, &[(SCOPE, scope)]);
            numbers.limited_time.add(Duration::ZERO, &[(SCOPE, scope)]);
        }
        numbers
    }

    /// A run has its outcome, so long after its release.
    pub(crate) fn ended(&self, project: &ProjectName, outcome: &Outcome, took: Duration) {
        let outcome = tally::outcome_name(outcome);
        self.took.took(took, &[(PROJECT, project.as_str()), (OUTCOME, outcome)]);
    }

    /// A record came, and did this; `None`: it could not be folded.
    pub(crate) fn record(&self, folded: Option<Folded>) {
        let outcome = match folded {
            Some(Folded::Moved) => "moved",
            Some(Folded::Stale) => "stale",
            Some(Folded::Unknown) => "unknown",
            None => "failed",
        };
        self.records.add(1, &[(OUTCOME, outcome)]);
    }

    /// A row was tried, and this became of it.
    pub(crate) fn posted(&self, outcome: &'static str) {
        self.posts.add(1, &[(OUTCOME, outcome)]);
    }

    /// Discord wants no request of that kind for so long.
    pub(crate) fn limited(&self, scope: &'static str, wait: Duration) {
        self.limited.add(1, &[(SCOPE, scope)]);
        self.limited_time.add(wait, &[(SCOPE, scope)]);
    }
}

/// What counting the store needs.
pub(crate) struct Counting {
    store: Store,
    config: Current<Config>,
    board: Board,
}

impl Counting {
    /// Counts this store into these metrics.
    pub(crate) fn new(metrics: &Metrics, store: Store, config: Current<Config>) -> Self {
        Self { store, config, board: metrics.board(SHOWN) }
    }

    async fn look(&self) -> Result<Vec<Sample>, StoreError> {
        let now = now_ms();
        let census = self.store.census(day_began(now)).await?;
        let sights = self.store.sights().await?;
        Ok(samples(&census, &self.config.now().routes, &sights, now))
    }
}

/// Counts again and again, until `stop`.
pub(crate) async fn run(counting: Counting, stop: CancellationToken) {
    let mut seen = Instant::now();
    loop {
        let looking = tokio::time::timeout(FRESH, counting.look());
        let Some(looked) = stop.run_until_cancelled(looking).await else { return };
        match looked {
            Ok(Ok(samples)) => {
                counting.board.show(samples);
                seen = Instant::now();
            }
            Ok(Err(error)) => tracing::debug!(error = ?error, "the store was not counted"),
            Err(_) => tracing::debug!("the store was not counted in time"),
        }
        if FRESH <= seen.elapsed() {
            counting.board.clear();
        }
        if stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_none() {
            return;
        }
    }
}

/// What is shown. Each project of the configuration shows all that it can have, be it 0: what is
/// missing would be nothing to an alert. What the store has of other projects is shown beside it.
fn samples(census: &[Counted], routes: &Routes, sights: &[Sight], now_ms: i64) -> Vec<Sample> {
    let mut shown = Vec::new();
    let names: Vec<&str> = routes.projects().iter().map(|it| it.name.as_str()).collect();
    let of = |what: What, states: &[&'static str]| {
        let usual = names.iter().flat_map(|name| states.iter().map(move |state| (*name, *state)));
        let mut all: BTreeMap<(&str, &str), (i64, Option<i64>)> =
            usual.map(|place| (place, (0, None))).collect();
        for it in census.iter().filter(|it| it.what == what) {
            all.insert((&it.project, &it.which), (it.count, it.since_ms));
        }
        all
    };
    for (what, states, depth, age) in [
        (What::Runs, &RUN_STATES, QUEUE_DEPTH, QUEUE_AGE),
        (What::Rows, &ROW_STATES, OUTBOX_DEPTH, OUTBOX_AGE),
    ] {
        for ((project, state), (count, since_ms)) in of(what, states) {
            let labels = [(PROJECT, project), (STATE, state)];
            shown.push(Sample::count(depth, &labels, count));
            shown.push(Sample::millis(age, &labels, since_ms.map_or(0, |since| now_ms - since)));
        }
    }
    for ((project, _), (count, since_ms)) in of(What::Asks, &[""]) {
        let labels = [(PROJECT, project)];
        shown.push(Sample::count(ASKS_OPEN, &labels, count));
        shown.push(Sample::millis(ASKS_AGE, &labels, since_ms.map_or(0, |since| now_ms - since)));
    }
    for ((project, _), (micro, _)) in of(What::Spent, &[""]) {
        shown.push(Sample::micro(COST_TODAY, &[(PROJECT, project)], micro));
    }
    let tallies = of(What::Tally, &TALLIES);
    shown.extend(tallies.into_iter().filter_map(|(place, (n, _))| counted(place, n)));
    shown.extend(of_projects(routes, sights, now_ms));
    shown
}

/// A number that is counted for good.
fn counted((project, what): (&str, &str), n: i64) -> Option<Sample> {
    if let Some(outcome) = what.strip_prefix(tally::OUTCOME) {
        let labels = [(PROJECT, project), (OUTCOME, outcome)];
        return Some(Sample::count(RUNS_ENDED, &labels, n));
    }
    if let Some(kind) = what.strip_prefix(tally::TOKENS) {
        return Some(Sample::count(TOKENS, &[(PROJECT, project), (TOKEN_TYPE, kind)], n));
    }
    (what == tally::COST).then(|| Sample::micro(COST, &[(PROJECT, project)], n))
}

/// What depends on the configuration: budgets, and who is there for whom.
fn of_projects(routes: &Routes, sights: &[Sight], now_ms: i64) -> Vec<Sample> {
    let mut shown = Vec::new();
    for project in routes.projects() {
        let labels = [(PROJECT, project.name.as_str())];
        let is_free = |sight: &&Sight| sight.is_free_for(&project.name, &project.terms, now_ms);
        let there = sights.iter().filter(is_free).count();
        let there = i64::try_from(there).unwrap_or(i64::MAX);
        shown.push(Sample::count(PROJECT_RUNNERS, &labels, there));
        shown.extend(project.limits.own.day.map(|micro| Sample::micro(BUDGET, &labels, micro)));
    }
    // It is the same in each of them.
    let all = routes.projects().iter().find_map(|project| project.limits.all.day);
    shown.extend(all.map(|micro| Sample::micro(BUDGET, &[(PROJECT, ALL_PROJECTS)], micro)));
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{Budget, Limits};
    use crate::placement::USUAL;
    use crate::routes::{Allow, Asking, Project};
    use schemas::presence::Presence;

    fn project(name: &str, day: Option<i64>) -> Project {
        Project {
            name: name.parse().unwrap(),
            channels: Vec::new(),
            allow: Allow::Everyone,
            terms: USUAL.clone(),
            asking: Asking::default(),
            files: crate::attached::Terms::default(),
            limits: Limits { own: Budget { day, ..Budget::default() }, ..Limits::default() },
        }
    }

    fn counted_as(
        what: What,
        project: &str,
        which: &str,
        count: i64,
        since: Option<i64>,
    ) -> Counted {
        Counted { what, project: project.into(), which: which.into(), count, since_ms: since }
    }

    fn shown(census: &[Counted], sights: &[Sight], now_ms: i64) -> Vec<String> {
        let routes = Routes::new(vec![project("api", Some(2_500_000))]);
        let all = samples(census, &routes, sights, now_ms);
        all.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_project_in_which_nothing_happened_shows_all_it_can_have() {
        let shown = shown(&[], &[], 5);
        for line in [
            r#"holdfast_queue_depth{project="api",state="released"} 0"#,
            r#"holdfast_queue_age_seconds{project="api",state="held"} 0"#,
            r#"holdfast_outbox_depth{project="api",state="parked"} 0"#,
            r#"holdfast_outbox_age_seconds{project="api",state="due"} 0"#,
            r#"holdfast_asks_open{project="api"} 0"#,
            r#"holdfast_runs_ended_total{project="api",outcome="failed"} 0"#,
            r#"holdfast_tokens_total{project="api",gen_ai.token.type="input"} 0"#,
            r#"holdfast_cost_usd_total{project="api"} 0"#,
            r#"holdfast_cost_today_usd{project="api"} 0"#,
            r#"holdfast_budget_day_usd{project="api"} 2.5"#,
            r#"holdfast_project_runners{project="api"} 0"#,
        ] {
            assert!(shown.iter().any(|it| it == line), "{line} is not in {shown:#?}");
        }
        let mut once = shown.clone();
        once.dedup();
        assert_eq!(shown, once, "each is told once");
    }

    #[test]
    fn what_the_store_holds_is_shown_with_its_age_also_of_a_project_that_is_gone() {
        let census = [
            counted_as(What::Runs, "api", "released", 3, Some(1_000)),
            counted_as(What::Runs, "old", "held", 1, Some(500)),
            counted_as(What::Rows, "api", "due", 4, Some(9_000)),
            counted_as(What::Asks, "api", "", 2, Some(2_000)),
            counted_as(What::Spent, "api", "", 250_000, None),
            counted_as(What::Tally, "api", "outcome/answered", 7, None),
            counted_as(What::Tally, "api", "tokens/output", 900, None),
            counted_as(What::Tally, "api", "cost", 1_250_000, None),
            counted_as(What::Tally, "api", "of a later version", 1, None),
        ];
        let shown = shown(&census, &[], 11_000);
        for line in [
            r#"holdfast_queue_depth{project="api",state="released"} 3"#,
            r#"holdfast_queue_age_seconds{project="api",state="released"} 10"#,
            r#"holdfast_queue_depth{project="old",state="held"} 1"#,
            r#"holdfast_outbox_age_seconds{project="api",state="due"} 2"#,
            r#"holdfast_asks_age_seconds{project="api"} 9"#,
            r#"holdfast_cost_today_usd{project="api"} 0.25"#,
            r#"holdfast_runs_ended_total{project="api",outcome="answered"} 7"#,
            r#"holdfast_runs_ended_total{project="api",outcome="stopped"} 0"#,
            r#"holdfast_tokens_total{project="api",gen_ai.token.type="output"} 900"#,
            r#"holdfast_cost_usd_total{project="api"} 1.25"#,
        ] {
            assert!(shown.iter().any(|it| it == line), "{line} is not in {shown:#?}");
        }
        let answered = shown.iter().filter(|it| it.contains("answered"));
        assert_eq!(answered.count(), 1, "{shown:#?}");
    }

    #[test]
    fn a_runner_that_is_there_and_takes_work_of_the_project_counts() {
        let text = include_bytes!("../../schemas/golden/presence-1.json");
        let presence: Presence = schemas::from_json(text).unwrap();
        let mine = Presence {
            projects: vec!["api".parse().unwrap()],
            shared: Vec::new(),
            draining: false,
            ..presence
        };
        let (now, hour) = (100_000_000, 3_600_000);
        let sights = [
            Sight { presence: mine.clone(), seen_ms: now },
            Sight { presence: mine.clone(), seen_ms: now - hour },
            Sight { presence: Presence { draining: true, ..mine.clone() }, seen_ms: now },
            Sight { presence: Presence { projects: Vec::new(), ..mine }, seen_ms: now },
        ];
        let shown = shown(&[], &sights, now);
        assert!(shown.contains(&r#"holdfast_project_runners{project="api"} 1"#.to_owned()));
    }
}
