//! Makes a new worktree fit for work: copies what git does not keep, runs the set-up command.
//!
//! Copies come from the project's directory and nowhere else, end in the worktree and nowhere else,
//! and overwrite nothing. The set-up command is the operator's own text and goes to `sh -c`, as it
//! stands in the configuration; nothing that a person wrote in a thread comes near it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

use super::place::{Lock, Place, PlaceError};
use super::process::{self, Env, NotRun};

/// How much of a set-up command's output an error carries.
const TAIL_BYTES: u64 = 400;

/// Runs the command, and says so beside the worktree: then the word stands even if the runner died
/// meanwhile.
const SET_UP: &str = r#"sh -c "$1" && : >"$2""#;

/// A file of a project, from the project's directory: `.env`, `config/local.toml`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CopyPath(PathBuf);

/// Why a text is no [`CopyPath`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is not a file in the project: a relative path without .. and outside .git")]
pub(crate) struct NotInside(String);

impl FromStr for CopyPath {
    type Err = NotInside;

    fn from_str(text: &str) -> Result<Self, NotInside> {
        let mut clean = PathBuf::new();
        for part in Path::new(text).components() {
            match part {
                Component::Normal(name) => clean.push(name),
                Component::CurDir => {}
                Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                    return Err(NotInside(text.to_owned()));
                }
            }
        }
        let is_git = clean.iter().any(|part| part.eq_ignore_ascii_case(".git"));
        let is_odd = clean.as_os_str().is_empty() || text.contains('\0') || text.ends_with('/');
        if is_git || is_odd { Err(NotInside(text.to_owned())) } else { Ok(Self(clean)) }
    }
}

