//! `gateway.toml` as it is written: its keys, and what each of them says.
//!
//! `docs/configuration.md` is made from the comments here (`platform::config::keys` has their form), so
//! they are written for whoever writes the file. Nothing is checked here but types and names.

use std::collections::BTreeMap;
use std::path::PathBuf;

use platform::nats::NatsFile;
use platform::telemetry::TelemetryFile;
use schemars::JsonSchema;
use serde::Deserialize;

use super::api::ApiFile;
use super::files::FilesFile;
use super::limits::{BudgetFile, RateFile, ToolsFile};

/// The file.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = NatsFile::describe)]
#[expect(clippy::struct_field_names, reason = "these are the keys of the file")]
pub(super) struct File {
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
    /// Where the store is: `sqlite://FILE` for one gateway, or `postgres://USER:PASSWORD@HOST/DATABASE`
    /// for several: PostgreSQL 15 or newer, a database that belongs to the user. `?sslmode=verify-full`
    /// insists on TLS.
    ///
    /// Default: `$XDG_STATE_HOME/holdfast/gateway.db`, a file of SQLite
    /// Environment: `DATABASE_URL`
    pub(super) database_url: Option<String>,
    /// Where the health pages and the HTTP API are served. The health pages ask nobody who he is.
    ///
    /// Default: `"127.0.0.1:7070"`
    /// Environment: `HTTP_LISTEN`
    pub(super) http_listen: Option<String>,
    /// A page that shows a trace: each answer's footer links to it. `{trace_id}` stands for the trace.
    ///
    /// Default: none: no link
    pub(super) trace_url: Option<String>,
    /// What was written while nobody listened is read afterwards. What is older than this by then is
    /// listed with a button and not run.
    ///
    /// Default: `86400`
    /// Bounds: 1 to 2505600 seconds (29 days: a day less than what has been judged is kept)
    pub(super) catch_up_max_s: Option<u64>,
    /// How often every channel and thread is read again, for events that Discord never sent.
    ///
    /// Default: `180`
    /// Bounds: 1 to 86400 seconds
    pub(super) catch_up_every_s: Option<u64>,
    /// How long a thread that cannot be read after a start holds its newer messages back.
    ///
    /// Default: `120`
    /// Bounds: 1 to 86400 seconds
    pub(super) backfill_s: Option<u64>,
    /// Who may use the HTTP API.
    #[serde(default)]
    pub(super) api: ApiFile,
    /// How Discord is reached.
    #[serde(default)]
    pub(super) discord: DiscordFile,
    /// How posts are paced. Nobody needs to change it.
    #[serde(default)]
    pub(super) posting: PostingFile,
    /// How answers are told.
    #[serde(default)]
    pub(super) answers: AnswersFile,
    /// What is shown of a run while it lasts.
    #[serde(default)]
    pub(super) status: StatusFile,
    /// What is sent to a collector, and how the lines of the log look.
    #[serde(default)]
    pub(super) telemetry: TelemetryFile,
    /// What all projects together may cost. Runs that work at the same time may each spend what was left
    /// when they began; a day is one of UTC.
    #[serde(default)]
    pub(super) budget: BudgetFile,
    /// A table for each project, by its name, which is the same in the runner's file: small letters,
    /// digits, `-` and `_`. Without one the gateway does not start.
    #[serde(default)]
    pub(super) projects: BTreeMap<String, ProjectFile>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DiscordFile {
    /// A file that holds the bot's token and nothing else; looked for beside `gateway.toml`. `chmod 600` it.
    ///
    /// Default: none; without it and without the variable the gateway does not start
    /// Environment: `DISCORD_TOKEN`, the token itself
    pub(super) token_file: Option<PathBuf>,
    /// What answers for discord.com over TLS, as `host:port`. For tests.
    ///
    /// Default: none, discord.com itself
    pub(super) connect_to: Option<String>,
    /// Certificates (PEM) that are trusted beside the public ones. For tests.
    ///
    /// Default: none
    pub(super) ca_file: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "each key says its unit")]
