//! Messages that were found too late: listed with two buttons, and run when somebody says so.
//!
//! Pure: message → whether it is late, messages → the list, button id ↔ what was decided. A list
//! is named by its newest message, and no message is in two lists.

use std::fmt::Write as _;
use std::time::Duration;

use schemas::ids::{ChannelId, MessageId, ProjectName, UserId};

use crate::intake::Heard;
use crate::outbox::{Action, Button, Row};
use crate::pages::PAGE_MAX;
use crate::render::plain;

/// The most messages that a list names; the others are counted. So many fit into one post.
const NAMED_MAX: usize = 8;
/// The most UTF-16 units of a message's first words.
const WORDS_MAX: usize = 60;

/// What is said to whoever presses a button that is older than the store remembers.
pub(crate) const UNKNOWN_LIST: &str = "Nobody knows these messages any more.";

/// What is said to an order that was found too late.
pub(crate) const LATE_ORDER: &str =
    "I was away when you wrote this, and it is too old to be carried out. Nothing was done.";

/// What is said to an order of a time that the store does not know: it may have been carried out.
pub(crate) const LOST_ORDER: &str = "My memory was put back from a copy that is older than this. If it was not done, please say it again.";

/// A message that was found too late to be run unasked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Missed {
    /// The message.
    pub(crate) message: MessageId,
    /// Where it was written: a channel, or a thread.
    pub(crate) place: ChannelId,
    /// The mapped channel.
    pub(crate) channel: ChannelId,
    /// Its project.
    pub(crate) project: ProjectName,
    /// Who wrote it.
    pub(crate) author: UserId,
    /// How it begins.
    pub(crate) words: String,
}

impl Missed {
    /// What is kept of a message.
    pub(crate) fn of(heard: &Heard, channel: ChannelId, project: &ProjectName) -> Self {
        Self {
            message: heard.id,
            place: heard.channel,
            channel,
            project: project.clone(),
            author: heard.author.id,
            words: first_words(&heard.content),
        }
    }
}

/// Whether a message is older than what is run unasked.
pub(crate) fn is_late(message: MessageId, max: Duration, now_ms: i64) -> bool {
    let max_ms = i64::try_from(max.as_millis()).unwrap_or(i64::MAX);
    max_ms < now_ms.saturating_sub(message.created_at_ms())
}

/// What can be decided about a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// All of them are run.
    Run,
    /// None of them is.
    Leave,
}

/// A button under a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decide {
    /// What it does.
    pub(crate) choice: Choice,
    /// With which list.
    pub(crate) list: MessageId,
}

impl Decide {
    /// The button's `custom_id`.
    pub(crate) fn custom_id(self) -> String {
        let choice = match self.choice {
            Choice::Run => "run_missed",
            Choice::Leave => "leave_missed",
        };
        format!("{choice}/{}", self.list)
    }

    /// What is owed when this was decided: the buttons go from under the list.
    pub(crate) fn row(self, place: ChannelId, by: &str) -> Row {
        let line = match self.choice {
            Choice::Run => format!("{by} had them run."),
            Choice::Leave => format!("{by} left them."),
        };
        let about = format!("missed/{}", self.list);
        let edit = Action::Edit { channel: place, about, line };
        Row { name: format!("missed/{}/decided", self.list), action: edit }
    }

    /// What a `custom_id` of ours means.
    pub(crate) fn parse(custom_id: &str) -> Option<Self> {
        let (choice, list) = custom_id.split_once('/')?;
        let choice = match choice {
            "run_missed" => Choice::Run,
            "leave_missed" => Choice::Leave,
            _ => return None,
        };
        Some(Self { choice, list: list.parse().ok()? })
    }
}

/// What became of a press.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decided {
    /// This one decided, about so many messages.
    Now(u64),
    /// Somebody of this name was faster, and chose this.
    Before(Choice, String),
}

impl Decided {
    /// What the person is told.
    pub(crate) fn line(&self, choice: Choice) -> String {
        match (self, choice) {
            (Decided::Now(0), _) => UNKNOWN_LIST.into(),
            (Decided::Now(1), Choice::Run) => "I run it now.".into(),
            (Decided::Now(count), Choice::Run) => {
                format!(
                    "I run all {count} now, in their order. What was deleted meanwhile is left."
                )
            }
            (Decided::Now(_), Choice::Leave) => "They are left as they are.".into(),
            (Decided::Before(Choice::Run, name), _) => {
                format!("That is decided already: {name} had them run.")
            }
            (Decided::Before(Choice::Leave, name), _) => {
                format!("That is decided already: {name} left them.")
            }
        }
    }
}

