//! Asking people on claude's behalf: a click → what is decided by it.
//!
//! Pure. A click names its ask by run, generation, attempt, ask and part; what it may decide follows from
//! what was asked, which the caller reads under the thread's lock. `shown` says what people see of an ask.
//!
//! It knows nothing of who may decide, and never guesses: a click that does not fit decides nothing.

mod shown;

use std::fmt;
use std::str::FromStr;

use schemas::ask::{AskId, Decision, Picked, WORDS_MAX, Wanted};
use schemas::ids::{Attempt, Generation, RunId};

use crate::render::plain;
pub(crate) use shown::{granted, offer, offer_over, over, shown};

/// The most characters of a person's words in the line that says what was decided.
const QUOTE_MAX: usize = 150;
/// The value of the option for another answer.
const OTHER: &str = "other";

/// What is said to a click on an ask that nobody waits for any more.
pub(crate) const OVER: &str = "Nobody waits for this any more; nothing was done.";
/// What is said to a click that does not fit what was asked.
pub(crate) const UNFIT: &str = "That is no answer to this; nothing was done.";

/// What is said under an offer to send a message when nothing is asked any more.
pub(crate) const IN_ITS_TURN: &str = "It is answered in its turn.";

/// The run whose message is to be sent in place of a yes, if a press says so.
pub(crate) fn to_send(custom_id: &str) -> Option<RunId> {
    custom_id.strip_prefix("send/")?.parse().ok()
}

/// What a click is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    /// The run,
    pub(crate) run: RunId,
    /// in which generation,
    pub(crate) generation: Generation,
    /// and in which attempt.
    pub(crate) attempt: Attempt,
    /// The ask of that attempt's claude.
    pub(crate) ask: AskId,
    /// Which part of it, counted from 0.
    pub(crate) part: usize,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { run, generation, attempt, ask, part } = self;
        write!(f, "{run}/{generation}/{attempt}/{ask}/{part}")
    }
}

impl FromStr for Key {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let parts: Vec<_> = text.split('/').collect();
        let [run, generation, attempt, ask, part] = parts[..] else { return Err(()) };
        Ok(Self {
            run: run.parse().map_err(drop)?,
            generation: generation.parse().map_err(drop)?,
            attempt: attempt.parse().map_err(drop)?,
            ask: ask.parse().map_err(drop)?,
            part: part.parse().map_err(drop)?,
        })
    }
}

/// What somebody chose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Yes, this once.
    Yes,
    /// Yes, and all of the same kind in this thread.
    ForThread,
    /// No, with what claude is told.
    No(Option<String>),
    /// An answer to a question.
    Answer(Picked),
}

/// A click, or a form that was handed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Click {
    /// What it is about.
    pub(crate) key: Key,
    /// What was chosen.
    pub(crate) choice: Choice,
}

/// A form of one text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    /// What comes back with it: at most 100 characters.
    pub(crate) id: String,
    /// Its title, of at most 45 characters.
    pub(crate) title: &'static str,
    /// What is asked for, of at most 45 characters.
    pub(crate) label: &'static str,
    /// Whether it may not be left empty.
    pub(crate) required: bool,
}

/// The form that a press opens, if it opens one: known from the press alone, because Discord takes a form
/// only as the first answer.
pub(crate) fn form(custom_id: &str, values: &[String]) -> Option<Form> {
    let (verb, key) = custom_id.split_once('/')?;
    let key: Key = key.parse().ok()?;
    let form = |id, title, label, required| Some(Form { id, title, label, required });
    let because = || format!("because/{key}");
    match verb {
        "why" => form(because(), "Deny", "What should claude do instead?", true),
        "keep" => form(because(), "Keep planning", "What should change?", false),
        OTHER => form(format!("words0/{key}"), "Another answer", "Your answer", true),
        "menu" if values.iter().any(|value| value == OTHER) => {
            let mask = numbers(values).fold(0_u32, |mask, n| mask | 1 << n);
            form(format!("words{mask:x}/{key}"), "Another answer", "Your answer", true)
        }
        _ => None,
    }
}

