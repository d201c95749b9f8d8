//! Rate limits: how many requests of a kind a span of time allows. Pure.
//!
//! A window opens with the first request in it and lets the limit through, as Discord's do.

use std::collections::HashMap;

use crate::error::ApiError;
use crate::ids::ChannelId;
use crate::routes::{Bucket, Route};

/// Requests of a bot in a second, whatever they are for (Discord, "Rate limits").
const GLOBAL_LIMIT: u32 = 50;
const GLOBAL_WINDOW_MS: u64 = 1000;
/// New names of a channel or thread in ten minutes (discord-api-docs#1900; not documented).
const RENAMES: (u32, u64) = (2, 600_000);
/// Edits in a channel of messages older than an hour. Discord publishes no figure
/// (discord-api-docs#4413); this is the lowest that clients report.
const OLD_EDITS: (u32, u64) = (3, 20_000);
/// How old a message is that [`Hidden::OldEdit`] is about.
const OLD_MS: u64 = 3_600_000;
/// The most windows kept; beyond it those that have ended are dropped.
const WINDOWS_MAX: usize = 1000;

/// What a request is told about its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) bucket: Bucket,
    pub(crate) limit: u32,
    pub(crate) remaining: u32,
    pub(crate) reset_after_ms: u64,
    pub(crate) reset_at_ms: u64,
}

/// Whether a request may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Yes; what it is told, if it counts for a bucket.
    Go(Option<Standing>),
    /// No: the bucket is empty.
    Wait(Standing),
    /// No: too many requests altogether.
    WaitGlobal {
        /// How long.
        retry_after_ms: u64,
    },
}

/// A limit of which no header speaks before it is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Hidden {
    /// A new name of a channel.
    Rename,
    /// An edit of a message older than an hour.
    OldEdit,
}

impl Hidden {
    fn limit(self) -> (u32, u64) {
        match self {
            Self::Rename => RENAMES,
            Self::OldEdit => OLD_EDITS,
        }
    }

    fn refusal(self, retry_after_ms: u64) -> ApiError {
        match self {
            Self::Rename => ApiError::TooOften { retry_after_ms },
            Self::OldEdit => ApiError::TooManyOldEdits { retry_after_ms },
        }
    }
}

/// Whether a message is so old that edits of it are limited.
pub(crate) fn is_old(created_ms: u64, now_ms: u64) -> bool {
    now_ms > created_ms + OLD_MS
}

#[derive(Clone, Copy, Debug, Default)]
struct Window {
    ends_ms: u64,
    used: u32,
}

impl Window {
    /// Counts a request; whether it was within the limit.
    fn take(&mut self, now_ms: u64, limit: u32, length_ms: u64) -> bool {
        if now_ms >= self.ends_ms {
            *self = Self { ends_ms: now_ms + length_ms, used: 0 };
        }
        if self.used >= limit {
            return false;
        }
        self.used += 1;
        true
    }
}

/// Whom a wait on command is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The bot, on one path.
    User,
    /// The bot, altogether.
    Global,
    /// All who use what one path is about.
    Shared,
}

/// A wait that a client was told of on command, and has to keep.
#[derive(Clone, Debug)]
struct Told {
    scope: Scope,
    method: String,
    path: String,
    until_ms: u64,
}

/// All open windows.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    global: Window,
    windows: HashMap<(Bucket, ChannelId), Window>,
    hidden: HashMap<(Hidden, ChannelId), Window>,
    told: Vec<Told>,
    /// How many requests came before a wait was over that their client had been told of.
    pub(crate) early: u64,
    /// How many requests were refused for being too many.
    pub(crate) refused: u64,
}

impl Limits {
    /// Notes that a client was told to wait.
    pub(crate) fn tell(&mut self, scope: Scope, route: &Route, now_ms: u64, wait_ms: u64) {
        self.told.retain(|it| now_ms < it.until_ms);
        if self.told.len() < WINDOWS_MAX {
            let (method, path) = (route.method.clone(), route.path.clone());
            self.told.push(Told { scope, method, path, until_ms: now_ms + wait_ms });
        }
    }

    /// How long a request is too early, and because of whom; counts it if it is.
    pub(crate) fn too_early(&mut self, route: &Route, now_ms: u64) -> Option<(Scope, u64)> {
        if route.is_of_interaction() {
            return None;
        }
        let is_of = |it: &Told| {
            it.scope == Scope::Global || (it.method == route.method && it.path == route.path)
        };
        let told = self.told.iter().find(|it| now_ms < it.until_ms && is_of(it))?;
        self.early += 1;
        Some((told.scope, told.until_ms - now_ms))
    }

