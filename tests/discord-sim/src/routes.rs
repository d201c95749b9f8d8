//! What a request is for, by method and path: its template and its rate limit. Pure.

use crate::ids::ChannelId;

/// A request's route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    /// `POST`.
    pub(crate) method: String,
    /// `/channels/5/messages`, below `/api/v10`.
    pub(crate) path: String,
    /// `/channels/{id}/messages`.
    pub(crate) template: String,
}

/// What a rate limit is about, beside the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Bucket {
    /// Posting in one channel.
    Post,
    /// Editing in one channel.
    Edit,
    /// Reacting in one channel.
    React,
    /// Changing one channel.
    Change,
}

impl Bucket {
    /// Requests and milliseconds. Discord documents none of these; they are what clients see.
    pub(crate) fn limit(self) -> (u32, u64) {
        match self {
            Self::Post | Self::Edit => (5, 5000),
            Self::React => (1, 250),
            Self::Change => (5, 15_000),
        }
    }

    /// The name in `X-RateLimit-Bucket`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Post => "sim-post",
            Self::Edit => "sim-edit",
            Self::React => "sim-react",
            Self::Change => "sim-change",
        }
    }
}

/// Where a token stands: `/webhooks/5/TOKEN/messages/@original`.
const TOKEN_PLACE: usize = 3;

fn has_token(template: &str) -> bool {
    template.starts_with("/interactions/{id}/") || template.starts_with("/webhooks/{id}/")
}

impl Route {
    /// The route of a request; `path` begins below `/api/v10`.
    pub(crate) fn of(method: &str, path: &str) -> Self {
        let mut template = String::new();
        let mut before = "";
        for (place, part) in path.split('/').enumerate().skip(1) {
            let is_id = !part.is_empty() && part.bytes().all(|it| it.is_ascii_digit());
            template.push('/');
            template.push_str(if place == TOKEN_PLACE && has_token(&template) {
                "{token}"
            } else if is_id {
                "{id}"
            } else if before == "reactions" {
                "{emoji}"
            } else {
                part
            });
            before = part;
        }
        Self { method: method.to_owned(), path: path.to_owned(), template }
    }

    /// Whether it is about something in a guild.
    pub(crate) fn is_of_guild(&self) -> bool {
        ["/channels/", "/guilds/"].iter().any(|it| self.template.starts_with(it))
    }

    /// Whether it goes by an interaction's token, and not by the bot's.
    pub(crate) fn is_of_interaction(&self) -> bool {
        has_token(&self.template) && self.template.contains("/{token}")
    }

    /// `POST /channels/{id}/messages`.
    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.method, self.template)
    }

    /// The limit that this request counts for, and the channel.
    pub(crate) fn bucket(&self) -> Option<(Bucket, ChannelId)> {
        let channel = self.path.split('/').nth(2)?.parse().ok()?;
        let bucket = match (self.method.as_str(), self.template.as_str()) {
            ("POST", "/channels/{id}/messages") => Bucket::Post,
            ("PATCH", "/channels/{id}/messages/{id}") => Bucket::Edit,
            ("PATCH", "/channels/{id}") => Bucket::Change,
            ("PUT" | "DELETE", "/channels/{id}/messages/{id}/reactions/{emoji}/@me") => {
                Bucket::React
            }
            _ => return None,
        };
        Some((bucket, channel))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_emojis_have_no_place_in_a_template() {
        let route = Route::of("PUT", "/channels/5/messages/6/reactions/%F0%9F%91%80/@me");
        assert_eq!(route.name(), "PUT /channels/{id}/messages/{id}/reactions/{emoji}/@me");
        assert_eq!(route.bucket(), Some((Bucket::React, ChannelId(5))));
        let route = Route::of("PATCH", "/webhooks/5/aW50/messages/@original");
        assert_eq!(route.name(), "PATCH /webhooks/{id}/{token}/messages/@original");
        assert!(route.is_of_interaction());
        let route = Route::of("POST", "/interactions/5/123/callback");
        assert_eq!(route.name(), "POST /interactions/{id}/{token}/callback");
        assert_eq!(Route::of("GET", "/gateway").name(), "GET /gateway");
        assert_eq!(Route::of("GET", "/channels/5/messages").bucket(), None);
    }
}
