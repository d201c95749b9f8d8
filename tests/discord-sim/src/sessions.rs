//! The gateway's sessions: who listens, what was sent to whom, what a RESUME is owed. Pure.
//!
//! A session keeps the frames it was sent in one bounded buffer. The task of a connection reads
//! from that buffer whatever lies behind the number it sent last, so that sending, replaying and
//! waiting for a slow reader are one thing. There is no queue beside it.

use std::collections::{BTreeMap, VecDeque};

use serde_json::json;

use crate::events::{Event, intents};
use crate::wire;

/// The most frames that a session remembers. A connection that lags further behind is closed, a
/// RESUME from before that is refused. 10,000 is more than a test sends in the life of a session.
const REPLAY_MAX: usize = 10_000;
/// How long a session outlives its connection; Discord says "a few minutes".
const SESSION_LIFE_MS: u64 = 180_000;
/// The close code for a token that is not good.
pub(crate) const AUTHENTICATION_FAILED: u16 = 4004;
/// The span of the limit of IDENTIFYs (Discord, "Gateway").
const STARTS_WINDOW_MS: u64 = 24 * 60 * 60 * 1000;
/// The most rules of events that go wrong, and of events that are late.
const SLIPS_MAX: usize = 100;

/// Something that a connection is told to do, beside sending events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Close with this code.
    Close(u16),
    /// Cut the connection without a word: what was not sent yet is not sent.
    Cut,
    /// Send op 7.
    Reconnect,
    /// Send op 9.
    Invalid {
        /// Its payload.
        resumable: bool,
    },
}

/// What the gateway did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GatewayCounts {
    /// Sessions begun by IDENTIFY.
    pub identified: u64,
    /// Sessions taken up again by RESUME.
    pub resumed: u64,
    /// Frames that were sent because of a RESUME.
    pub replayed: u64,
    /// RESUMEs that were answered with an invalid session.
    pub resumes_refused: u64,
    /// Heartbeats received.
    pub heartbeats: u64,
    /// Sessions with a connection at this moment.
    pub connected: u64,
}

/// What a connection has to do now.
#[derive(Debug, Default)]
pub(crate) struct Work {
    /// Frames to send, each with its sequence number.
    pub(crate) frames: Vec<(u64, String)>,
    /// What else it was told.
    pub(crate) orders: Vec<Order>,
    /// Whether the session is no longer this connection's, or it lags too far behind.
    pub(crate) lost: bool,
}

/// The answer to a RESUME.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resume {
    /// What follows the number given is sent again.
    Granted,
    /// The session is not known, too old, or was invalidated.
    Refused,
    /// The number given was never sent.
    BadSequence,
}

#[derive(Debug)]
struct Session {
    intents: u64,
    seq: u64,
    frames: VecDeque<(u64, String)>,
    connection: Option<u64>,
    left_ms: u64,
    resumable: bool,
    orders: Vec<Order>,
}

/// What goes wrong with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slip {
    /// Nobody ever gets it, and no number is used.
    Drop,
    /// It is sent twice, under two numbers.
    Repeat,
    /// It is sent after the event that follows it.
    Late,
}

#[derive(Debug)]
struct SlipRule {
    slip: Slip,
    name: Option<String>,
    left: u32,
}

/// All sessions, and the faults of the gateway.
#[derive(Debug)]
pub(crate) struct Sessions {
    map: BTreeMap<String, Session>,
    connections: u64,
    slips: Vec<SlipRule>,
    late: Vec<Event>,
    /// Of what was never sent: the ids that it was about.
    unsent: Vec<String>,
    counts: GatewayCounts,
    /// When the current day of IDENTIFYs ends, and how many there were in it.
    starts: (u64, u64),
    /// Whether connections are accepted and kept.
    pub(crate) open: bool,
    /// Whether heartbeats are acknowledged.
    pub(crate) acks: bool,
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            map: BTreeMap::new(),
            connections: 0,
            slips: Vec::new(),
            late: Vec::new(),
            unsent: Vec::new(),
            counts: GatewayCounts::default(),
            starts: (0, 0),
            open: true,
            acks: true,
        }
    }
}

impl Sessions {
    /// A number for a new connection.
    pub(crate) fn connect(&mut self) -> u64 {
        self.connections += 1;
        self.connections
    }

