//! Whose a token is: compared by its digest, in a time that does not tell how much of it was right.
//!
//! The text of a token is read at the start and not kept.

use axum::http::{HeaderMap, header};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

/// What a token lets its bearer do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum May {
    /// Read.
    Read,
    /// Read, retry and end.
    Act,
}

/// A token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    /// Under which name the audit has what is done with it.
    pub(crate) name: String,
    /// What it lets its bearer do.
    pub(crate) may: May,
    /// The SHA-256 of its text.
    digest: [u8; 32],
}

impl Token {
    /// A token of this text.
    pub(crate) fn new(name: String, may: May, text: &str) -> Self {
        Self { name, may, digest: Sha256::digest(text).into() }
    }

    /// Whether both are of one text.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.digest.ct_eq(&other.digest).into()
    }
}

/// All tokens.
#[derive(Clone, Debug)]
pub(crate) struct Tokens(pub(super) Vec<Token>);

impl Tokens {
    /// The token that a request shows, if it is one.
    pub(super) fn of(&self, headers: &HeaderMap) -> Option<&Token> {
        let shown = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        let (scheme, shown) = shown.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let shown: [u8; 32] = Sha256::digest(shown.trim()).into();
        // All are compared, whichever it is.
        let mut found = None;
        for token in &self.0 {
            let is_it: Choice = token.digest.ct_eq(&shown);
            if bool::from(is_it) {
                found = Some(token);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_its_whole_text_and_no_other() {
        let tokens = Tokens(vec![
            Token::new("ops".into(), May::Act, "a-token-of-ops"),
            Token::new("eyes".into(), May::Read, "a-token-of-eyes"),
        ]);
        let shown = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, text.parse().unwrap());
            tokens.of(&headers).map(|token| token.name.clone())
        };
        assert_eq!(shown("Bearer a-token-of-ops").as_deref(), Some("ops"));
        assert_eq!(shown("bearer  a-token-of-eyes").as_deref(), Some("eyes"));
        for wrong in ["", "Bearer", "Bearer ", "Bearer a-token-of-op", "Basic a-token-of-ops"] {
            assert_eq!(shown(wrong), None, "{wrong:?}");
        }
        assert_eq!(tokens.of(&HeaderMap::new()), None);
        assert!(!format!("{tokens:?}").contains("a-token"));
    }
}