/// The options that were chosen in a menu, by number.
fn numbers(values: &[String]) -> impl Iterator<Item = u8> {
    values.iter().filter_map(|value| value.parse().ok()).filter(|n| *n < 32)
}

impl Click {
    /// What a press, or a form with these words, means; `None`: none of ours, or one that opens a form.
    pub(crate) fn parse(custom_id: &str, values: &[String], words: Option<&str>) -> Option<Self> {
        let (verb, key) = custom_id.split_once('/')?;
        let key = key.parse().ok()?;
        let words = words.map(|words| words.trim().chars().take(WORDS_MAX).collect::<String>());
        let words = words.filter(|words| !words.is_empty());
        let choice = match verb {
            "yes" => Choice::Yes,
            "thread" => Choice::ForThread,
            "no" => Choice::No(None),
            "because" => Choice::No(words),
            "menu" if !values.iter().any(|value| value == OTHER) => {
                Choice::Answer(Picked { options: numbers(values).collect(), words: None })
            }
            _ => Choice::Answer(if let Some(mask) = verb.strip_prefix("words") {
                let mask = u32::from_str_radix(mask, 16).ok()?;
                let options = (0..32).filter(|n| mask >> n & 1 == 1).collect();
                Picked { options, words: Some(words?) }
            } else {
                let option = verb.strip_prefix("pick")?.parse().ok()?;
                Picked { options: vec![option], words: None }
            }),
        };
        Some(Self { key, choice })
    }
}

/// What is decided by a choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decided {
    /// What claude is to be told, or a part of it.
    pub(crate) decision: Decision,
    /// What everybody is told.
    pub(crate) line: String,
    /// What is allowed for the whole thread by it.
    pub(crate) grant: Option<String>,
}

/// What somebody of this name decides by a choice; `None`: it does not fit what was asked.
pub(crate) fn decide(wanted: &Wanted, part: usize, choice: &Choice, by: &str) -> Option<Decided> {
    let by = plain(by);
    if wanted.parts() <= part {
        return None;
    }
    let allow = |line, grant| Some(Decided { decision: Decision::Allow, line, grant });
    match (wanted, choice) {
        (Wanted::Permission { .. }, Choice::Yes) => allow(format!("Allowed by {by}."), None),
        (Wanted::Permission { rule, .. }, Choice::ForThread) => {
            allow(format!("Allowed for this thread by {by}."), Some(rule.clone()))
        }
        (Wanted::Plan { .. }, Choice::Yes) => allow(format!("Approved by {by}."), None),
        (_, Choice::No(words)) => {
            let said = words.as_deref().map(|words| format!(": {}", quote(words)));
            let said = said.unwrap_or_else(|| ".".to_owned());
            let line = match wanted {
                Wanted::Plan { .. } => format!("{by} wants it planned further{said}"),
                Wanted::Permission { .. } | Wanted::Question { .. } => {
                    format!("Denied by {by}{said}")
                }
            };
            let decision = Decision::Deny { words: words.clone() };
            Some(Decided { decision, line, grant: None })
        }
        (Wanted::Question { questions }, Choice::Answer(picked)) => {
            let question = questions.get(part)?;
            let chosen: Option<Vec<_>> = picked
                .options
                .iter()
                .map(|n| question.options.get(usize::from(*n)).map(|it| it.label.as_str()))
                .collect();
            let all: Vec<_> = chosen?.into_iter().chain(picked.words.as_deref()).collect();
            if all.is_empty() || (!question.multi && 1 < all.len()) {
                return None;
            }
            let line = format!("{by} answered: {}", quote(&all.join(", ")));
            let decision = Decision::Answers { picked: vec![picked.clone()] };
            Some(Decided { decision, line, grant: None })
        }
        (Wanted::Permission { .. } | Wanted::Plan { .. }, Choice::Answer(_))
        | (Wanted::Plan { .. } | Wanted::Question { .. }, Choice::ForThread)
        | (Wanted::Question { .. }, Choice::Yes) => None,
    }
}

/// A person's words in a line.
fn quote(words: &str) -> String {
    let line = plain(words);
    match line.char_indices().nth(QUOTE_MAX) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

#[cfg(test)]
mod tests;
