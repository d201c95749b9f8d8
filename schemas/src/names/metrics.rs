//! Every metric: its name, kind, unit and labels, what it says, and who tells it.
//!
//! Names are OpenTelemetry's, with dots; on `/metrics` they stand as Prometheus has them
//! ([`Metric::prometheus`]). A label is a project, an outcome, a state or a part of a service: a few
//! values that the configuration or this code bounds. None is ever an id of a run, a thread or a
//! person, or anything that people wrote.
//!
//! `docs/observe.md` has a row for each of [`ALL`], which a test compares.

/// How a metric is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, until its source begins anew.
    Counter,
    /// What is so now.
    Gauge,
    /// How often it was how much, in buckets.
    Histogram,
}

/// Who tells a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Teller {
    /// Each gateway for itself, from its start on.
    Gateway,
    /// Each gateway, out of the store: all gateways of a store tell the same, also after a restart.
    Store,
    /// Each runner for itself, from its start on.
    Runner,
    /// Each gateway and each runner for itself, from its start on.
    Both,
}

/// A metric.
#[derive(Debug, PartialEq, Eq)]
pub struct Metric {
    /// OpenTelemetry's name.
    pub name: &'static str,
    /// How it is counted.
    pub kind: Kind,
    /// The unit (UCUM); a word in braces counts things.
    pub unit: &'static str,
    /// The labels, all of which each value has.
    pub labels: &'static [&'static str],
    /// Who tells it.
    pub teller: Teller,
    /// What it says.
    pub says: &'static str,
}

impl Metric {
    /// Its name on `/metrics`: dots become underscores, the unit and a counter's `_total` are added
    /// (OpenTelemetry, "Prometheus Compatibility").
    pub fn prometheus(&self) -> String {
        let name = self.name.replace('.', "_");
        let unit = match self.unit {
            "s" => "_seconds",
            "By" => "_bytes",
            _ => "",
        };
        let total = match self.kind {
            Kind::Counter => "_total",
            Kind::Gauge | Kind::Histogram => "",
        };
        format!("{name}{unit}{total}")
    }
}

/// A label: the project.
pub const PROJECT: &str = "project";
/// A label: what became of it.
pub const OUTCOME: &str = "outcome";
/// A label: where it stands.
pub const STATE: &str = "state";
/// A label: a part of a service, as `/readyz` names it.
pub const PART: &str = "part";
/// A label: what a limit is about.
pub const SCOPE: &str = "scope";
/// A label: tokens read or written (semantic conventions of generative AI).
pub const TOKEN_TYPE: &str = "gen_ai.token.type";
/// A label: the program.
pub const SERVICE: &str = "service";
/// A label: its version.
pub const VERSION: &str = "version";
/// A label: the runner's name, empty for a gateway.
pub const RUNNER: &str = "runner";

/// The upper bounds of the buckets of a run's duration, in seconds: from what answers at once to what
/// takes a working day.
pub const DURATIONS: &[f64] = &[
    1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0,
    14_400.0, 28_800.0,
];

macro_rules! metrics {
    ($($id:ident = $teller:ident $kind:ident $name:literal [$unit:literal] ($($label:expr),*) $says:literal;)*) => {
        $(
            #[doc = $says]
            pub const $id: &Metric = &Metric {
                name: $name,
                kind: Kind::$kind,
                unit: $unit,
                labels: &[$($label),*],
                teller: Teller::$teller,
                says: $says,
            };
        )*
        /// Every metric there is.
        pub const ALL: &[&Metric] = &[$($id),*];
    };
}

