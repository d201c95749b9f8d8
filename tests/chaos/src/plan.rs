//! A seed → who asks what when, and what breaks when, and for how long.
//!
//! Pure: the same seed and length make the same plan, on every machine. What comes of it is not the
//! same twice, since nobody plans the interleaving; that is what the history is for.
//!
//! A fault never begins while another holds its target, and all have ended when the time is over:
//! what is checked then is what was promised, and not how long a breakdown may last.

use std::time::Duration;

use fastrand::Rng;
use serde::Serialize;

/// How many gateways there are.
pub(crate) const GATEWAYS: u8 = 2;
/// How many runners there are.
pub(crate) const RUNNERS: u8 = 3;
/// The projects: the first two are the first two runners' alone, the last is shared by all.
pub(crate) const PROJECTS: [&str; 3] = ["east", "west", "commons"];
/// Which of them is shared.
pub(crate) const SHARED: usize = 2;

/// The pause between two messages: enough that a run is at work at almost every moment, and little
/// enough that three runners of two slots keep up.
const ASK_EVERY_MS: std::ops::Range<u64> = 500..5_000;
/// The pause between two faults, so that there is time for what was broken to be at work again.
const BREAK_EVERY_MS: std::ops::Range<u64> = 1_500..8_000;
/// How long a fault lasts.
const LASTS_MS: std::ops::Range<u64> = 200..20_000;
/// The first fault comes when everything has begun.
const FIRST_FAULT_MS: u64 = 5_000;
/// The last part of the time, in which nothing new begins.
const CALM: Duration = Duration::from_secs(5);
/// How often another fault is drawn because the target of one is broken already.
const DRAWS_MAX: u32 = 20;
/// One message of so many begins a thread; the others follow in one.
const BEGINS_ONE_IN: u32 = 3;

/// Everything that is to happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Plan {
    /// What it was made of.
    pub(crate) seed: u64,
    /// How long messages and faults come.
    pub(crate) length: Duration,
    /// The messages, in order.
    pub(crate) asks: Vec<Ask>,
    /// What breaks, in order.
    pub(crate) faults: Vec<Planned>,
}

/// One message of a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Ask {
    /// When, since the beginning.
    pub(crate) at: Duration,
    /// Its number, from 1; its answer holds it.
    pub(crate) number: u32,
    /// Which of [`PROJECTS`].
    pub(crate) project: usize,
    /// The message whose thread it is said in; `None`: it begins one.
    pub(crate) follows: Option<u32>,
    /// How long claude works on it.
    pub(crate) works: Duration,
    /// The answer's shape.
    pub(crate) answer: Answer,
}

/// What claude answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Answer {
    /// So many lines.
    Lines(u32),
    /// So many characters between two lines: several pages.
    Pages(usize),
}

/// A fault and its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Planned {
    /// When, since the beginning.
    pub(crate) at: Duration,
    /// For how long.
    pub(crate) lasts: Duration,
    /// What breaks.
    pub(crate) fault: Fault,
}

/// What breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Fault {
    /// SIGKILL; started again when the time is over.
    Kill(Service),
    /// SIGTERM; started again when the time is over.
    Term(Service),
    /// SIGSTOP, then SIGCONT.
    Freeze(Service),
    /// A runner's host loses its power: the service, every keeper, every claude, tmux.
    PowerOff(u8),
    /// A runner's host stands still, with all that is on it.
    Suspend(u8),
    /// SIGKILL for one claude of this runner's host.
    KillClaude(u8),
    /// SIGKILL for one keeper of this runner's host.
    KillKeeper(u8),
    /// Connections of this link are cut, and no new ones are taken.
    Cut(Link),
    /// Nothing gets through this link, and neither side is told; it arrives when the time is over.
    Hold(Link),
    /// What is sent over this link arrives late.
    Slow(Link),
    /// Something is wrong with Discord.
    Discord(Trouble),
}

/// What can be wrong with Discord.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Trouble {
    /// Posts are answered with 502 after they were made.
    After,
    /// Everything is answered with 503.
    Away,
    /// Posts are limited.
    Limits,
    /// Connections are cut in the middle of a post that was made.
    Cuts,
    /// Every session is asked to connect again.
    Reconnects,
    /// Every connection of a session breaks.
    Breaks,
    /// Every session is forgotten: it cannot be resumed.
    Forgets,
    /// Messages are written and no session is told.
    Drops,
}