/// The list of these messages, oldest first, with its buttons; `None`: there are none.
///
/// `guild` is the server's id, for links.
pub(crate) fn list(missed: &[Missed], guild: u64, max: Duration) -> Option<Row> {
    let newest = missed.last()?;
    let hours = max.as_secs().div_ceil(3600);
    let many = missed.len();
    let content = match many {
        1 => format!(
            "I missed a message that is more than {hours} h old by now, and did not run it:"
        ),
        _ => format!(
            "I missed {many} messages that are more than {hours} h old by now, and did not run them:"
        ),
    };
    let mut content = missed.iter().take(NAMED_MAX).fold(content, |mut content, it| {
        let seconds = it.message.created_at_ms().div_euclid(1000);
        let Missed { author, words, place, message, .. } = it;
        let link = format!("https://discord.com/channels/{guild}/{place}/{message}");
        // A text takes whatever is written to it.
        let _ = write!(content, "\n- <@{author}> <t:{seconds}:R> `{words}` {link}");
        content
    });
    if NAMED_MAX < many {
        let _ = write!(content, "\n-# and {} more", many - NAMED_MAX);
    }
    debug_assert!(content.encode_utf16().count() <= PAGE_MAX, "{content}");
    let button = |choice, label: &str| Button {
        id: Decide { choice, list: newest.message }.custom_id(),
        label: label.to_owned(),
    };
    let (run, leave) = if many == 1 { ("Run it", "Leave it") } else { ("Run them", "Leave them") };
    let buttons = vec![button(Choice::Run, run), button(Choice::Leave, leave)];
    let post = Action::Post { channel: newest.place, reply_to: None, content, buttons };
    Some(Row { name: format!("missed/{}", newest.message), action: post })
}

/// The beginning of a message's first line, as it may stand in a code span.
fn first_words(content: &str) -> String {
    let line = content.lines().map(plain).find(|line| !line.is_empty());
    let line = line.unwrap_or_else(|| "(no text)".into()).replace('`', "'");
    let mut words = String::new();
    let mut units = 0;
    for character in line.chars() {
        units += character.len_utf16();
        if WORDS_MAX < units {
            words.push('…');
            break;
        }
        words.push(character);
    }
    words
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn missed(message: u64, words: &str) -> Missed {
        Missed {
            message: MessageId::new(message).unwrap(),
            place: "5".parse().unwrap(),
            channel: "5".parse().unwrap(),
            project: "app".parse().unwrap(),
            author: "9".parse().unwrap(),
            words: first_words(words),
        }
    }

    fn parts(row: Row) -> (String, Vec<Button>) {
        let Action::Post { content, buttons, .. } = row.action else { panic!("{row:?}") };
        (content, buttons)
    }

    #[test]
    fn a_message_is_late_when_it_is_older_than_the_limit() {
        let message = MessageId::first_of(1_700_000_000_000);
        assert!(!is_late(message, DAY, 1_700_086_400_000));
        assert!(is_late(message, DAY, 1_700_086_400_001));
        assert!(!is_late(message, DAY, 1_600_000_000_000), "by a clock that is behind");
    }

    #[test]
    fn a_list_names_its_messages_and_asks_what_to_do() {
        let row = list(&[missed(70, "one\ntwo"), missed(80, "`<@3>` hm")], 3, DAY).unwrap();
        assert_eq!(row.name, "missed/80");
        let (content, buttons) = parts(row);
        assert_eq!(
            content,
            "I missed 2 messages that are more than 24 h old by now, and did not run them:\n\
             - <@9> <t:1420070400:R> `one` https://discord.com/channels/3/5/70\n\
             - <@9> <t:1420070400:R> `'' hm` https://discord.com/channels/3/5/80"
        );
        let said: Vec<_> = buttons.iter().map(|it| (it.id.as_str(), it.label.as_str())).collect();
        assert_eq!(said, [("run_missed/80", "Run them"), ("leave_missed/80", "Leave them")]);
        assert_eq!(list(&[], 3, DAY), None);
    }

    #[test]
    fn a_long_list_counts_those_that_it_does_not_name() {
        let many: Vec<_> = (1..=NAMED_MAX as u64 + 5).map(|id| missed(id, "hm")).collect();
        let (content, _) = parts(list(&many, 3, DAY).unwrap());
        assert_eq!(content.matches("\n- ").count(), NAMED_MAX);
        assert!(content.ends_with("\n-# and 5 more"), "{content}");
    }

    #[test]
    fn a_button_says_again_what_it_is_about() {
        for choice in [Choice::Run, Choice::Leave] {
            let decide = Decide { choice, list: "80".parse().unwrap() };
            assert_eq!(Decide::parse(&decide.custom_id()), Some(decide));
        }
        for text in ["", "run_missed", "run_missed/x", "run_missed/1/2", "retry/m7/1"] {
            assert_eq!(Decide::parse(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn every_list_fits_into_a_post(texts in prop::collection::vec("\\PC{0,200}|(`🦀){0,200}", 1..30)) {
            let top = i64::MAX.unsigned_abs();
            let many: Vec<_> = texts.iter().zip(top - 100..).map(|(text, id)| Missed {
                place: ChannelId::new(id).unwrap(),
                author: UserId::new(id).unwrap(),
                ..missed(id, text)
            }).collect();
            let (content, _) = parts(list(&many, top, Duration::from_secs(30 * 86_400)).unwrap());
            prop_assert!(content.encode_utf16().count() <= PAGE_MAX);
            for it in &many {
                prop_assert!(!it.words.contains('`') && !it.words.contains('\n'));
            }
        }
    }
}
