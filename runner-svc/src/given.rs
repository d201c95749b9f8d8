//! The files that go with an answer: what claude put into its outbox, and what of the place where it works
//! its answer names.
//!
//! An answer names a file by a link, `[chart](out/chart.png)`, or, where that is a picture or a PDF, in
//! backticks. What is taken is a regular file that really lies in the outbox or in claude's directory,
//! wherever links lead; nothing hidden, and nothing that is called as secrets are. A text goes without
//! secrets, as the answer does; any other file with one in it stays.
//!
//! Each file is copied before it is looked at, so that what was looked at is what goes, whatever claude
//! does meanwhile. It decides nothing about Discord.

use std::fs::{self, File as Handle, OpenOptions};
use std::io::{self, Read as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;
use rustix::fs::OFlags;
use schemas::carried::File;
use schemas::files::{GIVEN_BYTES_MAX, GIVEN_MAX, Kind, WITHHELD_MAX, Withheld, distinct_name};

use crate::bus::digest_of;
use crate::keeper::record::DIR_MODE;
use crate::redact::Redactor;

/// The most entries of an outbox that are looked at, folders included.
const ENTRIES_MAX: usize = 1000;
/// How deep in an outbox a file may lie.
const DEPTH_MAX: usize = 4;
/// The most names of an answer that are looked at.
const NAMES_MAX: usize = 100;

/// Where files are looked for, and what they are held against.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Places<'a> {
    /// The outbox.
    pub(crate) outbox: &'a Path,
    /// Where claude works.
    pub(crate) cwd: &'a Path,
    /// Where copies go.
    pub(crate) copies: &'a Path,
    /// What no secret gets past.
    pub(crate) redactor: &'a Redactor,
}

/// What goes with an answer.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Copies that are to go.
    pub(crate) files: Vec<Copied>,
    /// What is named and does not go.
    pub(crate) withheld: Vec<Withheld>,
}

/// A copy.
#[derive(Debug)]
pub(crate) struct Copied {
    /// What it is called.
    pub(crate) name: String,
    /// Where the copy lies.
    pub(crate) path: PathBuf,
    /// What is in it.
    pub(crate) file: File,
}

/// Who wants a file to go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// It was put into the outbox: if it does not go, that is said.
    Given,
    /// The answer names it, which may mean nothing.
    Named,
}

/// Finds and copies what goes with an answer.
///
/// # Errors
///
/// The copies cannot be written.
pub(crate) fn find(places: Places<'_>, answer: &str) -> io::Result<Found> {
    match fs::remove_dir_all(places.copies) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    fs::DirBuilder::new().recursive(true).mode(DIR_MODE).create(places.copies)?;
    let (mut found, mut seen) = (Found::default(), Vec::new());
    let mut given = Vec::new();
    list(places.outbox, DEPTH_MAX, &mut given);
    for path in given {
        found.take(places, &path, places.outbox, Wanted::Given, &mut seen)?;
    }
    for name in names(answer) {
        let path = places.cwd.join(name);
        found.take(places, &path, places.cwd, Wanted::Named, &mut seen)?;
    }
    Ok(found)
}

/// The files of a folder and of those in it, in the order of their names.
fn list(dir: &Path, depth: usize, all: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(dir).into_iter().flatten().flatten().collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        if ENTRIES_MAX <= all.len() {
            return;
        }
        let is_folder = entry.file_type().is_ok_and(|it| it.is_dir());
        if !is_folder {
            all.push(entry.path());
        } else if 0 < depth {
            list(&entry.path(), depth - 1, all);
        }
    }
}

