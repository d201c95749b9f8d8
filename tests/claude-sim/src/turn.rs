//! One turn: from a prompt that is taken to its `result`.
//!
//! What to do is decided by `anthropic_sim::conversation::plan`, as in the API's simulator; here
//! it is done and told, in the order in which the real one tells it.

use std::time::{Duration, Instant};

use anthropic_sim::conversation::{self, Act, Conversation, Usage};
use anthropic_sim::script;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::call::REJECTED;
use crate::claude::{Claude, Stop, Trouble};
use crate::events::{self, Ending, Summary};
use crate::input::Line;
use crate::{fault, output};

/// How often a gate, a command or an answer is looked for.
pub(crate) const POLL: Duration = Duration::from_millis(5);

/// A turn at work.
pub(crate) struct Turn {
    pub(crate) uuid: String,
    pub(crate) message: Value,
    pub(crate) started: Instant,
    pub(crate) conversation: Conversation,
    /// What one request of this turn costs.
    pub(crate) usage: Usage,
    pub(crate) total: Usage,
    pub(crate) rounds: u64,
    /// The id of the message that is being answered.
    pub(crate) api_message: String,
    pub(crate) blocks: usize,
    pub(crate) echoed: bool,
    pub(crate) told: bool,
    pub(crate) last_text: String,
    pub(crate) denials: Vec<Value>,
    /// The tool that is asked for or at work.
    pub(crate) tool: Option<String>,
    /// Prompts that joined this turn.
    pub(crate) joined: Vec<String>,
}

impl Turn {
    pub(crate) fn deny(&mut self, id: &str, name: &str, input: &Value) {
        self.denials.push(json!({"tool_name": name, "tool_use_id": id, "tool_input": input}));
    }
}

/// How one request to the API ended.
enum Round {
    /// With a tool; its result is in the conversation.
    Tool,
    /// With the turn.
    End(Ending),
}

impl Claude {
    /// Does one turn.
    pub(crate) fn turn(&mut self, line: Line) -> Result<(), Stop> {
        let uuid = line.uuid.clone().unwrap_or_default();
        output::line(&events::lifecycle(self.session.id, &uuid, "started"))?;
        self.note_prompt(&line, false, false)?;
        self.session.write("user", &uuid, &line.message)?;
        let cwd = self.around.cwd.to_string_lossy().into_owned();
        output::line(&events::init(self.session.id, &self.args, &cwd, &uuid))?;
        let earlier = self.earlier.clone();
        self.earlier.push(line.text.trim_end().to_owned());
        let conversation = Conversation { prompt: line.text, earlier, ..Conversation::default() };
        let mut turn = Turn {
            uuid,
            message: line.message,
            started: Instant::now(),
            conversation,
            usage: Usage::default(),
            total: Usage::default(),
            rounds: 0,
            api_message: String::new(),
            blocks: 0,
            echoed: false,
            told: false,
            last_text: String::new(),
            denials: Vec::new(),
            tool: None,
            joined: Vec::new(),
        };
        let ending = match self.work(&mut turn) {
            Ok(ending) => ending,
            Err(Stop::Interrupted) => self.interrupted_turn(&mut turn)?,
            Err(stop @ (Stop::Exit(_) | Stop::Trouble(_))) => return Err(stop),
        };
        self.finish(&mut turn, ending)?;
        Ok(())
    }

    fn work(&mut self, turn: &mut Turn) -> Result<Ending, Stop> {
        if self.around.logged_out {
            let text = "Not logged in · Please run /login";
            turn.rounds = 1;
            let more = json!({"error": "authentication_failed", "is_api_error_message": true});
            return Ok(self.api_error(turn, text, None, &more)?);
        }
        loop {
            self.listen()?;
            let acts = conversation::plan(&turn.conversation);
            turn.usage = conversation::usage(&turn.conversation, &acts);
            turn.rounds += 1;
            turn.api_message = format!("msg_sim_{}", Uuid::new_v4().simple());
            turn.blocks = 0;
            if self.args.partial {
                output::line(&events::requesting(self.session.id, &turn.uuid))?;
            }
            match self.round(turn, acts)? {
                Round::Tool => {}
                Round::End(ending) => return Ok(ending),
            }
        }
    }

