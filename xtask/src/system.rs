//! What must be on the machine before anything is fetched: tmux, git, and python3 with pip where
//! a package has to come.
//!
//! Tells everything that is missing at once, each with its reason and the package that brings it.
//! Never installs a system package: that is the machine's owner's.

use std::path::Path;

use anyhow::bail;

use crate::process;
use crate::version::Version;

/// The oldest tmux that will do: what `runner-svc` itself asks for, and says why.
const TMUX: Version = Version::new(3, 0, 0);

/// The oldest git that will do: `git worktree remove` came in 2.17.
const GIT: Version = Version::new(2, 17, 0);

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

/// Checks the machine; with `pip`, also for what fetches Python packages.
///
/// # Errors
///
/// All that is missing or too old, in one message.
pub(crate) fn check(pip: bool) -> anyhow::Result<()> {
    let mut problems: Vec<String> = TOOLS
        .iter()
        .filter_map(|tool| problem(tool, process::version_line(Path::new(tool.name), tool.flag)))
        .collect();
    if pip {
        problems.extend(pip_problem());
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
    fn the_runner_asks_for_the_same_tmux() {
        let runner = include_str!("../../runner-svc/src/tmux.rs");
        assert!(runner.contains("OLDEST: Version = Version { major: 3, minor: 0 }"));
        assert_eq!(TMUX, Version::new(3, 0, 0));
    }
}
