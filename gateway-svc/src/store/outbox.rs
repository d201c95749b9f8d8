//! Outbox rows: written with what made them due, leased by thread, done once.

use schemas::ids::{ChannelId, MessageId, ProjectName, ThreadId};
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::{Result, Store, StoreError, Tx, id, number, text};
use crate::outbox::{Action, Row};

/// A thread that the poster may write in, until the lease ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    /// The thread.
    pub(crate) thread: ThreadId,
    /// Who holds it: random, one for each lease.
    pub(crate) owner: String,
}

/// The row that is next in a leased thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    /// The row.
    pub(crate) row: Row,
    /// How often it was tried.
    pub(crate) tries: i64,
    /// When it was tried first: now, if it was not tried before.
    pub(crate) first_ms: i64,
    /// When it was written.
    pub(crate) made_ms: i64,
    /// Since when it may have been done by a store that is gone.
    pub(crate) lost_ms: Option<i64>,
}

/// A row that went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Troubled {
    /// The row.
    pub(crate) row: Row,
    /// How often it was tried.
    pub(crate) tries: i64,
    /// What came of the last try.
    pub(crate) error: String,
    /// When it was written.
    pub(crate) made_ms: i64,
}

impl Store {
    /// Leases a thread whose next row is due at `now_ms` and that nobody holds.
    pub(crate) async fn lease(
        &self,
        owner: &str,
        now_ms: i64,
        lease_ms: i64,
    ) -> Result<Option<Lease>> {
        // `lease_until_ms <= $3` stands twice on purpose: PostgreSQL, having waited for another's
        // row lock, checks the outer condition again but not the subquery.
        let row = sqlx::query(
            "UPDATE threads SET lease_owner = $1, lease_until_ms = $2
              WHERE lease_until_ms <= $3 AND thread =
                    (SELECT o.thread FROM outbox o JOIN threads t ON t.thread = o.thread
                      WHERE o.state = 'due' AND o.due_ms <= $3 AND t.lease_until_ms <= $3
                        AND o.seq = (SELECT MIN(first.seq) FROM outbox first
                                      WHERE first.thread = o.thread AND first.state = 'due')
                      ORDER BY o.due_ms, o.thread LIMIT 1)
             RETURNING thread",
        )
        .bind(owner)
        .bind(now_ms + lease_ms)
        .bind(now_ms)
        .fetch_optional(&self.pool)
        .await?;
        row.map(|row| {
            let thread = id(row.try_get("thread")?, ThreadId::new)?;
            Ok(Lease { thread, owner: owner.to_owned() })
        })
        .transpose()
    }

    /// The next row of a leased thread, if it is due. Makes the lease last until `until_ms`; `None`
    /// also when the lease is another's by now.
    pub(crate) async fn next_row(
        &self,
        lease: &Lease,
        now_ms: i64,
        until_ms: i64,
    ) -> Result<Option<Due>> {
        let held = sqlx::query(
            "UPDATE threads SET lease_until_ms = $3 WHERE thread = $1 AND lease_owner = $2
             RETURNING said_in",
        )
        .bind(number(lease.thread.get()))
        .bind(&lease.owner)
        .bind(until_ms)
        .fetch_optional(&self.pool)
        .await?;
        let Some(held) = held else { return Ok(None) };
        let said_in: Option<i64> = held.try_get("said_in")?;
        let said_in = said_in.map(|said_in| id(said_in, ChannelId::new)).transpose()?;
        let row = sqlx::query(
            "SELECT name, action, tries, due_ms, first_ms, made_ms FROM outbox
              WHERE thread = $1 AND state = 'due' ORDER BY seq LIMIT 1",
        )
        .bind(number(lease.thread.get()))
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        if now_ms < row.try_get("due_ms")? {
            return Ok(None);
        }
        let action = action(&row)?;
        let name: String = row.try_get("name")?;
        let first_ms: Option<i64> = row.try_get("first_ms")?;
        if first_ms.is_none() {
            // On disk before the first try: whatever cuts that try, the next one knows of it.
            sqlx::query("UPDATE outbox SET first_ms = $2 WHERE name = $1")
                .bind(&name)
                .bind(now_ms)
                .execute(&self.pool)
                .await?;
        }
        let row_due = Row { name, action }.placed(lease.thread, said_in);
        Ok(Some(Due {
            lost_ms: self.may_be_done_since(&row_due),
            row: row_due,
            tries: row.try_get("tries")?,
            first_ms: first_ms.unwrap_or(now_ms),
            made_ms: row.try_get("made_ms")?,
        }))
    }

