//! `discord-sim`: the simulator on its own, to chat with a bot by hand.
//!
//! It prints where it listens and runs until Ctrl+C or SIGTERM. Whatever else a test needs, it
//! takes from the library.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Result};
use clap::Parser;
use discord_sim::{ChannelId, Options, Sim};
use tokio::signal::unix::{SignalKind, signal};

/// Discord's REST v10 and gateway on loopback, with a page to chat.
#[derive(Debug, Parser)]
struct Arguments {
    /// The bot's token
    #[arg(long, default_value = discord_sim::DEFAULT_TOKEN)]
    token: String,
    /// Text channels of the guild, each with a number of its own if it is to have one: general=7
    #[arg(long = "channel", value_name = "NAME[=ID]", default_value = "general")]
    channels: Vec<NewChannel>,
    /// People of the guild, each with roles if any: alice:dev,admin
    #[arg(long = "user", default_value = "alice")]
    users: Vec<String>,
    /// Keep state and certificates here; ca.pem in it is what a client must trust
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Where it listens. Whoever reaches the page is everybody there
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    listen: IpAddr,
    /// What the bot calls this machine, where it is another one
    #[arg(long)]
    host: Option<String>,
    /// Port of REST, 0 for a free one
    #[arg(long, default_value_t = 0)]
    rest_port: u16,
    /// Port of the gateway, 0 for a free one
    #[arg(long, default_value_t = 0)]
    gateway_port: u16,
    /// Port of the page, 0 for a free one
    #[arg(long, default_value_t = 0)]
    page_port: u16,
    /// Answer without rate limits
    #[arg(long)]
    no_rate_limits: bool,
    /// Hide the text of messages from the bot, as without the message content intent
    #[arg(long)]
    no_message_content: bool,
}

/// A channel as it is named on the command line.
#[derive(Clone, Debug)]
struct NewChannel {
    name: String,
    id: Option<ChannelId>,
}

impl FromStr for NewChannel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some((name, id)) = text.split_once('=') else {
            return Ok(Self { name: text.to_owned(), id: None });
        };
        let id = id.parse().map_err(|_| format!("{id:?} is no number of a channel"))?;
        Ok(Self { name: name.to_owned(), id: Some(id) })
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let options = Options {
        token: arguments.token,
        listen: arguments.listen,
        host: arguments.host,
        rest_port: arguments.rest_port,
        gateway_port: arguments.gateway_port,
        page_port: arguments.page_port,
        rate_limits: !arguments.no_rate_limits,
        message_content: !arguments.no_message_content,
        dir: arguments.dir,
        ..Options::default()
    };
    let sim = Sim::start(options).await?;
    let discord = sim.discord();
    for NewChannel { name, id } in &arguments.channels {
        match id {
            Some(id) => discord.channel_of(*id, name),
            None => drop(discord.channel(name)),
        }
    }
    for user in &arguments.users {
        let (name, roles) = user.split_once(':').unwrap_or((user, ""));
        let roles: Vec<_> = roles.split(',').filter(|it| !it.is_empty()).collect();
        discord.user_with_roles(name, &roles);
    }
    announce(&sim);
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => pressed.context("cannot listen for Ctrl+C")?,
        _ = terminate.recv() => {}
    }
    sim.stop().await
}

#[expect(clippy::print_stdout, reason = "whoever starts it must be told where it listens")]
fn announce(sim: &Sim) {
    println!("page     {}", sim.page_url);
    println!("rest     https://discord.com/ at {}", sim.rest_addr);
    println!("gateway  {}", sim.gateway_url);
    println!("guild    {}", sim.discord().guild_id());
}
