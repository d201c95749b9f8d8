//! Who wakes whom inside the gateway. A signal is a hint: every loop also has a timer.

use std::sync::Arc;

use tokio::sync::Notify;

/// The signals. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Signals {
    /// A run was released, or can be published now: for the publisher.
    pub(crate) released: Arc<Notify>,
    /// A row is due: for the poster.
    pub(crate) due: Arc<Notify>,
}

impl Signals {
    /// Something was stored from which either may follow.
    pub(crate) fn stored(&self) {
        self.released.notify_one();
        self.due.notify_one();
    }
}
