//! What must be on the machine before anything is fetched: tmux, git, python3 with pip where a
//! package has to come, and Chromium where tests are to run.
//!
//! Tells everything that is missing at once, each with its reason and the package that brings it.
//! Never installs a system package: that is the machine's owner's.

use std::path::{Path, PathBuf};

use anyhow::bail;

use crate::process;
use crate::version::Version;

/// The oldest tmux that will do: what `runner-svc` itself asks for, and says why.
const TMUX: Version = Version::new(3, 0, 0);

/// The oldest git that will do: `git worktree remove` came in 2.17.
const GIT: Version = Version::new(2, 17, 0);

/// The oldest Chromium that will do: tried with 148 and 156, and what the tests say to it is older
/// than this.
const CHROMIUM: Version = Version::new(120, 0, 0);

/// What a Chromium is called, Debian's name first; the harness looks for the same.
const CHROMIUMS: [&str; 4] =
    ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"];

/// The variable that names another one, for the harness as well.
const CHROMIUM_IS: &str = "HOLDFAST_CHROMIUM";

/// What is needed beside the tools that are always needed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Needs {
    /// What fetches Python packages.
    pub(crate) pip: bool,
    /// What pages are looked at with.
    pub(crate) chromium: bool,
}

/// A program that the machine has to have.
struct Tool {
    name: &'static str,
    flag: &'static str,
    at_least: Version,
    reason: &'static str,
}

const TOOLS: [Tool; 2] = [
    Tool {
        name: "tmux",
        flag: "-V",
        at_least: TMUX,
        reason: "claude runs in it and outlives the runner",
    },
    Tool {
        name: "git",
        flag: "--version",
        at_least: GIT,
        reason: "sample projects, worktrees and the tidy test",
    },
];

/// What the tests of the simulator's page run in.
const BROWSER: Tool = Tool {
    name: "chromium",
    flag: "--version",
    at_least: CHROMIUM,
    reason: "tests use the simulator's page in it",
};

/// Checks the machine.
///
/// # Errors
///
/// All that is missing or too old, in one message.
pub(crate) fn check(needs: Needs) -> anyhow::Result<()> {
    let mut problems: Vec<String> = TOOLS
        .iter()
        .filter_map(|tool| problem(tool, process::version_line(Path::new(tool.name), tool.flag)))
        .collect();
    if needs.pip {
        problems.extend(pip_problem());
    }
    if needs.chromium {
        problems.extend(chromium_problem());
    }
    if problems.is_empty() {
        return Ok(());
    }
    bail!("this machine lacks:\n  {}", problems.join("\n  "))
}

/// What is wrong with a tool that printed this when asked for its version.
fn problem(tool: &Tool, printed: Option<String>) -> Option<String> {
    let Tool { name, at_least, reason, .. } = tool;
    let found = match printed {
        None => "not found".to_owned(),
        Some(text) => match Version::find_in(&text) {
            Some(version) if *at_least <= version => return None,
            Some(_) | None => format!("found `{text}`"),
        },
    };
    Some(format!("{name} {at_least} or newer ({found}): {reason}; {}", install(name)))
}

fn pip_problem() -> Option<String> {
    let reason = "claude and the servers come as Python packages";
    if process::version_line(Path::new("python3"), "--version").is_none() {
        return Some(format!("python3 with pip (not found): {reason}; {}", install("python3-pip")));
    }
    let pip = std::process::Command::new("python3").args(["-m", "pip", "--version"]).output();
    if pip.is_ok_and(|output| output.status.success()) {
        return None;
    }
    let ways = "or `python3 -m ensurepip --user`";
    Some(format!("pip for python3 (not found): {reason}; {}, {ways}", install("python3-pip")))
}

fn chromium_problem() -> Option<String> {
    let named = std::env::var_os(CHROMIUM_IS).map(PathBuf::from);
    let program = named.or_else(|| CHROMIUMS.into_iter().find_map(process::on_path));
    let printed = program.and_then(|it| process::version_line(&it, BROWSER.flag));
    let problem = problem(&BROWSER, printed)?;
    Some(format!("{problem}, or name one in {CHROMIUM_IS}"))
}

/// How the common systems install a package; a Mac's python3 brings pip.
fn install(package: &str) -> String {
    let brewed = if package == "python3-pip" { "python3" } else { package };
    format!("`apt-get install {package}` or `brew install {brewed}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOL: &Tool = &TOOLS[0];

    #[test]
    fn a_tool_that_is_new_enough_is_no_problem() {
        assert_eq!(problem(TOOL, Some("tmux 3.0a".to_owned())), None);
    }

    #[test]
    fn an_old_tool_is_named_with_what_was_found_and_the_package() {
        let said = problem(TOOL, Some("tmux 2.8".to_owned())).unwrap();
        assert!(said.contains("tmux 3.0.0 or newer (found `tmux 2.8`)"), "{said}");
        assert!(said.contains("apt-get install tmux"), "{said}");
    }

    #[test]
    fn a_missing_tool_is_named_with_the_package() {
        let said = problem(TOOL, None).unwrap();
        assert!(said.contains("not found") && said.contains("apt-get install tmux"), "{said}");
    }

    #[test]
    fn a_chromium_is_known_by_what_it_prints() {
        let debian = "Chromium 156.0.8078.79 built on Debian GNU/Linux 12 (bookworm)";
        let chrome = "Google Chrome 148.0.7778.167 ";
        for printed in [debian, chrome] {
            assert_eq!(problem(&BROWSER, Some(printed.to_owned())), None);
        }
        let said = problem(&BROWSER, None).unwrap();
        assert!(said.contains("apt-get install chromium"), "{said}");
    }

    #[test]
    fn the_harness_looks_for_the_same_chromium() {
        let harness = include_str!("../../tests/harness/src/programs.rs");
        let names = CHROMIUMS.map(|it| format!("{it:?}")).join(", ");
        assert!(harness.contains(&names) && harness.contains(CHROMIUM_IS), "{names}");
    }

    #[test]
    fn the_runner_asks_for_the_same_tmux() {
        let runner = include_str!("../../runner-svc/src/tmux.rs");
        assert!(runner.contains("OLDEST: Version = Version { major: 3, minor: 0 }"));
        assert_eq!(TMUX, Version::new(3, 0, 0));
    }
}
