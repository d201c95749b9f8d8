//! Orders → store: a word in a thread, a button, a reaction.
//!
//! Whoever may use the project may give orders in it; a reaction stops a run only for the person
//! who asked for it. What was decided is stored before anybody is told, and a second order about
//! the same thing hears that it is too late.

mod asks;
mod commands;
mod missed;
mod unsafe_mode;

use std::borrow::Cow;
use std::sync::Arc;

use anyhow::Context as _;
use platform::clock::now_ms;
use platform::reload::Current;
use schemas::ids::{ChannelId, Generation, RunId};
use schemas::request::Author;

use crate::asks::{Click, to_send};
use crate::commands::{Done, Order, Press, STOP_EMOJI};
use crate::config::Config;
use crate::crash;
use crate::discord::{Discord, Pressed, Reacted};
use crate::missed::Decide;
use crate::outbox::Row;
use crate::render;
use crate::routes::Project;
use crate::signals::Signals;
use crate::steer;
use crate::store::{About, By, Known, Ordered, Store, StoreError};
use crate::unsafe_mode::to_confirm;

pub(crate) use commands::Said;

/// Who takes orders.
#[derive(Clone, Debug)]
pub(crate) struct Orders {
    /// Who may use what.
    pub(crate) config: Current<Config>,
    /// Where decisions are kept.
    pub(crate) store: Store,
    /// Where people are told.
    pub(crate) discord: Discord,
    /// Who is to know.
    pub(crate) signals: Signals,
}

impl Orders {
    /// A button.
    pub(crate) async fn pressed(&self, pressed: &Pressed) {
        if let Some(decide) = Decide::parse(&pressed.custom_id) {
            return self.decided(pressed, decide).await;
        }
        let line = match self.try_press(pressed).await {
            Ok(line) => line,
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "a button came to nothing");
                "That did not work; please press again.".into()
            }
        };
        if let Err(error) = self.discord.answer(pressed, &line).await {
            // What was decided is stored; only this one line is not seen.
            tracing::warn!(%error, "a press was not answered");
        }
    }

    async fn try_press(&self, pressed: &Pressed) -> anyhow::Result<Cow<'static, str>> {
        let words = pressed.words.as_deref();
        if let Some(click) = Click::parse(&pressed.custom_id, &pressed.values, words) {
            return Ok(self.clicked(pressed, &click).await?.into());
        }
        if let Some(run) = to_send(&pressed.custom_id) {
            return Ok(self.sent(pressed, &run).await?.into());
        }
        if let Some(run) = steer::to_send(&pressed.custom_id) {
            return Ok(self.sent_now(pressed, &run).await?.into());
        }
        if let Some(asked) = to_confirm(&pressed.custom_id) {
            return Ok(self.confirmed(pressed, asked).await?.into());
        }
        let Some(press) = Press::parse(&pressed.custom_id) else {
            return Ok("This button is from another time; nothing was done.".into());
        };
        let (known, project) = match self.may_order(pressed, &press.run).await? {
            Ok(both) => both,
            Err(line) => return Ok(line.into()),
        };
        let ordered = Ordered {
            order: press.order,
            about: About::Run(press.run, press.generation),
            thread: known.thread,
            channel: known.channel,
            project: project.name.clone(),
            by: By::Interaction(pressed.id),
            author: pressed.by.clone(),
        };
        let done = carry_out(&self.store, &ordered).await?;
        crash::point("press.stored");
        let done = done.context("a press is no message")?;
        tracing::info!(thread = %known.thread, order = ?press.order, ?done, "a button");
        self.signals.stored();
        Ok(done.line(press.order))
    }

    /// The run that a press is about and its project, if whoever pressed may give orders there; else what
    /// they are told.
    async fn may_order(
        &self,
        pressed: &Pressed,
        run: &RunId,
    ) -> anyhow::Result<Result<(Known, Arc<Project>), &'static str>> {
        let known = self.store.known(run).await?;
        // Where there is no thread, the conversation is in the channel.
        let known = known.filter(|known| {
            [ChannelId::from(known.thread), known.channel].contains(&pressed.channel)
        });
        let Some(known) = known else { return Ok(Err("Nobody knows this run any more.")) };
        let Some(project) = self.project_of(known.channel) else {
            return Ok(Err("This project is not served any more."));
        };
        if !project.allow.permits(pressed.by.id, &pressed.roles) {
            return Ok(Err("You may not decide this."));
        }
        Ok(Ok((known, project)))
    }

    /// The project of a mapped channel.
    fn project_of(&self, channel: ChannelId) -> Option<Arc<Project>> {
        self.config.now().routes.project_of(channel).cloned()
    }

    /// A press that sends a waiting message into the run at work.
    async fn sent_now(&self, pressed: &Pressed, run: &RunId) -> anyhow::Result<&'static str> {
        let known = match self.may_order(pressed, run).await? {
            Ok((known, _)) => known,
            Err(line) => return Ok(line),
        };
        let (by, id) = (&pressed.by, pressed.id.to_string());
        let sent = self.store.send_now(run, known.thread, by, &id, now_ms()).await?;
        crash::point("steer.stored");
        tracing::info!(%run, ?sent, "a message for the run at work");
        self.signals.stored();
        Ok(sent.line())
    }

    /// A reaction.
    pub(crate) async fn reacted(&self, reacted: &Reacted) {
        if !reacted.emoji.starts_with(STOP_EMOJI) {
            return;
        }
        if let Err(error) = self.try_react(reacted).await {
            tracing::error!(error = format!("{error:#}"), "a reaction came to nothing");
        }
    }

    async fn try_react(&self, reacted: &Reacted) -> anyhow::Result<()> {
        let run = RunId::from(reacted.message);
        let known = self.store.known(&run).await?;
        let Some(known) = known.filter(|known| known.author == reacted.by) else { return Ok(()) };
        let Some(project) = self.project_of(known.channel) else { return Ok(()) };
        // Whoever asked may have lost their roles since.
        let roles = if project.allow.asks_for_roles() {
            self.discord.roles(reacted.channel, reacted.by).await.context("asking for roles")?
        } else {
            Vec::new()
        };
        if !project.allow.permits(reacted.by, &roles) {
            tracing::info!(by = %reacted.by, "may not use the project any more");
            return Ok(());
        }
        let ordered = Ordered {
            order: Order::Stop,
            about: About::Run(run, known.generation),
            thread: known.thread,
            channel: known.channel,
            project: project.name.clone(),
            by: By::Reaction(reacted.message),
            author: Author { id: reacted.by, name: format!("<@{}>", reacted.by) },
        };
        let done = carry_out(&self.store, &ordered).await?;
        tracing::info!(channel = %reacted.channel, ?done, "a reaction");
        self.signals.stored();
        Ok(())
    }
}

