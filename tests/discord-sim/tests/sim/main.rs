//! The simulator from outside: over TLS as a bot's requests come, over the websocket, over the
//! page, and from the side of a person.
//!
//! One binary, one file for each door. Every test starts its own simulator on free ports.

#![expect(
    clippy::unwrap_used,
    reason = "in a test, and in what helps it, an unwrap is an assertion"
)]

mod faults;
mod gateway;
mod interactions;
mod kept;
mod limits;
mod page;
mod rest;
mod support;
mod threads;
mod webhooks;
