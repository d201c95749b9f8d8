//! Secrets → `[redacted]`, before a word leaves this host.
//!
//! Two kinds are known: what looks like a token of a known kind, whosever it is, and the values of the
//! runner's own environment, except those that claude gets anyway and are no secrets. It is pure, and
//! linear in the length of a text. What looks like nothing and stands in no variable it cannot know.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, MatchKind};
use regex::{Captures, Regex};
use schemas::carried::Remark;
use schemas::files::{Given, Withheld};
use schemas::live::{Doing, Live, Point, Step, TEXT_CHARS_MAX};
use schemas::record::{Denial, Outcome, Record, State, Text, Whereabouts};
use serde_json::Value;

use crate::claude;
use crate::command::is_passed;

/// The shortest value of a variable that is taken for a secret: what is shorter stands in ordinary
/// words, and protects nothing.
const VALUE_MIN: usize = 8;
/// The shortest one whose variable is not named like a secret.
const VALUE_MIN_UNNAMED: usize = 16;
/// The longest value that is looked for; a longer one is looked for by its lines.
const VALUE_MAX: usize = 4096;
/// The most values that are looked for: no environment has as many secrets.
const VALUES_MAX: usize = 1000;

/// The kinds of tokens. What is kept of a match, because it tells where it was, is in a group.
const SHAPES: [&str; 20] = [
    // Keys in PEM, also one that is cut off.
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?s:.)*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\z)",
    // Discord: tokens of bots, and webhooks.
    r"\b[A-Za-z0-9_-]{23,28}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,45}",
    r"(discord(?:app)?\.com/api/(?:v[0-9]+/)?webhooks/[0-9]+/)[A-Za-z0-9_-]{20,}",
    // Anthropic, OpenAI, Google, Hugging Face.
    r"\bsk-ant-[A-Za-z0-9_-]{16,}",
    r"\bsk-(?:proj|svcacct|admin)-[A-Za-z0-9_-]{20,}",
    r"\bsk-[A-Za-z0-9]{32,}",
    r"\bAIza[A-Za-z0-9_-]{35}",
    r"\bhf_[A-Za-z0-9]{30,}",
    // GitHub, GitLab.
    r"\bgh[pousr]_[A-Za-z0-9]{36,}",
    r"\bgithub_pat_[A-Za-z0-9_]{40,}",
    r"\bglpat-[A-Za-z0-9_-]{20,}",
    // AWS: the id of a key, and the key where it is named.
    r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    r#"(?i)(aws_?secret_?access_?key["']?\s{0,3}[=:]\s{0,3}["']?)[A-Za-z0-9/+=]{40}"#,
    // Slack: tokens, and webhooks.
    r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}",
    r"\bxapp-[0-9]-[A-Za-z0-9-]{10,}",
    r"(hooks\.slack\.com/services/)[A-Za-z0-9/]{20,}",
    // Stripe, JSON Web Tokens, NATS seeds.
    r"\b[rs]k_live_[A-Za-z0-9]{16,}",
    r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}",
    r"\bS[UAOCNX][A-Z2-7]{56}\b",
    // The password in an address.
    r"([a-z][a-z0-9+.-]{1,20}://[^\s:/@]{0,80}:)[^\s/@]{3,200}(?:@)",
];

/// All of them, as one.
static SHAPE: LazyLock<Regex> = LazyLock::new(|| {
    let all: Vec<String> = SHAPES.iter().map(|shape| format!("(?:{shape})")).collect();
    Regex::new(&all.join("|")).expect("the shapes are constant, and a test reads them")
});

/// What finds secrets. Made once; it holds those of the environment.
#[derive(Default)]
pub(crate) struct Redactor {
    values: Option<AhoCorasick>,
    /// What is put in the place of each.
    names: Vec<String>,
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redactor").field("names", &self.names).finish_non_exhaustive()
    }
}

