//! What claude does now, and what it has done, folded from its events: for people to watch.
//!
//! Pure: the time of each event is given. Calls of tools are open from their block to their result, in
//! the conversation itself and in sub-agents; claude's own list of what is to be done comes from its
//! task tools. Everything is bounded. Nothing here decides anything about a run.

use std::collections::VecDeque;

use schemas::live::{Doing, POINTS_MAX, Point, PointState, STEPS_MAX, Step};

use super::{Block, Event, ListChange, ToolResult};

/// The most open calls that are remembered: no model makes as many at once.
const CALLS_MAX: usize = 64;

/// A call without a result.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Call {
    id: String,
    step: Step,
    /// The call that a sub-agent makes it for.
    within: Option<String>,
    list: Option<ListChange>,
    since_ms: i64,
}

/// What claude does and did.
#[derive(Clone, Debug, Default)]
pub(crate) struct Activity {
    calls: Vec<Call>,
    /// What each call that began a sub-agent is for, also when the sub-agent goes on behind its result.
    agents: VecDeque<(String, String)>,
    done: u32,
    steps: VecDeque<Step>,
    /// Each point with the id that claude's tools know it by.
    list: Vec<(String, Point)>,
    tokens: u64,
    retrying: Option<String>,
    /// Whether it said anything.
    spoke: bool,
    /// Since when it does what it does, if no tool is at work.
    since_ms: i64,
}

impl Activity {
    /// Takes the next event.
    pub(crate) fn fold(&mut self, event: &Event, now_ms: i64) {
        match event {
            Event::Said { blocks, within, tokens, .. } => {
                self.moves(now_ms);
                // A sub-agent's are its own.
                if within.is_none() {
                    self.tokens = tokens.unwrap_or(self.tokens);
                }
                for block in blocks {
                    self.block(block, within.as_ref(), now_ms);
                }
            }
            Event::ToolResults(results) => {
                self.moves(now_ms);
                for result in results {
                    self.result(result);
                }
            }
            Event::ApiRetry { error, .. } => {
                self.moves(now_ms);
                self.retrying = Some(error.clone());
            }
            Event::Init(_) | Event::Echo { .. } | Event::Compacted => self.moves(now_ms),
            Event::Lifecycle { .. }
            | Event::Ask(_)
            | Event::OtherRequest { .. }
            | Event::AskCancelled { .. }
            | Event::ControlResponse(_)
            | Event::Result(_)
            | Event::RateLimit { .. }
            | Event::Other { .. }
            | Event::NotJson => {}
        }
    }

    fn moves(&mut self, now_ms: i64) {
        (self.spoke, self.since_ms, self.retrying) = (true, now_ms, None);
    }

    fn block(&mut self, block: &Block, within: Option<&String>, now_ms: i64) {
        let Block::ToolUse { id, name, object, list } = block else { return };
        if CALLS_MAX <= self.calls.len() {
            self.calls.remove(0);
        }
        let step = Step { tool: name.clone(), object: object.clone(), failed: false };
        if ["Task", "Agent"].contains(&name.as_str()) {
            self.agents.push_back((id.clone(), object.clone()));
            if CALLS_MAX < self.agents.len() {
                self.agents.pop_front();
            }
        }
        let (id, within, list) = (id.clone(), within.cloned(), list.clone());
        self.calls.push(Call { id, step, within, list, since_ms: now_ms });
    }

    fn result(&mut self, result: &ToolResult) {
        let Some(at) = self.calls.iter().position(|call| call.id == result.id) else { return };
        let call = self.calls.remove(at);
        // What a sub-agent had begun ended with it.
        self.calls.retain(|other| other.within.as_ref() != Some(&call.id));
        match call.list {
            Some(change) if !result.is_error => self.change(change, &result.text),
            // A list is shown as such, and is no step.
            Some(_) => {}
            None => {
                self.done = self.done.saturating_add(1);
                self.steps.push_back(Step { failed: result.is_error, ..call.step });
                if STEPS_MAX < self.steps.len() {
                    self.steps.pop_front();
                }
            }
        }
    }

