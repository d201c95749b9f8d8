//! The files of a question → what claude is told of them.
//!
//! All of them lie in a folder on this host, whatever they are. A small text is in the prompt as well, as
//! if the person had written it; a picture that the model surely takes is shown to it; the rest is named
//! by its path, for claude to look at with its tools. What it was not given is named with the reason.
//!
//! It reads the folder and changes nothing there. The same files make the same words.

mod picture;

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemas::files::{Attached, Kind, Withheld};
use schemas::request::PROMPT_MAX;

/// The most bytes of a text that joins the prompt.
const TEXT_MAX: u64 = 256 * 1024;
/// The most bytes of a picture that is shown: what the API takes, once it is written in letters.
const PICTURE_MAX: u64 = 3_750_000;
/// The most bytes of all pictures of a question. They stay in the conversation's transcript, which
/// travels, and the line that has them comes back as one.
const PICTURES_MAX: u64 = 4 * 1024 * 1024;

/// What stands around texts in a prompt, and lists of other files, have this room.
const AROUND: usize = 4 * 1024;

/// What claude is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Words {
    /// In words.
    pub(crate) text: String,
    /// What it is shown.
    pub(crate) pictures: Vec<Picture>,
}

impl From<&str> for Words {
    fn from(text: &str) -> Self {
        Self { text: text.to_owned(), pictures: Vec::new() }
    }
}

/// A picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Picture {
    /// Its media type.
    pub(crate) media_type: &'static str,
    /// Its bytes in base64.
    pub(crate) base64: String,
}

/// What claude is told with a prompt whose files lie in `inbox`.
///
/// # Errors
///
/// A file cannot be read.
pub(crate) fn words(
    prompt: &str,
    inbox: &Path,
    files: &[Attached],
    withheld: &[Withheld],
) -> io::Result<Words> {
    let mut words = Words::from(prompt);
    let (mut named, mut shown) = (String::new(), 0);
    for file in files {
        let path = inbox.join(&file.name);
        let kind = Kind::of(&file.name, file.media_type.as_deref());
        let what = match kind {
            Kind::Text if file.file.bytes <= TEXT_MAX => {
                if join(&mut words.text, &file.name, &fs::read(&path)?) {
                    continue;
                }
                "text"
            }
            Kind::Text => "text",
            Kind::Image
                if file.file.bytes <= PICTURE_MAX && shown + file.file.bytes <= PICTURES_MAX =>
            {
                let bytes = fs::read(&path)?;
                match picture::media_type(&bytes) {
                    Some(media_type) => {
                        shown += file.file.bytes;
                        let base64 = STANDARD.encode(&bytes);
                        words.pictures.push(Picture { media_type, base64 });
                        "a picture, shown above"
                    }
                    None => "a picture",
                }
            }
            Kind::Image => "a picture",
            Kind::Pdf => "a PDF",
            Kind::Other => "a file",
        };
        let bytes = file.file.bytes;
        writeln!(named, "- {} ({what}, {bytes} bytes)", path.display()).expect("a text takes all");
    }
    add(&mut words.text, "Attached files, which lie on this machine for you to read:", &named);
    let missing: Vec<String> =
        withheld.iter().map(|it| format!("- {} {}", it.name, it.why)).collect();
    add(&mut words.text, "Attached, but not given to you:", &missing.join("\n"));
    Ok(words)
}

/// Adds a list under a heading, if there is something in it.
fn add(text: &mut String, heading: &str, list: &str) {
    if list.is_empty() {
        return;
    }
    part(text);
    write!(text, "{heading}\n{}", list.trim_end()).expect("a text takes all");
}

/// Adds a text file to the prompt, if it is one and there is room.
fn join(text: &mut String, name: &str, bytes: &[u8]) -> bool {
    let Ok(more) = std::str::from_utf8(bytes) else { return false };
    if more.contains('\0') || PROMPT_MAX < text.len() + more.len() + AROUND {
        return false;
    }
    part(text);
    write!(text, "Attached file {name}:\n{more}").expect("a text takes all");
    true
}

fn part(text: &mut String) {
    if !text.is_empty() {
        text.push_str("\n\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::carried::File;

    const GIF: &[u8] = b"GIF89a\x01\0\x01\0\0\0\0;";

    struct Inbox(tempfile::TempDir);

    impl Inbox {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn put(&self, name: &str, media_type: &str, bytes: &[u8]) -> Attached {
            fs::write(self.0.path().join(name), bytes).unwrap();
            let file = File { digest: "d".into(), bytes: bytes.len() as u64 };
            Attached { name: name.into(), media_type: Some(media_type.into()), file }
        }

        fn words(&self, prompt: &str, files: &[Attached]) -> Words {
            words(prompt, self.0.path(), files, &[]).unwrap()
        }
    }

    #[test]
    fn a_text_joins_the_prompt() {
        let inbox = Inbox::new();
        let files =
            [inbox.put("a.txt", "text/plain", b"one"), inbox.put("b.txt", "text/plain", b"two")];
        assert_eq!(
            inbox.words("look", &files).text,
            "look\n\nAttached file a.txt:\none\n\nAttached file b.txt:\ntwo"
        );
        assert_eq!(inbox.words("", &files[..1]).text, "Attached file a.txt:\none");
    }

    #[test]
    fn a_text_that_is_too_long_or_none_is_named_by_its_path() {
        let inbox = Inbox::new();
        let long = vec![b'x'; 290 * 1024];
        let odd = inbox.put("odd.txt", "text/plain", &[0xff, 0xfe, 0]);
        let files = [inbox.put("a.log", "text/plain", &long), odd];
        let text = inbox.words("look", &files).text;
        let dir = inbox.0.path().display();
        assert_eq!(
            text,
            format!(
                "look\n\nAttached files, which lie on this machine for you to read:\n\
                 - {dir}/a.log (text, 296960 bytes)\n- {dir}/odd.txt (text, 3 bytes)"
            )
        );
    }

    #[test]
    fn all_texts_together_are_no_longer_than_a_prompt() {
        let inbox = Inbox::new();
        let text = vec![b'x'; 200 * 1024];
        let files = [1, 2, 3].map(|n| inbox.put(&format!("{n}.txt"), "text/plain", &text));
        let text = inbox.words("look", &files).text;
        assert!(text.len() <= PROMPT_MAX && text.contains("Attached file 1.txt:"));
        assert!(text.contains("/2.txt (text") && text.contains("/3.txt (text"));
    }

    #[test]
    fn a_picture_is_shown_and_named_and_one_that_is_none_is_only_named() {
        let inbox = Inbox::new();
        let files =
            [inbox.put("a.gif", "image/gif", GIF), inbox.put("b.png", "image/png", b"\x89PNG")];
        let words = inbox.words("look", &files);
        assert_eq!(words.pictures.len(), 1);
        assert_eq!(words.pictures[0].media_type, "image/gif");
        assert_eq!(words.pictures[0].base64, "R0lGODlhAQABAAAAADs=");
        assert!(words.text.contains("a.gif (a picture, shown above, 14 bytes)"), "{}", words.text);
        assert!(words.text.contains("b.png (a picture, 4 bytes)"));
    }

    #[test]
    fn what_claude_is_not_given_is_named() {
        let inbox = Inbox::new();
        let withheld = [Withheld::new("film.mp4", "is too large")];
        let words = words("look", inbox.0.path(), &[], &withheld).unwrap();
        let text = "look\n\nAttached, but not given to you:\n- film.mp4 is too large";
        assert_eq!(words.text, text);
    }
}