    /// One request to the API, and the tool it ends with.
    fn round(&mut self, turn: &mut Turn, acts: Vec<Act>) -> Result<Round, Stop> {
        for act in acts {
            match act {
                Act::Text(text) => {
                    self.block(turn, &json!({"type": "text", "text": text}))?;
                    turn.last_text = text;
                }
                Act::Thinking(text) => {
                    let tokens = text.chars().count().div_ceil(4);
                    output::line(&events::thinking_tokens(self.session.id, tokens))?;
                    let signed = json!({"type": "thinking", "thinking": text, "signature": "c2lt"});
                    self.block(turn, &signed)?;
                }
                Act::Tool { name, input } => {
                    self.tools += 1;
                    let id = format!("toolu_sim_{}", self.tools);
                    turn.tool = Some(id.clone());
                    self.block(
                        turn,
                        &json!({"type": "tool_use", "id": id, "name": name, "input": input}),
                    )?;
                    self.stream_end(turn, "tool_use")?;
                    if let Some(budget) = self.over_budget(turn) {
                        return Ok(Round::End(Ending::OverBudget { budget, in_tool: true }));
                    }
                    let ran = self.tool(turn, &id, &name, &input)?;
                    self.tool_result(turn, &id, ran)?;
                    self.take_steers(turn)?;
                    return Ok(Round::Tool);
                }
                Act::Delay(time) => {
                    let deadline = Instant::now() + time;
                    while Instant::now() < deadline {
                        self.listen_until(deadline)?;
                    }
                }
                Act::Wait(gate) => self.wait(&gate)?,
                Act::Fail { status, message } => {
                    return Ok(Round::End(self.fail(turn, status, &message)?));
                }
                Act::Fault(fault) => fault::commit(&fault)?,
            }
        }
        self.stream_end(turn, "end_turn")?;
        if let Some(budget) = self.over_budget(turn) {
            return Ok(Round::End(Ending::OverBudget { budget, in_tool: false }));
        }
        Ok(Round::End(Ending::Answered(turn.last_text.clone())))
    }

    /// What this process may cost, if it has cost as much: what the session cost before does not count.
    fn over_budget(&self, turn: &Turn) -> Option<f64> {
        let own = self.cost - self.cost_before + events::cost(turn.total);
        self.args.budget.filter(|budget| *budget <= own)
    }

    /// Tells one block of an answer; before the first one the prompt comes back.
    fn block(&mut self, turn: &mut Turn, block: &Value) -> Result<(), Trouble> {
        if turn.blocks == 0 {
            turn.total.input_tokens += turn.usage.input_tokens;
            turn.total.output_tokens += turn.usage.output_tokens;
        }
        self.begin_answer(turn)?;
        let message = events::message(&turn.api_message, &self.args.model, block, turn.usage);
        if self.args.partial {
            if turn.blocks == 0 {
                let mut start = message.clone();
                start["content"] = json!([]);
                self.stream(turn, &json!({"type": "message_start", "message": start}))?;
            }
            let index = turn.blocks;
            let delta = match block["type"].as_str() {
                Some("tool_use") => {
                    json!({"type": "input_json_delta", "partial_json": block["input"].to_string()})
                }
                Some("thinking") => {
                    json!({"type": "thinking_delta", "thinking": block["thinking"]})
                }
                _ => json!({"type": "text_delta", "text": block["text"]}),
            };
            self.stream(turn, &json!({"type": "content_block_start", "index": index, "content_block": {"type": block["type"]}}))?;
            self.stream(
                turn,
                &json!({"type": "content_block_delta", "index": index, "delta": delta}),
            )?;
        }
        self.assistant(turn, &message, &json!({}))?;
        if self.args.partial {
            self.stream(turn, &json!({"type": "content_block_stop", "index": turn.blocks}))?;
        }
        turn.blocks += 1;
        Ok(())
    }

    fn assistant(&mut self, turn: &mut Turn, message: &Value, more: &Value) -> Result<(), Trouble> {
        let uuid = Uuid::new_v4().to_string();
        let first = (!turn.told).then_some(turn.uuid.as_str());
        output::line(&events::assistant(self.session.id, message, &uuid, first, more))?;
        turn.told = true;
        self.session.write("assistant", &uuid, message)?;
        Ok(())
    }

    fn begin_answer(&self, turn: &mut Turn) -> Result<(), Trouble> {
        if !turn.echoed {
            self.echo(&turn.uuid, &turn.message)?;
            turn.echoed = true;
        }
        Ok(())
    }

    fn stream(&self, turn: &Turn, event: &Value) -> Result<(), Trouble> {
        output::line(&events::stream_event(self.session.id, &turn.api_message, event))?;
        Ok(())
    }

    fn stream_end(&self, turn: &Turn, reason: &str) -> Result<(), Trouble> {
        if self.args.partial {
            let usage = json!({"output_tokens": turn.usage.output_tokens});
            let delta = json!({"stop_reason": reason, "stop_sequence": null});
            self.stream(turn, &json!({"type": "message_delta", "delta": delta, "usage": usage}))?;
            self.stream(turn, &json!({"type": "message_stop"}))?;
        }
        Ok(())
    }