metrics! {
    QUEUE_DEPTH = Store Gauge "holdfast.queue.depth" ["{run}"] (PROJECT, STATE)
        "Runs without outcome: `queued` (behind another of their thread), `released` (no runner has them yet), `held` (a runner is at them).";
    QUEUE_AGE = Store Gauge "holdfast.queue.age" ["s"] (PROJECT, STATE)
        "For how long the oldest of them has been so: `queued` since it was asked, `released` and `held` since it was released. 0: there is none.";
    ASKS_OPEN = Store Gauge "holdfast.asks.open" ["{ask}"] (PROJECT)
        "What claude asks and nobody has decided.";
    ASKS_AGE = Store Gauge "holdfast.asks.age" ["s"] (PROJECT)
        "For how long the oldest of them has waited for a person. 0: there is none.";
    OUTBOX_DEPTH = Store Gauge "holdfast.outbox.depth" ["{row}"] (PROJECT, STATE)
        "What Discord is owed: `due`, `later` (put aside until Discord takes it), `parked` (the bot lacks a right there, and what waits behind that).";
    OUTBOX_AGE = Store Gauge "holdfast.outbox.age" ["s"] (PROJECT, STATE)
        "For how long the oldest of it has been owed. 0: there is none.";
    RUNS_ENDED = Store Counter "holdfast.runs.ended" ["{run}"] (PROJECT, OUTCOME)
        "Outcomes: `answered`, `failed`, `stopped`, `dropped` (before it began). A run that is tried again has one more.";
    TOKENS = Store Counter "holdfast.tokens" ["{token}"] (PROJECT, TOKEN_TYPE)
        "Tokens of ended runs: `input` (without those from the cache), `output`.";
    COST = Store Counter "holdfast.cost.usd" ["{USD}"] (PROJECT)
        "What ended runs cost, in US dollars, as claude says.";
    COST_TODAY = Store Gauge "holdfast.cost.today.usd" ["{USD}"] (PROJECT)
        "What was spent since the day began (UTC), in US dollars.";
    BUDGET = Gateway Gauge "holdfast.budget.day.usd" ["{USD}"] (PROJECT)
        "What may be spent in a day, in US dollars, where the configuration sets that.";
    PROJECT_RUNNERS = Store Gauge "holdfast.project.runners" ["{runner}"] (PROJECT)
        "Runners that show themselves and take work of the project.";
    RUN_DURATION = Gateway Histogram "holdfast.run.duration" ["s"] (PROJECT, OUTCOME)
        "From a run's release to its outcome, as the gateway that noted it saw it.";
    RECORDS = Gateway Counter "holdfast.records" ["{record}"] (OUTCOME)
        "Records of runners: `moved` (a run went on), `stale` (it was known), `unknown` (no such run), `failed` (to be read again).";
    POSTS = Gateway Counter "holdfast.posts" ["{try}"] (OUTCOME)
        "Tries to do a row of the outbox: `done`, `again` (it failed and is tried again), `limited` (Discord wants fewer requests), `parked` (a right is missing), `refused` (it will never be taken), `locked` (Discord lets the bot in no more).";
    DISCORD_LIMITED = Gateway Counter "holdfast.discord.limited" ["{wait}"] (SCOPE)
        "Waits that Discord's limits made necessary, after a 429 or before one would have come: `channel`, `name` (of a channel), `global`, `other`.";
    DISCORD_LIMITED_TIME = Gateway Counter "holdfast.discord.limited.time" ["s"] (SCOPE)
        "For how long Discord wanted no request, altogether.";
    RUNNER_SLOTS = Runner Gauge "holdfast.runner.slots" ["{slot}"] ()
        "Runs that may be at work at once.";
    RUNNER_RUNS = Runner Gauge "holdfast.runner.runs" ["{run}"] (STATE)
        "Runs of this runner: `working` (each in a slot, or in line for one), `waiting` (for a person, without a slot).";
    RUNNER_WATCHED = Runner Gauge "holdfast.runner.watched" ["{run}"] ()
        "Runs of shared projects that another holds and this runner may take over.";
    RUNNER_DRAINING = Runner Gauge "holdfast.runner.draining" ["{runner}"] ()
        "1: it takes no new work.";
    RUNNER_SPOOLS = Runner Gauge "holdfast.runner.spools" ["{spool}"] ()
        "Spools on disk: one for each claude, until its outcome is told.";
    RUNNER_SPOOL_SIZE = Runner Gauge "holdfast.runner.spool.size" ["By"] ()
        "What the spools take.";
    RUNNER_DISK_FREE = Runner Gauge "holdfast.runner.disk.free" ["By"] ()
        "What is free where the state directory lies.";
    RUNNER_RUNS_ENDED = Runner Counter "holdfast.runner.runs.ended" ["{run}"] (PROJECT, OUTCOME)
        "Outcomes that this runner told: `answered`, `failed`, `stopped`.";
    RUNNER_RUN_DURATION = Runner Histogram "holdfast.runner.run.duration" ["s"] (PROJECT, OUTCOME)
        "From the start of a run's first claude to its outcome, over all its attempts.";
    RUNNER_TOKENS = Runner Counter "holdfast.runner.tokens" ["{token}"] (PROJECT, TOKEN_TYPE)
        "Tokens of these runs: `input` (without those from the cache), `output`.";
    RUNNER_ADOPTIONS = Runner Counter "holdfast.runner.adoptions" ["{run}"] (PROJECT)
        "Runs that it went on with from their spools: after a restart, or after trouble with the disk.";
    RUNNER_TAKEOVERS = Runner Counter "holdfast.runner.takeovers" ["{run}"] (PROJECT)
        "Runs that another runner had held, and that this one took over.";
    RUNNER_REDELIVERIES = Runner Counter "holdfast.runner.redeliveries" ["{delivery}"] (PROJECT)
        "Deliveries of work that was known already: it is at work here, held elsewhere, or over.";
    RUNNER_RESTARTS = Runner Counter "holdfast.runner.restarts" ["{claude}"] (PROJECT)
        "Claudes that were started again after one had ended without a result.";
    READY = Both Gauge "holdfast.ready" ["{part}"] (PART)
        "1: this part of the service can do its work; 0: `/readyz` says why not.";
    FINDINGS = Both Gauge "holdfast.findings" ["{finding}"] ()
        "What `doctor` would find wrong; `/readyz` says what.";
    NATS_CONNECTS = Both Counter "holdfast.nats.connects" ["{connection}"] ()
        "Connections that were made to NATS, the first one included.";
    NATS_DISCONNECTS = Both Counter "holdfast.nats.disconnects" ["{connection}"] ()
        "Connections to NATS that were lost.";
    NATS_ERRORS = Both Counter "holdfast.nats.errors" ["{error}"] ()
        "What nats-server refused, and what the client could not do.";
    BUILD = Both Gauge "holdfast.build.info" ["{service}"] (SERVICE, VERSION, RUNNER)
        "1, with what runs here.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_on_the_page_has_its_unit_and_says_that_it_counts() {
        let name = |metric: &Metric| metric.prometheus();
        assert_eq!(name(QUEUE_AGE), "holdfast_queue_age_seconds");
        assert_eq!(name(RUNS_ENDED), "holdfast_runs_ended_total");
        assert_eq!(name(DISCORD_LIMITED_TIME), "holdfast_discord_limited_time_seconds_total");
        assert_eq!(name(RUNNER_DISK_FREE), "holdfast_runner_disk_free_bytes");
    }

    #[test]
    fn names_are_different_and_well_formed() {
        let mut names: Vec<&str> = ALL.iter().map(|metric| metric.name).collect();
        for name in &names {
            assert!(name.starts_with("holdfast."), "{name}");
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '.'), "{name}");
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
    }

    /// Prometheus keeps each value of each label for good.
    #[test]
    fn no_label_is_of_a_run_a_thread_or_a_person() {
        let known = [PROJECT, OUTCOME, STATE, PART, SCOPE, TOKEN_TYPE, SERVICE, VERSION, RUNNER];
        for metric in ALL {
            assert!(metric.labels.iter().all(|label| known.contains(label)), "{metric:?}");
        }
    }
}
