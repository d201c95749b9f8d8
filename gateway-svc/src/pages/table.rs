//! Tables of Markdown, which Discord does not know → code with aligned columns.
//!
//! Pure. Columns are as wide as a terminal would show them. What would grow out of all proportion, and
//! what stands inside a fence, stays as it is.

use std::borrow::Cow;

use unicode_width::UnicodeWidthStr;

use super::behind;

/// The most columns that are aligned: beyond it no screen shows a row in a line.
const COLUMNS_MAX: usize = 20;
/// The widest that a column is made; a longer cell stands out of it.
const WIDTH_MAX: usize = 40;
/// How many times larger a table may become by its alignment, and how much more it always may.
const GROWTH: (usize, usize) = (4, 2000);

/// The same text with its tables aligned.
pub(super) fn aligned(text: &str) -> Cow<'_, str> {
    if !text.contains("-|") && !text.contains("|-") && !text.contains("|:") && !text.contains("| ")
    {
        return Cow::Borrowed(text);
    }
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let (mut out, mut fence, mut at) = (String::with_capacity(text.len()), None, 0);
    while let Some(line) = lines.get(at) {
        let table = if fence.is_none() { Table::read(&lines[at..]) } else { None };
        if let Some((table, len)) = table {
            let source: usize = lines[at..at + len].iter().map(|line| line.len()).sum();
            let shown = table.show();
            if shown.len() <= source * GROWTH.0 + GROWTH.1 {
                out.push_str(&shown);
                at += len;
                continue;
            }
        }
        out.push_str(line);
        fence = behind(fence, line);
        at += 1;
    }
    Cow::Owned(out)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Left,
    Right,
    Middle,
}

#[derive(Debug)]
struct Table {
    sides: Vec<Side>,
    /// The head first.
    rows: Vec<Vec<String>>,
}

impl Table {
    /// The table at the beginning of these lines, and how many of them it has.
    fn read(lines: &[&str]) -> Option<(Self, usize)> {
        let [head, rule, ..] = lines else { return None };
        if !head.contains('|') || !rule.contains('-') || head.contains("```") {
            return None;
        }
        let sides = cells(rule).iter().map(|cell| side(cell)).collect::<Option<Vec<_>>>()?;
        let head = cells(head);
        if head.len() != sides.len() || COLUMNS_MAX < sides.len() {
            return None;
        }
        let is_row = |line: &&&str| line.contains('|') && !line.contains("```");
        let body: Vec<_> = lines[2..].iter().take_while(is_row).map(|line| cells(line)).collect();
        let len = 2 + body.len();
        Some((Self { sides, rows: [vec![head], body].concat() }, len))
    }

    fn show(&self) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.width().min(WIDTH_MAX)).max().unwrap_or(0).max(1)
        };
        let widths: Vec<usize> = (0..self.sides.len()).map(width).collect();
        let line = |row: &[String]| {
            let padded =
                self.sides.iter().zip(&widths).enumerate().map(|(column, (side, width))| {
                    pad(row.get(column).map_or("", String::as_str), *side, *width)
                });
            // More cells than the head has are no part of a table, but somebody wrote them.
            let more = row.iter().skip(widths.len()).cloned();
            padded.chain(more).collect::<Vec<_>>().join(" | ").trim_end().to_owned()
        };
        let rule: Vec<_> = widths.iter().map(|width| "-".repeat(*width)).collect();
        let mut shown = format!("```\n{}\n{}\n", line(&self.rows[0]), rule.join("-+-"));
        for row in &self.rows[1..] {
            shown.push_str(&line(row));
            shown.push('\n');
        }
        shown.push_str("```\n");
        shown
    }
}

fn side(cell: &str) -> Option<Side> {
    let dashes = cell.trim_matches(':');
    if dashes.is_empty() || !dashes.chars().all(|c| c == '-') {
        return None;
    }
    Some(match (cell.starts_with(':'), cell.ends_with(':')) {
        (true, true) => Side::Middle,
        (false, true) => Side::Right,
        (true | false, false) => Side::Left,
    })
}

/// The cells of a row, without what code does not show.
fn cells(line: &str) -> Vec<String> {
    let line = line.trim();
    let line = line.strip_prefix('|').unwrap_or(line);
    let (mut cells, mut cell, mut chars) = (Vec::new(), String::new(), line.chars().peekable());
    while let Some(c) = chars.next() {
        match c {
            '\\' if chars.peek() == Some(&'|') => cell.extend(chars.next()),
            '|' => cells.push(std::mem::take(&mut cell)),
            '`' => {}
            c => cell.push(c),
        }
    }
    if !cell.trim().is_empty() || cells.is_empty() {
        cells.push(cell);
    }
    cells.iter().map(|cell| cell.replace("**", "").trim().to_owned()).collect()
}

fn pad(cell: &str, side: Side, width: usize) -> String {
    let room = width.saturating_sub(cell.width());
    let before = match side {
        Side::Left => 0,
        Side::Right => room,
        Side::Middle => room / 2,
    };
    format!("{}{cell}{}", " ".repeat(before), " ".repeat(room - before))
}