    /// Waits for the file of a gate.
    fn wait(&mut self, gate: &str) -> Result<(), Stop> {
        let Some(gates) = &self.around.gates else {
            let missing = std::io::Error::other(format!("[[wait {gate}]] needs CLAUDE_SIM_DIR"));
            return Err(missing.into());
        };
        let file = gates.join(gate);
        if !file.exists() {
            self.ledger.note("wait", json!({"name": gate}))?;
        }
        while !file.exists() {
            self.listen_until(Instant::now() + POLL)?;
        }
        Ok(())
    }

    /// Prints and keeps a message that claude makes up in the person's name.
    pub(crate) fn user(&mut self, content: &Value, more: &Value) -> Result<(), Trouble> {
        let uuid = Uuid::new_v4().to_string();
        let line = events::user(self.session.id, content, &uuid, more);
        output::line(&line)?;
        self.session.write("user", &uuid, &line["message"])?;
        Ok(())
    }

    /// The API fails, at once or in the middle of an answer.
    fn fail(&mut self, turn: &mut Turn, status: u16, message: &str) -> Result<Ending, Trouble> {
        let more = |status: u16| {
            json!({
                "error": events::error_name(status), "is_api_error_message": true, "api_error_status": status,
                "api_error_type": script::error_type(status),
            })
        };
        if turn.blocks > 0 {
            let text =
                "API Error: Server error mid-response. The response above may be incomplete.";
            return self.api_error(turn, text, Some(status), &more(status));
        }
        if status == 401 || status == 429 || status >= 500 {
            for attempt in 1..=self.around.retries {
                output::line(&events::api_retry(
                    self.session.id,
                    attempt,
                    self.around.retries,
                    status,
                ))?;
            }
        }
        let gateway = self.around.api.as_deref().unwrap_or("https://api.anthropic.com");
        let gateway = gateway.split("://").last().unwrap_or(gateway).trim_end_matches('/');
        let text = match status {
            401 if message.contains("x-api-key") => {
                "Invalid API key · Fix external API key".to_owned()
            }
            401 | 403 => format!("Failed to authenticate. API Error: {status} {message}"),
            429 => format!("API Error: Request rejected (429) · {message}"),
            status if status >= 500 => format!(
                "API Error: {status} {message}. This is a server-side issue, usually temporary — try again in a moment. If it persists, check your inference gateway ({gateway})."
            ),
            _ => format!("API Error: {status} {message}"),
        };
        self.api_error(turn, &text, Some(status), &more(status))
    }

    fn api_error(
        &mut self,
        turn: &mut Turn,
        text: &str,
        status: Option<u16>,
        more: &Value,
    ) -> Result<Ending, Trouble> {
        self.begin_answer(turn)?;
        self.assistant(turn, &events::synthetic(text), more)?;
        Ok(Ending::ApiError(text.to_owned(), status))
    }

    /// Tells that the person stopped it.
    fn interrupted_turn(&mut self, turn: &mut Turn) -> Result<Ending, Trouble> {
        self.begin_answer(turn)?;
        let in_tool = turn.tool.take();
        let said = if let Some(id) = &in_tool {
            let block = json!({"type": "tool_result", "content": REJECTED, "is_error": true, "tool_use_id": id});
            let meta = json!({"id": id, "non_execution_kind": "user-rejected"});
            self.user(
                &json!([block]),
                &json!({"tool_use_result": "User rejected tool use", "tool_result_meta": [meta]}),
            )?;
            "[Request interrupted by user for tool use]"
        } else {
            "[Request interrupted by user]"
        };
        self.user(&json!([{"type": "text", "text": said}]), &json!({}))?;
        Ok(Ending::Interrupted { in_tool: in_tool.is_some() })
    }

    fn finish(&mut self, turn: &mut Turn, ending: Ending) -> Result<(), Trouble> {
        if (ending == Ending::Interrupted { in_tool: false }) {
            // The stream was cut before it told what it cost: only what was asked is paid.
            self.charge(Usage { output_tokens: 0, ..turn.total })?;
            turn.total = Usage::default();
        } else {
            self.charge(turn.total)?;
        }
        for joined in &turn.joined {
            output::line(&events::lifecycle(self.session.id, joined, "completed"))?;
        }
        self.failed = !matches!(ending, Ending::Answered(_));
        let result = events::result(&Summary {
            session: self.session.id,
            prompt: turn.uuid.clone(),
            model: self.args.model.clone(),
            ending,
            usage: turn.total,
            rounds: turn.rounds,
            denials: turn.denials.clone(),
            duration_ms: u64::try_from(turn.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            total_cost: self.cost,
            index: self.results,
        });
        self.results += 1;
        let said = json!({
            "is_error": self.failed,
            "result": result["result"],
            "total_cost_usd": result["total_cost_usd"],
            "usage": result["usage"],
        });
        self.ledger.note("result", said)?;
        output::line(&result)?;
        let state = if self.failed { "cancelled" } else { "completed" };
        output::line(&events::lifecycle(self.session.id, &turn.uuid, state))?;
        Ok(())
    }
}