    fn change(&mut self, change: ListChange, said: &str) {
        match change {
            ListChange::All(points) => {
                let numbered = points.into_iter().enumerate();
                self.list = numbered.map(|(n, point)| (n.to_string(), point)).collect();
            }
            ListChange::Add(text) => {
                // The id is in what the tool answers: `Task #1 created successfully: …`.
                let id = said.split_once('#').map_or("", |(_, rest)| rest);
                let id = id.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
                self.list.push((id.to_owned(), Point { text, state: PointState::Open }));
            }
            ListChange::Set { id, text, state } => {
                if let Some((_, point)) = self.list.iter_mut().find(|(known, _)| *known == id) {
                    point.text = text.unwrap_or_else(|| point.text.clone());
                    point.state = state.unwrap_or(point.state);
                }
            }
            ListChange::Drop(id) => self.list.retain(|(known, _)| *known != id),
        }
        self.list.truncate(POINTS_MAX);
    }

    /// What claude does now, and since when; `asks`: whether it waits for a person.
    pub(crate) fn doing(&self, asks: bool) -> (Doing, i64) {
        if asks {
            return (Doing::Asking, self.since_ms);
        }
        if let Some(why) = &self.retrying {
            return (Doing::Retrying { why: why.clone() }, self.since_ms);
        }
        // The innermost call is what is at work; what it is for is an agent's.
        let Some(call) = self.calls.last() else {
            let doing = if self.spoke { Doing::Thinking } else { Doing::Starting };
            return (doing, self.since_ms);
        };
        let begun = |id: &String| self.agents.iter().rfind(|(agent, _)| agent == id);
        let agent = call.within.as_ref().and_then(begun).map(|(_, what_for)| what_for.clone());
        let beside = |other: &&Call| other.within == call.within && other.id != call.id;
        let others = self.calls.iter().filter(beside).count();
        let others = u32::try_from(others).unwrap_or(u32::MAX);
        (Doing::Tool { step: call.step.clone(), agent, others }, call.since_ms)
    }

    /// How many steps are finished, and the last of them.
    pub(crate) fn steps(&self) -> (u32, impl Iterator<Item = &Step>) {
        (self.done, self.steps.iter())
    }

    /// What claude has on its list.
    pub(crate) fn list(&self) -> impl Iterator<Item = &Point> {
        self.list.iter().map(|(_, point)| point)
    }

