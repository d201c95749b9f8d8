//! What Discord answers when it refuses: status, code and text.
//!
//! The numbers are of Discord's reference, "JSON error codes", read in August 2026.

use std::time::Duration;

use axum::Json;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// A refusal of the API.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// The token is missing or wrong (401, code 0).
    #[error("401: Unauthorized")]
    Unauthorized,
    /// The route does not exist (404, code 0).
    #[error("404: Not Found")]
    NotFound,
    /// The route exists, the method does not (405, code 0).
    #[error("405: Method Not Allowed")]
    MethodNotAllowed,
    /// 10003.
    #[error("Unknown Channel")]
    UnknownChannel,
    /// 10004.
    #[error("Unknown Guild")]
    UnknownGuild,
    /// 10007.
    #[error("Unknown Member")]
    UnknownMember,
    /// 10008; also the answer to a nonce whose message was deleted.
    #[error("Unknown Message")]
    UnknownMessage,
    /// 10013.
    #[error("Unknown User")]
    UnknownUser,
    /// 10014.
    #[error("Unknown Emoji")]
    UnknownEmoji,
    /// 10015: an interaction's token before its first answer, or after none came in time.
    #[error("Unknown Webhook")]
    UnknownWebhook,
    /// 10062: no such interaction, or its three seconds are over.
    #[error("Unknown interaction")]
    UnknownInteraction,
    /// 30010.
    #[error("Maximum number of reactions reached (20)")]
    TooManyReactions,
    /// 30046 (429).
    #[error("Maximum number of edits to messages older than 1 hour reached. Try again later.")]
    TooManyOldEdits {
        /// When an edit is possible again.
        retry_after_ms: u64,
    },
    /// A limit of which no header of Discord's speaks (429, no code).
    #[error("You are being rate limited.")]
    TooOften {
        /// When to try again.
        retry_after_ms: u64,
    },
    /// 40005.
    #[error("Request entity too large")]
    TooLarge,
    /// 40060: a second first answer to an interaction.
    #[error("Interaction has already been acknowledged.")]
    AlreadyAcknowledged,
    /// 50001: the channel cannot be seen.
    #[error("Missing Access")]
    MissingAccess,
    /// 50005.
    #[error("Cannot edit a message authored by another user")]
    EditOfAnother,
    /// 50006.
    #[error("Cannot send an empty message")]
    EmptyMessage,
    /// 50013: the channel is seen, the act is not allowed.
    #[error("Missing Permissions")]
    MissingPermissions,
    /// 50021.
    #[error("Cannot execute action on a system message")]
    SystemMessage,
    /// 50024.
    #[error("Cannot execute action on this channel type")]
    WrongChannelType,
    /// 50027: an interaction's token that is wrong, or older than 15 minutes.
    #[error("Invalid Webhook Token")]
    InvalidWebhookToken,
    /// 50035, for one field.
    #[error("Invalid Form Body")]
    InvalidForm {
        /// The field, as it is named in the request.
        field: &'static str,
        /// Discord's word for the fault, `BASE_TYPE_MAX_LENGTH` for one.
        reason: &'static str,
        /// The sentence beside it.
        says: String,
    },
    /// 50035, for one field deep in the request.
    #[error("Invalid Form Body")]
    InvalidField {
        /// The path of the field, `components.0.components.1.custom_id` for one.
        path: String,
        /// Discord's word for the fault.
        reason: &'static str,
        /// The sentence beside it.
        says: String,
    },
    /// 50083: an edit, a reaction or a deletion in an archived thread, a message into one that is locked
    /// too.
    #[error("Thread is archived")]
    ThreadArchived,
    /// 50109.
    #[error("The request body contains invalid JSON.")]
    InvalidJson,
    /// 160002 (403): an answer to a message where history may not be read.
    #[error("Cannot reply without permission to read message history")]
    NoHistory,
    /// 160004.
    #[error("A thread has already been created for this message")]
    ThreadExists,
    /// 160005: a message into a locked thread.
    #[error("This thread is locked")]
    ThreadLocked,
}

impl ApiError {
    /// A field that is longer than it may be.
    pub(crate) fn too_long(field: &'static str, max: usize) -> Self {
        let says = format!("Must be {max} or fewer in length.");
        Self::InvalidForm { field, reason: "BASE_TYPE_MAX_LENGTH", says }
    }

    /// A field whose value is out of its range.
    pub(crate) fn bad_value(field: &'static str, says: &str) -> Self {
        Self::InvalidForm { field, reason: "BASE_TYPE_BAD_VALUE", says: says.to_owned() }
    }

