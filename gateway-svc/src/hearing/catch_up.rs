//! What was missed: read over REST when a session begins and by a timer, page by page.
//!
//! A cursor moves only over what REST returned, when the whole page is in the store
//! (`cursors.rs`). What is found too late is listed when its place was read to its end. When the
//! time in which nobody listened is over and all was read, each channel is told that has something
//! answered of that time.

use platform::clock::now_ms;
use schemas::ids::{ChannelId, MessageId, ThreadId};

use super::{Found, Hearing};
use crate::away::Away;
use crate::config::CatchUp;
use crate::crash;
use crate::cursors::Reading;
use crate::discord::{DiscordError, HISTORY_MAX};
use crate::store::{Cursor, Store, StoreError};

/// Threads without a word for so long, before nobody listened any more, are not read again.
const THREADS_FOR_MS: i64 = 7 * 24 * 60 * 60 * 1000;
/// A session that was lost and found within this time is not worth a word.
const AWAY_MIN_MS: i64 = 60 * 1000;
/// How long a channel waits to be told of a time away when something cannot be read.
const TELL_WITHIN_MS: i64 = 10 * 60 * 1000;
/// How often it is stored that somebody listens.
const STORE_EVERY_MS: i64 = 60 * 1000;
/// Discord's code for a channel or a thread that is not there.
const UNKNOWN_CHANNEL: i64 = 10_003;

/// Until when gates that are closed now stay closed, in milliseconds since 1970.
pub(crate) fn gates_until_ms(catch_up: CatchUp) -> i64 {
    now_ms().saturating_add(i64::try_from(catch_up.backfill.as_millis()).unwrap_or(i64::MAX))
}

/// What this process knows of its sessions.
#[derive(Debug, Default)]
pub(super) struct Listening {
    /// When one was alive last; `None`: there was none yet.
    alive_ms: Option<i64>,
    /// What of it is stored.
    stored_ms: i64,
    /// A session that began after a time away, which is not stored yet.
    began: Option<Began>,
}

/// The beginning of a session.
#[derive(Clone, Copy, Debug)]
struct Began {
    /// Since when nobody listened; `None`: the store knows.
    since_ms: Option<i64>,
    at_ms: i64,
}

/// A session's life.
impl Hearing {
    /// A session began: until a thread was read, nothing newer in it is released.
    pub(super) async fn begin_session(&mut self) {
        let at_ms = now_ms();
        match self.listening.alive_ms {
            Some(alive_ms) if at_ms - alive_ms < AWAY_MIN_MS => {
                self.listening.alive_ms = Some(at_ms);
            }
            since_ms => self.listening.began = Some(Began { since_ms, at_ms }),
        }
        if let Err(error) = self.store.close_gates(gates_until_ms(self.config.now().catch_up)).await
        {
            tracing::error!(error = ?error, "nothing is taken before everything was read");
            self.behind.leave_everything();
        }
        let waiting = self.store.waiting().await.unwrap_or_else(|error| {
            tracing::warn!(error = ?error, "what waits was not read again");
            Vec::new()
        });
        for run in waiting {
            self.edited(run.channel, run.message).await;
        }
        self.catch_up().await;
    }

    /// The session is alive, and was it without a break that we know of.
    pub(super) async fn listens(&mut self, since_ms: i64, at_ms: i64) {
        let Some(alive_ms) = self.listening.alive_ms else { return };
        // A time away is dealt with first, or it would be forgotten: this one's session has begun,
        // and we were not told of it yet.
        if self.listening.began.is_some() || AWAY_MIN_MS <= since_ms - alive_ms {
            return;
        }
        self.listening.alive_ms = Some(alive_ms.max(at_ms));
        if STORE_EVERY_MS <= at_ms - self.listening.stored_ms {
            self.store_listening().await;
        }
    }

    /// Nobody listens from now on.
    pub(super) async fn stop_listening(&mut self) {
        if self.listening.began.is_none() {
            self.store_listening().await;
        }
    }

    async fn store_listening(&mut self) {
        let Some(alive_ms) = self.listening.alive_ms else { return };
        match self.store.listened(alive_ms).await {
            Ok(()) => {
                self.listening.stored_ms = alive_ms;
                self.signals.heard.notify_one();
            }
            Err(error) => tracing::warn!(error = ?error, "that we listen was not stored"),
        }
    }

    /// Stores that a session began, and what is behind it, if that is still to be done.
    async fn store_beginning(&mut self) {
        let Some(Began { since_ms, at_ms }) = self.listening.began else { return };
        match self.store.listen_again(since_ms, at_ms).await {
            Ok(()) => {
                crash::point("away.noted");
                self.signals.heard.notify_one();
                self.listening = Listening { alive_ms: Some(at_ms), stored_ms: at_ms, began: None };
            }
            Err(error) => tracing::warn!(error = ?error, "that we listen again was not stored"),
        }
    }

    /// Tells each channel that has something answered of a time away, once all was read, or when
    /// that takes too long.
    async fn tell_away(&self, aways: &[Away], is_all_read: bool) -> Result<(), StoreError> {
        for away in aways {
            if !is_all_read && now_ms() - away.to_ms < TELL_WITHIN_MS {
                continue;
            }
            for answered in self.store.answered_late(*away).await? {
                let row = away.row(answered.channel, answered.count);
                tracing::info!(channel = %answered.channel, count = answered.count, "was away");
                self.store.tell_channel(answered.channel, &answered.project, row, now_ms()).await?;
                crash::point("away.told");
                self.signals.stored();
            }
            self.store.away_is_told(*away).await?;
        }
        Ok(())
    }
}

