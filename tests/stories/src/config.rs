//! Mistakes in a configuration: exit code 64 and all of them at once, before any port is bound.

use std::fs;
use std::net::TcpListener;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

/// The exit code of a service whose configuration is wrong.
const EXIT_CONFIG: i32 = 64;

/// What a service says to this configuration, and its exit code. A port that it would listen on is
/// taken: if it came to bind one, it would say so.
fn served_with(service: &str, text: &str) -> Result<(Option<i32>, String)> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("service.toml");
    let taken = TcpListener::bind("127.0.0.1:0")?;
    fs::write(&file, format!("http_listen = \"{}\"\n{text}", taken.local_addr()?))?;
    let mut command = Command::new(harness::built(service)?);
    command.arg("--config").arg(&file).arg("serve").stdin(Stdio::null());
    command.env_clear().env("HOME", folder.path()).env("DISCORD_TOKEN", "t");
    let output = command.output().context("it does not start")?;
    Ok((output.status.code(), String::from_utf8(output.stderr)?))
}

fn tells(service: &str, text: &str, problems: &[&str]) -> Result<()> {
    let (code, said) = served_with(service, text)?;
    assert_eq!(code, Some(EXIT_CONFIG), "{said}");
    for problem in problems {
        assert!(said.contains(problem), "{problem:?} is not in\n{said}");
    }
    assert!(!said.contains("listen on"), "a port was bound:\n{said}");
    Ok(())
}

#[test]
fn the_gateway_tells_all_mistakes_at_once() -> Result<()> {
    let text = "nats_url = \"nowhere\"\n\
                database_url = \"mysql://x\"\n\
                [discord]\nconnect_to = \"here\"\nca_file = \"missing.pem\"\n\
                [projects.Shop]\nchannels = [\"one\"]\nallow = \"nobody\"\n\
                [projects.api]\nchannels = []\n";
    let problems = [
        "nats_url: ",
        "database_url: ",
        "discord.connect_to: ",
        "projects.Shop: ",
        "projects.Shop.channels: ",
        "projects.Shop.allow: ",
        "projects.api.channels: ",
        "projects.api.allow: ",
    ];
    tells("gateway-svc", text, &problems)
}

#[test]
fn the_runner_tells_all_mistakes_at_once() -> Result<()> {
    let text = "name = \"No.1\"\nslots = 0\nstate_dir = \"here\"\nnats_url = \"nowhere\"\n\
                [claude]\nprogram = \"\"\n\
                [projects.Shop]\ndirectory = \"src\"\nallow = [\"\"]\n";
    let problems = [
        "name: ",
        "slots: ",
        "state_dir: ",
        "nats_url: ",
        "claude.program: ",
        "projects.Shop: ",
        "projects.Shop.directory: ",
        "projects.Shop.allow: ",
    ];
    tells("runner-svc", text, &problems)
}

#[test]
fn an_unknown_key_is_told_with_its_line() -> Result<()> {
    for service in ["gateway-svc", "runner-svc"] {
        tells(service, "slotz = 3\n", &["line 2", "slotz"])?;
    }
    Ok(())
}

#[test]
fn a_wrong_type_is_told_with_its_line() -> Result<()> {
    for service in ["gateway-svc", "runner-svc"] {
        tells(service, "nats_url = 4222\n", &["line 2", "nats_url"])?;
    }
    Ok(())
}

#[test]
fn an_authority_of_the_collector_that_cannot_be_read_is_told() -> Result<()> {
    for service in ["gateway-svc", "runner-svc"] {
        let text = "[telemetry]\notlp_ca_file = \"none.pem\"\n";
        tells(service, text, &["telemetry.otlp_ca_file: cannot read ", "none.pem"])?;
    }
    Ok(())
}

#[test]
fn a_project_that_does_not_say_who_may_use_it_is_not_served() -> Result<()> {
    let text = "[projects.app]\nchannels = [\"7\"]\n";
    tells("gateway-svc", text, &["projects.app.allow: say who may use the project"])
}

#[test]
fn a_missing_file_is_named() -> Result<()> {
    for service in ["gateway-svc", "runner-svc"] {
        let mut command = Command::new(harness::built(service)?);
        command.args(["--config", "/nonexistent/holdfast.toml", "serve"]);
        let output = command.output()?;
        assert_eq!(output.status.code(), Some(EXIT_CONFIG));
        assert!(String::from_utf8(output.stderr)?.contains("/nonexistent/holdfast.toml"));
    }
    Ok(())
}
