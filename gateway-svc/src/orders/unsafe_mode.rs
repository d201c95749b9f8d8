//! `!unsafe`, the button that confirms it, and `!safe`.
//!
//! Who may say it is looked at when it is said and again when it is confirmed. `!safe` is for whoever may use
//! the project: it takes no right away but claude's.

use platform::clock::now_ms;
use schemas::ids::{ChannelId, MessageId};

use super::Orders;
use super::commands::Said;
use crate::crash;
use crate::discord::Pressed;
use crate::render;
use crate::unsafe_mode::{Confirmed, Scope, asked_back, refused, safe_again};

/// What is said to a button of which nobody knows any more.
const UNKNOWN: &str = "This button is from another time; nothing was done.";

impl Orders {
    /// An `!unsafe`: it is stored, and a second word is asked for.
    pub(super) async fn wish_unsafe(&self, scope: Scope, said: &Said<'_>) -> anyhow::Result<()> {
        let Said { heard, roles, channel, project, .. } = *said;
        let unsafe_for = project.limits.unsafe_for.as_ref();
        if !unsafe_for.is_some_and(|may| may.permits(heard.author.id, roles)) {
            let line = refused(&project.name, unsafe_for.is_some());
            return self.tell(said, "refused", &line).await;
        }
        let place = place(scope, said);
        let rows = asked_back(heard, place == channel, &project.limits);
        if self.store.wish_unsafe(&said.spoken(), place, &rows, now_ms()).await? {
            crash::point("unsafe.wished");
            tracing::info!(%place, by = %heard.author.id, "unsafe is asked for");
            self.signals.stored();
        }
        Ok(())
    }

    /// A `!safe`: it holds at once, also for runs at work.
    pub(super) async fn make_safe(&self, scope: Scope, said: &Said<'_>) -> anyhow::Result<()> {
        let place = place(scope, said);
        let whole_channel = place == said.channel;
        let rows = |was, running| {
            render::told(said.heard, "order", &safe_again(whole_channel, was, running))
        };
        if self.store.make_safe(&said.spoken(), place, rows, now_ms()).await? {
            crash::point("unsafe.ended");
            tracing::info!(%place, by = %said.heard.author.id, "is safe");
            self.signals.stored();
        }
        Ok(())
    }

    /// The button under an `!unsafe`.
    pub(super) async fn confirmed(
        &self,
        pressed: &Pressed,
        asked: MessageId,
    ) -> anyhow::Result<String> {
        let wish = self.store.unsafe_wish(asked).await?;
        let Some(wish) = wish.filter(|wish| wish.asked.0 == pressed.channel) else {
            return Ok(UNKNOWN.to_owned());
        };
        let Some(project) = self.project_of(wish.channel) else {
            return Ok("This project is not served any more.".to_owned());
        };
        let (user, roles) = (pressed.by.id, &pressed.roles);
        let unsafe_for = project.limits.unsafe_for.as_ref();
        let may = unsafe_for.is_some_and(|may| may.permits(user, roles));
        if !may || !project.allow.permits(user, roles) {
            return Ok(refused(&project.name, unsafe_for.is_some()));
        }
        let by = &pressed.by;
        let row = |confirmed: &Confirmed| confirmed.row(wish.asked, &by.name);
        let confirmed =
            self.store.confirm_unsafe(&wish, by, &project.limits, row, now_ms()).await?;
        crash::point("unsafe.confirmed");
        tracing::warn!(place = %wish.place, by = %by.id, ?confirmed, "unsafe is confirmed");
        self.signals.stored();
        Ok(confirmed.line(&by.name))
    }
}

/// What a word is about.
fn place(scope: Scope, said: &Said<'_>) -> ChannelId {
    match (scope, said.thread) {
        (Scope::Here, Some(thread)) => thread.into(),
        (Scope::Here, None) | (Scope::Channel, _) => said.channel,
    }
}
