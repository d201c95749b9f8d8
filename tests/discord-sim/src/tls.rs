//! The certificate of `discord.com`, signed by an authority of our own.
//!
//! With a directory both are kept there, so that a client that trusts the authority goes on doing
//! so when the simulator is started again. The authority's own key is never kept.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// The names that the certificate is for.
const NAMES: [&str; 2] = ["discord.com", "cdn.discordapp.com"];

/// The certificates as PEM texts.
pub(crate) struct Certificates {
    /// The authority's certificate, which a client must trust.
    pub(crate) ca: String,
    server: String,
    key: String,
}

impl Certificates {
    /// Those of the directory, or new ones, which then are kept in it.
    pub(crate) fn load_or_make(dir: Option<&Path>) -> Result<Self> {
        let Some(dir) = dir else { return Self::make() };
        let paths = [dir.join("ca.pem"), dir.join("server.pem"), dir.join("server.key")];
        if paths.iter().all(|it| it.exists()) {
            let [ca, server, key] = paths;
            let read = |path: &Path| {
                fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
            };
            return Ok(Self { ca: read(&ca)?, server: read(&server)?, key: read(&key)? });
        }
        let made = Self::make()?;
        for (path, text) in paths.iter().zip([&made.ca, &made.server, &made.key]) {
            write_private(path, text)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(made)
    }

    fn make() -> Result<Self> {
        let ca_key = KeyPair::generate().context("cannot make the authority's key")?;
        let mut ca = CertificateParams::new(Vec::new()).context("cannot describe the authority")?;
        ca.distinguished_name.push(DnType::CommonName, "discord-sim authority");
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let ca_certificate = ca.self_signed(&ca_key).context("cannot sign the authority")?;
        let issuer = Issuer::new(ca, ca_key);

        let key = KeyPair::generate().context("cannot make the server's key")?;
        let names = NAMES.map(str::to_owned);
        let mut server = CertificateParams::new(names).context("cannot describe the server")?;
        server.distinguished_name.push(DnType::CommonName, NAMES[0]);
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = server.signed_by(&key, &issuer).context("cannot sign the server")?;
        Ok(Self { ca: ca_certificate.pem(), server: certificate.pem(), key: key.serialize_pem() })
    }

    /// What turns a TCP connection into a TLS one.
    pub(crate) fn acceptor(&self) -> Result<TlsAcceptor> {
        let chain = CertificateDer::pem_slice_iter(self.server.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .context("server.pem is not a certificate")?;
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes())
            .context("server.key is not a private key")?;
        // The provider is named, not taken from the process: a test may have installed another.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("no TLS version is left")?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .context("server.pem and server.key do not belong together")?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    std::io::Write::write_all(&mut file, text.as_bytes())
}