impl Redactor {
    /// One that knows this environment, and what claude gets beside it.
    pub(crate) fn new(env: &BTreeMap<OsString, OsString>, own: &BTreeMap<String, String>) -> Self {
        let secret = |(name, value): (&OsStr, &OsStr)| {
            let (name, value) = (name.to_str()?.to_owned(), value.to_str()?.to_owned());
            is_secret(&name, &value).then_some((name, value))
        };
        let env = env.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()));
        // A project's own variables are settings, unless their names say otherwise.
        let own = own.iter().filter(|(name, _)| is_named_secret(name));
        let own = own.map(|(name, value)| (OsStr::new(name), OsStr::new(value)));
        let mut all: Vec<(String, String)> = env
            .chain(own)
            .filter_map(secret)
            .flat_map(|(name, value)| parts(&name, &value))
            .collect();
        all.truncate(VALUES_MAX);
        let values = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(all.iter().map(|(_, value)| value));
        match values {
            Ok(values) if !all.is_empty() => {
                let names =
                    all.into_iter().map(|(name, _)| format!("[redacted: {name}]")).collect();
                Self { values: Some(values), names }
            }
            Ok(_) | Err(_) => Self::default(),
        }
    }

    /// A text without secrets.
    pub(crate) fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let text = match &self.values {
            Some(values) if values.is_match(text) => {
                Cow::Owned(values.replace_all(text, &self.names))
            }
            Some(_) | None => Cow::Borrowed(text),
        };
        let kept = |found: &Captures<'_>| {
            let kept = found.iter().skip(1).flatten().next().map_or("", |kept| kept.as_str());
            // An address stays one.
            let end = if found[0].ends_with('@') { "@" } else { "" };
            format!("{kept}[redacted]{end}")
        };
        match text {
            Cow::Borrowed(text) => SHAPE.replace_all(text, kept),
            Cow::Owned(text) => Cow::Owned(SHAPE.replace_all(&text, kept).into_owned()),
        }
    }

    /// Whether bytes that are no text have a value of the environment in them. What looks like a token is
    /// not looked for: in such bytes much does.
    pub(crate) fn is_in(&self, bytes: &[u8]) -> bool {
        self.values.as_ref().is_some_and(|values| values.is_match(bytes))
    }

    fn own(&self, text: &str) -> String {
        self.text(text).into_owned()
    }

    /// A result of claude's without secrets: before anything of it is cut, for half a secret looks like
    /// none.
    pub(crate) fn result(&self, result: &claude::TurnResult) -> claude::TurnResult {
        let denial = |it: &claude::Denial| claude::Denial {
            tool_name: self.own(&it.tool_name),
            object: self.own(&it.object),
        };
        claude::TurnResult {
            text: self.own(&result.text),
            denials: result.denials.iter().map(denial).collect(),
            ..result.clone()
        }
    }

    /// An ask of claude's without secrets, as it is to be shown: before anything of it is cut. What
    /// claude is told about it is made of the ask as it was.
    pub(crate) fn ask(&self, ask: &claude::Ask) -> claude::Ask {
        let own = |text: &Option<String>| text.as_deref().map(|text| self.own(text));
        claude::Ask {
            tool_name: self.own(&ask.tool_name),
            input: self.value(&ask.input),
            description: own(&ask.description),
            blocked_path: own(&ask.blocked_path),
            suggested: own(&ask.suggested),
            ..ask.clone()
        }
    }

    fn value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.own(text)),
            Value::Array(all) => all.iter().map(|one| self.value(one)).collect(),
            Value::Object(fields) => {
                fields.iter().map(|(name, one)| (name.clone(), self.value(one))).collect()
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }

    /// What is told live, without secrets, and each text as short as it is to be.
    pub(crate) fn live(&self, live: &Live) -> Live {
        let short = |text: &str| {
            let plain = self.own(text);
            let plain = plain.split_whitespace().collect::<Vec<_>>().join(" ");
            plain.chars().filter(|c| !c.is_control()).take(TEXT_CHARS_MAX).collect::<String>()
        };
        let step = |it: &Step| Step {
            tool: short(&it.tool),
            object: short(&it.object),
            failed: it.failed,
        };
        let doing = match &live.doing {
            Doing::Tool { step: it, agent, others } => {
                let agent = agent.as_deref().map(short);
                Doing::Tool { step: step(it), agent, others: *others }
            }
            Doing::Retrying { why } => Doing::Retrying { why: short(why) },
            Doing::Starting | Doing::Thinking | Doing::Asking => live.doing.clone(),
        };
        let point = |it: &Point| Point { text: short(&it.text), state: it.state };
        Live {
            doing,
            model: live.model.as_deref().map(short),
            steps: live.steps.iter().map(step).collect(),
            list: live.list.iter().map(point).collect(),
            ..live.clone()
        }
    }

    /// A record without secrets. Every field is named, so that none is forgotten that is added.
    pub(crate) fn record(&self, record: &Record) -> Record {
        let Record {
            v,
            run: _,
            generation,
            attempt,
            deaths,
            runner: _,
            state_id,
            owner,
            session,
            state,
            quiet_since_ms,
            since_ms,
            notice,
            narrowed,
            remarks,
            asks,
            asked,
            applied,
            carried: _,
            steered,
            whereabouts,
            files,
            withheld,
            trace: _,
        } = record;
        let remark = |it: &Remark| Remark { about: it.about, text: self.own(&it.text) };
        let given = |it: &Given| Given { name: self.own(&it.name), file: it.file.clone() };
        let kept = |it: &Withheld| Withheld { name: self.own(&it.name), why: self.own(&it.why) };
        Record {
            v: *v,
            run: record.run.clone(),
            generation: *generation,
            attempt: *attempt,
            deaths: *deaths,
            runner: record.runner.clone(),
            state_id: *state_id,
            owner: *owner,
            session: *session,
            state: self.state(state),
            quiet_since_ms: *quiet_since_ms,
            since_ms: *since_ms,
            notice: notice.as_deref().map(|notice| self.own(notice)),
            narrowed: narrowed.as_deref().map(|it| self.own(it)),
            remarks: remarks.iter().map(remark).collect(),
            // They were made without, from what `ask` left of them.
            asks: asks.clone(),
            asked: *asked,
            applied: applied.clone(),
            carried: record.carried.clone(),
            steered: steered.clone(),
            // It is exact or not there.
            whereabouts: whereabouts.clone().filter(|at| self.is_clean(at)),
            files: files.iter().map(given).collect(),
            withheld: withheld.iter().map(kept).collect(),
            trace: record.trace.clone(),
        }
    }

    /// Whether nothing of this is a secret.
    fn is_clean(&self, at: &Whereabouts) -> bool {
        let Whereabouts { dir, resume, attach } = at;
        [dir, resume, attach].iter().all(|line| self.own(line) == **line)
    }

    /// What a holder is at, without secrets.
    pub(crate) fn state(&self, state: &State) -> State {
        let denied = |all: &[Denial]| {
            let denial =
                |it: &Denial| Denial { tool: self.own(&it.tool), object: self.own(&it.object) };
            all.iter().map(denial).collect()
        };
        let State::Ended { outcome, usage } = state else { return state.clone() };
        let outcome = match outcome {
            Outcome::Answered { answer, denied: all } => {
                let answer = match answer {
                    Text::Inline(text) => Text::Inline(self.own(text)),
                    Text::File { .. } => answer.clone(),
                };
                Outcome::Answered { answer, denied: denied(all) }
            }
            Outcome::Failed { why, denied: all } => {
                Outcome::Failed { why: self.own(why), denied: denied(all) }
            }
            Outcome::Stopped { by } => Outcome::Stopped { by: by.clone() },
        };
        State::Ended { outcome, usage: usage.clone() }
    }
}

