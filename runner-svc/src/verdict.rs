//! How claude ended → the outcome of the run, or another attempt.
//!
//! Pure. `is_error` of claude's result decides, not its subtype; a claude that ended without a
//! result is tried again, except where trying again would end the same way.

use std::time::Duration;

use schemas::ids::RunnerId;
use schemas::record::{DENIALS_MAX, Denial, Outcome, State, Text, Usage};
use schemas::rights::Budget;
use schemas::streams::BOUNDS;

use crate::claims::{Cut, Toll};
use crate::claude::TurnResult;
use crate::spool::Ending;

/// The most characters of an error that a person is shown.
const WHY_MAX: usize = 1500;
/// SIGKILL, by its number: what the system ends a process with whose memory it wants back.
const KILL: i32 = 9;
/// What may be behind that, for the person who asked and for whoever runs the host.
const OUT_OF_MEMORY: &str = " Signal 9 (SIGKILL) is how a system ends a process when memory runs out: see \
                             the memory of the runner's host, and the limit of its unit or container.";
/// How many millionths a dollar has.
const MICRO: u64 = 1_000_000;
/// The most characters of what a tool was to be used on: a line of a screen.
const OBJECT_MAX: usize = 200;
/// The most characters of claude's standard error that a person is shown: its end.
const STDERR_MAX: usize = 600;

/// The end of a run by claude's own result.
pub(crate) fn of_result(result: &TurnResult) -> State {
    let denied = result
        .denials
        .iter()
        .take(DENIALS_MAX)
        .map(|denial| Denial {
            tool: head(&denial.tool_name, OBJECT_MAX),
            object: head(&denial.object, OBJECT_MAX),
        })
        .collect();
    let outcome = if result.is_error {
        Outcome::Failed { why: why(result), denied }
    } else {
        Outcome::Answered { answer: Text::Inline(result.text.clone()), denied }
    };
    State::Ended { outcome, usage: Some(usage(result)) }
}

fn why(result: &TurnResult) -> String {
    let text = result.text.trim();
    if text.is_empty() {
        return format!("claude ended with {}", result.subtype);
    }
    head(text, WHY_MAX)
}

/// The subtype of claude's result when it has used up what it may cost.
const BUDGET: &str = "error_max_budget_usd";

/// The result of a claude that has used up its budget, with the line for the person and its last words,
/// which it does not repeat then; `None`: it has not.
pub(crate) fn over_budget(
    result: &TurnResult,
    budget: Option<&Budget>,
    said: Option<&str>,
) -> Option<TurnResult> {
    if result.subtype != BUDGET {
        return None;
    }
    let of = budget.map_or("its budget".to_owned(), |budget| {
        let (dollars, micro) = (budget.micro_usd / MICRO, budget.micro_usd % MICRO);
        let cents = format!("{micro:06}");
        let cents = cents.trim_end_matches('0');
        format!("{} (${dollars}.{cents:0<2})", budget.of)
    });
    let mut text = format!("It has used up {of} and was ended.");
    if let Some(said) = said.map(str::trim).filter(|said| !said.is_empty()) {
        text.push_str(" Its last words:\n");
        text.push_str(said);
    }
    Some(TurnResult { text, ..result.clone() })
}

/// An end with what it took, as far as claude said.
pub(crate) fn with_usage(state: State, usage: Option<Usage>) -> State {
    match state {
        State::Ended { outcome, usage: known } => State::Ended { outcome, usage: known.or(usage) },
        state @ (State::Claimed | State::Running) => state,
    }
}

/// What a turn took, with its session's cost so far.
pub(crate) fn usage(result: &TurnResult) -> Usage {
    Usage {
        duration_ms: result.duration_ms,
        cost_usd: result.total_cost_usd,
        turns: u32::try_from(result.turns).unwrap_or(u32::MAX),
        input_tokens: result.usage.input,
        output_tokens: result.usage.output,
        model: result.model.clone(),
    }
}

/// The end of a run that never got to claude.
pub(crate) fn failed(why: impl Into<String>) -> State {
    State::Ended { outcome: Outcome::Failed { why: why.into(), denied: Vec::new() }, usage: None }
}

