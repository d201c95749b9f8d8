//! A bot in thirty lines: requests to `discord.com`, and a websocket that is read with a deadline.

use std::time::Duration;

use discord_sim::{BOT_ID, ChannelId, Discord, InteractionId, MessageId, Options, Sim, UserId};
use futures_util::{SinkExt, StreamExt};
use reqwest_serenity::{Certificate, Client, Method, Response};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// Longer than anything on loopback takes, even on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Longer than a test takes: the three seconds of Discord could go by on a busy machine.
pub(crate) const INTERACTION_WINDOW: Duration = Duration::from_secs(600);

/// Everything that a session can ask for without a privilege, and the text of messages.
pub(crate) const INTENTS: u64 = 1 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 15;

/// A simulator with a channel and a person, without rate limits.
pub(crate) struct Place {
    pub(crate) sim: Sim,
    pub(crate) discord: Discord,
    pub(crate) bot: Bot,
    pub(crate) general: ChannelId,
    pub(crate) alice: UserId,
}

impl Place {
    pub(crate) async fn new() -> Self {
        Self::with(Options {
            rate_limits: false,
            interaction_window: INTERACTION_WINDOW,
            ..Options::default()
        })
        .await
    }

    pub(crate) async fn with(options: Options) -> Self {
        let sim = Sim::start(options).await.unwrap();
        let discord = sim.discord();
        let bot = Bot::of(&sim);
        let (general, alice) = (discord.channel("general"), discord.user("alice"));
        Self { sim, discord, bot, general, alice }
    }

    /// A message of the bot; its number.
    pub(crate) async fn bot_says(&self, channel: ChannelId, text: &str) -> String {
        let path = format!("/channels/{channel}/messages");
        let answer = self.bot.post(&path, json!({ "content": text })).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body["id"].as_str().unwrap().to_owned()
    }

    /// A message of the bot with two buttons, a menu of three and a disabled button.
    pub(crate) async fn bot_asks(&self, channel: ChannelId) -> MessageId {
        let body = json!({ "content": "May I?", "components": components() });
        let answer = self.bot.post(&format!("/channels/{channel}/messages"), body).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body["id"].as_str().unwrap().parse().unwrap()
    }

    /// The bot's first answer to an interaction.
    pub(crate) async fn answers(&self, id: InteractionId, body: Value) -> Answer {
        let token = self.token_of(id);
        self.bot.post(&format!("/interactions/{id}/{token}/callback"), body).await
    }

    /// The same, which is taken.
    pub(crate) async fn answer(&self, id: InteractionId, body: Value) {
        let answer = self.answers(id, body).await;
        assert_eq!(answer.status, 204, "{}", answer.body);
    }

    pub(crate) fn token_of(&self, id: InteractionId) -> String {
        self.discord.interaction(id).unwrap().token
    }

    /// The path of what follows an answer: `/messages/@original`, or nothing for one more.
    pub(crate) fn webhook(&self, id: InteractionId, rest: &str) -> String {
        format!("/webhooks/{BOT_ID}/{}{rest}", self.token_of(id))
    }

    /// The number of the thread that the bot starts from a message of alice.
    pub(crate) async fn thread(&self) -> ChannelId {
        let message = self.discord.say(self.general, self.alice, "question").unwrap();
        let path = format!("/channels/{}/messages/{message}/threads", self.general);
        assert_eq!(self.bot.post(&path, json!({ "name": "a thread" })).await.status, 201);
        message.into()
    }
}

fn components() -> Value {
    let button = |id: &str, disabled: bool| json!({ "type": 2, "style": 1, "label": id, "custom_id": id, "disabled": disabled });
    let options = ["a", "b", "c"].map(|it| json!({ "label": it, "value": it }));
    let menu = json!({ "type": 3, "custom_id": "pick", "max_values": 2, "options": options });
    json!([
        { "type": 1, "components": [button("allow", false), button("deny", false)] },
        { "type": 1, "components": [menu] },
        { "type": 1, "components": [button("old", true)] },
    ])
}

/// A modal with one input.
pub(crate) fn modal() -> Value {
    let input = json!({ "type": 4, "custom_id": "why", "style": 2, "label": "Why?",
        "max_length": 20 });
    json!({ "custom_id": "reason", "title": "Deny",
        "components": [{ "type": 1, "components": [input] }] })
}

/// A bot's requests.
#[derive(Clone)]
pub(crate) struct Bot {
    pub(crate) client: Client,
    pub(crate) token: String,
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest_serenity::header::HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    /// Discord's code of a refusal.
    pub(crate) fn code(&self) -> u64 {
        self.body["code"].as_u64().unwrap_or_else(|| panic!("no code in {}", self.body))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name}")).to_str().unwrap()
    }
}

