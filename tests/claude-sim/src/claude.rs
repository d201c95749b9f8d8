//! One process: it listens, answers the host, and does one turn after another.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::time::Instant;

use anthropic_sim::conversation::Usage;
use serde_json::{Value, json};
use thiserror::Error;
use uuid::Uuid;

use crate::argv::{Args, SessionArg};
use crate::input::{Input, Line, Next, Said};
use crate::ledger::Ledger;
use crate::session::{History, Session, SessionError};
use crate::{clock, events, output};

/// How many prompts may wait; a host that sends more has lost its way.
const QUEUE_MAX: usize = 1_000;

/// How often the real one asks the API again, unless `CLAUDE_CODE_MAX_RETRIES` says otherwise.
const RETRIES: u32 = 10;

/// Why a process ends before its input does.
#[derive(Debug, Error)]
pub(crate) enum Trouble {
    #[error("Error parsing streaming input line (type=unknown, {0} chars): SyntaxError")]
    Broken(usize),
    #[error("claude-sim: more than {QUEUE_MAX} prompts wait")]
    Flooded,
    #[error("{0}")]
    Session(#[from] SessionError),
    #[error("claude-sim: {0}")]
    Io(#[from] std::io::Error),
}

/// Why a turn does not go on.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The host interrupted it.
    Interrupted,
    /// The script says so: this code.
    Exit(u8),
    /// The process cannot go on.
    Trouble(Trouble),
}

impl<E: Into<Trouble>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Trouble(error.into())
    }
}

/// What the environment says.
#[derive(Debug)]
pub(crate) struct Surroundings {
    pub(crate) cwd: PathBuf,
    pub(crate) gates: Option<PathBuf>,
    pub(crate) retries: u32,
    pub(crate) logged_out: bool,
    pub(crate) api: Option<String>,
    config: PathBuf,
    ledger: Option<PathBuf>,
}

impl Surroundings {
    fn read() -> std::io::Result<Self> {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let home = || PathBuf::from(set("HOME").unwrap_or_else(|| "/".into())).join(".claude");
        let text = |name: &str| set(name).and_then(|value| value.into_string().ok());
        Ok(Self {
            cwd: std::env::current_dir()?,
            gates: set("CLAUDE_SIM_DIR").map(PathBuf::from),
            retries: text("CLAUDE_CODE_MAX_RETRIES")
                .and_then(|max| max.parse().ok())
                .unwrap_or(RETRIES),
            logged_out: set("CLAUDE_SIM_LOGGED_OUT").is_some(),
            api: text("ANTHROPIC_BASE_URL"),
            config: set("CLAUDE_CONFIG_DIR").map_or_else(home, PathBuf::from),
            ledger: set("CLAUDE_SIM_LEDGER").map(PathBuf::from),
        })
    }
}

/// The process.
pub(crate) struct Claude {
    pub(crate) args: Args,
    pub(crate) around: Surroundings,
    pub(crate) session: Session,
    pub(crate) input: Input,
    pub(crate) ledger: Ledger,
    /// Prompts that wait for their turn.
    pub(crate) queue: VecDeque<Line>,
    /// Answers of the host to requests of ours, by request.
    pub(crate) answers: HashMap<String, Value>,
    /// The request that is open.
    pub(crate) open: Option<Value>,
    /// What the person said in this session.
    pub(crate) earlier: Vec<String>,
    /// How many tools were called in this session.
    pub(crate) tools: usize,
    /// What this session has cost.
    pub(crate) cost: f64,
    /// What it had cost when this process began.
    pub(crate) cost_before: f64,
    /// How many results this process has printed.
    pub(crate) results: u64,
    /// True if the last of them was an error.
    pub(crate) failed: bool,
    settled: HashSet<String>,
    seen: HashSet<String>,
    phase: Phase,
    /// True once the host has introduced itself.
    initialized: bool,
}

