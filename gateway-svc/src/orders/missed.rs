//! Buttons under a list of messages that were found too late.
//!
//! The decision is stored before the person is told; whoever hears runs what is due by it.

use platform::clock::now_ms;

use super::Orders;
use crate::crash;
use crate::discord::Pressed;
use crate::missed::{Decide, UNKNOWN_LIST};

impl Orders {
    /// A button under such a list.
    pub(super) async fn decided(&self, pressed: &Pressed, decide: Decide) {
        let line = match self.try_decide(pressed, decide).await {
            Ok(line) => line,
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "a button came to nothing");
                "That did not work; please press again.".to_owned()
            }
        };
        if let Err(error) = self.discord.answer(pressed, &line).await {
            // What was decided is stored; only this one line is not seen.
            tracing::warn!(%error, "a press was not answered");
        }
    }

    async fn try_decide(&self, pressed: &Pressed, decide: Decide) -> anyhow::Result<String> {
        let Decide { choice, list } = decide;
        let known = self.store.missed_list(list).await?;
        let Some(known) = known.filter(|known| known.place == pressed.channel) else {
            return Ok(UNKNOWN_LIST.to_owned());
        };
        let Some(project) = self.project_of(known.channel) else {
            return Ok("This project is not served any more.".to_owned());
        };
        if !project.allow.permits(pressed.by.id, &pressed.roles) {
            return Ok("You may not decide this.".to_owned());
        }
        let row = decide.row(known.place, &pressed.by.name);
        let at = (known, &project.name);
        let decided =
            self.store.decide_missed(list, choice, at, &pressed.by, row, now_ms()).await?;
        crash::point("missed.decided");
        self.signals.stored();
        tracing::info!(%list, ?choice, ?decided, "a button");
        Ok(match decided {
            Some(decided) => decided.line(choice),
            None => UNKNOWN_LIST.to_owned(),
        })
    }
}
