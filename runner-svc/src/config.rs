//! The runner's configuration: `runner.toml`, the environment over it, every problem at once.
//!
//! [`Config::load`] is called before any port is bound, and when the file is to be read again (`again.rs`);
//! no invalid value gets past it.

mod again;
mod file;
mod folder;

use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use platform::config::keys::{self, Table, Undescribed};
use platform::config::{self, ConfigError, Environment, Problems};
use platform::nats::{NatsFile, Settings};
use platform::telemetry;
use platform::times::Times;
use schemas::ids::{ProjectName, RunnerId};
use schemas::permissions::runner_user;
use schemas::rights::{RULES_MAX, Rule};
use schemas::streams::{self, ConsumerSpec};

use self::file::{File, ProjectFile};
use crate::worktree::{CopyPath, Options};

/// The name of the file in Holdfast's configuration directory.
pub(crate) const FILE: &str = "runner.toml";

/// What the runner is to do. Nothing in it can be invalid.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// Its name.
    pub(crate) name: RunnerId,
    /// Where it keeps what must survive it: its id, its spools.
    pub(crate) state_dir: PathBuf,
    /// How many runs it works on at once.
    pub(crate) slots: u16,
    /// How many more may wait for a person, without a slot.
    pub(crate) max_waiting_runs: u16,
    /// How long a run may take before it is ended.
    pub(crate) run_max: Duration,
    /// How long claude may say nothing before the thread is told.
    pub(crate) silent_notice: Duration,
    /// How NATS is reached.
    pub(crate) nats: Settings,
    /// Where the health pages are served.
    pub(crate) http_listen: SocketAddr,
    /// How claude is started.
    pub(crate) claude: Claude,
    /// What this host has, in the operator's own words.
    pub(crate) labels: Vec<String>,
    /// The times that the runners of a shared project hold each other to.
    pub(crate) times: Times,
    /// What is sent where, and how lines look.
    pub(crate) telemetry: telemetry::Settings,
    /// The projects it serves.
    pub(crate) projects: BTreeMap<ProjectName, Project>,
}

/// How claude is started.
#[derive(Clone, Debug)]
pub(crate) struct Claude {
    /// The program: a path, or a name that PATH has.
    pub(crate) program: String,
    /// The model, where claude's own choice is not wanted.
    pub(crate) model: Option<String>,
    /// What its environment has beside the allowed names.
    pub(crate) env: BTreeMap<String, String>,
}

/// One project on this host.
#[derive(Clone, Debug)]
pub(crate) struct Project {
    /// Where claude works.
    pub(crate) directory: PathBuf,
    /// The tools that claude may use, in claude's own words.
    pub(crate) allow: Vec<String>,
    /// What claude may not use, whoever allows it.
    pub(crate) deny: Vec<String>,
    /// What the gateway may add to what claude may use.
    pub(crate) may_allow: Vec<String>,
    /// Whether the gateway may have it that nobody is asked for leave.
    pub(crate) may_be_unsafe: bool,
    /// Whether people may be asked for leave to do what is outside of that; else it is denied.
    pub(crate) ask: bool,
    /// Whether its threads have worktrees, and how they are fitted out.
    pub(crate) place: Options,
    /// Whether other runners serve it too; else it is this one's alone.
    pub(crate) shared: bool,
}

const HTTP_LISTEN: &str = "127.0.0.1:7071";
const RUN_MAX: Duration = Duration::from_secs(4 * 60 * 60);
const SILENT_NOTICE: Duration = Duration::from_secs(10 * 60);
const SLOTS: u16 = 4;
/// Each of them is a claude that does nothing and keeps its memory.
const MAX_WAITING_RUNS: u16 = 16;
/// More than any host has memory for; it only keeps a slip of the finger from starting a thousand.
const SLOTS_MAX: u16 = 256;
/// More than anybody tells apart; presence stays small.
const LABELS_MAX: usize = 32;
/// A label is a word, not a text; the gateway takes the same.
const LABEL_MAX: usize = 64;

impl Config {
    /// Reads and checks the configuration. `host` is the name of this machine.
    ///
    /// # Errors
    ///
    /// [`ConfigError`]; [`ConfigError::Invalid`] lists all problems at once.
    pub(crate) fn load(
        named: Option<PathBuf>,
        env: &Environment,
        host: &str,
    ) -> Result<Self, ConfigError> {
        let path = config::locate(named, FILE, env)?;
        let mut file: File = config::read(&path)?;
        let mut problems = Problems::default();
        folder::add(&mut file.projects, env, &mut problems);
        file.checked(&path, env, host, problems)
    }

