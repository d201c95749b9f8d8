//! The embeds of a message: what Discord takes. Pure.
//!
//! The limits are those of Discord's "Message", embed limits, read in November 2026.

use serde_json::Value;

use super::field::Field;
use crate::error::ApiError;

/// The most embeds of a message.
const EMBEDS_MAX: usize = 10;
/// The most characters of all embeds of a message together.
const TOTAL_MAX: usize = 6000;
const TITLE_MAX: usize = 256;
const DESCRIPTION_MAX: usize = 4096;
const FIELDS_MAX: usize = 25;
const FIELD_NAME_MAX: usize = 256;
const FIELD_VALUE_MAX: usize = 1024;
const FOOTER_MAX: usize = 2048;
const AUTHOR_MAX: usize = 256;

/// Refuses embeds that Discord does not take.
pub(crate) fn check(embeds: &Value) -> Result<(), ApiError> {
    let all = Field::new("embeds", embeds);
    let mut total = 0;
    for embed in all.list(0..=EMBEDS_MAX)? {
        total += length(&embed)?;
    }
    if total > TOTAL_MAX {
        let says = format_args!("Embed size exceeds maximum size of {TOTAL_MAX}");
        return Err(all.refuse("MAX_EMBED_SIZE_EXCEEDED", says));
    }
    Ok(())
}

/// Whether an embed shows nothing.
pub(crate) fn is_blank(embed: &Value) -> bool {
    let shows = ["title", "description", "fields", "image", "thumbnail", "footer", "author"];
    !shows.iter().any(|it| embed.get(it).is_some_and(|value| !value.is_null()))
}

/// The characters of one embed that count.
fn length(embed: &Field<'_>) -> Result<usize, ApiError> {
    let count = |text: Option<&str>| text.map_or(0, |it| it.chars().count());
    let mut total = count(embed.get("title").text(0..=TITLE_MAX)?)
        + count(embed.get("description").text(0..=DESCRIPTION_MAX)?)
        + count(embed.get("footer").get("text").text(0..=FOOTER_MAX)?)
        + count(embed.get("author").get("name").text(0..=AUTHOR_MAX)?);
    let fields = embed.get("fields");
    if !fields.is_absent() {
        for field in fields.list(0..=FIELDS_MAX)? {
            field.get("inline").flag(false)?;
            total += count(Some(field.get("name").required_text(1..=FIELD_NAME_MAX)?));
            total += count(Some(field.get("value").required_text(1..=FIELD_VALUE_MAX)?));
        }
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(embeds: &Value) -> String {
        match check(embeds) {
            Err(ApiError::InvalidField { path, .. }) => path,
            other => panic!("{other:?}"),
        }
    }

    fn long(count: usize) -> Value {
        json!("é".repeat(count))
    }

    #[test]
    fn each_part_of_an_embed_has_its_length() {
        let parts = [("title", TITLE_MAX), ("description", DESCRIPTION_MAX)];
        for (name, max) in parts {
            assert!(check(&json!([{ name: long(max) }])).is_ok());
            assert_eq!(refused(&json!([{ name: long(max + 1) }])), format!("embeds.0.{name}"));
        }
        assert!(check(&json!([{ "footer": { "text": long(2048) } }])).is_ok());
        let path = refused(&json!([{}, { "footer": { "text": long(2049) } }]));
        assert_eq!(path, "embeds.1.footer.text");
    }

    #[test]
    fn an_embed_has_25_fields_each_with_a_name_and_a_value() {
        let field = |name: usize, value: usize| json!({ "name": long(name), "value": long(value) });
        let fields = |all: Vec<Value>| json!([{ "fields": all }]);
        assert!(check(&fields(vec![field(256, 1024)])).is_ok());
        assert!(check(&fields(vec![field(1, 1); 25])).is_ok());
        assert_eq!(refused(&fields(vec![field(1, 1); 26])), "embeds.0.fields");
        assert_eq!(refused(&fields(vec![field(257, 1)])), "embeds.0.fields.0.name");
        assert_eq!(refused(&fields(vec![field(1, 1), field(1, 1025)])), "embeds.0.fields.1.value");
        assert_eq!(refused(&fields(vec![field(0, 1)])), "embeds.0.fields.0.name");
    }

    #[test]
    fn ten_embeds_with_6000_characters_together_are_taken_and_no_more() {
        let embeds = |count: usize, each: usize| {
            let all: Vec<_> = (0..count).map(|_| json!({ "description": long(each) })).collect();
            json!(all)
        };
        assert!(check(&embeds(10, 600)).is_ok());
        assert_eq!(refused(&embeds(11, 1)), "embeds");
        assert_eq!(refused(&embeds(2, 3001)), "embeds");
    }

    #[test]
    fn an_embed_without_a_word_is_blank() {
        assert!(is_blank(&json!({})) && is_blank(&json!({ "color": 5, "title": null })));
        assert!(!is_blank(&json!({ "description": "x" })));
    }
}
