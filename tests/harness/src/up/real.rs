//! `up` with a token: the real Discord, and the user's own claude with its login.
//!
//! Which channel, and who may use it, comes from the environment or `.env` in the checkout, or from
//! a `.holdfast/gateway.toml` of the user's. Nobody may use it unless that is said.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use harness::sweeper::Reach;
use harness::{
    ClaudeSettings, DiscordSettings, Environments, Folder, Ports, ProjectSettings, Settings, Stack,
    on_path,
};
use schemas::ids::{ChannelId, RoleId, UserId};

use crate::project;
use crate::running::Running;
use crate::state::State;

const TOKEN: &str = "DISCORD_TOKEN";
const CHANNEL: &str = "DISCORD_CHANNEL";
const ALLOW: &str = "DISCORD_ALLOW";

/// What to do when it is not said where and for whom.
const HOW: &str = "put into .env:\n\
    \x20 DISCORD_CHANNEL=123456789012345678    the id of the channel (several: with commas)\n\
    \x20 DISCORD_ALLOW=role:ID                 who may use it: user:ID, role:ID, with commas; or everyone\n\
    or write a .holdfast/gateway.toml with one project";

/// The user's settings: the environment, and `.env` under it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Reads both.
    ///
    /// # Errors
    ///
    /// When `.env` has a line that is no `NAME=value`.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let file = root.join(".env");
        let mut all = match fs::read_to_string(&file) {
            Ok(text) => dot_env(&text).with_context(|| format!("in {}", file.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", file.display()));
            }
        };
        let set = [TOKEN, CHANNEL, ALLOW].map(|name| Some((name.to_owned(), env::var(name).ok()?)));
        all.extend(set.into_iter().flatten());
        Ok(Self(all))
    }

    /// The bot's token.
    pub(crate) fn token(&self) -> Option<&str> {
        self.get(TOKEN)
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

/// The lines of a `.env`: `NAME=value`, with or without quotes and `export`; `#` begins a comment.
fn dot_env(text: &str) -> Result<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let number = index + 1;
        let (name, value) =
            line.split_once('=').with_context(|| format!("line {number} is no NAME=value"))?;
        let value = value.trim();
        let quoted = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
        let value = quoted('"').or_else(|| quoted('\'')).unwrap_or(value);
        all.insert(name.trim().to_owned(), value.to_owned());
    }
    Ok(all)
}

/// Makes everything ready to be started.
///
/// # Errors
///
/// What is missing, and what to do.
pub(crate) fn prepare(
    root: &Path,
    place: &Path,
    settings: &Environment,
    token: &str,
    named: Option<PathBuf>,
) -> Result<Running> {
    let program = on_path("claude")
        .context("there is no claude on PATH. Install Claude Code, run `claude` once and log in")?;
    let folder = Folder::make(place)?;
    let mut state = State::load(folder.root())?;
    let (chosen, directory) = project::choose(named, &folder, &state.projects)?;
    let own = root.join(".holdfast/gateway.toml");
    let own = own.is_file().then_some(own);
    let project = match &own {
        Some(file) => ProjectSettings {
            name: only_project(file)?,
            channels: Vec::new(),
            people: String::new(),
            directory: directory.clone(),
            tools: None,
            more_runner: String::new(),
            shared: false,
        },
        None => ProjectSettings {
            name: chosen.clone(),
            channels: channels(settings.get(CHANNEL))?,
            people: people(settings.get(ALLOW))?,
            directory: directory.clone(),
            tools: None,
            more_runner: String::new(),
            shared: false,
        },
    };
    state.projects.insert(chosen, directory.clone());
    let written = Settings {
        runner: "here".to_owned(),
        slots: 4,
        discord: DiscordSettings::default(),
        claude: ClaudeSettings { program: program.display().to_string(), env: BTreeMap::new() },
        projects: vec![project],
        more_gateway: String::new(),
        more_runner: String::new(),
    };
    let ports = Ports {
        nats: state.port("nats")?,
        gateway: state.port("gateway")?,
        runner: state.port("runner")?,
    };
    state.save()?;
    let begin = vec![
        ("Discord", channel_line(own.as_deref(), settings)),
        ("project", directory.display().to_string()),
        ("claude", program.display().to_string()),
    ];
    let configs = match own {
        Some(own) => written.write_beside(&folder, own)?,
        None => written.write(&folder)?,
    };
    let stack = Stack::new(&folder, configs, ports, environments(token), Reach::Children)?;
    Ok(Running { stack, simulators: None, folder, begin })
}

