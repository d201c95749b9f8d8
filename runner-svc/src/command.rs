//! What claude is started with: a project's settings and a session become argv, environment, cwd.
//!
//! The prompt is not part of it: it goes by stdin, so that no text of a person is ever taken for an
//! option. Every option that takes a value has it behind `=`, in the same item, for the same reason.
//! claude's environment is made up from a short list; what is not on it stays here.
//!
//! It is pure, apart from [`transcript`], which looks for a session's file.

pub(crate) mod transcript;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use platform::telemetry::{CERTIFICATE, ENDPOINT};
use uuid::Uuid;

use crate::spool::Spec;

/// The tools that claude may use without asking, unless a project says otherwise.
pub(crate) const DEFAULT_ALLOW: [&str; 7] =
    ["Read", "Edit", "Write", "Glob", "Grep", "Bash(git:*)", "TodoWrite"];

/// [`DEFAULT_ALLOW`], as a project's settings hold it.
pub(crate) fn default_allow() -> Vec<String> {
    DEFAULT_ALLOW.map(str::to_owned).to_vec()
}

/// The options that make claude speak stream-json both ways, echo our lines, and ask by stdio.
const OPTIONS: [&str; 6] = [
    "-p",
    "--input-format=stream-json",
    "--output-format=stream-json",
    "--verbose",
    "--replay-user-messages",
    "--permission-prompt-tool=stdio",
];

/// What claude is told of where it is. It is the same in every run: another beginning would cost the
/// conversation's cache, so it is not taken away after the first one, when it has said its part.
const PLACE: &str = "--append-system-prompt=You are talking in a thread of Discord. In your first \
    answer of a conversation you may name the thread: begin with the line THREAD_NAME: and a title of \
    at most eight words, which people are not shown. People there do not see this machine. To give \
    them files with your answer, put them into the folder ";
/// What is said behind the outbox's path.
const BEHIND_OUTBOX: &str =
    " (it is emptied after each answer), or link to them by their path: [name](path).";
/// The variable that names the outbox, for what claude starts.
const OUTBOX: &str = "HOLDFAST_OUTBOX";

/// The variable that keeps claude from leaving anything to the background: a run ends with its claude,
/// and what was still at work there would end with it, behind an answer that says that it goes on.
const NO_BACKGROUND: &str = "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS";
/// The variable that says how long, in milliseconds, claude may let a command take that it waits for.
const COMMAND_MAX: &str = "BASH_MAX_TIMEOUT_MS";

/// The variable by which claude's spans become children of ours; what claude starts gets it too.
const TRACEPARENT: &str = "TRACEPARENT";
/// What makes claude send its own telemetry, beside the collector's URL. Never to the console: that is
/// where its stream-json goes.
const CLAUDE_TELEMETRY: [(&str, &str); 6] = [
    ("CLAUDE_CODE_ENABLE_TELEMETRY", "1"),
    ("CLAUDE_CODE_ENHANCED_TELEMETRY_BETA", "1"),
    ("OTEL_TRACES_EXPORTER", "otlp"),
    ("OTEL_METRICS_EXPORTER", "otlp"),
    ("OTEL_LOGS_EXPORTER", "otlp"),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
];
/// What lets texts into it.
const CLAUDE_TEXTS: [&str; 2] = ["OTEL_LOG_USER_PROMPTS", "OTEL_LOG_TOOL_DETAILS"];

/// How many millionths a dollar has.
const MICRO: u64 = 1_000_000;

/// What claude gets of the runner's environment: these names,
const PASSED: [&str; 9] =
    ["HOME", "USER", "PATH", "LANG", "TERM", "TMPDIR", "SHELL", "SSH_AUTH_SOCK", "IS_SANDBOX"];
/// and all names that begin so.
const PASSED_PREFIXES: [&str; 3] = ["LC_", "ANTHROPIC_", "CLAUDE_"];

/// What never reaches claude, wherever it comes from: our own secrets,
const BANNED: [&str; 13] = [
    "DISCORD_TOKEN",
    "DATABASE_URL",
    // and the marks by which a claude knows that it runs inside another one.
    "CLAUDECODE",
    "CLAUDE_CODE_ENTRYPOINT",
    "CLAUDE_CODE_SSE_PORT",
    "CLAUDE_CODE_SESSION_ID",
    "CLAUDE_CODE_SESSION_KIND",
    "CLAUDE_CODE_CHILD_SESSION",
    "CLAUDE_CODE_LAUNCHED_BY_SESSION_IDS",
    "CLAUDE_SESSION_ID",
    "CLAUDE_PID",
    "CLAUDE_JOB_DIR",
    "CLAUDE_ENV_FILE",
];
/// Beginnings of such names.
const BANNED_PREFIXES: [&str; 3] = ["NATS_", "CLAUDE_BG_", "CLAUDE_CODE_BRIDGE_"];

