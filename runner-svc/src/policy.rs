//! What a run is to be allowed, by its gateway → what claude is started with: never more than this host's
//! configuration permits.
//!
//! The project's `allow` and `may_allow` are the ceiling; the gateway chooses below it and may deny more.
//! What it wants beyond is left out, and the thread is told. A denied tool stays denied whatever else is
//! said: claude takes it so, and what it asks about all the same is looked at once more here.
//!
//! It is pure. It never allows a tool that the configuration does not.

use schemas::record::NOTICE_MAX;
use schemas::rights::{RULES_MAX, Rights, Rule};

use crate::config::Project;

/// The most rules that are named in a sentence.
const NAMED_MAX: usize = 3;
/// The most characters of one that are shown.
const SHOWN_MAX: usize = 40;

/// What claude is started with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Given {
    /// What it may use without asking.
    pub(crate) allow: Vec<String>,
    /// What it may not use.
    pub(crate) deny: Vec<String>,
    /// Until when nobody is asked for leave, in milliseconds since 1970; `None`: people are.
    pub(crate) unasked_until_ms: Option<i64>,
    /// What is not permitted here, as a sentence for the thread.
    pub(crate) narrowed: Option<String>,
}

/// Narrows what a run is to be allowed to what this host permits.
pub(crate) fn narrow(project: &Project, rights: &Rights) -> Given {
    let mut refused = Vec::new();
    let mut permitted = |wanted: &[String]| {
        let (kept, rest): (Vec<_>, Vec<_>) =
            wanted.iter().take(RULES_MAX).cloned().partition(|rule| is_permitted(project, rule));
        refused.extend(rest);
        kept
    };
    let mut allow = rights.allow.as_deref().map_or_else(|| project.allow.clone(), &mut permitted);
    let extra = permitted(&rights.extra);
    allow.extend(extra.into_iter().filter(|rule| !project.allow.contains(rule)));
    let mut deny = project.deny.clone();
    // One that is no rule would be read as several, or as none: it is left out, and told.
    let (rules, odd): (Vec<_>, Vec<_>) =
        rights.deny.iter().take(RULES_MAX).cloned().partition(|rule| Rule::parse(rule).is_some());
    refused.extend(odd);
    deny.extend(rules.into_iter().filter(|rule| !project.deny.contains(rule)));
    let unasked = rights.unasked.as_ref().filter(|_| project.may_be_unsafe);
    let narrowed = told(&refused, rights.unasked.is_some() && unasked.is_none());
    let unasked_until_ms = unasked.map(|unasked| unasked.until_ms);
    Given { allow, deny, unasked_until_ms, narrowed }
}

/// Whether a rule is within what this host allows, or lets be added.
fn is_permitted(project: &Project, rule: &str) -> bool {
    let mut ceiling = project.allow.iter().chain(&project.may_allow);
    match Rule::parse(rule) {
        Some(wanted) => ceiling
            .any(|own| Rule::parse(own).is_some_and(|own| own.covers(&wanted)) || own == rule),
        // The operator of this host may know what it means; nobody else's word is taken for it.
        None => ceiling.any(|own| own == rule),
    }
}

/// Whether a call is on a list of what is denied, as far as its text tells.
pub(crate) fn is_denied(deny: &[String], tool: &str, object: &str) -> bool {
    let call = Rule::of(tool, object);
    deny.iter().filter_map(|rule| Rule::parse(rule)).any(|rule| rule.covers(&call))
}

