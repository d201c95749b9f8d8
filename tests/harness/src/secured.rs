//! A bus with keys and TLS, as in production: certificates of our own, keys made by
//! `gateway-svc provision --out`, and who goes in with which of them.
//!
//! A story may try what a service must not do: it goes in with that service's own key, by a client
//! that asks for anything, and hears what the server says. No key leaves the world's folder.

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use nkeys::KeyPair;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyUsagePurpose};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::Value;
use tokio_rustls::TlsConnector;

use crate::accounts::Accounts;
use crate::jetstream::{ANSWER_WITHIN, Line, ask_with};
use crate::world::World;

/// Where keys and certificates of a world lie.
#[derive(Clone, Debug)]
pub(crate) struct Secured {
    dir: PathBuf,
}

/// The certificate of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// One that is good.
    Good,
    /// One that has expired.
    Expired,
}

impl Secured {
    pub(crate) fn new(nats: &Path) -> Self {
        Self { dir: nats.join("secured") }
    }

    /// Where `provision --out` writes.
    pub(crate) fn keys(&self) -> PathBuf {
        self.dir.join("keys")
    }

    /// The seed of a user.
    pub(crate) fn seed_file(&self, user: &str) -> PathBuf {
        self.keys().join(format!("{user}.nk"))
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// The certificate of the server.
    pub(crate) fn server_cert(&self) -> PathBuf {
        self.dir.join("server.pem")
    }

    /// Its key.
    pub(crate) fn server_key(&self) -> PathBuf {
        self.dir.join("server.key")
    }

    /// The certificate that a service shows where it is asked for one.
    pub(crate) fn client_cert(&self) -> PathBuf {
        self.dir.join("client.pem")
    }

    /// Its key.
    pub(crate) fn client_key(&self) -> PathBuf {
        self.dir.join("client.key")
    }

    /// A new authority, and what it signs for a server on loopback and for whoever goes in there.
    pub(crate) fn certify(&self, certificate: Certificate) -> Result<()> {
        fs::create_dir_all(&self.dir).context("no folder for keys")?;
        let ca_key = rcgen::KeyPair::generate()?;
        let mut ca = CertificateParams::new(Vec::new())?;
        ca.distinguished_name.push(DnType::CommonName, "harness authority");
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let ca_text = ca.self_signed(&ca_key)?.pem();
        let key = rcgen::KeyPair::generate()?;
        let mut server = CertificateParams::new(["127.0.0.1", "localhost"].map(String::from))?;
        if certificate == Certificate::Expired {
            server.not_before = rcgen::date_time_ymd(2020, 1, 1);
            server.not_after = rcgen::date_time_ymd(2021, 1, 1);
        }
        let issuer = Issuer::new(ca, ca_key);
        let signed = server.signed_by(&key, &issuer)?;
        let client_key = rcgen::KeyPair::generate()?;
        let client = CertificateParams::new(vec!["holdfast".to_owned()])?;
        let client = client.signed_by(&client_key, &issuer)?;
        fs::write(self.client_cert(), client.pem())?;
        fs::write(self.client_key(), client_key.serialize_pem())?;
        fs::set_permissions(self.client_key(), Permissions::from_mode(0o600))?;
        fs::write(self.ca(), ca_text)?;
        fs::write(self.server_cert(), signed.pem())?;
        fs::write(self.server_key(), key.serialize_pem())?;
        Ok(())
    }

    /// What the server's configuration has more; `verify`: it asks for certificates.
    pub(crate) fn config(&self, tls: bool, verify: bool) -> Result<String> {
        let at = |name: &str| format!("{:?}", self.dir.join(name).display().to_string());
        let (cert, key) = (at("server.pem"), at("server.key"));
        let ask = if verify {
            format!(", ca_file: {}, verify: true", at("ca.pem"))
        } else {
            String::new()
        };
        let tls = if tls {
            format!("tls {{ cert_file: {cert}, key_file: {key}{ask} }}\n")
        } else {
            String::new()
        };
        // Relative to the configuration, as nats-server wants it; its folder lies beside ours.
        let beside = self.dir.parent().and_then(Path::file_name).context("no folder of nats")?;
        Ok(format!("{tls}include ../{}/secured/keys/users.conf\n", beside.display()))
    }

    /// A connection as this user.
    pub(crate) async fn open(&self, line: &mut Line, nonce: &str, user: &str) -> Result<String> {
        let seed = fs::read_to_string(self.seed_file(user))?;
        let pair = KeyPair::from_seed(seed.trim())?;
        let signature = base64url(&pair.sign(nonce.as_bytes())?);
        self.upgrade(line).await?;
        Ok(format!(r#","nkey":"{}","sig":"{signature}""#, pair.public_key()))
    }

    async fn upgrade(&self, line: &mut Line) -> Result<()> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.ca())?)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_file(self.client_cert())?],
                PrivateKeyDer::from_pem_file(self.client_key())?,
            )?;
        let name = ServerName::try_from("127.0.0.1")?;
        let connector = TlsConnector::from(Arc::new(config));
        line.upgrade(connector, name).await
    }
}

