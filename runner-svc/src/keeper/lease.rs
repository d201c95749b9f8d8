//! Until when a keeper may let claude work: the fence of a shared project's run.
//!
//! Others may take such a run over when its record was not renewed for long, and by then its claude
//! must be gone. So the runner tells the keeper, in a file of the spool, when the last renewal that
//! succeeded began; the keeper ends claude a while after that unless it was told of a later one. It
//! asks nobody: a runner that is dead, frozen or cut off from NATS cannot hold it back. A spool
//! without that file has no fence.
//!
//! Times count from boot and through suspend. A file that cannot be read, or is of another boot, says
//! nothing that could be trusted: claude is not started on it. Whether claude *is* gone is not said
//! here.

use std::fmt;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;

use super::record::{LEASE, Malformed, value};
use super::stop::{Act, Graces, Stop};

/// How long a fence that ran out while the host was suspended can stay unseen: `poll` does not count
/// suspend.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What the runner says of its last renewal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    /// The boot whose clock this is.
    pub(crate) boot_id: String,
    /// When claude is to be ended.
    pub(crate) until: Duration,
    /// How long claude has between TERM and KILL.
    pub(crate) kill_grace: Duration,
}

impl fmt::Display for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Lease { boot_id, until, kill_grace } = self;
        let (until, kill) = (until.as_millis(), kill_grace.as_millis());
        write!(f, "boot={boot_id}\nuntil_ms={until}\nkill_ms={kill}\n")
    }
}

impl Lease {
    /// Reads what [`Lease`] prints.
    ///
    /// # Errors
    ///
    /// [`Malformed`] names the key.
    pub(crate) fn parse(text: &str) -> Result<Self, Malformed> {
        let ms = |key| {
            let ms = value(text, key)?.parse();
            ms.map(Duration::from_millis).map_err(|_| Malformed(format!("{key} is no number")))
        };
        Ok(Lease {
            boot_id: value(text, "boot")?.to_owned(),
            until: ms("until_ms")?,
            kill_grace: ms("kill_ms")?,
        })
    }
}

/// The fence of one claude.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fence {
    lease: Option<Lease>,
    /// Claude was ended by it.
    fell: bool,
}

impl Fence {
    /// The fence as it is before claude is started.
    pub(crate) fn of(spool: &Path, boot_id: &str) -> Self {
        let lease = match read(spool) {
            Ok(None) => None,
            Ok(Some(lease)) if lease.boot_id == boot_id => Some(lease),
            Ok(Some(_)) | Err(_) => Some(Lease {
                boot_id: boot_id.to_owned(),
                until: Duration::ZERO,
                kill_grace: Duration::ZERO,
            }),
        };
        Fence { lease, fell: false }
    }

    /// Looks whether the runner has told of a later renewal. What cannot be read changes nothing.
    pub(crate) fn look(&mut self, spool: &Path, boot_id: &str) {
        if let Ok(Some(lease)) = read(spool)
            && lease.boot_id == boot_id
        {
            self.lease = Some(lease);
        }
    }

    /// Whether claude's time is over.
    pub(crate) fn is_over(&self, now: Duration) -> bool {
        self.lease.as_ref().is_some_and(|lease| lease.until <= now)
    }

    /// When somebody is to look next.
    pub(crate) fn due_at(&self, now: Duration) -> Option<Duration> {
        let lease = self.lease.as_ref().filter(|_| !self.fell)?;
        Some(lease.until.min(now + LOOK_EVERY))
    }

    /// Ends claude: TERM, and KILL when its grace is over, counted from the moment at which it was
    /// to be ended and not from the one at which a host that stood still goes on.
    #[must_use]
    pub(crate) fn fall(&mut self, now: Duration, stop: &mut Stop) -> Act {
        let Some(lease) = self.lease.as_ref().filter(|_| !self.fell) else { return Act::Nothing };
        let kill = (lease.until + lease.kill_grace).saturating_sub(now);
        self.fell = true;
        stop.kill(now, Graces { kill, ..Graces::default() })
    }

    /// Whether claude was ended by it.
    pub(crate) fn fell(&self) -> bool {
        self.fell
    }
}

fn read(spool: &Path) -> io::Result<Option<Lease>> {
    match fs::read_to_string(spool.join(LEASE)) {
        Ok(text) => match Lease::parse(&text) {
            Ok(lease) => Ok(Some(lease)),
            Err(Malformed(why)) => Err(io::Error::new(ErrorKind::InvalidData, why)),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOT: &str = "this";

    fn at(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn lease(until: Duration) -> Lease {
        Lease { boot_id: BOOT.into(), until, kill_grace: at(10) }
    }

    fn spool(text: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a folder");
        fs::write(dir.path().join(LEASE), text).expect("written");
        dir
    }

    #[test]
    fn a_lease_reads_back() {
        let lease = lease(Duration::from_millis(1234));
        assert_eq!(Lease::parse(&lease.to_string()), Ok(lease));
        assert!(Lease::parse("boot=this\nuntil_ms=soon\nkill_ms=1\n").is_err());
    }

    #[test]
    fn a_spool_without_a_lease_has_no_fence() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut fence = Fence::of(dir.path(), BOOT);
        assert!(!fence.is_over(at(1_000_000)));
        assert_eq!(fence.due_at(at(0)), None);
        assert_eq!(fence.fall(at(0), &mut Stop::default()), Act::Nothing);
    }

    #[test]
    fn a_lease_of_another_boot_or_one_that_cannot_be_read_is_over() {
        for text in ["boot=other\nuntil_ms=999999999\nkill_ms=1\n", "nonsense"] {
            let dir = spool(text);
            assert!(Fence::of(dir.path(), BOOT).is_over(at(0)), "{text}");
        }
    }

    #[test]
    fn a_later_renewal_moves_the_fence_and_nonsense_does_not() {
        let dir = spool(&lease(at(100)).to_string());
        let mut fence = Fence::of(dir.path(), BOOT);
        assert!(!fence.is_over(at(99)) && fence.is_over(at(100)));
        fs::write(dir.path().join(LEASE), lease(at(120)).to_string()).expect("written");
        fence.look(dir.path(), BOOT);
        assert!(!fence.is_over(at(119)));
        fs::write(dir.path().join(LEASE), "nonsense").expect("written");
        fence.look(dir.path(), BOOT);
        assert!(fence.is_over(at(120)) && !fence.is_over(at(119)));
    }

    #[test]
    fn who_stood_still_beyond_the_grace_is_killed_at_once() {
        let dir = spool(&lease(at(100)).to_string());
        for (now, after) in [(at(100), Act::Nothing), (at(111), Act::Kill)] {
            let (mut fence, mut stop) = (Fence::of(dir.path(), BOOT), Stop::default());
            assert_eq!(fence.fall(now, &mut stop), Act::Terminate);
            assert_eq!(stop.tick(now), after);
            assert!(fence.fell() && fence.due_at(now).is_none());
            assert_eq!(fence.fall(now, &mut stop), Act::Nothing, "once");
        }
    }
}
