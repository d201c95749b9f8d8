//! What a project sets limits to: the tools of its runs, who may have it that nobody is asked, how often
//! people may ask, what all of it may cost.
//!
//! Pure: from the configuration, and what the store says was asked and spent, to what a run may do, or to
//! the line for the person who has to wait. Days are those of UTC. It never counts anything itself.

use std::time::Duration;

use schemas::ids::{MessageId, ProjectName};
use schemas::rights::{self, Rights};

use crate::routes::Allow;
use crate::unsafe_mode::{CONFIRM_WITHIN, Word};

/// How long a day is.
pub(crate) const DAY_MS: i64 = 86_400_000;
/// How many millionths a dollar has.
const MICRO: i64 = 1_000_000;
/// How long `!unsafe` holds, where the project does not say.
pub(crate) const UNSAFE_USUAL: Duration = Duration::from_secs(60 * 60);

/// The limits of a project. The default sets none, and lets nobody say `!unsafe`.
#[derive(Debug)]
pub(crate) struct Limits {
    /// What claude may use.
    pub(crate) tools: Tools,
    /// Who may have it that nobody is asked for leave; `None`: nobody.
    pub(crate) unsafe_for: Option<Allow>,
    /// How long that holds.
    pub(crate) unsafe_max: Duration,
    /// How long its button counts.
    pub(crate) unsafe_confirm: Duration,
    /// How often people may ask.
    pub(crate) rate: Rate,
    /// What the project may cost.
    pub(crate) own: Budget,
    /// What all projects together may.
    pub(crate) all: Budget,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            tools: Tools::default(),
            unsafe_for: None,
            unsafe_max: UNSAFE_USUAL,
            unsafe_confirm: CONFIRM_WITHIN,
            rate: Rate::default(),
            own: Budget::default(),
            all: Budget::default(),
        }
    }
}

/// What claude may use, in claude's own words; the runner's configuration is the ceiling.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tools {
    /// In place of the runner's list, and within it.
    pub(crate) allow: Option<Vec<String>>,
    /// Beside it, where the runner lets that be added.
    pub(crate) extra: Vec<String>,
    /// Not at all.
    pub(crate) deny: Vec<String>,
}

/// How many questions are taken within a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    /// Of one person in the project.
    pub(crate) per_person: Option<u32>,
    /// Of all in the project.
    pub(crate) per_project: Option<u32>,
    /// Within so long before each question.
    pub(crate) window: Duration,
}

impl Default for Rate {
    fn default() -> Self {
        Self { per_person: None, per_project: None, window: Duration::from_secs(60) }
    }
}

/// What may be spent, in millionths of a US dollar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Budget {
    /// In one run.
    pub(crate) run: Option<i64>,
    /// By one person in a day.
    pub(crate) person_day: Option<i64>,
    /// By all in a day.
    pub(crate) day: Option<i64>,
}

/// What was spent since the day began, in millionths of a US dollar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spent {
    /// By the person in the project,
    pub(crate) own_person: i64,
    /// by all in the project,
    pub(crate) own: i64,
    /// by the person in all projects,
    pub(crate) all_person: i64,
    /// by all in all projects.
    pub(crate) all: i64,
}

/// Whose questions are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// The person's own.
    Person,
    /// All of the project.
    Project,
}

/// A question that came too early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooMany {
    /// Whose questions are too many.
    pub(crate) whose: Whose,
    /// How many are taken.
    pub(crate) max: u32,
    /// The oldest of those that count.
    pub(crate) oldest: MessageId,
}

/// What a run is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Given {
    /// It may begin, with these rights.
    Rights(Rights),
    /// There is nothing left that it could spend: the line says whose budget it is.
    UsedUp(String),
}

/// The moment at which the day of `now_ms` began.
pub(crate) fn day_began(now_ms: i64) -> i64 {
    now_ms.div_euclid(DAY_MS) * DAY_MS
}

impl Rate {
    /// Whether it limits anything.
    pub(crate) fn is_set(&self) -> bool {
        self.per_person.is_some() || self.per_project.is_some()
    }

    fn window_ms(&self) -> i64 {
        i64::try_from(self.window.as_millis()).unwrap_or(i64::MAX)
    }

    /// The messages that count beside this one, from the first to before the second: what Discord says of
    /// their times decides, so a question that is read late is judged as if it had been heard at once.
    pub(crate) fn beside(&self, message: MessageId) -> (MessageId, MessageId) {
        let (at_ms, window_ms) = (message.created_at_ms(), self.window_ms());
        let first = at_ms.saturating_sub(window_ms).saturating_add(1);
        (MessageId::first_of(first), MessageId::first_of(at_ms.saturating_add(window_ms)))
    }

