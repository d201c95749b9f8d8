//! What release promises, whatever happens in a thread, in any order.
//!
//! [`Thread`] is a thread as the store keeps it, in memory: after each thing that happens it
//! releases what is due, as every transaction of the store does, from as many rows as the store
//! would read.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::sample::Index;
use schemas::ids::MessageId;

use super::*;

/// How many rows are looked at: few, so that there often are more.
const LOOK: usize = 5;

/// Where a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// It waits, and was never released.
    New,
    /// It waits to be tried again.
    Again,
    Released,
    /// There is an outcome, and nothing that a person may decide about.
    Done,
    /// It failed, was stopped or was ended.
    Failed,
}

#[derive(Clone, Debug)]
struct Entry {
    ord: i64,
    agent: String,
    at: At,
}

/// What happens. An index picks among the runs that it can happen to; with none, it does not.
#[derive(Clone, Debug)]
enum Happens {
    Accept(u8),
    /// An outcome is folded: whether it failed, and to which agents the run hands over.
    Outcome(Index, bool, Vec<u8>),
    /// A person ends a run.
    End(Index),
    Drop(Index),
    Retry(Index),
    Gate(Gate),
}

struct Thread {
    runs: BTreeMap<RunId, Entry>,
    family: Option<RunId>,
    gate: Gate,
    /// Persons' runs in the order in which they were released first.
    begun: Vec<RunId>,
}

impl Thread {
    fn new() -> Self {
        Self { runs: BTreeMap::new(), family: None, gate: Gate::Open, begun: Vec::new() }
    }

    fn at(&self, wanted: &[At]) -> Vec<RunId> {
        let such = self.runs.iter().filter(|(_, entry)| wanted.contains(&entry.at));
        such.map(|(run, _)| run.clone()).collect()
    }

    fn pick(&self, index: Index, wanted: &[At]) -> Option<RunId> {
        let such = self.at(wanted);
        (!such.is_empty()).then(|| index.get(&such).clone())
    }

    fn set(&mut self, run: &RunId, at: At) {
        self.runs.get_mut(run).unwrap().at = at;
    }

    fn happens(&mut self, what: &Happens) {
        match what {
            Happens::Accept(message) => {
                let ord = i64::from(*message) + 1;
                let run = RunId::from(MessageId::new(u64::from(*message) + 1).unwrap());
                let agent = String::new();
                self.runs.entry(run).or_insert(Entry { ord, agent, at: At::New });
            }
            Happens::Outcome(index, failed, agents) => {
                let Some(run) = self.pick(*index, &[At::Released]) else { return };
                self.set(&run, if *failed { At::Failed } else { At::Done });
                let ord = self.runs[&run].ord;
                // Room in an id for a few of them in a row.
                if run.as_str().len() < 20 {
                    for (n, agent) in agents.iter().enumerate() {
                        let run: RunId = format!("h{}-{run}", n + 1).parse().unwrap();
                        let agent = format!("agent-{agent}");
                        self.runs.entry(run).or_insert(Entry { ord, agent, at: At::New });
                    }
                }
            }
            Happens::End(index) => {
                if let Some(run) = self.pick(*index, &[At::Released]) {
                    self.set(&run, At::Failed);
                }
            }
            Happens::Drop(index) => {
                if let Some(run) = self.pick(*index, &[At::New, At::Again]) {
                    self.set(&run, At::Done);
                }
            }
            Happens::Retry(index) => {
                if let Some(run) = self.pick(*index, &[At::Failed]) {
                    self.set(&run, At::Again);
                }
            }
            Happens::Gate(gate) => self.gate = *gate,
        }
        self.release();
    }

    /// As the store does it. Returns what was released.
    fn release(&mut self) -> Vec<RunId> {
        let root = self.family.clone();
        let mut open: Vec<Open> = self
            .runs
            .iter()
            .filter_map(|(run, entry)| {
                let state = match entry.at {
                    At::New | At::Again => Standing::Queued,
                    At::Released => Standing::Released,
                    At::Done | At::Failed => return None,
                };
                let Entry { ord, agent, .. } = entry.clone();
                Some(Open { run: run.clone(), ord, agent, state })
            })
            .collect();
        open.sort_by_key(|row| {
            let class = match row.state {
                Standing::Released => 0,
                Standing::Queued if Some(row.run.root()) == root => 1,
                Standing::Queued => 2,
            };
            (class, row.ord, row.run.clone())
        });
        open.truncate(LOOK);
        let Some(due) = due(self.gate, self.family.as_ref(), &open) else { return Vec::new() };
        assert_eq!(self.gate, Gate::Open, "released behind a closed gate");
        let released: Vec<RunId> = due.runs.iter().map(|row| row.run.clone()).collect();
        self.family = Some(due.family);
        for run in &released {
            self.begins(run);
            self.set(run, At::Released);
        }
        released
    }

