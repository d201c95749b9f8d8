//! What was left to the next reading: what is later in its place waits for that too.
//!
//! A message that could not be stored is read again over REST. Were a later one of its place taken
//! meanwhile, it would be answered first. This is a hint: a process that ends forgets it, and the
//! next one reads everything before anything newer is released.

use std::collections::HashMap;

use schemas::ids::{ChannelId, MessageId};

/// Places that are remembered one by one; with more of them, everything waits.
const PLACES_MAX: usize = 1_000;

/// What was left.
#[derive(Debug, Default)]
pub(super) struct Behind {
    /// A reading is wanted, and was not asked for yet.
    is_wanted: bool,
    /// A reading is on its way: what is left now is in time for it.
    is_asked: bool,
    everything: bool,
    /// The first message of each place that was left.
    places: HashMap<ChannelId, MessageId>,
}

impl Behind {
    /// A message was left, and with it all that is later in its place.
    pub(super) fn leave(&mut self, place: ChannelId, message: MessageId) {
        self.read_soon();
        if self.places.len() < PLACES_MAX || self.places.contains_key(&place) {
            self.places.entry(place).or_insert(message);
        } else {
            self.everything = true;
        }
    }

    /// Nothing is taken before everything was read.
    pub(super) fn leave_everything(&mut self) {
        self.read_soon();
        self.everything = true;
    }

    /// Something is to be read again soon; what is heard may be taken.
    pub(super) fn read_soon(&mut self) {
        self.is_wanted = !self.is_asked;
    }

    /// Everything is read now: what is left from here on is for the next time.
    pub(super) fn begin_reading(&mut self) {
        self.is_asked = false;
    }

    /// Whether a message of this place waits for the next reading.
    pub(super) fn holds(&self, place: ChannelId) -> bool {
        self.everything || self.places.contains_key(&place)
    }

    /// A place was read to its end.
    pub(super) fn was_read(&mut self, place: ChannelId) {
        self.places.remove(&place);
    }

    /// Everything was read.
    pub(super) fn all_was_read(&mut self) {
        self.everything = false;
    }

    /// The places that were left and not read since, each with its first message.
    pub(super) fn places(&self) -> Vec<(ChannelId, MessageId)> {
        self.places.iter().map(|(place, message)| (*place, *message)).collect()
    }

    /// Whether a reading is to be asked for: once, however much is left until it begins.
    pub(super) fn take_wish(&mut self) -> bool {
        let is_wanted = std::mem::take(&mut self.is_wanted);
        self.is_asked |= is_wanted;
        is_wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(id: u64) -> ChannelId {
        ChannelId::new(id).unwrap()
    }

    fn message(id: u64) -> MessageId {
        MessageId::new(id).unwrap()
    }

    #[test]
    fn what_is_later_in_its_place_waits_and_other_places_do_not() {
        let mut behind = Behind::default();
        behind.leave(place(1), message(10));
        behind.leave(place(1), message(11));
        assert!(behind.holds(place(1)) && !behind.holds(place(2)));
        assert_eq!(behind.places(), [(place(1), message(10))], "it is read from the first on");
        behind.was_read(place(1));
        assert!(!behind.holds(place(1)));
    }

    #[test]
    fn more_places_than_are_remembered_hold_everything_until_all_was_read() {
        let mut behind = Behind::default();
        for id in 1..=1_001 {
            behind.leave(place(id), message(id));
        }
        assert!(behind.holds(place(5_000)));
        for id in 1..=1_000 {
            behind.was_read(place(id));
        }
        assert!(behind.holds(place(1)));
        behind.all_was_read();
        assert!(!behind.holds(place(1)));
    }

    #[test]
    fn a_reading_is_asked_for_once() {
        let mut behind = Behind::default();
        assert!(!behind.take_wish());
        behind.read_soon();
        assert!(behind.take_wish() && !behind.take_wish());
        assert!(!behind.holds(place(1)));
        behind.leave(place(1), message(10));
        assert!(!behind.take_wish(), "whoever goes on writing does not put it off");
        behind.begin_reading();
        behind.leave(place(1), message(11));
        assert!(behind.take_wish());
    }
}
