//! What comes after a claude, and why one was not started.
//!
//! Values alone: what follows from them is said where they are matched.

use schemas::record::State;

use super::Left;
use crate::claims::Toll;

/// What comes after one claude.
pub(super) enum Next {
    /// The end of the run.
    Over(State),
    /// Another attempt.
    Again {
        /// What the generation has cost by then.
        toll: Toll,
        /// Whether claude had read the request.
        echoed: bool,
    },
}

/// Why claude was not started.
pub(super) enum Refused {
    /// It never will be here; the sentence is for the person who asked.
    Never(String),
    /// The run ended before: it was stopped, or took too long.
    Over(State),
    /// Not now.
    Left(Left),
}

impl From<Left> for Refused {
    fn from(left: Left) -> Self {
        Self::Left(left)
    }
}

impl Refused {
    pub(super) fn trouble(error: impl Into<anyhow::Error>) -> Self {
        Self::Left(Left::Trouble(error.into()))
    }

    pub(super) fn into_left(self) -> Left {
        match self {
            Refused::Never(why) => Left::Trouble(anyhow::anyhow!(why)),
            Refused::Over(_) => Left::Trouble(anyhow::anyhow!("the run ended before its claude")),
            Refused::Left(left) => left,
        }
    }
}
