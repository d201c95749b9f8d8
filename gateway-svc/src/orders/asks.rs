//! Clicks on what claude asks.
//!
//! Who may decide is looked at now, with the roles that the click brings. The decision is stored before
//! anybody is told; the publisher writes it where its runner reads it.

use platform::clock::now_ms;
use schemas::ids::{ChannelId, RunId, ThreadId};

use super::Orders;
use crate::asks::{Click, IN_ITS_TURN, OVER, UNFIT, decide};
use crate::crash;
use crate::discord::Pressed;
use crate::routes::MayDecide;
use crate::store::{Clicked, Sent};

/// What is said to whoever may not decide.
const NO: &str = "You may not decide this.";
/// What is said to whoever asked, where somebody else has to decide.
const NOT_THE_ASKER: &str = "Somebody else than you, who asked, has to decide this.";

impl Orders {
    /// A click on an ask.
    pub(super) async fn clicked(&self, pressed: &Pressed, click: &Click) -> anyhow::Result<String> {
        let thread = match self.may_decide(pressed, &click.key.run).await? {
            (Some(thread), MayDecide::Yes) => thread,
            (Some(_), MayDecide::NotTheAsker) => return Ok(NOT_THE_ASKER.to_owned()),
            (_, _) => return Ok(NO.to_owned()),
        };
        let (by, id) = (&pressed.by, pressed.id.to_string());
        let judge = |wanted: &_| decide(wanted, click.key.part, &click.choice, &by.name);
        let clicked = self.store.decide_ask(click, thread, by, &id, judge, now_ms()).await?;
        crash::point("ask.stored");
        tracing::info!(run = %click.key.run, ask = %click.key.ask, ?clicked, "a click");
        self.signals.stored();
        Ok(match clicked {
            Clicked::Now(line) => line,
            Clicked::Before(line) => format!("That is decided already: {line}"),
            Clicked::Over => OVER.to_owned(),
            Clicked::Unfit => UNFIT.to_owned(),
        })
    }

    /// A click that sends a waiting message in place of a yes.
    pub(super) async fn sent(
        &self,
        pressed: &Pressed,
        run: &RunId,
    ) -> anyhow::Result<&'static str> {
        // A no is anybody's who may decide at all.
        let (Some(thread), MayDecide::Yes | MayDecide::NotTheAsker) =
            self.may_decide(pressed, run).await?
        else {
            return Ok(NO);
        };
        let (by, id) = (&pressed.by, pressed.id.to_string());
        let sent = self.store.send_instead(run, thread, by, &id, now_ms()).await?;
        crash::point("ask.sent");
        tracing::info!(%run, ?sent, "a message in place of a yes");
        self.signals.stored();
        Ok(match sent {
            Sent::Now => "It is denied, and claude is told this.",
            Sent::Runs => "It does not wait any more.",
            Sent::Over => IN_ITS_TURN,
            Sent::TooLong => {
                "This is too long to be told so; deny it, and it is answered in its turn."
            }
            Sent::Files => "This has files; deny it, and it is answered in its turn, with them.",
        })
    }

    /// The thread of a run that is asked about where the press was, and whether whoever pressed may decide
    /// there.
    async fn may_decide(
        &self,
        pressed: &Pressed,
        run: &RunId,
    ) -> anyhow::Result<(Option<ThreadId>, MayDecide)> {
        let known = self.store.known(run).await?;
        // Where there is no thread, the conversation is in the channel.
        let known = known.filter(|known| {
            [ChannelId::from(known.thread), known.channel].contains(&pressed.channel)
        });
        let Some(known) = known else { return Ok((None, MayDecide::No)) };
        let Some(project) = self.project_of(known.channel) else {
            return Ok((None, MayDecide::No));
        };
        let may = project.may_decide(pressed.by.id, &pressed.roles, known.author);
        Ok((Some(known.thread), may))
    }
}
