//! `!queue`: what waits in a thread, and what a person wants done about it.
//!
//! Pure: the words behind the command → what is wanted, and what became of it → the line. A question is
//! named by its number in its thread, which counts all of them and never changes: whoever has looked at a
//! list a while ago still means the same one.

use schemas::files::ATTACHED_MAX;
use schemas::ids::RunId;

use crate::render::plain;
use crate::steer::Sent;

/// How to use it: told to whoever did otherwise.
pub(crate) const USAGE: &str = "I did not understand that; nothing was done. `!queue` lists what waits, each with its number. \
     `!queue send 2`, `!queue drop 2 3`, `!queue edit 2 the new text`, `!queue merge 2 3` do something \
     about it.";

/// The most questions that are named at once.
const NUMBERS_MAX: usize = 10;
/// The most questions that are listed: so many fit one message.
const LISTED_MAX: usize = 10;
/// The most characters of a question in a list.
const WORDS_MAX: usize = 50;
/// The most characters of a person's name in a list.
const NAME_MAX: usize = 32;

/// What somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// To see what waits.
    List,
    /// To have one sent into the run at work.
    Send(u32),
    /// To have them dropped.
    Drop(Vec<u32>),
    /// To have one say something else.
    Edit(u32, String),
    /// To have them answered as one.
    Merge(Vec<u32>),
}

impl Wanted {
    /// What stands behind `!queue`; `None`: nobody understands it.
    pub(crate) fn parse(rest: &str) -> Option<Self> {
        if rest.is_empty() {
            return Some(Wanted::List);
        }
        let (verb, rest) = rest.split_once(char::is_whitespace)?;
        let rest = rest.trim();
        match verb.to_ascii_lowercase().as_str() {
            "send" => Some(Wanted::Send(number(rest)?)),
            "drop" => Some(Wanted::Drop(numbers(rest, 1)?)),
            "merge" => Some(Wanted::Merge(numbers(rest, 2)?)),
            "edit" => {
                let (which, text) = rest.split_once(char::is_whitespace)?;
                Some(Wanted::Edit(number(which)?, text.trim().to_owned()))
            }
            _ => None,
        }
    }

    /// The questions that it names.
    pub(crate) fn named(&self) -> &[u32] {
        match self {
            Wanted::List => &[],
            Wanted::Send(number) | Wanted::Edit(number, _) => std::slice::from_ref(number),
            Wanted::Drop(numbers) | Wanted::Merge(numbers) => numbers,
        }
    }
}

fn number(text: &str) -> Option<u32> {
    let digits = text.strip_prefix('#').unwrap_or(text);
    digits.parse().ok().filter(|number| *number != 0)
}

/// Different numbers, at least so many.
fn numbers(text: &str, least: usize) -> Option<Vec<u32>> {
    let split = text.split([' ', ',', '\n', '\t']).filter(|part| !part.is_empty());
    let mut numbers = split.map(number).collect::<Option<Vec<_>>>()?;
    numbers.sort_unstable();
    numbers.dedup();
    (least <= numbers.len() && numbers.len() <= NUMBERS_MAX).then_some(numbers)
}

/// A question that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Waits {
    /// Its number in the thread.
    pub(crate) number: u32,
    /// Its run.
    pub(crate) run: RunId,
    /// Who asked.
    pub(crate) author: String,
    /// What claude will be told.
    pub(crate) words: String,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// This waits.
    List(Vec<Waits>),
    /// There is no such question among these, which wait.
    NotThere(u32, Vec<Waits>),
    /// This became of one that was to be sent.
    Sent(Sent),
    /// They are dropped.
    Dropped(Vec<Waits>),
    /// It says something else now.
    Edited(Waits),
    /// Only whoever asked may change what it says.
    NotYours(Waits),
    /// These are one now, with the first's place.
    Merged(Vec<Waits>),
    /// They are different people's.
    OfSeveral,
    /// It would be too long.
    TooLong,
    /// It would have too many files.
    TooManyFiles,
    /// Files of theirs are on their way yet.
    FilesOnTheirWay,
}

