//! `gateway-svc doctor`: what the gateway needs, a line each.
//!
//! It changes nothing in Discord or NATS and needs no running service; the store is opened as
//! `serve` opens it.

use platform::doctor::Finding;
use platform::nats;

use crate::bus::Bus;
use crate::config::Config;
use crate::discord;
use crate::store::Store;

/// Looks at everything.
pub(crate) async fn examine(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    match discord::open(&config.discord) {
        Ok((discord, _)) => {
            findings.push(Finding::new("Discord", discord.examine_bot().await));
            for (channel, project) in config.routes.channels() {
                let found = discord.examine_channel(channel).await;
                let what = format!("channel {channel} of {}", project.name);
                findings.push(Finding::new(what, found));
            }
        }
        Err(error) => findings.push(Finding::new("Discord", Err(chain(error)))),
    }
    findings.push(Finding::new("NATS", streams(config).await));
    let store = Store::open(&config.database_url).await;
    let found = store.map(|_| "opens, tables up to date".to_owned()).map_err(chain);
    findings.push(Finding::new("store", found));
    findings
}

async fn streams(config: &Config) -> Result<String, String> {
    let link = nats::connect(&config.nats_url, "holdfast-doctor").await.map_err(chain)?;
    let problems = Bus::problems(&link.context).await.map_err(|error| format!("{error:#}"))?;
    if problems.is_empty() {
        let version = link.client().server_info().version;
        return Ok(format!("{}, nats-server {version}", config.nats_url));
    }
    Err(format!("run `gateway-svc provision`\n        {}", problems.join("\n        ")))
}

fn chain(error: impl Into<anyhow::Error>) -> String {
    format!("{:#}", error.into())
}
