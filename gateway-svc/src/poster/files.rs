//! A post with files: what lies in FILES is fetched and posted with it.
//!
//! What FILES has no more is left out; where nothing is left, the words say so. NATS that is away is
//! waited for, as Discord is.

use schemas::files::Given;
use schemas::ids::{ChannelId, MessageId, ProjectName};

use super::Trouble;
use super::fate::Fate;
use crate::bus::Bus;
use crate::discord::{Discord, Post};
use crate::outbox::Action;
use crate::store::Due;

/// How often such a post may take too long before it is done without the files: the line is too slow,
/// and everything behind it would wait for that.
const SLOW_MAX: i64 = 3;

/// What becomes of a row that took too long.
pub(super) fn too_slow(due: &Due) -> Fate {
    let is_given = matches!(due.row.action, Action::Files { .. });
    if is_given && SLOW_MAX <= due.tries + 1 { Fate::Never } else { Fate::Again }
}

/// Posts the files, with these words.
pub(super) async fn post(
    discord: &Discord,
    bus: &Bus,
    channel: ChannelId,
    (project, files): (&ProjectName, &[Given]),
    words: Post<'_>,
) -> Result<MessageId, Trouble> {
    let mut got = Vec::new();
    for given in files {
        if let Some(bytes) = bus.file(project, &given.file).await.map_err(Trouble::Bus)? {
            got.push((given.name.as_str(), bytes));
        } else {
            tracing::error!(name = given.name, "a file is not in FILES any more");
        }
    }
    let gone = format!("{} – not kept any more.", words.content);
    let content = if got.is_empty() { &gone } else { words.content };
    let files = got.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
    Ok(discord.post(channel, Post { content, files, ..words }).await?)
}
