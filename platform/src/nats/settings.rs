//! How NATS is reached: where, with which key, and by whose certificate.
//!
//! Both services have the same keys in their files and the same variables over them. A secret lies
//! in a file of its own that nobody else may read; it is checked here, before anything is started,
//! and is never printed. Certificates are read anew at each connection, so that a new one needs no
//! restart; that they can be read is checked at the start.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use async_nats::{ConnectOptions, ServerAddr};
use schemars::{JsonSchema, Schema};
use schemas::permissions;

use super::refused::Shown;
use crate::config::{Environment, Problems, keys, secret};

/// Where NATS is when nobody says so.
pub const NATS_URL: &str = "nats://127.0.0.1:4222";

/// The keys of a configuration file that are about NATS. (Each file names them itself, since serde finds
/// no unknown key in a table that is flattened; what they say, as `config::keys` has it, stands here.)
#[derive(Clone, Debug, Default, JsonSchema)]
pub struct NatsFile {
    /// Servers of NATS, with commas between them: `nats://host:4222`; `tls://host:4222` insists on TLS.
    ///
    /// Default: `"nats://127.0.0.1:4222"`
    /// Environment: `NATS_URL`
    pub nats_url: Option<String>,
    /// A file that holds the seed of an NKEY, mode 600. This and the other files are looked for beside the
    /// file of the configuration.
    ///
    /// Default: none: no login
    /// Environment: `NATS_NKEY_FILE`
    pub nats_nkey_file: Option<PathBuf>,
    /// A file of credentials (JWT and seed), mode 600, instead of an NKEY.
    ///
    /// Default: none
    /// Environment: `NATS_CREDS_FILE`
    pub nats_creds_file: Option<PathBuf>,
    /// The authority (PEM) that signed the server's certificate; it is trusted instead of the public ones,
    /// and TLS is insisted on.
    ///
    /// Default: none: the public ones
    /// Environment: `NATS_TLS_CA`
    pub nats_tls_ca: Option<PathBuf>,
    /// Our own certificate (PEM), where the server asks for one. It goes with `nats_tls_key`.
    ///
    /// Default: none
    /// Environment: `NATS_TLS_CERT`
    pub nats_tls_cert: Option<PathBuf>,
    /// Its key (PEM), mode 600.
    ///
    /// Default: none
    /// Environment: `NATS_TLS_KEY`
    pub nats_tls_key: Option<PathBuf>,
}

/// Everything that is needed for a connection. Nothing in it can be invalid.
#[derive(Clone, Debug)]
pub struct Settings {
    servers: Vec<ServerAddr>,
    login: Login,
    ca: Option<PathBuf>,
    own: Option<(PathBuf, PathBuf)>,
    tls: bool,
    inbox: String,
}

/// What the server is shown.
#[derive(Clone, PartialEq, Eq)]
enum Login {
    /// Nothing, or what the URL holds.
    Nothing,
    /// The seed of an NKEY, and the key that the server knows it by.
    Nkey { seed: String, public: String },
    /// The text of a file of credentials.
    Creds(String),
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("Nothing"),
            Self::Nkey { public, .. } => write!(f, "Nkey({public})"),
            Self::Creds(_) => f.write_str("Creds(..)"),
        }
    }
}

impl NatsFile {
    /// Puts what is said of its keys into the schema of a file that repeats them.
    pub fn describe(schema: &mut Schema) {
        keys::join::<Self>(schema);
    }

