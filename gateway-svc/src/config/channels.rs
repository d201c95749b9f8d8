//! Channels and people that the environment names: `DISCORD_CHANNELS=123=my-app,456=other` and
//! `DISCORD_ALLOW=everyone`. With them a file that has no project will do, as in containers.
//!
//! A channel is added to its project, which is made where the file has no table for it. Who may use a
//! project is said by its own `allow` first. Nothing of the file is taken away.

use std::collections::BTreeMap;
use std::path::Path;

use platform::config::{self, ConfigError, Environment, Problems};
use schemas::ids::{ChannelId, ProjectName, RoleId, UserId};
use serde_json::{Value, json};

use super::{File, ProjectFile};

/// Channels, each with its project.
const CHANNELS: &str = "DISCORD_CHANNELS";
/// Who may use the projects that do not say so themselves.
const ALLOW: &str = "DISCORD_ALLOW";
const CHANNELS_RULE: &str =
    "must be like 123456789012345678=my-app, several with commas between them";
const ALLOW_RULE: &str = "must be everyone, or user:ID and role:ID with commas between them";

/// Reads the file, with what the environment names.
///
/// # Errors
///
/// When it cannot be read, or does not parse.
pub(super) fn read(
    path: &Path,
    env: &Environment,
    problems: &mut Problems,
) -> Result<File, ConfigError> {
    let mut file: File = config::read(path)?;
    add(&mut file.projects, env, problems);
    Ok(file)
}

/// Adds what the environment names to the projects of the file.
fn add(projects: &mut BTreeMap<String, ProjectFile>, env: &Environment, problems: &mut Problems) {
    let set = |name: &str| env.get(name).map_or("", |text| text.trim());
    let mut named = Vec::new();
    for word in words(set(CHANNELS)) {
        let Some((channel, project)) = problems.take(CHANNELS, mapped(word)) else { continue };
        let file = projects.entry(project.to_string()).or_default();
        if !file.channels.contains(&channel.to_string()) {
            file.channels.push(channel.to_string());
        }
        named.push(project);
    }
    let allow = match set(ALLOW) {
        "" => None,
        text => problems.take(ALLOW, people(text)),
    };
    for (name, file) in projects {
        if file.allow.is_none() {
            file.allow.clone_from(&allow);
        }
        let of_ours = named.iter().any(|project| project.as_str() == name);
        problems.check(file.allow.is_some() || !of_ours || !set(ALLOW).is_empty(), ALLOW, || {
            format!("{ALLOW_RULE}: nobody may use {name}, which {CHANNELS} names")
        });
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split([',', ' ', '\n']).map(str::trim).filter(|word| !word.is_empty())
}

/// One channel and its project.
fn mapped(word: &str) -> Result<(ChannelId, ProjectName), String> {
    let Some((channel, project)) = word.split_once('=') else {
        return Err(format!("{CHANNELS_RULE}, has {word:?}"));
    };
    let told = |error: schemas::ids::IdError| error.to_string();
    Ok((channel.trim().parse().map_err(told)?, project.trim().parse().map_err(told)?))
}

/// People as a project's table has them.
fn people(text: &str) -> Result<Value, String> {
    if text == "everyone" {
        return Ok(text.into());
    }
    let (mut users, mut roles) = (Vec::new(), Vec::new());
    for word in words(text) {
        let told = |error: schemas::ids::IdError| error.to_string();
        match word.split_once(':') {
            Some(("user", id)) => users.push(id.parse::<UserId>().map_err(told)?.to_string()),
            Some(("role", id)) => roles.push(id.parse::<RoleId>().map_err(told)?.to_string()),
            Some(_) | None => return Err(format!("{ALLOW_RULE}, has {word:?}")),
        }
    }
    Ok(json!({ "users": users, "roles": roles }))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::{Config, FILE, Names};
    use super::*;
    use crate::routes::Allow;

    fn load(file: &str, channels: &str, allow: &str) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        fs::write(&path, file).unwrap();
        Config::load(Some(path), &environment(channels, allow))
    }

    fn environment(channels: &str, allow: &str) -> Environment {
        let env =
            [("DISCORD_TOKEN", "t"), ("HOME", "/home/ada"), (CHANNELS, channels), (ALLOW, allow)];
        env.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }

    #[test]
    fn an_empty_file_and_a_map_are_a_configuration() {
        let config = load("", "7=my-app, 8=web,\n9=my-app", "user:5,role:6").unwrap();
        for (channel, project) in [("7", "my-app"), ("8", "web"), ("9", "my-app")] {
            let found = config.routes.project_of(channel.parse().unwrap()).unwrap();
            assert_eq!(found.name.as_str(), project);
            let Allow::Only { roles, users } = &found.allow else { panic!("{:?}", found.allow) };
            assert_eq!(*users, ["5".parse().unwrap()].into());
            assert_eq!(*roles, ["6".parse().unwrap()].into());
        }
    }

    #[test]
    fn a_project_of_the_file_gets_channels_and_keeps_what_it_says() {
        let file = "[projects.app]\nchannels = [\"7\"]\nallow = { users = [\"5\"] }\nshared = true";
        let config = load(file, "7=app 8=app", "everyone").unwrap();
        let project = config.routes.project(&"app".parse().unwrap()).unwrap();
        assert_eq!(project.channels.len(), 2, "7 is the same channel, not a second one");
        assert!(matches!(project.allow, Allow::Only { .. }));
    }

    #[test]
    fn a_bad_map_is_told_with_all_its_problems() {
        let error = load("", "seven=app,8,9=My-App,7=a,7=b", "alice").unwrap_err().to_string();
        for part in [
            "DISCORD_CHANNELS: \"seven\" is not a",
            "DISCORD_CHANNELS: must be like 123456789012345678=my-app, several with commas between \
             them, has \"8\"",
            "DISCORD_CHANNELS: \"My-App\" is not a",
            "DISCORD_ALLOW: must be everyone, or user:ID and role:ID with commas between them, has \
             \"alice\"",
            "7 is mapped twice",
        ] {
            assert!(error.contains(part), "{part:?} is not in\n{error}");
        }
    }

    #[test]
    fn who_may_use_it_has_to_be_said() {
        let error = load("", "7=app", "").unwrap_err().to_string();
        assert!(error.contains("nobody may use app, which DISCORD_CHANNELS names"), "{error}");
        // Before any key is made, too.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        fs::write(&path, "").unwrap();
        let names = Names::load(Some(path.clone()), &environment("7=app", ""));
        assert!(names.is_err());
        let names = Names::load(Some(path), &environment("7=app,8=web", "everyone")).unwrap();
        assert_eq!(names.projects.len(), 2);
    }
}
