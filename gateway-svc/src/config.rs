//! The gateway's configuration: `gateway.toml`, the environment over it, every problem at once.
//!
//! [`Config::load`] is called before any port is bound, and when the file is to be read again (`again.rs`);
//! no invalid value gets past it.
//! Secrets come from the environment or from files of their own, and are never printed.

mod again;
mod api;
mod books;
mod channels;
mod file;
mod files;
mod limits;
mod secret;
mod trace_url;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use platform::config::keys::{self, Table, Undescribed};
use platform::config::{self, ConfigError, Environment, Problems};
use platform::nats::{NATS_URL, NatsFile, Settings};
use platform::telemetry;
use platform::times::Times;
use schemas::files::GIVEN_BYTES_MAX;
use schemas::ids::{ChannelId, ProjectName, RoleId, UserId};
use schemas::permissions::{ADMIN, GATEWAY};
use schemas::streams::KEEP;

use self::file::{AnswersFile, DiscordFile, File, PostingFile, ProjectFile};
use self::limits::{LimitsFile, Shared};
use crate::api::Token;
use crate::attached::MIB;
use crate::placement::{Sharing, Terms};
use crate::routes::{Allow, Asking, Project, Routes};
use crate::store::StoreUrl;

pub(crate) use self::books::Books;
pub(crate) use self::secret::Secret;
pub(crate) use self::trace_url::TraceUrl;

/// The name of the file in Holdfast's configuration directory.
pub(crate) const FILE: &str = "gateway.toml";

/// What the gateway is to do. Nothing in it can be invalid.
#[derive(Debug)]
pub(crate) struct Config {
    /// How to reach Discord.
    pub(crate) discord: Discord,
    /// How NATS is reached.
    pub(crate) nats: Settings,
    /// Where the store is.
    pub(crate) database_url: StoreUrl,
    /// Where the health pages and the HTTP API are served.
    pub(crate) http_listen: SocketAddr,
    /// The tokens of the HTTP API; without one there is none.
    pub(crate) tokens: Vec<Token>,
    /// Which channel belongs to which project, and who may use it.
    pub(crate) routes: Routes,
    /// How posts are paced.
    pub(crate) posting: Posting,
    /// How what was missed is read.
    pub(crate) catch_up: CatchUp,
    /// The times that runners hold each other to.
    pub(crate) times: Times,
    /// How answers are told.
    pub(crate) answers: Answers,
    /// Whether a run that lasts has a message that shows what claude does.
    pub(crate) shows_status: bool,
    /// Where a person finds the trace of an answer.
    pub(crate) trace_url: Option<TraceUrl>,
    /// What is sent where, and how lines look.
    pub(crate) telemetry: telemetry::Settings,
}

/// How posts are paced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Posting {
    /// How long a thread is leased. A row may take half of it, the limiter's waits included.
    pub(crate) lease: Duration,
    /// How long Discord is trusted to remember a nonce ("a few minutes" in its reference). A lease
    /// is shorter, so that no poster goes on where another may have begun to look.
    pub(crate) nonce_window: Duration,
    /// How long nothing is posted after Discord let nobody in.
    pub(crate) locked_pause: Duration,
    /// The pause before a row is tried again that lacks a right: somebody has to give it first.
    pub(crate) parked_pause: Duration,
}

/// How answers are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answers {
    /// The most pages that are posted; what is longer is the first of them and a file.
    pub(crate) pages_max: usize,
    /// The most bytes of a file that goes with an answer: what Discord takes there.
    pub(crate) file_max: u64,
}

/// How what was missed is read over REST.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CatchUp {
    /// What is older is listed with a button and not run.
    pub(crate) max: Duration,
    /// How often everything is read again, for events that Discord never sent.
    pub(crate) every: Duration,
    /// How long a thread that cannot be read holds its newer runs back.
    pub(crate) backfill: Duration,
}

/// How to reach Discord.
#[derive(Debug)]
pub(crate) struct Discord {
    /// The bot's token.
    pub(crate) token: Secret,
    /// What answers for discord.com; `None`: discord.com itself.
    pub(crate) connect_to: Option<SocketAddr>,
    /// Certificates (PEM) that are trusted beside the public ones.
    pub(crate) ca_pem: Option<Vec<u8>>,
}

