//! What people see of an ask: messages with buttons or a menu, and the lines that come afterwards.
//!
//! Pure. Whatever claude wrote, a message keeps Discord's limits: 2,000 characters, labels of 80, options
//! of 100, 25 of them.

use std::fmt::Write as _;

use schemas::ask::{Ask, OPTIONS_MAX, Question, Wanted};
use schemas::ids::{Attempt, Generation, RunId, ThreadId};

use super::{Key, OTHER};
use crate::outbox::{Action, Button, Menu, MenuOption, Row};
use crate::pages::{PAGE_MAX, pages};
use crate::render::{Place, plain};

/// The most UTF-16 units of a button's label (Discord's reference, "Buttons").
const LABEL_MAX: usize = 80;
/// The most UTF-16 units of an option's label and description ("Select Option Structure").
const OPTION_MAX: usize = 100;
/// The most buttons in a row; one is for another answer.
const BUTTONS_MAX: usize = 5;
/// What a message with buttons leaves free, for the line that says what was decided.
const LINE_MAX: usize = 420;
/// The most UTF-16 units of a rule in a line.
const RULE_MAX: usize = 250;

/// What is owed when claude asks: for each part a message to click at, after what does not fit it.
pub(crate) fn shown(place: &Place, attempt: Attempt, ask: &Ask) -> Vec<Row> {
    let key = |part| Key {
        run: place.run.clone(),
        generation: place.generation,
        attempt,
        ask: ask.id.clone(),
        part,
    };
    let cut = if ask.cut { "\n-# Some of it is too long to be shown here." } else { "" };
    match &ask.wanted {
        Wanted::Permission { tool, object, why, .. } => {
            let why = why.as_deref().filter(|why| *why != object).map(plain);
            let why = why.map(|why| format!(" · {}", short(&why, OPTION_MAX))).unwrap_or_default();
            let tool = plain(tool).replace('`', "'");
            let object = object.replace("```", "'''");
            let text = format!("🔐 claude asks to use **{tool}**{why}\n```\n{object}\n```{cut}");
            let key = key(0);
            let buttons = vec![
                button("yes", &key, "Allow once"),
                button("thread", &key, "Allow for this thread"),
                button("no", &key, "Deny"),
                button("why", &key, "Deny with reason…"),
            ];
            rows(place, &key, &text, "Allow it?", buttons, None)
        }
        Wanted::Plan { text } => {
            let text = if text.trim().is_empty() { "*claude wrote no plan down.*" } else { text };
            let text = format!("📋 **claude has a plan**\n{text}{cut}");
            let key = key(0);
            let buttons =
                vec![button("yes", &key, "Approve"), button("keep", &key, "Keep planning…")];
            rows(place, &key, &text, "Is it to be carried out?", buttons, None)
        }
        Wanted::Question { questions } => questions
            .iter()
            .enumerate()
            .flat_map(|(part, question)| asked(place, &key(part), question, cut))
            .collect(),
    }
}

fn asked(place: &Place, key: &Key, question: &Question, cut: &str) -> Vec<Row> {
    let mut text = format!("❓ {}", question.text);
    for option in &question.options {
        if let Some(description) = &option.description {
            // A text takes whatever is written to it.
            let _ = write!(text, "\n- **{}**: {}", plain(&option.label), plain(description));
        }
    }
    text.push_str(cut);
    let count = question.options.len();
    let (buttons, menu) = if question.multi && 0 < count || BUTTONS_MAX <= count {
        (Vec::new(), Some(menu(key, question)))
    } else {
        let options = question.options.iter().enumerate();
        let mut buttons: Vec<_> = options
            .map(|(n, option)| button(&format!("pick{n}"), key, &label(&option.label, n)))
            .collect();
        buttons.push(button(OTHER, key, "Other…"));
        (buttons, None)
    };
    rows(place, key, &text, "Your answer?", buttons, menu)
}