/// Which conversation claude is to go on with. The request decides, and whether its transcript is
/// here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Session {
    /// A new one, with this id.
    New(Uuid),
    /// The one that has this id.
    Resume(Uuid),
}

/// What a project says about its claude.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The program: a name that is looked up in PATH, or a path.
    pub(crate) program: OsString,
    /// The model; `None` leaves it to claude's own settings.
    pub(crate) model: Option<String>,
    /// What claude may use without asking.
    pub(crate) allow: Vec<String>,
    /// What it may not use; for claude that comes before all else.
    pub(crate) deny: Vec<String>,
    /// What it may cost, in millionths of a US dollar: claude counts from its start, and ends itself.
    pub(crate) budget_micro: Option<u64>,
    /// Variables of the project's own (`claude.env`). They win over those of the runner.
    pub(crate) env: BTreeMap<String, String>,
    /// Where claude works.
    pub(crate) cwd: PathBuf,
    /// Where the conversation's files are: claude may look there.
    pub(crate) files: PathBuf,
    /// The folder in it from which claude gives files.
    pub(crate) outbox: PathBuf,
    /// How long a run may take.
    pub(crate) run_max: Duration,
    /// The `traceparent` of claude's own span.
    pub(crate) trace: Option<String>,
    /// The collector that claude's own telemetry goes to.
    pub(crate) collector: Option<String>,
    /// The file of whoever signed its certificate, if that is no public authority.
    pub(crate) collector_ca: Option<PathBuf>,
    /// Whether texts of people may be in that.
    pub(crate) texts: bool,
}

/// Makes the spec of a spool.
pub(crate) fn spec(
    settings: &Settings,
    session: Session,
    runner_env: &BTreeMap<OsString, OsString>,
) -> Spec {
    let mut env = environment(&settings.env, runner_env);
    env.insert(OUTBOX.into(), settings.outbox.clone().into());
    // Whoever wants it otherwise says so.
    env.entry(NO_BACKGROUND.into()).or_insert_with(|| "1".into());
    let command_max = settings.run_max.as_millis().to_string();
    env.entry(COMMAND_MAX.into()).or_insert_with(|| command_max.into());
    for (name, value) in telemetry(settings) {
        env.entry(name.into()).or_insert_with(|| value.into());
    }
    Spec { argv: argv(settings, session), env, cwd: settings.cwd.clone() }
}

/// What makes claude's spans a part of the run's trace, and sends them where ours go.
fn telemetry(settings: &Settings) -> Vec<(&'static str, String)> {
    let trace = settings.trace.iter().map(|trace| (TRACEPARENT, trace.clone()));
    let Some(collector) = &settings.collector else { return trace.collect() };
    let texts = if settings.texts { "1" } else { "0" };
    let texts = CLAUDE_TEXTS.map(|name| (name, texts.to_owned()));
    let fixed = CLAUDE_TELEMETRY.map(|(name, value)| (name, value.to_owned()));
    let authority = settings.collector_ca.as_ref().map(|file| file.display().to_string());
    let authority = authority.map(|file| (CERTIFICATE, file));
    let there = [(ENDPOINT, collector.clone())].into_iter().chain(authority);
    trace.chain(fixed).chain(texts).chain(there).collect()
}

fn argv(settings: &Settings, session: Session) -> Vec<OsString> {
    let mut argv = vec![settings.program.clone()];
    argv.extend(OPTIONS.map(OsString::from));
    argv.push(joined(&[OsStr::new(PLACE), settings.outbox.as_os_str(), BEHIND_OUTBOX.as_ref()]));
    argv.push(joined(&[OsStr::new("--add-dir="), settings.files.as_os_str()]));
    argv.push(match session {
        Session::New(id) => format!("--session-id={id}").into(),
        Session::Resume(id) => format!("--resume={id}").into(),
    });
    if !settings.allow.is_empty() {
        argv.push(format!("--allowedTools={}", settings.allow.join(",")).into());
    }
    if !settings.deny.is_empty() {
        argv.push(format!("--disallowedTools={}", settings.deny.join(",")).into());
    }
    if let Some(micro) = settings.budget_micro {
        // claude refuses nothing at all.
        let micro = micro.max(1);
        let dollars = format!("{}.{:06}", micro / MICRO, micro % MICRO);
        argv.push(format!("--max-budget-usd={dollars}").into());
    }
    if let Some(model) = &settings.model {
        argv.push(format!("--model={model}").into());
    }
    argv
}

