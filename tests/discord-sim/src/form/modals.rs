//! Modals: what Discord takes as one, and what a person may hand in. Pure.
//!
//! Known are text inputs, each in a row of its own (as serenity 0.12 sends them) or in a label.

use serde_json::Value;

use super::components::{CUSTOM_ID_MAX, claim, kind};
use super::field::Field;
use crate::error::ApiError;
use crate::model::{Modal, TextInput};

/// The most characters of a modal's title.
const TITLE_MAX: usize = 45;
/// The most inputs of a modal.
const INPUTS_MAX: usize = 5;
/// The most characters of an input's label.
const LABEL_MAX: usize = 45;
/// The most characters of an input's placeholder.
const PLACEHOLDER_MAX: usize = 100;
/// The most characters that a person may write into an input.
const TEXT_MAX: usize = 4000;
/// The style of an input of several lines.
const PARAGRAPH: u64 = 2;

/// The modal that a bot answers with.
pub(crate) fn read(data: &Value) -> Result<Modal, ApiError> {
    let data = Field::new("data", data);
    let custom_id = data.get("custom_id").required_text(1..=CUSTOM_ID_MAX)?;
    let title = data.get("title").required_text(1..=TITLE_MAX)?;
    let (mut inputs, mut taken) = (Vec::new(), Vec::new());
    for part in data.get("components").list(1..=INPUTS_MAX)? {
        let (input, label) = match part.kind(&[kind::ROW, kind::LABEL])? {
            kind::ROW => {
                let mut inner = part.get("components").list(1..=1)?;
                let input = inner.remove(0);
                let label = input.get("label").required_text(1..=LABEL_MAX)?;
                (input, label)
            }
            _ => (part.get("component"), part.get("label").required_text(1..=LABEL_MAX)?),
        };
        let input = read_input(&input, label, &mut taken)?;
        inputs.push(input);
    }
    Ok(Modal { custom_id: custom_id.to_owned(), title: title.to_owned(), inputs })
}

fn read_input<'a>(
    input: &Field<'a>,
    label: &str,
    taken: &mut Vec<&'a str>,
) -> Result<TextInput, ApiError> {
    input.kind(&[kind::TEXT_INPUT])?;
    let custom_id = input.get("custom_id").required_text(1..=CUSTOM_ID_MAX)?;
    claim(input, Some(custom_id), taken)?;
    let style = input.get("style");
    let Some(number) = style.number(1..=PARAGRAPH)? else {
        return Err(style.refuse("BASE_TYPE_REQUIRED", "This field is required"));
    };
    let length = |name: &str, least: u64| input.get(name).number(least..=TEXT_MAX as u64);
    let min_length = length("min_length", 0)?.map_or(0, as_length);
    let max_length = length("max_length", 1)?.map_or(TEXT_MAX, as_length);
    if min_length > max_length {
        let says = "Min length must be less than or equal to max length.";
        return Err(input.get("min_length").refuse("BASE_TYPE_BAD_VALUE", says));
    }
    let text =
        |name: &str, max: usize| input.get(name).text(0..=max).map(|it| it.map(str::to_owned));
    Ok(TextInput {
        custom_id: custom_id.to_owned(),
        label: label.to_owned(),
        several_lines: number == PARAGRAPH,
        required: input.get("required").flag(true)?,
        min_length,
        max_length,
        value: text("value", TEXT_MAX)?,
        placeholder: text("placeholder", PLACEHOLDER_MAX)?,
    })
}

fn as_length(number: u64) -> usize {
    usize::try_from(number).unwrap_or(TEXT_MAX)
}

