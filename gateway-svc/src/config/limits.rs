//! The limits of a project, out of its table: tools, who may say `!unsafe`, how often, what it costs.
//!
//! A value of another type is told with its line; what is out of bounds, with the other problems. It never
//! falls back to something that was not written.

use std::time::Duration;

use platform::config::{Environment, Problems};
use schemars::JsonSchema;
use schemas::rights::{RULES_MAX, Rule};
use serde::Deserialize;

use super::allow;
use crate::limits::{Budget, Limits, Rate, Tools, UNSAFE_USUAL};
use crate::unsafe_mode::CONFIRM_WITHIN;

/// Sets how long the button under an `!unsafe` counts, for tests.
const CONFIRM_MS: &str = "HOLDFAST_UNSAFE_CONFIRM_MS";
/// Above this, nobody would remember that it is unsafe.
const UNSAFE_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Above this, a window is no rate but a budget.
const WINDOW_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// More questions than anybody asks; each accepted one looks at as many rows.
const RATE_MAX: u32 = 10_000;
/// More than anybody means to spend; it only keeps a slip of the finger from setting no limit.
const DOLLARS_MAX: f64 = 100_000.0;
/// Below this, no question could be asked.
const DOLLARS_MIN: f64 = 0.000_001;
const UNSAFE_RULE: &str =
    "say who may say !unsafe: unsafe = { roles = [\"ID\"], users = [\"ID\"] }";

/// The keys of a project's table that limit it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ToolsFile {
    /// In place of the runner's list, and within it.
    ///
    /// Default: none: the runner's list
    allow: Option<Vec<String>>,
    /// Beside it, as far as the runner's `may_allow` goes.
    ///
    /// Default: `[]`
    #[serde(default)]
    extra: Vec<String>,
    /// Not at all, whoever allows it.
    ///
    /// Default: `[]`
    #[serde(default)]
    deny: Vec<String>,
}

/// How often people may ask.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RateFile {
    /// One person, within the window.
    ///
    /// Default: none: any number
    /// Bounds: 1 to 10000 questions
    per_person: Option<u32>,
    /// All together, within the window.
    ///
    /// Default: none: any number
    /// Bounds: 1 to 10000 questions
    per_project: Option<u32>,
    /// How long the window is.
    ///
    /// Default: `60`
    /// Bounds: 1 to 86400 seconds
    window_s: Option<u64>,
}

/// What may be spent, in US dollars.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "each key says its unit")]
pub(super) struct BudgetFile {
    /// One run.
    ///
    /// Default: none: no limit
    /// Bounds: more than 0 and at most 100000 US dollars
    run_usd: Option<f64>,
    /// One person in a day.
    ///
    /// Default: none: no limit
    /// Bounds: more than 0 and at most 100000 US dollars
    person_day_usd: Option<f64>,
    /// All together in a day.
    ///
    /// Default: none: no limit
    /// Bounds: more than 0 and at most 100000 US dollars
    day_usd: Option<f64>,
}

/// All of them, as a project's table has them.
#[derive(Debug)]
pub(super) struct LimitsFile {
    pub(super) tools: ToolsFile,
    pub(super) unsafe_for: Option<serde_json::Value>,
    pub(super) unsafe_max_s: Option<u64>,
    pub(super) rate: RateFile,
    pub(super) budget: BudgetFile,
}

/// What holds for all projects.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shared {
    /// What they may cost together.
    pub(super) budget: Budget,
    /// How long the button under an `!unsafe` counts.
    pub(super) unsafe_confirm: Duration,
}

/// How long the button under an `!unsafe` counts: a minute, or what a test has in its environment.
pub(super) fn confirm_within(env: &Environment, problems: &mut Problems) -> Duration {
    let Some(text) = env.get(CONFIRM_MS).filter(|text| !text.is_empty()) else {
        return CONFIRM_WITHIN;
    };
    let given = problems.take(CONFIRM_MS, text.parse::<u64>());
    given.map_or(CONFIRM_WITHIN, Duration::from_millis)
}