/// What the name of a variable has in it that holds a secret,
const SECRET_NAMES: [&str; 7] = ["KEY", "TOKEN", "SECRET", "PASS", "CRED", "PRIVATE", "COOKIE"];
/// or as a word of its own.
const SECRET_WORDS: [&str; 5] = ["AUTH", "PWD", "SEED", "DSN", "SALT"];
/// What every login has, and people write about: no secrets, whatever their length.
const KNOWN_NAMES: [&str; 22] = [
    "PWD",
    "OLDPWD",
    "HOSTNAME",
    "LOGNAME",
    "MAIL",
    "SHLVL",
    "EDITOR",
    "VISUAL",
    "PAGER",
    "LS_COLORS",
    "DISPLAY",
    "COLORTERM",
    "TZ",
    "RUST_LOG",
    "RUST_BACKTRACE",
    "DBUS_SESSION_BUS_ADDRESS",
    "SSH_CONNECTION",
    "SSH_CLIENT",
    "SSH_TTY",
    "NATS_URL",
    "HTTP_LISTEN",
    "INVOCATION_ID",
];
/// Beginnings of such names.
const KNOWN_PREFIXES: [&str; 6] = ["XDG_", "HOLDFAST_", "CARGO_", "NEXTEST", "TMUX", "OTEL_"];

fn is_named_secret(name: &str) -> bool {
    let name = name.to_uppercase();
    let has_word = name.split('_').any(|word| SECRET_WORDS.contains(&word));
    has_word || SECRET_NAMES.iter().any(|part| name.contains(part))
}

/// Whether a variable of the runner's is to be kept from people.
fn is_secret(name: &str, value: &str) -> bool {
    let value = value.trim();
    let is_known =
        KNOWN_NAMES.contains(&name) || KNOWN_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    // A place on the disk says where a secret is, and is none.
    let is_place = value.starts_with(['/', '~', '.']) || value.starts_with("unix:");
    if value.len() < VALUE_MIN || is_known || is_place {
        return false;
    }
    let is_passed = is_passed(OsStr::new(name));
    is_named_secret(name) || !is_passed && VALUE_MIN_UNNAMED <= value.len()
}

/// What is looked for of a value: the whole, and of one with several lines each that is long enough.
fn parts(name: &str, value: &str) -> Vec<(String, String)> {
    let whole = Some(value.trim()).filter(|value| value.len() <= VALUE_MAX);
    let lines = value.lines().map(str::trim);
    let lines = lines.filter(|line| VALUE_MIN_UNNAMED <= line.len() && line.len() <= VALUE_MAX);
    let lines = lines.filter(|line| Some(*line) != whole);
    whole.into_iter().chain(lines).map(|part| (name.to_owned(), part.to_owned())).collect()
}

#[cfg(test)]
mod tests;
