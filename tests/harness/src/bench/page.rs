//! The page: figures in, Markdown out. Pure.
//!
//! What misses its aim is marked, and told again below the tables with where the time went.

use crate::floor::Floor;
use crate::host::Host;
use crate::load::{Burst, Cost, Memory};
use crate::recovery::{Missed, Recovery};
use crate::samples::{Samples, number};
use crate::several::Several;
use crate::turns::Turns;

/// Message to claude: at most so many times its floor.
const EXEC_MAX: f64 = 1.5;
/// Result to post: at most so many times its floor.
const POST_MAX: f64 = 2.0;
/// The most MB that gateway, runner and keeper may have in memory.
const GATEWAY_MAX: f64 = 40.0;
const RUNNER_MAX: f64 = 25.0;
const KEEPER_MAX: f64 = 6.0;
/// A killed runner goes on with what it held at most so many ms after its start.
const ADOPTED_MAX: f64 = 1_000.0;
/// A killed claude is resumed at most so many ms later.
const RESUMED_MAX: f64 = 5_000.0;
/// A long queue in one thread delays the others at most by so many ms.
const DELAYED_MAX: f64 = 1_000.0;
/// What a lost host held is taken over at most so many ms later: `AckWait`, `takeover_s` and 5 s.
const TAKEN_OVER_MAX: f64 = 155_000.0;
/// What a gateway that died was posting is posted by another at most so many ms later.
const POSTED_MAX: f64 = 3_000.0;
/// A cost is flat when the largest size costs at most so many times the smallest: as much as two
/// runs of this at one size were seen to differ.
const FLAT_MAX: f64 = 1.5;

/// All that was measured.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    pub(crate) quick: bool,
    pub(crate) host: Host,
    pub(crate) floor: Floor,
    pub(crate) turns: Turns,
    pub(crate) burst: Burst,
    pub(crate) idle: Memory,
    pub(crate) busy: Memory,
    pub(crate) at_work: usize,
    pub(crate) threads: Vec<Cost>,
    pub(crate) runners: Vec<Cost>,
    pub(crate) recovery: Recovery,
    pub(crate) several: Several,
}

/// One aim, and what was reached.
struct Aim {
    what: &'static str,
    reached: f64,
    most: f64,
    unit: &'static str,
    /// Why it is missed, if it is.
    why: String,
}

impl Aim {
    fn is_met(&self) -> bool {
        self.reached <= self.most
    }

    fn row(&self) -> String {
        let Self { what, reached, most, unit, .. } = self;
        let verdict = if self.is_met() { "met" } else { "**missed**" };
        format!("| {what} | {reached:.1} {unit} | ≤ {most:.1} {unit} | {verdict} |")
    }
}

/// Writes it.
pub(crate) fn write(figures: &Figures) -> String {
    let aims = aims(figures);
    let parts = [
        head(figures),
        table(
            "Aims",
            "Ratios are of medians. Sizes are of what is resident.",
            "| | reached | aim | |\n|---|---|---|---|",
            aims.iter().map(Aim::row),
        ),
        missed(&aims),
        table(
            "A follow-up",
            "One message after another, in threads that have their worktrees; claude answers at \
             once. In milliseconds.",
            PERCENTILES,
            follow_up(figures),
        ),
        table(
            "The floor",
            "Each step alone, on the same servers and the same disk, before and after the \
             follow-ups. In milliseconds.",
            PERCENTILES,
            floor(&figures.floor),
        ),
        burst(&figures.burst),
        table(
            "Memory",
            &format!(
                "Idle: started, and nobody asked. Busy: {} claudes at work, each in a thread of \
                 its own. The largest of each kind.",
                figures.at_work
            ),
            "| | idle | busy |\n|---|---|---|",
            memory(figures),
        ),
        table(
            "Threads",
            "What a follow-up costs when the store, Discord and the runner's host have so many \
             threads. Processor time is of the whole process, with the git, tmux and other \
             children that it waited for.",
            COSTS,
            figures.threads.iter().map(cost),
        ),
        table(
            "Runners",
            "The same with simulated runners, which say that they are there, fetch, claim, answer \
             and ack, each over a connection of its own, and start no claude. Their own time is \
             not counted.",
            COSTS,
            figures.runners.iter().map(cost),
        ),
        table(
            "After faults",
            "How soon things go on. In milliseconds.",
            PERCENTILES,
            recovery(&figures.recovery).into_iter().chain(several(&figures.several)),
        ),
        missed_messages(&figures.recovery.missed),
    ];
    parts.concat()
}

