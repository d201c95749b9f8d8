//! Says that a keeper wrote to a spool: one inotify instance for all spools of a runner.
//!
//! It is a hint that saves waiting. Who waits for it also has a slow timer, because inotify is
//! silent on network file systems and when the system has run out of watches.
//!
//! It never says *what* happened; the spool does.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use notify::event::EventKind;
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use thiserror::Error;
use tokio::sync::Notify;

/// The system does not watch directories for us. The caller's timer still works.
#[derive(Debug, Error)]
pub(crate) enum WatchError {
    /// No inotify instance is to be had.
    #[error("cannot watch any spool")]
    NoWatcher(#[source] notify::Error),
    /// This one directory cannot be watched.
    #[error("cannot watch {}", dir.display())]
    NotThis {
        /// The directory.
        dir: PathBuf,
        /// What the operating system said.
        source: notify::Error,
    },
}

type Bells = Arc<Mutex<HashMap<PathBuf, Arc<Notify>>>>;

/// Watches spools.
#[derive(Clone, Debug)]
pub(crate) struct Watcher {
    bells: Bells,
    inotify: Arc<Mutex<RecommendedWatcher>>,
}

/// The spool is watched as long as this lives.
#[derive(Debug)]
pub(crate) struct Subscription {
    dir: PathBuf,
    bell: Arc<Notify>,
    watcher: Watcher,
}

/// A map of bells cannot be left half changed, so a panic elsewhere is no reason to stop.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watcher {
    /// Makes the one watcher of a runner.
    ///
    /// # Errors
    ///
    /// [`WatchError::NoWatcher`].
    pub(crate) fn new() -> Result<Self, WatchError> {
        let bells = Bells::default();
        let to_ring = Arc::clone(&bells);
        let inotify = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            match event {
                Ok(event) if matches!(event.kind, EventKind::Access(_)) => {}
                Ok(event) => ring(&lock(&to_ring), &event.paths),
                // The queue ran over, perhaps: anything may have happened.
                Err(_) => ring_all(&lock(&to_ring)),
            }
        })
        .map_err(WatchError::NoWatcher)?;
        Ok(Watcher { bells, inotify: Arc::new(Mutex::new(inotify)) })
    }

    /// Watches the spool in `dir` until the subscription is dropped. One subscription a spool.
    ///
    /// # Errors
    ///
    /// [`WatchError::NotThis`].
    pub(crate) fn watch(&self, dir: &Path) -> Result<Subscription, WatchError> {
        let bell = Arc::new(Notify::new());
        lock(&self.bells).insert(dir.to_owned(), Arc::clone(&bell));
        let subscription = Subscription { dir: dir.to_owned(), bell, watcher: self.clone() };
        lock(&self.inotify)
            .watch(dir, RecursiveMode::NonRecursive)
            .map_err(|source| WatchError::NotThis { dir: dir.to_owned(), source })?;
        Ok(subscription)
    }
}

fn ring_all(bells: &HashMap<PathBuf, Arc<Notify>>) {
    for bell in bells.values() {
        bell.notify_one();
    }
}

fn ring(bells: &HashMap<PathBuf, Arc<Notify>>, paths: &[PathBuf]) {
    if paths.is_empty() {
        ring_all(bells);
    }
    for path in paths {
        let bell = bells.get(path).or_else(|| bells.get(path.parent()?));
        if let Some(bell) = bell {
            bell.notify_one();
        }
    }
}

impl Subscription {
    /// Returns when something was written since the last call returned, or since the watch began.
    /// Nothing is lost when the future is dropped: a change in between ends the next call at once.
    pub(crate) async fn changed(&self) {
        self.bell.notified().await;
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        lock(&self.watcher.bells).remove(&self.dir);
        // Fails when the spool was removed, and with it the watch.
        let _ = lock(&self.watcher.inotify).unwatch(&self.dir);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const DEADLINE: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn a_write_wakes_who_watches_that_spool() {
        let root = tempfile::tempdir().expect("a folder");
        let watcher = Watcher::new().expect("inotify");
        let dirs = ["a", "b"].map(|name| root.path().join(name));
        for dir in &dirs {
            std::fs::create_dir(dir).expect("made");
        }
        let [a, b] = dirs.each_ref().map(|dir| watcher.watch(dir).expect("watched"));
        std::fs::write(dirs[0].join("journal"), "x").expect("written");
        tokio::time::timeout(DEADLINE, a.changed()).await.expect("a hears of its own file");
        std::fs::write(dirs[1].join("exit"), "x").expect("written");
        tokio::time::timeout(DEADLINE, b.changed()).await.expect("b hears of its own file");
    }

    #[tokio::test]
    async fn a_spool_is_watched_again_after_its_subscription_was_dropped() {
        let dir = tempfile::tempdir().expect("a folder");
        let watcher = Watcher::new().expect("inotify");
        drop(watcher.watch(dir.path()).expect("watched"));
        let again = watcher.watch(dir.path()).expect("watched again");
        std::fs::write(dir.path().join("journal"), "x").expect("written");
        tokio::time::timeout(DEADLINE, again.changed()).await.expect("it hears");
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let watcher = Watcher::new().expect("inotify");
        let error = watcher.watch(Path::new("/nowhere/at/all")).expect_err("not there");
        assert_eq!(error.to_string(), "cannot watch /nowhere/at/all");
        assert!(lock(&watcher.bells).is_empty());
    }
}