impl LimitsFile {
    /// Checks them; `at` says where a key of the project stands.
    pub(super) fn check(
        self,
        at: &impl Fn(&str) -> String,
        shared: Shared,
        problems: &mut Problems,
    ) -> Limits {
        let unsafe_for = self.unsafe_for.as_ref().and_then(|value| {
            let read = allow(Some(value)).map_err(|_| UNSAFE_RULE);
            problems.take(&at("unsafe"), read)
        });
        let unsafe_max =
            seconds(self.unsafe_max_s, UNSAFE_USUAL, UNSAFE_MAX, &at("unsafe_max_s"), problems);
        Limits {
            tools: self.tools.check(at, problems),
            unsafe_for,
            unsafe_max,
            unsafe_confirm: shared.unsafe_confirm,
            rate: self.rate.check(at, problems),
            own: self.budget.check(&at("budget"), problems),
            all: shared.budget,
        }
    }
}

impl ToolsFile {
    fn check(self, at: &impl Fn(&str) -> String, problems: &mut Problems) -> Tools {
        let empty = Vec::new();
        let allow = self.allow.as_ref().unwrap_or(&empty);
        for (key, rules) in
            [("tools.allow", allow), ("tools.extra", &self.extra), ("tools.deny", &self.deny)]
        {
            if let Some(odd) = rules.iter().find(|rule| Rule::parse(rule).is_none()) {
                let why = format!("{odd:?} is no rule: a tool, or Tool(what), one an entry");
                problems.add(at(key), why);
            }
            problems.check(rules.len() <= RULES_MAX, &at(key), || {
                format!("must be at most {RULES_MAX}, are {}", rules.len())
            });
        }
        let Self { allow, extra, deny } = self;
        Tools { allow, extra, deny }
    }
}

impl RateFile {
    fn check(self, at: &impl Fn(&str) -> String, problems: &mut Problems) -> Rate {
        let usual = Rate::default();
        for (key, given) in
            [("rate.per_person", self.per_person), ("rate.per_project", self.per_project)]
        {
            problems.check(given.is_none_or(|it| (1..=RATE_MAX).contains(&it)), &at(key), || {
                format!("must be 1 to {RATE_MAX}, is {}", given.unwrap_or_default())
            });
        }
        let window =
            seconds(self.window_s, usual.window, WINDOW_MAX, &at("rate.window_s"), problems);
        Rate { per_person: self.per_person, per_project: self.per_project, window }
    }
}

impl BudgetFile {
    /// Checks it; `at` is where its table stands.
    pub(super) fn check(self, at: &str, problems: &mut Problems) -> Budget {
        let mut micro = |key: &str, dollars: Option<f64>| {
            let dollars = dollars?;
            let fits = (DOLLARS_MIN..=DOLLARS_MAX).contains(&dollars);
            problems.check(fits, &format!("{at}.{key}"), || {
                format!("must be more than 0 and at most {DOLLARS_MAX} dollars, is {dollars}")
            });
            #[expect(clippy::cast_possible_truncation, reason = "a cast of a float saturates")]
            let micro = (dollars * 1_000_000.0).round() as i64;
            Some(micro)
        };
        Budget {
            run: micro("run_usd", self.run_usd),
            person_day: micro("person_day_usd", self.person_day_usd),
            day: micro("day_usd", self.day_usd),
        }
    }
}

fn seconds(
    given: Option<u64>,
    usual: Duration,
    max: Duration,
    key: &str,
    problems: &mut Problems,
) -> Duration {
    let taken = given.map_or(usual, Duration::from_secs);
    problems.check(!taken.is_zero() && taken <= max, key, || {
        format!("must be 1 to {} seconds, is {}", max.as_secs(), taken.as_secs())
    });
    taken
}

#[cfg(test)]
mod tests {
    use super::super::tests::load;
    use super::*;
    use platform::config::ConfigError;

    const PROJECT: &str = "[projects.app]\nchannels = [\"7\"]\nallow = \"everyone\"\n";

