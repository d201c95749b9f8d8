//! `anthropic-sim [ADDRESS]`: the simulator as a program, until Ctrl+C or SIGTERM.
//!
//! It prints where it listens, and nothing else.

use std::io::Write as _;
use std::net::SocketAddr;

use anthropic_sim::{Options, Sim};
use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut options = Options::default();
    if let Some(argument) = std::env::args().nth(1) {
        let wrong = || format!("{argument:?} is no address; usage: anthropic-sim [127.0.0.1:PORT]");
        options.listen = argument.parse::<SocketAddr>().with_context(wrong)?;
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let sim = Sim::start(options).await?;
    writeln!(std::io::stdout(), "anthropic-sim listens on {}", sim.url())?;
    tokio::select! {
        _ = terminate.recv() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    sim.stop().await;
    Ok(())
}
