//! The world of a story: real servers and services, Discord and Anthropic simulated, in one folder.
//!
//! ```no_run
//! # async fn story() -> anyhow::Result<()> {
//! let world = harness::World::start().await?;
//! let question = world.say("say hello")?;
//! question.is_seen().await?;
//! assert!(question.answer().await?.contains("hello"));
//! # Ok(())
//! # }
//! ```
//!
//! A [`World`] is a [`Stack`] (nats-server, gateway, runner: the built programs, started as a
//! person would start them) between two simulators, and the words that a story is told in. The
//! same parts make `holdfast-up`, `holdfast-demo` and `holdfast-bench`.
//!
//! | file | what |
//! |---|---|
//! | `world.rs`, `builder.rs`, `question.rs`, `waiting.rs`, `parts.rs`, `ledger.rs` | what a story says, sees and breaks |
//! | `reload.rs` | a configuration that is changed while its service runs |
//! | `dying.rs`, `jetstream.rs` | services that kill themselves at a point, and the streams as they are |
//! | `twin.rs`, `operator.rs`, `disk.rs` | a second runner of the same name; what an operator does to the bus; a small disk |
//! | `colleague.rs`, `proxy.rs` | a second runner that shares the project, and its network |
//! | `secured.rs`, `accounts.rs` | a bus with keys and TLS, and one with accounts and credentials |
//! | `cluster.rs` | a bus of three servers |
//! | `browser.rs` | a headless Chromium, to use the page of the simulated Discord as a person does |
//! | `ending.rs` | what a story must not leave behind |
//! | `notified.rs`, `cgroup.rs`, `systemd.rs` | what a service tells systemd; a cgroup as of a unit; the real systemd, where it is installed |
//! | `otlp.rs`, `rotel.rs` | a collector that keeps the traces, logs and figures of a story; one that is not of ours, and hands them on to it |
//! | `exposition.rs` | pages of `/metrics`, and what a collector is sent of them, read strictly |
//! | `measure.rs` | what happened and when, for the figures of `docs/faults.md` |
//! | `contained.rs` | nats-server and PostgreSQL in containers, where that is wanted |
//! | `postgres.rs`, `second_gateway.rs` | a store that several gateways share |
//! | `stack.rs`, `settings.rs`, `nats.rs` | the three servers, and the configuration written for them |
//! | `service.rs`, `sweeper.rs`, `processes.rs` | one child; who ends all children when we are killed; who is still there |
//! | `programs.rs`, `ports.rs`, `ready.rs`, `http.rs`, `project.rs`, `folder.rs` | where programs and files are, free ports, health pages, a project to work in |
//!
//! It depends on the built binaries and never on a service's library. It looks for no program
//! beyond those it is told of, talks to loopback alone, and writes only into its own folder.

mod accounts;
mod browser;
pub mod builder;
mod cgroup;
mod cluster;
mod colleague;
mod contained;
mod disk;
mod dying;
mod ending;
mod exposition;
mod folder;
pub mod http;
pub mod jetstream;
mod ledger;
mod measure;
mod nats;
mod notified;
mod operator;
pub mod otlp;
mod parts;
mod ports;
mod postgres;
pub mod processes;
pub mod programs;
pub mod project;
mod proxy;
mod question;
pub mod ready;
mod reload;
mod rotel;
mod second_gateway;
mod secured;
mod service;
mod settings;
mod stack;
pub mod sweeper;
mod systemd;
mod terminal;
mod twin;
mod waiting;
mod world;

pub use anthropic_sim::{self, Sim as Anthropic};
pub use browser::{Browser, Tab};
pub use builder::{Builder, Claude, Content, People};
pub use cgroup::Cgroup;
pub use colleague::{COLLEAGUE, Colleague, SCALED_ACK_WAIT};
pub use discord_sim::{self, Discord};
pub use disk::Disk;
pub use exposition::{Exposition, Sending};
pub use folder::Folder;
pub use ledger::{Ledger, Noted};
pub use nats::Nats;
pub use notified::Notified;
pub use operator::Stored;
pub use otlp::Otlp;
pub use parts::Part;
pub use ports::{free_port, is_free};
pub use postgres::Postgres;
pub use programs::{built, claude, nats_server, on_path};
pub use proxy::{Proxy, Way};
pub use question::{Question, is_footer, said};
pub use rotel::Rotel;
pub use second_gateway::SecondGateway;
pub use secured::{Certificate, Door, Try};
pub use service::{Environment, Plan, Service};
pub use settings::{ClaudeSettings, Configs, DiscordSettings, ProjectSettings, Settings};
pub use stack::{Environments, Ports, Stack};
pub use systemd::Systemd;
pub use terminal::Terminal;
pub use twin::{Twin, copy_folder};
pub use world::{PATIENCE, World};