impl CopyPath {
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

/// Why a worktree is not fit for work.
#[derive(Debug, Error)]
pub(crate) enum FitError {
    /// A file cannot be copied.
    #[error("cannot copy {} into the worktree", name.display())]
    Copy {
        /// As the configuration has it.
        name: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A way leads out of the project, or out of the worktree.
    #[error("{} is not copied into the worktree: a link on the way leads outside", .0.display())]
    Outside(PathBuf),
    /// A folder, or worse.
    #[error("{} is not copied into the worktree: it is no file", .0.display())]
    NoFile(PathBuf),
    /// The set-up command cannot be started, or its output not be kept.
    #[error("the set-up command {command:?} does not start")]
    DoesNotStart {
        /// The command.
        command: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// It failed.
    #[error("the set-up command {command:?} {how}; its output is in {}: {tail}", log.display())]
    SetUp {
        /// The command.
        command: String,
        /// `ended with code 1`, `took longer than 900 s`.
        how: String,
        /// All that it printed.
        log: PathBuf,
        /// The end of it.
        tail: String,
    },
}

/// Copies files from the project's directory into the worktree. A file that is missing there is
/// passed over: it need not be on every host.
pub(super) fn copy(
    from: &Path,
    to: &Path,
    part: &Path,
    names: &[CopyPath],
) -> Result<(), FitError> {
    for CopyPath(name) in names {
        let failed = |source| FitError::Copy { name: name.clone(), source };
        let Some(source) = source(from, name)? else {
            tracing::warn!(file = %name.display(), "there is nothing to copy into the worktree");
            continue;
        };
        make_way(to, name)?;
        let target = to.join(name);
        match fs::symlink_metadata(&target) {
            Ok(_) => continue,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let put = || {
            // What an earlier try left may be without the right to write.
            match fs::remove_file(part) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
            fs::copy(&source, part)?;
            fs::rename(part, &target)
        };
        put().map_err(failed)?;
    }
    Ok(())
}

/// The file itself, or `None` if there is none.
fn source(from: &Path, name: &Path) -> Result<Option<PathBuf>, FitError> {
    let failed = |source| FitError::Copy { name: name.to_owned(), source };
    let from = fs::canonicalize(from).map_err(failed)?;
    let file = match fs::canonicalize(from.join(name)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    if !file.starts_with(&from) {
        return Err(FitError::Outside(name.to_owned()));
    }
    let is_file = fs::metadata(&file).map_err(failed)?.is_file();
    if is_file { Ok(Some(file)) } else { Err(FitError::NoFile(name.to_owned())) }
}

/// Makes the folders on the way to a file, and goes through no link.
fn make_way(to: &Path, name: &Path) -> Result<(), FitError> {
    let failed = |source| FitError::Copy { name: name.to_owned(), source };
    let mut folder = to.to_owned();
    for part in name.parent().into_iter().flat_map(Path::iter) {
        folder.push(part);
        match fs::symlink_metadata(&folder) {
            Ok(found) if found.is_symlink() => return Err(FitError::Outside(name.to_owned())),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                DirBuilder::new().create(&folder).map_err(failed)?;
            }
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(())
}

/// Whether a file of the worktree is what a copy of the project's file would be now.
pub(super) fn is_copy(from: &Path, to: &Path, name: &CopyPath) -> io::Result<bool> {
    let Ok(Some(source)) = source(from, &name.0) else { return Ok(false) };
    let target = to.join(&name.0);
    let found = fs::symlink_metadata(&target)?;
    Ok(found.is_file()
        && found.len() == fs::metadata(&source)?.len()
        && fs::read(&source)? == fs::read(&target)?)
}

/// Runs the set-up command, unless it ended well before.
pub(super) async fn set_up(
    command: &str,
    place: &Place,
    cwd: &Path,
    env: &Env,
    lock: &Lock,
    max: Duration,
) -> Result<(), FitError> {
    let done = place.done();
    if done.exists() {
        return Ok(());
    }
    let log = place.log();
    let not_started = |source| FitError::DoesNotStart { command: command.to_owned(), source };
    let out = new_log(&log, command).map_err(not_started)?;
    let err = out.try_clone().map_err(not_started)?;
    let mut shell = process::command("sh", env, lock).map_err(not_started)?;
    shell.args(["-c", SET_UP, "set-up", command]).arg(&done).current_dir(cwd);
    shell.stdout(out).stderr(err);
    tracing::info!(command, log = %log.display(), "the set-up command runs");
    let how = match process::run(shell, max).await {
        Ok(ran) if ran.status.success() => return Ok(()),
        Ok(ran) => match ran.status.code() {
            Some(code) => format!("ended with code {code}"),
            None => format!("was killed ({})", ran.status),
        },
        Err(NotRun::TimedOut) => format!("took longer than {} s", max.as_secs()),
        Err(NotRun::TooMuch) => "printed too much".to_owned(),
        Err(NotRun::DoesNotStart(source)) => return Err(not_started(source)),
    };
    let tail = tail(&log).unwrap_or_default();
    Err(FitError::SetUp { command: command.to_owned(), how, log, tail })
}

fn new_log(log: &Path, command: &str) -> io::Result<File> {
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(log)?;
    writeln!(file, "$ {command}")?;
    Ok(file)
}

/// The end of a file, on one line.
fn tail(log: &Path) -> io::Result<String> {
    let mut file = File::open(log)?;
    let from = file.metadata()?.len().saturating_sub(TAIL_BYTES);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    Ok(lines.collect::<Vec<_>>().join(" | "))
}

/// Puts all that was written to the disk that holds `path` onto it.
pub(super) fn settle(path: &Path) -> Result<(), PlaceError> {
    let sync = || -> io::Result<()> { Ok(rustix::fs::syncfs(File::open(path)?)?) };
    sync().map_err(PlaceError::disk(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_copied_lies_in_the_project() {
        for good in [".env", "config/local.toml", "./a", "a b/ü"] {
            assert!(good.parse::<CopyPath>().is_ok(), "{good}");
        }
        for bad in ["", ".", "/etc/passwd", "../a", "a/../../b", ".git/config", "a/.GIT", "a/"] {
            assert!(bad.parse::<CopyPath>().is_err(), "{bad}");
        }
    }
}
