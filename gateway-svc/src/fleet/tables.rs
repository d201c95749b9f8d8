//! Lists as a person at a terminal sees them.
//!
//! Pure. A table shows the same as the JSON of its list, but for what has no room in a line.

use platform::terminal::{Table, line, moment};

use super::{Audit, Cursor, Run, Runners, Runs, Taken, Usage};
use crate::render;

/// The most characters of a reason that a line has room for.
const WHY_MAX: usize = 60;
/// What stands where there is nothing to tell.
const NONE: &str = "-";

/// A list that a person can be shown.
pub(crate) trait Shown {
    /// The list in columns, and how to see more of it.
    fn table(&self) -> String;
}

impl Shown for Runs {
    fn table(&self) -> String {
        let head =
            ["RUN", "PROJECT", "THREAD", "ASKED BY", "STATE", "RUNNER", "ACCEPTED", "COST", "WHY"];
        let mut table = Table::new(&head);
        for run in &self.runs {
            let Run { run: id, project, thread, person, state, runner, .. } = run;
            table.row([
                id.to_string(),
                project.to_string(),
                thread.to_string(),
                person.name.clone(),
                state.name().to_owned(),
                or_none(runner.as_ref()),
                moment(run.accepted_ms),
                money(run.cost_usd),
                short(run.why.as_deref().unwrap_or_default()),
            ]);
        }
        with_more(&table, self.next.as_ref())
    }
}

impl Shown for Runners {
    fn table(&self) -> String {
        let head =
            ["RUNNER", "THERE", "BUSY", "TAKES WORK", "PROJECTS", "LABELS", "VERSION", "SEEN"];
        let mut table = Table::new(&head);
        for runner in &self.runners {
            let projects = runner.projects.iter().map(|project| {
                let shared = runner.shared.contains(project);
                format!("{project}{}", if shared { " (shared)" } else { "" })
            });
            table.row([
                runner.runner.to_string(),
                yes(runner.there),
                format!("{}/{}", runner.busy, runner.slots),
                yes(!runner.draining),
                listed(&projects.collect::<Vec<_>>()),
                listed(&runner.labels),
                runner.version.clone(),
                moment(runner.seen_ms),
            ]);
        }
        with_more(&table, self.next.as_ref())
    }
}

impl Shown for Audit {
    fn table(&self) -> String {
        let mut table = Table::new(&["AT", "ACT", "BY", "RUN", "PROJECT", "THREAD", "DETAIL"]);
        for act in &self.acts {
            let by = match act.by.kind.as_str() {
                "person" => act.by.name.clone(),
                "operator" => "(operator)".to_owned(),
                kind => format!("{} ({kind})", act.by.name),
            };
            table.row([
                moment(act.at_ms),
                act.act.clone(),
                by,
                or_none(act.run.as_ref()),
                or_none(act.project.as_ref()),
                or_none(act.thread.as_ref()),
                short(act.detail.as_deref().unwrap_or_default()),
            ]);
        }
        with_more(&table, self.next.as_ref())
    }
}

impl Shown for Usage {
    fn table(&self) -> String {
        let by = self.by.to_string().to_uppercase();
        let head = [by.as_str(), "OUTCOMES", "COST", "TOKENS IN", "TOKENS OUT", "TIME"];
        let mut table = Table::new(&head);
        for share in &self.usage {
            let key = match &share.name {
                Some(name) => format!("{} ({name})", share.key),
                None => share.key.clone(),
            };
            table.row(taken(key, &share.taken));
        }
        table.row(taken("all".to_owned(), &self.total));
        with_more(&table, self.next.as_ref())
    }
}

fn taken(key: String, taken: &Taken) -> [String; 6] {
    [
        key,
        taken.outcomes.to_string(),
        money(taken.cost_usd),
        taken.input_tokens.to_string(),
        taken.output_tokens.to_string(),
        render::duration(taken.duration_ms.unsigned_abs()),
    ]
}

fn with_more(table: &Table, next: Option<&Cursor>) -> String {
    match next {
        Some(next) => format!("{table}\nThere is more: --after {next}"),
        None => table.to_string(),
    }
}

fn or_none(value: Option<&impl ToString>) -> String {
    value.map_or_else(|| NONE.to_owned(), ToString::to_string)
}

fn yes(is_so: bool) -> String {
    if is_so { "yes" } else { "no" }.to_owned()
}

fn listed(texts: &[String]) -> String {
    if texts.is_empty() { NONE.to_owned() } else { texts.join(", ") }
}

fn money(usd: f64) -> String {
    if usd == 0.0 { NONE.to_owned() } else { format!("${usd:.4}") }
}

fn short(text: &str) -> String {
    let text = line(text);
    if text.chars().count() <= WHY_MAX {
        return text;
    }
    let mut text: String = text.chars().take(WHY_MAX - 1).collect();
    text.push('…');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::{Act, Actor, By, Share};

    #[test]
    fn usage_ends_with_the_sum() {
        let taken = Taken {
            outcomes: 2,
            cost_usd: 0.00184,
            input_tokens: 440,
            output_tokens: 4,
            duration_ms: 61_000,
        };
        let usage = Usage {
            by: By::Person,
            usage: vec![Share { key: "9".into(), name: Some("Ada".into()), taken: taken.clone() }],
            total: taken,
            next: None,
        };
        let expected = "PERSON   OUTCOMES  COST     TOKENS IN  TOKENS OUT  TIME\n\
                        9 (Ada)  2         $0.0018  440        4           1 m 1 s\n\
                        all      2         $0.0018  440        4           1 m 1 s";
        assert_eq!(usage.table(), expected);
    }

    #[test]
    fn what_others_wrote_is_one_clean_line_and_more_is_pointed_at() {
        let by = Actor { kind: "token".into(), id: None, name: "ops\u{1b}]0;x\n".into() };
        let act = Act {
            at_ms: 0,
            act: "retry".into(),
            by,
            run: Some("m7".parse().unwrap()),
            generation: Some(1),
            project: None,
            thread: None,
            detail: Some("x ".repeat(100)),
        };
        let next = Some(Cursor { at: 0, key: "a.7".into() });
        let table = Audit { acts: vec![act], next }.table();
        let lines: Vec<&str> = table.lines().collect();
        assert!(lines[1].contains("ops]0;x (token)") && lines[1].ends_with('…'), "{table}");
        assert_eq!(lines[2..], ["There is more: --after 0.a.7"]);
    }
}
