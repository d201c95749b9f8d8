//! `runs`, `runners`, `audit`, `usage`: what is there, for a person at a terminal or as JSON.
//!
//! Each reads the store and nothing else, with or without a gateway at work, and changes nothing.

use std::ops::AsyncFn;

use anyhow::Context as _;
use clap::Args;
use platform::clock::now_ms;
use serde::Serialize;

use crate::config::Books;
use crate::fleet::{
    self, AuditWanted, Cursor, Limit, Runner, RunnersWanted, RunsWanted, Shown, UsageWanted,
};
use crate::placement::Sight;
use crate::store::{Store, StoreError};

/// What is asked for, and how it is to be shown.
#[derive(Args, Debug)]
pub(crate) struct Asked<W: Args> {
    #[command(flatten)]
    wanted: W,
    /// Show it as JSON, as the HTTP API gives it
    #[arg(long)]
    json: bool,
}

/// Runs.
///
/// # Errors
///
/// When the store cannot be read.
pub(crate) async fn runs(books: &Books, asked: &Asked<RunsWanted>) -> anyhow::Result<String> {
    show(books, asked, async |store, wanted| store.runs(wanted, now_ms()).await).await
}

/// Runners.
///
/// # Errors
///
/// When the store cannot be read.
pub(crate) async fn runners(books: &Books, asked: &Asked<RunnersWanted>) -> anyhow::Result<String> {
    show(books, asked, async |store, wanted| Ok(seen(store.sights().await?, wanted, now_ms())))
        .await
}

/// What was decided, and by whom.
///
/// # Errors
///
/// When the store cannot be read.
pub(crate) async fn audit(books: &Books, asked: &Asked<AuditWanted>) -> anyhow::Result<String> {
    show(books, asked, async |store, wanted| store.audit(wanted, now_ms()).await).await
}

/// What runs took.
///
/// # Errors
///
/// When the store cannot be read.
pub(crate) async fn usage(books: &Books, asked: &Asked<UsageWanted>) -> anyhow::Result<String> {
    show(books, asked, async |store, wanted| store.usage(wanted, now_ms()).await).await
}

async fn show<W: Args, L: Shown + Serialize>(
    books: &Books,
    asked: &Asked<W>,
    read: impl AsyncFn(&Store, &W) -> Result<L, StoreError>,
) -> anyhow::Result<String> {
    let store = Store::open_existing(&books.database_url).await?;
    let list = read(&store, &asked.wanted).await?;
    if asked.json {
        return serde_json::to_string_pretty(&list).context("a list is JSON");
    }
    Ok(list.table())
}

/// A page of the runners that were seen, by their state directories' ids.
pub(crate) fn seen(sights: Vec<Sight>, wanted: &RunnersWanted, now_ms: i64) -> fleet::Runners {
    let limit: Limit = wanted.limit;
    let is_wanted = |sight: &Sight| {
        let presence = &sight.presence;
        let serves = wanted.project.as_ref().is_none_or(|it| presence.projects.contains(it));
        let id = presence.state_id.to_string();
        serves && wanted.after.as_ref().is_none_or(|after| after.key < id)
    };
    let sights = sights.into_iter().filter(is_wanted);
    let runners = sights.map(|sight| runner(sight, now_ms)).take(limit.get() + 1).collect();
    let at = |runner: &Runner| Cursor { at: 0, key: runner.state_id.to_string() };
    let (runners, next) = fleet::page(runners, limit, at);
    fleet::Runners { runners, next }
}

fn runner(sight: Sight, now_ms: i64) -> Runner {
    let (there, seen_ms) = (sight.is_there(now_ms), sight.seen_ms);
    let presence = sight.presence;
    Runner {
        runner: presence.runner,
        state_id: presence.state_id,
        there,
        seen_ms,
        draining: presence.draining,
        busy: presence.busy,
        slots: presence.slots,
        projects: presence.projects,
        shared: presence.shared,
        labels: presence.labels,
        version: presence.version,
    }
}