    /// Checks it, with the environment over it. A path that is not absolute is looked for beside
    /// `config`, the file that it stands in; one of the environment, where the process runs. `user`
    /// is whose inbox answers come to, as in [`schemas::permissions`].
    pub fn check(
        self,
        user: &str,
        config: &Path,
        env: &Environment,
        problems: &mut Problems,
    ) -> Option<Settings> {
        let set = |name: &str| env.get(name).filter(|value| !value.is_empty()).cloned();
        let folder = config.parent().unwrap_or(Path::new(""));
        let file = |name: &str, own: Option<PathBuf>| {
            set(name).map(PathBuf::from).or_else(|| own.map(|own| folder.join(own)))
        };
        let url = set("NATS_URL").or(self.nats_url).unwrap_or_else(|| NATS_URL.into());
        let servers = problems.take("nats_url", servers(&url));
        let nkey = file("NATS_NKEY_FILE", self.nats_nkey_file);
        let creds = file("NATS_CREDS_FILE", self.nats_creds_file);
        let ca = file("NATS_TLS_CA", self.nats_tls_ca);
        let cert = file("NATS_TLS_CERT", self.nats_tls_cert);
        let key = file("NATS_TLS_KEY", self.nats_tls_key);
        let login = match (nkey, creds) {
            (Some(_), Some(_)) => {
                problems
                    .add("nats_creds_file", "is a second login beside nats_nkey_file: drop one");
                None
            }
            (Some(file), None) => problems.take("nats_nkey_file", nkey_of(&file)),
            (None, Some(file)) => problems.take("nats_creds_file", creds_of(&file)),
            (None, None) => Some(Login::Nothing),
        };
        for (name, file) in [("nats_tls_ca", &ca), ("nats_tls_cert", &cert)] {
            if let Some(file) = file {
                problems.take(name, readable(file));
            }
        }
        if let Some(file) = &key {
            problems.take("nats_tls_key", secret(file));
        }
        problems.check(cert.is_some() == key.is_some(), "nats_tls_cert", || {
            "goes with nats_tls_key: name both, or neither".into()
        });
        let servers = servers?;
        let tls = ca.is_some() || cert.is_some() || servers.iter().any(ServerAddr::tls_required);
        let inbox = permissions::inbox(user);
        Some(Settings { tls, servers, login: login?, ca, own: cert.zip(key), inbox })
    }
}

impl Settings {
    /// The servers, for a person.
    pub fn url(&self) -> String {
        let urls: Vec<_> = self.servers.iter().map(shown).collect();
        urls.join(",")
    }

    /// The keys of the file that are not what they are in `new`, each with whether it is: what a
    /// connection was made with counts until the next start. What lies in a certificate's file does not.
    pub fn changed(&self, new: &Self) -> [(&'static str, bool); 4] {
        let Self { servers, login, ca, own, tls: _, inbox: _ } = self;
        [
            ("nats_url", *servers != new.servers),
            ("nats_nkey_file or nats_creds_file", *login != new.login),
            ("nats_tls_ca", *ca != new.ca),
            ("nats_tls_cert or nats_tls_key", *own != new.own),
        ]
    }

    pub(super) fn servers(&self) -> &[ServerAddr] {
        &self.servers
    }

    /// What the server is shown of us.
    pub(super) fn shown(&self) -> Shown<'_> {
        match &self.login {
            Login::Nkey { public, .. } => Shown::Key(public),
            Login::Creds(_) => Shown::Credentials,
            Login::Nothing => Shown::Nothing,
        }
    }

    /// The login and the certificates, as the client takes them.
    pub(super) fn options(&self) -> std::io::Result<ConnectOptions> {
        let mut options =
            ConnectOptions::new().require_tls(self.tls).custom_inbox_prefix(&self.inbox);
        options = match &self.login {
            Login::Nothing => options,
            Login::Nkey { seed, .. } => options.nkey(seed.clone()),
            Login::Creds(text) => options.credentials(text)?,
        };
        if let Some(ca) = &self.ca {
            options = options.add_root_certificates(ca.clone());
        }
        if let Some((cert, key)) = &self.own {
            options = options.add_client_certificate(cert.clone(), key.clone());
        }
        Ok(options)
    }
}

/// A server as it is shown: without the password that its URL may hold.
fn shown(server: &ServerAddr) -> String {
    format!("{}://{}:{}", server.scheme(), server.host(), server.port())
}

fn servers(text: &str) -> Result<Vec<ServerAddr>, String> {
    let like = || format!("must be like {NATS_URL}, several with commas between them");
    let one = |url: &str| {
        if !url.contains("://") {
            return Err(format!("{}, is {url:?}", like()));
        }
        // What the client says of a URL that does not parse may repeat a password.
        url.parse::<ServerAddr>().map_err(|_| like())
    };
    text.split(',').map(|url| one(url.trim())).collect()
}

