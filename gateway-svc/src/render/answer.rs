//! An answer → posts: its pages and the small print under the last, or, where there are too many
//! pages, the first and the whole as a file.
//!
//! Pure. It leaves nothing of an answer out.

use schemas::ids::{ChannelId, RunnerId};
use schemas::record::Usage;

use super::given::Gift;
use crate::outbox::{Action, UPLOAD_MAX};
use crate::pages::{PAGE_MAX, first_page, pages, units};

/// The name of the file that has the whole of a long answer.
const FILE: &str = "answer.md";
/// How many millionths a dollar has.
const MICRO: f64 = 1_000_000.0;
/// The most characters of a model's name that are shown.
const MODEL_MAX: usize = 40;
/// What is said under the first page of an answer that has a file.
const MORE: &str = "\n-# 📄 It goes on: the whole answer is in the file.";

/// What is told with an outcome, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told<'a> {
    /// The text of an answer, wherever the record keeps it.
    pub(crate) answer: &'a str,
    /// What it took, as far as claude said.
    pub(crate) usage: Option<&'a Usage>,
    /// Who held it.
    pub(crate) runner: Option<&'a RunnerId>,
    /// Where its trace is shown.
    pub(crate) trace: Option<&'a str>,
    /// The most pages that are posted.
    pub(crate) pages_max: usize,
    /// The files that go with it, if there may be some.
    pub(crate) gift: Option<Gift<'a>>,
}

impl<'a> Told<'a> {
    /// An answer of which nothing else is known.
    pub(crate) fn of(answer: &'a str) -> Self {
        Self { answer, usage: None, runner: None, trace: None, pages_max: usize::MAX, gift: None }
    }

    /// The line under the answer: how long it took, what it cost, who made it, and where. `before` is
    /// what its session had cost before, in millionths of a US dollar.
    pub(super) fn footer(&self, before: i64) -> Option<String> {
        let usage = self.usage?;
        let parts = [
            Some(duration(usage.duration_ms)),
            cost(spent(usage) - before),
            usage.model.as_deref().map(model),
            self.runner.map(ToString::to_string),
            // Between < and >, so that Discord shows no picture of the page.
            self.trace.map(|url| format!("[trace](<{url}>)")),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        Some(format!("-# {}", parts.join(" · ")))
    }
}

/// What a session had cost at the end of a run, in millionths of a US dollar.
pub(crate) fn spent(usage: &Usage) -> i64 {
    // A cost is far below what an i64 holds; what is no number is nothing.
    #[expect(clippy::cast_possible_truncation, reason = "a cast of a float saturates")]
    let micro = (usage.cost_usd * MICRO).round() as i64;
    micro.max(0)
}

/// A duration as a person reads it.
pub(crate) fn duration(ms: u64) -> String {
    let (seconds, tenths) = (ms / 1000, ms % 1000 / 100);
    match (seconds / 3600, seconds % 3600 / 60, seconds % 60) {
        (0, 0, seconds @ 0..=9) => format!("{seconds}.{tenths} s"),
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} m {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} m"),
    }
}

fn cost(micro: i64) -> Option<String> {
    match micro {
        ..=0 => None,
        1..=9_999 => Some("<$0.01".to_owned()),
        _ => Some(format!("${}.{:02}", micro / 1_000_000, micro % 1_000_000 / 10_000)),
    }
}

/// A model as people call it.
pub(crate) fn model(name: &str) -> String {
    let plain = |c: &char| c.is_ascii_alphanumeric() || "-_.:[]".contains(*c);
    name.trim_start_matches("claude-").chars().filter(plain).take(MODEL_MAX).collect()
}

/// The posts of a text, with small print under it.
pub(super) fn posts(
    channel: ChannelId,
    text: &str,
    print: &[String],
    pages_max: usize,
) -> Vec<Action> {
    let mut all = pages(text);
    if pages_max < all.len() && text.len() <= UPLOAD_MAX {
        return vec![upload(channel, text, print)];
    }
    for line in print {
        match all.last_mut() {
            Some(last) if units(last) + 1 + units(line) <= PAGE_MAX => {
                last.push('\n');
                last.push_str(line);
            }
            Some(_) | None => all.push(line.clone()),
        }
    }
    let post = |content| Action::Post { channel, reply_to: None, content, buttons: Vec::new() };
    all.into_iter().map(post).collect()
}

