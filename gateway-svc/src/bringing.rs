//! Files of questions: Discord → FILES, before their runs are published.
//!
//! A reconciler: no input, idempotent, woken by a signal and by a timer. A run whose files are on their
//! way is stored and seen (👀), and waits here and nowhere else; nobody who only asks something waits for
//! it. Whatever was put into FILES and is not stored, because the process ended in between, is found
//! there by the next one; what no run needs any more goes with the age of FILES.
//!
//! It decides nothing about what is allowed (`attached` does), and never fetches from anywhere but
//! Discord. What cannot be had is left out, and the thread and claude are told.

use std::collections::HashSet;
use std::time::Duration;

use platform::clock::now_ms;
use schemas::carried::File;
use schemas::ids::RunId;
use thiserror::Error;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::attached::{Taken, left_out};
use crate::bus::{Bus, BusError};
use crate::crash;
use crate::discord::{Discord, DiscordError, is_discords};
use crate::render;
use crate::signals::Signals;
use crate::store::{Bringing, Store, StoreError};

/// Runs whose files are brought at once; each has one file in memory.
const RUNS_MAX: usize = 4;
/// The longest sleep when no signal comes.
const EVERY: Duration = Duration::from_secs(15);
/// The longest pause before a file is tried again.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// The first one.
const PAUSE: Duration = Duration::from_secs(1);
/// How often Discord may fail to give a file before it is done without: some minutes.
const TRIES_MAX: i64 = 10;

