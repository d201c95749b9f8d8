//! `discord-sim`: the simulator on its own, to chat with a bot by hand.
//!
//! It prints where it listens and runs until Ctrl+C or SIGTERM. Whatever else a test needs, it
//! takes from the library.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;
use discord_sim::{Options, Sim};
use tokio::signal::unix::{SignalKind, signal};

/// Discord's REST v10 and gateway on loopback, with a page to chat.
#[derive(Debug, Parser)]
struct Arguments {
    /// The bot's token
    #[arg(long, default_value = discord_sim::DEFAULT_TOKEN)]
    token: String,
    /// Text channels of the guild
    #[arg(long = "channel", default_value = "general")]
    channels: Vec<String>,
    /// People of the guild, each with roles if any: alice:dev,admin
    #[arg(long = "user", default_value = "alice")]
    users: Vec<String>,
    /// Keep state and certificates here; ca.pem in it is what a client must trust
    #[arg(long)]
    dir: Option<PathBuf>,
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

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let options = Options {
        token: arguments.token,
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
    for name in &arguments.channels {
        discord.channel(name);
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