    /// How many IDENTIFYs are left of `limit` in the current day, and how long that day is still.
    pub(crate) fn starts_left(&self, limit: u64, now_ms: u64) -> (u64, u64) {
        let (ends_ms, used) = self.starts;
        if now_ms >= ends_ms {
            return (limit, STARTS_WINDOW_MS);
        }
        (limit.saturating_sub(used), ends_ms - now_ms)
    }

    /// Counts an IDENTIFY; whether it was within the limit.
    pub(crate) fn take_start(&mut self, limit: u64, now_ms: u64) -> bool {
        if now_ms >= self.starts.0 {
            self.starts = (now_ms + STARTS_WINDOW_MS, 0);
        }
        self.starts.1 += 1;
        self.starts.1 <= limit
    }

    /// Begins a session.
    pub(crate) fn identify(&mut self, connection: u64, intents: u64, now_ms: u64) -> String {
        self.forget_dead(now_ms);
        self.counts.identified += 1;
        let id = format!("{now_ms:016x}{:08x}", self.counts.identified);
        let session = Session {
            intents,
            seq: 0,
            frames: VecDeque::new(),
            connection: Some(connection),
            left_ms: 0,
            resumable: true,
            orders: Vec::new(),
        };
        self.map.insert(id.clone(), session);
        id
    }

    /// Takes a session up again after the frame `seq`.
    pub(crate) fn resume(&mut self, id: &str, connection: u64, seq: u64, now_ms: u64) -> Resume {
        self.forget_dead(now_ms);
        let found = self.map.get_mut(id).filter(|it| it.resumable);
        let Some(session) =
            found.filter(|it| it.frames.front().is_none_or(|(n, _)| *n <= seq.saturating_add(1)))
        else {
            self.counts.resumes_refused += 1;
            return Resume::Refused;
        };
        if seq > session.seq {
            return Resume::BadSequence;
        }
        self.counts.resumed += 1;
        self.counts.replayed += session.seq - seq;
        session.connection = Some(connection);
        session.orders.clear();
        Resume::Granted
    }

    /// Ends a connection; a session that its client closed for good is forgotten.
    pub(crate) fn disconnect(&mut self, id: &str, connection: u64, for_good: bool, now_ms: u64) {
        let Some(session) = self.map.get_mut(id) else { return };
        if session.connection != Some(connection) {
            return;
        }
        session.connection = None;
        session.left_ms = now_ms;
        if for_good {
            self.map.remove(id);
        }
    }

    fn forget_dead(&mut self, now_ms: u64) {
        self.map.retain(|_, it| it.connection.is_some() || now_ms < it.left_ms + SESSION_LIFE_MS);
    }

    /// Sends an event to every session that asked for its kind.
    pub(crate) fn publish(&mut self, event: &Event) {
        if !event.seen {
            return;
        }
        match self.slip_of(event.name) {
            Some(Slip::Drop) => {
                let id = event.data["id"].as_str().filter(|_| self.unsent.len() < SLIPS_MAX);
                self.unsent.extend(id.map(str::to_owned));
                return;
            }
            Some(Slip::Late) if self.late.len() < SLIPS_MAX => {
                self.late.push(event.clone());
                return;
            }
            Some(Slip::Repeat) => self.send(event),
            Some(Slip::Late) | None => {}
        }
        self.send(event);
        for late in std::mem::take(&mut self.late) {
            self.send(&late);
        }
    }

    /// The ids of what no session was ever sent, oldest first.
    pub(crate) fn unsent(&self) -> &[String] {
        &self.unsent
    }

    fn send(&mut self, event: &Event) {
        for session in self.map.values_mut() {
            if event.intent != 0 && session.intents & event.intent == 0 {
                continue;
            }
            let mut data = event.data.clone();
            if event.private && session.intents & intents::MESSAGE_CONTENT == 0 {
                wire::hide_content(&mut data);
            }
            session.push(event.name, &data);
        }
    }

    /// Sends a dispatch to one session.
    pub(crate) fn push(&mut self, id: &str, name: &str, data: &serde_json::Value) {
        if let Some(session) = self.map.get_mut(id) {
            session.push(name, data);
        }
    }