const PERCENTILES: &str = "| | p50 | p95 | p99 | samples |\n|---|---|---|---|---|";
const COSTS: &str = "| there are | message → answer, p50 | p95 | gateway | runner | nats-server | \
                     runs |\n|---|---|---|---|---|---|---|";

fn head(figures: &Figures) -> String {
    let Host { cores, memory_gib, kernel, load } = &figures.host;
    let quick = if figures.quick {
        "**A quick run: few samples, which say that it works and not how fast it is.**\n\n"
    } else {
        ""
    };
    format!(
        "# Bench\n\nWritten by `cargo xtask bench`; not edited by hand. What each figure means is \
         said in `tests/harness/src/bench/`.\n\n{quick}{cores} cores, {memory_gib} GiB, Linux \
         {kernel}, load {load} before the first figure. Release build, SQLite, one nats-server \
         (`sync_interval: always`), claude-sim, Discord simulated in the measuring process \
         without rate limits; all on one machine.\n\n"
    )
}

fn table(title: &str, words: &str, head: &str, rows: impl IntoIterator<Item = String>) -> String {
    let rows: Vec<String> = rows.into_iter().collect();
    format!("## {title}\n\n{words}\n\n{head}\n{}\n\n", rows.join("\n"))
}

fn aims(figures: &Figures) -> Vec<Aim> {
    let Figures { floor, turns, idle, busy, .. } = figures;
    let ratio = |samples: &Samples, floor: f64| samples.median() / floor.max(f64::MIN_POSITIVE);
    let largest = |size: fn(&Memory) -> f64| size(idle).max(size(busy));
    let aim = |what, reached, most, unit, why| Aim { what, reached, most, unit, why };
    let size = |idle: f64, busy: f64| format!("{idle:.1} MB idle, {busy:.1} MB busy.");
    let mut aims = vec![
        aim(
            "message → claude's exec, against its floor",
            ratio(&turns.exec, floor.to_exec()),
            EXEC_MAX,
            "×",
            exec_missed(floor, turns),
        ),
        aim(
            "result line → POST, against its floor",
            ratio(&turns.post, floor.to_post()),
            POST_MAX,
            "×",
            post_missed(floor, turns),
        ),
        aim(
            "gateway",
            largest(|it| it.gateway),
            GATEWAY_MAX,
            "MB",
            size(idle.gateway, busy.gateway),
        ),
        aim("runner", largest(|it| it.runner), RUNNER_MAX, "MB", size(idle.runner, busy.runner)),
        aim("keeper", largest(|it| it.keeper), KEEPER_MAX, "MB", size(idle.keeper, busy.keeper)),
        aim("cost by threads", growth(&figures.threads), FLAT_MAX, "×", grown(&figures.threads)),
        aim("cost by runners", growth(&figures.runners), FLAT_MAX, "×", grown(&figures.runners)),
        aim(
            "start of a killed runner → the answer that was ready, the slowest",
            figures.recovery.adopted.most(),
            ADOPTED_MAX,
            "ms",
            spread(&figures.recovery.adopted),
        ),
        aim(
            "death of a claude → the next one, the slowest",
            figures.recovery.resumed.most(),
            RESUMED_MAX,
            "ms",
            spread(&figures.recovery.resumed),
        ),
        aim(
            "delay of a thread by a long queue in another, the slowest",
            figures.recovery.beside.most() - figures.recovery.alone.median(),
            DELAYED_MAX,
            "ms",
            spread(&figures.recovery.beside),
        ),
    ];
    aims.extend(several_aims(&figures.several));
    aims
}

/// The processor time of a run.
fn whole_ms(cost: &Cost) -> f64 {
    cost.gateway_ms + cost.runner_ms + cost.nats_ms
}

