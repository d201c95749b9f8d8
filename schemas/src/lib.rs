//! The contract between gateway and runner: ids, streams, wire types and the life of a run.
//!
//! Whoever writes to NATS takes the name, the subject and the shape from here, and whoever reads
//! takes them from here too; [`run`] says which record may follow which. `docs/protocol.md` gives
//! the reasons.
//!
//! This crate does no I/O and knows neither tokio nor NATS nor SQL.

pub mod ask;
pub mod carried;
pub mod control;
pub mod files;
pub mod identity;
pub mod ids;
pub mod live;
pub mod names;
pub mod permissions;
pub mod presence;
pub mod record;
pub mod request;
pub mod rights;
pub mod run;
pub mod streams;
mod wire;

pub use wire::{WireError, from_json, to_json};

/// The JSON Schema of each wire type, by the name of its file.
///
/// `cargo xtask schemas` writes them to `schemas/json/`, where they are checked in.
#[cfg(feature = "schema")]
pub fn json_schemas() -> Vec<(&'static str, serde_json::Value)> {
    vec![
        ("request", schemars::schema_for!(request::Request).into()),
        ("record", schemars::schema_for!(record::Record).into()),
        ("control", schemars::schema_for!(control::Controls).into()),
        ("live", schemars::schema_for!(live::Live).into()),
        ("presence", schemars::schema_for!(presence::Presence).into()),
        ("identity", schemars::schema_for!(identity::Identity).into()),
        ("twin", schemars::schema_for!(identity::Twin).into()),
    ]
}
