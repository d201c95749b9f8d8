//! `TEST_SERVERS`: whether the stories take nats-server and PostgreSQL from processes or from containers.
//!
//! Containers take a build of the harness that can speak to the engine (its feature `containers`), the
//! images that `docker-compose.yml` names, and somebody who takes away what a story left that was killed:
//! that is done here, by a label with the number of the run's xtask.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::containers::{self, docker};
use crate::process::say;
use crate::workspace::Workspace;

/// What says it; the harness reads it as well.
const VARIABLE: &str = "TEST_SERVERS";
/// The variables of docker-compose.yml that name the images.
const IMAGES: [&str; 2] = ["NATS_IMAGE", "POSTGRES_IMAGE"];
/// The label of all containers of stories, and the variable by which the harness learns its value.
const LABEL: &str = "holdfast.test";
const LABEL_VARIABLE: &str = "HOLDFAST_TEST_LABEL";

/// Where the servers of the stories are.
#[derive(Debug)]
pub(crate) enum Servers {
    /// Processes of the test.
    Processes,
    /// Containers; the variables that tell the harness of them.
    Containers(Vec<(String, String)>),
}

impl Servers {
    /// What `TEST_SERVERS` asks for, with an engine and images where it takes them.
    ///
    /// # Errors
    ///
    /// When it asks for something else, or there is no engine, or no image.
    pub(crate) fn wanted(workspace: &Workspace) -> Result<Self> {
        let said = std::env::var_os(VARIABLE).unwrap_or_default();
        match said.to_str() {
            Some("" | "processes") => Ok(Self::Processes),
            Some("containers") => Self::contained(workspace),
            Some(_) | None => bail!(
                "{VARIABLE} is {}; it can be `processes` (as when unset) or `containers`",
                said.display()
            ),
        }
    }

    fn contained(workspace: &Workspace) -> Result<Self> {
        let version = containers::version()?;
        let mut all = containers::others(workspace.root(), |variable| IMAGES.contains(&variable))?;
        let images: Vec<_> = all.iter().map(|(_, image)| image.as_str()).collect();
        say(&format!("test: {} from containers, engine {version}", images.join(" and ")));
        all.push((VARIABLE.to_owned(), "containers".to_owned()));
        all.push((LABEL_VARIABLE.to_owned(), std::process::id().to_string()));
        let servers = Self::Containers(all);
        servers.take_away()?;
        Ok(servers)
    }

    /// Lets cargo build what they need.
    pub(crate) fn build<'a>(&self, cargo: &'a mut Command) -> &'a mut Command {
        match self {
            Self::Processes => cargo,
            Self::Containers(_) => cargo.args(["--features", "harness/containers"]),
        }
    }

    /// Tells the tests of them.
    pub(crate) fn tell<'a>(&self, tests: &'a mut Command) -> &'a mut Command {
        match self {
            Self::Processes => tests.env_remove(VARIABLE),
            Self::Containers(all) => tests.envs(all.iter().map(|(name, value)| (name, value))),
        }
    }

    /// Takes away the containers that tests have left: those of this run, and of runs that were cut off.
    ///
    /// # Errors
    ///
    /// When the engine does not.
    pub(crate) fn take_away(&self) -> Result<()> {
        let Self::Containers(_) = self else { return Ok(()) };
        let format = format!("{{{{.ID}}}} {{{{.Label {LABEL:?}}}}}");
        let filter = format!("label={LABEL}");
        let all = docker(&["ps", "--all", "--filter", &filter, "--format", &format])?;
        let is_over = |run: &str| run == std::process::id().to_string() || !is_alive(run);
        let left: Vec<_> = of_runs(&all, is_over).collect();
        if left.is_empty() {
            return Ok(());
        }
        say(&format!("test: {} containers of tests that were killed are taken away", left.len()));
        docker(&[&["rm", "--force", "--volumes"], left.as_slice()].concat()).map(drop)
    }
}

/// Whether the xtask of this number is there.
fn is_alive(run: &str) -> bool {
    Path::new("/proc").join(run).exists()
}

/// The containers of a list whose run is one of these; the list has a container and its run on each line.
fn of_runs(list: &str, is: impl Fn(&str) -> bool) -> impl Iterator<Item = &str> {
    let pairs = list.lines().filter_map(|line| line.split_once(' '));
    pairs.filter(move |(_, run)| is(run)).map(|(container, _)| container)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_run_still_uses_stays() {
        let list = "0a1 12\n0b2 13\n0c3 12\n0d4\n";
        assert_eq!(of_runs(list, |run| run == "12").collect::<Vec<_>>(), ["0a1", "0c3"]);
        assert!(is_alive(&std::process::id().to_string()) && !is_alive("0"));
    }
}
