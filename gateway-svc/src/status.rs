//! Status messages: what becomes of each run, shown in one message of its thread while it lasts.
//!
//! A message is posted and taken away by outbox rows, which are written with what names them
//! (`store/status.rs`): a gateway that is killed finds it again, and there is never a second. What it
//! says between is edited here, outside the outbox: such an edit may be lost, and the next one says it
//! all. What claude does comes from core NATS and is a hint. Of several gateways one does this at a
//! time. No run waits for any of it.

mod plan;
mod show;

use std::collections::HashMap;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use platform::clock::now_ms;
use platform::reload::Current;
use schemas::ids::{MessageId, RunId};
use schemas::live::Live;
use schemas::streams::RunKey;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use self::plan::{Act, Heard, Known, millis, plan, standing};
use crate::bus::Bus;
use crate::config::Config;
use crate::crash;
use crate::discord::{Discord, DiscordError};
use crate::placement::{Sight, USUAL};
use crate::signals::Signals;
use crate::store::{Store, StoreError, Watched};

/// How long there is between two edits of a message: what Discord takes of a channel for long.
const EVERY: Duration = Duration::from_secs(2);
/// How many messages are edited at once.
const EDITS_MAX: usize = 8;
/// How long an edit may take. Discord's own waits are known beforehand.
const EDIT_MAX: Duration = Duration::from_secs(5);
/// How long a message is left alone that takes no edit: locked, archived, or Discord is out of order.
const REST: Duration = Duration::from_secs(10);
/// The most runs that are listened for; what is beyond them is shown without what claude does.
const RUNS_MAX: usize = 1000;
/// What only one gateway does, and how long it is sure of it.
const LEAD: (&str, Duration) = ("status", Duration::from_secs(10));

/// What status messages need.
#[derive(Debug)]
pub(crate) struct Status {
    /// Which run has one.
    pub(crate) store: Store,
    /// Where they are edited.
    pub(crate) discord: Discord,
    /// Where it is heard what claude does.
    pub(crate) bus: Bus,
    /// Who is to know of rows.
    pub(crate) signals: Signals,
    /// What projects require of runners, and whether there are to be any messages; else those that are
    /// left are taken away.
    pub(crate) config: Current<Config>,
    /// The gateway, as the others know it.
    pub(crate) gateway: String,
    /// How old a message gets.
    pub(crate) fresh: Duration,
}

/// What this process knows beside the store: hints, gone with it.
#[derive(Debug, Default)]
struct Board {
    heard: HashMap<RunId, Heard>,
    known: HashMap<RunId, Known>,
    /// Since when each run is watched.
    since: HashMap<RunId, i64>,
    leads_until_ms: i64,
}

/// Shows until `stop`.
pub(crate) async fn run(status: Status, stop: CancellationToken) {
    let mut board = Board::default();
    let mut lives = None;
    let mut next = Instant::now() + EVERY;
    loop {
        if lives.is_none() {
            lives = status.bus.live().await.ok();
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = sleep_until(next) => {
                if let Err(error) = status.look(&mut board).await {
                    tracing::debug!(error = ?error, "nothing is shown of what claude does");
                }
                // Counted from its end: two edits are never nearer.
                next = Instant::now() + EVERY;
            }
            heard = hear(&mut lives) => match heard {
                Some((key, live)) => board.hear(key, live),
                // It is asked for again at the next turn.
                None => sleep_until(next).await,
            },
        }
    }
}

async fn hear(
    lives: &mut Option<impl Stream<Item = (RunKey, Live)> + Unpin>,
) -> Option<(RunKey, Live)> {
    let heard = match lives {
        Some(stream) => stream.next().await,
        None => None,
    };
    if heard.is_none() {
        *lives = None;
    }
    heard
}

impl Board {
    fn hear(&mut self, key: RunKey, live: Live) {
        if self.heard.len() < RUNS_MAX || self.heard.contains_key(&key.run) {
            self.heard.insert(key.run, Heard { live, at_ms: now_ms() });
        }
    }

    /// Forgets what nobody watches any more.
    fn keep(&mut self, all: &[Watched], now_ms: i64) {
        let before = std::mem::take(&mut self.since);
        let since = |run: &Watched| before.get(&run.run).copied().unwrap_or(now_ms);
        self.since = all.iter().map(|run| (run.run.clone(), since(run))).collect();
        // What was heard of a run before the store was looked at stays for one more turn.
        let is_new = |heard: &Heard| now_ms - heard.at_ms < 2 * millis(EVERY);
        self.heard.retain(|run, heard| self.since.contains_key(run) || is_new(heard));
        self.known.retain(|run, _| self.since.contains_key(run));
    }
}

