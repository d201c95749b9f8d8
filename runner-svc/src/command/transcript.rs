//! Finds the file in which claude keeps a session: where it is, `--resume` finds it too.
//!
//! claude writes to `<config>/projects/<cwd>/<session>.jsonl`, where `<config>` is
//! `CLAUDE_CONFIG_DIR` or `~/.claude`, and `<cwd>` is the real path of its directory with every
//! character but letters and digits as `-` (2.1.330). `--resume` looks in every project's folder, so
//! this does too.
//!
//! It never reads a transcript, and writes none.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use uuid::Uuid;

/// The most characters of a folder's name; file systems take 255 bytes.
const FOLDER_MAX: usize = 200;

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
    Ok(find_all(projects, session)?.into_iter().next())
}

/// Where transcripts of a session are: several, if somebody has copied one.
///
/// # Errors
///
/// As for [`find`].
pub(crate) fn find_all(projects: &Path, session: Uuid) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(projects) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let name = format!("{session}.jsonl");
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path().join(&name);
        if path.is_file() {
            found.push(path);
        }
    }
    Ok(found)
}

/// Where claude would keep the transcript of a session that it begins in this directory. A name that
/// is too long for a folder is cut: `--resume` looks everywhere.
pub(crate) fn place(projects: &Path, cwd: &Path, session: Uuid) -> PathBuf {
    let real = fs::canonicalize(cwd).unwrap_or_else(|_| cwd.to_owned());
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let name: String = real.to_string_lossy().chars().map(plain).take(FOLDER_MAX).collect();
    projects.join(name).join(format!("{session}.jsonl"))
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
    fn a_session_is_put_where_claude_would_keep_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let cwd = folder.path().join("my.project_x");
        fs::create_dir(&cwd).expect("made");
        let id = Uuid::from_u128(7);
        let path = place(folder.path(), &cwd, id);
        assert_eq!(path.file_name(), Some(format!("{id}.jsonl").as_ref()));
        let name = path.parent().and_then(Path::file_name).expect("a folder").to_string_lossy();
        assert!(name.starts_with('-') && name.ends_with("-my-project-x"), "{name}");
        let long = place(folder.path(), &Path::new("/").join("x".repeat(250)), id);
        fs::create_dir(long.parent().expect("a folder")).expect("its name is not too long");
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
