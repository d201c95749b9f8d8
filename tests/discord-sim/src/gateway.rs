//! The gateway: a plain websocket on loopback that a bot's library takes for Discord's.
//!
//! One task a connection. It says HELLO, waits for IDENTIFY or RESUME, and from then on sends
//! what the session's buffer holds beyond what it sent; any change of the hub wakes it. It never
//! compresses, whatever the client offers: Discord's clients read plain text too.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message};
use tokio_tungstenite::{WebSocketStream, accept_async};
use tokio_util::sync::CancellationToken;

use crate::events::intents;
use crate::guild::BOT_ID;
use crate::guild::membership::Membership;
use crate::hub::Hub;
use crate::options::Options;
use crate::sessions::{Order, Resume, Work};
use crate::wire;

/// The most connections at once.
const CONNECTIONS_MAX: usize = 256;
/// The longest that a websocket handshake, or the client's part of a close, may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Messages that a client may send in a minute (Discord, "Gateway", rate limiting).
const SENDS_MAX: u32 = 120;
const SENDS_WINDOW_MS: u64 = 60_000;

/// Discord's close codes that are used here.
mod code {
    pub(super) const UNKNOWN_OPCODE: u16 = 4001;
    pub(super) const DECODE_ERROR: u16 = 4002;
    pub(super) const NOT_AUTHENTICATED: u16 = 4003;
    pub(super) use crate::sessions::AUTHENTICATION_FAILED;
    pub(super) const ALREADY_AUTHENTICATED: u16 = 4005;
    pub(super) const INVALID_SEQ: u16 = 4007;
    pub(super) const RATE_LIMITED: u16 = 4008;
    pub(super) const SESSION_TIMED_OUT: u16 = 4009;
    pub(super) const DISALLOWED_INTENTS: u16 = 4014;
}

/// Accepts connections until told to stop.
pub(crate) async fn serve(hub: Arc<Hub>, listener: TcpListener, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => {
                let open = hub.look(|inner| inner.sessions.open);
                if let Ok((stream, _)) = accepted && open && connections.len() < CONNECTIONS_MAX {
                    connections.spawn(converse(Arc::clone(&hub), stream));
                }
            }
        }
    }
    connections.shutdown().await;
}

async fn converse(hub: Arc<Hub>, stream: TcpStream) {
    let Ok(Ok(socket)) = timeout(HANDSHAKE_TIMEOUT, accept_async(stream)).await else { return };
    let number = hub.note(|inner| inner.sessions.connect());
    let silence = hub.options.heartbeat * 2;
    let mut connection = Conversation {
        socket,
        number,
        session: None,
        sent: 0,
        silence,
        quiet_until: Instant::now() + silence,
        sends: (0, 0),
        hub,
    };
    let end = connection.run().await.err().unwrap_or(End::Broken);
    connection.finish(end).await;
}

/// How a conversation ends.
enum End {
    /// We close with this code.
    Close(u16),
    /// We cut it.
    Cut,
    /// The client closed; for good if with 1000 or 1001.
    ByClient { for_good: bool },
    /// The socket broke.
    Broken,
}

impl From<tokio_tungstenite::tungstenite::Error> for End {
    fn from(_: tokio_tungstenite::tungstenite::Error) -> Self {
        Self::Broken
    }
}

struct Conversation {
    hub: Arc<Hub>,
    socket: WebSocketStream<TcpStream>,
    number: u64,
    session: Option<String>,
    sent: u64,
    silence: Duration,
    quiet_until: Instant,
    /// When the current minute of sends began, and how many there were in it.
    sends: (u64, u32),
}

impl Conversation {
    /// Talks until the end; there is no good end.
    async fn run(&mut self) -> Result<(), End> {
        let mut changed = self.hub.subscribe();
        let interval = crate::clock::millis(self.hub.options.heartbeat);
        self.say(
            &json!({ "op": 10, "t": null, "s": null, "d": { "heartbeat_interval": interval } }),
        )
        .await?;
        loop {
            self.work().await?;
            tokio::select! {
                frame = self.socket.next() => self.hear(frame).await?,
                _ = changed.changed() => {}
                () = sleep_until(self.quiet_until) => {
                    return Err(End::Close(code::SESSION_TIMED_OUT));
                }
            }
        }
    }

    async fn say(&mut self, frame: &Value) -> Result<(), End> {
        Ok(self.socket.send(Message::text(frame.to_string())).await?)
    }

