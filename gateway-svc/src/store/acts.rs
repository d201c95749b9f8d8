//! The audit: who ordered what, in the transaction that did it; and the list of all that was decided.
//!
//! Orders, moves and owners are rows of `acts`. What else people decide has tables of its own, which are
//! listed along: answers to what claude asks, what is sent into a run, `!unsafe`, forks, missed messages.
//! A row is written once by what it came by, and is never changed.

use schemas::ids::{Generation, ProjectName, RunId, ThreadId, UserId};
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::fleet::{Conditions, count};
use super::orders::By;
use super::{Result, Store, Tx, id, number, text};
use crate::commands::{Done, Order};
use crate::fleet::{self, Act, Actor, AuditWanted, Cursor};

/// What is noted of an order that was carried out.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewAct<'a> {
    /// What was done.
    pub(super) act: &'static str,
    /// To which run, in which generation.
    pub(super) run: Option<(&'a RunId, Generation)>,
    /// In which project.
    pub(super) project: &'a ProjectName,
    /// In which thread.
    pub(super) thread: Option<ThreadId>,
    /// What it came by.
    pub(super) by: By,
    /// Who did it: a person's number, which nobody else has, and their name.
    pub(super) who: (UserId, &'a str),
    /// More of it, in a line.
    pub(super) detail: &'a str,
}

/// What the audit calls an order that was carried out; `None`: nothing was done.
pub(super) fn act_of(order: Order, done: &Done) -> Option<&'static str> {
    match (done, order) {
        (Done::Stopping | Done::StoppingLater(_), _) => Some("stop"),
        (Done::Dropped, _) => Some("drop"),
        (Done::Ended(_), _) => Some("end"),
        (Done::Again, _) => Some("retry"),
        (Done::Discarded, _) => Some("discard"),
        (Done::Waiting(_) | Done::TooLate | Done::Nothing, _) => None,
    }
}

