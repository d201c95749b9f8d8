//! Outbox → Discord: leases a thread, does its rows one after the other, each once.
//!
//! A reconciler like the publisher: woken by a signal and by the time of the next row. What a
//! failure means is decided by [`fate`], purely. A row of unknown fate is done again under the
//! same nonce, which Discord answers with the message it has; when Discord may have forgotten the
//! nonce, the message is looked for first. A post's whole time is cut at half the lease, so that
//! two posters are never in one thread.

use std::time::Duration;

use platform::clock::now_ms;
use platform::health::Readiness;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::crash;
use crate::discord::{Discord, DiscordError, Post};
use crate::nonce::nonce;
use crate::outbox::{Action, Row};
use crate::signals::Signals;
use crate::store::{Due, Lease, Store, StoreError};
use schemas::ids::MessageId;

/// How long a thread is leased. Shorter than Discord's nonce window, taken as 60 s.
const LEASE: Duration = Duration::from_secs(40);
/// The whole time of one row, the limiter's waits included.
const ROW_MAX: Duration = LEASE.checked_div(2).expect("two is not zero");
/// How long Discord is trusted to remember a nonce ("a few minutes" in its reference).
const NONCE_WINDOW: Duration = Duration::from_secs(60);
/// How far Discord's clock and ours may be apart.
const CLOCKS_APART: Duration = Duration::from_secs(300);
/// The pause before a row is tried again that lacks a right: somebody has to give it first.
const PARKED: Duration = Duration::from_secs(600);
/// Threads that are written in at once.
const THREADS_MAX: usize = 16;
/// The longest sleep when no signal comes.
const EVERY: Duration = Duration::from_secs(15);
/// The first and the longest pause before a row is tried again.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// Posts what is due, until `stop`; then ends after the rows in flight.
pub(crate) async fn run(
    store: Store,
    discord: Discord,
    signals: Signals,
    readiness: Readiness,
    stop: CancellationToken,
) {
    let mut threads = JoinSet::new();
    while !stop.is_cancelled() {
        let leased = match lease(&store, threads.len()).await {
            Ok(leased) => leased,
            Err(error) => {
                tracing::warn!(error = ?error, "posting waits");
                None
            }
        };
        if let Some(lease) = leased {
            let (store, discord) = (store.clone(), discord.clone());
            threads.spawn(thread(store, discord, readiness.clone(), lease, stop.clone()));
            continue;
        }
        let wait = until_next(&store).await;
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

async fn lease(store: &Store, busy: usize) -> Result<Option<Lease>, StoreError> {
    if THREADS_MAX <= busy {
        return Ok(None);
    }
    let owner = Uuid::new_v4().simple().to_string();
    store.lease(&owner, now_ms(), millis(LEASE)).await
}

/// How long nothing will be due. A row that is due now is somebody else's for the moment.
async fn until_next(store: &Store) -> Duration {
    let due_ms = store.next_due_ms().await.ok().flatten();
    let wait_ms = due_ms.map_or(EVERY.as_millis(), |due| {
        u128::try_from(due - now_ms()).unwrap_or(PAUSE.0.as_millis())
    });
    Duration::from_millis(u64::try_from(wait_ms).unwrap_or(u64::MAX)).clamp(PAUSE.0, EVERY)
}

fn report(ended: Result<Result<(), StoreError>, tokio::task::JoinError>) {
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(error = ?error, "a thread's posts wait"),
        Err(error) => tracing::error!(%error, "a poster ended before its work"),
    }
}

/// Does the rows of one thread, until none is due.
async fn thread(
    store: Store,
    discord: Discord,
    readiness: Readiness,
    lease: Lease,
    stop: CancellationToken,
) -> Result<(), StoreError> {
    crash::point("post.leased");
    while !stop.is_cancelled() {
        let now = now_ms();
        let Some(due) = store.next_row(&lease, now, now + millis(LEASE)).await? else { break };
        crash::point("post.noted");
        let doing = async {
            match found(&store, &discord, &due, now).await? {
                Some(message) => Ok(Some(message)),
                None => carry_out(&discord, &due.row).await.map_err(Trouble::Discord),
            }
        };
        let done = match tokio::time::timeout(ROW_MAX, doing).await {
            Ok(Err(Trouble::Store(error))) => return Err(error),
            Ok(Err(Trouble::Discord(error))) => Some(Err(error)),
            Ok(Ok(message)) => Some(Ok(message)),
            Err(_) => None,
        };
        settle(&store, &readiness, &lease, &due, done).await?;
    }
    store.release_lease(&lease).await
}

/// Why a row was not done.
enum Trouble {
    Discord(DiscordError),
    Store(StoreError),
}

/// Looks whether a post of unknown fate was made: Discord has forgotten its nonce by now, and would
/// take it for a new one. One row of a thread is in flight at a time, so an own message that is as
/// new, says the same and belongs to no row is this row's.
async fn found(
    store: &Store,
    discord: &Discord,
    due: &Due,
    now_ms: i64,
) -> Result<Option<MessageId>, Trouble> {
    let Action::Post { channel, content, .. } = &due.row.action else { return Ok(None) };
    if now_ms - due.first_ms < millis(NONCE_WINDOW) {
        return Ok(None);
    }
    let since_ms = due.made_ms - millis(CLOCKS_APART);
    let own = discord.own_since(*channel, since_ms).await.map_err(Trouble::Discord)?;
    let same = own.iter().filter(|(_, said)| said.trim() == content.trim());
    let same: Vec<MessageId> = same.map(|(message, _)| *message).collect();
    let found = store.unowned(&same).await.map_err(Trouble::Store)?.first().copied();
    if found.is_some() {
        tracing::info!(row = %due.row.name, "was posted already");
    }
    Ok(found)
}

/// Does one row. Returns the message that a post became.
async fn carry_out(discord: &Discord, row: &Row) -> Result<Option<MessageId>, DiscordError> {
    match &row.action {
        Action::React { channel, message, emoji } => {
            discord.react(*channel, *message, *emoji).await.map(|()| None)
        }
        Action::Unreact { channel, message, emoji } => {
            discord.unreact(*channel, *message, *emoji).await.map(|()| None)
        }
        Action::Thread { channel, message, name } => {
            discord.start_thread(*channel, *message, name).await.map(|()| None)
        }
        Action::Post { channel, reply_to, content, buttons } => {
            let post = Post { reply_to: *reply_to, content, buttons, nonce: nonce(&row.name) };
            discord.post(*channel, post).await.map(Some)
        }
    }
}

/// Stores what became of a row; `None`: its time was over.
async fn settle(
    store: &Store,
    readiness: &Readiness,
    lease: &Lease,
    due: &Due,
    done: Option<Result<Option<MessageId>, DiscordError>>,
) -> Result<(), StoreError> {
    let name = &due.row.name;
    let error = match done {
        Some(Ok(message)) => {
            readiness.ready("posting");
            crash::point("post.sent");
            store.sent(name, message, now_ms()).await?;
            crash::point("post.stored");
            return Ok(());
        }
        Some(Err(error)) => error.to_string_with_fate(&due.row),
        None => ("it took too long".to_owned(), Fate::Again),
    };
    let (why, fate) = error;
    match fate {
        Fate::Locked => {
            tracing::error!(row = %name, why, "Discord does not let the bot in; is the token right?");
            readiness.not_ready("posting", &why);
            store.try_again(name, now_ms() + millis(PAUSE.1), &why).await
        }
        Fate::Parked => {
            tracing::error!(row = %name, why, "the bot lacks a right there; the post is parked");
            store.try_again(name, now_ms() + millis(PARKED), &why).await
        }
        Fate::Done => store.sent(name, None, now_ms()).await,
        Fate::Again => {
            let pause = pause(due.tries);
            tracing::warn!(row = %name, why, pause_ms = pause.as_millis(), "will be posted again");
            store.try_again(name, now_ms() + millis(pause), &why).await
        }
        Fate::Never => {
            tracing::error!(row = %name, why, "cannot be posted");
            crash::point("post.refused");
            store.give_up(lease.thread, name, &why, plainer(&due.row), now_ms()).await?;
            crash::point("post.given_up");
            Ok(())
        }
    }
}

impl DiscordError {
    fn to_string_with_fate(&self, row: &Row) -> (String, Fate) {
        let fate = match self {
            DiscordError::Refused { status, code, .. } => fate(&row.action, *status, *code),
            DiscordError::Unknown(_) => Fate::Again,
            DiscordError::BadId(_)
            | DiscordError::Fetch(_)
            | DiscordError::TooLarge(_)
            | DiscordError::Client(_) => Fate::Never,
        };
        (self.to_string(), fate)
    }
}

/// What a refusal means for a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// What was wanted is so.
    Done,
    /// It may go well later.
    Again,
    /// Nothing goes well until the operator acts: the token, or what stands in front of Discord.
    Locked,
    /// It goes well when somebody gives the bot a right there.
    Parked,
    /// It never will.
    Never,
}

