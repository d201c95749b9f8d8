//! A model of Discord, whose messages become visible late, and of a reader that is killed at any
//! moment; what must hold after each step and at the end.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// Small, so that a few messages are many pages.
const PAGE: usize = 3;
/// The model's time begins here: ids are of 2023.
const START_MS: i64 = 1_700_000_000_000;

/// What happens next.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// Time goes by.
    Wait(i64),
    /// Somebody writes; the message can be read so much later.
    Write(i64),
    /// The reader begins anew: what it knew besides the store is forgotten. Whether it was killed or
    /// is at the end of an earlier reading is the same.
    Begin,
    /// The reader asks for a page.
    Ask,
    /// The reader stores the verdict on one message of the page that it has.
    Judge,
    /// The reader turns its page, if all of it is stored.
    Turn,
    /// Somebody hears the newest message that is visible.
    Hear,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => (0..BEHIND_MS).prop_map(Act::Wait),
        4 => (0..BEHIND_MS).prop_map(Act::Write),
        1 => Just(Act::Begin),
        4 => Just(Act::Ask),
        12 => Just(Act::Judge),
        5 => Just(Act::Turn),
        1 => Just(Act::Hear),
    ]
}

/// What a reader knows that is not in the store.
struct Reader {
    reading: Reading,
    page: Option<Vec<MessageId>>,
    judged: usize,
}

/// Discord, the store, and one reader.
struct World {
    now_ms: i64,
    /// From when on each message can be read.
    messages: BTreeMap<MessageId, i64>,
    cursor: MessageId,
    /// How often a verdict on each message was stored.
    verdicts: BTreeMap<MessageId, u32>,
    reader: Option<Reader>,
    /// Readings that came to the end.
    ends: u32,
}

impl World {
    fn new() -> Self {
        let cursor = MessageId::first_of(START_MS);
        Self {
            now_ms: START_MS + 1,
            messages: BTreeMap::new(),
            cursor,
            verdicts: BTreeMap::new(),
            reader: None,
            ends: 0,
        }
    }

    fn visible(&self) -> BTreeSet<MessageId> {
        let visible = self.messages.iter().filter(|(_, from)| **from <= self.now_ms);
        visible.map(|(id, _)| *id).collect()
    }

