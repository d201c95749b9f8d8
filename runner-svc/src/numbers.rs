//! What the runner counts: events where they happen, and every few seconds what it has on its hands.
//!
//! What is pure: what a delivery and its record are among what is counted ([`delivered`]), what an
//! outcome adds ([`Told`]), and what is shown of what was found ([`samples`]). All of it is this
//! process's own and begins at nothing with it; what must be right over restarts is counted by the
//! gateway, in its store.
//!
//! It never shows an id of a run, a thread or a person.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use platform::metrics::{Board, Counter, Durations, Metrics, Sample};
use platform::reload::Current;
use schemas::ids::{ProjectName, StateId};
use schemas::names::metrics::{
    Metric, OUTCOME, PROJECT, RUNNER_ADOPTIONS, RUNNER_DISK_FREE, RUNNER_DRAINING,
    RUNNER_REDELIVERIES, RUNNER_RESTARTS, RUNNER_RUN_DURATION, RUNNER_RUNS, RUNNER_RUNS_ENDED,
    RUNNER_SLOTS, RUNNER_SPOOL_SIZE, RUNNER_SPOOLS, RUNNER_TAKEOVERS, RUNNER_TOKENS,
    RUNNER_WATCHED, STATE, TOKEN_TYPE,
};
use schemas::record::{Outcome, Record, State};
use schemas::request::Request;

use crate::claims::Claim;
use crate::draining;
use crate::held::Held;
use crate::host::Host;

/// How often it is looked what there is: more often than anybody scrapes.
const EVERY: Duration = Duration::from_secs(5);
/// The most files that are looked at for what the spools take. A spool has some twenty; where there are
/// more in all, the size is that of so many.
const FILES_MAX: usize = 10_000;
/// How deep a spool is: its folder, and folders in it.
const DEPTH_MAX: usize = 3;

/// What is shown of what there is.
const SHOWN: &[&Metric] = &[
    RUNNER_SLOTS,
    RUNNER_RUNS,
    RUNNER_WATCHED,
    RUNNER_DRAINING,
    RUNNER_SPOOLS,
    RUNNER_SPOOL_SIZE,
    RUNNER_DISK_FREE,
];

/// What is counted where it happens. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Numbers {
    ended: Counter,
    took: Durations,
    tokens: Counter,
    adoptions: Counter,
    takeovers: Counter,
    redeliveries: Counter,
    restarts: Counter,
    board: Board,
}

/// What a delivery is among what is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Delivered {
    /// The work was known already.
    pub(crate) again: bool,
    /// What another holds is taken from it.
    pub(crate) taken_over: bool,
}

/// What a delivery and the record that was read for it are. `watched`: it was kept until it was ripe,
/// and counted when it came.
pub(crate) fn delivered(
    request: &Request,
    record: Option<&Record>,
    claim: Claim,
    me: StateId,
    watched: bool,
) -> Delivered {
    let Some(record) = record.filter(|record| record.generation == request.generation) else {
        return Delivered::default();
    };
    let takes = match claim {
        Claim::Take(_) => true,
        Claim::GiveUp(_) | Claim::Carry | Claim::Done | Claim::Ours | Claim::Anothers => false,
    };
    let is_anothers = record.state_id != me && record.outcome().is_none();
    Delivered { again: !watched, taken_over: takes && is_anothers }
}

/// What an outcome adds.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    outcome: &'static str,
    /// From claude's first start on; `None`: there was no claude.
    took: Option<Duration>,
    /// Read and written.
    tokens: Option<(u64, u64)>,
}

impl Told {
    /// What the record `after` adds, which follows `before`; `None`: it has no outcome. `since_ms` is
    /// when its first claude was started.
    fn of(before: &State, after: &Record, since_ms: i64, now_ms: i64) -> Option<Self> {
        let outcome = match after.outcome()? {
            Outcome::Answered { .. } => "answered",
            Outcome::Failed { .. } => "failed",
            Outcome::Stopped { .. } => "stopped",
        };
        let ran = match before {
            State::Running => true,
            State::Claimed | State::Ended { .. } => false,
        };
        let millis = u64::try_from(now_ms - since_ms).unwrap_or_default();
        let usage = after.usage().filter(|_| ran);
        Some(Self {
            outcome,
            took: ran.then_some(Duration::from_millis(millis)),
            tokens: usage.map(|usage| (usage.input_tokens, usage.output_tokens)),
        })
    }
}

