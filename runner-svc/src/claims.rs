//! A delivery and a record → what this runner does about it.
//!
//! Pure, and thin: [`schemas::run::claim`] decides, for the runner as for the model of the protocol.
//! Here is only what a request and a record say to it.

use schemas::ask::waited_ms;
use schemas::ids::StateId;
use schemas::record::Record;
use schemas::request::Request;
use schemas::run::claim::{self, Holder, Seen};
use schemas::streams::BOUNDS;

pub(crate) use schemas::run::claim::{Claim, Cut, Toll};

/// Decides on a delivery that no attempt of this process is at work on, by the record that was read
/// for it. `silent` says that another's record was seen unchanged for as long as a take-over takes.
pub(crate) fn decide(
    request: &Request,
    record: Option<&Record>,
    me: StateId,
    silent: bool,
) -> Claim {
    let seen = record.map(|record| Seen {
        fact: record.fact(),
        deaths: record.deaths,
        holder: match record.state_id == me {
            true => Holder::Own,
            false if silent => Holder::Silent,
            false => Holder::Another,
        },
    });
    claim::decide(request.work(), seen, BOUNDS)
}

/// When the generation that is asked for first had a claude, if its record knows: the time that a run
/// may take goes on over all its holdings, less what it waited for people by now.
pub(crate) fn began_ms(request: &Request, record: Option<&Record>, now_ms: i64) -> Option<i64> {
    let record = record.filter(|record| record.generation == request.generation)?;
    Some(record.since_ms? + waited_ms(&record.asks, &[], now_ms))
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::ask::{Ask, AskId, Wanted};
    use schemas::ids::{Attempt, Generation};
    use schemas::record::{Outcome, State};

    /// The work message of a run in its third generation, after a Retry and a Move.
    fn request() -> Request {
        let text = include_bytes!("../../schemas/golden/request-1-moved.json");
        schemas::from_json(text).unwrap()
    }

    fn record(generation: u32, me: StateId, state: State) -> Record {
        let text = include_bytes!("../../schemas/golden/record-1-again.json");
        let record: Record = schemas::from_json(text).unwrap();
        Record { generation: Generation(generation), state_id: me, state, ..record }
    }

    fn ended() -> State {
        State::Ended { outcome: Outcome::Stopped { by: "Ada".into() }, usage: None }
    }

    fn on(record: &Record, me: StateId) -> Claim {
        decide(&request(), Some(record), me, false)
    }

    #[test]
    fn a_run_without_record_is_taken() {
        let claim = decide(&request(), None, StateId::random(), false);
        assert_eq!(claim, Claim::Take(Toll::FIRST));
    }

    #[test]
    fn our_own_record_without_a_spool_is_the_next_attempt_and_anothers_is_left_alone() {
        let (me, other) = (StateId::random(), StateId::random());
        let next = Toll { attempt: Attempt(5), deaths: 2 };
        assert_eq!(on(&record(3, me, State::Claimed), me), Claim::Take(next));
        assert_eq!(on(&record(3, other, State::Running), me), Claim::Anothers);
    }

    #[test]
    fn what_another_was_silent_about_is_the_next_attempt() {
        let (me, other) = (StateId::random(), StateId::random());
        let next = Toll { attempt: Attempt(5), deaths: 2 };
        let silent = |record: &Record| decide(&request(), Some(record), me, true);
        assert_eq!(silent(&record(3, other, State::Running)), Claim::Take(next));
        assert_eq!(silent(&record(3, other, ended())), Claim::Done);
    }

    #[test]
    fn an_outcome_since_the_last_retry_is_carried_and_an_older_one_is_not() {
        let (me, other) = (StateId::random(), StateId::random());
        assert_eq!(on(&record(2, other, ended()), me), Claim::Carry);
        assert_eq!(on(&record(1, other, ended()), me), Claim::Take(Toll::FIRST));
        assert_eq!(on(&record(3, other, ended()), me), Claim::Done);
    }

    #[test]
    fn the_time_of_a_run_goes_on_when_it_is_claimed_again_and_anew_in_a_new_generation() {
        let me = StateId::random();
        let seen = |generation| {
            let since_ms = Some(5);
            Record { since_ms, ..record(generation, me, State::Claimed) }
        };
        assert_eq!(began_ms(&request(), Some(&seen(3)), 90), Some(5));
        assert_eq!(began_ms(&request(), Some(&seen(2)), 90), None);
        assert_eq!(began_ms(&request(), None, 90), None);
        let wanted = Wanted::Plan { text: "do it".into() };
        let ask = Ask { id: AskId::new(7), since_ms: 60, cut: false, wanted };
        let waits = Record { asks: vec![ask], ..seen(3) };
        assert_eq!(began_ms(&request(), Some(&waits), 90), Some(35), "a person was asked at 60");
    }

    /// Such a message is of a Retry: its failure must not come back.
    #[test]
    fn work_that_says_nothing_of_a_retry_is_done_anew() {
        let request = Request { since: None, ..request() };
        let me = StateId::random();
        let claim = decide(&request, Some(&record(2, me, ended())), me, false);
        assert_eq!(claim, Claim::Take(Toll::FIRST));
    }
}
