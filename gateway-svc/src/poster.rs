//! Outbox → Discord: leases a thread, does its rows one after the other, each once.
//!
//! A reconciler like the publisher: woken by a signal and by the time of the next row. What a
//! failure means is decided by [`fate`], purely. A row of unknown fate is done again under the
//! same nonce, which Discord answers with the message it has; when Discord may have forgotten the
//! nonce, the message is looked for first (`lookup`). A post's whole time is cut at half the lease,
//! so that two posters are never in one thread. When Discord lets nobody in, nothing is posted
//! anywhere for a while, and then one row is tried alone.

mod fate;
mod files;
mod lookup;
mod parked;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use platform::clock::now_ms;
use platform::health::Readiness;
use platform::reload::Current;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::fate::{Fate, LIMITED, PAUSE, pause, plainer};
use crate::bus::{Bus, BusError};
use crate::config::{Config, Posting};
use crate::crash;
use crate::discord::{Discord, DiscordError, Post};
use crate::nonce::nonce;
use crate::numbers::Numbers;
use crate::outbox::{Action, Row};
use crate::render::with_line;
use crate::signals::Signals;
use crate::store::{Due, Lease, Store, StoreError};
use crate::traced;
use schemas::ids::{ChannelId, MessageId, ThreadId};

/// Threads that are written in at once.
const THREADS_MAX: usize = 16;
/// The longest try to rename a thread. serenity waits in it for as long as Discord says, which is up
/// to ten minutes for names and is not told beforehand.
const RENAME_MAX: Duration = Duration::from_secs(5);
/// The longest sleep when no signal comes.
const EVERY: Duration = Duration::from_secs(15);

/// What posting needs. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Poster {
    store: Store,
    discord: Discord,
    bus: Bus,
    readiness: Readiness,
    config: Current<Config>,
    /// Those of the lease in hand.
    times: Posting,
    locked: Locked,
    /// The gateway, as the others know it: a part of the name of each lease.
    gateway: String,
    numbers: Numbers,
}

impl Poster {
    /// A poster.
    pub(crate) fn new(
        store: Store,
        (discord, bus): (Discord, Bus),
        readiness: Readiness,
        config: Current<Config>,
        gateway: String,
        numbers: Numbers,
    ) -> Self {
        let (times, locked) = (config.now().posting, Locked::default());
        Self { store, discord, bus, readiness, config, times, locked, gateway, numbers }
    }

    /// The whole time of one row.
    fn row_max(&self) -> Duration {
        self.times.lease / 2
    }
}

/// Until when nobody is let in by Discord, in milliseconds; 0: not since the last row went well.
#[derive(Clone, Debug, Default)]
struct Locked(Arc<AtomicI64>);

impl Locked {
    fn until(&self, end_ms: i64) {
        self.0.store(end_ms, Ordering::SeqCst);
    }

    /// How many threads may be written in at once, and how long none.
    fn allows(&self, now_ms: i64) -> (usize, Duration) {
        let end_ms = self.0.load(Ordering::SeqCst);
        let left = Duration::from_millis(u64::try_from(end_ms - now_ms).unwrap_or_default());
        match end_ms {
            0 => (THREADS_MAX, Duration::ZERO),
            _ if left.is_zero() => (1, Duration::ZERO),
            _ => (0, left),
        }
    }
}

/// Posts what is due, until `stop`; then ends after the rows in flight.
pub(crate) async fn run(mut poster: Poster, signals: Signals, stop: CancellationToken) {
    let mut threads = JoinSet::new();
    while !stop.is_cancelled() {
        poster.readiness.turns("posting");
        poster.times = poster.config.now().posting;
        let leased = match lease(&poster, threads.len()).await {
            Ok(leased) => leased,
            Err(error) => {
                tracing::warn!(error = ?error, "posting waits");
                None
            }
        };
        if let Some(lease) = leased {
            threads.spawn(thread(poster.clone(), lease, stop.clone()));
            continue;
        }
        let wait = until_next(&poster).await;
        tokio::select! {
            () = stop.cancelled() => {}
            () = signals.due.notified() => {}
            Some(ended) = threads.join_next() => report(ended),
            () = tokio::time::sleep(wait) => {}
        }
    }
    while let Some(ended) = threads.join_next().await {
        report(ended);
    }
}

async fn lease(poster: &Poster, busy: usize) -> Result<Option<Lease>, StoreError> {
    let (allowed, _) = poster.locked.allows(now_ms());
    if allowed <= busy {
        return Ok(None);
    }
    let owner = format!("{}/{}", poster.gateway, Uuid::new_v4().simple());
    poster.store.lease(&owner, now_ms(), millis(poster.times.lease)).await
}

