//! What claude asks of people, and what they decide: open asks of a record, answers of the controls.
//!
//! An ask in a record is made to be shown: its texts are cut to fit. What claude gave in full lies in
//! the holder's journal, and a decision speaks of it by number, never by a text that may have been cut.
//! Plain values; who cuts is the runner, who shows is the gateway.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::{Attempt, IdError};

/// The most asks that are open in one record; a further one is written when one of them is settled.
pub const ASKS_MAX: usize = 4;

/// The most bytes of one ask as JSON: with [`ASKS_MAX`] of them, a record of
/// [`crate::record::RECORD_MAX`] has 16 KiB for all else.
pub const ASK_JSON_MAX: usize = 12 * 1024;

/// The most options of a question that are shown: a menu of Discord takes 25, and one is for another
/// answer.
pub const OPTIONS_MAX: usize = 24;

/// The most questions of one ask that are shown. claude asks at most four.
pub const QUESTIONS_MAX: usize = 4;

/// The most characters of what a person says in an answer.
pub const WORDS_MAX: usize = 1000;

/// The name of an ask within an attempt: 16 hexadecimal digits, made from claude's own name for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AskId(String);

impl AskId {
    /// The regular expression that every such id matches.
    pub const PATTERN: &'static str = "^[0-9a-f]{16}$";

    /// The id with these digits.
    pub fn new(number: u64) -> Self {
        Self(format!("{number:016x}"))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for AskId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() == 16 && text.bytes().all(is_hex) {
            Ok(Self(text.to_owned()))
        } else {
            Err(IdError::new("AskId", "16 hexadecimal digits", text))
        }
    }
}

crate::ids::as_text!(AskId);

/// What claude waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Ask {
    /// Its name in this attempt.
    pub id: AskId,
    /// When its holder first saw it, in milliseconds since 1970.
    pub since_ms: i64,
    /// Whether some of what claude said is left out here.
    #[serde(default, skip_serializing_if = "is_false")]
    pub cut: bool,
    /// What it is about.
    #[serde(flatten)]
    pub wanted: Wanted,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

/// What an ask is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Wanted {
    /// Leave to use a tool.
    Permission {
        /// The tool, as claude names it.
        tool: String,
        /// What it would be used on: a command, a path with its new text.
        object: String,
        /// claude's own words about it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
        /// What leave for the whole thread would be for: an ask with the same rule is the same kind
        /// of thing.
        rule: String,
    },
    /// Answers to questions.
    Question {
        /// One to [`QUESTIONS_MAX`].
        questions: Vec<Question>,
    },
    /// Word that a plan is to be carried out.
    Plan {
        /// The plan.
        text: String,
    },
}

/// One question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Question {
    /// The question.
    pub text: String,
    /// What may be chosen, at most [`OPTIONS_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<Choice>,
    /// Whether more than one may be chosen.
    #[serde(default, skip_serializing_if = "is_false")]
    pub multi: bool,
}

/// What may be chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Choice {
    /// What it is called.
    pub label: String,
    /// What it means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// What a person decided about an ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Decision {
    /// Yes: the tool may be used, the plan be carried out.
    Allow,
    /// No.
    Deny {
        /// What the person said to claude, of at most [`WORDS_MAX`] characters.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        words: Option<String>,
    },
    /// What was chosen, for each question in turn.
    Answers {
        /// As many as there are questions.
        picked: Vec<Picked>,
    },
}

/// What a person answered to one question.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Picked {
    /// The options, counted from 0 as claude gave them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<u8>,
    /// An answer in the person's own words, of at most [`WORDS_MAX`] characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words: Option<String>,
}

impl Wanted {
    /// How many things are to be decided one by one before the ask is.
    pub fn parts(&self) -> usize {
        match self {
            Wanted::Permission { .. } | Wanted::Plan { .. } => 1,
            Wanted::Question { questions } => questions.len(),
        }
    }
}

impl Decision {
    /// What is decided about an ask, from what was about each of its parts.
    pub fn of_parts(mut parts: Vec<Decision>) -> Option<Self> {
        let answers = |part: &Decision| matches!(part, Decision::Answers { .. });
        if !parts.iter().all(answers) {
            return parts.into_iter().find(|part| !answers(part));
        }
        let picked = parts.drain(..).flat_map(|part| match part {
            Decision::Answers { picked } => picked,
            Decision::Allow | Decision::Deny { .. } => Vec::new(),
        });
        Some(Decision::Answers { picked: picked.collect() })
    }
}

/// How long a run has waited for people by a moment, beyond what was counted before: `before` are the
/// asks that were open until then, `after` those that still are. In milliseconds.
pub fn waited_ms(before: &[Ask], after: &[Ask], now_ms: i64) -> i64 {
    let since = |asks: &[Ask]| asks.iter().map(|ask| ask.since_ms).min();
    let Some(began) = since(before) else { return 0 };
    (since(after).unwrap_or(now_ms).min(now_ms) - began).max(0)
}

/// The id of the control that answers an ask.
pub fn control_id(attempt: Attempt, ask: &AskId) -> String {
    format!("answer/{attempt}/{ask}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(since_ms: i64) -> Ask {
        let wanted = Wanted::Plan { text: "do it".into() };
        Ask { id: AskId::new(7), since_ms, cut: false, wanted }
    }

    #[test]
    fn an_id_parses_as_it_prints() {
        let id = AskId::new(0xabc);
        assert_eq!(id.as_str(), "0000000000000abc");
        assert_eq!(id.as_str().parse(), Ok(id));
        for text in ["", "0123456789abcde", "0123456789abcdeg", "0123456789ABCDEF"] {
            assert!(text.parse::<AskId>().is_err(), "{text}");
        }
    }

    #[test]
    fn each_moment_of_waiting_is_counted_once() {
        let (one, two) = (ask(10), ask(30));
        let both = [one.clone(), two.clone()];
        assert_eq!(waited_ms(&[], &[one], 50), 0);
        assert_eq!(waited_ms(&both, std::slice::from_ref(&two), 50), 20);
        assert_eq!(waited_ms(&[two], &[], 50), 20);
        assert_eq!(waited_ms(&both, &[], 50), 40);
        assert_eq!(waited_ms(&both, &[], 5), 0, "a clock that went back");
    }

    #[test]
    fn the_answers_to_all_questions_are_one_decision() {
        let part = |option| Decision::Answers {
            picked: vec![Picked { options: vec![option], words: None }],
        };
        let Some(Decision::Answers { picked }) = Decision::of_parts(vec![part(1), part(0)]) else {
            panic!("no answers")
        };
        assert_eq!(picked.iter().map(|it| it.options[0]).collect::<Vec<_>>(), [1, 0]);
        let deny = Decision::Deny { words: None };
        assert_eq!(Decision::of_parts(vec![part(1), deny.clone()]), Some(deny));
    }
}