/// How many times the first the last one costs: the worse of processor time and time to answer.
fn growth(costs: &[Cost]) -> f64 {
    let (Some(first), Some(last)) = (costs.first(), costs.last()) else { return 0.0 };
    let times = |cost: fn(&Cost) -> f64| cost(last) / cost(first).max(f64::MIN_POSITIVE);
    times(whole_ms).max(times(|cost| cost.answer.median()))
}

/// How far the slowest is from the others.
fn spread(samples: &Samples) -> String {
    let [p50, p95] = [50, 95].map(|percent| samples.percentile(percent));
    format!("Of {}, half took {p50:.0} ms, and 95 of 100 took {p95:.0} ms.", samples.count())
}

fn grown(costs: &[Cost]) -> String {
    let (Some(first), Some(last)) = (costs.first(), costs.last()) else { return String::new() };
    let one = |cost: &Cost| {
        format!(
            "{:.0} ms to the answer and {:.1} + {:.1} + {:.1} ms of processor time (gateway, \
             runner, nats-server) at {}",
            cost.answer.median(),
            cost.gateway_ms,
            cost.runner_ms,
            cost.nats_ms,
            cost.size
        )
    };
    format!("{}; {}.", one(first), one(last))
}

fn exec_missed(floor: &Floor, turns: &Turns) -> String {
    let [whole, work, claim, claude] =
        [&turns.exec, &turns.work, &turns.claim, &turns.claude].map(Samples::median);
    let [commit, publish, fetch, file, tmux, exec] =
        [&floor.commit, &floor.publish, &floor.fetch, &floor.file, &floor.tmux, &floor.exec]
            .map(Samples::median);
    format!(
        "Of {whole:.1} ms, {work:.1} are the gateway's, up to the published work (floor: a commit, \
         {commit:.1}); {claim:.1} go by until the record is claimed: storing the work, its \
         delivery, and reading record and controls (floor: publish and fetch, {:.1}); {claude:.1} \
         until claude runs: storing the claim, the worktree's lock, a spool of several fsynced \
         files, a line, and tmux, which starts the pane, the guard, the keeper and claude, each \
         an exec (floor: publish, one file, tmux and one keeper, {:.1}).",
        publish + fetch,
        publish + file + tmux + exec,
    )
}

fn post_missed(floor: &Floor, turns: &Turns) -> String {
    let [whole, record, answer] = [&turns.post, &turns.record, &turns.answer].map(Samples::median);
    let [commit, publish, delivery, post] =
        [&floor.commit, &floor.publish, &floor.delivery, &floor.post].map(Samples::median);
    format!(
        "Of {whole:.1} ms, {record:.1} go by before the ended record is published: the journal \
         is read, and the result fsynced into the spool, file and folder; that step is not in the \
         floor. {answer:.1} go by from there to the post: storing, delivery, the fold's commit, \
         then the lease and the first try of the row, a commit each, and the post (floor: \
         {publish:.1} + {delivery:.1} + {commit:.1} + {post:.1})."
    )
}

fn missed(aims: &[Aim]) -> String {
    let lines: Vec<String> = aims
        .iter()
        .filter(|aim| !aim.is_met())
        .map(|aim| format!("* **{}**: {}", aim.what, aim.why))
        .collect();
    if lines.is_empty() {
        return "No aim is missed.\n\n".to_owned();
    }
    format!("What is missed, and where it goes (medians):\n\n{}\n\n", lines.join("\n"))
}

fn percentiles(what: &str, samples: &Samples) -> String {
    let [p50, p95, p99] = [50, 95, 99].map(|percent| samples.percentile(percent));
    format!("| {what} | {p50:.2} | {p95:.2} | {p99:.2} | {} |", samples.count())
}

fn follow_up(figures: &Figures) -> Vec<String> {
    let turns = &figures.turns;
    [
        ("**message frame → claude's exec**", &turns.exec),
        ("message frame → work published", &turns.work),
        ("work published → record claimed", &turns.claim),
        ("record claimed → claude's exec", &turns.claude),
        ("**result line → POST**", &turns.post),
        ("result line → record ended", &turns.record),
        ("record ended → POST", &turns.answer),
    ]
    .map(|(what, samples)| percentiles(what, samples))
    .into()
}

