//! An answer → pages that Discord takes: nothing cut that can stay whole, a fence closed where a page
//! ends and opened again on the next, tables as aligned code.
//!
//! Pure. Discord counts at most 2,000 characters; we count UTF-16 units, which are never fewer, so no
//! page is refused for its length whatever is meant by a character. A fence is what Discord takes for
//! one: it begins and ends at any run of three backticks. A page ends between two paragraphs if that
//! leaves it half full, else between two lines, else inside a line (`line.rs`). Nothing visible is ever
//! left out.

mod line;
mod table;

use line::{FENCE_MIN, pieces};

/// The most UTF-16 units of one message.
pub(crate) const PAGE_MAX: usize = 2000;

/// The most units that the reopening or the closing line of a fence takes.
const FENCE_ROOM: usize = 64;
/// The longest language of a fence that is repeated: Discord knows none that is longer.
const LANGUAGE_MAX: usize = 20;
/// The deepest indentation or quote of a fence that is repeated.
const MARGIN_MAX: usize = 12;
/// The longest run of backticks that is repeated.
const TICKS_MAX: usize = 8;

/// How many units Discord would count at most.
pub(crate) fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

/// Cuts `text` into pages of at most [`PAGE_MAX`] units. A text without visible characters has no
/// page.
pub(crate) fn pages(text: &str) -> Vec<String> {
    cut(text, PAGE_MAX)
}

/// The first page, of at most `max` units.
pub(crate) fn first_page(text: &str, max: usize) -> String {
    // What is behind cannot reach it: a page of UTF-16 units has at most three bytes for each.
    let end = text.floor_char_boundary(PAGE_MAX * 4);
    cut(&text[..end], max).into_iter().next().unwrap_or_default()
}

fn cut(text: &str, max: usize) -> Vec<String> {
    let text = table::aligned(text);
    let mut cutter = Cutter::new(max);
    for line in text.split_inclusive('\n') {
        cutter.line(line);
    }
    cutter.finish()
}

/// A fence that is open.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fence {
    /// The indentation or the quote that it stands in.
    margin: String,
    ticks: String,
    language: String,
}

impl Fence {
    /// The line that opens it again.
    fn opening(&self) -> String {
        let Self { margin, ticks, language } = self;
        format!("{margin}{ticks}{language}\n")
    }

    /// The line that closes it.
    fn closing(&self) -> String {
        format!("{}{}", self.margin, self.ticks)
    }
}

/// The fence that is open behind a text, if `fence` was open before it.
fn behind(mut fence: Option<Fence>, text: &str) -> Option<Fence> {
    let mut rest = text;
    while let Some(at) = rest.find(FENCE_MIN) {
        let before = &text[..text.len() - rest.len() + at];
        let run = rest[at..].len() - rest[at..].trim_start_matches('`').len();
        let (ticks, after) = rest[at..].split_at(run);
        fence = match fence {
            Some(_) => None,
            None => Some(Fence {
                margin: margin(before).to_owned(),
                ticks: ticks[..run.min(TICKS_MAX)].to_owned(),
                language: language(after).to_owned(),
            }),
        };
        rest = after;
    }
    fence
}

/// What stands before a fence, if its lines are to begin with it as well.
fn margin(before: &str) -> &str {
    let line = before.rsplit('\n').next().unwrap_or(before);
    let is_margin = line.len() <= MARGIN_MAX && line.chars().all(|c| c == ' ' || c == '>');
    if is_margin { line } else { "" }
}

/// The language that a fence names: a word behind it and nothing else on its line.
fn language(after: &str) -> &str {
    let word = after.lines().next().unwrap_or_default().trim();
    let is_language = word.len() <= LANGUAGE_MAX
        && word.chars().all(|c| c.is_ascii_alphanumeric() || "_+-.#".contains(c));
    if is_language { word } else { "" }
}

/// A line, or a part of a long one.
#[derive(Debug)]
struct Piece {
    text: String,
    units: usize,
    /// The fence that is open before it.
    before: Option<Fence>,
}

impl Piece {
    fn is_blank(&self) -> bool {
        self.text.trim().is_empty()
    }

    /// Whether it belongs to what follows: a heading, or the words before a list or a block.
    fn leads(&self) -> bool {
        let marks = self.text.trim_start_matches('#');
        let is_heading = marks.len() != self.text.len() && marks.starts_with(' ');
        is_heading || self.text.trim_end().ends_with(':')
    }
}