    /// A person's run begins in its turn.
    fn begins(&mut self, run: &RunId) {
        if run.root() != *run || self.runs[run].at != At::New {
            return;
        }
        let ord = self.runs[run].ord;
        let earlier = |(other, entry): (&RunId, &Entry)| {
            other.root() == *other && matches!(entry.at, At::New | At::Again) && entry.ord < ord
        };
        assert!(!self.runs.iter().any(earlier), "{run} overtakes");
        self.begun.push(run.clone());
    }

    fn check(&self) {
        let families = |wanted: &[At], such: fn(&RunId) -> bool| {
            let runs = self.at(wanted).into_iter().filter(such);
            runs.map(|run| run.root()).collect::<BTreeSet<_>>()
        };
        // Stored and not released yet: a hand-off of a family that is open.
        let fresh = families(&[At::New], |run| run.root() != *run);
        let released = families(&[At::Released], |_| true);
        let open: BTreeSet<_> = released.union(&fresh).collect();
        assert!(open.len() <= 1, "open at once: {open:?}");
        let mut agents = BTreeSet::new();
        for run in self.at(&[At::Released]) {
            let agent = self.runs[&run].agent.clone();
            assert!(agents.insert(agent.clone()), "{agent:?} has two runs");
        }
        if self.gate == Gate::Open && !self.at(&[At::New, At::Again]).is_empty() {
            assert!(!agents.is_empty(), "something waits, for nothing");
        }
    }

    /// Everything that is released gets its outcome until nothing is left.
    fn run_out(&mut self) {
        self.happens(&Happens::Gate(Gate::Open));
        for _ in 0..=self.runs.len() {
            for run in self.at(&[At::Released]) {
                self.set(&run, At::Done);
            }
            self.release();
            self.check();
        }
        let left = self.at(&[At::New, At::Again, At::Released]);
        assert!(left.is_empty(), "never released: {left:?}");
    }
}

fn anything() -> impl Strategy<Value = Happens> {
    let index = any::<Index>;
    let agents = prop::collection::vec(0..3u8, 0..4);
    prop_oneof![
        4 => (0..12u8).prop_map(Happens::Accept),
        4 => (index(), any::<bool>(), agents).prop_map(|(i, f, a)| Happens::Outcome(i, f, a)),
        1 => index().prop_map(Happens::End),
        1 => index().prop_map(Happens::Drop),
        2 => index().prop_map(Happens::Retry),
        1 => prop_oneof![Just(Gate::Open), Just(Gate::Closed)].prop_map(Happens::Gate),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn whatever_happens_one_family_is_open_and_nothing_waits_for_ever(
        all in prop::collection::vec(anything(), 0..60),
    ) {
        let mut thread = Thread::new();
        for what in &all {
            thread.happens(what);
            thread.check();
        }
        thread.run_out();
    }
}

fn run(text: &str) -> RunId {
    text.parse().unwrap()
}

fn open(text: &str, ord: i64, agent: &str, state: Standing) -> Open {
    Open { run: run(text), ord, agent: agent.into(), state }
}

/// What is released among these, by name.
fn released(family: Option<&str>, rows: &[Open]) -> Vec<String> {
    let family = family.map(run);
    let due = due(Gate::Open, family.as_ref(), rows);
    due.map(|due| due.runs.iter().map(|row| row.run.to_string()).collect()).unwrap_or_default()
}

#[test]
fn hand_offs_to_different_agents_go_on_side_by_side() {
    use Standing::{Queued, Released};
    let rows = [
        open("h1-m7", 7, "a", Released),
        open("h2-m7", 7, "b", Queued),
        open("h3-m7", 7, "a", Queued),
        open("m8", 8, "", Queued),
    ];
    assert_eq!(released(Some("m7"), &rows), ["h2-m7"]);
}

#[test]
fn a_retry_of_an_old_run_waits_for_the_newer_one_that_is_released() {
    use Standing::{Queued, Released};
    let rows = [open("m7", 7, "", Queued), open("m8", 8, "", Released)];
    assert_eq!(released(Some("m8"), &rows), Vec::<String>::new());
    assert_eq!(released(Some("m8"), &rows[..1]), ["m7"]);
}

#[test]
fn a_family_with_hand_offs_that_wait_comes_before_an_older_one_that_is_tried_again() {
    use Standing::Queued;
    let rows = [open("m7", 7, "", Queued), open("h1-m8", 8, "a", Queued)];
    assert_eq!(released(Some("m8"), &rows), ["h1-m8"]);
    assert_eq!(released(None, &rows), ["m7"], "without its memory it could not know");
}

#[test]
fn nothing_is_released_behind_a_closed_gate() {
    let rows = [open("m7", 7, "", Standing::Queued)];
    assert_eq!(due(Gate::Closed, None, &rows), None);
}
