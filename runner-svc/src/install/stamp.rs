//! The first line of a file that `install` wrote: the digest of all behind it.

use sha2::{Digest as _, Sha256};

/// What the line begins with. It is a comment to systemd and to TOML alike.
const BEGINNING: &str =
    "# Written by `runner-svc install`, which leaves alone what is changed: sha256 ";

/// A text, with its stamp before it.
pub(super) fn stamped(text: &str) -> String {
    format!("{BEGINNING}{}\n{text}", digest(text))
}

/// Whether a file is as `install` wrote it.
pub(super) fn is_unchanged(file: &str) -> bool {
    let stamp = file.strip_prefix(BEGINNING).and_then(|rest| rest.split_once('\n'));
    stamp.is_some_and(|(was, text)| was == digest(text))
}

fn digest(text: &str) -> String {
    let bytes = Sha256::digest(text.as_bytes());
    bytes.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_any_byte_is_seen() {
        let file = stamped("a = 1\n");
        assert!(is_unchanged(&file));
        assert!(!is_unchanged(&format!("{file}\n")));
        assert!(!is_unchanged(&file.replace("a = 1", "a = 2")));
        assert!(!is_unchanged("a = 1\n") && !is_unchanged(""));
    }
}
