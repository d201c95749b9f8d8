//! The words that are commands: one table, from which a message is read and `!help` is written.
//!
//! Pure. A message is a command when it begins with `!` and a word of the table; a command that takes
//! nothing is the word alone. All else is a prompt: claude has commands of its own, and people write
//! exclamation marks. Who may give a command, and what becomes of it, is said elsewhere.

use schemas::ids::SessionId;

use super::Order;
use crate::conversation::{MODEL_USAGE, Model};
use crate::forks::session_id;
use crate::queue::{USAGE, Wanted};
use crate::unsafe_mode::Scope;

/// What a message asks of us, and not of claude.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Something about a run.
    Order(Order),
    /// What there is.
    Help,
    /// What waits, and what is to be done about it.
    Queue(Wanted),
    /// The next question begins a fresh session.
    Restart,
    /// Where the session is.
    Session,
    /// Which model the thread has.
    Model(Model),
    /// What has changed in the thread's worktree.
    Diff,
    /// Another thread with what was said in this one.
    Fork,
    /// A session that was begun in a terminal.
    Resume(SessionId),
    /// Leave is asked for no more.
    Unsafe(Scope),
    /// It is again.
    Safe(Scope),
}

/// What a message with a word of the table is: a command, a prompt (`None`) or a mistake, with the line
/// that says so.
type Read = Result<Option<Command>, String>;

/// A row of the table.
struct Entry {
    /// The word, without its `!`.
    word: &'static str,
    /// What may stand behind it, as `!help` shows it; empty: nothing.
    arguments: &'static str,
    /// What it does, in a few words.
    about: &'static str,
    /// Reads what stands behind the word, trimmed.
    read: fn(&str) -> Read,
}

/// Every command, in the order of `!help`.
const TABLE: &[Entry] = &[
    Entry {
        word: "help",
        arguments: "",
        about: "this list",
        read: |rest| alone(rest, Command::Help),
    },
    Entry {
        word: "stop",
        arguments: "",
        about: "interrupts what runs",
        read: |rest| alone(rest, Command::Order(Order::Stop)),
    },
    Entry {
        word: "end",
        arguments: "",
        about: "ends what runs or waits, whether its runner answers or not",
        read: |rest| alone(rest, Command::Order(Order::End)),
    },
    Entry {
        word: "retry",
        arguments: "",
        about: "runs again what failed or was stopped last",
        read: |rest| alone(rest, Command::Order(Order::Retry)),
    },
    Entry {
        word: "discard",
        arguments: "",
        about: "lets be what failed or was stopped last",
        read: |rest| alone(rest, Command::Order(Order::Discard)),
    },
    Entry {
        word: "queue",
        arguments: "[send N | drop N | edit N TEXT | merge N N]",
        about: "lists what waits, or does something about it",
        read: |rest| match Wanted::parse(rest) {
            Some(wanted) => Ok(Some(Command::Queue(wanted))),
            None => Err(USAGE.to_owned()),
        },
    },
    Entry {
        word: "restart",
        arguments: "",
        about: "lets the next question begin a fresh session; the files stay",
        read: |rest| alone(rest, Command::Restart),
    },
    Entry {
        word: "diff",
        arguments: "",
        about: "shows what has changed in the thread's worktree",
        read: |rest| alone(rest, Command::Diff),
    },
    Entry {
        word: "session",
        arguments: "",
        about: "tells the session, and how to take it up in a terminal",
        read: |rest| alone(rest, Command::Session),
    },
    Entry {
        word: "model",
        arguments: "[NAME | default]",
        about: "tells or chooses the thread's model",
        read: |rest| match Model::parse(rest) {
            Some(model) => Ok(Some(Command::Model(model))),
            None => Err(MODEL_USAGE.to_owned()),
        },
    },
    Entry {
        word: "fork",
        arguments: "",
        about: "begins another thread with what was said in this one",
        read: |rest| alone(rest, Command::Fork),
    },
    Entry {
        word: "resume",
        arguments: "ID",
        about: "goes on with a session that was begun in a terminal of the runner's host",
        read: |rest| session_id(rest).map(|session| Some(Command::Resume(session))),
    },
    Entry {
        word: "unsafe",
        arguments: "[channel]",
        about: "claude asks nobody for leave here for a while; a button confirms it",
        read: |rest| Scope::parse("unsafe", rest).map(|scope| Some(Command::Unsafe(scope))),
    },
    Entry {
        word: "safe",
        arguments: "[channel]",
        about: "claude asks for leave again",
        read: |rest| Scope::parse("safe", rest).map(|scope| Some(Command::Safe(scope))),
    },
];

/// What is said below the list of commands.
const BELOW: &str = "-# All else is for claude. A message that waits is changed by editing it and \
                     dropped by deleting it; ⏹️ under your own question stops it.";

/// A command that takes nothing: with anything behind it, it is a prompt.
#[expect(clippy::unnecessary_wraps, reason = "it is what the table takes")]
fn alone(rest: &str, command: Command) -> Read {
    Ok(rest.is_empty().then_some(command))
}

impl Command {
    /// The command that a message is, if it is one.
    ///
    /// # Errors
    ///
    /// A line for the person: it is one, and what stands behind the word makes no sense.
    pub(crate) fn parse(text: &str) -> Read {
        let Some(said) = text.trim().strip_prefix('!') else { return Ok(None) };
        let (word, rest) = said.split_once(char::is_whitespace).unwrap_or((said, ""));
        let entry = TABLE.iter().find(|entry| entry.word.eq_ignore_ascii_case(word));
        match entry {
            Some(entry) => (entry.read)(rest.trim()),
            None => Ok(None),
        }
    }
}

/// What `!help` says.
pub(crate) fn help() -> String {
    let lines = TABLE.iter().map(|entry| {
        let arguments = if entry.arguments.is_empty() { "" } else { " " };
        format!("`!{}{arguments}{}` {}", entry.word, entry.arguments, entry.about)
    });
    let lines: Vec<String> = lines.chain([BELOW.to_owned()]).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pages::PAGE_MAX;

    #[test]
    fn only_a_word_of_the_table_is_a_command() {
        assert_eq!(Command::parse(" !STOP "), Ok(Some(Command::Order(Order::Stop))));
        assert_eq!(Command::parse("!retry"), Ok(Some(Command::Order(Order::Retry))));
        assert_eq!(Command::parse("!Help"), Ok(Some(Command::Help)));
        for text in ["!ls", "stop", "! stop", "!stop it", "!stopp", "/cost", "!", "", "!!stop"] {
            assert_eq!(Command::parse(text), Ok(None), "{text:?} is a prompt");
        }
    }

    #[test]
    fn help_names_each_command_in_one_message() {
        let help = help();
        for entry in TABLE {
            assert!(help.contains(&format!("`!{}", entry.word)), "{}", entry.word);
        }
        assert!(help.encode_utf16().count() <= PAGE_MAX, "{}", help.len());
    }

    #[test]
    fn no_word_stands_in_the_table_twice() {
        for (n, entry) in TABLE.iter().enumerate() {
            assert!(TABLE[n + 1..].iter().all(|other| other.word != entry.word), "{}", entry.word);
        }
    }
}
