//! What an earlier life of this runner left in a spool is found, held, and gone on with.
//!
//! Every spool is looked at before any work is asked for. The record decides what becomes of it: ours is
//! followed, another's claude is stopped, and an absent record is written again.

use std::sync::Arc;

use platform::clock::now_ms;
use platform::telemetry;
use schemas::names::link;
use tokio::sync::mpsc;
use tracing::Instrument as _;

use super::ask::{cas, record};
use super::ending::{end, stop, sweep};
use super::lease::Lease;
use super::{Left, Result, Work, again, claim, last, line_of, read_json, report, trouble};
use crate::bus::Delivery;
use crate::crash;
use crate::directories::Seat;
use crate::held::{HELD, Held};
use crate::host::Host;
use crate::live::Turn;
use crate::spool::Spool;

/// What an earlier life of this runner left in a spool.
pub(crate) struct Found {
    spool: Spool,
    /// Whose it is; `None`: nobody can say any more.
    held: Option<(Held, mpsc::Receiver<Delivery>, Turn)>,
    /// Where claude works.
    seat: Seat,
}

/// Looks into a spool, and holds its run and claude's directory from now on: to be called for every
/// spool before any work is asked for.
///
/// # Errors
///
/// When the spool cannot be read.
pub(crate) fn find(host: &Host, spool: Spool, seat: Seat) -> Result<Found> {
    stay(host, &spool, &seat)?;
    let held = read_json::<Held>(&spool, HELD)?;
    let held = held.map(|held| {
        let again = host.live.hold(&held.request.run, held.request.generation);
        // Before any work is asked for: a newer claude of the thread comes after this one's end.
        let turn = host.live.line_up(line_of(&held.request));
        (held, again, turn)
    });
    Ok(Found { spool, held, seat })
}

/// Sits down where the claude of a spool works, whoever else is there: it may be at work.
pub(super) fn stay(host: &Host, spool: &Spool, seat: &Seat) -> Result<()> {
    let cwd = spool.cwd().map_err(trouble)?;
    seat.stay(&host.directories, &cwd.unwrap_or_else(|| spool.dir().to_owned()));
    Ok(())
}

/// Goes on with what was found.
pub(crate) async fn adopt(host: Arc<Host>, found: Found) {
    let ids = found.held.as_ref().and_then(|(held, ..)| held.ids());
    let span = tracing::info_span!("adopt", spool = found.spool.name());
    let key = found.held.as_ref().map(|(held, ..)| held.key());
    let seat = found.seat.clone();
    let adopting = async {
        match (adopt_spool(&host, found).await, key) {
            (Ok(()), _) => {}
            (Err(left), Some(key)) => again::left(&host, &key, left, &seat).await,
            (Err(left), None) => report(&left),
        }
    };
    Box::pin(telemetry::within(ids.as_ref(), adopting.instrument(span))).await;
}

/// Goes on with a spool, as its record says.
pub(super) async fn adopt_spool(
    host: &Arc<Host>,
    Found { spool, held, seat }: Found,
) -> Result<()> {
    let began_ms = now_ms();
    let Some((mut held, mut again, turn)) = held else {
        stop(host, &spool).await?;
        return sweep(host, spool).await;
    };
    let key = held.key();
    let alone = turn.await;
    let read = record(host, &key).await?;
    crash::point("adopt.read");
    let revision = match read {
        Some((record, revision)) if record.owner == held.record.owner => {
            if record.outcome().is_some() {
                tracing::info!(run = %key.run, "has its outcome already");
                if let Some(delivery) = last(&mut again) {
                    delivery.done().await;
                }
                end(host, &spool).await?;
                held.record = record;
                held.trace_all(&spool, now_ms(), host.bus.redactor());
                return sweep(host, spool).await;
            }
            held.goes_on_from(&record);
            revision
        }
        // NATS was put back to what it was before this attempt.
        Some((older, revision)) if held.record.follows(&older) => {
            cas(host, &key, &held.record, revision).await?
        }
        Some(_) => {
            stop(host, &spool).await?;
            held.trace_lost(&spool, host.bus.redactor());
            sweep(host, spool).await?;
            let Some(delivery) = last(&mut again) else { return Err(Left::TakenOver) };
            // It came for whatever the record says by now, and not for what lay in this spool.
            drop((again, alone));
            seat.leave();
            return Box::pin(claim(host, held.request, delivery, seat, None)).await;
        }
        None => {
            let revision = cas(host, &key, &held.record, 0).await?;
            crash::point("adopt.rewritten");
            revision
        }
    };
    tracing::info!(run = %key.run, "adopted");
    host.numbers.adopted(&key.project);
    held.trace_adoption(began_ms, link::ADOPTION);
    let lease = Lease::found(host, &key.project, &spool);
    let host = Arc::clone(host);
    Work { host, held, revision, delivery: None, again, seat, lease, said: None }
        .resume(spool)
        .await
}
