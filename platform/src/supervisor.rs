//! What a service tells the systemd that started it: that it works, what it lacks, that it lives,
//! that it ends.
//!
//! systemd hands a service a socket (`NOTIFY_SOCKET`) and a time (`WATCHDOG_USEC`) in its
//! environment; what is said there are lines of `NAME=value`, by `sd_notify(3)`. Without the socket
//! nothing is done.
//!
//! * `READY=1` comes when nothing is missing for the first time, and after [`START_PATIENCE`] in any
//!   case: a service that waits for its NATS is started, and killing it would not bring NATS back.
//!   What is missing stands in `STATUS=`, which `systemctl status` shows.
//! * `RELOADING=1` comes when the configuration is read again, and `READY=1` when that is over, well or
//!   not: what was refused stands in `STATUS=`.
//! * `WATCHDOG=1` comes only while this task gets its turn, so the runtime turns, and while every
//!   loop that announced itself goes round ([`Readiness::turns`]).
//!
//! It reads no environment, never blocks and never fails a service: what cannot be told now is told a
//! moment later. (The crate `sd-notify` does both of the former, and knows no abstract socket.)

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::health::Readiness;

/// How long a start may wait for what it lacks before it counts as a start all the same. The units give
/// it three times as long.
pub const START_PATIENCE: Duration = Duration::from_secs(20);

/// How often is looked for news: a person may be waiting in `systemctl status`.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How many signs of life go into the watchdog's time: one that is late costs nothing.
const SIGNS: u32 = 3;
/// The longest status, in characters: a datagram to systemd has 4096 bytes in all.
const STATUS_MAX: usize = 400;

/// The systemd that started this process, if one did. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Supervisor {
    address: Option<SocketAddr>,
    watchdog: Option<Duration>,
}

impl Supervisor {
    /// The one that the environment names, of which `get` gives a variable. A watchdog for another
    /// process is none.
    pub fn of<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Self {
        let address = get("NOTIFY_SOCKET").and_then(address);
        let own = std::process::id().to_string();
        let is_ours = get("WATCHDOG_PID").is_none_or(|pid| pid == own);
        let micros = get("WATCHDOG_USEC").and_then(|text| text.parse::<u64>().ok());
        let watchdog = micros.filter(|micros| is_ours && 0 < *micros).map(Duration::from_micros);
        Self { address, watchdog }
    }

    /// Says that the configuration is being read again. [`Supervisor::reloaded`] has to follow, well or
    /// not.
    pub fn reloading(&self) {
        // The time is what tells systemd (253 and newer) which of two reloads this is.
        let now = clock_gettime(ClockId::Monotonic);
        let micros = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1_000;
        self.tell_if_it_hears(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\n"));
    }

    /// Says that the configuration was read again, or refused: what is missing says which.
    pub fn reloaded(&self, readiness: &Readiness) {
        let status = status(&readiness.missing());
        self.tell_if_it_hears(&format!("READY=1\nSTATUS={status}\n"));
    }

    /// Tells what is to be told, until `stop`; then that the service ends.
    pub async fn run(self, readiness: Readiness, stop: CancellationToken) {
        if self.address.is_none() {
            return;
        }
        let sign_every = self.watchdog.map(|limit| limit / SIGNS);
        let mut timer = tokio::time::interval(sign_every.unwrap_or(LOOK_EVERY).min(LOOK_EVERY));
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let began = Instant::now();
        let mut told = Told::default();
        while stop.run_until_cancelled(timer.tick()).await.is_some() {
            let now = Instant::now();
            let seen = Seen {
                missing: readiness.missing(),
                stands_still: readiness.stands_still(now),
                is_late: START_PATIENCE <= now - began,
                owes_sign: sign_every
                    .is_some_and(|every| told.sign.is_none_or(|last| every <= now - last)),
            };
            if seen.stands_still && !told.stands_still {
                tracing::error!(missing = seen.missing.trim_end(), "the watchdog is told no more");
            }
            let (words, mut next) = told.then(&seen, now);
            next.stands_still = seen.stands_still;
            if words.is_empty() || self.tell(&words).is_ok() {
                told = next;
            }
        }
        self.tell_if_it_hears("STOPPING=1\nSTATUS=ending\n");
    }

    fn tell_if_it_hears(&self, words: &str) {
        if self.address.is_some()
            && let Err(error) = self.tell(words)
        {
            tracing::debug!(%error, words, "systemd was not told");
        }
    }

    /// Sends one datagram, if that can be done at once.
    fn tell(&self, words: &str) -> io::Result<()> {
        let Some(address) = &self.address else { return Ok(()) };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.send_to_addr(words.as_bytes(), address).map(drop)
    }
}

/// The address in `NOTIFY_SOCKET`: a path, or `@` and the name of an abstract socket.
fn address(name: &str) -> Option<SocketAddr> {
    match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name).ok(),
        None if name.starts_with('/') => SocketAddr::from_pathname(name).ok(),
        None => None,
    }
}

/// What there is to tell of.
#[derive(Debug)]
struct Seen {
    /// What is not ready, a line each.
    missing: String,
    /// Whether a loop goes round no more.
    stands_still: bool,
    /// Whether the start has waited for long enough.
    is_late: bool,
    /// Whether a sign of life is due.
    owes_sign: bool,
}