impl Done {
    /// What the person is told.
    pub(crate) fn line(&self) -> String {
        match self {
            Done::List(all) if all.is_empty() => "Nothing waits in this thread.".to_owned(),
            Done::List(all) => {
                format!("{}\n-# `!queue send N`, `drop N`, `edit N TEXT`, `merge N N`", list(all))
            }
            Done::NotThere(number, all) if all.is_empty() => {
                format!("Question {number} does not wait; nothing does. Nothing was done.")
            }
            Done::NotThere(number, all) => {
                format!(
                    "Question {number} does not wait; nothing was done. What waits:\n{}",
                    list(all)
                )
            }
            Done::Sent(sent) => sent.line().to_owned(),
            Done::Dropped(all) => format!("Dropped:\n{}", list(all)),
            Done::Edited(waits) => format!(
                "Changed: {}\n-# To change it again, use `!queue edit {}`: its own message does not \
                 count any more.",
                item(waits),
                waits.number
            ),
            Done::NotYours(waits) => format!(
                "Only {} may change question {}; nothing was done.",
                name(&waits.author),
                waits.number
            ),
            Done::Merged(all) => {
                let first = all.first().map_or(0, |first| first.number);
                format!("These are one now, question {first}:\n{}", list(all))
            }
            Done::OfSeveral => {
                "Only questions of one person can be merged; nothing was done.".to_owned()
            }
            Done::TooLong => {
                "That would be too long for one question; nothing was done.".to_owned()
            }
            Done::TooManyFiles => {
                format!("Together they have more than {ATTACHED_MAX} files; nothing was done.")
            }
            Done::FilesOnTheirWay => {
                "Their files are still on their way from Discord; nothing was done. Try again in a \
                 moment."
                    .to_owned()
            }
        }
    }
}

fn list(all: &[Waits]) -> String {
    let mut lines: Vec<String> = all.iter().take(LISTED_MAX).map(item).collect();
    let more = all.len().saturating_sub(LISTED_MAX);
    if more != 0 {
        lines.push(format!("-# and {more} more"));
    }
    lines.join("\n")
}

fn item(waits: &Waits) -> String {
    let words = short(&plain(&waits.words).replace('`', "'"), WORDS_MAX);
    format!("**{}** {}: `{words}`", waits.number, name(&waits.author))
}

fn name(author: &str) -> String {
    short(&plain(author), NAME_MAX)
}

fn short(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pages::PAGE_MAX;

    #[test]
    fn what_is_wanted_is_understood_or_not_at_all() {
        assert_eq!(Wanted::parse(""), Some(Wanted::List));
        assert_eq!(Wanted::parse("send #2"), Some(Wanted::Send(2)));
        assert_eq!(Wanted::parse("DROP 3, 2 2"), Some(Wanted::Drop(vec![2, 3])));
        assert_eq!(Wanted::parse("merge 2 3"), Some(Wanted::Merge(vec![2, 3])));
        let edit = Wanted::Edit(2, "a\nb  c".into());
        assert_eq!(Wanted::parse("edit 2  a\nb  c "), Some(edit));
        for text in [
            "drop",
            "drop x",
            "drop 0",
            "drop -1",
            "drop 4294967296",
            "drop 2.5",
            "merge 2",
            "merge 2 2",
            "edit 2",
            "edit two text",
            "send",
            "send 2 3",
            "all",
            "drop 1 2 3 4 5 6 7 8 9 10 11",
            "drop ٢",
            "\u{202e}drop 2",
        ] {
            assert_eq!(Wanted::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_list_fits_one_message_whatever_is_in_it() {
        let waits = |number| Waits {
            number,
            run: "m7".parse().unwrap(),
            author: "\u{1f980}".repeat(40),
            words: "`\u{1f980}".repeat(2000),
        };
        let all: Vec<_> = (1..=100).map(waits).collect();
        for done in [Done::List(all.clone()), Done::NotThere(u32::MAX, all)] {
            let line = done.line();
            assert!(line.encode_utf16().count() <= PAGE_MAX, "{}", line.len());
            assert!(line.contains("and 90 more") && !line.contains("``"), "{line}");
        }
    }
}