/// The sentence about what is not permitted here.
fn told(refused: &[String], unsafe_refused: bool) -> Option<String> {
    let mut parts = Vec::new();
    if unsafe_refused {
        parts.push(
            "This runner does not permit `!unsafe`: leave is asked for as before. Its operator may set \
             unsafe = true in runner.toml."
                .to_owned(),
        );
    }
    if !refused.is_empty() {
        let named = refused.iter().take(NAMED_MAX).map(|rule| {
            let rule: String =
                rule.chars().filter(|c| *c != '`' && !c.is_control()).take(SHOWN_MAX).collect();
            format!("`{rule}`")
        });
        let named = named.collect::<Vec<_>>().join(", ");
        let more = refused.len().saturating_sub(NAMED_MAX);
        let more = if 0 < more { format!(" and {more} more") } else { String::new() };
        parts.push(format!(
            "This runner does not permit {named}{more} to be allowed for the project."
        ));
    }
    let mut text = parts.join(" ");
    text.truncate(text.floor_char_boundary(NOTICE_MAX));
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worktree::Options;
    use schemas::rights::Unasked;

    fn list(rules: &[&str]) -> Vec<String> {
        rules.iter().map(ToString::to_string).collect()
    }

    fn project() -> Project {
        Project {
            directory: "/src".into(),
            allow: list(&["Read", "Bash(git:*)"]),
            deny: list(&["Bash(git push:*)"]),
            may_allow: list(&["Bash(npm:*)", "mcp__db"]),
            may_be_unsafe: false,
            ask: true,
            place: Options { worktree: true, copy: Vec::new(), setup: None },
            shared: false,
        }
    }

    #[test]
    fn without_a_word_of_the_gateway_it_is_what_the_host_says() {
        let given = narrow(&project(), &Rights::default());
        assert_eq!(given.allow, list(&["Read", "Bash(git:*)"]));
        assert_eq!(given.deny, list(&["Bash(git push:*)"]));
        assert_eq!((given.unasked_until_ms, given.narrowed), (None, None));
    }

    #[test]
    fn the_gateway_chooses_below_the_ceiling_and_no_more() {
        let rights = Rights {
            allow: Some(list(&["Bash(git log:*)", "Write"])),
            extra: list(&["Bash(npm test)", "mcp__db__query", "Bash(rm:*)", "Read,Write"]),
            deny: list(&["WebFetch", "Bash(git push:*)"]),
            ..Rights::default()
        };
        let given = narrow(&project(), &rights);
        assert_eq!(given.allow, list(&["Bash(git log:*)", "Bash(npm test)", "mcp__db__query"]));
        assert_eq!(given.deny, list(&["Bash(git push:*)", "WebFetch"]));
        let told = given.narrowed.unwrap();
        assert!(told.contains("`Write`, `Bash(rm:*)`, `Read,Write`"), "{told}");
    }

    #[test]
    fn nothing_is_taken_out_of_the_hosts_own_denials() {
        let rights = Rights { extra: list(&["Bash(git push:*)"]), ..Rights::default() };
        let given = narrow(&project(), &rights);
        assert!(given.deny.contains(&"Bash(git push:*)".to_owned()), "what is denied wins");
    }

    #[test]
    fn unsafe_is_for_the_host_to_permit() {
        let rights = Rights {
            unasked: Some(Unasked { by: "Ada".into(), until_ms: 9 }),
            ..Rights::default()
        };
        let given = narrow(&project(), &rights);
        assert_eq!(given.unasked_until_ms, None);
        assert!(given.narrowed.unwrap().contains("`!unsafe`"));
        let given = narrow(&Project { may_be_unsafe: true, ..project() }, &rights);
        assert_eq!((given.unasked_until_ms, given.narrowed), (Some(9), None));
        let given = narrow(&Project { may_be_unsafe: true, ..project() }, &Rights::default());
        assert_eq!(given.unasked_until_ms, None, "it permits it, and nobody had it so");
    }

    #[test]
    fn a_long_list_makes_a_short_sentence() {
        let extra: Vec<_> = (0..200).map(|n| format!("Tool{n}({})", "ü".repeat(140))).collect();
        let given = narrow(&project(), &Rights { extra, ..Rights::default() });
        let told = given.narrowed.unwrap();
        assert!(told.len() <= NOTICE_MAX && told.contains("and 97 more"), "{told}");
    }

    #[test]
    fn what_claude_asks_is_held_against_what_is_denied() {
        let deny = list(&["Bash(touch:*)", "WebFetch"]);
        assert!(is_denied(&deny, "Bash", "touch x"));
        assert!(is_denied(&deny, "WebFetch", "https://example.org"));
        assert!(!is_denied(&deny, "Bash", "ls"));
        assert!(!is_denied(&deny, "Bash", "touchy"));
    }
}
