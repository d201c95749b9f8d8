//! The guild as a text that a person reads in a failed test.

use std::fmt::Write;

use crate::guild::Guild;
use crate::model::{Channel, Interaction, Message};

/// The most characters of a message that are shown.
const EXCERPT: usize = 300;

/// All channels and threads with what can be seen in them.
pub(crate) fn write(guild: &Guild) -> String {
    let mut text = String::new();
    for channel in guild.channels() {
        text.push_str(&heading(channel));
        for message in guild.history(channel.id) {
            text.push_str(&line(guild, message));
        }
        for asked in guild.interactions().filter(|it| it.channel == channel.id) {
            text.push_str(&act(guild, asked));
        }
    }
    text
}

fn heading(channel: &Channel) -> String {
    let mut text = match &channel.thread {
        None => format!("#{} ({})", channel.name, channel.id),
        Some(thread) => format!("thread {:?} ({}) in {}", channel.name, channel.id, thread.parent),
    };
    if channel.thread.as_ref().is_some_and(|it| it.archived) {
        text.push_str(", archived");
    }
    text.push('\n');
    text
}

fn act(guild: &Guild, asked: &Interaction) -> String {
    let who = guild.user(asked.user).map_or("nobody", |it| it.name.as_str());
    let Interaction { id, kind, custom_id, values, fields, outcome, .. } = asked;
    let mut text = format!("  ({id} {who}: {kind:?} {custom_id:?}");
    if !values.is_empty() {
        let _ = write!(text, " {values:?}");
    }
    if !fields.is_empty() {
        let _ = write!(text, " {fields:?}");
    }
    let _ = write!(text, " → {outcome:?}");
    for message in guild.answers_to(*id) {
        let excerpt: String = message.content.chars().take(EXCERPT).collect();
        let _ = write!(text, " {excerpt:?}");
    }
    text.push_str(")\n");
    text
}

fn line(guild: &Guild, message: &Message) -> String {
    let author = guild.author_of(message);
    let mut text = format!("  {} {author}", message.id);
    if !message.kind.is_written() {
        let _ = write!(text, " [system {}]", message.kind.0);
    }
    if message.deleted_ms.is_some() {
        text.push_str(" [deleted]");
    }
    if message.edited_ms.is_some() {
        text.push_str(" [edited]");
    }
    let excerpt: String = message.content.chars().take(EXCERPT).collect();
    let _ = write!(text, ": {excerpt:?}");
    for reaction in &message.reactions {
        let _ = write!(text, " {}×{}", reaction.emoji, reaction.users.len());
    }
    for file in &message.attachments {
        let _ = write!(text, " <{}>", file.filename);
    }
    text.push('\n');
    text
}
