//! A delivery and a record → what this runner does about it.
//!
//! Pure. A delivery never means that its holder died: JetStream delivers again after a restart,
//! with any count. Only the record says who holds a run, and an ack is sent only when the record
//! is terminal or of a higher generation.

use schemas::ids::{Attempt, Generation, StateId};
use schemas::record::Record;

/// What a runner does about a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// Take it out of the queue: it has its outcome, or a newer generation took its place.
    Done,
    /// Hold on: it is our own, and at work here. The delivery only replaces the older one.
    Ours,
    /// Write the record as this attempt, over that revision (0: there is none), and start.
    Take {
        /// The attempt to write.
        attempt: Attempt,
        /// The revision to replace.
        over: u64,
    },
    /// Another holds it: neither ack nor nak.
    Anothers,
}

/// Decides.
///
/// `record` is what was read, with its revision; `held` says whether an attempt of the run is at
/// work in this process.
pub(crate) fn decide(
    generation: Generation,
    record: Option<(&Record, u64)>,
    me: StateId,
    held: bool,
) -> Claim {
    let Some((record, revision)) = record else {
        return Claim::Take { attempt: Attempt::FIRST, over: 0 };
    };
    if generation < record.generation {
        return Claim::Done;
    }
    if record.generation < generation {
        return Claim::Take { attempt: Attempt::FIRST, over: revision };
    }
    if record.outcome().is_some() {
        return Claim::Done;
    }
    if record.state_id != me {
        return Claim::Anothers;
    }
    if held {
        return Claim::Ours;
    }
    // Every spool was adopted before work was asked for: without one, nothing was spawned.
    Claim::Take { attempt: record.attempt.next(), over: revision }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::ids::{OwnerToken, SessionId};
    use schemas::record::{Outcome, State};

    fn record(generation: u32, me: StateId, state: State) -> Record {
        Record {
            v: Record::VERSION,
            run: "m7".parse().unwrap(),
            generation: Generation(generation),
            attempt: Attempt(2),
            runner: "host-1".parse().unwrap(),
            state_id: me,
            owner: OwnerToken::random(),
            session: SessionId::random(),
            state,
            quiet_since_ms: None,
            trace: None,
        }
    }

    fn ended() -> State {
        State::Ended { outcome: Outcome::Stopped { by: "Ada".into() }, usage: None }
    }

    fn on(generation: u32, record: &Record, me: StateId, held: bool) -> Claim {
        decide(Generation(generation), Some((record, 9)), me, held)
    }

    #[test]
    fn a_run_without_record_is_taken() {
        let claim = decide(Generation(3), None, StateId::random(), false);
        assert_eq!(claim, Claim::Take { attempt: Attempt(1), over: 0 });
    }

    #[test]
    fn what_is_over_is_taken_out_of_the_queue() {
        let me = StateId::random();
        assert_eq!(on(1, &record(1, me, ended()), me, false), Claim::Done);
        assert_eq!(on(1, &record(2, me, State::Running), me, true), Claim::Done);
        let other = StateId::random();
        assert_eq!(on(1, &record(1, other, ended()), me, false), Claim::Done);
    }

    #[test]
    fn a_delivery_of_what_is_at_work_here_starts_nothing() {
        let me = StateId::random();
        assert_eq!(on(1, &record(1, me, State::Running), me, true), Claim::Ours);
    }

    #[test]
    fn our_own_record_without_a_spool_is_the_next_attempt() {
        let me = StateId::random();
        let claim = on(1, &record(1, me, State::Claimed), me, false);
        assert_eq!(claim, Claim::Take { attempt: Attempt(3), over: 9 });
    }

    #[test]
    fn anothers_run_is_left_alone_and_a_newer_generation_starts_anew() {
        let (me, other) = (StateId::random(), StateId::random());
        assert_eq!(on(1, &record(1, other, State::Running), me, false), Claim::Anothers);
        let claim = on(2, &record(1, other, ended()), me, false);
        assert_eq!(claim, Claim::Take { attempt: Attempt(1), over: 9 });
    }
}
