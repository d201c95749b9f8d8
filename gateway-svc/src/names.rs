//! What a thread is called, and who is who in it.
//!
//! Pure: a message or an answer in, a name out. Whatever people call themselves or write, a name is
//! one line without markup, mentions, control characters and marks that turn the direction of
//! writing for what follows; it is cut between graphemes, and Discord takes its length.

use schemas::ids::UserId;
use schemas::request::Author;
use unicode_segmentation::UnicodeSegmentation as _;

/// The most characters of a thread's name (Discord's reference, "Start Thread from Message"). We
/// count UTF-16 units, which are never fewer, as for pages.
const NAME_MAX: usize = 100;
/// The most UTF-16 units of a person's name: twice what Discord allows for a nickname.
const PERSON_MAX: usize = 64;
/// How an answer begins that names its thread.
const TITLE: &str = "THREAD_NAME:";
/// What stands around words and is not shown, where it stands in pairs.
const PAIRS: [&str; 5] = ["***", "**", "~~", "||", "`"];

/// The first line of a message, without what is no text, cut at a word's end.
pub(crate) fn thread_name(content: &str, author: &str) -> String {
    let lines = content.lines().filter(|line| !line.trim_start().starts_with("```"));
    let line = lines.map(bare).find(|line| !line.is_empty());
    cut(&line.unwrap_or_else(|| format!("A question from {}", person(author))), NAME_MAX)
}

/// The name that an answer gives to its thread by its first line, if it does, and the answer without
/// that line.
pub(crate) fn titled(answer: &str) -> (Option<String>, &str) {
    let begins = answer.trim_start();
    let (line, rest) = begins.split_once('\n').unwrap_or((begins, ""));
    let line = line.trim_start_matches(['*', '_', '`', '#', '>', ' ']);
    let Some(title) = line.strip_prefix(TITLE) else { return (None, answer) };
    let title = cut(&bare(title.trim_start_matches('*')), NAME_MAX);
    ((!title.is_empty()).then_some(title), rest.trim_start_matches(['\r', '\n']))
}

/// What claude is told before the words of one of several people: who they are.
pub(crate) fn preface(author: &Author, others: &[Author]) -> String {
    let name = person(&author.name);
    if others.iter().any(|other| person(&other.name) == name) {
        return format!("[From {name} (…{})]\n", ending(author.id));
    }
    format!("[From {name}]\n")
}

/// Whether a text is for claude itself, which only looks for its own commands at the beginning.
pub(crate) fn is_command(prompt: &str) -> bool {
    prompt.starts_with('/')
}

/// A person's name in one line that cannot be taken for anything else.
pub(crate) fn person(name: &str) -> String {
    let name: String = visible(name).replace(['[', ']', '<', '>', '`', '"'], " ");
    let name = cut(&one_line(&name), PERSON_MAX);
    if name.is_empty() { "somebody".to_owned() } else { name }
}

/// The last digits of a person's id, which tell two of the same name apart.
fn ending(id: UserId) -> String {
    let id = id.get().to_string();
    id[id.len().saturating_sub(4)..].to_owned()
}

/// A line as it is shown: without mentions, links' addresses and markup.
fn bare(line: &str) -> String {
    let line = crate::render::plain(&visible(line));
    let mut text = links(block(&line));
    for pair in PAIRS {
        if 1 < text.matches(pair).count() {
            text = text.replace(pair, "");
        }
    }
    one_line(&emphasis(&text))
}

/// A line without the marks of a heading, a quote, small print or a list.
fn block(line: &str) -> &str {
    let mut line = line.trim();
    while let Some(rest) = ["> ", ">>> ", "# ", "## ", "### ", "-# ", "- ", "* ", "+ "]
        .iter()
        .find_map(|mark| line.strip_prefix(mark))
    {
        line = rest.trim_start();
    }
    line
}

/// `[text](address)` becomes the text.
fn links(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(at) = rest.find('[') {
        let (before, found) = rest.split_at(at);
        let parts = found[1..].split_once("](").and_then(|(shown, address)| {
            let (_, behind) = address.split_once(')')?;
            (!shown.contains(['[', ']'])).then_some((shown, behind))
        });
        out.push_str(before);
        if let Some((shown, behind)) = parts {
            out.push_str(shown);
            rest = behind;
        } else {
            out.push('[');
            rest = &found[1..];
        }
    }
    out.push_str(rest);
    out
}

/// Without `*` and `_` that stand at the edge of a word, and without the backslash of one that is
/// meant as it is.
fn emphasis(line: &str) -> String {
    let letters: Vec<char> = line.chars().collect();
    let word = |at: Option<usize>| {
        at.and_then(|at| letters.get(at)).is_some_and(|letter| letter.is_alphanumeric())
    };
    let space = |at: Option<usize>| {
        at.and_then(|at| letters.get(at)).is_none_or(|letter| letter.is_whitespace())
    };
    let (mut out, mut at) = (String::new(), 0);
    while let Some(letter) = letters.get(at) {
        let next = letters.get(at + 1).filter(|next| next.is_ascii_punctuation());
        if let ('\\', Some(next)) = (letter, next) {
            out.push(*next);
            at += 2;
            continue;
        }
        let run = letters[at..].iter().take_while(|other| *other == letter).count();
        let (before, after) = (at.checked_sub(1), Some(at + run));
        let is_shown = match letter {
            '*' => space(before) && space(after),
            '_' => word(before) && word(after),
            _ => true,
        };
        if is_shown {
            out.extend(&letters[at..at + run]);
        }
        at += run;
    }
    out
}

