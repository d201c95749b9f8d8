//! The one place that holds the simulator's state, and wakes whoever waits for a change of it.
//!
//! REST, gateway, page and tests all come here: `act` changes the guild, `note` changes what is
//! around it (counts, faults, sessions), `look` reads. Each holds the lock for one short,
//! synchronous closure, never over an await.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::clock::Clock;
use crate::faults::Faults;
use crate::guild::Guild;
use crate::limits::Limits;
use crate::options::Options;
use crate::sessions::{AUTHENTICATION_FAILED, GatewayCounts, Order, Sessions};

/// Requests by route: `POST /channels/{id}/messages`.
pub type RouteCounts = BTreeMap<String, u64>;

/// How the whole REST API is away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outage {
    /// It is not.
    #[default]
    None,
    /// Connections are closed as soon as they are made.
    Refused,
    /// Every answer is 503.
    Unavailable,
}

/// What a test may look at, as it is at one moment.
#[derive(Debug)]
pub struct View<'a> {
    /// The guild: channels, messages, reactions, typing.
    pub guild: &'a Guild,
    /// How often each route was asked, refused requests included.
    pub requests: &'a RouteCounts,
    /// What the gateway did.
    pub gateway: GatewayCounts,
    /// How many faults of the queue are still to come.
    pub faults_left: u32,
    /// How many requests came before a wait was over that a 429 on command had told of.
    pub early_requests: u64,
    /// How many requests were refused because Discord's limits were used up.
    pub refused_requests: u64,
    /// Whether the whole REST API is away.
    pub outage: Outage,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) guild: Guild,
    /// Rises with each change of the guild.
    pub(crate) guild_version: u64,
    pub(crate) sessions: Sessions,
    pub(crate) faults: Faults,
    pub(crate) limits: Limits,
    pub(crate) requests: RouteCounts,
    pub(crate) outage: Outage,
    /// Whether the bot's token is good; Discord resets the token of a bot that identifies too
    /// often.
    pub(crate) token_is_good: bool,
}

impl Inner {
    pub(crate) fn view(&self) -> View<'_> {
        View {
            guild: &self.guild,
            requests: &self.requests,
            gateway: self.sessions.counts(),
            faults_left: self.faults.left(),
            early_requests: self.limits.early,
            refused_requests: self.limits.refused,
            outage: self.outage,
        }
    }

    /// Makes the token worthless: no request and no session goes on with it.
    pub(crate) fn revoke_token(&mut self) {
        self.token_is_good = false;
        self.sessions.invalidate();
        self.sessions.order(Order::Close(AUTHENTICATION_FAILED));
    }
}

#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) options: Options,
    pub(crate) clock: Clock,
    gateway_url: String,
    /// Set while new connections to REST are closed at once.
    pub(crate) refusing: AtomicBool,
    inner: Mutex<Inner>,
    changed: watch::Sender<u64>,
}

impl Hub {
    pub(crate) fn new(options: Options, clock: Clock, guild: Guild, gateway_url: String) -> Self {
        let inner = Inner {
            guild,
            guild_version: 0,
            sessions: Sessions::default(),
            faults: Faults::default(),
            limits: Limits::default(),
            requests: RouteCounts::new(),
            outage: Outage::None,
            token_is_good: true,
        };
        Self {
            options,
            clock,
            gateway_url,
            refusing: AtomicBool::new(false),
            inner: Mutex::new(inner),
            changed: watch::Sender::new(0),
        }
    }

    /// A test's predicate may panic under the lock; the state is whole all the same.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The address that `GET /gateway` names.
    pub(crate) fn gateway_url(&self) -> &str {
        &self.gateway_url
    }

    /// Reads.
    pub(crate) fn look<T>(&self, read: impl FnOnce(&Inner) -> T) -> T {
        read(&self.lock())
    }

    /// Changes the guild, sends its events, wakes all who wait.
    pub(crate) fn act<T>(&self, change: impl FnOnce(&mut Guild) -> T) -> T {
        self.act_within(|guild, _| change(guild))
    }

    /// The same, for a change that counts for a limit of which the route says nothing.
    pub(crate) fn act_within<T>(&self, change: impl FnOnce(&mut Guild, &mut Limits) -> T) -> T {
        self.note(|inner| {
            let result = change(&mut inner.guild, &mut inner.limits);
            for event in std::mem::take(&mut inner.guild.events) {
                if event.is_told(inner.guild.membership()) {
                    inner.sessions.publish(&event);
                }
            }
            inner.guild_version += 1;
            result
        })
    }

    /// Changes what is around the guild, wakes all who wait.
    pub(crate) fn note<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        let mut inner = self.lock();
        inner.guild.now_ms = self.clock.now_ms();
        inner.guild.settle();
        let result = change(&mut inner);
        drop(inner);
        self.changed.send_modify(|version| *version += 1);
        result
    }

    /// Takes something out without waking anybody: what is taken was for the caller alone.
    pub(crate) fn peek<T>(&self, take: impl FnOnce(&mut Inner) -> T) -> T {
        take(&mut self.lock())
    }

    /// Wakes at each change from now on.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub(crate) fn set_outage(&self, outage: Outage) {
        self.refusing.store(outage == Outage::Refused, Ordering::SeqCst);
        self.note(|inner| inner.outage = outage);
    }
}