/// What a refusal means, by Discord's reference ("JSON Error Codes", as of 2026-08).
fn fate(action: &Action, status: u16, code: i64) -> Fate {
    const UNKNOWN_MESSAGE: i64 = 10_008;
    const MISSING_ACCESS: i64 = 50_001;
    const MISSING_PERMISSIONS: i64 = 50_013;
    match (status, code, action) {
        // The post was made, and somebody deleted it; or the message to react to is gone.
        (_, UNKNOWN_MESSAGE, Action::Post { .. } | Action::Unreact { .. }) => Fate::Done,
        (_, UNKNOWN_MESSAGE, Action::React { .. } | Action::Thread { .. }) => Fate::Never,
        // 401 is a token that was replaced, 403 without a code an access list in front of Discord.
        (401, _, _) | (403, ..=0, _) => Fate::Locked,
        (_, MISSING_ACCESS | MISSING_PERMISSIONS, _) => Fate::Parked,
        (429 | 500.., _, _) => Fate::Again,
        (_, _, _) => Fate::Never,
    }
}

/// What can be said instead of a post that Discord takes in no form.
fn plainer(row: &Row) -> Option<Row> {
    const SUFFIX: &str = "/plain";
    let Action::Post { channel, content, .. } = &row.action else { return None };
    if row.name.ends_with(SUFFIX) {
        return None;
    }
    let content: String = content.chars().filter(|c| *c == '\n' || !c.is_control()).collect();
    let post = Action::Post { channel: *channel, reply_to: None, content, buttons: Vec::new() };
    Some(Row { name: format!("{}{SUFFIX}", row.name), action: post })
}

