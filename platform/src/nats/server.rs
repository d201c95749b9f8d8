//! What a nats-server must be before it is worked with: new enough, with JetStream, and with a clock that
//! agrees with ours.
//!
//! It is asked at each connection, and again whenever all is looked at: a server can be replaced meanwhile.

use async_nats::datetime::parse_rfc3339;
use async_nats::{Client, ServerInfo};
use schemas::streams;
use serde::Deserialize;

use super::{Link, NatsError};
use crate::clock::{self, now_ms};
use crate::version;

/// Why this server cannot be used, if it cannot.
pub(super) fn unfit(info: &ServerInfo) -> Option<NatsError> {
    let ServerInfo { version: found, host, port, jetstream, .. } = info;
    if version::is_older(found, streams::SERVER_VERSION_MIN) {
        return Some(NatsError::TooOld {
            found: found.clone(),
            needed: version::shown(streams::SERVER_VERSION_MIN),
        });
    }
    (!jetstream).then(|| NatsError::NoJetStream { server: format!("{host}:{port}") })
}

/// The answer of JetStream to a question about a stream, as far as it tells when it was given.
#[derive(Debug, Deserialize)]
struct Stamped {
    ts: Option<String>,
}

impl Link {
    /// What the server is, for a person.
    ///
    /// # Errors
    ///
    /// Why it will not do.
    pub fn server(&self) -> Result<String, String> {
        described(&self.client())
    }

    /// Holds the server's clock against that of this host.
    ///
    /// # Errors
    ///
    /// How far they are apart, when that is too far.
    pub async fn clocks(&self) -> Result<String, String> {
        let from_ms = now_ms();
        let about = format!("STREAM.INFO.{}", streams::work().name);
        let asked = self.context.request::<_, _, Stamped>(about, &()).await;
        let to_ms = now_ms();
        // Whether it answers at all is another check's business.
        let said = asked.ok().and_then(|answer| parse_rfc3339(&answer.ts?).ok());
        let Some(said) = said else { return Ok("NATS does not say what time it is".to_owned()) };
        let said_ms = i64::try_from(said.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX);
        clock::agree("nats-server", (said_ms, said_ms), (from_ms, to_ms))
    }
}

fn described(client: &Client) -> Result<String, String> {
    let info = client.server_info();
    match unfit(&info) {
        Some(why) => Err(why.to_string()),
        None => Ok(format!("nats-server {} at {}", info.version, info.host)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(version: &str, jetstream: bool) -> ServerInfo {
        let (version, host) = (version.to_owned(), "bus".to_owned());
        ServerInfo { version, jetstream, host, port: 4222, ..ServerInfo::default() }
    }

    #[test]
    fn a_server_that_will_not_do_is_told_why() {
        assert!(unfit(&info("2.15.1", true)).is_none());
        let old = unfit(&info("2.14.9", true)).map(|why| why.to_string());
        assert_eq!(old.unwrap(), "nats-server is 2.14.9, and 2.15.1 or newer is needed");
        let bare = unfit(&info("2.15.1", false)).unwrap().to_string();
        assert!(bare.starts_with("nats-server at bus:4222 has no JetStream"), "{bare}");
    }
}