pub(super) struct PostingFile {
    /// For how long a thread is written in by one gateway alone; a post may take half of it.
    ///
    /// Default: `40`
    /// Bounds: 1 to 59 seconds (always less than `nonce_window_s`)
    pub(super) lease_s: Option<u32>,
    /// How long Discord is trusted to know a nonce; later it is looked up whether a post was made.
    ///
    /// Default: `60`
    /// Bounds: at least 41 seconds (always more than `lease_s`)
    pub(super) nonce_window_s: Option<u32>,
    /// The pause after Discord let the bot in no more (401).
    ///
    /// Default: `30`
    /// Bounds: at least 1 second
    pub(super) locked_pause_s: Option<u32>,
    /// The pause before a post is tried again for which the bot lacks a right, or its thread is locked.
    ///
    /// Default: `600`
    /// Bounds: at least 1 second
    pub(super) parked_pause_s: Option<u32>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AnswersFile {
    /// The most pages of 2,000 characters that an answer is posted in. A longer one is its first page and a
    /// file with the whole.
    ///
    /// Default: `10`
    /// Bounds: 1 to 100 pages
    pub(super) max_pages: Option<usize>,
    /// The largest file that goes with an answer: what Discord takes of a bot in your server, 10 MiB, and
    /// more in one with boosts.
    ///
    /// Default: `10`
    /// Bounds: 1 to 25 MiB
    pub(super) max_file_mib: Option<u64>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StatusFile {
    /// Whether a run that lasts longer than two seconds has a message that shows what claude does.
    ///
    /// Default: `true`
    pub(super) show: Option<bool>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ProjectFile {
    /// The channels in which it is asked, by their ids as texts (in Discord: Developer Mode, then Copy
    /// Channel ID). A channel belongs to one project.
    ///
    /// Default: none; it must be given, or the variable
    /// Environment: `DISCORD_CHANNELS`, beside it: `ID=project`, several with commas between them
    #[serde(default)]
    pub(super) channels: Vec<String>,
    /// Who may use it. `"everyone"` is whoever can write in the channel.
    ///
    /// Type: `"everyone"`, or `{ roles = ["ID"], users = ["ID"] }`
    /// Default: none; it must be given, or the variable
    /// Environment: `DISCORD_ALLOW`, where it is not given: `everyone`, or `user:ID,role:ID`
    // A word or a table: taken as it comes, so that its problems are told with the others.
    pub(super) allow: Option<serde_json::Value>,
    /// Whether several runners serve it; each of them says so as well. Else it belongs to the runner that
    /// showed itself with it first.
    ///
    /// Default: `false`
    #[serde(default)]
    pub(super) shared: bool,
    /// The labels that a runner must have to get its work: 1 to 64 letters, digits and `-_.=/` each.
    ///
    /// Default: `[]`
    #[serde(default)]
    pub(super) requires: Vec<String>,
    /// Whether claude may ask in the thread for what is outside the runner's allow list, put questions and
    /// show plans; with `false` all that is denied at once. The runner's own `ask` can forbid it as well.
    ///
    /// Default: `true`
    pub(super) ask: Option<bool>,
    /// Who may decide what claude asks. With `not_the_asker` somebody else than the person whose question it
    /// is about.
    ///
    /// Type: `{ roles = ["ID"], users = ["ID"], not_the_asker = true }`
    /// Default: none: whoever may use the project
    // Taken as it comes, as `allow` is.
    pub(super) decide: Option<serde_json::Value>,
    /// What people may attach to a message. What is left out is named.
    #[serde(default)]
    pub(super) files: FilesFile,
    /// What claude may use, in its own words: a tool, or `Tool(what)`. At most 100 entries a list.
    #[serde(default)]
    pub(super) tools: ToolsFile,
    /// Who may say `!unsafe`, after which claude asks nobody for leave in that thread or channel for a
    /// while. The runner's own `unsafe` has to permit it as well.
    ///
    /// Type: `"everyone"`, or `{ roles = ["ID"], users = ["ID"] }`
    /// Default: none: nobody
    // Taken as it comes, as `allow` is.
    #[serde(rename = "unsafe")]
    pub(super) unsafe_for: Option<serde_json::Value>,
    /// How long an `!unsafe` holds at most.
    ///
    /// Default: `3600`
    /// Bounds: 1 to 86400 seconds
    pub(super) unsafe_max_s: Option<u64>,
    /// How many questions one person, and all together, may ask.
    #[serde(default)]
    pub(super) rate: RateFile,
    /// What it may cost, within what all projects together may.
    #[serde(default)]
    pub(super) budget: BudgetFile,
}