/// How long nothing will be due. A row that is due now is somebody else's for the moment.
async fn until_next(poster: &Poster) -> Duration {
    // A look now and then is often enough for what was put aside.
    if let Err(error) = poster.store.take_up(now_ms()).await {
        tracing::warn!(error = ?error, "what was put aside waits");
    }
    let due_ms = poster.store.next_due_ms().await.ok().flatten();
    let wait_ms = due_ms.map_or(EVERY.as_millis(), |due| {
        u128::try_from(due - now_ms()).unwrap_or(PAUSE.0.as_millis())
    });
    let wait = Duration::from_millis(u64::try_from(wait_ms).unwrap_or(u64::MAX));
    let (_, locked) = poster.locked.allows(now_ms());
    wait.max(locked).clamp(PAUSE.0, EVERY)
}

fn report(ended: Result<Result<(), StoreError>, tokio::task::JoinError>) {
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(error = ?error, "a thread's posts wait"),
        Err(error) => tracing::error!(%error, "a poster ended before its work"),
    }
}

/// Does the rows of one thread, until none is due.
async fn thread(poster: Poster, lease: Lease, stop: CancellationToken) -> Result<(), StoreError> {
    let Poster { store, discord, times, .. } = &poster;
    crash::point("post.leased");
    while !stop.is_cancelled() && poster.locked.allows(now_ms()).0 != 0 {
        let now = now_ms();
        let Some(due) = store.next_row(&lease, now, now + millis(times.lease)).await? else {
            break;
        };
        crash::point("post.noted");
        let channel = due.row.action.channel();
        if let Some(wait) = held_back_alone(discord, &due.row.action) {
            put_aside(&poster, &due, wait).await?;
            continue;
        }
        if let Some(wait) = discord.held_back(channel).filter(|wait| poster.row_max() <= *wait) {
            wait_for_limit(&poster, &due, wait).await?;
            continue;
        }
        let began_ms = now_ms();
        let doing = async {
            if let Some(wait) = discord.held_back(channel) {
                tokio::time::sleep(wait).await;
            }
            let found = lookup::found(store, discord, &due, now - millis(times.nonce_window));
            match found.await? {
                Some(message) => Ok(Some(message)),
                None => carry_out(&poster, lease.thread, &due.row).await,
            }
        };
        let done = match tokio::time::timeout(poster.row_max().min(time_of(&due.row.action)), doing)
            .await
        {
            Ok(Err(Trouble::Store(error))) => return Err(error),
            Ok(Err(Trouble::Bus(error))) => {
                let why = format!("{:#}", anyhow::Error::new(error));
                let again_ms = now_ms() + millis(pause(due.tries));
                store.try_again(&due.row.name, again_ms, &why).await?;
                continue;
            }
            Ok(Err(Trouble::Discord(error))) => Some(Err(error)),
            Ok(Ok(message)) => Some(Ok(message)),
            Err(_) => None,
        };
        if let Some(wait) = held_back_alone(discord, &due.row.action).filter(|_| done.is_none()) {
            put_aside(&poster, &due, wait).await?;
            continue;
        }
        traced::posted(store, &due.row, due.tries, began_ms, matches!(done, Some(Ok(_)))).await;
        match discord.held_back(channel) {
            // It was still waiting, as Discord had told it to.
            Some(wait) if done.is_none() => wait_for_limit(&poster, &due, wait).await?,
            Some(_) | None => settle(&poster, &lease, &due, done).await?,
        }
    }
    store.release_lease(&lease).await
}

/// Leaves a row for the time that Discord wants no request.
async fn wait_for_limit(poster: &Poster, due: &Due, wait: Duration) -> Result<(), StoreError> {
    let name = &due.row.name;
    poster.numbers.posted(LIMITED);
    tracing::warn!(row = %name, wait_ms = wait.as_millis(), "Discord wants no request for so long");
    poster.store.try_again(name, now_ms() + millis(wait), "Discord wants fewer requests").await
}

/// The most time that a row of this kind may hold up the thread's others.
fn time_of(action: &Action) -> Duration {
    if renamed(action).is_some() { RENAME_MAX } else { Duration::MAX }
}

/// How long Discord wants no request of this kind alone: a thread's name may change twice in ten
/// minutes, and nothing else waits for it.
fn held_back_alone(discord: &Discord, action: &Action) -> Option<Duration> {
    renamed(action).and_then(|thread| discord.name_held_back(thread))
}