impl Numbers {
    /// Counts into these metrics.
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self {
            ended: metrics.counter(RUNNER_RUNS_ENDED),
            took: metrics.durations(RUNNER_RUN_DURATION),
            tokens: metrics.counter(RUNNER_TOKENS),
            adoptions: metrics.counter(RUNNER_ADOPTIONS),
            takeovers: metrics.counter(RUNNER_TAKEOVERS),
            redeliveries: metrics.counter(RUNNER_REDELIVERIES),
            restarts: metrics.counter(RUNNER_RESTARTS),
            board: metrics.board(SHOWN),
        }
    }

    /// Shows all counters of a project, so that the first event of each is an increase.
    pub(crate) fn begin(&self, project: &ProjectName) {
        let labels = [(PROJECT, project.as_str())];
        for counter in [&self.adoptions, &self.takeovers, &self.redeliveries, &self.restarts] {
            counter.add(0, &labels);
        }
        for outcome in ["answered", "failed", "stopped"] {
            self.ended.add(0, &[(PROJECT, project.as_str()), (OUTCOME, outcome)]);
        }
    }

    /// An outcome of what is held was told.
    pub(crate) fn told(&self, held: &Held, record: &Record, now_ms: i64) {
        if let Some(told) = Told::of(&held.record.state, record, held.since_ms, now_ms) {
            self.add(&held.request.project, &told);
        }
    }

    fn add(&self, project: &ProjectName, told: &Told) {
        let (project, outcome) = ((PROJECT, project.as_str()), (OUTCOME, told.outcome));
        self.ended.add(1, &[project, outcome]);
        if let Some(took) = told.took {
            self.took.took(took, &[project, outcome]);
        }
        if let Some((input, output)) = told.tokens {
            self.tokens.add(input, &[project, (TOKEN_TYPE, "input")]);
            self.tokens.add(output, &[project, (TOKEN_TYPE, "output")]);
        }
    }

    /// Work came that was known already.
    pub(crate) fn redelivered(&self, project: &ProjectName) {
        self.redeliveries.add(1, &[(PROJECT, project.as_str())]);
    }

    /// A run is this runner's now, which another had held or not.
    pub(crate) fn claimed(&self, project: &ProjectName, is_taken_over: bool) {
        self.takeovers.add(u64::from(is_taken_over), &[(PROJECT, project.as_str())]);
    }

    /// It goes on with what was left here.
    pub(crate) fn adopted(&self, project: &ProjectName) {
        self.adoptions.add(1, &[(PROJECT, project.as_str())]);
    }

    /// claude is started again.
    pub(crate) fn restarted(&self, project: &ProjectName) {
        self.restarts.add(1, &[(PROJECT, project.as_str())]);
    }
}

/// What a runner has on its hands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Found {
    slots: usize,
    runs: usize,
    waiting: usize,
    watched: usize,
    is_draining: bool,
    disk: Disk,
}

/// What is on its disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Disk {
    spools: u64,
    bytes: u64,
    free: Option<u64>,
}

/// Looks again and again, until the runner is to end.
pub(crate) async fn run(current: Current<Host>) -> anyhow::Result<()> {
    loop {
        let host = current.now();
        host.config.projects.keys().for_each(|project| host.numbers.begin(project));
        let (spools, state_dir) = (host.spools.clone(), host.config.state_dir.clone());
        let looking = tokio::task::spawn_blocking(move || look(&spools, &state_dir));
        let Ok(disk) = looking.await else { return Ok(()) };
        let max_waiting = usize::from(host.config.max_waiting_runs);
        let found = Found {
            slots: usize::from(host.config.slots),
            runs: host.live.count(),
            waiting: max_waiting.saturating_sub(host.patience.available_permits()),
            watched: host.candidates.count(),
            is_draining: draining::is_on(&host.config.state_dir),
            disk,
        };
        host.numbers.board.show(samples(&found));
        if host.stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_none() {
            return Ok(());
        }
    }
}

/// What is shown.
fn samples(found: &Found) -> Vec<Sample> {
    let Found { slots, runs, waiting, watched, is_draining, disk } = *found;
    let things =
        |metric, count: usize| Sample::count(metric, &[], i64::try_from(count).unwrap_or(i64::MAX));
    let bytes =
        |metric, count: u64| Sample::count(metric, &[], i64::try_from(count).unwrap_or(i64::MAX));
    let runs_of = |state, count: usize| {
        Sample::count(RUNNER_RUNS, &[(STATE, state)], i64::try_from(count).unwrap_or(i64::MAX))
    };
    let shown = [
        things(RUNNER_SLOTS, slots),
        runs_of("working", runs.saturating_sub(waiting)),
        runs_of("waiting", waiting),
        things(RUNNER_WATCHED, watched),
        things(RUNNER_DRAINING, usize::from(is_draining)),
        bytes(RUNNER_SPOOLS, disk.spools),
        bytes(RUNNER_SPOOL_SIZE, disk.bytes),
    ];
    shown.into_iter().chain(disk.free.map(|free| bytes(RUNNER_DISK_FREE, free))).collect()
}

