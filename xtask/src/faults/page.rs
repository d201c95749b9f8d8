//! The table of faults as Markdown, and what of it must not differ from run to run. Pure but for
//! asking what machine this is.

use std::fmt::Write as _;
use std::fs;
use std::thread;

use super::list::{Fault, List, Test};

/// What stands above the tables.
const HEAD: &str = "# What may go wrong, and what becomes of it\n\n\
    Each row is a fault and what the tests show of it; `cargo xtask test` fails when a test of a row does not \
    pass. F and S are what was seen to lose, double or misplace work, or to let secrets out, in \
    multi-project-gateway, the program that this one replaces. The figures are of one run: what was \
    asked, how many claudes were started for it, what was posted, and how long after the last \
    disturbance. They are told, not promised: no test asserts a time.\n\n\
    The words are in [tests/stories/faults.toml](../tests/stories/faults.toml); this page is made by \
    `cargo xtask test --record`.\n\n";

/// How the line on the machine begins.
const MACHINE: &str = "Measured on ";

/// The page. `machine`: where the figures were measured; `figure`: what was measured in a story.
pub(super) fn write(list: &List, machine: &str, figure: impl Fn(&str) -> String) -> String {
    let mut text = format!("{HEAD}{MACHINE}{machine}.\n");
    for group in &list.group {
        // Writing into a text does not fail.
        let _ = write!(
            text,
            "\n## {}\n\n| | fault | here | shown by | measured |\n|---|---|---|---|---|\n",
            group.title
        );
        for fault in &group.fault {
            text.push_str(&row(fault, &figure));
        }
    }
    text
}

fn row(fault: &Fault, figure: impl Fn(&str) -> String) -> String {
    let Fault { id, what, here, stories, impossible, unshown } = fault;
    let said = |word: &str, why: &Option<String>| {
        why.as_ref().map(|why| format!("{word}: {why}")).unwrap_or_default()
    };
    let here = here.clone().unwrap_or_default()
        + &said("Cannot happen", impossible)
        + &said("Not shown", unshown);
    let shown: Vec<_> = stories.iter().map(|test| link(test)).collect();
    let measured: Vec<_> = stories.iter().map(|test| figure(test)).collect();
    format!("| {id} | {what} | {here} | {} | {} |\n", shown.join("<br>"), measured.join("<br>"))
}

/// The name of a test; that of a story leads to its file.
fn link(text: &str) -> String {
    match Test::parse(text) {
        Some(named) if named.krate == "stories" => {
            let module = named.name.rsplit_once("::").map_or("", |(module, _)| module);
            let module = module.replace("::", "/");
            format!("[`{text}`](../tests/stories/src/{module}.rs)")
        }
        Some(_) | None => format!("`{text}`"),
    }
}

/// The first line of `wanted` that `present` lacks, figures and machine aside; or that it has too
/// much. None when both say the same.
pub(super) fn difference(wanted: &str, present: &str) -> Option<String> {
    let (wanted, present) = (words(wanted), words(present));
    let differs = wanted.iter().zip(&present).find(|(wanted, present)| wanted != present);
    match differs {
        Some((wanted, _)) => Some(wanted.clone()),
        None if wanted.len() < present.len() => {
            Some(format!("(nothing, but has more: {})", present[wanted.len()]))
        }
        None => wanted.get(present.len()).cloned(),
    }
}

/// The lines without what is measured.
fn words(text: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| !line.starts_with(MACHINE));
    let cut = |line: &str| match line.strip_suffix(" |").and_then(|it| it.rsplit_once(" | ")) {
        Some((words, _)) if line.starts_with("| ") => words.to_owned(),
        Some(_) | None => line.to_owned(),
    };
    lines.map(cut).collect()
}

/// What machine this is: its cores and its memory, as far as it says so.
pub(super) fn machine() -> String {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let memory = fs::read_to_string("/proc/meminfo").ok().and_then(|text| gibibytes(&text));
    let memory = memory.map(|it| format!(" and {it} GiB of memory")).unwrap_or_default();
    format!("{cores} core{}{memory}", if cores == 1 { "" } else { "s" })
}

/// The total of a `/proc/meminfo`, rounded up: the kernel keeps some of it for itself.
fn gibibytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes.div_ceil(1024 * 1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list() -> List {
        List::parse(
            "[[group]]\ntitle = \"Lost\"\n\
             [[group.fault]]\nid = \"A1\"\nfault = \"it dies\"\nhere = \"it lives\"\n\
             stories = [\"kills::a\", \"schemas run::tests::b\"]\n\
             [[group.fault]]\nid = \"A2\"\nfault = \"it melts\"\nimpossible = \"it is of stone\"\n",
        )
        .unwrap()
    }

    #[test]
    fn a_row_has_its_words_and_its_figures() {
        let text = write(&list(), "2 cores", |test| format!("figure of {test}"));
        let rows: Vec<_> = text.lines().filter(|line| line.starts_with("| A")).collect();
        assert_eq!(
            rows,
            [
                "| A1 | it dies | it lives | [`kills::a`](../tests/stories/src/kills.rs)<br>\
                 `schemas run::tests::b` | figure of kills::a<br>figure of schemas run::tests::b |",
                "| A2 | it melts | Cannot happen: it is of stone |  |  |",
            ]
        );
        assert!(text.contains("Measured on 2 cores.\n\n## Lost\n"));
    }

    #[test]
    fn only_words_make_a_difference() {
        let one = write(&list(), "2 cores", |_| "0.1 s".to_owned());
        let other = write(&list(), "64 cores", |_| "0.2 s, 0.3 s".to_owned());
        assert_eq!(difference(&one, &other), None);
        let changed = one.replace("it lives", "it dies");
        assert!(difference(&one, &changed).unwrap().contains("it lives"));
        let shorter = one.lines().take(8).collect::<Vec<_>>().join("\n");
        assert!(difference(&one, &shorter).is_some());
        assert!(difference(&shorter, &one).unwrap().contains("more"));
        assert!(difference(&one, "").is_some());
    }

    #[test]
    fn memory_is_read_in_gibibytes() {
        assert_eq!(gibibytes("MemTotal:       24623924 kB\nMemFree: 1 kB\n"), Some(24));
        assert_eq!(gibibytes("nothing"), None);
    }
}