    fn slip_of(&mut self, name: &str) -> Option<Slip> {
        let fits = |it: &SlipRule| it.name.as_deref().is_none_or(|wanted| wanted == name);
        let rule = self.slips.iter_mut().find(|it| fits(it))?;
        rule.left -= 1;
        let slip = rule.slip;
        self.slips.retain(|it| it.left > 0);
        Some(slip)
    }

    /// Lets the next events of a name (of any, if none) go wrong.
    pub(crate) fn slip_next(&mut self, slip: Slip, name: Option<&str>, times: u32) {
        if times > 0 && self.slips.len() < SLIPS_MAX {
            self.slips.push(SlipRule { slip, name: name.map(str::to_owned), left: times });
        }
    }

    /// Tells every connection something.
    pub(crate) fn order(&mut self, order: Order) {
        for session in self.map.values_mut().filter(|it| it.connection.is_some()) {
            session.orders.push(order);
        }
    }

    /// Makes the next RESUME of every session be refused.
    pub(crate) fn invalidate(&mut self) {
        for session in self.map.values_mut() {
            session.resumable = false;
        }
    }

    /// What a connection has to do that sent frame `sent` last.
    pub(crate) fn work(&mut self, id: &str, connection: u64, sent: u64) -> Work {
        let mine = self.map.get_mut(id).filter(|it| it.connection == Some(connection));
        let Some(session) = mine else { return Work { lost: true, ..Work::default() } };
        let oldest = session.frames.front().map_or(sent + 1, |(seq, _)| *seq);
        let is_cut = session.orders.contains(&Order::Cut);
        let behind = session.frames.iter().filter(|(seq, _)| *seq > sent && !is_cut);
        Work {
            frames: behind.cloned().collect(),
            orders: std::mem::take(&mut session.orders),
            lost: oldest > sent + 1,
        }
    }

    /// Counts a heartbeat; whether it is to be acknowledged.
    pub(crate) fn heartbeat(&mut self) -> bool {
        self.counts.heartbeats += 1;
        self.acks
    }

    pub(crate) fn counts(&self) -> GatewayCounts {
        let connected = self.map.values().filter(|it| it.connection.is_some()).count() as u64;
        GatewayCounts { connected, ..self.counts }
    }
}

