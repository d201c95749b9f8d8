//! `cargo xtask config-docs`: every key of `gateway.toml` and `runner.toml`, in `docs/configuration.md`.
//!
//! The services say what their types say (`config-keys`, which fails where a key lacks a line of its
//! comment), and the page has a place for each between two marks. What stands around them is written
//! by hand and left as it is.

use std::fs;
use std::process::Command;

use anyhow::{Context, bail, ensure};

use crate::process::{self, say};
use crate::servers::Servers;
use crate::test;
use crate::workspace::Workspace;

/// The page, from the root.
const PAGE: &str = "docs/configuration.md";
/// Whose keys it has.
const SERVICES: [&str; 2] = ["gateway-svc", "runner-svc"];
/// What ends a place.
const END: &str = "<!-- end of what is made -->";

/// What begins the place of a service.
fn begin(service: &str) -> String {
    format!(
        "<!-- made by `cargo xtask config-docs` from the types of {service}; not to be edited -->"
    )
}

/// Writes the page.
pub(crate) fn write(workspace: &Workspace) -> anyhow::Result<()> {
    let (old, new) = pages(workspace)?;
    if old == new {
        say("config-docs: nothing has changed");
        return Ok(());
    }
    fs::write(workspace.root().join(PAGE), new).with_context(|| format!("cannot write {PAGE}"))?;
    say(&format!("config-docs: {PAGE} is written"));
    Ok(())
}

/// Compares the page with the types.
///
/// # Errors
///
/// When they differ, with the first line that does and the command that puts it right.
pub(crate) fn check(workspace: &Workspace) -> anyhow::Result<()> {
    let (old, new) = pages(workspace)?;
    let Some(line) = first_difference(&old, &new) else { return Ok(()) };
    bail!(
        "{PAGE} is not what the types say; run `cargo xtask config-docs` and look at the change:\n  \
         {line}"
    )
}

/// The page as it is, and as it is to be.
fn pages(workspace: &Workspace) -> anyhow::Result<(String, String)> {
    test::build(workspace, &Servers::Processes)?;
    let programs = workspace.debug_output()?;
    let path = workspace.root().join(PAGE);
    let old = fs::read_to_string(path).with_context(|| format!("cannot read {PAGE}"))?;
    let mut new = old.clone();
    for service in SERVICES {
        let made = process::output(Command::new(programs.join(service)).arg("config-keys"))?;
        new = replaced(&new, service, &made)?;
    }
    Ok((old, new))
}

/// The page with this text at the place of a service.
fn replaced(page: &str, service: &str, made: &str) -> anyhow::Result<String> {
    let begin = begin(service);
    let (before, rest) =
        page.split_once(&begin).with_context(|| format!("{PAGE} has no line\n  {begin}"))?;
    let (_, after) =
        rest.split_once(END).with_context(|| format!("{PAGE} has no line\n  {END}"))?;
    let made = made.trim();
    ensure!(!made.is_empty(), "{service} says nothing of its keys");
    Ok(format!("{before}{begin}\n\n{made}\n\n{END}{after}"))
}

/// The first line that is to be otherwise.
fn first_difference<'a>(old: &'a str, new: &'a str) -> Option<&'a str> {
    let mut old = old.lines();
    let differs = |line: &&str| old.next() != Some(*line);
    let found = new.lines().find(differs);
    found.or_else(|| old.next().map(|_| "(the end)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_made_is_replaced() {
        let mark = begin("gateway-svc");
        let page = format!("# By hand\n{mark}\nold\n{END}\nmore\n{}\n{END}\n", begin("runner-svc"));
        let new = replaced(&page, "gateway-svc", "\nnew\n").unwrap();
        let expected = format!("# By hand\n{mark}\n\nnew\n\n{END}\nmore\n");
        assert!(new.starts_with(&expected), "{new}");
        assert_eq!(replaced(&new, "gateway-svc", "new").unwrap(), new);
        assert!(replaced("", "gateway-svc", "new").is_err());
        assert!(replaced(&page, "gateway-svc", " ").is_err());
    }

    #[test]
    fn a_difference_is_told_by_its_line() {
        assert_eq!(first_difference("a\nb", "a\nb"), None);
        assert_eq!(first_difference("a\nb", "a\nc"), Some("c"));
        assert_eq!(first_difference("a", "a\nb"), Some("b"));
        assert_eq!(first_difference("a\nb", "a"), Some("(the end)"));
    }
}
