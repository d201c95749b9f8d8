//! A field of a request's body, with the path by which Discord names it in a refusal. Pure.
//!
//! `components.0.components.1.custom_id` is such a path. Each reader here gives the value or the
//! refusal; none changes anything.

use std::fmt::Display;
use std::ops::RangeInclusive;

use serde_json::Value;

use crate::error::ApiError;

static NOTHING: Value = Value::Null;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Field<'a> {
    path: String,
    value: &'a Value,
}

impl<'a> Field<'a> {
    /// A field at the top of a body.
    pub(crate) fn new(path: impl Display, value: &'a Value) -> Self {
        Self { path: path.to_string(), value }
    }

    /// The field of this name in an object; null where there is none.
    pub(crate) fn get(&self, name: &str) -> Self {
        let value = self.value.get(name).unwrap_or(&NOTHING);
        Self { path: format!("{}.{name}", self.path), value }
    }

    /// Whether it says nothing.
    pub(crate) fn is_absent(&self) -> bool {
        self.value.is_null()
    }

    /// A refusal of this field.
    pub(crate) fn refuse(&self, reason: &'static str, says: impl Display) -> ApiError {
        ApiError::InvalidField { path: self.path.clone(), reason, says: says.to_string() }
    }

    fn required(&self) -> ApiError {
        self.refuse("BASE_TYPE_REQUIRED", "This field is required")
    }

    fn check_length(&self, length: usize, allowed: &RangeInclusive<usize>) -> Result<(), ApiError> {
        let (min, max) = (*allowed.start(), *allowed.end());
        if allowed.contains(&length) {
            return Ok(());
        }
        Err(if min == 0 {
            self.refuse("BASE_TYPE_MAX_LENGTH", format_args!("Must be {max} or fewer in length."))
        } else {
            let says = format_args!("Must be between {min} and {max} in length.");
            self.refuse("BASE_TYPE_BAD_LENGTH", says)
        })
    }

    /// A text of so many characters, if there is one.
    pub(crate) fn text(&self, allowed: RangeInclusive<usize>) -> Result<Option<&'a str>, ApiError> {
        if self.is_absent() {
            return Ok(None);
        }
        let Some(text) = self.value.as_str() else {
            return Err(self.refuse("STRING_TYPE_CONVERT", "Could not interpret it as string."));
        };
        self.check_length(text.chars().count(), &allowed)?;
        Ok(Some(text))
    }

    /// A text that must be there.
    pub(crate) fn required_text(
        &self,
        allowed: RangeInclusive<usize>,
    ) -> Result<&'a str, ApiError> {
        self.text(allowed)?.ok_or_else(|| self.required())
    }

    /// A list of so many, each with its own path.
    pub(crate) fn list(&self, allowed: RangeInclusive<usize>) -> Result<Vec<Field<'a>>, ApiError> {
        let Some(items) = self.value.as_array() else {
            return Err(self.required());
        };
        self.check_length(items.len(), &allowed)?;
        Ok(self.items(items))
    }

    fn items(&self, items: &'a [Value]) -> Vec<Field<'a>> {
        let place = |(index, value)| Field { path: format!("{}.{index}", self.path), value };
        items.iter().enumerate().map(place).collect()
    }

    /// A whole number in a range, if there is one.
    pub(crate) fn number(&self, allowed: RangeInclusive<u64>) -> Result<Option<u64>, ApiError> {
        if self.is_absent() {
            return Ok(None);
        }
        let Some(number) = self.value.as_u64() else {
            return Err(self.refuse("NUMBER_TYPE_COERCE", "Value is not int."));
        };
        if number < *allowed.start() {
            let says = format_args!("int value should be at least {}.", allowed.start());
            return Err(self.refuse("NUMBER_TYPE_MIN", says));
        }
        if number > *allowed.end() {
            let says = format_args!("int value should be less than or equal to {}.", allowed.end());
            return Err(self.refuse("NUMBER_TYPE_MAX", says));
        }
        Ok(Some(number))
    }

    /// A yes or no; nothing said is `unset`.
    pub(crate) fn flag(&self, unset: bool) -> Result<bool, ApiError> {
        if self.is_absent() {
            return Ok(unset);
        }
        let refusal = || self.refuse("BOOLEAN_TYPE_CONVERT", "Must be either true or false.");
        self.value.as_bool().ok_or_else(refusal)
    }

    /// The `type` of a component, which must be one of these.
    pub(crate) fn kind(&self, known: &[u64]) -> Result<u64, ApiError> {
        let kind = self.get("type");
        let number = kind.value.as_u64().ok_or_else(|| kind.required())?;
        if known.contains(&number) {
            return Ok(number);
        }
        let says = format_args!("Value of field \"type\" must be one of {known:?}.");
        Err(self.refuse("UNION_TYPE_CHOICES", says))
    }
}
