//! Reading a configuration file: found, parsed, checked, and every problem told at once.
//!
//! The file as written and the configuration that makes sense are two types: a service
//! deserializes the first, collects [`Problems`] and makes the second. serde stops at the first
//! unknown key or wrong type, so that is reported alone, with its line; all else comes together.
//! When it is read again while the service runs is `reload`'s business; nothing here binds a port.

pub mod keys;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use thiserror::Error;

/// The bits of a file's mode that let others than its owner read, write or run it.
const OTHERS: u32 = 0o077;

/// The environment of the process, as `main` found it.
pub type Environment = BTreeMap<String, String>;

/// Takes the environment of this process, in `main`. Names and values that are not UTF-8
/// are left out.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
pub fn environment() -> Environment {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Why a configuration was refused.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}", path.display())]
    Unreadable {
        /// Where it was looked for.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// It is not TOML, has a key we do not know, or a value of another type.
    #[error("{} does not parse", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Line, column and key.
        source: Box<toml::de::Error>,
    },
    /// It parses, and does not make sense.
    #[error("{} has problems:\n{problems}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// All of them.
        problems: Problems,
    },
    /// No file was named and the environment says of no place to look.
    #[error("no configuration: give --config FILE, or set HOME")]
    Nowhere,
}

/// Everything that is wrong with a configuration.
#[derive(Debug, Default)]
pub struct Problems(Vec<(String, String)>);

impl Problems {
    /// Notes that `key` is wrong, and why. The sentence continues "`key`: …".
    pub fn add(&mut self, key: impl Into<String>, why: impl Into<String>) {
        self.0.push((key.into(), why.into()));
    }

    /// Notes a problem unless `holds`.
    pub fn check(&mut self, holds: bool, key: &str, why: impl FnOnce() -> String) {
        if !holds {
            self.add(key, why());
        }
    }

    /// Takes a value, or notes why there is none.
    pub fn take<T, E: fmt::Display>(&mut self, key: &str, value: Result<T, E>) -> Option<T> {
        value.map_err(|error| self.add(key, error.to_string())).ok()
    }

    /// `Ok` if there are none.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] with all of them.
    pub fn none(self, path: &Path) -> Result<(), ConfigError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(ConfigError::Invalid { path: path.to_owned(), problems: self })
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (key, why)) in self.0.iter().enumerate() {
            let end = if n + 1 < self.0.len() { "\n" } else { "" };
            write!(f, "  {key}: {why}{end}")?;
        }
        Ok(())
    }
}

/// Where the configuration lies: the file that was named, else
/// `$XDG_CONFIG_HOME/holdfast/<name>`, else `~/.config/holdfast/<name>`.
///
/// # Errors
///
/// [`ConfigError::Nowhere`].
pub fn locate(
    named: Option<PathBuf>,
    name: &str,
    env: &Environment,
) -> Result<PathBuf, ConfigError> {
    named
        .or_else(|| Some(xdg(env, "XDG_CONFIG_HOME", ".config")?.join(name)))
        .ok_or(ConfigError::Nowhere)
}

/// Holdfast's directory below one of the XDG base directories, if the environment says where.
pub fn xdg(env: &Environment, variable: &str, below_home: &str) -> Option<PathBuf> {
    let set = |name: &str| env.get(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set(variable).or_else(|| Some(set("HOME")?.join(below_home))).map(|base| base.join("holdfast"))
}

/// Reads a file into its written form.
///
/// # Errors
///
/// [`ConfigError::Unreadable`] and [`ConfigError::Malformed`].
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    let text = fs::read_to_string(path)
        .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
    parse(&text, path)
}

/// Takes the text of a file, which is or will be at `path`, into its written form.
///
/// # Errors
///
/// [`ConfigError::Malformed`].
pub fn parse<T: DeserializeOwned>(text: &str, path: &Path) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|source| ConfigError::Malformed {
        path: path.to_owned(),
        source: Box::new(source),
    })
}

/// The text of a file that nobody but its owner can read; else what is wrong with it, for a person.
///
/// # Errors
///
/// A sentence without anything of the file.
pub fn secret(file: &Path) -> Result<String, String> {
    let text = fs::read_to_string(file)
        .map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    let meta = fs::metadata(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let mode = meta.permissions().mode() & 0o777;
    if mode & OTHERS != 0 {
        let file = file.display();
        return Err(format!("{file} can be read by others (mode {mode:o}): chmod 600 {file}"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_problems_are_told_at_once() {
        let mut problems = Problems::default();
        problems.check(false, "slots", || "must be at least 1".into());
        problems.check(true, "name", || "never said".into());
        assert_eq!(problems.take("port", "x".parse::<u16>()), None);
        let error = problems.none(Path::new("a.toml")).unwrap_err().to_string();
        assert_eq!(
            error,
            "a.toml has problems:\n  slots: must be at least 1\n  port: invalid digit found in string"
        );
    }

    #[test]
    fn the_file_is_looked_for_where_xdg_says() {
        let env = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Environment>()
        };
        let at = |env| locate(None, "g.toml", &env).unwrap();
        assert_eq!(at(env(&[("HOME", "/h")])), Path::new("/h/.config/holdfast/g.toml"));
        let both = env(&[("HOME", "/h"), ("XDG_CONFIG_HOME", "/c")]);
        assert_eq!(at(both), Path::new("/c/holdfast/g.toml"));
        assert!(matches!(locate(None, "g.toml", &env(&[])), Err(ConfigError::Nowhere)));
    }
}
