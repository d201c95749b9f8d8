//! What was claimed and never begun: the runner ended between the record and the spool.
//!
//! Its next start goes on with it as the same attempt, without waiting for the work to be delivered
//! again; a delivery that comes meanwhile is only the one to ack. The record decides: a claim that
//! is not in it, or not any more, is forgotten, and whatever is in the queue comes by itself.

use std::sync::Arc;

use platform::clock::now_ms;
use platform::telemetry;
use schemas::names::link;
use tokio::sync::{Semaphore, mpsc};
use tracing::Instrument as _;

use super::ask::{cas, record};
use super::lease::Lease;
use super::{Left, Result, Work, again, claim, last};
use crate::bus::Delivery;
use crate::crash;
use crate::directories::Seat;
use crate::held::Held;
use crate::host::Host;
use crate::live::{Turn, line_of};
use crate::spool::Spool;

/// A claim of an earlier life of this runner that has no spool.
pub(crate) struct Unbegun {
    held: Held,
    again: mpsc::Receiver<Delivery>,
    turn: Turn,
}

/// Finds them, and holds their runs from now on: to be called after every spool was found, and
/// before any work is asked for.
pub(crate) fn unbegun(host: &Host) -> Vec<Unbegun> {
    let mut found = Vec::new();
    for held in host.intents.all() {
        let (run, generation) = (&held.request.run, held.request.generation);
        let has_spool = Spool::open(&host.spools, &held.record.owner.to_string()).is_some();
        if has_spool || host.live.holds(run, generation) {
            host.intents.forget(run);
            continue;
        }
        let again = host.live.hold(run, generation);
        let turn = host.live.line_up(line_of(&held.request));
        found.push(Unbegun { held, again, turn });
    }
    found
}

/// Begins what was found, as soon as there is a slot.
pub(crate) async fn begin(host: Arc<Host>, unbegun: Unbegun, slots: Arc<Semaphore>) {
    let span = tracing::info_span!("run", run.id = %unbegun.held.request.run);
    let ids = unbegun.held.ids();
    let key = unbegun.held.key();
    let beginning = async {
        let free = host.stop.run_until_cancelled(slots.acquire_owned()).await;
        let Some(Ok(slot)) = free else { return };
        let seat = Seat::new(Some(slot));
        if let Err(left) = go_on(&host, unbegun, seat.clone()).await {
            again::left(&host, &key, left, &seat).await;
        }
    };
    Box::pin(telemetry::within(ids.as_ref(), beginning.instrument(span))).await;
}

async fn go_on(host: &Arc<Host>, unbegun: Unbegun, seat: Seat) -> Result<()> {
    let Unbegun { mut held, mut again, turn } = unbegun;
    let alone = host.stop.run_until_cancelled(turn).await.ok_or(Left::Stopping)?;
    match record(host, &held.key()).await? {
        Some((record, revision))
            if record.owner == held.record.owner && record.outcome().is_none() =>
        {
            tracing::info!("goes on with what was claimed before");
            // Until claude was first started, no time of the run's own goes by.
            held.since_ms = record.since_ms.unwrap_or_else(now_ms);
            held.record = record;
            held.trace_adoption(now_ms(), link::ADOPTION);
            let host = Arc::clone(host);
            let lease = Lease::unknown(&host, &held.request.project);
            Work { host, held, revision, delivery: None, again, seat, lease, said: None }
                .start()
                .await
        }
        Some(_) | None => {
            host.intents.forget(&held.request.run);
            let Some(delivery) = last(&mut again) else { return Ok(()) };
            drop((again, alone));
            Box::pin(claim(host, held.request, delivery, seat, None)).await
        }
    }
}

/// Writes the record of a claim, with what it is to begin remembered first.
pub(super) async fn write(host: &Host, held: &Held, over: u64) -> Result<u64> {
    tokio::task::block_in_place(|| host.intents.remember(held));
    crash::point("claim.noted");
    let written = cas(host, &held.key(), &held.record, over).await;
    if let Err(Left::TakenOver) = written {
        host.intents.forget(&held.request.run);
    }
    written
}
