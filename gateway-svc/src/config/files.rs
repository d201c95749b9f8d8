//! What a project's table says of files that people attach: `files = { max_count = 10, max_mib = 10,
//! kinds = ["text", "image", "pdf"] }`.
//!
//! It is taken as it comes, so that its problems are told with the others.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use schemas::files::{ATTACHED_BYTES_MAX, ATTACHED_MAX, Kind};
use serde::Deserialize;

use crate::attached::{MIB, Terms};

/// The table as it is written.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FilesFile {
    /// How many of a message's files claude is given.
    ///
    /// Default: `10`
    /// Bounds: 0 to 10 files
    max_count: Option<usize>,
    /// How large each may be.
    ///
    /// Default: `10`
    /// Bounds: 1 to 50 MiB
    max_mib: Option<u64>,
    /// Of what kinds: `"text"`, `"image"`, `"pdf"`, `"other"`.
    ///
    /// Default: `["text", "image", "pdf"]`
    kinds: Option<Vec<String>>,
}

impl FilesFile {
    /// What it says, or what is wrong with it.
    pub(super) fn check(self) -> Result<Terms, String> {
        let usual = Terms::default();
        let count_max = self.max_count.unwrap_or(usual.count_max);
        if ATTACHED_MAX < count_max {
            return Err(format!("max_count must be 0 to {ATTACHED_MAX}, is {count_max}"));
        }
        let (mib, mib_max) =
            (self.max_mib.unwrap_or(usual.bytes_max / MIB), ATTACHED_BYTES_MAX / MIB);
        if !(1..=mib_max).contains(&mib) {
            return Err(format!("max_mib must be 1 to {mib_max}, is {mib}"));
        }
        let kinds = self.kinds.map(|kinds| kinds.iter().map(|it| kind(it)).collect());
        let kinds: Option<BTreeSet<Kind>> = kinds.transpose()?;
        Ok(Terms { count_max, bytes_max: mib * MIB, kinds: kinds.unwrap_or(usual.kinds) })
    }
}

fn kind(word: &str) -> Result<Kind, String> {
    match word {
        "text" => Ok(Kind::Text),
        "image" => Ok(Kind::Image),
        "pdf" => Ok(Kind::Pdf),
        "other" => Ok(Kind::Other),
        _ => Err(format!("kinds are \"text\", \"image\", \"pdf\" and \"other\", not {word:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_says_how_many_how_large_and_of_what_kind() {
        let file = |max_count, max_mib, kinds: Option<&[&str]>| FilesFile {
            max_count,
            max_mib,
            kinds: kinds.map(|all| all.iter().map(|it| (*it).to_owned()).collect()),
        };
        assert_eq!(file(None, None, None).check(), Ok(Terms::default()));
        let terms = file(Some(0), Some(50), Some(&["image"])).check().unwrap();
        assert_eq!((terms.count_max, terms.bytes_max), (0, 50 * MIB));
        assert_eq!(terms.kinds, [Kind::Image].into());
        for (bad, word) in [
            (file(Some(11), None, None), "max_count"),
            (file(None, Some(0), None), "max_mib"),
            (file(None, Some(51), None), "max_mib"),
            (file(None, None, Some(&["video"])), "\"video\""),
        ] {
            assert!(bad.check().unwrap_err().contains(word));
        }
    }
}
