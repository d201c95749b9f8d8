//! Where a run stands → the text of its status message.
//!
//! Pure. Times that a reader's client counts on by itself (`<t:…:R>`) save edits; how long a tool has
//! been at work is said in steps, each of which is an edit: whoever looks sees that somebody is there.

use schemas::ids::{Attempt, ProjectName, RunnerId};
use schemas::live::{Doing, Live, Point, PointState, Step};

use crate::commands::Order;
use crate::outbox::Button;
use crate::render::{self, duration, model, plain};
use crate::steer;
use crate::store::Watched;

/// The most characters of what a tool is used on, and of a point of a list: with as many of each as there
/// may be, a message takes all of it.
const OBJECT_MAX: usize = 60;
/// The most characters of a tool's name.
const TOOL_MAX: usize = 30;
/// The most points of claude's list that are shown.
const POINTS_MAX: usize = 6;

/// Where a run stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Standing<'a> {
    /// So many runs of its thread come first.
    Queued {
        /// How many.
        behind: usize,
    },
    /// Nobody is there who could run it.
    NoRunner {
        /// The project.
        project: &'a ProjectName,
        /// Who it waits for, if for somebody.
        runner: Option<&'a RunnerId>,
    },
    /// Who could run it is busy.
    NoSlot {
        /// Who.
        runner: &'a RunnerId,
        /// With how many.
        busy: u16,
    },
    /// It was given to somebody.
    Starting {
        /// To whom, if that is known.
        runner: Option<&'a RunnerId>,
    },
    /// It is at work.
    AtWork {
        /// Since when, in milliseconds since 1970.
        since_ms: i64,
        /// What was heard of it.
        live: &'a Live,
    },
    /// It is at work, and nothing was heard of it for long.
    Silent {
        /// Where.
        runner: Option<&'a RunnerId>,
        /// Since when, in milliseconds since 1970.
        since_ms: i64,
    },
}

/// What may be decided about a run by its message.
pub(super) fn buttons(run: &Watched) -> Vec<Button> {
    let order = |label| render::button(&run.run, run.generation, Order::Stop, label);
    match run.released_ms {
        Some(_) => vec![order("Stop")],
        None => vec![steer::button(&run.run), order("Drop")],
    }
}

/// What the message says.
pub(super) fn text(standing: &Standing<'_>) -> String {
    match standing {
        Standing::Queued { behind: 0 } => small("⏳ Its turn comes."),
        Standing::Queued { behind } => small(&format!("⏳ Queued behind {behind}.")),
        Standing::NoRunner { project, runner } => {
            let who = runner.map_or(String::new(), |runner| format!(", **{runner}**,"));
            small(&format!("⏳ No runner of **{project}**{who} is there; it waits."))
        }
        Standing::NoSlot { runner, busy } => {
            small(&format!("⏳ **{runner}** has no free slot ({busy} at work); it waits."))
        }
        Standing::Starting { runner } => {
            let place = runner.map_or(String::new(), |runner| format!(" on **{runner}**"));
            small(&format!("⏳ Starting{place}."))
        }
        Standing::AtWork { since_ms, live } => at_work(*since_ms, live),
        Standing::Silent { runner, since_ms } => {
            let who = runner.map_or("its runner".to_owned(), |runner| format!("**{runner}**"));
            let since = since_ms.div_euclid(1000);
            small(&format!(
                "⚠️ No word from {who} since <t:{since}:R>. claude may still be at work."
            ))
        }
    }
}

fn small(line: &str) -> String {
    format!("-# {line}")
}

