//! Clicks as people make them, and asks as nobody would write them.

use proptest::prelude::*;
use schemas::ask::{Ask, Choice as Option_, Question};

use super::*;
use crate::outbox::{Action, Row};
use crate::pages::PAGE_MAX;
use crate::render::Place;

fn key(part: usize) -> Key {
    Key {
        run: "m7".parse().unwrap(),
        generation: Generation(2),
        attempt: Attempt(3),
        ask: AskId::new(9),
        part,
    }
}

fn place() -> Place {
    let (run, thread) = ("m7".parse().unwrap(), "7".parse().unwrap());
    Place { run, generation: Generation(2), thread, asked: None, spent: 0 }
}

fn option(label: &str) -> Option_ {
    Option_ { label: label.into(), description: Some("it is".into()) }
}

fn question(labels: &[&str], multi: bool) -> Question {
    let options = labels.iter().map(|label| option(label)).collect();
    Question { text: "Which?".into(), options, multi }
}

fn permission() -> Wanted {
    Wanted::Permission {
        tool: "Bash".into(),
        object: "touch x".into(),
        why: None,
        rule: "Bash(touch x)".into(),
    }
}

fn show(wanted: Wanted) -> Vec<Row> {
    let ask = Ask { id: AskId::new(9), since_ms: 1, cut: false, wanted };
    shown(&place(), Attempt(3), &ask)
}

/// The ids of what can be clicked, with the labels.
fn clickable(row: &Row) -> Vec<(String, String)> {
    let Action::Ask { buttons, menu, .. } = &row.action else { panic!("{row:?}") };
    let buttons = buttons.iter().map(|it| (it.id.clone(), it.label.clone()));
    let menu = menu.iter().flat_map(|menu| {
        menu.options.iter().map(|it| (format!("{}:{}", menu.id, it.value), it.label.clone()))
    });
    buttons.chain(menu).collect()
}

/// What somebody decides by clicking at what was shown under this label.
fn click(wanted: &Wanted, label: &str, words: Option<&str>) -> Option<Decided> {
    let rows = show(wanted.clone());
    let all: Vec<_> = rows.iter().filter(|row| matches!(row.action, Action::Ask { .. })).collect();
    let all = all.into_iter().flat_map(clickable);
    let (id, _) = all.into_iter().find(|(_, it)| it == label).expect("it is there");
    let (id, values) = match id.split_once(':') {
        Some((id, value)) => (id.to_owned(), vec![value.to_owned()]),
        None => (id, Vec::new()),
    };
    let id = form(&id, &values).map_or(id, |form| form.id);
    let click = Click::parse(&id, &values, words).expect("it means something");
    decide(wanted, click.key.part, &click.choice, "Ada")
}

#[test]
fn each_button_of_a_permission_decides_what_it_says() {
    let decided = |label, words| click(&permission(), label, words).unwrap();
    assert_eq!(decided("Allow once", None).line, "Allowed by Ada.");
    let granted = decided("Allow for this thread", None);
    assert_eq!(granted.grant.as_deref(), Some("Bash(touch x)"));
    assert_eq!(decided("Deny", None).decision, Decision::Deny { words: None });
    let because = decided("Deny with reason…", Some(" use\ngit mv "));
    assert_eq!(because.decision, Decision::Deny { words: Some("use\ngit mv".into()) });
    assert_eq!(because.line, "Denied by Ada: use git mv");
}

#[test]
fn a_plan_is_approved_or_planned_further() {
    let plan = Wanted::Plan { text: "1. do it".into() };
    assert_eq!(click(&plan, "Approve", None).unwrap().decision, Decision::Allow);
    let kept = click(&plan, "Keep planning…", Some("")).unwrap();
    assert_eq!(kept.decision, Decision::Deny { words: None });
    assert_eq!(kept.line, "Ada wants it planned further.");
}