/// The thread that is to have another name, if one is.
fn renamed(action: &Action) -> Option<ChannelId> {
    match action {
        Action::Rename { channel, .. } => Some(*channel),
        Action::React { .. }
        | Action::Unreact { .. }
        | Action::Thread { .. }
        | Action::Post { .. }
        | Action::Ask { .. }
        | Action::Upload { .. }
        | Action::Files { .. }
        | Action::Status { .. }
        | Action::Delete { .. }
        | Action::Edit { .. } => None,
    }
}

/// Leaves a row alone for that time: the thread's others go on.
async fn put_aside(poster: &Poster, due: &Due, wait: Duration) -> Result<(), StoreError> {
    let name = &due.row.name;
    poster.numbers.posted(LIMITED);
    poster.store.put_aside(name, now_ms() + millis(wait), "Discord wants fewer requests").await?;
    tracing::info!(row = %name, wait_ms = wait.as_millis(), "is put aside for so long");
    Ok(())
}

/// Why a row was not done.
enum Trouble {
    Discord(DiscordError),
    Bus(BusError),
    Store(StoreError),
}

impl From<DiscordError> for Trouble {
    fn from(error: DiscordError) -> Self {
        Self::Discord(error)
    }
}

/// The message that a row is to become, if it is to become one.
fn post_of(row: &Row) -> Option<(ChannelId, Post<'_>)> {
    let (reply_to, menu, files, silent) = (None, None, Vec::new(), false);
    let (content, buttons) = ("", &[][..]);
    let none = Post { reply_to, content, buttons, menu, files, silent, nonce: nonce(&row.name) };
    match &row.action {
        Action::Post { channel, reply_to, content, buttons } => {
            Some((*channel, Post { reply_to: *reply_to, content, buttons, ..none }))
        }
        Action::Ask { channel, reply_to, content, buttons, menu } => {
            let (reply_to, menu) = (*reply_to, menu.as_ref());
            Some((*channel, Post { reply_to, content, buttons, menu, ..none }))
        }
        Action::Upload { channel, reply_to, content, name, text } => {
            let (reply_to, files) = (*reply_to, vec![(&**name, text.as_bytes())]);
            Some((*channel, Post { reply_to, content, files, ..none }))
        }
        // The files are fetched where it is posted.
        Action::Files { channel, reply_to, content, .. } => {
            Some((*channel, Post { reply_to: *reply_to, content, ..none }))
        }
        Action::Status { channel, content, buttons } => {
            Some((*channel, Post { content, buttons, silent: true, ..none }))
        }
        Action::React { .. }
        | Action::Unreact { .. }
        | Action::Thread { .. }
        | Action::Delete { .. }
        | Action::Rename { .. }
        | Action::Edit { .. } => None,
    }
}

/// Does one row. Returns the message that a post became.
async fn carry_out(
    Poster { store, discord, bus, .. }: &Poster,
    thread: ThreadId,
    row: &Row,
) -> Result<Option<MessageId>, Trouble> {
    if let Some((channel, post)) = post_of(row) {
        if let Action::Files { project, files, .. } = &row.action {
            let posting = files::post(discord, bus, channel, (project, files), post);
            return Ok(Some(Box::pin(posting).await?));
        }
        return Ok(Some(discord.post(channel, post).await?));
    }
    match &row.action {
        Action::React { channel, message, emoji } => {
            discord.react(*channel, *message, *emoji).await?;
        }
        Action::Unreact { channel, message, emoji } => {
            discord.unreact(*channel, *message, *emoji).await?;
        }
        Action::Thread { channel, message, name } => {
            discord.start_thread(*channel, *message, name).await?;
        }
        // They were made above.
        Action::Post { .. }
        | Action::Ask { .. }
        | Action::Upload { .. }
        | Action::Files { .. }
        | Action::Status { .. } => {}
        Action::Delete { channel, of } => {
            if let Some(message) = store.became(of).await.map_err(Trouble::Store)? {
                discord.delete(*channel, message).await?;
            }
        }
        Action::Edit { channel, about, line } => {
            for (message, said) in
                store.with_buttons(thread, about).await.map_err(Trouble::Store)?
            {
                discord.decide(*channel, message, &with_line(&said, line)).await?;
            }
        }
        Action::Rename { channel, name } => {
            rename(store, discord, thread, *channel, name).await?;
        }
    }
    Ok(None)
}

