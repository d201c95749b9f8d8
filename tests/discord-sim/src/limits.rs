//! Rate limits: how many requests of a kind a span of time allows. Pure.
//!
//! A window opens with the first request in it and lets the limit through, as Discord's do.

use std::collections::HashMap;

use crate::ids::ChannelId;
use crate::routes::{Bucket, Route};

/// Requests of a bot in a second, whatever they are for (Discord, "Rate limits").
const GLOBAL_LIMIT: u32 = 50;
const GLOBAL_WINDOW_MS: u64 = 1000;
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

/// All open windows.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    global: Window,
    windows: HashMap<(Bucket, ChannelId), Window>,
}

impl Limits {
    /// Counts a request.
    pub(crate) fn take(&mut self, route: &Route, now_ms: u64) -> Verdict {
        if !self.global.take(now_ms, GLOBAL_LIMIT, GLOBAL_WINDOW_MS) {
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
        if went { Verdict::Go(Some(standing)) } else { Verdict::Wait(standing) }
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
        assert_eq!(standing.reset_after_ms, 3000);
        let other = Route::of("POST", "/channels/6/messages");
        assert!(matches!(limits.take(&other, 3000), Verdict::Go(Some(_))));
        assert!(matches!(limits.take(&post, 6000), Verdict::Go(Some(_))));
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
