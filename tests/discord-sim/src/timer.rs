//! Lets interactions fail when their time is over, for whoever waits or looks at the page.
//!
//! One task that sleeps until the next deadline. A test that moves the clock wakes it, so no test
//! waits three seconds.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio_util::sync::CancellationToken;

use crate::hub::Hub;

/// Settles at each deadline until told to stop.
pub(crate) async fn keep(hub: Arc<Hub>, stop: CancellationToken) -> Result<()> {
    let mut changed = hub.subscribe();
    loop {
        changed.borrow_and_update();
        let deadline_ms = hub.look(|inner| inner.guild.next_deadline_ms());
        let now_ms = hub.clock.now_ms();
        let wait = deadline_ms.map(|it| Duration::from_millis(it.saturating_sub(now_ms)));
        let due = async {
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            // The hub outlives this task, so its sender does.
            _ = changed.changed() => {}
            // Noting anything settles what is due.
            () = due => hub.note(|_| {}),
        }
    }
}