/// Gives a thread that we started another name, unless it has one by now that is not ours. (A person
/// who renames it between the look and the change is overruled: Discord has no condition for it.)
async fn rename(
    store: &Store,
    discord: &Discord,
    thread: ThreadId,
    place: ChannelId,
    name: &str,
) -> Result<(), Trouble> {
    let Some(own) = store.called(thread).await.map_err(Trouble::Store)? else { return Ok(()) };
    let now = discord.name_of(place).await?;
    if now.trim() != own.trim() || now == name {
        tracing::info!(%thread, "keeps its name");
        return Ok(());
    }
    Ok(discord.rename(place, name).await?)
}

/// Stores what became of a row, and then says it: who reads the log and asks `doctor` finds it there.
/// `None`: its time was over.
async fn settle(
    poster: &Poster,
    lease: &Lease,
    due: &Due,
    done: Option<Result<Option<MessageId>, DiscordError>>,
) -> Result<(), StoreError> {
    let Poster { store, readiness, times, locked, numbers, .. } = poster;
    let name = &due.row.name;
    let (why, code, fate) = match done {
        Some(Ok(message)) => {
            readiness.ready("posting");
            locked.until(0);
            crash::point("post.sent");
            store.sent(name, message, now_ms()).await?;
            crash::point("post.stored");
            numbers.posted(Fate::Done.name());
            return Ok(());
        }
        Some(Err(error)) => (error.to_string(), error.code(), Fate::of(&error, &due.row.action)),
        None => ("it took too long".to_owned(), None, files::too_slow(due)),
    };
    numbers.posted(fate.name());
    match fate {
        Fate::Locked => {
            tracing::error!(row = %name, why, "Discord does not let the bot in; is the token right?");
            readiness.not_ready("posting", &why);
            // No row's own time: when this pause is over, the oldest is the first to be tried.
            locked.until(now_ms() + millis(times.locked_pause));
            store.try_again(name, now_ms() + millis(times.locked_pause), &why).await
        }
        Fate::Parked => {
            park(poster, lease.thread, due, &why, code.unwrap_or_default()).await?;
            tracing::error!(row = %name, why, "the bot may not do that there now; it is parked");
            Ok(())
        }
        Fate::Threadless => {
            let Action::Thread { channel, message, .. } = &due.row.action else {
                return store.sent(name, None, now_ms()).await;
            };
            let line = parked::threadless(*channel, *message, code.unwrap_or_default());
            store.goes_on_in_channel(lease.thread, name, &why, &line, now_ms()).await?;
            tracing::warn!(row = %name, why, "no thread can be started; it goes on in its channel");
            Ok(())
        }
        Fate::Done => store.sent(name, None, now_ms()).await,
        Fate::Again => {
            let pause = pause(due.tries);
            store.try_again(name, now_ms() + millis(pause), &why).await?;
            tracing::warn!(row = %name, why, pause_ms = pause.as_millis(), "will be posted again");
            Ok(())
        }
        Fate::Never => {
            crash::point("post.refused");
            store.give_up(lease.thread, name, &why, plainer(&due.row), now_ms()).await?;
            crash::point("post.given_up");
            tracing::error!(row = %name, why, "cannot be posted");
            Ok(())
        }
        Fate::Gone => {
            store.give_up(lease.thread, name, &why, None, now_ms()).await?;
            crash::point("post.gone");
            tracing::error!(row = %name, why, "there is no place for it any more");
            Ok(())
        }
    }
}

/// Leaves a row until somebody gives the bot a right, and says so where that can be said.
async fn park(
    Poster { store, times, .. }: &Poster,
    thread: ThreadId,
    due: &Due,
    why: &str,
    code: i64,
) -> Result<(), StoreError> {
    let name = &due.row.name;
    if parked::is_line(&due.row) {
        tracing::warn!(%thread, why, "its channel takes no word of it either");
        return store.give_up(thread, name, why, None, now_ms()).await;
    }
    if let Some((channel, project)) = store.home_of(thread).await?
        && let Some(line) = parked::line(thread, channel, &due.row.action, code)
    {
        store.tell_channel(channel, &project, line, now_ms()).await?;
        crash::point("park.told");
    }
    store.park(name, now_ms() + millis(times.parked_pause), why).await
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).expect("our durations are short")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn while_nobody_is_let_in_nothing_is_posted_and_then_one_row_alone() {
        let locked = Locked::default();
        assert_eq!(locked.allows(5_000), (THREADS_MAX, Duration::ZERO));
        locked.until(7_000);
        assert_eq!(locked.allows(5_000), (0, Duration::from_secs(2)));
        assert_eq!(locked.allows(7_000), (1, Duration::ZERO));
        locked.until(0);
        assert_eq!(locked.allows(7_000).0, THREADS_MAX);
    }
}
