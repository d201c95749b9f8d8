//! The buttons and select menus of a message: what Discord takes, and which one is meant. Pure.
//!
//! The limits are those of Discord's "Component Reference", read in November 2026. Only rows of
//! buttons and selects are known here; sections, containers and the like are refused.

use serde_json::Value;

use super::field::Field;
use crate::error::ApiError;

/// The most rows of a message.
const ROWS_MAX: usize = 5;
/// The most buttons of a row.
const BUTTONS_MAX: usize = 5;
/// The most characters of a `custom_id`.
pub(super) const CUSTOM_ID_MAX: usize = 100;
/// The most characters on a button.
const LABEL_MAX: usize = 80;
/// The most characters of the address of a link.
const URL_MAX: usize = 512;
/// The most options of a select menu.
pub(super) const OPTIONS_MAX: usize = 25;
/// The most characters of an option's label, value or description.
const OPTION_TEXT_MAX: usize = 100;
/// The most characters of a select menu's placeholder.
const PLACEHOLDER_MAX: usize = 150;

/// The numbers of the component types.
pub(crate) mod kind {
    pub(crate) const ROW: u64 = 1;
    pub(crate) const BUTTON: u64 = 2;
    pub(crate) const STRING_SELECT: u64 = 3;
    pub(crate) const TEXT_INPUT: u64 = 4;
    pub(crate) const USER_SELECT: u64 = 5;
    pub(crate) const ROLE_SELECT: u64 = 6;
    pub(crate) const MENTIONABLE_SELECT: u64 = 7;
    pub(crate) const CHANNEL_SELECT: u64 = 8;
    pub(crate) const LABEL: u64 = 18;
}

/// What may stand in a row.
const IN_ROW: [u64; 6] = [
    kind::BUTTON,
    kind::STRING_SELECT,
    kind::USER_SELECT,
    kind::ROLE_SELECT,
    kind::MENTIONABLE_SELECT,
    kind::CHANNEL_SELECT,
];

/// The styles of buttons that open an address, or a shop.
const LINK: u64 = 5;
const PREMIUM: u64 = 6;

/// Refuses components that Discord does not take.
pub(crate) fn check(rows: &Value) -> Result<(), ApiError> {
    let mut taken = Vec::new();
    for row in Field::new("components", rows).list(0..=ROWS_MAX)? {
        row.kind(&[kind::ROW])?;
        let inner = row.get("components").list(1..=BUTTONS_MAX)?;
        let alone = inner.len() == 1;
        for component in &inner {
            let id = match component.kind(&IN_ROW)? {
                kind::BUTTON => check_button(component)?,
                _ if !alone => {
                    let says = "The specified component exceeds the maximum width";
                    return Err(component.refuse("COMPONENT_LAYOUT_WIDTH_EXCEEDED", says));
                }
                select => Some(check_select(component, select)?),
            };
            claim(component, id, &mut taken)?;
        }
    }
    Ok(())
}

/// Refuses a `custom_id` that another component of the same message or modal has.
pub(super) fn claim<'a>(
    component: &Field<'_>,
    id: Option<&'a str>,
    taken: &mut Vec<&'a str>,
) -> Result<(), ApiError> {
    let Some(id) = id else { return Ok(()) };
    if taken.contains(&id) {
        let says = "Component custom id cannot be duplicated";
        return Err(component.get("custom_id").refuse("COMPONENT_CUSTOM_ID_DUPLICATED", says));
    }
    taken.push(id);
    Ok(())
}

/// The `custom_id` of a good button; links have none.
fn check_button<'a>(button: &Field<'a>) -> Result<Option<&'a str>, ApiError> {
    let style = button.get("style");
    let Some(number) = style.number(1..=PREMIUM)? else {
        return Err(style.refuse("BASE_TYPE_REQUIRED", "This field is required"));
    };
    button.get("disabled").flag(false)?;
    let label = button.get("label").text(0..=LABEL_MAX)?.filter(|it| !it.is_empty());
    let (id, url) = (button.get("custom_id"), button.get("url"));
    if number == PREMIUM {
        button.get("sku_id").required_text(1..=CUSTOM_ID_MAX)?;
        return Ok(None);
    }
    if label.is_none() && button.get("emoji").is_absent() {
        let says = "A button must have a label or an emoji";
        return Err(button.get("label").refuse("BASE_TYPE_REQUIRED", says));
    }
    if !id.is_absent() && !url.is_absent() {
        let says = "A custom id and url cannot both be specified";
        return Err(button.refuse("BUTTON_COMPONENT_CUSTOM_ID_URL_MUTUALLY_EXCLUSIVE", says));
    }
    if number == LINK {
        let address = url.required_text(1..=URL_MAX)?;
        let known = ["http://", "https://", "discord://"];
        if !known.iter().any(|scheme| address.starts_with(scheme)) {
            let says = "Scheme must be one of ('discord', 'https', 'http').";
            return Err(url.refuse("URL_TYPE_INVALID_SCHEME", says));
        }
        return Ok(None);
    }
    Ok(Some(id.required_text(1..=CUSTOM_ID_MAX)?))
}

