//! The end of a world: what a story must not leave behind, and the removal of everything.
//!
//! A story that went well is held to it: each question has its answer or its refusal, claude,
//! keepers and tmux have ended by themselves, the services end by SIGTERM with code 0, and no
//! process names the folder afterwards. Otherwise the test fails here. A story that failed already
//! is only cleaned up after.
//!
//! All of it blocks the thread: there is no `await` in a drop.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use discord_sim::View;

use crate::builder::Claude;
use crate::disk;
use crate::processes;
use crate::question::{mark, refusal};
use crate::world::{World, lock};

/// How long what was asked last may take, and claude's end after its answer.
pub(crate) const QUIET_WITHIN: Duration = Duration::from_secs(30);

/// Keeps the folder of a test, for whoever looks for a cause.
const KEEP_VARIABLE: &str = "HOLDFAST_KEEP";

impl World {
    /// Ends everything, and returns what a story must not leave behind. Also done by the drop.
    pub fn end(&mut self) -> Vec<String> {
        self.end_with_tails().0
    }

    /// Also returns how every log ends, while there are logs.
    fn end_with_tails(&mut self) -> (Vec<String>, String) {
        let mut problems = Vec::new();
        let strict = !thread::panicking() && self.strict.load(Ordering::SeqCst);
        if strict {
            problems.extend(self.unanswered());
            problems.extend(self.not_quiet());
            problems.extend(self.stack.get_mut().stop());
        }
        let tails = self.stack.get_mut().tails();
        self.clean(&mut problems);
        // Whatever else is done with this world, it is not looked at again.
        self.strict.store(false, Ordering::SeqCst);
        (problems, tails)
    }

    fn unanswered(&self) -> Option<String> {
        let discord = self.discord();
        let asked = lock(&self.asked).clone();
        let is_settled = |view: &View<'_>| {
            asked.iter().all(|message| {
                let place = view.guild.message(*message).map(|it| it.channel);
                mark(view, *message).is_some()
                    || place.is_some_and(|place| refusal(view, place, *message).is_some())
            })
        };
        let settled = processes::wait_until(self.quiet_within, || discord.view(is_settled));
        (!settled).then(|| format!("a question has no answer:\n{}", discord.transcript()))
    }

    fn not_quiet(&mut self) -> Option<String> {
        let ours = self.stack.get_mut().pids();
        let root = self.keep.folder.root();
        let mut left = Vec::new();
        let quiet = processes::wait_until(self.quiet_within, || {
            left = processes::naming(root);
            left.retain(|process| !ours.contains(&process.pid));
            left.is_empty()
        });
        let sessions = processes::tmux_sessions(&self.keep.folder.tmux());
        (!quiet).then(|| format!("still there: {left:#?}\ntmux sessions: {sessions:?}"))
    }

    fn clean(&mut self, problems: &mut Vec<String>) {
        let folder = &self.keep.folder;
        processes::end_tmux(&folder.tmux());
        let stack = self.stack.get_mut();
        let sweeper = stack.sweeper_pid();
        let left = processes::kill_naming(folder.root(), &[sweeper]);
        if !left.is_empty() {
            problems.push(format!("does not go away: {left:#?}"));
        }
        stack.end();
        disk::unmount_below(folder.root());
        if std::env::var_os(KEEP_VARIABLE).is_some() {
            self.keep.temp.disable_cleanup(true);
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // claude-sim alone keeps a ledger.
        let claudes = (self.claude == Claude::Sim).then(|| self.ledger().count("begin"));
        let (problems, tails) = self.end_with_tails();
        if problems.is_empty() && !thread::panicking() {
            self.measure.end(claudes);
        }
        assert!(
            problems.is_empty() || thread::panicking(),
            "a story left something behind (if it returned an error, this stands before it):\n\
             {}\n{tails}",
            problems.join("\n")
        );
    }
}
