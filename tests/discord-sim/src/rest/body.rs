//! The bodies of requests: JSON, or a form with `payload_json` and files.

use axum::extract::{FromRequest, Multipart, Request};
use axum::http::header::CONTENT_TYPE;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::ApiError;
use crate::ids::MessageId;
use crate::model::{Change, Draft, NewFile};

/// A JSON body; nothing at all is an empty object.
pub(super) fn parse<T: DeserializeOwned>(body: &Bytes) -> Result<T, ApiError> {
    let text: &[u8] = if body.is_empty() { b"{}" } else { body };
    let value: Value = serde_json::from_slice(text).map_err(|_| ApiError::InvalidJson)?;
    from_value(value)
}

/// The same, of what was read as JSON already.
pub(super) fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, ApiError> {
    serde_json::from_value(value).map_err(|error| ApiError::InvalidForm {
        field: "_",
        reason: "MODEL_TYPE_CONVERT",
        says: error.to_string(),
    })
}

/// What a message, or an edit of one, may say.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct PostBody {
    content: Option<String>,
    nonce: Option<Value>,
    enforce_nonce: Option<bool>,
    embeds: Option<Vec<Value>>,
    components: Option<Vec<Value>>,
    allowed_mentions: Option<Value>,
    message_reference: Option<ReferenceBody>,
    flags: Option<u64>,
}

#[derive(Deserialize)]
struct ReferenceBody {
    message_id: MessageId,
    fail_if_not_exists: Option<bool>,
}

impl PostBody {
    pub(super) fn into_draft(self, files: Vec<NewFile>) -> Result<Draft, ApiError> {
        let nonce = match self.nonce {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text),
            Some(Value::Number(number)) => Some(number.to_string()),
            Some(Value::Bool(_) | Value::Array(_) | Value::Object(_)) => {
                return Err(ApiError::bad_value("nonce", "Must be a string or an integer."));
            }
        };
        let reference = self.message_reference;
        Ok(Draft {
            // Discord takes white space off both ends, and so can find nothing left.
            content: self.content.unwrap_or_default().trim().to_owned(),
            nonce,
            enforce_nonce: self.enforce_nonce.unwrap_or(false),
            reply_to: reference.as_ref().map(|it| it.message_id),
            reply_must_exist: reference.and_then(|it| it.fail_if_not_exists).unwrap_or(true),
            embeds: self.embeds.unwrap_or_default(),
            components: self.components.unwrap_or_default(),
            allowed_mentions: self.allowed_mentions,
            flags: self.flags.unwrap_or(0),
            files,
        })
    }

    pub(super) fn into_change(self) -> Change {
        Change {
            content: self.content.map(|it| it.trim().to_owned()),
            embeds: self.embeds,
            components: self.components,
            allowed_mentions: self.allowed_mentions,
            flags: self.flags,
        }
    }
}

/// What a request says, and the files that came with it.
pub(crate) async fn read<T: DeserializeOwned + Default>(
    request: Request,
) -> Result<(T, Vec<NewFile>), ApiError> {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|it| it.to_str().ok());
    if !kind.is_some_and(|it| it.starts_with("multipart/form-data")) {
        let body = Bytes::from_request(request, &()).await.map_err(|_| ApiError::TooLarge)?;
        return Ok((parse(&body)?, Vec::new()));
    }
    let mut form =
        Multipart::from_request(request, &()).await.map_err(|_| ApiError::InvalidJson)?;
    let (mut body, mut files) = (T::default(), Vec::new());
    while let Some(field) = form.next_field().await.map_err(|_| ApiError::TooLarge)? {
        let filename = field.file_name().map(str::to_owned);
        let content_type = field.content_type().map(str::to_owned);
        let is_payload = field.name() == Some("payload_json");
        let bytes = field.bytes().await.map_err(|_| ApiError::TooLarge)?;
        match filename {
            Some(filename) => files.push(NewFile { filename, content_type, bytes }),
            None if is_payload => body = parse(&bytes)?,
            None => {}
        }
    }
    Ok((body, files))
}