fn menu(key: &Key, question: &Question) -> Menu {
    let options = question.options.iter().take(OPTIONS_MAX).enumerate();
    let mut options: Vec<_> = options
        .map(|(n, option)| MenuOption {
            value: n.to_string(),
            label: label(&option.label, n),
            description: option
                .description
                .as_deref()
                .map(|it| short(&plain(it), OPTION_MAX))
                .filter(|it| !it.is_empty()),
        })
        .collect();
    options.push(MenuOption { value: OTHER.into(), label: "Other…".into(), description: None });
    let most = if question.multi { options.len() } else { 1 };
    let most = u8::try_from(most).expect("25 fit");
    Menu { id: format!("menu/{key}"), options, most }
}

/// The pages of a text, with buttons under the last.
fn rows(
    place: &Place,
    key: &Key,
    text: &str,
    last: &str,
    buttons: Vec<Button>,
    menu: Option<Menu>,
) -> Vec<Row> {
    let mut pages = pages(text);
    let is_full = |page: &String| PAGE_MAX < page.encode_utf16().count() + LINE_MAX;
    if pages.last().is_none_or(is_full) {
        pages.push(last.to_owned());
    }
    let content = pages.pop().expect("it has one");
    let channel = place.thread.into();
    let part = format!("ask/{}/{}", key.ask, key.part);
    let of = |part: &str, action| Row::of(&place.run, place.generation, part, action);
    let before = pages.into_iter().enumerate().map(|(n, content)| {
        let post = Action::Post { channel, reply_to: None, content, buttons: Vec::new() };
        of(&format!("{part}/{}", n + 1), post)
    });
    let mut rows: Vec<_> = before.collect();
    rows.push(of(&part, Action::Ask { channel, reply_to: None, content, buttons, menu }));
    rows
}

/// What is owed when a part of an ask is decided, or over: the buttons go, and the line says why.
pub(crate) fn over(place: &Place, key: &Key, line: &str) -> Row {
    let about = format!("/{key}");
    let edit = Action::Edit { channel: place.thread.into(), about, line: line.to_owned() };
    Row::of(&place.run, key.generation, &format!("ask/{}/{}/over", key.ask, key.part), edit)
}

/// What is owed when an ask was decided by what somebody had allowed for the thread: a line.
pub(crate) fn granted(place: &Place, ask: &Ask, rule: &str, by: &str) -> Row {
    let rule = short(&plain(rule).replace('`', "'"), RULE_MAX);
    let content = format!("-# 🔐 `{rule}` · allowed for this thread by {}", plain(by));
    let channel = place.thread.into();
    let post = Action::Post { channel, reply_to: None, content, buttons: Vec::new() };
    Row::of(&place.run, place.generation, &format!("ask/{}/0", ask.id), post)
}

/// What is owed to a message that was written while claude waits for a word: it waits as well, or is
/// sent in place of a yes.
pub(crate) fn offer(run: &RunId, thread: ThreadId) -> Row {
    let content =
        "-# claude waits for somebody's word on what it asked above; this comes after it.";
    let button = Button { id: format!("send/{run}"), label: "Deny and send this".into() };
    let (channel, content) = (thread.into(), content.to_owned());
    let buttons = vec![button];
    let ask = Action::Ask { channel, reply_to: None, content, buttons, menu: None };
    Row::of(run, Generation::FIRST, "offer", ask)
}

/// What is owed when there is nothing to be sent any more.
pub(crate) fn offer_over(place: &Place, line: &str) -> Row {
    let about = format!("send/{}", place.run);
    let edit = Action::Edit { channel: place.thread.into(), about, line: line.to_owned() };
    Row::of(&place.run, Generation::FIRST, "offer/over", edit)
}

fn button(verb: &str, key: &Key, label: &str) -> Button {
    Button { id: format!("{verb}/{key}"), label: label.to_owned() }
}

/// An option's label; one without a word has its number.
fn label(text: &str, n: usize) -> String {
    let label = short(&plain(text), LABEL_MAX);
    if label.is_empty() { format!("{}.", n + 1) } else { label }
}

/// The beginning of a text, of at most so many UTF-16 units.
fn short(text: &str, max: usize) -> String {
    if text.encode_utf16().count() <= max {
        return text.to_owned();
    }
    let mut units = 1;
    let fits = |c: &char| {
        units += c.len_utf16();
        units <= max
    };
    text.chars().take_while(fits).chain(['…']).collect()
}