fn channel_line(own: Option<&Path>, settings: &Environment) -> String {
    match own {
        Some(file) => format!("as {} says", file.display()),
        None => format!("channel {}", settings.get(CHANNEL).unwrap_or_default()),
    }
}

/// claude needs the user's own environment; the token is the gateway's alone.
fn environments(token: &str) -> Environments {
    let mut all: BTreeMap<OsString, OsString> = env::vars_os().collect();
    for name in [TOKEN, "NATS_URL", "HTTP_LISTEN", "DATABASE_URL"] {
        all.remove(std::ffi::OsStr::new(name));
    }
    all.insert("NO_COLOR".into(), "1".into());
    Environments { all, gateway: [(TOKEN.into(), token.into())].into(), runner: BTreeMap::new() }
}

/// The one project of a `gateway.toml`.
fn only_project(file: &Path) -> Result<String> {
    let text =
        fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let table: toml::Table =
        text.parse().with_context(|| format!("{} does not parse", file.display()))?;
    let projects = table.get("projects").and_then(toml::Value::as_table);
    let mut names = projects.into_iter().flat_map(toml::Table::keys);
    match (names.next(), names.next()) {
        (Some(name), None) => Ok(name.clone()),
        (None, _) => bail!("{} has no [projects.NAME]", file.display()),
        (Some(_), Some(_)) => bail!(
            "{} has several projects, and `up` serves one; start gateway-svc and runner-svc by \
             themselves for more",
            file.display()
        ),
    }
}

fn channels(list: Option<&str>) -> Result<Vec<String>> {
    let list = list.with_context(|| format!("{CHANNEL} is not set: {HOW}"))?;
    let ids: Vec<String> = list.split(',').map(|id| id.trim().to_owned()).collect();
    for id in &ids {
        id.parse::<ChannelId>().with_context(|| format!("{CHANNEL}: {HOW}"))?;
    }
    Ok(ids)
}

/// Who may use it, as `gateway.toml` says it.
fn people(list: Option<&str>) -> Result<String> {
    let list = list.with_context(|| format!("{ALLOW} is not set: {HOW}"))?;
    if list.trim() == "everyone" {
        return Ok("\"everyone\"".to_owned());
    }
    let (mut users, mut roles) = (Vec::new(), Vec::new());
    for word in list.split(',').map(str::trim) {
        match word.split_once(':') {
            Some(("user", id)) => users.push(id.parse::<UserId>()?.to_string()),
            Some(("role", id)) => roles.push(id.parse::<RoleId>()?.to_string()),
            Some(_) | None => bail!("{ALLOW}: {word:?} is not understood: {HOW}"),
        }
    }
    ensure!(!users.is_empty() || !roles.is_empty(), "{ALLOW} names nobody: {HOW}");
    Ok(format!("{{ users = {users:?}, roles = {roles:?} }}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dot_env_reads_what_people_write() {
        let text = "# mine\nDISCORD_TOKEN=\"a b\"\n\nexport DISCORD_CHANNEL = 1,2\nX='y=z'\n";
        let all = dot_env(text).unwrap();
        let pairs: Vec<_> =
            all.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("DISCORD_CHANNEL", "1,2"), ("DISCORD_TOKEN", "a b"), ("X", "y=z")]);
        assert!(dot_env("nonsense").unwrap_err().to_string().contains("line 1"));
    }

    #[test]
    fn who_may_use_it_must_be_said() {
        assert_eq!(people(Some("everyone")).unwrap(), "\"everyone\"");
        assert_eq!(people(Some("user:7, role:8")).unwrap(), "{ users = [\"7\"], roles = [\"8\"] }");
        for wrong in [None, Some("bob"), Some("user:bob"), Some("")] {
            assert!(people(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn channels_are_ids() {
        assert_eq!(channels(Some("7, 8")).unwrap(), ["7", "8"]);
        assert!(channels(Some("general")).is_err());
        assert!(channels(None).unwrap_err().to_string().contains("DISCORD_CHANNEL=123"));
    }
}