fn at_work(since_ms: i64, live: &Live) -> String {
    let for_so_long =
        steps_of(live.for_ms).map_or(String::new(), |ms| format!(" · {}", duration(ms)));
    let mut lines = match &live.doing {
        Doing::Starting => vec!["⏳ Starting".to_owned()],
        Doing::Thinking => vec![format!("💭 Thinking{for_so_long}")],
        Doing::Asking => vec!["⏸️ **Waiting for you**".to_owned()],
        Doing::Retrying { why } => {
            vec![format!("🔁 The API failed ({}); it is asked again", code(why))]
        }
        Doing::Tool { step, agent, others } => {
            let beside = if *others == 0 { String::new() } else { format!(" · {others} more") };
            let inside = agent.iter().map(|agent| small(&format!("🤖 {}", code(agent))));
            inside.chain([format!("🔧 {}{for_so_long}{beside}", called(step))]).collect()
        }
    };
    lines.extend(list(&live.list));
    lines.extend(finished(live));
    lines.push(about(since_ms, live));
    lines.join("\n")
}

/// What claude has on its list: what is done as a number, then what is at hand and what comes.
fn list(points: &[Point]) -> Vec<String> {
    if points.is_empty() {
        return Vec::new();
    }
    let done = points.iter().filter(|point| point.state == PointState::Done).count();
    let mut lines = vec![format!("**{done} of {} done**", points.len())];
    let open = || points.iter().filter(|point| point.state != PointState::Done);
    lines.extend(open().take(POINTS_MAX).map(|point| {
        let mark = match point.state {
            PointState::Begun => "▶️",
            PointState::Open | PointState::Done => "▫️",
        };
        format!("{mark} {}", cut(&escaped(&point.text), OBJECT_MAX))
    }));
    let more = open().count().saturating_sub(POINTS_MAX);
    lines.extend((more != 0).then(|| small(&format!("and {more} more"))));
    lines
}

/// The steps that are finished, in a line.
fn finished(live: &Live) -> Option<String> {
    let named = live.steps.iter().rev().map(|step| {
        let mark = if step.failed { "✗" } else { "✓" };
        format!("{mark} {}", called(step))
    });
    let named: Vec<String> = named.collect();
    let others = usize::try_from(live.done).unwrap_or(usize::MAX).saturating_sub(named.len());
    let others = (others != 0).then(|| format!("{others} before"));
    let all: Vec<String> = named.into_iter().chain(others).collect();
    (!all.is_empty()).then(|| small(&all.join(" · ")))
}

/// Since when, how much, by whom, where.
fn about(since_ms: i64, live: &Live) -> String {
    let parts = [
        Some(format!("<t:{}:R>", since_ms.div_euclid(1000))),
        (live.tokens != 0).then(|| tokens(live.tokens)),
        live.model.as_deref().map(model),
        Some(live.runner.to_string()),
        (Attempt::FIRST < live.attempt).then(|| format!("resumed, attempt {}", live.attempt)),
    ];
    small(&parts.into_iter().flatten().collect::<Vec<_>>().join(" · "))
}

fn tokens(count: u64) -> String {
    match count {
        0..=999 => format!("{count} tokens"),
        _ => format!("{}k tokens", count / 1000),
    }
}

fn called(step: &Step) -> String {
    let tool = cut(&escaped(&step.tool), TOOL_MAX);
    if step.object.is_empty() {
        format!("**{tool}**")
    } else {
        format!("**{tool}** {}", code(&step.object))
    }
}

/// Text that is claude's, so that nothing in it is markup.
fn code(text: &str) -> String {
    let text = cut(&plain(text).replace('`', "'"), OBJECT_MAX);
    if text.is_empty() { "…".to_owned() } else { format!("`{text}`") }
}

fn escaped(text: &str) -> String {
    let is_markup = |c: char| "\\*_~|<>[]#@".contains(c);
    let escape = |c| if is_markup(c) { vec!['\\', c] } else { vec![c] };
    plain(text).replace('`', "'").chars().flat_map(escape).collect()
}

fn cut(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        Some((at, _)) => format!("{}…", &text[..at].trim_end_matches('\\')),
        None => text.to_owned(),
    }
}