fn floor(floor: &Floor) -> Vec<String> {
    let mut rows: Vec<String> = [
        ("commit of the store", &floor.commit),
        ("acknowledged publish", &floor.publish),
        ("fetch", &floor.fetch),
        ("delivery", &floor.delivery),
        ("POST to the simulator", &floor.post),
        ("fsynced file", &floor.file),
        ("`tmux new-session -d` → exec", &floor.tmux),
        ("exec of the keeper", &floor.exec),
    ]
    .map(|(what, samples)| percentiles(what, samples))
    .into();
    rows.push(format!(
        "| **commit + 2 publishes + fetch + file + tmux + exec** | {:.2} | | | |",
        floor.to_exec()
    ));
    rows.push(format!("| **publish + delivery + commit + POST** | {:.2} | | | |", floor.to_post()));
    rows
}

fn burst(burst: &Burst) -> String {
    let Burst { messages, threads, slots, seconds } = burst;
    let rate = number(*messages) / seconds.max(f64::MIN_POSITIVE);
    format!(
        "## A burst\n\n{messages} messages at once over {threads} threads, {slots} slots: \
         **{rate:.1} answers per second** ({seconds:.1} s to the last).\n\n"
    )
}

fn recovery(recovery: &Recovery) -> Vec<String> {
    let Recovery { adopted, resumed, alone, amid, beside, queued, missed: _ } = recovery;
    let after = format!("the same, written right after {queued} messages in another thread");
    let behind = format!("the same with {queued} messages waiting in another thread");
    [
        ("start of a killed runner → post of the answer that was ready", adopted),
        ("death of a claude → the next one's exec", resumed),
        ("message → answer, with nothing else to do", alone),
        (after.as_str(), amid),
        (behind.as_str(), beside),
    ]
    .map(|(what, samples)| percentiles(what, samples))
    .into()
}

/// What was measured of it.
fn several(several: &Several) -> Vec<String> {
    let Several { taken_over, posted } = several;
    let rows = [
        ("loss of a host → another runner's claude", taken_over),
        ("death of a gateway in a post → the post by another", posted),
    ];
    let measured = rows.into_iter().filter(|(_, samples)| 0 < samples.count());
    measured.map(|(what, samples)| percentiles(what, samples)).collect()
}

/// The figures of `several.rs` alone.
pub(crate) fn several_alone(figures: &Several) -> String {
    let aims = several_aims(figures).into_iter().map(|aim| aim.row());
    let rows: Vec<String> = several(figures).into_iter().chain(aims).collect();
    rows.join("\n") + "\n"
}

fn several_aims(several: &Several) -> Vec<Aim> {
    let Several { taken_over, posted } = several;
    let rows = [
        ("loss of a host → another runner's claude, the slowest", taken_over, TAKEN_OVER_MAX),
        ("death of a gateway → the post by another, the slowest", posted, POSTED_MAX),
    ];
    let measured = rows.into_iter().filter(|(_, samples, _)| 0 < samples.count());
    measured
        .map(|(what, samples, most)| Aim {
            what,
            reached: samples.most(),
            most,
            unit: "ms",
            why: spread(samples),
        })
        .collect()
}

fn missed_messages(missed: &Missed) -> String {
    let Missed { messages, threads, seconds, refused, requests } = missed;
    format!(
        "{messages} messages that were written in {threads} threads while the gateway was away: the \
         last one's answer was posted {seconds:.1} s after its start, inside Discord's limits \
         ({requests} requests, {refused} refused with 429).\n"
    )
}

fn memory(figures: &Figures) -> Vec<String> {
    let Figures { idle, busy, .. } = figures;
    let row = |what: &str, idle: f64, busy: f64| {
        let shown = |mb: f64| if mb == 0.0 { "–".to_owned() } else { format!("{mb:.1} MB") };
        format!("| {what} | {} | {} |", shown(idle), shown(busy))
    };
    vec![
        row("gateway", idle.gateway, busy.gateway),
        row("runner", idle.runner, busy.runner),
        row("keeper", idle.keeper, busy.keeper),
        row("guard or pane, its two companions", idle.companion, busy.companion),
        row("nats-server", idle.nats, busy.nats),
    ]
}

