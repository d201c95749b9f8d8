//! The points at which the gateway can be told to die: one between any two durable steps.
//!
//! A list of names and nothing else; `platform::crash` does the dying. `tests/tidy.rs` holds the
//! list to the code, and each name to a story.

pub(crate) use platform::crash::point;

/// Every point, in the order in which a message passes them.
pub(crate) const POINTS: &[&str] = &[
    // Rule 1: a message is judged once.
    "read.mapped",
    "read.stored",
    "read.moved",
    "accept.heard",
    "accept.stored",
    "decline.stored",
    "order.stored",
    "order.told",
    "press.stored",
    "steer.stored",
    "queue.stored",
    "restart.stored",
    "diff.stored",
    "model.stored",
    "fork.stored",
    "resume.stored",
    // Rule 3: the files of a question go to FILES before it is published.
    "files.fetched",
    "files.put",
    "files.stored",
    // Rule 1: what was found too late is listed, decided about, and run; a time away is told.
    "missed.stored",
    "missed.listed",
    "missed.decided",
    "missed.run",
    "away.noted",
    "away.told",
    // Rule 12: what claude asks is shown, and decided once.
    "ask.folded",
    "ask.stored",
    "ask.sent",
    // Rule 2: a thread that was read is released.
    "gate.read",
    "gate.opened",
    // Rule 6: the first runner becomes the owner.
    "owner.stored",
    // Rule 14: what a run may do is decided once.
    "unsafe.wished",
    "unsafe.confirmed",
    "unsafe.ended",
    "publish.allowed",
    // Rule 3: what is released is published.
    "publish.placed",
    // Rule 6: a run is taken away from where it was put, or moved by command; a project is given.
    "unplace.written",
    "unplace.stored",
    "move.written",
    "move.stored",
    "give.written",
    "give.stored",
    "publish.read",
    "publish.sent",
    "publish.controlled",
    // Rule 7: a record is folded, then acknowledged.
    "feed.got",
    "feed.answer",
    "feed.noticed",
    "feed.folded",
    // Rule 10: a row is done once.
    "post.leased",
    "post.noted",
    "post.sent",
    "post.stored",
    "post.refused",
    "post.given_up",
    "post.gone",
    "park.told",
    "threadless.written",
    "threadless.stored",
    // A status message comes, and goes.
    "status.stored",
    "status.ended",
    // `provision --out`: each file of a set of keys.
    "keys.written",
    "keys.renamed",
    // Retention.
    "retention.expired",
    "retention.forgot",
];
