//! What was found too late: stored, listed, and run when somebody has said so.
//!
//! A decision is a state of the store, and this works it off, oldest first in each place, whether it
//! was made a moment ago or before the last start. Each message is read again first: what counts is
//! its text as it is now, and whether its author may use the project now.

use std::collections::HashSet;

use anyhow::Context as _;
use platform::clock::now_ms;
use schemas::ids::{ChannelId, ThreadId};

use super::{Hearing, Spot, new_run};
use crate::crash;
use crate::intake::{Heard, Verdict, judge};
use crate::missed::{LATE_ORDER, Missed, list};
use crate::render;
use crate::routes::Project;
use crate::store::DueMissed;
use crate::traced;

/// What is known of messages that somebody wants to be run: a hint, the store knows.
#[derive(Debug, Default)]
pub(super) struct Late {
    may_be_due: bool,
    /// Places in which it did not work just now. There are at most as many as lists.
    stuck: HashSet<ChannelId>,
}

impl Late {
    /// Something may be due, or may work now that did not before.
    pub(super) fn look_again(&mut self) {
        self.may_be_due = true;
        self.stuck.clear();
    }

    /// Whether something may be due.
    pub(super) fn may_be_due(&self) -> bool {
        self.may_be_due
    }
}

impl Hearing {
    /// Stores a message that is too old to be run unasked.
    pub(super) async fn miss(
        &self,
        heard: &Heard,
        spot: Spot,
        project: &Project,
    ) -> anyhow::Result<()> {
        let missed = Missed::of(heard, spot.channel, &project.name);
        if self.store.miss(&missed, now_ms()).await? {
            crash::point("missed.stored");
            tracing::info!(message = %heard.id, "was found too late");
        }
        Ok(())
    }

    /// Lists what was found too late in a place that was read to its end.
    pub(super) async fn list_missed(&self, place: ChannelId) -> anyhow::Result<()> {
        if !self.store.is_unlisted(place).await? {
            return Ok(());
        }
        let guild = self.discord.guild_of(place).await.context("asking for a server's id")?;
        let guild = guild.context("a channel of no server is mapped")?;
        let max = self.config.now().catch_up.max;
        let render = |missed: &[Missed]| list(missed, guild, max);
        let count = self.store.list_missed(place, render, now_ms()).await?;
        crash::point("missed.listed");
        tracing::info!(%place, count, "listed what was found too late");
        self.signals.stored();
        Ok(())
    }

    /// Runs the next message that somebody wants to be run.
    pub(super) async fn run_missed(&mut self) {
        let due = self.store.due_missed().await.unwrap_or_else(|error| {
            tracing::warn!(error = ?error, "what was found too late waits");
            Vec::new()
        });
        let config = self.config.now();
        let next = due.iter().find_map(|due| {
            let project = config.routes.project_of(due.channel)?;
            (!self.late.stuck.contains(&due.place)).then_some((due, project))
        });
        let Some((due, project)) = next else {
            self.late.may_be_due = false;
            return;
        };
        if let Err(error) = self.try_run_missed(due, project).await {
            tracing::warn!(message = %due.message, error = format!("{error:#}"), "is run later");
            self.late.stuck.insert(due.place);
        }
    }

    async fn try_run_missed(&self, due: &DueMissed, project: &Project) -> anyhow::Result<()> {
        let Some(heard) = self.discord.message(due.place, due.message).await? else {
            self.store.drop_missed(due, &[], now_ms()).await?;
            tracing::info!(message = %due.message, "was found too late, and is gone");
            return Ok(());
        };
        let roles = self.roles(&heard, project).await?;
        let line = match judge(&heard, project, &roles) {
            Verdict::Run => return self.accept_missed(&heard, due, project).await,
            Verdict::Refused(line) => Some(line),
            Verdict::Command(_) => Some(LATE_ORDER.to_owned()),
            Verdict::NotForUs => None,
        };
        let rows = line.map(|line| render::told(&heard, "refused", &line)).unwrap_or_default();
        self.store.drop_missed(due, &rows, now_ms()).await?;
        self.signals.stored();
        Ok(())
    }

    async fn accept_missed(
        &self,
        heard: &Heard,
        due: &DueMissed,
        project: &Project,
    ) -> anyhow::Result<()> {
        let thread = if due.place == due.channel {
            None
        } else {
            Some(due.place.get().to_string().parse::<ThreadId>()?)
        };
        let spot = Spot { channel: due.channel, thread };
        let thread = self.conversation(heard, spot).await?;
        let spot = Spot { thread, ..spot };
        let new = new_run(heard, spot, project);
        let rows = render::accepted(heard, &new);
        let storing_ms = now_ms();
        if self.store.run_missed(&new, &rows, now_ms()).await? {
            crash::point("missed.run");
            traced::accepted(&new, &self.store, (storing_ms, storing_ms));
            tracing::info!(run = %new.run, project = %new.project, "accepted after all");
            self.signals.stored();
        }
        Ok(())
    }
}
