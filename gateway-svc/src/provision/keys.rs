//! `provision --out DIR`: a key for the admin, the gateway and each runner, and what each may do, as a
//! file that nats-server includes.
//!
//! The directory remembers who there is (`keys.json`), so running it again keeps every key and adds
//! what is new; nothing is ever taken away. Each file is written beside its place, brought to disk and
//! renamed, a seed before the list that names its key; whoever is killed in between runs it again.
//!
//! It talks to no server. A seed is never printed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions, Permissions as Mode};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use nkeys::KeyPair;
use schemas::ids::{ProjectName, RunnerId};
use schemas::permissions::{self, ADMIN, GATEWAY, Grant, Permissions};
use serde::{Deserialize, Serialize};

use super::Joining;
use crate::crash;

/// Who has a key.
const KNOWN: &str = "keys.json";
/// What nats-server includes.
const USERS: &str = "users.conf";
/// Held while the directory is written, so that two of us never make two keys for one name.
const LOCK: &str = ".lock";

/// Who there is, and for which projects.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    projects: BTreeSet<ProjectName>,
    runners: BTreeMap<RunnerId, BTreeSet<ProjectName>>,
}

impl Known {
    /// With these as well. A runner that is named without projects keeps those it has, or gets all; with
    /// `all` it gets all in any case.
    fn with(mut self, projects: &[ProjectName], joining: &[Joining], all: bool) -> Self {
        self.projects.extend(projects.iter().cloned());
        for Joining { runner, projects } in joining {
            if let Some(projects) = projects {
                self.projects.extend(projects.iter().cloned());
            }
            let has = self.runners.get(runner);
            let gets = match (projects, has) {
                (Some(projects), has) => {
                    has.into_iter().flatten().chain(projects).cloned().collect()
                }
                (None, Some(has)) if all => has.union(&self.projects).cloned().collect(),
                (None, Some(has)) => has.clone(),
                (None, None) => self.projects.clone(),
            };
            self.runners.insert(runner.clone(), gets);
        }
        self
    }
}

/// Writes what is missing. Returns what a person is to do, a line each.
///
/// # Errors
///
/// When the directory cannot be read or written, or holds a seed that is none.
pub(crate) fn write(
    dir: &Path,
    url: &str,
    projects: &[ProjectName],
    joining: &[Joining],
    all: bool,
) -> anyhow::Result<Vec<String>> {
    let at = || format!("cannot write keys into {}", dir.display());
    fs::create_dir_all(dir).with_context(at)?;
    fs::set_permissions(dir, Mode::from_mode(0o700)).with_context(at)?;
    let lock = File::create(dir.join(LOCK)).with_context(at)?;
    lock.lock().with_context(at)?;
    let known = read(&dir.join(KNOWN))?.with(projects, joining, all);
    let text = serde_json::to_string_pretty(&known).context("who has a key is no JSON")?;
    replace(dir, KNOWN, 0o600, &text).with_context(at)?;
    let everyone: Vec<_> = known.projects.iter().cloned().collect();
    let mut users = String::from(HEAD);
    let key = |user: &str| seed(dir, user).map(|pair| pair.public_key());
    users += &user(ADMIN, &key(ADMIN)?, None);
    users += &user(GATEWAY, &key(GATEWAY)?, Some(&permissions::gateway(&everyone)));
    for (runner, projects) in &known.runners {
        let projects: Vec<_> = projects.iter().cloned().collect();
        let name = permissions::runner_user(runner);
        let may = permissions::runner(runner, &projects);
        users += &user(&name, &key(&name)?, Some(&may));
    }
    users += "  ]\n}\n";
    replace(dir, USERS, 0o644, &users).with_context(at)?;
    Ok(said(dir, url, joining))
}

const HEAD: &str = "# Who may do what. Written by `gateway-svc provision --out`; include it in the \
                    configuration of nats-server\n# (`include users.conf`), and reload the server when \
                    it changed. It holds no secret.\nauthorization {\n  users = [\n";

/// One user, as nats-server reads it; without permissions it may do everything.
fn user(name: &str, key: &str, may: Option<&Permissions>) -> String {
    let Some(may) = may else { return format!("    # {name}\n    {{ nkey: {key} }}\n") };
    let mut text = format!("    # {name}\n    {{\n      nkey: {key}\n      permissions {{\n");
    for (verb, grants) in [("publish", &may.publish), ("subscribe", &may.subscribe)] {
        writeln!(text, "        {verb} {{ allow: [").expect("a text takes more");
        for Grant { subject, why } in grants {
            writeln!(text, "          # {why}\n          {subject:?}").expect("a text takes more");
        }
        text += "        ] }\n";
    }
    text + "      }\n    }\n"
}

