//! Where things are installed. Names alone; it looks, and changes nothing.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use platform::config::{Environment, locate};

use crate::config::FILE;

/// The unit of a person's service.
const USER_UNIT: &str = "holdfast-runner.service";
/// The unit of the system's services that run as a person.
const SYSTEM_UNIT: &str = "holdfast-runner@.service";
/// Where an administrator's units lie.
const SYSTEM_UNITS: &str = "/etc/systemd/system";
/// What a unit is wanted by, where it is enabled.
const WANTS: [&str; 2] = ["default.target.wants", "multi-user.target.wants"];

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `runner.toml`.
    Config,
    /// The unit.
    Unit,
}

/// The two files.
#[derive(Debug)]
pub(super) struct Place {
    /// The configuration.
    pub(super) config: PathBuf,
    /// The unit.
    pub(super) unit: PathBuf,
}

impl Place {
    /// Where they belong: `config` if that was said, else where the runner looks.
    ///
    /// # Errors
    ///
    /// When the environment names no home.
    pub(super) fn new(
        system: bool,
        config: Option<PathBuf>,
        env: &Environment,
    ) -> anyhow::Result<Self> {
        let unit = if system {
            Path::new(SYSTEM_UNITS).join(SYSTEM_UNIT)
        } else {
            // systemd looks there, by the same variables.
            let set = |name: &str| env.get(name).filter(|it| !it.is_empty()).map(PathBuf::from);
            let base = set("XDG_CONFIG_HOME").or_else(|| Some(set("HOME")?.join(".config")));
            base.context("set HOME")?.join("systemd/user").join(USER_UNIT)
        };
        Ok(Self { config: locate(config, FILE, env)?, unit })
    }

    /// The link by which systemd knows that it is to start the service, if there is one.
    pub(super) fn enabled(&self) -> Option<PathBuf> {
        let units = self.unit.parent()?;
        let stem = self.unit.file_stem()?.to_str()?;
        let folders = WANTS.iter().filter_map(|name| units.join(name).read_dir().ok());
        let mut links = folders.flatten().flatten().map(|entry| entry.path());
        links.find(|link| {
            let name = link.file_stem().and_then(|name| name.to_str());
            // Of a template any instance counts.
            name.is_some_and(|name| name == stem || stem.ends_with('@') && name.starts_with(stem))
        })
    }
}

/// The first program of this name on a PATH.
pub(super) fn on_path(path: &str, name: &str) -> Option<PathBuf> {
    std::env::split_paths(path).map(|dir| dir.join(name)).find(|it| it.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_says_that_the_service_is_enabled() {
        let folder = tempfile::tempdir().unwrap();
        let wants = folder.path().join(WANTS[1]);
        std::fs::create_dir(&wants).unwrap();
        let place = |unit: &str| Place { config: "/c".into(), unit: folder.path().join(unit) };
        std::fs::write(wants.join("holdfast-gateway.service"), "").unwrap();
        assert_eq!(place(SYSTEM_UNIT).enabled(), None);
        std::fs::write(wants.join("holdfast-runner@ada.service"), "").unwrap();
        assert!(place(SYSTEM_UNIT).enabled().is_some());
        assert_eq!(place(USER_UNIT).enabled(), None);
    }
}
