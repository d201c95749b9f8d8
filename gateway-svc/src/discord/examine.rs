//! What `doctor` asks Discord: the token, the intents, the rights in each channel.
//!
//! It only reads.

use schemas::ids::ChannelId;
use serenity::all as discord;

use super::{Discord, DiscordError, to};

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

    /// Whether the bot has every right it needs in a channel. `Err`: which ones it lacks.
    pub(crate) async fn examine_channel(&self, channel: ChannelId) -> Result<String, String> {
        use discord::Permissions as P;
        let needed = P::VIEW_CHANNEL
            | P::READ_MESSAGE_HISTORY
            | P::SEND_MESSAGES
            | P::ADD_REACTIONS
            | P::CREATE_PUBLIC_THREADS
            | P::SEND_MESSAGES_IN_THREADS;
        let told = |error: serenity::Error| DiscordError::from(error).to_string();
        let found = self.http.get_channel(to(channel)).await.map_err(told)?;
        let Some(place) = found.guild() else {
            return Err("this is no channel of a server".into());
        };
        let guild = self.http.get_guild(place.guild_id).await.map_err(told)?;
        let me = self.http.get_current_user().await.map_err(told)?.id;
        let member = self.http.get_member(place.guild_id, me).await.map_err(told)?;
        let lacks = needed - guild.user_permissions_in(&place, &member);
        if lacks.is_empty() {
            return Ok(format!("#{} in {}", place.name, guild.name));
        }
        let names: Vec<&str> = lacks.get_permission_names();
        Err(format!("give the bot in #{}: {}", place.name, names.join(", ")))
    }
}
