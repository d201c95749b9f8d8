//! The nonce of a post: the same row always has the same, so a repeat is no second message.
//!
//! Discord answers a repeated nonce with the message it already has, for "a few minutes" and
//! without giving a number (reference, "Create Message", `enforce_nonce`, as of 2026-08). After a
//! longer silence somebody has to look before posting again; this does not.

use sha2::{Digest, Sha256};

/// All that Discord allows, in characters.
pub(crate) const NONCE_LEN: usize = 25;

/// Returns the nonce of the row of that name: 125 bits of its SHA-256, in [`NONCE_LEN`] characters
/// of a-z and 2-7.
pub(crate) fn nonce(row: &str) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let digest = Sha256::digest(row.as_bytes());
    let bit = |n: usize| usize::from(digest[n / 8] >> (7 - n % 8) & 1);
    (0..NONCE_LEN)
        .map(|n| (0..5).fold(0, |five, k| five << 1 | bit(n * 5 + k)))
        .map(|five| char::from(ALPHABET[five]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_what_it_was_yesterday() {
        assert_eq!(nonce("m7/1/answer/1"), nonce("m7/1/answer/1"));
        assert_eq!(nonce("m7/1/answer/1").len(), NONCE_LEN);
        // printf 'abc' | sha256sum | xxd -r -p | base32, the first 25 characters.
        assert_eq!(nonce("abc"), "xj4bnp4pahh6uqkbidpf3lrce");
    }

    #[test]
    fn two_rows_never_share_one() {
        assert_ne!(nonce("m7/1/answer/1"), nonce("m7/2/answer/1"));
        assert_ne!(nonce("m7/1/answer/1"), nonce("m7/1/answer/2"));
    }
}
