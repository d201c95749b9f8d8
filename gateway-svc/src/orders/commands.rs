//! Commands that somebody wrote.
//!
//! Each is carried out once, by the message that it came by: the verdict, what it does and the line that
//! the person is told are one transaction.

use platform::clock::now_ms;
use schemas::ids::{ChannelId, RoleId, ThreadId};

use super::{Orders, marks};
use crate::commands::{Command, Done, Order, help};
use crate::crash;
use crate::intake::Heard;
use crate::outbox::{Action, Row};
use crate::render;
use crate::routes::Project;
use crate::store::{About, By, Ordered, Spoken};

/// What is said to a command about a conversation that is given outside of one.
const IN_A_THREAD: &str = "Say that in the thread that it is about.";

/// A command, and where it was written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Said<'a> {
    /// The message.
    pub(crate) heard: &'a Heard,
    /// The roles of whoever wrote it, where the project asks for them.
    #[expect(dead_code, reason = "for commands that not everybody may give")]
    pub(crate) roles: &'a [RoleId],
    /// The conversation; `None`: the channel itself.
    pub(crate) thread: Option<ThreadId>,
    /// The mapped channel.
    pub(crate) channel: ChannelId,
    /// Its project.
    pub(crate) project: &'a Project,
}

impl Said<'_> {
    /// What the store keeps of it.
    fn spoken(&self) -> Spoken {
        let Said { heard, channel, project, .. } = *self;
        Spoken {
            asked: (heard.channel, heard.id),
            channel,
            project: project.name.clone(),
            author: heard.author.clone(),
        }
    }
}

impl Orders {
    /// A command in a thread, or in a channel.
    pub(crate) async fn command(&self, command: Command, said: &Said<'_>) -> anyhow::Result<()> {
        let Some(thread) = said.thread else {
            return match command {
                Command::Help => self.tell(said, "order", &help()).await,
                Command::Order(_) => self.tell(said, "refused", IN_A_THREAD).await,
            };
        };
        match command {
            Command::Help => self.tell(said, "order", &help()).await,
            Command::Order(order) => self.order(order, said, thread).await,
        }
    }

    /// A command that changes nothing: its line, under the message.
    async fn tell(&self, said: &Said<'_>, verdict: &str, line: &str) -> anyhow::Result<()> {
        let rows = render::told(said.heard, verdict, line);
        if self.store.tell(&said.spoken(), verdict, &rows, now_ms()).await? {
            crash::point("order.told");
            self.signals.stored();
        }
        Ok(())
    }

    /// An order about the thread's runs.
    async fn order(&self, order: Order, said: &Said<'_>, thread: ThreadId) -> anyhow::Result<()> {
        let Said { heard, channel, project, .. } = *said;
        let ordered = Ordered {
            order,
            about: About::Newest,
            thread,
            channel,
            project: project.name.clone(),
            by: By::Message(heard.id),
            author: heard.author.clone(),
        };
        let rows = |done: &Done, place: Option<&render::Place>| {
            let mut rows = render::told(heard, "order", &done.line(order));
            if let (Done::StoppingLater(_), Some(place), Some(Row { action, .. })) =
                (done, place, rows.last_mut())
                && let Action::Post { buttons, .. } = action
            {
                buttons.push(render::end_it(place));
            }
            rows.extend(marks(done, place, &heard.author.name));
            rows
        };
        let done = self.store.order(&ordered, rows, now_ms()).await?;
        crash::point("order.stored");
        tracing::info!(%thread, ?order, ?done, "an order");
        self.signals.stored();
        Ok(())
    }
}