impl Status {
    /// Looks at every run, and does what is to be done about its message.
    async fn look(&self, board: &mut Board) -> Result<(), StoreError> {
        let now = now_ms();
        if !self.leads(board, now).await? {
            (board.known, board.since) = Default::default();
            return Ok(());
        }
        let all = self.store.watched().await?;
        board.keep(&all, now);
        let is_untaken = |run: &Watched| run.released_ms.is_some() && run.attempt.is_none();
        let any_untaken = all.iter().any(is_untaken);
        let sights = if any_untaken { self.store.sights().await? } else { Vec::new() };
        let acts: Vec<Act> =
            all.iter().map(|run| self.decide(run, &all, board, &sights, now)).collect();
        let doing = all.into_iter().zip(acts).filter(|(_, act)| *act != Act::Nothing);
        let doing = doing.map(|(run, act)| async move {
            let known = self.act(&run, act, now).await;
            (run.run, known)
        });
        let doing = futures_util::stream::iter(doing).buffer_unordered(EDITS_MAX);
        let done: Vec<(RunId, Option<Known>)> = doing.collect().await;
        for (run, known) in done {
            board.known.extend(known.map(|known| (run, known)));
        }
        Ok(())
    }

    async fn leads(&self, board: &mut Board, now: i64) -> Result<bool, StoreError> {
        if now + millis(LEAD.1) / 2 < board.leads_until_ms {
            return Ok(true);
        }
        let until_ms = now + millis(LEAD.1);
        let leads = self.store.leads(LEAD.0, &self.gateway, now, until_ms).await?;
        board.leads_until_ms = if leads { until_ms } else { 0 };
        Ok(leads)
    }

    fn decide(
        &self,
        run: &Watched,
        all: &[Watched],
        board: &Board,
        sights: &[Sight],
        now: i64,
    ) -> Act {
        let config = self.config.now();
        if !config.shows_status {
            let is_left = run.ended && run.shown.is_some();
            return if is_left { Act::Remove } else { Act::Nothing };
        }
        let heard = board.heard.get(&run.run);
        let since_ms = board.since.get(&run.run).copied().unwrap_or(now);
        let terms = config.routes.project(&run.project).map_or(&USUAL, |project| &project.terms);
        let standing = standing(run, all, heard, since_ms, sights, terms, now);
        let text = show::text(&standing);
        plan(run, &standing, text, board.known.get(&run.run), self.fresh, now)
    }

    /// Does it. Returns what is known of the message then; `None`: nothing new.
    async fn act(&self, run: &Watched, act: Act, now: i64) -> Option<Known> {
        let stored = match act {
            Act::Nothing => return None,
            Act::Edit(message, text) => return self.edit(run, message, text, now).await,
            Act::Post(text) => {
                let buttons = show::buttons(run);
                let stored = self.store.show_status(run, &text, buttons, now).await;
                crash::point("status.stored");
                stored
            }
            Act::Remove => {
                let stored = self.store.end_status(run, now).await;
                crash::point("status.ended");
                stored
            }
        };
        match stored {
            Ok(true) => self.signals.due.notify_one(),
            // It has ended meanwhile, or another gateway was faster.
            Ok(false) => {}
            Err(error) => tracing::debug!(error = ?error, "a status message waits"),
        }
        None
    }

    async fn edit(
        &self,
        run: &Watched,
        message: MessageId,
        text: String,
        now: i64,
    ) -> Option<Known> {
        let channel = run.said_in.unwrap_or(run.thread.into());
        if self.discord.held_back(channel).is_some() {
            return None;
        }
        let row = run.shown.as_ref()?.row.clone();
        let buttons = show::buttons(run);
        let editing = self.discord.edit(channel, message, &text, &buttons);
        let rests = |rest_until_ms| Known { row: row.clone(), says: None, rest_until_ms };
        Some(match timeout(EDIT_MAX, editing).await {
            Ok(Ok(())) => Known { row, says: Some(text), rest_until_ms: 0 },
            // Somebody took it away, and wants none.
            Ok(Err(DiscordError::Refused { status: 404, .. })) => rests(i64::MAX),
            Ok(Err(error)) => {
                tracing::debug!(%error, run = %run.run, "a status message is not edited");
                rests(now + millis(REST))
            }
            Err(_) => rests(now + millis(EVERY)),
        })
    }
}
