//! The units of systemd as files: what `systemd-analyze` says of them.
//!
//! Where it is not installed these stories say so, and are told no further.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};
use harness::{built, on_path};

use super::say_without;

/// The most exposure that `systemd-analyze security` may find at the gateway, in tenths: what it calls OK
/// ends at 20. It starts no program, so there is no reason for more.
const GATEWAY_EXPOSED_MAX: &str = "--threshold=20";
/// The same at the runner as a service of the system, which claude and its tools live in: medium.
const RUNNER_EXPOSED_MAX: &str = "--threshold=60";

/// The text of a unit.
pub(super) fn text(name: &str) -> String {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    let file = repository.map(|root| root.join("deploy/systemd").join(name));
    file.and_then(|file| fs::read_to_string(file).ok()).unwrap_or_default()
}

/// What a unit says behind a name and `=`.
pub(super) fn setting(unit: &str, name: &str) -> String {
    let text = text(unit);
    let said = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    said.unwrap_or_default().to_owned()
}

/// A unit whose program is the one that was built.
pub(super) fn with_program(unit: &str, name: &str) -> Result<String> {
    let from = format!("/usr/local/bin/{name}");
    let text = text(unit);
    ensure!(text.contains(&from), "{unit} does not start {from}");
    Ok(text.replace(&from, &built(name)?.display().to_string()))
}

/// Writes a program.
pub(super) fn program(path: &Path, text: &str) -> Result<()> {
    let dir = path.parent().context("a program lies in a folder")?;
    fs::create_dir_all(dir)?;
    fs::write(path, text)?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o755))?)
}

/// `systemd-analyze` with these words about this unit; `None`: it is not installed.
pub(super) fn analyze(words: &[&str], unit: &Path) -> Result<Option<Output>> {
    let Some(program) = on_path("systemd-analyze") else {
        say_without("systemd-analyze is not installed, so nobody verifies the units");
        return Ok(None);
    };
    let folder = unit.parent().context("a unit lies in a folder")?;
    let mut command = Command::new(program);
    // With --user it wants a place for its own.
    command.args(words).arg(unit).current_dir(folder).env("XDG_RUNTIME_DIR", folder);
    Ok(Some(command.output().context("systemd-analyze does not start")?))
}

/// Asserts that systemd takes a unit, and has no remark about it.
pub(super) fn is_clean(words: &[&str], unit: &Path) -> Result<()> {
    if let Some(output) = analyze(words, unit)? {
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        ensure!(output.status.success() && said.is_empty(), "{}: {said}", unit.display());
    }
    Ok(())
}

/// The units as they would be installed, the template for the person who runs the tests.
fn installed(folder: &Path) -> Result<[PathBuf; 3]> {
    let place = |unit: &str, name: &str, program: &str| {
        let path = folder.join(name);
        // The user of the gateway is made by what installs it.
        let text = with_program(unit, program)?.replace("=holdfast\n", "=root\n");
        fs::write(&path, text.replace("StateDirectory=root", "StateDirectory=holdfast"))?;
        Ok::<_, anyhow::Error>(path)
    };
    Ok([
        place("holdfast-gateway.service", "holdfast-gateway.service", "gateway-svc")?,
        place("holdfast-runner@.service", "holdfast-runner@root.service", "runner-svc")?,
        place("holdfast-runner.service", "holdfast-runner.service", "runner-svc")?,
    ])
}

#[test]
fn systemd_takes_the_units_without_a_remark() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let [gateway, of_person, user] = installed(folder.path())?;
    is_clean(&["verify", "--man=no"], &gateway)?;
    is_clean(&["verify", "--man=no"], &of_person)?;
    is_clean(&["verify", "--man=no", "--user"], &user)?;
    // It would have something to say.
    fs::write(&user, format!("{}Odd=1\n", fs::read_to_string(&user)?))?;
    let refused = is_clean(&["verify", "--man=no", "--user"], &user).is_err();
    assert!(refused || on_path("systemd-analyze").is_none(), "an unknown key is no matter");
    Ok(())
}

#[test]
fn the_units_expose_no_more_than_they_have_a_reason_for() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let [gateway, of_person, _] = installed(folder.path())?;
    for (unit, max) in [(gateway, GATEWAY_EXPOSED_MAX), (of_person, RUNNER_EXPOSED_MAX)] {
        if let Some(output) = analyze(&["security", "--offline=true", "--no-pager", max], &unit)? {
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success(), "{}: {said}", unit.display());
        }
    }
    Ok(())
}
