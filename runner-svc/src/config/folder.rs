//! `HOLDFAST_PROJECTS=/projects`: a folder whose folders are projects, each by its name, beside those
//! of the file. With it a file that has no project will do, as in containers.
//!
//! It is looked into once, at start. A folder whose name no project can have is passed over: what else
//! lies there is none of ours. What the file says of a project counts.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use platform::config::{Environment, Problems};
use schemas::ids::ProjectName;

use super::ProjectFile;

/// The variable.
const FOLDER: &str = "HOLDFAST_PROJECTS";
/// More than one host serves; it only keeps a wrong folder (`/`, a home) from becoming projects.
const PROJECTS_MAX: usize = 256;

/// Adds the projects of the folder to those of the file.
pub(super) fn add(
    projects: &mut BTreeMap<String, ProjectFile>,
    env: &Environment,
    problems: &mut Problems,
) {
    let Some(folder) = env.get(FOLDER).filter(|folder| !folder.is_empty()).map(Path::new) else {
        return;
    };
    problems.check(folder.is_absolute(), FOLDER, || {
        format!("must be an absolute path, is {}", folder.display())
    });
    let found = directories(folder).map_err(|error| format!("{}: {error}", folder.display()));
    let Some(found) = problems.take(FOLDER, found) else { return };
    problems.check(!found.is_empty() || !projects.is_empty(), FOLDER, || {
        format!("there is no project in {}: each folder in it is one", folder.display())
    });
    problems.check(found.len() <= PROJECTS_MAX, FOLDER, || {
        format!("{} has {} folders, and {PROJECTS_MAX} may be", folder.display(), found.len())
    });
    for (name, directory) in found {
        let file = || ProjectFile { directory, ..ProjectFile::default() };
        projects.entry(name.to_string()).or_insert_with(file);
    }
}

/// The folders in a folder that a project can be called after.
fn directories(folder: &Path) -> io::Result<Vec<(ProjectName, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_str().and_then(|name| name.parse().ok());
        let path = entry.path();
        if let Some(name) = name.filter(|_| path.is_dir()) {
            found.push((name, path));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(folder: &Path, mut projects: BTreeMap<String, ProjectFile>) -> (Vec<String>, String) {
        let env = [(FOLDER.to_owned(), folder.display().to_string())].into();
        let mut problems = Problems::default();
        add(&mut projects, &env, &mut problems);
        let shown = |(name, file): (&String, &ProjectFile)| {
            format!(
                "{name} at {}",
                file.directory.strip_prefix(folder).unwrap_or(&file.directory).display()
            )
        };
        (projects.iter().map(shown).collect(), problems.to_string())
    }

    #[test]
    fn each_folder_that_has_a_projects_name_is_one_and_the_file_counts() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["my-app", "web", "My App", ".git"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        fs::write(folder.path().join("notes"), "").unwrap();
        let own = ProjectFile { directory: "/srv/web".into(), ..ProjectFile::default() };
        let (projects, problems) = added(folder.path(), [("web".to_owned(), own)].into());
        assert_eq!(projects, ["my-app at my-app", "web at /srv/web"]);
        assert_eq!(problems, "");
    }

    #[test]
    fn a_folder_that_is_none_and_one_without_projects_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let (_, problems) = added(&folder.path().join("nowhere"), BTreeMap::new());
        assert!(
            problems.contains("HOLDFAST_PROJECTS: ") && problems.contains("nowhere"),
            "{problems}"
        );
        let (_, problems) = added(folder.path(), BTreeMap::new());
        assert!(problems.contains("there is no project in "), "{problems}");
        let (_, problems) = added(Path::new("projects"), BTreeMap::new());
        assert!(problems.contains("must be an absolute path, is projects"), "{problems}");
    }
}
