//! `[api]` of `gateway.toml`: the tokens of the HTTP API, each in a file of its own.
//!
//! A token's text is read, judged and made a digest here; nothing keeps it.

use std::path::{Path, PathBuf};

use platform::config::{Problems, secret};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::api::{May, Token};

/// The fewest bytes of a token: 32 of hexadecimal digits are 128 bits, which nobody guesses.
const TOKEN_MIN: usize = 32;
/// The most tokens: each request is compared with all of them.
const TOKENS_MAX: usize = 32;
/// The longest name of one: it stands in a line of the audit.
const NAME_MAX: usize = 64;

/// The table as it is written.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ApiFile {
    /// One table for each token, at most 32. Without one there is no API. A change needs a restart.
    #[serde(default)]
    tokens: Vec<TokenFile>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TokenFile {
    /// What the audit calls whoever has it: 1 to 64 letters, digits and `-_.`, once each.
    ///
    /// Default: none; it must be given
    name: String,
    /// A file that holds the token and nothing else, at least 32 letters, digits or signs, mode 600;
    /// looked for beside `gateway.toml`.
    ///
    /// Default: none; it must be given
    file: PathBuf,
    /// What it may do: read all lists, or also retry and end runs.
    ///
    /// Type: `["read"]` or `["read", "act"]`
    /// Default: none; it must be given
    may: Vec<String>,
}

impl ApiFile {
    /// The tokens; a file is looked for beside the configuration at `path`.
    pub(super) fn check(self, path: &Path, problems: &mut Problems) -> Vec<Token> {
        problems.check(self.tokens.len() <= TOKENS_MAX, "api.tokens", || {
            format!("must be at most {TOKENS_MAX}, are {}", self.tokens.len())
        });
        let beside = path.parent().unwrap_or(Path::new(""));
        let mut tokens: Vec<Token> = Vec::new();
        for file in self.tokens {
            let key = format!("api.tokens.{}", file.name);
            let Some(token) = problems.take(&key, file.check(beside)) else { continue };
            problems.check(tokens.iter().all(|it| it.name != token.name), &key, || {
                "is there twice: the audit tells tokens apart by their names".into()
            });
            problems.check(!tokens.iter().any(|it| it.is_same(&token)), &key, || {
                "is another's token: each name has one of its own".into()
            });
            tokens.push(token);
        }
        tokens
    }
}

impl TokenFile {
    fn check(&self, beside: &Path) -> Result<Token, String> {
        let plain = |char: char| char.is_ascii_alphanumeric() || "-_.".contains(char);
        let fits = (1..=NAME_MAX).contains(&self.name.len()) && self.name.chars().all(plain);
        if !fits {
            return Err(format!("a name is 1 to {NAME_MAX} letters, digits and -_."));
        }
        let words: Vec<&str> = self.may.iter().map(String::as_str).collect();
        let may = match words[..] {
            ["read"] => May::Read,
            ["read", "act"] => May::Act,
            _ => return Err("may is [\"read\"] or [\"read\", \"act\"]".to_owned()),
        };
        let file = beside.join(&self.file);
        let text = secret(&file)?;
        let text = text.trim();
        if text.len() < TOKEN_MIN || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!(
                "{} must hold at least {TOKEN_MIN} letters, digits or signs, and nothing else",
                file.display()
            ));
        }
        Ok(Token::new(self.name.clone(), may, text))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const TEXT: &str = "0123456789abcdef0123456789abcdef";

    /// What is wrong with these tokens, of which each has a name, the text and mode of its file, and `may`.
    fn told(tokens: &[(&str, &str, u32, &str)]) -> (usize, String) {
        let folder = tempfile::tempdir().unwrap();
        let mut tables = Vec::new();
        for (number, (name, text, mode, may)) in tokens.iter().enumerate() {
            let file = folder.path().join(format!("{number}.token"));
            fs::write(&file, text).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(*mode)).unwrap();
            tables.push(format!(
                "[[tokens]]\nname = {name:?}\nfile = \"{number}.token\"\nmay = {may}\n"
            ));
        }
        let file: ApiFile = toml::from_str(&tables.concat()).unwrap();
        let mut problems = Problems::default();
        let tokens = file.check(&folder.path().join("gateway.toml"), &mut problems);
        (tokens.len(), problems.to_string())
    }

    #[test]
    fn a_token_is_a_secret_file_of_enough_bytes_with_a_name_of_its_own() {
        let (act, read) = ("[\"read\", \"act\"]", "[\"read\"]");
        let other = TEXT.replace('0', "x");
        let two = [("ops", TEXT, 0o600, act), ("eyes", other.as_str(), 0o400, read)];
        assert_eq!(told(&two), (2, String::new()));
        for (name, text, mode, may, expected) in [
            ("ops", &TEXT[1..], 0o600, act, "must hold at least 32"),
            ("ops", "0123456789abcdef 0123456789abcdef", 0o600, act, "and nothing else"),
            ("ops", TEXT, 0o640, act, "can be read by others (mode 640): chmod 600"),
            ("ops", TEXT, 0o604, act, "can be read by others"),
            ("ops", TEXT, 0o600, "[\"act\"]", "may is [\"read\"] or"),
            ("ops", TEXT, 0o600, "[]", "may is [\"read\"] or"),
            ("o p", TEXT, 0o600, act, "a name is 1 to 64"),
            ("", TEXT, 0o600, act, "a name is 1 to 64"),
        ] {
            let (tokens, problems) = told(&[(name, text, mode, may)]);
            assert!(tokens == 0 && problems.contains(expected), "{expected}: {problems}");
            assert!(!problems.contains(TEXT), "the token is told: {problems}");
        }
        let (_, problems) = told(&[two[0], ("ops", &other, 0o600, read)]);
        assert!(problems.contains("is there twice"), "{problems}");
        let (_, problems) = told(&[two[0], ("eyes", TEXT, 0o600, read)]);
        assert!(problems.contains("is another's token"), "{problems}");
    }
}