/// How a story goes into the bus.
#[derive(Clone, Debug)]
pub struct Door {
    pub(crate) address: SocketAddr,
    /// The keys, and whose is shown; without them nobody is asked.
    pub(crate) keys: Option<(Secured, String)>,
    /// The accounts, where the server knows such.
    pub(crate) accounts: Option<Accounts>,
}

impl From<SocketAddr> for Door {
    /// A bus that asks nobody for a key.
    fn from(address: SocketAddr) -> Self {
        Self { address, keys: None, accounts: None }
    }
}

impl World {
    /// Asks with the key of one user: `gateway`, `runner-host`, `admin`. Nobody's own answer: what
    /// the server says, be it an answer of JetStream's with an error.
    ///
    /// # Errors
    ///
    /// When the server refuses, with its words, or nobody answers.
    pub async fn asks_as(&self, user: &str, subject: &str, words: &str) -> Result<Value> {
        ask_with(&self.door_of(user).await?, subject, words).await
    }

    /// What the server says when this user publishes something, or listens to something (`SUB`): its
    /// refusal, or nothing.
    ///
    /// # Errors
    ///
    /// When the user is not let in.
    pub async fn refusal_of(&self, user: &str, what: Try<'_>) -> Result<Option<String>> {
        let door = self.door_of(user).await?;
        let trying = async {
            let mut line = Line::open(&door).await?;
            let said = match what {
                Try::Publish(subject, words) => {
                    format!("PUB {subject} {}\r\n{words}\r\n", words.len())
                }
                Try::Answer { subject, to } => format!("PUB {subject} {to} 0\r\n\r\n"),
                Try::Listen(subject) => format!("SUB {subject} 7\r\n"),
            };
            line.say(&format!("{said}PING\r\n")).await?;
            loop {
                let heard = line.hear().await?;
                if heard.starts_with("-ERR") {
                    return Ok(Some(heard));
                }
                if heard.starts_with("PONG") {
                    return Ok(None);
                }
                ensure!(!heard.is_empty(), "nats-server hung up");
            }
        };
        tokio::time::timeout(ANSWER_WITHIN, trying).await.context("nats-server says nothing")?
    }

    async fn door_of(&self, user: &str) -> Result<Door> {
        let door = self.stack.lock().await.door();
        let Some((keys, _)) = door.keys else { bail!("this world has no keys") };
        Ok(Door { keys: Some((keys, user.to_owned())), ..door })
    }

    /// Gives the server another certificate, of another authority, which the services are told of.
    /// It counts from the server's next start.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub fn certify(&self, certificate: Certificate) -> Result<()> {
        Secured::new(&self.folder().nats()).certify(certificate)
    }

    /// Where the seed of a user lies.
    pub fn seed_file(&self, user: &str) -> PathBuf {
        Secured::new(&self.folder().nats()).seed_file(user)
    }
}

/// What is tried.
#[derive(Clone, Copy, Debug)]
pub enum Try<'a> {
    /// To publish this on that subject.
    Publish(&'a str, &'a str),
    /// To ask, and to have the answer sent to another place than to oneself.
    Answer {
        /// What is asked.
        subject: &'a str,
        /// Where the answer goes.
        to: &'a str,
    },
    /// To listen.
    Listen(&'a str),
}

/// Base64 as NATS takes signatures: for URLs, without padding.
pub(crate) fn base64url(bytes: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let joined = three.iter().fold(0u32, |sum, byte| sum << 8 | u32::from(*byte));
        let joined = joined << (8 * (3 - three.len()));
        for place in 0..=three.len() {
            let letter = LETTERS[(joined >> (18 - 6 * place) & 63) as usize];
            text.push(char::from(letter));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn base64_is_written() {
        assert_eq!(super::base64url(b"Holdfast"), "SG9sZGZhc3Q");
        assert_eq!(super::base64url(&[0xfb, 0xff]), "-_8");
    }
}