const HTTP_LISTEN: &str = "127.0.0.1:7070";
/// Above this, a verdict could be forgotten before its message is too old to be run.
const CATCH_UP_MAX: Duration = Duration::from_secs(KEEP.as_secs() - 86_400);
/// Above this, an event that Discord never sent would be found too late to be of use to anybody.
const CATCH_UP_EVERY_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Above this, nobody would still wait for the thread.
const BACKFILL_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// As many pages as an answer may have: 20,000 characters, a few screens.
const PAGES_USUAL: usize = 10;
/// What Discord takes of a bot in a server without boosts.
const FILE_MIB_USUAL: u64 = 10;
/// Above this, a thread is full of one answer for minutes: Discord takes a post a second.
const PAGES_MAX: usize = 100;
/// What a label has room for in a line of the log.
const LABEL_MAX: usize = 64;
const DECIDE_RULE: &str = "say who may decide: decide = { roles = [\"ID\"], users = [\"ID\"], \
                           not_the_asker = true }, each where it is wanted";
const ALLOW_RULE: &str = "say who may use the project: allow = \"everyone\", or \
                          allow = { roles = [\"ID\"], users = [\"ID\"] }";

impl Config {
    /// Reads and checks the configuration.
    ///
    /// # Errors
    ///
    /// [`ConfigError`]; [`ConfigError::Invalid`] lists all problems at once.
    pub(crate) fn load(named: Option<PathBuf>, env: &Environment) -> Result<Self, ConfigError> {
        let path = config::locate(named, FILE, env)?;
        let mut problems = Problems::default();
        let file = channels::read(&path, env, &mut problems)?;
        let config = file.check(&path, env, &mut problems);
        problems.none(&path)?;
        Ok(config.expect("a configuration without problems is whole"))
    }
}

/// What is said of each key of the file.
///
/// # Errors
///
/// [`Undescribed`] names what is not said.
pub(crate) fn described() -> Result<Vec<Table>, Undescribed> {
    keys::tables::<File>()
}

/// What `provision` needs: no token, no store, no channel.
#[derive(Debug)]
pub(crate) struct Streams {
    /// How NATS is reached.
    pub(crate) nats: Settings,
    /// The projects whose files are kept.
    pub(crate) projects: Vec<ProjectName>,
    /// Those of them that several runners serve.
    pub(crate) shared: Vec<ProjectName>,
    /// The times that the consumers of work are made for.
    pub(crate) times: Times,
}

impl Streams {
    /// Reads and checks the part of the configuration that is about streams.
    ///
    /// # Errors
    ///
    /// [`ConfigError`]; [`ConfigError::Invalid`] lists all problems at once.
    pub(crate) fn load(named: Option<PathBuf>, env: &Environment) -> Result<Self, ConfigError> {
        let path = config::locate(named, FILE, env)?;
        let mut problems = Problems::default();
        let file = channels::read(&path, env, &mut problems)?;
        let nats = file.nats().check(ADMIN, &path, env, &mut problems);
        let (projects, shared) = file.names(&mut problems);
        let times = Times::read(env, &mut problems);
        problems.none(&path)?;
        let nats = nats.expect("settings without problems are whole");
        Ok(Self { nats, projects, shared, times })
    }
}

/// What `provision --out` needs: names, and no key, because it makes them.
#[derive(Debug)]
pub(crate) struct Names {
    /// Where NATS is, as it is written.
    pub(crate) nats_url: String,
    /// The projects.
    pub(crate) projects: Vec<ProjectName>,
}

impl Names {
    /// Reads the names.
    ///
    /// # Errors
    ///
    /// As for [`Streams::load`].
    pub(crate) fn load(named: Option<PathBuf>, env: &Environment) -> Result<Self, ConfigError> {
        let path = config::locate(named, FILE, env)?;
        let mut problems = Problems::default();
        let file = channels::read(&path, env, &mut problems)?;
        let (projects, _) = file.names(&mut problems);
        problems.none(&path)?;
        let nats_url = over(env, "NATS_URL", file.nats_url).unwrap_or_else(|| NATS_URL.into());
        Ok(Self { nats_url, projects })
    }
}

/// A setting of the environment, where it is set, over the file's own.
fn over(env: &Environment, name: &str, own: Option<String>) -> Option<String> {
    env.get(name).filter(|value| !value.is_empty()).cloned().or(own)
}

impl File {
    /// The projects, and those of them that several runners serve.
    fn names(&self, problems: &mut Problems) -> (Vec<ProjectName>, Vec<ProjectName>) {
        let (mut projects, mut shared) = (Vec::new(), Vec::new());
        for (name, project) in &self.projects {
            let Some(name) = problems.take(&format!("projects.{name}"), name.parse()) else {
                continue;
            };
            match project.sharing() {
                Sharing::Shared => shared.push(ProjectName::clone(&name)),
                Sharing::Exclusive => {}
            }
            projects.push(name);
        }
        (projects, shared)
    }

