//! The loops of a service, by name.
//!
//! Whoever waits for a service that does not end wants to know which of its loops does not: those
//! that are left are named when they are dropped. A loop ends by itself; nothing here stops one.

use std::collections::BTreeSet;

use tokio::task::{JoinError, JoinSet};

/// Loops that have not ended.
#[derive(Debug)]
pub struct Tasks<E> {
    at_work: BTreeSet<&'static str>,
    set: JoinSet<Ended<E>>,
}

/// A loop's name, and how it ended.
pub type Ended<E> = (&'static str, Result<(), E>);

impl<E: Send + 'static> Tasks<E> {
    /// None yet.
    pub fn new() -> Self {
        Self { at_work: BTreeSet::new(), set: JoinSet::new() }
    }

    /// Begins a loop, under a name of its own.
    pub fn spawn(
        &mut self,
        name: &'static str,
        life: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        self.at_work.insert(name);
        self.set.spawn(async move { (name, life.await) });
    }

    /// Waits until one of them ends; `None`: none is left.
    ///
    /// # Errors
    ///
    /// When one panicked.
    pub async fn join_next(&mut self) -> Option<Result<Ended<E>, JoinError>> {
        let ended = self.set.join_next().await?;
        if let Ok((name, _)) = &ended {
            self.at_work.remove(name);
        }
        Some(ended)
    }
}

impl<E: Send + 'static> Default for Tasks<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E> Drop for Tasks<E> {
    fn drop(&mut self) {
        if !self.set.is_empty() {
            let left = self.at_work.iter().copied().collect::<Vec<_>>().join(", ");
            tracing::warn!(left, "is still at work");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_left_is_known_by_its_name() {
        let mut tasks = Tasks::new();
        tasks.spawn("fast", async { Ok(()) });
        tasks.spawn("slow", std::future::pending());
        tasks.spawn("bad", async { Err("no disk") });
        let mut ended = vec![tasks.join_next().await, tasks.join_next().await];
        ended.sort_by_key(|ended| ended.as_ref().unwrap().as_ref().unwrap().0);
        let ended: Vec<_> = ended.into_iter().map(|ended| ended.unwrap().unwrap()).collect();
        assert_eq!(ended, [("bad", Err("no disk")), ("fast", Ok(()))]);
        assert_eq!(tasks.at_work, BTreeSet::from(["slow"]));
    }
}
