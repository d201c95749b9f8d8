//! Files that go with words: those of a question on their way to claude, those of an answer on their
//! way to people.
//!
//! What is in them lies in the project's FILES; here are their names, where they lie there, and what
//! may not go along and why. A name is safe before it is on the wire: one plain component of a path,
//! whatever a person or claude called it. Pure.

use serde::{Deserialize, Serialize};

use crate::carried::File;

/// The most files of a question: as many as a message of Discord has.
pub const ATTACHED_MAX: usize = 10;
/// The most bytes of one of them, whatever a project allows: it is held in memory while it goes from
/// Discord to FILES.
pub const ATTACHED_BYTES_MAX: u64 = 50 * 1024 * 1024;
/// The most files of an answer: as many as a message of Discord has.
pub const GIVEN_MAX: usize = 10;
/// The most bytes of one of them: the largest request that Discord takes.
pub const GIVEN_BYTES_MAX: u64 = 25 * 1024 * 1024;
/// The most files that are named because they do not go along; of more there is the last word.
pub const WITHHELD_MAX: usize = 10;
/// The most bytes of a name: far below what file systems take, and it fits a line.
pub const NAME_MAX: usize = 100;
/// The most bytes of what comes behind the last dot, if it is to be kept when a name is cut.
const ENDING_MAX: usize = 16;
/// The most bytes of a reason.
pub const WHY_MAX: usize = 200;

/// A file that came with a question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Attached {
    /// What it is called: safe, and no other file of the question is called so.
    pub name: String,
    /// Its media type, if anybody said one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// Where it lies.
    pub file: File,
}

/// A file that goes with an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Given {
    /// What it is called: safe, and no other file of the answer is called so.
    pub name: String,
    /// Where it lies.
    pub file: File,
}

/// A file that does not go along.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Withheld {
    /// What it is called, made safe.
    pub name: String,
    /// Why, of at most [`WHY_MAX`] bytes: it goes on after the name, "is too large".
    pub why: String,
}

impl Withheld {
    /// A file of this name, which need not be safe, and why it does not go along.
    pub fn new(name: &str, why: &str) -> Self {
        Self { name: safe_name(name), why: why[..why.floor_char_boundary(WHY_MAX)].to_owned() }
    }
}

/// What a file is to people, and to claude.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Text, by its type or by its name.
    Text,
    /// A picture of a kind that claude can look at.
    Image,
    /// A PDF.
    Pdf,
    /// Anything else.
    Other,
}

/// Pictures that claude can look at: their types, and how their names end.
const IMAGES: [(&str, &[&str]); 4] = [
    ("image/png", &["png"]),
    ("image/jpeg", &["jpg", "jpeg"]),
    ("image/gif", &["gif"]),
    ("image/webp", &["webp"]),
];
/// How the names of text files end.
const TEXTS: [&str; 50] = [
    "txt", "md", "log", "csv", "tsv", "json", "jsonl", "toml", "yaml", "yml", "xml", "html", "css",
    "scss", "js", "jsx", "mjs", "ts", "tsx", "vue", "rs", "py", "go", "java", "kt", "c", "h", "cc",
    "cpp", "hpp", "cs", "rb", "php", "pl", "lua", "swift", "sh", "bash", "zsh", "sql", "diff",
    "patch", "ini", "cfg", "conf", "env", "tex", "rst", "proto", "svg",
];
/// Types of text that do not begin with `text/`.
const TEXT_TYPES: [&str; 6] = [
    "application/json",
    "application/xml",
    "application/toml",
    "application/yaml",
    "application/x-sh",
    "application/sql",
];

impl Kind {
    /// What a file is by its type, or where that says little, by its name. (Discord takes a `.ts` for a
    /// video.)
    pub fn of(name: &str, media_type: Option<&str>) -> Self {
        let media_type = media_type.map(|it| it.split(';').next().unwrap_or(it).trim());
        let ending = ending(name).to_ascii_lowercase();
        let is_text_type = |it: &str| it.starts_with("text/") || TEXT_TYPES.contains(&it);
        match media_type {
            Some(it) if IMAGES.iter().any(|(image, _)| *image == it) => Self::Image,
            Some("application/pdf") => Self::Pdf,
            Some(it) if is_text_type(it) => Self::Text,
            Some(_) | None if TEXTS.contains(&ending.as_str()) => Self::Text,
            None if image_type(name).is_some() => Self::Image,
            None if ending == "pdf" => Self::Pdf,
            Some(_) | None => Self::Other,
        }
    }
}

/// The type of a picture by its name; `None`: it is none that claude can look at.
pub fn image_type(name: &str) -> Option<&'static str> {
    let ending = ending(name).to_ascii_lowercase();
    let found = IMAGES.iter().find(|(_, endings)| endings.contains(&ending.as_str()));
    found.map(|(media_type, _)| *media_type)
}

/// What comes behind the last dot of a name; nothing, where there is no dot in the middle.
fn ending(name: &str) -> &str {
    name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty()).map_or("", |(_, ending)| ending)
}

