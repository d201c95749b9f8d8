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
}

impl Bucket {
    /// Requests and milliseconds. Discord documents none of these; they are what clients see.
    pub(crate) fn limit(self) -> (u32, u64) {
        match self {
            Self::Post | Self::Edit => (5, 5000),
            Self::React => (1, 250),
        }
    }

    /// The name in `X-RateLimit-Bucket`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Post => "sim-post",
            Self::Edit => "sim-edit",
            Self::React => "sim-react",
        }
    }
}

impl Route {
    /// The route of a request; `path` begins below `/api/v10`.
    pub(crate) fn of(method: &str, path: &str) -> Self {
        let mut template = String::new();
        let mut before = "";
        for part in path.split('/').skip(1) {
            let is_id = !part.is_empty() && part.bytes().all(|it| it.is_ascii_digit());
            template.push('/');
            template.push_str(if is_id {
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
        assert_eq!(Route::of("GET", "/gateway").name(), "GET /gateway");
        assert_eq!(Route::of("GET", "/channels/5/messages").bucket(), None);
    }
}