/// What the process is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It waits for a prompt.
    Idle,
    /// It is in a turn.
    Busy,
    /// It is in a turn that the host has stopped.
    Interrupted,
}

/// Runs to the end of the input; the code to end with. `started_ns`: when the process began.
pub(crate) fn run(args: Args, words: &[String], started_ns: i128) -> Result<u8, Trouble> {
    let around = Surroundings::read()?;
    let (session, history, resumed) = match &args.session {
        SessionArg::New(id) => {
            let id = id.unwrap_or_else(Uuid::new_v4);
            (Session::create(&around.config, &around.cwd, id)?, History::default(), false)
        }
        SessionArg::Resume(id) => match Session::resume(&around.config, &around.cwd, *id) {
            Ok((session, history)) => (session, history, true),
            Err(error) => {
                output::line(&events::no_session(*id, &error.to_string()))?;
                return Err(error.into());
            }
        },
    };
    let mut ledger = Ledger::open(around.ledger.as_deref(), session.id)?;
    let mut names: Vec<String> =
        std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned()).collect();
    names.sort();
    ledger.note(
        "begin",
        json!({
            "argv": words, "env": names, "cwd": around.cwd, "resumed": resumed,
            "started_ns": i64::try_from(started_ns).unwrap_or(i64::MAX),
        }),
    )?;
    let mut claude = Claude {
        args,
        around,
        session,
        input: Input::listen()?,
        ledger,
        queue: VecDeque::new(),
        answers: HashMap::new(),
        open: None,
        earlier: history.earlier,
        tools: history.tools,
        cost: history.cost,
        cost_before: history.cost,
        results: 0,
        failed: false,
        settled: history.settled,
        seen: HashSet::new(),
        phase: Phase::Idle,
        initialized: false,
    };
    let code = claude.live()?;
    claude.ledger.note("end", json!({"code": code}))?;
    Ok(code)
}

impl Claude {
    /// Turn after turn, until there is nothing more to hear.
    fn live(&mut self) -> Result<u8, Trouble> {
        loop {
            if let Some(line) = self.queue.pop_front() {
                self.phase = Phase::Busy;
                let ended = self.turn(line);
                self.phase = Phase::Idle;
                match ended {
                    Ok(()) | Err(Stop::Interrupted) => {}
                    Err(Stop::Exit(code)) => return Ok(code),
                    Err(Stop::Trouble(trouble)) => return Err(trouble),
                }
                continue;
            }
            match self.input.next() {
                Next::Said(said) => self.hear(said)?,
                Next::Nothing => {}
                Next::End => return Ok(u8::from(self.failed)),
            }
        }
    }

    /// Listens until `deadline`, or until something was heard.
    pub(crate) fn listen_until(&mut self, deadline: Instant) -> Result<(), Stop> {
        match self.input.next_until(deadline) {
            Next::Said(said) => self.hear(said)?,
            Next::Nothing | Next::End => {}
        }
        self.going_on()
    }

    /// Hears what was already said.
    pub(crate) fn listen(&mut self) -> Result<(), Stop> {
        while let Next::Said(said) = self.input.heard() {
            self.hear(said)?;
        }
        self.going_on()
    }

    fn going_on(&self) -> Result<(), Stop> {
        match self.phase {
            Phase::Interrupted => Err(Stop::Interrupted),
            Phase::Idle | Phase::Busy => Ok(()),
        }
    }

    fn hear(&mut self, said: Said) -> Result<(), Trouble> {
        match said {
            Said::User(line) => self.arrive(line)?,
            Said::Request { id, request } => self.answer(&id, &request)?,
            Said::Response(line) => {
                if self.args.replay {
                    output::line(&line)?;
                }
                if let Some(id) = line["response"]["request_id"].as_str() {
                    self.answers.insert(id.to_owned(), line["response"].clone());
                }
            }
            Said::Unknown => {}
            Said::Broken(length) => return Err(Trouble::Broken(length)),
        }
        Ok(())
    }