#[test]
fn a_question_has_buttons_or_a_menu_and_room_for_another_answer() {
    let few = Wanted::Question { questions: vec![question(&["A", "B"], false)] };
    let answers = |decided: Decided| match decided.decision {
        Decision::Answers { picked } => picked,
        other @ (Decision::Allow | Decision::Deny { .. }) => panic!("{other:?}"),
    };
    let chosen = |n| vec![Picked { options: vec![n], words: None }];
    assert_eq!(answers(click(&few, "B", None).unwrap()), chosen(1));
    let other = click(&few, "Other…", Some("both")).unwrap();
    assert_eq!(other.line, "Ada answered: both");
    assert_eq!(answers(other), [Picked { options: vec![], words: Some("both".into()) }]);
    let many: Vec<_> = (0..6).map(|n| format!("{n}")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    for multi in [false, true] {
        let many = Wanted::Question { questions: vec![question(&many, multi)] };
        assert_eq!(answers(click(&many, "5", None).unwrap()), chosen(5));
        click(&many, "Other…", Some("none")).unwrap();
    }
}

#[test]
fn several_are_chosen_only_where_several_may_be() {
    let several = ["0".to_owned(), "1".to_owned()];
    let with_other = [several.as_slice(), &[OTHER.to_owned()]].concat();
    let id = format!("menu/{}", key(0));
    let both = Click::parse(&id, &several, None).unwrap().choice;
    let form = form(&id, &with_other).unwrap();
    assert_eq!(Click::parse(&id, &with_other, None), None, "a form comes first");
    let more = Click::parse(&form.id, &[], Some("C")).unwrap().choice;
    let wanted = |multi| Wanted::Question { questions: vec![question(&["A", "B"], multi)] };
    let line = |multi, choice| decide(&wanted(multi), 0, choice, "Ada").map(|it| it.line);
    assert_eq!(line(true, &both).unwrap(), "Ada answered: A, B");
    assert_eq!(line(true, &more).unwrap(), "Ada answered: A, B, C");
    assert_eq!((line(false, &both), line(false, &more)), (None, None));
}

#[test]
fn what_does_not_fit_what_was_asked_decides_nothing() {
    let question = Wanted::Question { questions: vec![question(&["A"], false)] };
    let pick = |n| Choice::Answer(Picked { options: vec![n], words: None });
    assert_eq!(decide(&question, 0, &pick(1), "Ada"), None);
    assert_eq!(decide(&question, 1, &pick(0), "Ada"), None);
    assert_eq!(decide(&question, 0, &Choice::Yes, "Ada"), None);
    assert_eq!(decide(&permission(), 0, &pick(0), "Ada"), None);
    let plan = Wanted::Plan { text: String::new() };
    assert_eq!(decide(&plan, 0, &Choice::ForThread, "Ada"), None);
}

#[test]
fn what_is_none_of_ours_means_nothing() {
    let key = key(0);
    for id in ["yes", "yes/m7/1", "retry/m7/1", "pick/m7/2/3/x/0", &format!("erase/{key}")] {
        assert_eq!(Click::parse(id, &[], None), None, "{id}");
        assert_eq!(form(id, &[]), None, "{id}");
    }
    assert_eq!(Click::parse(&format!("words0/{key}"), &[], Some(" ")), None, "no words");
    assert_eq!(key.to_string().parse(), Ok(key));
}

#[test]
fn a_message_to_click_at_has_room_for_what_was_decided() {
    for length in [1_500, 1_700, 1_990, 2_010, 9_000] {
        let rows = show(Wanted::Plan { text: "x".repeat(length) });
        let Some(Action::Ask { content, .. }) = rows.last().map(|row| &row.action) else {
            panic!("{rows:?}")
        };
        let line = decide(
            &Wanted::Plan { text: String::new() },
            0,
            &Choice::No(Some("y".repeat(900))),
            &"z".repeat(32),
        );
        let line = line.unwrap().line;
        assert!(crate::render::with_line(content, &line).ends_with(&line), "{length}");
    }
}

proptest! {
    #[test]
    fn whatever_claude_asks_keeps_discords_limits(
        text in "(\\PC|\n|`|🦀){0,300}",
        label in "(\\PC|🦀){0,200}",
        count in 0..=24_usize,
        multi in any::<bool>(),
    ) {
        let options = (0..count).map(|_| option(&label)).collect();
        let question = Question { text: text.clone(), options, multi };
        let asks = [
            Wanted::Question { questions: vec![question.clone(), question] },
            Wanted::Plan { text: text.repeat(8) },
            Wanted::Permission { tool: label.clone(), object: text.repeat(8), why: Some(label), rule: text },
        ];
        let units = |text: &str| text.encode_utf16().count();
        for row in asks.into_iter().flat_map(show) {
            let content = match &row.action {
                Action::Post { content, .. } => content,
                Action::Ask { content, buttons, menu, .. } => {
                    prop_assert!(buttons.len() <= 5 && (buttons.is_empty() == menu.is_some()));
                    for button in buttons {
                        prop_assert!((1..=80).contains(&units(&button.label)) && button.id.len() <= 100);
                    }
                    if let Some(menu) = menu {
                        prop_assert!((1..=25).contains(&menu.options.len()) && menu.id.len() <= 100);
                        for option in &menu.options {
                            prop_assert!((1..=100).contains(&units(&option.label)));
                            let described = option.description.as_deref().map_or(1, units);
                            prop_assert!((1..=100).contains(&described));
                        }
                    }
                    content
                }
                other @ (Action::React { .. }
                | Action::Unreact { .. }
                | Action::Thread { .. }
                | Action::Rename { .. }
                | Action::Upload { .. }
                | Action::Files { .. }
                | Action::Status { .. }
                | Action::Delete { .. }
                | Action::Edit { .. }) => panic!("{other:?}"),
            };
            prop_assert!((1..=PAGE_MAX).contains(&units(content)) && !content.trim().is_empty());
        }
    }
}