/// A program that is one of the system's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Service {
    /// `gateway-svc`, by number.
    Gateway(u8),
    /// `runner-svc`, by number.
    Runner(u8),
    /// nats-server.
    Nats,
    /// PostgreSQL.
    Postgres,
}

/// A way between two programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Link {
    /// From a gateway to nats-server.
    GatewayBus(u8),
    /// From a runner to nats-server.
    RunnerBus(u8),
    /// From a gateway to PostgreSQL.
    GatewayStore(u8),
}

/// What only one fault may hold at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Service(Service),
    Claudes(u8),
    Link(Link),
    Discord,
}

impl Plan {
    /// Makes the plan of a seed.
    pub(crate) fn new(seed: u64, length: Duration) -> Self {
        // Two streams of numbers: more faults do not make other messages.
        let mut rng = Rng::with_seed(seed);
        let (mut for_asks, mut for_faults) = (rng.fork(), rng.fork());
        let asks = asks(&mut for_asks, length);
        let faults = faults(&mut for_faults, length);
        Self { seed, length, asks, faults }
    }
}

impl Ask {
    /// What the person writes: the script of its claude.
    pub(crate) fn text(&self) -> String {
        let n = self.number;
        let works = format!("q{n} [[delay {}ms]]", self.works.as_millis());
        match self.answer {
            Answer::Lines(lines) => {
                let lines: Vec<_> =
                    (1..=lines).map(|i| format!("[[say {}]]", line(n, i, lines))).collect();
                format!("{works} {}", lines.join(" "))
            }
            Answer::Pages(characters) => {
                format!(
                    "{works} [[say {}]] [[big {characters}]] [[say {}]]",
                    line(n, 1, 2),
                    line(n, 2, 2)
                )
            }
        }
    }

    /// What stands in Discord when it is answered, without any white space.
    pub(crate) fn answered(&self) -> String {
        let n = self.number;
        let text = match self.answer {
            Answer::Lines(lines) => (1..=lines).map(|i| line(n, i, lines)).collect(),
            Answer::Pages(characters) => {
                let big = anthropic_sim::script::big_text(characters);
                format!("{}{big}{}", line(n, 1, 2), line(n, 2, 2))
            }
        };
        without_space(&text)
    }
}

/// A text without its white space: where pages are cut is not what is looked at.
pub(crate) fn without_space(text: &str) -> String {
    text.split_whitespace().collect()
}

fn line(number: u32, line: u32, of: u32) -> String {
    format!("q{number} line {line} of {of}.")
}

fn between(rng: &mut Rng, ms: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(rng.u64(ms))
}

fn asks(rng: &mut Rng, length: Duration) -> Vec<Ask> {
    let mut asks: Vec<Ask> = Vec::new();
    let mut at = Duration::ZERO;
    loop {
        at += between(rng, ASK_EVERY_MS);
        if length <= at + CALM {
            return asks;
        }
        let number = u32::try_from(asks.len()).unwrap_or(u32::MAX).saturating_add(1);
        let first: Vec<&Ask> = asks.iter().filter(|ask| ask.follows.is_none()).collect();
        let begins = first.is_empty() || rng.u32(..BEGINS_ONE_IN) == 0;
        let follows = if begins { None } else { rng.choice(first) };
        let project = follows.map_or_else(|| rng.usize(..PROJECTS.len()), |ask| ask.project);
        let follows = follows.map(|ask| ask.number);
        let works = match rng.u8(..10) {
            0 => between(rng, 10_000..40_000),
            1..5 => between(rng, 500..4_000),
            _ => between(rng, 0..500),
        };
        let answer = match rng.u8(..6) {
            0 => Answer::Pages(rng.usize(2_500..7_000)),
            _ => Answer::Lines(rng.u32(1..20)),
        };
        asks.push(Ask { at, number, project, follows, works, answer });
    }
}

fn faults(rng: &mut Rng, length: Duration) -> Vec<Planned> {
    let mut faults: Vec<Planned> = Vec::new();
    let mut at = Duration::from_millis(FIRST_FAULT_MS);
    loop {
        at += between(rng, BREAK_EVERY_MS);
        if length <= at + CALM {
            return faults;
        }
        let lasts = between(rng, LASTS_MS).min(length.saturating_sub(at + CALM));
        let begun = Planned { at, lasts, fault: Fault::Discord(Trouble::Away) };
        let free = (0..DRAWS_MAX).map(|_| draw(rng)).find(|fault| {
            let begun = Planned { fault: *fault, ..begun };
            !faults.iter().any(|held| held.is_in_the_way_of(&begun))
        });
        faults.extend(free.map(|fault| Planned { fault, ..begun }));
    }
}

