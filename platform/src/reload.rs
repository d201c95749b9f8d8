//! The configuration while a service runs: read again at SIGHUP, taken as a whole or refused as a whole.
//!
//! Whoever decides something takes a snapshot ([`Current::now`]) and goes by it to the end of that
//! decision; whoever is at work keeps the one that it began with. What is wrong, or would need a
//! restart, is said in the log and in `/readyz` until a file is taken, and the configuration of before
//! goes on. What may change while it runs is the service's own to say: nothing is read or judged here.

use std::io;
use std::sync::Arc;

use thiserror::Error;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::chain::Chain;
use crate::config::ConfigError;
use crate::health::Readiness;
use crate::supervisor::Supervisor;

/// The part of `/readyz` that says why the newest file was refused.
pub const CONFIGURATION: &str = "configuration";

/// What holds now. Cheap to clone.
#[derive(Debug)]
pub struct Current<T>(watch::Receiver<Arc<T>>);

impl<T> Clone for Current<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Current<T> {
    /// What holds now, for one decision.
    pub fn now(&self) -> Arc<T> {
        Arc::clone(&self.0.borrow())
    }

    /// Returns when something else holds than at the last call, or than when this was cloned.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            // Nobody is left who could change it.
            std::future::pending::<()>().await;
        }
    }
}

/// Who may change what holds.
#[derive(Debug)]
pub struct Changing<T>(watch::Sender<Arc<T>>);

/// What holds at first, and who may change it.
pub fn starting_with<T>(first: T) -> (Changing<T>, Current<T>) {
    let (changing, current) = watch::channel(Arc::new(first));
    (Changing(changing), Current(current))
}

/// Why a configuration is not taken while the service runs.
#[derive(Debug, Error)]
pub enum Refused {
    /// It is wrong.
    #[error("{}", Chain(.0))]
    Wrong(#[source] ConfigError),
    /// These keys are not what they were, and count from the next start on alone.
    #[error("needs a restart: {}", .0.join(", "))]
    NeedsRestart(Vec<&'static str>),
    /// What it needs is not there.
    #[error("{0}")]
    Lacks(String),
    /// It was not read to its end.
    #[error("it was not read ({0})")]
    Unread(#[from] tokio::task::JoinError),
}

/// Refuses a configuration in which one of these keys has changed: its name, and whether it has.
///
/// # Errors
///
/// [`Refused::NeedsRestart`] with all of them.
pub fn without_restart(
    keys: impl IntoIterator<Item = (&'static str, bool)>,
) -> Result<(), Refused> {
    let changed: Vec<_> =
        keys.into_iter().filter(|(_, has_changed)| *has_changed).map(|(key, _)| key).collect();
    if changed.is_empty() { Ok(()) } else { Err(Refused::NeedsRestart(changed)) }
}

/// Reads a configuration where reading may block: a disk and a name server may be slow.
///
/// # Errors
///
/// [`Refused::Wrong`] with all problems, [`Refused::Unread`].
pub async fn read<C: Send + 'static>(
    load: impl FnOnce() -> Result<C, ConfigError> + Send + 'static,
) -> Result<C, Refused> {
    tokio::task::spawn_blocking(load).await?.map_err(Refused::Wrong)
}

/// The signal to read the configuration again. One that comes before anybody waits for it is kept; of
/// several one is left, which is enough: the file is read after it.
#[derive(Debug)]
pub struct Hangups(Signal);

impl Hangups {
    /// Listens from now on: a SIGHUP ends the process no more.
    ///
    /// # Errors
    ///
    /// What the operating system said.
    pub fn listen() -> io::Result<Self> {
        signal(SignalKind::hangup()).map(Self)
    }
}

impl<T> Changing<T> {
    /// Asks for a new configuration at each signal, one at a time, until `stop`. `again` is given what
    /// holds, and says what is to hold from then on, or why nothing changes. The supervisor is told of
    /// each beginning and end.
    pub async fn follow<F>(
        self,
        Hangups(mut hangups): Hangups,
        (readiness, supervisor): (Readiness, Supervisor),
        stop: CancellationToken,
        again: impl Fn(Arc<T>) -> F,
    ) where
        F: Future<Output = Result<T, Refused>>,
    {
        while let Some(Some(())) = stop.run_until_cancelled(hangups.recv()).await {
            supervisor.reloading();
            let now = Arc::clone(&self.0.borrow());
            let Some(read) = stop.run_until_cancelled(again(now)).await else { return };
            self.settle(read, &readiness);
            supervisor.reloaded(&readiness);
        }
    }

    /// Takes what was read, or says why it is refused.
    fn settle(&self, read: Result<T, Refused>, readiness: &Readiness) {
        match read {
            Ok(new) => {
                self.0.send_replace(Arc::new(new));
                readiness.ready(CONFIGURATION);
                tracing::info!("the configuration was read again");
            }
            Err(refused) => {
                let why = refused.to_string();
                tracing::error!("the configuration is refused, the one before goes on: {why}");
                let why = format!("is refused, the one before goes on: {why}");
                readiness.not_ready(CONFIGURATION, why);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_took_a_snapshot_keeps_it_and_the_next_one_is_new() {
        let (changing, mut current) = starting_with(1);
        let begun = current.now();
        changing.settle(Ok(2), &Readiness::new(&[]));
        current.changed().await;
        assert_eq!((*begun, *current.now()), (1, 2));
        drop(changing);
        assert_eq!(*current.now(), 2);
        tokio::select! {
            biased;
            () = current.changed() => panic!("nobody is left who could change it"),
            () = std::future::ready(()) => {}
        }
    }

    #[test]
    fn what_is_refused_changes_nothing_and_is_said_until_one_is_taken() {
        let (changing, current) = starting_with(1);
        let readiness = Readiness::new(&[]);
        let keys = [("slots", false), ("name", true), ("http_listen", true)];
        changing.settle(without_restart(keys).map(|()| 2), &readiness);
        assert_eq!(*current.now(), 1);
        let said = "configuration: is refused, the one before goes on: needs a restart: name, \
                    http_listen\n";
        assert_eq!(readiness.missing(), said);
        changing.settle(without_restart([("name", false)]).map(|()| 3), &readiness);
        assert_eq!((*current.now(), readiness.missing()), (3, String::new()));
    }
}
