//! Ports that stay the same when a service is started again.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Result, bail};

/// Below the ports that Linux hands out by itself (from 32,768), so that no outgoing connection
/// takes one between our look and the service's bind.
const RANGE: std::ops::Range<u16> = 20_000..32_000;
/// How many ports are tried. Of twelve thousand, a handful is taken.
const TRIES_MAX: usize = 100;
/// Ports that belong to one process: more than a story takes.
const OWN: u32 = 8;

/// How many were handed out by this process.
static GIVEN: AtomicU32 = AtomicU32::new(0);

/// A port on loopback that nobody listens on now, and that was not given before. A process has some
/// of its own, so that two tests that ask at the same moment get two.
///
/// # Errors
///
/// When a hundred in a row are taken.
pub fn free_port() -> Result<u16> {
    let count = RANGE.end - RANGE.start;
    for _ in 0..TRIES_MAX {
        let given = GIVEN.fetch_add(1, Ordering::Relaxed);
        let number = std::process::id().wrapping_mul(OWN).wrapping_add(given) % u32::from(count);
        let port = RANGE.start + u16::try_from(number).unwrap_or_default();
        if is_free(port) {
            return Ok(port);
        }
    }
    bail!("no free port on 127.0.0.1 in {TRIES_MAX} tries")
}

/// Whether nobody listens on this port of loopback.
pub fn is_free(port: u16) -> bool {
    TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_given_twice() {
        let given: std::collections::BTreeSet<u16> =
            (0..64).map(|_| free_port().unwrap()).collect();
        assert_eq!(given.len(), 64);
    }
}
