//! What was planned and what was seen → every broken promise, in the fewest words.
//!
//! An answer that fails only counts as one when claude was started as often as it may die.
//!
//! Pure. It looks at what people saw in Discord, at the ledger to which every claude wrote, and at
//! what was left behind; at nothing that the services say of themselves.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::plan::{Plan, without_space};

/// How many claudes of a run must have died before a failure is an answer (`attempts_max`).
const DEATHS_BEFORE_FAILURE: usize = 3;

/// The marks under a message that has its outcome.
const ENDED: [&str; 3] = ["✅", "⚠️", "⏹️"];

/// Everything that was seen when it was quiet again.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Observed {
    /// The messages of people, by their number in the plan.
    pub(crate) asked: BTreeMap<u32, Asked>,
    /// What the bot wrote in each thread, oldest first.
    pub(crate) threads: BTreeMap<String, Vec<String>>,
    /// What the claudes did, in the order in which they did it.
    pub(crate) did: Vec<Did>,
    /// What is still there, each in a few words: processes, spools, work, rows.
    pub(crate) left: Vec<String>,
}

/// A message of a person.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Asked {
    /// The thread that it belongs to, if there is one.
    pub(crate) thread: Option<String>,
    /// The bot's marks under it.
    pub(crate) marks: Vec<String>,
    /// Discord told nobody of it: it was found by reading, and may be answered after later ones.
    #[serde(default)]
    pub(crate) unsent: bool,
}

/// One line of the ledger.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Did {
    /// `begin`, `prompt`, `result`, `end` and so on.
    pub(crate) event: String,
    /// Which process.
    pub(crate) pid: u32,
    /// Which session.
    pub(crate) session: String,
    /// What it was told, if it was.
    pub(crate) prompt: String,
}

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Violation {
    /// A message has no mark of an outcome.
    Unended(u32),
    /// A message has two outcomes.
    EndedTwice(u32, Vec<String>),
    /// It has an outcome, and what claude said stands nowhere.
    Lost(u32),
    /// What claude said stands there more than once.
    Doubled(u32, usize),
    /// The answer of one message stands before that of an earlier one of its thread.
    OutOfOrder(u32, u32),
    /// It failed though claude did not die often enough.
    Failed(u32, usize),
    /// It stands in the wrong thread.
    Elsewhere(u32),
    /// Two claudes were at work in one session.
    Overlap(String, u32, u32),
    /// Something was left behind.
    Left(String),
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unended(n) => write!(f, "q{n} was never ended"),
            Self::EndedTwice(n, marks) => write!(f, "q{n} has the marks {}", marks.join(" ")),
            Self::Lost(n) => {
                write!(f, "q{n} is marked as answered, and its answer is not there whole")
            }
            Self::Doubled(n, times) => write!(f, "the answer of q{n} stands there {times} times"),
            Self::OutOfOrder(n, before) => {
                write!(
                    f,
                    "the answer of q{n} stands before that of q{before}, which was asked first"
                )
            }
            Self::Failed(n, deaths) => {
                write!(f, "q{n} failed though only {deaths} claudes were started for it")
            }
            Self::Elsewhere(n) => write!(f, "the answer of q{n} stands in another thread"),
            Self::Overlap(session, old, new) => write!(
                f,
                "claude {old} still worked in session {session} when claude {new} had begun there"
            ),
            Self::Left(what) => write!(f, "left behind: {what}"),
        }
    }
}