/// What was told.
#[derive(Clone, Debug, Default)]
struct Told {
    ready: bool,
    status: Option<String>,
    sign: Option<Instant>,
    stands_still: bool,
}

impl Told {
    /// What is to be told now, and what will have been told then. Empty: nothing.
    fn then(&self, seen: &Seen, now: Instant) -> (String, Told) {
        let mut words = Vec::new();
        let mut next = self.clone();
        if !self.ready && (seen.missing.is_empty() || seen.is_late) {
            words.push("READY=1".to_owned());
            next.ready = true;
        }
        let status = status(&seen.missing);
        if self.status.as_ref() != Some(&status) {
            words.push(format!("STATUS={status}"));
            next.status = Some(status);
        }
        if seen.owes_sign && !seen.stands_still {
            words.push("WATCHDOG=1".to_owned());
            next.sign = Some(now);
        }
        words.push(String::new());
        (words.join("\n"), next)
    }
}

/// What is missing, on one line.
fn status(missing: &str) -> String {
    if missing.is_empty() {
        return "ready".to_owned();
    }
    let words: Vec<&str> = missing.split_whitespace().collect();
    let all = format!("not ready: {}", words.join(" "));
    if all.chars().count() <= STATUS_MAX {
        return all;
    }
    let cut: String = all.chars().take(STATUS_MAX - 1).collect();
    format!("{cut}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(missing: &str) -> Seen {
        Seen { missing: missing.into(), stands_still: false, is_late: false, owes_sign: false }
    }

    fn of(env: &[(&str, &str)]) -> Supervisor {
        Supervisor::of(|name| env.iter().find(|(it, _)| *it == name).map(|(_, value)| *value))
    }

    #[test]
    fn it_is_ready_when_nothing_is_missing_or_when_it_has_waited_for_long_enough() {
        let now = Instant::now();
        let (words, told) = Told::default().then(&seen("nats: no connection\n"), now);
        assert_eq!(words, "STATUS=not ready: nats: no connection\n");
        let (words, _) = told.then(&seen("nats: no connection\n"), now);
        assert_eq!(words, "", "it is told once");
        let late = Seen { is_late: true, ..seen("nats: no connection\n") };
        let (words, told) = told.then(&late, now);
        assert_eq!(words, "READY=1\n");
        let (words, told) = told.then(&seen(""), now);
        assert_eq!(words, "STATUS=ready\n", "ready is told once");
        let (words, _) = told.then(&seen("a: b\nc: d\n"), now);
        assert_eq!(words, "STATUS=not ready: a: b c: d\n", "a status is one line");
    }

    #[test]
    fn the_watchdog_hears_nothing_while_a_loop_stands_still() {
        let now = Instant::now();
        let (_, told) = Told::default().then(&seen(""), now);
        let due = Seen { owes_sign: true, ..seen("") };
        assert_eq!(told.then(&due, now).0, "WATCHDOG=1\n");
        let still = Seen { stands_still: true, ..due };
        assert_eq!(told.then(&still, now).0, "");
    }

    #[test]
    fn a_long_status_is_cut() {
        let long = status(&"word ".repeat(1000));
        assert_eq!(long.chars().count(), STATUS_MAX);
        assert!(long.ends_with('…'));
    }

    #[test]
    fn the_environment_says_where_and_how_often() {
        assert!(of(&[]).address.is_none() && of(&[("NOTIFY_SOCKET", "")]).address.is_none());
        assert!(of(&[("NOTIFY_SOCKET", "vsock:2:1234")]).address.is_none());
        let path = of(&[("NOTIFY_SOCKET", "/run/notify")]).address.unwrap();
        assert_eq!(path.as_pathname(), Some(std::path::Path::new("/run/notify")));
        let hidden = of(&[("NOTIFY_SOCKET", "@notify")]).address.unwrap();
        assert_eq!(hidden.as_abstract_name(), Some(&b"notify"[..]));
        let minute = ("WATCHDOG_USEC", "60000000");
        assert_eq!(of(&[minute]).watchdog, Some(Duration::from_secs(60)));
        assert_eq!(of(&[minute, ("WATCHDOG_PID", "1")]).watchdog, None, "it is another's");
        let own = std::process::id().to_string();
        assert!(of(&[minute, ("WATCHDOG_PID", &own)]).watchdog.is_some());
        assert_eq!(of(&[("WATCHDOG_USEC", "0")]).watchdog, None);
    }

    #[tokio::test]
    async fn a_reload_is_told_with_its_time_and_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = tokio::net::UnixDatagram::bind(&path).unwrap();
        let supervisor = of(&[("NOTIFY_SOCKET", path.to_str().unwrap())]);
        let readiness = Readiness::new(&["configuration"]);
        supervisor.reloading();
        supervisor.reloaded(&readiness);
        let mut heard = Vec::new();
        for _ in 0..2 {
            let mut bytes = [0; 4096];
            let len = socket.recv(&mut bytes).await.unwrap();
            heard.push(String::from_utf8_lossy(&bytes[..len]).into_owned());
        }
        let micros = heard[0].strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        assert!(0 < micros.trim_end().parse::<u64>().unwrap());
        assert_eq!(heard[1], "READY=1\nSTATUS=not ready: configuration: starting\n");
    }
}
