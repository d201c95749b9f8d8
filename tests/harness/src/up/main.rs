//! `holdfast-up`: the whole system on one machine, until Ctrl+C; what `cargo xtask up` becomes.
//!
//! Without a token it is a Discord of its own with a page to chat in, and the pinned claude that talks
//! to a simulated Anthropic; with one it is the real Discord and the user's own claude. `--ask` asks
//! one question in a world of its own and prints the answer.
//!
//! It fetches nothing, builds nothing, and ends no claude: runs go on in tmux.

mod ask;
mod project;
mod real;
mod root;
mod running;
mod simulated;
mod state;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use harness::sweeper::{Reach, sweep};

/// The whole system on this machine, until Ctrl+C.
#[derive(Debug, Parser)]
#[command(name = "holdfast-up", args_conflicts_with_subcommands = true)]
struct Cli {
    /// The directory that claude works in; a small sample otherwise
    #[arg(long, value_name = "DIR")]
    project: Option<PathBuf>,
    /// Asks one question with everything simulated but claude, prints the answer, and ends
    #[arg(long, value_name = "TEXT")]
    ask: Option<String>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Ends what was started when whoever started it was killed; tells it on stdin.
    #[command(hide = true)]
    Sweep {
        folder: PathBuf,
        #[arg(long)]
        everything: bool,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(Command::Sweep { folder, everything }) = cli.command {
        let reach = if everything { Reach::Everything } else { Reach::Children };
        sweep(&folder, reach, std::io::stdin());
        return ExitCode::SUCCESS;
    }
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            say(&format!("holdfast-up: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        match cli.ask {
            Some(text) => ask::ask(&text, cli.project).await,
            None => running::up(cli.project).await,
        }
    })
}

/// Tells whoever waits how far it is. The answer alone goes to standard output.
fn say(line: &str) {
    // Nobody reads it, then.
    let _ = writeln!(std::io::stderr(), "{line}");
}