/// Notes what was done, once.
pub(super) async fn note_act(tx: &mut Tx, new: &NewAct<'_>, now_ms: i64) -> Result<()> {
    let (run, generation) = match new.run {
        Some((run, generation)) => (run.as_str(), i64::from(generation.0)),
        None => ("", 0),
    };
    let (kind, user) = match new.by {
        By::Message(_) | By::Reaction(_) | By::Interaction(_) => {
            ("person", number(new.who.0.get()))
        }
        By::Operator(_) => ("operator", 0),
        By::Token(_) => ("token", 0),
    };
    sqlx::query(
        "INSERT INTO acts (id, act, run, generation, project, thread, by_kind, by_user, by_name, detail,
                           at_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
         ON CONFLICT (id, act, run, generation) DO NOTHING",
    )
    .bind(new.by.id())
    .bind(new.act)
    .bind(run)
    .bind(generation)
    .bind(new.project.as_str())
    .bind(new.thread.map_or(0, |thread| number(thread.get())))
    .bind(kind)
    .bind(user)
    .bind(text(new.who.1))
    .bind(text(new.detail))
    .bind(now_ms)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Everything that was decided, each with a key that no other has.
const ALL: &str = "
    SELECT 'a.' || id || '.' || act || '.' || run || '.' || CAST(generation AS TEXT) AS name, at_ms, act,
           run, generation, project, thread, by_kind, by_user, by_name, detail
      FROM acts
    UNION ALL
    SELECT 'd.' || d.run || '.' || CAST(d.generation AS TEXT) || '.' || CAST(d.attempt AS TEXT) || '.'
                || d.ask || '.' || CAST(d.part AS TEXT), d.at_ms, 'decide', d.run, d.generation,
           COALESCE(r.project, ''), COALESCE(r.thread, 0), 'person', d.by_user, d.by_name, d.line
      FROM decisions d LEFT JOIN runs r ON r.run = d.run
    UNION ALL
    SELECT 's.' || s.run || '.' || s.id, s.at_ms, 'send', s.run, 0, COALESCE(r.project, ''), s.thread,
           'person', s.by_user, s.by_name, 'into ' || s.sent_into
      FROM steers s LEFT JOIN runs r ON r.run = s.run WHERE s.state <> 'joined'
    UNION ALL
    SELECT 'u.' || id, at_ms, word, '', 0, project, place, 'person', by_user, by_name, ''
      FROM unsafe_words WHERE word <> 'asked'
    UNION ALL
    SELECT 'f.' || CAST(asked_by AS TEXT), at_ms, 'fork', '', 0, project, from_thread, 'person', by_user,
           by_name, ''
      FROM forks
    UNION ALL
    SELECT 'm.' || CAST(list AS TEXT), COALESCE(decided_ms, made_ms),
           CASE WHEN state = 'run' THEN 'run missed' ELSE 'leave missed' END, '', 0, project, place,
           'person', by_user, COALESCE(by_name, ''), ''
      FROM missed_lists WHERE by_user IS NOT NULL";

impl Store {
    /// A page of what was decided, the newest first.
    pub(crate) async fn audit(&self, wanted: &AuditWanted, now_ms: i64) -> Result<fleet::Audit> {
        let mut conditions = Conditions::default();
        if let Some(project) = &wanted.project {
            conditions.text("project = ?", project.as_str());
        }
        if let Some(thread) = wanted.thread {
            conditions.number("thread = ?", number(thread.get()));
        }
        if let Some(run) = &wanted.run {
            conditions.text("run = ?", run.as_str());
        }
        conditions.person(wanted.person.as_ref(), "by_user", "by_name");
        if let Some(since) = wanted.since {
            conditions.number("at_ms >= ?", since.ms(now_ms));
        }
        conditions.behind(wanted.after.as_ref(), "at_ms", "name");
        let text = format!(
            "SELECT * FROM ({ALL}) decided {} ORDER BY at_ms DESC, name DESC LIMIT {}",
            conditions.sql(),
            wanted.limit.and_one()
        );
        let rows = conditions.query(text).fetch_all(&self.pool).await?;
        let acts = rows.iter().map(act).collect::<Result<Vec<_>>>()?;
        let at = |(cursor, _): &(Cursor, Act)| cursor.clone();
        let (acts, next) = fleet::page(acts, wanted.limit, at);
        Ok(fleet::Audit { acts: acts.into_iter().map(|(_, act)| act).collect(), next })
    }

    /// The newest generation of a run to which this was done, if it was.
    pub(crate) async fn last_act(&self, run: &RunId, act: &str) -> Result<Option<Generation>> {
        let row =
            sqlx::query("SELECT MAX(generation) AS last FROM acts WHERE run = $1 AND act = $2")
                .bind(run.as_str())
                .bind(act)
                .fetch_one(&self.pool)
                .await?;
        let last: Option<i64> = row.try_get("last")?;
        Ok(last.map(|last| last.to_string().parse()).transpose()?)
    }

    /// Whether this was done to a generation of a run.
    pub(crate) async fn was_acted(
        &self,
        run: &RunId,
        generation: Generation,
        act: &str,
    ) -> Result<bool> {
        let row = sqlx::query(
            "SELECT 1 FROM acts WHERE run = $1 AND act = $2 AND generation = $3 LIMIT 1",
        )
        .bind(run.as_str())
        .bind(act)
        .bind(i64::from(generation.0))
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.is_some())
    }
}

fn act(row: &AnyRow) -> Result<(Cursor, Act)> {
    let at_ms = row.try_get("at_ms")?;
    let full = |column: &str| -> Result<Option<String>> {
        let text: String = row.try_get(column)?;
        Ok(Some(text).filter(|text| !text.is_empty()))
    };
    let (thread, user): (i64, i64) = (row.try_get("thread")?, row.try_get("by_user")?);
    let generation = count(row.try_get("generation")?);
    let act = Act {
        at_ms,
        act: row.try_get("act")?,
        by: Actor {
            kind: row.try_get("by_kind")?,
            id: if user == 0 { None } else { Some(id(user, UserId::new)?) },
            name: row.try_get("by_name")?,
        },
        run: full("run")?.map(|run| run.parse()).transpose()?,
        generation: (generation != 0).then_some(generation),
        project: full("project")?.map(|project| project.parse()).transpose()?,
        thread: if thread == 0 { None } else { Some(id(thread, ThreadId::new)?) },
        detail: full("detail")?,
    };
    Ok((Cursor { at: at_ms, key: row.try_get("name")? }, act))
}
