//! An answer → pages that Discord takes, none cut inside a character, a fence reopened where it
//! was cut.
//!
//! Pure. Discord counts at most 2,000 characters; we count UTF-16 units, which are never fewer,
//! so no page is refused for its length whatever is meant by a character.

use unicode_segmentation::UnicodeSegmentation;

/// The most UTF-16 units of one message.
pub(crate) const PAGE_MAX: usize = 2000;

/// What a fence's reopening and closing lines may take of a page.
const FENCE_ROOM: usize = 80;

fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

/// Cuts `text` into pages of at most [`PAGE_MAX`] units. A text without visible characters has no
/// page.
pub(crate) fn pages(text: &str) -> Vec<String> {
    let mut cutter = Cutter::default();
    for line in text.split_inclusive('\n') {
        cutter.line(line);
    }
    cutter.finish()
}

#[derive(Default)]
struct Cutter {
    done: Vec<String>,
    page: String,
    /// The line that opened the fence we are in.
    fence: Option<String>,
}

impl Cutter {
    fn line(&mut self, line: &str) {
        for piece in pieces(line, PAGE_MAX - FENCE_ROOM * 2) {
            if PAGE_MAX - FENCE_ROOM < units(&self.page) + units(piece) {
                self.turn();
            }
            self.page.push_str(piece);
        }
        let trimmed = line.trim();
        if let Some(info) = trimmed.strip_prefix("```") {
            self.fence = match self.fence.take() {
                Some(_) => None,
                // A fence that also closes on its line opens nothing.
                None if info.contains("```") => None,
                None => Some(trimmed.chars().take(FENCE_ROOM / 4).collect()),
            };
        }
    }

    /// Ends the page and begins another, inside the same fence.
    fn turn(&mut self) {
        let mut page = std::mem::take(&mut self.page);
        if let Some(fence) = &self.fence {
            let end = if page.ends_with('\n') { "```" } else { "\n```" };
            page.push_str(end);
            self.page = format!("{fence}\n");
        }
        self.push(&page);
    }

    fn push(&mut self, page: &str) {
        let page = page.trim_end();
        // Leading spaces may be a list's or a block's; leading empty lines are nothing.
        let page = page.trim_start_matches(['\n', '\r']);
        if !page.trim().is_empty() {
            self.done.push(page.to_owned());
        }
    }

    fn finish(mut self) -> Vec<String> {
        let page = std::mem::take(&mut self.page);
        self.push(&page);
        self.done
    }
}

/// Cuts a line into pieces of at most `max` units: at spaces where there are some, else between
/// graphemes, else (one grapheme can be that long) between characters.
fn pieces(line: &str, max: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    let (mut start, mut used, mut after_space) = (0, 0, 0);
    for (at, atom) in atoms(line, max) {
        let more = units(atom);
        if max < used + more {
            // A cut at a space, unless that leaves a stump.
            let cut = if (at - start) / 2 < after_space - start { after_space } else { at };
            pieces.push(&line[start..cut]);
            (start, after_space) = (cut, cut);
            used = units(&line[cut..at]);
        }
        used += more;
        if atom == " " {
            after_space = at + 1;
        }
    }
    pieces.push(&line[start..]);
    pieces
}

/// What is not to be cut: graphemes, or the characters of one that is too long.
fn atoms(line: &str, max: usize) -> impl Iterator<Item = (usize, &str)> {
    line.grapheme_indices(true).flat_map(move |(at, grapheme)| {
        let size = if units(grapheme) <= max { grapheme.len() } else { 1 };
        let mut ends = (1..=grapheme.len()).filter(move |end| {
            grapheme.is_char_boundary(*end) && (size == 1 || *end == grapheme.len())
        });
        let mut from = 0;
        std::iter::from_fn(move || {
            let end = ends.next()?;
            let atom = (at + from, &grapheme[from..end]);
            from = end;
            Some(atom)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_short_answer_is_one_page_as_it_stands() {
        assert_eq!(pages("hello *you*\n"), ["hello *you*"]);
        assert_eq!(pages(" \n\n"), Vec::<String>::new());
    }

    #[test]
    fn a_fence_is_closed_and_reopened_with_its_language() {
        let code = format!("```rust\n{}```\nend", "let x = 1;\n".repeat(300));
        let pages = pages(&code);
        assert!(1 < pages.len());
        for page in &pages {
            assert!(page.starts_with("```rust\n"), "{page}");
            assert_eq!(page.matches("```").count() % 2, 0, "{page}");
        }
    }

    proptest! {
        // Long texts: fewer cases say as much.
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn no_page_is_too_long_and_nothing_visible_is_lost(text in "(\\PC|\n| ){0,6000}") {
            let text = text.replace('`', "'");
            let pages = pages(&text);
            for page in &pages {
                prop_assert!(units(page) <= PAGE_MAX);
                prop_assert!(!page.trim().is_empty());
            }
            let visible = |text: &str| text.split_whitespace().collect::<String>();
            prop_assert_eq!(visible(&pages.concat()), visible(&text));
        }

        #[test]
        fn every_page_closes_its_fences_and_the_words_are_whole_and_in_order(
            blocks in prop::collection::vec((any::<bool>(), "([a-z ]{1,400}\n){1,12}"), 0..6),
        ) {
            let text: String = blocks
                .iter()
                .map(|(is_code, lines)| match is_code {
                    true => format!("```rust\n{lines}```\n"),
                    false => lines.clone(),
                })
                .collect();
            let is_fence = |line: &&str| line.starts_with("```");
            let words = |text: &str| {
                let lines = text.lines().filter(|line| !is_fence(line));
                lines.flat_map(str::chars).filter(|c| !c.is_whitespace()).collect::<String>()
            };
            let pages = pages(&text);
            for page in &pages {
                prop_assert!(units(page) <= PAGE_MAX);
                prop_assert_eq!(page.lines().filter(is_fence).count() % 2, 0, "{}", page);
            }
            prop_assert_eq!(words(&pages.join("\n")), words(&text));
        }

        #[test]
        fn fences_never_make_a_page_too_long(text in "(```[a-z]{0,90}\n|[a-z ]{0,900}\n){0,30}") {
            for page in pages(&text) {
                prop_assert!(units(&page) <= PAGE_MAX);
            }
        }
    }
}
