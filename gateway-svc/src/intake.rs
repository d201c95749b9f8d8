//! A message that was heard → run, refused with a line, or not for us.
//!
//! Pure: what is in attached files is nobody's business here, only what Discord says of them. A verdict
//! is given once and stored; nothing here remembers one.

use schemas::ids::{ChannelId, MessageId, RoleId};
use schemas::request::Author;

use crate::attached::{Files, left_out};
use crate::commands::Command;
use crate::routes::Project;

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
    /// Whether it carries our mark of an outcome, as read over REST: then what it asked for was answered,
    /// failed or was stopped.
    pub(crate) is_settled: bool,
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
    if heard.content.trim().is_empty() {
        if heard.attachments.is_empty() {
            return Verdict::Refused(
                "There is no text in this message, so nothing was started.".into(),
            );
        }
        let files = Files::sift(&heard.attachments, &project.files);
        if files.taken.is_empty() {
            return Verdict::Refused(format!(
                "{}. Nothing was started.",
                left_out(&files.withheld)
            ));
        }
    }
    match Command::parse(&heard.content) {
        Ok(Some(command)) => Verdict::Command(command),
        Err(line) => Verdict::Refused(line),
        Ok(None) => Verdict::Run,
    }
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
            is_settled: false,
        }
    }

    fn file(name: &str, media_type: Option<&str>, bytes: u64) -> Attachment {
        let media_type = media_type.map(str::to_owned);
        let url = "https://cdn.discordapp.com/attachments/1/2/x".into();
        Attachment { name: name.into(), url, media_type, bytes }
    }

    fn verdict(heard: &Heard) -> Verdict {
        let allow = Allow::Everyone;
        let terms = Terms { sharing: Sharing::Exclusive, requires: Vec::new() };
        let name = "app".parse().unwrap();
        let asking = crate::routes::Asking::default();
        let (files, limits) = (crate::attached::Terms::default(), crate::limits::Limits::default());
        let project = Project { name, channels: Vec::new(), allow, terms, asking, files, limits };
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
    fn a_file_that_claude_is_not_given_is_refused_by_name_where_there_is_nothing_else() {
        let with = |text: &str, file| Heard { attachments: vec![file], ..heard(text) };
        let film = || file("film.mp4", Some("video/mp4"), 10);
        let line = line(verdict(&with(" ", film())));
        assert!(line.contains("`film.mp4`") && line.ends_with("Nothing was started."), "{line}");
        assert_eq!(verdict(&with("look", film())), Verdict::Run, "there is a question");
        assert_eq!(verdict(&with("", file("cat.png", Some("image/png"), 10))), Verdict::Run);
    }
}