fn joined(parts: &[&OsStr]) -> OsString {
    parts.iter().fold(OsString::new(), |mut all, part| {
        all.push(part);
        all
    })
}

/// The part of the runner's environment that claude may have.
pub(crate) fn passed(runner_env: &BTreeMap<OsString, OsString>) -> BTreeMap<OsString, OsString> {
    runner_env
        .iter()
        .filter(|(name, _)| is_passed(name) && !is_banned(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// Whether a variable is on the list of what claude gets.
pub(crate) fn is_passed(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| {
        let begins = |prefix: &&str| name.starts_with(*prefix);
        PASSED.contains(&name) || PASSED_PREFIXES.iter().any(begins)
    })
}

fn environment(
    own: &BTreeMap<String, String>,
    runner_env: &BTreeMap<OsString, OsString>,
) -> BTreeMap<OsString, OsString> {
    let mut env = passed(runner_env);
    env.extend(own.iter().map(|(name, value)| (name.into(), value.into())));
    env.retain(|name, _| !is_banned(name));
    env
}

fn is_banned(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| {
        let begins = |prefix: &&str| name.starts_with(*prefix);
        BANNED.contains(&name) || BANNED_PREFIXES.iter().any(begins)
    })
}

/// What tmux, and in it keeper and watch, are started with: what they need to run at all, and no
/// secret, for a tmux server shows its environment to every pane.
pub(crate) fn for_tmux(runner_env: &BTreeMap<OsString, OsString>) -> BTreeMap<OsString, OsString> {
    let needed = |name: &OsStr| {
        name.to_str().is_some_and(|name| {
            ["HOME", "USER", "PATH", "LANG", "TERM", "SHELL", "TMUX_TMPDIR"].contains(&name)
                || name.starts_with("LC_")
        })
    };
    runner_env
        .iter()
        .filter(|(name, _)| needed(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings {
            program: "claude".into(),
            model: None,
            allow: default_allow(),
            deny: Vec::new(),
            budget_micro: None,
            env: BTreeMap::new(),
            cwd: "/home/ada/project".into(),
            files: "/state/files/app/7".into(),
            outbox: "/state/files/app/7/out".into(),
            run_max: Duration::from_secs(60),
            trace: None,
            collector: None,
            collector_ca: None,
            texts: false,
        }
    }

    fn env(pairs: &[(&str, &str)]) -> BTreeMap<OsString, OsString> {
        pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
    }

    #[test]
    fn the_command_is_this() {
        let id = Uuid::from_u128(7);
        let spec = spec(&settings(), Session::New(id), &BTreeMap::new());
        let expected = [
            "claude",
            "-p",
            "--input-format=stream-json",
            "--output-format=stream-json",
            "--verbose",
            "--replay-user-messages",
            "--permission-prompt-tool=stdio",
            &format!("{PLACE}/state/files/app/7/out{BEHIND_OUTBOX}"),
            "--add-dir=/state/files/app/7",
            "--session-id=00000000-0000-0000-0000-000000000007",
            "--allowedTools=Read,Edit,Write,Glob,Grep,Bash(git:*),TodoWrite",
        ];
        assert_eq!(spec.argv, expected.map(OsString::from));
        assert_eq!(spec.cwd, PathBuf::from("/home/ada/project"));
    }

    #[test]
    fn a_later_run_resumes_and_names_its_model() {
        let id = Uuid::from_u128(7);
        let settings = Settings { model: Some("opus".into()), allow: Vec::new(), ..settings() };
        let argv = argv(&settings, Session::Resume(id));
        assert_eq!(
            argv[9..],
            ["--resume=00000000-0000-0000-0000-000000000007", "--model=opus"].map(OsString::from)
        );
    }

    #[test]
    fn what_is_denied_and_what_it_may_cost_are_told_to_claude() {
        let deny = vec!["WebFetch".to_owned(), "Bash(git push:*)".to_owned()];
        let settings = Settings { deny, budget_micro: Some(1_250_000), ..settings() };
        let argv = argv(&settings, Session::New(Uuid::nil()));
        let more = ["--disallowedTools=WebFetch,Bash(git push:*)", "--max-budget-usd=1.250000"];
        assert!(argv.ends_with(&more.map(OsString::from)), "{argv:?}");
    }

    #[test]
    fn claude_gets_what_is_on_the_list_and_nothing_else() {
        let runner = env(&[
            ("HOME", "/home/ada"),
            ("LC_TIME", "C"),
            ("ANTHROPIC_API_KEY", "k"),
            ("CLAUDE_CONFIG_DIR", "/c"),
            ("CLAUDE_CODE_MAX_RETRIES", "1"),
            ("CLAUDECODE", "1"),
            ("CLAUDE_CODE_ENTRYPOINT", "cli"),
            ("CLAUDE_CODE_SSE_PORT", "1"),
            ("CLAUDE_BG_ISOLATION", "1"),
            ("DISCORD_TOKEN", "t"),
            ("DATABASE_URL", "d"),
            ("NATS_URL", "n"),
            ("AWS_SECRET_ACCESS_KEY", "s"),
            ("HOLDFAST_SPOOL", "other"),
            ("HOLDFAST_CRASH_AT", "claim.fetched"),
        ]);
        let mut settings = settings();
        settings.env =
            [("CI", "1"), ("HOME", "/elsewhere"), ("NATS_NKEY", "n"), ("CLAUDECODE", "1")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into();
        let spec = spec(&settings, Session::New(Uuid::nil()), &runner);
        let expected = env(&[
            ("ANTHROPIC_API_KEY", "k"),
            ("BASH_MAX_TIMEOUT_MS", "60000"),
            ("CI", "1"),
            ("CLAUDE_CODE_DISABLE_BACKGROUND_TASKS", "1"),
            ("CLAUDE_CODE_MAX_RETRIES", "1"),
            ("CLAUDE_CONFIG_DIR", "/c"),
            ("HOLDFAST_OUTBOX", "/state/files/app/7/out"),
            ("HOME", "/elsewhere"),
            ("LC_TIME", "C"),
        ]);
        assert_eq!(spec.env, expected);
    }

    #[test]
    fn claude_sends_its_telemetry_where_ours_goes_unless_it_is_told_otherwise() {
        let own = [("OTEL_METRICS_EXPORTER".to_owned(), "none".to_owned())].into();
        let trace = Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned());
        let settings = Settings { env: own, trace, ..settings() };
        let runner = env(&[("TRACEPARENT", "another"), ("OTEL_EXPORTER_OTLP_HEADERS", "secret")]);
        let get = |settings: &Settings, name: &str| {
            let spec = spec(settings, Session::New(Uuid::nil()), &runner);
            spec.env.get(OsStr::new(name)).and_then(|value| value.to_str()).map(str::to_owned)
        };
        assert_eq!(get(&settings, TRACEPARENT), settings.trace);
        assert_eq!(get(&settings, "CLAUDE_CODE_ENABLE_TELEMETRY"), None);
        assert_eq!(get(&settings, CERTIFICATE), None);
        let (collector, ca) = (Some("http://c:4318".into()), Some("/ca.pem".into()));
        let settings = Settings { collector, collector_ca: ca, ..settings };
        for (name, value) in [
            (TRACEPARENT, settings.trace.as_deref()),
            ("CLAUDE_CODE_ENABLE_TELEMETRY", Some("1")),
            ("OTEL_TRACES_EXPORTER", Some("otlp")),
            ("OTEL_METRICS_EXPORTER", Some("none")),
            (ENDPOINT, Some("http://c:4318")),
            (CERTIFICATE, Some("/ca.pem")),
            ("OTEL_LOG_USER_PROMPTS", Some("0")),
            ("OTEL_EXPORTER_OTLP_HEADERS", None),
        ] {
            assert_eq!(get(&settings, name).as_deref(), value, "{name}");
        }
        let settings = Settings { texts: true, ..settings };
        assert_eq!(get(&settings, "OTEL_LOG_USER_PROMPTS").as_deref(), Some("1"));
    }

    #[test]
    fn tmux_gets_no_secret() {
        let runner = env(&[
            ("PATH", "/bin"),
            ("LC_ALL", "C"),
            ("ANTHROPIC_API_KEY", "k"),
            ("DISCORD_TOKEN", "t"),
            ("HOLDFAST_CRASH_AT", "claim.fetched"),
            ("TMUX", "x"),
        ]);
        assert_eq!(for_tmux(&runner), env(&[("LC_ALL", "C"), ("PATH", "/bin")]));
    }
}