/// Carries out an order that came without words: a button, a reaction, an operator's command, a request of
/// the HTTP API.
///
/// # Errors
///
/// When the store fails.
pub(crate) async fn carry_out(
    store: &Store,
    ordered: &Ordered,
) -> Result<Option<Done>, StoreError> {
    let by = match ordered.by {
        By::Message(_) | By::Reaction(_) | By::Interaction(_) | By::Operator(_) => {
            ordered.author.name.clone()
        }
        By::Token(_) => format!("{} (by the API)", ordered.author.name),
    };
    let rows = |done: &Done, place: Option<&render::Place>| with_end(done, place, &by);
    store.order(ordered, rows, now_ms()).await
}

/// What is owed after an order that came without words: a stop that nobody hears now is said, with the
/// button that ends the run.
fn with_end(done: &Done, place: Option<&render::Place>, by: &str) -> Vec<Row> {
    let mut rows = marks(done, place, by);
    if let (Done::StoppingLater(_), Some(place)) = (done, place) {
        rows.push(render::later(place, &done.line(Order::Stop)));
    }
    rows
}

/// What stands under the question after an order, and in place of the buttons that it came by.
fn marks(done: &Done, place: Option<&render::Place>, by: &str) -> Vec<Row> {
    let Some(place) = place else { return Vec::new() };
    // The buttons are of the generation that was decided about.
    let was = Generation(place.generation.0.saturating_sub(1));
    let mut rows = match done {
        Done::Again => vec![render::decided(place, was, format!("{by} had it tried again."))],
        Done::Ended(_) => vec![render::decided(place, was, format!("{by} ended it."))],
        Done::Discarded => {
            vec![render::decided(place, place.generation, format!("Discarded by {by}."))]
        }
        Done::Dropped
        | Done::Stopping
        | Done::StoppingLater(_)
        | Done::Waiting(_)
        | Done::TooLate
        | Done::Nothing => Vec::new(),
    };
    rows.extend(match done {
        Done::Again => render::again(place),
        Done::Dropped => render::dropped(place),
        Done::Ended(left) => render::ended_by(place, by, left),
        Done::Stopping
        | Done::StoppingLater(_)
        | Done::Waiting(_)
        | Done::Discarded
        | Done::TooLate
        | Done::Nothing => Vec::new(),
    });
    rows
}
