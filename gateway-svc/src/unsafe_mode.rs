//! `!unsafe` and `!safe`: what they are about, what is asked back, and what people are told.
//!
//! Pure. `!unsafe` asks for a second word, a button that counts for a minute; from then on no leave is asked
//! for in runs of that thread, or of that channel's threads, for as long as the project says. Each word is a
//! row of the store, and the newest about a thread or its channel holds: nothing has to happen at its end.
//! It knows nothing of who may say it, and never of what a runner permits.

use std::time::Duration;

use schemas::ids::{ChannelId, MessageId, ProjectName};

use crate::intake::Heard;
use crate::limits::Limits;
use crate::outbox::{Action, Button, Row};
use crate::render::{Place, plain, told};

/// How long the button counts.
pub(crate) const CONFIRM_WITHIN: Duration = Duration::from_secs(60);

/// What a word is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Where it was written: a thread, or a channel with its threads.
    Here,
    /// The channel of the thread that it was written in.
    Channel,
}

impl Scope {
    /// Reads what stands behind the command's word.
    ///
    /// # Errors
    ///
    /// A line for the person.
    pub(crate) fn parse(word: &str, rest: &str) -> Result<Self, String> {
        match rest {
            "" => Ok(Self::Here),
            rest if rest.eq_ignore_ascii_case("channel") => Ok(Self::Channel),
            _ => Err(format!(
                "`!{word}` stands alone, or with `channel` behind it for the whole channel. Nothing was \
                 done."
            )),
        }
    }
}

/// The newest word about a thread or its channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    /// Until when it is unsafe, in milliseconds since 1970; `None`: the word was `!safe`.
    pub(crate) until_ms: Option<i64>,
    /// Who said so.
    pub(crate) by: String,
}

impl Word {
    /// Whether nobody is to be asked at this moment.
    pub(crate) fn is_unsafe_at(&self, now_ms: i64) -> bool {
        self.until_ms.is_some_and(|until_ms| now_ms < until_ms)
    }
}

/// What became of the button.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Confirmed {
    /// It is unsafe from now on, until then.
    Now(i64),
    /// It was said before.
    Before,
    /// The time in which it counts, this long, was over.
    Late(Duration),
    /// Somebody made it safe meanwhile.
    TakenBack,
}

impl Confirmed {
    /// What is said to whoever pressed, and under the message.
    pub(crate) fn line(&self, by: &str) -> String {
        let by = plain(by);
        match self {
            Confirmed::Now(until_ms) => format!(
                "Unsafe until <t:{}:t>, by {by}: nobody is asked for leave. `!safe` ends it.",
                until_ms.div_euclid(1000)
            ),
            Confirmed::Before => "That is decided already.".to_owned(),
            Confirmed::Late(within) => {
                let within = within.as_secs();
                format!("Too late: the button counts for {within} s. Say `!unsafe` again.")
            }
            Confirmed::TakenBack => {
                "Somebody said `!safe` meanwhile; nothing was changed.".to_owned()
            }
        }
    }

    /// What is owed when it is decided: the button goes.
    pub(crate) fn row(&self, asked: (ChannelId, MessageId), by: &str) -> Option<Row> {
        let line = match self {
            Confirmed::Before => return None,
            Confirmed::Now(_) | Confirmed::Late(_) | Confirmed::TakenBack => self.line(by),
        };
        let edit = Action::Edit { channel: asked.0, about: custom_id(asked.1), line };
        Some(Row::of_message(asked.1, "unsafe/over", edit))
    }
}

fn custom_id(asked: MessageId) -> String {
    format!("unsafe/{asked}")
}

/// The `!unsafe` that a button is about, by its message.
pub(crate) fn to_confirm(custom_id: &str) -> Option<MessageId> {
    custom_id.strip_prefix("unsafe/")?.parse().ok()
}

/// What is owed to an `!unsafe`: what it means, with the button.
pub(crate) fn asked_back(heard: &Heard, whole_channel: bool, limits: &Limits) -> Vec<Row> {
    let place = if whole_channel { "this channel and its threads" } else { "this thread" };
    let minutes = limits.unsafe_max.as_secs().div_ceil(60);
    let within = limits.unsafe_confirm.as_secs();
    let line = format!(
        "⚠️ claude would use every tool in {place} for {minutes} min without asking anybody, but for what \
         is denied for good. The button counts for {within} s."
    );
    let mut rows = told(heard, "order", &line);
    if let Some(Row { action: Action::Post { buttons, .. }, .. }) = rows.last_mut() {
        let label = "Make it unsafe".to_owned();
        buttons.push(Button { id: custom_id(heard.id), label });
    }
    rows
}

/// What is said to a `!safe`; `was` tells whether it was unsafe, `running` in how many runs at work.
pub(crate) fn safe_again(whole_channel: bool, was: bool, running: u64) -> String {
    let place = if whole_channel { "this channel and its threads" } else { "this thread" };
    match (was, running) {
        (false, 0) => format!("It was safe: leave is asked for in {place}."),
        (_, 0) => format!("Safe again: leave is asked for in {place}."),
        (_, 1) => format!("Safe again: leave is asked for in {place}, also in the run at work."),
        (_, n) => format!("Safe again: leave is asked for in {place}, also in {n} runs at work."),
    }
}

/// What is owed to a run in which nobody is asked: a line.
pub(crate) fn said(place: &Place, word: &Word) -> Row {
    let until = word.until_ms.unwrap_or_default().div_euclid(1000);
    let content = format!(
        "-# ⚠️ Nobody is asked for leave in this run: unsafe until <t:{until}:t>, by {}. `!safe` ends it.",
        plain(&word.by)
    );
    let channel = place.thread.into();
    let post = Action::Post { channel, reply_to: None, content, buttons: Vec::new() };
    Row::of(&place.run, place.generation, "unsafe", post)
}

/// What is said to whoever may not say `!unsafe`.
pub(crate) fn refused(project: &ProjectName, somebody_may: bool) -> String {
    if somebody_may {
        format!("You may not say `!unsafe` in **{project}**. Nothing was changed.")
    } else {
        format!(
            "Nobody may say `!unsafe` in **{project}**: whoever runs this bot can name people who may. \
             Nothing was changed."
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_stands_alone_or_before_channel() {
        assert_eq!(Scope::parse("unsafe", ""), Ok(Scope::Here));
        assert_eq!(Scope::parse("unsafe", "CHANNEL"), Ok(Scope::Channel));
        for rest in
            ["now", "channel 5", "<#5>", "-1", "\u{202e}lennahc", "channel\nrm -rf /", "confirm"]
        {
            let line = Scope::parse("unsafe", rest).unwrap_err();
            assert!(line.contains("`!unsafe`") && !line.contains(rest), "{line}");
        }
    }

    #[test]
    fn a_word_holds_until_its_time_is_over() {
        let word = |until_ms| Word { until_ms, by: "Ada".into() };
        assert!(word(Some(10)).is_unsafe_at(9));
        assert!(!word(Some(10)).is_unsafe_at(10));
        assert!(!word(None).is_unsafe_at(0));
    }

    #[test]
    fn a_button_says_again_what_it_confirms() {
        let message: MessageId = "7".parse().unwrap();
        assert_eq!(to_confirm(&custom_id(message)), Some(message));
        for text in ["", "unsafe", "unsafe/", "unsafe/x", "unsafe/7/1", "safe/7"] {
            assert_eq!(to_confirm(text), None, "{text:?}");
        }
    }
}