/// Everything that was promised and is not so.
pub(crate) fn violations(plan: &Plan, seen: &Observed) -> Vec<Violation> {
    let mut found = Vec::new();
    let streams: BTreeMap<&str, String> = seen
        .threads
        .iter()
        .map(|(thread, posts)| (thread.as_str(), without_space(&posts.concat())))
        .collect();
    // The place of the last answer in each thread, and whose it is.
    let mut last: BTreeMap<&str, (usize, u32)> = BTreeMap::new();
    for ask in &plan.asks {
        let Some(asked) = seen.asked.get(&ask.number) else { continue };
        let n = ask.number;
        let ends: Vec<_> =
            asked.marks.iter().filter(|mark| ENDED.contains(&mark.as_str())).collect();
        let answer = ask.answered();
        let times: usize = streams.values().map(|posts| posts.matches(&answer).count()).sum();
        match ends.as_slice() {
            [] => found.push(Violation::Unended(n)),
            [mark] if *mark == "✅" && times == 0 => found.push(Violation::Lost(n)),
            [mark] if *mark != "✅" => {
                let begun = begun_for(seen, n);
                if begun < DEATHS_BEFORE_FAILURE {
                    found.push(Violation::Failed(n, begun));
                }
            }
            [_] => {}
            _ => found.push(Violation::EndedTwice(n, asked.marks.clone())),
        }
        if 1 < times {
            found.push(Violation::Doubled(n, times));
        }
        let stream = asked.thread.as_deref().and_then(|thread| streams.get_key_value(thread));
        let place = stream.and_then(|(thread, posts)| Some((*thread, posts.find(&answer)?)));
        match place {
            None if times == 1 => found.push(Violation::Elsewhere(n)),
            None => {}
            // Who was not told of it cannot keep its place.
            Some(_) if asked.unsent => {}
            Some((thread, place)) => match last.get(thread) {
                Some((before, earlier)) if place < *before => {
                    found.push(Violation::OutOfOrder(n, *earlier));
                }
                _ => drop(last.insert(thread, (place, n))),
            },
        }
    }
    found.extend(overlaps(&seen.did));
    found.extend(seen.left.iter().cloned().map(Violation::Left));
    found
}

/// How many claudes were told of a message.
fn begun_for(seen: &Observed, number: u32) -> usize {
    let word = format!("q{number}");
    let told =
        |did: &&Did| did.event == "prompt" && did.prompt.split_whitespace().any(|it| it == word);
    seen.did.iter().filter(told).count()
}

