//! What is counted for good: outcomes, tokens and costs of each project.
//!
//! Each number grows in the transaction that it is about, as its last statement but the commit: who
//! waits for a number holds no second one's thread. Nothing takes from a number, so it may be shown as
//! a counter, the same by every gateway.

use schemas::ids::RunId;
use schemas::record::Record;
use schemas::streams::RunKey;

use super::costs::note_cost;
pub(crate) use super::runs::outcome_name;
use super::{Result, Tx};

/// What the names of outcomes begin with.
pub(crate) const OUTCOME: &str = "outcome/";
/// What the names of tokens begin with.
pub(crate) const TOKENS: &str = "tokens/";
/// Tokens read.
pub(crate) const INPUT: &str = "input";
/// Tokens written.
pub(crate) const OUTPUT: &str = "output";
/// The name of what was spent.
pub(crate) const COST: &str = "cost";

/// Counts an outcome that a record told, and what it took; `before` is what its session had cost. The
/// caller holds the thread's lock.
pub(super) async fn told(
    tx: &mut Tx,
    key: &RunKey,
    record: &Record,
    before: i64,
    now_ms: i64,
) -> Result<()> {
    let micro = note_cost(tx, key, record, before, now_ms).await?;
    let Some(outcome) = record.outcome() else { return Ok(()) };
    let run = &key.run;
    // In the order of their names: two who count wait for each other one way only.
    add(tx, run, COST, micro).await?;
    add(tx, run, &format!("{OUTCOME}{}", outcome_name(outcome)), 1).await?;
    if let Some(usage) = record.usage() {
        for (kind, tokens) in [(INPUT, usage.input_tokens), (OUTPUT, usage.output_tokens)] {
            let tokens = i64::try_from(tokens).unwrap_or_default();
            add(tx, run, &format!("{TOKENS}{kind}"), tokens).await?;
        }
    }
    Ok(())
}

/// Counts an outcome that somebody here gave a run. What was merged into another has none, and what is
/// discarded had its own before.
pub(super) async fn given(tx: &mut Tx, run: &RunId, outcome: &str) -> Result<()> {
    match outcome {
        "failed" | "stopped" | "dropped" => add(tx, run, &format!("{OUTCOME}{outcome}"), 1).await,
        _ => Ok(()),
    }
}

async fn add(tx: &mut Tx, run: &RunId, what: &str, more: i64) -> Result<()> {
    if more <= 0 {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO tallies (project, what, n) SELECT project, $2, $3 FROM runs WHERE run = $1
         ON CONFLICT (project, what) DO UPDATE SET n = tallies.n + excluded.n",
    )
    .bind(run.as_str())
    .bind(what)
    .bind(more)
    .execute(&mut **tx)
    .await?;
    Ok(())
}
