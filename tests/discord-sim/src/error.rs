//! What Discord answers when it refuses: status, code and text.
//!
//! The numbers are of Discord's reference, "JSON error codes", read in August 2026.

use axum::Json;
use axum::http::StatusCode;
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
    /// 30010.
    #[error("Maximum number of reactions reached (20)")]
    TooManyReactions,
    /// 40005.
    #[error("Request entity too large")]
    TooLarge,
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
    /// 50083: an edit or a reaction in an archived thread.
    #[error("Thread is archived")]
    ThreadArchived,
    /// 50109.
    #[error("The request body contains invalid JSON.")]
    InvalidJson,
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

    /// Discord's code, 0 where there is none.
    pub fn code(&self) -> u32 {
        match self {
            Self::Unauthorized | Self::NotFound | Self::MethodNotAllowed => 0,
            Self::UnknownChannel => 10_003,
            Self::UnknownGuild => 10_004,
            Self::UnknownMember => 10_007,
            Self::UnknownMessage => 10_008,
            Self::UnknownUser => 10_013,
            Self::UnknownEmoji => 10_014,
            Self::TooManyReactions => 30_010,
            Self::TooLarge => 40_005,
            Self::MissingAccess => 50_001,
            Self::EditOfAnother => 50_005,
            Self::EmptyMessage => 50_006,
            Self::MissingPermissions => 50_013,
            Self::SystemMessage => 50_021,
            Self::WrongChannelType => 50_024,
            Self::InvalidForm { .. } => 50_035,
            Self::ThreadArchived => 50_083,
            Self::InvalidJson => 50_109,
            Self::ThreadExists => 160_004,
            Self::ThreadLocked => 160_005,
        }
    }

    /// The HTTP status that goes with it.
    pub fn status(&self) -> u16 {
        match self {
            Self::Unauthorized => 401,
            Self::MissingAccess
            | Self::EditOfAnother
            | Self::MissingPermissions
            | Self::SystemMessage => 403,
            Self::NotFound
            | Self::UnknownChannel
            | Self::UnknownGuild
            | Self::UnknownMember
            | Self::UnknownMessage
            | Self::UnknownUser => 404,
            Self::MethodNotAllowed => 405,
            Self::TooLarge => 413,
            Self::UnknownEmoji
            | Self::TooManyReactions
            | Self::EmptyMessage
            | Self::WrongChannelType
            | Self::InvalidForm { .. }
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
            body["errors"] =
                json!({ *field: { "_errors": [{ "code": reason, "message": says }] } });
        }
        body
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status()).expect("every status above is a real one");
        (status, Json(self.body())).into_response()
    }
}