/// Without what nobody sees and what turns the direction of writing; the joiner of emoji stays.
fn visible(text: &str) -> String {
    let is_hidden = |c: char| matches!(c, '\u{200B}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{2069}' | '\u{FEFF}');
    text.chars().filter(|c| !is_hidden(*c)).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// At most so many UTF-16 units: whole graphemes, up to a word's end where that is not far.
fn cut(text: &str, max: usize) -> String {
    let units = |text: &str| text.encode_utf16().count();
    if units(text) <= max {
        return text.to_owned();
    }
    let mut kept = String::new();
    for grapheme in text.graphemes(true) {
        if max - 1 < units(&kept) + units(grapheme) {
            break;
        }
        kept.push_str(grapheme);
    }
    let word = kept.rfind(' ').filter(|at| kept.len() / 2 < *at).unwrap_or(kept.len());
    format!("{}…", kept[..word].trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn named(content: &str) -> String {
        thread_name(content, "Ada")
    }

    #[test]
    fn a_thread_is_named_as_its_first_line_reads() {
        for (content, name) in [
            ("\n  fix <@12> the <:x:1> tests\nplease", "fix the tests"),
            ("# Fix **the** `parse_line` function", "Fix the parse_line function"),
            ("> *why* is `a || b` ~~not~~ __so__?", "why is a || b not so?"),
            ("look at [the docs](https://example.org/a_b) \\*now\\*", "look at the docs *now*"),
            ("- 2 * 3 and snake_case_names, [x] done", "2 * 3 and snake_case_names, [x] done"),
            ("```rust\nfn main() {}\n```\nwhat is this?", "fn main() {}"),
            ("||secret|| _and_ ***loud***", "secret and loud"),
            ("a < b && c > d", "a < b && c > d"),
        ] {
            assert_eq!(named(content), name, "{content}");
        }
    }

    #[test]
    fn a_message_without_words_is_named_after_who_wrote_it() {
        assert_eq!(named("<@1>"), "A question from Ada");
        assert_eq!(thread_name("\u{200b}", "\u{202e}[x]"), "A question from x");
        assert_eq!(thread_name("", "\u{202e}"), "A question from somebody");
    }

    #[test]
    fn a_long_name_ends_with_a_word_and_no_emoji_is_cut() {
        let name = named(&"word ".repeat(40));
        assert!(name.ends_with("word…") && name.encode_utf16().count() <= 100, "{name}");
        let family = "👨‍👩‍👧‍👦";
        let name = named(&family.repeat(30));
        assert_eq!(name, format!("{}…", family.repeat(9)));
    }

    #[test]
    fn an_answer_may_name_its_thread_by_its_first_line() {
        let named = |answer| titled(answer);
        assert_eq!(
            named("THREAD_NAME: Fix CI\n\nIt is fixed."),
            (Some("Fix CI".into()), "It is fixed.")
        );
        assert_eq!(named("**THREAD_NAME: `a` b**\nx"), (Some("a b".into()), "x"));
        assert_eq!(named("THREAD_NAME:\nx"), (None, "x"), "no name, and nothing to show of it");
        assert_eq!(named("THREAD_NAME: only"), (Some("only".into()), ""));
        let text = "It said THREAD_NAME: x\nTHREAD_NAME: y";
        assert_eq!(named(text), (None, text), "the first line alone, from its beginning");
    }

    #[test]
    fn two_of_one_name_are_told_apart() {
        let author = |id: &str, name: &str| Author { id: id.parse().unwrap(), name: name.into() };
        let (ada, bob) = (author("900011", "Ada"), author("900012", "Bob"));
        assert_eq!(preface(&ada, std::slice::from_ref(&bob)), "[From Ada]\n");
        assert_eq!(preface(&ada, &[bob, author("900013", "\u{202e}Ada")]), "[From Ada (…0011)]\n");
    }

    #[test]
    fn a_name_cannot_say_more_than_a_name() {
        assert_eq!(person("Ada]\n[From Bob"), "Ada From Bob");
        assert_eq!(person("\u{202e}\u{0}"), "somebody");
        assert_eq!(person("آدا 🦀"), "آدا 🦀");
    }

    proptest! {
        #[test]
        fn every_name_is_one_that_discord_takes(content in "\\PC{0,300}", author in "\\PC{0,40}") {
            let name = thread_name(&content, &author);
            prop_assert!((1..=NAME_MAX).contains(&name.encode_utf16().count()), "{name:?}");
            prop_assert!(!name.contains('\n') && name.trim() == name);
        }
    }
}