/// The first page, and the whole as a file.
fn upload(channel: ChannelId, text: &str, print: &[String]) -> Action {
    let print = print.iter().fold(String::new(), |all, line| all + "\n" + line);
    // Half of the page is the answer's, however much was refused.
    let fits = units(MORE) + units(&print) <= PAGE_MAX / 2;
    let (small, text) = if fits {
        (format!("{MORE}{print}"), text.to_owned())
    } else {
        (MORE.to_owned(), format!("{text}\n{print}"))
    };
    let content = first_page(&text, PAGE_MAX - units(&small)) + &small;
    Action::Upload { channel, reply_to: None, content, name: FILE.to_owned(), text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(answer: &str, pages_max: usize) -> Vec<Action> {
        posts_of(answer, &["-# 3.0 s".to_owned()], pages_max)
    }

    fn posts_of(answer: &str, print: &[String], pages_max: usize) -> Vec<Action> {
        posts("7".parse().unwrap(), answer, print, pages_max)
    }

    fn usage(duration_ms: u64, cost_usd: f64) -> Usage {
        let model = Some("claude-opus-5-5".to_owned());
        Usage { duration_ms, cost_usd, turns: 1, input_tokens: 1, output_tokens: 1, model }
    }

    #[test]
    fn the_line_under_an_answer_says_what_it_took() {
        let (usage, runner) = (usage(72_400, 0.145), "host-1".parse().unwrap());
        let told = Told { usage: Some(&usage), runner: Some(&runner), ..Told::of("hm") };
        assert_eq!(told.footer(100_000).unwrap(), "-# 1 m 12 s · $0.04 · opus-5-5 · host-1");
        assert_eq!(told.footer(0).unwrap(), "-# 1 m 12 s · $0.14 · opus-5-5 · host-1");
        assert_eq!(told.footer(200_000).unwrap(), "-# 1 m 12 s · opus-5-5 · host-1", "not less");
        assert_eq!(Told::of("hm").footer(0), None);
        let told = Told { trace: Some("https://j.example/4bf9"), ..told };
        let footer = told.footer(0).unwrap();
        assert!(footer.ends_with(" · host-1 · [trace](<https://j.example/4bf9>)"), "{footer}");
    }

    #[test]
    fn a_duration_is_said_as_a_person_reads_it() {
        for (ms, text) in [(0, "0.0 s"), (2_345, "2.3 s"), (59_999, "59 s"), (3_600_000, "1 h 0 m")]
        {
            assert_eq!(duration(ms), text);
        }
    }

    #[test]
    fn what_is_no_cost_is_nothing() {
        for cost in [f64::NAN, -1.0, 0.0] {
            assert_eq!(spent(&usage(1, cost)), 0);
        }
        assert_eq!(cost(spent(&usage(1, 0.000_4))).as_deref(), Some("<$0.01"));
    }

    #[test]
    fn the_small_print_stands_behind_a_fence_that_nobody_closed() {
        let posts = told("```rs\nlet x", 10);
        let [Action::Post { content, .. }] = &posts[..] else { panic!("{posts:?}") };
        assert_eq!(content, "```rs\nlet x\n```\n-# 3.0 s");
    }

    #[test]
    fn small_print_that_fits_no_page_has_one_of_its_own() {
        let posts = told(&"x".repeat(1700), 10);
        assert_eq!(posts.len(), 1);
        let posts = told(&"word ".repeat(399), 10);
        assert_eq!(posts.len(), 2, "{posts:?}");
        let Some(Action::Post { content, .. }) = posts.last() else { panic!("no post") };
        assert!(content.ends_with("-# 3.0 s"), "{content}");
    }

    #[test]
    fn a_very_long_answer_is_its_first_page_and_a_file_with_all_of_it() {
        let answer = "a word and another\n".repeat(1000);
        let posts = told(&answer, 4);
        let [Action::Upload { content, name, text, .. }] = &posts[..] else { panic!("{posts:?}") };
        assert!(units(content) <= PAGE_MAX && content.starts_with("a word and another\n"));
        assert!(content.ends_with("is in the file.\n-# 3.0 s"), "{content}");
        assert_eq!((name.as_str(), text), ("answer.md", &answer));
        assert_eq!(told(&answer, 20).len(), pages(&answer).len(), "as many as may be are posted");
    }

    #[test]
    fn much_small_print_is_in_the_file() {
        let print: Vec<String> = (0..30).map(|n| format!("-# {n} {}", "x".repeat(100))).collect();
        let posts = posts_of(&"word ".repeat(9000), &print, 2);
        let [Action::Upload { content, text, .. }] = &posts[..] else { panic!("{posts:?}") };
        assert!(units(content) <= PAGE_MAX && text.contains(&print[29]));
    }
}