/// The `custom_id` of a good select menu.
fn check_select<'a>(select: &Field<'a>, kind: u64) -> Result<&'a str, ApiError> {
    let id = select.get("custom_id").required_text(1..=CUSTOM_ID_MAX)?;
    select.get("placeholder").text(0..=PLACEHOLDER_MAX)?;
    select.get("disabled").flag(false)?;
    let most = OPTIONS_MAX as u64;
    let min = select.get("min_values").number(0..=most)?.unwrap_or(1);
    let max = select.get("max_values").number(1..=most)?.unwrap_or(1);
    if min > max {
        let says = "Min values must be less than or equal to max values.";
        return Err(select.get("min_values").refuse("BASE_TYPE_BAD_VALUE", says));
    }
    if kind == self::kind::STRING_SELECT {
        check_options(select, max)?;
    }
    Ok(id)
}

fn check_options(select: &Field<'_>, max_values: u64) -> Result<(), ApiError> {
    let options = select.get("options").list(1..=OPTIONS_MAX)?;
    if max_values > options.len() as u64 {
        let says = "Max values cannot be larger than the number of options.";
        return Err(select.get("max_values").refuse("BASE_TYPE_BAD_VALUE", says));
    }
    let (mut values, mut chosen) = (Vec::new(), 0);
    for option in &options {
        option.get("label").required_text(1..=OPTION_TEXT_MAX)?;
        option.get("description").text(0..=OPTION_TEXT_MAX)?;
        chosen += u64::from(option.get("default").flag(false)?);
        let value = option.get("value");
        let text = value.required_text(1..=OPTION_TEXT_MAX)?;
        if values.contains(&text) {
            let says = "The specified option value is already used";
            return Err(value.refuse("SELECT_COMPONENT_OPTION_VALUE_DUPLICATED", says));
        }
        values.push(text);
    }
    if chosen > max_values {
        let says = "There are more default options than may be chosen.";
        return Err(select.get("options").refuse("SELECT_COMPONENT_TOO_MANY_DEFAULTS", says));
    }
    Ok(())
}

/// The component of this `custom_id`, if it can be used.
pub(crate) fn find<'a>(rows: &'a [Value], custom_id: &str) -> Option<&'a Value> {
    let all = rows.iter().filter_map(|row| row["components"].as_array()).flatten();
    let mut usable = all.filter(|it| it["disabled"].as_bool() != Some(true));
    usable.find(|it| it["custom_id"] == custom_id)
}

/// Whether so many values may be chosen in a select menu.
pub(crate) fn takes(select: &Value, count: usize) -> bool {
    let limit = |name: &str| select[name].as_u64().unwrap_or(1);
    (limit("min_values")..=limit("max_values")).contains(&(count as u64))
}