    /// A prompt comes. One that is known is shown again and not worked on.
    fn arrive(&mut self, mut line: Line) -> Result<(), Trouble> {
        let uuid = line.uuid.get_or_insert_with(|| Uuid::new_v4().to_string()).clone();
        let settled = self.settled.contains(&uuid);
        if settled || !self.seen.insert(uuid.clone()) {
            self.note_prompt(&line, false, true)?;
            if self.args.replay {
                output::line(&events::echo(self.session.id, &uuid, &line.message, None))?;
            }
            if settled {
                output::line(&events::lifecycle(self.session.id, &uuid, "completed"))?;
            }
            return Ok(());
        }
        if self.queue.len() == QUEUE_MAX {
            return Err(Trouble::Flooded);
        }
        output::line(&events::lifecycle(self.session.id, &uuid, "queued"))?;
        self.queue.push_back(line);
        Ok(())
    }

    /// Answers a request of the host.
    fn answer(&mut self, id: &str, request: &Value) -> Result<(), Trouble> {
        let line = match request["subtype"].as_str().unwrap_or_default() {
            "initialize" => {
                let state = match (&self.open, self.phase) {
                    (Some(_), _) => "requires_action",
                    (None, Phase::Busy | Phase::Interrupted) => "running",
                    (None, Phase::Idle) => "idle",
                };
                let response = json!({
                    "commands": [], "agents": [], "output_style": "default", "models": [], "account": {},
                    "pid": std::process::id(), "claude_code_version": crate::VERSION,
                    "current_permission_mode": self.args.mode, "session_state": state,
                });
                let open: Vec<&Value> = self.open.iter().collect();
                let more = json!({"pending_permission_requests": open, "pending_user_dialog_requests": []});
                events::response(id, &response, &more)
            }
            "interrupt" => {
                if self.phase == Phase::Busy {
                    self.phase = Phase::Interrupted;
                }
                if let Some(open) = &self.open {
                    let open = open["request_id"].as_str().unwrap_or_default();
                    output::line(&events::cancel(open))?;
                }
                let queued: Vec<&String> =
                    self.queue.iter().filter_map(|line| line.uuid.as_ref()).collect();
                events::response(id, &json!({"still_queued": queued}), &json!({}))
            }
            "set_permission_mode" => {
                request["mode"].as_str().unwrap_or("default").clone_into(&mut self.args.mode);
                events::response(id, &json!({"mode": self.args.mode}), &json!({}))
            }
            "set_model" => {
                if let Some(model) = request["model"].as_str() {
                    model.clone_into(&mut self.args.model);
                }
                events::response(id, &json!({}), &json!({}))
            }
            other => {
                events::response_error(id, &format!("Unsupported control request subtype: {other}"))
            }
        };
        output::line(&line)?;
        if request["subtype"] == "initialize" && std::mem::replace(&mut self.initialized, true) {
            output::line(&events::background_tasks(self.session.id))?;
        }
        Ok(())
    }

    /// Writes a prompt into the ledger.
    pub(crate) fn note_prompt(
        &mut self,
        line: &Line,
        steer: bool,
        swallowed: bool,
    ) -> Result<(), Trouble> {
        let fields =
            json!({"uuid": line.uuid, "prompt": line.text, "steer": steer, "swallowed": swallowed});
        self.ledger.note("prompt", fields)?;
        Ok(())
    }

    /// Shows a prompt that is now taken.
    pub(crate) fn echo(&self, uuid: &str, message: &Value) -> Result<(), Trouble> {
        if self.args.replay {
            output::line(&events::echo(self.session.id, uuid, message, Some(&clock::timestamp())))?;
        }
        Ok(())
    }

    /// Adds to what the session costs.
    pub(crate) fn charge(&mut self, usage: Usage) -> Result<(), Trouble> {
        self.cost += events::cost(usage);
        self.session.write_cost(self.cost)?;
        Ok(())
    }
}