    fn nats(&self) -> NatsFile {
        NatsFile {
            nats_url: self.nats_url.clone(),
            nats_nkey_file: self.nats_nkey_file.clone(),
            nats_creds_file: self.nats_creds_file.clone(),
            nats_tls_ca: self.nats_tls_ca.clone(),
            nats_tls_cert: self.nats_tls_cert.clone(),
            nats_tls_key: self.nats_tls_key.clone(),
        }
    }

    fn catch_up(&self, problems: &mut Problems) -> CatchUp {
        let mut seconds = |key, own: Option<u64>, usual, max: Duration| {
            let taken = own.unwrap_or(usual);
            let max = max.as_secs();
            problems.check((1..=max).contains(&taken), key, || {
                format!("must be 1 to {max} seconds, is {taken}")
            });
            Duration::from_secs(taken)
        };
        CatchUp {
            max: seconds("catch_up_max_s", self.catch_up_max_s, 24 * 60 * 60, CATCH_UP_MAX),
            every: seconds("catch_up_every_s", self.catch_up_every_s, 180, CATCH_UP_EVERY_MAX),
            backfill: seconds("backfill_s", self.backfill_s, 120, BACKFILL_MAX),
        }
    }

    fn check(self, path: &Path, env: &Environment, problems: &mut Problems) -> Option<Config> {
        let (catch_up, times) = (self.catch_up(problems), Times::read(env, problems));
        let nats = self.nats().check(GATEWAY, path, env, problems);
        let database_url = books::database_url(self.database_url, env, problems);
        let listen =
            over(env, "HTTP_LISTEN", self.http_listen).unwrap_or_else(|| HTTP_LISTEN.into());
        let http_listen = problems.take("http_listen", address(&listen));
        let tokens = self.api.check(path, problems);
        let discord = self.discord.check(path, env, problems);
        let posting = self.posting.check(problems);
        let answers = self.answers.check(problems);
        let telemetry = self.telemetry.check(path, env, problems);
        let trace_url = self.trace_url.as_deref().map(TraceUrl::parse).transpose();
        let trace_url = problems.take("trace_url", trace_url);
        let shared = Shared {
            budget: self.budget.check("budget", problems),
            unsafe_confirm: limits::confirm_within(env, problems),
        };
        let routes = routes(self.projects, shared, problems);
        Some(Config {
            discord: discord?,
            nats: nats?,
            database_url: database_url?,
            http_listen: http_listen?,
            tokens,
            routes,
            posting,
            catch_up,
            times,
            answers,
            shows_status: self.status.show.unwrap_or(true),
            trace_url: trace_url?,
            telemetry: telemetry?,
        })
    }
}

impl PostingFile {
    fn check(&self, problems: &mut Problems) -> Posting {
        let mut seconds = |key: &str, own: Option<u32>, usual: u32| {
            let taken = own.unwrap_or(usual);
            problems.check(0 < taken, &format!("posting.{key}"), || "must be at least 1".into());
            Duration::from_secs(taken.into())
        };
        let posting = Posting {
            lease: seconds("lease_s", self.lease_s, 40),
            nonce_window: seconds("nonce_window_s", self.nonce_window_s, 60),
            locked_pause: seconds("locked_pause_s", self.locked_pause_s, 30),
            parked_pause: seconds("parked_pause_s", self.parked_pause_s, 600),
        };
        problems.check(posting.lease < posting.nonce_window, "posting.lease_s", || {
            "must be less than nonce_window_s, or a late post could be a second one".into()
        });
        posting
    }
}

impl AnswersFile {
    fn check(&self, problems: &mut Problems) -> Answers {
        let pages_max = self.max_pages.unwrap_or(PAGES_USUAL);
        problems.check((1..=PAGES_MAX).contains(&pages_max), "answers.max_pages", || {
            format!("must be 1 to {PAGES_MAX} pages, is {pages_max}")
        });
        let (mib, mib_max) = (self.max_file_mib.unwrap_or(FILE_MIB_USUAL), GIVEN_BYTES_MAX / MIB);
        problems.check((1..=mib_max).contains(&mib), "answers.max_file_mib", || {
            format!("must be 1 to {mib_max} MiB, is {mib}")
        });
        Answers { pages_max, file_max: mib.saturating_mul(MIB) }
    }
}