    /// The tokens of the model's last message.
    pub(crate) fn tokens(&self) -> u64 {
        self.tokens
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn says(activity: &mut Activity, at_ms: i64, line: &serde_json::Value) {
        activity.fold(&Event::parse(line.to_string().as_bytes()), at_ms);
    }

    fn call(
        id: &str,
        name: &str,
        input: &serde_json::Value,
        within: Option<&str>,
    ) -> serde_json::Value {
        let usage = json!({"input_tokens": 10, "cache_read_input_tokens": 90, "output_tokens": 5});
        let content = json!([{"type": "tool_use", "id": id, "name": name, "input": input}]);
        json!({"type": "assistant", "parent_tool_use_id": within,
               "message": {"content": content, "usage": usage}})
    }

    fn result(id: &str, text: &str, is_error: bool) -> serde_json::Value {
        let content = json!([{"type": "tool_result", "tool_use_id": id, "content": text, "is_error": is_error}]);
        json!({"type": "user", "message": {"content": content}})
    }

    fn tool(activity: &Activity) -> (String, Option<String>, u32) {
        match activity.doing(false).0 {
            Doing::Tool { step, agent, others } => (step.tool + " " + &step.object, agent, others),
            other
            @ (Doing::Starting | Doing::Thinking | Doing::Asking | Doing::Retrying { .. }) => {
                panic!("{other:?}")
            }
        }
    }

    #[test]
    fn a_tool_is_at_work_until_its_result_and_is_then_a_step() {
        let mut activity = Activity::default();
        assert_eq!(activity.doing(false), (Doing::Starting, 0));
        says(&mut activity, 5, &call("a", "Bash", &json!({"command": "make"}), None));
        assert_eq!(tool(&activity), ("Bash make".into(), None, 0));
        assert_eq!((activity.doing(false).1, activity.tokens()), (5, 105));
        says(&mut activity, 9, &result("a", "no", true));
        assert_eq!(activity.doing(false), (Doing::Thinking, 9));
        let (done, steps) = activity.steps();
        let step = Step { tool: "Bash".into(), object: "make".into(), failed: true };
        assert_eq!((done, steps.cloned().collect::<Vec<_>>()), (1, vec![step]));
        assert_eq!(activity.doing(true).0, Doing::Asking);
    }

    #[test]
    fn a_sub_agent_is_named_by_what_it_is_for() {
        let mut activity = Activity::default();
        let task = json!({"description": "look around", "prompt": "do"});
        says(&mut activity, 1, &call("t", "Task", &task, None));
        assert_eq!(tool(&activity), ("Task look around".into(), None, 0));
        says(&mut activity, 2, &call("a", "Read", &json!({"file_path": "/x"}), Some("t")));
        says(&mut activity, 3, &call("b", "Read", &json!({"file_path": "/y"}), Some("t")));
        assert_eq!(tool(&activity), ("Read /y".into(), Some("look around".into()), 1));
        says(&mut activity, 4, &result("t", "done", false));
        assert_eq!(activity.doing(false).0, Doing::Thinking, "what it had begun ended with it");
        says(&mut activity, 5, &call("c", "Read", &json!({"file_path": "/z"}), Some("t")));
        let behind = ("Read /z".into(), Some("look around".into()), 0);
        assert_eq!(tool(&activity), behind, "it went on in the background");
    }

    #[test]
    fn only_the_last_steps_are_kept_by_name() {
        let mut activity = Activity::default();
        for n in 0..100 {
            let id = n.to_string();
            says(&mut activity, n, &call(&id, "Read", &json!({"file_path": id}), None));
            says(&mut activity, n, &result(&id, "", false));
        }
        let (done, steps) = activity.steps();
        assert_eq!((done, steps.count()), (100, STEPS_MAX));
    }

    #[test]
    fn the_list_is_what_either_kind_of_tool_made_it() {
        let mut activity = Activity::default();
        let list = |activity: &Activity| {
            activity.list().map(|it| (it.text.clone(), it.state)).collect::<Vec<_>>()
        };
        for (id, subject) in [("1", "one"), ("2", "two")] {
            let input = json!({"subject": subject, "description": "hm"});
            says(&mut activity, 1, &call(id, "TaskCreate", &input, None));
            let said = format!("Task #{id} created successfully: {subject}");
            says(&mut activity, 2, &result(id, &said, false));
        }
        let begin = json!({"taskId": "2", "status": "in_progress"});
        says(&mut activity, 3, &call("u", "TaskUpdate", &begin, None));
        says(&mut activity, 4, &result("u", "Updated task #2", false));
        let open = ("one".to_owned(), PointState::Open);
        assert_eq!(list(&activity), [open.clone(), ("two".to_owned(), PointState::Begun)]);
        let drop = json!({"taskId": "2", "status": "deleted"});
        says(&mut activity, 3, &call("d", "TaskUpdate", &drop, None));
        says(&mut activity, 4, &result("d", "", false));
        assert_eq!(list(&activity), [open]);
        assert_eq!(activity.steps().0, 0, "a list is no step");

        let todos =
            json!({"todos": [{"content": "write", "status": "completed", "activeForm": "w"}]});
        says(&mut activity, 5, &call("w", "TodoWrite", &todos, None));
        says(&mut activity, 6, &result("w", "no such tool", true));
        assert_eq!(list(&activity).len(), 1, "it was refused");
        says(&mut activity, 7, &call("x", "TodoWrite", &todos, None));
        says(&mut activity, 8, &result("x", "ok", false));
        assert_eq!(list(&activity), [("write".to_owned(), PointState::Done)]);
    }

    #[test]
    fn the_api_is_asked_again_until_claude_speaks() {
        let mut activity = Activity::default();
        let retry = json!({"type": "system", "subtype": "api_retry", "error": "overloaded"});
        says(&mut activity, 1, &retry);
        assert_eq!(activity.doing(false).0, Doing::Retrying { why: "overloaded".into() });
        says(&mut activity, 2, &json!({"type": "assistant", "message": {"content": "hi"}}));
        assert_eq!(activity.doing(false), (Doing::Thinking, 2));
    }

    #[test]
    fn no_more_calls_than_so_many_are_kept() {
        let mut activity = Activity::default();
        for n in 0..1000 {
            says(&mut activity, n, &call(&n.to_string(), "Read", &json!({}), None));
        }
        assert_eq!(activity.calls.len(), CALLS_MAX);
    }
}