impl Found {
    fn take(
        &mut self,
        places: Places<'_>,
        path: &Path,
        root: &Path,
        wanted: Wanted,
        seen: &mut Vec<PathBuf>,
    ) -> io::Result<()> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some((mut handle, real)) = open(path) else {
            self.withhold(&name, "cannot be read", wanted);
            return Ok(());
        };
        if seen.contains(&real) {
            return Ok(());
        }
        seen.push(real.clone());
        let inside = fs::canonicalize(root).ok();
        let inside = inside.as_deref().and_then(|root| real.strip_prefix(root).ok());
        let Some(inside) = inside else {
            self.withhold(&name, "is a link that leads elsewhere", wanted);
            return Ok(());
        };
        if is_secret(inside) || wanted == Wanted::Named && is_hidden(inside) {
            self.withhold(&name, "is called as files with secrets are", wanted);
            return Ok(());
        }
        let bytes = handle.metadata()?.len();
        match bytes {
            0 => self.withhold(&name, "is empty", wanted),
            _ if GIVEN_BYTES_MAX < bytes => {
                self.named(&name, &format!("is too large ({} MB)", bytes / 1_000_000));
            }
            _ if GIVEN_MAX <= self.files.len() => {
                self.named(&name, "is one too many");
            }
            _ => self.copy(places, &name, &mut handle, wanted)?,
        }
        Ok(())
    }

    /// Copies a file, if it may go.
    fn copy(
        &mut self,
        places: Places<'_>,
        name: &str,
        handle: &mut Handle,
        wanted: Wanted,
    ) -> io::Result<()> {
        let mut bytes = Vec::new();
        if handle.take(GIVEN_BYTES_MAX + 1).read_to_end(&mut bytes).is_err() {
            self.withhold(name, "cannot be read", wanted);
            return Ok(());
        }
        let Some(bytes) = without_secrets(places.redactor, bytes) else {
            self.named(name, "has something in it that looks like a secret");
            return Ok(());
        };
        let path = places.copies.join(self.files.len().to_string());
        fs::write(&path, &bytes)?;
        let size = bytes.len() as u64;
        if let Some(digest) = digest_of(&path, size)? {
            let others: Vec<&str> = self.files.iter().map(|it| &*it.name).collect();
            let name = distinct_name(name, &others);
            self.files.push(Copied { name, path, file: File { digest, bytes: size } });
        }
        Ok(())
    }

    /// Says why a file does not go, if somebody gave it.
    fn withhold(&mut self, name: &str, why: &str, wanted: Wanted) {
        match wanted {
            Wanted::Given => self.named(name, why),
            Wanted::Named => {}
        }
    }

    fn named(&mut self, name: &str, why: &str) {
        if self.withheld.len() < WITHHELD_MAX {
            self.withheld.push(Withheld::new(name, why));
        }
    }
}

/// Opens a regular file, and says where it really lies.
fn open(path: &Path) -> Option<(Handle, PathBuf)> {
    // A pipe must not keep us waiting.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let handle = OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
    if !handle.metadata().ok()?.is_file() {
        return None;
    }
    let real = fs::read_link(format!("/proc/self/fd/{}", handle.as_raw_fd())).ok()?;
    Some((handle, real))
}

/// A file without secrets; `None`: it has some, and is no text.
fn without_secrets(redactor: &Redactor, bytes: Vec<u8>) -> Option<Vec<u8>> {
    let text = if bytes.contains(&0) { None } else { str::from_utf8(&bytes).ok() };
    match text {
        Some(text) => Some(redactor.text(text).into_owned().into_bytes()),
        None => (!redactor.is_in(&bytes)).then_some(bytes),
    }
}

fn is_hidden(path: &Path) -> bool {
    path.components().any(|part| match part {
        Component::Normal(name) => name.to_string_lossy().starts_with('.'),
        Component::Prefix(_) | Component::RootDir | Component::CurDir | Component::ParentDir => {
            true
        }
    })
}

