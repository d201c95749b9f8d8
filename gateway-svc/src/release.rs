//! A thread's open runs → those that are to be released now.
//!
//! Pure. A thread has one family open, a person's run and the hand-offs that came of it; within it
//! each agent has at most one run released, so that hand-offs to several agents go on side by side.
//! (The runner still holds them one after the other, as long as the agents of a thread share a
//! worktree.) The next person's run follows the family's last outcome. Which family is open is
//! remembered by the caller: a family whose hand-offs are stored and not released yet is open, and
//! nothing in its rows says so.
//!
//! Hand-offs are named by `RunId` already, and nothing stores one yet: whoever will, in the
//! transaction that folds their parent's outcome, gives each the place in the queue (`ord`) of the
//! person's run that it came of.

use schemas::ids::RunId;

/// The most open runs of a thread that are looked at together: what is released, then what waits in
/// the open family, then the rest in order. Whatever is beyond them waits for an outcome among them.
pub(crate) const LOOK_MAX: i64 = 100;

/// A run without outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Open {
    /// The run.
    pub(crate) run: RunId,
    /// Its place in the thread's queue.
    pub(crate) ord: i64,
    /// Whose session it is for.
    pub(crate) agent: String,
    /// How far it is.
    pub(crate) state: Standing,
}

/// How far a run without outcome is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It waits.
    Queued,
    /// It is released.
    Released,
}

/// Whether a thread may be released in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    /// It has been read since the session began, or that took too long.
    Open,
    /// There may be something in it that nobody has read.
    Closed,
}

/// What is to be done in a thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Due<'a> {
    /// The family that is open from now on.
    pub(crate) family: RunId,
    /// The runs to release, in order.
    pub(crate) runs: Vec<&'a Open>,
}

/// Decides. `family` was open last. `None`: nothing is to be done.
pub(crate) fn due<'a>(gate: Gate, family: Option<&RunId>, open: &'a [Open]) -> Option<Due<'a>> {
    if gate == Gate::Closed {
        return None;
    }
    let mut queue: Vec<&Open> = open.iter().collect();
    queue.sort_by(|one, other| (one.ord, &one.run).cmp(&(other.ord, &other.run)));
    let is_released = |row: &&&Open| row.state == Standing::Released;
    let first = queue
        .iter()
        .find(is_released)
        .or_else(|| queue.iter().find(|row| Some(&row.run.root()) == family))
        .or_else(|| queue.first())?;
    let family = first.run.root();
    let mut busy: Vec<&str> =
        queue.iter().filter(is_released).map(|row| row.agent.as_str()).collect();
    let mut runs = Vec::new();
    for row in queue {
        let is_due = row.state == Standing::Queued
            && row.run.root() == family
            && !busy.contains(&row.agent.as_str());
        if is_due {
            busy.push(&row.agent);
            runs.push(row);
        }
    }
    (!runs.is_empty()).then_some(Due { family, runs })
}

#[cfg(test)]
mod tests;