impl Session {
    fn push(&mut self, name: &str, data: &serde_json::Value) {
        if self.frames.len() == REPLAY_MAX {
            self.frames.pop_front();
        }
        self.seq += 1;
        let frame = json!({ "op": 0, "t": name, "s": self.seq, "d": data });
        self.frames.push_back((self.seq, frame.to_string()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &'static str, intent: u64) -> Event {
        Event { name, intent, seen: true, private: true, data: json!({ "content": "secret" }) }
    }

    #[test]
    fn a_session_gets_what_it_asked_for_and_only_readable_texts() {
        let mut sessions = Sessions::default();
        let all = sessions.identify(1, intents::MESSAGES | intents::MESSAGE_CONTENT, 0);
        let blind = sessions.identify(2, intents::MESSAGES, 0);
        let deaf = sessions.identify(3, intents::GUILDS, 0);
        sessions.publish(&event("MESSAGE_CREATE", intents::MESSAGES));
        assert!(sessions.work(&all, 1, 0).frames[0].1.contains("secret"));
        assert!(!sessions.work(&blind, 2, 0).frames[0].1.contains("secret"));
        assert!(sessions.work(&deaf, 3, 0).frames.is_empty());
    }

    #[test]
    fn a_resume_is_owed_what_followed_and_a_dropped_event_is_owed_to_nobody() {
        let mut sessions = Sessions::default();
        let id = sessions.identify(1, intents::MESSAGES, 0);
        for name in ["FIRST", "SECOND"] {
            sessions.publish(&event(name, intents::MESSAGES));
        }
        sessions.disconnect(&id, 1, false, 1000);
        sessions.slip_next(Slip::Drop, Some("THIRD"), 1);
        for name in ["THIRD", "FOURTH"] {
            sessions.publish(&event(name, intents::MESSAGES));
        }
        assert_eq!(sessions.resume(&id, 2, 9, 2000), Resume::BadSequence);
        assert_eq!(sessions.resume(&id, 2, 1, 2000), Resume::Granted);
        let seqs: Vec<_> = sessions.work(&id, 2, 1).frames.iter().map(|(seq, _)| *seq).collect();
        assert_eq!(seqs, [2, 3]);
        assert!(sessions.work(&id, 1, 0).lost, "the old connection lost its session");
    }

    #[test]
    fn an_event_is_sent_twice_or_after_the_one_that_follows_it() {
        let mut sessions = Sessions::default();
        let id = sessions.identify(1, intents::MESSAGES, 0);
        sessions.slip_next(Slip::Late, Some("FIRST"), 1);
        sessions.slip_next(Slip::Repeat, Some("SECOND"), 1);
        for name in ["FIRST", "SECOND", "FIRST"] {
            sessions.publish(&event(name, intents::MESSAGES));
        }
        let frames = sessions.work(&id, 1, 0).frames;
        let sent = |name: &str| {
            let of = |text: &String| text.contains(&format!("\"t\":\"{name}\""));
            frames.iter().filter(|(_, text)| of(text)).map(|(seq, _)| *seq).collect::<Vec<_>>()
        };
        assert_eq!((sent("SECOND"), sent("FIRST")), (vec![1, 2], vec![3, 4]));
    }

    #[test]
    fn a_cut_takes_what_was_not_sent_yet_and_a_resume_brings_it() {
        let mut sessions = Sessions::default();
        let id = sessions.identify(1, intents::MESSAGES, 0);
        sessions.order(Order::Cut);
        sessions.publish(&event("FIRST", intents::MESSAGES));
        let work = sessions.work(&id, 1, 0);
        assert_eq!((work.frames.len(), work.orders), (0, vec![Order::Cut]));
        sessions.disconnect(&id, 1, false, 0);
        assert_eq!(sessions.resume(&id, 2, 0, 0), Resume::Granted);
        assert_eq!((sessions.work(&id, 2, 0).frames.len(), sessions.counts().replayed), (1, 1));
    }

    #[test]
    fn a_session_ends_with_its_life_its_client_or_an_order() {
        let mut sessions = Sessions::default();
        let [old, closed, invalid] = [1, 2, 3].map(|it| sessions.identify(it, 1, 0));
        sessions.disconnect(&old, 1, false, 0);
        assert_eq!(sessions.resume(&old, 4, 0, SESSION_LIFE_MS), Resume::Refused);
        sessions.disconnect(&closed, 2, true, 0);
        assert_eq!(sessions.resume(&closed, 5, 0, 0), Resume::Refused);
        sessions.invalidate();
        assert_eq!(sessions.resume(&invalid, 6, 0, 0), Resume::Refused);
        assert_eq!(sessions.counts().resumes_refused, 3);
    }

    #[test]
    fn a_day_has_so_many_starts_and_begins_with_the_first() {
        let mut sessions = Sessions::default();
        assert_eq!(sessions.starts_left(2, 5), (2, STARTS_WINDOW_MS));
        assert!(sessions.take_start(2, 5) && sessions.take_start(2, 6));
        assert_eq!(sessions.starts_left(2, 105), (0, STARTS_WINDOW_MS - 100));
        assert!(!sessions.take_start(2, 7));
        assert!(sessions.take_start(2, 5 + STARTS_WINDOW_MS));
    }

    #[test]
    fn a_session_without_any_intent_gets_interactions_all_the_same() {
        let mut sessions = Sessions::default();
        let deaf = sessions.identify(1, 0, 0);
        sessions.publish(&event("MESSAGE_CREATE", intents::MESSAGES));
        sessions.publish(&event("INTERACTION_CREATE", 0));
        assert_eq!(sessions.work(&deaf, 1, 0).frames.len(), 1);
    }

    #[test]
    fn a_reader_that_lags_behind_the_buffer_is_lost() {
        let mut sessions = Sessions::default();
        let id = sessions.identify(1, intents::MESSAGES, 0);
        for _ in 0..=REPLAY_MAX {
            sessions.publish(&event("ANY", intents::MESSAGES));
        }
        assert!(sessions.work(&id, 1, 0).lost);
        assert!(!sessions.work(&id, 1, 1).lost);
        assert_eq!(sessions.resume(&id, 2, 0, 0), Resume::Refused);
    }
}
