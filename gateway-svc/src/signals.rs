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
    /// Files are to be brought: for whoever brings them.
    pub(crate) files: Arc<Notify>,
    /// It was stored that somebody listens: for whoever keeps how far the store is.
    pub(crate) heard: Arc<Notify>,
}

impl Signals {
    /// Something was stored from which any of it may follow.
    pub(crate) fn stored(&self) {
        self.files.notify_one();
        self.released.notify_one();
        self.due.notify_one();
    }
}
