//! What is asked of git, one function for each call, and what its answers mean.
//!
//! git's own file formats are read at one place only: the two files that tie a worktree to its
//! repository (`gitrepository-layout(5)`). It never fetches, never commits, and decides nothing.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use thiserror::Error;

use super::place::Lock;
use super::process::{self, Env, NotRun};

/// How long a question to git may take, on a busy disk.
const CALL_MAX: Duration = Duration::from_secs(120);

/// Why git did not do what it was asked for.
#[derive(Debug, Error)]
pub(crate) enum GitError {
    /// It is not on the PATH.
    #[error("git is not installed")]
    Missing,
    /// It cannot be started.
    #[error("git does not start")]
    DoesNotStart(#[source] io::Error),
    /// It was ended.
    #[error("git {command} took longer than {} s", max.as_secs())]
    TimedOut {
        /// Its first words.
        command: &'static str,
        /// How long it had.
        max: Duration,
    },
    /// It prints without end.
    #[error("git {command} prints too much")]
    TooMuch {
        /// Its first words.
        command: &'static str,
    },
    /// It says no.
    #[error("git {command} failed: {said}")]
    Failed {
        /// Its first words.
        command: &'static str,
        /// Its code; `None`: it was killed.
        code: Option<i32>,
        /// What it printed.
        said: String,
    },
}

impl GitError {
    /// Whether somebody else's git was at work in the repository: trying again is worth it. The last
    /// is what git says when it meets a worktree that another git is just adding (2.47).
    pub(super) fn is_contention(&self) -> bool {
        self.says(".lock': File exists")
            || self.says("could not lock config file")
            || self.says("failed to read") && self.says("/commondir")
    }

    /// Whether the directory is in no repository.
    pub(super) fn is_no_repository(&self) -> bool {
        self.says("not a git repository")
    }

    fn says(&self, words: &str) -> bool {
        match self {
            Self::Failed { said, .. } => said.contains(words),
            Self::Missing
            | Self::DoesNotStart(_)
            | Self::TimedOut { .. }
            | Self::TooMuch { .. } => false,
        }
    }
}

/// What the project's directory is to git.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Repo {
    /// Worktrees can be made of it.
    Usable {
        /// The commit that is checked out.
        head: String,
        /// The directory, seen from the root of the repository; empty: it is the root.
        inside: String,
    },
    /// They cannot. The sentence goes on after "because".
    Unfit(String),
}

impl Repo {
    fn unfit(why: &str) -> Self {
        Self::Unfit(why.to_owned())
    }
}

/// A worktree that a repository knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) path: PathBuf,
    /// The name of its branch.
    pub(super) branch: Option<String>,
}

/// git, as one place's owner calls it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Git<'a> {
    pub(super) env: &'a Env,
    pub(super) lock: &'a Lock,
}

