//! A small project for claude to work in.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

/// What the README of a sample project says.
pub const README: &str = "# Sample\n\nA small project for claude to look at: it adds numbers.\n";

/// The program of the sample project.
const PROGRAM: &str = "\"\"\"Adds the numbers on its command line.\"\"\"\n\nimport sys\n\n\
                       print(sum(int(word) for word in sys.argv[1:]))\n";

/// Fills a directory with a few files.
///
/// # Errors
///
/// When a file cannot be written.
pub fn plain(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    for (name, text) in [("README.md", README), ("add.py", PROGRAM)] {
        let file = dir.join(name);
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// Fills a directory with a git repository of one commit.
///
/// # Errors
///
/// When a file cannot be written, or git fails.
pub fn repository(dir: &Path) -> Result<()> {
    plain(dir)?;
    git(dir, &["init", "--quiet", "--initial-branch=main"])?;
    git(dir, &["add", "."])?;
    git(dir, &["commit", "--quiet", "--message=Add numbers"])?;
    Ok(())
}

/// Runs git, whoever the user is and whatever they configured, and gives what it printed.
///
/// # Errors
///
/// When it fails.
pub fn git(dir: &Path, words: &[&str]) -> Result<String> {
    let mut command = Command::new("git");
    for (name, _) in std::env::vars_os() {
        // A test run from a hook must not commit into the repository of the hook.
        if name.as_encoded_bytes().starts_with(b"GIT_") {
            command.env_remove(name);
        }
    }
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null");
    command.args(["-c", "user.name=Holdfast", "-c", "user.email=holdfast@localhost"]);
    command.arg("-C").arg(dir).args(words).stdin(Stdio::null());
    let output = command.output().context("cannot start git")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "git {} failed: {}", words.join(" "), said.trim());
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