/// The end of a run that somebody stopped.
pub(crate) fn stopped(by: String) -> State {
    State::Ended { outcome: Outcome::Stopped { by }, usage: None }
}

/// The end of a run that took longer than any may.
pub(crate) fn too_long(max: Duration) -> State {
    failed(format!("It was still running after {} and was ended.", words(max)))
}

/// A duration as a person says it.
fn words(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 3600, seconds % 3600 / 60) {
        (0, 0) => format!("{seconds} s"),
        (0, minutes) => format!("{minutes} min"),
        (hours, 0) => format!("{hours} h"),
        (hours, minutes) => format!("{hours} h {minutes} min"),
    }
}

/// What is known of a claude that ended without an outcome.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Death<'a> {
    /// How it ended.
    pub(crate) ending: &'a Ending,
    /// Its last result, which was no outcome.
    pub(crate) result: Option<&'a TurnResult>,
    /// What it wrote to standard error.
    pub(crate) stderr: &'a str,
    /// Whether it said anything in its own protocol.
    pub(crate) spoke: bool,
}

/// What follows a death.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum After {
    /// Another attempt.
    Again,
    /// No more of them: the end of the run.
    Over(State),
}

/// Decides: `toll` is what the generation has cost with this end of claude, which counts as `cut`.
pub(crate) fn after(
    cut: Cut,
    toll: Toll,
    program: &str,
    runner: &RunnerId,
    death: Death<'_>,
) -> After {
    match (death.ending, cut) {
        (Ending::NotStarted(why), _) => {
            After::Over(failed(format!("`{program}` did not start: {why}")))
        }
        (Ending::Code(_) | Ending::Signal(_) | Ending::KeeperDied(_) | Ending::Fenced, _)
            if toll.reached(BOUNDS).is_none() =>
        {
            After::Again
        }
        (
            Ending::Code(_) | Ending::Signal(_) | Ending::KeeperDied(_) | Ending::Fenced,
            Cut::Death,
        ) => After::Over(failed(describe(toll.deaths, program, death))),
        (
            Ending::Code(_) | Ending::Signal(_) | Ending::KeeperDied(_) | Ending::Fenced,
            Cut::Loss,
        ) => After::Over(lost(toll.losses(), runner)),
    }
}

/// The end of a run that was lost too often, without a claude to say why.
pub(crate) fn lost(times: u32, runner: &RunnerId) -> State {
    failed(format!(
        "It was lost {times} times on {runner} before there was an answer: each time the runner or \
         its whole host had ended."
    ))
}

/// Says how it died, and how often by now, as the person and the log are told.
pub(crate) fn describe(deaths: u32, program: &str, death: Death<'_>) -> String {
    let how = match death.ending {
        Ending::Code(code) => format!("ended with code {code}"),
        Ending::Signal(signal) => format!("was ended by signal {signal}"),
        Ending::NotStarted(why) => format!("did not start: {why}"),
        Ending::KeeperDied(why) => format!("was lost: {why}"),
        Ending::Fenced => {
            "was ended because this runner could not say for long that it is at work".to_owned()
        }
    };
    let mut text = format!("`{program}` {how} before it answered");
    if !death.spoke {
        text.push_str(" (and said nothing that claude would say)");
    }
    let times = if 1 < deaths { format!(", {deaths} times.") } else { ".".into() };
    text.push_str(&times);
    if *death.ending == Ending::Signal(KILL) {
        text.push_str(OUT_OF_MEMORY);
    }
    let said = death.result.map(why).unwrap_or_default();
    let stderr = tail(death.stderr.trim(), STDERR_MAX);
    let quoted = |more: &String| format!("\n```\n{}\n```", more.replace("```", "'''"));
    let more =
        [said, stderr].iter().filter(|more| !more.is_empty()).map(quoted).collect::<String>();
    text + &more
}

