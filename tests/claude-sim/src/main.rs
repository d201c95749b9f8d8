//! `claude-sim`: a claude of exact timing.
//!
//! It takes the flags of `claude -p --input-format stream-json --output-format stream-json` and
//! prints what claude 2.1.330 was seen to print, line for line, for an answer, a tool, a denied
//! tool, an error of the API, an interruption and a resumed session. What it answers stands in
//! the prompt, in the language of `anthropic_sim::script`; the same prompt given to the real
//! claude on `anthropic-sim` makes the same events.
//!
//! | variable | what for |
//! |---|---|
//! | `CLAUDE_CONFIG_DIR`, else `HOME` | where sessions are kept, as the real one does |
//! | `CLAUDE_SIM_DIR` | `[[wait NAME]]` goes on when the file NAME is in this directory |
//! | `CLAUDE_SIM_LEDGER` | a file to which each process appends what it does (see `ledger.rs`) |
//! | `CLAUDE_SIM_LOGGED_OUT` | if set, every prompt is answered "Not logged in" |
//! | `CLAUDE_CODE_MAX_RETRIES` | how many `api_retry` lines an error of the API makes (10); they take no time |
//!
//! It waits for nothing but what the script says, and never talks to a network. A signal ends it
//! by its default action, where the real one exits with 143 on SIGTERM.

mod argv;
mod call;
mod claude;
mod clock;
mod events;
mod fault;
mod input;
mod ledger;
mod output;
mod permission;
mod session;
mod tools;
mod turn;

use std::io::Write as _;
use std::process::ExitCode;

/// The version that the real one had when this was compared with it.
const VERSION: &str = "2.1.330";

fn main() -> ExitCode {
    let started_ns = clock::boot_ns();
    let words: Vec<String> = std::env::args().skip(1).collect();
    let args = match argv::parse(&words) {
        Ok(argv::Command::Run(args)) => args,
        Ok(argv::Command::Version) => {
            // A reader that is gone does not want the version.
            let _ = writeln!(std::io::stdout(), "{VERSION} (Claude Code)");
            return ExitCode::SUCCESS;
        }
        Err(error) => return complain(&error.to_string()),
    };
    match claude::run(args, &words, started_ns) {
        Ok(code) => ExitCode::from(code),
        Err(error) => complain(&error.to_string()),
    }
}

/// Says on stderr why it ends; code 1, as for all that the real one complains of.
fn complain(message: &str) -> ExitCode {
    // Without a stderr the code must do.
    let _ = writeln!(std::io::stderr(), "{message}");
    ExitCode::FAILURE
}
