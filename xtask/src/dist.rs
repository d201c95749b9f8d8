//! `cargo xtask dist`: a release as an archive with its checksum, and a look whether it is one.
//!
//! The archive has both programs, the units, the examples and the documents. The same commit, built by
//! the same toolchain, gives the same bytes on any machine: paths of the machine are mapped away,
//! names are sorted, nobody owns a file, and its time is the commit's. tar, gzip and sha256sum of
//! GNU do the work.
//!
//! Never uploads anything.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::process::{self, output, run, say};
use crate::workspace::Workspace;

/// The programs.
const PROGRAMS: [&str; 2] = ["gateway-svc", "runner-svc"];
/// What else is in an archive, as git lists it.
const BESIDE: [&str; 5] = ["README.md", "LICENSE", "CHANGELOG.md", "docs", "deploy"];
/// What an archive without is none.
const NEEDED: [&str; 7] = [
    "LICENSE",
    "README.md",
    "docs/install.md",
    "deploy/gateway.example.toml",
    "deploy/runner.example.toml",
    "deploy/systemd/holdfast-gateway.service",
    "deploy/systemd/holdfast-runner.service",
];
/// The checksums of the archives beside it.
const SUMS: &str = "SHA256SUMS";
/// Cargo's name for what is built while working; its output lies elsewhere.
const DEV: &str = "dev";

/// Builds, packs and looks at what came of it.
///
/// # Errors
///
/// When a tool fails, or the archive is not what it should be.
pub(crate) fn dist(workspace: &Workspace, profile: &str) -> anyhow::Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    let name = format!("holdfast-{version}-{}", target_triple()?);
    let dir = workspace.target()?.join("dist");
    let programs = build(workspace, profile, &dir)?;
    let stage = dir.join("stage");
    let folder = stage.join(&name);
    if stage.exists() {
        fs::remove_dir_all(&stage).context("cannot empty the stage")?;
    }
    for program in PROGRAMS {
        copy(&programs.join(program), &folder.join("bin").join(program))?;
    }
    let mut listing = git(workspace);
    let listed = output(listing.args(["ls-files", "-z", "--"]).args(BESIDE))?;
    for path in listed.split_terminator('\0') {
        copy(&workspace.root().join(path), &folder.join(path))?;
    }
    let time = output(git(workspace).args(["log", "-1", "--format=%ct"]))?;
    let archive = pack(&stage, &name, time.trim(), &dir)?;
    let file = archive.file_name().context("an archive has a name")?.to_owned();
    let sum = output(Command::new("sha256sum").arg(&file).current_dir(&dir))?;
    fs::write(dir.join(SUMS), sum).context("cannot write the checksums")?;
    look(&dir, &name, version)?;
    let mib = fs::metadata(&archive)?.len() >> 20;
    say(&format!("{} ({mib} MiB), and {SUMS} beside it", archive.display()));
    Ok(())
}

/// Builds both programs, and returns where they are.
fn build(workspace: &Workspace, profile: &str, dir: &Path) -> anyhow::Result<PathBuf> {
    let mut cargo = workspace.cargo("build");
    cargo.args(["--locked", "--profile", profile]);
    cargo.args(PROGRAMS.iter().flat_map(|program| ["--package", program]));
    if profile == DEV {
        run(&mut cargo)?;
        return workspace.debug_output();
    }
    // Where this machine keeps the sources is nobody's business, and not the same on another. These
    // flags build everything anew, so it lies apart.
    let mut flags = OsString::from("--remap-path-prefix=");
    flags.push(workspace.root());
    flags.push("=holdfast --remap-path-prefix=");
    flags.push(cargo_home()?);
    flags.push("=cargo");
    run(cargo.env("RUSTFLAGS", flags).arg("--target-dir").arg(dir.join("build")))?;
    Ok(dir.join("build").join(profile))
}

/// Where cargo keeps the sources of dependencies.
fn cargo_home() -> anyhow::Result<PathBuf> {
    let default = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo"));
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from).or_else(default);
    home.context("neither CARGO_HOME nor HOME is set")
}

/// What is built for: this machine.
fn target_triple() -> anyhow::Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let said = output(Command::new(rustc).arg("-vV"))?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not say what it builds for")?.to_owned())
}

fn git(workspace: &Workspace) -> Command {
    let mut git = Command::new("git");
    git.current_dir(workspace.root());
    git
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    let dir = to.parent().context("a file lies in a folder")?;
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    fs::copy(from, to).with_context(|| format!("cannot copy {}", from.display()))?;
    Ok(())
}

/// Packs the folder `name` in `stage` into an archive in `dir`. `time`: in seconds since 1970.
fn pack(stage: &Path, name: &str, time: &str, dir: &Path) -> anyhow::Result<PathBuf> {
    let tar = dir.join(format!("{name}.tar"));
    let mut command = Command::new("tar");
    command.args(["--create", "--format=gnu", "--sort=name", "--numeric-owner"]);
    command.args(["--owner=0", "--group=0", "--mode=u=rwX,go=rX"]);
    command.arg(format!("--mtime=@{time}"));
    run(command.arg("--file").arg(&tar).arg("--directory").arg(stage).arg(name))?;
    // Neither its name nor the time of day.
    run(Command::new("gzip").args(["--no-name", "--best", "--force"]).arg(&tar))?;
    Ok(dir.join(format!("{name}.tar.gz")))
}

/// Unpacks the archive as a person would, and looks whether it has what it must.
fn look(dir: &Path, name: &str, version: &str) -> anyhow::Result<()> {
    run(Command::new("sha256sum").args(["--check", "--quiet", SUMS]).current_dir(dir))?;
    let looked = dir.join("look");
    if looked.exists() {
        fs::remove_dir_all(&looked).context("cannot empty the folder of the last look")?;
    }
    fs::create_dir_all(&looked)?;
    let archive = dir.join(format!("{name}.tar.gz"));
    run(Command::new("tar").arg("--extract").arg("--file").arg(archive).current_dir(&looked))?;
    let folder = looked.join(name);
    for needed in NEEDED {
        ensure!(folder.join(needed).is_file(), "{needed} is not in the archive");
    }
    for program in PROGRAMS {
        let said = process::version_line(&folder.join("bin").join(program), "--version");
        let wanted = format!("{program} {version}");
        ensure!(said.as_ref() == Some(&wanted), "{program} of the archive says {said:?}");
    }
    fs::remove_dir_all(&looked).context("cannot take the folder of the look away")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with two files of some age, in the other order.
    fn stage(dir: &Path, first: &str, second: &str) {
        fs::create_dir_all(dir.join("x/sub")).unwrap();
        for name in [first, second] {
            fs::write(dir.join("x").join(name), name).unwrap();
        }
    }

    #[test]
    fn the_same_files_make_the_same_archive() {
        let dir = std::env::temp_dir().join(format!("holdfast-dist-{}", std::process::id()));
        stage(&dir.join("one"), "a", "sub/b");
        stage(&dir.join("two"), "sub/b", "a");
        run(Command::new("touch").args(["--date=@1"]).arg(dir.join("two/x/a"))).unwrap();
        let packed = ["one", "two"].map(|stage| {
            let out = dir.join("out");
            fs::create_dir_all(&out).unwrap();
            fs::read(pack(&dir.join(stage), "x", "1000", &out).unwrap()).unwrap()
        });
        fs::remove_dir_all(&dir).unwrap();
        assert!(!packed[0].is_empty());
        assert!(packed[0] == packed[1], "the archives differ");
    }
}
