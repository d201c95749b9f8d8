//! A line that is longer than a page → pieces: at spaces where there are some, and never inside a
//! link, a short piece of code, a mention or a character that people see as one.
//!
//! Pure. What a line begins with (a quote, a heading, small print) stands before each of its pieces, so
//! that each looks like the whole.

use unicode_segmentation::UnicodeSegmentation;

use super::units;

/// The shortest run of backticks that Discord takes for a fence.
pub(super) const FENCE_MIN: &str = "```";
/// The most bytes of a link's text and of its address that are looked through.
const LINK_MAX: (usize, usize) = (300, 1600);
/// The most bytes of code in a line, or of a mention, that stay whole.
const SPAN_MAX: usize = 300;

/// Cuts a line into pieces of at most `max` units.
pub(super) fn pieces(line: &str, max: usize, in_fence: bool) -> Vec<String> {
    // No unit without a byte.
    if line.len() <= max || units(line) <= max {
        return vec![line.to_owned()];
    }
    let mark = if in_fence { "" } else { mark(line) };
    let (mut pieces, mut start) = (Vec::new(), 0);
    let max = max - units(mark);
    for end in ends(line, max, in_fence) {
        let again = if start == 0 { "" } else { mark };
        pieces.push(format!("{again}{}", &line[start..end]));
        start = end;
    }
    pieces
}

/// What makes a line a quote, a heading or small print.
fn mark(line: &str) -> &str {
    let marks = ["> ", "# ", "## ", "### ", "-# "];
    marks.into_iter().find(|mark| line.starts_with(mark)).unwrap_or_default()
}

/// Where the pieces end.
fn ends(line: &str, max: usize, in_fence: bool) -> Vec<usize> {
    let (mut start, mut used, mut after_space) = (0, 0, 0);
    let mut ends = Vec::new();
    for (at, atom) in (Atoms { line, at: 0, max, in_fence }) {
        let more = units(atom);
        if max < used + more {
            // A cut at a space, unless that leaves a stump.
            let cut = if (at - start) / 2 < after_space - start { after_space } else { at };
            ends.push(cut);
            (start, after_space) = (cut, cut);
            used = units(&line[cut..at]);
        }
        used += more;
        if atom == " " {
            after_space = at + 1;
        }
    }
    ends.push(line.len());
    ends
}

/// What of a line is not to be cut, from its beginning.
struct Atoms<'a> {
    line: &'a str,
    at: usize,
    max: usize,
    in_fence: bool,
}

impl<'a> Iterator for Atoms<'a> {
    type Item = (usize, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = &self.line[self.at..];
        let first = rest.chars().next()?;
        let run = rest.bytes().take(self.max).take_while(|byte| *byte == b'`').count();
        let whole = if FENCE_MIN.len() <= run {
            self.in_fence = !self.in_fence;
            Some(run)
        } else if self.in_fence {
            None
        } else {
            span(first, rest)
        };
        let whole = whole.filter(|len| units(&rest[..*len]) <= self.max);
        let len = whole.unwrap_or_else(|| {
            let grapheme = rest.graphemes(true).next().map_or(rest.len(), str::len);
            // One grapheme can be longer than a page.
            if units(&rest[..grapheme]) <= self.max { grapheme } else { first.len_utf8() }
        });
        let at = self.at;
        self.at += len;
        Some((at, &rest[..len]))
    }
}

/// The bytes of a link, of code or of a mention at the beginning of a text.
fn span(first: char, text: &str) -> Option<usize> {
    match first {
        '[' => {
            let middle = head(text, LINK_MAX.0).find("](")? + 2;
            let address = head(&text[middle..], LINK_MAX.1);
            let end =
                address.find([')', ' ', '\n']).filter(|end| address[*end..].starts_with(')'))?;
            Some(middle + end + 1)
        }
        'h' if text.starts_with("https://") || text.starts_with("http://") => {
            let address = head(text, LINK_MAX.1);
            Some(address.find(char::is_whitespace).unwrap_or(address.len()))
        }
        '<' => {
            let inside = head(text, SPAN_MAX);
            let end =
                inside.find(['>', ' ', '\n']).filter(|end| inside[*end..].starts_with('>'))?;
            Some(end + 1)
        }
        '`' => {
            let code = head(&text[1..], SPAN_MAX);
            let end = code.find(['`', '\n']).filter(|end| code[*end..].starts_with('`'))?;
            // What follows may be the beginning of a fence.
            (!code[end..].starts_with(FENCE_MIN)).then_some(end + 2)
        }
        _ => None,
    }
}

/// The first bytes of a text.
fn head(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}