impl DiscordFile {
    fn check(self, path: &Path, env: &Environment, problems: &mut Problems) -> Option<Discord> {
        let beside = |file: &Path| path.parent().unwrap_or(Path::new("")).join(file);
        let read = |file: &Path| {
            let file = beside(file);
            fs::read(&file).map_err(|error| format!("cannot read {}: {error}", file.display()))
        };
        let token = match (env.get("DISCORD_TOKEN"), &self.token_file) {
            (Some(token), _) => Ok(token.clone()),
            (None, Some(file)) => {
                read(file).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            }
            (None, None) => Err("set DISCORD_TOKEN, or name a file that holds the token".into()),
        };
        let token = token.map(|token| token.trim().to_owned()).and_then(|token| {
            if token.is_empty() { Err("the token is empty".into()) } else { Ok(Secret(token)) }
        });
        let token = problems.take("discord.token_file", token);
        let connect_to = match &self.connect_to {
            Some(text) => Some(problems.take("discord.connect_to", address(text))?),
            None => None,
        };
        let ca_pem = match &self.ca_file {
            Some(file) => Some(problems.take("discord.ca_file", read(file))?),
            None => None,
        };
        Some(Discord { token: token?, connect_to, ca_pem })
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let mut found = text
        .to_socket_addrs()
        .map_err(|error| format!("must be like 127.0.0.1:7070, is {text:?} ({error})"))?;
    found.next().ok_or_else(|| format!("{text:?} is the name of no host"))
}

fn routes(
    projects: BTreeMap<String, ProjectFile>,
    shared: Shared,
    problems: &mut Problems,
) -> Routes {
    problems.check(!projects.is_empty(), "projects", || {
        "there is none: add [projects.NAME] with its channels".into()
    });
    let mut seen: HashSet<ChannelId> = HashSet::new();
    let mut all = Vec::new();
    for (name, project) in projects {
        let at = |key: &str| format!("projects.{name}.{key}");
        let parsed: Option<ProjectName> = problems.take(&format!("projects.{name}"), name.parse());
        problems.check(!project.channels.is_empty(), &at("channels"), || {
            "must name at least one channel by its id".into()
        });
        let mut channels = Vec::new();
        for text in &project.channels {
            let Some(channel) = problems.take(&at("channels"), text.parse::<ChannelId>()) else {
                continue;
            };
            problems.check(seen.insert(channel), &at("channels"), || {
                format!("{channel} is mapped twice: a channel belongs to one project")
            });
            channels.push(channel);
        }
        let allow = problems.take(&at("allow"), allow(project.allow.as_ref()));
        let limits = LimitsFile {
            tools: project.tools,
            unsafe_for: project.unsafe_for,
            unsafe_max_s: project.unsafe_max_s,
            rate: project.rate,
            budget: project.budget,
        };
        let limits = limits.check(&at, shared, problems);
        let sharing = if project.shared { Sharing::Shared } else { Sharing::Exclusive };
        let requires = problems.take(&at("requires"), labels(project.requires));
        let is_on = project.ask.unwrap_or(true);
        let asking = problems.take(&at("decide"), asking(project.decide, is_on));
        let files = problems.take(&at("files"), project.files.check());
        if let (Some(name), Some(allow), Some(requires), Some(asking), Some(files)) =
            (parsed, allow, requires, asking, files)
        {
            let terms = Terms { sharing, requires };
            all.push(Project { name, channels, allow, terms, asking, files, limits });
        }
    }
    Routes::new(all)
}

impl ProjectFile {
    fn sharing(&self) -> Sharing {
        if self.shared { Sharing::Shared } else { Sharing::Exclusive }
    }
}

/// Labels as they are compared with those of runners: letter by letter.
fn labels(texts: Vec<String>) -> Result<Vec<String>, String> {
    let is_label = |text: &&String| {
        let fits = (1..=LABEL_MAX).contains(&text.len());
        fits && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.=/".contains(c))
    };
    match texts.iter().find(|text| !is_label(text)) {
        Some(bad) => Err(format!(
            "{bad:?} is no label: 1 to {LABEL_MAX} letters, digits and -_.=/ as in a runner's own"
        )),
        None => Ok(texts),
    }
}

fn asking(decide: Option<serde_json::Value>, is_on: bool) -> Result<Asking, String> {
    use serde_json::Value;
    let Some(decide) = decide else { return Ok(Asking { is_on, ..Asking::default() }) };
    let Value::Object(mut table) = decide else { return Err(DECIDE_RULE.into()) };
    let not_the_asker = match table.remove("not_the_asker") {
        None => false,
        Some(Value::Bool(flag)) => flag,
        Some(_) => return Err("not_the_asker is true or false".into()),
    };
    let named = (!table.is_empty()).then(|| allow(Some(&Value::Object(table))));
    let decide = named.transpose()?;
    Ok(Asking { is_on, decide, not_the_asker })
}

fn allow(value: Option<&serde_json::Value>) -> Result<Allow, String> {
    use serde_json::Value;
    match value {
        Some(Value::String(word)) if word == "everyone" => Ok(Allow::Everyone),
        Some(Value::Object(table)) => {
            let mut roles = BTreeSet::new();
            let mut users = BTreeSet::new();
            for (key, ids) in table {
                let ids = ids.as_array().ok_or(ALLOW_RULE)?.iter();
                let texts = ids.map(|id| id.as_str().ok_or("ids are written as \"strings\""));
                for text in texts {
                    let text = text?;
                    let told = |error: schemas::ids::IdError| error.to_string();
                    match key.as_str() {
                        "roles" => roles.insert(text.parse::<RoleId>().map_err(told)?),
                        "users" => users.insert(text.parse::<UserId>().map_err(told)?),
                        other => return Err(format!("{other:?} is neither roles nor users")),
                    };
                }
            }
            if roles.is_empty() && users.is_empty() {
                return Err(format!("nobody could use it; {ALLOW_RULE}"));
            }
            Ok(Allow::Only { roles, users })
        }
        Some(_) | None => Err(ALLOW_RULE.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::MayDecide;

    pub(super) fn load(text: &str) -> Result<Config, ConfigError> {
        load_with(text, None)
    }

    /// Loads it with one more variable.
    fn load_with(text: &str, variable: Option<(&str, &str)>) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        fs::write(&path, text).unwrap();
        let env = [("DISCORD_TOKEN", "t"), ("HOME", "/home/ada")].into_iter().chain(variable);
        Config::load(Some(path), &env.map(|(k, v)| (k.to_owned(), v.to_owned())).collect())
    }

    #[test]
    fn the_smallest_configuration_is_a_project_and_who_may_use_it() {
        let config = load("[projects.app]\nchannels = [\"7\"]\nallow = \"everyone\"").unwrap();
        assert_eq!(config.nats.url(), NATS_URL);
        assert!(config.posting.lease < config.posting.nonce_window);
        let store = config.database_url.to_string();
        assert_eq!(store, "sqlite:///home/ada/.local/state/holdfast/gateway.db");
        assert_eq!(config.routes.project_of("7".parse().unwrap()).unwrap().name.as_str(), "app");
        let CatchUp { max, every, backfill } = config.catch_up;
        assert_eq!([max, every, backfill].map(|it| it.as_secs()), [86_400, 180, 120]);
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let text = "http_listen = \"nowhere\"\n\
                    [discord]\nca_file = \"missing.pem\"\n\
                    [projects.App]\nchannels = [\"7\", \"x\"]\nallow = \"everyone\"\n\
                    [projects.b]\nchannels = [\"7\"]";
        let error = load(text).unwrap_err().to_string();
        for part in
            ["http_listen: ", "discord.ca_file: cannot read ", "projects.App: ", "\"x\" is not"]
        {
            assert!(error.contains(part), "{part:?} is not in\n{error}");
        }
        assert!(error.contains("7 is mapped twice"), "{error}");
        assert!(error.contains("projects.b.allow: say who may use the project"), "{error}");
    }

    #[test]
    fn a_lease_that_outlives_a_nonce_is_told() {
        let error = load("[posting]\nlease_s = 60\nlocked_pause_s = 0").unwrap_err().to_string();
        assert!(error.contains("posting.lease_s: must be less than nonce_window_s"), "{error}");
        assert!(error.contains("posting.locked_pause_s: must be at least 1"), "{error}");
    }

    #[test]
    fn times_out_of_bounds_are_told_with_their_bounds() {
        let text = "catch_up_max_s = 0\ncatch_up_every_s = 0\nbackfill_s = 90000\n\
                    [answers]\nmax_pages = 0";
        let error = load(text).unwrap_err().to_string();
        for part in [
            "catch_up_max_s: must be 1 to 2505600 seconds, is 0",
            "catch_up_every_s: must be 1 to 86400 seconds, is 0",
            "backfill_s: must be 1 to 86400 seconds, is 90000",
            "answers.max_pages: must be 1 to 100 pages, is 0",
            "projects: there is none",
        ] {
            assert!(error.contains(part), "{part:?} is not in\n{error}");
        }
    }

    #[test]
    fn a_trace_url_without_a_place_for_the_trace_is_told() {
        let project = "[projects.a]\nchannels = [\"7\"]\nallow = \"everyone\"";
        let url = |url: &str| load(&format!("trace_url = {url:?}\n{project}"));
        let config = url("https://j.example/{trace_id}").unwrap();
        assert_eq!(config.trace_url.unwrap().of(1), "https://j.example/1");
        let error = url("https://j.example/").unwrap_err().to_string();
        assert!(error.contains("trace_url: must be like https://"), "{error}");
    }

    #[test]
    fn a_project_is_exclusive_unless_it_says_otherwise() {
        let text = "[projects.a]\nchannels = [\"7\"]\nallow = \"everyone\"\n\
                    [projects.b]\nchannels = [\"8\"]\nallow = \"everyone\"\n\
                    shared = true\nrequires = [\"gpu\"]";
        let config = load(text).unwrap();
        let terms = |name: &str| &config.routes.project(&name.parse().unwrap()).unwrap().terms;
        assert_eq!(*terms("a"), Terms { sharing: Sharing::Exclusive, requires: Vec::new() });
        assert_eq!(*terms("b"), Terms { sharing: Sharing::Shared, requires: vec!["gpu".into()] });
        let text = text.replace("gpu", "a gpu");
        let error = load(&text).unwrap_err().to_string();
        assert!(error.contains("projects.b.requires: \"a gpu\" is no label"), "{error}");
    }

    #[test]
    fn who_may_decide_is_whoever_may_use_the_project_unless_it_says_otherwise() {
        let text = "[projects.a]\nchannels = [\"7\"]\nallow = \"everyone\"\n\
                    [projects.b]\nchannels = [\"8\"]\nallow = \"everyone\"\nask = false\n\
                    decide = { roles = [\"5\"], not_the_asker = true }";
        let config = load(text).unwrap();
        let project = |name: &str| config.routes.project(&name.parse().unwrap()).unwrap();
        let (ada, bob) = ("1".parse().unwrap(), "2".parse().unwrap());
        let role = ["5".parse().unwrap()];
        assert!(project("a").asking.is_on && !project("b").asking.is_on);
        assert_eq!(project("a").may_decide(ada, &[], ada), MayDecide::Yes);
        assert_eq!(project("b").may_decide(bob, &[], ada), MayDecide::No);
        assert_eq!(project("b").may_decide(bob, &role, ada), MayDecide::Yes);
        assert_eq!(project("b").may_decide(ada, &role, ada), MayDecide::NotTheAsker);
        for bad in ["decide = \"me\"", "decide = { rules = [] }", "decide = { not_the_asker = 1 }"]
        {
            let text = text.replace("decide = { roles = [\"5\"], not_the_asker = true }", bad);
            let error = load(&text).unwrap_err().to_string();
            assert!(error.contains("projects.b.decide: "), "{error}");
        }
    }

    #[test]
    fn an_unknown_key_is_told_with_its_line() {
        let error = load("nats_ulr = \"x\"").unwrap_err();
        let ConfigError::Malformed { source, .. } = error else { panic!("{error}") };
        assert!(source.to_string().contains("line 1"), "{source}");
        assert!(source.to_string().contains("nats_ulr"), "{source}");
    }

    #[test]
    fn what_is_said_of_each_key_is_so() {
        let smallest = "[projects.app]\nchannels = [\"7\"]\nallow = \"everyone\"";
        let untrue = keys::untrue(&described().unwrap(), smallest, load_with);
        assert!(untrue.is_empty(), "{}", untrue.join("\n"));
    }

    #[test]
    fn the_example_has_every_key_and_the_true_defaults() {
        let text = include_str!("../../deploy/gateway.example.toml");
        let wrong = keys::wrong_in_example::<File>(text);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn the_example_is_a_configuration() {
        let text = include_str!("../../deploy/gateway.example.toml");
        let config = load(text).unwrap();
        assert!(config.routes.project(&"my-app".parse().unwrap()).is_some());
    }

    #[test]
    fn the_token_is_not_printed() {
        let config = load("[projects.app]\nchannels = [\"7\"]\nallow = \"everyone\"").unwrap();
        assert!(format!("{config:?}").contains("Secret(..)"));
    }
}