    /// Once by its primary key.
    fn judge(&mut self, id: MessageId) {
        if !self.verdicts.contains_key(&id) {
            *self.verdicts.entry(id).or_default() += 1;
        }
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Wait(ms) => self.now_ms += ms,
            Act::Write(late_ms) => {
                let first = MessageId::first_of(self.now_ms);
                let newest = self.messages.keys().next_back().copied();
                let next = newest.map(|id| MessageId::new(id.get() + 1).unwrap());
                self.messages
                    .insert(next.map_or(first, |next| next.max(first)), self.now_ms + late_ms);
            }
            Act::Begin => {
                let reading = Reading::begin(self.cursor, PAGE, self.now_ms);
                self.reader = Some(Reader { reading, page: None, judged: 0 });
            }
            Act::Ask => {
                let visible = self.visible();
                let Some(reader) = self.reader.as_mut().filter(|it| it.page.is_none()) else {
                    return;
                };
                let after = reader.reading.after();
                let page = visible.into_iter().filter(|id| after < *id).take(PAGE);
                (reader.page, reader.judged) = (Some(page.collect()), 0);
            }
            Act::Judge => {
                let Some(reader) = self.reader.as_mut() else { return };
                let Some(id) =
                    reader.page.as_ref().and_then(|page| page.get(reader.judged)).copied()
                else {
                    return;
                };
                reader.judged += 1;
                self.judge(id);
            }
            Act::Turn => self.turn(),
            Act::Hear => {
                if let Some(newest) = self.visible().pop_last() {
                    self.judge(newest);
                }
            }
        }
    }

    fn turn(&mut self) {
        let Some(reader) = self.reader.as_mut() else { return };
        let Some(page) = reader.page.take_if(|page| page.len() == reader.judged) else { return };
        let turn = reader.reading.turn(&page);
        if let Some(cursor) = turn.cursor {
            assert!(self.cursor < cursor, "it goes forward, or stays");
            assert!(page.contains(&cursor), "it goes only to what was returned");
            self.cursor = cursor;
        }
        if turn.is_last {
            self.reader = None;
            self.ends += 1;
        }
    }

    /// No cursor is ever over a message that is not in the store, whether it could be read or not.
    fn check(&self) {
        for id in self.messages.range(..=self.cursor).map(|(id, _)| id) {
            assert!(self.verdicts.contains_key(id), "{id} was skipped");
        }
        assert!(self.verdicts.values().all(|count| *count == 1));
    }

    /// A reading that nobody disturbs, to its end.
    fn read(&mut self) {
        self.act(Act::Begin);
        let ends = self.ends;
        for _ in 0..=self.messages.len() / PAGE + 1 {
            self.act(Act::Ask);
            for _ in 0..PAGE {
                self.act(Act::Judge);
            }
            self.act(Act::Turn);
            self.check();
            if ends < self.ends {
                return;
            }
        }
        panic!("a reading does not end");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_every_message_is_judged_once(acts in prop::collection::vec(act(), 0..120)) {
        let mut world = World::new();
        for act in acts {
            world.act(act);
            world.check();
        }
        world.act(Act::Wait(BEHIND_MS));
        world.read();
        for id in world.messages.keys() {
            prop_assert_eq!(world.verdicts.get(id), Some(&1));
        }
        // What is read later on begins behind them: the cursor follows.
        world.act(Act::Wait(BEHIND_MS));
        world.read();
        prop_assert_eq!(world.messages.keys().next_back().copied().unwrap_or(world.cursor), world.cursor);
    }

    #[test]
    fn a_page_of_any_kind_moves_a_cursor_forward_within_it(
        read_to in 1_u64..1 << 60,
        ids in prop::collection::btree_set(1_u64..1 << 60, 0..100),
        now_ms in START_MS - 1_000_000_000_000..START_MS + 1_000_000_000_000,
    ) {
        let id = |id: u64| MessageId::new(id).unwrap();
        let page: Vec<MessageId> = ids.into_iter().map(id).collect();
        let mut reading = Reading::begin(id(read_to), 100, now_ms);
        let turn = reading.turn(&page);
        let is_fit = |cursor| {
            id(read_to) < cursor
                && page.contains(&cursor)
                && cursor.created_at_ms() <= now_ms - BEHIND_MS
        };
        let is_cursor_fit = turn.cursor.is_none_or(is_fit);
        prop_assert!(is_cursor_fit, "{turn:?}");
        prop_assert!(id(read_to) <= reading.after());
        prop_assert!(turn.is_last, "it was not full");
    }
}

fn ids(range: std::ops::Range<u64>) -> Vec<MessageId> {
    let first = MessageId::first_of(START_MS).get();
    range.map(|n| MessageId::new(first + n).unwrap()).collect()
}

#[test]
fn an_empty_page_ends_the_reading_and_moves_nothing() {
    let mut reading = Reading::begin(MessageId::first_of(START_MS), 100, START_MS);
    assert_eq!(reading.turn(&[]), Turn { cursor: None, is_last: true });
}

#[test]
fn a_full_page_is_followed_by_the_next() {
    let page = ids(1..101);
    let mut reading = Reading::begin(MessageId::first_of(START_MS), 100, START_MS + BEHIND_MS);
    assert_eq!(reading.turn(&page), Turn { cursor: page.last().copied(), is_last: false });
    assert_eq!(Some(&reading.after()), page.last());
}

#[test]
fn a_page_that_does_not_go_on_is_not_asked_for_again() {
    let page = ids(1..101);
    let mut reading = Reading::begin(page[99], 100, START_MS + BEHIND_MS);
    assert_eq!(reading.turn(&page), Turn { cursor: None, is_last: true });
}

#[test]
fn what_is_younger_than_two_minutes_is_read_again() {
    let page = ids(1..3);
    let mut reading = Reading::begin(MessageId::first_of(START_MS), 100, START_MS + BEHIND_MS - 1);
    assert_eq!(reading.turn(&page), Turn { cursor: None, is_last: true });
}