    #[test]
    fn limits_are_what_is_written() {
        let text = "[budget]\nday_usd = 100\n".to_owned()
            + PROJECT
            + "tools = { allow = [\"Read\"], extra = [\"Bash(npm:*)\"], deny = [\"WebFetch\"] }\n\
               unsafe = { users = [\"5\"] }\nunsafe_max_s = 600\n\
               rate = { per_person = 3, window_s = 10 }\n\
               budget = { run_usd = 1.5, person_day_usd = 5 }";
        let config = load(&text).unwrap();
        let limits = &config.routes.project_of("7".parse().unwrap()).unwrap().limits;
        assert_eq!(limits.tools.extra, ["Bash(npm:*)"]);
        assert_eq!(
            (limits.unsafe_max, limits.rate.window),
            (Duration::from_secs(600), Duration::from_secs(10))
        );
        assert_eq!((limits.rate.per_person, limits.rate.per_project), (Some(3), None));
        assert_eq!((limits.own.run, limits.own.person_day), (Some(1_500_000), Some(5_000_000)));
        assert_eq!(limits.all.day, Some(100_000_000));
        let may = limits.unsafe_for.as_ref().unwrap();
        assert!(may.permits("5".parse().unwrap(), &[]) && !may.permits("6".parse().unwrap(), &[]));
    }

    #[test]
    fn without_a_word_nothing_is_limited_and_nobody_may_say_unsafe() {
        let config = load(PROJECT).unwrap();
        let project = config.routes.project_of("7".parse().unwrap()).unwrap();
        assert!(project.limits.are_usual() && !project.limits.rate.is_set());
        assert!(project.limits.unsafe_for.is_none());
    }

    #[test]
    fn what_is_out_of_bounds_is_told_with_its_bounds() {
        let text = "[budget]\nday_usd = -1\n".to_owned()
            + PROJECT
            + "tools = { allow = [\"Read,Write\"], extra = [\"\"], deny = [\"Bash(\"] }\n\
               unsafe = { users = [] }\nunsafe_max_s = 86401\n\
               rate = { per_person = 0, per_project = 10001, window_s = 0 }\n\
               budget = { run_usd = 0, person_day_usd = inf, day_usd = nan }";
        let error = load(&text).unwrap_err().to_string();
        for part in [
            "app.tools.allow: \"Read,Write\" is no rule",
            "app.tools.extra: \"\" is no rule",
            "app.tools.deny: \"Bash(\" is no rule",
            "app.unsafe: say who may say !unsafe",
            "app.unsafe_max_s: must be 1 to 86400 seconds, is 86401",
            "app.rate.per_person: must be 1 to 10000, is 0",
            "app.rate.per_project: must be 1 to 10000, is 10001",
            "app.rate.window_s: must be 1 to 86400 seconds, is 0",
            "app.budget.run_usd: must be more than 0",
            "app.budget.person_day_usd: must be more than 0",
            "app.budget.day_usd: must be more than 0",
            "budget.day_usd: must be more than 0 and at most 100000 dollars, is -1",
        ] {
            assert!(error.contains(part), "{part:?} is not in\n{error}");
        }
    }

    #[test]
    fn a_value_of_another_type_is_told_with_its_line() {
        for wrong in [
            "tools = [\"Read\"]",
            "tools = { deny = \"Bash\" }",
            "tools = { denied = [] }",
            "unsafe_max_s = \"an hour\"",
            "unsafe_max_s = -1",
            "rate = 5",
            "rate = { per_person = -1 }",
            "rate = { per_person = 99999999999 }",
            "budget = { run_usd = \"1\" }",
            "budget = { run = 1 }",
        ] {
            let error = load(&format!("{PROJECT}{wrong}")).unwrap_err();
            let ConfigError::Malformed { source, .. } = error else { panic!("{wrong}: {error}") };
            assert!(source.to_string().contains("line 4"), "{wrong}: {source}");
        }
        let error = load(&format!("{PROJECT}unsafe = true")).unwrap_err().to_string();
        assert!(error.contains("projects.app.unsafe: say who may say !unsafe"), "{error}");
    }
}
