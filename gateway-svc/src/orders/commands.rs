//! Commands that somebody wrote.
//!
//! Each is carried out once, by the message that it came by: the verdict, what it does and the line that
//! the person is told are one transaction.

use platform::clock::now_ms;
use schemas::ids::{ChannelId, RoleId, RunId, SessionId, ThreadId};
use schemas::request::Task;

use super::{Orders, marks};
use crate::attached::Files;
use crate::commands::{Command, Done, Order, help};
use crate::conversation::{Model, model_line, restart_line, session_text};
use crate::crash;
use crate::forks::{Bringing, Forking};
use crate::intake::Heard;
use crate::names;
use crate::outbox::{Action, Row};
use crate::queue::{self, Wanted};
use crate::render;
use crate::routes::Project;
use crate::store::{About, By, NewRun, Ordered, Spoken};
use crate::traced;

/// What is said to a command about a conversation that is given outside of one.
const IN_A_THREAD: &str = "Say that in the thread that it is about.";
/// What is asked in place of a diff of a runner that knows no other task than to ask claude.
const DIFF_PROMPT: &str = "Say what has changed here since this branch began, and change nothing.";

/// A command, and where it was written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Said<'a> {
    /// The message.
    pub(crate) heard: &'a Heard,
    /// The roles of whoever wrote it, where the project asks for them.
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
    pub(super) fn spoken(&self) -> Spoken {
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
                Command::Resume(session) => self.bring(session, said).await,
                Command::Unsafe(scope) => self.wish_unsafe(scope, said).await,
                Command::Safe(scope) => self.make_safe(scope, said).await,
                Command::Order(_)
                | Command::Diff
                | Command::Fork
                | Command::Queue(_)
                | Command::Restart
                | Command::Session
                | Command::Model(_) => self.tell(said, "refused", IN_A_THREAD).await,
            };
        };
        match command {
            Command::Help => self.tell(said, "order", &help()).await,
            Command::Unsafe(scope) => self.wish_unsafe(scope, said).await,
            Command::Safe(scope) => self.make_safe(scope, said).await,
            Command::Order(order) => self.order(order, said, thread).await,
            Command::Queue(wanted) => self.queue(&wanted, said, thread).await,
            Command::Restart => self.restart(said, thread).await,
            Command::Session => {
                let conversation = self.store.conversation(thread).await?;
                self.tell(said, "order", &session_text(conversation.as_ref())).await
            }
            Command::Model(model) => self.model(&model, said, thread).await,
            Command::Diff => self.diff(said, thread).await,
            Command::Fork => self.fork(said, thread).await,
            Command::Resume(session) => self.bring(session, said).await,
        }
    }

    /// Something about what waits in the thread.
    async fn queue(
        &self,
        wanted: &Wanted,
        said: &Said<'_>,
        thread: ThreadId,
    ) -> anyhow::Result<()> {
        let rows = |done: &queue::Done| render::told(said.heard, "order", &done.line());
        let done = self.store.queue(&said.spoken(), thread, wanted, rows, now_ms()).await?;
        crash::point("queue.stored");
        tracing::info!(%thread, ?wanted, ?done, "the queue");
        self.signals.stored();
        Ok(())
    }

    /// The next question of the thread begins a fresh session.
    async fn restart(&self, said: &Said<'_>, thread: ThreadId) -> anyhow::Result<()> {
        let rows = |at_work| render::told(said.heard, "order", restart_line(at_work));
        self.store.restart(&said.spoken(), thread, rows, now_ms()).await?;
        crash::point("restart.stored");
        tracing::info!(%thread, "its next session is a fresh one");
        self.signals.stored();
        Ok(())
    }

    /// A run that shows what has changed in the thread's worktree: it outlives whatever a run outlives.
    async fn diff(&self, said: &Said<'_>, thread: ThreadId) -> anyhow::Result<()> {
        let Said { heard, channel, project, .. } = *said;
        let new = NewRun {
            run: RunId::from(heard.id),
            project: project.name.clone(),
            channel,
            thread,
            asked: (heard.channel, heard.id),
            author: heard.author.clone(),
            prompt: DIFF_PROMPT.to_owned(),
            task: Task::Diff,
            files: Files::default(),
            trace: Some(traced::root()),
        };
        let storing_ms = now_ms();
        if self.store.accept(&new, &render::accepted(heard, &new), storing_ms).await? {
            crash::point("diff.stored");
            traced::accepted(&new, &self.store, (storing_ms, storing_ms));
            tracing::info!(run = %new.run, %thread, "a diff");
            self.signals.stored();
        }
        Ok(())
    }

    /// Another thread with what was said in this one.
    async fn fork(&self, said: &Said<'_>, thread: ThreadId) -> anyhow::Result<()> {
        let rows =
            |forking: Forking| render::told(said.heard, "order", &forking.line(said.channel));
        let forking = self.store.fork(&said.spoken(), thread, rows, now_ms()).await?;
        crash::point("fork.stored");
        tracing::info!(%thread, ?forking, "a fork");
        self.signals.stored();
        Ok(())
    }

    /// A session that was begun in a terminal; in a channel, for the thread that the message begins.
    async fn bring(&self, session: SessionId, said: &Said<'_>) -> anyhow::Result<()> {
        let heard = said.heard;
        let thread = said.thread.unwrap_or_else(|| heard.id.into());
        let rows = |bringing: Bringing| {
            let begins = match bringing {
                Bringing::Next | Bringing::AfterThis => said.thread.is_none(),
                Bringing::Anothers(_) => false,
            };
            let name = names::thread_name(&format!("Session {session}"), &heard.author.name);
            let (channel, message) = (heard.channel, heard.id);
            let start = Action::Thread { channel, message, name };
            let start = Row { name: Row::starts_thread(thread), action: start };
            let told = render::told(heard, "order", &bringing.line(session));
            begins.then_some(start).into_iter().chain(told).collect()
        };
        let brought = self.store.bring(&said.spoken(), thread, session, rows, now_ms()).await?;
        crash::point("resume.stored");
        tracing::info!(%thread, %session, ?brought, "a session from a terminal");
        self.signals.stored();
        Ok(())
    }

    /// Which model the thread has, or is to have.
    async fn model(&self, model: &Model, said: &Said<'_>, thread: ThreadId) -> anyhow::Result<()> {
        let rows = |is: Option<&_>, at_work| {
            render::told(said.heard, "order", &model_line(is, model, at_work))
        };
        self.store.set_model(&said.spoken(), thread, model, rows, now_ms()).await?;
        crash::point("model.stored");
        tracing::info!(%thread, ?model, "its model");
        self.signals.stored();
        Ok(())
    }

    /// A command that changes nothing: its line, under the message.
    pub(super) async fn tell(
        &self,
        said: &Said<'_>,
        verdict: &str,
        line: &str,
    ) -> anyhow::Result<()> {
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
