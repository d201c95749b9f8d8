//! JSON in and out of the streams, with the version looked at first.
//!
//! A reader ignores fields it does not know, so a field may be added at any time; what an old
//! reader would misunderstand raises the version of its type, and the old reader refuses it by
//! name. Nothing here knows a stream or a subject.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The one version of all wire types so far.
pub(crate) const VERSION: u16 = 1;

/// Why a message could not be read.
#[derive(Debug, Error)]
pub enum WireError {
    /// It is not JSON of the expected shape. Reading it again is vain.
    #[error("not a valid {what}")]
    Malformed {
        /// The type that was expected.
        what: &'static str,
        /// Where the JSON goes wrong.
        source: serde_json::Error,
    },
    /// It was written by a newer version of the other service.
    #[error("a {what} of version {found}; this program reads up to {VERSION}: update it")]
    TooNew {
        /// The type that was expected.
        what: &'static str,
        /// The version that was found.
        found: u16,
    },
}

#[derive(Deserialize)]
struct Versioned {
    v: u16,
}

/// Reads a wire type.
///
/// # Errors
///
/// [`WireError::TooNew`] before [`WireError::Malformed`]: a shape that changed on purpose is told
/// apart from one that is broken.
pub fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, WireError> {
    let what = short_name::<T>();
    let malformed = |source| WireError::Malformed { what, source };
    let Versioned { v } = serde_json::from_slice(bytes).map_err(malformed)?;
    if VERSION < v {
        return Err(WireError::TooNew { what, found: v });
    }
    serde_json::from_slice(bytes).map_err(malformed)
}

/// Writes a wire type.
///
/// # Panics
///
/// Never: the wire types hold no maps with keys other than text and no failing serializers.
pub fn to_json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("wire types always serialize")
}

fn short_name<T>() -> &'static str {
    let full = std::any::type_name::<T>();
    full.rsplit("::").next().unwrap_or(full)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Record;

    #[test]
    fn a_newer_version_is_refused_by_name() {
        let error = from_json::<Record>(br#"{"v": 2, "shape": "unheard of"}"#).unwrap_err();
        assert!(matches!(error, WireError::TooNew { what: "Record", found: 2 }), "{error}");
    }

    #[test]
    fn what_is_no_json_is_malformed() {
        let error = from_json::<Record>(b"hello").unwrap_err();
        assert!(matches!(error, WireError::Malformed { what: "Record", .. }), "{error}");
    }
}
