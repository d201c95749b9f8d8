//! The lease of a shared project's run: its record is renewed by compare-and-set, and the keeper is
//! told of each renewal that succeeded.
//!
//! What counts is when a renewal *began*: others saw the revision that it made after that, so they
//! wait longer than the keeper does. A renewal whose answer was lost may arrive at any time; what
//! is found to have arrived counts from the start of the first one that is unsure. Nothing here
//! waits for NATS longer than one call may take, and the keeper waits for nobody.
//!
//! An exclusive project's run has no lease and is never renewed.

use std::time::Duration;

use schemas::ids::ProjectName;
use schemas::record::Record;

use super::ask::{cas, record};
use super::{Left, Result, Work, trouble};
use crate::bus::{BusError, Renewed};
use crate::crash;
use crate::host::Host;
use crate::keeper;
use crate::keeper::procs::boot_id;
use crate::keeper::record::LEASE;
use crate::spool::Spool;

/// The pause between two renewals before claude may be started at all.
const PAUSE: Duration = Duration::from_secs(1);
/// How many writes of ours may arrive late, one after the other: each renewal is over before the
/// next begins, so more than one is rare.
const LATE_MAX: usize = 4;

/// How long a run is ours without another word.
#[derive(Debug)]
pub(super) struct Lease {
    /// When the last renewal that succeeded began, since boot; `None`: none did in this life.
    since: Option<Duration>,
    /// When the first one began of those that nobody knows of.
    unsure: Option<Duration>,
}

impl Lease {
    /// The lease of a claim whose write began then.
    pub(super) fn begun(host: &Host, project: &ProjectName, at: Duration) -> Option<Self> {
        is_shared(host, project).then_some(Self { since: Some(at), unsure: None })
    }

    /// The lease of what an earlier life of this runner claimed, and did not begin.
    pub(super) fn unknown(host: &Host, project: &ProjectName) -> Option<Self> {
        is_shared(host, project).then_some(Self { since: None, unsure: None })
    }

    /// The lease of what an earlier life of this runner claimed.
    pub(super) fn found(host: &Host, project: &ProjectName, spool: &Spool) -> Option<Self> {
        let leased = is_shared(host, project) || spool.dir().join(LEASE).exists();
        leased.then_some(Self { since: None, unsure: None })
    }

    /// A renewal that began then, and what became of it: the time from which the lease counts.
    fn settle(&mut self, began: Duration, renewed: Settled) -> Option<Duration> {
        let since = match renewed {
            Settled::Now => began,
            Settled::Before => self.unsure.unwrap_or(began),
            Settled::Unsure => {
                self.unsure.get_or_insert(began);
                return None;
            }
        };
        self.unsure = None;
        self.since = Some(since);
        self.since
    }
}

/// What became of a renewal.
#[derive(Clone, Copy, Debug)]
enum Settled {
    /// It was answered.
    Now,
    /// It was not, but a renewal of ours has arrived: this one or an earlier one.
    Before,
    /// Nobody knows.
    Unsure,
}

fn is_shared(host: &Host, project: &ProjectName) -> bool {
    host.config.projects.get(project).is_some_and(|project| project.shared)
}

impl Work {
    /// What the keeper is told, for a spool that is about to be made.
    pub(super) fn lease_text(&self) -> Option<String> {
        let since = self.lease.as_ref()?.since.unwrap_or_default();
        let times = self.host.config.times;
        let (until, kill_grace) = (since + times.fence, times.kill_grace);
        let lease = keeper::lease::Lease { boot_id: boot_id(), until, kill_grace };
        Some(lease.to_string())
    }

    /// Says that the work goes on: to JetStream, and to the others in a shared project.
    pub(super) async fn go_on_holding(&mut self) -> Result<()> {
        if let Some(delivery) = &self.delivery {
            delivery.in_progress().await;
        }
        self.renew().await
    }

