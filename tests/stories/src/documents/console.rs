//! What README and the pages of `docs/` show as typed into a console is typed here, as it stands, and what
//! is shown behind it is what is seen: digits and names of sockets may be others, `…` is any text, a line of
//! `...` is any lines; `commands.toml` says what becomes of each command, and why one is not typed.
//!
//! Of `cargo xtask up` the built program is started that it becomes; no network is needed.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::{Environment, PATIENCE, Plan, Service, built, claude, nats_server, processes};
use serde::Deserialize;

use super::blocks;

/// How long a service may take to end.
const STOP_WITHIN: Duration = Duration::from_secs(30);

/// What becomes of the commands.
const FATES: &str = include_str!("../../commands.toml");

/// All that is said of commands.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fates {
    /// Documents of which no command is typed here, and why.
    elsewhere: BTreeMap<String, String>,
    /// Of each other document its commands, as they stand.
    commands: BTreeMap<String, BTreeMap<String, Fate>>,
}

/// What becomes of a command of a document.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Fate {
    /// It is typed here, to its end.
    Typed,
    /// It is typed here, and goes on until somebody presses Ctrl+C.
    #[serde(rename = "goes on")]
    GoesOn,
    /// A story does the same with the same words.
    Told(String),
    /// It is not tried, and why.
    Untried(String),
}

/// A command, and what is shown behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Step {
    command: String,
    shown: Vec<String>,
}

/// The checkout.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

/// README and the pages, with their names.
fn documents() -> Result<Vec<(String, String)>> {
    let mut names = vec!["README.md".to_owned()];
    for entry in fs::read_dir(root().join("docs")).context("no docs")? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let is_page = Path::new(&name).extension().is_some_and(|extension| extension == "md");
        names.extend(is_page.then(|| format!("docs/{name}")));
    }
    names.sort();
    let read = |name: String| Ok((fs::read_to_string(root().join(&name))?, name));
    names.into_iter().map(read).map(|it| it.map(|(text, name)| (name, text))).collect()
}

/// The steps of a document's blocks of commands.
fn steps(text: &str) -> Vec<Step> {
    let shells = blocks(text).into_iter().filter(|it| ["console", "sh"].contains(&it.kind));
    shells.flat_map(|block| steps_of(&block.lines)).collect()
}

/// The steps of a block: what stands behind a `$`, or each line where none has one.
fn steps_of(lines: &[&str]) -> Vec<Step> {
    let has_prompts = lines.iter().any(|line| line.starts_with("$ "));
    let mut steps: Vec<Step> = Vec::new();
    for line in lines {
        let command = if has_prompts { line.strip_prefix("$ ") } else { Some(*line) };
        match (command, steps.last_mut()) {
            (_, Some(last)) if last.shown.is_empty() && last.command.ends_with('\\') => {
                last.command.push('\n');
                last.command.push_str(line);
            }
            (Some(command), _) => {
                steps.push(Step { command: command.to_owned(), shown: Vec::new() });
            }
            (None, Some(last)) => last.shown.push((*line).to_owned()),
            (None, None) => {}
        }
    }
    steps.retain(|step| !step.command.trim().is_empty() && !step.command.starts_with('#'));
    steps
}

