//! What `doctor` asks Discord: the token, the intents, the time, the rights in each channel.
//!
//! It only reads.

use std::time::UNIX_EPOCH;

use platform::clock::{self, now_ms};
use schemas::ids::ChannelId;
use serenity::all as discord;

use super::{Discord, DiscordError, Result, to};

/// Rights that the bot can do without, and how.
const DISPENSABLE: [(discord::Permissions, &str); 2] = [
    (
        discord::Permissions::CREATE_PUBLIC_THREADS,
        "without Create Public Threads, conversations go on in the channel itself",
    ),
    (
        discord::Permissions::ATTACH_FILES,
        "without Attach Files, answers of very many pages wait until it may",
    ),
];

impl Discord {
    /// Whether the token is the bot's and the bot may read what people write. `Err`: what to do.
    pub(crate) async fn examine_bot(&self) -> Result<String, String> {
        let me = self.http.get_current_user().await.map_err(|error| {
            let error = DiscordError::from(error);
            if matches!(error, DiscordError::Refused { status: 401, .. }) {
                return "Discord does not know the token: copy it anew from the bot's page".into();
            }
            error.to_string()
        })?;
        let app = self.http.get_current_application_info().await.map_err(|error| error.to_string());
        let flags = app?.flags.unwrap_or_default();
        let reads = discord::ApplicationFlags::GATEWAY_MESSAGE_CONTENT
            | discord::ApplicationFlags::GATEWAY_MESSAGE_CONTENT_LIMITED;
        if !flags.intersects(reads) {
            return Err(format!(
                "{} may not read messages: switch on MESSAGE CONTENT INTENT on the bot's page",
                me.name
            ));
        }
        Ok(format!("the bot is {}", me.name))
    }

    /// Whether Discord's clock agrees with ours, as far as an answer of it tells: by the second.
    pub(crate) async fn examine_clock(&self) -> Result<String, String> {
        let unknown = || Ok("Discord does not say what time it is".to_owned());
        let from_ms = now_ms();
        let request = discord::Request::new(discord::Route::Gateway, discord::LightMethod::Get);
        // Whether it answers at all is another check's business.
        let Ok(answer) = self.http.request(request).await else { return unknown() };
        let to_ms = now_ms();
        let date = answer.headers().get("date").and_then(|date| date.to_str().ok());
        let said = date.and_then(|date| httpdate::parse_http_date(date).ok());
        let since = said.and_then(|said| said.duration_since(UNIX_EPOCH).ok());
        let Some(since) = since else { return unknown() };
        let said_ms = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        clock::agree("Discord", (said_ms, said_ms.saturating_add(999)), (from_ms, to_ms))
    }

    /// Whether the bot has every right it needs in a channel; what it can do without is named. `Err`:
    /// which ones it lacks.
    pub(crate) async fn examine_channel(&self, channel: ChannelId) -> Result<String, String> {
        use discord::Permissions as P;
        let needed = P::VIEW_CHANNEL
            | P::READ_MESSAGE_HISTORY
            | P::SEND_MESSAGES
            | P::ADD_REACTIONS
            | P::SEND_MESSAGES_IN_THREADS;
        let told = |error: serenity::Error| DiscordError::from(error).to_string();
        let found = self.http.get_channel(to(channel)).await.map_err(told)?;
        let Some(place) = found.guild() else {
            return Err("this is no channel of a server".into());
        };
        let (guild, has) = self.rights(&place).await.map_err(|error| error.to_string())?;
        let lacks = needed - has;
        if lacks.is_empty() {
            let well = format!("#{} in {}", place.name, guild.name);
            let without = DISPENSABLE.iter().filter(|(right, _)| !has.contains(*right));
            return Ok(without.fold(well, |well, (_, said)| format!("{well}; {said}")));
        }
        let names: Vec<&str> = lacks.get_permission_names();
        Err(format!("give the bot in #{}: {}", place.name, names.join(", ")))
    }

    /// Sees that an empty page of a place means that nothing is there: without the right to read its
    /// history, Discord answers as if it were empty (reference, "Get Channel Messages").
    ///
    /// # Errors
    ///
    /// [`DiscordError::Hidden`] without the right.
    pub(super) async fn require_history(&self, place: ChannelId) -> Result<()> {
        let Some(mut channel) = self.http.get_channel(to(place)).await?.guild() else {
            return Ok(());
        };
        // A thread has the rights of the channel that it is in.
        if let Some(parent) = channel.thread_metadata.and(channel.parent_id)
            && let Some(parent) = self.http.get_channel(parent).await?.guild()
        {
            channel = parent;
        }
        let (_, has) = self.rights(&channel).await?;
        let may_read = has.contains(discord::Permissions::READ_MESSAGE_HISTORY);
        if may_read { Ok(()) } else { Err(DiscordError::Hidden) }
    }

    /// The server of a channel, and what the bot may do in the channel.
    async fn rights(
        &self,
        channel: &discord::GuildChannel,
    ) -> Result<(discord::PartialGuild, discord::Permissions)> {
        let guild = self.http.get_guild(channel.guild_id).await?;
        let me = self.http.get_current_user().await?.id;
        let member = self.http.get_member(channel.guild_id, me).await?;
        let has = guild.user_permissions_in(channel, &member);
        Ok((guild, has))
    }
}