fn draw(rng: &mut Rng) -> Fault {
    let gateway = rng.u8(..GATEWAYS);
    let runner = rng.u8(..RUNNERS);
    let service = match rng.u8(..8) {
        0..3 => Service::Gateway(gateway),
        3..6 => Service::Runner(runner),
        6 => Service::Nats,
        _ => Service::Postgres,
    };
    let link = match rng.u8(..5) {
        0..2 => Link::GatewayBus(gateway),
        2..4 => Link::RunnerBus(runner),
        _ => Link::GatewayStore(gateway),
    };
    let trouble = match rng.u8(..8) {
        0 => Trouble::After,
        1 => Trouble::Away,
        2 => Trouble::Limits,
        3 => Trouble::Cuts,
        4 => Trouble::Reconnects,
        5 => Trouble::Breaks,
        6 => Trouble::Forgets,
        _ => Trouble::Drops,
    };
    match rng.u8(..20) {
        0..5 => Fault::Kill(service),
        5..7 => Fault::Term(service),
        7..9 => Fault::Freeze(service),
        9 => Fault::PowerOff(runner),
        10 => Fault::Suspend(runner),
        11 => Fault::KillClaude(runner),
        12 => Fault::KillKeeper(runner),
        13 => Fault::Cut(link),
        14 => Fault::Hold(link),
        15 => Fault::Slow(link),
        _ => Fault::Discord(trouble),
    }
}

impl Planned {
    /// When it is over.
    pub(crate) fn until(&self) -> Duration {
        self.at + self.lasts
    }

    fn is_in_the_way_of(&self, later: &Self) -> bool {
        self.fault.target() == later.fault.target() && later.at <= self.until()
    }
}

impl Fault {
    fn target(self) -> Target {
        match self {
            Self::Kill(service) | Self::Term(service) | Self::Freeze(service) => {
                Target::Service(service)
            }
            Self::PowerOff(n) | Self::Suspend(n) => Target::Service(Service::Runner(n)),
            Self::KillClaude(n) | Self::KillKeeper(n) => Target::Claudes(n),
            Self::Cut(link) | Self::Hold(link) | Self::Slow(link) => Target::Link(link),
            Self::Discord(_) => Target::Discord,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LENGTH: Duration = Duration::from_secs(300);

    #[test]
    fn a_seed_is_one_plan() {
        assert_eq!(Plan::new(1, LENGTH), Plan::new(1, LENGTH));
        assert_ne!(Plan::new(1, LENGTH), Plan::new(2, LENGTH));
    }

    /// Whoever is given a seed to replay gets what was seen then, also from a later version.
    #[test]
    fn the_plan_of_a_seed_stays_what_it_was() {
        let plan = Plan::new(1, LENGTH);
        let counted = (plan.asks.len(), plan.faults.len());
        assert_eq!(counted, (102, 63), "the meaning of every seed has changed");
    }

    proptest! {
        #[test]
        fn whatever_breaks_is_whole_again_before_the_end(seed: u64, minutes in 1..10u64) {
            let length = Duration::from_secs(minutes * 60);
            for fault in Plan::new(seed, length).faults {
                prop_assert!(fault.until() + CALM <= length, "{fault:?}");
            }
        }

        #[test]
        fn one_thing_breaks_once_at_a_time(seed: u64) {
            let faults = Plan::new(seed, LENGTH).faults;
            for (index, fault) in faults.iter().enumerate() {
                let in_the_way = faults[..index].iter().find(|held| held.is_in_the_way_of(fault));
                prop_assert_eq!(in_the_way, None);
            }
        }

        #[test]
        fn a_message_follows_one_that_began_a_thread_of_its_project(seed: u64) {
            let asks = Plan::new(seed, LENGTH).asks;
            for ask in &asks {
                let Some(first) = ask.follows else { continue };
                let first = &asks[usize::try_from(first).unwrap() - 1];
                prop_assert_eq!(first.follows, None);
                prop_assert!(first.number < ask.number);
                prop_assert_eq!(first.project, ask.project);
            }
        }

        #[test]
        fn every_message_is_one_that_discord_takes(seed: u64) {
            for ask in Plan::new(seed, LENGTH).asks {
                prop_assert!(ask.text().chars().count() <= 2_000);
            }
        }
    }
}
