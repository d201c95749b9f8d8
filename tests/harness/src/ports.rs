//! Ports that stay the same when a service is started again.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::{Result, bail};

/// Below the ports that Linux hands out by itself (from 32,768), so that no outgoing connection
/// takes one between our look and the service's bind.
const RANGE: std::ops::Range<u16> = 20_000..32_000;
/// How many ports are tried. Of twelve thousand, a handful is taken.
const TRIES_MAX: usize = 100;

/// A port on loopback that nobody listens on now. It is drawn by lot, so that two tests that ask at
/// the same moment get two.
///
/// # Errors
///
/// When a hundred in a row are taken.
pub fn free_port() -> Result<u16> {
    for _ in 0..TRIES_MAX {
        let lot = RandomState::new().build_hasher().finish();
        let [low, high, ..] = lot.to_le_bytes();
        let port = RANGE.start + u16::from_le_bytes([low, high]) % (RANGE.end - RANGE.start);
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