/// Whether a file, or a folder that it is in, is called as secrets usually are.
fn is_secret(path: &Path) -> bool {
    const FOLDERS: [&str; 6] = [".git", ".ssh", ".aws", ".gnupg", ".claude", ".docker"];
    const NAMES: [&str; 7] =
        [".netrc", ".npmrc", ".pypirc", ".pgpass", ".git-credentials", "credentials", "shadow"];
    const BEGINNINGS: [&str; 5] = [".env", "id_rsa", "id_ed25519", "id_ecdsa", "id_dsa"];
    const ENDINGS: [&str; 8] =
        [".pem", ".key", ".p12", ".pfx", ".jks", ".kdbx", ".keystore", ".nk"];
    path.components().any(|part| {
        let name = part.as_os_str().to_string_lossy().to_lowercase();
        FOLDERS.contains(&name.as_str())
            || NAMES.contains(&name.as_str())
            || BEGINNINGS.iter().any(|it| name.starts_with(it))
            || ENDINGS.iter().any(|it| name.ends_with(it))
    })
}

/// Links and images of Markdown: what stands in the round brackets.
static LINK: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\[[^\]\n]{0,500}\]\(\s*<?([^)\s<>]{1,500})>?[^)\n]{0,200}\)")
        .expect("it is constant")
});
/// What stands in backticks on one line.
static CODE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"`([^`\n]{1,500})`").expect("it is constant"));

/// The paths that an answer names.
fn names(answer: &str) -> Vec<&str> {
    let mut is_code = false;
    let mut all = Vec::new();
    for line in answer.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if !is_code {
            let links = LINK.captures_iter(line).filter_map(|it| path(it.get(1)?.as_str()));
            let code = CODE.captures_iter(line).filter_map(|it| path(it.get(1)?.as_str()));
            all.extend(links);
            all.extend(code.filter(|it| matches!(Kind::of(it, None), Kind::Image | Kind::Pdf)));
        }
        if NAMES_MAX <= all.len() {
            break;
        }
    }
    all.truncate(NAMES_MAX);
    all
}