/// What is to be done now.
fn said(dir: &Path, url: &str, joining: &[Joining]) -> Vec<String> {
    let file = |name: &str| dir.join(name).display().to_string();
    let mut said = vec![
        format!("nats-server: include {:?}, then reload it", file(USERS)),
        format!("provision:   NATS_NKEY_FILE={}", file(&seed_file(ADMIN))),
        format!("gateway:     nats_nkey_file = {:?}", file(&seed_file(GATEWAY))),
    ];
    for Joining { runner, .. } in joining {
        let seed = seed_file(&permissions::runner_user(runner));
        said.push(format!(
            "runner {runner}: copy {} to its host (mode 600), and write there",
            file(&seed)
        ));
        said.push(format!("    name = \"{runner}\""));
        said.push(format!("    nats_url = {url:?}"));
        said.push(format!("    nats_nkey_file = {seed:?}"));
    }
    said
}

fn seed_file(user: &str) -> String {
    format!("{user}.nk")
}

/// The key of a user: the one that is there, or a new one.
fn seed(dir: &Path, user: &str) -> anyhow::Result<KeyPair> {
    let name = seed_file(user);
    let path = dir.join(&name);
    let at = || format!("the key {}", path.display());
    match fs::read_to_string(&path) {
        Ok(text) => KeyPair::from_seed(text.trim()).with_context(at),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let pair = KeyPair::new_user();
            let seed = pair.seed().with_context(at)?;
            replace(dir, &name, 0o600, &seed).with_context(at)?;
            Ok(pair)
        }
        Err(error) => Err(error).with_context(at),
    }
}

fn read(path: &Path) -> anyhow::Result<Known> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .with_context(|| format!("{} cannot be read", path.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Known::default()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Puts a text in a file's place, whole and on disk when it returns.
fn replace(dir: &Path, name: &str, mode: u32, text: &str) -> io::Result<()> {
    let fresh: PathBuf = dir.join(format!(".{name}.new"));
    // One that was left by a death may have another mode.
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&fresh)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    crash::point("keys.written");
    fs::rename(&fresh, dir.join(name))?;
    crash::point("keys.renamed");
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joining(text: &str) -> Joining {
        text.parse().unwrap()
    }

    fn write_for(dir: &Path, names: &[&str]) -> String {
        let joining: Vec<_> = names.iter().map(|name| joining(name)).collect();
        let projects = ["api".parse().unwrap()];
        let said = write(dir, "tls://n:4222", &projects, &joining, false).unwrap();
        assert!(!said.join("\n").contains("\nSU"), "a seed is never printed");
        fs::read_to_string(dir.join(USERS)).unwrap()
    }

    #[test]
    fn a_second_run_keeps_every_key_and_adds_what_is_new() {
        let dir = tempfile::tempdir().unwrap();
        let first = write_for(dir.path(), &["build-1=api"]);
        assert_eq!(write_for(dir.path(), &["build-1"]), first, "nothing new, nothing changed");
        let second = write_for(dir.path(), &["build-2=web"]);
        for key in first.lines().filter(|line| line.contains("nkey")) {
            assert!(second.contains(key), "{key} is lost");
        }
        assert_eq!(second.matches("nkey").count(), 4, "{second}");
        assert!(
            second.contains("$JS.API.STREAM.INFO.OBJ_FILES_web"),
            "the gateway reads its files"
        );
        let more = write_for(dir.path(), &["build-2=api"]);
        assert!(more.contains("$KV.RUNS.web.*.*"), "what it had it keeps");
    }

    #[test]
    fn a_seed_is_its_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        // What a death left behind is no key, whatever its mode.
        fs::write(dir.path().join(".admin.nk.new"), "half").unwrap();
        write_for(dir.path(), &["build-1=api"]);
        for name in ["admin.nk", "gateway.nk", "runner-build-1.nk"] {
            let mode = fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        let users = fs::read_to_string(dir.path().join(USERS)).unwrap();
        let seed = fs::read_to_string(dir.path().join("gateway.nk")).unwrap();
        assert!(!users.contains(seed.trim()));
    }

    #[test]
    fn a_runner_without_projects_gets_those_of_the_configuration_and_later_ones_if_told() {
        let dir = tempfile::tempdir().unwrap();
        let users = write_for(dir.path(), &["build-1"]);
        assert!(users.contains("$KV.RUNS.api.*.*"), "{users}");
        let more = ["api", "web"].map(|name| name.parse().unwrap());
        write(dir.path(), "tls://n:4222", &more, &[joining("build-1")], false).unwrap();
        let of = || {
            let known: Known = read(&dir.path().join(KNOWN)).unwrap();
            known.runners[&"build-1".parse().unwrap()].clone()
        };
        assert_eq!(of(), ["api".parse().unwrap()].into());
        write(dir.path(), "tls://n:4222", &more, &[joining("build-1")], true).unwrap();
        assert_eq!(of(), more.into());
    }
}
