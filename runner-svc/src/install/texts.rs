//! What is written and said at an install: units, configuration, the next commands. Pure.
//!
//! The units are those of `deploy/systemd`, with the program's own path; they are built in, so that
//! an upgrade of the program brings its own.

use std::path::{Path, PathBuf};

use anyhow::ensure;
use platform::nats::NATS_URL;
use schemas::ids::ProjectName;

use crate::config::name_of;

/// The unit of a person's service.
const USER: &str = include_str!("../../../deploy/systemd/holdfast-runner.service");
/// The unit of the system's services that run as a person.
const SYSTEM: &str = include_str!("../../../deploy/systemd/holdfast-runner@.service");
/// The program's path in both.
const PROGRAM: &str = "ExecStart=/usr/local/bin/runner-svc ";
/// The line of the first by which the service finds programs.
const PATH: &str = "Environment=PATH=%h/.local/bin:/usr/local/bin:/usr/bin:/bin\n";

/// A unit that starts `program`. A person's service finds what `path`, the PATH of the shell, finds.
///
/// # Errors
///
/// When systemd could not read the path of the program.
pub(super) fn unit(system: bool, program: &str, path: Option<&str>) -> anyhow::Result<String> {
    ensure!(
        !program.contains(|c: char| c.is_control()),
        "the path of this program has a line break in it"
    );
    let (text, path) = if system { (SYSTEM, None) } else { (USER, path) };
    let line = format!("ExecStart={} ", quoted(program).replace('$', "$$"));
    let text = replaced(text, PROGRAM, &line)?;
    match path.filter(|path| !path.is_empty() && !path.contains(|c: char| c.is_control())) {
        Some(path) => {
            let line = format!("Environment={}\n", quoted(&format!("PATH={path}")));
            replaced(&text, PATH, &line)
        }
        None => Ok(text),
    }
}

fn replaced(text: &str, from: &str, to: &str) -> anyhow::Result<String> {
    ensure!(text.contains(from), "the unit has no line {from:?}");
    Ok(text.replacen(from, to, 1))
}

/// A word of a unit: as it is where that is plain.
fn quoted(word: &str) -> String {
    let word = word.replace('\\', "\\\\").replace('%', "%%").replace('"', "\\\"");
    if word.contains([' ', '"', '\'', '\\', ';']) { format!("\"{word}\"") } else { word }
}

/// A configuration with these projects.
pub(super) fn config(
    host: &str,
    nats: Option<&str>,
    claude: Option<&Path>,
    projects: &[(ProjectName, PathBuf)],
) -> String {
    // JSON's quoting is a part of TOML's.
    let text = |value: &str| serde_json::Value::from(value).to_string();
    let path = |path: &Path| text(&path.display().to_string());
    let mut lines = vec![
        "# What else can be said here, and what it means: deploy/runner.example.toml.".to_owned(),
        format!("name = {}", text(&name_of(host))),
        format!("nats_url = {}", text(nats.unwrap_or(NATS_URL))),
        "\n[claude]".to_owned(),
        format!("program = {}", claude.map_or_else(|| text("claude"), path)),
    ];
    for (name, directory) in projects {
        lines.push(format!("\n[projects.{name}]"));
        lines.push(format!("directory = {}", path(directory)));
    }
    lines.push(String::new());
    lines.join("\n")
}

/// What is to be done next. `provision`: what lets this runner into NATS.
pub(super) fn next(system: bool, no_unit: bool, provision: Option<String>) -> String {
    let mut lines = vec!["\nNext:".to_owned()];
    if let Some(provision) = provision.filter(|_| !system) {
        lines.push(format!("  {provision}    # where the gateway is"));
        lines.push("  runner-svc doctor".to_owned());
    }
    if system {
        lines.push("  runner-svc install --no-unit --project NAME=DIR    # as that person".into());
        lines.push("  systemctl daemon-reload".to_owned());
        lines.push("  systemctl enable --now holdfast-runner@PERSON".to_owned());
    } else if !no_unit {
        lines.push("  systemctl --user daemon-reload".to_owned());
        lines.push("  systemctl --user enable --now holdfast-runner".to_owned());
        lines.push("  loginctl enable-linger    # it lives on when you log out".to_owned());
    }
    lines.push(String::new());
    lines.join("\n")
}

/// What ends the service and keeps it from being started again.
pub(super) fn disable(system: bool) -> &'static str {
    if system {
        "systemctl disable --now holdfast-runner@PERSON"
    } else {
        "systemctl --user disable --now holdfast-runner"
    }
}

/// What is to be known after an uninstall.
pub(super) fn after_uninstall(system: bool) -> &'static str {
    if system {
        "\nNext:\n  systemctl daemon-reload\n"
    } else {
        "\nWhat the runner keeps (its name, spools, worktrees) stays in its state directory.\n\
         Next:\n  systemctl --user daemon-reload\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_starts_this_program_and_finds_what_the_shell_finds() {
        let text = unit(false, "/opt/my apps/100%/runner-svc", Some("/a:/b c")).unwrap();
        assert!(text.contains("\nExecStart=\"/opt/my apps/100%%/runner-svc\" serve\n"), "{text}");
        assert!(text.contains("\nEnvironment=\"PATH=/a:/b c\"\n"), "{text}");
        assert!(!text.contains("/usr/local/bin"), "{text}");
        let text = unit(true, "/usr/bin/runner-svc", Some("/a")).unwrap();
        assert!(text.contains("\nExecStart=/usr/bin/runner-svc serve\n"), "{text}");
        assert!(
            text.contains("\nEnvironment=PATH=/usr/local/bin:"),
            "a person's PATH is not all's"
        );
        assert!(unit(false, "/a\nb", None).is_err());
    }

    #[test]
    fn a_configuration_is_one_that_the_runner_takes() {
        let projects = [("app".parse().unwrap(), PathBuf::from("/src/a \"b\""))];
        let text = config("Build-2.example.org", Some("tls://n:4222"), None, &projects);
        let env = [("HOME".to_owned(), "/home/ada".to_owned())].into();
        let config =
            crate::config::Config::parse(&text, Path::new("/r.toml"), &env, "other").unwrap();
        assert_eq!(config.name.as_str(), "build-2");
        let project = &config.projects[&"app".parse().unwrap()];
        assert_eq!(project.directory, Path::new("/src/a \"b\""));
    }
}