    /// The newest message that a row of the same thread became.
    pub(crate) async fn last_recorded(&self, name: &str) -> Result<Option<MessageId>> {
        let row = sqlx::query(
            "SELECT MAX(o.message) AS message FROM outbox o JOIN outbox own ON own.thread = o.thread
              WHERE own.name = $1",
        )
        .bind(name)
        .fetch_one(&self.pool)
        .await?;
        let message: Option<i64> = row.try_get("message")?;
        message.map(|message| id(message, MessageId::new)).transpose()
    }

    /// The message that a row became, if it was done.
    pub(crate) async fn became(&self, name: &str) -> Result<Option<MessageId>> {
        let row = sqlx::query("SELECT message FROM outbox WHERE name = $1 AND message IS NOT NULL")
            .bind(name)
            .fetch_optional(&self.pool)
            .await?;
        row.map(|row| id(row.try_get("message")?, MessageId::new)).transpose()
    }

    /// Of these messages, those that no row became.
    pub(crate) async fn unowned(&self, messages: &[MessageId]) -> Result<Vec<MessageId>> {
        let mut unowned = Vec::new();
        for message in messages {
            let owner = sqlx::query("SELECT name FROM outbox WHERE message = $1")
                .bind(number(message.get()))
                .fetch_optional(&self.pool)
                .await?;
            if owner.is_none() {
                unowned.push(*message);
            }
        }
        Ok(unowned)
    }

    /// What was said in a thread with buttons whose ids end so: each message and its text.
    pub(crate) async fn with_buttons(
        &self,
        thread: ThreadId,
        about: &str,
    ) -> Result<Vec<(MessageId, String)>> {
        let rows = sqlx::query(
            "SELECT action, message FROM outbox
              WHERE thread = $1 AND state = 'sent' AND message IS NOT NULL AND action LIKE $2
              ORDER BY seq",
        )
        .bind(number(thread.get()))
        .bind(format!("%{about}%"))
        .fetch_all(&self.pool)
        .await?;
        let mut found = Vec::new();
        for row in &rows {
            // An underscore in what is looked for, or a text that says it, may bring others as well.
            let (content, buttons, menu) = match action(row)? {
                Action::Post { content, buttons, .. } => (content, buttons, None),
                Action::Ask { content, buttons, menu, .. } => (content, buttons, menu),
                Action::React { .. }
                | Action::Unreact { .. }
                | Action::Thread { .. }
                | Action::Rename { .. }
                | Action::Upload { .. }
                | Action::Files { .. }
                | Action::Status { .. }
                | Action::Delete { .. }
                | Action::Edit { .. } => continue,
            };
            let menu = menu.iter().map(|menu| &menu.id);
            let mut ids = buttons.iter().map(|button| &button.id).chain(menu);
            if ids.any(|id| id.ends_with(about)) {
                found.push((id(row.try_get("message")?, MessageId::new)?, content));
            }
        }
        Ok(found)
    }

    /// The channel that a thread is in, and the project; a channel is in itself.
    pub(crate) async fn home_of(
        &self,
        thread: ThreadId,
    ) -> Result<Option<(ChannelId, ProjectName)>> {
        let row = sqlx::query("SELECT channel, project FROM threads WHERE thread = $1")
            .bind(number(thread.get()))
            .fetch_optional(&self.pool)
            .await?;
        row.map(|row| {
            let channel = id(row.try_get("channel")?, ChannelId::new)?;
            Ok((channel, row.try_get::<String, _>("project")?.parse()?))
        })
        .transpose()
    }

