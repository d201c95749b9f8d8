//! `runner-svc drain`: takes no new work, until `drain --off`; what runs goes on to its end.
//!
//! The word is a file in the state directory, so it outlives the service. The service looks for it
//! before it asks for work, before it takes what it asked for, and each time that it shows itself;
//! whoever places work reads it in the presence. It stops nothing.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The file whose being there is the word.
const FILE: &str = "draining";
/// How long `drain --off` can stay unseen.
const LOOK_EVERY: Duration = Duration::from_secs(2);

fn file(state_dir: &Path) -> PathBuf {
    state_dir.join(FILE)
}

/// Whether the runner of this state directory takes no new work.
pub(crate) fn is_on(state_dir: &Path) -> bool {
    file(state_dir).exists()
}

/// Returns when it takes work.
pub(crate) async fn is_over(state_dir: &Path) {
    while is_on(state_dir) {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Says from now on that it takes no new work.
///
/// # Errors
///
/// What the operating system said.
pub(crate) fn begin(state_dir: &Path) -> io::Result<()> {
    fs::create_dir_all(state_dir)?;
    File::create(file(state_dir))?.sync_all()?;
    File::open(state_dir)?.sync_all()
}

/// Says from now on that it takes work again.
///
/// # Errors
///
/// What the operating system said.
pub(crate) fn end(state_dir: &Path) -> io::Result<()> {
    match fs::remove_file(file(state_dir)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) => File::open(state_dir)?.sync_all(),
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_word_holds_until_it_is_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("state");
        assert!(!is_on(&dir));
        end(&dir).unwrap();
        begin(&dir).unwrap();
        begin(&dir).unwrap();
        assert!(is_on(&dir));
        end(&dir).unwrap();
        is_over(&dir).await;
    }
}
