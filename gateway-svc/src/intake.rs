//! A message that was heard → run, refused with a line, or not for us.
//!
//! Pure: the text of attached files is fetched by the caller and passed to [`prompt`]. A verdict is
//! given once and stored; nothing here remembers one.

use schemas::ids::{ChannelId, MessageId, RoleId};
use schemas::request::{Author, PROMPT_MAX};

use crate::commands::Command;
use crate::routes::Project;

/// The most bytes of one attached text file.
pub(crate) const TEXT_FILE_MAX: u64 = 256 * 1024;

/// A message of Discord, as far as it matters to us.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    /// Its id.
    pub(crate) id: MessageId,
    /// Where it was written: a channel, or a thread.
    pub(crate) channel: ChannelId,
    /// Who wrote it.
    pub(crate) author: Author,
    /// The author's roles, if the event brought them.
    pub(crate) roles: Option<Vec<RoleId>>,
    /// Who or what wrote it.
    pub(crate) by: Writer,
    /// The message that it replies to.
    pub(crate) reply_to: Option<MessageId>,
    /// The text.
    pub(crate) content: String,
    /// What is attached.
    pub(crate) attachments: Vec<Attachment>,
}

/// Who or what wrote a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writer {
    /// A person, in a message or a reply.
    Person,
    /// A bot or a webhook.
    Bot,
    /// Discord itself: a rename, a pin, somebody who joined.
    System,
}

/// A file that hangs on a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attachment {
    /// Its name.
    pub(crate) name: String,
    /// Where Discord keeps it.
    pub(crate) url: String,
    /// Its media type, if Discord knows one.
    pub(crate) media_type: Option<String>,
    /// Its size in bytes.
    pub(crate) bytes: u64,
}

/// What becomes of a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is a run.
    Run,
    /// It is not, and the person is told why.
    Refused(String),
    /// It is a command to us, and no prompt.
    Command(Command),
    /// It is none of our business.
    NotForUs,
}

/// Judges a message that was written in a channel or a thread of `project`.
pub(crate) fn judge(heard: &Heard, project: &Project, roles: &[RoleId]) -> Verdict {
    match heard.by {
        Writer::Bot | Writer::System => return Verdict::NotForUs,
        Writer::Person => {}
    }
    if !project.allow.permits(heard.author.id, roles) {
        return Verdict::Refused(format!(
            "You may not use **{}** here: ask whoever runs this bot to add you or one of your \
             roles.",
            project.name
        ));
    }
    if heard.content.contains('\0') {
        return Verdict::Refused(
            "This message holds a NUL character, which claude cannot be given. Nothing was \
             started; please send it again without."
                .into(),
        );
    }
    if heard.content.trim().is_empty() && heard.attachments.is_empty() {
        return Verdict::Refused(
            "There is no text in this message, so nothing was started.".into(),
        );
    }
    match Command::parse(&heard.content) {
        Ok(Some(command)) => return Verdict::Command(command),
        Err(line) => return Verdict::Refused(line),
        Ok(None) => {}
    }
    match heard.attachments.iter().find_map(refusal) {
        Some(why) => Verdict::Refused(format!("{why} Nothing was started.")),
        None => Verdict::Run,
    }
}

/// Why a file cannot join the prompt.
fn refusal(file: &Attachment) -> Option<String> {
    let name = shown_name(&file.name);
    if !is_text(file) {
        return Some(format!("`{name}` is no text file, and only text files can be read so far."));
    }
    if TEXT_FILE_MAX < file.bytes {
        return Some(format!(
            "`{name}` has {} kB, and a text file may have {} kB.",
            file.bytes.div_ceil(1000),
            TEXT_FILE_MAX / 1000
        ));
    }
    None
}

/// A name that stays within its backticks.
fn shown_name(name: &str) -> String {
    name.chars().filter(|c| *c != '`' && !c.is_control()).take(100).collect()
}

/// Whether a file is text by its media type or, where Discord knows none, by its name.
fn is_text(file: &Attachment) -> bool {
    const ENDINGS: &[&str] = &[
        "txt", "md", "log", "csv", "json", "toml", "yaml", "yml", "xml", "html", "css", "js", "ts",
        "rs", "py", "go", "java", "c", "h", "cpp", "sh", "sql", "diff", "patch",
    ];
    let media_type = file.media_type.as_deref().map(|m| m.split(';').next().unwrap_or(m).trim());
    match media_type {
        Some(media_type) => {
            media_type.starts_with("text/")
                || ["application/json", "application/xml", "application/toml", "application/yaml"]
                    .contains(&media_type)
        }
        None => file
            .name
            .rsplit_once('.')
            .is_some_and(|(_, ending)| ENDINGS.contains(&ending.to_ascii_lowercase().as_str())),
    }
}

