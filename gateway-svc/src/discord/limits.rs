//! Until when Discord wants no more requests: by channel, and altogether.
//!
//! serenity waits out a 429 inside the request and knows nothing of it when the request is given up
//! meanwhile. What it was told is kept here, so that whoever gave up asks again when the time is
//! over and not before. A hint: a start forgets it and is told anew.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use schemas::ids::ChannelId;
use serenity::http::{RatelimitInfo, Ratelimiter};

use crate::numbers::Numbers;

/// The most channels that are remembered; beyond it those whose time is over are forgotten, and
/// then all: Discord tells again.
const CHANNELS_MAX: usize = 1000;
/// The longest wait that is believed. Discord's longest are of some hours.
const WAIT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// What Discord said of limits. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Limits(Arc<Mutex<Ends>>);

#[derive(Debug, Default)]
struct Ends {
    all: Option<Instant>,
    channels: HashMap<About, Instant>,
}

/// What a wait is about. A channel's own name has a limit of its own, of many minutes, which holds
/// up nothing else there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum About {
    Channel(ChannelId),
    Name(ChannelId),
}

impl Limits {
    /// Hears from now on whatever this limiter is told, and counts it.
    pub(super) fn listen_to(&self, limiter: &mut Ratelimiter, numbers: &Numbers) {
        let (limits, numbers) = (self.clone(), numbers.clone());
        let told = move |info: RatelimitInfo| {
            let about = if info.global { None } else { about(&info.path) };
            numbers.limited(scope(info.global, about), info.timeout);
            limits.note(info.global, about, info.timeout, Instant::now());
        };
        limiter.set_ratelimit_callback(Box::new(told));
    }

    fn note(&self, all: bool, about: Option<About>, wait: Duration, now: Instant) {
        let until = now + wait.min(WAIT_MAX);
        let mut ends = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all {
            ends.all = Some(until);
        }
        let Some(about) = about else { return };
        if CHANNELS_MAX <= ends.channels.len() {
            ends.channels.retain(|_, end| now < *end);
        }
        if CHANNELS_MAX <= ends.channels.len() {
            ends.channels.clear();
        }
        ends.channels.insert(about, until);
    }

    /// How long nothing in a channel may be asked.
    pub(super) fn left(&self, channel: ChannelId, now: Instant) -> Option<Duration> {
        self.left_of(About::Channel(channel), now)
    }

    /// How long a channel may not be given another name.
    pub(super) fn left_of_name(&self, channel: ChannelId, now: Instant) -> Option<Duration> {
        self.left_of(About::Name(channel), now)
    }

    fn left_of(&self, about: About, now: Instant) -> Option<Duration> {
        let ends = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let until = ends.all.max(ends.channels.get(&about).copied())?;
        until.checked_duration_since(now).filter(|left| !left.is_zero())
    }
}

/// The channel in the path of a request, or its name where the path ends with it.
fn about(path: &str) -> Option<About> {
    let (_, rest) = path.split_once("/channels/")?;
    let (channel, more) = rest.split_once('/').map_or((rest, None), |(id, more)| (id, Some(more)));
    let channel = channel.parse().ok()?;
    Some(more.map_or(About::Name(channel), |_| About::Channel(channel)))
}

/// What a wait is about, among what is counted.
fn scope(all: bool, about: Option<About>) -> &'static str {
    match about {
        _ if all => "global",
        Some(About::Channel(_)) => "channel",
        Some(About::Name(_)) => "name",
        None => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_about_its_channel_and_a_global_one_about_all() {
        let (limits, now) = (Limits::default(), Instant::now());
        let wait = Duration::from_secs(60);
        let channel = about("https://discord.com/api/v10/channels/5/messages");
        limits.note(false, channel, wait, now);
        let [five, six]: [ChannelId; 2] = ["5", "6"].map(|id| id.parse().unwrap());
        assert_eq!((limits.left(five, now), limits.left(six, now)), (Some(wait), None));
        assert_eq!(limits.left(five, now + wait), None, "it is over");
        limits.note(false, about("https://discord.com/api/v10/channels/6"), wait, now);
        assert_eq!((limits.left(six, now), limits.left_of_name(six, now)), (None, Some(wait)));
        limits.note(true, None, wait, now);
        assert_eq!(limits.left(six, now), Some(wait));
    }

    #[test]
    fn no_wait_is_for_ever_and_no_more_channels_than_so_many_are_kept() {
        let (limits, now) = (Limits::default(), Instant::now());
        for id in 1..=u64::try_from(CHANNELS_MAX).unwrap() + 1 {
            let channel = About::Channel(id.to_string().parse().unwrap());
            limits.note(false, Some(channel), Duration::MAX, now);
        }
        assert!(limits.0.lock().unwrap().channels.len() <= CHANNELS_MAX);
        let last = (CHANNELS_MAX + 1).to_string().parse().unwrap();
        assert_eq!(limits.left(last, now), Some(WAIT_MAX));
    }
}
