//! What people and CI run: `cargo xtask up · chaos · test · mutants · bench · compose-test ·
//! screenshots · fetch · schemas · config-docs · docs-test · ci`.
//!
//! Each command is a file; this one reads the command line and tells what went wrong. Everything
//! is done by starting the tools that do it (cargo, pip, nextest, cargo-deny), so that this crate
//! compiles in seconds.
//!
//! It never holds logic of the product: what `up` does is in the harness, what is tested is in
//! the tests.

mod bench;
mod cargo_tool;
mod ci;
mod compose_test;
mod config_docs;
mod containers;
mod dist;
mod docs_test;
mod faults;
mod fetch;
mod mutants;
mod process;
mod schema_files;
mod servers;
mod system;
mod test;
mod up;
mod version;
mod wheel;
mod workspace;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

/// Everything that is done with this repository beyond plain cargo.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

/// One thing to do.
#[derive(Subcommand)]
enum Task {
    /// Asks, kills runner, gateway and nats-server in turn, and shows the one answer
    Demo,
    /// Starts the whole system on this machine, until Ctrl+C.
    Up {
        /// The project that claude works in, instead of a sample.
        #[arg(long, value_name = "DIR")]
        project: Option<PathBuf>,
        /// Sends this one message, prints the answer as it stands in Discord, and ends.
        #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
        ask: Option<OsString>,
    },
    /// Breaks the whole system by a seed, and checks what people saw.
    Chaos {
        /// What messages and faults are drawn from.
        #[arg(long)]
        seed: u64,
        /// How long they come.
        #[arg(long, default_value_t = 5)]
        minutes: u64,
    },
    /// Runs all tests, with every server they need.
    Test {
        /// Writes what was measured into docs/faults.md.
        #[arg(long)]
        record: bool,
        /// Passed on to `cargo nextest run`, for example `-E 'test(resumes)'`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "NEXTEST")]
        args: Vec<OsString>,
    },
    /// Brings what tests and `up` need and cargo does not: nats-server, claude, tools.
    Fetch,
    /// Takes the pictures of docs/img anew, in the tests of the simulator's page.
    Screenshots,
    /// Writes the JSON Schemas of the wire types.
    Schemas {
        /// Changes nothing; fails when a file is not what the types say.
        #[arg(long)]
        check: bool,
    },
    /// Writes what the configuration's types say of its keys into docs/configuration.md.
    ConfigDocs {
        /// Changes nothing; fails when the page is not what the types say.
        #[arg(long)]
        check: bool,
    },
    /// Types what the documents tell to type, and looks that it does what they say.
    DocsTest,
    /// Measures a release build, beside what this machine can do at best; writes docs/bench.md.
    Bench {
        /// Takes a few samples and prints the page: to see that it works.
        #[arg(long)]
        quick: bool,
    },
    /// Builds both programs and packs them with what belongs to them, in target/dist.
    Dist {
        /// How they are built: `dev` is for a quick try.
        #[arg(long, default_value = "release")]
        profile: String,
    },
    /// Breaks each rule of the protocol in a copy, and shows that a test tells of it.
    Mutants {
        /// Those of these names; otherwise all of xtask/mutants.toml.
        names: Vec<String>,
    },
    /// Starts docker-compose.yml in a project of its own, asks, kills containers, and sees one answer.
    ComposeTest,
    /// Everything that a change must pass, cheapest first.
    Ci,
}

fn main() -> ExitCode {
    let task = Cli::parse().command;
    match run(task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            process::say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> anyhow::Result<()> {
    let workspace = Workspace::here();
    match task {
        Task::Up { project, ask } => up::up(&workspace, project, ask),
        Task::Demo => up::demo(&workspace),
        Task::Chaos { seed, minutes } => up::chaos(&workspace, seed, minutes),
        Task::Test { record, args } => test::test(&workspace, record, &args),
        Task::Fetch => fetch::fetch(&workspace, fetch::Purpose::Everything).map(drop),
        Task::Screenshots => test::screenshots(&workspace),
        Task::Schemas { check: true } => schema_files::check(&workspace),
        Task::Schemas { check: false } => schema_files::write(&workspace),
        Task::ConfigDocs { check: true } => config_docs::check(&workspace),
        Task::ConfigDocs { check: false } => config_docs::write(&workspace),
        Task::DocsTest => docs_test::docs_test(&workspace),
        Task::Bench { quick: false } => bench::bench(&workspace, bench::Extent::Full),
        Task::Bench { quick: true } => bench::bench(&workspace, bench::Extent::Quick),
        Task::Dist { profile } => dist::dist(&workspace, &profile),
        Task::Mutants { names } => mutants::mutants(&workspace, &names),
        Task::ComposeTest => compose_test::compose_test(&workspace),
        Task::Ci => ci::ci(&workspace),
    }
}