impl Bot {
    pub(crate) fn of(sim: &Sim) -> Self {
        let client = Client::builder()
            .resolve("discord.com", sim.rest_addr)
            .resolve("cdn.discordapp.com", sim.rest_addr)
            .add_root_certificate(Certificate::from_pem(sim.ca_pem.as_bytes()).unwrap())
            .timeout(DEADLINE)
            .build()
            .unwrap();
        Self { client, token: sim.discord().token().to_owned() }
    }

    /// A request as it is, answered or cut.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Answer, reqwest_serenity::Error> {
        let url = format!("https://discord.com:443/api/v10{path}");
        let request = self.client.request(method, url);
        let request = request.header("Authorization", format!("Bot {}", self.token));
        let request = match body {
            None => request,
            Some(body) => request.header("Content-Type", "application/json").body(body.to_string()),
        };
        read(request.send().await?).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None).await.unwrap()
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, Some(body)).await.unwrap()
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Answer {
        self.send(Method::PATCH, path, Some(body)).await.unwrap()
    }

    pub(crate) async fn put(&self, path: &str) -> Answer {
        self.send(Method::PUT, path, None).await.unwrap()
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, None).await.unwrap()
    }
}

pub(crate) async fn read(response: Response) -> Result<Answer, reqwest_serenity::Error> {
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await?;
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Ok(Answer { status, headers, body })
}

/// A bot's websocket.
pub(crate) struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// The number of the last dispatch.
    pub(crate) seq: u64,
}

impl Socket {
    /// Connects and hears HELLO.
    pub(crate) async fn connect(sim: &Sim) -> Self {
        let (stream, _) = connect_async(format!("{}/?v=10", sim.gateway_url)).await.unwrap();
        let mut socket = Self { stream, seq: 0 };
        let hello = socket.hear().await;
        assert_eq!(hello["op"], 10);
        assert!(hello["d"]["heartbeat_interval"].as_u64().is_some());
        socket
    }

    /// Connects and identifies; the payload of READY, with everything before it read.
    pub(crate) async fn ready(sim: &Sim, intents: u64) -> (Self, Value) {
        let mut socket = Self::connect(sim).await;
        socket.identify(sim.discord().token(), intents).await;
        let ready = socket.dispatch("READY").await;
        (socket, ready)
    }

    pub(crate) async fn say(&mut self, payload: Value) {
        self.stream.send(Message::text(payload.to_string())).await.unwrap();
    }

    pub(crate) async fn identify(&mut self, token: &str, intents: u64) {
        let d = json!({ "token": token, "intents": intents, "properties": {}, "compress": true });
        self.say(json!({ "op": 2, "d": d })).await;
    }

    pub(crate) async fn resume(&mut self, sim: &Sim, session: &str, seq: u64) {
        let d = json!({ "token": sim.discord().token(), "session_id": session, "seq": seq });
        self.say(json!({ "op": 6, "d": d })).await;
    }

    async fn frame(&mut self) -> Option<Message> {
        let next = tokio::time::timeout(DEADLINE, self.stream.next());
        next.await.expect("the gateway says nothing").and_then(Result::ok)
    }

    /// The next frame.
    pub(crate) async fn hear(&mut self) -> Value {
        let frame = self.frame().await;
        let Some(Message::Text(text)) = frame else { panic!("not a text: {frame:?}") };
        let payload: Value = serde_json::from_str(&text).unwrap();
        if let Some(seq) = payload["s"].as_u64() {
            assert_eq!(seq, self.seq + 1, "dispatches are numbered without a gap");
            self.seq = seq;
        }
        payload
    }

    /// The payload of the next dispatch of this name; others before it are passed over.
    pub(crate) async fn dispatch(&mut self, name: &str) -> Value {
        loop {
            let mut payload = self.hear().await;
            if payload["t"] == name {
                return payload["d"].take();
            }
        }
    }

    /// The code with which the gateway closes, none if it just ends.
    pub(crate) async fn closed(&mut self) -> Option<u16> {
        loop {
            match self.frame().await {
                None => return None,
                Some(Message::Close(frame)) => return frame.map(|it| it.code.into()),
                Some(_) => {}
            }
        }
    }

    /// Ends the connection without a word.
    pub(crate) fn cut(self) -> u64 {
        self.seq
    }

    pub(crate) async fn close(mut self, code: u16) {
        use tokio_tungstenite::tungstenite::protocol::CloseFrame;
        let frame = CloseFrame { code: code.into(), reason: "".into() };
        self.stream.close(Some(frame)).await.unwrap();
        self.closed().await;
    }
}
