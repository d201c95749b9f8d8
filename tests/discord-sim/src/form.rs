//! What may be posted: lengths and counts of a message and its parts. Pure.
//!
//! Whether somebody is *permitted* to post is no question of this module.

pub(crate) mod components;
pub(crate) mod embeds;
mod field;
pub(crate) mod modals;

use serde_json::Value;

use crate::error::ApiError;
use crate::model::Draft;

/// The most characters that a bot may write in one message.
pub const BOT_CONTENT_MAX: usize = 2000;
/// The most characters that a person who pays may write in one message.
pub const PERSON_CONTENT_MAX: usize = 4000;
/// The most characters of a nonce.
const NONCE_MAX: usize = 25;
/// The most files of a message.
const FILES_MAX: usize = 10;
/// The largest file of a bot's message, in bytes ("Uploading Files": 10 MiB without boosts).
const FILE_MAX: usize = 10 * 1024 * 1024;

/// Refuses a message that says nothing, or too much.
pub(crate) fn check_draft(draft: &Draft, by_bot: bool) -> Result<(), ApiError> {
    let nothing = draft.content.is_empty()
        && draft.embeds.iter().all(embeds::is_blank)
        && draft.components.is_empty()
        && draft.files.is_empty();
    if nothing {
        return Err(ApiError::EmptyMessage);
    }
    check_parts(draft, by_bot)
}

/// Refuses a message that says too much, or has parts that Discord does not take.
pub(crate) fn check_parts(draft: &Draft, by_bot: bool) -> Result<(), ApiError> {
    let content_max = if by_bot { BOT_CONTENT_MAX } else { PERSON_CONTENT_MAX };
    if draft.content.chars().count() > content_max {
        return Err(ApiError::too_long("content", content_max));
    }
    if draft.nonce.as_ref().is_some_and(|it| it.chars().count() > NONCE_MAX) {
        return Err(ApiError::too_long("nonce", NONCE_MAX));
    }
    if draft.files.len() > FILES_MAX {
        return Err(ApiError::too_long("files", FILES_MAX));
    }
    if by_bot && draft.files.iter().any(|file| FILE_MAX < file.bytes.len()) {
        return Err(ApiError::TooLarge);
    }
    embeds::check(&Value::from(draft.embeds.clone()))?;
    components::check(&Value::from(draft.components.clone()))
}

/// Discord knows every emoji; that it is not plain letters is what can be checked here.
pub(crate) fn check_emoji(emoji: &str) -> Result<(), ApiError> {
    let custom = emoji.rsplit_once(':').is_some_and(|(_, id)| id.parse::<u64>().is_ok());
    if custom || !emoji.is_ascii() { Ok(()) } else { Err(ApiError::UnknownEmoji) }
}

/// A file name that stands in an address as it is, as Discord makes them.
pub(crate) fn url_name(filename: &str) -> String {
    let plain = |it: char| it.is_ascii_alphanumeric() || ".-_".contains(it);
    let name: String =
        filename.chars().map(|it| if plain(it) { it } else { '_' }).take(200).collect();
    if name.is_empty() { "file".to_owned() } else { name }
}

/// What a file is by its name, as far as Discord tells where nobody said it.
pub(crate) fn media_type(name: &str) -> Option<String> {
    let (_, ending) = name.rsplit_once('.')?;
    let known = match ending.to_ascii_lowercase().as_str() {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "pdf" => "application/pdf",
        "json" => "application/json",
        "txt" | "md" | "log" | "csv" | "diff" => "text/plain; charset=utf-8",
        _ => return None,
    };
    Some(known.to_owned())
}
