//! `runner-svc drain`: takes no new work, until `drain --off`; what runs goes on to its end.
//!
//! The word is a file in the state directory, so it outlives the service. The service looks for it
//! before it asks for work, before it takes what it asked for, and each time that it shows itself, and
//! watches for its end; whoever places work reads it in the presence. It stops nothing.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::spool::{Subscription, Watcher};

/// The file whose being there is the word.
const FILE: &str = "draining";
/// How long `drain --off` can stay unseen where the file system tells of no change.
const LOOK_ANYWAY: Duration = Duration::from_secs(10);

fn file(state_dir: &Path) -> PathBuf {
    state_dir.join(FILE)
}

/// Whether the runner of this state directory takes no new work.
pub(crate) fn is_on(state_dir: &Path) -> bool {
    file(state_dir).exists()
}

/// Returns when it takes work.
pub(crate) async fn is_over(watcher: &Watcher, state_dir: &Path) {
    // Before the first look, so that no change falls between the two.
    let changes = watcher.watch(state_dir).ok();
    is_seen_to_be_over(changes.as_ref(), state_dir, LOOK_ANYWAY).await;
}

async fn is_seen_to_be_over(
    changes: Option<&Subscription>,
    state_dir: &Path,
    look_anyway: Duration,
) {
    while is_on(state_dir) {
        let told = async {
            match changes {
                Some(changes) => changes.changed().await,
                None => std::future::pending().await,
            }
        };
        // The time that is over and the change are one: it looks again.
        let _ = tokio::time::timeout(look_anyway, told).await;
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

    const DEADLINE: Duration = Duration::from_secs(20);

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
        is_over(&Watcher::new().unwrap(), &dir).await;
    }

    #[tokio::test]
    async fn its_end_is_heard_of_and_not_looked_for() {
        let folder = tempfile::tempdir().unwrap();
        begin(folder.path()).unwrap();
        let watcher = Watcher::new().unwrap();
        let changes = watcher.watch(folder.path()).unwrap();
        let over = is_seen_to_be_over(Some(&changes), folder.path(), Duration::MAX);
        let mut over = std::pin::pin!(over);
        // The first look was taken, and it is on.
        assert!(futures_util::poll!(&mut over).is_pending());
        fs::write(folder.path().join("other"), "").unwrap();
        assert!(futures_util::poll!(&mut over).is_pending(), "that was another file");
        end(folder.path()).unwrap();
        tokio::time::timeout(DEADLINE, over).await.expect("it hears");
    }

    #[tokio::test]
    async fn its_end_is_seen_where_nothing_can_be_watched() {
        let folder = tempfile::tempdir().unwrap();
        begin(folder.path()).unwrap();
        let over = is_seen_to_be_over(None, folder.path(), Duration::from_millis(1));
        let mut over = std::pin::pin!(over);
        let _ = futures_util::poll!(&mut over);
        end(folder.path()).unwrap();
        tokio::time::timeout(DEADLINE, over).await.expect("it looks");
    }
}