/// The pause after `tries` failures: doubling, with a part that differs from row to row.
fn pause(tries: i64) -> Duration {
    let doubled = PAUSE.0 * 2_u32.saturating_pow(u32::try_from(tries.clamp(0, 16)).unwrap_or(16));
    let full = doubled.min(PAUSE.1);
    full / 2 + full.mul_f64(f64::from(Uuid::new_v4().as_fields().1) / f64::from(u16::MAX) / 2.0)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).expect("our durations are short")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post() -> Action {
        Action::Post {
            channel: "5".parse().unwrap(),
            reply_to: None,
            content: "a\u{1}b".into(),
            buttons: Vec::new(),
        }
    }

    #[test]
    fn a_post_that_somebody_deleted_was_posted() {
        assert_eq!(fate(&post(), 404, 10_008), Fate::Done);
    }

    #[test]
    fn an_outage_is_waited_for_and_a_lost_thread_is_not() {
        for status in [500, 502, 503, 429] {
            assert_eq!(fate(&post(), status, 0), Fate::Again, "{status}");
        }
        assert_eq!(fate(&post(), 404, 10_003), Fate::Never);
    }

    #[test]
    fn what_somebody_has_to_mend_first_stays_due() {
        assert_eq!(fate(&post(), 401, 0), Fate::Locked);
        assert_eq!(fate(&post(), 403, 0), Fate::Locked, "no code: it was not Discord that said so");
        assert_eq!(fate(&post(), 403, 50_001), Fate::Parked);
        assert_eq!(fate(&post(), 403, 50_013), Fate::Parked);
    }

    #[test]
    fn what_discord_takes_in_no_form_is_said_plainly_once() {
        let row = Row { name: "m7/1/answer/1".into(), action: post() };
        let plain = plainer(&row).unwrap();
        assert_eq!(plain.name, "m7/1/answer/1/plain");
        assert!(matches!(&plain.action, Action::Post { content, .. } if content == "ab"));
        assert_eq!(plainer(&plain), None);
    }

    #[test]
    fn pauses_grow_and_end_growing() {
        for tries in 0..40 {
            let pause = pause(tries);
            assert!(PAUSE.0 / 2 <= pause && pause <= PAUSE.1, "{tries}: {pause:?}");
        }
    }
}