/// Two processes of one session, of which the older did something after the newer had begun.
fn overlaps(did: &[Did]) -> Vec<Violation> {
    let mut newest: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    let mut found = Vec::new();
    for line in did {
        let of_session = newest.entry(&line.session).or_default();
        if line.event == "begin" {
            of_session.push(line.pid);
            continue;
        }
        let Some(new) = of_session.last().copied() else { continue };
        if new == line.pid {
            continue;
        }
        let overlap = Violation::Overlap(line.session.clone(), line.pid, new);
        if !found.contains(&overlap) {
            found.push(overlap);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::plan::{Answer, Ask};

    fn plan() -> Plan {
        let ask = |number, follows| Ask {
            at: Duration::ZERO,
            number,
            project: 0,
            follows,
            works: Duration::ZERO,
            answer: Answer::Lines(2),
        };
        let asks = vec![ask(1, None), ask(2, Some(1)), ask(3, None)];
        Plan { seed: 1, length: Duration::ZERO, asks, faults: Vec::new() }
    }

    fn answer(n: u32) -> String {
        format!("q{n} line 1 of 2.\nq{n} line 2 of 2.")
    }

    fn asked(thread: &str, marks: &[&str]) -> Asked {
        let marks = marks.iter().map(|&mark| mark.to_owned()).collect();
        Asked { thread: Some(thread.to_owned()), marks, unsent: false }
    }

    fn all_well() -> Observed {
        let asked = [
            (1, asked("a", &["👀", "✅"])),
            (2, asked("a", &["👀", "✅"])),
            (3, asked("b", &["👀", "✅"])),
        ];
        let threads = [
            ("a".to_owned(), vec![answer(1), answer(2)]),
            ("b".to_owned(), vec!["Resumed on build-2.".to_owned(), answer(3)]),
        ];
        let did = [("begin", 10), ("prompt", 10), ("end", 10), ("begin", 11), ("prompt", 11)];
        let did = did.map(|(event, pid)| did_of("s", event, pid, "q1 q2"));
        Observed { asked: asked.into(), threads: threads.into(), did: did.into(), left: Vec::new() }
    }

    fn did_of(session: &str, event: &str, pid: u32, prompt: &str) -> Did {
        let (session, event, prompt) = (session.to_owned(), event.to_owned(), prompt.to_owned());
        Did { event, pid, session, prompt }
    }

    fn found(change: impl FnOnce(&mut Observed)) -> Vec<Violation> {
        let mut seen = all_well();
        change(&mut seen);
        violations(&plan(), &seen)
    }

    fn posts(seen: &mut Observed) -> &mut Vec<String> {
        seen.threads.get_mut("a").unwrap()
    }

    #[test]
    fn what_is_answered_once_and_in_order_is_no_violation() {
        assert_eq!(found(|_| {}), []);
    }

    #[test]
    fn an_answer_over_several_posts_is_whole() {
        let cut = |seen: &mut Observed| {
            let pages = ["q1 line 1 of 2.", "q1 line 2 ", "of 2."].map(str::to_owned);
            posts(seen).splice(..1, pages);
        };
        assert_eq!(found(cut), []);
    }

    #[test]
    fn a_missing_page_is_found() {
        assert_eq!(found(|seen| posts(seen)[0] = "q1 line 1 of 2.".into()), [Violation::Lost(1)]);
    }

    #[test]
    fn an_answer_that_stands_twice_is_found() {
        assert_eq!(found(|seen| posts(seen).push(answer(1))), [Violation::Doubled(1, 2)]);
    }

    #[test]
    fn another_order_is_found() {
        assert_eq!(found(|seen| posts(seen).reverse()), [Violation::OutOfOrder(2, 1)]);
    }

    #[test]
    fn what_discord_told_nobody_may_be_answered_late() {
        let late = |seen: &mut Observed, unsent| {
            posts(seen).reverse();
            seen.asked.get_mut(&unsent).unwrap().unsent = true;
        };
        assert_eq!(found(|seen| late(seen, 1)), []);
        assert_eq!(found(|seen| posts(seen).reverse()), [Violation::OutOfOrder(2, 1)]);
    }

    #[test]
    fn an_answer_in_another_thread_is_found() {
        let moved = |seen: &mut Observed| {
            let answer = posts(seen).remove(1);
            seen.threads.get_mut("b").unwrap().push(answer);
        };
        assert_eq!(found(moved), [Violation::Elsewhere(2)]);
    }

    #[test]
    fn a_message_without_an_outcome_is_found() {
        let open = |seen: &mut Observed| {
            seen.asked.insert(3, asked("b", &["👀"]));
        };
        assert_eq!(found(open), [Violation::Unended(3)]);
    }

    #[test]
    fn two_outcomes_are_found() {
        let marks = ["👀", "✅", "⚠️"];
        let twice = |seen: &mut Observed| {
            seen.asked.insert(3, asked("b", &marks));
        };
        let marks = marks.map(str::to_owned).to_vec();
        assert_eq!(found(twice), [Violation::EndedTwice(3, marks)]);
    }

    #[test]
    fn a_failure_is_an_answer_when_claude_died_often_enough() {
        let fail = |deaths: u32| {
            found(|seen| {
                seen.asked.insert(3, asked("b", &["👀", "⚠️"]));
                seen.threads.insert("b".into(), vec!["claude died.".into()]);
                let died = |pid| did_of("t", "prompt", pid, "q3 again");
                seen.did.extend((0..deaths).map(died));
            })
        };
        assert_eq!(fail(3), []);
        assert_eq!(fail(2), [Violation::Failed(3, 2)]);
    }

    #[test]
    fn two_claudes_of_one_session_are_found() {
        let late = |seen: &mut Observed| seen.did.push(did_of("s", "result", 10, ""));
        assert_eq!(found(late), [Violation::Overlap("s".into(), 10, 11)]);
    }

    #[test]
    fn what_is_left_behind_is_found() {
        let left = |seen: &mut Observed| seen.left.push("a spool".into());
        assert_eq!(found(left), [Violation::Left("a spool".into())]);
    }
}
