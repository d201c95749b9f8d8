//! When what claude does is told to whoever watches, and what.
//!
//! At most once a second while something changes, and every ten seconds although nothing does, so that
//! a long tool never looks dead. Nothing is told in a run's first second: most that ends at once is
//! watched by nobody. It may all be lost; nothing waits for it.

use std::time::Duration;

use platform::clock::now_ms;
use schemas::live::{Doing, Live};
use schemas::record::Record;
use schemas::streams::LIVE_EVERY;
use tokio::time::Instant;

use crate::claude::{Activity, Event};

/// What is told of one claude.
#[derive(Debug)]
pub(super) struct Telling {
    activity: Activity,
    /// What was told last, and when.
    told: Option<Live>,
    at: Instant,
}

impl Default for Telling {
    fn default() -> Self {
        Self { activity: Activity::default(), told: None, at: Instant::now() }
    }
}

impl Telling {
    /// claude said something.
    pub(super) fn heard(&mut self, event: &Event) {
        self.activity.fold(event, now_ms());
    }

    /// What is to be told now, if anything.
    pub(super) fn due(&mut self, record: &Record, model: Option<&str>, asks: bool) -> Option<Live> {
        let waited = self.at.elapsed();
        if waited < LIVE_EVERY.0 {
            return None;
        }
        let live = self.live(record, model, asks);
        if !is_due(self.told.as_ref(), &live, waited) {
            return None;
        }
        self.at = Instant::now();
        self.told = Some(live.clone());
        Some(live)
    }

    fn live(&self, record: &Record, model: Option<&str>, asks: bool) -> Live {
        let (doing, since_ms) = self.activity.doing(asks);
        let (done, steps) = self.activity.steps();
        let since_ms = match doing {
            Doing::Starting => None,
            Doing::Thinking | Doing::Tool { .. } | Doing::Asking | Doing::Retrying { .. } => {
                Some(since_ms)
            }
        };
        let for_ms = since_ms.map_or(0, |since_ms| now_ms() - since_ms);
        Live {
            v: Live::VERSION,
            generation: record.generation,
            attempt: record.attempt,
            runner: record.runner.clone(),
            model: model.map(str::to_owned),
            doing,
            for_ms: u64::try_from(for_ms).unwrap_or_default(),
            done,
            steps: steps.cloned().collect(),
            list: self.activity.list().cloned().collect(),
            tokens: self.activity.tokens(),
        }
    }
}

/// Whether something is to be told that was not told so a while ago.
fn is_due(told: Option<&Live>, live: &Live, waited: Duration) -> bool {
    let Some(told) = told else { return true };
    let changed = Live { for_ms: told.for_ms, ..live.clone() } != *told;
    LIVE_EVERY.1 <= waited || changed && LIVE_EVERY.0 <= waited
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_is_told_soon_and_what_does_not_now_and_then() {
        let text = include_str!("../../../schemas/golden/live-1.json");
        let told: Live = schemas::from_json(text.as_bytes()).unwrap();
        let later = Live { for_ms: told.for_ms + 5_000, ..told.clone() };
        let next = Live { done: told.done + 1, ..later.clone() };
        let [soon, second, long] = [500, 1_000, 10_000].map(Duration::from_millis);
        assert!(is_due(None, &told, soon));
        assert!(!is_due(Some(&told), &next, soon) && is_due(Some(&told), &next, second));
        assert!(!is_due(Some(&told), &later, second) && is_due(Some(&told), &later, long));
    }
}
