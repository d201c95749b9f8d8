//! Anthropic's messages API on loopback, scripted by the prompt.
//!
//! The real `claude` runs against it without an account and without the internet:
//! `ANTHROPIC_BASE_URL` = [`Sim::url`], `ANTHROPIC_API_KEY` = anything. What it answers stands in
//! the prompt itself, in the language of [`script`], which `claude-sim` speaks too: one prompt
//! makes both do the same.
//!
//! ```text
//! please look at the note            <- text outside of [[…]] is only text
//! [[say looking]]
//! [[tool Read {"file_path":"note.txt"}]]
//! [[wait go]]
//! [[say it says: {result}]]
//! ```
//!
//! How far a script has come is read from the request alone: so many tool calls stand after the
//! person's last words, so many `tool` steps are done. The server remembers nothing of a
//! conversation, and may be started anew in the middle of one.
//!
//! | file | kind | what |
//! |---|---|---|
//! | [`script`] | pure | text → steps |
//! | [`conversation`] | pure | what was said so far → what to do next, and what it costs |
//! | [`request`] | pure | the body of a request → a conversation |
//! | `sse.rs` | pure | acts → the frames of an answer |
//! | [`sim`], `server.rs` | adapter | the server, its log, its gates and its outages |
//!
//! It never invents an answer at random, never waits on its own account, and never talks to the
//! real API.

pub mod conversation;
pub mod request;
pub mod script;
#[cfg(feature = "server")]
mod server;
#[cfg(feature = "server")]
pub mod sim;
#[cfg(feature = "server")]
mod sse;

#[cfg(feature = "server")]
pub use sim::{Failure, Kind, Options, Request, Sim, StartError};