    /// Counts a request.
    pub(crate) fn take(&mut self, route: &Route, now_ms: u64) -> Verdict {
        if route.is_of_interaction() {
            return Verdict::Go(None);
        }
        if !self.global.take(now_ms, GLOBAL_LIMIT, GLOBAL_WINDOW_MS) {
            self.refused += 1;
            return Verdict::WaitGlobal { retry_after_ms: self.global.ends_ms - now_ms };
        }
        let Some((bucket, channel)) = route.bucket() else { return Verdict::Go(None) };
        if self.windows.len() >= WINDOWS_MAX {
            self.windows.retain(|_, it| it.ends_ms > now_ms);
        }
        let (limit, length_ms) = bucket.limit();
        let window = self.windows.entry((bucket, channel)).or_default();
        let went = window.take(now_ms, limit, length_ms);
        let standing = Standing {
            bucket,
            limit,
            remaining: limit - window.used,
            reset_after_ms: window.ends_ms - now_ms,
            reset_at_ms: window.ends_ms,
        };
        if went {
            return Verdict::Go(Some(standing));
        }
        self.refused += 1;
        Verdict::Wait(standing)
    }

    /// Counts what a limit without headers is about.
    pub(crate) fn take_hidden(
        &mut self,
        hidden: Hidden,
        channel: ChannelId,
        now_ms: u64,
    ) -> Result<(), ApiError> {
        if self.hidden.len() >= WINDOWS_MAX {
            self.hidden.retain(|_, it| it.ends_ms > now_ms);
        }
        let (limit, length_ms) = hidden.limit();
        let window = self.hidden.entry((hidden, channel)).or_default();
        if window.take(now_ms, limit, length_ms) {
            return Ok(());
        }
        Err(hidden.refusal(window.ends_ms - now_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sixth_post_in_five_seconds_waits_and_another_channel_does_not() {
        let mut limits = Limits::default();
        let post = Route::of("POST", "/channels/5/messages");
        for left in (0..5).rev() {
            let Verdict::Go(Some(standing)) = limits.take(&post, 1000) else {
                panic!("within the limit");
            };
            assert_eq!(standing.remaining, left);
        }
        let Verdict::Wait(standing) = limits.take(&post, 3000) else { panic!("the sixth waits") };
        assert_eq!((standing.reset_after_ms, limits.refused), (3000, 1));
        let other = Route::of("POST", "/channels/6/messages");
        assert!(matches!(limits.take(&other, 3000), Verdict::Go(Some(_))));
        assert!(matches!(limits.take(&post, 6000), Verdict::Go(Some(_))));
    }

    #[test]
    fn the_third_new_name_in_ten_minutes_waits_and_so_does_the_fourth_edit_of_old_messages() {
        let mut limits = Limits::default();
        let here = ChannelId(5);
        for now_ms in [0, 1000] {
            assert_eq!(limits.take_hidden(Hidden::Rename, here, now_ms), Ok(()));
        }
        let waits = ApiError::TooOften { retry_after_ms: 590_000 };
        assert_eq!(limits.take_hidden(Hidden::Rename, here, 10_000), Err(waits));
        assert_eq!(limits.take_hidden(Hidden::Rename, ChannelId(6), 10_000), Ok(()));
        for _ in 0..3 {
            assert_eq!(limits.take_hidden(Hidden::OldEdit, here, 0), Ok(()));
        }
        let waits = ApiError::TooManyOldEdits { retry_after_ms: 20_000 };
        assert_eq!(limits.take_hidden(Hidden::OldEdit, here, 0), Err(waits));
        assert_eq!(limits.take_hidden(Hidden::Rename, here, 600_000), Ok(()));
        assert!(is_old(0, OLD_MS + 1) && !is_old(0, OLD_MS));
    }

    #[test]
    fn a_wait_on_command_holds_until_it_is_over_and_who_comes_before_is_counted() {
        let mut limits = Limits::default();
        let post = Route::of("POST", "/channels/5/messages");
        let other = Route::of("POST", "/channels/6/messages");
        limits.tell(Scope::Shared, &post, 0, 1000);
        assert_eq!(limits.too_early(&post, 400), Some((Scope::Shared, 600)));
        assert_eq!(limits.too_early(&other, 400), None);
        limits.tell(Scope::Global, &post, 1000, 1000);
        assert_eq!(limits.too_early(&other, 1500), Some((Scope::Global, 500)));
        assert_eq!((limits.too_early(&other, 2000), limits.early), (None, 2));
    }

    #[test]
    fn an_interactions_requests_count_for_no_limit() {
        let mut limits = Limits::default();
        let answer = Route::of("POST", "/interactions/5/token/callback");
        for _ in 0..100 {
            assert_eq!(limits.take(&answer, 10), Verdict::Go(None));
        }
    }

    #[test]
    fn the_fifty_first_request_in_a_second_waits_for_all() {
        let mut limits = Limits::default();
        let get = Route::of("GET", "/gateway");
        for _ in 0..50 {
            assert_eq!(limits.take(&get, 10), Verdict::Go(None));
        }
        assert_eq!(limits.take(&get, 510), Verdict::WaitGlobal { retry_after_ms: 500 });
        assert_eq!(limits.take(&get, 1010), Verdict::Go(None));
    }
}