/// Reading.
impl Hearing {
    /// Reads what was missed, in every mapped channel and every live thread.
    pub(super) async fn catch_up(&mut self) {
        self.behind.begin_reading();
        self.store_beginning().await;
        let aways = self.store.aways().await.unwrap_or_else(|error| {
            tracing::warn!(error = ?error, "channels are told later that we were away");
            Vec::new()
        });
        let channels = self.read_channels().await;
        let threads = self.read_threads(&aways).await;
        let is_all_read = self.read_left().await && channels && threads;
        if is_all_read {
            self.behind.all_was_read();
        } else {
            self.behind.read_soon();
        }
        if let Err(error) = self.tell_away(&aways, is_all_read).await {
            tracing::warn!(error = ?error, "channels are told later that we were away");
        }
        self.late.look_again();
    }

    /// Whether every channel was read.
    async fn read_channels(&mut self) -> bool {
        let config = self.config.now();
        let channels = config.routes.channels().map(|(channel, _)| channel);
        let mut is_all_read = true;
        for channel in channels {
            if let Err(error) = self.catch_up_channel(channel).await {
                tracing::warn!(%channel, error = format!("{error:#}"), "a channel was not read");
                is_all_read = false;
            } else if let Err(error) = self.open_gates_in(channel).await {
                tracing::warn!(%channel, error = ?error, "was not released");
            }
        }
        is_all_read
    }

    /// Whether every live thread was read. A thread that was alive when nobody listened any more is
    /// alive as long as that time is not dealt with.
    async fn read_threads(&mut self, aways: &[Away]) -> bool {
        let since_ms = aways.iter().map(|away| away.from_ms).fold(now_ms(), i64::min);
        let threads = match self.store.thread_cursors(since_ms - THREADS_FOR_MS).await {
            Ok(threads) => threads,
            Err(error) => {
                tracing::warn!(error = ?error, "no thread was read");
                return false;
            }
        };
        let mut is_all_read = true;
        for (cursor, project) in threads {
            if self.config.now().routes.project(&project).is_none() {
                continue;
            }
            let read =
                self.read(cursor, |store, cursor| async move { store.read_thread(cursor).await });
            let thread = cursor.place;
            if let Err(error) = read.await {
                tracing::warn!(%thread, error = format!("{error:#}"), "was not read");
                is_all_read = false;
            } else if let Err(error) = self.open_gate(thread).await {
                tracing::warn!(%thread, error = format!("{error:#}"), "was not released");
            }
        }
        is_all_read
    }

    /// Whether every place was read in which a message was left: a thread that somebody else started
    /// and the store does not know is among no other.
    async fn read_left(&mut self) -> bool {
        let mut is_all_read = true;
        for (place, first) in self.behind.places() {
            // The first message of a place has one before it, if only in name.
            let read_to = MessageId::new(first.get() - 1).unwrap_or(first);
            let read = self.read(Cursor { place, read_to }, |_, _| async { Ok(()) });
            if let Err(error) = read.await {
                tracing::warn!(%place, error = format!("{error:#}"), "was not read");
                is_all_read = false;
            }
        }
        is_all_read
    }

    async fn open_gate(&self, thread: ChannelId) -> anyhow::Result<()> {
        let thread: ThreadId = thread.get().to_string().parse()?;
        crash::point("gate.read");
        self.store.open_gate(thread, now_ms()).await?;
        crash::point("gate.opened");
        self.signals.released.notify_one();
        Ok(())
    }

    /// Releases what is due in the conversations that go on in a channel that was read.
    async fn open_gates_in(&self, channel: ChannelId) -> Result<(), StoreError> {
        if 0 < self.store.open_gates_in(channel, now_ms()).await? {
            self.signals.released.notify_one();
        }
        Ok(())
    }

    async fn catch_up_channel(&mut self, channel: ChannelId) -> anyhow::Result<()> {
        let read_to = if let Some(read_to) = self.store.channel_cursor(channel).await? {
            read_to
        } else {
            // What was written before the channel was mapped is history, not work. A channel
            // without messages was read as far as its own id.
            let newest = self.discord.newest(channel).await?;
            let own: MessageId = channel.get().to_string().parse()?;
            let read_to = newest.unwrap_or(own);
            self.store.read_channel(Cursor { place: channel, read_to }).await?;
            crash::point("read.mapped");
            read_to
        };
        let cursor = Cursor { place: channel, read_to };
        self.read(cursor, |store, cursor| async move { store.read_channel(cursor).await }).await
    }

    /// Reads a place from its cursor to its end, page by page, and lists what was found too late.
    async fn read<F>(
        &mut self,
        Cursor { place, read_to }: Cursor,
        moved: impl Fn(Store, Cursor) -> F,
    ) -> anyhow::Result<()>
    where
        F: Future<Output = Result<(), StoreError>>,
    {
        let mut reading = Reading::begin(read_to, usize::from(HISTORY_MAX), now_ms());
        loop {
            let page = match self.discord.history(place, reading.after()).await {
                Ok(page) => page,
                // A thread that was not started yet, or is gone: there is nothing to read in it.
                Err(DiscordError::Refused { code: UNKNOWN_CHANNEL, .. }) => {
                    self.behind.was_read(place);
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            };
            for heard in &page {
                self.try_hear(heard, Found::Read).await?;
            }
            if !page.is_empty() {
                crash::point("read.stored");
            }
            let ids: Vec<MessageId> = page.iter().map(|heard| heard.id).collect();
            let turn = reading.turn(&ids);
            if let Some(read_to) = turn.cursor {
                moved(self.store.clone(), Cursor { place, read_to }).await?;
                crash::point("read.moved");
            }
            if turn.is_last {
                self.behind.was_read(place);
                return self.list_missed(place).await;
            }
        }
    }
}