    /// Sends what the session has for this connection and obeys its orders.
    async fn work(&mut self) -> Result<(), End> {
        let (open, work) = self.hub.look_at_work(self.session.as_deref(), self.number, self.sent);
        if !open {
            return Err(End::Cut);
        }
        for (seq, frame) in work.frames {
            self.socket.feed(Message::text(frame)).await?;
            self.sent = seq;
        }
        self.socket.flush().await?;
        for order in work.orders {
            match order {
                Order::Close(code) => return Err(End::Close(code)),
                Order::Cut => return Err(End::Cut),
                Order::Reconnect => self.say(&json!({ "op": 7, "d": null })).await?,
                Order::Invalid { resumable } => {
                    self.leave(!resumable);
                    self.say(&json!({ "op": 9, "d": resumable })).await?;
                }
            }
        }
        if work.lost { Err(End::Close(code::SESSION_TIMED_OUT)) } else { Ok(()) }
    }

    /// Lets go of the session.
    fn leave(&mut self, for_good: bool) {
        if let Some(session) = self.session.take() {
            self.hub.note(|inner| {
                let now_ms = inner.guild.now_ms;
                inner.sessions.disconnect(&session, self.number, for_good, now_ms);
            });
        }
        self.sent = 0;
    }

    async fn hear(
        &mut self,
        frame: Option<Result<Message, tokio_tungstenite::tungstenite::Error>>,
    ) -> Result<(), End> {
        let text = match frame {
            None => return Err(End::Broken),
            Some(Err(error)) => return Err(error.into()),
            Some(Ok(Message::Close(frame))) => {
                let code = frame.map_or(1000, |it| u16::from(it.code));
                return Err(End::ByClient { for_good: matches!(code, 1000 | 1001) });
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => return Ok(()),
            Some(Ok(Message::Binary(bytes))) => {
                String::from_utf8(bytes.to_vec()).map_err(|_| End::Close(code::DECODE_ERROR))?
            }
            Some(Ok(Message::Text(text))) => text.to_string(),
        };
        self.count_send()?;
        let payload: Value =
            serde_json::from_str(&text).map_err(|_| End::Close(code::DECODE_ERROR))?;
        match payload["op"].as_u64() {
            Some(1) => self.heartbeat().await,
            Some(2) => self.identify(&payload["d"]),
            Some(6) => self.resume(&payload["d"]).await,
            // Presence, voice and member lists: taken, and of no effect here.
            Some(3 | 4 | 8) if self.session.is_some() => Ok(()),
            Some(3 | 4 | 8) => Err(End::Close(code::NOT_AUTHENTICATED)),
            Some(_) | None => Err(End::Close(code::UNKNOWN_OPCODE)),
        }
    }

    fn count_send(&mut self) -> Result<(), End> {
        let now_ms = self.hub.clock.now_ms();
        if now_ms >= self.sends.0 + SENDS_WINDOW_MS {
            self.sends = (now_ms, 0);
        }
        self.sends.1 += 1;
        if self.sends.1 > SENDS_MAX { Err(End::Close(code::RATE_LIMITED)) } else { Ok(()) }
    }

    async fn heartbeat(&mut self) -> Result<(), End> {
        self.quiet_until = Instant::now() + self.silence;
        if self.hub.note(|inner| inner.sessions.heartbeat()) {
            self.say(&json!({ "op": 11, "d": null })).await?;
        }
        Ok(())
    }

    fn identify(&mut self, data: &Value) -> Result<(), End> {
        if self.session.is_some() {
            return Err(End::Close(code::ALREADY_AUTHENTICATED));
        }
        self.check_token(data)?;
        let Some(wanted) = data["intents"].as_u64() else {
            return Err(End::Close(code::DECODE_ERROR));
        };
        if wanted & !allowed_intents(&self.hub.options) != 0 {
            return Err(End::Close(code::DISALLOWED_INTENTS));
        }
        self.count_start()?;
        let (number, options) = (self.number, &self.hub.options);
        let url = self.hub.gateway_url();
        let session = self.hub.note(|inner| {
            let id = inner.sessions.identify(number, wanted, inner.guild.now_ms);
            let bot = inner.guild.user(BOT_ID).map(wire::user);
            let membership = inner.guild.membership();
            let guilds = match membership {
                Membership::Member | Membership::Outage => {
                    json!([{ "id": inner.guild.id(), "unavailable": true }])
                }
                Membership::Removed => json!([]),
            };
            let ready = json!({
                "v": 10,
                "user": bot,
                "guilds": guilds,
                "session_id": id,
                "resume_gateway_url": url,
                "session_type": "normal",
                "shard": data["shard"],
                "application": { "id": BOT_ID, "flags": application_flags(options) },
            });
            inner.sessions.push(&id, "READY", &ready);
            if wanted & intents::GUILDS != 0 && membership == Membership::Member {
                inner.sessions.push(&id, "GUILD_CREATE", &wire::guild_create(&inner.guild));
            }
            id
        });
        self.session = Some(session);
        Ok(())
    }

    /// Counts a session that begins. At one too many Discord ends all sessions and resets the
    /// token.
    fn count_start(&self) -> Result<(), End> {
        let limit = self.hub.options.identifies_a_day;
        let within = self.hub.note(|inner| {
            let within = inner.sessions.take_start(limit, inner.guild.now_ms);
            if !within {
                inner.revoke_token();
            }
            within
        });
        if within { Ok(()) } else { Err(End::Close(code::AUTHENTICATION_FAILED)) }
    }

    async fn resume(&mut self, data: &Value) -> Result<(), End> {
        if self.session.is_some() {
            return Err(End::Close(code::ALREADY_AUTHENTICATED));
        }
        self.check_token(data)?;
        let (Some(id), Some(seq)) = (data["session_id"].as_str(), data["seq"].as_u64()) else {
            return Err(End::Close(code::DECODE_ERROR));
        };
        let number = self.number;
        let answer = self.hub.note(|inner| {
            let answer = inner.sessions.resume(id, number, seq, inner.guild.now_ms);
            if answer == Resume::Granted {
                inner.sessions.push(id, "RESUMED", &json!({}));
            }
            answer
        });
        match answer {
            Resume::Granted => {
                self.session = Some(id.to_owned());
                self.sent = seq;
                Ok(())
            }
            Resume::Refused => self.say(&json!({ "op": 9, "d": false })).await,
            Resume::BadSequence => Err(End::Close(code::INVALID_SEQ)),
        }
    }

    fn check_token(&self, data: &Value) -> Result<(), End> {
        let token = data["token"].as_str().unwrap_or_default();
        let is_own = token.strip_prefix("Bot ").unwrap_or(token) == self.hub.options.token;
        if is_own && self.hub.look(|inner| inner.token_is_good) {
            Ok(())
        } else {
            Err(End::Close(code::AUTHENTICATION_FAILED))
        }
    }

    async fn finish(mut self, end: End) {
        match end {
            End::Close(code) => {
                self.leave(false);
                let frame = CloseFrame { code: CloseCode::from(code), reason: "".into() };
                // The client may be gone already; then there is nobody to tell.
                if self.socket.close(Some(frame)).await.is_ok() {
                    let drained = async { while let Some(Ok(_)) = self.socket.next().await {} };
                    let _ = timeout(HANDSHAKE_TIMEOUT, drained).await;
                }
            }
            End::ByClient { for_good } => {
                self.leave(for_good);
                // Answers the close; the client may not wait for it.
                let _ = timeout(HANDSHAKE_TIMEOUT, self.socket.flush()).await;
            }
            End::Cut | End::Broken => self.leave(false),
        }
    }
}

impl Hub {
    /// Whether the gateway is open, and what a connection has to do.
    fn look_at_work(&self, session: Option<&str>, connection: u64, sent: u64) -> (bool, Work) {
        self.peek(|inner| {
            let work = session.map(|id| inner.sessions.work(id, connection, sent));
            (inner.sessions.open, work.unwrap_or_default())
        })
    }
}

/// The intents that the developer portal allows this bot.
fn allowed_intents(options: &Options) -> u64 {
    let privileged = [
        (options.members, intents::MEMBERS),
        (options.presences, intents::PRESENCES),
        (options.message_content, intents::MESSAGE_CONTENT),
    ];
    privileged.iter().filter(|(on, _)| !on).fold(u64::MAX, |all, (_, intent)| all & !intent)
}

/// The application's flags, which tell a bot which privileged intents are on (the "limited" ones
/// of a bot in few guilds).
pub(crate) fn application_flags(options: &Options) -> u64 {
    let flags = [(options.presences, 13), (options.members, 15), (options.message_content, 19)];
    flags.iter().filter(|(on, _)| *on).fold(0, |all, (_, bit)| all | 1 << bit)
}
