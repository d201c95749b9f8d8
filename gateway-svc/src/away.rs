//! A time in which nobody listened → the line that says so.
//!
//! Pure. A channel is told only if something was written there that is answered now, and once for
//! one such time: its row has the name of the moment at which we were last known to listen.

use schemas::ids::ChannelId;

use crate::outbox::{Action, Row};

/// From here on a time of day does not say which day is meant.
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// A time in which nobody listened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Away {
    /// When somebody was last known to listen.
    pub(crate) from_ms: i64,
    /// When a session began again.
    pub(crate) to_ms: i64,
}

impl Away {
    /// The line for a channel in which so many messages of that time are answered now.
    pub(crate) fn row(&self, channel: ChannelId, count: i64) -> Row {
        // Each reader sees their own time zone. `t` is the time of day, `f` has the date as well.
        let style = if self.to_ms - self.from_ms < DAY_MS { 't' } else { 'f' };
        let moment = |ms: i64| format!("<t:{}:{style}>", ms.div_euclid(1000));
        let what = match count {
            1 => "1 message of that time is answered now.".to_owned(),
            _ => format!("{count} messages of that time are answered now."),
        };
        let (from, to) = (moment(self.from_ms), moment(self.to_ms));
        let content = format!("-# I was away from {from} to {to}; {what}");
        let post = Action::Post { channel, reply_to: None, content, buttons: Vec::new() };
        Row { name: format!("away/{channel}/{}", self.from_ms), action: post }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(away: Away, count: i64) -> String {
        let row = away.row("5".parse().unwrap(), count);
        let Action::Post { content, .. } = row.action else { panic!("{row:?}") };
        content
    }

    #[test]
    fn a_channel_hears_from_when_to_when_and_how_many() {
        let away = Away { from_ms: 1_700_000_000_000, to_ms: 1_700_000_300_999 };
        assert_eq!(
            line(away, 3),
            "-# I was away from <t:1700000000:t> to <t:1700000300:t>; 3 messages of that time are \
             answered now."
        );
        assert!(line(away, 1).ends_with("; 1 message of that time is answered now."));
    }

    #[test]
    fn a_day_and_more_is_told_with_its_dates() {
        let away = Away { from_ms: 0, to_ms: DAY_MS };
        assert!(line(away, 1).contains("<t:0:f> to <t:86400:f>"));
    }

    #[test]
    fn one_time_has_one_row_in_a_channel() {
        let channel = "5".parse().unwrap();
        let [first, later] =
            [2, 3].map(|to_ms| Away { from_ms: 1, to_ms }.row(channel, to_ms).name);
        assert_eq!(first, later);
        assert_ne!(first, Away { from_ms: 2, to_ms: 3 }.row(channel, 3).name);
    }
}
