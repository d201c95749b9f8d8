//! Why NATS does not let us in, in words that say what to do.
//!
//! The client says "authorization violation" or "IO error"; what is behind it is looked up in the
//! chain of causes. Decides nothing: the caller goes on trying.

use std::error::Error;
use std::io;

use async_nats::{ConnectError, ConnectErrorKind};
use rustls::{CertificateError, Error as Tls};

/// What a server was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown<'a> {
    /// Nothing.
    Nothing,
    /// A key: its public half.
    Key(&'a str),
    /// A file of credentials.
    Credentials,
}

/// The hint, with a separator before it; empty when nothing more is known than what the client says.
/// `shown` is what we showed of ourselves.
pub(super) fn hint(error: &ConnectError, shown: Shown<'_>) -> String {
    let said = match error.kind() {
        ConnectErrorKind::AuthorizationViolation => Some(match shown {
            Shown::Key(key) => format!(
                "the server does not know the key {key}; let `gateway-svc provision --out DIR` add it, \
                 and reload the server"
            ),
            Shown::Credentials => {
                "the server does not take the credentials of nats_creds_file; are \
                                   they of one of its accounts, and not revoked or expired?"
                    .to_owned()
            }
            Shown::Nothing => "the server wants a login; name one in nats_nkey_file".to_owned(),
        }),
        ConnectErrorKind::ServerParse
        | ConnectErrorKind::Dns
        | ConnectErrorKind::Authentication
        | ConnectErrorKind::TimedOut
        | ConnectErrorKind::Tls
        | ConnectErrorKind::Io
        | ConnectErrorKind::MaxReconnects => tls_error(error).and_then(tls),
    };
    said.map(|said| format!(" ({said})")).unwrap_or_default()
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "another crate's words, which may grow: no hint then"
)]
fn tls(error: &Tls) -> Option<String> {
    let said = match error {
        Tls::InvalidCertificate(why) => match why {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "its certificate is not signed by the authority that is trusted; name the right one in \
                 nats_tls_ca"
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "its certificate has expired; renew it and reload the server"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "its certificate is for another name than the one in nats_url"
            }
            _ => return None,
        },
        Tls::InvalidMessage(_) => "the server speaks no TLS there; give it a tls block",
        Tls::AlertReceived(_) => "the server does not take our certificate; see nats_tls_cert",
        _ => return None,
    };
    Some(said.to_owned())
}

/// What rustls said, wherever it is in the chain.
fn tls_error(error: &ConnectError) -> Option<&Tls> {
    let mut next = error.source();
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<Tls>() {
            return Some(found);
        }
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(found) = inner.and_then(|inner| inner.downcast_ref::<Tls>()) {
            return Some(found);
        }
        next = error.source();
    }
    None
}