    /// Renews the record once, if it is leased; whatever NATS does, this comes to an end.
    ///
    /// # Errors
    ///
    /// [`Left::TakenOver`]; [`Left::Stopping`].
    pub(super) async fn renew(&mut self) -> Result<()> {
        let Some(lease) = &mut self.lease else { return Ok(()) };
        let began = keeper::now();
        let (host, key) = (&self.host, self.held.key());
        // Boxed: what asks NATS is large, and every attempt would carry it.
        let renewing = Box::pin(host.bus.renew(&key, &self.held.record, self.revision));
        // One that is cut short is for the next start of the runner to settle.
        let renewed = host.stop.run_until_cancelled(renewing).await;
        let settled = match renewed.ok_or(Left::Stopping)? {
            Ok(Renewed::Now(revision)) => {
                self.revision = revision;
                Settled::Now
            }
            Ok(Renewed::Before(revision)) => {
                self.revision = revision;
                Settled::Before
            }
            Ok(Renewed::Lost) => return Err(Left::TakenOver),
            Err(error @ BusError::Request { .. }) => {
                tracing::warn!(run = %self.held.request.run, ?error, "the record is not renewed");
                Settled::Unsure
            }
            Err(error @ (BusError::Unreadable { .. } | BusError::Forged(_))) => {
                return Err(trouble(error));
            }
        };
        if lease.settle(began, settled).is_some() {
            crash::point("lease.renewed");
            self.tell_keeper();
            crash::point("lease.told");
        }
        Ok(())
    }

    /// Tells the keeper of the lease. One that cannot be told ends claude at its time.
    fn tell_keeper(&self) {
        let owner = self.held.record.owner.to_string();
        let Some(spool) = Spool::open(&self.host.spools, &owner) else { return };
        let Some(text) = self.lease_text() else { return };
        let told = tokio::task::block_in_place(|| spool.write_file(LEASE, text.as_bytes()));
        if let Err(error) = told {
            tracing::warn!(?error, "the keeper does not hear that the record was renewed");
        }
    }

    /// Renews the record until it is known to be ours for a while: before claude may be started, and
    /// before anything is done with what an earlier life of this runner left.
    pub(super) async fn renew_surely(&mut self) -> Result<()> {
        loop {
            let Some(lease) = &self.lease else { return Ok(()) };
            let age = lease.since.map(|since| keeper::now().saturating_sub(since));
            if age.is_some_and(|age| age < self.host.config.times.renew) {
                return Ok(());
            }
            let before = lease.since;
            self.renew().await?;
            if self.lease.as_ref().is_some_and(|lease| lease.since == before) {
                self.host.pause(PAUSE).await?;
            }
        }
    }

    /// Writes the next record of this holding, whatever renewal of ours arrives late and is in its
    /// way.
    pub(super) async fn write(&mut self, next: &Record) -> Result<()> {
        let key = self.held.key();
        for _ in 0..LATE_MAX {
            match cas(&self.host, &key, next, self.revision).await {
                Ok(revision) => {
                    self.revision = revision;
                    return Ok(());
                }
                Err(Left::TakenOver) => {}
                Err(left) => return Err(left),
            }
            // Only the holder of an owner token writes what carries it.
            let mine = self.held.record.owner;
            match record(&self.host, &key).await? {
                Some((found, revision))
                    if found.owner == mine
                        && found.outcome().is_none()
                        && self.revision < revision =>
                {
                    self.revision = revision;
                }
                Some(_) | None => return Err(Left::TakenOver),
            }
        }
        Err(Left::TakenOver)
    }

    /// Stops claude and sweeps its spool when the record is another's by now.
    pub(super) async fn or_give_way(&self, result: Result<()>) -> Result<()> {
        let owner = self.held.record.owner.to_string();
        if let Err(Left::TakenOver) = result
            && let Some(spool) = Spool::open(&self.host.spools, &owner)
        {
            super::stop(&self.host, &spool).await?;
            crash::point("giveway.stopped");
            self.held.trace_lost(&spool, self.host.bus.redactor());
            super::sweep(&self.host, spool).await?;
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn a_renewal_counts_from_its_start_and_an_unsure_one_from_the_first() {
        let mut lease = Lease { since: Some(at(10)), unsure: None };
        assert_eq!(lease.settle(at(30), Settled::Now), Some(at(30)));
        assert_eq!(lease.settle(at(50), Settled::Unsure), None);
        assert_eq!(lease.settle(at(70), Settled::Unsure), None);
        assert_eq!(lease.since, Some(at(30)), "nobody knows");
        assert_eq!(lease.settle(at(90), Settled::Before), Some(at(50)), "it may be the first");
        assert_eq!(lease.settle(at(110), Settled::Unsure), None);
        assert_eq!(lease.settle(at(130), Settled::Now), Some(at(130)), "it is the last");
        assert_eq!(lease.settle(at(150), Settled::Before), Some(at(150)), "it alone was unsure");
    }
}
