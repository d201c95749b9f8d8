//! What the services are told: values in, `gateway.toml` and `runner.toml` out.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::folder::Folder;

/// The files that the services read, and the runner's name in them.
#[derive(Clone, Debug)]
pub struct Configs {
    /// `gateway.toml`.
    pub gateway: PathBuf,
    /// `runner.toml`.
    pub runner: PathBuf,
    /// The runner's name.
    pub runner_name: String,
}

/// What is told to both services. Where NATS is and where they listen comes from their environment.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The runner's name.
    pub runner: String,
    /// How many runs it works on at once.
    pub slots: u16,
    /// How Discord is reached.
    pub discord: DiscordSettings,
    /// How claude is started.
    pub claude: ClaudeSettings,
    /// The projects.
    pub projects: Vec<ProjectSettings>,
    /// More of `gateway.toml`, above its first table.
    pub more_gateway: String,
    /// More of `runner.toml`, above its first table.
    pub more_runner: String,
}

/// How Discord is reached.
#[derive(Clone, Debug, Default)]
pub struct DiscordSettings {
    /// What answers for discord.com; `None`: discord.com.
    pub connect_to: Option<SocketAddr>,
    /// The certificate that is trusted beside the public ones.
    pub ca_file: Option<PathBuf>,
}

/// How claude is started.
#[derive(Clone, Debug)]
pub struct ClaudeSettings {
    /// The program.
    pub program: String,
    /// Variables of its own.
    pub env: BTreeMap<String, String>,
}

/// One project.
#[derive(Clone, Debug)]
pub struct ProjectSettings {
    /// Its name.
    pub name: String,
    /// Its channels.
    pub channels: Vec<String>,
    /// Who may use it, as TOML: `"everyone"` or a table.
    pub people: String,
    /// Where claude works.
    pub directory: PathBuf,
    /// What claude may use; `None`: the runner's default.
    pub tools: Option<Vec<String>>,
    /// More of its table in `runner.toml`.
    pub more_runner: String,
    /// Whether several runners serve it.
    pub shared: bool,
}

/// What both files say of a project that several runners serve.
const SHARED: &str = "shared = true";

impl Settings {
    /// Writes both files into the folder.
    ///
    /// # Errors
    ///
    /// When one cannot be written.
    pub fn write(&self, folder: &Folder) -> Result<Configs> {
        write(&folder.gateway_toml(), &self.gateway_toml())?;
        self.write_beside(folder, folder.gateway_toml())
    }

    /// Writes the runner's file alone, beside a `gateway.toml` of somebody's own.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn write_beside(&self, folder: &Folder, gateway: PathBuf) -> Result<Configs> {
        let runner = folder.runner_toml();
        write(&runner, &self.runner_toml(&folder.runner_state()))?;
        Ok(Configs { gateway, runner, runner_name: self.runner.clone() })
    }

    /// The text of `gateway.toml`.
    pub fn gateway_toml(&self) -> String {
        let mut lines = vec![self.more_gateway.clone(), "[discord]".to_owned()];
        if let Some(address) = self.discord.connect_to {
            lines.push(format!("connect_to = {}", quoted(&address.to_string())));
        }
        if let Some(file) = &self.discord.ca_file {
            lines.push(format!("ca_file = {}", path(file)));
        }
        for project in &self.projects {
            lines.push(format!("\n[projects.{}]", project.name));
            lines.push(format!("channels = {}", list(&project.channels)));
            lines.push(format!("allow = {}", project.people));
            if project.shared {
                lines.push(SHARED.to_owned());
            }
        }
        lines.join("\n")
    }

    /// The text of `runner.toml`.
    pub fn runner_toml(&self, state: &Path) -> String {
        let mut lines = vec![
            format!("name = {}", quoted(&self.runner)),
            format!("state_dir = {}", path(state)),
            format!("slots = {}", self.slots),
            self.more_runner.clone(),
            "[claude]".to_owned(),
            format!("program = {}", quoted(&self.claude.program)),
            "\n[claude.env]".to_owned(),
        ];
        for (name, value) in &self.claude.env {
            lines.push(format!("{} = {}", quoted(name), quoted(value)));
        }
        for project in &self.projects {
            lines.push(format!("\n[projects.{}]", project.name));
            lines.push(format!("directory = {}", path(&project.directory)));
            if let Some(tools) = &project.tools {
                lines.push(format!("allow = {}", list(tools)));
            }
            if project.shared {
                lines.push(SHARED.to_owned());
            }
            if !project.more_runner.is_empty() {
                lines.push(project.more_runner.clone());
            }
        }
        lines.join("\n")
    }
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

/// A text as TOML: JSON's quoting is a part of TOML's.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn path(path: &Path) -> String {
    quoted(&path.display().to_string())
}

fn list(texts: &[String]) -> String {
    serde_json::Value::from(texts).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_the_services_read() {
        let settings = Settings {
            runner: "host".into(),
            slots: 2,
            discord: DiscordSettings {
                connect_to: Some("127.0.0.1:1".parse().unwrap()),
                ca_file: Some("/f/ca.pem".into()),
            },
            claude: ClaudeSettings {
                program: "/bin/claude".into(),
                env: [("A".to_owned(), "say \"b\"".to_owned())].into(),
            },
            projects: vec![ProjectSettings {
                name: "app".into(),
                channels: vec!["7".into()],
                people: "\"everyone\"".into(),
                directory: "/src/app".into(),
                tools: Some(vec!["Read".into()]),
                more_runner: "worktree = false".into(),
                shared: false,
            }],
            more_gateway: String::new(),
            more_runner: "odd = 1".into(),
        };
        assert_eq!(
            settings.gateway_toml(),
            "\n[discord]\nconnect_to = \"127.0.0.1:1\"\nca_file = \"/f/ca.pem\"\n\n\
             [projects.app]\nchannels = [\"7\"]\nallow = \"everyone\""
        );
        assert_eq!(
            settings.runner_toml(Path::new("/f/state")),
            "name = \"host\"\nstate_dir = \"/f/state\"\nslots = 2\nodd = 1\n\
             [claude]\nprogram = \"/bin/claude\"\n\n[claude.env]\n\"A\" = \"say \\\"b\\\"\"\n\n\
             [projects.app]\ndirectory = \"/src/app\"\nallow = [\"Read\"]\n\
             worktree = false"
        );
    }
}