    /// The oldest of so many other messages that one more would be too many within the window. None of
    /// them may be left out that counts beside it; their order does not matter.
    pub(crate) fn oldest_of(
        &self,
        max: u32,
        message: MessageId,
        others: &[MessageId],
    ) -> Option<MessageId> {
        let mut all: Vec<_> = others.iter().copied().chain([message]).collect();
        all.sort_unstable();
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        let mut groups = all.windows(max.checked_add(1)?);
        let group = groups.find(|group| {
            let (first, last) = (group[0].created_at_ms(), group[max].created_at_ms());
            group.contains(&message) && last - first < self.window_ms()
        })?;
        group.iter().find(|other| **other != message).copied()
    }

    /// What a person is told whose question came too early.
    pub(crate) fn line(&self, over: TooMany, project: &ProjectName) -> String {
        let TooMany { whose, max, oldest } = over;
        let again_s = oldest.created_at_ms().saturating_add(self.window_ms()).div_euclid(1000) + 1;
        let window = self.window.as_secs();
        let questions = if max == 1 { "question" } else { "questions" };
        let whose = match whose {
            Whose::Person => format!("you may ask {max} {questions} within {window} s"),
            Whose::Project => {
                format!("all together may ask {max} {questions} within {window} s")
            }
        };
        format!(
            "That is too fast: in **{project}** {whose}. Nothing was started; please send it again \
             after <t:{again_s}:T> (<t:{again_s}:R>)."
        )
    }
}

impl Limits {
    /// Whether nothing about a run is to be decided: it may do what its runner says.
    pub(crate) fn are_usual(&self) -> bool {
        self.tools == Tools::default() && self.unsafe_for.is_none() && !self.has_budget()
    }

    /// Whether anything is limited by what it costs.
    pub(crate) fn has_budget(&self) -> bool {
        [self.own, self.all].iter().any(|budget| *budget != Budget::default())
    }

    /// The line for a person whose run may spend nothing, by what was spent today.
    pub(crate) fn used_up(
        &self,
        spent: Spent,
        project: &ProjectName,
        now_ms: i64,
    ) -> Option<String> {
        let bound = self.bounds(spent, project).into_iter().find(|bound| bound.left <= 0)?;
        let again_s = (day_began(now_ms) + DAY_MS).div_euclid(1000);
        Some(format!(
            "{} is used up: {} of {} today. The next day begins <t:{again_s}:R> (days are those of UTC).",
            bound.whose,
            dollars(bound.max - bound.left),
            dollars(bound.max),
        ))
    }

    /// What a run is given, by what was spent today and the newest word about its thread.
    pub(crate) fn give(
        &self,
        spent: Spent,
        word: Option<&Word>,
        project: &ProjectName,
        now_ms: i64,
    ) -> Given {
        if let Some(line) = self.used_up(spent, project, now_ms) {
            return Given::UsedUp(line);
        }
        let least = self.bounds(spent, project).into_iter().min_by_key(|bound| bound.left);
        let budget = least.map(|bound| rights::Budget {
            micro_usd: u64::try_from(bound.left).unwrap_or_default(),
            of: bound.of,
        });
        let word = word.filter(|word| self.unsafe_for.is_some() && word.is_unsafe_at(now_ms));
        let unasked = word.and_then(|word| {
            Some(rights::Unasked { by: word.by.clone(), until_ms: word.until_ms? })
        });
        let Tools { allow, extra, deny } = self.tools.clone();
        Given::Rights(Rights { allow, extra, deny, unasked, budget })
    }

    /// All that bounds the cost of a run.
    fn bounds(&self, spent: Spent, project: &ProjectName) -> Vec<Bound> {
        let scopes = [
            (self.own, spent.own_person, spent.own, format!(" in **{project}**")),
            (self.all, spent.all_person, spent.all, String::new()),
        ];
        let mut bounds = Vec::new();
        for (budget, by_person, by_all, place) in scopes {
            let mut bound = |max: Option<i64>, spent: i64, whose: String, of: &str| {
                let Some(max) = max else { return };
                bounds.push(Bound { max, left: max.saturating_sub(spent), whose, of: of.into() });
            };
            bound(budget.run, 0, String::new(), "the budget of one run");
            bound(
                budget.person_day,
                by_person,
                format!("Your budget{place}"),
                "what was left of its asker's budget for the day",
            );
            bound(
                budget.day,
                by_all,
                format!("The budget of all{place}"),
                "what was left of everybody's budget for the day",
            );
        }
        bounds
    }
}