/// What a person hands in, each input of the modal with its text, in the modal's order.
pub(crate) fn fill(
    modal: &Modal,
    texts: &[(&str, &str)],
) -> Result<Vec<(String, String)>, ApiError> {
    let refuse = |id: &str, reason, says: String| {
        Err(ApiError::InvalidField { path: format!("data.{id}"), reason, says })
    };
    if let Some((id, _)) =
        texts.iter().find(|(id, _)| !modal.inputs.iter().any(|it| it.custom_id == *id))
    {
        return refuse(id, "COMPONENT_VALIDATION_FAILED", "There is no such input.".to_owned());
    }
    let mut filled = Vec::new();
    for input in &modal.inputs {
        let given = texts.iter().find(|(id, _)| *id == input.custom_id).map(|(_, text)| *text);
        let text = given.or(input.value.as_deref()).unwrap_or_default();
        let length = text.chars().count();
        let TextInput { custom_id, min_length, max_length, required, .. } = input;
        if length == 0 && *required {
            return refuse(custom_id, "BASE_TYPE_REQUIRED", "This field is required".to_owned());
        }
        if length > 0 && !(*min_length..=*max_length).contains(&length) {
            let says = format!("Must be between {min_length} and {max_length} in length.");
            return refuse(custom_id, "BASE_TYPE_BAD_LENGTH", says);
        }
        filled.push((input.custom_id.clone(), text.to_owned()));
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn input(id: &str) -> Value {
        json!({ "type": 4, "custom_id": id, "style": 1, "label": "Why?" })
    }

    fn modal(inputs: &[Value]) -> Value {
        let rows: Vec<_> =
            inputs.iter().map(|it| json!({ "type": 1, "components": [it] })).collect();
        json!({ "custom_id": "deny", "title": "Deny", "components": rows })
    }

    fn refused<T: std::fmt::Debug>(result: Result<T, ApiError>) -> String {
        match result {
            Err(ApiError::InvalidField { path, .. }) => path,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_modal_has_a_title_and_one_to_five_inputs_in_rows_or_labels() {
        let all: Vec<_> = (0..6).map(|it| input(&it.to_string())).collect();
        assert_eq!(read(&modal(&all[..5])).unwrap().inputs.len(), 5);
        assert_eq!(refused(read(&modal(&all))), "data.components");
        assert_eq!(refused(read(&modal(&[]))), "data.components");
        let mut long = modal(&all[..1]);
        long["title"] = json!("x".repeat(46));
        assert_eq!(refused(read(&long)), "data.title");
        let path = refused(read(&modal(&[input("a"), input("a")])));
        assert_eq!(path, "data.components.1.components.0.custom_id");
        let label = json!({ "type": 18, "label": "Why?", "component": input("a") });
        let labelled = json!({ "custom_id": "m", "title": "t", "components": [label] });
        assert_eq!(read(&labelled).unwrap().inputs[0].label, "Why?");
    }

    #[test]
    fn an_input_has_a_label_a_style_and_lengths_in_order() {
        let cases = [
            ("label", json!("x".repeat(46)), "label"),
            ("style", json!(3), "style"),
            ("max_length", json!(4001), "max_length"),
            ("min_length", json!(4001), "min_length"),
            ("placeholder", json!("x".repeat(101)), "placeholder"),
            ("value", json!("x".repeat(4001)), "value"),
            ("custom_id", json!(""), "custom_id"),
        ];
        for (name, value, path) in cases {
            let mut wrong = input("a");
            wrong[name] = value;
            let at = refused(read(&modal(&[wrong])));
            assert_eq!(at, format!("data.components.0.components.0.{path}"));
        }
        let mut crossed = input("a");
        (crossed["min_length"], crossed["max_length"]) = (json!(5), json!(4));
        assert!(refused(read(&modal(&[crossed]))).ends_with("min_length"));
    }

    #[test]
    fn what_is_handed_in_fits_the_inputs() {
        let mut short = input("short");
        (short["min_length"], short["max_length"]) = (json!(2), json!(3));
        let mut free = input("free");
        (free["required"], free["value"]) = (json!(false), json!("as given"));
        let modal = read(&modal(&[short, free])).unwrap();
        let filled = fill(&modal, &[("short", "abc")]).unwrap();
        let expected = [("short", "abc"), ("free", "as given")];
        assert_eq!(filled, expected.map(|(id, text)| (id.to_owned(), text.to_owned())));
        for wrong in [&[][..], &[("short", "a")], &[("short", "abcd")]] {
            assert_eq!(refused(fill(&modal, wrong)), "data.short");
        }
        assert_eq!(refused(fill(&modal, &[("short", "abc"), ("x", "y")])), "data.x");
        assert_eq!(fill(&modal, &[("short", "abc"), ("free", "")]).unwrap()[1].1, "");
    }
}
