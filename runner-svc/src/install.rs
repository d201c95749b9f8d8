//! `runner-svc install` and `uninstall`: the configuration and the unit of systemd, and nothing else.
//!
//! What is to be written is decided first, as a whole, and told with what it changes; then it is
//! written, each file at once and whole. A file carries the digest of what was written into it
//! (`stamp`), so that a later install or uninstall knows whether somebody has changed it since: such
//! a file is never overwritten without `--force`, and never taken away.
//!
//! It asks nothing, starts nothing, enables nothing and touches no state: it says the commands that
//! do.

mod diff;
mod place;
mod stamp;
mod texts;

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use platform::config::Environment;
use platform::terminal::say;
use schemas::ids::ProjectName;

use self::place::{Kind, Place};
use crate::config::Config;
use crate::keeper::record::{sync_dir, write_whole};

/// The unit is no secret, and systemd remarks on one that is kept as one.
const UNIT_MODE: u32 = 0o644;

/// What `install` is told.
#[derive(Args, Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct Install {
    /// A project, and the directory in which claude works on it; as often as there are projects.
    #[arg(long = "project", value_name = "NAME=DIR", value_parser = project)]
    projects: Vec<(ProjectName, PathBuf)>,
    /// Where NATS is: `nats://host:4222`, `tls://host:4222`.
    #[arg(long, value_name = "URL")]
    nats: Option<String>,
    /// As a service of yours, with its configuration. The default.
    #[arg(long, conflicts_with = "system")]
    user: bool,
    /// The unit for services of this machine that run as a person, alone.
    #[arg(long, conflicts_with_all = ["projects", "nats", "no_unit"])]
    system: bool,
    /// The configuration alone.
    #[arg(long)]
    no_unit: bool,
    /// Say what would be written, and write nothing.
    #[arg(long)]
    dry_run: bool,
    /// Overwrite what somebody has changed.
    #[arg(long)]
    force: bool,
}

/// What `uninstall` is told.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Uninstall {
    /// The unit for services of this machine.
    #[arg(long)]
    system: bool,
    /// Say what would be taken away, and take nothing.
    #[arg(long)]
    dry_run: bool,
}

/// `NAME=DIR` of the command line.
fn project(text: &str) -> Result<(ProjectName, PathBuf), String> {
    let (name, dir) = text.split_once('=').ok_or("is to be NAME=DIR")?;
    let name = name.parse::<ProjectName>().map_err(|error| error.to_string())?;
    Ok((name, PathBuf::from(dir)))
}

/// A file that is to be there.
#[derive(Debug)]
struct Wanted {
    kind: Kind,
    path: PathBuf,
    /// With its stamp.
    text: String,
}

/// What is done about a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// It is there, and is what it is to be.
    Stays,
    /// It is not there.
    New,
    /// It takes the place of another.
    Anew,
    /// Somebody has changed it, or written it.
    NotOurs,
}

/// What to do about a file that is to be `wanted`. A configuration is its person's from the beginning:
/// one of other words is never ours.
fn step(kind: Kind, wanted: &str, found: Option<&str>, force: bool) -> Step {
    match found {
        None => Step::New,
        Some(found) if found == wanted => Step::Stays,
        Some(_) if force => Step::Anew,
        Some(found) => match kind {
            Kind::Unit if stamp::is_unchanged(found) => Step::Anew,
            Kind::Unit | Kind::Config => Step::NotOurs,
        },
    }
}

/// Installs. `config`: where the configuration is to be, if it was said.
///
/// # Errors
///
/// What is wrong with what was said, what stands in the way, and what cannot be written.
pub(crate) fn install(
    told: &Install,
    config: Option<PathBuf>,
    env: &Environment,
    host: &str,
) -> anyhow::Result<ExitCode> {
    let place = Place::new(told.system, config, env)?;
    let wanted = wanted(told, &place, env, host)?;
    let mut steps = Vec::new();
    for file in wanted {
        let found = read(&file.path)?;
        let step = step(file.kind, &file.text, found.as_deref(), told.force);
        say(told_of(step, &file, found.as_deref().unwrap_or_default(), told.dry_run))?;
        steps.push((step, file));
    }
    if steps.iter().any(|(step, _)| *step == Step::NotOurs) {
        bail!("nothing was written: give --force to overwrite, or put a change into a drop-in");
    }
    if told.dry_run {
        return Ok(ExitCode::SUCCESS);
    }
    for (step, file) in &steps {
        if matches!(step, Step::New | Step::Anew) {
            write(file).with_context(|| format!("cannot write {}", file.path.display()))?;
        }
    }
    let config = Config::load(Some(place.config.clone()), env, host).ok();
    say(texts::next(told.system, told.no_unit, config.as_ref().map(Config::provision)))?;
    Ok(ExitCode::SUCCESS)
}

/// The files that are to be there.
fn wanted(
    told: &Install,
    place: &Place,
    env: &Environment,
    host: &str,
) -> anyhow::Result<Vec<Wanted>> {
    let mut wanted = Vec::new();
    // Without a word about it, one that is there stays: an upgrade is `install` alone.
    let stays = told.projects.is_empty() && told.nats.is_none() && place.config.exists();
    if !told.system && !stays {
        let text = config_text(told, place, env, host)?;
        let path = place.config.clone();
        wanted.push(Wanted { kind: Kind::Config, path, text: stamp::stamped(&text) });
    }
    if !told.no_unit {
        let program = std::env::current_exe().context("cannot tell where this program is")?;
        let program = program.to_str().context("this program's path is not UTF-8")?;
        let path = env.get("PATH").map(String::as_str);
        let text = texts::unit(told.system, program, path)?;
        let path = place.unit.clone();
        wanted.push(Wanted { kind: Kind::Unit, path, text: stamp::stamped(&text) });
    }
    Ok(wanted)
}