/// Looks at the disk, as far as it can be looked at.
fn look(spools: &Path, state_dir: &Path) -> Disk {
    let free = rustix::fs::statvfs(state_dir).ok();
    let free = free.map(|stat| stat.f_bavail.saturating_mul(stat.f_frsize));
    let mut disk = Disk { free, ..Disk::default() };
    let mut folders = vec![(spools.to_owned(), 0)];
    let mut files = 0;
    while let Some((folder, depth)) = folders.pop() {
        for (path, bytes) in entries(&folder) {
            files += 1;
            if FILES_MAX <= files {
                return disk;
            }
            if let Some(bytes) = bytes {
                disk.bytes += bytes;
                continue;
            }
            disk.spools += u64::from(depth == 0);
            if depth < DEPTH_MAX {
                folders.push((path, depth + 1));
            }
        }
    }
    disk
}

/// What is in a folder: each with its size, or none for a folder. What goes meanwhile is not there.
fn entries(folder: &Path) -> Vec<(PathBuf, Option<u64>)> {
    let Ok(all) = fs::read_dir(folder) else { return Vec::new() };
    let one = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.ok()?;
        let about = entry.metadata().ok()?;
        Some((entry.path(), (!about.is_dir()).then_some(about.len())))
    };
    all.filter_map(one).take(FILES_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claims::Toll;
    use schemas::ids::Generation;

    fn request() -> Request {
        let text = include_bytes!("../../schemas/golden/request-1.json");
        schemas::from_json(text).unwrap()
    }

    fn record(state_id: StateId, state: State) -> Record {
        let text = include_bytes!("../../schemas/golden/record-1-answered.json");
        let record: Record = schemas::from_json(text).unwrap();
        Record { generation: request().generation, state_id, state, ..record }
    }

    fn of(record: Option<&Record>, claim: Claim, me: StateId, watched: bool) -> (bool, bool) {
        let it = delivered(&request(), record, claim, me, watched);
        (it.again, it.taken_over)
    }

    #[test]
    fn work_that_comes_first_is_neither_a_redelivery_nor_a_take_over() {
        let me = StateId::random();
        let take = Claim::Take(Toll::FIRST);
        assert_eq!(of(None, take, me, false), (false, false));
        let older = Record { generation: Generation(0), ..record(me, State::Claimed) };
        assert_eq!(of(Some(&older), take, me, false), (false, false), "a Retry is new work");
    }

    #[test]
    fn what_another_held_and_is_claimed_is_a_take_over_and_its_delivery_counted_once() {
        let (me, other) = (StateId::random(), StateId::random());
        let take = Claim::Take(Toll::FIRST);
        let theirs = record(other, State::Running);
        assert_eq!(of(Some(&theirs), Claim::Anothers, me, false), (true, false));
        assert_eq!(of(Some(&theirs), take, me, true), (false, true));
        assert_eq!(of(Some(&record(me, State::Running)), take, me, false), (true, false));
    }

    #[test]
    fn an_outcome_without_a_claude_took_no_time_and_no_tokens() {
        let ended = record(StateId::random(), State::Claimed);
        assert_eq!(Told::of(&State::Running, &ended, 0, 9), None);
        let text = include_bytes!("../../schemas/golden/record-1-answered.json");
        let ended: Record = schemas::from_json(text).unwrap();
        let usage = ended.usage().unwrap().clone();
        let told = Told::of(&State::Running, &ended, 2_000, 5_000).unwrap();
        assert_eq!((told.outcome, told.took), ("answered", Some(Duration::from_secs(3))));
        assert_eq!(told.tokens, Some((usage.input_tokens, usage.output_tokens)));
        let carried = Told::of(&State::Claimed, &ended, 2_000, 5_000).unwrap();
        assert_eq!((carried.took, carried.tokens), (None, None));
    }

    #[test]
    fn a_run_that_waits_for_a_person_is_not_at_work() {
        let found = Found { slots: 4, runs: 3, waiting: 1, ..Found::default() };
        let shown: Vec<String> = samples(&found).iter().map(ToString::to_string).collect();
        for line in [
            "holdfast_runner_slots{} 4",
            r#"holdfast_runner_runs{state="working"} 2"#,
            r#"holdfast_runner_runs{state="waiting"} 1"#,
            "holdfast_runner_draining{} 0",
        ] {
            assert!(shown.iter().any(|it| it == line), "{line} is not in {shown:#?}");
        }
        assert!(!shown.iter().any(|it| it.contains("disk_free")), "nothing is known of the disk");
    }

    #[test]
    fn what_the_spools_take_is_summed_over_their_files() {
        let folder = tempfile::tempdir().unwrap();
        let spools = folder.path().join("spools");
        fs::create_dir_all(spools.join("a/in")).unwrap();
        fs::create_dir_all(spools.join("b")).unwrap();
        fs::write(spools.join("a/journal"), [0; 300]).unwrap();
        fs::write(spools.join("a/in/1"), [0; 20]).unwrap();
        fs::write(spools.join("b/journal"), [0; 1]).unwrap();
        let disk = look(&spools, folder.path());
        assert_eq!((disk.spools, disk.bytes), (2, 321));
        assert!(disk.free.is_some());
        assert_eq!(look(&folder.path().join("none"), folder.path()).spools, 0);
    }
}
