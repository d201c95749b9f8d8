//! Finds the file in which claude keeps a session: where it is, `--resume` finds it too.
//!
//! claude writes to `<config>/projects/<cwd>/<session>.jsonl`, where `<config>` is
//! `CLAUDE_CONFIG_DIR` or `~/.claude`, and `<cwd>` is the real path of its directory with every
//! character but letters and digits as `-` (2.1.330). `--resume` looks in every project's folder, so
//! this does too.
//!
//! It never reads a transcript.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use uuid::Uuid;

/// The folder of all projects' sessions, by the environment that claude is started with; `None` if
/// that has no home.
pub(crate) fn projects_dir(claude_env: &BTreeMap<OsString, OsString>) -> Option<PathBuf> {
    let get = |name: &str| claude_env.get(OsStr::new(name)).filter(|value| !value.is_empty());
    let config = get("CLAUDE_CONFIG_DIR").map(PathBuf::from);
    let config = config.or_else(|| get("HOME").map(|home| Path::new(home).join(".claude")))?;
    Some(config.join("projects"))
}

/// Where the transcript of a session is; `None` if there is none. It looks at one name in each
/// project's folder.
///
/// # Errors
///
/// What the operating system said about the folder of projects. That it is not there is no error.
pub(crate) fn find(projects: &Path, session: Uuid) -> io::Result<Option<PathBuf>> {
    let entries = match fs::read_dir(projects) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let name = format!("{session}.jsonl");
    for entry in entries {
        let path = entry?.path().join(&name);
        if path.is_file() {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_found_in_whatever_project_it_is() {
        let home = tempfile::tempdir().expect("a folder");
        let env = BTreeMap::from([("HOME".into(), home.path().into())]);
        let projects = projects_dir(&env).expect("a home");
        assert_eq!(projects, home.path().join(".claude/projects"));
        let id = Uuid::from_u128(7);
        assert_eq!(find(&projects, id).expect("looked"), None);
        let folder = projects.join("-home-ada-my-project-x");
        fs::create_dir_all(&folder).expect("made");
        fs::create_dir_all(projects.join("-other")).expect("made");
        assert_eq!(find(&projects, id).expect("looked"), None);
        let file = folder.join(format!("{id}.jsonl"));
        fs::write(&file, "").expect("written");
        assert_eq!(find(&projects, id).expect("looked"), Some(file));
    }

    #[test]
    fn the_config_folder_wins_over_home() {
        let env = BTreeMap::from([
            ("HOME".into(), "/home/ada".into()),
            ("CLAUDE_CONFIG_DIR".into(), "/c".into()),
        ]);
        assert_eq!(projects_dir(&env), Some("/c/projects".into()));
        assert_eq!(projects_dir(&BTreeMap::new()), None);
    }
}
