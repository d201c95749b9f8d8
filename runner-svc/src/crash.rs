//! The points at which the runner can be told to die: one between any two durable steps.
//!
//! A list of names and nothing else; `platform::crash` does the dying. `tests/tidy.rs` holds the
//! list to the code, and each name to a story. The keeper has none: its own tests kill it.

pub(crate) use platform::crash::point;

/// Every point, in the order in which a run passes them.
pub(crate) const POINTS: &[&str] = &[
    // Rule 4: a run is claimed, and claude started.
    "claim.fetched",
    "claim.noted",
    "claim.written",
    // Rule 6: what the conversation left elsewhere comes along.
    "carry.putting",
    "carry.put",
    "carry.fetched",
    "carry.placed",
    // Rule 8: what came with a question comes along, and an outbox is made.
    "files.begun",
    "spool.made",
    "claim.spooled",
    "claim.told",
    "claim.started",
    "follow.seen",
    "follow.running",
    // Rule 6: the record of a shared project's run is renewed, or another's run is taken over, or ours
    // was.
    "lease.renewed",
    "lease.told",
    "watch.ripe",
    "giveway.stopped",
    // Rule 5: what an earlier life left is adopted.
    "adopt.read",
    "adopt.rewritten",
    // Rule 9: claude died, and is started again.
    "again.died",
    "again.written",
    "again.swept",
    // Rule 12: claude is told to stop; what it asks is listed, and what was decided is told.
    "stop.told",
    "ask.seen",
    "ask.written",
    "ask.decided",
    "ask.told",
    // Rule 12: what is sent into a run reaches claude once.
    "steer.seen",
    "steer.told",
    // Rule 8: a run ends.
    "finish.seen",
    "finish.kept",
    "finish.copied",
    "finish.carried",
    "finish.bundled",
    "finish.given",
    "finish.filed",
    "finish.written",
    "finish.acked",
    "finish.ended",
    "finish.closed",
    "spool.hidden",
    "finish.swept",
];
