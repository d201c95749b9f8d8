//! As many slots, and as many places to wait for a person without one, as the configuration says now.
//!
//! More are there at once. Fewer are when they become free: no run is ended for it. It knows nothing of
//! what a slot is used for.

use std::sync::Arc;

use platform::reload::Current;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::host::Host;

/// A semaphore, and how many permits it has in all.
#[derive(Debug)]
struct Count {
    of: Arc<Semaphore>,
    has: usize,
}

impl Count {
    fn raise(&mut self, wanted: usize) {
        self.of.add_permits(wanted.saturating_sub(self.has));
        self.has = self.has.max(wanted);
    }

    /// Takes one away when it is free. Never returns where there are no more than wanted.
    async fn lower(&mut self, wanted: usize) {
        if self.has <= wanted {
            std::future::pending::<()>().await;
        }
        if let Ok(permit) = self.of.acquire().await {
            permit.forget();
        }
        self.has -= 1;
    }
}

/// Sees to it until `stop`.
pub(crate) async fn run(mut current: Current<Host>, stop: CancellationToken) -> anyhow::Result<()> {
    let host = current.now();
    let wanted = |host: &Host| (host.config.slots.into(), host.config.max_waiting_runs.into());
    let (slots_now, patience_now) = wanted(&host);
    let mut slots = Count { of: Arc::clone(&host.slots), has: slots_now };
    let mut patience = Count { of: Arc::clone(&host.patience), has: patience_now };
    drop(host);
    loop {
        let (slots_wanted, patience_wanted) = wanted(&current.now());
        slots.raise(slots_wanted);
        patience.raise(patience_wanted);
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = current.changed() => {}
            () = slots.lower(slots_wanted) => {}
            () = patience.lower(patience_wanted) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn fewer_slots_are_there_when_they_become_free() {
        let mut count = Count { of: Arc::new(Semaphore::new(2)), has: 2 };
        let of = Arc::clone(&count.of);
        let one = of.acquire().await.unwrap();
        count.lower(1).await;
        assert_eq!((count.has, of.available_permits()), (1, 0), "the idle one is gone");
        tokio::select! {
            biased;
            () = count.lower(0) => panic!("a run was at work in it"),
            () = std::future::ready(()) => {}
        }
        drop(one);
        count.lower(0).await;
        assert_eq!((count.has, of.available_permits()), (0, 0));
        count.raise(3);
        assert_eq!((count.has, of.available_permits()), (3, 3));
    }
}
