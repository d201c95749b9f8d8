//! Discord on loopback: REST v10 over TLS, the gateway, a page to chat, faults on command.
//!
//! [`Sim::start`] binds three ports and answers as `discord.com`: `rest` for the bot's requests,
//! `gateway` for its websocket, `page` for people. All share one [`Guild`] in memory (`hub`). A
//! test acts as a person through [`Discord`], waits for what must come, and commands faults.
//!
//! It enforces what a bot can run into: permissions, lengths, nonces, rate limits, archived and
//! locked threads, intents, resumed sessions, interactions that want an answer in time. It leaves
//! loopback only when it is told to (`Options::listen`), and never knows a bot's code: what is not
//! said over REST or gateway does not reach it.
//!
//! # Layout
//!
//! * `form`: what Discord takes as a message, a component, an embed, a modal; pure
//! * `guild`: what is in the guild and what may happen to it; pure
//! * `events`, `sessions`: what the gateway sends, to whom, and again after a RESUME; pure
//! * `routes`, `limits`, `faults`: what a request is for, whether it may go on, how it fails; pure
//! * `wire`: values as Discord's JSON
//! * `hub`: the lock, the clock, the change notification
//! * `timer`: wakes when an interaction fails for want of an answer
//! * `rest`, `gateway`, `page`, `net`, `tls`, `persist`: sockets and files

mod clock;
mod discord;
mod error;
mod events;
mod faults;
mod form;
mod gateway;
mod guild;
mod hub;
mod ids;
mod limits;
mod model;
mod net;
mod options;
mod page;
mod permissions;
mod persist;
mod rest;
mod routes;
mod sessions;
mod timer;
mod tls;
mod transcript;
mod wire;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use axum::Router;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use crate::discord::{Discord, WaitError};
pub use crate::error::ApiError;
pub use crate::faults::{FaultKind, FaultRule};
pub use crate::form::{BOT_CONTENT_MAX, PERSON_CONTENT_MAX};
pub use crate::guild::membership::Membership;
pub use crate::guild::messages::Cursor;
pub use crate::guild::threads::{NewThread, ThreadChange};
pub use crate::guild::{BOT_ID, Guild, Typing};
pub use crate::hub::{Outage, RouteCounts, View};
pub use crate::ids::{AttachmentId, ChannelId, GuildId, InteractionId, MessageId, RoleId, UserId};
pub use crate::model::{
    Attachment, Callback, Change, Channel, Draft, Interaction, InteractionKind, Message,
    MessageKind, Modal, NewFile, Outcome, Reaction, Reference, Role, Shown, TextInput, Thread,
    User,
};
pub use crate::options::{DEFAULT_TOKEN, Options};
pub use crate::permissions::{Overwrite, Permissions};
pub use crate::sessions::GatewayCounts;

use crate::clock::Clock;
use crate::hub::Hub;
use crate::net::{Cut, Doors};
use crate::persist::Store;
use crate::tls::Certificates;

/// A running simulator. Dropping it ends it at once; [`Sim::stop`] saves and ends it.
#[derive(Debug)]
pub struct Sim {
    /// Where `discord.com` and `cdn.discordapp.com` are answered for, over TLS.
    pub rest_addr: SocketAddr,
    /// Where the gateway is, `ws://127.0.0.1:PORT`; what `GET /gateway` says.
    pub gateway_url: String,
    /// Where the page is, `http://127.0.0.1:PORT/`.
    pub page_url: String,
    /// The certificate that a client must trust, as PEM.
    pub ca_pem: String,
    discord: Discord,
    store: Option<Store>,
    stop: CancellationToken,
    tasks: JoinSet<Result<()>>,
}

impl Sim {
    /// Binds the ports and begins to answer.
    ///
    /// # Errors
    ///
    /// When a port is taken, or the directory cannot be used.
    pub async fn start(options: Options) -> Result<Self> {
        let at = |port| SocketAddr::from((options.listen, port));
        let rest = bind(at(options.rest_port)).await?;
        let gateway = bind(at(options.gateway_port)).await?;
        let page = bind(at(options.page_port)).await?;
        let rest_addr = rest.local_addr().context("the port of REST has no address")?;
        let gateway_addr = gateway.local_addr().context("no gateway address")?;
        let gateway_url = match &options.host {
            Some(host) => format!("ws://{host}:{}", gateway_addr.port()),
            None => format!("ws://{gateway_addr}"),
        };
        let page_url = format!("http://{}/", page.local_addr().context("no page address")?);

        let store = options.dir.as_deref().map(Store::open).transpose()?;
        let certificates = Certificates::load_or_make(options.dir.as_deref())?;
        let tls = certificates.acceptor()?;
        let hub = Arc::new(make_hub(options, store.as_ref(), gateway_url.clone())?);
        let discord = Discord { hub: Arc::clone(&hub) };

        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let doors = Doors::tls(rest, tls, Arc::clone(&hub), stop.clone());
        tasks.spawn(serve(doors, rest::router(Arc::clone(&hub)), stop.clone()));
        let doors = Doors::plain(page, stop.clone());
        tasks.spawn(serve(doors, page::router(discord.clone()), stop.clone()));
        if let Some(store) = store.clone() {
            tasks.spawn(persist::keep(Arc::clone(&hub), store, stop.clone()));
        }
        tasks.spawn(timer::keep(Arc::clone(&hub), stop.clone()));
        let listening = gateway::serve(hub, gateway, stop.clone());
        tasks.spawn(async {
            listening.await;
            Ok(())
        });
        let ca_pem = certificates.ca;
        Ok(Self { rest_addr, gateway_url, page_url, ca_pem, discord, store, stop, tasks })
    }

    /// A handle to act as a person, to look and to wait.
    pub fn discord(&self) -> Discord {
        self.discord.clone()
    }

    /// Writes the certificate that a client must trust.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn write_ca(&self, path: &Path) -> std::io::Result<()> {
        std::fs::write(path, &self.ca_pem)
    }

    /// Cuts all connections, saves the state if there is a directory for it, and ends.
    ///
    /// # Errors
    ///
    /// When the state could not be saved.
    pub async fn stop(mut self) -> Result<()> {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.context("a task of the simulator panicked")??;
        }
        // Only now can nothing change any more.
        if let Some(store) = self.store.take() {
            store.save(&self.discord.hub)?;
        }
        Ok(())
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        // The tasks are aborted with their set; connections that axum holds end by this.
        self.stop.cancel();
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

fn make_hub(options: Options, store: Option<&Store>, gateway_url: String) -> Result<Hub> {
    let clock = Clock::behind(options.behind);
    let kept = store.map(Store::load).transpose()?.flatten();
    let mut guild =
        kept.unwrap_or_else(|| Guild::new(&options.guild, &options.bot, clock.now_ms()));
    guild.prepare(&options, clock.now_ms());
    Ok(Hub::new(options, clock, guild, gateway_url))
}

async fn serve(doors: Doors, router: Router, stop: CancellationToken) -> Result<()> {
    let service = router.into_make_service_with_connect_info::<Cut>();
    let serving = axum::serve(doors, service).with_graceful_shutdown(stop.cancelled_owned());
    serving.await.context("a listener ended")
}
