//! Faults on command: which requests go wrong, and how. Pure; the middleware of `rest` obeys.
//!
//! Rules stand in a queue. A request takes the first rule that fits it and still has a time left.

use std::collections::VecDeque;
use std::time::Duration;

use crate::error::ApiError;
use crate::routes::Route;

/// How a request goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Nothing happens; the answer is this status (HTML for 5xx, code 0 for 4xx).
    StatusBefore(u16),
    /// What was asked happens; the answer is this status.
    StatusAfter(u16),
    /// Nothing happens; the answer is this status with the HTML of something in between.
    PageBefore(u16),
    /// What was asked happens; the answer is 200 with a text that is no JSON.
    GarbledAfter,
    /// Nothing happens; the answer is this refusal of Discord's.
    Refuse(ApiError),
    /// Nothing happens; the connection is cut.
    CutBefore,
    /// What was asked happens; the connection is cut before the answer.
    CutAfter,
    /// What was asked happens as usual, this much later.
    Delay(Duration),
    /// What was asked happens at once; the answer comes this much later.
    AnswerLate(Duration),
    /// Nothing happens; 429 with this time to wait. Until it is over the same request is refused.
    RateLimited {
        /// The time to wait.
        retry_after: Duration,
    },
    /// The same, for all that the bot asks: the global limit.
    RateLimitedGlobally {
        /// The time to wait.
        retry_after: Duration,
    },
    /// The same, because of others: the limit of a resource that is shared.
    RateLimitedByOthers {
        /// The time to wait.
        retry_after: Duration,
    },
}

/// Which requests go wrong, how, and how often.
#[derive(Clone, Debug)]
pub struct FaultRule {
    /// `POST` and so on; none for all.
    pub method: Option<String>,
    /// What a request must be for: its route as `RouteCounts` names it without the method
    /// (`/channels/{id}/messages`), or a part of its path below `/api/v10`; empty for all.
    pub path: String,
    /// How many requests the rule is for.
    pub times: u32,
    /// What happens to them.
    pub kind: FaultKind,
}

impl FaultRule {
    /// A rule for the next request of a route.
    pub fn once(method: &str, path: &str, kind: FaultKind) -> Self {
        Self { method: Some(method.to_owned()), path: path.to_owned(), times: 1, kind }
    }

    /// The same rule for more requests.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = times;
        self
    }

    fn fits(&self, route: &Route) -> bool {
        let method = self.method.as_ref().is_none_or(|it| it.eq_ignore_ascii_case(&route.method));
        method && (route.template == self.path || route.path.contains(&self.path))
    }
}

/// The rules that still have a time left.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    rules: VecDeque<FaultRule>,
}

impl Faults {
    pub(crate) fn add(&mut self, rule: FaultRule) {
        if rule.times > 0 {
            self.rules.push_back(rule);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.rules.clear();
    }

    /// How many faults are still to come.
    pub(crate) fn left(&self) -> u32 {
        self.rules.iter().map(|it| it.times).sum()
    }

    /// The fault of this request; takes one time from its rule.
    pub(crate) fn take(&mut self, route: &Route) -> Option<FaultKind> {
        let index = self.rules.iter().position(|it| it.fits(route))?;
        let rule = self.rules.get_mut(index)?;
        rule.times -= 1;
        let kind = rule.kind.clone();
        if rule.times == 0 {
            self.rules.remove(index);
        }
        Some(kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_serves_its_times_and_then_the_next() {
        let mut faults = Faults::default();
        let post = Route::of("POST", "/channels/5/messages");
        let rule = FaultRule::once("POST", "/channels/{id}/messages", FaultKind::CutAfter).times(2);
        faults.add(rule);
        faults.add(FaultRule::once("POST", "/messages", FaultKind::StatusBefore(502)));
        assert_eq!(faults.take(&Route::of("GET", "/channels/5/messages")), None);
        let thread = Route::of("POST", "/channels/5/messages/6/threads");
        assert_eq!(faults.take(&post), Some(FaultKind::CutAfter));
        assert_eq!(faults.take(&post), Some(FaultKind::CutAfter));
        assert_eq!(faults.left(), 1);
        assert_eq!(faults.take(&thread), Some(FaultKind::StatusBefore(502)));
        assert_eq!(faults.take(&post), None);
    }
}