/// The text of a configuration that the runner takes.
fn config_text(
    told: &Install,
    place: &Place,
    env: &Environment,
    host: &str,
) -> anyhow::Result<String> {
    ensure!(!told.projects.is_empty(), "say what claude is to work on: --project NAME=DIR");
    let mut projects = Vec::new();
    for (name, dir) in &told.projects {
        let dir = dir.canonicalize().with_context(|| format!("no directory {}", dir.display()))?;
        ensure!(dir.is_dir(), "{} is no directory", dir.display());
        projects.push((name.clone(), dir));
    }
    let claude = env.get("PATH").and_then(|path| place::on_path(path, "claude"));
    if claude.is_none() {
        say("claude is not on the PATH: install it, or name it in claude.program\n")?;
    }
    let text = texts::config(host, told.nats.as_deref(), claude.as_deref(), &projects);
    // As it will be read by the service, which has none of what this shell sets.
    let of_service = ["HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"];
    let env = env.iter().filter(|(name, _)| of_service.contains(&name.as_str()));
    let env = env.map(|(name, value)| (name.clone(), value.clone())).collect();
    Config::parse(&text, &place.config, &env, host)?;
    Ok(text)
}

/// What is said about a file.
fn told_of(step: Step, file: &Wanted, found: &str, dry_run: bool) -> String {
    let path = file.path.display();
    let changes = || diff::lines(found, &file.text);
    match (step, dry_run) {
        (Step::Stays, _) => format!("as it is  {path}\n"),
        (Step::New, false) => format!("written   {path}\n"),
        (Step::New, true) => format!("to write  {path}\n{}", changes()),
        (Step::Anew, false) => format!("changed   {path}\n{}", changes()),
        (Step::Anew, true) => format!("to change {path}\n{}", changes()),
        (Step::NotOurs, _) => {
            format!("KEPT      {path}: somebody has written or changed it\n{}", changes())
        }
    }
}

fn write(file: &Wanted) -> io::Result<()> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidFilename);
    let dir = file.path.parent().ok_or_else(invalid)?;
    let name = file.path.file_name().and_then(|name| name.to_str()).ok_or_else(invalid)?;
    fs::create_dir_all(dir)?;
    // Readable by its owner alone, from the first moment on.
    write_whole(dir, name, file.text.as_bytes())?;
    match file.kind {
        Kind::Config => Ok(()),
        Kind::Unit => fs::set_permissions(&file.path, fs::Permissions::from_mode(UNIT_MODE)),
    }
}

/// Takes away what `install` wrote, as far as nobody has changed it.
///
/// # Errors
///
/// When the service is still enabled, and when a file cannot be taken away.
pub(crate) fn uninstall(
    told: &Uninstall,
    config: Option<PathBuf>,
    env: &Environment,
) -> anyhow::Result<ExitCode> {
    let place = Place::new(told.system, config, env)?;
    if let Some(link) = place.enabled() {
        bail!("it is enabled ({}): first `{}`", link.display(), texts::disable(told.system));
    }
    let config = (!told.system).then_some(&place.config);
    for path in config.into_iter().chain([&place.unit]) {
        let shown = path.display();
        match read(path)? {
            None => say(format_args!("not there  {shown}\n"))?,
            Some(text) if !stamp::is_unchanged(&text) => {
                say(format_args!("KEPT       {shown}: somebody has written or changed it\n"))?;
            }
            Some(_) if told.dry_run => say(format_args!("to go      {shown}\n"))?,
            Some(_) => {
                remove(path).with_context(|| format!("cannot take away {shown}"))?;
                say(format_args!("taken away {shown}\n"))?;
            }
        }
    }
    say(texts::after_uninstall(told.system))?;
    Ok(ExitCode::SUCCESS)
}

fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path)?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// What a file says; `None`: there is none.
fn read(path: &Path) -> anyhow::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_has_changed_is_overwritten_by_force_alone() {
        let (old, new) = (stamp::stamped("a\n"), stamp::stamped("b\n"));
        let changed = format!("{old}more\n");
        for kind in [Kind::Unit, Kind::Config] {
            assert_eq!(step(kind, &new, None, false), Step::New);
            assert_eq!(step(kind, &new, Some(&new), false), Step::Stays);
            assert_eq!(step(kind, &new, Some(&changed), false), Step::NotOurs);
            assert_eq!(step(kind, &new, Some("theirs\n"), false), Step::NotOurs);
            assert_eq!(step(kind, &new, Some(&changed), true), Step::Anew);
        }
        assert_eq!(step(Kind::Unit, &new, Some(&old), false), Step::Anew, "an upgrade");
        assert_eq!(step(Kind::Config, &new, Some(&old), false), Step::NotOurs, "other projects");
    }

    #[test]
    fn a_project_is_a_name_and_a_directory() {
        let (name, dir) = project("app=/src/a=b").unwrap();
        assert_eq!((name.as_str(), dir.to_str().unwrap()), ("app", "/src/a=b"));
        assert!(project("app").is_err() && project("A b=/src").is_err());
    }
}
