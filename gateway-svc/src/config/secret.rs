//! A text that is never printed: whoever needs it asks for it by name.

use std::fmt;

/// A text that is never printed.
pub(crate) struct Secret(pub(super) String);

impl Secret {
    /// The text, for the one who needs it.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
