//! How much people ask, and what it costs: counted out of what is stored, over all gateways.
//!
//! Questions are counted by the times that Discord gave their messages, under a row of their project that
//! makes two gateways count one after the other. Costs are one row an outcome.

use schemas::ids::{MessageId, ProjectName, UserId};
use schemas::record::Record;
use schemas::streams::RunKey;
use sqlx::Row as _;

use super::runs::NewRun;
use super::{Result, Store, Tx, id, number};
use crate::limits::{Rate, Spent, TooMany, Whose, day_began};
use crate::outbox::Row;
use crate::render;

/// What became of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accepted {
    /// It is stored as a run.
    Now,
    /// It was judged before.
    Before,
    /// It comes too early; nothing was stored.
    TooMany(TooMany),
}

impl Store {
    /// Stores a run as [`Store::accept`] does, unless too much was asked before it.
    pub(crate) async fn accept_within(
        &self,
        new: &NewRun,
        rows: &[Row],
        rate: Rate,
        now_ms: i64,
    ) -> Result<Accepted> {
        let Some(mut tx) = self.begin_accept(new, now_ms).await? else {
            return Ok(Accepted::Before);
        };
        if rate.is_set()
            && let Some(over) = too_many(&mut tx, new, rate).await?
        {
            return Ok(Accepted::TooMany(over));
        }
        Self::end_accept(tx, new, rows, now_ms).await?;
        Ok(Accepted::Now)
    }

    /// What was spent today, as a person's next run would count it.
    pub(crate) async fn spent_today(
        &self,
        project: &ProjectName,
        author: UserId,
        now_ms: i64,
    ) -> Result<Spent> {
        let mut tx = self.pool.begin().await?;
        spent(&mut tx, project, author, now_ms).await
    }
}

/// Whether so much was asked before a question that it comes too early.
async fn too_many(tx: &mut Tx, new: &NewRun, rate: Rate) -> Result<Option<TooMany>> {
    // Whoever counts next waits until this one is stored.
    sqlx::query(
        "INSERT INTO meta (key, value) VALUES ($1, '')
         ON CONFLICT (key) DO UPDATE SET value = excluded.value",
    )
    .bind(format!("rate/{}", new.project))
    .execute(&mut **tx)
    .await?;
    for (max, whose) in [(rate.per_person, Whose::Person), (rate.per_project, Whose::Project)] {
        let Some(max) = max else { continue };
        let (first, end) = rate.beside(new.asked.1);
        let rows = sqlx::query(
            "SELECT ord FROM runs
              WHERE project = $1 AND ord >= $2 AND ord < $3 AND asked_by IS NOT NULL
                AND ($4 = 0 OR author = $4)
              ORDER BY ord DESC LIMIT $5",
        )
        .bind(new.project.as_str())
        .bind(number(first.get()))
        .bind(number(end.get()))
        .bind(match whose {
            Whose::Person => number(new.author.id.get()),
            Whose::Project => 0,
        })
        // Never more are stored: so many before it, and so many after it.
        .bind(2 * i64::from(max))
        .fetch_all(&mut **tx)
        .await?;
        let others = rows.iter().map(|row| id(row.try_get("ord")?, MessageId::new));
        let others = others.collect::<Result<Vec<_>>>()?;
        if let Some(oldest) = rate.oldest_of(max, new.asked.1, &others) {
            return Ok(Some(TooMany { whose, max, oldest }));
        }
    }
    Ok(None)
}

/// What was spent since the day of `now_ms` began.
pub(super) async fn spent(
    tx: &mut Tx,
    project: &ProjectName,
    author: UserId,
    now_ms: i64,
) -> Result<Spent> {
    let sum = "CAST(COALESCE(SUM(CASE WHEN";
    let end = "THEN micro ELSE 0 END), 0) AS BIGINT)";
    let text = format!(
        "SELECT {sum} project = $2 AND author = $3 {end} AS own_person,
                {sum} project = $2 {end} AS own,
                {sum} author = $3 {end} AS all_person,
                {sum} TRUE {end} AS everything
           FROM costs WHERE at_ms >= $1"
    );
    let row = sqlx::query(sqlx::AssertSqlSafe(text))
        .bind(day_began(now_ms))
        .bind(project.as_str())
        .bind(number(author.get()))
        .fetch_one(&mut **tx)
        .await?;
    Ok(Spent {
        own_person: row.try_get("own_person")?,
        own: row.try_get("own")?,
        all_person: row.try_get("all_person")?,
        all: row.try_get("everything")?,
    })
}

/// Notes what an outcome cost, and returns it; `before` is what its session had cost. The caller holds the
/// thread's lock.
pub(super) async fn note_cost(
    tx: &mut Tx,
    key: &RunKey,
    record: &Record,
    before: i64,
    now_ms: i64,
) -> Result<i64> {
    let Some(usage) = record.usage() else { return Ok(0) };
    let total = render::spent(usage);
    // A host that did not know the session's cost counts from nothing.
    let micro = if total < before { total } else { total - before };
    let whole = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    sqlx::query(
        "INSERT INTO costs (run, generation, project, author, micro, at_ms, input_tokens, output_tokens,
                            duration_ms)
         SELECT run, $2, project, author, $3, $4, $5, $6, $7 FROM runs WHERE run = $1
         ON CONFLICT (run, generation) DO NOTHING",
    )
    .bind(key.run.as_str())
    .bind(i64::from(record.generation.0))
    .bind(micro)
    .bind(now_ms)
    .bind(whole(usage.input_tokens))
    .bind(whole(usage.output_tokens))
    .bind(whole(usage.duration_ms))
    .execute(&mut **tx)
    .await?;
    Ok(micro)
}