fn nkey_of(file: &Path) -> Result<Login, String> {
    let seed = secret(file)?.trim().to_owned();
    let pair = nkeys::KeyPair::from_seed(&seed)
        .map_err(|error| format!("{} holds no seed of an NKEY: {error}", file.display()))?;
    let public = pair.public_key();
    if !public.starts_with('U') {
        return Err(format!("{} holds the seed of no user's key (SU…)", file.display()));
    }
    Ok(Login::Nkey { seed, public })
}

fn creds_of(file: &Path) -> Result<Login, String> {
    let text = secret(file)?;
    // What the client says of it may repeat a part of the seed.
    ConnectOptions::new().credentials(&text).map_err(|_| {
        format!("{} holds no credentials of a user (a JWT and a seed)", file.display())
    })?;
    Ok(Login::Creds(text))
}

fn readable(file: &Path) -> Result<String, String> {
    fs::read_to_string(file).map_err(|error| format!("cannot read {}: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn check(file: NatsFile, env: &[(&str, &str)]) -> Result<Settings, String> {
        let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let mut problems = Problems::default();
        let settings = file.check("gateway", Path::new("/f/gateway.toml"), &env, &mut problems);
        let told = problems.to_string();
        if told.is_empty() { Ok(settings.unwrap()) } else { Err(told) }
    }

    fn write(dir: &Path, name: &str, text: &str, mode: u32) -> PathBuf {
        let file = dir.join(name);
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        file
    }

    #[test]
    fn several_servers_are_named_with_commas_and_shown_without_passwords() {
        let url = "nats://a:4222, tls://u:secret@b:4223".to_owned();
        let settings = check(NatsFile { nats_url: Some(url), ..Default::default() }, &[]).unwrap();
        assert_eq!(settings.url(), "nats://a:4222,tls://b:4223");
        assert!(settings.tls, "one of them wants it, and none is reached without");
        let bad = check(NatsFile::default(), &[("NATS_URL", "a:4222")]).unwrap_err();
        assert!(bad.contains("nats_url: must be like"), "{bad}");
        assert_eq!(check(NatsFile::default(), &[]).unwrap().url(), NATS_URL);
    }

    #[test]
    fn a_seed_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let seed = nkeys::KeyPair::new_user().seed().unwrap();
        let open = write(dir.path(), "open", &seed, 0o640);
        let told = check(NatsFile { nats_nkey_file: Some(open), ..Default::default() }, &[]);
        assert!(told.unwrap_err().contains("can be read by others (mode 640): chmod 600"));
        let closed = write(dir.path(), "closed", &format!("{seed}\n"), 0o600);
        let env = closed.display().to_string();
        let settings = check(NatsFile::default(), &[("NATS_NKEY_FILE", &env)]).unwrap();
        assert!(matches!(settings.shown(), Shown::Key(key) if key.starts_with('U')));
        assert!(!format!("{settings:?}").contains(seed.trim()), "a seed is never printed");
    }

    #[test]
    fn what_is_no_users_seed_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let account = nkeys::KeyPair::new_account().seed().unwrap();
        for (text, said) in [("nonsense", "no seed of an NKEY"), (account.as_str(), "no user's")] {
            let file = write(dir.path(), "seed", text, 0o600);
            let told = check(NatsFile { nats_nkey_file: Some(file), ..Default::default() }, &[]);
            let told = told.unwrap_err();
            assert!(told.contains(said) && !told.contains(text), "{told}");
        }
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let file = NatsFile {
            nats_nkey_file: Some("a.nk".into()),
            nats_creds_file: Some("b.creds".into()),
            nats_tls_ca: Some("ca.pem".into()),
            nats_tls_cert: Some("/g/cert.pem".into()),
            ..Default::default()
        };
        let told = check(file, &[]).unwrap_err();
        for part in [
            "nats_creds_file: is a second login",
            "nats_tls_ca: cannot read /f/ca.pem",
            "nats_tls_cert: cannot read /g/cert.pem",
            "nats_tls_cert: goes with nats_tls_key",
        ] {
            assert!(told.contains(part), "{part:?} is not in\n{told}");
        }
    }
}
