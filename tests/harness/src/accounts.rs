//! A bus in operator mode: accounts and users are known by what an operator signed (JWT), and a user goes
//! in with a file of credentials.
//!
//! What `nsc` would make is signed here, with as little in it as nats-server wants: an operator, an
//! account of the system, one of ours, and users of ours who may do everything there. The server
//! keeps no user; it knows the operator and both accounts.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use nkeys::KeyPair;
use serde_json::{Value, json};

use crate::secured::base64url;
use crate::world::World;

/// The user that the services go in as.
const USER: &str = "holdfast";

/// What signs, and where files of credentials lie.
#[derive(Clone)]
pub(crate) struct Accounts {
    dir: PathBuf,
    operator: Arc<KeyPair>,
    system: Arc<KeyPair>,
    own: Arc<KeyPair>,
    /// Another account, that the server was not told of.
    strange: Arc<KeyPair>,
}

impl std::fmt::Debug for Accounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Accounts").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl Accounts {
    /// New ones, with a file of credentials for the services.
    pub(crate) fn make(nats: &Path) -> Result<Self> {
        let account = || Arc::new(KeyPair::new_account());
        let dir = nats.join("accounts");
        fs::create_dir_all(&dir).context("no folder for accounts")?;
        let operator = Arc::new(KeyPair::new_operator());
        let accounts =
            Self { dir, operator, system: account(), own: account(), strange: account() };
        accounts.user(USER, &accounts.own)?;
        Ok(accounts)
    }

    /// The file of a user.
    pub(crate) fn file(&self, user: &str) -> PathBuf {
        self.dir.join(format!("{user}.creds"))
    }

    /// The file that the services have.
    pub(crate) fn own_file(&self) -> PathBuf {
        self.file(USER)
    }

    /// What the server's configuration has more.
    pub(crate) fn config(&self) -> Result<String> {
        let nothing = json!({"type": "operator"});
        let operator = signed(&self.operator, &self.operator, "operator", &nothing)?;
        let mut text = format!(
            "operator: {operator}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload {{\n",
            self.system.public_key()
        );
        for (name, account) in [("system", &self.system), (USER, &self.own)] {
            let mut limits = json!({
                "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1,
                "wildcards": true, "conn": -1, "leaf": -1,
            });
            // The system's account may have no JetStream.
            if name == USER {
                for limit in ["mem_storage", "disk_storage", "streams", "consumer"] {
                    limits[limit] = (-1).into();
                }
            }
            let may = json!({"type": "account", "limits": limits});
            let token = signed(&self.operator, account, name, &may)?;
            text += &["  ", &account.public_key(), ": ", &token, "\n"].concat();
        }
        Ok(text + "}\n")
    }

    /// Writes the credentials of a new user of an account.
    fn user(&self, name: &str, account: &KeyPair) -> Result<PathBuf> {
        let user = KeyPair::new_user();
        let may = json!({
            "type": "user", "pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1,
        });
        let token = signed(account, &user, name, &may)?;
        let text = format!(
            "-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
            user.seed()?
        );
        let file = self.file(name);
        fs::write(&file, text).context("cannot write credentials")?;
        fs::set_permissions(&file, Permissions::from_mode(0o600))?;
        Ok(file)
    }

    /// How the services' user shows itself to a server that asks with this nonce.
    pub(crate) fn login(&self, nonce: &str) -> Result<String> {
        let text = fs::read_to_string(self.own_file())?;
        let mut lines = text.lines().filter(|line| !line.starts_with('-') && !line.is_empty());
        let (token, seed) = (lines.next().context("no token")?, lines.next().context("no seed")?);
        let signature = base64url(&KeyPair::from_seed(seed)?.sign(nonce.as_bytes())?);
        Ok(format!(r#","jwt":"{token}","sig":"{signature}""#))
    }
}

impl World {
    /// The credentials of a user that another operator's account has: the server knows nothing of it.
    ///
    /// # Errors
    ///
    /// When this world has no accounts, or the file cannot be written.
    pub async fn credentials_of_a_stranger(&self) -> Result<PathBuf> {
        let accounts = self.stack.lock().await.accounts().context("a world without accounts")?;
        accounts.user("stranger", &accounts.strange)
    }

    /// The credentials that the services have.
    ///
    /// # Errors
    ///
    /// When this world has no accounts.
    pub async fn credentials(&self) -> Result<PathBuf> {
        Ok(self.stack.lock().await.accounts().context("a world without accounts")?.own_file())
    }
}

/// What one key says of another, signed: a token (JWT) as NATS has them.
fn signed(by: &KeyPair, of: &KeyPair, name: &str, says: &Value) -> Result<String> {
    let mut says = says.clone();
    says["version"] = 2.into();
    let head = json!({"typ": "JWT", "alg": "ed25519-nkey"});
    let claims = json!({
        "iat": 1_700_000_000, "iss": by.public_key(), "sub": of.public_key(), "name": name,
        "nats": says,
    });
    let encoded = |value: &Value| base64url(value.to_string().as_bytes());
    let text = format!("{}.{}", encoded(&head), encoded(&claims));
    let signature = base64url(&by.sign(text.as_bytes())?);
    Ok(format!("{text}.{signature}"))
}