fn cost(cost: &Cost) -> String {
    let shown = |ms: f64| if ms == 0.0 { "–".to_owned() } else { format!("{ms:.1} ms") };
    format!(
        "| {} | {:.1} ms | {:.1} ms | {} | {} | {} | {} |",
        cost.size,
        cost.answer.median(),
        cost.answer.percentile(95),
        shown(cost.gateway_ms),
        shown(cost.runner_ms),
        shown(cost.nats_ms),
        cost.runs,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(ms: i64) -> Samples {
        let mut samples = Samples::default();
        samples.between(0, ms * 1_000_000);
        samples
    }

    fn cost(size: usize, ms: i64, gateway_ms: f64) -> Cost {
        Cost { size, runs: 1, answer: samples(ms), gateway_ms, ..Cost::default() }
    }

    /// The floor is 8 ms up to claude and 4 ms up to the post.
    fn figures(exec: i64, post: i64) -> Figures {
        let one = || samples(1);
        let floor = Floor {
            commit: one(),
            publish: one(),
            fetch: one(),
            delivery: one(),
            post: one(),
            file: one(),
            tmux: samples(2),
            exec: one(),
        };
        let turns = Turns { exec: samples(exec), post: samples(post), ..Turns::default() };
        let host = Host { cores: 2, memory_gib: 8, kernel: "6.1.0".into(), load: "0.10".into() };
        let busy = Memory { gateway: 39.0, runner: 24.0, keeper: 5.0, ..Memory::default() };
        Figures {
            quick: false,
            host,
            floor,
            turns,
            burst: Burst { messages: 20, threads: 5, slots: 8, seconds: 2.0 },
            idle: Memory::default(),
            busy,
            at_work: 20,
            threads: vec![cost(10, 100, 4.0), cost(2_000, 140, 5.0)],
            runners: vec![cost(1, 10, 4.0), cost(200, 10, 9.0)],
            recovery: Recovery {
                adopted: samples(1_001),
                resumed: samples(5_000),
                alone: samples(200),
                beside: samples(300),
                ..Recovery::default()
            },
            several: Several { taken_over: Samples::default(), posted: samples(3_001) },
        }
    }

    #[test]
    fn what_misses_its_aim_is_marked_and_told_with_its_reason() {
        let page = write(&figures(13, 8));
        assert!(page.contains("against its floor | 1.6 × | ≤ 1.5 × | **missed** |"), "{page}");
        assert!(page.contains("POST, against its floor | 2.0 × | ≤ 2.0 × | met |"), "{page}");
        assert!(page.contains("* **message → claude's exec, against its floor**: Of 13.0 ms,"));
        assert!(!page.contains("* **result line"), "{page}");
        assert!(page.contains("| gateway | 39.0 MB | ≤ 40.0 MB | met |"), "{page}");
        assert!(page.contains("| cost by threads | 1.4 × | ≤ 1.5 × | met |"), "{page}");
        assert!(page.contains("| cost by runners | 2.2 × | ≤ 1.5 × | **missed** |"), "{page}");
        assert!(page.contains("ready, the slowest | 1001.0 ms | ≤ 1000.0 ms | **missed** |"));
        assert!(page.contains("was ready, the slowest**: Of 1, half took 1001 ms"), "{page}");
        assert!(page.contains("next one, the slowest | 5000.0 ms | ≤ 5000.0 ms | met |"), "{page}");
        assert!(page.contains("another, the slowest | 100.0 ms | ≤ 1000.0 ms | met |"), "{page}");
        assert!(page.contains("by another, the slowest | 3001.0 ms | ≤ 3000.0 ms | **missed** |"));
        assert!(!page.contains("loss of a host"), "it was not measured: {page}");
        assert!(page.contains("**10.0 answers per second**"), "{page}");
        assert!(!page.contains("quick run"), "{page}");
    }
}