/// What a link leads to, if that is a file of this host.
fn path(link: &str) -> Option<&str> {
    let path = link.strip_prefix("file://").unwrap_or(link);
    let is_address = path.contains("://") || path.starts_with("mailto:") || path.contains('#');
    (!is_address && !path.contains('\0')).then_some(path)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::fs::symlink;

    use super::*;

    struct Host {
        root: tempfile::TempDir,
        redactor: Redactor,
    }

    impl Host {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            for folder in ["out/deep", "work/sub", "work/.git", "work/.github"] {
                fs::create_dir_all(root.path().join(folder)).unwrap();
            }
            let env = [("MY_TOKEN".into(), "hunter2hunter2".into())].into();
            Self { root, redactor: Redactor::new(&env, &BTreeMap::new()) }
        }

        fn put(&self, path: &str, bytes: impl AsRef<[u8]>) {
            fs::write(self.root.path().join(path), bytes).unwrap();
        }

        fn find(&self, answer: &str) -> Found {
            let at = |name: &str| self.root.path().join(name);
            let (outbox, cwd, copies) = (at("out"), at("work"), at("copies"));
            let places =
                Places { outbox: &outbox, cwd: &cwd, copies: &copies, redactor: &self.redactor };
            find(places, answer).unwrap()
        }
    }

    fn files(found: &Found) -> Vec<(&str, String)> {
        let read = |it: &Copied| String::from_utf8_lossy(&fs::read(&it.path).unwrap()).into_owned();
        found.files.iter().map(|it| (it.name.as_str(), read(it))).collect()
    }

    fn why<'a>(found: &'a Found, name: &str) -> &'a str {
        let found = found.withheld.iter().find(|it| it.name == name);
        &found.unwrap_or_else(|| panic!("{name} is not named")).why
    }

    #[test]
    fn what_is_in_the_outbox_goes() {
        let host = Host::new();
        host.put("out/b.txt", "b");
        host.put("out/a.png", [0x89, 0xff]);
        host.put("out/deep/b.txt", "deep");
        let found = host.find("done");
        let names: Vec<_> = found.files.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["a.png", "b.txt", "b-2.txt"]);
        assert_eq!(files(&found)[2].1, "deep");
        assert!(found.withheld.is_empty());
    }

    #[test]
    fn a_file_that_the_answer_links_to_goes_and_one_that_it_only_speaks_of_does_not() {
        let host = Host::new();
        for name in ["chart.png", "a.rs", "sub/report.md", "b.pdf", "c.txt"] {
            host.put(&format!("work/{name}"), name);
        }
        let whole = host.root.path().join("work/c.txt");
        let answer = format!(
            "See ![it](chart.png) and [the report](sub/report.md \"title\"), `b.pdf`, not `a.rs` \
             nor [a line](a.rs#L3) nor [a page](https://example.org/x.png), but [c]({}).\n\
             ```\n[no](a.rs)\n```\n[gone](nothing.txt) [chart again](./chart.png)",
            whole.display()
        );
        let found = host.find(&answer);
        let names: Vec<_> = found.files.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["chart.png", "report.md", "c.txt", "b.pdf"]);
        assert!(found.withheld.is_empty(), "what is only named is not complained of");
    }

    #[test]
    fn nothing_outside_hidden_or_secret_goes() {
        let host = Host::new();
        host.put("outside.txt", "outside");
        host.put("work/.git/config", "x");
        host.put("work/.env", "x");
        host.put("work/.github/ci.yml", "x");
        host.put("work/server.pem", "x");
        symlink(host.root.path().join("outside.txt"), host.root.path().join("work/in.txt"))
            .unwrap();
        symlink(host.root.path(), host.root.path().join("work/up")).unwrap();
        let answer = "[a](../outside.txt) [b](in.txt) [c](.git/config) [d](.env) [e](up/outside.txt) \
                      [f](/etc/passwd) [g](.github/ci.yml) [h](server.pem) [i](sub)";
        let found = host.find(answer);
        assert!(found.files.is_empty() && found.withheld.is_empty(), "{found:?}");

        symlink("/etc/passwd", host.root.path().join("out/link.txt")).unwrap();
        host.put("out/.env.local", "x");
        host.put("out/empty.txt", "");
        let found = host.find("");
        assert!(found.files.is_empty(), "{found:?}");
        assert_eq!(why(&found, "link.txt"), "is a link that leads elsewhere");
        assert_eq!(why(&found, "env.local"), "is called as files with secrets are");
        assert_eq!(why(&found, "empty.txt"), "is empty");
    }

    #[test]
    fn a_link_that_stays_inside_is_followed() {
        let host = Host::new();
        host.put("work/sub/real.txt", "real");
        symlink("sub/real.txt", host.root.path().join("work/alias.txt")).unwrap();
        let found = host.find("[it](alias.txt) [again](sub/real.txt)");
        assert_eq!(files(&found), [("alias.txt", "real".to_owned())]);
    }

    #[test]
    fn a_text_goes_without_secrets_and_another_file_with_one_stays() {
        let host = Host::new();
        host.put("out/a.txt", "the token is hunter2hunter2.");
        host.put("out/b.bin", b"\xff\xfehunter2hunter2");
        let found = host.find("");
        assert_eq!(files(&found), [("a.txt", "the token is [redacted: MY_TOKEN].".to_owned())]);
        assert!(why(&found, "b.bin").contains("secret"));
    }

    #[test]
    fn what_is_too_large_or_too_many_is_named() {
        let host = Host::new();
        let large = Handle::create(host.root.path().join("out/0.bin")).unwrap();
        large.set_len(GIVEN_BYTES_MAX + 1).unwrap();
        for n in 1..=GIVEN_MAX + 1 {
            host.put(&format!("out/{n:02}.txt"), "x");
        }
        let found = host.find("");
        assert_eq!(found.files.len(), GIVEN_MAX);
        assert_eq!(why(&found, "0.bin"), "is too large (26 MB)");
        assert_eq!(why(&found, "11.txt"), "is one too many");
    }

    #[test]
    fn a_pipe_keeps_nobody_waiting() {
        let host = Host::new();
        let pipe = host.root.path().join("out/pipe");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        assert_eq!(why(&host.find(""), "pipe"), "cannot be read");
    }
}