/// A name as one plain component of a path: letters and digits of any script, and `.-_`. What a name
/// cannot be becomes `_`; nothing at all becomes `file`.
pub fn safe_name(raw: &str) -> String {
    let last = raw.rsplit(['/', '\\']).find(|part| !part.trim_matches('.').is_empty());
    let mut name = String::new();
    for c in last.unwrap_or_default().trim().chars() {
        let c = if c.is_alphanumeric() || ".-".contains(c) { c } else { '_' };
        // Neighbours that say nothing are said once; a dot is no way up.
        if !("_.".contains(c) && name.ends_with(c)) {
            name.push(c);
        }
    }
    let name = name.trim_start_matches(['.', '-']).trim_end_matches('.');
    let name = if name.trim_matches('_').is_empty() { "file" } else { name };
    cut(name, NAME_MAX)
}

/// Whether a name is as [`safe_name`] would leave it.
pub fn is_safe_name(name: &str) -> bool {
    !name.is_empty() && safe_name(name) == name
}

/// The name that a file gets beside others: its own made safe, or with a number, `a-2.txt`.
pub fn distinct_name(raw: &str, others: &[&str]) -> String {
    let name = safe_name(raw);
    // A file system that knows no capitals would take two such names for one.
    let is_taken = |it: &str| others.iter().any(|one| one.to_lowercase() == it.to_lowercase());
    if !is_taken(&name) {
        return name;
    }
    let (stem, ending) = match name.rsplit_once('.') {
        Some((stem, ending)) if !stem.is_empty() => (stem, format!(".{ending}")),
        Some(_) | None => (name.as_str(), String::new()),
    };
    // One of so many numbers is free, for there are not as many others.
    let mut numbered = (2..=others.len() + 2).map(|n| {
        let end = format!("-{n}{ending}");
        let stem = &stem[..stem.floor_char_boundary(NAME_MAX.saturating_sub(end.len()))];
        format!("{stem}{end}")
    });
    numbered.find(|it| !is_taken(it)).unwrap_or(name)
}

/// A name of at most so many bytes, with its ending where that is short.
fn cut(name: &str, max: usize) -> String {
    if name.len() <= max {
        return name.to_owned();
    }
    let ending = ending(name);
    if ending.is_empty() || ENDING_MAX < ending.len() {
        return name[..name.floor_char_boundary(max)].trim_end_matches('.').to_owned();
    }
    let stem = &name[..name.floor_char_boundary(max - ending.len() - 1)];
    format!("{}.{ending}", stem.trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_is_one_plain_component_whatever_it_was() {
        for (raw, safe) in [
            ("notes.txt", "notes.txt"),
            ("../../x", "x"),
            ("..", "file"),
            ("", "file"),
            ("C:\\temp\\a b.log", "a_b.log"),
            (".bashrc", "bashrc"),
            ("-rf", "rf"),
            ("a\u{0}\u{7}b.txt", "a_b.txt"),
            ("\u{202e}gpj.exe", "_gpj.exe"),
            ("🦀🦀.png", "_.png"),
            ("🦀", "file"),
            ("שלום.txt", "שלום.txt"),
            ("x/", "x"),
            ("a..b...", "a.b"),
        ] {
            assert_eq!(safe_name(raw), safe, "{raw:?}");
        }
    }

    #[test]
    fn a_long_name_keeps_its_ending() {
        let name = safe_name(&format!("{}.tar.gz", "ü".repeat(300)));
        assert!(name.len() <= NAME_MAX && ending(&name) == "gz", "{name}");
        assert!(safe_name(&"x.".repeat(300)).len() <= NAME_MAX);
    }

    #[test]
    fn two_files_of_one_name_have_two_names() {
        let mut names: Vec<String> = Vec::new();
        for raw in ["a.txt", "A.txt", "../a.txt", "b", "b"] {
            let others: Vec<&str> = names.iter().map(String::as_str).collect();
            let name = distinct_name(raw, &others);
            names.push(name);
        }
        assert_eq!(names, ["a.txt", "A-2.txt", "a-3.txt", "b", "b-2"]);
        let long = safe_name(&"x".repeat(300));
        let other = distinct_name(&long, &[&long]);
        assert!(other != long && other.len() <= NAME_MAX);
    }

    #[test]
    fn a_kind_is_known_by_the_type_or_by_the_name() {
        for (name, media_type, kind) in [
            ("a.rs", None, Kind::Text),
            ("a.ts", Some("video/mp2t"), Kind::Text),
            ("a", Some("text/plain; charset=utf-8"), Kind::Text),
            ("cat.png", Some("image/png"), Kind::Image),
            ("cat.PNG", None, Kind::Image),
            ("cat.bmp", Some("image/bmp"), Kind::Other),
            ("a.pdf", Some("application/pdf"), Kind::Pdf),
            ("voice.ogg", Some("audio/ogg"), Kind::Other),
            (".png", None, Kind::Other),
        ] {
            assert_eq!(Kind::of(name, media_type), kind, "{name}");
        }
    }

    proptest! {
        #[test]
        fn every_name_becomes_safe_and_stays_so(raw in "(?s).{0,200}") {
            let name = safe_name(&raw);
            prop_assert!(is_safe_name(&name), "{raw:?} became {name:?}");
            prop_assert!(name.len() <= NAME_MAX && !name.contains(['/', '\\', '\0']));
            prop_assert!(name != "." && name != ".." && !name.starts_with('.'));
        }
    }
}