    /// The same refusal, of a field that stands below `parent`.
    pub(crate) fn below(self, parent: &str) -> Self {
        if let Self::InvalidForm { field, reason, says } = self {
            return Self::InvalidField { path: format!("{parent}.{field}"), reason, says };
        }
        if let Self::InvalidField { path, reason, says } = self {
            return Self::InvalidField { path: format!("{parent}.{path}"), reason, says };
        }
        self
    }

    /// A component that is not there, cannot be used, or not like that.
    pub(crate) fn bad_component() -> Self {
        Self::InvalidField {
            path: "data".to_owned(),
            reason: "COMPONENT_VALIDATION_FAILED",
            says: "Component validation failed".to_owned(),
        }
    }

    /// How long to wait, for a limit.
    pub(crate) fn retry_after_ms(&self) -> Option<u64> {
        if let Self::TooManyOldEdits { retry_after_ms } | Self::TooOften { retry_after_ms } = self {
            Some(*retry_after_ms)
        } else {
            None
        }
    }

    /// Discord's code, 0 where there is none.
    pub fn code(&self) -> u32 {
        match self {
            Self::Unauthorized
            | Self::NotFound
            | Self::MethodNotAllowed
            | Self::TooOften { .. } => 0,
            Self::UnknownChannel => 10_003,
            Self::UnknownGuild => 10_004,
            Self::UnknownMember => 10_007,
            Self::UnknownMessage => 10_008,
            Self::UnknownUser => 10_013,
            Self::UnknownEmoji => 10_014,
            Self::UnknownWebhook => 10_015,
            Self::UnknownInteraction => 10_062,
            Self::TooManyReactions => 30_010,
            Self::TooManyOldEdits { .. } => 30_046,
            Self::TooLarge => 40_005,
            Self::AlreadyAcknowledged => 40_060,
            Self::MissingAccess => 50_001,
            Self::EditOfAnother => 50_005,
            Self::EmptyMessage => 50_006,
            Self::MissingPermissions => 50_013,
            Self::SystemMessage => 50_021,
            Self::WrongChannelType => 50_024,
            Self::InvalidWebhookToken => 50_027,
            Self::InvalidForm { .. } | Self::InvalidField { .. } => 50_035,
            Self::ThreadArchived => 50_083,
            Self::InvalidJson => 50_109,
            Self::NoHistory => 160_002,
            Self::ThreadExists => 160_004,
            Self::ThreadLocked => 160_005,
        }
    }

    /// The HTTP status that goes with it.
    pub fn status(&self) -> u16 {
        match self {
            Self::Unauthorized | Self::InvalidWebhookToken => 401,
            Self::MissingAccess
            | Self::EditOfAnother
            | Self::MissingPermissions
            | Self::SystemMessage
            | Self::NoHistory => 403,
            Self::NotFound
            | Self::UnknownChannel
            | Self::UnknownGuild
            | Self::UnknownMember
            | Self::UnknownMessage
            | Self::UnknownUser
            | Self::UnknownWebhook
            | Self::UnknownInteraction => 404,
            Self::MethodNotAllowed => 405,
            Self::TooLarge => 413,
            Self::TooManyOldEdits { .. } | Self::TooOften { .. } => 429,
            Self::UnknownEmoji
            | Self::TooManyReactions
            | Self::EmptyMessage
            | Self::WrongChannelType
            | Self::InvalidForm { .. }
            | Self::InvalidField { .. }
            | Self::AlreadyAcknowledged
            | Self::ThreadArchived
            | Self::InvalidJson
            | Self::ThreadExists
            | Self::ThreadLocked => 400,
        }
    }

    /// The body of the answer.
    pub(crate) fn body(&self) -> Value {
        let mut body = json!({ "message": self.to_string(), "code": self.code() });
        if let Self::InvalidForm { field, reason, says } = self {
            body["errors"] = at_path(field, reason, says);
        }
        if let Self::InvalidField { path, reason, says } = self {
            body["errors"] = at_path(path, reason, says);
        }
        if let Some(ms) = self.retry_after_ms() {
            body["retry_after"] = json!(Duration::from_millis(ms).as_secs_f64());
            body["global"] = json!(false);
        }
        body
    }
}

/// One fault, nested by the parts of its path.
fn at_path(path: &str, reason: &str, says: &str) -> Value {
    let fault = json!({ "_errors": [{ "code": reason, "message": says }] });
    path.rsplit('.').fold(fault, |inner, part| json!({ (part): inner }))
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status()).expect("every status above is a real one");
        let mut response = (status, Json(self.body())).into_response();
        if let Some(ms) = self.retry_after_ms() {
            let wait = Duration::from_millis(ms).as_secs_f64();
            let wait = HeaderValue::from_str(&format!("{wait:.3}")).expect("digits and a point");
            response.headers_mut().insert(RETRY_AFTER, wait);
        }
        response
    }
}
