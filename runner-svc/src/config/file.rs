//! `runner.toml` as it is written: its keys, and what each of them says.
//!
//! `docs/configuration.md` is made from the comments here (`platform::config::keys` has their form), so
//! they are written for whoever writes the file. Nothing is checked here but types and names.

use std::collections::BTreeMap;
use std::path::PathBuf;

use platform::nats::NatsFile;
use platform::telemetry::TelemetryFile;
use schemars::JsonSchema;
use serde::Deserialize;

/// The file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = NatsFile::describe)]
#[expect(clippy::struct_field_names, reason = "these are the keys of the file")]
pub(super) struct File {
    /// The runner's name: small letters, digits, `-` and `_`. `gateway-svc provision --runner NAME` lets a
    /// runner of that name join.
    ///
    /// Default: the host's name
    pub(super) name: Option<String>,
    /// Where it keeps its id, its spools and the worktrees of threads: a local disk, an absolute path; one
    /// runner a directory. Never copy it to another host.
    ///
    /// Default: `$XDG_STATE_HOME/holdfast/runner`
    pub(super) state_dir: Option<PathBuf>,
    /// How many runs it works on at once.
    ///
    /// Default: `4`
    /// Bounds: 1 to 256 runs
    pub(super) slots: Option<u16>,
    /// How many more may wait for a person's word; they use no slot, only the memory of their claude. One
    /// more is denied what it asks, with a word.
    ///
    /// Default: `16`
    /// Bounds: 0 to 256 runs
    pub(super) max_waiting_runs: Option<u16>,
    /// A run that takes longer is ended, as failed. What a person takes to decide is not counted.
    ///
    /// Default: `14400`
    /// Bounds: at least 1 second
    pub(super) run_max_s: Option<u64>,
    /// When claude says nothing for so long, its thread is told.
    ///
    /// Default: `600`
    /// Bounds: at least 1 second
    pub(super) silent_notice_s: Option<u64>,
    #[schemars(skip)]
    pub(super) nats_url: Option<String>,
    #[schemars(skip)]
    pub(super) nats_nkey_file: Option<PathBuf>,
    #[schemars(skip)]
    pub(super) nats_creds_file: Option<PathBuf>,
    #[schemars(skip)]
    pub(super) nats_tls_ca: Option<PathBuf>,
    #[schemars(skip)]
    pub(super) nats_tls_cert: Option<PathBuf>,
    #[schemars(skip)]
    pub(super) nats_tls_key: Option<PathBuf>,
    /// Where the health pages are served. They ask nobody who he is.
    ///
    /// Default: `"127.0.0.1:7071"`
    /// Environment: `HTTP_LISTEN`
    pub(super) http_listen: Option<String>,
    /// What this host has, in your own words; a project of the gateway may require labels. At most 32, of 1
    /// to 64 letters, digits and `-_.=/` each.
    ///
    /// Default: `[]`
    #[serde(default)]
    pub(super) labels: Vec<String>,
    /// How claude is started.
    #[serde(default)]
    pub(super) claude: ClaudeFile,
    /// What is sent to a collector, and how the lines of the log look.
    #[serde(default)]
    pub(super) telemetry: TelemetryFile,
    /// A table for each project that it serves, by the name that the gateway's file has. Without one the
    /// runner does not start.
    #[serde(default)]
    pub(super) projects: BTreeMap<String, ProjectFile>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ClaudeFile {
    /// A path, or a name on the `PATH`.
    ///
    /// Default: `"claude"`
    pub(super) program: Option<String>,
    /// The model, where nobody says another in the thread.
    ///
    /// Default: none: claude's own choice
    pub(super) model: Option<String>,
    /// What claude's environment gets beside `HOME`, `USER`, `PATH`, `LANG`, `LC_*`, `TERM`, `TMPDIR`,
    /// `SHELL`, `SSH_AUTH_SOCK`, `ANTHROPIC_*`, `CLAUDE_*` and `IS_SANDBOX`. A table: `{ NAME = "value" }`.
    ///
    /// Default: `{}`
    #[serde(default)]
    pub(super) env: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ProjectFile {
    /// Where it lies on this host: an absolute path.
    ///
    /// Default: none; it must be given, or the variable
    /// Environment: `HOLDFAST_PROJECTS`, a folder of which each folder is a project, beside those of the file
    pub(super) directory: PathBuf,
    /// What claude may use without asking, in its own words. `Read`, `Edit` and `Write` are not confined to
    /// the directory: claude takes them for the whole disk.
    ///
    /// Default: `["Read", "Edit", "Write", "Glob", "Grep", "Bash(git:*)", "TodoWrite"]`
    pub(super) allow: Option<Vec<String>>,
    /// What claude may not use, whoever allows it: a tool, or `Tool(what)`. At most 100 entries.
    ///
    /// Default: `[]`
    #[serde(default)]
    pub(super) deny: Vec<String>,
    /// What the gateway may add for the project, beside what `allow` covers. At most 100 entries.
    ///
    /// Default: `[]`
    #[serde(default)]
    pub(super) may_allow: Vec<String>,
    /// Whether somebody in Discord may have it that nobody is asked for leave (`!unsafe`), for a while.
    /// claude can then do all that this user can, but for what is denied.
    ///
    /// Default: `false`
    #[serde(default, rename = "unsafe")]
    pub(super) may_be_unsafe: bool,
    /// Whether people may be asked for leave to do what is outside of that; with `false` it is denied at
    /// once.
    ///
    /// Default: `true`
    pub(super) ask: Option<bool>,
    /// Whether each thread works in a git worktree of its own, in the state directory, on the branch
    /// `holdfast/<thread>`. With `false`, and where there is no git or no commit, claude works in the
    /// directory itself, one run at a time.
    ///
    /// Default: `true`
    pub(super) worktree: Option<bool>,
    /// Files that are copied into each worktree, by their paths in the directory.
    ///
    /// Default: `[]`
    #[serde(default)]
    pub(super) copy: Vec<String>,
    /// A command that is run once in each new worktree.
    ///
    /// Default: none
    pub(super) setup: Option<String>,
    /// Whether other runners serve it as well: a thread's first run goes to any of them, and another takes
    /// a run over when this host is gone for 90 seconds. The gateway's file must say the same. Without it
    /// the project is this runner's alone.
    ///
    /// Default: `false`
    #[serde(default)]
    pub(super) shared: bool,
}
