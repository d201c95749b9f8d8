//! What has changed in a conversation's worktree since it began: told without claude.
//!
//! It is a run like any other, claimed by its record and told by its outcome, so whatever ends in
//! between, it is done again and told once. It waits for no claude, and looks at what lies there while
//! one is at work. Nothing is made for it: a conversation without a worktree is told so. Only where the
//! worktree is another host's by now does it come along first.

use schemas::record::{Outcome, State, Text};

use super::{Left, Refused, Work};
use crate::keeper::record::write_whole;
use crate::state;
use crate::worktree::{Diff, Site};

/// What the file is called.
const NAME: &str = "changes.diff";

impl Work {
    /// What has changed, as the end of the run.
    pub(super) async fn changes_shown(&mut self) -> Result<State, Refused> {
        let project = self.project()?.clone();
        let request = &self.held.request;
        let is_elsewhere = request.carried.as_ref().is_some_and(|it| it.changes.is_some());
        // Where claude is at work, its worktree is here.
        let alone = self.host.live.try_enter(request.thread);
        if project.shared && is_elsewhere && alone.is_some() {
            self.place(&project).await?;
            Box::pin(self.bring_changes(&project)).await?;
        }
        let (name, thread) = (self.held.request.project.clone(), self.held.request.thread);
        let host = std::sync::Arc::clone(&self.host);
        let site = Site { project: &name, directory: &project.directory, options: &project.place };
        let looking = Box::pin(host.worktrees.diff(site, thread));
        let diff = self.meanwhile(looking).await?;
        drop(alone);
        let runner = &host.config.name;
        let text = match diff {
            Ok(Diff::NoWorktree) => format!("This conversation has no worktree on **{runner}**."),
            Ok(Diff::Directory) => {
                "This conversation works in the project's directory itself: what has changed there \
                 is not its own alone."
                    .to_owned()
            }
            Ok(Diff::Nothing) => "Nothing has changed in the worktree of this conversation.".into(),
            Ok(Diff::TooLarge) => {
                format!("Too much has changed to be shown here; it lies on **{runner}**.")
            }
            Ok(Diff::Changed { counts, base, diff }) => {
                self.give_diff(&diff).await?;
                format!("{counts} against `{}`.", base.get(..10).unwrap_or(&base))
            }
            Err(error) => {
                let error = anyhow::Error::new(error);
                // Whatever git says then, it is the disk's trouble.
                if tokio::task::block_in_place(|| state::probe(&host.config.state_dir)).is_err() {
                    return Err(Refused::Left(Left::Trouble(error)));
                }
                return Err(Refused::Never(format!(
                    "it cannot be said what has changed on {runner}: {error:#}"
                )));
            }
        };
        let outcome = Outcome::Answered { answer: Text::Inline(text), denied: Vec::new() };
        Ok(State::Ended { outcome, usage: None })
    }

    async fn give_diff(&mut self, diff: &[u8]) -> Result<(), Refused> {
        let text = String::from_utf8_lossy(diff);
        let text = self.host.bus.redactor().text(&text).into_owned();
        let (folder, run) = (self.folder(), self.held.request.run.clone());
        let inbox = tokio::task::block_in_place(|| {
            let inbox = folder.make_inbox(&run)?;
            write_whole(&inbox, NAME, text.as_bytes()).map(|()| inbox)
        });
        let inbox = inbox.map_err(Refused::trouble)?;
        Ok(self.give_own(NAME, &inbox.join(NAME)).await?)
    }
}
