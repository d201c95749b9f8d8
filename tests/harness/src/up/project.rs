//! Which directory claude works in, and the project's name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use harness::{Folder, project};
use schemas::ids::ProjectName;

/// The name of the sample project.
const SAMPLE: &str = "sample";
/// How many directories of one name are told apart.
const SAME_NAME_MAX: usize = 100;

/// The directory that was named, or a small sample that is made now; and the project's name.
///
/// # Errors
///
/// When there is no such directory, or the sample cannot be made.
pub(crate) fn choose(
    named: Option<PathBuf>,
    folder: &Folder,
    known: &BTreeMap<String, PathBuf>,
) -> Result<(String, PathBuf)> {
    let Some(named) = named else {
        let sample = folder.root().join(SAMPLE);
        if !sample.is_dir() {
            project::repository(&sample).context("cannot make the sample project")?;
        }
        return Ok((SAMPLE.to_owned(), sample));
    };
    let directory = named.canonicalize();
    let directory =
        directory.with_context(|| format!("--project {} is not there", named.display()))?;
    ensure!(directory.is_dir(), "--project {} is no directory", named.display());
    let name = name_for(&directory, known)?;
    Ok((name, directory))
}

/// The name that a directory has, or a new one after its last part.
fn name_for(directory: &Path, known: &BTreeMap<String, PathBuf>) -> Result<String> {
    if let Some((name, _)) = known.iter().find(|(_, path)| *path == directory) {
        return Ok(name.clone());
    }
    let last = directory.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let plain: String = last.chars().map(plain).take(40).collect();
    let plain = Some(plain.trim_matches('-')).filter(|name| !name.is_empty()).unwrap_or("project");
    let numbered = (2..SAME_NAME_MAX).map(|number| format!("{plain}-{number}"));
    let mut names = std::iter::once(plain.to_owned()).chain(numbered);
    let free = names.find(|name| name != SAMPLE && !known.contains_key(name));
    let free = free.context("too many projects of one name")?;
    free.parse::<ProjectName>().context("the directory's name makes no project name")?;
    Ok(free)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_gives_its_name_and_keeps_it() {
        let mut known = BTreeMap::new();
        for (directory, name) in [
            ("/src/My Shop", "my-shop"),
            ("/src/sample", "sample-2"),
            ("/old/my.shop", "my-shop-2"),
            ("/src/My Shop", "my-shop"),
            ("/", "project"),
        ] {
            let found = name_for(Path::new(directory), &known).unwrap();
            assert_eq!(found, name);
            known.insert(found, directory.into());
        }
    }
}
