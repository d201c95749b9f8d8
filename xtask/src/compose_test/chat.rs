//! A person at the page of the simulated Discord, and the gate of the simulated Anthropic.
//!
//! It asks the pages again and again until something stands there, and never longer than it says.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::engine::until;
use super::http::{self, Request};

/// The person, as docker-compose.yml names them.
const PERSON: &str = "you";
/// How long an answer may take: in the middle of it everything is killed.
const ANSWER_WITHIN: Duration = Duration::from_secs(180);

/// The page.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chat {
    port: u16,
}

impl Chat {
    /// The page at a port of loopback.
    pub(super) fn at(port: u16) -> Self {
        Self { port }
    }

    /// Writes into the channel of this name, or into the thread of this number.
    ///
    /// # Errors
    ///
    /// When the page refuses.
    pub(super) fn say(self, place: &str, text: &str) -> Result<String> {
        let state = http::json(self.port, "/sim/state", Request::Get)?;
        let user = id_of(&state["users"], |it| it["name"] == PERSON);
        let channel = id_of(&state["channels"], |it| it["name"] == place || it["id"] == place);
        let said = json!({
            "user": user.with_context(|| format!("nobody is called {PERSON}"))?,
            "channel": channel.with_context(|| format!("there is no channel {place}"))?,
            "text": text,
        });
        let answer = http::json(self.port, "/sim/say", Request::Json(&said))?;
        answer["id"].as_str().map(str::to_owned).context("the page gives the message no number")
    }

    /// Waits until the bot has said this in the thread of a message, and gives the thread.
    ///
    /// # Errors
    ///
    /// When it does not come in time.
    pub(super) fn answer(self, message: &str, text: &str) -> Result<String> {
        until(ANSWER_WITHIN, &format!("the answer {text:?}"), || {
            // A thread has the number of the message that it was started from.
            let said = self.said_by_bot(message).unwrap_or_default();
            Ok(said.iter().any(|it| it.contains(text)).then(|| message.to_owned()))
        })
    }

    /// All that the bot has said in a thread.
    ///
    /// # Errors
    ///
    /// When there is no such thread.
    pub(super) fn said_by_bot(self, thread: &str) -> Result<Vec<String>> {
        let all = http::json(self.port, &format!("/sim/messages/{thread}"), Request::Get)?;
        let all = all.as_array().context("the page gives no list")?;
        let by_bot = all.iter().filter(|it| it["bot"] == true && it["system"] == false);
        Ok(by_bot.filter_map(|it| Some(it["content"].as_str()?.to_owned())).collect())
    }
}

fn id_of(list: &Value, is: impl Fn(&&Value) -> bool) -> Option<String> {
    Some(list.as_array()?.iter().find(is)?["id"].as_str()?.to_owned())
}

/// The simulated Anthropic.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gate {
    port: u16,
}

impl Gate {
    /// The simulator at a port of loopback.
    pub(super) fn at(port: u16) -> Self {
        Self { port }
    }

    /// Waits until claude asks and is held.
    ///
    /// # Errors
    ///
    /// When it does not come in time.
    pub(super) fn reached(self) -> Result<()> {
        until(ANSWER_WITHIN, "claude's question to its model", || {
            let log = http::json(self.port, "/_sim/requests", Request::Get)?;
            // It is held in the middle of its answer, which has begun then.
            let asked = |it: &Value| it["kind"] == "turn";
            Ok(log.as_array().is_some_and(|all| all.iter().any(asked)).then_some(()))
        })
    }

    /// Lets claude go on.
    ///
    /// # Errors
    ///
    /// When the simulator is not there.
    pub(super) fn open(self, name: &str) -> Result<()> {
        let path = format!("/_sim/release/{name}");
        http::ask(self.port, &path, Request::Json(&Value::Null)).map(drop)
    }
}
