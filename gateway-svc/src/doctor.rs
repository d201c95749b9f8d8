//! `gateway-svc doctor`: what the gateway needs, a line each. The same checks stand behind `/readyz`.
//!
//! It changes nothing in Discord or NATS and needs no running service; the store is opened as
//! `serve` opens it.

use platform::clock::{self, now_ms};
use platform::doctor::Finding;
use platform::nats::{self, Link};

use crate::bus::Bus;
use crate::config::Config;
use crate::discord::{self, Discord};
use crate::numbers::Numbers;
use crate::presence::outdated;
use crate::routes::Routes;
use crate::store::{Store, Troubled};

/// The most posts in trouble that are shown.
const SHOWN_MAX: i64 = 10;

/// Looks at everything, with connections of its own.
pub(crate) async fn examine(config: &Config) -> Vec<Finding> {
    let mut findings = match discord::open(&config.discord, &Numbers::default()) {
        Ok((discord, _)) => talk(&discord, &config.routes).await,
        Err(error) => vec![Finding::new("Discord", Err(chain(error)))],
    };
    let found = match nats::connect(&config.nats, "holdfast-doctor").await {
        Ok(link) => {
            findings.push(Finding::new("NATS", streams(&link).await));
            Some(link.clocks().await)
        }
        Err(error) => {
            findings.push(Finding::new("NATS", Err(chain(error))));
            None
        }
    };
    findings.extend(found.map(|found| Finding::new("clocks", found)));
    match Store::open(&config.database_url).await {
        Ok(store) => {
            findings.push(Finding::new("store", kept(&store).await));
            findings.push(Finding::new("clocks", clock_of(&store).await));
            findings.push(Finding::new("runners", runners(&store).await));
            // A thread that waits for a right keeps nobody else from work, so this is no matter of
            // readiness.
            findings.push(Finding::new("posts", posts(&store).await));
        }
        Err(error) => findings.push(Finding::new("store", Err(chain(error)))),
    }
    findings
}

/// Looks at everything that a gateway at work uses.
pub(crate) async fn examine_at_work(
    discord: &Discord,
    routes: &Routes,
    link: &Link,
    store: &Store,
) -> Vec<Finding> {
    let mut findings = talk(discord, routes).await;
    findings.push(Finding::new("NATS", streams(link).await));
    findings.push(Finding::new("clocks", link.clocks().await));
    findings.push(Finding::new("store", kept(store).await));
    findings.push(Finding::new("clocks", clock_of(store).await));
    findings
}

async fn talk(discord: &Discord, routes: &Routes) -> Vec<Finding> {
    let mut findings = vec![
        Finding::new("Discord", discord.examine_bot().await),
        Finding::new("clocks", discord.examine_clock().await),
    ];
    for (channel, project) in routes.channels() {
        let found = discord.examine_channel(channel).await;
        findings.push(Finding::new(format!("channel {channel} of {}", project.name), found));
    }
    findings
}

async fn streams(link: &Link) -> Result<String, String> {
    let problems = match Bus::problems(&link.context).await {
        Ok(problems) => problems,
        Err(error) => {
            return Err(Box::pin(link.trouble()).await.unwrap_or_else(|| format!("{error:#}")));
        }
    };
    if problems.is_empty() {
        return link.server();
    }
    Err(format!("run `gateway-svc provision`\n        {}", problems.join("\n        ")))
}

async fn kept(store: &Store) -> Result<String, String> {
    store.answers().await.map(|()| "opens, tables up to date".to_owned()).map_err(chain)
}

async fn clock_of(store: &Store) -> Result<String, String> {
    let from_ms = now_ms();
    // Whether it answers at all is another check's business.
    match store.clock_ms().await.ok().flatten() {
        Some(said_ms) => clock::agree("PostgreSQL", (said_ms, said_ms), (from_ms, now_ms())),
        None => Ok("the store has none of its own".to_owned()),
    }
}

/// Which runners that are there are too old.
async fn runners(store: &Store) -> Result<String, String> {
    let sights = store.sights().await.map_err(chain)?;
    let there: Vec<_> = sights.iter().filter(|sight| sight.is_there(now_ms())).collect();
    let old: Vec<_> = there.iter().filter_map(|sight| outdated(&sight.presence)).collect();
    if old.is_empty() { Ok(format!("{} there", there.len())) } else { Err(old.join("; ")) }
}

/// What waits to be posted though it was tried, and what was given up.
async fn posts(store: &Store) -> Result<String, String> {
    let (waiting, ended) = store.troubled(SHOWN_MAX).await.map_err(chain)?;
    let line = |troubled: &Troubled| {
        let Troubled { row, tries, error, made_ms } = troubled;
        let minutes = (now_ms() - made_ms).max(0) / 60_000;
        let channel = row.action.channel();
        format!("{} in <#{channel}>, {minutes} min, tried {tries} times: {error}", row.name)
    };
    let lines =
        |troubled: &[Troubled]| troubled.iter().map(line).collect::<Vec<_>>().join("\n        ");
    let mut said = Vec::new();
    if !waiting.is_empty() {
        said.push(format!("these wait, and others behind them:\n        {}", lines(&waiting)));
    }
    if !ended.is_empty() {
        said.push(format!("given up of late:\n        {}", lines(&ended)));
    }
    let said = said.join("\n        ");
    match (waiting.is_empty(), said.is_empty()) {
        (true, true) => Ok("nothing waits".to_owned()),
        (true, false) => Ok(said),
        (false, _) => Err(said),
    }
}

fn chain(error: impl Into<anyhow::Error>) -> String {
    format!("{:#}", error.into())
}