impl Git<'_> {
    pub(super) async fn call(
        &self,
        dir: &Path,
        words: &'static str,
        more: &[&OsStr],
    ) -> Result<Vec<u8>, GitError> {
        self.call_within(CALL_MAX, dir, words, more).await
    }

    async fn call_within(
        &self,
        max: Duration,
        dir: &Path,
        words: &'static str,
        more: &[&OsStr],
    ) -> Result<Vec<u8>, GitError> {
        let mut command =
            process::command("git", self.env, self.lock).map_err(GitError::DoesNotStart)?;
        // A cache that another program keeps may be late; nothing here depends on one.
        command.args(["--no-pager", "-c", "core.fsmonitor=false", "-C"]).arg(dir);
        command.args(words.split(' ')).args(more).stdout(Stdio::piped()).stderr(Stdio::piped());
        let ran = match process::run(command, max).await {
            Ok(ran) => ran,
            Err(NotRun::TimedOut) => return Err(GitError::TimedOut { command: words, max }),
            Err(NotRun::TooMuch) => return Err(GitError::TooMuch { command: words }),
            Err(NotRun::DoesNotStart(error)) if error.kind() == io::ErrorKind::NotFound => {
                return Err(GitError::Missing);
            }
            Err(NotRun::DoesNotStart(error)) => return Err(GitError::DoesNotStart(error)),
        };
        if ran.status.success() {
            return Ok(ran.stdout);
        }
        let code = ran.status.code();
        Err(GitError::Failed { command: words, code, said: said(&ran.stderr, code) })
    }

    /// What the project's directory is. Only what may be otherwise at the next try is an error.
    pub(super) async fn probe(&self, dir: &Path) -> Result<Repo, GitError> {
        let words = "rev-parse --is-inside-work-tree --is-bare-repository --show-prefix";
        let answer = match self.call(dir, words, &[]).await {
            Ok(answer) => answer,
            Err(GitError::Missing) => return Ok(Repo::unfit("git is not installed on this host")),
            Err(error) if error.is_no_repository() => {
                return Ok(Repo::unfit("it is no git repository"));
            }
            // What git says no to with this code, it says no to every time.
            Err(GitError::Failed { said, code: Some(128), .. }) => {
                return Ok(Repo::Unfit(format!("git does not take its repository ({said})")));
            }
            Err(error) => return Err(error),
        };
        match parse_probe(&answer) {
            Ok(inside) => self.probe_commit(dir, inside).await,
            Err(why) => Ok(Repo::unfit(why)),
        }
    }

    async fn probe_commit(&self, dir: &Path, inside: String) -> Result<Repo, GitError> {
        let Some(head) = self.commit(dir, "HEAD").await? else {
            return Ok(Repo::unfit("nothing is committed there yet"));
        };
        if !inside.is_empty() {
            let tree = format!("{head}:{inside}");
            match self.call(dir, "cat-file -e", &[tree.as_ref()]).await {
                Ok(_) => {}
                Err(GitError::Failed { code: Some(_), .. }) => {
                    return Ok(Repo::unfit("git has no files of it"));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Repo::Usable { head, inside })
    }

    /// The commit that a name stands for, if it stands for one.
    pub(super) async fn commit(&self, dir: &Path, name: &str) -> Result<Option<String>, GitError> {
        let commit = format!("{name}^{{commit}}");
        match self.call(dir, "rev-parse --quiet --verify", &[commit.as_ref()]).await {
            Ok(answer) => Ok(Some(String::from_utf8_lossy(&answer).trim().to_owned())),
            Err(GitError::Failed { code: Some(1), .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The commit of a branch, if there is the branch.
    pub(super) async fn tip(&self, dir: &Path, branch: &str) -> Result<Option<String>, GitError> {
        self.commit(dir, &format!("refs/heads/{branch}")).await
    }

    /// Whether git passes over a path in the project, should it lie there.
    pub(super) async fn ignores(&self, dir: &Path, path: &Path) -> Result<bool, GitError> {
        match self.call(dir, "check-ignore --quiet --", &[path.as_os_str()]).await {
            Ok(_) => Ok(true),
            Err(GitError::Failed { code: Some(1), .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The root of the working tree.
    pub(super) async fn toplevel(&self, dir: &Path) -> Result<PathBuf, GitError> {
        let answer = self.call(dir, "rev-parse --show-toplevel", &[]).await?;
        let answer = answer.strip_suffix(b"\n").unwrap_or(&answer);
        Ok(PathBuf::from(OsStr::from_bytes(answer)))
    }

    /// Lists the worktrees of a repository.
    pub(super) async fn known(&self, dir: &Path) -> Result<Vec<Known>, GitError> {
        Ok(parse_known(&self.call(dir, "worktree list --porcelain", &[]).await?))
    }

    /// Ties a new directory to a branch, without files. The branch is made where `from` is given.
    pub(super) async fn add(
        &self,
        dir: &Path,
        path: &Path,
        branch: &str,
        from: Option<&str>,
    ) -> Result<(), GitError> {
        let (path, branch) = (path.as_os_str(), OsStr::new(branch));
        let (words, more) = match from {
            Some(from) => (
                "worktree add --quiet --no-checkout --no-track -b",
                vec![branch, "--".as_ref(), path, from.as_ref()],
            ),
            None => ("worktree add --quiet --no-checkout --", vec![path, branch]),
        };
        self.call(dir, words, &more).await.map(drop)
    }

    /// Makes a worktree's files what its commit says: the second half of `git worktree add`, without
    /// the project's hooks. What lay there is overwritten.
    pub(super) async fn fill(&self, path: &Path, max: Duration) -> Result<(), GitError> {
        let words = "reset --quiet --hard --no-recurse-submodules";
        self.call_within(max, path, words, &[]).await.map(drop)
    }

    /// Makes the repository know where a worktree lies, after either was moved.
    pub(super) async fn repair(&self, dir: &Path, path: &Path) -> Result<(), GitError> {
        self.call(dir, "worktree repair --", &[path.as_os_str()]).await.map(drop)
    }

    /// Removes a worktree with all that is in it; its directory may be gone already.
    pub(super) async fn remove(&self, dir: &Path, path: &Path) -> Result<(), GitError> {
        let words = "worktree remove --force --force --";
        self.call(dir, words, &[path.as_os_str()]).await.map(drop)
    }

    /// Deletes a branch that still is at this commit, with its settings.
    pub(super) async fn delete(&self, dir: &Path, branch: &str, tip: &str) -> Result<(), GitError> {
        let reference = format!("refs/heads/{branch}");
        self.call(dir, "update-ref -d", &[reference.as_ref(), tip.as_ref()]).await?;
        let section = format!("branch.{branch}");
        match self.call(dir, "config --local --remove-section", &[section.as_ref()]).await {
            // Most branches have none.
            Ok(_) | Err(GitError::Failed { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// What differs from the commit, ignored files left out: two letters, a space, a path.
    pub(super) async fn changes(&self, path: &Path) -> Result<Vec<Vec<u8>>, GitError> {
        let words = "status --porcelain=v1 -z --untracked-files=all --ignore-submodules=none \
                     --no-renames";
        Ok(records(&self.call(path, words, &[]).await?))
    }

    /// The files of the index: tag, space, mode, more, tab, path.
    pub(super) async fn index(&self, path: &Path) -> Result<Vec<Vec<u8>>, GitError> {
        Ok(records(&self.call(path, "ls-files -v -s -z", &[]).await?))
    }

    /// How many commits are reachable from `tips`, and from no other branch and no remote.
    pub(super) async fn own_commits(
        &self,
        dir: &Path,
        branch: &str,
        tips: &[String],
    ) -> Result<u32, GitError> {
        let exclude = format!("--exclude={branch}");
        let mut more: Vec<&OsStr> = tips.iter().map(OsStr::new).collect();
        more.extend(["--not", &exclude, "--branches", "--remotes"].map(OsStr::new));
        let words = "rev-list --count";
        let answer = self.call(dir, words, &more).await?;
        let answer = String::from_utf8_lossy(&answer).trim().to_owned();
        let said = format!("{answer:?} is no number");
        answer.parse().map_err(|_| GitError::Failed { command: words, code: Some(0), said })
    }
}

/// What git printed as an error, on one line.
fn said(stderr: &[u8], code: Option<i32>) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    // What it is about to do is of no interest once it failed.
    let lines = lines.filter(|line| !line.starts_with("Preparing worktree"));
    let text = lines.collect::<Vec<_>>().join(" ");
    match (text.strip_prefix("fatal: ").unwrap_or(&text), code) {
        ("", Some(code)) => format!("code {code}"),
        ("", None) => "it was killed".to_owned(),
        (text, _) => text.chars().take(600).collect(),
    }
}

fn records(bytes: &[u8]) -> Vec<Vec<u8>> {
    let records = bytes.split(|byte| *byte == 0).filter(|record| !record.is_empty());
    records.map(<[u8]>::to_vec).collect()
}

/// Reads whether a directory is in a working tree, whether the repository is bare, and where in it
/// the directory is; or says why no worktree can be made of it.
fn parse_probe(answer: &[u8]) -> Result<String, &'static str> {
    let text = str::from_utf8(answer).map_err(|_| "its path is not UTF-8")?;
    let mut lines = text.splitn(3, '\n');
    match (lines.next(), lines.next()) {
        (Some("true"), _) => {
            let inside = lines.next().unwrap_or_default().trim_end_matches('\n');
            Ok(inside.trim_end_matches('/').to_owned())
        }
        (_, Some("true")) => Err("its git repository is bare"),
        (Some(_) | None, _) => Err("git has no files there"),
    }
}

/// Reads `git worktree list --porcelain`.
fn parse_known(bytes: &[u8]) -> Vec<Known> {
    let mut known: Vec<Known> = Vec::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        if let Some(path) = line.strip_prefix(b"worktree ") {
            known.push(Known { path: OsStr::from_bytes(path).into(), branch: None });
        } else if let Some(name) = line.strip_prefix(b"branch refs/heads/")
            && let Some(last) = known.last_mut()
        {
            last.branch = Some(String::from_utf8_lossy(name).into_owned());
        }
    }
    known
}

/// What ties a worktree to its repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    /// What the repository keeps for this worktree alone.
    pub(super) admin: PathBuf,
    /// The repository.
    pub(super) common: PathBuf,
}

impl Link {
    /// Reads it from the files of both sides; `None`: they do not lead to each other.
    pub(super) fn read(path: &Path) -> Option<Self> {
        let ours = path.join(".git");
        let admin = follow(path, fs::read(&ours).ok()?.strip_prefix(b"gitdir: ")?);
        let back = follow(&admin, &fs::read(admin.join("gitdir")).ok()?);
        if fs::canonicalize(back).ok()? != fs::canonicalize(&ours).ok()? {
            return None;
        }
        let common = follow(&admin, &fs::read(admin.join("commondir")).ok()?);
        // Without its way through `admin`, which may go first.
        let common = fs::canonicalize(common).ok()?;
        admin.join("HEAD").is_file().then_some(Self { admin, common })
    }
}

fn follow(from: &Path, line: &[u8]) -> PathBuf {
    from.join(OsStr::from_bytes(line.trim_ascii_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_worktrees_is_read() {
        let text = b"worktree /a b\nHEAD 1\nbranch refs/heads/main\n\nworktree /c\nHEAD 2\n\
                     detached\nlocked initializing\n\nworktree /d\nbare\n";
        let known = |path: &str, branch: Option<&str>| Known {
            path: path.into(),
            branch: branch.map(str::to_owned),
        };
        assert_eq!(
            parse_known(text),
            [known("/a b", Some("main")), known("/c", None), known("/d", None)]
        );
    }

    #[test]
    fn what_a_directory_is_to_git_is_read() {
        assert_eq!(parse_probe(b"true\nfalse\n\n"), Ok(String::new()));
        assert_eq!(parse_probe("true\nfalse\na b/\u{fc}/\n".as_bytes()), Ok("a b/\u{fc}".into()));
        assert_eq!(parse_probe(b"false\ntrue\n\n"), Err("its git repository is bare"));
        assert_eq!(parse_probe(b"false\nfalse\n\n"), Err("git has no files there"));
        assert_eq!(parse_probe(b"true\nfalse\n\xff/\n"), Err("its path is not UTF-8"));
    }

    #[test]
    fn what_git_says_becomes_one_line() {
        let text = b"Preparing worktree (new branch 'a')\nfatal: no\n\n  such thing\n";
        assert_eq!(said(text, Some(128)), "no such thing");
        assert_eq!(said(b"", Some(3)), "code 3");
        assert_eq!(said(b"\n", None), "it was killed");
    }

    #[test]
    fn a_lock_of_another_git_is_told_from_a_name_that_is_taken() {
        let failed =
            |said: &str| GitError::Failed { command: "x", code: Some(128), said: said.into() };
        let locked = "cannot lock ref 'refs/heads/a': Unable to create '/r/a.lock': File exists.";
        assert!(failed(locked).is_contention());
        assert!(failed("failed to read .git/worktrees/1/commondir: Success").is_contention());
        let taken = "cannot lock ref 'refs/heads/a/b': 'refs/heads/a' exists; cannot create";
        assert!(!failed(taken).is_contention());
    }
}