/// A line without what is another each time.
fn loose(line: &str) -> String {
    let words = line.split_whitespace().map(|word| {
        let is_socket = word.starts_with("holdfast-") && word.len() == "holdfast-00000000".len();
        let word = if is_socket { "holdfast-0" } else { word };
        let mut text = String::new();
        for c in word.chars() {
            let c = if c.is_ascii_digit() { '0' } else { c };
            if c != '0' || !text.ends_with('0') {
                text.push(c);
            }
        }
        text
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Whether a line is the one that is shown.
fn fits(shown: &str, seen: &str) -> bool {
    let (shown, seen) = (loose(shown), loose(seen));
    let mut parts = shown.split('…');
    let Some(mut rest) = parts.next().and_then(|first| seen.strip_prefix(first)) else {
        return false;
    };
    let mut is_open = false;
    for part in parts {
        is_open = true;
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.is_empty() || is_open && shown.ends_with('…')
}

/// The first line that is shown and not seen in its place.
fn differs_from(shown: &[String], seen: &str) -> Option<String> {
    let mut seen = seen.lines().filter(|line| !line.trim().is_empty());
    let mut may_skip = false;
    for line in shown.iter().filter(|line| !line.trim().is_empty()) {
        if line.trim() == "..." {
            may_skip = true;
            continue;
        }
        let found = if may_skip {
            seen.any(|it| fits(line, it))
        } else {
            seen.next().is_some_and(|it| fits(line, it))
        };
        if !found {
            return Some(line.clone());
        }
        may_skip = false;
    }
    (!may_skip).then(|| seen.next()).flatten().map(|line| format!("(nothing, but: {line})"))
}

/// A folder in which the commands of a document are typed, one after another: a checkout's root for
/// `cargo xtask up`, a home with the example as configuration for the rest.
struct Console {
    folder: tempfile::TempDir,
}

impl Console {
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let home = folder.path().join(".config/holdfast");
        fs::create_dir_all(&home)?;
        let example = fs::read_to_string(root().join("deploy/gateway.example.toml"))?;
        let example = example.replace("nats://127.0.0.1:4222", "tls://nats.example:4222");
        let more = ["web", "docs"].map(|name| {
            format!("[projects.{name}]\nchannels = [\"{}\"]\nallow = \"everyone\"\n", name.len())
        });
        fs::write(home.join("gateway.toml"), example + &more.concat())?;
        fs::create_dir_all(folder.path().join("src/my-app"))?;
        // `cargo xtask up` becomes this program when all is built and fetched.
        let bin = folder.path().join("bin");
        fs::create_dir_all(&bin)?;
        let up = built("holdfast-up")?;
        let script = format!(
            "#!/bin/sh\n[ \"$1 $2\" = \"xtask up\" ] && shift 2 && exec {} \"$@\"\n",
            up.display()
        );
        fs::write(bin.join("cargo"), script)?;
        fs::set_permissions(bin.join("cargo"), Permissions::from_mode(0o755))?;
        Ok(Self { folder })
    }

    fn plan(&self, command: &str) -> Result<Plan> {
        let folder = self.folder.path();
        let mut path = folder.join("bin").into_os_string();
        for program in [built("gateway-svc")?, nats_server()?, claude()?] {
            path.push(":");
            path.push(program.parent().context("a program lies in a folder")?);
        }
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let env: Environment = [
            ("PATH", path),
            ("HOME", folder.into()),
            ("TMPDIR", folder.into()),
            ("TMUX_TMPDIR", folder.into()),
            ("HOLDFAST_ROOT", folder.into()),
            ("HOLDFAST_NATS_SERVER", nats_server()?.into()),
            ("HOLDFAST_CLAUDE", claude()?.into()),
        ]
        .map(|(name, value)| (name.into(), value))
        .into();
        let command = ["/etc/nats/holdfast", "/src/my-app"]
            .iter()
            .fold(command.to_owned(), |it, path| it.replace(path, &self.shown_as(path)));
        Ok(Plan {
            name: "console",
            program: "/bin/sh".into(),
            args: vec!["-c".into(), format!("exec 2>&1\n{command}").into()],
            env,
            dir: folder.to_owned(),
            log: folder.join("console.log"),
        })
    }

    /// Where a path of the documents is here.
    fn shown_as(&self, path: &str) -> String {
        format!("{}{path}", self.folder.path().display())
    }

    /// Does with a step what is said of it; what was wrong.
    fn tries(&self, step: &Step, fate: &Fate) -> Result<Option<String>> {
        let seen = match fate {
            Fate::Typed => self.types(&step.command)?,
            Fate::GoesOn => {
                let last = step.shown.last().context("nothing is shown of what goes on")?;
                self.goes_on(&step.command, last)?
            }
            Fate::Told(story) => {
                return Ok((!is_story(story)).then(|| format!("there is no {story}")));
            }
            Fate::Untried(why) => {
                return Ok(why.is_empty().then(|| "says no reason".to_owned()));
            }
        };
        // A block that shows nothing of what is seen says nothing about it.
        let differs = Some(&step.shown).filter(|it| !it.is_empty());
        let differs = differs.and_then(|shown| differs_from(shown, &seen));
        Ok(differs.map(|line| format!("{line}\n--- seen:\n{seen}")))
    }

    /// Types a command and waits for its end; what was seen.
    fn types(&self, command: &str) -> Result<String> {
        let plan = self.plan(command)?;
        let mut typed: Command = plan.command()?;
        let output = typed.stdout(Stdio::piped()).output().context("no shell")?;
        let seen = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success(), "{command}\n{seen}");
        Ok(seen.replace(&self.folder.path().display().to_string(), ""))
    }

    /// Types a command that goes on, until this line is seen; what was seen.
    fn goes_on(&self, command: &str, last: &str) -> Result<String> {
        let plan = self.plan(&format!("exec {command}"))?;
        let log = plan.log.clone();
        let mut service = Service::new(plan);
        service.start()?;
        let below = format!("{}/", self.folder.path().display());
        let seen = || fs::read_to_string(&log).unwrap_or_default().replace(&below, "");
        let is_there = processes::wait_until(PATIENCE, || seen().lines().any(|it| fits(last, it)));
        let all = seen();
        ensure!(is_there, "{last:?} is not seen in\n{all}");
        service.interrupt()?;
        let ended = service.wait(STOP_WITHIN);
        ensure!(ended.is_some(), "it goes on\n{}", service.tail());
        Ok(all)
    }
}

#[test]
fn every_command_of_the_documents_is_tried_or_says_why_not() -> Result<()> {
    let fates: Fates = toml::from_str(FATES)?;
    let mut found = Vec::new();
    for (name, text) in documents()? {
        let fates = match (fates.commands.get(&name), fates.elsewhere.get(&name)) {
            (_, Some(why)) => {
                ensure!(!why.is_empty(), "{name}: says no reason");
                continue;
            }
            (fates, None) => fates,
        };
        let steps = steps(&text);
        let console = Console::new()?;
        for step in &steps {
            let fate = fates.and_then(|fates| fates.get(&step.command));
            let wrong = match fate {
                Some(fate) => console.tries(step, fate)?,
                None => Some("stands not in commands.toml".to_owned()),
            };
            found.extend(wrong.map(|what| format!("{name}: {}: {what}", step.command)));
        }
        for command in fates.into_iter().flat_map(BTreeMap::keys) {
            if !steps.iter().any(|step| step.command == *command) {
                found.push(format!("{name}: {command}: is not there any more"));
            }
        }
    }
    ensure!(found.is_empty(), "{}", found.join("\n"));
    Ok(())
}

/// Whether there is a story of this name.
fn is_story(name: &str) -> bool {
    let Some((module, story)) = name.rsplit_once("::") else { return false };
    let module = module.replace("::", "/");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/{module}.rs"));
    fs::read_to_string(file).is_ok_and(|text| text.contains(&format!("fn {story}(")))
}

#[test]
fn what_is_seen_is_held_against_what_is_shown() {
    assert!(fits("   0.5 s  👀 it is stored", "12.75 s 👀 it is stored"));
    assert!(fits("starting nats-server …", "starting nats-server in a folder"));
    assert!(fits("a … c", "a b c") && !fits("a … c", "a b d"));
    assert!(fits("watch tmux -L holdfast-10bd4aae", "watch tmux -L holdfast-abcdef01"));
    assert!(!fits("the end", "the end, really") && !fits("the end", "no end"));
    let shown = ["a 1", "...", "d"].map(str::to_owned);
    assert_eq!(differs_from(&shown, "a 22\nb\nc\nd\n"), None);
    assert_eq!(differs_from(&shown, "b\n"), Some("a 1".into()));
    assert_eq!(differs_from(&shown[..1], "a 1\nmore"), Some("(nothing, but: more)".into()));
    let steps = steps_of(&["$ one \\", "  more", "seen", "$ two"]);
    assert_eq!(steps.len(), 2);
    assert_eq!((&*steps[0].command, &*steps[0].shown[0]), ("one \\\n  more", "seen"));
    assert_eq!(steps_of(&["git one", "git two"]).len(), 2);
}