/// How long something lasts, in steps that grow with it: `None` below the first.
fn steps_of(ms: u64) -> Option<u64> {
    let step = match ms {
        ..=9_999 => return None,
        10_000..=59_999 => 10_000,
        60_000..=599_999 => 30_000,
        600_000.. => 60_000,
    };
    Some(ms / step * step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pages::{PAGE_MAX, units};
    use proptest::prelude::*;
    use schemas::ids::Generation;

    fn live() -> Live {
        let text = include_str!("../../../schemas/golden/live-1.json");
        schemas::from_json(text.as_bytes()).unwrap()
    }

    fn shown(live: &Live) -> String {
        text(&Standing::AtWork { since_ms: 1_700_000_000_000, live })
    }

    #[test]
    fn what_claude_does_is_shown_with_what_it_did_and_has_to_do() {
        let expected = "-# 🤖 `Review the parser`\n\
            🔧 **Bash** `cargo test` · 1 m 0 s · 1 more\n\
            **1 of 3 done**\n▶️ Mend it\n▫️ Test it\n\
            -# ✗ **Edit** `src/main.rs` · ✓ **Read** `src/main.rs` · 3 before\n\
            -# <t:1700000000:R> · 23k tokens · opus-5-5 · host-1 · resumed, attempt 2";
        assert_eq!(shown(&live()), expected);
    }

    #[test]
    fn each_state_says_what_is_waited_for() {
        let (project, runner) = ("app".parse().unwrap(), "host-1".parse().unwrap());
        let (project, runner): (&ProjectName, &RunnerId) = (&project, &runner);
        for (standing, said) in [
            (Standing::Queued { behind: 2 }, "-# ⏳ Queued behind 2."),
            (Standing::NoRunner { project, runner: None }, "No runner of **app** is there"),
            (
                Standing::NoRunner { project, runner: Some(runner) },
                "of **app**, **host-1**, is there",
            ),
            (Standing::NoSlot { runner, busy: 4 }, "**host-1** has no free slot (4 at work)"),
            (Standing::Starting { runner: Some(runner) }, "-# ⏳ Starting on **host-1**."),
            (
                Standing::Silent { runner: None, since_ms: 7_000 },
                "No word from its runner since <t:7:R>",
            ),
        ] {
            assert!(text(&standing).contains(said), "{standing:?}: {}", text(&standing));
        }
        assert!(
            shown(&Live { doing: Doing::Asking, ..live() }).starts_with("⏸️ **Waiting for you**")
        );
        let retrying = Doing::Retrying { why: "overloaded".into() };
        assert!(
            shown(&Live { doing: retrying, ..live() })
                .starts_with("🔁 The API failed (`overloaded`)")
        );
    }

    #[test]
    fn a_long_tool_is_seen_to_go_on() {
        let at = |for_ms| shown(&Live { for_ms, ..live() });
        assert_eq!(at(61_000), at(89_000), "no edit for a second more");
        let (minute, half) = (at(61_000), at(91_000));
        assert!(minute.contains("1 m 0 s") && half.contains("1 m 30 s"), "{half}");
        assert!(at(3_660_000).contains("1 h 1 m"));
    }

    proptest! {
        #[test]
        fn whatever_is_told_fits_a_message_and_is_no_markup(
            words in prop::collection::vec("\\PC{0,120}", 1..30), done in any::<u32>(),
        ) {
            let step = |text: &String| Step { tool: text.clone(), object: text.clone(), failed: true };
            let live = Live {
                doing: Doing::Tool { step: step(&words[0]), agent: words.last().cloned(), others: 9 },
                model: words.last().cloned(),
                steps: words.iter().take(3).map(step).collect(),
                list: words
                    .iter()
                    .map(|text| Point { text: text.clone(), state: PointState::Open })
                    .collect(),
                done,
                generation: Generation(9),
                ..live()
            };
            let shown = shown(&live);
            prop_assert!(units(&shown) <= PAGE_MAX, "{}", units(&shown));
            prop_assert!(shown.matches('`').count().is_multiple_of(2));
        }
    }
}