/// Why a file is not in FILES.
#[derive(Debug, Error)]
enum Trouble {
    /// It never will be; the sentence goes on after its name.
    #[error("it {0}")]
    Never(String),
    /// Discord did not give it now.
    #[error("Discord did not give it")]
    Discord(#[source] DiscordError),
    /// NATS did not take it now.
    #[error("NATS did not take it")]
    Bus(#[from] BusError),
}

/// What brings files. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Bringer {
    /// Where runs are kept.
    pub(crate) store: Store,
    /// Where the files are.
    pub(crate) discord: Discord,
    /// Where they go.
    pub(crate) bus: Bus,
    /// Who is to know.
    pub(crate) signals: Signals,
}

/// Brings what is due, until `stop`.
pub(crate) async fn run(bringer: Bringer, stop: CancellationToken) {
    let (mut at_work, mut tasks) = (HashSet::new(), JoinSet::new());
    while !stop.is_cancelled() {
        let wait = match bringer.begin(&mut at_work, &mut tasks).await {
            Ok(wait) => wait,
            Err(error) => {
                tracing::warn!(error = ?error, "files wait");
                EVERY
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = bringer.signals.files.notified() => {}
            Some(ended) = tasks.join_next() => match ended {
                Ok(run) => {
                    at_work.remove(&run);
                }
                Err(error) => {
                    tracing::error!(%error, "files were not brought to the end");
                    at_work.clear();
                }
            },
            () = tokio::time::sleep(wait) => {}
        }
    }
    // What is cut is done again by the next start.
    tasks.shutdown().await;
}

impl Bringer {
    /// Begins with what is due and not at work. Returns how long nothing else will be.
    async fn begin(
        &self,
        at_work: &mut HashSet<RunId>,
        tasks: &mut JoinSet<RunId>,
    ) -> Result<Duration, StoreError> {
        let mut wait = EVERY;
        for due in self.store.to_bring().await? {
            let left_ms = u64::try_from(due.due_ms - now_ms()).unwrap_or_default();
            if 0 < left_ms {
                wait = wait.min(Duration::from_millis(left_ms));
                continue;
            }
            if RUNS_MAX <= at_work.len() {
                break;
            }
            if at_work.insert(due.run.clone()) {
                let bringer = self.clone();
                tasks.spawn(async move {
                    let run = due.run.clone();
                    if let Err(error) = Box::pin(bringer.bring(due)).await {
                        tracing::warn!(%run, error = ?error, "its files wait");
                    }
                    run
                });
            }
        }
        Ok(wait)
    }

    /// Brings the files of a run, each stored as soon as it is there.
    async fn bring(&self, mut due: Bringing) -> Result<(), StoreError> {
        while let Some(at) = due.files.taken.iter().position(|it| it.file.is_none()) {
            let before = due.files.clone();
            let taken = &due.files.taken[at];
            let (due_ms, tries) = match self.file(&due, taken).await {
                Ok(file) => {
                    crash::point("files.put");
                    due.files.taken[at].file = Some(file);
                    (now_ms(), 0)
                }
                Err(Trouble::Never(why)) => {
                    tracing::warn!(run = %due.run, name = taken.name, why, "a file is left out");
                    let taken = due.files.taken.remove(at);
                    due.files.withhold(&taken.name, &why);
                    (now_ms(), 0)
                }
                Err(Trouble::Discord(error)) if TRIES_MAX <= due.tries + 1 => {
                    tracing::warn!(run = %due.run, error = ?error, "a file is left out");
                    let taken = due.files.taken.remove(at);
                    due.files.withhold(&taken.name, "could not be fetched from Discord");
                    (now_ms(), 0)
                }
                Err(Trouble::Discord(error)) => {
                    tracing::warn!(run = %due.run, error = ?error, "a file is fetched later");
                    (now_ms() + pause_ms(due.tries), due.tries + 1)
                }
                // However long NATS is away, nothing could be published anyway.
                Err(Trouble::Bus(error)) => {
                    tracing::warn!(run = %due.run, error = ?error, "a file is put later");
                    (now_ms() + pause_ms(due.tries), due.tries)
                }
            };
            let left_out_now = due.files.withheld.len().saturating_sub(before.withheld.len());
            let new = &due.files.withheld[due.files.withheld.len() - left_out_now..];
            let count = due.files.withheld.len();
            let rows = render::files_left_out(&due.place(), count, &left_out(new));
            let next_due = due.files.are_due().then_some(due_ms);
            let brought = due.becomes(&before, next_due, tries);
            // Somebody edited the message, or another gateway was faster: the next look knows more.
            if !self.store.brought(&brought, &rows, now_ms()).await? || now_ms() < due_ms {
                return Ok(());
            }
            crash::point("files.stored");
            due.tries = tries;
        }
        self.signals.stored();
        Ok(())
    }

    /// One file, from Discord into FILES.
    async fn file(&self, due: &Bringing, taken: &Taken) -> Result<File, Trouble> {
        if !is_discords(&taken.url) {
            return Err(Trouble::Never("does not lie with Discord".into()));
        }
        let bytes = match self.discord.fetch(&taken.url, taken.bytes).await {
            Err(error) if error.is_gone() => self.fetch_anew(due, taken).await?,
            Err(DiscordError::TooLarge(_)) => {
                return Err(Trouble::Never("is larger than Discord said".into()));
            }
            other => other.map_err(Trouble::Discord)?,
        };
        if bytes.is_empty() {
            return Err(Trouble::Never("is empty".into()));
        }
        crash::point("files.fetched");
        Ok(self.bus.put_file(&due.project, &bytes).await?)
    }

    /// The address is good for a day: the message says a new one.
    async fn fetch_anew(&self, due: &Bringing, taken: &Taken) -> Result<Vec<u8>, Trouble> {
        let gone = || Trouble::Never("is not with Discord any more".into());
        let (channel, message) = due.asked;
        let heard = self.discord.message(channel, message).await.map_err(Trouble::Discord)?;
        let files = heard.map(|heard| heard.attachments).unwrap_or_default();
        let fresh = files.into_iter().find(|file| taken.is_at(&file.url)).ok_or_else(gone)?;
        match self.discord.fetch(&fresh.url, taken.bytes).await {
            Err(error) if error.is_gone() => Err(gone()),
            Err(DiscordError::TooLarge(_)) => {
                Err(Trouble::Never("is larger than Discord said".into()))
            }
            other => other.map_err(Trouble::Discord),
        }
    }
}

/// The pause after so many failures: doubling.
fn pause_ms(tries: i64) -> i64 {
    let doubled = PAUSE * 2_u32.saturating_pow(u32::try_from(tries.clamp(0, 16)).unwrap_or(16));
    i64::try_from(doubled.min(PAUSE_MAX).as_millis()).expect("some seconds fit")
}
