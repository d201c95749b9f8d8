//! One call of a tool within a turn: may it run, what does it give, and what was said meanwhile.

use std::time::Instant;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::argv::Asking;
use crate::claude::{Claude, Stop, Trouble};
use crate::permission::{Decision, Rules};
use crate::tools::{self, Ran, Started};
use crate::turn::{POLL, Turn};
use crate::{events, output};

/// What claude is told when a person stops a tool.
pub(crate) const REJECTED: &str = "The user doesn't want to proceed with this tool use. The tool use was rejected (eg. if it was a file edit, the new_string was NOT written to the file). STOP what you are doing and wait for the user to tell you how to proceed.";

/// What a tool gave, and who let it.
pub(crate) struct Judged {
    ran: Ran,
    meta: Option<Value>,
}

/// What the host says about a tool.
enum Answer {
    /// It runs, with this input.
    Allow(Value),
    /// It does not run.
    Deny {
        /// What claude is told.
        message: String,
        /// Who denied it.
        source: &'static str,
    },
    /// It does not run, and the turn ends.
    Interrupt,
}

impl Claude {
    /// Asks whether a tool may run, and runs it.
    pub(crate) fn tool(
        &mut self,
        turn: &mut Turn,
        id: &str,
        name: &str,
        input: &Value,
    ) -> Result<Judged, Stop> {
        let rules = Rules {
            allowed: &self.args.allowed,
            disallowed: &self.args.disallowed,
            mode: &self.args.mode,
            cwd: &self.around.cwd,
        };
        let mut input = input.clone();
        let source = match rules.decide(name, &input) {
            Decision::NoTool(why) => {
                let ran = Ran::error(format!("<tool_use_error>Error: {why}</tool_use_error>"));
                return Ok(Judged { ran, meta: None });
            }
            Decision::Deny(why) => {
                turn.deny(id, name, &input);
                let decision = json!({"decision": "reject", "source": "config"});
                let meta = json!({"non_execution_kind": "permission-rule", "permission_decision": decision});
                return Ok(Judged { ran: Ran::error(why), meta: Some(meta) });
            }
            Decision::Allow => "config",
            Decision::Ask(question) => match self.ask(turn, id, name, &input, &question)? {
                Answer::Allow(updated) => {
                    input = updated;
                    "user_temporary"
                }
                Answer::Deny { message, source } => {
                    turn.deny(id, name, &input);
                    let decision = json!({"decision": "reject", "source": source});
                    let meta = json!({"non_execution_kind": "permission-rule", "permission_decision": decision});
                    return Ok(Judged { ran: Ran::error(message), meta: Some(meta) });
                }
                Answer::Interrupt => {
                    turn.deny(id, name, &input);
                    return Err(Stop::Interrupted);
                }
            },
        };
        self.ledger.note("tool", json!({"name": name, "input": input}))?;
        let ran = match tools::start(name, &input, &self.around.cwd) {
            Started::Done(ran) => ran,
            Started::Command(mut running) => loop {
                if let Some(ran) = running.poll() {
                    break ran;
                }
                if let Err(stop) = self.listen_until(Instant::now() + POLL) {
                    running.kill();
                    return Err(stop);
                }
            },
        };
        let meta = json!({"permission_decision": {"decision": "accept", "source": source}});
        Ok(Judged { ran, meta: Some(meta) })
    }

    /// Asks the host, and waits for its answer.
    fn ask(
        &mut self,
        turn: &mut Turn,
        id: &str,
        name: &str,
        input: &Value,
        question: &Value,
    ) -> Result<Answer, Stop> {
        if self.args.asking == Asking::Nobody {
            let message = format!(
                "Claude requested permissions to use {name}, but you haven't granted it yet."
            );
            return Ok(Answer::Deny { message, source: "user_reject" });
        }
        let request = Uuid::new_v4().to_string();
        let line = events::can_use_tool(&request, name, id, input, question);
        output::line(&line)?;
        self.open = Some(line);
        let answer = loop {
            if let Some(answer) = self.answers.remove(&request) {
                break read_answer(&answer, input);
            }
            if self.input.ended() {
                let message = "Tool permission request failed: AbortError: Tool permission stream closed before response received";
                break Answer::Deny { message: message.to_owned(), source: "config" };
            }
            if let Err(stop) = self.listen_until(Instant::now() + POLL) {
                self.open = None;
                turn.deny(id, name, input);
                return Err(stop);
            }
        };
        self.open = None;
        Ok(answer)
    }

    pub(crate) fn tool_result(
        &mut self,
        turn: &mut Turn,
        id: &str,
        judged: Judged,
    ) -> Result<(), Trouble> {
        let Judged { ran, meta } = judged;
        let mut block = json!({"type": "tool_result", "content": ran.content, "tool_use_id": id});
        if let Some(is_error) = ran.is_error {
            block["is_error"] = json!(is_error);
        }
        let mut more = json!({"tool_use_result": ran.detail});
        if let Some(mut meta) = meta {
            meta["id"] = json!(id);
            more["tool_result_meta"] = json!([meta]);
        }
        self.user(&json!([block]), &more)?;
        turn.tool = None;
        turn.conversation.tools_done += 1;
        turn.conversation.last_result = Some(ran.content);
        Ok(())
    }

    /// What the person said while a tool was at work joins the turn.
    pub(crate) fn take_steers(&mut self, turn: &mut Turn) -> Result<(), Trouble> {
        while let Some(line) = self.queue.pop_front() {
            let uuid = line.uuid.clone().unwrap_or_default();
            self.note_prompt(&line, true, false)?;
            self.echo(&uuid, &line.message)?;
            output::line(&events::lifecycle(self.session.id, &uuid, "started"))?;
            self.session.write("user", &uuid, &line.message)?;
            turn.joined.push(uuid);
            self.earlier.push(line.text.trim_end().to_owned());
            turn.conversation.steers.push(line.text.trim().to_owned());
        }
        Ok(())
    }
}

fn read_answer(response: &Value, input: &Value) -> Answer {
    if let Some(error) = response["error"].as_str() {
        let message = format!("Tool permission request failed: {error}");
        return Answer::Deny { message, source: "config" };
    }
    let answer = &response["response"];
    match answer["behavior"].as_str() {
        Some("allow") => {
            let updated = &answer["updatedInput"];
            Answer::Allow(if updated.is_object() { updated.clone() } else { input.clone() })
        }
        _ if answer["interrupt"] == true => Answer::Interrupt,
        _ => {
            let message = answer["message"].as_str().unwrap_or(REJECTED).to_owned();
            Answer::Deny { message, source: "user_reject" }
        }
    }
}