/// One thing that bounds the cost of a run, in millionths of a US dollar.
struct Bound {
    max: i64,
    left: i64,
    /// Whose it is, for the line that refuses.
    whose: String,
    /// What it is, for the line that ends a run.
    of: String,
}

/// An amount as a person reads it.
fn dollars(micro: i64) -> String {
    let micro = micro.max(0);
    let digits = format!("{:06}", micro % MICRO);
    let digits = digits.trim_end_matches('0');
    format!("${}.{digits:0<2}", micro / MICRO)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A time of 2026 within a day.
    const NOON_MS: i64 = 1_795_305_600_000 + DAY_MS / 2;

    fn app() -> ProjectName {
        "app".parse().unwrap()
    }

    fn given(limits: &Limits, spent: Spent) -> Rights {
        match limits.give(spent, None, &app(), NOON_MS) {
            Given::Rights(rights) => rights,
            Given::UsedUp(line) => panic!("{line}"),
        }
    }

    #[test]
    fn without_limits_a_run_has_the_usual_rights() {
        assert!(Limits::default().are_usual());
        assert!(given(&Limits::default(), Spent::default()).are_usual());
    }

    #[test]
    fn a_run_may_spend_the_least_of_what_is_left() {
        let own = Budget { run: Some(3 * MICRO), person_day: Some(5 * MICRO), day: None };
        let all = Budget { run: None, person_day: None, day: Some(9 * MICRO) };
        let limits = Limits { own, all, ..Limits::default() };
        let budget = |spent| given(&limits, spent).budget.unwrap();
        let none = Spent::default();
        assert_eq!(budget(none).micro_usd, 3_000_000);
        assert_eq!(budget(none).of, "the budget of one run");
        let of_person = budget(Spent { own_person: 4 * MICRO, own: 4 * MICRO, ..none });
        assert_eq!(of_person.micro_usd, 1_000_000);
        assert!(of_person.of.contains("asker"), "{}", of_person.of);
        assert_eq!(budget(Spent { all: 8_500_000, ..none }).micro_usd, 500_000);
    }

    #[test]
    fn who_has_nothing_left_is_told_how_much_it_was_and_when_there_is_more() {
        let own = Budget { person_day: Some(2_500_000), ..Budget::default() };
        let limits = Limits { own, ..Limits::default() };
        let line =
            |own_person| limits.used_up(Spent { own_person, ..Spent::default() }, &app(), NOON_MS);
        assert_eq!(line(2_499_999), None);
        let line = line(2_512_345).unwrap();
        assert!(
            line.starts_with("Your budget in **app** is used up: $2.512345 of $2.50"),
            "{line}"
        );
        assert!(line.contains(&format!("<t:{}:R>", (NOON_MS + DAY_MS / 2) / 1000)), "{line}");
        assert!(line.contains("UTC"), "{line}");
    }

    #[test]
    fn a_day_is_one_of_utc() {
        assert_eq!(day_began(NOON_MS), NOON_MS - DAY_MS / 2);
        assert_eq!(day_began(day_began(NOON_MS)), day_began(NOON_MS));
        assert_eq!(day_began(day_began(NOON_MS) - 1), day_began(NOON_MS) - DAY_MS);
    }

    #[test]
    fn what_counts_beside_a_question_is_what_discord_says_is_as_new() {
        let rate = Rate { per_person: Some(2), window: Duration::from_secs(60), ..Rate::default() };
        let at = MessageId::first_of;
        let beside = (at(NOON_MS - 59_999), at(NOON_MS + 60_000));
        assert_eq!(rate.beside(at(NOON_MS)), beside);
        let oldest = |now: i64, others: &[i64]| {
            let others: Vec<_> = others.iter().map(|ms| at(NOON_MS + ms)).collect();
            rate.oldest_of(2, at(NOON_MS + now), &others).map(|it| it.created_at_ms() - NOON_MS)
        };
        assert_eq!(oldest(0, &[]), None);
        assert_eq!(oldest(20_000, &[10_000, 0]), Some(0));
        assert_eq!(oldest(60_000, &[0, 10_000]), None, "the first is a window away");
        assert_eq!(oldest(10_000, &[20_000, 0]), Some(0), "one between them");
        assert_eq!(oldest(0, &[20_000, 10_000]), Some(10_000), "one before them, found late");
        assert_eq!(oldest(0, &[59_000, -59_000]), None, "never three within a window");
        let over = TooMany { whose: Whose::Person, max: 2, oldest: at(NOON_MS) };
        let line = rate.line(over, &app());
        assert!(line.contains("you may ask 2 questions within 60 s"), "{line}");
        assert!(line.contains(&format!("<t:{}:R>", NOON_MS / 1000 + 61)), "{line}");
    }
}
