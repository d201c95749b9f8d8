//! `runner-svc doctor`: what this host needs, a line each: `ok`, or what to do. The same checks stand
//! behind `/readyz`.
//!
//! It changes nothing and needs no running service. A person reads it, so it says what it found
//! and, where that is not enough, the next step.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use platform::doctor::Finding;
use platform::nats::{self, Link};
use platform::version;
use tokio::process::Command;

use crate::bus::Bus;
use crate::command::{Settings, for_tmux, passed};
use crate::config::{Config, Project};
use crate::draining;
use crate::identity;
use crate::state;
use crate::tmux::Tmux;
use crate::worktree::Worktrees;

/// The oldest claude that says of a result which of our lines it answers (`user_message_uuid`). One that is
/// older is started all the same: it may do.
const CLAUDE_VERSION_MIN: (u64, u64, u64) = (2, 1, 216);
/// How long `claude --version` may take on a busy host.
const CLAUDE_MAX: Duration = Duration::from_secs(20);

/// Looks at everything, with a connection of its own.
pub(crate) async fn examine(config: &Config, env: &BTreeMap<OsString, OsString>) -> Vec<Finding> {
    let link = nats::connect(&config.nats, "holdfast-doctor").await;
    let mut findings = host(config, env).await;
    match link {
        Ok(link) => {
            findings.push(Finding::new("NATS", streams(config, &link).await));
            findings.push(Finding::new("clocks", link.clocks().await));
            findings.push(Finding::new("name", identity::examine(link, config).await));
        }
        Err(error) => {
            let why = format!("{:#}", anyhow::Error::new(error));
            findings.push(Finding::new("NATS", Err(why)));
        }
    }
    findings
}

/// Looks at everything that a runner at work uses.
pub(crate) async fn examine_at_work(
    config: &Config,
    env: &BTreeMap<OsString, OsString>,
    link: &Link,
) -> Vec<Finding> {
    let mut findings = host(config, env).await;
    findings.push(Finding::new("NATS", streams(config, link).await));
    findings.push(Finding::new("clocks", link.clocks().await));
    findings
}

async fn host(config: &Config, env: &BTreeMap<OsString, OsString>) -> Vec<Finding> {
    let finding = |what: &str, found| Finding::new(what, found);
    let mut findings = vec![
        finding("tmux", tmux(env).await),
        finding("claude", claude(config, env).await),
        finding("claude's login", login(config, env)),
        finding("state directory", state_dir(&config.state_dir)),
        finding("work", takes_work(&config.state_dir)),
    ];
    let worktrees = Worktrees::new(&config.state_dir, env);
    for (name, project) in &config.projects {
        let found = directory(project, &worktrees).await;
        findings.push(finding(&format!("project {name}"), found));
    }
    findings
}

/// Whether it takes new work: a person may have forgotten that it does not.
fn takes_work(state_dir: &Path) -> Result<String, String> {
    if draining::is_on(state_dir) {
        return Err("draining: it takes no new work until `runner-svc drain --off`".to_owned());
    }
    Ok("is taken".to_owned())
}

async fn tmux(env: &BTreeMap<OsString, OsString>) -> Result<String, String> {
    let tmux = Tmux::new("holdfast-doctor", "", for_tmux(env));
    tmux.version().await.map_err(|error| {
        format!("{:#}. Install tmux and see that it is on the PATH", anyhow::Error::new(error))
    })
}

#[expect(clippy::disallowed_methods, reason = "claude's version is asked here and nowhere else")]
async fn claude(config: &Config, env: &BTreeMap<OsString, OsString>) -> Result<String, String> {
    let program = &config.claude.program;
    let mut command = Command::new(program);
    let asked = command
        .arg("--version")
        .env_clear()
        .envs(claude_env(config, env))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = match tokio::time::timeout(CLAUDE_MAX, asked).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => {
            return Err(format!(
                "`{program}` does not start ({error}). Install it (npm install -g \
                 @anthropic-ai/claude-code), or name it in claude.program"
            ));
        }
        Err(_) => return Err(format!("`{program} --version` does not end")),
    };
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !output.status.success() || !said.contains("Claude Code") {
        return Err(format!("`{program} --version` is not claude's: {}, {said:?}", output.status));
    }
    if version::is_older(&said, CLAUDE_VERSION_MIN) {
        let needed = version::shown(CLAUDE_VERSION_MIN);
        return Err(format!(
            "`{program}` is {said}, and {needed} or newer is needed: run `claude update`, or npm install \
             -g @anthropic-ai/claude-code"
        ));
    }
    Ok(said)
}

