//! How a simulator is set up.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

/// A token that a bot's library takes for one: its first part is [`crate::BOT_ID`] in base 64.
pub const DEFAULT_TOKEN: &str =
    "MTAwMDAwMDAwMDAwMDAwMDAwMQ.simula.tor-token-of-no-worth-outside-loopback";

/// The setting of a simulator. [`Options::default`] is the real Discord with an empty guild on
/// free ports.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own at Discord too")]
pub struct Options {
    /// The bot's token.
    pub token: String,
    /// The guild's name.
    pub guild: String,
    /// The bot's name.
    pub bot: String,
    /// Whether the message content intent is switched on in the developer portal.
    pub message_content: bool,
    /// Whether the members intent is switched on in the developer portal.
    pub members: bool,
    /// Whether the presences intent is switched on in the developer portal.
    pub presences: bool,
    /// Whether requests are limited as Discord limits them.
    pub rate_limits: bool,
    /// How many sessions the bot may begin in a day; at one more its token is reset, and neither
    /// gateway nor REST takes it any longer.
    pub identifies_a_day: u64,
    /// How long a nonce is remembered; Discord says "the past few minutes".
    pub nonce_window: Duration,
    /// How long the bot has for its first answer to an interaction; Discord says three seconds.
    pub interaction_window: Duration,
    /// How far its clock is behind the wall clock at the beginning: what is written before it is
    /// brought up (`Discord::advance`) is that old.
    pub behind: Duration,
    /// The heartbeat interval that a client is told.
    pub heartbeat: Duration,
    /// Where all three ports listen. Whoever reaches the page is everybody: what is wider than loopback
    /// is for a network of its own, as containers have.
    pub listen: IpAddr,
    /// What a bot calls this machine: the host in the gateway's URL. None: the address that it listens on.
    pub host: Option<String>,
    /// The port of REST, 0 for a free one.
    pub rest_port: u16,
    /// The port of the gateway, 0 for a free one.
    pub gateway_port: u16,
    /// The port of the page, 0 for a free one.
    pub page_port: u16,
    /// Where state, files and certificates are kept, so that a restarted simulator is the same
    /// one: `state.json`, `files/`, `ca.pem`, `server.pem`, `server.key`. None keeps nothing.
    pub dir: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            token: DEFAULT_TOKEN.to_owned(),
            guild: "Holdfast".to_owned(),
            bot: "holdfast".to_owned(),
            message_content: true,
            members: false,
            presences: false,
            rate_limits: true,
            identifies_a_day: 1000,
            nonce_window: Duration::from_secs(120),
            interaction_window: Duration::from_secs(3),
            behind: Duration::ZERO,
            heartbeat: Duration::from_millis(41_250),
            listen: Ipv4Addr::LOCALHOST.into(),
            host: None,
            rest_port: 0,
            gateway_port: 0,
            page_port: 0,
            dir: None,
        }
    }
}