    /// Discord has it: `message` is what a post became.
    pub(crate) async fn sent(
        &self,
        name: &str,
        message: Option<MessageId>,
        now_ms: i64,
    ) -> Result<()> {
        if let Some(message) = message
            && self.forked(name, message, now_ms).await?
        {
            return Ok(());
        }
        sqlx::query(
            "UPDATE outbox SET state = 'sent', message = $2, done_ms = $3
              WHERE name = $1 AND state = 'due'",
        )
        .bind(name)
        .bind(message.map(|message| number(message.get())))
        .bind(now_ms)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// It is to be tried again, not before `due_ms`.
    pub(crate) async fn try_again(&self, name: &str, due_ms: i64, error: &str) -> Result<()> {
        self.later(name, due_ms, error, ("due", false)).await
    }

    /// It waits for a right that somebody has to give, and is to be tried again, not before `due_ms`.
    pub(crate) async fn park(&self, name: &str, due_ms: i64, error: &str) -> Result<()> {
        self.later(name, due_ms, error, ("due", true)).await
    }

    /// It was tried and is to be tried again, not before `due_ms`: in this state, and waiting for a right or
    /// not.
    pub(super) async fn later(
        &self,
        name: &str,
        due_ms: i64,
        error: &str,
        (state, is_parked): (&str, bool),
    ) -> Result<()> {
        sqlx::query(
            "UPDATE outbox SET state = $4, due_ms = $2, tries = tries + 1, error = $3, parked = $5
              WHERE name = $1 AND state = 'due'",
        )
        .bind(name)
        .bind(due_ms)
        .bind(text(error))
        .bind(state)
        .bind(i64::from(is_parked))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// It cannot be done, and why; `instead` takes its place among the thread's rows, so that it comes
    /// before what was owed behind it.
    pub(crate) async fn give_up(
        &self,
        thread: ThreadId,
        name: &str,
        error: &str,
        instead: Option<Row>,
        now_ms: i64,
    ) -> Result<()> {
        let mut tx = self.begin_write().await?;
        sqlx::query("UPDATE threads SET changes = changes + 1 WHERE thread = $1")
            .bind(number(thread.get()))
            .execute(&mut *tx)
            .await?;
        let Some(place) = leave_place(&mut tx, thread, name, error, now_ms).await? else {
            return Ok(());
        };
        if let Some(instead) = instead {
            insert_at(&mut tx, thread, place, &instead, now_ms).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Makes every row due now that waits to be tried again.
    pub(crate) async fn try_at_once(&self, now_ms: i64) -> Result<()> {
        sqlx::query("UPDATE outbox SET due_ms = $1 WHERE state = 'due' AND $1 < due_ms")
            .bind(now_ms)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// The rows that were tried and are still due, and those that were given up: the first of each
    /// thread, the latest tried first, at most `limit` of either.
    pub(crate) async fn troubled(&self, limit: i64) -> Result<(Vec<Troubled>, Vec<Troubled>)> {
        let waiting = sqlx::query(
            "SELECT o.name, o.action, o.tries, o.error, o.made_ms FROM outbox o
              WHERE o.state = 'due' AND o.error IS NOT NULL
                AND o.seq = (SELECT MIN(first.seq) FROM outbox first
                              WHERE first.thread = o.thread AND first.state = 'due')
              ORDER BY o.due_ms DESC LIMIT $1",
        );
        let ended = sqlx::query(
            "SELECT name, action, tries, error, made_ms FROM outbox
              WHERE state = 'ended' AND error IS NOT NULL ORDER BY done_ms DESC LIMIT $1",
        );
        let waiting = waiting.bind(limit).fetch_all(&self.pool).await?;
        let ended = ended.bind(limit).fetch_all(&self.pool).await?;
        let read = |rows: &[AnyRow]| rows.iter().map(troubled).collect::<Result<Vec<_>>>();
        Ok((read(&waiting)?, read(&ended)?))
    }

    /// Gives the thread back.
    pub(crate) async fn release_lease(&self, lease: &Lease) -> Result<()> {
        sqlx::query(
            "UPDATE threads SET lease_owner = '', lease_until_ms = 0
              WHERE thread = $1 AND lease_owner = $2",
        )
        .bind(number(lease.thread.get()))
        .bind(&lease.owner)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// When the next row is due, leases aside; `None`: nothing is owed.
    pub(crate) async fn next_due_ms(&self) -> Result<Option<i64>> {
        let row = sqlx::query(
            "SELECT MIN(o.due_ms) AS due_ms FROM outbox o
              WHERE o.state = 'due'
                AND o.seq = (SELECT MIN(first.seq) FROM outbox first
                              WHERE first.thread = o.thread AND first.state = 'due')",
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(row.try_get("due_ms")?)
    }
}

fn action(row: &AnyRow) -> Result<Action> {
    let text: String = row.try_get("action")?;
    serde_json::from_str(&text).map_err(|source| StoreError::BadJson { what: "action", source })
}

fn troubled(row: &AnyRow) -> Result<Troubled> {
    Ok(Troubled {
        row: Row { name: row.try_get("name")?, action: action(row)? },
        tries: row.try_get("tries")?,
        error: row.try_get("error")?,
        made_ms: row.try_get("made_ms")?,
    })
}

/// Ends a row that is due, and moves it behind all others of its thread, where nobody asks any more for
/// the order. Returns the place that is free by that; `None`: another poster was faster. The caller
/// holds the thread's lock.
pub(super) async fn leave_place(
    tx: &mut Tx,
    thread: ThreadId,
    name: &str,
    why: &str,
    now_ms: i64,
) -> Result<Option<i64>> {
    let place = sqlx::query("SELECT seq FROM outbox WHERE name = $1 AND state = 'due'")
        .bind(name)
        .fetch_optional(&mut **tx)
        .await?;
    let Some(place) = place else { return Ok(None) };
    let ended = sqlx::query(
        "UPDATE outbox SET state = 'ended', error = $2, done_ms = $3,
                           seq = (SELECT MAX(last.seq) + 1 FROM outbox last WHERE last.thread = $4)
          WHERE name = $1 AND state = 'due'",
    )
    .bind(name)
    .bind(text(why))
    .bind(now_ms)
    .bind(number(thread.get()))
    .execute(&mut **tx)
    .await?;
    Ok((0 < ended.rows_affected()).then_some(place.try_get("seq")?))
}

/// Puts a row at a place of a thread's outbox that is free. The caller holds the thread's lock.
pub(super) async fn insert_at(
    tx: &mut Tx,
    thread: ThreadId,
    seq: i64,
    row: &Row,
    now_ms: i64,
) -> Result<()> {
    let action = serde_json::to_string(&row.action)
        .map_err(|source| StoreError::BadJson { what: "action", source })?;
    sqlx::query(
        "INSERT INTO outbox (name, thread, seq, action, state, due_ms, tries, made_ms)
         VALUES ($1, $2, $3, $4, 'due', $5, 0, $5) ON CONFLICT (name) DO NOTHING",
    )
    .bind(&row.name)
    .bind(number(thread.get()))
    .bind(seq)
    .bind(action)
    .bind(now_ms)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Appends rows to a thread's outbox; one that is there stays as it is. The caller holds the
/// thread's lock.
pub(super) async fn insert_rows(
    tx: &mut Tx,
    thread: ThreadId,
    rows: &[Row],
    now_ms: i64,
) -> Result<u64> {
    let mut new = 0;
    for row in rows {
        let action = serde_json::to_string(&row.action)
            .map_err(|source| StoreError::BadJson { what: "action", source })?;
        new += sqlx::query(
            "INSERT INTO outbox (name, thread, seq, action, state, due_ms, tries, made_ms)
             SELECT $1, $2, COALESCE(MAX(seq), 0) + 1, $3, 'due', $4, 0, $4
               FROM outbox WHERE thread = $2
             ON CONFLICT (name) DO NOTHING",
        )
        .bind(&row.name)
        .bind(number(thread.get()))
        .bind(action)
        .bind(now_ms)
        .execute(&mut **tx)
        .await?
        .rows_affected();
    }
    Ok(new)
}