/// What claude's environment will be.
fn claude_env(config: &Config, env: &BTreeMap<OsString, OsString>) -> BTreeMap<OsString, OsString> {
    let settings = Settings {
        program: config.claude.program.clone().into(),
        model: None,
        allow: Vec::new(),
        deny: Vec::new(),
        budget_micro: None,
        env: config.claude.env.clone(),
        cwd: "/".into(),
        files: "/".into(),
        outbox: "/".into(),
        run_max: config.run_max,
        trace: None,
        collector: None,
        collector_ca: None,
        texts: false,
    };
    let session = crate::command::Session::New(uuid::Uuid::nil());
    crate::command::spec(&settings, session, &passed(env)).env
}

/// Whether there is something to log in with. Whether Anthropic takes it, only a run can tell.
fn login(config: &Config, env: &BTreeMap<OsString, OsString>) -> Result<String, String> {
    let env = claude_env(config, env);
    let set = |name: &str| env.get(&OsString::from(name)).filter(|value| !value.is_empty());
    let names = [
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_AUTH_TOKEN",
        "CLAUDE_CODE_OAUTH_TOKEN",
        "CLAUDE_CODE_USE_BEDROCK",
        "CLAUDE_CODE_USE_VERTEX",
    ];
    if let Some(name) = names.iter().find(|name| set(name).is_some()) {
        return Ok(format!("by {name}"));
    }
    let home = set("HOME").map(|home| Path::new(home).join(".claude"));
    let folder = set("CLAUDE_CONFIG_DIR").map(|dir| Path::new(dir).to_owned()).or(home);
    let file = folder.map(|folder| folder.join(".credentials.json"));
    match file.filter(|file| file.is_file()) {
        Some(file) => Ok(format!("by {}", file.display())),
        None => Err("none was found. Run `claude` once as this user and log in, or set \
                     ANTHROPIC_API_KEY"
            .into()),
    }
}

fn state_dir(dir: &Path) -> Result<String, String> {
    let cannot = |error| format!("cannot write in {} ({error})", dir.display());
    std::fs::create_dir_all(dir).map_err(cannot)?;
    state::probe(dir).map_err(cannot)?;
    Ok(dir.display().to_string())
}

/// The directory, and where new threads work.
async fn directory(project: &Project, worktrees: &Worktrees) -> Result<String, String> {
    let directory = &project.directory;
    if !directory.is_dir() {
        return Err(format!("there is no directory {}", directory.display()));
    }
    let itself = "each thread works in it, one run at a time, because";
    let directory = directory.display();
    if !project.place.worktree {
        return Ok(format!("{directory}: {itself} worktree = false"));
    }
    match worktrees.why_not(&project.directory).await {
        Ok(None) => Ok(format!("{directory}: each thread works in a git worktree")),
        Ok(Some(why)) => Ok(format!("{directory}: {itself} {why}")),
        Err(error) => {
            let why = anyhow::Error::new(error);
            Err(format!("no worktree can be made of {directory}: {why:#}"))
        }
    }
}

async fn streams(config: &Config, link: &Link) -> Result<String, String> {
    let problems = match Bus::problems(&link.context, &config.consumers()).await {
        Ok(problems) => problems,
        Err(error) => {
            return Err(Box::pin(link.trouble()).await.unwrap_or_else(|| format!("{error:#}")));
        }
    };
    if problems.is_empty() {
        return link.server();
    }
    let todo = format!("run `{}`", config.provision());
    Err(format!("{todo}\n        {}", problems.join("\n        ")))
}
