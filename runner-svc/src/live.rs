//! What this process holds right now: one attempt a run, one at a time in a thread.
//!
//! A hint derived from the spools and the records, never the truth: after a restart it is filled
//! again by adoption, before any work is asked for.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use schemas::ids::{Generation, RunId, ThreadId};
use schemas::request::{Request, Task};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedMutexGuard, mpsc};

use crate::bus::Delivery;

/// Deliveries of one run that may wait for its attempt: each replaces the one before.
const AGAIN_MAX: usize = 4;

/// A place in a thread's line.
pub(crate) type Turn = Pin<Box<dyn Future<Output = OwnedMutexGuard<()>> + Send>>;

/// The runs and threads at work.
#[derive(Debug, Default)]
pub(crate) struct Live {
    runs: Mutex<HashMap<(RunId, Generation), mpsc::Sender<Delivery>>>,
    threads: Mutex<HashMap<ThreadId, Arc<tokio::sync::Mutex<()>>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Live {
    /// Passes a delivery on to the attempt that is at work on this generation of its run; gives it
    /// back when there is none. Another generation is other work: its delivery must never be acked
    /// under the record of this one.
    pub(crate) fn pass_on(
        &self,
        run: &RunId,
        generation: Generation,
        delivery: Delivery,
    ) -> Option<Delivery> {
        let mut runs = lock(&self.runs);
        runs.retain(|_, attempt| !attempt.is_closed());
        match runs.get(&(run.clone(), generation)) {
            Some(attempt) => match attempt.try_send(delivery) {
                // A full queue holds newer handles than it needs.
                Ok(()) | Err(TrySendError::Full(_)) => None,
                // It takes no more: the delivery is looked at by itself.
                Err(TrySendError::Closed(delivery)) => Some(delivery),
            },
            None => Some(delivery),
        }
    }

    /// Notes that a generation of a run is at work here. The receiver gets later deliveries of it;
    /// it counts as at work until the receiver is dropped.
    pub(crate) fn hold(&self, run: &RunId, generation: Generation) -> mpsc::Receiver<Delivery> {
        let (sender, receiver) = mpsc::channel(AGAIN_MAX);
        lock(&self.runs).insert((run.clone(), generation), sender);
        receiver
    }

    /// Whether a generation of a run is at work here.
    pub(crate) fn holds(&self, run: &RunId, generation: Generation) -> bool {
        let runs = lock(&self.runs);
        runs.get(&(run.clone(), generation)).is_some_and(|attempt| !attempt.is_closed())
    }

    /// Takes the next place in the thread's line, at once. The turn comes when all who were there
    /// before are gone; its guard is to be kept until claude is gone.
    pub(crate) fn line_up(&self, thread: ThreadId) -> Turn {
        // The lock is fair to those who have asked once.
        let mut turn: Turn = Box::pin(self.door(thread).lock_owned());
        match turn.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(guard) => Box::pin(std::future::ready(guard)),
            Poll::Pending => turn,
        }
    }

    /// Enters the thread if nothing else is in it or in its line.
    pub(crate) fn try_enter(&self, thread: ThreadId) -> Option<OwnedMutexGuard<()>> {
        self.door(thread).try_lock_owned().ok()
    }

    fn door(&self, thread: ThreadId) -> Arc<tokio::sync::Mutex<()>> {
        let mut threads = lock(&self.threads);
        threads.retain(|_, one| 1 < Arc::strong_count(one));
        Arc::clone(threads.entry(thread).or_default())
    }

    /// How many runs are at work.
    pub(crate) fn count(&self) -> usize {
        lock(&self.runs).values().filter(|attempt| !attempt.is_closed()).count()
    }
}

/// Where a run lines up: in its thread, or, when it only looks, nowhere but by itself.
pub(crate) fn line_of(request: &Request) -> ThreadId {
    match (request.task, request.message) {
        (Task::Diff, Some(message)) => message.into(),
        (Task::Ask | Task::Diff, _) => request.thread,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn a_thread_is_entered_in_the_order_of_its_line() {
        let live = Live::default();
        let thread: ThreadId = "7".parse().unwrap();
        let (first, mut second) = (live.line_up(thread), live.line_up(thread));
        let mut third = live.line_up(thread);
        // Nobody has waited yet, and the places are taken.
        assert!((&mut third).now_or_never().is_none());
        let guard = first.now_or_never().unwrap();
        assert!((&mut second).now_or_never().is_none());
        drop(guard);
        assert!((&mut third).now_or_never().is_none(), "it overtakes");
        let guard = second.now_or_never().unwrap();
        drop(guard);
        assert!(third.now_or_never().is_some());
        let other: ThreadId = "8".parse().unwrap();
        assert!(live.line_up(other).now_or_never().is_some());
    }
}