fn head(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

fn tail(text: &str, max: usize) -> String {
    let count = text.chars().count();
    if count <= max {
        return text.to_owned();
    }
    format!("…{}", text.chars().skip(count - max).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::streams::{ATTEMPTS_MAX, LOSSES_MAX};

    fn result(is_error: bool, text: &str) -> TurnResult {
        let subtype = "success".into();
        TurnResult { is_error, text: text.into(), subtype, ..TurnResult::default() }
    }

    #[test]
    fn is_error_decides_and_not_the_subtype() {
        let State::Ended { outcome, .. } = of_result(&result(true, "API Error: 400")) else {
            panic!("no end")
        };
        assert_eq!(outcome, Outcome::Failed { why: "API Error: 400".into(), denied: Vec::new() });
        let State::Ended { outcome, .. } = of_result(&result(false, "4")) else { panic!("no end") };
        assert!(matches!(outcome, Outcome::Answered { .. }));
    }

    #[test]
    fn a_budget_that_is_used_up_is_told_with_the_last_words() {
        let done = TurnResult { subtype: BUDGET.into(), ..result(true, "Reached maximum") };
        let text = |micro_usd, said| {
            let budget = Budget { micro_usd, of: "the budget of one run".into() };
            over_budget(&done, Some(&budget), said).unwrap().text
        };
        let line = "It has used up the budget of one run ($1.50) and was ended.";
        assert_eq!(text(1_500_000, None), line);
        assert_eq!(text(1_500_000, Some(" 4 ")), format!("{line} Its last words:\n4"));
        assert!(text(100, None).contains("($0.0001)"), "{}", text(100, None));
        assert!(text(2_000_000, None).contains("($2.00)"), "{}", text(2_000_000, None));
        assert_eq!(over_budget(&result(true, "API Error"), None, Some("4")), None);
    }

    fn death(ending: &Ending) -> Death<'_> {
        Death { ending, result: None, stderr: "boom\n", spoke: false }
    }

    #[test]
    fn a_duration_is_said_as_a_person_would() {
        for (seconds, text) in
            [(40, "40 s"), (600, "10 min"), (14_400, "4 h"), (5400, "1 h 30 min")]
        {
            assert_eq!(words(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn a_program_that_is_not_there_is_not_tried_again() {
        let ending = Ending::NotStarted("No such file".into());
        let After::Over(State::Ended { outcome, .. }) = after_one(Cut::Death, Toll::FIRST, &ending)
        else {
            panic!("it was tried again")
        };
        let why = "`claude` did not start: No such file".into();
        assert_eq!(outcome, Outcome::Failed { why, denied: Vec::new() });
    }

    #[test]
    fn a_death_is_tried_again_and_the_last_one_is_told() {
        let ending = Ending::Code(3);
        let mut toll = Toll::FIRST;
        for _ in 1..ATTEMPTS_MAX {
            // What was lost between them does not count.
            toll = toll.after(Cut::Loss);
            assert_eq!(after_one(Cut::Death, toll, &ending), After::Again);
            toll = toll.after(Cut::Death);
        }
        let why = why_over(after_one(Cut::Death, toll, &ending));
        assert!(why.contains("ended with code 3 before it answered"), "{why}");
        assert!(why.contains(", 3 times.") && why.contains("boom"), "{why}");
    }

    #[test]
    fn a_loss_is_tried_again_far_more_often_and_the_last_one_is_told() {
        let ending = Ending::KeeperDied("gone".into());
        let mut toll = Toll::FIRST.after(Cut::Death);
        for _ in 1..LOSSES_MAX {
            assert_eq!(after_one(Cut::Loss, toll, &ending), After::Again);
            toll = toll.after(Cut::Loss);
        }
        let why = why_over(after_one(Cut::Loss, toll, &ending));
        assert!(why.contains("lost 20 times on host-1"), "{why}");
    }

    /// After one more such end than `toll` has.
    fn after_one(cut: Cut, toll: Toll, ending: &Ending) -> After {
        after(cut, toll.after(cut), "claude", &"host-1".parse().unwrap(), death(ending))
    }

    fn why_over(after: After) -> String {
        let After::Over(State::Ended { outcome: Outcome::Failed { why, .. }, .. }) = after else {
            panic!("not over: {after:?}")
        };
        why
    }
}