    /// Checks the text of a configuration that is to be at `path`.
    ///
    /// # Errors
    ///
    /// As [`Config::load`].
    pub(crate) fn parse(
        text: &str,
        path: &Path,
        env: &Environment,
        host: &str,
    ) -> Result<Self, ConfigError> {
        config::parse::<File>(text, path)?.checked(path, env, host, Problems::default())
    }

    /// The projects that it shares with other runners.
    pub(crate) fn shared(&self) -> impl Iterator<Item = &ProjectName> {
        self.projects.iter().filter(|(_, project)| project.shared).map(|(name, _)| name)
    }

    /// Where its work comes from: its own consumer first.
    pub(crate) fn consumers(&self) -> Vec<ConsumerSpec> {
        let own = std::iter::once(streams::runner_consumer(&self.name));
        let all = own.chain(self.shared().map(streams::project_consumer));
        all.map(|spec| spec.within(self.times.ack_wait)).collect()
    }

    /// The command that makes what this runner needs in NATS.
    pub(crate) fn provision(&self) -> String {
        let own = format!("gateway-svc provision --runner {}", self.name);
        self.shared().fold(own, |command, shared| format!("{command} --shared {shared}"))
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

impl File {
    fn checked(
        self,
        path: &Path,
        env: &Environment,
        host: &str,
        mut problems: Problems,
    ) -> Result<Config, ConfigError> {
        let config = self.check(path, env, host, &mut problems);
        problems.none(path)?;
        Ok(config.expect("a configuration without problems is whole"))
    }

    fn check(
        self,
        path: &Path,
        env: &Environment,
        host: &str,
        problems: &mut Problems,
    ) -> Option<Config> {
        let over = |name: &str, own: Option<String>| {
            env.get(name).filter(|value| !value.is_empty()).cloned().or(own)
        };
        let name = self.name.unwrap_or_else(|| name_of(host));
        let name = problems.take("name", name.parse::<RunnerId>());
        let state_dir = self
            .state_dir
            .or_else(|| Some(config::xdg(env, "XDG_STATE_HOME", ".local/state")?.join("runner")));
        problems.check(state_dir.as_deref().is_some_and(Path::is_absolute), "state_dir", || {
            "must be an absolute path, or be set by HOME's default".into()
        });
        let slots = self.slots.unwrap_or(SLOTS);
        problems.check((1..=SLOTS_MAX).contains(&slots), "slots", || {
            format!("must be 1 to {SLOTS_MAX}, is {slots}")
        });
        let max_waiting_runs = self.max_waiting_runs.unwrap_or(MAX_WAITING_RUNS);
        problems.check(max_waiting_runs <= SLOTS_MAX, "max_waiting_runs", || {
            format!("must be at most {SLOTS_MAX}, is {max_waiting_runs}")
        });
        let mut seconds = |key: &str, own: Option<u64>, default: Duration| {
            let given = own.map_or(default, Duration::from_secs);
            problems.check(!given.is_zero(), key, || "must be at least 1".into());
            given
        };
        let run_max = seconds("run_max_s", self.run_max_s, RUN_MAX);
        let silent_notice = seconds("silent_notice_s", self.silent_notice_s, SILENT_NOTICE);
        let nats = NatsFile {
            nats_url: self.nats_url,
            nats_nkey_file: self.nats_nkey_file,
            nats_creds_file: self.nats_creds_file,
            nats_tls_ca: self.nats_tls_ca,
            nats_tls_cert: self.nats_tls_cert,
            nats_tls_key: self.nats_tls_key,
        };
        // Without a name nothing is started; the rest is checked all the same.
        let user = name.as_ref().map(runner_user).unwrap_or_default();
        let nats = nats.check(&user, path, env, problems);
        let listen = over("HTTP_LISTEN", self.http_listen).unwrap_or_else(|| HTTP_LISTEN.into());
        let http_listen = problems.take("http_listen", address(&listen));
        let program = self.claude.program.unwrap_or_else(|| "claude".into());
        problems.check(!program.trim().is_empty(), "claude.program", || "is empty".into());
        let claude = Claude { program, model: self.claude.model, env: self.claude.env };
        check_labels(&self.labels, problems);
        let times = Times::read(env, problems);
        let telemetry = self.telemetry.check(path, env, problems);
        let projects = projects(self.projects, problems);
        Some(Config {
            name: name?,
            state_dir: state_dir?,
            slots,
            max_waiting_runs,
            run_max,
            silent_notice,
            nats: nats?,
            http_listen: http_listen?,
            claude,
            labels: self.labels,
            times,
            telemetry: telemetry?,
            projects,
        })
    }
}

fn check_labels(labels: &[String], problems: &mut Problems) {
    problems.check(labels.len() <= LABELS_MAX, "labels", || {
        format!("must be at most {LABELS_MAX}, are {}", labels.len())
    });
    let odd = |label: &&String| {
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_.=/".contains(c);
        !(1..=LABEL_MAX).contains(&label.len()) || !label.chars().all(fits)
    };
    if let Some(label) = labels.iter().find(odd) {
        let why = format!("{label:?} is no label: 1 to {LABEL_MAX} letters, digits and -_.=/");
        problems.add("labels", why);
    }
}

fn projects(
    files: BTreeMap<String, ProjectFile>,
    problems: &mut Problems,
) -> BTreeMap<ProjectName, Project> {
    problems.check(!files.is_empty(), "projects", || {
        "there is none: add [projects.NAME] with its directory".into()
    });
    let mut projects = BTreeMap::new();
    for (name, file) in files {
        let at = |key: &str| format!("projects.{name}.{key}");
        problems.check(file.directory.is_absolute(), &at("directory"), || {
            format!("must be an absolute path, is {}", file.directory.display())
        });
        let allow = file.allow.unwrap_or_else(crate::command::default_allow);
        // A comma separates tools on claude's command line.
        let odd = |tool: &&String| tool.trim().is_empty() || tool.contains(['\0', '\n']);
        problems.check(allow.iter().find(odd).is_none(), &at("allow"), || {
            "holds an empty name, or a line break".into()
        });
        check_rules(&file.deny, &at("deny"), problems);
        check_rules(&file.may_allow, &at("may_allow"), problems);
        let copied = file.copy.iter().map(|path| path.parse::<CopyPath>());
        let copied = copied.filter_map(|path| problems.take(&at("copy"), path)).collect();
        let empty = |text: &String| text.trim().is_empty() || text.contains('\0');
        problems.check(!file.setup.as_ref().is_some_and(empty), &at("setup"), || {
            "is empty, or holds a NUL".into()
        });
        let worktree = file.worktree.unwrap_or(true);
        problems.check(
            worktree || (file.copy.is_empty() && file.setup.is_none()),
            &at("worktree"),
            || "must be true for copy and setup to mean anything".into(),
        );
        let place = Options { worktree, copy: copied, setup: file.setup };
        if let Some(name) = problems.take(&format!("projects.{name}"), name.parse()) {
            let ProjectFile { directory, shared, deny, may_allow, may_be_unsafe, .. } = file;
            let ask = file.ask.unwrap_or(true);
            let project =
                Project { directory, allow, deny, may_allow, may_be_unsafe, ask, place, shared };
            projects.insert(name, project);
        }
    }
    projects
}

/// A list that has to mean what it says: one that claude would read otherwise denies nothing.
fn check_rules(rules: &[String], key: &str, problems: &mut Problems) {
    if let Some(odd) = rules.iter().find(|rule| Rule::parse(rule).is_none()) {
        problems.add(key, format!("{odd:?} is no rule: a tool, or Tool(what), one an entry"));
    }
    problems.check(rules.len() <= RULES_MAX, key, || {
        format!("must be at most {RULES_MAX}, are {}", rules.len())
    });
}

/// A host's name as a runner's: what does not fit becomes a hyphen.
pub(crate) fn name_of(host: &str) -> String {
    let short = host.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let fits = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    let name: String = short.chars().map(fits).take(48).collect();
    let name = name.trim_matches(['-', '_']);
    if name.is_empty() { "runner".into() } else { name.into() }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let mut found = text
        .to_socket_addrs()
        .map_err(|error| format!("must be like {HTTP_LISTEN}, is {text:?} ({error})"))?;
    found.next().ok_or_else(|| format!("{text:?} is the name of no host"))
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn load(text: &str) -> Result<Config, ConfigError> {
        load_with(text, None)
    }

    /// Loads it with one more variable.
    fn load_with(text: &str, variable: Option<(&str, &str)>) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        std::fs::write(&path, text).unwrap();
        let env = [("HOME", "/home/ada")].into_iter().chain(variable);
        let env = env.map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        Config::load(Some(path), &env, "Build-2.example.org")
    }

    #[test]
    fn what_is_said_of_each_key_is_so() {
        let smallest = "[projects.app]\ndirectory = \"/src/app\"";
        let untrue = keys::untrue(&described().unwrap(), smallest, load_with);
        assert!(untrue.is_empty(), "{}", untrue.join("\n"));
    }

    #[test]
    fn the_example_has_every_key_and_the_true_defaults() {
        let text = include_str!("../../deploy/runner.example.toml");
        let wrong = keys::wrong_in_example::<File>(text);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn the_smallest_configuration_is_a_project_and_its_directory() {
        let config = load("[projects.app]\ndirectory = \"/src/app\"").unwrap();
        assert_eq!(config.name.as_str(), "build-2");
        assert_eq!(config.state_dir, Path::new("/home/ada/.local/state/holdfast/runner"));
        assert_eq!((config.slots, config.run_max), (SLOTS, RUN_MAX));
        assert_eq!(config.claude.program, "claude");
        let place = &config.projects[&"app".parse().unwrap()].place;
        assert_eq!(*place, Options { worktree: true, copy: Vec::new(), setup: None });
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let text = "name = \"No.1\"\nslots = 0\nstate_dir = \"here\"\nlabels = [\"a b\"]\n\
                    [projects.app]\ndirectory = \"src\"\nallow = [\"\"]\n\
                    worktree = false\nsetup = \"make\"";
        let error = load(text).unwrap_err().to_string();
        for key in [
            "name: ",
            "slots: ",
            "state_dir: ",
            "app.directory: ",
            "app.allow: ",
            "app.worktree: ",
            "labels: ",
        ] {
            assert!(error.contains(key), "{key:?} is not in\n{error}");
        }
    }

    #[test]
    fn a_list_that_means_nothing_is_told() {
        let load = |more: &str| load(&format!("[projects.app]\ndirectory = \"/src\"\n{more}"));
        let project = "deny = [\"WebFetch\"]\nmay_allow = [\"Bash(npm:*)\"]\nunsafe = true";
        let config = load(project).unwrap();
        let project = &config.projects[&"app".parse().unwrap()];
        assert_eq!((&*project.deny[0], &*project.may_allow[0]), ("WebFetch", "Bash(npm:*)"));
        assert!(project.may_be_unsafe);
        let error = load("deny = [\"Read,Write\"]\nmay_allow = [\"Bash(\"]").unwrap_err();
        let error = error.to_string();
        assert!(error.contains("projects.app.deny: \"Read,Write\" is no rule"), "{error}");
        assert!(error.contains("projects.app.may_allow: \"Bash(\" is no rule"), "{error}");
        for wrong in ["deny = \"Bash\"", "may_allow = [1]", "unsafe = \"yes\"", "denied = []"] {
            let error = load(wrong).unwrap_err();
            let ConfigError::Malformed { source, .. } = error else { panic!("{error}") };
            assert!(source.to_string().contains("line 3"), "{source}");
        }
    }

    #[test]
    fn what_is_shared_has_a_consumer_of_its_own() {
        let text = "labels = [\"gpu\"]\n[projects.app]\ndirectory = \"/src/app\"\n\
                    [projects.web]\ndirectory = \"/src/web\"\nshared = true";
        let config = load(text).unwrap();
        assert_eq!(config.labels, ["gpu"]);
        let consumers: Vec<_> = config.consumers().into_iter().map(|spec| spec.name).collect();
        assert_eq!(consumers, ["runner-build-2", "project-web"]);
        assert_eq!(config.provision(), "gateway-svc provision --runner build-2 --shared web");
    }

    #[test]
    fn the_example_is_a_configuration() {
        let config = load(include_str!("../../deploy/runner.example.toml")).unwrap();
        let allow = &config.projects[&"my-app".parse().unwrap()].allow;
        assert_eq!(*allow, crate::command::DEFAULT_ALLOW, "the example shows the default");
    }

    #[test]
    fn a_strange_host_still_makes_a_name() {
        for (host, name) in [("MacBook Pro", "macbook-pro"), ("", "runner"), ("--", "runner")] {
            assert_eq!(name_of(host), name);
            name.parse::<RunnerId>().unwrap();
        }
    }
}