/// How good it is to end a page somewhere, best last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// Behind what leads to the next line, or right behind what opens a fence.
    Orphan,
    InLine,
    InFence,
    BetweenLines,
    BetweenParagraphs,
}

#[derive(Debug)]
struct Cutter {
    max: usize,
    done: Vec<String>,
    page: Vec<Piece>,
    /// The units of the page's pieces.
    used: usize,
    /// The fence that is open behind them.
    fence: Option<Fence>,
}

impl Cutter {
    fn new(max: usize) -> Self {
        Self { max, done: Vec::new(), page: Vec::new(), used: 0, fence: None }
    }

    fn line(&mut self, line: &str) {
        for text in pieces(line, self.max - 2 * FENCE_ROOM, self.fence.is_some()) {
            let before = self.fence.clone();
            if text.contains(FENCE_MIN) {
                self.fence = behind(self.fence.take(), &text);
            }
            let units = units(&text);
            self.used += units;
            self.page.push(Piece { text, units, before });
            while self.max < self.size() && 1 < self.page.len() {
                self.turn();
            }
        }
    }

    /// The units of the page, as it would be written.
    fn size(&self) -> usize {
        let opening = self.page.first().and_then(|first| first.before.as_ref());
        let opening = opening.map_or(0, |fence| units(&fence.opening()));
        let ends_line = self.page.last().is_some_and(|last| last.text.ends_with('\n'));
        let closing = self.fence.as_ref().map(|fence| units(&fence.closing()));
        let used = opening + self.used;
        match closing {
            Some(closing) => used + closing + usize::from(!ends_line),
            None => used - usize::from(ends_line),
        }
    }

    /// Ends the page where that is best.
    fn turn(&mut self) {
        let (mut best, mut filled) = ((Place::Orphan, self.page.len() - 1), 0);
        for at in 1..self.page.len() {
            filled += self.page[at - 1].units;
            let place = self.place(at);
            if self.max / 2 <= filled && best.0 <= place {
                best = (place, at);
            }
        }
        let rest = self.page.split_off(best.1);
        let page = std::mem::replace(&mut self.page, rest);
        self.used = self.page.iter().map(|piece| piece.units).sum();
        let open = self.page.first().and_then(|first| first.before.clone());
        self.push(&page, open.as_ref());
    }

    /// How good it is to end the page before this piece.
    fn place(&self, at: usize) -> Place {
        let (last, next) = (&self.page[at - 1], &self.page[at]);
        let said = self.page[..at].iter().rev().find(|piece| !piece.is_blank());
        if !last.text.ends_with('\n') {
            Place::InLine
        } else if next.before.is_some() {
            if last.before.is_some() { Place::InFence } else { Place::Orphan }
        } else if said.is_some_and(Piece::leads) {
            Place::Orphan
        } else if last.is_blank() {
            Place::BetweenParagraphs
        } else {
            Place::BetweenLines
        }
    }

    /// Writes a page; `open` is the fence that is open behind it.
    fn push(&mut self, pieces: &[Piece], open: Option<&Fence>) {
        let mut page = String::new();
        for (index, piece) in pieces.iter().enumerate() {
            match &piece.before {
                // What it closes was closed at the end of the page before.
                Some(_) if index == 0 && piece.text.trim_start().starts_with(FENCE_MIN) => {
                    page.push_str(piece.text.trim_start().trim_start_matches('`'));
                }
                Some(fence) if index == 0 => {
                    page.push_str(&fence.opening());
                    page.push_str(&piece.text);
                }
                Some(_) | None => page.push_str(&piece.text),
            }
        }
        if let Some(fence) = open {
            if !page.ends_with('\n') {
                page.push('\n');
            }
            page.push_str(&fence.closing());
        }
        // Leading spaces may be a list's or a block's; leading empty lines are nothing.
        let page = page.trim_end().trim_start_matches(['\n', '\r']);
        if !page.trim().is_empty() {
            self.done.push(page.to_owned());
        }
    }

    fn finish(mut self) -> Vec<String> {
        let (page, open) = (std::mem::take(&mut self.page), self.fence.take());
        self.push(&page, open.as_ref());
        self.done
    }
}

#[cfg(test)]
mod tests;