/// What claude is told: the message unchanged, and each attached text file behind it.
///
/// # Errors
///
/// A line for the person: a file is not UTF-8, holds NUL, or all together is too long.
pub(crate) fn prompt(content: &str, files: &[(String, Vec<u8>)]) -> Result<String, String> {
    let mut prompt = content.to_owned();
    for (name, bytes) in files {
        let name = shown_name(name);
        let text = std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'));
        let Some(text) = text else {
            return Err(format!("`{name}` is no UTF-8 text. Nothing was started."));
        };
        if !prompt.is_empty() {
            prompt.push_str("\n\n");
        }
        prompt.push_str("Attached file ");
        prompt.push_str(&name);
        prompt.push_str(":\n");
        prompt.push_str(text);
    }
    if PROMPT_MAX < prompt.len() {
        return Err(format!(
            "All together this is {} kB, and a question may have {} kB. Nothing was started.",
            prompt.len().div_ceil(1000),
            PROMPT_MAX / 1000
        ));
    }
    if prompt.trim().is_empty() {
        return Err("The attached file is empty. Nothing was started.".into());
    }
    Ok(prompt)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::{Sharing, Terms};
    use crate::routes::Allow;

    fn heard(content: &str) -> Heard {
        Heard {
            id: "7".parse().unwrap(),
            channel: "5".parse().unwrap(),
            author: Author { id: "9".parse().unwrap(), name: "Ada".into() },
            roles: None,
            by: Writer::Person,
            reply_to: None,
            content: content.into(),
            attachments: Vec::new(),
        }
    }

    fn file(name: &str, media_type: Option<&str>, bytes: u64) -> Attachment {
        let media_type = media_type.map(str::to_owned);
        Attachment { name: name.into(), url: "https://cdn/x".into(), media_type, bytes }
    }

    fn verdict(heard: &Heard) -> Verdict {
        let allow = Allow::Everyone;
        let terms = Terms { sharing: Sharing::Exclusive, requires: Vec::new() };
        let name = "app".parse().unwrap();
        let asking = crate::routes::Asking::default();
        let project = Project { name, channels: Vec::new(), allow, terms, asking };
        judge(heard, &project, &[])
    }

    fn line(verdict: Verdict) -> String {
        let Verdict::Refused(line) = verdict else { panic!("{verdict:?}") };
        line
    }

    #[test]
    fn what_a_person_writes_is_a_run() {
        for text in ["hello", "-v", "--help", "\u{202e}olleh", &"x".repeat(4000)] {
            assert_eq!(verdict(&heard(text)), Verdict::Run);
            assert_eq!(prompt(text, &[]).unwrap(), text, "reaches claude unchanged");
        }
    }

    #[test]
    fn bots_and_discord_itself_are_not_for_us() {
        for by in [Writer::Bot, Writer::System] {
            assert_eq!(verdict(&Heard { by, ..heard("hi") }), Verdict::NotForUs);
        }
    }

    #[test]
    fn nul_and_nothing_are_refused_with_a_line() {
        assert!(line(verdict(&heard("a\0b"))).contains("NUL"));
        assert!(line(verdict(&heard(" \n\t"))).contains("no text"));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_refused_by_name() {
        let with = |file| Heard { attachments: vec![file], ..heard("look") };
        let image = with(file("cat.png", Some("image/png"), 10));
        assert!(line(verdict(&image)).contains("`cat.png`"));
        let large = with(file("a.log", Some("text/plain; charset=utf-8"), TEXT_FILE_MAX + 1));
        assert!(line(verdict(&large)).contains("`a.log` has 263 kB"));
        assert_eq!(verdict(&with(file("a.rs", None, 10))), Verdict::Run);
    }

    #[test]
    fn attached_text_joins_the_prompt() {
        let files = [("a.txt".to_owned(), b"one".to_vec()), ("b.txt".to_owned(), b"two".to_vec())];
        assert_eq!(
            prompt("look", &files).unwrap(),
            "look\n\nAttached file a.txt:\none\n\nAttached file b.txt:\ntwo"
        );
        assert!(prompt("", &[("a.txt".to_owned(), vec![0xff])]).unwrap_err().contains("UTF-8"));
    }
}
