//! Ports that stay the same when a service is started again.
//!
//! A port belongs to the process that asked for it for as long as that lives: between the death of
//! a service and its next start nobody else is given its port.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Result, bail};
use tokio::net::TcpSocket;

/// Below the ports that Linux hands out by itself (from 32,768), so that no outgoing connection
/// takes one.
const RANGE: std::ops::Range<u16> = 20_000..32_000;
/// How many ports are tried. Of twelve thousand, a few hundred are taken.
const TRIES_MAX: usize = 1_000;
/// Where the search of a process begins, by its number, is this far from that of the next process:
/// more ports than a story takes.
const OWN: u32 = 8;

/// How many were looked at by this process.
static LOOKED_AT: AtomicU32 = AtomicU32::new(0);
/// What keeps the ports of this process from the others.
static HELD: Mutex<Vec<TcpSocket>> = Mutex::new(Vec::new());

/// A port of loopback that nobody has, for this process alone until it ends.
///
/// # Errors
///
/// When a thousand in a row are taken.
pub fn free_port() -> Result<u16> {
    let count = RANGE.end - RANGE.start;
    for _ in 0..TRIES_MAX {
        let looked_at = LOOKED_AT.fetch_add(1, Ordering::Relaxed);
        let number = std::process::id().wrapping_mul(OWN).wrapping_add(looked_at);
        let port = RANGE.start + u16::try_from(number % u32::from(count)).unwrap_or_default();
        if let Ok(socket) = hold(port) {
            HELD.lock().unwrap_or_else(PoisonError::into_inner).push(socket);
            return Ok(port);
        }
    }
    bail!("no free port on 127.0.0.1 in {TRIES_MAX} tries")
}

/// Takes a port in a way that lets our services listen on it, and nobody hold it as well: who binds
/// without `SO_REUSEADDR` is refused as soon as anybody has the port, who binds with it only when
/// the other has not set it or listens (`socket(7)`). Servers bind with it.
fn hold(port: u16) -> std::io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    socket.set_reuseaddr(true)?;
    Ok(socket)
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

    #[test]
    fn a_port_is_held_while_its_service_is_down_and_free_for_the_service() {
        let port = free_port().unwrap();
        assert!(hold(port).is_err(), "given to another before the first start");
        for _ in 0..2 {
            assert!(is_free(port), "the service cannot listen");
            let service = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
            assert!(hold(port).is_err(), "given to another while the service listens");
            drop(service);
            assert!(hold(port).is_err(), "given to another while the service is down");
        }
    }
}