/// Whether a select menu of texts has this value.
pub(crate) fn offers(select: &Value, value: &str) -> bool {
    let options = select["options"].as_array();
    options.is_some_and(|all| all.iter().any(|it| it["value"] == value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn button(id: &str) -> Value {
        json!({ "type": 2, "style": 1, "custom_id": id, "label": "Go" })
    }

    fn row(components: &Value) -> Value {
        json!({ "type": 1, "components": components })
    }

    fn select(options: usize) -> Value {
        let options: Vec<_> =
            (0..options).map(|it| json!({ "label": "x", "value": it.to_string() })).collect();
        json!({ "type": 3, "custom_id": "pick", "options": options })
    }

    /// The path that is refused.
    fn refused(rows: &Value) -> String {
        match check(rows) {
            Err(ApiError::InvalidField { path, .. }) => path,
            other => panic!("{other:?} for {rows}"),
        }
    }

    fn with(mut component: Value, field: &str, value: Value) -> Value {
        component[field] = value;
        json!([row(&json!([component]))])
    }

    #[test]
    fn five_rows_of_five_buttons_are_taken_and_not_one_more() {
        let full = |n: usize| {
            let ids = (0..5).map(|it| button(&format!("{n}/{it}")));
            row(&ids.collect())
        };
        let rows: Vec<_> = (0..5).map(full).collect();
        assert!(check(&json!(rows)).is_ok());
        assert_eq!(refused(&(0..6).map(full).collect()), "components");
        let six: Vec<_> = (0..6).map(|it| button(&it.to_string())).collect();
        assert_eq!(refused(&json!([row(&json!(six))])), "components.0.components");
        assert_eq!(refused(&json!([row(&json!([]))])), "components.0.components");
        assert_eq!(refused(&json!([button("bare")])), "components.0");
    }

    #[test]
    fn a_custom_id_has_1_to_100_characters_and_is_there_once() {
        assert!(check(&with(button(""), "custom_id", json!("é".repeat(100)))).is_ok());
        for wrong in [json!(""), json!("x".repeat(101)), json!(5), Value::Null] {
            let path = refused(&with(button("x"), "custom_id", wrong));
            assert_eq!(path, "components.0.components.0.custom_id");
        }
        let twice = json!([row(&json!([button("a")])), row(&json!([button("b"), button("a")]))]);
        assert_eq!(refused(&twice), "components.1.components.1.custom_id");
    }

    #[test]
    fn a_button_has_a_short_label_or_an_emoji_and_a_known_style() {
        let at = |field: &str| format!("components.0.components.0.{field}");
        assert!(check(&with(button("x"), "label", json!("x".repeat(80)))).is_ok());
        assert_eq!(refused(&with(button("x"), "label", json!("x".repeat(81)))), at("label"));
        assert_eq!(refused(&with(button("x"), "label", json!(""))), at("label"));
        let only_emoji =
            json!({ "type": 2, "style": 2, "custom_id": "x", "emoji": { "name": "⏹️" } });
        assert!(check(&json!([row(&json!([only_emoji]))])).is_ok());
        assert_eq!(refused(&with(button("x"), "style", json!(7))), at("style"));
        let link = json!({ "type": 2, "style": 5, "url": "https://example.org", "label": "x" });
        assert!(check(&json!([row(&json!([link.clone()]))])).is_ok());
        assert_eq!(refused(&with(link.clone(), "url", json!("file:///etc"))), at("url"));
        assert_eq!(refused(&with(link, "custom_id", json!("x"))), "components.0.components.0");
    }

    #[test]
    fn a_select_is_alone_in_its_row_with_1_to_25_options() {
        assert!(check(&json!([row(&json!([select(25)]))])).is_ok());
        for count in [0, 26] {
            let path = refused(&json!([row(&json!([select(count)]))]));
            assert_eq!(path, "components.0.components.0.options");
        }
        let crowded = json!([row(&json!([select(2), button("x")]))]);
        assert_eq!(refused(&crowded), "components.0.components.0");
        let path = refused(&with(select(2), "max_values", json!(3)));
        assert_eq!(path, "components.0.components.0.max_values");
        let mut twice = select(2);
        twice["options"][1]["value"] = json!("0");
        let path = refused(&json!([row(&json!([twice]))]));
        assert_eq!(path, "components.0.components.0.options.1.value");
    }

    #[test]
    fn a_select_says_no_more_than_fits_and_takes_no_less_than_it_asks() {
        let at = |field: &str| format!("components.0.components.0.{field}");
        assert!(check(&with(select(1), "placeholder", json!("x".repeat(150)))).is_ok());
        assert_eq!(
            refused(&with(select(1), "placeholder", json!("x".repeat(151)))),
            at("placeholder")
        );
        assert_eq!(refused(&with(select(2), "min_values", json!(2))), at("min_values"));
        assert_eq!(refused(&with(select(25), "max_values", json!(26))), at("max_values"));
        assert!(check(&with(select(2), "min_values", json!(0))).is_ok());
        for (field, text) in [("label", 101), ("label", 0), ("value", 101), ("description", 101)] {
            let mut wrong = select(1);
            wrong["options"][0][field] = json!("x".repeat(text));
            let path = refused(&json!([row(&json!([wrong]))]));
            assert_eq!(path, at(&format!("options.0.{field}")), "{text}");
        }
        let mut two = select(2);
        (two["options"][0]["default"], two["options"][1]["default"]) = (json!(true), json!(true));
        assert_eq!(refused(&json!([row(&json!([two]))])), at("options"));
    }

    #[test]
    fn what_is_disabled_or_not_offered_cannot_be_used() {
        let mut rows = vec![row(&json!([button("go")])), row(&json!([select(3)]))];
        assert!(find(&rows, "go").is_some());
        assert!(find(&rows, "stop").is_none());
        let pick = find(&rows, "pick").unwrap();
        assert!(offers(pick, "2") && !offers(pick, "3"));
        assert!(takes(pick, 1) && !takes(pick, 0) && !takes(pick, 2));
        rows[0]["components"][0]["disabled"] = json!(true);
        assert!(find(&rows, "go").is_none());
    }
}
