//! `runner-svc install` and `uninstall`, by somebody with an empty home.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context as _, Result};
use harness::built;

use super::units;

/// Somebody's home, with a project in it.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Result<Self> {
        let home = tempfile::tempdir()?;
        fs::create_dir(home.path().join("app"))?;
        units::program(&home.path().join("bin/claude"), "#!/bin/sh\n")?;
        Ok(Self(home))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn config(&self) -> PathBuf {
        self.path(".config/holdfast/runner.toml")
    }

    fn unit(&self) -> PathBuf {
        self.path(".config/systemd/user/holdfast-runner.service")
    }

    /// Runs `runner-svc` with these words in this home.
    fn runs(&self, words: &[&str]) -> Result<Output> {
        let mut command = Command::new(built("runner-svc")?);
        let path = format!("{}:/usr/bin:/bin", self.path("bin").display());
        command.args(words).env_clear().env("HOME", self.0.path()).env("PATH", path);
        command.current_dir(self.0.path()).output().context("runner-svc does not start")
    }

    /// The same, which has to succeed. Returns what it says.
    fn does(&self, words: &[&str]) -> Result<String> {
        let output = self.runs(words)?;
        let why = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "{words:?}: {why}");
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Every file below the home that is not of its beginning.
    fn files(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.path(".config")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
                if is_dir { folders.push(entry.path()) } else { found.push(entry.path()) }
            }
        }
        found.sort();
        found
    }
}

fn mode(path: &Path) -> Result<u32> {
    Ok(fs::metadata(path)?.permissions().mode() & 0o777)
}

const INSTALL: [&str; 5] = ["install", "--project", "app=app", "--nats", "nats://nats.test:4222"];

#[test]
fn what_is_installed_is_what_systemd_and_the_runner_take() -> Result<()> {
    let home = Home::new()?;
    let said = home.does(&INSTALL)?;
    assert!(said.contains("systemctl --user enable --now holdfast-runner\n"), "{said}");
    assert!(said.contains("loginctl enable-linger"), "{said}");
    assert!(said.contains("gateway-svc provision --runner "), "{said}");
    assert_eq!((mode(&home.config())?, mode(&home.unit())?), (0o600, 0o644));
    units::is_clean(&["verify", "--man=no", "--user"], &home.unit())?;
    let config = fs::read_to_string(home.config())?;
    let app = home.path("app").canonicalize()?;
    for line in [
        "nats_url = \"nats://nats.test:4222\"".to_owned(),
        format!("program = \"{}\"", home.path("bin/claude").display()),
        format!("directory = \"{}\"", app.display()),
    ] {
        assert!(config.contains(&line), "{line} is not in {config}");
    }
    let doctor = home.runs(&["doctor"])?;
    let doctor = String::from_utf8(doctor.stdout)?;
    assert!(doctor.contains("project app: "), "the runner takes the configuration: {doctor}");
    Ok(())
}

#[test]
fn an_install_is_done_once_and_an_upgrade_leaves_the_configuration() -> Result<()> {
    let home = Home::new()?;
    let shown = home.does(&[&INSTALL[..], &["--dry-run"]].concat())?;
    assert!(shown.contains("\n  + directory = "), "it shows what it would write: {shown}");
    assert_eq!(home.files(), Vec::<PathBuf>::new(), "and writes nothing");
    home.does(&INSTALL)?;
    let files = home.files();
    assert_eq!(files, [home.config(), home.unit()]);
    let before = fs::metadata(home.unit())?.modified()?;
    let said = home.does(&INSTALL)?;
    assert_eq!(said.matches("as it is").count(), 2, "{said}");
    assert_eq!(fs::metadata(home.unit())?.modified()?, before, "nothing was written again");
    let config = fs::read_to_string(home.config())?;
    fs::write(home.config(), format!("{config}slots = 1\n"))?;
    let said = home.does(&["install"])?;
    assert!(said.contains("as it is") && !said.contains("runner.toml\n"), "{said}");
    Ok(())
}

#[test]
fn what_somebody_has_changed_is_kept_and_shown() -> Result<()> {
    let home = Home::new()?;
    home.does(&INSTALL)?;
    let unit = fs::read_to_string(home.unit())?;
    let theirs = format!("{unit}# mine\n");
    fs::write(home.unit(), &theirs)?;
    fs::remove_file(home.config())?;
    let refused = home.runs(&INSTALL)?;
    assert!(!refused.status.success());
    let said = String::from_utf8(refused.stdout)?;
    assert!(said.contains("KEPT") && said.contains("  - # mine\n"), "{said}");
    assert_eq!(fs::read_to_string(home.unit())?, theirs);
    assert!(!home.config().exists(), "all or nothing");
    home.does(&[&INSTALL[..], &["--force"]].concat())?;
    assert_eq!(fs::read_to_string(home.unit())?, unit);
    Ok(())
}

#[test]
fn a_wrong_word_writes_nothing() -> Result<()> {
    let home = Home::new()?;
    for wrong in [
        &["install"][..],
        &["install", "--project", "app"],
        &["install", "--project", "app=nowhere"],
        &["install", "--project", "app=app", "--nats", "http://nats.test"],
        &["install", "--system", "--project", "app=app"],
    ] {
        let output = home.runs(wrong)?;
        assert!(!output.status.success(), "{wrong:?} was taken");
        assert!(!output.stderr.is_empty(), "{wrong:?} is refused without a word");
        assert_eq!(home.files(), Vec::<PathBuf>::new(), "{wrong:?}");
    }
    Ok(())
}

#[test]
fn uninstall_takes_away_what_install_wrote_and_nothing_else() -> Result<()> {
    let home = Home::new()?;
    let beside = home.path(".config/holdfast/runner.env");
    home.does(&INSTALL)?;
    fs::write(&beside, "A=b\n")?;
    let wants = home.path(".config/systemd/user/default.target.wants");
    fs::create_dir_all(&wants)?;
    let link = wants.join("holdfast-runner.service");
    std::os::unix::fs::symlink(home.unit(), &link)?;
    let refused = home.runs(&["uninstall"])?;
    let why = String::from_utf8(refused.stderr)?;
    assert!(why.contains("systemctl --user disable --now holdfast-runner"), "{why}");
    fs::remove_file(&link)?;
    home.does(&["uninstall", "--dry-run"])?;
    assert!(home.unit().exists() && home.config().exists());
    home.does(&["uninstall"])?;
    assert_eq!(home.files(), std::slice::from_ref(&beside));
    home.does(&INSTALL)?;
    let config = fs::read_to_string(home.config())?;
    fs::write(home.config(), format!("{config}slots = 1\n"))?;
    let said = home.does(&["uninstall"])?;
    assert!(said.contains("KEPT"), "{said}");
    assert_eq!(home.files(), [beside, home.config()]);
    home.does(&["uninstall"])?;
    Ok(())
}
